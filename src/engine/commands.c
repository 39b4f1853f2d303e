/* SPDX-License-Identifier: BSD-3-Clause */
/* commands: what a worker does in a turn. Each change secures room in the log first, so that nothing waits
 * under a shard's lock; the observer below turns it into a record while that lock is held. */
#include "engine/private.h"

#include <string.h>
#include "store/item.h"

/* ---- the observer: store -> engine ---- */

static struct record record_of(const struct store_change *c)
{
	struct record r = {.expiry = c->expiry};
	if (c->key) {
		r.key = c->key->data;
		r.key_len = c->key->len;
	}
	switch (c->kind) {
	case STORE_CHANGE_SET:
		r.type = RECORD_SET;
		r.bits = (uint16_t)((c->state & ITEM_STALE ? RECORD_STALE : 0) |
		                    (c->state & ITEM_WIN_SENT ? RECORD_WIN_SENT : 0) |
		                    (c->state & ITEM_BINARY ? RECORD_BINARY_KEY : 0));
		r.value = c->value;
		r.value_len = c->value_len;
		r.flags = c->flags;
		r.cas = c->cas;
		break;
	case STORE_CHANGE_DELETE:
		r.type = RECORD_DELETE;
		break;
	case STORE_CHANGE_TOUCH:
		r.type = RECORD_TOUCH;
		break;
	case STORE_CHANGE_PASS:
		r.type = RECORD_PASS;
		break;
	case STORE_CHANGE_FLUSH:
		r.type = RECORD_FLUSH;
		break;
	case STORE_CHANGE_FLUSH_AT:
		r.type = RECORD_FLUSH_AT;
		break;
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
	w->need = 0;
	w->now = clock_now(w->engine->clock);
	store_thread_set_now(w->thread, w->now);
}

uint64_t engine_need(const struct engine_worker *w)
{
	return w->need;
}

bool engine_ready(const struct engine *e, uint64_t need)
{
	return !e->wal || need <= wal_published(e->wal);
}

bool engine_lost(const struct engine *e, uint64_t need)
{
	return e->wal && wal_failed(e->wal) && need > wal_published(e->wal);
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

int64_t engine_now(const struct engine_worker *w)
{
	return w->now;
}

static void need(struct engine_worker *w, uint64_t seq)
{
	if (w->engine->wal && seq > w->need)
		w->need = seq;
}

/* Room in the log for one change; STORE_OK, STORE_WAIT, STORE_REFUSED. */
static enum store_result secure(struct engine_worker *w, size_t key_len, size_t value_len)
{
	struct engine *e = w->engine;
	if (!e->wal)
		return STORE_OK;
	if (wal_failed(e->wal))
		return STORE_REFUSED;
	if (wal_held(e->wal))
		return STORE_WAIT;
	if (ring_secure(wal_ring(e->wal), &w->credit, key_len, value_len))
		return STORE_OK;
	/* The log thread must not sleep while somebody waits for it. */
	ring_kick(wal_ring(e->wal));
	return STORE_WAIT;
}

/* Somebody is shown that the key has expired. A kill and a clock set back must not undo that, so it is logged, unless
 * somebody has set the key meanwhile. When there is no room the block written within a second carries the time. */
static void note_expired(struct engine_worker *w, const struct store_key *key)
{
	struct store_outcome out = {0};
	if (!w->engine->wal || secure(w, key->len, 0) != STORE_OK)
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

int64_t engine_expiry(const struct engine_worker *w, int64_t exptime)
{
	if (exptime == 0)
		return 0;
	if (exptime < 0)
		return 1;
	/* memcached's rule: up to 30 days it is relative. */
	return exptime > 60 * 60 * 24 * 30 ? exptime : w->now + exptime;
}

enum store_result engine_get(
    struct engine_worker *w, const struct store_key *key, store_emit *emit, void *arg)
{
	struct store_outcome out = {0};
	enum store_result result = store_get(w->thread, key, emit, arg, &out);
	need(w, out.seq);
	if (out.expired)
		note_expired(w, key);
	return result;
}

enum store_result engine_touch(
    struct engine_worker *w, const struct store_key *key, int64_t expiry, store_emit *emit, void *arg)
{
	struct store_outcome out = {0};
	size_t secured = 0;
	enum store_result result;
	for (;;) {
		result = secure(w, key->len, secured);
		if (result != STORE_OK)
			return result;
		result = store_touch(w->thread, key, expiry, secured, emit, arg, &out);
		/* The item was not kept on disk and now is: its value goes there. */
		if (result != STORE_MORE_ROOM || out.needed <= secured)
			break;
		secured = out.needed;
	}
	need(w, out.seq);
	if (out.expired)
		note_expired(w, key);
	return result;
}

enum store_result engine_room(
    struct engine_worker *w, const struct store_key *key, size_t value_len, struct store_large **ret_large)
{
	struct engine *e = w->engine;
	*ret_large = NULL;
	if (sizeof(struct item) + key->len + value_len > e->options.item_max)
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

enum store_result engine_put(
    struct engine_worker *w, const struct store_key *key, const struct store_put *put, uint64_t *ret_cas)
{
	struct store_outcome out = {0};
	struct store_put own = *put;
	size_t secured = put->value_len;
	enum store_result result;
	/* No room was asked for what came whole in the connection's buffer. */
	if (!put->large && put->mode != STORE_APPEND && put->mode != STORE_PREPEND) {
		result = engine_room(w, key, put->value_len, &own.large);
		if (result != STORE_OK)
			return result;
		if (own.large)
			memcpy(store_large_data(own.large), put->value, put->value_len);
	}
	do {
		result = secure(w, key->len, secured);
		if (result != STORE_OK)
			break;
		result = store_put(w->thread, key, &own, secured, &out);
		secured = out.needed;
	} while (result == STORE_MORE_ROOM);
	if (own.large && (result == STORE_REFUSED || (result == STORE_WAIT && !put->large)))
		engine_large_drop(w, &own.large);
	need(w, out.seq);
	if (ret_cas)
		*ret_cas = out.cas;
	return result;
}

enum store_result engine_delete(struct engine_worker *w, const struct store_key *key, uint64_t compare)
{
	struct store_outcome out = {0};
	enum store_result result = secure(w, key->len, 0);
	if (result != STORE_OK)
		return result;
	result = store_delete(w->thread, key, compare, &out);
	need(w, out.seq);
	return result;
}

enum store_result engine_arith(struct engine_worker *w, const struct store_key *key,
    const struct store_arith *arith, uint64_t *ret_value, uint64_t *ret_cas)
{
	struct store_outcome out = {0};
	enum store_result result = secure(w, key->len, 32);
	if (result != STORE_OK)
		return result;
	result = store_arith(w->thread, key, arith, &out);
	need(w, out.seq);
	*ret_value = out.number;
	if (ret_cas)
		*ret_cas = out.cas;
	return result;
}

/* One slot: a flush now empties it, a later one takes it over; slot and log change in the same order. */
static enum store_result flush_if(struct engine_worker *w, int64_t due, const int64_t *expected)
{
	struct engine *e = w->engine;
	struct store_outcome out = {0};
	enum store_result result = secure(w, 0, 0);
	if (result != STORE_OK)
		return result;
	pthread_mutex_lock(&e->flush_lock);
	if (!expected || atomic_load(&e->flush_due) == *expected) {
		atomic_store(&e->flush_due, due);
		store_flush(w->thread, due, &out);
	}
	pthread_mutex_unlock(&e->flush_lock);
	need(w, out.seq);
	return STORE_OK;
}

enum store_result engine_flush(struct engine_worker *w, int64_t due)
{
	return flush_if(w, due, NULL);
}

enum store_result engine_fire_flush(struct engine_worker *w, int64_t due)
{
	return flush_if(w, 0, &due);
}

void engine_unpin(struct engine_worker *w, struct store_pin *pin)
{
	store_unpin(w->engine->store, pin);
}
