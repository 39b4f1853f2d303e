/* SPDX-License-Identifier: BSD-3-Clause */
/* store: opening and closing, reading, removing, flushing, figures. Writing is in put.c, recovery in load.c.
 */
#include "store/private.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include "store/change.h"

static unsigned lanes_for(const struct store *s)
{
	unsigned most = (unsigned)(s->arena.limit / 32), n = s->options.threads;
	return n < 1 ? 1 : n > most ? most : n;
}

static int make_lanes(struct store *s)
{
	s->n_lanes = lanes_for(s);
	s->lanes = aligned_alloc(64, (s->n_lanes) * sizeof(*s->lanes));
	s->entries = malloc(s->arena.region_size / sizeof(struct item) * sizeof(*s->entries));
	s->scan.order = calloc(s->arena.regions, sizeof(*s->scan.order));
	if (!s->lanes || !s->entries || !s->scan.order)
		return -1;
	for (unsigned i = 0; i < store_lanes(s); i++) {
		struct lane *lane = store_lane(s, i);
		memset(lane, 0, sizeof(*lane));
		pthread_mutex_init(&lane->lock, NULL);
		for (int q = 0; q < ARENA_QUEUES; q++)
			lane->open[q] = lane->rest[q] = ARENA_NONE;
	}
	return 0;
}

/* Readers come one after the other all the time: who needs it for writing goes first. */
static void init_gate(pthread_rwlock_t *gate)
{
	pthread_rwlockattr_t attr;
	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(gate, &attr);
	pthread_rwlockattr_destroy(&attr);
}

struct store *store_open(const struct store_options *options)
{
	uint64_t most = options->most > options->memory ? options->most : options->memory;
	if (most > INDEX_ARENA_MAX)
		most = INDEX_ARENA_MAX;
	if (options->memory > INDEX_ARENA_MAX) {
		errno = EFBIG;
		return NULL;
	}
	struct store *s = aligned_alloc(64, (sizeof(*s) + 63) & ~(size_t)63);
	if (!s)
		return NULL;
	memset(s, 0, sizeof(*s));
	s->magic = STORE_MAGIC;
	s->options = *options;
	s->options.most = most;
	s->memory = options->memory;
	s->no_evict = options->no_evict;
	s->keep_ttl = options->keep_ttl;
	s->policy = policy_get(options->policy);
	pthread_mutex_init(&s->reclaim_lock, NULL);
	init_gate(&s->load_gate);
	pthread_mutex_init(&s->scan.lock, NULL);
	large_queues_init(&s->large);
	large_spares_init(&s->spares, options->memory / 64);
	/* Large values go back to the system when freed; the default threshold would grow with them. */
	mallopt(M_MMAP_THRESHOLD, 128 << 10);
	if (hash_key_init(&s->hash) < 0 || arena_init(&s->arena, options->memory, most) < 0 ||
	    index_init(&s->index, options->memory, most) < 0 || ghost_init(&s->ghost, &s->index) < 0 ||
	    make_lanes(s) < 0) {
		int saved = errno;
		store_close(&s);
		errno = saved;
		return NULL;
	}
	store_set_limit(s);
	return s;
}

/* Frees the memory of large values that are still linked. */
static void free_large(struct store *s)
{
	for (uint32_t shard = 0; s->index.shard && shard < index_shards(&s->index); shard++) {
		for (uint32_t b = 0; b < s->index.shard[shard].buckets; b++) {
			struct index_bucket *bucket = index_bucket(&s->index, shard, b);
			for (unsigned i = 0; i < INDEX_SLOTS; i++) {
				if (!slot_place(bucket->slot[i]))
					continue;
				struct store_large *large =
				    item_large(store_item(s, slot_place(bucket->slot[i])));
				if (large)
					large_unref(&large);
			}
		}
	}
}

