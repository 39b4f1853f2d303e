/* SPDX-License-Identifier: BSD-3-Clause */
/* policy: what an eviction policy is: one rank for an item in a victim region. Rank 0 is dropped; higher
 * ranks are copied forward, but a reclaim always frees an eighth of the region, lowest ranks first. One row a
 * policy. */
#ifndef STORE_POLICY_H
#define STORE_POLICY_H

#include <stdbool.h>
#include "store/arena.h"

#define POLICY_RANKS 4u

enum store_policy { STORE_S3FIFO, STORE_LRU, STORE_POLICIES };

struct policy {
	const char *name;
	bool small_queue; /* new items enter a small queue of a tenth of the bytes; with ghosts */
	unsigned (*rank)(enum arena_queue queue, unsigned use);
	/* The use counter of an item that was copied forward. */
	unsigned (*forward)(enum arena_queue queue, unsigned use);
};

const struct policy *policy_get(enum store_policy policy);

#endif
