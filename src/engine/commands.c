/* SPDX-License-Identifier: BSD-3-Clause */
/* commands: what a worker does in a turn. Each change secures room in the log first, so that nothing waits
 * under a shard's lock; the observer below turns it into a record while that lock is held. */
#include "engine/private.h"

#include <string.h>
#include "store/item.h"

/* A need: the number, and above it as many bits of the epoch as there is room for. */
#define NUMBER_BITS 53
#define NUMBER_MASK ((UINT64_C(1) << NUMBER_BITS) - 1)
#define EPOCH_MASK  (UINT64_MAX >> NUMBER_BITS)

/* ---- the observer: store -> engine ---- */

static const uint8_t record_types[] = {
    [STORE_CHANGE_SET] = RECORD_SET,
    [STORE_CHANGE_DELETE] = RECORD_DELETE,
    [STORE_CHANGE_TOUCH] = RECORD_TOUCH,
    [STORE_CHANGE_PASS] = RECORD_PASS,
    [STORE_CHANGE_FLUSH] = RECORD_FLUSH,
    [STORE_CHANGE_FLUSH_AT] = RECORD_FLUSH_AT,
};

static struct record record_of(const struct store_change *c)
{
	struct record r = {.type = record_types[c->kind], .expiry = c->expiry};
	if (c->key) {
		r.key = c->key->data;
		r.key_len = c->key->len;
	}
	if (c->kind == STORE_CHANGE_SET) {
		r.bits = (uint16_t)((c->state & ITEM_STALE ? RECORD_STALE : 0) |
		                    (c->state & ITEM_WIN_SENT ? RECORD_WIN_SENT : 0) |
		                    (c->state & ITEM_BINARY ? RECORD_BINARY_KEY : 0));
		r.value = c->value;
		r.value_len = c->value_len;
		r.flags = c->flags;
		r.cas = c->cas;
		r.dict = c->dict;
	}
	return r;
}

uint64_t engine_observe(void *owner, const struct store_change *change)
{
	struct engine_worker *w = owner;
	struct record r = record_of(change);
	struct store_pin pin = change->pin;
	w->appended = true;
	return ring_append(wal_ring(w->engine->wal), &w->credit, &r, &pin);
}

/* ---- a turn ---- */

void engine_turn(struct engine_worker *w)
{
	CHECK_MAGIC(w, ENGINE_WORKER_MAGIC);
	const struct wal *wal = w->engine->wal;
	w->need = 0;
	w->epoch = wal ? wal_epoch(wal) : 0;
	w->lost = wal && (wal_state(wal) == WAL_LOST || wal_state(wal) == WAL_STOPPED);
	w->now = clock_now(w->engine->clock);
	store_thread_set_now(w->thread, w->now);
}

uint64_t engine_need(const struct engine_worker *w)
{
	return w->need ? (w->epoch & EPOCH_MASK) << NUMBER_BITS | w->need : 0;
}

/* Whether numbers were given up after the turn that needs this one, and this one with them. */
static bool given_up(const struct wal *wal, uint64_t need)
{
	uint64_t later = (wal_epoch(wal) - (need >> NUMBER_BITS)) & EPOCH_MASK;
	return later != 0 && (later > 1 || (need & NUMBER_MASK) > wal_lost_from(wal));
}

bool engine_ready(const struct engine *e, uint64_t need)
{
	if (!e->wal || need == 0)
		return true;
	return (need & NUMBER_MASK) <= wal_published(e->wal) && !given_up(e->wal, need);
}

bool engine_lost(const struct engine *e, uint64_t need)
{
	if (!e->wal || need == 0)
		return false;
	return given_up(e->wal, need) ||
	       (wal_state(e->wal) == WAL_LOST && (need & NUMBER_MASK) > wal_published(e->wal));
}

void engine_turn_end(struct engine_worker *w)
{
	if (!w->engine->wal)
		return;
	ring_settle(wal_ring(w->engine->wal), &w->credit);
	if (!w->appended)
		return;
	w->appended = false;
	ring_kick(wal_ring(w->engine->wal));
}

bool engine_appended(const struct engine_worker *w)
{
	return w->appended;
}

int64_t engine_now(const struct engine_worker *w)
{
	return w->now;
}

static void need(struct engine_worker *w, uint64_t seq)
{
	if (w->engine->wal && seq > w->need)
		w->need = seq;
}

/* Room in the log for one invalidation, which is never refused; STORE_OK, STORE_WAIT. */
static enum store_result secure_removal(struct engine_worker *w, size_t key_len, size_t value_len)
{
	struct engine *e = w->engine;
	if (!e->wal)
		return STORE_OK;
	if (wal_held(e->wal))
		return STORE_WAIT;
	if (ring_secure(wal_ring(e->wal), &w->credit, key_len, value_len))
		return STORE_OK;
	/* The log thread must not sleep while somebody waits for it. */
	ring_kick(wal_ring(e->wal));
	return STORE_WAIT;
}

