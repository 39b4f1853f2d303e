/* SPDX-License-Identifier: BSD-3-Clause */
/* files_faults: the files of a data directory while calls and allocations fail: what the manifest on disk names is there,
 * whichever call it was, and the same step succeeds once the disk is well. What is given up for want of room, and when. */
#include "failing.h"
#include "history.h"
#include "no_random.h"
#include "persist/quota.h"
#include "persist/unsynced.h"

struct place {
	struct unit_scratch s;
	struct failing_vfs v;
	struct files f;
};

/* No test here cuts the power, and there are many. */
static int no_sync(void *ctx, int fd)
{
	(void)fd;
	return failing_vfs_now(ctx) ? -1 : 0;
}

static struct datadir *place_dir(struct place *p)
{
	struct datadir *dir;
	struct hearth_error err;
	MUST(datadir_open(&dir, &p->v.vfs, p->s.path, true, true, NULL, &err) == HEARTH_OK);
	return dir;
}

static void place_open(struct place *p, unsigned keep)
{
	*p = (struct place){.s = unit_scratch_begin()};
	failing_vfs_init(&p->v);
	p->v.vfs.fsync = p->v.vfs.fdatasync = no_sync;
	MUST(files_open(&p->f, place_dir(p), keep, NULL) == HEARTH_OK);
}

static void place_again(struct place *p)
{
	unsigned keep = p->f.keep;
	files_close(&p->f);
	MUST(files_open(&p->f, place_dir(p), keep, NULL) == HEARTH_OK);
}

static void place_end(struct place *p)
{
	files_close(&p->f);
	unit_scratch_end(&p->s);
}

static enum hearth_status try_segment(struct place *p, uint64_t first)
{
	struct manifest_segment segment;
	struct hearth_error err = {0};
	int fd;
	enum hearth_status status =
	    files_add_segment(&p->f, p->f.generation, first, 4096, &fd, &segment, first % 2 ? &err : NULL);
	if (status == HEARTH_OK) {
		close(fd);
		files_begin_segment(&p->f, segment.number, first);
	}
	assert_true(first % 2 == 0 || status == err.status);
	return status;
}

static enum hearth_status try_publish(struct place *p, uint64_t start)
{
	struct manifest_snapshot entry = {
	    .start = start, .end = start + 10, .generation = p->f.generation, .bytes = 1000};
	int fd;
	enum hearth_status status = files_add_snapshot(&p->f, &entry.number, &fd, NULL);
	if (status != HEARTH_OK)
		return status;
	close(fd);
	return files_publish(&p->f, &entry, NULL);
}

static void add_segment(struct place *p, uint64_t first)
{
	assert_int_equal(try_segment(p, first), HEARTH_OK);
}

static void publish(struct place *p, uint64_t start)
{
	assert_int_equal(try_publish(p, start), HEARTH_OK);
}

static bool there(struct place *p, enum datadir_kind kind, uint64_t number)
{
	char name[DATADIR_NAME_SIZE];
	datadir_name(kind, number, name);
	return unit_exists(p->s.fd, name);
}

static struct manifest on_disk(struct place *p)
{
	struct manifest m;
	bool repaired;
	assert_int_equal(datadir_read_manifest(p->f.dir, &m, &repaired, NULL), HEARTH_OK);
	return m;
}

/* ---- whichever call fails ---- */

static enum hearth_status replace(struct place *p)
{
	int fd = files_begin_replacement(&p->f, 2, 4096);
	if (fd < 0)
		return HEARTH_IO;
	close(fd);
	enum hearth_status status = files_replaced(&p->f, 2, NULL);
	if (status != HEARTH_OK)
		files_drop_temporary(&p->f, DATADIR_LOG, 2);
	return status;
}

/* What was retired and could not be written goes with the next manifest: that is seen to here. */
static enum hearth_status give_up(struct place *p)
{
	enum hearth_status status = files_give_up(&p->f, NULL);
	if (status != HEARTH_END)
		return status;
	status = files_write(&p->f, NULL);
	return status == HEARTH_OK ? files_sweep(&p->f, NULL) : status;
}

