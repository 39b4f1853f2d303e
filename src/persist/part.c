/* SPDX-License-Identifier: BSD-3-Clause */
/* part: see part.h. */
#include "persist/part.h"

#define GROUP 16u /* records */

/* Each of these: up to GROUP of the records from n on; returns where it stops. */
static uint32_t fetch_shards(const struct store *store, const struct spread_slot *slot, uint32_t n)
{
	for (unsigned k = 0; k < GROUP && n != SPREAD_NONE; k++, n = slot->entries[n].next)
		store_prefetch_shard(store, slot->entries[n].hash);
	return n;
}

static uint32_t fetch_buckets(const struct store *store, const struct spread_slot *slot, uint32_t n)
{
	for (unsigned k = 0; k < GROUP && n != SPREAD_NONE; k++, n = slot->entries[n].next) {
		store_prefetch(store, slot->entries[n].hash);
		__builtin_prefetch(slot->records + slot->entries[n].at);
		__builtin_prefetch(slot->records + slot->entries[n].at + 64);
	}
	return n;
}

static uint32_t fetch_items(const struct store *store, const struct spread_slot *slot, uint32_t n)
{
	for (unsigned k = 0; k < GROUP && n != SPREAD_NONE; k++, n = slot->entries[n].next)
		store_prefetch_item(store, slot->entries[n].hash);
	return n;
}

uint64_t part_run(struct store_thread *t, const struct store *store, const struct spread_slot *slot,
    unsigned part, part_apply *apply, void *arg)
{
	bool overwrites = store_load_overwrites(t);
	uint32_t n = slot->first[part], shard = n, bucket = n, item = n;
	uint64_t count = 0;
	/* Of the records that are applied this goes ahead by three groups, two, and one. */
	for (unsigned group = 0; group < 3; group++) {
		shard = fetch_shards(store, slot, shard);
		if (group > 0)
			bucket = fetch_buckets(store, slot, bucket);
		if (group > 1 && overwrites)
			item = fetch_items(store, slot, item);
	}
	store_load_batch(t);
	while (n != SPREAD_NONE) {
		shard = fetch_shards(store, slot, shard);
		bucket = fetch_buckets(store, slot, bucket);
		if (overwrites)
			item = fetch_items(store, slot, item);
		for (unsigned k = 0; k < GROUP && n != SPREAD_NONE; k++, n = slot->entries[n].next)
			count += apply(arg, &slot->entries[n]);
	}
	store_load_batch_end(t);
	return count;
}
