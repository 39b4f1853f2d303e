/* SPDX-License-Identifier: BSD-3-Clause */
/* quota, room: the bound on the data directory. Real files, counted as du counts them after each call; the rule as numbers. */
#include <dirent.h>
#include <fcntl.h>
#include <hearth/datadir.h>
#include "failing.h"
#include "persist/quota.h"
#include "persist/room.h"
#include "unit.h"

#define KIB   UINT64_C(1024)
#define MIB   (1024 * KIB)
#define LIMIT (2 * MIB)

struct place {
	char path[64];
	int fd;
	struct failing_vfs below;
	struct quota *q;
	const struct vfs *vfs;
};

static void place_open(struct place *p, uint64_t limit)
{
	snprintf(p->path, sizeof(p->path), "/tmp/hearth-test-quota-XXXXXX");
	assert_non_null(mkdtemp(p->path));
	p->fd = open(p->path, O_RDONLY | O_DIRECTORY);
	assert_true(p->fd >= 0);
	failing_vfs_init(&p->below);
	p->q = quota_open(&p->below.vfs, p->fd, limit);
	assert_non_null(p->q);
	p->vfs = quota_vfs(p->q);
}

static void place_close(struct place *p)
{
	char command[96];
	quota_close(&p->q);
	close(p->fd);
	snprintf(command, sizeof(command), "rm -r %s", p->path);
	assert_int_equal(system(command), 0);
}

static uint64_t du_once(const struct place *p)
{
	char command[96];
	unsigned long long bytes = 0;
	snprintf(command, sizeof(command), "du -s -B1 %s", p->path);
	FILE *f = popen(command, "r");
	assert_non_null(f);
	assert_int_equal(fscanf(f, "%llu", &bytes), 1);
	pclose(f);
	return bytes;
}

/* What du -s says. While the kernel writes a file back, ext4 counts what is on its way twice for a moment. */
static uint64_t du(const struct place *p)
{
	uint64_t bytes = du_once(p);
	for (int i = 0; i < 50 && bytes > LIMIT; i++) {
		usleep(20000);
		bytes = du_once(p);
	}
	return bytes;
}

static int make(struct place *p, const char *name)
{
	int fd = vfs_open(p->vfs, p->fd, name, O_WRONLY | O_CREAT | O_EXCL);
	assert_true(fd >= 0);
	return fd;
}

static bool put(struct place *p, int fd, uint64_t bytes)
{
	static uint8_t data[64 * 1024];
	memset(data, 0x5a, sizeof(data));
	for (; bytes > 0; bytes -= bytes < sizeof(data) ? bytes : sizeof(data)) {
		errno = 0;
		if (vfs_write_all(p->vfs, fd, data, bytes < sizeof(data) ? bytes : sizeof(data)) < 0) {
			assert_int_equal(errno, EDQUOT);
			return false;
		}
	}
	return true;
}

static void drop(struct place *p, const char *name)
{
	assert_int_equal(p->vfs->unlinkat(p->vfs->ctx, p->fd, name), 0);
}

/* ---- the bound ---- */

static void trap20_the_directory_never_passes_its_bound(void **state)
{
	(void)state;
	struct place p;
	place_open(&p, LIMIT);
	int fd[4];
	unsigned refused = 0;
	for (int i = 0; i < 4; i++) {
		char name[DATADIR_NAME_SIZE];
		datadir_name(i == 3 ? DATADIR_SNAPSHOT : DATADIR_LOG, (uint64_t)i + 1, name);
		fd[i] = make(&p, name);
	}
	for (int i = 0; i < 400; i++) {
		bool ok = i % 7 == 0 ? p.vfs->fallocate(p.vfs->ctx, fd[i % 4], FALLOC_FL_KEEP_SIZE, 0,
		                           (off_t)(i * 4000)) == 0
		                     : put(&p, fd[i % 4], (uint64_t)(i * 37 % 30000 + 1));
		refused += !ok;
		assert_true(du(&p) <= LIMIT);
		assert_true(du(&p) <= quota_used(p.q) + 64 * KIB);
	}
	assert_in_range(refused, 1, 399);
	assert_true(quota_used(p.q) > LIMIT - QUOTA_MANIFEST - 128 * KIB);
	for (int i = 0; i < 4; i++)
		p.vfs->close(p.vfs->ctx, fd[i]);
	place_close(&p);
}