void store_close(struct store **ref)
{
	struct store *s = *ref;
	CHECK_MAGIC(s, STORE_MAGIC);
	*ref = NULL;
	if (atomic_load(&s->spares.used))
		free_large(s);
	large_spares_fini(&s->spares);
	for (unsigned i = 0; s->lanes && i < s->n_lanes; i++)
		pthread_mutex_destroy(&s->lanes[i].lock);
	ghost_fini(&s->ghost);
	index_fini(&s->index);
	arena_fini(&s->arena);
	pthread_mutex_destroy(&s->reclaim_lock);
	pthread_rwlock_destroy(&s->load_gate);
	pthread_mutex_destroy(&s->scan.lock);
	pthread_mutex_destroy(&s->large.lock);
	free(s->lanes);
	free(s->entries);
	free(s->scan.order);
	s->magic = 0;
	free(s);
}

void store_set_observer(struct store *s, store_observe *observe)
{
	s->observe = observe;
}

void store_set_seq(struct store *s, uint64_t last)
{
	atomic_store(&s->seq, last);
}

void store_set_evicted(struct store *s, store_evicted *evicted, void *arg)
{
	atomic_store_explicit(&s->evicted_arg, arg, memory_order_relaxed);
	atomic_store_explicit(&s->evicted, evicted, memory_order_release);
}

void store_set_wake(struct store *s, void (*wake)(void *arg), void *arg)
{
	s->wake = wake;
	s->wake_arg = arg;
}

void store_load_begin(struct store *s)
{
	atomic_store(&s->load_growth, LOAD_GROWTH);
	atomic_store(&s->loading, true);
}

void store_load_expect(struct store *s, uint64_t done, uint64_t all)
{
	/* A sixteenth more, as index_fitting_size would have it. */
	uint64_t growth = done ? all * 17 / done : LOAD_GROWTH_MOST;
	atomic_store(&s->load_growth, growth < LOAD_GROWTH_MOST ? (unsigned)growth : LOAD_GROWTH_MOST);
}

uint64_t store_hash(const struct store *s, const void *data, uint8_t len)
{
	return hash_bytes(&s->hash, data, len);
}

struct store_thread *store_thread_open(struct store *s, void *owner)
{
	struct store_thread *t = aligned_alloc(_Alignof(struct store_thread), sizeof(*t));
	if (!t)
		return NULL;
	*t = (struct store_thread){0};
	t->magic = STORE_THREAD_MAGIC;
	t->store = s;
	t->owner = owner;
	t->lane = &s->lanes[atomic_fetch_add(&s->next_lane, 1) % s->n_lanes];
	return t;
}

bool store_scratch(struct store_thread *t, size_t size)
{
	if (t->scratch_size >= size)
		return true;
	uint64_t *bigger = realloc(t->scratch, size);
	if (!bigger)
		return false;
	t->scratch = bigger;
	t->scratch_size = size;
	return true;
}

void store_thread_close(struct store_thread **ref)
{
	struct store_thread *t = *ref;
	CHECK_MAGIC(t, STORE_THREAD_MAGIC);
	*ref = NULL;
	free(t->scratch);
	t->magic = 0;
	free(t);
}

void store_thread_set_now(struct store_thread *t, int64_t now)
{
	t->now = now;
}

struct store_key store_key(const struct store *s, const void *data, uint8_t len)
{
	struct store_key key = {.data = data, .len = len, .hash = hash_bytes(&s->hash, data, len)};
	index_prefetch_shard(&s->index, key.hash);
	return key;
}

void store_prefetch_shard(const struct store *s, uint64_t hash)
{
	index_prefetch_shard(&s->index, hash);
}

void store_prefetch(const struct store *s, uint64_t hash)
{
	index_prefetch(&s->index, hash);
}

void store_prefetch_item(const struct store *s, uint64_t hash)
{
	uint64_t place = index_guess(&s->index, hash);
	if (!place)
		return;
	/* Header, key and the value's beginning; what is longer comes in order, which the processor foresees. */
	const char *it = (const char *)store_item(s, place);
	__builtin_prefetch(it, 1);
	__builtin_prefetch(it + 64);
	__builtin_prefetch(it + 128);
}

/* Below this nothing could be copied forward any more. */
static uint64_t regions_least(const struct store *s)
{
	return 4 * store_lanes(s) + ARENA_SPARE;
}

