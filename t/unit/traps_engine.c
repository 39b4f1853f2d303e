/* SPDX-License-Identifier: BSD-3-Clause */
/* traps_engine: the rules of a running engine: what reaches the log, what a reply waits for, marks and snapshots in their
 * order, on a file system that a test can hold up or let fail. t/traps/rules takes each rule out. */
#include <signal.h>
#include <stdatomic.h>
#include "gate.h"
#include "store/item.h"

/* ---- what the log holds ---- */

struct logged {
	uint8_t type;
	char key[32];
	int64_t expiry;
};

struct logs {
	struct logged record[256];
	unsigned n, blocks;
	int64_t flush_due, time_ms; /* of the last block */
	struct segment_header h;    /* of the last segment that begun */
};

static void read_log(struct logs *l, int dirfd, const char *name)
{
	struct segment_reader *reader;
	struct segment_block block;
	struct record r;
	if (segment_open(&reader, NULL, dirfd, name, NULL, NULL) != HEARTH_OK)
		return;
	l->h = *segment_get_header(reader);
	while (segment_next(reader, &block, NULL) == HEARTH_OK) {
		struct segment_records records = segment_records(&block);
		l->blocks++;
		l->flush_due = block.head.flush_due;
		l->time_ms = block.head.time_ms;
		while (segment_next_record(&records, &r) == HEARTH_OK && l->n < 256) {
			struct logged *to = &l->record[l->n++];
			*to = (struct logged){.type = r.type, .expiry = r.expiry};
			if (r.key_len && r.key_len < sizeof(to->key))
				memcpy(to->key, r.key, r.key_len);
		}
	}
	segment_close(&reader);
}

/* All segments there are, in the order of their numbers, which is that of this engine's own. */
static void read_logs(struct logs *l, int dirfd)
{
	*l = (struct logs){0};
	for (uint64_t number = 1; number < 20; number++) {
		char name[DATADIR_NAME_SIZE];
		datadir_name(DATADIR_LOG, number, name);
		if (unit_exists(dirfd, name))
			read_log(l, dirfd, name);
	}
}

static unsigned records_of(const struct logs *l, uint8_t type, uint32_t key)
{
	char name[32] = "";
	unsigned n = 0;
	if (key)
		key_name(name, key);
	for (unsigned i = 0; i < l->n; i++)
		n += l->record[i].type == type && strcmp(l->record[i].key, name) == 0;
	return n;
}

/* ---- time ---- */

static void trap02_relative_times_are_logged_as_absolute(void **state)
{
	(void)state;
	struct place p = place_make();
	struct logs l;
	int64_t now = clock_now(p.e->clock);
	engine_turn(p.w);
	assert_in_range(engine_expiry(p.w, 100), now + 100, now + 110);
	assert_in_range(
	    engine_expiry(p.w, 60 * 60 * 24 * 30), now + 60 * 60 * 24 * 30, now + 60 * 60 * 24 * 30 + 10);
	assert_int_equal(engine_expiry(p.w, 4000000000), 4000000000);
	assert_int_equal(engine_expiry(p.w, -1), 1);
	set(&p, 1, engine_expiry(p.w, 100));
	read_logs(&l, p.s.fd);
	assert_int_equal(l.n, 1);
	assert_int_equal(l.record[0].type, RECORD_SET);
	assert_in_range(l.record[0].expiry, now + 100, now + 110);
	place_end(&p);
}

static void trap22_an_expiry_that_was_shown_is_a_record(void **state)
{
	(void)state;
	struct place p = place_make();
	struct logs l;
	set(&p, 1, clock_now(p.e->clock) + 100);
	clock_jump(p.e->clock, 200);
	assert_false(there(&p, 1));
	read_logs(&l, p.s.fd);
	assert_int_equal(records_of(&l, RECORD_DELETE, 1), 1);
	place_end(&p);
}

