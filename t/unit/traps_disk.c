/* SPDX-License-Identifier: BSD-3-Clause */
/* traps_disk: the rules for a disk that fails, is full or stands still: nothing that was acknowledged is lost, nothing
 * deleted comes back, nobody is lied to. t/traps/rules takes each rule out. */
#include "gate.h"

/* A failing disk under an engine; what is there before is on it. */
static struct place place_with(struct gate *g, enum engine_fsync fsync, enum engine_on_disk_error on_error)
{
	struct engine_options o = engine_defaults();
	o.fsync = fsync;
	o.on_disk_error = on_error;
	return place_behind(g, &o);
}

/* The engine is killed, the disk is well again. */
static void place_well(struct place *p, struct gate *g)
{
	pthread_mutex_lock(&g->lock);
	g->fail_writes = g->fail_syncs = g->fail_creates = g->fail_manifests = -1;
	pthread_mutex_unlock(&g->lock);
	engine_close(&p->e);
	p->e = engine_at(p->s.path, &p->options, NULL);
	p->w = engine_get_worker(p->e, 0);
}

static void expect_state(struct place *p, enum wal_state state)
{
	for (unsigned i = 0; i < 2000 && wal_state(p->e->wal) != state; i++)
		pause_ms(5);
	assert_int_equal(wal_state(p->e->wal), state);
}

static enum store_result try_set(struct place *p, uint32_t key)
{
	engine_turn(p->w);
	enum store_result r = put_len(p->w, STORE_SET, key, 10, 0);
	engine_turn_end(p->w);
	return r;
}

/* The answer to a delete, once it may leave. */
static enum store_result try_delete(struct place *p, uint32_t key)
{
	char name[32];
	engine_turn(p->w);
	struct store_key k = key_at(p->w, key, name);
	enum store_result r = engine_delete(p->w, &k, 0);
	uint64_t need = engine_need(p->w);
	engine_turn_end(p->w);
	for (unsigned i = 0; i < 2000 && !engine_ready(p->e, need) && !engine_lost(p->e, need); i++)
		pause_ms(5);
	return engine_ready(p->e, need) ? r : STORE_WAIT;
}

/* Writes until the next segment has been made ahead, with room of its own. */
static void await_next(struct place *p, struct gate *g)
{
	engine_turn(p->w);
	for (uint32_t i = 0; i < 90; i++)
		assert_int_equal(put_len(p->w, STORE_SET, 40 + i % 20, 4000, 0), STORE_OK);
	engine_turn_end(p->w);
	for (unsigned i = 0; i < 2000 && g->allocations < 2; i++)
		pause_ms(5);
	assert_int_equal(g->allocations, 2);
}

static void trap16_a_sync_that_failed_is_never_tried_again(void **state)
{
	(void)state;
	struct gate g;
	struct place p = place_with(&g, ENGINE_FSYNC_ALWAYS, ENGINE_REFUSE);
	await_next(&p, &g);
	set(&p, 1, 0);
	g.fail_syncs = 1;
	set(&p, 2, 0);
	pause_ms(300);
	assert_true(g.failed[0] != 0);
	assert_int_equal(g.again, 0);
	place_well(&p, &g);
	assert_true(there(&p, 1) && there(&p, 2));
	place_end(&p);
}

static void trap16_the_new_segment_begins_with_the_tail_of_the_old(void **state)
{
	(void)state;
	struct gate g;
	struct place p = place_with(&g, ENGINE_FSYNC_OS, ENGINE_REFUSE);
	await_next(&p, &g);
	for (uint32_t i = 1; i <= 5; i++)
		set(&p, i, 0);
	uint64_t before = wal_written(p.e->wal);
	assert_true(wal_durable(p.e->wal) < before);
	g.fail_writes = 1;
	set(&p, 6, 0);
	assert_true(wal_durable(p.e->wal) >= before);
	place_well(&p, &g);
	for (uint32_t i = 1; i <= 6; i++)
		assert_true(there(&p, i));
	place_end(&p);
}

static bool all_zeros(void *arg, const struct store_view *view)
{
	for (size_t i = 0; i < view->value_len; i++)
		*(bool *)arg &= view->value[i] == 0;
	return true;
}

