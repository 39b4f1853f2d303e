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
	assert_int_equal(files_add_segment(&p->f, first, &fd, &segment, NULL), HEARTH_OK);
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

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_snapshot_retires_what_lies_before_it),
    cmocka_unit_test(kept_snapshots_keep_their_segments),
    cmocka_unit_test(the_segment_that_is_written_stays),
};
UNIT_MAIN(tests)