/* Nobody changes anything any more; what has expired by now is never to come back. */
static void trap22_an_idle_log_gets_the_time(void **state)
{
	(void)state;
	struct place p = place_make();
	struct logs l = {0};
	char name[32];
	int64_t expiry = clock_now(p.e->clock) + 100;
	set(&p, 1, expiry);
	clock_jump(p.e->clock, 200);
	struct store_thread *t = store_thread_open(p.e->store, NULL);
	struct store_outcome out = {0};
	struct store_key k = key_of(p.e->store, 1, name);
	store_thread_set_now(t, clock_now(p.e->clock));
	assert_int_equal(store_get(t, &k, shown_any, NULL, &out), STORE_NOT_FOUND);
	engine_tick(p.e);
	for (unsigned i = 0; i < 500 && l.time_ms < expiry * 1000; i++) {
		pause_ms(10);
		read_logs(&l, p.s.fd);
	}
	assert_true(l.time_ms >= expiry * 1000);
	assert_int_equal(l.n, 1);
	store_thread_close(&t);
	place_end(&p);
}

/* ---- flush_all ---- */

static void trap06_a_later_flush_takes_the_slot(void **state)
{
	(void)state;
	struct place p = place_make();
	flush(&p, FAR_FUTURE);
	flush(&p, FAR_FUTURE + 10);
	assert_int_equal(pending(&p), FAR_FUTURE + 10);
	place_again(&p);
	assert_int_equal(pending(&p), FAR_FUTURE + 10);
	flush(&p, 0);
	assert_int_equal(pending(&p), 0);
	set(&p, 1, 0);
	place_again(&p);
	assert_int_equal(pending(&p), 0);
	assert_true(there(&p, 1));
	place_end(&p);
}

static void trap06_a_flush_that_fires_is_a_record(void **state)
{
	(void)state;
	struct place p = place_make();
	struct logs l;
	set(&p, 1, 0);
	flush(&p, clock_now(p.e->clock) + 100);
	assert_true(there(&p, 1));
	engine_jump(p.e, 200);
	assert_false(there(&p, 1));
	assert_int_equal(pending(&p), 0);
	set(&p, 2, 0);
	read_logs(&l, p.s.fd);
	assert_int_equal(records_of(&l, RECORD_FLUSH, 0), 1);
	place_again(&p);
	assert_false(there(&p, 1));
	assert_true(there(&p, 2));
	place_end(&p);
}

static void trap06_a_flush_due_while_down_comes_before_all_else(void **state)
{
	(void)state;
	struct written w = written_begin();
	struct logs l;
	written_segment(&w);
	w.flush_due = clock_wall_ms() / 1000 - 10;
	written_set(&w, 1, "old", 0);
	written_manifest(&w);
	struct place p = {.s = w.s, .options = engine_defaults()};
	p.e = engine_at(p.s.path, &p.options, NULL);
	p.w = engine_get_worker(p.e, 0);
	assert_false(there(&p, 1));
	set(&p, 2, 0);
	read_logs(&l, p.s.fd);
	assert_int_equal(l.n, 3);
	assert_int_equal(l.record[1].type, RECORD_FLUSH);
	place_again(&p);
	assert_true(there(&p, 2));
	engine_close(&p.e);
	written_end(&w);
}

static void wait_snapshot(
    void *arg, enum hearth_status status, uint64_t number, uint64_t items, uint64_t bytes)
{
	(void)number;
	(void)items;
	(void)bytes;
	atomic_store((_Atomic int *)arg, status == HEARTH_OK ? 1 : 2);
}

/* True when it succeeds. */
static bool snapshot(struct engine *e)
{
	_Atomic int done = 0;
	MUST(engine_snapshot(e, wait_snapshot, &done) == HEARTH_OK);
	for (unsigned i = 0; atomic_load(&done) == 0; i++) {
		MUST(i < 30000);
		pause_ms(1);
	}
	return atomic_load(&done) == 1;
}

