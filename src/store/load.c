/* SPDX-License-Identifier: BSD-3-Clause */
/* load: recovery's way into the store: numbers are given, nothing is observed, no expiry is judged before the
 * sweep. Many threads may load at once, each key by one of them at a time. */
#include "store/change.h"

#include <stdlib.h>

/* One in so many items overwrites another: then fetching those ahead pays. */
#define OVERWRITES 16u

static void forget(struct store_thread *t, struct change_site *site)
{
	if (site->it)
		store_unlink(t->store, site->shard, &site->cursor, site->it);
	site->it = NULL;
	site->cursor.slot = NULL;
}

static void link_loaded(struct store_thread *t, const struct store_key *key, struct change_site *site,
    const struct store_load *load, const struct item_spec *spec, size_t size)
{
	struct store *s = t->store;
	enum arena_queue q = load->main_queue || !s->policy->small_queue ? ARENA_MAIN : ARENA_SMALL;
	bool fresh = !site->it;
	if (site->it && !load->keep_newer)
		q = change_queue(t, key, site);
	q = change_queue_for(t, q, size);
	struct item *it = change_make(t, q, spec);
	if (!spec->large && spec->value_len)
		memcpy(item_value(it), load->value, spec->value_len);
	CHECK(change_link(t, site, it));
	if (load->use && (fresh || load->keep_newer)) {
		struct index_cursor c =
		    index_find_place(&s->index, site->shard, site->tag, store_place(s, it));
		*c.slot = slot_with_use(*c.slot, load->use);
	}
}

unsigned store_load_part(const struct store *s, uint64_t hash, unsigned parts)
{
	return (unsigned)((uint64_t)index_shard_of(&s->index, hash) * parts >> s->index.shard_bits);
}

static void enter_part(struct store_thread *t)
{
	pthread_rwlock_rdlock(&t->store->load_gate);
	t->gate = GATE_PART;
}

static void enter_all(struct store_thread *t)
{
	pthread_rwlock_wrlock(&t->store->load_gate);
	t->gate = GATE_ALL;
}

static void leave_gate(struct store_thread *t)
{
	t->gate = GATE_OPEN;
	pthread_rwlock_unlock(&t->store->load_gate);
}

static void unlock_lane(struct store_thread *t)
{
	if (t->lane_locked)
		pthread_mutex_unlock(&t->lane->lock);
	t->lane_locked = false;
}

/* What may reclaim memory does so between these: it may wait for all others that load. */
static void pause_batch(struct store_thread *t)
{
	unlock_lane(t);
	if (t->batch)
		leave_gate(t);
}

static void resume_batch(struct store_thread *t)
{
	if (t->batch)
		enter_part(t);
}

void store_load_batch(struct store_thread *t)
{
	CHECK(!t->batch);
	t->batch = true;
	t->loaded = t->overwritten = 0;
	enter_part(t);
}

void store_load_batch_end(struct store_thread *t)
{
	CHECK(t->batch);
	t->overwrites = t->overwritten > t->loaded / OVERWRITES;
	pause_batch(t);
	t->batch = false;
}

bool store_load_overwrites(const struct store_thread *t)
{
	return t->overwrites;
}

/* Room for so many bytes, and the lane locked; false, locked too, where there is no memory. */
static bool load_room(struct store_thread *t, size_t size)
{
	if (t->lane_locked && t->left >= size) {
		t->left -= size;
		return true;
	}
	unlock_lane(t);
	bool room, freed = true;
	while (!(room = change_room_free(t, size)) && freed) {
		pause_batch(t);
		freed = reclaim_one(t);
		resume_batch(t);
	}
	if (!room)
		pthread_mutex_lock(&t->lane->lock);
	t->lane_locked = true;
	t->left = room ? change_left(t) - size : 0;
	return room;
}

/* What waits for others, or takes locks that come before the lane's. */
static void load_grow(struct store_thread *t, const struct store_key *key)
{
	if (!index_wants_growth(&t->store->index, index_shard_of(&t->store->index, key->hash)))
		return;
	unlock_lane(t);
	change_grow(t, key);
}

