/* SPDX-License-Identifier: BSD-3-Clause */
/* engine: what a command answers in each state of the log; when a tick asks for a snapshot; a start that is short of
 * memory, of threads or of a disk that works. States and times are set from inside, so that no test waits for them. */
#include <signal.h>
#include "failing.h"
#include "gate.h"
#include "persist/wal_private.h"
#include "../crash/fake.h"

#define LARGE MIB

/* ---- threads (the linker puts this in the place of the C library's) ---- */

static struct failing threads;

int __real_pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*run)(void *), void *arg);
int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*run)(void *), void *arg);

int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*run)(void *), void *arg)
{
	return failing_now(&threads) ? EAGAIN : __real_pthread_create(t, a, run, arg);
}

/* ---- commands ---- */

static void set_state(struct place *p, enum wal_state state)
{
	atomic_store(&p->e->wal->state, state);
}

static enum store_result put_large(struct place *p, uint32_t key, int64_t expiry)
{
	static uint8_t value[LARGE];
	char name[32];
	struct store_key k = key_at(p->w, key, name);
	return engine_put(p->w, &k,
	    &(struct store_put){.mode = STORE_SET, .value = value, .value_len = LARGE, .expiry = expiry},
	    NULL);
}

static uint64_t large_bytes(struct place *p)
{
	struct engine_stats st;
	engine_get_stats(p->e, &st);
	return st.large_bytes;
}

static enum store_result get(struct place *p, uint32_t key, store_emit *emit)
{
	char name[32];
	engine_turn(p->w);
	struct store_key k = key_at(p->w, key, name);
	enum store_result r = engine_get(p->w, &k, emit, NULL);
	engine_turn_end(p->w);
	return r;
}

static bool shown_never(void *arg, const struct store_view *view)
{
	(void)arg;
	(void)view;
	return false;
}

static enum store_result del(struct place *p, uint32_t key)
{
	char name[32];
	engine_turn(p->w);
	struct store_key k = key_at(p->w, key, name);
	enum store_result r = engine_delete(p->w, &k, 0);
	engine_turn_end(p->w);
	return r;
}

static enum store_result touch(struct place *p, uint32_t key, int64_t expiry, store_emit *emit)
{
	char name[32];
	engine_turn(p->w);
	struct store_key k = key_at(p->w, key, name);
	enum store_result r = engine_touch(p->w, &k, expiry, emit, NULL);
	engine_turn_end(p->w);
	return r;
}

static enum store_result incr(struct place *p, uint32_t key, uint64_t *ret_cas)
{
	char name[32];
	struct store_number number = {0};
	engine_turn(p->w);
	struct store_key k = key_at(p->w, key, name);
	enum store_result r = engine_arith(p->w, &k, &(struct store_arith){.delta = 1}, &number);
	engine_turn_end(p->w);
	if (ret_cas)
		*ret_cas = number.cas;
	return r;
}

static void hold(struct gate *g, bool on)
{
	pthread_mutex_lock(&g->lock);
	g->hold_syncs = on;
	pthread_cond_broadcast(&g->opened);
	pthread_mutex_unlock(&g->lock);
}

/* The sync thread stands still in a sync, and puts nothing right that a test sets. */
static void hold_sync_thread(struct place *p, struct gate *g)
{
	hold(g, true);
	engine_turn(p->w);
	assert_int_equal(put_len(p->w, STORE_SET, 9, 10, 1), STORE_OK);
	engine_turn_end(p->w);
	while (!atomic_load(&g->sync_waits))
		usleep(1000);
}