void store_set_limit(struct store *s)
{
	uint64_t other = atomic_load_explicit(&s->index.bytes, memory_order_relaxed) +
	                 atomic_load_explicit(&s->ghost.bytes, memory_order_relaxed) +
	                 atomic_load_explicit(&s->spares.used, memory_order_relaxed);
	uint64_t memory = atomic_load_explicit(&s->memory, memory_order_relaxed);
	uint64_t room = memory > other ? (memory - other) / s->arena.region_size : 0;
	uint64_t least = regions_least(s);
	if (room < least)
		room = least;
	atomic_store_explicit(&s->arena.limit, room > s->arena.regions ? s->arena.regions : (uint32_t)room,
	    memory_order_relaxed);
}

bool store_set_memory(struct store *s, uint64_t memory)
{
	/* The index does not shrink. */
	uint64_t least = s->index.bytes + s->ghost.bytes + regions_least(s) * s->arena.region_size;
	if (memory > s->options.most || memory < least)
		return false;
	atomic_store_explicit(&s->memory, memory, memory_order_relaxed);
	if (s->wake)
		s->wake(s->wake_arg);
	return true;
}

void store_set_no_evict(struct store *s, bool no_evict)
{
	atomic_store(&s->no_evict, no_evict);
	if (s->wake)
		s->wake(s->wake_arg);
}

void store_set_keep_ttl(struct store *s, int64_t seconds)
{
	atomic_store_explicit(&s->keep_ttl, seconds, memory_order_relaxed);
}

void store_note_expiry(struct store *s, const struct item *it, int64_t expiry)
{
	if (!expiry)
		return;
	struct region *reg = store_region(s, it);
	int64_t old = atomic_load_explicit(&reg->first_expiry, memory_order_relaxed);
	while (expiry < old)
		if (atomic_compare_exchange_weak_explicit(
		        &reg->first_expiry, &old, expiry, memory_order_relaxed, memory_order_relaxed))
			break;
}

void store_count_expired(struct store *s, const struct item *it)
{
	atomic_fetch_add_explicit(&s->expired, 1, memory_order_relaxed);
	if (!(item_state(it) & ITEM_FETCHED))
		atomic_fetch_add_explicit(&s->expired_unfetched, 1, memory_order_relaxed);
}

void store_unlink(struct store *s, uint32_t shard, const struct index_cursor *c, struct item *it)
{
	/* A flush has taken its victims from the accounts at once. */
	if (!store_flushed(s, it)) {
		atomic_fetch_sub_explicit(
		    &store_region(s, it)->live, (uint32_t)item_size(it), memory_order_relaxed);
		index_count_items(&s->index.shard[shard], -1);
	}
	index_remove(&s->index, shard, c);
	store_leave(s, it);
}

void store_join(struct store *s, const struct item *it, uint64_t hash)
{
	struct store_large *large = item_large(it);
	if (!large)
		return;
	uint64_t born = atomic_fetch_add_explicit(&s->arena.clock, large_cost(large), memory_order_relaxed);
	large_enqueue(&s->large, large, (enum arena_queue)store_region(s, it)->queue, hash, born);
}

void store_leave(struct store *s, const struct item *it)
{
	struct store_large *large = item_large(it);
	if (!large)
		return;
	large_dequeue(&s->large, large);
	large_unref(&large);
}

static void release_view(struct store *s, struct store_view *view)
{
	if (store_pinned(&view->pin))
		store_unpin(s, &view->pin);
}

bool store_emit_item(struct store *s, struct item *it, store_emit *emit, void *arg)
{
	struct item_spec spec;
	item_read(it, &spec);
	/* Field by field: this is on the way of every get, and an initializer would clear all of it first. */
	struct store_view view;
	view.value = store_value_of(it, &spec);
	view.value_len = view.packed_len = spec.value_len;
	view.dict = spec.dict;
	view.into = NULL;
	view.flags = spec.flags;
	view.seq = spec.seq;
	view.cas = spec.cas ? spec.cas : spec.seq;
	view.expiry = spec.expiry;
	view.access = spec.access;
	view.fetched = spec.state & ITEM_FETCHED;
	view.stale = spec.state & ITEM_STALE;
	view.win_sent = spec.state & ITEM_WIN_SENT;
	view.binary = spec.state & ITEM_BINARY;
	view.pin = (struct store_pin){NULL, STORE_PIN_NONE};
	if (spec.dict)
		view.value_len = item_shown_len(&spec, view.value);
	if (spec.value_len > STORE_COPY_MAX)
		view.pin = change_pin(s, it, true);
	if (emit(arg, &view))
		return true;
	release_view(s, &view);
	return false;
}