/* HEARTH_END: that was the last. */
static enum hearth_status step(struct place *p, unsigned n)
{
	switch (n) {
	case 0:
		return try_segment(p, 1);
	case 1:
		return try_segment(p, 100);
	case 2:
		return try_segment(p, 201);
	case 3:
		return files_make_spare(&p->f, NULL);
	case 4:
		return try_publish(p, 50);
	case 5:
		return try_publish(p, 150);
	case 6:
		return files_pin(&p->f, p->f.manifest.snapshots[0].number, true, NULL);
	case 7:
		return try_publish(p, 250);
	case 8:
		return replace(p);
	case 9:
		return files_raise_high_water(&p->f, 10000000, NULL);
	case 10:
		return files_pin(&p->f, p->f.manifest.snapshots[0].number, false, NULL);
	case 11:
	case 14:
	case 15:
	case 16:
		return give_up(p);
	case 12:
		return files_sync_segments(&p->f, NULL);
	case 13:
		return files_mark_untrusted(&p->f, 20000000, NULL);
	default:
		return HEARTH_END;
	}
}

/* A start finds each file that the manifest names. */
static void expect_named_files(struct place *p)
{
	if (!unit_exists(p->s.fd, DATADIR_MANIFEST))
		return;
	struct manifest m = on_disk(p);
	for (size_t i = 0; i < m.n_segments; i++)
		assert_true(there(p, DATADIR_LOG, m.segments[i].number));
	for (size_t i = 0; i < m.n_snapshots; i++)
		assert_true(there(p, DATADIR_SNAPSHOT, m.snapshots[i].number));
	assert_true(!p->f.marked || m.untrusted);
	manifest_free(&m);
}

static void expect_end(struct place *p)
{
	struct manifest m = on_disk(p);
	assert_true(m.untrusted && p->f.marked && !p->f.in_doubt);
	assert_int_equal(m.n_snapshots, 0);
	assert_int_equal(m.n_segments, 0);
	assert_true(m.high_water >= 20000000);
	manifest_free(&m);
}

/* A life in which one call fails, or several in a row; each step is repeated until it succeeds. False: none was hit. */
static bool failing_life(unsigned at, unsigned again, int error)
{
	struct place p;
	place_open(&p, 2);
	unsigned before = failing_open_files();
	p.v.error = error;
	p.v.changes_only = again > 0;
	p.v.failing = (struct failing){.at = at, .again = again ? at + again : 0};
	for (unsigned n = 0;;) {
		enum hearth_status status = step(&p, n);
		if (status == HEARTH_END)
			break;
		n += status == HEARTH_OK;
		struct failing was = p.v.failing;
		p.v.failing = (struct failing){0};
		assert_true(status == HEARTH_OK || was.hit);
		expect_named_files(&p);
		p.v.failing = (struct failing){.at = was.at, .again = was.again};
		p.v.failing.calls = was.calls;
		p.v.failing.hit = was.hit;
	}
	bool hit = p.v.failing.hit;
	p.v.failing = (struct failing){0};
	assert_int_equal(failing_open_files(), before);
	expect_end(&p);
	place_end(&p);
	return hit;
}

static void a_call_that_fails_leaves_what_is_named(void **state)
{
	(void)state;
	for (unsigned at = 1; failing_life(at, 0, EIO); at++)
		assert_true(at < 1000);
	/* With a second failure: also that which follows once the reserve was given up. */
	for (unsigned at = 1; failing_life(at, 1, ENOSPC); at++)
		assert_true(at < 1000);
}

/* ---- memory ---- */

#if FAILING_MEMORY
static void an_allocation_that_fails_leaves_what_is_named(void **state)
{
	(void)state;
	unsigned tried = 0;
	for (bool hit = true; hit; tried++) {
		struct place p;
		place_open(&p, 1);
		failing_memory = (struct failing){.at = tried + 1};
		unsigned n = 0;
		for (;;) {
			enum hearth_status status = step(&p, n);
			if (status == HEARTH_END)
				break;
			assert_true(status == HEARTH_OK || failing_memory.hit);
			n += status == HEARTH_OK;
		}
		hit = failing_memory.hit;
		failing_memory = (struct failing){0};
		expect_named_files(&p);
		expect_end(&p);
		place_end(&p);
	}
	assert_true(tried > 10);
}

/* The lists grow by steps: before each file that is retired the next allocation fails. */
static void short_of_memory_fewer_files_are_retired(void **state)
{
	(void)state;
	for (unsigned at = 1; at < 40; at++) {
		struct place p;
		place_open(&p, 1);
		for (uint64_t i = 0; i < 20; i++)
			add_segment(&p, i * 10 + 1);
		p.f.keep = 20;
		for (uint64_t i = 0; i < 10; i++)
			publish(&p, i * 10 + 1);
		p.f.keep = 1;
		failing_memory = (struct failing){.at = at};
		enum hearth_status status = try_publish(&p, 185);
		bool hit = failing_memory.hit;
		failing_memory = (struct failing){0};
		assert_true(status == HEARTH_OK || hit);
		expect_named_files(&p);
		publish(&p, 186); /* makes up for it */
		struct manifest m = on_disk(&p);
		assert_int_equal(m.n_snapshots, 1);
		assert_int_equal(m.segments[0].first, 181);
		manifest_free(&m);
		place_end(&p);
		if (!hit)
			break;
	}
}