/* A value that its caller keeps is still the caller's when the command waits; one that the engine made is not. */
static void a_large_value_that_waits_or_is_refused_takes_no_memory(void **state)
{
	(void)state;
	struct gate gate;
	struct engine_options o = engine_defaults();
	o.fsync = ENGINE_FSYNC_ALWAYS;
	struct place p = place_behind(&gate, &o);
	struct store_large *large;
	char name[32];
	hold_sync_thread(&p, &gate);
	engine_turn(p.w);
	struct store_key k = key_at(p.w, 1, name);
	atomic_store(&p.e->wal->tight, true);
	assert_int_equal(put_large(&p, 1, 0), STORE_WAIT);
	assert_int_equal(large_bytes(&p), 0);
	assert_int_equal(engine_room(p.w, &k, LARGE, &large), STORE_OK);
	assert_non_null(large);
	memset(engine_large_data(large), 7, LARGE);
	const struct store_put put = {.mode = STORE_SET, .value_len = LARGE, .large = large};
	assert_int_equal(engine_put(p.w, &k, &put, NULL), STORE_WAIT);
	assert_true(large_bytes(&p) >= LARGE);
	atomic_store(&p.e->wal->tight, false);
	struct store_stored made = {0};
	assert_int_equal(engine_put(p.w, &k, &put, &made), STORE_OK);
	assert_true(made.cas > 0);
	assert_int_equal(made.value_len, LARGE);
	uint64_t stored = large_bytes(&p);
	atomic_store(&p.e->wal->refuses, true);
	assert_int_equal(put_large(&p, 2, 0), STORE_REFUSED);
	assert_int_equal(large_bytes(&p), stored);
	atomic_store(&p.e->wal->refuses, false);
	assert_int_equal(engine_room(p.w, &k, p.options.item_max, &large), STORE_TOO_LARGE);
	assert_null(large);
	engine_large_drop(p.w, &large); /* nothing */
	engine_turn_end(p.w);
	assert_int_equal(get(&p, 2, shown_any), STORE_NOT_FOUND);
	hold(&gate, false);
	place_end(&p);
}

/* The disk is seconds behind: all changes wait, removals too, and nothing has happened then. */
static void while_the_log_is_held_all_changes_wait(void **state)
{
	(void)state;
	struct gate g;
	struct engine_options o = engine_defaults();
	struct place p = place_behind(&g, &o);
	set(&p, 1, 0);
	hold(&g, true);
	set(&p, 1, 0);
	atomic_store(&p.e->wal->held, true);
	assert_int_equal(del(&p, 1), STORE_WAIT);
	assert_int_equal(touch(&p, 1, 1, NULL), STORE_WAIT);
	assert_int_equal(touch(&p, 1, 0, NULL), STORE_WAIT);
	assert_int_equal(incr(&p, 1, NULL), STORE_WAIT);
	engine_turn(p.w);
	assert_int_equal(put_len(p.w, STORE_SET, 1, 10, 1), STORE_WAIT);
	assert_int_equal(put_large(&p, 1, 1), STORE_WAIT);
	assert_int_equal(engine_flush(p.w, 0), STORE_WAIT);
	engine_turn_end(p.w);
	assert_int_equal(large_bytes(&p), 0);
	assert_int_equal(get(&p, 1, shown_any), STORE_OK);
	hold(&g, false);
	atomic_store(&p.e->wal->held, false);
	assert_int_equal(del(&p, 1), STORE_OK);
	place_end(&p);
}

/* Nobody is told what neither log nor mark hold: it is a miss, and no change is a success. */
static void with_neither_log_nor_mark_only_what_is_on_disk_is_shown(void **state)
{
	(void)state;
	struct place p = place_make();
	for (uint32_t i = 1; i <= 4; i++)
		set(&p, i, 0);
	uint64_t upto = wal_published(p.e->wal);
	uint64_t epoch = wal_epoch(p.e->wal) << 53;
	atomic_store(&p.e->wal->published, upto - 1);
	set_state(&p, WAL_LOST);
	assert_int_equal(get(&p, 3, shown_any), STORE_OK);
	assert_int_equal(get(&p, 3, shown_never), STORE_MORE_ROOM);
	assert_int_equal(get(&p, 4, shown_any), STORE_NOT_FOUND);
	assert_int_equal(get(&p, 9, shown_any), STORE_NOT_FOUND);
	assert_true(engine_lost(p.e, epoch | upto));
	assert_false(engine_lost(p.e, epoch | (upto - 1)));
	assert_int_equal(del(&p, 1), STORE_REFUSED);
	assert_int_equal(touch(&p, 2, 1, NULL), STORE_REFUSED);
	assert_int_equal(start_settle(p.e, &(struct hearth_error){0}), HEARTH_OK);
	struct hearth_error err = {0};
	p.e->recovered->empty = true;
	atomic_store(&p.e->flush_due, FAR_FUTURE);
	assert_int_equal(start_settle(p.e, &err), HEARTH_IO);
	assert_string_equal(err.file, "log");
	set_state(&p, WAL_HEALTHY);
	atomic_store(&p.e->wal->published, ring_last(wal_ring(p.e->wal)));
	/* Where it can be said, what was pending is pending still; what is empty needs no snapshot of other expiries. */
	p.e->recovered->changed = true;
	atomic_store(&p.e->flush_due, FAR_FUTURE);
	assert_int_equal(start_settle(p.e, &err), HEARTH_OK);
	assert_int_equal(pending(&p), FAR_FUTURE);
	assert_int_equal(p.e->snapshots, 0);
	assert_int_equal(get(&p, 3, shown_any), STORE_NOT_FOUND);
	place_end(&p);
}