static void room_comes_back_with_what_goes(void **state)
{
	(void)state;
	struct place p;
	place_open(&p, LIMIT);
	int a = make(&p, "log-0000000001"), b = make(&p, "log-0000000002");
	assert_true(put(&p, a, MIB));
	assert_false(put(&p, b, MIB));
	uint64_t room = quota_room(p.q);
	assert_true(room < 64 * KIB);
	p.vfs->close(p.vfs->ctx, a);
	drop(&p, "log-0000000001");
	/* Counted when somebody wants it. */
	assert_true(put(&p, b, 900 * KIB));
	quota_refresh(p.q);
	assert_true(quota_used(p.q) >= du(&p));
	assert_true(quota_used(p.q) <= du(&p) + 64 * KIB);
	p.vfs->close(p.vfs->ctx, b);
	place_close(&p);
}

static void what_was_allocated_is_paid_for(void **state)
{
	(void)state;
	struct place p;
	place_open(&p, LIMIT);
	int reserve = make(&p, "log-0000000001"), rest = make(&p, "log-0000000002");
	assert_int_equal(p.vfs->fallocate(p.vfs->ctx, reserve, FALLOC_FL_KEEP_SIZE, 0, 512 * KIB), 0);
	while (put(&p, rest, 4 * KIB))
		;
	assert_true(put(&p, reserve, 512 * KIB));
	assert_false(put(&p, reserve, 4 * KIB));
	assert_true(du(&p) <= LIMIT);
	p.vfs->close(p.vfs->ctx, reserve);
	p.vfs->close(p.vfs->ctx, rest);
	place_close(&p);
}

static void a_manifest_and_a_promised_snapshot_find_room(void **state)
{
	(void)state;
	struct place p;
	place_open(&p, LIMIT);
	quota_keep_back(p.q, 128 * KIB);
	quota_promise(p.q, 512 * KIB);
	int log = make(&p, "log-0000000001"), snapshot = make(&p, "snapshot-0000000001.tmp");
	while (put(&p, log, 4 * KIB))
		;
	assert_int_equal(quota_room(p.q), 0);
	assert_true(put(&p, snapshot, 512 * KIB));
	assert_false(put(&p, snapshot, 64 * KIB));
	int manifest = make(&p, "MANIFEST.tmp");
	assert_true(put(&p, manifest, 256 * KIB));
	quota_keep_back(p.q, 0);
	quota_promise(p.q, 0);
	assert_true(du(&p) <= LIMIT);
	p.vfs->close(p.vfs->ctx, log);
	p.vfs->close(p.vfs->ctx, snapshot);
	p.vfs->close(p.vfs->ctx, manifest);
	place_close(&p);
}

/* Links, set-aside files and those of others; directories and sockets are nothing to open. */
static void what_is_there_counts_once(void **state)
{
	(void)state;
	struct place p;
	place_open(&p, LIMIT);
	int fd = make(&p, "log-0000000001");
	assert_true(put(&p, fd, 100 * KIB));
	p.vfs->close(p.vfs->ctx, fd);
	assert_int_equal(p.vfs->mkdirat(p.vfs->ctx, p.fd, DATADIR_SET_ASIDE, 0700), 0);
	int aside = openat(p.fd, DATADIR_SET_ASIDE, O_RDONLY | O_DIRECTORY);
	for (int i = 0; i < 20; i++) {
		char name[32];
		snprintf(name, sizeof(name), "log-0000000001.%d", i + 1);
		assert_int_equal(p.vfs->linkat(p.vfs->ctx, p.fd, "log-0000000001", aside, name), 0);
		snprintf(name, sizeof(name), "other.%d", i);
		int other = openat(aside, name, O_WRONLY | O_CREAT, 0600);
		assert_int_equal(write(other, name, 5), 5);
		close(other);
	}
	assert_int_equal(mkfifoat(p.fd, "pipe", 0600), 0);
	drop(&p, "log-0000000001");
	quota_refresh(p.q);
	assert_int_equal(quota_used(p.q), du(&p));
	close(aside);
	place_close(&p);
}

