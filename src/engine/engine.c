/* SPDX-License-Identifier: BSD-3-Clause */
/* engine: opens, recovers, stops, closes; see engine.h. The commands are in commands.c, threads in
 * background.c. */
#include "engine/private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "persist/room.h"

static const enum store_policy policies[] = {[ENGINE_S3FIFO] = STORE_S3FIFO,
    [ENGINE_LRU] = STORE_LRU,
    [ENGINE_LFU] = STORE_LFU,
    [ENGINE_TTL] = STORE_TTL,
    [ENGINE_RANDOM] = STORE_RANDOM,
    [ENGINE_MRU] = STORE_MRU};
_Static_assert(sizeof(policies) / sizeof(policies[0]) == STORE_POLICIES, "one row a policy of the store");
static const enum wal_fsync fsyncs[] = {
    [ENGINE_FSYNC_ALWAYS] = WAL_ALWAYS, [ENGINE_FSYNC_EVERYSEC] = WAL_EVERYSEC, [ENGINE_FSYNC_OS] = WAL_OS};

static void unpin(void *arg, struct store_pin *pin)
{
	store_unpin(arg, pin);
}

static unsigned cores(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);
	return n < 1 ? 1 : n > 64 ? 64 : (unsigned)n;
}

/* cache_memlimit can ask for so many times -m. */
#define MEMORY_GROWS 8

static enum hearth_status open_store(struct engine *e, struct hearth_error *ret_err)
{
	unsigned n = e->options.workers > cores() ? e->options.workers : cores();
	struct store_options so = {
	    .memory = e->options.memory,
	    .most = e->options.memory_fixed ? 0 : e->options.memory * MEMORY_GROWS,
	    .item_max = e->options.item_max,
	    .no_evict = e->options.no_evict,
	    .policy = policies[e->options.policy],
	    .keep_ttl = e->options.keep_ttl,
	    .threads = n,
	};
	e->store = store_open(&so);
	if (!e->store) {
		/* The system may not have that much address space for us. */
		so.most = 0;
		e->store = store_open(&so);
	}
	e->clock = clock_open(0);
	e->workers = calloc(engine_workers(e), sizeof(*e->workers));
	if (!e->store || !e->clock || !e->workers)
		return hearth_fail(ret_err, HEARTH_NOMEM, NULL, 0, "no memory for the store");
	for (unsigned i = 0; i < engine_workers(e); i++) {
		struct engine_worker *w = &e->workers[i];
		w->magic = ENGINE_WORKER_MAGIC;
		w->engine = e;
		w->thread = store_thread_open(e->store, w);
		if (!w->thread)
			return hearth_fail(ret_err, HEARTH_NOMEM, NULL, 0, "no memory for the workers");
		engine_turn(w);
	}
	return HEARTH_OK;
}

/* What hearthd(8) says of -m. */
uint64_t engine_memory_beside(const struct engine_options *o, bool persist)
{
	uint64_t fixed =
	    (uint64_t)o->workers * (50u << 10) + (o->compress ? (uint64_t)o->workers * (400u << 10) : 0);
	uint64_t serving = room_ring(o->memory, o->workers) + (UINT64_C(2) << 20);
	uint64_t loading = (UINT64_C(64) << 20) + (uint64_t)cores() * (UINT64_C(4) << 20) +
	                   (o->item_max > UINT64_C(8) << 20 ? 2 * o->item_max : 0);
	if (!persist)
		return fixed;
	return fixed + (serving > loading ? serving : loading);
}

enum hearth_status engine_open(struct engine **ret_engine, const struct engine_options *options,
    struct datadir *dir, struct hearth_error *ret_err)
{
	struct engine *e = calloc(1, sizeof(*e));
	*ret_engine = NULL;
	if (!e)
		return hearth_fail(ret_err, HEARTH_NOMEM, NULL, 0, "no memory for the engine");
	e->magic = ENGINE_MAGIC;
	e->options = *options;
	atomic_init(&e->snapshot_rate, options->snapshot_rate);
	pthread_mutex_init(&e->lock, NULL);
	pthread_mutex_init(&e->own_lock, NULL);
	pthread_mutex_init(&e->flush_lock, NULL);
	clock_init_cond(&e->wake_evictor);
	clock_init_cond(&e->wake_snapshots);
	clock_init_cond(&e->wake_scrubber);
	e->dicts = dict_set_new(DICT_COUNT_MAX);
	if (!dir)
		e->options.keep_ttl = 0; /* nothing is kept anyway */
	enum hearth_status status = open_store(e, ret_err);
	if (status == HEARTH_OK && !e->dicts)
		status = hearth_fail(ret_err, HEARTH_NOMEM, NULL, 0, "no memory for dictionaries");
	if (status == HEARTH_OK && dir && !keep_open(e))
		status = hearth_fail(ret_err, HEARTH_NOMEM, NULL, 0, "no memory for the prefixes");
	if (status == HEARTH_OK && dir) {
		status = files_open(&e->files, dir, options->keep, ret_err);
		e->files.keep_days = options->keep_days;
		e->persist = status == HEARTH_OK;
	}
	if (status != HEARTH_OK)
		engine_close(&e);
	*ret_engine = e;
	return status;
}