/* Room in the log for one change; STORE_OK, STORE_WAIT, STORE_REFUSED. */
static enum store_result secure(struct engine_worker *w, size_t key_len, size_t value_len)
{
	struct engine *e = w->engine;
	if (e->wal && wal_refuses(e->wal)) {
		atomic_fetch_add_explicit(&e->refused, 1, memory_order_relaxed);
		return STORE_REFUSED;
	}
	if (e->wal && wal_tight(e->wal))
		return STORE_WAIT;
	return secure_removal(w, key_len, value_len);
}

/* What a removal came to. With neither log nor mark the key is gone from memory, but a start could bring it back: that is
 * no success, and nobody waits for its number. */
static enum store_result removed(struct engine_worker *w, enum store_result result, uint64_t seq)
{
	if (w->engine->wal && wal_state(w->engine->wal) == WAL_LOST)
		return STORE_REFUSED;
	need(w, seq);
	return result;
}

/* Somebody is shown that the key has expired. A kill and a clock set back must not undo that, so it is logged, unless
 * somebody has set the key meanwhile. When there is no room the block written within a second carries the time. */
static void note_expired(struct engine_worker *w, const struct store_key *key)
{
	struct store_outcome out = {0};
	/* The reserve is for those who ask for it. */
	if (!w->engine->wal || wal_state(w->engine->wal) != WAL_HEALTHY || secure(w, key->len, 0) != STORE_OK)
		return;
	store_delete(w->thread, key, STORE_COMPARE_NONE, &out);
	need(w, out.seq);
}

/* ---- commands ---- */

struct store_key engine_key(struct engine_worker *w, const void *data, uint8_t len)
{
	struct store_key key = store_key(w->engine->store, data, len);
	if (w->engine->n_prefixes)
		key.not_kept = keep_not(w->engine, data, len);
	return key;
}

void engine_prefetch(const struct engine_worker *w, const struct store_key *key)
{
	store_prefetch(w->engine->store, key->hash);
}

void engine_prefetch_item(const struct engine_worker *w, const struct store_key *key)
{
	store_prefetch_item(w->engine->store, key->hash);
}

int64_t engine_expiry(const struct engine_worker *w, int64_t exptime)
{
	if (exptime == 0)
		return 0;
	if (exptime < 0)
		return 1;
	/* memcached's rule: up to 30 days it is relative. */
	return exptime > 60 * 60 * 24 * 30 ? exptime : w->now + exptime;
}

struct known {
	store_emit *emit;
	void *arg;
	uint64_t upto;
	bool hidden;
};

static bool emit_known(void *arg, const struct store_view *view)
{
	struct known *k = arg;
	k->hidden = view->seq > k->upto;
	return !k->hidden && k->emit(k->arg, view);
}

/* What is on no disk is a miss, and a miss waits for nothing: an evicted key may come back as well. */
static enum store_result look_known(
    struct engine_worker *w, const struct store_key *key, bool hit, store_emit *emit, void *arg)
{
	struct known k = {.emit = emit, .arg = arg, .upto = wal_published(w->engine->wal)};
	struct store_outcome out = {0};
	enum store_result result = store_look(w->thread, key, hit, emit_known, &k, &out);
	if (k.hidden)
		return STORE_NOT_FOUND;
	if (result == STORE_OK)
		need(w, out.seq);
	return result;
}

static inline enum store_result look(
    struct engine_worker *w, const struct store_key *key, bool hit, store_emit *emit, void *arg)
{
	struct store_outcome out = {0};
	if (w->lost)
		return look_known(w, key, hit, emit, arg);
	enum store_result result = store_look(w->thread, key, hit, emit, arg, &out);
	need(w, out.seq);
	if (out.expired)
		note_expired(w, key);
	return result;
}

static inline enum store_result show(
    struct engine_worker *w, const struct store_key *key, bool hit, store_emit *emit, void *arg)
{
	if (!w->packing)
		return look(w, key, hit, emit, arg);
	struct unpacking u = unpack_begin(w, emit, arg);
	return unpack_done(&u, key, look(w, key, hit, unpack_emit, &u));
}

enum store_result engine_get(
    struct engine_worker *w, const struct store_key *key, store_emit *emit, void *arg)
{
	return show(w, key, true, emit, arg);
}

enum store_result engine_peek(
    struct engine_worker *w, const struct store_key *key, store_emit *emit, void *arg)
{
	return show(w, key, false, emit, arg);
}