void store_note_hit(const struct store_thread *t, struct item *it, uint64_t *slot)
{
	uint32_t access = item_clock(t->now);
	if (it->access != access && !t->store->loading)
		it->access = access;
	if (!(item_state(it) & ITEM_FETCHED))
		item_set_state(it, item_state(it) | ITEM_FETCHED);
	if (slot_use(*slot) < INDEX_USE_MAX)
		*slot = slot_with_use(*slot, slot_use(*slot) + 1);
}

enum store_result store_look(struct store_thread *t, const struct store_key *key, bool hit, store_emit *emit,
    void *arg, struct store_outcome *ret)
{
	struct store *s = t->store;
	struct change_site site;
	enum store_result result = STORE_NOT_FOUND;
	change_enter(t, key, &site);
	if (site.it) {
		result = store_emit_item(s, site.it, emit, arg) ? STORE_OK : STORE_MORE_ROOM;
		ret->seq = item_seq(site.it);
		ret->cas = 0;
		if (result == STORE_OK && hit)
			store_note_hit(t, site.it, site.cursor.slot);
	} else {
		ret->seq = change_gone(s, &site);
		ret->expired = site.expired;
	}
	change_leave(s, &site);
	return result;
}

enum store_result store_delete(
    struct store_thread *t, const struct store_key *key, uint64_t compare, struct store_outcome *ret)
{
	struct store *s = t->store;
	struct change_site site;
	enum store_result result = STORE_NOT_FOUND;
	change_enter(t, key, &site);
	if (site.it && compare && change_cas(site.it) != compare) {
		result = STORE_EXISTS;
		ret->seq = item_seq(site.it);
	} else {
		if (site.it)
			result = STORE_OK;
		ret->seq = change_remove(t, key, &site);
	}
	change_leave(s, &site);
	return result;
}

/* Everything that lives is dead at once by its number; regions and shards lose it from their accounts, the
 * index as each slot is next looked at or its region reclaimed. All shard locks are held. */
void store_kill_all(struct store *s, uint64_t seq)
{
	atomic_store(&s->flush_seq, seq);
	for (uint32_t r = 0; r < s->arena.regions; r++)
		atomic_store_explicit(&s->arena.region[r].live, 0, memory_order_relaxed);
	for (uint32_t shard = 0; shard < index_shards(&s->index); shard++)
		s->index.shard[shard].items = 0;
}

void store_flush(struct store_thread *t, int64_t due, struct store_outcome *ret)
{
	struct store *s = t->store;
	struct store_change change = {.kind = due ? STORE_CHANGE_FLUSH_AT : STORE_CHANGE_FLUSH,
	    .expiry = due,
	    .pin = {NULL, STORE_PIN_NONE}};
	uint32_t n = index_shards(&s->index);
	for (uint32_t shard = 0; shard < n; shard++)
		pthread_mutex_lock(&s->index.shard[shard].lock);
	ret->seq = change_note(t, &change);
	if (!due)
		store_kill_all(s, ret->seq);
	for (uint32_t shard = n; shard-- > 0;)
		pthread_mutex_unlock(&s->index.shard[shard].lock);
}

void store_unpin(struct store *s, struct store_pin *pin)
{
	if (pin->large)
		large_unref(&pin->large);
	else if (pin->region != STORE_PIN_NONE)
		arena_unpin(&s->arena, pin->region);
	*pin = (struct store_pin){NULL, STORE_PIN_NONE};
}

