/* SPDX-License-Identifier: BSD-3-Clause */
/* drop: all keys with a prefix go, one after the other, while requests go on. What was there when it began goes, also what
 * is made from it meanwhile; what is stored after that stays. The moment when it begins is a number taken with all shards
 * locked, so each change lies on one side of it. Who would make a new value of an old one (append, incr, a mark) after that
 * deletes it instead, and then finds a miss; all else leaves an item its number, or is a value of its own. */
#include "store/change.h"

#include <string.h>

static bool is_prefixed(const struct store_drop *drop, const struct item *it)
{
	return it->key_len >= drop->len && memcmp(it->body, drop->prefix, drop->len) == 0;
}

bool change_dropped(const struct store *s, const struct item *it)
{
	return s->drop && item_seq(it) <= s->drop->upto && is_prefixed(s->drop, it);
}

uint64_t change_drop(struct store_thread *t, const struct store_key *key, struct change_site *site)
{
	struct store_drop *drop = t->store->drop;
	struct item_spec spec;
	item_read(site->it, &spec);
	atomic_fetch_add_explicit(&drop->items, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(
	    &drop->bytes, key->len + store_show(site->it, &spec).value_len, memory_order_relaxed);
	return change_remove(t, key, site);
}

static void set_drop(struct store_thread *t, struct store_drop *drop)
{
	struct store *s = t->store;
	const struct store_change change = {.kind = STORE_CHANGE_PASS, .pin = {NULL, STORE_PIN_NONE}};
	uint32_t n = index_shards(&s->index);
	for (uint32_t shard = 0; shard < n; shard++)
		pthread_mutex_lock(&s->index.shard[shard].lock);
	if (drop)
		drop->upto = change_note(t, &change);
	s->drop = drop;
	for (uint32_t shard = n; shard-- > 0;)
		pthread_mutex_unlock(&s->index.shard[shard].lock);
}

void store_drop_begin(struct store_thread *t, struct store_drop *drop)
{
	CHECK(!t->store->drop);
	set_drop(t, drop);
}

void store_drop_end(struct store_thread *t)
{
	set_drop(t, NULL);
}

bool store_drop_list(
    struct store_thread *t, uint32_t *shard, store_visit_key *visit, void *arg, bool *ret_again)
{
	struct store *s = t->store;
	bool ok = true;
	pthread_mutex_lock(&s->index.shard[*shard].lock);
	for (uint32_t b = 0; ok && b < s->index.shard[*shard].buckets; b++) {
		const struct index_bucket *bucket = index_bucket(&s->index, *shard, b);
		for (unsigned i = 0; ok && i < INDEX_SLOTS; i++) {
			uint64_t place = slot_place(bucket->slot[i]);
			struct item_spec spec;
			if (!place || !change_dropped(s, store_item(s, place)))
				continue;
			item_read(store_item(s, place), &spec);
			const struct store_view view = store_show(store_item(s, place), &spec);
			ok = visit(arg, &(struct store_key_view){
			                    .key = spec.key, .key_len = spec.key_len, .view = &view});
		}
	}
	pthread_mutex_unlock(&s->index.shard[*shard].lock);
	*ret_again = !ok;
	*shard += ok;
	return *shard < index_shards(&s->index);
}

enum store_result store_drop_key(
    struct store_thread *t, const struct store_key *key, struct store_outcome *ret)
{
	struct store *s = t->store;
	struct change_site site;
	enum store_result result = STORE_EXISTS;
	*ret = (struct store_outcome){0};
	change_enter(t, key, &site);
	/* Evicted meanwhile it may be on disk still: then the tombstone is all the more needed. */
	if (!site.it) {
		result = STORE_NOT_FOUND;
		ret->seq = change_remove(t, key, &site);
	} else if (change_dropped(s, site.it)) {
		result = STORE_OK;
		ret->seq = change_drop(t, key, &site);
	}
	change_leave(s, &site);
	return result;
}

uint32_t store_drop_parts(const struct store *s)
{
	return index_shards(&s->index);
}