/* A directory that is beyond its bound may take what is allowed, until it is below it. */
static void a_start_beyond_the_bound(void **state)
{
	(void)state;
	struct place p;
	place_open(&p, LIMIT);
	int old = openat(p.fd, "log-0000000001", O_WRONLY | O_CREAT, 0600);
	for (int i = 0; i < 64; i++) {
		static uint8_t data[64 * 1024] = {1};
		assert_int_equal(write(old, data, sizeof(data)), sizeof(data));
	}
	close(old);
	quota_close(&p.q);
	p.q = quota_open(&p.below.vfs, p.fd, LIMIT);
	assert_non_null(p.q);
	p.vfs = quota_vfs(p.q);
	assert_true(quota_used(p.q) >= 4 * MIB);
	assert_int_equal(quota_room(p.q), 0);
	quota_allow(p.q, QUOTA_MANIFEST + 64 * KIB, LIMIT);
	int fd = make(&p, "log-0000000002");
	assert_true(put(&p, fd, 64 * KIB));
	assert_false(put(&p, fd, 64 * KIB));
	drop(&p, "log-0000000001");
	assert_true(put(&p, fd, 64 * KIB));
	assert_false(put(&p, fd, LIMIT));
	assert_true(du(&p) <= LIMIT);
	p.vfs->close(p.vfs->ctx, fd);
	place_close(&p);
}

/* ---- calls that fail ---- */

/* The count errs upwards: what could not be counted is not thought to be free. */
/* Without a limit it keeps book, so that one may be set while files are open. */
static void a_limit_may_come_move_and_go(void **state)
{
	(void)state;
	struct place p;
	place_open(&p, 0);
	int fd = make(&p, "log-1");
	assert_true(put(&p, fd, 3 * LIMIT));
	uint64_t used = quota_used(p.q);
	assert_true(used >= du(&p) && used < 3 * LIMIT + 64 * KIB);
	quota_set_limit(p.q, 4 * LIMIT);
	assert_int_equal(quota_limit(p.q), 4 * LIMIT);
	assert_int_equal(quota_room(p.q), 4 * LIMIT - QUOTA_MANIFEST - used);
	assert_true(put(&p, fd, 64 * KIB));
	quota_set_limit(p.q, LIMIT);
	assert_int_equal(quota_room(p.q), 0);
	assert_false(put(&p, fd, 64 * KIB));
	/* What makes it less, until it is. */
	quota_allow(p.q, QUOTA_MANIFEST + 256 * KIB, LIMIT / 2);
	int next = make(&p, "log-2");
	assert_true(put(&p, next, 128 * KIB));
	p.vfs->close(p.vfs->ctx, fd);
	drop(&p, "log-1");
	quota_refresh(p.q);
	assert_true(quota_room(p.q) >= LIMIT - QUOTA_MANIFEST - 192 * KIB && quota_room(p.q) < LIMIT);
	assert_false(put(&p, next, LIMIT));
	quota_set_limit(p.q, 0);
	assert_true(put(&p, next, 2 * LIMIT));
	assert_true(quota_leaves(p.q, UINT64_MAX / 4, LIMIT));
	p.vfs->close(p.vfs->ctx, next);
	place_close(&p);
}

static void a_limit_leaves_what_it_leaves(void **state)
{
	(void)state;
	struct place p;
	place_open(&p, LIMIT);
	quota_keep_back(p.q, 64 * KIB);
	uint64_t all = LIMIT - QUOTA_MANIFEST - quota_kept_back(p.q);
	assert_true(quota_leaves(p.q, 0, all));
	assert_false(quota_leaves(p.q, 0, all + 1));
	assert_true(quota_leaves(p.q, all - 5, 5));
	assert_false(quota_leaves(p.q, all - 5, 6));
	assert_false(quota_leaves(p.q, UINT64_MAX, 0));
	assert_false(quota_leaves(p.q, 0, UINT64_MAX));
	quota_set_limit(p.q, QUOTA_MANIFEST);
	assert_false(quota_leaves(p.q, 0, 0));
	place_close(&p);
}

