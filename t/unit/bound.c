/* SPDX-License-Identifier: BSD-3-Clause */
/* bound: what an engine does near --max-disk: an early snapshot, kept ones given up, and, where neither helps, no snapshot
 * and no change. A ballast file fills the directory, so that little has to be written. */
#include "gate.h"
#include "persist/quota.h"
#include "persist/room.h"
#include "persist/wal_private.h"

#define LIMIT (20 * MIB)
#define VALUE (30 * KIB)

static struct engine_options small_options(void)
{
	struct engine_options o = engine_defaults();
	o.memory = 8 * MIB;
	o.memory_fixed = true;
	o.item_max = 64 * KIB;
	o.workers = 1;
	o.max_disk = LIMIT;
	return o;
}

/* An engine beside a file of so many bytes that is not its own. */
static struct place place_beside(struct gate *g, const struct engine_options *o, size_t ballast)
{
	struct place p = {.s = unit_scratch_begin(), .options = *o};
	uint8_t *data = calloc(1, ballast + 1);
	assert_non_null(data);
	memset(data, 1, ballast);
	/* A directory with files of others, but none of ours, is none to begin in. */
	p.e = engine_at(p.s.path, &p.options, NULL);
	engine_close(&p.e);
	if (ballast)
		unit_write_file(p.s.fd, "ballast", data, ballast);
	free(data);
	p.e = engine_behind(g, p.s.path, &p.options);
	p.w = engine_get_worker(p.e, 0);
	alarm(60);
	return p;
}

/* Somebody makes room. */
static void drop_ballast(struct place *p)
{
	const struct vfs *vfs = quota_vfs(p->e->files.quota);
	assert_int_equal(vfs->unlinkat(vfs->ctx, p->s.fd, "ballast"), 0);
}

/* One set of noise, of so many keys; waits while it has to. */
static enum store_result write_one(struct place *p, uint32_t n, uint32_t keys)
{
	static uint8_t noise[32 * VALUE];
	char name[32];
	enum store_result r;
	if (noise[0] == 0 && noise[1] == 0)
		unit_fill(noise, sizeof(noise), 1);
	for (unsigned i = 0;; i++) {
		engine_turn(p->w);
		struct store_key k = key_at(p->w, n % keys, name);
		const struct store_put put = {
		    .mode = STORE_SET, .value = noise + n % 32 * VALUE, .value_len = VALUE};
		r = engine_put(p->w, &k, &put, NULL);
		engine_turn_end(p->w);
		if (r != STORE_WAIT)
			return r;
		MUST(i < 20000);
		pause_ms(1);
	}
}

static void write_all(struct place *p, unsigned n, uint32_t keys)
{
	for (uint32_t i = 0; i < n; i++)
		assert_int_equal(write_one(p, i, keys), STORE_OK);
	/* Something small behind it, also when that has to wait. */
	while (wal_tight(p->e->wal))
		pause_ms(1);
	set(p, 1, 0);
}

/* Until neither a snapshot nor a look for room is wanted or under way. */
static void settle(struct place *p)
{
	for (unsigned i = 0;; i++) {
		pthread_mutex_lock(&p->e->lock);
		bool busy = p->e->room_wanted || p->e->snapshot_wanted || p->e->snapshot_running;
		pthread_mutex_unlock(&p->e->lock);
		if (!busy && !atomic_load(&p->e->wal->tight))
			return;
		MUST(i < 20000);
		pause_ms(1);
	}
}

static struct engine_stats stats_of(struct place *p)
{
	struct engine_stats st;
	engine_get_stats(p->e, &st);
	return st;
}

static void on_done(void *arg, enum hearth_status status, uint64_t number, uint64_t items, uint64_t bytes)
{
	(void)number;
	(void)items;
	(void)bytes;
	atomic_store((_Atomic int *)arg, (int)status + 1);
}

static enum hearth_status snapshot(struct place *p)
{
	_Atomic int done = 0;
	enum hearth_status status = engine_snapshot(p->e, on_done, &done);
	MUST(status == HEARTH_OK || status == HEARTH_BUSY);
	for (unsigned i = 0; atomic_load(&done) == 0; i++) {
		MUST(i < 20000);
		pause_ms(1);
	}
	return (enum hearth_status)(atomic_load(&done) - 1);
}