bool store_load_set(struct store_thread *t, const struct store_key *key, const struct store_load *load)
{
	struct store *s = t->store;
	struct change_site site;
	struct item_spec spec = {
	    .key = key->data,
	    .key_len = key->len,
	    .state = load->state,
	    .seq = load->seq,
	    .cas = load->cas,
	    .expiry = load->expiry,
	    .access = load->access,
	    .flags = load->flags,
	    .dict = load->dict,
	    .value_len = load->value_len,
	};
	bool fits =
	    sizeof(struct item) + key->len + item_shown_len(&spec, load->value) <= s->options.item_max;
	if (fits && store_wants_large(s, key, load->value_len)) {
		pause_batch(t);
		spec.large = store_large_make(t, load->value_len);
		fits = spec.large != NULL;
		if (fits)
			memcpy(large_data(spec.large), load->value, load->value_len);
		resume_batch(t);
	}
	if (!t->batch)
		enter_all(t);
	load_grow(t, key);
	size_t size = fits ? item_round(item_bytes(&spec, item_layout(&spec))) : 0;
	bool room = load_room(t, size) && fits;
	if (load->keep_newer && load->seq > t->lane->newest)
		t->lane->newest = load->seq;
	change_enter(t, key, &site);
	bool older = load->keep_newer && site.it && item_seq(site.it) >= load->seq;
	bool full =
	    !site.it && s->index.shard[site.shard].slots >= s->index.shard[site.shard].buckets * INDEX_SLOTS;
	bool applied = room && !full;
	t->loaded++;
	t->overwritten += site.it != NULL;
	if (!older) {
		if (applied) {
			link_loaded(t, key, &site, load, &spec, size);
			spec.large = NULL;
		} else {
			forget(t, &site);
		}
	}
	change_leave(s, &site);
	if (!t->batch || spec.large)
		unlock_lane(t);
	if (!t->batch)
		leave_gate(t);
	if (spec.large)
		large_unref(&spec.large);
	return applied;
}

void store_load_delete(struct store_thread *t, const struct store_key *key)
{
	struct change_site site;
	if (!t->batch)
		enter_all(t);
	change_enter(t, key, &site);
	forget(t, &site);
	change_leave(t->store, &site);
	if (!t->batch)
		leave_gate(t);
}

bool store_load_touch(struct store_thread *t, const struct store_key *key, int64_t expiry)
{
	struct store_outcome ret;
	/* It locks the shard: in a batch, too, which has no other thread's keys. */
	pause_batch(t);
	if (!t->batch)
		enter_all(t);
	bool touched = store_touch(t, key, expiry, SIZE_MAX, NULL, NULL, &ret) != STORE_NO_MEMORY;
	if (!t->batch)
		leave_gate(t);
	resume_batch(t);
	if (!touched)
		store_load_delete(t, key);
	return touched;
}

/* Unlinks what has a lower number than this. */
static void drop_below(struct store *s, uint64_t seq)
{
	for (uint32_t shard = 0; shard < index_shards(&s->index); shard++) {
		for (uint32_t b = 0; b < s->index.shard[shard].buckets; b++) {
			struct index_bucket *bucket = index_bucket(&s->index, shard, b);
			for (unsigned i = 0; i < INDEX_SLOTS; i++) {
				if (!slot_place(bucket->slot[i]))
					continue;
				struct item *it = store_item(s, slot_place(bucket->slot[i]));
				if (item_seq(it) >= seq)
					continue;
				struct index_cursor c = index_find_place(&s->index, shard,
				    (uint32_t)(bucket->slot[i] >> INDEX_TAG_SHIFT),
				    slot_place(bucket->slot[i]));
				store_unlink(s, shard, &c, it);
			}
		}
	}
}

/* Drops what is to go from one bucket. */
static uint64_t drop_from(
    struct store *s, uint32_t shard, struct index_bucket *bucket, store_load_below *below, void *arg)
{
	uint64_t gone = 0;
	for (unsigned i = 0; i < INDEX_SLOTS; i++)
		if (slot_place(bucket->slot[i]))
			__builtin_prefetch(store_item(s, slot_place(bucket->slot[i])));
	for (unsigned i = 0; i < INDEX_SLOTS; i++) {
		uint64_t place = slot_place(bucket->slot[i]);
		struct item *it = place ? store_item(s, place) : NULL;
		if (!it || store_flushed(s, it) || item_seq(it) >= below(arg, it->body, it->key_len))
			continue;
		struct index_cursor c =
		    index_find_place(&s->index, shard, (uint32_t)(bucket->slot[i] >> INDEX_TAG_SHIFT), place);
		store_unlink(s, shard, &c, it);
		gone++;
	}
	return gone;
}

uint64_t store_load_drop(
    struct store_thread *t, unsigned part, unsigned parts, store_load_below *below, void *arg)
{
	struct store *s = t->store;
	uint64_t gone = 0;
	for (uint32_t shard = part; shard < index_shards(&s->index); shard += parts) {
		pthread_mutex_lock(&s->index.shard[shard].lock);
		for (uint32_t b = 0; b < s->index.shard[shard].buckets; b++)
			gone += drop_from(s, shard, index_bucket(&s->index, shard, b), below, arg);
		pthread_mutex_unlock(&s->index.shard[shard].lock);
	}
	return gone;
}

void store_load_reset(struct store_thread *t)
{
	drop_below(t->store, UINT64_MAX);
}

void store_load_flush(struct store_thread *t, uint64_t seq)
{
	/* A snapshot holds items that were set after this flush if both fell between its S0 and its scan. */
	if (store_newest(t->store) > seq)
		drop_below(t->store, seq);
	else
		store_kill_all(t->store, seq);
}

uint64_t store_newest(const struct store *s)
{
	uint64_t newest = 0;
	for (unsigned i = 0; i < s->n_lanes; i++)
		if (s->lanes[i].newest > newest)
			newest = s->lanes[i].newest;
	return newest;
}

uint64_t store_item_max(const struct store *s)
{
	return s->options.item_max;
}