static void giving_up_says_that_memory_is_short(void **state)
{
	(void)state;
	for (unsigned marked = 0; marked < 2; marked++) {
		struct place p;
		place_open(&p, 9);
		for (uint64_t i = 0; i < 3; i++)
			add_segment(&p, i * 10 + 1);
		for (uint64_t i = 0; i < 2 && !marked; i++)
			publish(&p, i * 10 + 15);
		if (marked)
			assert_int_equal(files_mark_untrusted(&p.f, 1000, NULL), HEARTH_OK);
		failing_memory = (struct failing){.at = 1};
		assert_int_equal(files_give_up(&p.f, NULL), HEARTH_NOMEM);
		failing_memory = (struct failing){0};
		assert_int_equal(files_give_up(&p.f, NULL), HEARTH_OK);
		expect_named_files(&p);
		place_end(&p);
	}
}
#endif

/* ---- random bytes ---- */

static void without_random_bytes_nothing_is_made(void **state)
{
	(void)state;
	struct place p = {.s = unit_scratch_begin()};
	struct hearth_error err = {0};
	failing_vfs_init(&p.v);
	struct datadir *dir = place_dir(&p);
	no_random = true;
	assert_int_equal(files_open(&p.f, dir, 1, &err), HEARTH_IO);
	assert_string_equal(err.what, "no random bytes for the lineage id");
	no_random = false;
	assert_int_equal(files_open(&p.f, dir, 0, &err), HEARTH_OK);
	assert_int_equal(p.f.keep, 1);
	no_random = true;
	assert_int_equal(try_segment(&p, 1), HEARTH_IO);
	no_random = false;
	assert_false(there(&p, DATADIR_LOG, 1));
	assert_int_equal(p.f.manifest.n_segments, 0);
	place_end(&p);
}

/* ---- what is refused ---- */

static void a_manifest_with_hardly_a_number_left_is_refused(void **state)
{
	(void)state;
	for (unsigned which = 0; which < 2; which++) {
		struct place p;
		struct hearth_error err = {0};
		place_open(&p, 1);
		p.f.manifest.next_segment = which == 0 ? RECORD_SEQ_MAX / 2 + 1 : 1;
		p.f.manifest.next_snapshot = which == 1 ? RECORD_SEQ_MAX / 2 + 1 : 1;
		assert_int_equal(files_write(&p.f, NULL), HEARTH_OK);
		files_close(&p.f);
		struct datadir *dir = place_dir(&p);
		assert_int_equal(files_open(&p.f, dir, 1, &err), HEARTH_DAMAGED);
		assert_string_equal(err.file, DATADIR_MANIFEST);
		datadir_close(&dir);
		unit_scratch_end(&p.s);
	}
}

/* Not kept for this generation any more, or of one that is marked. */
static void a_snapshot_of_a_log_that_was_given_up_is_not_published(void **state)
{
	(void)state;
	struct place p;
	place_open(&p, 1);
	add_segment(&p, 1);
	struct manifest_snapshot entry = {.start = 1, .end = 2, .generation = 7};
	int fd;
	assert_int_equal(files_add_snapshot(&p.f, &entry.number, &fd, NULL), HEARTH_OK);
	close(fd);
	assert_int_equal(files_publish(&p.f, &entry, NULL), HEARTH_BUSY);
	entry.generation = p.f.generation;
	assert_int_equal(files_mark_untrusted(&p.f, 100, NULL), HEARTH_OK);
	assert_int_equal(files_publish(&p.f, &entry, NULL), HEARTH_BUSY);
	assert_false(there(&p, DATADIR_SNAPSHOT, entry.number));
	/* The first of a new one takes the mark back. */
	entry.generation = p.f.generation = files_new_generation(&p.f);
	assert_int_equal(files_publish(&p.f, &entry, NULL), HEARTH_OK);
	struct manifest m = on_disk(&p);
	assert_false(m.untrusted);
	assert_int_equal(m.generation, entry.generation);
	manifest_free(&m);
	place_end(&p);
}

