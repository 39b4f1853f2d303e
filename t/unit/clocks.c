/* SPDX-License-Identifier: BSD-3-Clause */
/* clocks: an engine that is killed and started again under clocks that were set to anything: nothing that had expired is
 * served again, nothing expires for ever, --max-downtime and ttl-cap hold over the kill behind them as well.
 *
 * The clock is this program's own: its clock_gettime stands before the C library's. */
#include <stdatomic.h>
#include <sys/syscall.h>
#include "history.h"

#define YEAR  INT64_C(31536000)
#define YEARS (YEAR + 20 * 86400) /* a year that no leap day makes a day short of one */

static _Atomic int64_t wall_off, boot_off; /* seconds */

int clock_gettime(clockid_t id, struct timespec *ts)
{
	int r = (int)syscall(SYS_clock_gettime, id, ts);
	if (id == CLOCK_REALTIME)
		ts->tv_sec += atomic_load(&wall_off);
	if (id == CLOCK_BOOTTIME)
		ts->tv_sec += atomic_load(&boot_off);
	return r;
}

/* Time passes for everybody. */
static void pass(int64_t seconds)
{
	atomic_fetch_add(&wall_off, seconds);
	atomic_fetch_add(&boot_off, seconds);
}

struct place {
	struct unit_scratch s;
	struct engine *e;
	struct engine_recovery r;
	struct engine_options o;
};

static struct place place_make(void)
{
	atomic_store(&wall_off, 0);
	atomic_store(&boot_off, 0);
	struct place p = {.s = unit_scratch_begin(),
	    .o = {.memory = 32 * MIB, .item_max = MIB, .workers = 1, .fsync = ENGINE_FSYNC_OS, .keep = 1}};
	p.e = engine_at(p.s.path, &p.o, &p.r);
	return p;
}

/* What is on disk now, and no more. */
static void place_kill(struct place *p)
{
	struct image im = image_take(p->s.fd);
	engine_close(&p->e);
	image_put(&im, p->s.fd);
	image_free(&im);
}

static void place_up(struct place *p)
{
	p->e = engine_at(p->s.path, &p->o, &p->r);
}

static void place_end(struct place *p)
{
	engine_close(&p->e);
	unit_scratch_end(&p->s);
}

static void set(struct place *p, const char *key, int64_t ttl)
{
	struct engine_worker *w = engine_get_worker(p->e, 0);
	engine_turn(w);
	struct store_key k = engine_key(w, key, (uint8_t)strlen(key));
	const struct store_put put = {.mode = STORE_SET,
	    .value = (const uint8_t *)key,
	    .value_len = strlen(key),
	    .expiry = ttl ? engine_expiry(w, ttl) : 0};
	assert_int_equal(engine_put_bytes(w, &k, put), STORE_OK);
	uint64_t need = engine_need(w);
	engine_turn_end(w);
	engine_await(p->e, need);
}

struct seen {
	int64_t expiry;
	bool stale;
};

static bool any(void *arg, const struct store_view *view)
{
	*(struct seen *)arg = (struct seen){.expiry = view->expiry, .stale = view->stale};
	struct store_pin pin = view->pin;
	assert_false(store_pinned(&pin));
	return true;
}

/* Whether it is served, and as what. */
static bool look(struct place *p, const char *key, struct seen *ret)
{
	struct engine_worker *w = engine_get_worker(p->e, 0);
	*ret = (struct seen){0};
	engine_turn(w);
	struct store_key k = engine_key(w, key, (uint8_t)strlen(key));
	bool found = engine_get(w, &k, any, ret) == STORE_OK;
	uint64_t need = engine_need(w);
	engine_turn_end(w);
	engine_await(p->e, need);
	return found;
}

/* *ret_left: seconds to live, 0 = for ever. */
static bool has(struct place *p, const char *key, int64_t *ret_left)
{
	struct seen seen;
	bool found = look(p, key, &seen);
	*ret_left = seen.expiry ? seen.expiry - engine_now(engine_get_worker(p->e, 0)) : 0;
	return found;
}

static void assert_left(struct place *p, const char *key, int64_t from, int64_t to)
{
	int64_t left;
	if (!has(p, key, &left))
		fail_msg("%s is gone", key);
	if (left < from || left > to)
		fail_msg("%s has %lld seconds left", key, (long long)left);
}