static void trap20_early_snapshots_make_room_for_many_times_the_bound(void **state)
{
	(void)state;
	for (unsigned keep = 1; keep <= 8; keep += 7) {
		struct gate g;
		struct engine_options o = small_options();
		o.keep = keep;
		/* From here on changes are never refused. */
		o.max_disk = engine_enough_disk(&o);
		struct place p = place_beside(&g, &o, 0);
		for (unsigned i = 0; i < 15; i++) {
			write_all(&p, 100, 20);
			engine_tick(p.e);
			assert_true(stats_of(&p).disk_bytes <= o.max_disk);
		}
		settle(&p);
		struct engine_stats st = stats_of(&p);
		assert_true(st.log_written_bytes > 3 * o.max_disk / 2);
		assert_int_equal(st.disk_limit, o.max_disk);
		assert_true(st.disk_early_snapshots >= 1);
		assert_int_equal(st.disk_skipped_snapshots, 0);
		assert_int_equal(st.disk_given_up > 0, keep > 1);
		assert_string_equal(st.state, "healthy");
		place_again(&p);
		assert_true(there(&p, 1));
		place_end(&p);
	}
}

/* Beside the ballast there is no room for another snapshot: none is begun, which is said once. */
static void a_snapshot_that_cannot_fit_is_not_begun(void **state)
{
	(void)state;
	struct gate g;
	const struct engine_options o = small_options();
	struct place p = place_beside(&g, &o, 0);
	write_all(&p, 170, 170);
	settle(&p);
	fill(&p, p.e->bound.slack + 300 * KIB);
	for (unsigned i = 1; i <= 2; i++) {
		assert_int_equal(snapshot(&p), HEARTH_TOO_LARGE);
		assert_true(p.e->bound.told);
		assert_int_equal(stats_of(&p).disk_skipped_snapshots, i);
	}
	assert_int_equal(stats_of(&p).snapshots, 0);
	assert_string_equal(stats_of(&p).state, "healthy");
	drop_ballast(&p);
	assert_int_equal(snapshot(&p), HEARTH_OK);
	assert_false(p.e->bound.told);
	place_end(&p);
}

/* One that failed for the disk's sake is tried again when there is more room than it had, and not before. */
static void a_snapshot_that_failed_waits_for_more_room(void **state)
{
	(void)state;
	struct gate g;
	const struct engine_options o = small_options();
	struct place p = place_beside(&g, &o, 4 * MIB);
	write_all(&p, 20, 20);
	g.fail_snapshots = true;
	assert_int_equal(snapshot(&p), HEARTH_IO);
	assert_true(p.e->bound.failed > 0);
	g.fail_snapshots = false;
	/* One that was given up for another reason tells nothing of room. */
	bound_taken(p.e, HEARTH_NOMEM, &(struct snap_result){0});
	assert_int_equal(snapshot(&p), HEARTH_TOO_LARGE);
	assert_int_equal(stats_of(&p).disk_skipped_snapshots, 1);
	drop_ballast(&p);
	assert_int_equal(snapshot(&p), HEARTH_OK);
	assert_int_equal(p.e->bound.failed, 0);
	assert_true(p.e->bound.last > 0 && p.e->bound.last_bytes > 0);
	place_end(&p);
}

