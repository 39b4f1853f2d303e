/* SPDX-License-Identifier: BSD-3-Clause */
/* walk: over all keys, a shard at a time. Items never change their shard, so none is missed and none comes twice, however
 * much the index grows between two shards; a shard holds a few thousand items, so its writers wait for no more than that. */
#include "store/change.h"

/* The lock is held. */
static bool visit_item(struct store_thread *t, struct item *it, store_visit_key *visit, void *arg)
{
	struct item_spec spec;
	item_read(it, &spec);
	if (store_flushed(t->store, it) || store_expired(spec.expiry, t->now))
		return true;
	const struct store_view view = store_show(it, &spec);
	const struct store_key_view item = {.key = spec.key, .key_len = spec.key_len, .view = &view};
	return visit(arg, &item);
}

static bool visit_shard(struct store_thread *t, uint32_t shard, store_visit_key *visit, void *arg)
{
	struct store *s = t->store;
	for (uint32_t b = 0; b < s->index.shard[shard].buckets; b++) {
		const struct index_bucket *bucket = index_bucket(&s->index, shard, b);
		for (unsigned i = 0; i < INDEX_SLOTS; i++) {
			uint64_t place = slot_place(bucket->slot[i]);
			if (place && !visit_item(t, store_item(s, place), visit, arg))
				return false;
		}
	}
	return true;
}

bool store_walk(struct store_thread *t, uint32_t *shard, store_visit_key *visit, void *arg, bool *ret_again)
{
	struct store *s = t->store;
	pthread_mutex_lock(&s->index.shard[*shard].lock);
	*ret_again = !visit_shard(t, *shard, visit, arg);
	pthread_mutex_unlock(&s->index.shard[*shard].lock);
	*shard += !*ret_again;
	return *shard < index_shards(&s->index);
}