static void assert_gone(struct place *p, const char *key)
{
	int64_t left;
	if (has(p, key, &left))
		fail_msg("%s is served, with %lld seconds left", key, (long long)left);
}

static void steps_while_down(void **state)
{
	(void)state;
	static const int64_t steps[] = {3600, -3600, YEAR, -YEAR, 0, 1};
	for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
		struct place p = place_make();
		/* The last two: 1970 and 2106. */
		int64_t wall = clock_wall_ms() / 1000;
		int64_t step = i == 4 ? -wall + 5 : i == 5 ? INT64_C(4294967000) - wall : steps[i];
		set(&p, "short", 10);
		set(&p, "long", 20 * 86400);
		set(&p, "ever", 0);
		pass(20);
		set(&p, "late", 1000);
		assert_gone(&p, "short");
		engine_tick(p.e);
		pause_ms(20);
		place_kill(&p);
		atomic_fetch_add(&wall_off, step);
		place_up(&p);
		assert_gone(&p, "short");
		assert_left(&p, "ever", 0, 0);
		if (step < 0)
			assert_left(&p, "late", 990, 1000); /* no earlier, and no later */
		else
			assert_gone(&p, "late"); /* for all anybody knows the time has passed */
		/* A step while it runs is none in Hearth time. */
		set(&p, "new", 100);
		atomic_fetch_add(&wall_off, -step);
		engine_tick(p.e);
		assert_left(&p, "new", 98, 100);
		place_end(&p);
	}
}

/* A run at a time far ahead, and back: what it expired stays so, what it set keeps its time, and what comes now does not
 * expire at once. Also when the start that decides that is killed, and the one behind it. */
static void a_mad_run(void **state)
{
	(void)state;
	static const int64_t aheads[] = {YEARS, 80 * YEAR, 12 * YEAR};
	for (size_t i = 0; i < sizeof(aheads) / sizeof(*aheads); i++) {
		struct place p = place_make();
		set(&p, "before", 3600);
		set(&p, "ever", 0);
		place_kill(&p);
		atomic_fetch_add(&wall_off, aheads[i]);
		place_up(&p);
		if (aheads[i] > YEAR)
			assert_non_null(p.r.clock);
		assert_gone(&p, "before");
		set(&p, "mad", 500);
		place_kill(&p);
		atomic_fetch_sub(&wall_off, aheads[i]);
		for (unsigned again = 0; again < 3; again++) {
			int64_t wall = clock_wall_ms() / 1000;
			place_up(&p);
			assert_true(clock_now(p.e->clock) - wall <= 5);
			assert_int_equal(p.r.clock_back > 0, again == 0);
			assert_gone(&p, "before");
			assert_left(&p, "mad", 480, 500);
			assert_left(&p, "ever", 0, 0);
			/* An absolute time that has not come yet. */
			struct engine_worker *w = engine_get_worker(p.e, 0);
			assert_true(engine_expiry(w, wall + 40 * 86400) > engine_now(w));
			set(&p, "after", 60);
			assert_left(&p, "after", 58, 60);
			place_kill(&p);
		}
		place_up(&p);
		place_end(&p);
	}
}

static void a_clock_can_be_refused(void **state)
{
	(void)state;
	struct place p = place_make();
	struct hearth_error err = {0};
	set(&p, "key", 3600);
	place_kill(&p);
	p.o.clock_check = ENGINE_CLOCK_REFUSE;
	atomic_fetch_add(&wall_off, 80 * YEAR);
	struct image before = image_take(p.s.fd);
	assert_int_equal(engine_try(&p.e, p.s.path, &p.o, &p.r, &err), HEARTH_DAMAGED);
	assert_non_null(strstr(err.what, "clock"));
	struct image after = image_take(p.s.fd);
	assert_int_equal(before.n, after.n);
	for (unsigned i = 0; i < before.n; i++) {
		assert_int_equal(before.file[i].len, after.file[i].len);
		assert_memory_equal(before.file[i].data, after.file[i].data, before.file[i].len);
	}
	image_free(&before);
	image_free(&after);
	atomic_store(&wall_off, -YEAR);
	assert_int_equal(engine_try(&p.e, p.s.path, &p.o, &p.r, &err), HEARTH_DAMAGED);
	atomic_store(&wall_off, 0);
	place_up(&p);
	assert_left(&p, "key", 3590, 3600);
	place_end(&p);
}