void engine_tune(struct engine *e, const struct engine_options *next)
{
	struct engine_options *o = &e->options;
	/* Who asks for stats reads them, too. */
	pthread_mutex_lock(&e->lock);
	o->snapshot_interval = next->snapshot_interval;
	o->snapshot_ratio = next->snapshot_ratio;
	pthread_mutex_unlock(&e->lock);
	o->snapshot_rate = next->snapshot_rate;
	atomic_store(&e->snapshot_rate, next->snapshot_rate);
	o->keep = next->keep;
	o->keep_days = next->keep_days;
	atomic_store(&e->files.keep, next->keep);
	atomic_store(&e->files.keep_days, next->keep_days);
	o->fsync = next->fsync;
	o->on_disk_error = next->on_disk_error;
	o->max_downtime = next->max_downtime;
	o->no_evict = next->no_evict;
	store_set_no_evict(e->store, next->no_evict);
	store_set_keep_ttl(e->store, e->persist ? next->keep_ttl : 0);
	scrubber_set_interval(e, next->scrub_interval);
	if (e->wal) {
		wal_set_fsync(e->wal, fsyncs[next->fsync]);
		wal_set_serve(e->wal, next->on_disk_error == ENGINE_SERVE);
	}
}

uint64_t engine_needs_disk(const struct engine *e)
{
	return engine_least_disk(&e->options);
}

enum hearth_status engine_set_max_disk(struct engine *e, uint64_t bytes)
{
	/* The ring is what the start made it. */
	if (e->persist && bytes && bytes < engine_needs_disk(e))
		return HEARTH_TOO_LARGE;
	e->options.max_disk = bytes;
	if (e->wal)
		bound_move(e, bytes);
	return HEARTH_OK;
}

static enum hearth_status open_log(struct engine *e, struct hearth_error *ret_err)
{
	uint64_t ring = room_ring(e->options.memory, e->options.workers);
	/* What recovery must write anew it writes: a start that fails for the bound would be worse. */
	enum hearth_status status = recover_settle(&e->files, e->recovered, ret_err);
	if (status == HEARTH_OK)
		status = bound_open(e, ring, ret_err);
	const struct wal_options wo = {
	    .fsync = fsyncs[e->options.fsync],
	    .segment_bytes = e->options.segment_bytes,
	    .ring_bytes = ring,
	    .clock = e->clock,
	    .dicts = e->dicts,
	    .serve = e->options.on_disk_error == ENGINE_SERVE,
	    .progress = e->options.progress,
	    .progress_arg = e->options.progress_arg,
	    .unpin = unpin,
	    .unpin_arg = e->store,
	    .near_bound = bound_near,
	    .near_bound_arg = e,
	    .slack = e->bound.slack,
	};
	if (status == HEARTH_OK)
		status = wal_open(&e->wal, &wo, &e->files, &e->recovered->start, ret_err);
	if (status == HEARTH_OK)
		store_set_observer(e->store, engine_observe);
	return status;
}

static void fill_recovery(struct engine *e, double seconds)
{
	struct store_stats st;
	store_get_stats(e->store, &st);
	e->recovery = (struct engine_recovery){.items = st.items, .bytes = st.bytes, .seconds = seconds};
	if (!e->recovered)
		return;
	const struct recover_result *r = e->recovered;
	e->recovery.snapshot = r->snapshot;
	e->recovery.log_records = r->log_records;
	e->recovery.expired = r->expired;
	e->recovery.dropped = r->dropped + st.load_evictions;
	e->recovery.left_out_bytes = r->left_out_bytes;
	e->recovery.damaged = r->damaged;
	e->recovery.downtime = (double)r->life.down_ms / 1e3;
	/* What was not taken in is on disk yet, as what is evicted. */
	e->evicted_published = e->recovery.dropped ? UINT64_MAX : 0;
	e->recovery.empty = r->empty;
	e->recovery.clock = r->life.odd ? r->life.what : NULL;
	e->recovery.clock_back = r->life.back_ms / 1000;
	snprintf(e->recovery.note, sizeof(e->recovery.note), "%s", r->note);
}