/* A need of two epochs ago is lost whatever its number; one of the epoch before if it was not out by then. */
static void needs_of_epochs_gone_by_are_lost(void **state)
{
	(void)state;
	struct place p = place_make();
	set(&p, 1, 0);
	set(&p, 2, 0);
	engine_turn(p.w);
	assert_int_equal(put_len(p.w, STORE_SET, 3, 10, 0), STORE_OK);
	uint64_t need = engine_need(p.w);
	engine_turn_end(p.w);
	engine_await(p.e, need);
	assert_false(engine_lost(p.e, 0));
	assert_true(engine_ready(p.e, 0));
	assert_false(engine_lost(p.e, need));
	atomic_store(&p.e->wal->lost_from, 2);
	atomic_fetch_add(&p.e->wal->epoch, 1);
	assert_true(engine_lost(p.e, need));
	assert_false(engine_ready(p.e, need));
	assert_false(engine_lost(p.e, need - 1));
	atomic_fetch_add(&p.e->wal->epoch, 1);
	assert_true(engine_lost(p.e, need - 1));
	place_end(&p);
}

static void expired_items_are_logged_only_where_there_is_room(void **state)
{
	(void)state;
	struct place p = place_make();
	for (uint32_t i = 1; i <= 5; i++)
		set(&p, i, clock_now(p.e->clock) + 100);
	clock_jump(p.e->clock, 200);
	uint64_t last = ring_last(wal_ring(p.e->wal));
	set_state(&p, WAL_RESERVE);
	assert_int_equal(get(&p, 1, shown_any), STORE_NOT_FOUND);
	set_state(&p, WAL_HEALTHY);
	atomic_store(&p.e->wal->tight, true);
	assert_int_equal(get(&p, 2, shown_any), STORE_NOT_FOUND);
	atomic_store(&p.e->wal->tight, false);
	assert_int_equal(ring_last(wal_ring(p.e->wal)), last);
	assert_int_equal(get(&p, 3, shown_any), STORE_NOT_FOUND);
	assert_true(ring_last(wal_ring(p.e->wal)) > last);
	last = ring_last(wal_ring(p.e->wal));
	assert_int_equal(touch(&p, 4, 0, NULL), STORE_NOT_FOUND);
	assert_true(ring_last(wal_ring(p.e->wal)) > last);
	place_end(&p);
}

/* Whoever has no room for what it is shown has changed nothing, whatever it asked for. */
static void a_touch_that_cannot_show_changes_nothing(void **state)
{
	(void)state;
	struct place p = place_make();
	uint64_t cas = 0;
	set(&p, 1, 0);
	engine_turn(p.w);
	assert_int_equal(engine_expiry(p.w, 0), 0);
	engine_turn_end(p.w);
	uint64_t last = ring_last(wal_ring(p.e->wal));
	assert_int_equal(touch(&p, 1, 1, shown_never), STORE_MORE_ROOM);
	assert_int_equal(touch(&p, 1, 0, shown_never), STORE_MORE_ROOM);
	assert_int_equal(ring_last(wal_ring(p.e->wal)), last);
	assert_int_equal(get(&p, 1, shown_any), STORE_OK);
	assert_int_equal(touch(&p, 1, 1, NULL), STORE_OK);
	assert_int_equal(get(&p, 1, shown_any), STORE_NOT_FOUND);
	assert_int_equal(incr(&p, 2, &cas), STORE_NOT_FOUND);
	place_end(&p);
}

