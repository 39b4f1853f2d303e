/* SPDX-License-Identifier: BSD-3-Clause */
/* change: see change.h. */
#include "store/change.h"

#include <stdlib.h>

struct lookup {
	const struct store *store;
	const struct store_key *key;
};

static bool same_key(const void *arg, uint64_t place)
{
	const struct lookup *look = arg;
	const struct item *it = store_item(look->store, place);
	return it->key_len == look->key->len && memcmp(it->body, look->key->data, it->key_len) == 0;
}

void change_enter(struct store_thread *t, const struct store_key *key, struct change_site *site)
{
	struct store *s = t->store;
	struct lookup look = {s, key};
	site->hash = key->hash;
	site->shard = index_shard_of(&s->index, key->hash);
	site->tag = index_tag(key->hash);
	site->it = NULL;
	site->expired = site->in_place = false;
	site->locked = t->gate != GATE_PART;
	if (site->locked)
		pthread_mutex_lock(&s->index.shard[site->shard].lock);
	site->cursor = index_find(&s->index, site->shard, site->tag, same_key, &look);
	if (!site->cursor.slot)
		return;
	struct item *it = store_item(s, slot_place(*site->cursor.slot));
	if (store_flushed(s, it)) {
		atomic_fetch_add_explicit(&s->flushed, 1, memory_order_relaxed);
		store_unlink(s, site->shard, &site->cursor, it);
		site->cursor.slot = NULL;
	} else if (!s->loading && store_expired(item_expiry(it), t->now)) {
		store_count_expired(s, it);
		store_unlink(s, site->shard, &site->cursor, it);
		site->cursor.slot = NULL;
		site->expired = true;
	} else {
		site->it = it;
	}
}

void change_leave(struct store *s, const struct change_site *site)
{
	if (site->locked)
		pthread_mutex_unlock(&s->index.shard[site->shard].lock);
}

uint64_t change_note(struct store_thread *t, const struct store_change *change)
{
	struct store *s = t->store;
	if (s->observe)
		return s->observe(t->owner, change);
	if (store_pinned(&change->pin)) {
		struct store_pin pin = change->pin;
		store_unpin(s, &pin);
	}
	return atomic_fetch_add_explicit(&s->seq, 1, memory_order_relaxed) + 1;
}

uint64_t change_remove(struct store_thread *t, const struct store_key *key, struct change_site *site)
{
	struct store *s = t->store;
	struct store_change change = {.kind = STORE_CHANGE_DELETE, .key = key, .pin = {NULL, STORE_PIN_NONE}};
	uint64_t seq = change_note(t, &change);
	s->index.shard[site->shard].gone = seq;
	if (site->it) {
		store_unlink(s, site->shard, &site->cursor, site->it);
		site->it = NULL;
		site->cursor.slot = NULL;
	}
	return seq;
}

uint64_t change_gone(const struct store *s, const struct change_site *site)
{
	uint64_t flush = atomic_load_explicit(&s->flush_seq, memory_order_relaxed);
	uint64_t gone = s->index.shard[site->shard].gone;
	return gone > flush ? gone : flush;
}

uint64_t change_cas(const struct item *it)
{
	struct item_spec spec;
	item_read(it, &spec);
	return spec.cas ? spec.cas : spec.seq;
}

struct store_pin change_pin(struct store *s, struct item *it, bool may_fail)
{
	struct store_pin pin = {NULL, STORE_PIN_NONE};
	struct store_large *large = item_large(it);
	if (large) {
		pin.large = large_ref(large);
		return pin;
	}
	uint32_t r = arena_region_of(&s->arena, arena_offset(&s->arena, it));
	bool many = atomic_load_explicit(&s->arena.pinned, memory_order_relaxed) >=
	            atomic_load_explicit(&s->arena.limit, memory_order_relaxed) / 8;
	if (may_fail && many && atomic_load_explicit(&s->arena.region[r].pins, memory_order_relaxed) == 0)
		return pin;
	arena_pin(&s->arena, r);
	pin.region = r;
	return pin;
}

struct store_change change_set(
    const struct store_key *key, const struct item_spec *spec, const uint8_t *value)
{
	return (struct store_change){
	    .kind = STORE_CHANGE_SET,
	    .key = key,
	    .value = value,
	    .value_len = spec->value_len,
	    .pin = {NULL, STORE_PIN_NONE},
	    .flags = spec->flags,
	    .state = spec->state & ~(unsigned)ITEM_LAYOUT,
	    .cas = spec->cas,
	    .expiry = spec->expiry,
	    .dict = spec->dict,
	};
}

void change_hide(struct store_change *c, const struct change_site *site)
{
	bool told = site->it && item_state(site->it) & ITEM_NOT_KEPT;
	c->kind = told ? STORE_CHANGE_PASS : STORE_CHANGE_DELETE;
	c->value = NULL;
	c->value_len = 0;
}

/* While loading what is expected, but for an eighth of the memory at most: what overwrites the same keys again and again leaves
 * fewer than that. */