/* ---- for want of room ---- */

static void the_newest_snapshot_and_pinned_ones_are_not_given_up(void **state)
{
	(void)state;
	struct place p;
	place_open(&p, 9);
	for (uint64_t i = 0; i < 4; i++)
		add_segment(&p, i * 100 + 1);
	for (uint64_t i = 0; i < 3; i++)
		publish(&p, i * 100 + 50);
	assert_int_equal(files_pin(&p.f, 1, true, NULL), HEARTH_OK);
	assert_int_equal(files_pin(&p.f, 1, true, NULL), HEARTH_OK); /* is so already */
	assert_int_equal(files_give_up(&p.f, NULL), HEARTH_OK);
	assert_true(there(&p, DATADIR_SNAPSHOT, 1) && there(&p, DATADIR_SNAPSHOT, 3));
	assert_false(there(&p, DATADIR_SNAPSHOT, 2));
	assert_int_equal(files_give_up(&p.f, NULL), HEARTH_END);
	assert_int_equal(files_pin(&p.f, 1, false, NULL), HEARTH_OK);
	assert_int_equal(files_give_up(&p.f, NULL), HEARTH_OK);
	assert_false(
	    there(&p, DATADIR_SNAPSHOT, 1) || there(&p, DATADIR_LOG, 1) || there(&p, DATADIR_LOG, 2));
	assert_true(there(&p, DATADIR_SNAPSHOT, 3) && there(&p, DATADIR_LOG, 3));
	assert_int_equal(files_give_up(&p.f, NULL), HEARTH_END);
	assert_int_equal(files_pin(&p.f, 3, true, NULL), HEARTH_OK);
	assert_int_equal(files_give_up(&p.f, NULL), HEARTH_END);
	place_end(&p);
}

/* What is marked is of use to no start: all of it goes but what is pinned, and the log of a generation to come stays. */
static void a_generation_that_is_marked_is_given_up_wholly(void **state)
{
	(void)state;
	struct place p;
	place_open(&p, 9);
	add_segment(&p, 1);
	add_segment(&p, 101);
	publish(&p, 50);
	assert_int_equal(files_mark_untrusted(&p.f, 1000, NULL), HEARTH_OK);
	p.f.generation = files_new_generation(&p.f);
	add_segment(&p, 1001);
	/* As long as it is in doubt whether the mark is on disk, the last snapshot stays. */
	p.f.marked = false;
	assert_int_equal(files_give_up(&p.f, NULL), HEARTH_END);
	p.f.marked = true;
	assert_int_equal(files_pin(&p.f, 1, true, NULL), HEARTH_OK);
	assert_int_equal(files_give_up(&p.f, NULL), HEARTH_END);
	assert_true(there(&p, DATADIR_SNAPSHOT, 1) && there(&p, DATADIR_LOG, 1));
	assert_int_equal(files_pin(&p.f, 1, false, NULL), HEARTH_OK);
	while (files_give_up(&p.f, NULL) == HEARTH_OK)
		;
	assert_false(
	    there(&p, DATADIR_SNAPSHOT, 1) || there(&p, DATADIR_LOG, 1) || there(&p, DATADIR_LOG, 2));
	assert_true(there(&p, DATADIR_LOG, 3));
	assert_int_equal(p.f.manifest.n_segments, 1);
	place_end(&p);
}

static void grow(struct place *p, uint64_t number, size_t bytes)
{
	char name[DATADIR_NAME_SIZE];
	uint8_t *data = calloc(1, bytes);
	datadir_name(DATADIR_LOG, number, name);
	unit_write_file(p->s.fd, name, data, bytes);
	free(data);
}

/* The sizes of what a snapshot would retire: nothing that is pinned, nor the log behind it. */
static void what_is_superfluous_is_counted(void **state)
{
	(void)state;
	struct place p;
	place_open(&p, 9);
	for (uint64_t i = 0; i < 3; i++)
		add_segment(&p, i * 100 + 1);
	for (uint64_t i = 0; i < 3; i++)
		grow(&p, i + 1, 3000 << i);
	assert_int_equal(files_superfluous(&p.f), 3000 + 6000 + 12000);
	publish(&p, 50);
	publish(&p, 150);
	assert_int_equal(files_superfluous(&p.f), 2000 + 3000 + 6000 + 12000);
	assert_int_equal(files_pin(&p.f, 2, true, NULL), HEARTH_OK);
	assert_int_equal(files_superfluous(&p.f), 1000 + 3000);
	assert_int_equal(files_pin(&p.f, 1, true, NULL), HEARTH_OK);
	assert_int_equal(files_superfluous(&p.f), 0);
	assert_int_equal(unlinkat(p.s.fd, "log-0000000003", 0), 0);
	assert_int_equal(files_log_bytes(&p.f), 3000 + 6000);
	place_end(&p);
}

