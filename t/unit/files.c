/* SPDX-License-Identifier: BSD-3-Clause */
/* files: what a published snapshot retires, and what it must not. */
#include "history.h"

struct place {
	struct unit_scratch s;
	struct files f;
};

static struct place place_make(unsigned keep)
{
	struct place p = {.s = unit_scratch_begin()};
	struct datadir *dir;
	struct hearth_error err;
	MUST(datadir_open(&dir, vfs_posix(), p.s.path, true, true, NULL, &err) == HEARTH_OK);
	MUST(files_open(&p.f, dir, keep, &err) == HEARTH_OK);
	return p;
}

static void place_end(struct place *p)
{
	files_close(&p->f);
	unit_scratch_end(&p->s);
}

static uint64_t add_segment(struct place *p, uint64_t first)
{
	struct manifest_segment segment;
	int fd;
	assert_int_equal(files_add_segment(&p->f, 1, first, 4096, &fd, &segment, NULL), HEARTH_OK);
	close(fd);
	return segment.number;
}

static void publish(struct place *p, uint64_t start)
{
	struct manifest_snapshot entry = {.start = start, .end = start + 10, .generation = 1};
	int fd;
	assert_int_equal(files_add_snapshot(&p->f, &entry.number, &fd, NULL), HEARTH_OK);
	close(fd);
	assert_int_equal(files_publish(&p->f, &entry, NULL), HEARTH_OK);
}

static bool there(struct place *p, enum datadir_kind kind, uint64_t number)
{
	char name[DATADIR_NAME_SIZE];
	datadir_name(kind, number, name);
	return unit_exists(p->s.fd, name);
}

static void a_snapshot_retires_what_lies_before_it(void **state)
{
	(void)state;
	struct place p = place_make(1);
	static const uint64_t firsts[] = {1, 100, 200};
	for (unsigned i = 0; i < 3; i++)
		files_begin_segment(&p.f, add_segment(&p, firsts[i]), firsts[i]);
	publish(&p, 150);
	assert_false(there(&p, DATADIR_LOG, 1));
	assert_true(there(&p, DATADIR_LOG, 2));
	assert_true(there(&p, DATADIR_LOG, 3));
	publish(&p, 199);
	assert_false(there(&p, DATADIR_LOG, 2));
	assert_false(there(&p, DATADIR_SNAPSHOT, 1));
	assert_true(there(&p, DATADIR_SNAPSHOT, 2));
	publish(&p, 5000);
	assert_true(there(&p, DATADIR_LOG, 3));
	place_end(&p);
}

static void kept_snapshots_keep_their_segments(void **state)
{
	(void)state;
	struct place p = place_make(2);
	static const uint64_t firsts[] = {1, 100, 200};
	for (unsigned i = 0; i < 3; i++)
		files_begin_segment(&p.f, add_segment(&p, firsts[i]), firsts[i]);
	publish(&p, 50);
	publish(&p, 150);
	assert_true(there(&p, DATADIR_LOG, 1));
	publish(&p, 250);
	assert_false(there(&p, DATADIR_LOG, 1));
	assert_true(there(&p, DATADIR_LOG, 2));
	assert_false(there(&p, DATADIR_SNAPSHOT, 1));
	assert_true(there(&p, DATADIR_SNAPSHOT, 2));
	place_end(&p);
}

/* The first number of a segment made ahead is a lower bound only: as long as it has not begun, the one before is still
 * written to, also behind the snapshot's start. */
static void the_segment_that_is_written_stays(void **state)
{
	(void)state;
	struct place p = place_make(1);
	uint64_t current = add_segment(&p, 1);
	files_begin_segment(&p.f, current, 1);
	uint64_t next = add_segment(&p, 60); /* made ahead when 59 was written */
	/* S0 = 100: numbers up to it were given out, and wait in the ring for the current segment. */
	publish(&p, 100);
	assert_true(there(&p, DATADIR_LOG, current));
	files_begin_segment(&p.f, next, 300);
	publish(&p, 310);
	assert_false(there(&p, DATADIR_LOG, current));
	assert_true(there(&p, DATADIR_LOG, next));
	place_end(&p);
}

/* So it is when two segments began before anybody looked: what is told of the second says nothing of the first. */
static void a_segment_that_began_unnoticed_ends_nothing(void **state)
{
	(void)state;
	struct place p = place_make(1);
	uint64_t first = add_segment(&p, 1);
	files_begin_segment(&p.f, first, 1);
	uint64_t unnoticed = add_segment(&p, 60), last = add_segment(&p, 60);
	files_begin_segment(&p.f, last, 300);
	publish(&p, 100);
	assert_true(there(&p, DATADIR_LOG, first));
	assert_true(there(&p, DATADIR_LOG, unnoticed));
	publish(&p, 310);
	assert_false(there(&p, DATADIR_LOG, first));
	assert_false(there(&p, DATADIR_LOG, unnoticed));
	assert_true(there(&p, DATADIR_LOG, last));
	place_end(&p);
}

static void publish_at(struct place *p, uint64_t start, int64_t days_ago)
{
	struct manifest_snapshot entry = {.start = start,
	    .end = start + 10,
	    .generation = 1,
	    .wall_ms = clock_wall_ms() - days_ago * 86400000 + 60000};
	int fd;
	assert_int_equal(files_add_snapshot(&p->f, &entry.number, &fd, NULL), HEARTH_OK);
	close(fd);
	assert_int_equal(files_publish(&p->f, &entry, NULL), HEARTH_OK);
}

