/* SPDX-License-Identifier: BSD-3-Clause */
/* ahead: the items of a region, a few at a time, with what the index says of them on its way to the processor: first all
 * their shards, then all their buckets, so that each is one wait for all of them. Sizes and keys never change, so no lock
 * is needed to read on. */
#ifndef STORE_AHEAD_H
#define STORE_AHEAD_H

#include "store/private.h"

#define AHEAD_ITEMS 16u

struct ahead {
	struct item *item[AHEAD_ITEMS];
	uint64_t hash[AHEAD_ITEMS];
	unsigned n;
};

/* Those from base + *at on that begin before `end`; *at is then behind them. */
void ahead_read(const struct store *s, uint8_t *base, uint32_t *at, uint32_t end, struct ahead *ret);

#endif
