/* SPDX-License-Identifier: BSD-3-Clause */
/* reclaim: cleaning and eviction are one procedure. A victim region is walked twice: the first walk drops
 * what is dead, expired or of rank 0, the second copies the rest forward, coldest dropped first until an
 * eighth is free. Large values are judged one by one, in queues of their own: in a region stand only the items that
 * point to them, which stay. Of both kinds, what is older goes first. One thread at a time (reclaim_lock); one shard lock at a time; a region that a running
 * scan has not read is handed to the scan first, because copying forward leaves no record. */
#include "store/ahead.h"
#include "store/large_next.h"

#include <stdlib.h>

/* A reclaim frees this part of what it looks at, or more: less costs copies, more costs hits. */
#define RECLAIM_LEAST 8u
/* So much of a region is dead before it is cleaned: the same, and what is dead on average, less than that, is lost to all. */
#define CLEAN_LEAST 12u
/* A region where something expires is swept after so long, and before where that is worth it: in so many powers of two of
 * seconds. */
#define SWEEP_SECONDS 60
#define SWEEP_STEPS   6u
/* So many regions' worth of large values may be passed by for one that goes. */
#define LARGE_PASSED 8u
/* Behind the ranks that may have to go. */
#define RANK_STAYS POLICY_RANKS

struct victim {
	uint32_t region;         /* ARENA_NONE: a large value */
	struct large_next large; /* which; with a reference */
	enum arena_queue queue;
	bool clean; /* keep all that lives */
	uint32_t n; /* entries to keep or judge */
	uint64_t rank_bytes[POLICY_RANKS];
	uint64_t kept_bytes;
};

/* Bytes of items that nobody can reach any more. */
static uint32_t region_dead(const struct region *reg)
{
	uint32_t live = atomic_load_explicit(&reg->live, memory_order_relaxed);
	uint32_t fill = atomic_load_explicit(&reg->fill, memory_order_relaxed);
	return fill > live ? fill - live : 0;
}

static bool claimable(const struct region *reg)
{
	return atomic_load_explicit(&reg->state, memory_order_relaxed) == REGION_SEALED &&
	       atomic_load_explicit(&reg->pins, memory_order_relaxed) == 0;
}

/* The deadest sealed region, if it is worth cleaning. */
static uint32_t deadest(const struct store *s)
{
	uint32_t best = ARENA_NONE, most = (uint32_t)s->arena.region_size / CLEAN_LEAST;
	for (uint32_t r = 0; r < s->arena.touched; r++) {
		const struct region *reg = &s->arena.region[r];
		if (!claimable(reg))
			continue;
		uint32_t dead = region_dead(reg);
		if (dead >= most) {
			most = dead + 1;
			best = r;
		}
	}
	return best;
}

/* The first region of the queue, from one of its ends, that is not pinned. */
static uint32_t from_end(struct store *s, enum arena_queue q, bool newest)
{
	pthread_mutex_lock(&s->arena.lock);
	uint32_t r = newest ? s->arena.tail[q] : s->arena.head[q];
	while (r != ARENA_NONE && !claimable(&s->arena.region[r]))
		r = newest ? s->arena.region[r].prev : s->arena.region[r].next;
	pthread_mutex_unlock(&s->arena.lock);
	return r;
}

static bool in_queue(const struct region *reg, enum arena_queue q)
{
	return claimable(reg) && reg->queue == q;
}

static uint32_t expires_soonest(const struct store *s, enum arena_queue q)
{
	uint32_t best = ARENA_NONE;
	int64_t soonest = INT64_MAX;
	for (uint32_t r = 0; r < s->arena.touched; r++) {
		const struct region *reg = &s->arena.region[r];
		int64_t first = atomic_load_explicit(&reg->first_expiry, memory_order_relaxed);
		if (in_queue(reg, q) && first < soonest) {
			soonest = first;
			best = r;
		}
	}
	return best;
}

static uint64_t draw(struct store *s)
{
	s->draws++;
	return hash_bytes(&s->hash, &s->draws, sizeof s->draws);
}

/* The next one from a place that is drawn. */
static uint32_t any_of(struct store *s, enum arena_queue q)
{
	uint32_t touched = s->arena.touched;
	uint32_t from = touched ? (uint32_t)(draw(s) % touched) : 0;
	for (uint32_t i = 0; i < touched; i++) {
		uint32_t r = from + i < touched ? from + i : from + i - touched;
		if (in_queue(&s->arena.region[r], q))
			return r;
	}
	return ARENA_NONE;
}

