/* SPDX-License-Identifier: BSD-3-Clause */
/* large_next: which large value of a queue the policy looks at next. By whoever reclaims, under reclaim_lock. */
#ifndef STORE_LARGE_NEXT_H
#define STORE_LARGE_NEXT_H

#include "store/private.h"

struct large_next {
	struct store_large *large; /* with a reference; NULL: the queue is empty */
	uint64_t hash, born;
	int64_t expiry; /* by POLICY_SOONEST: when it expires, INT64_MAX = never */
};

/* n: drawn at random, for POLICY_ANY. */
struct large_next large_next(struct store *s, enum arena_queue queue, uint64_t n);
/* The item that has this value; no slot when it has been unlinked. Under its shard's lock. */
struct index_cursor large_find(
    const struct store *s, uint32_t shard, uint64_t hash, const struct store_large *large);

#endif