/* A byte of what was written and never synced changes: a page cache that lies. */
static void trap16_a_tail_is_verified_before_it_is_copied(void **state)
{
	(void)state;
	struct gate g;
	struct place p = place_with(&g, ENGINE_FSYNC_OS, ENGINE_REFUSE);
	char key[32];
	size_t len;
	await_next(&p, &g);
	for (uint32_t i = 1; i <= 3; i++)
		set(&p, i, 0);
	uint8_t *data = unit_read_file(p.s.fd, "log-0000000001", &len);
	uint8_t *at = memmem(data, len, key, key_name(key, 2));
	assert_non_null(at);
	int fd = openat(p.s.fd, "log-0000000001", O_WRONLY);
	assert_int_equal(pwrite(fd, "X", 1, at - data + 12), 1);
	close(fd);
	free(data);
	g.fail_writes = 1;
	engine_turn(p.w);
	put_len(p.w, STORE_SET, 4, 10, 0);
	engine_turn_end(p.w);
	for (unsigned i = 0; i < 2000 && wal_state(p.e->wal) == WAL_HEALTHY; i++)
		pause_ms(5);
	place_well(&p, &g);
	/* It is gone, or, once a snapshot has healed the log, what memory held; never what the file held. */
	bool zeros = true;
	engine_turn(p.w);
	struct store_key k = key_at(p.w, 2, key);
	engine_get(p.w, &k, all_zeros, &zeros);
	engine_turn_end(p.w);
	assert_true(zeros);
	place_end(&p);
}

/* Neither the segment nor the next one takes a byte. */
static void break_log(struct place *p, struct gate *g)
{
	g->fail_writes = g->fail_creates = -1;
	engine_turn(p->w);
	put_len(p->w, STORE_SET, 9, 10, 0);
	engine_turn_end(p->w);
}

static void trap17_an_invalidation_is_never_refused(void **state)
{
	(void)state;
	struct gate g;
	struct place p = place_with(&g, ENGINE_FSYNC_OS, ENGINE_REFUSE);
	await_next(&p, &g);
	set(&p, 1, 0);
	set(&p, 2, 0);
	break_log(&p, &g);
	expect_state(&p, WAL_STOPPED);
	assert_int_equal(try_set(&p, 3), STORE_REFUSED);
	assert_int_equal(try_delete(&p, 1), STORE_OK);
	assert_int_equal(wal_state(p.e->wal), WAL_UNTRUSTED);
	assert_int_equal(try_set(&p, 3), STORE_REFUSED);
	/* What could not be written is not found at the next start, nor anything that it may have superseded. */
	place_well(&p, &g);
	assert_false(there(&p, 1));
	place_end(&p);
}

/* Not even the mark can be written: then nothing is said to have been deleted. */
static void trap17_a_delete_without_log_and_mark_is_no_success(void **state)
{
	(void)state;
	struct gate g;
	struct place p = place_with(&g, ENGINE_FSYNC_OS, ENGINE_REFUSE);
	await_next(&p, &g);
	set(&p, 1, 0);
	g.fail_manifests = -1;
	break_log(&p, &g);
	expect_state(&p, WAL_STOPPED);
	assert_true(try_delete(&p, 1) != STORE_OK);
	expect_state(&p, WAL_LOST);
	assert_true(try_delete(&p, 1) == STORE_REFUSED);
	engine_turn(p.w);
	char name[32];
	struct store_key k = key_at(p.w, 1, name);
	assert_int_equal(engine_get(p.w, &k, shown_any, NULL), STORE_NOT_FOUND);
	engine_turn_end(p.w);
	place_well(&p, &g);
	place_end(&p);
}

static void trap18_serving_begins_when_the_mark_is_durable(void **state)
{
	(void)state;
	for (unsigned marked = 0; marked < 2; marked++) {
		struct gate g;
		struct place p = place_with(&g, ENGINE_FSYNC_OS, ENGINE_SERVE);
		await_next(&p, &g);
		set(&p, 1, 0);
		g.fail_manifests = marked ? 0 : -1;
		break_log(&p, &g);
		expect_state(&p, marked ? WAL_UNTRUSTED : WAL_LOST);
		assert_int_equal(try_set(&p, 3), marked ? STORE_OK : STORE_REFUSED);
		place_well(&p, &g);
		/* Served alone, or never stored: not there either way. */
		assert_false(there(&p, 3));
		place_end(&p);
	}
}