/* ---- the log behind a snapshot ---- */

/* A rebuilt manifest says nothing about what is missing: the first segment's header does. */
static void only_a_header_says_that_nothing_is_missing(void **state)
{
	(void)state;
	struct place p;
	place_open(&p, 1);
	const struct manifest_snapshot snapshot = {.start = 50, .end = 60, .generation = 1};
	assert_true(files_reach_back(&p.f, &snapshot));
	p.f.rebuilt = true;
	assert_true(files_reach_back(&p.f, &snapshot)); /* no log at all */
	add_segment(&p, 101);
	assert_false(files_reach_back(&p.f, &snapshot)); /* no header */
	struct segment_header h = {.generation = 1, .number = 1, .first = 101, .prev_last = 50};
	uint8_t out[SEGMENT_HEADER_SIZE];
	for (unsigned i = 0; i < 3; i++) {
		h.prev_last = 50 + (i == 1);
		segment_encode_header(&h, out);
		out[20] ^= (uint8_t)(i == 2);
		unit_write_file(p.s.fd, "log-0000000001", out, sizeof(out));
		assert_int_equal(files_reach_back(&p.f, &snapshot), i == 0);
	}
	assert_int_equal(unlinkat(p.s.fd, "log-0000000001", 0), 0);
	assert_false(files_reach_back(&p.f, &snapshot));
	/* Of an older generation: nobody asks it. */
	p.f.manifest.generation = 2;
	assert_true(files_reach_back(&p.f, &snapshot));
	p.f.manifest.generation = 1;
	p.f.manifest.segments[0].first = 51;
	assert_true(files_reach_back(&p.f, &snapshot));
	place_end(&p);
}

static void an_empty_segment_that_nobody_names_is_made_anew(void **state)
{
	(void)state;
	struct place p;
	place_open(&p, 1);
	unit_write_file(p.s.fd, "log-0000000001", "", 0);
	unit_write_file(p.s.fd, "log-0000000002", "x", 1);
	add_segment(&p, 1);
	add_segment(&p, 10);
	assert_int_equal(p.f.manifest.segments[0].number, 1);
	assert_int_equal(p.f.manifest.segments[1].number, 3);
	files_forget_segment(&p.f, 7); /* is none */
	assert_int_equal(p.f.manifest.n_segments, 2);
	assert_int_equal(files_raise_high_water(&p.f, 0, NULL), HEARTH_OK);
	place_end(&p);
}

/* A file system that cannot allocate gives no reserve, and is no reason to fail. */
static int no_fallocate(void *ctx, int fd, int mode, off_t at, off_t len)
{
	struct failing_vfs *u = ctx;
	(void)fd, (void)mode, (void)at, (void)len;
	errno = u->error;
	return -1;
}

static void a_file_system_need_not_allocate(void **state)
{
	(void)state;
	struct place p;
	static const int errors[] = {EOPNOTSUPP, ENOSYS};
	place_open(&p, 1);
	p.v.vfs.fallocate = no_fallocate;
	for (unsigned i = 0; i < 2; i++) {
		p.v.error = errors[i];
		add_segment(&p, i * 100 + 1);
	}
	assert_int_equal(files_make_spare(&p.f, NULL), HEARTH_OK);
	p.v.error = EIO;
	assert_int_equal(try_segment(&p, 201), HEARTH_IO);
	assert_int_equal(p.f.manifest.n_segments, 2);
	place_end(&p);
}

static void a_bound_that_cannot_be_counted_is_no_bound(void **state)
{
	(void)state;
	struct place p;
	struct hearth_error err = {0};
	place_open(&p, 1);
	p.v.failing = (struct failing){.at = 1, .on = true};
	assert_int_equal(files_limit(&p.f, MIB, &err), HEARTH_IO);
	p.v.failing = (struct failing){0};
	assert_null(p.f.quota);
	assert_int_equal(files_limit(&p.f, MIB, &err), HEARTH_OK);
	/* A segment that would pass it is refused as on a full disk, and named nowhere. */
	struct manifest_segment segment;
	int fd;
	assert_int_equal(files_add_segment(&p.f, 1, 1, 2 * MIB, &fd, &segment, &err), HEARTH_IO);
	assert_int_equal(err.sys_errno, EDQUOT);
	assert_true(files_is_full(err.sys_errno) && files_is_full(EFBIG) && !files_is_full(EIO));
	assert_false(there(&p, DATADIR_LOG, 1));
	assert_int_equal(p.f.manifest.n_segments, 0);
	place_end(&p);
}