void store_reserve(struct store_thread *t, uint64_t items, uint64_t bytes)
{
	struct store *s = t->store;
	/* No more than can live here at once: with less memory than before, the index of the others would take room from these. */
	uint64_t size = items && bytes / items > 64 ? bytes / items : 64;
	uint64_t most = s->options.memory / size;
	uint64_t mean = (items < most ? items : most) / index_shards(&s->index), deviation = 1;
	/* Keys fall unevenly: with three deviations above the mean one shard in a thousand has to grow, not half. */
	while ((deviation + 1) * (deviation + 1) <= mean)
		deviation++;
	uint64_t want = (mean + 3 * deviation) / INDEX_LOAD + 1;
	if (want > s->index.buckets_max)
		want = s->index.buckets_max;
	for (uint32_t shard = 0; shard < index_shards(&s->index); shard++)
		if (s->index.shard[shard].slots == 0 && s->index.shard[shard].buckets < want)
			index_resize(&s->index, shard, (uint32_t)want, NULL);
}

/* Brings each shard to the size that suits it, after the doubling of a load; one that is an eighth too large stays as it
 * is, as after any growth. */
void store_load_fit(struct store_thread *t, unsigned part, unsigned parts)
{
	struct store *s = t->store;
	for (uint32_t shard = part; shard < index_shards(&s->index); shard += parts) {
		struct index_shard *sh = &s->index.shard[shard];
		uint32_t want = index_fitting_size(&s->index, shard);
		if (want + want / 8 >= sh->buckets)
			continue;
		if (!store_scratch(t, index_scratch_size(sh->buckets)))
			return; /* the shards stay as they are, larger than they need be */
		pthread_mutex_lock(&sh->lock);
		index_resize(&s->index, shard, want, t->scratch);
		pthread_mutex_unlock(&sh->lock);
	}
}

void store_load_done(struct store *s)
{
	index_release(&s->index);
	store_set_limit(s);
	atomic_store(&s->loading, false);
}

/* Removes what has expired in one region. Returns the count. */
static uint64_t sweep_loaded(struct store_thread *t, uint32_t r)
{
	struct store *s = t->store;
	uint8_t *base = arena_region_base(&s->arena, r);
	uint32_t fill = s->arena.region[r].fill;
	uint64_t gone = 0;
	for (uint32_t at = 0; at < fill;) {
		struct item *it = (struct item *)(void *)(base + at);
		at += (uint32_t)item_size(it);
		uint64_t hash = hash_bytes(&s->hash, it->body, it->key_len);
		uint32_t shard = index_shard_of(&s->index, hash);
		pthread_mutex_lock(&s->index.shard[shard].lock);
		struct index_cursor c =
		    index_find_place(&s->index, shard, index_tag(hash), store_place(s, it));
		if (c.slot && !store_flushed(s, it) && store_expired(item_expiry(it), t->now)) {
			store_unlink(s, shard, &c, it);
			gone++;
		}
		pthread_mutex_unlock(&s->index.shard[shard].lock);
	}
	return gone;
}

uint64_t store_sweep(struct store_thread *t, unsigned part, unsigned parts)
{
	struct store *s = t->store;
	uint64_t gone = 0;
	for (uint32_t r = part; r < s->arena.regions; r += parts) {
		struct region *reg = &s->arena.region[r];
		if ((reg->state == REGION_OPEN || reg->state == REGION_SEALED) && reg->first_expiry <= t->now)
			gone += sweep_loaded(t, r);
	}
	return gone;
}

static void retime_item(struct store *s, struct item *it, const struct store_retime *retime)
{
	int64_t expiry = item_expiry(it);
	if (retime->stale)
		item_set_state(it, (item_state(it) & ~(unsigned)ITEM_WIN_SENT) | ITEM_STALE);
	if (!(item_state(it) & ITEM_HAS_EXPIRY))
		return;
	if (expiry)
		expiry = expiry > retime->back ? expiry - retime->back : 1;
	if (retime->latest && (expiry == 0 || expiry > retime->latest))
		expiry = retime->latest;
	item_set_expiry(it, expiry);
	store_note_expiry(s, it, expiry);
}

void store_load_retime(
    struct store_thread *t, unsigned part, unsigned parts, const struct store_retime *retime)
{
	struct store *s = t->store;
	for (uint32_t r = part; r < s->arena.regions; r += parts) {
		const struct region *reg = &s->arena.region[r];
		if (reg->state != REGION_OPEN && reg->state != REGION_SEALED)
			continue;
		uint8_t *base = arena_region_base(&s->arena, r);
		for (uint32_t at = 0, fill = reg->fill; at < fill;) {
			struct item *it = (struct item *)(void *)(base + at);
			at += (uint32_t)item_size(it);
			uint32_t shard =
			    index_shard_of(&s->index, hash_bytes(&s->hash, it->body, it->key_len));
			pthread_mutex_lock(&s->index.shard[shard].lock);
			retime_item(s, it, retime);
			pthread_mutex_unlock(&s->index.shard[shard].lock);
		}
	}
}
