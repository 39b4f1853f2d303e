/* SPDX-License-Identifier: BSD-3-Clause */
/* background: the evictor and the snapshot thread, and the tick that drives what goes by time. */
#include "engine/private.h"

#include <stdlib.h>
#include <time.h>
#include "base/schedule.h"

/* With less in memory than this its ratio to the log means nothing. */
#define RATIO_LOG_MIN (UINT64_C(128) << 20)
/* The third of zstd's fast levels, which code no literals: against the first it packs 5 (text) to 35 % faster (JSON 20), into 2 to
 * 8 % more. Levels beyond it make files of text and JSON larger, and win little time for that. */
#define SNAPSHOT_LEVEL (-3)
/* A failed snapshot is tried again after this many seconds. */
#define RETRY_SECONDS 60

/* ---- eviction ---- */

void background_wake_evictor(void *arg)
{
	struct engine *e = arg;
	pthread_mutex_lock(&e->lock);
	e->evict_wanted = true;
	pthread_cond_signal(&e->wake_evictor);
	pthread_mutex_unlock(&e->lock);
}

static void *evictor_main(void *arg)
{
	struct engine *e = arg;
	struct store_thread *t = e->evictor_thread;
	pthread_setname_np(pthread_self(), "evict");
	while (!atomic_load(&e->stopping)) {
		store_thread_set_now(t, clock_now(e->clock));
		if (store_maintain(t))
			continue;
		pthread_mutex_lock(&e->lock);
		if (!e->evict_wanted && !atomic_load(&e->stopping)) {
			struct timespec until = clock_deadline(250);
			pthread_cond_timedwait(&e->wake_evictor, &e->lock, &until);
		}
		e->evict_wanted = false;
		pthread_mutex_unlock(&e->lock);
	}
	return NULL;
}

/* ---- snapshots ---- */

static enum hearth_status make_snapshot(struct engine *e, struct store_thread *t, struct snap_result *ret)
{
	struct hearth_error err = {0};
	/* Before the port opens, and while changes are refused until it is there, it hurries. */
	bool hurry = !atomic_load(&e->serving) || wal_state(e->wal) != WAL_HEALTHY;
	const struct snap_options so = {
	    .store = e->store,
	    .thread = t,
	    .wal = e->wal,
	    .clock = e->clock,
	    .dicts = e->dicts,
	    .level = SNAPSHOT_LEVEL,
	    .rate = hurry ? 0 : atomic_load(&e->snapshot_rate),
	    .cancel = &e->stopping,
	    .flush_due = &e->flush_due,
	    .written = &e->snapshot_written,
	};
	int64_t began = clock_mono_us();
	store_thread_set_now(t, clock_now(e->clock));
	enum hearth_status status = HEARTH_TOO_LARGE;
	uint64_t evicted = store_evicted_count(e->store);
	if (bound_admit(e)) {
		status = snap_run(&so, ret, &err);
		bound_taken(e, status, ret);
	}
	if (status == HEARTH_OK)
		snap_pack(&so);
	pthread_mutex_lock(&e->lock);
	e->snapshots += status == HEARTH_OK;
	e->snapshot_errors += status != HEARTH_OK;
	if (status == HEARTH_OK) {
		e->evicted_published = evicted;
		e->last_number = ret->number;
		e->last_items = ret->items;
		e->last_bytes = ret->bytes;
		e->last_us = (uint64_t)(clock_mono_us() - began);
		e->last_time = clock_wall_ms() / 1000;
	}
	e->last_try = clock_mono_us() / 1000000;
	pthread_mutex_unlock(&e->lock);
	return status;
}

static void answer(struct snapshot_request *r, enum hearth_status status, const struct snap_result *result)
{
	while (r) {
		struct snapshot_request *next = r->next;
		if (r->done)
			r->done(r->arg, status, result->number, result->items, result->bytes);
		free(r);
		r = next;
	}
}

