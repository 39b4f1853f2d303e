/* SPDX-License-Identifier: BSD-3-Clause */
/* snap: a snapshot that fails for each allocation that it makes, waits for its rate, or is told to end leaves neither a file
 * nor a scan behind, and the next one succeeds; what is packed under a bound. */
#include "failing.h"
#include "gate.h"
#include "no_random.h"
#include "persist/snap.h"

struct run {
	struct place p;
	struct gate g;
	struct store_thread *thread;
	_Atomic bool cancel;
	_Atomic int64_t flush_due;
	uint64_t rate;
	struct snap_result result;
	struct hearth_error err;
};

/* max_disk: 0 for none. */
static void run_begin_within(struct run *r, uint64_t max_disk)
{
	memset(r, 0, sizeof(*r));
	struct engine_options o = engine_defaults();
	o.keep = 2;
	if (max_disk) {
		o.memory = 8 * MIB;
		o.item_max = 64 * KIB;
		o.max_disk = max_disk;
	}
	r->p = place_behind(&r->g, &o);
	r->thread = store_thread_open(r->p.e->store, NULL);
	MUST(r->thread);
	store_thread_set_now(r->thread, clock_now(r->p.e->clock));
	r->g.engine = NULL; /* what it compares takes memory */
	for (uint32_t i = 0; i < 60; i++) {
		engine_turn(r->p.w);
		MUST(put_len(r->p.w, STORE_SET, i, 60 * KIB, 0) == STORE_OK);
		uint64_t need = engine_need(r->p.w);
		engine_turn_end(r->p.w);
		engine_await(r->p.e, need);
	}
}

static void run_begin(struct run *r)
{
	run_begin_within(r, 0);
}

static void run_end(struct run *r)
{
	store_thread_close(&r->thread);
	place_end(&r->p);
}

static struct snap_options options_of(struct run *r)
{
	return (struct snap_options){.store = r->p.e->store,
	    .thread = r->thread,
	    .wal = r->p.e->wal,
	    .clock = r->p.e->clock,
	    .level = 1,
	    .rate = r->rate,
	    .cancel = &r->cancel,
	    .flush_due = &r->flush_due};
}

static enum hearth_status snap(struct run *r)
{
	const struct snap_options o = options_of(r);
	return snap_run(&o, &r->result, &r->err);
}

/* No unfinished file lies about. */
static void expect_no_rest(struct run *r)
{
	char name[FILES_NAME_SIZE];
	for (uint64_t n = 1; n <= r->result.number + 1; n++) {
		files_temporary_name(DATADIR_SNAPSHOT, n, name);
		assert_false(unit_exists(r->p.s.fd, name));
	}
}

#if FAILING_MEMORY
static void a_snapshot_without_memory_is_given_up(void **state)
{
	(void)state;
	struct run r;
	bool passed = false;
	unsigned failed = 0;
	run_begin(&r);
	for (unsigned at = 1; at < 300 && !passed; at++) {
		failing_memory = (struct failing){.at = at};
		enum hearth_status status = snap(&r);
		passed = !failing_memory.hit;
		failing_memory = (struct failing){0};
		assert_true(status == HEARTH_OK || !passed);
		failed += status != HEARTH_OK;
		expect_no_rest(&r);
	}
	assert_true(passed && failed > 3);
	assert_int_equal(r.result.items, 60);
	run_end(&r);
}
#endif

static void a_snapshot_without_random_bytes_is_none(void **state)
{
	(void)state;
	struct run r;
	run_begin(&r);
	wal_rotate(r.p.e->wal);
	for (unsigned i = 0; i < 2; i++) {
		no_random = i == 0;
		assert_int_equal(snap(&r) == HEARTH_OK, i == 1);
		expect_no_rest(&r);
	}
	run_end(&r);
}

static void *cancel_soon(void *arg)
{
	struct run *r = arg;
	pause_ms(200);
	r->cancel = true;
	return NULL;
}