/* The record of the delayed flush lies in a segment that two snapshots have retired. */
static void trap06_a_pending_flush_is_in_every_header(void **state)
{
	(void)state;
	struct place p = place_make();
	struct snapshot_reader *reader;
	struct hearth_error err;
	struct logs l;
	flush(&p, FAR_FUTURE);
	set(&p, 1, 0);
	read_logs(&l, p.s.fd);
	assert_int_equal(l.flush_due, FAR_FUTURE);
	assert_true(snapshot(p.e));
	assert_true(snapshot(p.e));
	read_logs(&l, p.s.fd);
	assert_int_equal(records_of(&l, RECORD_FLUSH_AT, 0), 0);
	assert_int_equal(l.h.flush_due, FAR_FUTURE);
	assert_int_equal(snapshot_open(&reader, NULL, p.s.fd, "snapshot-0000000002", NULL, &err), HEARTH_OK);
	assert_int_equal(snapshot_get_header(reader)->flush_due, FAR_FUTURE);
	assert_int_equal(snapshot_get_footer(reader)->flush_due, FAR_FUTURE);
	snapshot_close(&reader);
	place_again(&p);
	assert_int_equal(pending(&p), FAR_FUTURE);
	place_end(&p);
}

/* ---- the state of items ---- */

static void trap08_an_items_state_goes_into_a_snapshot(void **state)
{
	(void)state;
	struct place p = place_make();
	struct snapshot_reader *reader;
	struct hearth_error err;
	struct record r;
	char name[32];
	const uint16_t states = ITEM_STALE | ITEM_WIN_SENT | ITEM_FETCHED | ITEM_BINARY;
	const struct store_load load = {.value = (const uint8_t *)"value",
	    .value_len = 5,
	    .seq = 1,
	    .cas = 12345,
	    .expiry = FAR_FUTURE,
	    .access = 1600000000,
	    .flags = 0xfedcba98,
	    .state = states,
	    .use = 2,
	    .main_queue = true,
	    .keep_newer = true};
	struct store_thread *t = store_thread_open(p.e->store, NULL);
	struct store_key k = key_of(p.e->store, 1, name);
	store_load_begin(p.e->store); /* so that the main queue has a region */
	assert_true(store_load_set(t, &k, &load));
	store_load_done(p.e->store);
	store_thread_close(&t);
	assert_true(snapshot(p.e));
	assert_int_equal(snapshot_open(&reader, NULL, p.s.fd, "snapshot-0000000001", NULL, &err), HEARTH_OK);
	uint8_t *buf = NULL;
	const uint8_t *data;
	size_t size = 0, len;
	assert_int_equal(snapshot_blocks(reader), 1);
	assert_int_equal(snapshot_load(reader, 0, &buf, &size, &data, &len, &err), HEARTH_OK);
	struct snapshot_records records = snapshot_records(data, len);
	assert_int_equal(snapshot_next_record(&records, &r), HEARTH_OK);
	assert_int_equal(r.bits & RECORD_STATE_BITS, RECORD_STATE_BITS);
	assert_int_equal(r.bits >> RECORD_USE_SHIFT & 3, 2);
	assert_true(r.bits & RECORD_MAIN_QUEUE);
	assert_int_equal(r.flags, 0xfedcba98);
	assert_int_equal(r.cas, 12345);
	assert_int_equal(r.expiry, FAR_FUTURE);
	assert_int_equal(r.access, 1600000000);
	free(buf);
	snapshot_close(&reader);
	place_end(&p);
}

static void trap08_an_items_state_goes_into_the_log(void **state)
{
	(void)state;
	struct place p = place_make();
	struct store_key key = {.data = (const uint8_t *)"k", .len = 1, .binary = true};
	const struct store_change c = {.kind = STORE_CHANGE_SET,
	    .key = &key,
	    .value = (const uint8_t *)"value",
	    .value_len = 5,
	    .pin = {NULL, STORE_PIN_NONE},
	    .flags = 0xfedcba98,
	    .state = ITEM_STALE | ITEM_WIN_SENT | ITEM_BINARY,
	    .cas = 12345,
	    .expiry = FAR_FUTURE};
	struct segment_reader *reader;
	struct segment_block block;
	struct hearth_error err;
	struct record r;
	engine_turn(p.w);
	set(&p, 1, 0); /* leaves credit */
	uint64_t need = engine_observe(p.w, &c);
	engine_turn_end(p.w);
	engine_await(p.e, need);
	assert_int_equal(segment_open(&reader, NULL, p.s.fd, "log-0000000001", NULL, &err), HEARTH_OK);
	assert_int_equal(segment_next(reader, &block, &err), HEARTH_OK);
	assert_int_equal(segment_next(reader, &block, &err), HEARTH_OK);
	struct segment_records records = segment_records(&block);
	assert_int_equal(segment_next_record(&records, &r), HEARTH_OK);
	assert_int_equal(r.bits & RECORD_STATE_BITS, RECORD_STALE | RECORD_WIN_SENT | RECORD_BINARY_KEY);
	assert_int_equal(r.flags, 0xfedcba98);
	assert_int_equal(r.cas, 12345);
	assert_int_equal(r.expiry, FAR_FUTURE);
	segment_close(&reader);
	place_end(&p);
}