/* The region of the queue that the policy looks at next. */
static uint32_t next_of(struct store *s, enum arena_queue q)
{
	uint32_t r = ARENA_NONE;
	switch (s->policy->order) {
	case POLICY_SOONEST:
		r = expires_soonest(s, q);
		break;
	case POLICY_ANY:
		r = any_of(s, q);
		break;
	case POLICY_OLDEST:
	case POLICY_NEWEST:
		break;
	}
	return r != ARENA_NONE ? r : from_end(s, q, s->policy->order == POLICY_NEWEST);
}

/* Shards that are asked how many items there are. */
#define SHARDS_ASKED 256u
/* Items of average size that the small queue always has room for, up to half of the bytes. */
#define SMALL_LEAST 64u

static uint64_t items_about(const struct store *s)
{
	uint32_t shards = index_shards(&s->index), asked = shards < SHARDS_ASKED ? shards : SHARDS_ASKED;
	uint64_t n = 0;
	for (uint32_t i = 0; i < asked; i++)
		n += atomic_load_explicit(&s->index.shard[i].slots, memory_order_relaxed);
	return n * (shards / asked);
}

/* Whether the small queue has more than its share: a tenth. Where a tenth is a handful of large values it would drop whatever
 * is not asked for again at once, so it is more then; the items are counted only when that matters. */
static bool small_is_full(const struct store *s)
{
	uint64_t bytes[ARENA_QUEUES];
	for (int q = 0; q < ARENA_QUEUES; q++)
		bytes[q] = s->arena.sealed[q] * (uint64_t)s->arena.region_size +
		           atomic_load_explicit(&s->large.bytes[q], memory_order_relaxed);
	uint64_t small = bytes[ARENA_SMALL], all = small + bytes[ARENA_MAIN];
	if (bytes[ARENA_MAIN] == 0)
		return true;
	if (small <= all / 10)
		return false;
	uint64_t items = items_about(s);
	return small > (items > 2 * SMALL_LEAST ? all / items * SMALL_LEAST : all / 2);
}

/* Whether a region goes rather than the large value that is next. */
static bool region_first(struct store *s, enum arena_queue q, uint32_t r, const struct large_next *large)
{
	const struct region *reg = &s->arena.region[r];
	uint64_t bytes, all;
	int64_t first;
	switch (s->policy->order) {
	case POLICY_SOONEST:
		first = atomic_load_explicit(&reg->first_expiry, memory_order_relaxed);
		return first != large->expiry ? first < large->expiry : reg->born < large->born;
	case POLICY_ANY:
		bytes = s->arena.sealed[q] * (uint64_t)s->arena.region_size;
		all = bytes + atomic_load_explicit(&s->large.bytes[q], memory_order_relaxed);
		return all == 0 || draw(s) % all < bytes;
	case POLICY_NEWEST:
		return reg->born >= large->born;
	case POLICY_OLDEST:
		break;
	}
	return reg->born < large->born;
}

/* The queue whose turn it is, and what is next of it: a region or a large value. False: both queues are empty. */
static bool by_policy(struct store *s, struct victim *v)
{
	v->queue = small_is_full(s) ? ARENA_SMALL : ARENA_MAIN;
	for (int i = 0; i < ARENA_QUEUES; i++, v->queue = !v->queue) {
		v->large = large_next(s, v->queue, draw(s));
		v->region = next_of(s, v->queue);
		if (v->region == ARENA_NONE && !v->large.large)
			continue;
		if (v->region != ARENA_NONE && v->large.large) {
			if (region_first(s, v->queue, v->region, &v->large))
				large_unref(&v->large.large);
			else
				v->region = ARENA_NONE;
		}
		return true;
	}
	return false;
}

/* Seals a region that a lane has open, if that helps: what cannot be cleaned afterwards would be lost with all the room
 * behind it. */
static bool seal_one(struct store *s, uint32_t *open)
{
	uint32_t r = *open;
	if (r == ARENA_NONE || s->arena.region[r].fill == 0)
		return false;
	if (atomic_load(&s->no_evict) &&
	    region_dead(&s->arena.region[r]) < s->arena.region_size / CLEAN_LEAST)
		return false;
	arena_seal(&s->arena, r);
	*open = ARENA_NONE;
	return true;
}

