/* SPDX-License-Identifier: BSD-3-Clause */
/* part: applies one part of a block that was spread. What its records will want of the store is fetched ahead, in groups: all
 * shards of one, then all buckets, then all items that they overwrite, as the walks through the page tables that this takes
 * overlap only when nothing else lies between them. */
#ifndef PERSIST_PART_H
#define PERSIST_PART_H

#include "persist/spread.h"
#include "store/store.h"

/* Applies one record. False: it did not, as it is bad. */
typedef bool part_apply(void *arg, const struct spread_entry *e);

/* All records of a part, in order, as one batch of this thread. Returns how many were applied. */
uint64_t part_run(struct store_thread *t, const struct store *store, const struct spread_slot *slot,
    unsigned part, part_apply *apply, void *arg);

#endif