static enum store_result touch(
    struct engine_worker *w, const struct store_key *key, int64_t expiry, store_emit *emit, void *arg)
{
	struct store_outcome out = {0};
	/* Into the past it is an invalidation. */
	bool removal = store_expired(expiry, w->now);
	size_t secured = 0;
	enum store_result result;
	for (;;) {
		result = removal ? secure_removal(w, key->len, secured) : secure(w, key->len, secured);
		if (result != STORE_OK)
			return result;
		result = store_touch(w->thread, key, expiry, secured, emit, arg, &out);
		if (result == STORE_DROPPED)
			continue;
		/* The item was not kept on disk and now is: its value goes there. */
		if (result != STORE_MORE_ROOM || out.needed <= secured)
			break;
		secured = out.needed;
	}
	if (removal && result != STORE_MORE_ROOM)
		return removed(w, result, out.seq);
	need(w, out.seq);
	if (out.expired)
		note_expired(w, key);
	return result;
}

enum store_result engine_touch(
    struct engine_worker *w, const struct store_key *key, int64_t expiry, store_emit *emit, void *arg)
{
	if (!w->packing || !emit)
		return touch(w, key, expiry, emit, arg);
	struct unpacking u = unpack_begin(w, emit, arg);
	return unpack_done(&u, key, touch(w, key, expiry, unpack_emit, &u));
}

/* As clients know it: whether it is packed makes no difference. */
static bool is_too_large(const struct engine *e, const struct store_key *key, size_t value_len)
{
	return sizeof(struct item) + key->len + value_len > e->options.item_max;
}

enum store_result engine_room(
    struct engine_worker *w, const struct store_key *key, size_t value_len, struct store_large **ret_large)
{
	struct engine *e = w->engine;
	*ret_large = NULL;
	if (is_too_large(e, key, value_len))
		return STORE_TOO_LARGE;
	if (!store_wants_large(e->store, key, value_len))
		return STORE_OK;
	*ret_large = store_large_make(w->thread, value_len);
	return *ret_large ? STORE_OK : STORE_NO_MEMORY;
}

uint8_t *engine_large_data(struct store_large *large)
{
	return store_large_data(large);
}

void engine_large_drop(struct engine_worker *w, struct store_large **large)
{
	struct store_pin pin = {*large, STORE_PIN_NONE};
	*large = NULL;
	if (pin.large)
		store_unpin(w->engine->store, &pin);
}

/* A value that came whole in the connection's buffer: no room was asked for it. */
static enum store_result place_value(
    struct engine_worker *w, const struct store_key *key, struct store_put *put, bool packs)
{
	if (packs && w->engine->compress) {
		if (is_too_large(w->engine, key, put->value_len))
			return STORE_TOO_LARGE;
		compress_put(w->engine->compress, w->packing, put);
	}
	enum store_result result = engine_room(w, key, put->value_len, &put->large);
	if (put->large)
		memcpy(store_large_data(put->large), put->value, put->value_len);
	return result;
}

enum store_result engine_put(struct engine_worker *w, const struct store_key *key,
    const struct store_put *put, struct store_stored *ret_stored)
{
	struct store_outcome out = {0};
	struct store_put own = *put;
	enum store_result result = STORE_OK;
	bool concat = put->mode == STORE_APPEND || put->mode == STORE_PREPEND;
	bool held = false;
	if (!put->large && (!concat || put->vivify))
		result = place_value(w, key, &own, !concat);
	if (result != STORE_OK)
		return result;
	size_t secured = own.value_len;
	/* Stored and at once expired, it is an invalidation. */
	bool removal = !concat && !put->older_is_stale && store_expired(put->expiry, w->now);
	do {
		result = removal ? secure_removal(w, key->len, secured) : secure(w, key->len, secured);
		if (result != STORE_OK)
			break;
		result = store_put(w->thread, key, &own, secured, &out);
		if (result == STORE_MORE_ROOM)
			secured = out.needed;
		held = result == STORE_PACKED || result == STORE_DROPPED;
	} while (result == STORE_MORE_ROOM || unpack_item(w, key, &result));
	/* The store took it over, but where it was not called, or had the value there unpacked first. */
	bool left = held || result == STORE_REFUSED || result == STORE_WAIT;
	if (own.large && left && !(result == STORE_WAIT && put->large))
		engine_large_drop(w, &own.large);
	if (ret_stored)
		*ret_stored = (struct store_stored){out.cas, own.dict ? put->value_len : out.value_len};
	if (removal && result != STORE_WAIT)
		return removed(w, result, out.seq);
	need(w, out.seq);
	return result;
}

enum store_result engine_delete(struct engine_worker *w, const struct store_key *key, uint64_t compare)
{
	struct store_outcome out = {0};
	enum store_result result = secure_removal(w, key->len, 0);
	if (result != STORE_OK)
		return result;
	result = store_delete(w->thread, key, compare, &out);
	return removed(w, result, out.seq);
}