/* Large values can fill the memory while their items fill no region: then the open ones are sealed early. */
static bool seal_open(struct store *s)
{
	bool any = false;
	for (unsigned i = 0; i < store_lanes(s); i++) {
		struct lane *lane = store_lane(s, i);
		pthread_mutex_lock(&lane->lock);
		for (int q = 0; q < ARENA_QUEUES; q++) {
			any |= seal_one(s, &lane->open[q]);
			any |= seal_one(s, &lane->rest[q]);
		}
		pthread_mutex_unlock(&lane->lock);
	}
	return any;
}

/* What is to be reclaimed: a region that is claimed then, or a large value. */
static bool choose(struct store *s, struct victim *v)
{
	for (int attempt = 0; attempt < 2; attempt++) {
		v->region = deadest(s);
		v->clean = v->region != ARENA_NONE;
		if (!v->clean && !atomic_load(&s->no_evict) && by_policy(s, v) && v->region == ARENA_NONE)
			return true;
		if (v->region != ARENA_NONE)
			break;
		if (!seal_open(s))
			return false;
	}
	if (v->region == ARENA_NONE || !arena_claim(&s->arena, v->region))
		return false;
	v->queue = s->arena.region[v->region].queue;
	return true;
}

/* Who watches evictions is told. */
static void tell(struct store *s, struct item *it, int64_t now)
{
	store_evicted *evicted = atomic_load_explicit(&s->evicted, memory_order_acquire);
	if (!evicted)
		return;
	struct item_spec spec;
	item_read(it, &spec);
	const struct store_view view = store_show(it, &spec);
	const struct store_key_view item = {.key = spec.key, .key_len = spec.key_len, .view = &view};
	evicted(atomic_load_explicit(&s->evicted_arg, memory_order_relaxed), &item, now);
}

static void drop(struct store_thread *t, enum arena_queue queue, uint32_t shard, uint64_t hash,
    const struct index_cursor *c, struct item *it)
{
	struct store *s = t->store;
	if (atomic_load_explicit(&s->loading, memory_order_relaxed)) {
		atomic_fetch_add_explicit(&s->load_evictions, 1, memory_order_relaxed);
	} else {
		atomic_fetch_add_explicit(&s->evictions, 1, memory_order_relaxed);
		tell(s, it, t->now);
		if (!(item_state(it) & ITEM_FETCHED))
			atomic_fetch_add_explicit(&s->evicted_unfetched, 1, memory_order_relaxed);
	}
	if (queue == ARENA_SMALL && s->policy->small_queue) {
		ghost_add(&s->ghost, &s->index, shard, hash);
		atomic_store_explicit(&s->ghosts_on, true, memory_order_relaxed);
	}
	store_unlink(s, shard, c, it);
}

/* What the policy is asked about an item of the queue that takes so many bytes, large value included. */
static struct policy_item judged(struct store_thread *t, enum arena_queue queue, const struct item *it,
    unsigned use, uint64_t hash, size_t bytes)
{
	struct store *s = t->store;
	int64_t expiry = item_expiry(it);
	rent_note(&s->rent, bytes);
	return (struct policy_item){
	    queue, use, rent_of(&s->rent, bytes, hash, s->rounds), expiry ? expiry - t->now : INT64_MAX};
}

/* Unlinks what nobody is to be shown any more: flushed, or expired. */
static bool bury(struct store_thread *t, uint32_t shard, const struct index_cursor *c, struct item *it)
{
	struct store *s = t->store;
	bool flushed = store_flushed(s, it);
	if (!flushed && (s->loading || !store_expired(item_expiry(it), t->now)))
		return false;
	if (!flushed)
		store_count_expired(s, it);
	store_unlink(s, shard, c, it);
	return true;
}

/* First walk, one item, under its shard's lock. */
static void judge(struct store_thread *t, struct victim *v, uint64_t hash, struct item *it)
{
	struct store *s = t->store;
	uint32_t shard = index_shard_of(&s->index, hash);
	pthread_mutex_lock(&s->index.shard[shard].lock);
	struct index_cursor c = index_find_place(&s->index, shard, index_tag(hash), store_place(s, it));
	if (c.slot) {
		unsigned rank = RANK_STAYS;
		struct policy_item item = {0};
		if (!v->clean && !item_large(it)) {
			item = judged(t, v->queue, it, slot_use(*c.slot), hash, item_size(it));
			rank = s->policy->rank(&item);
		}
		if (bury(t, shard, &c, it)) {
			/* It is gone. */
		} else if (rank == 0) {
			drop(t, v->queue, shard, hash, &c, it);
		} else {
			if (rank < POLICY_RANKS)
				v->rank_bytes[rank] += item_size(it);
			v->kept_bytes += item_size(it);
			s->entries[v->n++] = (struct reclaim_entry){hash,
			    (uint32_t)((uint8_t *)it - arena_region_base(&s->arena, v->region)), it->units,
			    (uint8_t)rank, (uint8_t)item.rent};
		}
	}
	pthread_mutex_unlock(&s->index.shard[shard].lock);
}