enum hearth_status engine_recover(
    struct engine *e, struct engine_recovery *ret_recovery, struct hearth_error *ret_err)
{
	CHECK_MAGIC(e, ENGINE_MAGIC);
	int64_t began = clock_mono_us();
	enum hearth_status status = HEARTH_OK;
	if (e->persist) {
		const struct recover_options ro = {
		    .store = e->store,
		    .files = &e->files,
		    .clock = e->clock,
		    .dicts = e->dicts,
		    .threads = cores(),
		    .strict = e->options.strict,
		    .max_downtime = e->options.max_downtime,
		    .ttl_cap = e->options.restart.ttl_cap,
		    .stale = e->options.restart.stale,
		    .refuse_clock = e->options.clock_check == ENGINE_CLOCK_REFUSE,
		    .progress = e->options.loading,
		    .progress_arg = e->options.loading_arg,
		};
		e->recovered = calloc(1, sizeof(*e->recovered));
		if (!e->recovered)
			return hearth_fail(ret_err, HEARTH_NOMEM, NULL, 0, "no memory for recovery");
		status = recover_run(&ro, e->recovered, ret_err);
		if (status == HEARTH_OK)
			status = open_log(e, ret_err);
		if (status != HEARTH_OK)
			return status;
		atomic_store(&e->flush_due, e->recovered->start.flush_due);
	}
	fill_recovery(e, (double)(clock_mono_us() - began) / 1e6);
	if (!unpack_open(e))
		return hearth_fail(ret_err, HEARTH_NOMEM, NULL, 0, "no memory to pack values, or no thread");
	if (!background_start(e))
		return hearth_fail(ret_err, HEARTH_NOMEM, NULL, 0, "cannot start the background threads");
	if (e->persist) {
		status = start_settle(e, ret_err);
		if (status != HEARTH_OK)
			return status;
		bound_settle(e);
	}
	atomic_store(&e->serving, true);
	if (!scrubber_start(e))
		return hearth_fail(ret_err, HEARTH_NOMEM, NULL, 0, "cannot start the scrub's thread");
	/* A flush that fell due while nobody ran, before the port opens. */
	engine_tick(e);
	/* What was damaged or left out is superseded by a fresh snapshot, so that the next start need not
	 * judge it again. */
	if (e->persist && (e->recovery.damaged || e->recovery.empty))
		engine_snapshot(e, NULL, NULL);
	if (ret_recovery)
		*ret_recovery = e->recovery;
	return HEARTH_OK;
}

enum hearth_status engine_stop(struct engine *e, struct hearth_error *ret_err)
{
	CHECK_MAGIC(e, ENGINE_MAGIC);
	background_stop(e);
	/* The last sign of life, from which downtime counts. */
	if (e->wal)
		wal_note_time(e->wal);
	return e->wal ? wal_stop(e->wal, ret_err) : HEARTH_OK;
}

const char *engine_stop_waits(const struct engine *e)
{
	CHECK_MAGIC(e, ENGINE_MAGIC);
	return atomic_load(&e->stop_waits);
}

void engine_close(struct engine **ref)
{
	struct engine *e = *ref;
	if (!e)
		return;
	CHECK_MAGIC(e, ENGINE_MAGIC);
	*ref = NULL;
	if (e->compress)
		compress_stop(&e->compress);
	background_stop(e);
	drop_free(e);
	if (e->wal)
		wal_close(&e->wal);
	if (e->persist)
		files_close(&e->files);
	for (unsigned i = 0; e->workers && i < engine_workers(e); i++)
		if (e->workers[i].thread)
			store_thread_close(&e->workers[i].thread);
	unpack_close(e);
	free(e->workers);
	dict_set_free(&e->dicts);
	keep_close(e);
	free(e->recovered);
	if (e->store)
		store_close(&e->store);
	if (e->clock)
		clock_close(&e->clock);
	pthread_mutex_destroy(&e->lock);
	pthread_mutex_destroy(&e->own_lock);
	pthread_mutex_destroy(&e->flush_lock);
	pthread_cond_destroy(&e->wake_evictor);
	pthread_cond_destroy(&e->wake_snapshots);
	pthread_cond_destroy(&e->wake_scrubber);
	e->magic = 0;
	free(e);
}

struct engine_worker *engine_get_worker(struct engine *e, unsigned index)
{
	CHECK_MAGIC(e, ENGINE_MAGIC);
	CHECK(index < e->options.workers);
	return &e->workers[index];
}