static void *snapshot_main(void *arg)
{
	struct engine *e = arg;
	struct store_thread *t = e->snapshot_thread;
	pthread_setname_np(pthread_self(), "snapshot");
	/* Snapshots may take their time; requests may not. */
	schedule_behind(10);
	pthread_mutex_lock(&e->lock);
	while (!atomic_load(&e->stopping)) {
		struct snapshot_request *pins = e->pins;
		if (pins) {
			e->pins = NULL;
			pthread_mutex_unlock(&e->lock);
			pin_requests(e, pins, false);
			pthread_mutex_lock(&e->lock);
			continue;
		}
		if (e->room_wanted && !e->snapshot_wanted) {
			e->room_wanted = false;
			pthread_mutex_unlock(&e->lock);
			bool wanted = bound_wants_snapshot(e);
			pthread_mutex_lock(&e->lock);
			e->snapshot_wanted |= wanted;
			continue;
		}
		if (!e->snapshot_wanted) {
			pthread_cond_wait(&e->wake_snapshots, &e->lock);
			continue;
		}
		struct snapshot_request *requests = e->requests;
		struct snap_result result = {0};
		e->requests = NULL;
		e->snapshot_wanted = false;
		e->snapshot_running = true;
		atomic_store(&e->snapshot_written, 0);
		pthread_mutex_unlock(&e->lock);
		enum hearth_status status = make_snapshot(e, t, &result);
		answer(requests, status, &result);
		pthread_mutex_lock(&e->lock);
		e->snapshot_running = false;
	}
	pthread_mutex_unlock(&e->lock);
	return NULL;
}

enum hearth_status engine_snapshot(struct engine *e,
    void (*done)(void *arg, enum hearth_status status, uint64_t number, uint64_t items, uint64_t bytes),
    void *arg)
{
	if (!e->wal)
		return HEARTH_END;
	struct snapshot_request *r = calloc(1, sizeof(*r));
	if (!r)
		return HEARTH_NOMEM;
	r->done = done;
	r->arg = arg;
	pthread_mutex_lock(&e->lock);
	bool busy = e->snapshot_running;
	r->next = e->requests;
	e->requests = r;
	e->snapshot_wanted = true;
	pthread_cond_signal(&e->wake_snapshots);
	pthread_mutex_unlock(&e->lock);
	return busy ? HEARTH_BUSY : HEARTH_OK;
}

/* ---- the tick ---- */

/* Whether the log has grown by so much of what is in memory, which is counted only once that may be so. */
static bool has_outgrown(struct engine *e, uint64_t grown)
{
	unsigned percent = e->options.snapshot_ratio;
	struct store_stats st;
	if (!percent || grown < RATIO_LOG_MIN / 100 * percent)
		return false;
	store_get_stats(e->store, &st);
	return grown >= st.bytes / 100 * percent;
}

void background_next(struct engine *e, struct engine_stats *ret)
{
	const struct engine_options *o = &e->options;
	int64_t since = clock_mono_us() / 1000000 - e->last_try;
	ret->snapshot_interval = o->snapshot_interval;
	ret->snapshot_wait = o->snapshot_interval > since ? o->snapshot_interval - since : 0;
	uint64_t bytes = ret->bytes > RATIO_LOG_MIN ? ret->bytes : RATIO_LOG_MIN;
	ret->snapshot_log_bytes = bytes / 100 * o->snapshot_ratio;
	ret->log_since_snapshot = wal_bytes_since_mark(e->wal);
}

static bool snapshot_due(struct engine *e)
{
	const struct engine_options *o = &e->options;
	int64_t now = clock_mono_us() / 1000000;
	uint64_t grown = wal_bytes_since_mark(e->wal);
	if (!wal_logs(e->wal))
		return false;
	bool outgrown = has_outgrown(e, grown);
	pthread_mutex_lock(&e->lock);
	int64_t since = now - e->last_try;
	bool interval = o->snapshot_interval && since >= o->snapshot_interval && grown > 0;
	bool ratio = outgrown && since >= (e->snapshot_errors ? RETRY_SECONDS : 0);
	bool due = (interval || ratio) && !e->snapshot_running && !e->snapshot_wanted;
	pthread_mutex_unlock(&e->lock);
	return due;
}

/* Whether the log asks for one, to get well; asked while one runs it asks again later. */
static bool heals(struct engine *e)
{
	pthread_mutex_lock(&e->lock);
	bool busy = e->snapshot_running || e->snapshot_wanted;
	pthread_mutex_unlock(&e->lock);
	return !busy && wal_wants_snapshot(e->wal);
}