bool store_wants_large(const struct store *s, const struct store_key *key, size_t value_len)
{
	/* With room for every optional field, so that a later touch cannot push it over. */
	return sizeof(struct item) + key->len + 24 + value_len > store_item_limit(s);
}

struct store_large *store_large_make(struct store_thread *t, size_t value_len)
{
	struct store *s = t->store;
	struct store_large *large = large_make(value_len, &s->spares);
	if (!large)
		return NULL;
	/* Regions make room: those over the new limit are given back as they become free. */
	for (;;) {
		store_set_limit(s);
		uint64_t least = regions_least(s) * s->arena.region_size;
		bool fits = s->spares.used + s->index.bytes + s->ghost.bytes + least <= s->memory;
		if (arena_trim(&s->arena) && fits)
			return large;
		if (!reclaim_one(t)) {
			large_unref(&large);
			return NULL;
		}
	}
}

uint8_t *store_large_data(struct store_large *large)
{
	return large_data(large);
}

/* Of the first item of the region that would go next; 0 when nothing is sealed. */
static int64_t oldest_access(struct store *s)
{
	int64_t access = 0;
	pthread_mutex_lock(&s->reclaim_lock);
	pthread_mutex_lock(&s->arena.lock);
	uint32_t r =
	    s->arena.head[ARENA_SMALL] != ARENA_NONE ? s->arena.head[ARENA_SMALL] : s->arena.head[ARENA_MAIN];
	pthread_mutex_unlock(&s->arena.lock);
	if (r != ARENA_NONE) {
		struct item *it = (struct item *)(void *)arena_region_base(&s->arena, r);
		uint32_t shard = index_shard_of(&s->index, hash_bytes(&s->hash, it->body, it->key_len));
		pthread_mutex_lock(&s->index.shard[shard].lock);
		access = item_access(it);
		pthread_mutex_unlock(&s->index.shard[shard].lock);
	}
	pthread_mutex_unlock(&s->reclaim_lock);
	return access;
}

uint64_t store_expired_count(const struct store *s)
{
	return atomic_load_explicit(&s->expired, memory_order_relaxed);
}

uint64_t store_evicted_count(const struct store *s)
{
	return atomic_load(&s->evictions);
}

void store_get_stats(struct store *s, struct store_stats *st)
{
	*st = (struct store_stats){
	    .memory = s->memory,
	    .evictions = s->evictions - s->evictions_reset,
	    .expired = s->expired,
	    .expired_unfetched = s->expired_unfetched,
	    .flushed = s->flushed,
	    .evicted_unfetched = s->evicted_unfetched,
	    .reclaims = s->reclaims,
	    .cleans = s->cleans,
	    .load_evictions = s->load_evictions,
	    .index_buckets = s->index.bytes / 64,
	    .index_bytes = s->index.bytes,
	    .ghost_bytes = s->ghost.bytes,
	    .large_bytes = s->spares.used,
	    .regions = s->arena.limit,
	    .region_size = s->arena.region_size,
	    .oldest_access = oldest_access(s),
	};
	for (uint32_t shard = 0; shard < index_shards(&s->index); shard++)
		st->items += atomic_load_explicit(&s->index.shard[shard].items, memory_order_relaxed);
	for (uint32_t r = 0; r < s->arena.touched; r++)
		st->bytes += atomic_load_explicit(&s->arena.region[r].live, memory_order_relaxed);
	st->bytes += st->large_bytes;
	for (unsigned i = 0; i < s->n_lanes; i++)
		st->total_items += atomic_load_explicit(&s->lanes[i].total_items, memory_order_relaxed);
	uint64_t resident = s->arena.resident, free_now = s->arena.n_free;
	st->regions_free = free_now;
	st->memory_used =
	    (resident - free_now) * st->region_size + st->index_bytes + st->ghost_bytes + st->large_bytes;
}

void store_reset_stats(struct store *s)
{
	s->evictions_reset = s->evictions;
	s->flushed = s->expired = s->expired_unfetched = s->evicted_unfetched = 0;
	for (unsigned i = 0; i < s->n_lanes; i++)
		atomic_store_explicit(&s->lanes[i].total_items, 0, memory_order_relaxed);
}