static void walk(struct store_thread *t, struct victim *v)
{
	struct store *s = t->store;
	uint8_t *base = arena_region_base(&s->arena, v->region);
	uint32_t fill = s->arena.region[v->region].fill, at = 0;
	while (at < fill) {
		struct ahead ahead;
		ahead_read(s, base, &at, fill, &ahead);
		for (unsigned i = 0; i < ahead.n; i++)
			judge(t, v, ahead.hash[i], ahead.item[i]);
	}
}

/* Which ranks go whole, and how many bytes of the next, so that enough becomes free. */
static void quota(const struct store *s, const struct victim *v, unsigned *ret_rank, uint64_t *ret_bytes)
{
	uint64_t fill = s->arena.region[v->region].fill;
	uint64_t free_bytes = fill - v->kept_bytes;
	*ret_rank = 0;
	*ret_bytes = 0;
	if (v->clean || free_bytes >= fill / RECLAIM_LEAST)
		return;
	uint64_t need = fill / RECLAIM_LEAST - free_bytes;
	for (unsigned rank = 1; rank < POLICY_RANKS; rank++) {
		*ret_rank = rank;
		*ret_bytes = need;
		if (v->rank_bytes[rank] >= need)
			return;
		need -= v->rank_bytes[rank];
	}
}

static struct item *forward_room(struct store *s, struct lane *lane, enum arena_queue q, size_t size)
{
	while (!lane_has_room(s, lane, q, size))
		if (!lane_renew(s, lane, q, true))
			return NULL;
	return lane_append(s, lane, q, size);
}

/* What is cleaned has earned nothing: its new region is as old, by its bytes, as the regions that it comes from. */
static void keep_age(struct store *s, uint32_t from, const struct item *copy)
{
	struct region *reg = store_region(s, copy);
	double share = (double)item_size(copy) / atomic_load_explicit(&reg->fill, memory_order_relaxed);
	double older = (double)reg->born - (double)s->arena.region[from].born;
	reg->born -= (uint64_t)(int64_t)(older * share);
	reg->aged = true;
}

static void move(struct store *s, const struct victim *v, const struct reclaim_entry *e,
    const struct index_cursor *c, struct item *it, struct item *copy)
{
	size_t size = item_size(it);
	memcpy(copy, it, size);
	struct region *from_reg = store_region(s, it), *to_reg = store_region(s, copy);
	atomic_fetch_sub_explicit(&from_reg->live, (uint32_t)size, memory_order_relaxed);
	atomic_fetch_add_explicit(&to_reg->live, (uint32_t)size, memory_order_relaxed);
	store_note_expiry(s, copy, item_expiry(it));
	uint64_t slot = slot_with_place(*c->slot, store_place(s, copy));
	if (e->rank != RANK_STAYS) {
		const struct policy_item item = {.queue = v->queue, .use = slot_use(slot), .rent = e->rent};
		slot = slot_with_use(slot, s->policy->forward(&item));
	}
	*c->slot = slot;
}