static void a_count_that_fails_changes_nothing(void **state)
{
	(void)state;
	struct place p;
	place_open(&p, LIMIT);
	int fd = make(&p, "log-0000000001");
	assert_true(put(&p, fd, 300 * KIB));
	p.vfs->close(p.vfs->ctx, fd);
	assert_int_equal(p.vfs->mkdirat(p.vfs->ctx, p.fd, DATADIR_SET_ASIDE, 0700), 0);
	drop(&p, "log-0000000001");
	uint64_t before = quota_used(p.q);
	static const int errors[] = {EIO, EMFILE, ENFILE, ENOMEM};
	for (unsigned at = 1; at < 100; at++) {
		p.below.error = errors[at % 4];
		p.below.failing = (struct failing){.at = at, .on = true};
		quota_refresh(p.q);
		bool hit = p.below.failing.hit;
		p.below.failing = (struct failing){0};
		if (!hit)
			break;
		/* A close that fails counts all the same. */
		assert_true(quota_used(p.q) == before || quota_used(p.q) >= du(&p));
	}
	quota_refresh(p.q);
	assert_true(quota_used(p.q) < 64 * KIB);
	place_close(&p);
}

/* A file that was open for writing makes the count doubtful. */
static void recount(struct place *p, const char *name)
{
	p->vfs->close(p->vfs->ctx, vfs_open(p->vfs, p->fd, name, O_WRONLY));
	quota_refresh(p->q);
}

/* Files with two names each: counted once, or twice when there is no memory to know them again. */
static void many_names_count_once(void **state)
{
	(void)state;
	struct place p;
	place_open(&p, LIMIT);
	assert_int_equal(p.vfs->mkdirat(p.vfs->ctx, p.fd, DATADIR_SET_ASIDE, 0700), 0);
	int aside = openat(p.fd, DATADIR_SET_ASIDE, O_RDONLY | O_DIRECTORY);
	for (int i = 0; i < 40; i++) {
		char name[32];
		snprintf(name, sizeof(name), "log-%010d", i + 1);
		int fd = make(&p, name);
		assert_true(put(&p, fd, 4 * KIB));
		p.vfs->close(p.vfs->ctx, fd);
		assert_int_equal(p.vfs->linkat(p.vfs->ctx, p.fd, name, aside, name), 0);
	}
	quota_refresh(p.q);
	uint64_t once = quota_used(p.q);
	assert_int_equal(once, du(&p));
#if FAILING_MEMORY
	unsigned twice = 0;
	for (unsigned at = 1; at < 8; at++) {
		failing_memory = (struct failing){.at = at};
		recount(&p, "log-0000000001");
		failing_memory = (struct failing){0};
		twice += quota_used(p.q) > once;
		assert_true(quota_used(p.q) >= once && quota_used(p.q) <= 2 * once);
	}
	assert_true(twice > 0);
#endif
	close(aside);
	place_close(&p);
}

/* One call of a count fails: a file that is gone or not ours takes nothing, for other reasons the count is none. */
static void a_count_is_whole_or_none(void **state)
{
	(void)state;
	static const int none[] = {EMFILE, ENFILE, ENOMEM, EIO}, gone[] = {ENOENT, EACCES, ENXIO};
	struct place p;
	place_open(&p, LIMIT);
	int fd = make(&p, "log-0000000001");
	assert_true(put(&p, fd, 300 * KIB));
	p.vfs->close(p.vfs->ctx, fd);
	quota_refresh(p.q);
	uint64_t all = quota_used(p.q);
	for (unsigned i = 0; i < 7; i++) {
		p.below.error = i < 4 ? none[i] : gone[i - 4];
		bool hit = true;
		for (unsigned at = 1; hit && at < 100; at++) {
			p.vfs->close(p.vfs->ctx, vfs_open(p.vfs, p.fd, "log-0000000001", O_WRONLY));
			p.below.failing = (struct failing){.at = at};
			quota_refresh(p.q);
			hit = p.below.failing.hit;
			p.below.failing = (struct failing){0};
			assert_true(quota_used(p.q) == all || (i >= 4 && quota_used(p.q) < 64 * KIB));
			recount(&p, "log-0000000001");
			assert_int_equal(quota_used(p.q), all);
		}
		assert_false(hit);
	}
	place_close(&p);
}