/* ---- numbers ---- */

static uint64_t mark_on_disk(const char *path)
{
	struct datadir *dir;
	struct manifest m;
	bool repaired;
	MUST(datadir_open(&dir, vfs_posix(), path, false, false, NULL, NULL) == HEARTH_OK);
	MUST(datadir_read_manifest(dir, &m, &repaired, NULL) == HEARTH_OK);
	uint64_t mark = m.high_water;
	manifest_free(&m);
	datadir_close(&dir);
	return mark;
}

static void trap07_a_mark_is_durable_before_its_numbers_are_given_out(void **state)
{
	(void)state;
	static const enum engine_fsync policies[] = {
	    ENGINE_FSYNC_ALWAYS, ENGINE_FSYNC_EVERYSEC, ENGINE_FSYNC_OS};
	for (unsigned i = 0; i < 3; i++) {
		struct place p = {.s = unit_scratch_begin(), .options = engine_defaults()};
		p.options.fsync = policies[i];
		p.e = engine_at(p.s.path, &p.options, NULL);
		assert_true(
		    mark_on_disk(p.s.path) >= ring_last(wal_ring(p.e->wal)) + FILES_HIGH_WATER_STEP / 2);
		place_end(&p);
	}
}

/* Numbers come near the mark: it is raised, long before they are there. */
static void trap07_the_mark_is_raised_in_time(void **state)
{
	(void)state;
	static const enum engine_fsync policies[] = {
	    ENGINE_FSYNC_ALWAYS, ENGINE_FSYNC_EVERYSEC, ENGINE_FSYNC_OS};
	for (unsigned i = 0; i < 3; i++) {
		struct written w = written_begin();
		const uint64_t near = 1010 + FILES_HIGH_WATER_STEP / 2;
		w.m.high_water = near;
		w.next = 1000;
		written_segment(&w);
		written_set(&w, 1, "x", 0);
		written_manifest(&w);
		struct place p = {.s = w.s, .options = engine_defaults()};
		p.options.fsync = policies[i];
		p.e = engine_at(p.s.path, &p.options, NULL);
		p.w = engine_get_worker(p.e, 0);
		assert_int_equal(mark_on_disk(p.s.path), near);
		for (unsigned n = 0; n < 20; n++)
			set(&p, 2, 0);
		for (unsigned n = 0; n < 500 && mark_on_disk(p.s.path) == near; n++)
			pause_ms(10);
		assert_true(mark_on_disk(p.s.path) >= 1000 + FILES_HIGH_WATER_STEP);
		engine_close(&p.e);
		written_end(&w);
	}
}

/* ---- what a reply waits for ---- */

