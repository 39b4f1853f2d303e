/* SPDX-License-Identifier: BSD-3-Clause */
/* rent: what another round in the main queue costs an item, in uses: its size over the average one, from 1 to
 * INDEX_USE_MAX. The room of a large item holds several small ones, so it needs more uses to be worth it (GreedyDual-Size: Cao
 * and Irani, "Cost-aware WWW proxy caching algorithms", 1997). Parts of a use are charged by chance, which hangs on the item
 * and the round alone. One thread at a time. */
#ifndef STORE_RENT_H
#define STORE_RENT_H

#include <stddef.h>
#include <stdint.h>

/* What was looked at of late: older items count less and less. */
struct rent {
	uint64_t items, bytes;
};

/* An item was looked at that takes so many bytes. */
void rent_note(struct rent *rent, size_t bytes);
/* Uses that an item with this hash and so many bytes has to pay, 1 to INDEX_USE_MAX; 1 for one of average size or less. */
unsigned rent_of(const struct rent *rent, size_t bytes, uint64_t hash, uint64_t round);

#endif