static void what_is_kept_back_may_be_more_than_there_is(void **state)
{
	(void)state;
	struct place p;
	place_open(&p, LIMIT);
	int fd = make(&p, "log-0000000001");
	quota_keep_back(p.q, 2 * LIMIT);
	assert_int_equal(quota_room(p.q), 0);
	assert_false(put(&p, fd, 1));
	quota_keep_back(p.q, 0);
	assert_true(put(&p, fd, 1));
	p.vfs->close(p.vfs->ctx, fd);
	place_close(&p);
}

static void many_files_are_open_for_writing(void **state)
{
	(void)state;
	struct place p;
	int fd[40];
	place_open(&p, LIMIT);
	for (int i = 0; i < 40; i++) {
		char name[32];
		snprintf(name, sizeof(name), "log-%010d", i + 1);
#if FAILING_MEMORY
		failing_memory = (struct failing){.at = 1};
		fd[i] = p.vfs->openat(p.vfs->ctx, p.fd, name, O_WRONLY | O_CREAT, 0600);
		bool hit = failing_memory.hit;
		failing_memory = (struct failing){0};
		assert_int_equal(fd[i] < 0, hit);
		if (!hit)
			continue;
		assert_int_equal(errno, ENOMEM);
		assert_false(faccessat(p.fd, name, F_OK, 0) == 0);
#endif
		fd[i] = make(&p, name);
	}
	for (int i = 0; i < 40; i++)
		assert_true(put(&p, fd[i], 20 * KIB));
	assert_true(quota_used(p.q) >= 800 * KIB);
	for (int i = 0; i < 40; i++)
		p.vfs->close(p.vfs->ctx, fd[i]);
	place_close(&p);
}

static void an_open_that_fails_leaves_nothing(void **state)
{
	(void)state;
	struct place p;
	place_open(&p, LIMIT);
	unsigned open_before = failing_open_files();
	for (unsigned at = 1; at <= 2; at++) {
		p.below.failing = (struct failing){.at = at};
		int fd = p.vfs->openat(p.vfs->ctx, p.fd, "log-0000000001", O_WRONLY | O_CREAT, 0600);
		p.below.failing = (struct failing){0};
		assert_int_equal(fd, -1);
		assert_int_equal(errno, EIO);
	}
	assert_int_equal(failing_open_files(), open_before);
	p.below.failing = (struct failing){.at = 1, .on = true};
	assert_null(quota_open(&p.below.vfs, p.fd, LIMIT));
	p.below.failing = (struct failing){0};
#if FAILING_MEMORY
	failing_memory = (struct failing){.at = 1};
	assert_null(quota_open(&p.below.vfs, p.fd, LIMIT));
	failing_memory = (struct failing){0};
#endif
	place_close(&p);
}

/* Its bytes were charged and are not there: the next count gives them back. */
static void a_write_that_fails_gives_its_room_back(void **state)
{
	(void)state;
	struct place p;
	place_open(&p, LIMIT);
	int fd = make(&p, "log-0000000001");
	struct iovec iov = {(void *)(uintptr_t) "0123456789", 10};
	p.below.failing = (struct failing){.at = 1};
	assert_int_equal(p.vfs->writev(p.vfs->ctx, fd, &iov, 1), -1);
	p.below.failing = (struct failing){0};
	uint64_t charged = quota_used(p.q);
	assert_int_equal(p.vfs->writev(p.vfs->ctx, fd, &iov, 1), 10);
	assert_int_equal(quota_used(p.q), charged);
	p.vfs->close(p.vfs->ctx, fd);
	drop(&p, "log-0000000001");
	quota_refresh(p.q);
	assert_true(quota_used(p.q) < charged);
	place_close(&p);
}

/* ---- the rule ---- */

