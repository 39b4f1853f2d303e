/* SPDX-License-Identifier: BSD-3-Clause */
/* policy: what an eviction policy is: which region, or large value, is looked at next, and one rank for each item that is
 * found there. Rank 0 is dropped; higher ranks are copied forward, but a reclaim always frees an eighth of the region, lowest
 * ranks first. One row a policy. The default one is S3-FIFO (ghost.h has the paper) whose main queue weighs uses against size
 * (rent.h has the other). */
#ifndef STORE_POLICY_H
#define STORE_POLICY_H

#include <stdbool.h>
#include <stdint.h>
#include "store/arena.h"

#define POLICY_RANKS 4u

enum store_policy { STORE_S3FIFO, STORE_LRU, STORE_LFU, STORE_TTL, STORE_RANDOM, STORE_MRU, STORE_POLICIES };

/* Which region of a queue is next. */
enum policy_order {
	POLICY_OLDEST,
	POLICY_NEWEST,
	POLICY_SOONEST, /* where something expires first; the oldest when nothing does */
	POLICY_ANY
};

/* What a rank is made of. */
struct policy_item {
	enum arena_queue queue;
	unsigned use;  /* 0 to 3 */
	unsigned rent; /* uses that a round in the main queue costs it (rent.h) */
	int64_t left;  /* seconds until it expires; INT64_MAX = never */
};

struct policy {
	const char *name;
	bool small_queue; /* new items enter a small queue of a tenth of the bytes (reclaim.c); with ghosts */
	enum policy_order order;
	unsigned (*rank)(const struct policy_item *it);
	/* The use counter of an item that was copied forward; of `it` all but `left` is known. */
	unsigned (*forward)(const struct policy_item *it);
};

const struct policy *policy_get(enum store_policy policy);

#endif