/* Somebody was quicker: a flush that fires finds another time in the slot, and leaves it. */
static void a_flush_fires_only_for_its_own_time(void **state)
{
	(void)state;
	struct place p = place_make();
	set(&p, 1, 0);
	flush(&p, FAR_FUTURE);
	engine_turn(p.w);
	assert_int_equal(engine_fire_flush(p.w, FAR_FUTURE - 1), STORE_OK);
	engine_turn_end(p.w);
	assert_int_equal(pending(&p), FAR_FUTURE);
	assert_int_equal(get(&p, 1, shown_any), STORE_OK);
	place_end(&p);
}

static void without_a_directory_nothing_waits(void **state)
{
	(void)state;
	struct place p = {.options = engine_defaults()};
	struct hearth_error err;
	struct engine_stats st;
	assert_int_equal(engine_open(&p.e, &p.options, NULL, &err), HEARTH_OK);
	assert_int_equal(engine_recover(p.e, NULL, &err), HEARTH_OK);
	p.w = engine_get_worker(p.e, 0);
	engine_turn(p.w);
	assert_int_equal(put_len(p.w, STORE_SET, 1, 10, clock_now(p.e->clock) + 100), STORE_OK);
	assert_int_equal(put_len(p.w, STORE_SET, 2, 10, 0), STORE_OK);
	assert_int_equal(put_large(&p, 3, 0), STORE_OK);
	assert_int_equal(engine_need(p.w), 0);
	engine_turn_end(p.w);
	clock_jump(p.e->clock, 200);
	assert_int_equal(get(&p, 1, shown_any), STORE_NOT_FOUND);
	assert_int_equal(del(&p, 2), STORE_OK);
	assert_true(engine_ready(p.e, 5));
	assert_false(engine_lost(p.e, 5));
	engine_get_stats(p.e, &st);
	assert_false(st.persist);
	assert_int_equal(st.items, 1);
	assert_int_equal(engine_stop(p.e, &err), HEARTH_OK);
	engine_close(&p.e);
	engine_close(&p.e); /* nothing */
	assert_null(p.e);
}

/* ---- the tick ---- */

/* Whether a tick asks for a snapshot; waits for its end. */
static bool tick_asks(struct place *p)
{
	struct engine *e = p->e;
	pthread_mutex_lock(&e->lock);
	uint64_t before = e->snapshots + e->snapshot_errors;
	pthread_mutex_unlock(&e->lock);
	engine_tick(e);
	pthread_mutex_lock(&e->lock);
	bool asked = e->snapshot_wanted || e->snapshot_running || e->snapshots + e->snapshot_errors > before;
	while (e->snapshot_wanted || e->snapshot_running) {
		pthread_mutex_unlock(&e->lock);
		pause_ms(1);
		pthread_mutex_lock(&e->lock);
	}
	pthread_mutex_unlock(&e->lock);
	return asked;
}

static void passed(struct place *p, int64_t seconds)
{
	pthread_mutex_lock(&p->e->lock);
	p->e->last_try -= seconds;
	pthread_mutex_unlock(&p->e->lock);
}

static void write_values(struct place *p, unsigned count, unsigned keys, size_t len)
{
	for (unsigned n = 0; n < count; n++) {
		engine_turn(p->w);
		while (put_len(p->w, STORE_SET, n % keys, len, 0) == STORE_WAIT)
			pause_ms(1);
		engine_turn_end(p->w);
	}
	set(p, 1, 0);
}

/* 2 MB of log, 160 KB of items. */
static void write_much(struct place *p)
{
	write_values(p, 250, 20, 8000);
}

static void snapshots_are_due_by_the_interval(void **state)
{
	(void)state;
	struct place p = place_make();
	p.e->options.snapshot_interval = 1000;
	set(&p, 1, 0);
	assert_false(tick_asks(&p));
	passed(&p, 1100);
	assert_true(tick_asks(&p));
	/* Nothing new: none. */
	passed(&p, 1100);
	uint64_t position = wal_position(p.e->wal);
	wal_mark(p.e->wal, position);
	assert_false(tick_asks(&p));
	set(&p, 1, 0);
	assert_true(tick_asks(&p));
	/* One that is under way is enough; without a log there is none. */
	passed(&p, 1100);
	set(&p, 1, 0);
	for (unsigned i = 0; i < 2; i++) {
		bool *flag = i ? &p.e->snapshot_running : &p.e->snapshot_wanted;
		pthread_mutex_lock(&p.e->lock);
		*flag = true;
		pthread_mutex_unlock(&p.e->lock);
		engine_tick(p.e);
		pthread_mutex_lock(&p.e->lock);
		assert_null(p.e->requests);
		*flag = false;
		pthread_mutex_unlock(&p.e->lock);
	}
	assert_true(tick_asks(&p));
	place_end(&p);
}