static void trap11_a_reply_waits_for_what_it_shows(void **state)
{
	(void)state;
	struct gate g;
	const struct engine_options o = engine_defaults();
	struct place p = place_behind(&g, &o);
	char name[32];
	struct engine_worker *other = engine_get_worker(p.e, 1);
	gate_set(&g, true);
	/* A value that is not written yet. */
	engine_turn(p.w);
	assert_int_equal(put_len(p.w, STORE_SET, 1, 10, 0), STORE_OK);
	uint64_t need = engine_need(p.w);
	engine_turn_end(p.w);
	engine_turn(other);
	struct store_key k = key_at(other, 1, name);
	assert_int_equal(engine_get(other, &k, shown_any, NULL), STORE_OK);
	assert_int_equal(engine_need(other), need);
	assert_false(engine_ready(p.e, engine_need(other)));
	/* And a removal. */
	engine_turn(p.w);
	assert_int_equal(engine_delete(p.w, &k, 0), STORE_OK);
	need = engine_need(p.w);
	engine_turn_end(p.w);
	engine_turn(other);
	assert_int_equal(engine_get(other, &k, shown_any, NULL), STORE_NOT_FOUND);
	assert_int_equal(engine_need(other), need);
	/* And what a command that changes nothing lets be seen: an add finds the key. */
	engine_turn(p.w);
	assert_int_equal(put_len(p.w, STORE_SET, 2, 10, 0), STORE_OK);
	need = engine_need(p.w);
	engine_turn_end(p.w);
	engine_turn(other);
	assert_int_equal(put_len(other, STORE_ADD, 2, 10, 0), STORE_NOT_STORED);
	assert_int_equal(engine_need(other), need);
	assert_false(engine_ready(p.e, need));
	gate_set(&g, false);
	engine_await(p.e, need);
	place_end(&p);
}

/* By the snapshot's thread, with a worker that nobody else uses. */
static void set_beside(struct gate *g)
{
	struct engine_worker *w = engine_get_worker(g->engine, 1);
	engine_turn(w);
	MUST(put_len(w, STORE_SET, 7, 10, 0) == STORE_OK);
	uint64_t need = engine_need(w);
	engine_turn_end(w);
	engine_await(g->engine, need);
}

/* Under `os` nobody syncs the log but for the snapshot; its scan ends behind a change that was made beside it. */
static void trap12_a_snapshot_is_never_ahead_of_the_log(void **state)
{
	(void)state;
	struct gate g;
	const struct engine_options o = engine_defaults();
	struct place p = place_behind(&g, &o);
	g.beside = set_beside;
	for (unsigned i = 1; i <= 3; i++) {
		set(&p, i, 0);
		assert_true(snapshot(p.e));
	}
	assert_int_equal(g.published, 3);
	assert_int_equal(g.early, 0);
	place_end(&p);
}

/* ---- room ---- */

static void trap15_room_for_a_result_is_secured_before_the_lock(void **state)
{
	(void)state;
	struct place p = place_make();
	engine_turn(p.w);
	assert_int_equal(put_len(p.w, STORE_SET, 1, 3000, 0), STORE_OK);
	/* The credit that a command leaves behind is used up by their results. */
	for (unsigned i = 0; i < 60; i++) {
		enum store_result r;
		while ((r = put_len(p.w, i % 2 ? STORE_APPEND : STORE_PREPEND, 1, 10, 0)) == STORE_WAIT)
			engine_turn_end(p.w);
		assert_int_equal(r, STORE_OK);
	}
	engine_turn_end(p.w);
	place_end(&p);
}

/* The ring is full: the command waits, with no lock held, and others read on. */
static void trap15_a_full_ring_holds_up_nobody_else(void **state)
{
	(void)state;
	struct gate g;
	const struct engine_options o = engine_defaults();
	struct place p = place_behind(&g, &o);
	char name[32];
	struct engine_worker *other = engine_get_worker(p.e, 1);
	alarm(20);
	gate_set(&g, true);
	enum store_result r = STORE_OK;
	unsigned n = 0;
	for (engine_turn(p.w); r == STORE_OK; n++) {
		r = put_len(p.w, STORE_SET, n % HISTORY_KEYS, 4000, 0);
		engine_turn_end(p.w);
	}
	assert_int_equal(r, STORE_WAIT);
	assert_true(n > 100);
	engine_turn(other);
	for (uint32_t i = 0; i < HISTORY_KEYS; i++) {
		struct store_key k = key_at(other, i, name);
		assert_int_equal(engine_get(other, &k, shown_any, NULL), STORE_OK);
	}
	gate_set(&g, false);
	while ((r = put_len(p.w, STORE_SET, 1, 4000, 0)) == STORE_WAIT)
		pause_ms(1);
	assert_int_equal(r, STORE_OK);
	engine_turn_end(p.w);
	place_end(&p);
}

/* ---- files ---- */