static uint32_t grown_size(const struct store *s, uint32_t shard)
{
	const struct index *ix = &s->index;
	if (!s->loading)
		return index_next_size(ix, shard, 0);
	unsigned growth = atomic_load_explicit(&s->load_growth, memory_order_relaxed);
	uint32_t next = index_next_size(ix, shard, growth);
	uint64_t most = s->options.memory / 8 / sizeof(struct index_bucket) / index_shards(ix);
	return next <= most ? next : index_next_size(ix, shard, LOAD_GROWTH);
}

void change_grow(struct store_thread *t, const struct store_key *key)
{
	struct store *s = t->store;
	uint32_t shard = index_shard_of(&s->index, key->hash);
	if (!index_wants_growth(&s->index, shard))
		return;
	struct index_shard *sh = &s->index.shard[shard];
	/* Without, the shard fills up a little more; the next insert tries again. */
	if (!store_scratch(t, index_scratch_size(__atomic_load_n(&sh->buckets, __ATOMIC_RELAXED)) * 2))
		return;
	pthread_rwlock_rdlock(&s->index.growing);
	pthread_mutex_lock(&sh->lock);
	uint32_t next = grown_size(s, shard);
	if (index_wants_growth(&s->index, shard) && index_scratch_size(sh->buckets) <= t->scratch_size)
		index_resize(&s->index, shard, next, t->scratch);
	pthread_mutex_unlock(&sh->lock);
	pthread_rwlock_unlock(&s->index.growing);
}

/* Whether an item for this queue may come soon. */
static bool queue_wanted(const struct store *s, const struct lane *lane, int q)
{
	if (q == ARENA_SMALL)
		return s->policy->small_queue;
	return !s->policy->small_queue || lane->open[ARENA_MAIN] != ARENA_NONE ||
	       atomic_load_explicit(&s->ghosts_on, memory_order_relaxed) || s->loading;
}

bool change_room_free(struct store_thread *t, size_t size)
{
	struct store *s = t->store;
	struct lane *lane = t->lane;
	bool ok = true, renewed = false;
	pthread_mutex_lock(&lane->lock);
	for (int q = 0; q < ARENA_QUEUES && ok; q++) {
		if (!queue_wanted(s, lane, q) || lane_has_room(s, lane, q, size))
			continue;
		ok = lane_renew(s, lane, q, false);
		renewed = true;
	}
	if (renewed && s->wake && arena_available(&s->arena) < store_low(s))
		s->wake(s->wake_arg);
	if (!ok)
		pthread_mutex_unlock(&lane->lock);
	return ok;
}

bool change_room(struct store_thread *t, size_t size)
{
	while (!change_room_free(t, size))
		if (!reclaim_one(t))
			return false;
	return true;
}

size_t change_left(const struct store_thread *t)
{
	size_t least = SIZE_MAX;
	for (int q = 0; q < ARENA_QUEUES; q++) {
		size_t open = lane_left(t->store, t->lane->open[q]),
		       rest = lane_left(t->store, t->lane->rest[q]);
		size_t left = open > rest ? open : rest;
		if (left < least && queue_wanted(t->store, t->lane, q))
			least = left;
	}
	return least;
}

bool change_room_at_once(struct store_thread *t, size_t size)
{
	if (pthread_mutex_trylock(&t->lane->lock) != 0)
		return false;
	if (change_left(t) >= size)
		return true;
	pthread_mutex_unlock(&t->lane->lock);
	return false;
}

/* Without a region that is open a queue may have room in the rest of one. */
enum arena_queue change_queue_for(const struct store_thread *t, enum arena_queue q, size_t size)
{
	return lane_has_room(t->store, t->lane, q, size) ? q : !q;
}

struct item *change_make(struct store_thread *t, enum arena_queue q, const struct item_spec *spec)
{
	unsigned layout = item_layout(spec);
	size_t bytes = item_bytes(spec, layout);
	struct item *it = lane_append(t->store, t->lane, q, item_round(bytes));
	item_write(it, spec, layout, bytes);
	return it;
}

bool change_link(struct store_thread *t, struct change_site *site, struct item *it)
{
	struct store *s = t->store;
	struct index_shard *sh = &s->index.shard[site->shard];
	uint64_t place = store_place(s, it);
	if (site->it) {
		atomic_fetch_sub_explicit(
		    &store_region(s, site->it)->live, (uint32_t)item_size(site->it), memory_order_relaxed);
		*site->cursor.slot = slot_with_place(*site->cursor.slot, place);
		store_leave(s, site->it);
	} else {
		if (!index_insert(&s->index, site->shard, site->tag, place, 0))
			return false;
		index_count_items(sh, 1);
	}
	atomic_fetch_add_explicit(&store_region(s, it)->live, (uint32_t)item_size(it), memory_order_relaxed);
	store_note_expiry(s, it, item_expiry(it));
	store_join(s, it, site->hash);
	site->it = it;
	return true;
}

enum arena_queue change_queue(
    struct store_thread *t, const struct store_key *key, const struct change_site *site)
{
	struct store *s = t->store;
	enum arena_queue q = ARENA_SMALL;
	if (!s->policy->small_queue)
		return ARENA_MAIN;
	if (site->it)
		q = store_queue(s, site->it);
	else if (ghost_take(&s->ghost, &s->index, site->shard, key->hash))
		q = ARENA_MAIN;
	/* The main queue's region is only there once something was dropped. */
	return t->lane->open[q] == ARENA_NONE ? ARENA_SMALL : q;
}