static void snapshots_are_due_by_the_ratio(void **state)
{
	(void)state;
	struct gate gate;
	struct engine_options o = engine_defaults();
	o.memory = 256 * MIB;
	struct place p = place_behind(&gate, &o);
	p.e->options.snapshot_ratio = 2;
	set(&p, 1, 0);
	assert_false(tick_asks(&p));
	write_much(&p);
	/* Two percent of 128 MiB are more, one is less. */
	assert_false(tick_asks(&p));
	p.e->options.snapshot_ratio = 1;
	pthread_mutex_lock(&p.e->lock);
	p.e->snapshot_errors = 1;
	pthread_mutex_unlock(&p.e->lock);
	/* After one that failed a minute goes by. */
	assert_false(tick_asks(&p));
	passed(&p, 61);
	assert_true(tick_asks(&p));
	assert_int_equal(p.e->snapshots, 1);
	/* With 210 MB in memory one percent is more than is written now. */
	write_values(&p, 3500, 3500, 60000);
	passed(&p, 61);
	assert_true(tick_asks(&p));
	write_much(&p);
	passed(&p, 61);
	assert_false(tick_asks(&p));
	place_end(&p);
}

/* A quarter of --max-downtime, but no longer than a minute. */
static void an_idle_log_tells_that_somebody_is_there(void **state)
{
	(void)state;
	struct place p = place_make();
	for (int64_t downtime = 100; downtime <= 1000; downtime += 900) {
		int64_t every = downtime == 100 ? 25 : 60;
		p.e->options.max_downtime = downtime;
		engine_tick(p.e);
		int64_t noted = p.e->noted_alive;
		p.e->noted_alive = noted - every + 10;
		engine_tick(p.e);
		assert_int_equal(p.e->noted_alive, noted - every + 10);
		p.e->noted_alive = noted - every;
		engine_tick(p.e);
		assert_in_range(p.e->noted_alive, noted, noted + 9);
	}
	place_end(&p);
}

/* More is written than memory holds: the evictor, woken all the time, makes room for it. */
static void the_evictor_makes_room(void **state)
{
	(void)state;
	struct engine_options o = engine_defaults();
	struct engine_stats st = {0};
	struct hearth_error err;
	struct place p = {.options = o};
	p.options.memory = 4 * MIB;
	p.options.item_max = MIB;
	assert_int_equal(engine_open(&p.e, &p.options, NULL, &err), HEARTH_OK);
	assert_int_equal(engine_recover(p.e, NULL, &err), HEARTH_OK);
	p.w = engine_get_worker(p.e, 0);
	for (unsigned n = 0; n < 4000; n++) {
		engine_turn(p.w);
		assert_int_equal(put_len(p.w, STORE_SET, n, 4000, 0), STORE_OK);
		engine_turn_end(p.w);
		background_wake_evictor(p.e);
	}
	engine_get_stats(p.e, &st);
	assert_in_range(st.evictions, 2000, 4000);
	engine_close(&p.e);
}

/* ---- requests ---- */

struct answered {
	_Atomic int n;
	_Atomic int status;
};

static void on_answer(void *arg, enum hearth_status status, uint64_t number, uint64_t items, uint64_t bytes)
{
	struct answered *a = arg;
	(void)number;
	(void)items;
	(void)bytes;
	atomic_store(&a->status, (int)status);
	atomic_fetch_add(&a->n, 1);
}

static void on_rotated(void *arg, enum hearth_status status, uint64_t segment, uint64_t last)
{
	(void)last;
	on_answer(arg, status, segment, 0, 0);
}

static void await_answer(struct answered *a, int n)
{
	for (unsigned i = 0; i < 10000 && atomic_load(&a->n) < n; i++)
		pause_ms(1);
	assert_int_equal(a->n, n);
}