static void trap18_an_untrusted_generation_is_not_used(void **state)
{
	(void)state;
	struct written w = written_begin();
	w.m.untrusted = true;
	written_segment(&w);
	written_set(&w, 1, "x", 0);
	written_manifest(&w);
	struct loaded l = load_dir(w.s.path);
	assert_int_equal(l.status, HEARTH_OK);
	assert_true(loaded_is(&l, 1, NULL));
	loaded_end(&l);
	written_end(&w);
}

/* The snapshot of this generation is lost; between the older one and the log lies a hole. */
static void trap18_a_snapshot_of_an_older_generation_is_not_used(void **state)
{
	(void)state;
	struct written w = written_begin();
	struct record r = set_record(1, "of before the hole", 0);
	r.seq = 1;
	w.next = 2;
	written_snapshot(&w, &r, 1, 1, 1);
	w.m.generation = 2;
	written_snapshot(&w, &r, 1, 1, 1);
	written_segment(&w);
	written_set(&w, 2, "behind it", 0);
	written_manifest(&w);
	assert_int_equal(unlinkat(w.s.fd, "snapshot-0000000002", 0), 0);
	struct loaded l = load_dir(w.s.path);
	assert_int_equal(l.status, HEARTH_OK);
	assert_true(loaded_is(&l, 1, NULL));
	loaded_end(&l);
	written_end(&w);
}

/* A sync that does not come back: replies that need no sync leave, and everybody reads on. */
static void trap19_a_sync_that_hangs_holds_up_no_reply(void **state)
{
	(void)state;
	struct gate g;
	struct place p = place_with(&g, ENGINE_FSYNC_EVERYSEC, ENGINE_REFUSE);
	alarm(20);
	pthread_mutex_lock(&g.lock);
	g.hold_syncs = true;
	pthread_mutex_unlock(&g.lock);
	set(&p, 1, 0);
	pause_ms(1200); /* a second later the sync is under way */
	for (uint32_t i = 2; i < 10; i++)
		assert_true(there(&p, 1));
	set(&p, 2, 0);
	assert_true(there(&p, 2));
	pthread_mutex_lock(&g.lock);
	g.hold_syncs = false;
	pthread_cond_broadcast(&g.opened);
	pthread_mutex_unlock(&g.lock);
	place_end(&p);
}

/* Segments have their room before they are needed: on a full disk deletes still find some. */
static void trap20_a_full_disk_takes_deletes(void **state)
{
	(void)state;
	struct gate g;
	struct place p = place_with(&g, ENGINE_FSYNC_OS, ENGINE_REFUSE);
	await_next(&p, &g);
	set(&p, 1, 0);
	set(&p, 2, 0);
	g.error = ENOSPC;
	g.fail_creates = -1;
	g.fail_writes = 1;
	engine_turn(p.w);
	put_len(p.w, STORE_SET, 9, 10, 0);
	engine_turn_end(p.w);
	for (unsigned i = 0; i < 2000 && wal_state(p.e->wal) == WAL_HEALTHY; i++)
		pause_ms(5);
	assert_int_equal(try_set(&p, 3), STORE_REFUSED);
	assert_int_equal(try_delete(&p, 1), STORE_OK);
	place_well(&p, &g);
	assert_false(there(&p, 1));
	place_end(&p);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(trap16_a_sync_that_failed_is_never_tried_again),
    cmocka_unit_test(trap16_the_new_segment_begins_with_the_tail_of_the_old),
    cmocka_unit_test(trap16_a_tail_is_verified_before_it_is_copied),
    cmocka_unit_test(trap17_an_invalidation_is_never_refused),
    cmocka_unit_test(trap17_a_delete_without_log_and_mark_is_no_success),
    cmocka_unit_test(trap18_serving_begins_when_the_mark_is_durable),
    cmocka_unit_test(trap18_an_untrusted_generation_is_not_used),
    cmocka_unit_test(trap18_a_snapshot_of_an_older_generation_is_not_used),
    cmocka_unit_test(trap19_a_sync_that_hangs_holds_up_no_reply),
    cmocka_unit_test(trap20_a_full_disk_takes_deletes),
};
UNIT_MAIN(tests)