/* ---- what a kill left unsynced ---- */

static void make_unsynced(struct place *p)
{
	place_open(p, 1);
	for (uint64_t i = 0; i < 3; i++)
		add_segment(p, i * 100 + 1);
	grow(p, 1, 3000);
	grow(p, 2, 2 * MIB + 5);
	unsynced_tell(&p->f);
}

static void expect_bytes(struct place *p, const char *name, size_t bytes)
{
	size_t len;
	uint8_t *data = unit_read_file(p->s.fd, name, &len);
	assert_int_equal(len, bytes);
	for (size_t i = 0; i < len; i++)
		assert_int_equal(data[i], 0);
	free(data);
}

/* Whatever fails: the segments stay as they were, and the next start does it again. */
static void what_was_never_synced_is_written_anew(void **state)
{
	(void)state;
	for (unsigned at = 1;; at++) {
		struct place p;
		struct hearth_error err = {0};
		make_unsynced(&p);
		unsigned before = failing_open_files();
		p.v.error = EIO;
		p.v.failing = (struct failing){.at = at};
		enum hearth_status status = unsynced_write_anew(&p.f, &err);
		bool hit = p.v.failing.hit;
		p.v.failing = (struct failing){0};
		assert_true(status == HEARTH_OK || (status == HEARTH_IO && hit && err.sys_errno == EIO));
		assert_int_equal(failing_open_files(), before);
		if (status != HEARTH_OK)
			assert_true(unit_exists(p.s.fd, DATADIR_UNSYNCED));
		place_again(&p);
		assert_int_equal(unsynced_write_anew(&p.f, NULL), HEARTH_OK);
		expect_bytes(&p, "log-0000000001", 3000);
		expect_bytes(&p, "log-0000000002", 2 * MIB + 5);
		expect_bytes(&p, "log-0000000003", 0);
		place_end(&p);
		if (!hit)
			break;
	}
}

static void a_missing_segment_is_not_written_anew(void **state)
{
	(void)state;
	struct place p;
	make_unsynced(&p);
	assert_int_equal(unlinkat(p.s.fd, "log-0000000001", 0), 0);
#if FAILING_MEMORY
	failing_memory = (struct failing){.at = 1};
	assert_int_equal(unsynced_write_anew(&p.f, NULL), HEARTH_NOMEM);
	failing_memory = (struct failing){0};
#endif
	assert_int_equal(unsynced_write_anew(&p.f, NULL), HEARTH_OK);
	assert_false(unit_exists(p.s.fd, DATADIR_UNSYNCED) || there(&p, DATADIR_LOG, 1));
	place_end(&p);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_call_that_fails_leaves_what_is_named),
#if FAILING_MEMORY
    cmocka_unit_test(an_allocation_that_fails_leaves_what_is_named),
    cmocka_unit_test(short_of_memory_fewer_files_are_retired),
    cmocka_unit_test(giving_up_says_that_memory_is_short),
#endif
    cmocka_unit_test(without_random_bytes_nothing_is_made),
    cmocka_unit_test(a_manifest_with_hardly_a_number_left_is_refused),
    cmocka_unit_test(a_snapshot_of_a_log_that_was_given_up_is_not_published),
    cmocka_unit_test(the_newest_snapshot_and_pinned_ones_are_not_given_up),
    cmocka_unit_test(a_generation_that_is_marked_is_given_up_wholly),
    cmocka_unit_test(what_is_superfluous_is_counted),
    cmocka_unit_test(only_a_header_says_that_nothing_is_missing),
    cmocka_unit_test(an_empty_segment_that_nobody_names_is_made_anew),
    cmocka_unit_test(a_file_system_need_not_allocate),
    cmocka_unit_test(a_bound_that_cannot_be_counted_is_no_bound),
    cmocka_unit_test(what_was_never_synced_is_written_anew),
    cmocka_unit_test(a_missing_segment_is_not_written_anew),
};

int main(int argc, char **argv)
{
	cmocka_set_message_output(CM_OUTPUT_TAP);
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	if (access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 0); /* hundreds of directories */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