enum store_result engine_drop_key(struct engine_worker *w, const struct store_key *key)
{
	struct store_outcome out;
	enum store_result result = secure_removal(w, key->len, 0);
	if (result != STORE_OK)
		return result;
	result = store_drop_key(w->thread, key, &out);
	return removed(w, result, out.seq);
}

enum store_result engine_drop_room(struct engine_worker *w)
{
	return secure_removal(w, 0, 0);
}

enum store_result engine_arith(struct engine_worker *w, const struct store_key *key,
    const struct store_arith *arith, struct store_number *ret_number)
{
	struct store_outcome out = {0};
	enum store_result result;
	do {
		result = secure(w, key->len, 32);
		if (result != STORE_OK)
			return result;
		result = store_arith(w->thread, key, arith, &out);
	} while (unpack_item(w, key, &result));
	need(w, out.seq);
	*ret_number = (struct store_number){out.number, out.cas, out.expiry, out.created};
	return result;
}

static enum store_result mark_once(struct engine_worker *w, const struct store_key *key,
    const struct store_mark *mark, size_t secured, store_emit *emit, void *arg, struct store_outcome *out)
{
	enum store_result result = STORE_OK;
	if (!mark->unlogged)
		result = secure(w, key->len, secured);
	return result == STORE_OK ? store_mark(w->thread, key, mark, secured, emit, arg, out) : result;
}

static enum store_result mark_item(struct engine_worker *w, const struct store_key *key,
    const struct store_mark *mark, store_emit *emit, void *arg)
{
	struct store_outcome out = {0};
	struct store_mark own = *mark;
	bool invalidates = mark->stale || mark->empty;
	if (w->engine->wal && wal_refuses(w->engine->wal))
		own.unlogged = mark->win && !mark->expires;
	size_t secured = 0;
	enum store_result result;
	for (;;) {
		result = mark_once(w, key, &own, secured, emit, arg, &out);
		if (result == STORE_DROPPED)
			continue;
		if ((result == STORE_REFUSED || result == STORE_NO_MEMORY) && invalidates)
			return engine_delete(w, key, mark->compare);
		/* Without memory for a copy it is marked where it is. */
		if (result == STORE_NO_MEMORY && mark->win && !mark->expires && !own.unlogged) {
			own.unlogged = true;
			continue;
		}
		if (result != STORE_MORE_ROOM || out.needed <= secured)
			break;
		secured = out.needed;
	}
	need(w, out.seq);
	if (out.expired)
		note_expired(w, key);
	return result;
}

enum store_result engine_mark(struct engine_worker *w, const struct store_key *key,
    const struct store_mark *mark, store_emit *emit, void *arg)
{
	if (!w->packing || !emit)
		return mark_item(w, key, mark, emit, arg);
	struct unpacking u = unpack_begin(w, emit, arg);
	return unpack_done(&u, key, mark_item(w, key, mark, unpack_emit, &u));
}

/* One slot: a flush now empties it, a later one takes it over; slot and log change in the same order. */
static enum store_result flush_if(struct engine_worker *w, int64_t due, const int64_t *expected)
{
	struct engine *e = w->engine;
	struct store_outcome out = {0};
	enum store_result result = secure_removal(w, 0, 0);
	if (result != STORE_OK)
		return result;
	pthread_mutex_lock(&e->flush_lock);
	if (!expected || atomic_load(&e->flush_due) == *expected) {
		atomic_store(&e->flush_due, due);
		store_flush(w->thread, due, &out);
	}
	pthread_mutex_unlock(&e->flush_lock);
	return removed(w, STORE_OK, out.seq);
}

enum store_result engine_flush(struct engine_worker *w, int64_t due)
{
	return flush_if(w, due, NULL);
}

enum store_result engine_fire_flush(struct engine_worker *w, int64_t due)
{
	return flush_if(w, 0, &due);
}

struct walk {
	store_visit_key *visit;
	void *arg;
	uint64_t seq, upto;
};

static bool visit_known(void *arg, const struct store_key_view *item)
{
	struct walk *walk = arg;
	if (item->view->seq > walk->upto)
		return true;
	if (item->view->seq > walk->seq)
		walk->seq = item->view->seq;
	return walk->visit(walk->arg, item);
}

bool engine_walk(struct engine_worker *w, uint32_t *at, store_visit_key *visit, void *arg, bool *ret_again)
{
	/* What is on no disk is not shown, as in look_known. */
	struct walk walk = {
	    .visit = visit, .arg = arg, .upto = w->lost ? wal_published(w->engine->wal) : UINT64_MAX};
	bool more = store_walk(w->thread, at, visit_known, &walk, ret_again);
	need(w, walk.seq);
	return more;
}

void engine_unpin(struct engine_worker *w, struct store_pin *pin)
{
	store_unpin(w->engine->store, pin);
}