static void young_snapshots_stay(void **state)
{
	(void)state;
	struct place p = place_make(1);
	p.f.keep_days = 3;
	files_begin_segment(&p.f, add_segment(&p, 1), 1);
	files_begin_segment(&p.f, add_segment(&p, 300), 300);
	publish_at(&p, 100, 5); /* alone, it is the newest */
	assert_true(there(&p, DATADIR_SNAPSHOT, 1));
	publish_at(&p, 200, 3);
	assert_false(there(&p, DATADIR_SNAPSHOT, 1));
	publish_at(&p, 301, 2);
	publish_at(&p, 302, 0);
	assert_true(there(&p, DATADIR_SNAPSHOT, 2) && there(&p, DATADIR_SNAPSHOT, 3));
	assert_true(there(&p, DATADIR_LOG, 1)); /* the oldest of them needs it */
	p.f.keep_days = 1;
	publish_at(&p, 303, 0);
	assert_false(there(&p, DATADIR_SNAPSHOT, 2) || there(&p, DATADIR_SNAPSHOT, 3));
	assert_true(there(&p, DATADIR_SNAPSHOT, 4) && there(&p, DATADIR_SNAPSHOT, 5));
	assert_false(there(&p, DATADIR_LOG, 1));
	/* Those that an unset option would have kept for their number stay all the same. */
	p.f.keep_days = 0;
	publish_at(&p, 304, 0);
	assert_false(there(&p, DATADIR_SNAPSHOT, 5));
	place_end(&p);
}

static void a_pinned_snapshot_stays(void **state)
{
	(void)state;
	struct place p = place_make(1);
	files_begin_segment(&p.f, add_segment(&p, 1), 1);
	publish(&p, 50);
	assert_int_equal(files_pin(&p.f, 7, true, NULL), HEARTH_END);
	assert_int_equal(files_pin(&p.f, 1, true, NULL), HEARTH_OK);
	files_begin_segment(&p.f, add_segment(&p, 100), 100);
	publish(&p, 150);
	publish(&p, 160);
	assert_true(there(&p, DATADIR_SNAPSHOT, 1) && there(&p, DATADIR_LOG, 1));
	assert_false(there(&p, DATADIR_SNAPSHOT, 2));
	/* It is so on disk. */
	struct manifest m;
	bool repaired;
	assert_int_equal(datadir_read_manifest(p.f.dir, &m, &repaired, NULL), HEARTH_OK);
	assert_true(m.n_snapshots == 2 && m.snapshots[0].pinned && !m.snapshots[1].pinned);
	manifest_free(&m);
	assert_int_equal(files_pin(&p.f, 1, false, NULL), HEARTH_OK);
	assert_true(there(&p, DATADIR_SNAPSHOT, 1)); /* until the next */
	publish(&p, 170);
	assert_false(there(&p, DATADIR_SNAPSHOT, 1) || there(&p, DATADIR_LOG, 1));
	place_end(&p);
}

static void a_purge_leaves_what_is_pinned_and_what_is_newer(void **state)
{
	(void)state;
	struct place p = place_make(9);
	static const uint64_t firsts[] = {1, 100, 200, 300};
	for (unsigned i = 0; i < 4; i++)
		files_begin_segment(&p.f, add_segment(&p, firsts[i]), firsts[i]);
	publish(&p, 50);
	publish(&p, 150);
	publish(&p, 250);
	publish(&p, 350);
	assert_int_equal(files_pin(&p.f, 2, true, NULL), HEARTH_OK);
	assert_int_equal(files_purge(&p.f, 3, NULL), HEARTH_OK);
	for (uint64_t i = 1; i <= 4; i++) {
		assert_int_equal(there(&p, DATADIR_SNAPSHOT, i), i != 1);
		assert_int_equal(there(&p, DATADIR_LOG, i), i != 1);
	}
	files_pin(&p.f, 2, false, NULL);
	assert_int_equal(files_purge(&p.f, 4, NULL), HEARTH_OK);
	for (uint64_t i = 1; i <= 4; i++) {
		assert_int_equal(there(&p, DATADIR_SNAPSHOT, i), i == 4);
		assert_int_equal(there(&p, DATADIR_LOG, i), i == 4);
	}
	place_end(&p);
}

/* Who packs does not know that the segment has been purged meanwhile. */
static void a_packed_copy_of_what_is_gone_does_not_bring_its_name_back(void **state)
{
	(void)state;
	struct place p = place_make(1);
	static const uint64_t firsts[] = {1, 100};
	for (unsigned i = 0; i < 2; i++)
		files_begin_segment(&p.f, add_segment(&p, firsts[i]), firsts[i]);
	publish(&p, 150);
	assert_false(there(&p, DATADIR_LOG, 1));
	for (uint64_t i = 1; i <= 2; i++) {
		char name[FILES_NAME_SIZE];
		files_temporary_name(DATADIR_LOG, i, name);
		close(openat(p.s.fd, name, O_WRONLY | O_CREAT, 0600));
		assert_int_equal(files_packed(&p.f, i, NULL), i == 1 ? HEARTH_END : HEARTH_OK);
		assert_false(unit_exists(p.s.fd, name));
	}
	assert_false(there(&p, DATADIR_LOG, 1));
	assert_true(there(&p, DATADIR_LOG, 2));
	place_end(&p);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_purge_leaves_what_is_pinned_and_what_is_newer),
    cmocka_unit_test(a_packed_copy_of_what_is_gone_does_not_bring_its_name_back),
    cmocka_unit_test(a_snapshot_retires_what_lies_before_it),
    cmocka_unit_test(kept_snapshots_keep_their_segments),
    cmocka_unit_test(the_segment_that_is_written_stays),
    cmocka_unit_test(a_segment_that_began_unnoticed_ends_nothing),
    cmocka_unit_test(young_snapshots_stay),
    cmocka_unit_test(a_pinned_snapshot_stays),
};
UNIT_MAIN(tests)