static void log_stats(struct engine *e, struct engine_stats *ret)
{
	struct wal_stats ws;
	wal_get_stats(e->wal, &ws);
	ret->persist = true;
	ret->last_seq = ring_last(wal_ring(e->wal));
	ret->written_seq = ws.written;
	ret->durable_seq = ws.durable;
	ret->log_segments = ws.segments;
	ret->log_bytes = ws.log_bytes;
	ret->log_written_bytes = ws.written_bytes;
	ret->log_writes = ws.writes;
	ret->log_syncs = ws.syncs;
	ret->log_waits = ws.waits;
	ret->last_sync_us = ws.last_sync_us;
	ret->max_sync_us = ws.max_sync_us;
	ret->sync_us = ws.sync_us;
	_Static_assert(sizeof(ret->sync_counts) == sizeof(ws.sync_counts) &&
	                   ENGINE_SYNC_STEP_US(1) == WAL_SYNC_STEP_US(1),
	    "the same steps");
	memcpy(ret->sync_counts, ws.sync_counts, sizeof(ret->sync_counts));
	ret->degraded = ws.state != WAL_HEALTHY;
	ret->state = wal_state_name(ws.state);
	memcpy(ret->state_reason, ws.reason, sizeof(ret->state_reason));
	ret->state_seconds = (clock_wall_ms() - ws.state_ms) / 1000;
	ret->heals = ws.heals;
	ret->reserve_bytes = ws.reserve_bytes;
	ret->refused = atomic_load(&e->refused);
	if (files_bound(&e->files)) {
		ret->disk_limit = quota_limit(e->files.quota);
		ret->disk_bytes = quota_used(e->files.quota);
		ret->disk_early_snapshots = atomic_load(&e->bound.early);
		ret->disk_skipped_snapshots = atomic_load(&e->bound.skipped);
		ret->disk_given_up = atomic_load(&e->bound.given_up);
		ret->disk_waiting = wal_tight(e->wal);
	}
	ret->serve = wal_serves(e->wal);
	ret->generation = ws.generation;
	memcpy(ret->lineage, e->files.manifest.lineage, sizeof(ret->lineage));
	pthread_mutex_lock(&e->lock);
	ret->snapshots = e->snapshots;
	ret->snapshot_errors = e->snapshot_errors;
	ret->last_snapshot = e->last_number;
	ret->last_snapshot_items = e->last_items;
	ret->last_snapshot_bytes = e->last_bytes;
	ret->last_snapshot_time = e->last_time;
	ret->last_snapshot_us = e->last_us;
	ret->snapshot_running = e->snapshot_running;
	ret->snapshot_written = e->snapshot_running ? atomic_load(&e->snapshot_written) : 0;
	background_next(e, ret);
	pthread_mutex_unlock(&e->lock);
}

bool engine_set_memory(struct engine *e, uint64_t memory)
{
	return store_set_memory(e->store, memory);
}

void engine_watch_evictions(
    struct engine *e, void (*evicted)(void *arg, const struct store_key_view *item, int64_t now), void *arg)
{
	store_set_evicted(e->store, evicted, arg);
}

void engine_get_stats(struct engine *e, struct engine_stats *ret)
{
	struct store_stats st;
	CHECK_MAGIC(e, ENGINE_MAGIC);
	store_get_stats(e->store, &st);
	*ret = (struct engine_stats){
	    .items = st.items,
	    .total_items = st.total_items,
	    .bytes = st.bytes,
	    .memory = st.memory,
	    .memory_used = st.memory_used,
	    .evictions = st.evictions,
	    .expired = st.expired,
	    .flushed = st.flushed,
	    .reclaimed = st.expired + st.flushed,
	    .expired_unfetched = st.expired_unfetched,
	    .evicted_unfetched = st.evicted_unfetched,
	    .index_buckets = st.index_buckets,
	    .index_bytes = st.index_bytes,
	    .regions = st.regions,
	    .regions_free = st.regions_free,
	    .region_size = st.region_size,
	    .large_bytes = st.large_bytes,
	    .ghost_bytes = st.ghost_bytes,
	    .oldest_access = st.oldest_access ? clock_now(e->clock) - st.oldest_access : 0,
	    .flush_due = atomic_load(&e->flush_due),
	    .recovery = e->recovery,
	};
	scrubber_get_stats(e, &ret->scrub);
	unpack_get_stats(e, &ret->packing);
	if (e->wal)
		log_stats(e, ret);
}

void engine_reset_stats(struct engine *e)
{
	store_reset_stats(e->store);
}
