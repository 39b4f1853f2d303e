/* SPDX-License-Identifier: BSD-3-Clause */
/* drop: deletes all items whose keys begin with a prefix, a shard at a time, on a thread of its own that goes behind
 * requests. Each deletion is one like a client's, with its tombstone, so that neither a kill nor an older snapshot brings
 * anything back. It ends with a sync, whatever the policy. What was evicted has no tombstone, and files may hold it: if
 * anything was, since the last snapshot began, a fresh one is what a start begins with before success is told.
 * A purge then has older snapshots and their log removed, which hold keys and values: the tombstones' keys, too. */
#include "engine/private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/buf.h"
#include "base/msg.h"
#include "base/schedule.h"

#define TURN    64u    /* keys deleted before others go first */
#define AHEAD   1024u  /* numbers that may wait for the log thread: the ring is there for requests */
#define TOLD_US 200000 /* how far it is, so often */
#define WAIT_NS 1000000
#define KEYS    (64u << 10) /* of one shard, bytes, to begin with */

struct drop {
	struct engine *engine;
	struct engine_worker *worker;
	pthread_t thread;
	bool started; /* and not yet waited for */
	_Atomic bool running;
	struct engine_drop_order order;
	uint8_t prefix[STORE_KEY_MAX];
	engine_told *told;
	void *arg;
	struct engine_dropped state;
	struct store_drop what;
	struct buf keys; /* of the shard that it is at: a length, a key */
	uint64_t epoch;  /* of the log, when it began */
	int64_t told_us;
	/* The snapshot that it waits for; under the engine's lock. */
	pthread_cond_t wake;
	bool asked;
	enum hearth_status snapshot_status;
};

static bool fail(struct drop *d, enum hearth_status status, const char *why)
{
	d->state.status = status;
	snprintf(d->state.note, sizeof(d->state.note), "%s", why);
	return false;
}

/* Counting alone counts into the state itself. */
static void take_counts(struct drop *d)
{
	if (d->order.dry)
		return;
	d->state.items = atomic_load(&d->what.items);
	d->state.bytes = atomic_load(&d->what.bytes);
}

static void tell(struct drop *d)
{
	int64_t now = clock_mono_us();
	if (now - d->told_us < TOLD_US)
		return;
	d->told_us = now;
	take_counts(d);
	d->told(d->arg, &d->state);
}

static void pause_shortly(void)
{
	const struct timespec t = {0, WAIT_NS};
	nanosleep(&t, NULL);
}

/* Nothing is deleted that the log could not hold: what was is, and stays so. */
static bool goes_on(struct drop *d)
{
	const struct wal *wal = d->engine->wal;
	if (atomic_load(&d->engine->stopping))
		return fail(d, HEARTH_BUSY, "given up: the daemon stops");
	if (wal_state(wal) == WAL_HEALTHY && wal_epoch(wal) == d->epoch)
		return true;
	return fail(d, HEARTH_IO, "given up: the disk fails or is full");
}

/* ---- a shard ---- */

/* Under its lock. */
static bool list(void *arg, const struct store_key_view *item)
{
	struct drop *d = arg;
	if (buf_room(&d->keys) < 1u + item->key_len)
		return false;
	d->keys.data[d->keys.tail++] = item->key_len;
	memcpy(d->keys.data + d->keys.tail, item->key, item->key_len);
	d->keys.tail += item->key_len;
	return true;
}

/* All that is to go of one. False: *ret_more says nothing. */
static bool list_part(struct drop *d, uint32_t *part, bool *ret_more)
{
	bool again = true;
	for (size_t want = KEYS; again; want *= 2) {
		buf_clear(&d->keys);
		if (!buf_reserve(&d->keys, want))
			return fail(d, HEARTH_NOMEM, "given up: memory is short");
		*ret_more = store_drop_list(d->worker->thread, part, list, d, &again);
	}
	return true;
}

static bool delete_key(struct drop *d, const uint8_t *data, uint8_t len)
{
	const struct store_key key = store_key(d->engine->store, data, len);
	enum store_result result = STORE_WAIT;
	/* Asked for each: a deletion that cannot be logged would cost the whole directory its trust (heal.c). */
	while (goes_on(d) && (result = engine_drop_key(d->worker, &key)) == STORE_WAIT) {
		engine_turn_end(d->worker);
		pause_shortly();
		tell(d);
		engine_turn(d->worker);
	}
	if (d->state.status != HEARTH_OK)
		return false;
	if (result == STORE_REFUSED)
		return fail(d, HEARTH_IO, "given up: the disk fails or is full");
	return true;
}

/* Between two turns: requests and the log thread go first. */
static bool breathe(struct drop *d)
{
	struct wal *wal = d->engine->wal;
	engine_turn_end(d->worker);
	schedule_yield();
	tell(d);
	while (goes_on(d) && ring_last(wal_ring(wal)) > wal_written(wal) + AHEAD)
		pause_shortly();
	engine_turn(d->worker);
	return goes_on(d);
}