/* Second walk: what was worth keeping. */
static void forward(struct store_thread *t, struct victim *v)
{
	struct store *s = t->store;
	struct lane *lane = v->clean ? &s->cleaned : &s->forward;
	unsigned rank;
	uint64_t must_go;
	quota(s, v, &rank, &must_go);
	for (uint32_t i = 0; i < v->n; i++) {
		const struct reclaim_entry *e = &s->entries[i];
		struct item *it =
		    (struct item *)(void *)(arena_region_base(&s->arena, v->region) + e->offset);
		size_t size = (size_t)e->units * ITEM_ALIGN;
		enum arena_queue to = v->clean ? v->queue : ARENA_MAIN;
		bool keep = e->rank > rank || (e->rank == rank && must_go == 0);
		pthread_mutex_lock(&lane->lock);
		struct item *copy = keep ? forward_room(s, lane, to, size) : NULL;
		uint32_t shard = index_shard_of(&s->index, e->hash);
		pthread_mutex_lock(&s->index.shard[shard].lock);
		struct index_cursor c =
		    index_find_place(&s->index, shard, index_tag(e->hash), store_place(s, it));
		bool flushed = c.slot && store_flushed(s, it);
		if (flushed) {
			store_unlink(s, shard, &c, it);
		} else if (c.slot && copy) {
			move(s, v, e, &c, it, copy);
			if (v->clean)
				keep_age(s, v->region, copy);
		} else if (c.slot) {
			if (e->rank == rank)
				must_go -= size < must_go ? size : must_go;
			drop(t, v->queue, shard, e->hash, &c, it);
		}
		pthread_mutex_unlock(&s->index.shard[shard].lock);
		if (copy && (!c.slot || flushed))
			lane_rewind(s, lane, to, copy, size);
		pthread_mutex_unlock(&lane->lock);
	}
}

/* ---- large values ---- */

/* One of them, which is gone then or at its queue's end. True: its memory is free, or will be when nobody sends it. */
static bool judge_large(struct store_thread *t, enum arena_queue queue, const struct large_next *next,
    bool must_go, unsigned *ret_rank)
{
	struct store_large *large = next->large;
	uint64_t hash = next->hash;
	struct store *s = t->store;
	uint32_t shard = index_shard_of(&s->index, hash);
	bool gone = true;
	pthread_mutex_lock(&s->index.shard[shard].lock);
	struct index_cursor c = large_find(s, shard, hash, large);
	struct item *it = c.slot ? store_item(s, slot_place(*c.slot)) : NULL;
	struct policy_item item;
	if (it)
		item = judged(t, queue, it, slot_use(*c.slot), hash, large_cost(large));
	*ret_rank = it ? s->policy->rank(&item) : 0;
	if (!it || bury(t, shard, &c, it)) {
		/* Unlinked since we looked, or by now. */
	} else if (must_go || *ret_rank == 0) {
		drop(t, queue, shard, hash, &c, it);
	} else {
		*c.slot = slot_with_use(*c.slot, s->policy->forward(&item));
		large_dequeue(&s->large, large);
		large_enqueue(&s->large, large, ARENA_MAIN, hash,
		    atomic_load_explicit(&s->arena.clock, memory_order_relaxed));
		gone = false;
	}
	pthread_mutex_unlock(&s->index.shard[shard].lock);
	return gone;
}

/* Passes by values that are worth keeping until one has gone; after LARGE_PASSED regions' worth of them the least of them
 * goes all the same. Only an order by age passes by: by another one the policy has chosen. */
static void evict_large(struct store_thread *t, struct victim *v)
{
	struct store *s = t->store;
	uint64_t passed = 0, most = LARGE_PASSED * (uint64_t)s->arena.region_size;
	bool chosen = s->policy->order != POLICY_OLDEST, gone = false;
	struct large_next least = {0};
	unsigned least_rank = RANK_STAYS, rank;
	for (; v->large.large && !gone; v->large = large_next(s, v->queue, 0)) {
		passed += large_cost(v->large.large);
		gone = judge_large(t, v->queue, &v->large, chosen, &rank);
		if (!gone && rank < least_rank) {
			struct large_next other = least;
			least = v->large;
			least_rank = rank;
			v->large = other;
		}
		if (v->large.large)
			large_unref(&v->large.large);
		if (!gone && passed > most)
			gone = judge_large(t, v->queue, &least, true, &rank);
	}
	if (v->large.large)
		large_unref(&v->large.large);
	if (least.large)
		large_unref(&least.large);
}

bool reclaim_one(struct store_thread *t)
{
	struct store *s = t->store;
	struct victim v = {0};
	CHECK(t->gate != GATE_PART);
	bool loads = atomic_load(&s->loading) && t->gate == GATE_OPEN;
	if (loads)
		pthread_rwlock_wrlock(&s->load_gate);
	pthread_mutex_lock(&s->reclaim_lock);
	store_set_limit(s);
	s->rounds++;
	bool ok = choose(s, &v);
	if (ok && v.region == ARENA_NONE) {
		evict_large(t, &v);
		arena_trim(&s->arena);
	} else if (ok) {
		scan_region(s, v.region);
		walk(t, &v);
		forward(t, &v);
		CHECK(atomic_load(&s->arena.region[v.region].live) == 0);
		arena_give(&s->arena, v.region);
		arena_trim(&s->arena);
		atomic_fetch_add_explicit(v.clean ? &s->cleans : &s->reclaims, 1, memory_order_relaxed);
	}
	pthread_mutex_unlock(&s->reclaim_lock);
	if (loads)
		pthread_rwlock_unlock(&s->load_gate);
	return ok;
}