static void each_request_is_answered(void **state)
{
	(void)state;
	struct place p = place_make();
	struct answered a = {0};
	/* An empty log has nothing to make durable. */
	assert_int_equal(engine_rotate(p.e, on_rotated, &a), HEARTH_OK);
	await_answer(&a, 1);
	assert_true(a.status == HEARTH_OK || a.status == HEARTH_IO);
	set(&p, 1, 0);
	rotate_wait(p.e);
	atomic_store(&p.e->rotating, true);
	assert_int_equal(engine_rotate(p.e, on_rotated, &a), HEARTH_BUSY);
	atomic_store(&p.e->rotating, false);
	assert_int_equal(engine_rotate(p.e, on_rotated, &a), HEARTH_OK);
	await_answer(&a, 2);
	assert_int_equal(a.status, HEARTH_OK);
	rotate_wait(p.e);
	threads = (struct failing){.at = 1};
	assert_int_equal(engine_rotate(p.e, on_rotated, &a), HEARTH_NOMEM);
	threads = (struct failing){0};
	assert_int_equal(a.n, 2);
	/* Pins that are left at the end. */
	struct snapshot_request *r = calloc(1, sizeof(*r));
	assert_non_null(r);
	*r = (struct snapshot_request){.done = on_answer, .arg = &a, .number = 1, .pin = true};
	pin_requests(p.e, r, true);
	await_answer(&a, 3);
	assert_int_equal(a.status, HEARTH_BUSY);
	/* A snapshot that must be before the port opens waits behind one that runs. */
	pthread_mutex_lock(&p.e->lock);
	p.e->snapshot_running = true;
	pthread_mutex_unlock(&p.e->lock);
	uint64_t before = p.e->snapshots;
	p.e->recovered->changed = true;
	assert_int_equal(start_settle(p.e, NULL), HEARTH_OK);
	assert_int_equal(p.e->snapshots, before + 1);
	place_end(&p);
}

/* The list of bad files is full: those that come take the place of the oldest, and are told once. */
static void bad_files_are_remembered(void **state)
{
	(void)state;
	struct place p = {.s = unit_scratch_begin(), .options = engine_defaults()};
	struct answered a = {0};
	struct engine_stats st = {0};
	p.options.scrub_interval = 2;
	p.e = engine_at(p.s.path, &p.options, NULL);
	p.w = engine_get_worker(p.e, 0);
	alarm(60);
	pthread_mutex_lock(&p.e->lock);
	p.e->scrub.n_bad = ENGINE_SCRUB_BAD + 1;
	pthread_mutex_unlock(&p.e->lock);
	set(&p, 1, 0);
	assert_int_equal(engine_rotate(p.e, on_rotated, &a), HEARTH_OK);
	await_answer(&a, 1);
	int fd = openat(p.s.fd, "log-0000000001", O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "X", 1, SEGMENT_HEADER_SIZE + BLOCK_HEADER_SIZE + 2), 1);
	close(fd);
	for (unsigned i = 0; i < 1000 && st.scrub.errors < ENGINE_SCRUB_BAD + 2; i++) {
		pause_ms(5);
		engine_get_stats(p.e, &st);
	}
	assert_int_equal(st.scrub.errors, ENGINE_SCRUB_BAD + 2);
	assert_string_equal(st.scrub.bad, "log-0000000001");
	assert_true(p.e->scrub.bad[1].number == 1 && p.e->scrub.bad[1].kind == DATADIR_LOG);
	place_end(&p);
}

/* ---- starts ---- */

/* A directory whose start begins empty with a pending flush, or with other expiries, and one that is new. */
static void make_past(struct place *p, unsigned kind)
{
	*p = (struct place){.s = unit_scratch_begin(), .options = engine_defaults()};
	p->options.memory = 4 * MIB;
	p->options.item_max = MIB;
	p->options.workers = 1;
	p->options.no_keep_prefixes = kind ? "a\nbc" : "";
	p->options.scrub_interval = kind * 100000;
	if (kind == 0)
		return;
	struct written w = {.s = p->s, .fd = -1, .next = 1, .time_ms = clock_wall_ms() - 1000000};
	w.m.generation = w.m.next_segment = w.m.next_snapshot = 1;
	MUST(datadir_random_id(w.m.lineage) == 0);
	written_segment(&w);
	w.flush_due = kind == 1 ? FAR_FUTURE : 0;
	written_set(&w, 1, "x", 0);
	written_manifest(&w);
	close(w.fd);
	manifest_free(&w.m);
	if (kind == 1)
		p->options.max_downtime = 10;
	else
		p->options.restart.ttl_cap = 3600;
}