static void down_for_too_long(void **state)
{
	(void)state;
	struct place p = place_make();
	p.o.max_downtime = 100;
	set(&p, "key", 0);
	place_kill(&p);
	pass(50);
	place_up(&p);
	assert_left(&p, "key", 0, 0);
	assert_false(p.r.empty);
	assert_true(p.r.downtime >= 49 && p.r.downtime < 60);
	uint64_t last = ring_last(wal_ring(p.e->wal));
	place_kill(&p);
	pass(200);
	/* The wall clock may say what it likes: the boot is the same. */
	atomic_fetch_sub(&wall_off, 200);
	place_up(&p);
	assert_true(p.r.empty && p.r.dropped == 1);
	assert_gone(&p, "key");
	assert_true(ring_last(wal_ring(p.e->wal)) > last);
	set(&p, "new", 0);
	/* No ghost at the start behind it, with or without the option. */
	for (unsigned i = 0; i < 2; i++) {
		place_kill(&p);
		p.o.max_downtime = i ? 0 : 100;
		place_up(&p);
		assert_gone(&p, "key");
		assert_left(&p, "new", 0, 0);
	}
	place_end(&p);
}

/* An idle daemon says that it is there. */
static void an_idle_one_is_not_down(void **state)
{
	(void)state;
	struct place p = place_make();
	engine_close(&p.e);
	p.o.max_downtime = 100;
	place_up(&p);
	set(&p, "key", 0);
	pass(1000);
	p.e->noted_alive = -1000;
	engine_tick(p.e);
	pause_ms(1200);
	place_kill(&p);
	pass(10);
	place_up(&p);
	assert_left(&p, "key", 0, 0);
	/* So does one that stops in order. */
	pass(1000);
	assert_int_equal(engine_stop(p.e, NULL), HEARTH_OK);
	engine_close(&p.e);
	pass(10);
	place_up(&p);
	assert_left(&p, "key", 0, 0);
	assert_true(p.r.downtime < 20);
	place_end(&p);
}

static void a_cap_on_what_is_loaded(void **state)
{
	(void)state;
	struct place p = place_make();
	set(&p, "ever", 0);
	set(&p, "long", 100000);
	set(&p, "short", 30);
	engine_snapshot(p.e, NULL, NULL);
	for (unsigned i = 0; i < 2000; i++) {
		struct engine_stats st;
		engine_get_stats(p.e, &st);
		if (st.snapshots)
			break;
		pause_ms(5);
	}
	set(&p, "logged", 0);
	place_kill(&p);
	p.o.restart.ttl_cap = 60;
	place_up(&p);
	static const char *const keys[] = {"ever", "long", "logged"};
	for (unsigned i = 0; i < 3; i++)
		assert_left(&p, keys[i], 55, 60);
	assert_left(&p, "short", 25, 30);
	set(&p, "new", 0);
	/* Killed and started without it: what was capped stays capped. */
	place_kill(&p);
	p.o.restart.ttl_cap = 0;
	place_up(&p);
	for (unsigned i = 0; i < 3; i++)
		assert_left(&p, keys[i], 50, 60);
	assert_left(&p, "new", 0, 0);
	pass(100);
	place_kill(&p);
	place_up(&p);
	for (unsigned i = 0; i < 3; i++)
		assert_gone(&p, keys[i]);
	place_end(&p);
}

/* What was loaded is stale, also after a start without it; what came later is not. */
static void what_is_loaded_is_stale_if_asked(void **state)
{
	(void)state;
	struct place p = place_make();
	struct seen seen;
	set(&p, "old", 1000);
	place_kill(&p);
	p.o.restart.stale = true;
	place_up(&p);
	set(&p, "new", 0);
	assert_true(look(&p, "old", &seen) && seen.stale);
	assert_left(&p, "old", 995, 1000);
	place_kill(&p);
	p.o.restart.stale = false;
	place_up(&p);
	assert_true(look(&p, "old", &seen) && seen.stale);
	assert_true(look(&p, "new", &seen) && !seen.stale);
	place_end(&p);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(steps_while_down),
    cmocka_unit_test(a_mad_run),
    cmocka_unit_test(a_clock_can_be_refused),
    cmocka_unit_test(down_for_too_long),
    cmocka_unit_test(an_idle_one_is_not_down),
    cmocka_unit_test(a_cap_on_what_is_loaded),
    cmocka_unit_test(what_is_loaded_is_stale_if_asked),
};
UNIT_MAIN(tests)