static void a_snapshot_that_waits_for_its_rate_can_be_told_to_end(void **state)
{
	(void)state;
	struct run r;
	pthread_t thread;
	run_begin(&r);
	r.rate = 100;
	MUST(pthread_create(&thread, NULL, cancel_soon, &r) == 0);
	enum hearth_status status = snap(&r);
	MUST(pthread_join(thread, NULL) == 0);
	/* What was scanned by then is whole: it may have been the last chunk that waited. */
	assert_true(status == HEARTH_BUSY || (status == HEARTH_OK && r.result.items == 60));
	expect_no_rest(&r);
	assert_int_equal(snap(&r), HEARTH_BUSY);
	r.cancel = false;
	r.rate = 20 * MIB; /* waits, and goes on */
	assert_int_equal(snap(&r), HEARTH_OK);
	assert_int_equal(r.result.items, 60);
	run_end(&r);
}

/* Without a log there is nothing to go with. */
static void a_snapshot_needs_a_log(void **state)
{
	(void)state;
	struct run r;
	run_begin(&r);
	pthread_mutex_lock(&r.g.lock);
	r.g.fail_writes = r.g.fail_creates = -1;
	pthread_mutex_unlock(&r.g.lock);
	engine_turn(r.p.w);
	put_len(r.p.w, STORE_SET, 1, 10, 0);
	engine_turn_end(r.p.w);
	for (unsigned i = 0; i < 2000 && wal_logs(r.p.e->wal); i++)
		pause_ms(5);
	assert_int_equal(snap(&r), HEARTH_IO);
	assert_string_equal(r.err.what, "there is no log that it could belong to");
	expect_no_rest(&r);
	run_end(&r);
}

static bool is_packed(struct run *r, uint64_t number)
{
	char name[DATADIR_NAME_SIZE];
	struct segment_reader *reader;
	datadir_name(DATADIR_LOG, number, name);
	MUST(segment_open(&reader, NULL, r->p.s.fd, name, NULL, &r->err) == HEARTH_OK);
	bool packed = segment_get_header(reader)->features.compatible & SEGMENT_PACKED;
	segment_close(&reader);
	return packed;
}

/* What lies between two kept snapshots is packed, but not where the second copy would be the reason for changes to wait. */
static void packing_leaves_a_bound_its_room(void **state)
{
	(void)state;
	static const uint64_t bounds[] = {0, 64 * MIB, 64 * MIB};
	for (size_t i = 0; i < sizeof(bounds) / sizeof(*bounds); i++) {
		struct run r;
		run_begin_within(&r, bounds[i]);
		assert_int_equal(snap(&r), HEARTH_OK);
		set(&r.p, 100, 0);
		assert_int_equal(snap(&r), HEARTH_OK);
		/* Begins after the last snapshot: a start reads it, so it stays as it is. */
		wal_rotate(r.p.e->wal);
		set(&r.p, 101, 0);
		wal_rotate(r.p.e->wal);
		if (i == 2)
			fill(&r.p, 64 * MIB / 4);
		const struct snap_options o = options_of(&r);
		snap_pack(&o);
		const struct manifest *m = &r.p.e->files.manifest;
		assert_true(m->segments[m->n_segments - 2].first > m->snapshots[1].start + 1);
		assert_int_equal(is_packed(&r, m->segments[0].number), i < 2);
		assert_false(is_packed(&r, m->segments[m->n_segments - 2].number));
		run_end(&r);
	}
}

static const struct CMUnitTest tests[] = {
#if FAILING_MEMORY
    cmocka_unit_test(a_snapshot_without_memory_is_given_up),
#endif
    cmocka_unit_test(a_snapshot_without_random_bytes_is_none),
    cmocka_unit_test(a_snapshot_that_waits_for_its_rate_can_be_told_to_end),
    cmocka_unit_test(a_snapshot_needs_a_log),
    cmocka_unit_test(packing_leaves_a_bound_its_room),
};
UNIT_MAIN(tests)