static bool delete_listed(struct drop *d)
{
	for (unsigned n = 1; buf_len(&d->keys) > 0; n++) {
		const uint8_t *key = d->keys.data + d->keys.head;
		if (!delete_key(d, key + 1, key[0]))
			return false;
		buf_consume(&d->keys, 1u + key[0]);
		if (n % TURN == 0 && !breathe(d))
			return false;
	}
	return breathe(d);
}

static void note_part(struct drop *d, uint32_t part)
{
	d->state.permille = (unsigned)((uint64_t)part * 1000 / store_drop_parts(d->engine->store));
}

/* The number that it begins with needs room in the log. */
static bool begin(struct drop *d)
{
	while (engine_drop_room(d->worker) != STORE_OK) {
		engine_turn_end(d->worker);
		pause_shortly();
		if (!goes_on(d))
			return false;
		engine_turn(d->worker);
	}
	store_drop_begin(d->worker->thread, &d->what);
	return true;
}

static bool delete_all(struct drop *d)
{
	uint32_t part = 0;
	bool more = true, ok = begin(d);
	if (!ok)
		return false;
	while (ok && more) {
		ok = list_part(d, &part, &more) && delete_listed(d);
		note_part(d, part);
	}
	store_drop_end(d->worker->thread);
	return ok;
}

/* ---- counting alone ---- */

static bool count(void *arg, const struct store_key_view *item)
{
	struct drop *d = arg;
	if (item->key_len >= d->what.len && memcmp(item->key, d->prefix, d->what.len) == 0) {
		d->state.items++;
		d->state.bytes += item->key_len + item->view->value_len;
	}
	return true;
}

static bool count_all(struct drop *d)
{
	uint32_t part = 0;
	bool again;
	while (store_walk(d->worker->thread, &part, count, d, &again)) {
		if (atomic_load(&d->engine->stopping))
			return fail(d, HEARTH_BUSY, "given up: the daemon stops");
		note_part(d, part);
		tell(d);
		schedule_yield();
	}
	return true;
}

/* ---- what the disk has ---- */

static void snapshot_done(
    void *arg, enum hearth_status status, uint64_t number, uint64_t items, uint64_t bytes)
{
	struct drop *d = arg;
	(void)items;
	(void)bytes;
	pthread_mutex_lock(&d->engine->lock);
	d->asked = false;
	d->snapshot_status = status;
	d->state.snapshot = status == HEARTH_OK ? number : 0;
	pthread_cond_signal(&d->wake);
	pthread_mutex_unlock(&d->engine->lock);
}

/* One that begins from here on. */
static bool take_snapshot(struct drop *d)
{
	struct engine *e = d->engine;
	d->state.writing = true;
	d->asked = true;
	enum hearth_status status = engine_snapshot(e, snapshot_done, d);
	if (status != HEARTH_OK && status != HEARTH_BUSY) {
		d->asked = false;
		return fail(d, status, "deleted, but no snapshot could be asked for");
	}
	pthread_mutex_lock(&e->lock);
	while (d->asked && !atomic_load(&e->stopping)) {
		struct timespec until = clock_deadline(100);
		pthread_cond_timedwait(&d->wake, &e->lock, &until);
	}
	status = d->asked ? HEARTH_BUSY : d->snapshot_status;
	pthread_mutex_unlock(&e->lock);
	return status == HEARTH_OK || fail(d, status,
	                                  "deleted, but the snapshot failed without which what was evicted "
	                                  "may come back with a start, and "
	                                  "nothing is purged");
}

static bool was_evicted(struct engine *e)
{
	pthread_mutex_lock(&e->lock);
	bool evicted = store_evicted_count(e->store) != e->evicted_published;
	pthread_mutex_unlock(&e->lock);
	return evicted;
}

/* The numbers of what is pinned, and came before the snapshot that a purge leaves; 0 = all. */
static size_t name_pins(const struct manifest *m, uint64_t before, char *out, size_t size)
{
	size_t n = 0, at = 0;
	out[0] = '\0';
	for (size_t i = 0; i < m->n_snapshots; i++) {
		if (!m->snapshots[i].pinned || (before && m->snapshots[i].number >= before))
			continue;
		n++;
		if (at < size - 40)
			at += (size_t)snprintf(
			    out + at, size - at, "%s%" PRIu64, at ? ", " : "", m->snapshots[i].number);
		else if (at < size - 8)
			at += (size_t)snprintf(out + at, size - at, " ...");
	}
	return n;
}

struct purge {
	uint64_t number; /* of the snapshot that stays; 0: only look */
	uint64_t last;   /* the records to go have no higher number */
	size_t pins;
	bool log; /* a segment is left that has such a one */
	char names[160];
};

static enum hearth_status run_purge(void *arg, struct files *files)
{
	struct purge *p = arg;
	const struct manifest *m = &files->manifest;
	enum hearth_status status = p->number ? files_purge(files, p->number, NULL) : HEARTH_OK;
	p->pins = name_pins(m, p->number, p->names, sizeof(p->names));
	p->log = m->n_segments > 0 && m->segments[0].first <= p->last;
	return status;
}