/* The log grows, byte by byte as it were; whenever a snapshot is due it takes its time, in which as much comes again. */
static void trap20_a_snapshot_is_due_before_the_log_is_stuck(void **state)
{
	(void)state;
	const uint64_t slack = 3 * MIB;
	for (uint64_t snapshot = MIB; snapshot <= 8 * MIB; snapshot += MIB) {
		uint64_t limit = 2 * snapshot + slack + 8 * MIB, log = 0;
		while (!room_early(limit - snapshot - log, slack, snapshot, log)) {
			log += 64 * KIB;
			assert_true(log + snapshot < limit);
		}
		/* Beside the next one there is as much for the log as there was until now, and the slack. */
		uint64_t left = limit - snapshot - log - snapshot;
		assert_in_range(left, slack + log - 128 * KIB, slack + log + 128 * KIB);
		assert_true(room_fits(limit - snapshot - log, snapshot));
		assert_true(room_helps(snapshot + log, snapshot));
	}
	assert_false(room_early(0, slack, MIB, ROOM_GAIN - 1));
	assert_false(room_helps(2 * MIB, 2 * MIB));
	assert_true(room_cramped(slack + 4 * MIB, slack, 4 * MIB));
	assert_false(room_cramped(slack + 6 * MIB, slack, 4 * MIB));
	assert_false(room_fits(MIB - 1, MIB));
}

static void the_bounds_hold_what_they_name(void **state)
{
	(void)state;
	for (uint64_t memory = MIB; memory <= 1024 * MIB; memory *= 2) {
		uint64_t ring = room_ring(memory, 4), item = MIB < memory / 2 ? MIB : memory / 2;
		uint64_t least = room_least(memory, item, 4), segment = room_reserve(ring);
		assert_in_range(ring, 2 * MIB, 17 * MIB);
		/* What a daemon allocates at once, and room beyond the slack. */
		assert_true(least >= room_slack(ring, item) + 5 * segment + QUOTA_MANIFEST + 128 * KIB);
		/* Old and new snapshot, and then there is a use for the log. */
		uint64_t enough = room_enough(memory, item, 4), s = room_snapshot(memory, 0, 0);
		assert_true(enough >= 2 * s + room_slack(ring, item) + memory / 8);
	}
}

static void a_snapshot_is_estimated(void **state)
{
	(void)state;
	assert_true(room_snapshot(16 * MIB, 0, 0) >= 17 * MIB);
	/* What compressed well will again, more or less. */
	assert_in_range(room_snapshot(16 * MIB, 2 * MIB, 8 * MIB), 4 * MIB, 5 * MIB);
	/* One that took more than there is now in memory does not count. */
	assert_in_range(room_snapshot(16 * MIB, 80 * MIB, 8 * MIB), 16 * MIB, 18 * MIB);
	assert_true(room_snapshot(0, 0, 0) > 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(trap20_the_directory_never_passes_its_bound),
    cmocka_unit_test(room_comes_back_with_what_goes),
    cmocka_unit_test(what_was_allocated_is_paid_for),
    cmocka_unit_test(a_manifest_and_a_promised_snapshot_find_room),
    cmocka_unit_test(what_is_there_counts_once),
    cmocka_unit_test(a_start_beyond_the_bound),
    cmocka_unit_test(a_limit_may_come_move_and_go),
    cmocka_unit_test(a_limit_leaves_what_it_leaves),
    cmocka_unit_test(a_count_that_fails_changes_nothing),
    cmocka_unit_test(many_names_count_once),
    cmocka_unit_test(a_count_is_whole_or_none),
    cmocka_unit_test(what_is_kept_back_may_be_more_than_there_is),
    cmocka_unit_test(many_files_are_open_for_writing),
    cmocka_unit_test(an_open_that_fails_leaves_nothing),
    cmocka_unit_test(a_write_that_fails_gives_its_room_back),
    cmocka_unit_test(trap20_a_snapshot_is_due_before_the_log_is_stuck),
    cmocka_unit_test(the_bounds_hold_what_they_name),
    cmocka_unit_test(a_snapshot_is_estimated),
};
UNIT_MAIN(tests)