static void trap26_unfinished_files_are_removed_at_a_start(void **state)
{
	(void)state;
	struct place p = place_make();
	set(&p, 1, 0);
	engine_close(&p.e);
	unit_write_file(p.s.fd, "snapshot-0000000009.tmp", "x", 1);
	unit_write_file(p.s.fd, "notes.tmp", "x", 1);
	p.e = engine_at(p.s.path, &p.options, NULL);
	p.w = engine_get_worker(p.e, 0);
	assert_false(unit_exists(p.s.fd, "snapshot-0000000009.tmp"));
	assert_true(unit_exists(p.s.fd, "notes.tmp"));
	assert_true(there(&p, 1));
	place_end(&p);
}

static void trap26_a_snapshot_that_fails_replaces_nothing(void **state)
{
	(void)state;
	struct gate g;
	const struct engine_options o = engine_defaults();
	struct place p = place_behind(&g, &o);
	set(&p, 1, 0);
	assert_true(snapshot(p.e));
	size_t len, after;
	uint8_t *good = unit_read_file(p.s.fd, "snapshot-0000000001", &len);
	g.fail_snapshots = true;
	set(&p, 2, 0);
	assert_false(snapshot(p.e));
	uint8_t *still = unit_read_file(p.s.fd, "snapshot-0000000001", &after);
	assert_int_equal(after, len);
	assert_memory_equal(still, good, len);
	assert_false(unit_exists(p.s.fd, "snapshot-0000000002"));
	assert_false(unit_exists(p.s.fd, "snapshot-0000000002.tmp"));
	free(good);
	free(still);
	g.fail_snapshots = false;
	assert_true(snapshot(p.e));
	place_again(&p);
	assert_true(there(&p, 1) && there(&p, 2));
	place_end(&p);
}

/* Whatever lies under the next segment's name is not ours to write to. */
static void trap26_a_file_that_is_there_is_not_written_to(void **state)
{
	(void)state;
	struct written w = written_begin();
	written_segment(&w);
	written_set(&w, 1, "x", 0);
	written_manifest(&w);
	unit_write_file(w.s.fd, "log-0000000002", "precious", 8);
	struct place p = {.s = w.s, .options = engine_defaults()};
	p.e = engine_at(p.s.path, &p.options, NULL);
	p.w = engine_get_worker(p.e, 0);
	set(&p, 2, 0);
	size_t len;
	uint8_t *data = unit_read_file(w.s.fd, "log-0000000002", &len);
	assert_int_equal(len, 8);
	assert_memory_equal(data, "precious", 8);
	free(data);
	place_again(&p);
	assert_true(there(&p, 1) && there(&p, 2));
	engine_close(&p.e);
	written_end(&w);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(trap02_relative_times_are_logged_as_absolute),
    cmocka_unit_test(trap06_a_later_flush_takes_the_slot),
    cmocka_unit_test(trap06_a_flush_that_fires_is_a_record),
    cmocka_unit_test(trap06_a_flush_due_while_down_comes_before_all_else),
    cmocka_unit_test(trap06_a_pending_flush_is_in_every_header),
    cmocka_unit_test(trap07_a_mark_is_durable_before_its_numbers_are_given_out),
    cmocka_unit_test(trap07_the_mark_is_raised_in_time),
    cmocka_unit_test(trap08_an_items_state_goes_into_a_snapshot),
    cmocka_unit_test(trap08_an_items_state_goes_into_the_log),
    cmocka_unit_test(trap11_a_reply_waits_for_what_it_shows),
    cmocka_unit_test(trap12_a_snapshot_is_never_ahead_of_the_log),
    cmocka_unit_test(trap15_room_for_a_result_is_secured_before_the_lock),
    cmocka_unit_test(trap15_a_full_ring_holds_up_nobody_else),
    cmocka_unit_test(trap22_an_expiry_that_was_shown_is_a_record),
    cmocka_unit_test(trap22_an_idle_log_gets_the_time),
    cmocka_unit_test(trap26_unfinished_files_are_removed_at_a_start),
    cmocka_unit_test(trap26_a_snapshot_that_fails_replaces_nothing),
    cmocka_unit_test(trap26_a_file_that_is_there_is_not_written_to),
};
UNIT_MAIN(tests)