static void fire_flush(struct engine *e)
{
	int64_t due = atomic_load(&e->flush_due);
	if (due == 0 || due > clock_now(e->clock))
		return;
	pthread_mutex_lock(&e->own_lock);
	struct engine_worker *w = engine_own(e);
	engine_turn(w);
	/* A full ring is no loss: the slot is still set, and the next tick tries again. */
	engine_fire_flush(w, due);
	engine_turn_end(w);
	pthread_mutex_unlock(&e->own_lock);
}

/* With --max-downtime an idle log says now and then that somebody is there. */
static void note_life(struct engine *e)
{
	int64_t now = clock_mono_us() / 1000000, every = e->options.max_downtime / 4;
	if (every > 60)
		every = 60;
	if (!e->options.max_downtime || now - e->noted_alive < every)
		return;
	e->noted_alive = now;
	wal_note_time(e->wal);
}

/* What was shown to have expired stays so: the log's last block carries a time no earlier. */
static void note_expiries(struct engine *e)
{
	uint64_t expired = store_expired_count(e->store);
	if (expired == e->expired_noted)
		return;
	e->expired_noted = expired;
	wal_note_time(e->wal);
}

void engine_tick(struct engine *e)
{
	CHECK_MAGIC(e, ENGINE_MAGIC);
	clock_slew(e->clock);
	fire_flush(e);
	if (!e->wal)
		return;
	note_expiries(e);
	note_life(e);
	bound_tick(e);
	/* Those that heal go before, and are not put off by what failed before. */
	if (heals(e) || snapshot_due(e))
		engine_snapshot(e, NULL, NULL);
}

void engine_jump(struct engine *e, int64_t seconds)
{
	clock_jump(e->clock, seconds);
	if (e->wal)
		wal_note_time(e->wal);
	fire_flush(e);
}

/* ---- starting and stopping ---- */

bool background_start(struct engine *e)
{
	e->last_try = clock_mono_us() / 1000000;
	for (size_t i = 0; i < e->files.manifest.n_snapshots; i++)
		e->last_bytes = e->files.manifest.snapshots[i].bytes;
	store_set_wake(e->store, background_wake_evictor, e);
	/* Here, where a lack of memory is a start that fails, and not a daemon that never takes a snapshot. */
	e->evictor_thread = store_thread_open(e->store, NULL);
	e->snapshot_thread = store_thread_open(e->store, NULL);
	if (!e->evictor_thread || !e->snapshot_thread)
		return false;
	e->evictor_running = pthread_create(&e->evictor, NULL, evictor_main, e) == 0;
	if (e->wal)
		e->snapshotter_running = pthread_create(&e->snapshotter, NULL, snapshot_main, e) == 0;
	return e->evictor_running && (!e->wal || e->snapshotter_running);
}

void background_stop(struct engine *e)
{
	pthread_mutex_lock(&e->lock);
	atomic_store(&e->stopping, true);
	pthread_cond_signal(&e->wake_evictor);
	pthread_cond_signal(&e->wake_snapshots);
	pthread_mutex_unlock(&e->lock);
	atomic_store(&e->stop_waits, "the log's new segment");
	rotate_wait(e);
	atomic_store(&e->stop_waits, "the drop of a prefix");
	drop_wait(e);
	atomic_store(&e->stop_waits, "the scrub, which reads a file");
	scrubber_stop(e);
	atomic_store(&e->stop_waits, "the snapshot that is being written");
	if (e->snapshotter_running)
		pthread_join(e->snapshotter, NULL);
	atomic_store(&e->stop_waits, "");
	if (e->evictor_running)
		pthread_join(e->evictor, NULL);
	e->snapshotter_running = e->evictor_running = false;
	/* Also what the scrubber asked for last. */
	pin_requests(e, e->pins, true);
	answer(e->requests, HEARTH_BUSY, &(struct snap_result){0});
	e->requests = e->pins = NULL;
	if (e->evictor_thread)
		store_thread_close(&e->evictor_thread);
	if (e->snapshot_thread)
		store_thread_close(&e->snapshot_thread);
}