static bool fail_pins(struct drop *d, const struct purge *p)
{
	snprintf(d->state.note, sizeof(d->state.note),
	    "%s: snapshot %s is pinned and may hold what is dropped: unpin first",
	    p->number ? "deleted, but not purged" : "nothing is dropped", p->names);
	d->state.status = HEARTH_TOO_LARGE;
	return false;
}

/* Before anything is deleted. */
static bool look_for_pins(struct drop *d)
{
	struct purge p = {0};
	enum hearth_status status = wal_run(d->engine->wal, run_purge, &p);
	if (status != HEARTH_OK)
		return fail(d, status, "nothing is dropped: the manifest cannot be looked at");
	return p.pins == 0 || fail_pins(d, &p);
}

static bool purge(struct drop *d, uint64_t last)
{
	struct purge p = {.number = d->state.snapshot, .last = last};
	enum hearth_status status = wal_run(d->engine->wal, run_purge, &p);
	if (status != HEARTH_OK)
		return fail(d, status, "deleted, but older files could not all be removed: purge again");
	if (p.pins)
		return fail_pins(d, &p);
	if (p.log)
		return fail(
		    d, HEARTH_IO, "deleted, but the log did not begin a new segment in time: purge again");
	return true;
}

static bool settle(struct drop *d)
{
	struct engine *e = d->engine;
	uint64_t last = ring_last(wal_ring(e->wal));
	if (wal_sync(e->wal, last) != HEARTH_OK)
		return fail(d, HEARTH_IO, "deleted, but the log could not be made durable");
	/* What was given up on the way would not come again. */
	if (!goes_on(d))
		return false;
	if ((d->order.purge || was_evicted(e)) && !take_snapshot(d))
		return false;
	return !d->order.purge || purge(d, last);
}

/* ---- the thread ---- */

static void *drop_main(void *arg)
{
	struct drop *d = arg;
	pthread_setname_np(pthread_self(), "drop");
	schedule_behind(10);
	engine_turn(d->worker);
	bool ok = !d->order.purge || d->order.dry || look_for_pins(d);
	ok = ok && (d->order.dry ? count_all(d) : delete_all(d));
	engine_turn_end(d->worker);
	take_counts(d);
	if (ok && !d->order.dry)
		ok = settle(d);
	if (!d->order.dry)
		msg(MSG_INFO, "drop: %" PRIu64 " items with a prefix of %zu bytes are deleted%s%s",
		    d->state.items, d->what.len, ok ? "" : "; ", ok ? "" : d->state.note);
	d->state.ended = true;
	/* Who asks for the next one waits for this thread first. */
	atomic_store(&d->running, false);
	d->told(d->arg, &d->state);
	return NULL;
}

void drop_wait(struct engine *e)
{
	if (e->drop && e->drop->started) {
		pthread_join(e->drop->thread, NULL);
		e->drop->started = false;
	}
}

void drop_free(struct engine *e)
{
	if (!e->drop)
		return;
	buf_free(&e->drop->keys);
	pthread_cond_destroy(&e->drop->wake);
	free(e->drop);
	e->drop = NULL;
}

static void start(struct drop *d, struct engine *e, const struct engine_drop_order *order)
{
	d->engine = e;
	d->worker = engine_dropper(e);
	d->order = *order;
	d->state = (struct engine_dropped){0};
	memcpy(d->prefix, order->prefix, order->len);
	d->order.prefix = d->prefix;
	d->what = (struct store_drop){.prefix = d->prefix, .len = order->len};
	d->epoch = wal_epoch(e->wal);
	d->told_us = clock_mono_us();
}

enum hearth_status engine_drop(
    struct engine *e, const struct engine_drop_order *order, engine_told *told, void *arg)
{
	CHECK_MAGIC(e, ENGINE_MAGIC);
	CHECK(order->len > 0 && order->len <= STORE_KEY_MAX);
	if (!e->wal)
		return HEARTH_END;
	if (e->drop && atomic_load(&e->drop->running))
		return HEARTH_BUSY;
	if (!order->dry && wal_state(e->wal) != WAL_HEALTHY)
		return HEARTH_IO;
	drop_wait(e);
	if (!e->drop) {
		e->drop = calloc(1, sizeof(*e->drop));
		if (!e->drop)
			return HEARTH_NOMEM;
		clock_init_cond(&e->drop->wake);
	}
	start(e->drop, e, order);
	e->drop->told = told;
	e->drop->arg = arg;
	atomic_store(&e->drop->running, true);
	e->drop->started = pthread_create(&e->drop->thread, NULL, drop_main, e->drop) == 0;
	if (e->drop->started)
		return HEARTH_OK;
	atomic_store(&e->drop->running, false);
	return HEARTH_NOMEM;
}