/* Starts with the n-th call failing; true when one did. Then it either started or says why not, and has let go of all. */
static bool start_fails(unsigned kind, struct failing *what, unsigned n, struct failing_vfs *u)
{
	struct place p;
	struct hearth_error err = {0};
	struct datadir *dir;
	make_past(&p, kind);
	failing_vfs_init(u);
	unsigned files = failing_open_files();
	MUST(datadir_open(&dir, &u->vfs, p.s.path, true, true, NULL, &err) == HEARTH_OK);
	alarm(60);
	*what = (struct failing){.at = n};
	enum hearth_status status = engine_open(&p.e, &p.options, dir, &err);
	if (status != HEARTH_OK) {
		datadir_close(&dir);
	} else {
		status = engine_recover(p.e, NULL, &err);
		what->at = 0;
		if (status == HEARTH_OK) {
			p.w = engine_get_worker(p.e, 0);
			assert_int_equal(pending(&p), kind == 1 ? FAR_FUTURE : 0);
			assert_int_equal(get(&p, 1, shown_any), kind == 2 ? STORE_OK : STORE_NOT_FOUND);
		}
		engine_close(&p.e);
	}
	bool hit = what->hit;
	*what = (struct failing){0};
	assert_true(status == HEARTH_OK || (hit && err.what));
	assert_true(status == HEARTH_OK || status == HEARTH_NOMEM || status == HEARTH_IO);
	assert_int_equal(failing_open_files(), files);
	unit_scratch_end(&p.s);
	return hit;
}

static void a_start_that_fails_says_so_and_leaves_nothing(void **state)
{
	(void)state;
	struct failing_vfs u;
	struct {
		struct failing *what;
		unsigned least;
	} kinds[] = {{&failing_memory, 20}, {&u.failing, 20}, {&threads, 4}};
	fake_set_speed(50); /* healing takes seconds */
	for (unsigned k = FAILING_MEMORY ? 0 : 1; k < 3; k++)
		for (unsigned kind = 0; kind < 3; kind++) {
			unsigned n = 1;
			/* Threads take turns: behind the last call that fails there are none. */
			while (start_fails(kind, kinds[k].what, n, &u))
				n++;
			assert_true(n > kinds[k].least);
		}
	alarm(0);
	fake_set_speed(1);
}

static void the_number_of_cores_is_bounded(void **state)
{
	(void)state;
	static const unsigned told[] = {0, 1, 4000};
	for (unsigned i = 0; i < 3; i++) {
		fake_set_cores(told[i]);
		struct place p = place_make();
		set(&p, 1, 0);
		place_again(&p);
		assert_true(there(&p, 1));
		place_end(&p);
	}
	fake_set_cores(2);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_large_value_that_waits_or_is_refused_takes_no_memory),
    cmocka_unit_test(while_the_log_is_held_all_changes_wait),
    cmocka_unit_test(with_neither_log_nor_mark_only_what_is_on_disk_is_shown),
    cmocka_unit_test(needs_of_epochs_gone_by_are_lost),
    cmocka_unit_test(expired_items_are_logged_only_where_there_is_room),
    cmocka_unit_test(a_touch_that_cannot_show_changes_nothing),
    cmocka_unit_test(a_flush_fires_only_for_its_own_time),
    cmocka_unit_test(without_a_directory_nothing_waits),
    cmocka_unit_test(snapshots_are_due_by_the_interval),
    cmocka_unit_test(snapshots_are_due_by_the_ratio),
    cmocka_unit_test(an_idle_log_tells_that_somebody_is_there),
    cmocka_unit_test(the_evictor_makes_room),
    cmocka_unit_test(each_request_is_answered),
    cmocka_unit_test(bad_files_are_remembered),
    cmocka_unit_test(a_start_that_fails_says_so_and_leaves_nothing),
    cmocka_unit_test(the_number_of_cores_is_bounded),
};

int main(int argc, char **argv)
{
	cmocka_set_message_output(CM_OUTPUT_TAP);
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	if (access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 0); /* hundreds of starts */
	fake_begin(1800000000, 1);
	fake_set_speed(1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