/* Room is short, but a snapshot would free less than it takes: it is not worth one until the log has grown. */
static void a_snapshot_that_frees_too_little_is_not_taken_early(void **state)
{
	(void)state;
	struct gate g;
	const struct engine_options o = small_options();
	struct place p = place_beside(&g, &o, 0);
	write_all(&p, 40, 20);
	settle(&p);
	uint64_t log = wal_bytes_since_mark(p.e->wal), snapshot = room_snapshot(20 * VALUE, 0, 0);
	assert_true(log >= ROOM_GAIN);
	assert_false(bound_wants_snapshot(p.e));
	fill(&p, p.e->bound.slack + 1500 * KIB);
	assert_true(room_early(quota_room(p.e->files.quota), p.e->bound.slack, snapshot, log));
	assert_true(room_fits(quota_room(p.e->files.quota), snapshot));
	assert_false(bound_wants_snapshot(p.e));
	engine_tick(p.e);
	settle(&p);
	assert_int_equal(stats_of(&p).disk_early_snapshots, 0);
	/* One that failed with as much room would fail again, however much it freed. */
	pthread_mutex_lock(&p.e->lock);
	p.e->bound.failed = LIMIT;
	pthread_mutex_unlock(&p.e->lock);
	assert_false(bound_wants_snapshot(p.e));
	pthread_mutex_lock(&p.e->lock);
	p.e->bound.failed = 0;
	pthread_mutex_unlock(&p.e->lock);
	for (uint32_t i = 0; i < 60 && stats_of(&p).disk_early_snapshots == 0; i++) {
		write_all(&p, 1, 20);
		settle(&p);
	}
	assert_true(stats_of(&p).disk_early_snapshots > 0);
	assert_int_equal(stats_of(&p).snapshot_errors, 0);
	place_end(&p);
}

/* The tick looks whether somebody waits, whether the log is well and whether room is short. */
static void a_tick_looks_for_room(void **state)
{
	(void)state;
	struct gate g;
	const struct engine_options o = small_options();
	struct place p = place_beside(&g, &o, 0);
	set(&p, 1, 0);
	settle(&p);
	atomic_store(&p.e->wal->tight, true);
	engine_tick(p.e);
	settle(&p); /* somebody has looked, and what waits goes on */
	assert_false(wal_tight(p.e->wal));
	assert_string_equal(stats_of(&p).state, "healthy");
	/* A look for room that comes beside a snapshot waits for that. */
	pthread_mutex_lock(&p.e->lock);
	p.e->room_wanted = p.e->snapshot_wanted = true;
	pthread_cond_signal(&p.e->wake_snapshots);
	pthread_mutex_unlock(&p.e->lock);
	settle(&p);
	assert_int_equal(stats_of(&p).snapshots, 1);
	place_end(&p);
}

/* Neither the segment nor the next takes a byte: there is to be room for the log of a new generation as well. */
static void without_a_log_no_snapshot_is_early(void **state)
{
	(void)state;
	struct gate g;
	struct engine_options o = small_options();
	o.on_disk_error = ENGINE_SERVE;
	struct place p = place_beside(&g, &o, 0);
	set(&p, 1, 0);
	g.fail_snapshots = true;
	g.fail_writes = g.fail_creates = -1;
	engine_turn(p.w);
	assert_int_equal(put_len(p.w, STORE_SET, 2, 10, 0), STORE_OK);
	engine_turn_end(p.w);
	for (unsigned i = 0; i < 2000 && wal_state(p.e->wal) != WAL_UNTRUSTED; i++)
		pause_ms(5);
	assert_int_equal(wal_state(p.e->wal), WAL_UNTRUSTED);
	assert_false(wal_logs(p.e->wal));
	assert_false(bound_wants_snapshot(p.e));
	engine_tick(p.e);
	settle(&p);
	assert_int_equal(stats_of(&p).disk_early_snapshots, 0);
	place_end(&p);
}

/* The log has ended: nobody is left to look for room. */
static void behind_the_end_there_is_no_snapshot(void **state)
{
	(void)state;
	struct gate g;
	const struct engine_options o = small_options();
	struct hearth_error err;
	struct place p = place_beside(&g, &o, 0);
	set(&p, 1, 0);
	assert_int_equal(engine_stop(p.e, &err), HEARTH_OK);
	assert_false(bound_admit(p.e));
	assert_false(bound_wants_snapshot(p.e));
	assert_int_equal(stats_of(&p).disk_skipped_snapshots, 0);
	place_end(&p);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(trap20_early_snapshots_make_room_for_many_times_the_bound),
    cmocka_unit_test(a_snapshot_that_cannot_fit_is_not_begun),
    cmocka_unit_test(a_snapshot_that_failed_waits_for_more_room),
    cmocka_unit_test(a_snapshot_that_frees_too_little_is_not_taken_early),
    cmocka_unit_test(a_tick_looks_for_room),
    cmocka_unit_test(without_a_log_no_snapshot_is_early),
    cmocka_unit_test(behind_the_end_there_is_no_snapshot),
};
UNIT_MAIN(tests)