/* ---- expiry ---- */

/* What of a region expires within 1, 2, 4, ... seconds, in bytes. */
struct expiring {
	uint64_t bytes[SWEEP_STEPS];
	int64_t first; /* of what expires at all; INT64_MAX = nothing */
};

static void note_expiring(struct expiring *e, int64_t expiry, int64_t now, size_t size)
{
	if (expiry < e->first)
		e->first = expiry;
	for (unsigned step = 0; step < SWEEP_STEPS; step++)
		if (expiry - now <= INT64_C(1) << step)
			e->bytes[step] += size;
}

/* When the region is looked at again: once enough of it has expired for it to be cleaned, at the latest a minute after the
 * first that expires. */
static int64_t next_sweep(
    const struct store *s, const struct region *reg, const struct expiring *e, int64_t now)
{
	uint64_t dead = region_dead(reg);
	for (unsigned step = 0; step < SWEEP_STEPS; step++)
		if (e->bytes[step] > 0 && dead + e->bytes[step] >= s->arena.region_size / CLEAN_LEAST)
			return now + (INT64_C(1) << step);
	return e->first > now + SWEEP_SECONDS ? e->first : now + SWEEP_SECONDS;
}

static void sweep_item(struct store_thread *t, uint64_t hash, struct item *it, struct expiring *e)
{
	struct store *s = t->store;
	uint32_t shard = index_shard_of(&s->index, hash);
	pthread_mutex_lock(&s->index.shard[shard].lock);
	struct index_cursor c = index_find_place(&s->index, shard, index_tag(hash), store_place(s, it));
	int64_t expiry = c.slot ? item_expiry(it) : 0;
	if (c.slot && store_expired(expiry, t->now)) {
		store_count_expired(s, it);
		store_unlink(s, shard, &c, it);
	} else if (expiry) {
		note_expiring(e, expiry, t->now, item_size(it));
	}
	pthread_mutex_unlock(&s->index.shard[shard].lock);
}

/* Unlinks what has expired in one sealed region. */
static bool sweep_region(struct store_thread *t, uint32_t r)
{
	struct store *s = t->store;
	struct region *reg = &s->arena.region[r];
	if (reg->state != REGION_SEALED ||
	    atomic_load_explicit(&reg->first_expiry, memory_order_relaxed) > t->now)
		return false;
	atomic_store_explicit(&reg->first_expiry, INT64_MAX, memory_order_relaxed);
	struct expiring e = {.first = INT64_MAX};
	uint8_t *base = arena_region_base(&s->arena, r);
	uint32_t fill = reg->fill;
	for (uint32_t at = 0; at < fill;) {
		struct ahead ahead;
		ahead_read(s, base, &at, fill, &ahead);
		for (unsigned i = 0; i < ahead.n; i++)
			sweep_item(t, ahead.hash[i], ahead.item[i], &e);
	}
	if (e.first != INT64_MAX) {
		int64_t next = next_sweep(s, reg, &e, t->now), old = reg->first_expiry;
		while (next < old && !atomic_compare_exchange_weak(&reg->first_expiry, &old, next))
			;
	}
	return true;
}

/* The next region that is due. */
static bool sweep_one(struct store_thread *t)
{
	struct store *s = t->store;
	uint32_t touched = s->arena.touched;
	for (uint32_t i = 0; i < touched; i++) {
		s->sweep_at = s->sweep_at + 1 < touched ? s->sweep_at + 1 : 0;
		if (sweep_region(t, s->sweep_at))
			return true;
	}
	return false;
}

bool store_maintain(struct store_thread *t)
{
	struct store *s = t->store;
	bool swept = false;
	store_set_limit(s);
	if (!s->loading) {
		pthread_mutex_lock(&s->reclaim_lock);
		shrink_step(t);
		swept = sweep_one(t);
		pthread_mutex_unlock(&s->reclaim_lock);
	}
	if (!arena_trim(&s->arena) || arena_available(&s->arena) < store_low(s))
		if (reclaim_one(t))
			return true;
	return swept;
}
