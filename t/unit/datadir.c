/* SPDX-License-Identifier: BSD-3-Clause */
/* datadir: names, the lock, MANIFEST in every state a disk can leave it in, rebuilding it from headers, and
 * setting files aside. */
#include "unit.h"
#include "base/bytes.h"
#include "base/crc32c.h"
#include <hearth/datadir.h>
#include <hearth/snapshot.h>

static const uint8_t lineage[16] = "lineage-of-test";

static struct datadir *open_dir(const struct unit_scratch *s, const struct vfs *vfs)
{
	struct datadir *dir;
	assert_int_equal(datadir_open(&dir, vfs, s->path, false, false, NULL, NULL), HEARTH_OK);
	return dir;
}

static struct manifest sample_manifest(void)
{
	struct manifest m = {.generation = 4,
	    .term = 1,
	    .next_segment = 9,
	    .next_snapshot = 3,
	    .high_water = UINT64_C(1) << 52,
	    .untrusted = true,
	    .clean = true,
	    .last_seq = 12345};
	memcpy(m.lineage, lineage, 16);
	m.features.compatible = 7;
	for (uint64_t i = 0; i < 3; i++) {
		struct manifest_segment s = {.number = 6 + i, .first = 100 * i + 1, .generation = 4};
		memset(s.salt, (int)(0x40 + i), sizeof(s.salt));
		assert_true(manifest_add_segment(&m, &s));
	}
	struct manifest_snapshot snap = {.number = 2,
	    .start = 50,
	    .end = 60,
	    .generation = 4,
	    .bytes = 777,
	    .wall_ms = -5,
	    .pinned = true};
	assert_true(manifest_add_snapshot(&m, &snap));
	assert_true(manifest_add_unlink(&m, DATADIR_LOG, 5));
	assert_true(manifest_add_unlink(&m, DATADIR_SNAPSHOT, 1));
	return m;
}

static void assert_same(const struct manifest *a, const struct manifest *b)
{
	assert_memory_equal(&a->features, &b->features, sizeof(a->features));
	assert_memory_equal(a->lineage, b->lineage, 16);
	assert_true(
	    a->generation == b->generation && a->term == b->term && a->next_segment == b->next_segment);
	assert_true(a->next_snapshot == b->next_snapshot && a->high_water == b->high_water);
	assert_true(a->untrusted == b->untrusted && a->clean == b->clean && a->last_seq == b->last_seq);
	assert_true(a->n_segments == b->n_segments && a->n_snapshots == b->n_snapshots &&
	            a->n_unlinks == b->n_unlinks);
	for (size_t i = 0; i < a->n_segments; i++) {
		assert_int_equal(a->segments[i].number, b->segments[i].number);
		assert_int_equal(a->segments[i].first, b->segments[i].first);
		assert_int_equal(a->segments[i].generation, b->segments[i].generation);
		assert_memory_equal(a->segments[i].salt, b->segments[i].salt, 16);
	}
	for (size_t i = 0; i < a->n_snapshots; i++) {
		const struct manifest_snapshot *x = &a->snapshots[i], *y = &b->snapshots[i];
		assert_true(x->number == y->number && x->start == y->start && x->end == y->end &&
		            x->bytes == y->bytes);
		assert_true(
		    x->generation == y->generation && x->wall_ms == y->wall_ms && x->pinned == y->pinned);
	}
	for (size_t i = 0; i < a->n_unlinks; i++) {
		assert_int_equal(a->unlinks[i].kind, b->unlinks[i].kind);
		assert_int_equal(a->unlinks[i].number, b->unlinks[i].number);
	}
}

static uint8_t *write_sample(
    const struct unit_scratch *s, struct datadir *dir, struct manifest *m, size_t *ret_len)
{
	*m = sample_manifest();
	assert_int_equal(datadir_write_manifest(dir, m, NULL), HEARTH_OK);
	assert_false(unit_exists(s->fd, "MANIFEST.tmp"));
	return unit_read_file(s->fd, "MANIFEST", ret_len);
}

/* ---- names ---- */

static void names_and_numbers(void **state)
{
	(void)state;
	static const struct {
		enum datadir_kind kind;
		uint64_t number;
		const char *name;
	} good[] = {{DATADIR_LOG, 1, "log-0000000001"}, {DATADIR_SNAPSHOT, 42, "snapshot-0000000042"},
	    {DATADIR_LOG, 9999999999, "log-9999999999"}, {DATADIR_LOG, 10000000000, "log-10000000000"},
	    {DATADIR_SNAPSHOT, UINT64_MAX, "snapshot-18446744073709551615"}};
	static const char *const bad[] = {"log-", "log-1", "log-000000001", "log-00000000010",
	    "log-000000000a", "log-0000000000", "log-18446744073709551616", "log-99999999999999999999",
	    "Log-0000000001", "log-0000000001.tmp", "xlog-0000000001", "log-0000000001 ", "log--000000001",
	    "MANIFEST", "", "snapshot-", "snapshot0000000001", "log-+000000001"};
	enum datadir_kind kind;
	uint64_t number;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		char name[DATADIR_NAME_SIZE];
		datadir_name(good[i].kind, good[i].number, name);
		assert_string_equal(name, good[i].name);
		assert_true(datadir_parse_name(name, &kind, &number));
		assert_int_equal(kind, good[i].kind);
		assert_true(number == good[i].number);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(datadir_parse_name(bad[i], &kind, &number));
}

/* ---- the directory ---- */

static void makes_and_locks(void **state)
{
	(void)state;
	struct unit_scratch s = unit_scratch_begin();
	char path[300];
	struct datadir *dir, *other;
	struct hearth_error err;
	struct stat st;
	int pid = -1;
	snprintf(path, sizeof(path), "%s/data", s.path);
	assert_int_equal(datadir_open(&dir, NULL, path, false, true, NULL, &err), HEARTH_IO);
	assert_int_equal(err.sys_errno, ENOENT);
	assert_null(dir);
	mode_t old = umask(0);
	assert_int_equal(datadir_open(&dir, NULL, path, true, true, &pid, &err), HEARTH_OK);
	umask(old);
	assert_int_equal(fstat(datadir_fd(dir), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_true(fcntl(datadir_fd(dir), F_GETFD) & FD_CLOEXEC);
	assert_string_equal(datadir_path(dir), path);
	assert_ptr_equal(datadir_vfs(dir), vfs_posix());
	/* A second one, in this process or another: refused; a reader is not. */
	assert_int_equal(datadir_open(&other, NULL, path, true, true, &pid, &err), HEARTH_BUSY);
	assert_null(other);
	assert_true(pid == getpid() || pid == 0); /* 0 where /proc/locks shows nothing */
	assert_int_equal(datadir_open(&other, NULL, path, false, false, NULL, &err), HEARTH_OK);
	datadir_close(&other);
	datadir_close(&dir);
	assert_null(dir);
	assert_int_equal(datadir_open(&dir, NULL, path, false, true, NULL, &err), HEARTH_OK);
	datadir_close(&dir);
	/* A file is no directory. */
	unit_write_file(s.fd, "file", "x", 1);
	snprintf(path, sizeof(path), "%s/file", s.path);
	assert_int_equal(datadir_open(&dir, NULL, path, true, true, NULL, &err), HEARTH_IO);
	unit_scratch_end(&s);
}

static void says_what_a_directory_is(void **state)
{
	(void)state;
	struct unit_scratch s = unit_scratch_begin();
	struct datadir *dir = open_dir(&s, NULL);
	struct manifest m;
	struct hearth_error err;
	bool repaired;
	assert_int_equal(datadir_read_manifest(dir, &m, &repaired, &err), HEARTH_END);
	/* What a first start that was killed, a file system or a home may leave. */
	unit_write_file(s.fd, "MANIFEST.tmp", "HEART", 5);
	unit_write_file(s.fd, ".bashrc", "x", 1);
	assert_int_equal(mkdirat(s.fd, "lost+found", 0700), 0);
	assert_int_equal(mkdirat(s.fd, "set-aside", 0700), 0);
	assert_int_equal(datadir_read_manifest(dir, &m, &repaired, &err), HEARTH_END);
	unit_write_file(s.fd, "letters.txt", "x", 1);
	assert_int_equal(datadir_read_manifest(dir, &m, &repaired, &err), HEARTH_FOREIGN);
	unit_write_file(s.fd, "MANIFEST", "somebody else's list of things\n", 31);
	assert_int_equal(datadir_read_manifest(dir, &m, &repaired, &err), HEARTH_FOREIGN);
	assert_int_equal(unlinkat(s.fd, "letters.txt", 0), 0);
	assert_int_equal(datadir_read_manifest(dir, &m, &repaired, &err), HEARTH_FOREIGN);
	unit_write_file(s.fd, "log-0000000001", "", 0);
	assert_int_equal(datadir_read_manifest(dir, &m, &repaired, &err), HEARTH_DAMAGED);
	assert_int_equal(unlinkat(s.fd, "MANIFEST", 0), 0);
	/* The first segment stands before the first manifest. */
	assert_int_equal(datadir_read_manifest(dir, &m, &repaired, &err), HEARTH_END);
	unit_write_file(s.fd, "log-0000000002", "x", 1);
	assert_int_equal(datadir_read_manifest(dir, &m, &repaired, &err), HEARTH_DAMAGED);
	assert_int_equal(symlinkat("log-0000000001", s.fd, "MANIFEST"), 0);
	assert_int_equal(datadir_read_manifest(dir, &m, &repaired, &err), HEARTH_IO);
	assert_int_equal(err.sys_errno, ELOOP);
	datadir_close(&dir);
	unit_scratch_end(&s);
}

static void sweeps_its_own_only(void **state)
{
	(void)state;
	struct unit_scratch s = unit_scratch_begin();
	struct datadir *dir = open_dir(&s, NULL);
	static const char *const ours[] = {"MANIFEST.tmp", "log-0000000003.tmp", "snapshot-0000000003.tmp"};
	static const char *const others[] = {
	    "notes.tmp", ".tmp", "log-3.tmp", "snapshot-0000000003", "MANIFEST"};
	for (unsigned i = 0; i < 3; i++)
		unit_write_file(s.fd, ours[i], "x", 1);
	for (unsigned i = 0; i < 5; i++)
		unit_write_file(s.fd, others[i], "x", 1);
	assert_int_equal(datadir_sweep_temporary(dir, NULL), HEARTH_OK);
	for (unsigned i = 0; i < 3; i++)
		assert_false(unit_exists(s.fd, ours[i]));
	for (unsigned i = 0; i < 5; i++)
		assert_true(unit_exists(s.fd, others[i]));
	datadir_close(&dir);
	unit_scratch_end(&s);
}

static void ids(void **state)
{
	(void)state;
	uint8_t a[16], b[16], zeros[16] = {0};
	assert_int_equal(datadir_random_id(a), 0);
	assert_int_equal(datadir_random_id(b), 0);
	assert_memory_not_equal(a, b, 16);
	datadir_boot_id(NULL, a, NULL);
	datadir_boot_id(NULL, b, NULL);
	assert_memory_equal(a, b, 16);
	if (access("/proc/sys/kernel/random/boot_id", R_OK) == 0)
		assert_memory_not_equal(a, zeros, 16);
}

/* ---- MANIFEST ---- */

static void golden_manifest(void **state)
{
	(void)state;
	struct unit_scratch s = unit_scratch_begin();
	struct datadir *dir = open_dir(&s, NULL);
	struct manifest m, back;
	bool repaired = true;
	size_t len;
	uint8_t *file = write_sample(&s, dir, &m, &len);
	size_t body = 92 + 3 * 40 + 52 + 2 * 12;
	assert_int_equal(len, 2 * (20 + body));
	assert_memory_equal(file, file + len / 2, len / 2);
	unit_assert_hex(file, 16,
	    "484541525448"
	    "4d46"
	    "01000000"
	    "20010000");
	assert_int_equal(
	    bytes_load32(file + 16), crc32c_portable(crc32c_portable(0, file, 16), file + 20, body));
	unit_assert_hex(file + 20, 132,
	    "070000000000000000000000"
	    "6c696e656167652d6f662d7465737400"
	    "0400000000000000"
	    "0100000000000000"
	    "0900000000000000"
	    "0300000000000000"
	    "0000000000001000"
	    "03000000"
	    "3930000000000000"
	    "030000000100000002000000"
	    "0600000000000000"
	    "0100000000000000"
	    "0400000000000000"
	    "40404040404040404040404040404040");
	unit_assert_hex(file + 20 + 92 + 120, 76,
	    "0200000000000000"
	    "3200000000000000"
	    "3c00000000000000"
	    "0400000000000000"
	    "0903000000000000"
	    "fbffffffffffffff"
	    "01000000"
	    "000000000500000000000000"
	    "010000000100000000000000");
	assert_int_equal(datadir_read_manifest(dir, &back, &repaired, NULL), HEARTH_OK);
	assert_false(repaired);
	assert_same(&back, &m);
	manifest_free(&back);
	assert_null(back.segments);
	manifest_free(&m);
	free(file);
	datadir_close(&dir);
	unit_scratch_end(&s);
}

/* Reads; whatever comes back as good is what was written. */
static enum hearth_status read_same(struct datadir *dir, const struct manifest *m, bool *ret_repaired)
{
	struct manifest back;
	struct hearth_error err;
	enum hearth_status status = datadir_read_manifest(dir, &back, ret_repaired, &err);
	if (status == HEARTH_OK)
		assert_same(&back, m);
	else
		assert_int_equal(err.status, status);
	manifest_free(&back);
	return status;
}

static void any_flipped_bit_is_mended(void **state)
{
	(void)state;
	struct unit_scratch s = unit_scratch_begin();
	struct datadir *dir = open_dir(&s, NULL);
	struct manifest m;
	size_t len;
	bool repaired;
	uint8_t *file = write_sample(&s, dir, &m, &len);
	for (size_t bit = 0; bit < len * 8; bit++) {
		file[bit / 8] ^= (uint8_t)(1 << bit % 8);
		unit_write_file(s.fd, "MANIFEST", file, len);
		assert_int_equal(read_same(dir, &m, &repaired), HEARTH_OK);
		assert_true(repaired);
		/* The other copy hit as well, at the same place or another. */
		size_t other = (bit + len * 4 + bit % 3 * 8 * 5) % (len * 8);
		if ((other < len * 4) != (bit < len * 4)) {
			file[other / 8] ^= (uint8_t)(1 << other % 8);
			unit_write_file(s.fd, "MANIFEST", file, len);
			assert_int_equal(read_same(dir, &m, &repaired), HEARTH_DAMAGED);
			file[other / 8] ^= (uint8_t)(1 << other % 8);
		}
		file[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	free(file);
	manifest_free(&m);
	datadir_close(&dir);
	unit_scratch_end(&s);
}

static void cut_off_or_longer(void **state)
{
	(void)state;
	struct unit_scratch s = unit_scratch_begin();
	struct datadir *dir = open_dir(&s, NULL);
	struct manifest m;
	size_t len;
	bool repaired;
	uint8_t *file = write_sample(&s, dir, &m, &len);
	unit_write_file(s.fd, "log-0000000006", "", 0);
	for (size_t cut = 0; cut < len; cut++) {
		unit_write_file(s.fd, "MANIFEST", file, cut);
		assert_int_equal(read_same(dir, &m, &repaired), cut >= len / 2 ? HEARTH_OK : HEARTH_DAMAGED);
		assert_true(repaired == (cut >= len / 2));
		/* The front lost: the second copy is found by its magic. */
		if (cut > 0) {
			unit_write_file(s.fd, "MANIFEST", file + cut, len - cut);
			assert_int_equal(
			    read_same(dir, &m, &repaired), cut <= len / 2 ? HEARTH_OK : HEARTH_DAMAGED);
		}
	}
	uint8_t *longer = calloc(1, len + 5000);
	memcpy(longer, file, len);
	unit_write_file(s.fd, "MANIFEST", longer, len + 5000);
	assert_int_equal(read_same(dir, &m, &repaired), HEARTH_OK);
	assert_true(repaired);
	/* All zeros, as a file system may leave it. */
	memset(longer, 0, len);
	unit_write_file(s.fd, "MANIFEST", longer, len);
	assert_int_equal(read_same(dir, &m, &repaired), HEARTH_DAMAGED);
	free(longer);
	free(file);
	manifest_free(&m);
	datadir_close(&dir);
	unit_scratch_end(&s);
}

static void recrc(uint8_t *copy, size_t len)
{
	bytes_store32(copy + 16, crc32c(crc32c(0, copy, 16), copy + 20, len - 20));
}

static void copies_that_differ_or_lie(void **state)
{
	(void)state;
	struct unit_scratch s = unit_scratch_begin();
	struct datadir *dir = open_dir(&s, NULL);
	struct manifest m;
	size_t len;
	bool repaired;
	uint8_t *file = write_sample(&s, dir, &m, &len), *changed = malloc(len);
	size_t half = len / 2;
	/* Two good copies of different days. */
	memcpy(changed, file, len);
	changed[half + 60] ^= 1;
	recrc(changed + half, half);
	unit_write_file(s.fd, "MANIFEST", changed, len);
	assert_int_equal(read_same(dir, &m, &repaired), HEARTH_DAMAGED);
	/* A count beyond what is there, under a good CRC. */
	static const size_t counts[] = {20 + 80, 20 + 84, 20 + 88};
	for (unsigned i = 0; i < 3; i++) {
		for (unsigned v = 0; v < 3; v++) {
			memcpy(changed, file, len);
			bytes_store32(changed + counts[i], v == 0 ? UINT32_MAX : v == 1 ? 0x10000000 : 50);
			recrc(changed, half);
			memcpy(changed + half, changed, half);
			unit_write_file(s.fd, "MANIFEST", changed, len);
			assert_int_equal(read_same(dir, &m, &repaired), HEARTH_DAMAGED);
		}
	}
	/* A length near 2^32 in the first copy: the second serves. */
	memcpy(changed, file, len);
	bytes_store32(changed + 12, UINT32_MAX - 3);
	unit_write_file(s.fd, "MANIFEST", changed, len);
	assert_int_equal(read_same(dir, &m, &repaired), HEARTH_OK);
	free(changed);
	free(file);
	manifest_free(&m);
	datadir_close(&dir);
	unit_scratch_end(&s);
}

static void newer_manifests(void **state)
{
	(void)state;
	struct unit_scratch s = unit_scratch_begin();
	struct datadir *dir = open_dir(&s, NULL);
	struct manifest m;
	size_t len;
	bool repaired;
	uint8_t *file = write_sample(&s, dir, &m, &len), *changed = malloc(len);
	size_t half = len / 2;
	/* version; an incompatible feature; a kind of file to unlink that is not known */
	static const size_t at[] = {8, 20 + 8, 20 + 92 + 120 + 52};
	for (unsigned i = 0; i < 3; i++) {
		memcpy(changed, file, len);
		bytes_store32(changed + at[i], 2);
		recrc(changed, half);
		memcpy(changed + half, changed, half);
		unit_write_file(s.fd, "MANIFEST", changed, len);
		assert_int_equal(read_same(dir, &m, &repaired), HEARTH_NEWER);
	}
	/* Bytes behind the lists: a later version's, and no business of ours. */
	uint8_t *longer = calloc(2, half + 10);
	memcpy(longer, file, half);
	bytes_store32(longer + 12, (uint32_t)(half + 10 - 20));
	recrc(longer, half + 10);
	memcpy(longer + half + 10, longer, half + 10);
	unit_write_file(s.fd, "MANIFEST", longer, 2 * (half + 10));
	assert_int_equal(read_same(dir, &m, &repaired), HEARTH_OK);
	assert_false(repaired);
	free(longer);
	free(changed);
	free(file);
	manifest_free(&m);
	datadir_close(&dir);
	unit_scratch_end(&s);
}

/* Every call that changes the disk fails once, and all after it: the old manifest or the new one, nothing
 * else. */
static void writing_fails_anywhere(void **state)
{
	(void)state;
	struct unit_scratch s = unit_scratch_begin();
	struct unit_vfs u;
	unit_vfs_init(&u);
	u.error = ENOSPC;
	struct datadir *dir = open_dir(&s, &u.vfs);
	struct manifest before, after, back;
	struct hearth_error err;
	bool repaired, done = false;
	size_t len;
	free(write_sample(&s, dir, &before, &len));
	after = sample_manifest();
	after.last_seq = 99999;
	for (unsigned fail_at = 1; !done; fail_at++) {
		assert_int_equal(datadir_write_manifest(dir, &before, NULL), HEARTH_OK);
		u.changes = 0;
		u.fail_at = fail_at;
		enum hearth_status status = datadir_write_manifest(dir, &after, &err);
		done = status == HEARTH_OK;
		u.fail_at = 0;
		if (!done)
			assert_int_equal(err.sys_errno, ENOSPC);
		assert_int_equal(datadir_read_manifest(dir, &back, &repaired, NULL), HEARTH_OK);
		assert_false(repaired);
		/* Only the sync of the directory comes after the new one is seen. */
		assert_true(back.last_seq == (status == HEARTH_OK || fail_at == 6 ? 99999 : 12345));
		manifest_free(&back);
		assert_true(fail_at < 20);
	}
	assert_int_equal(u.changes, 6); /* unlink, open, write, fsync, rename, fsync of the directory */
	manifest_free(&after);
	manifest_free(&before);
	datadir_close(&dir);
	unit_scratch_end(&s);
}

/* ---- rebuilding ---- */

static void write_segment(const struct unit_scratch *s, const char *name, uint64_t number, uint64_t first,
    uint64_t generation, uint64_t prev, uint8_t which_lineage)
{
	struct segment_header h = {.number = number,
	    .first = first,
	    .generation = generation,
	    .prev_number = prev,
	    .high_water = 1000 * number,
	    .term = 2};
	uint8_t bytes[SEGMENT_HEADER_SIZE];
	memcpy(h.lineage, lineage, 16);
	h.lineage[0] = (uint8_t)(h.lineage[0] + which_lineage);
	memset(h.salt, (int)number, 16);
	segment_encode_header(&h, bytes);
	unit_write_file(s->fd, name, bytes, sizeof(bytes));
}

static void write_snapshot(
    const struct unit_scratch *s, const char *name, uint64_t number, uint64_t start, uint8_t which_lineage)
{
	struct snapshot_header h = {.number = number, .start = start, .generation = 1, .wall_ms = 55};
	struct snapshot_footer f = {.end = start + 10, .high_water = 123456};
	struct snapshot_writer *w;
	memcpy(h.lineage, lineage, 16);
	h.lineage[0] = (uint8_t)(h.lineage[0] + which_lineage);
	int fd = openat(s->fd, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_int_equal(snapshot_writer_open(&w, NULL, fd, &h, 1, NULL), HEARTH_OK);
	assert_int_equal(snapshot_writer_finish(w, &f, NULL), HEARTH_OK);
	snapshot_writer_close(&w);
	close(fd);
}

static void rebuilds_from_headers(void **state)
{
	(void)state;
	struct unit_scratch s = unit_scratch_begin();
	struct datadir *dir = open_dir(&s, NULL);
	struct manifest m;
	struct hearth_error err;
	static const uint8_t zeros[256], more[257];
	assert_int_equal(datadir_rebuild_manifest(dir, &m, &err), HEARTH_DAMAGED);
	/* Written in no order; the last of the chain has the lowest number of a file with the same first
	 * record. */
	write_segment(&s, "log-0000000008", 8, 300, 2, 7, 0);
	write_segment(&s, "log-0000000006", 6, 100, 1, 5, 0);
	write_segment(&s, "log-0000000007", 7, 300, 2, 6, 0);
	write_snapshot(&s, "snapshot-0000000002", 2, 150, 0);
	write_snapshot(&s, "snapshot-0000000001", 1, 50, 0);
	/* Not ours, not the file its name says, no header, never begun, unfinished. */
	write_segment(&s, "log-0000000020", 20, 200, 9, 19, 1);
	write_snapshot(&s, "snapshot-0000000021", 21, 120, 1);
	write_segment(&s, "log-0000000011", 6, 400, 1, 5, 0);
	unit_write_file(s.fd, "log-0000000030", "HEARTHLG....", 12);
	unit_write_file(s.fd, "log-0000000031", zeros, 256);
	unit_write_file(s.fd, "snapshot-0000000040", "xx", 2);
	unit_write_file(s.fd, "notes.txt", "xx", 2);
	assert_int_equal(datadir_rebuild_manifest(dir, &m, &err), HEARTH_OK);
	assert_memory_equal(m.lineage, lineage, 16);
	assert_int_equal(m.n_segments, 3);
	assert_int_equal(m.segments[0].number, 6);
	assert_int_equal(m.segments[1].number, 7);
	assert_int_equal(m.segments[2].number, 8);
	assert_int_equal(m.segments[1].first, 300);
	assert_int_equal(m.segments[1].generation, 2);
	assert_int_equal(m.segments[2].salt[5], 8);
	assert_int_equal(m.n_snapshots, 2);
	assert_int_equal(m.snapshots[0].number, 1);
	assert_int_equal(m.snapshots[1].number, 2);
	assert_int_equal(m.snapshots[1].start, 150);
	assert_int_equal(m.snapshots[1].end, 160);
	assert_true(m.snapshots[1].bytes > 400 && m.snapshots[1].wall_ms == 55);
	assert_int_equal(m.n_unlinks, 0);
	assert_int_equal(m.generation, 2);
	assert_int_equal(m.term, 2);
	assert_int_equal(m.high_water, 123456);
	assert_int_equal(m.next_segment, 32);
	assert_int_equal(m.next_snapshot, 41);
	assert_false(m.clean);
	manifest_free(&m);
	assert_false(unit_exists(s.fd, "MANIFEST"));
	/* More than a header, which does not verify: behind the last one that does, nobody knows what it changed. */
	unit_write_file(s.fd, "log-0000000032", more, sizeof(more));
	unit_write_file(s.fd, "log-0000000004", more, sizeof(more));
	assert_int_equal(mkdirat(s.fd, "log-0000000033", 0700), 0);
	assert_int_equal(datadir_rebuild_manifest(dir, &m, &err), HEARTH_OK);
	assert_int_equal(m.n_segments, 4);
	assert_int_equal(m.segments[3].number, 32);
	assert_int_equal(m.segments[3].first, 300);
	assert_int_equal(m.segments[3].generation, 2);
	assert_int_equal(m.next_segment, 34);
	manifest_free(&m);
	unlinkat(s.fd, "log-0000000032", 0);
	unlinkat(s.fd, "log-0000000004", 0);
	/* The other lineage goes on further: now it is the newest. */
	write_segment(&s, "log-0000000020", 20, 5000, 9, 19, 1);
	assert_int_equal(datadir_rebuild_manifest(dir, &m, &err), HEARTH_OK);
	assert_int_equal(m.lineage[0], lineage[0] + 1);
	assert_int_equal(m.n_segments, 1);
	assert_int_equal(m.n_snapshots, 1);
	manifest_free(&m);
	datadir_close(&dir);
	unit_scratch_end(&s);
}

static void does_not_rebuild_over_newer_files(void **state)
{
	(void)state;
	struct unit_scratch s = unit_scratch_begin();
	struct datadir *dir = open_dir(&s, NULL);
	struct manifest m;
	size_t len;
	write_segment(&s, "log-0000000001", 1, 1, 1, 0, 0);
	uint8_t *file = unit_read_file(s.fd, "log-0000000001", &len);
	bytes_store32(file + 8, SEGMENT_VERSION + 1);
	bytes_store32(file + 252, crc32c(0, file, 252));
	unit_write_file(s.fd, "log-0000000002", file, len);
	assert_int_equal(datadir_rebuild_manifest(dir, &m, NULL), HEARTH_NEWER);
	assert_null(m.segments);
	free(file);
	datadir_close(&dir);
	unit_scratch_end(&s);
}

static void adopts_what_chains(void **state)
{
	(void)state;
	struct unit_scratch s = unit_scratch_begin();
	struct datadir *dir = open_dir(&s, NULL);
	struct manifest m = {.generation = 2, .next_segment = 6};
	memcpy(m.lineage, lineage, 16);
	assert_int_equal(datadir_adopt_segments(dir, &m, NULL), HEARTH_OK);
	assert_int_equal(m.n_segments, 0);
	assert_true(
	    manifest_add_segment(&m, &(struct manifest_segment){.number = 5, .first = 100, .generation = 2}));
	write_segment(&s, "log-0000000005", 5, 100, 2, 4, 0);
	write_segment(&s, "log-0000000007", 7, 300, 2, 6, 0);
	write_segment(&s, "log-0000000006", 6, 200, 2, 5, 0);
	write_segment(&s, "log-0000000008", 8, 400, 2, 7, 1);   /* another lineage */
	write_segment(&s, "log-0000000009", 9, 400, 1, 7, 0);   /* another generation */
	write_segment(&s, "log-0000000010", 10, 50, 2, 7, 0);   /* begins before the one it follows */
	write_segment(&s, "log-0000000011", 11, 400, 2, 10, 0); /* follows another */
	write_segment(&s, "log-0000000012", 12, 400, 2, 7, 0);  /* retired */
	assert_true(manifest_add_unlink(&m, DATADIR_LOG, 12));
	/* A copy of the one that follows, under another name, also when that one is gone. */
	write_segment(&s, "log-0000000013", 6, 200, 2, 5, 0);
	int fd = openat(s.fd, "log-0000000013", O_WRONLY | O_APPEND);
	assert_int_equal(write(fd, "more", 4), 4);
	close(fd);
	assert_int_equal(renameat(s.fd, "log-0000000006", s.fd, "aside"), 0);
	assert_int_equal(datadir_adopt_segments(dir, &m, NULL), HEARTH_OK);
	assert_int_equal(m.n_segments, 1);
	assert_int_equal(renameat(s.fd, "aside", s.fd, "log-0000000006"), 0);
	assert_int_equal(datadir_adopt_segments(dir, &m, NULL), HEARTH_OK);
	assert_int_equal(m.n_segments, 3);
	assert_int_equal(m.segments[1].number, 6);
	assert_int_equal(m.segments[2].number, 7);
	assert_int_equal(m.segments[2].first, 300);
	assert_int_equal(m.segments[2].salt[0], 7);
	assert_int_equal(m.next_segment, 8);
	assert_int_equal(m.high_water, 7000);
	assert_int_equal(datadir_adopt_segments(dir, &m, NULL), HEARTH_OK);
	assert_int_equal(m.n_segments, 3);
	manifest_free(&m);
	datadir_close(&dir);
	unit_scratch_end(&s);
}

/* ---- setting aside ---- */

static void sets_aside_by_link_or_copy(void **state)
{
	(void)state;
	struct unit_scratch s = unit_scratch_begin();
	struct unit_vfs u;
	unit_vfs_init(&u);
	struct datadir *dir = open_dir(&s, &u.vfs);
	struct hearth_error err;
	struct stat st;
	char name[96];
	size_t size = 600000, len;
	uint8_t *bytes = malloc(size);
	unit_fill(bytes, size, 13);
	unit_write_file(s.fd, "log-0000000003", bytes, size);
	assert_int_equal(datadir_set_aside(dir, "log-0000000003", name, sizeof(name), &err), HEARTH_OK);
	assert_string_equal(name, "set-aside/log-0000000003.1");
	assert_int_equal(fstatat(s.fd, name, &st, 0), 0);
	assert_int_equal(st.st_nlink, 2);
	assert_int_equal(fstatat(s.fd, "set-aside", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	u.no_links = true;
	u.short_write = 77777;
	assert_int_equal(datadir_set_aside(dir, "log-0000000003", name, sizeof(name), &err), HEARTH_OK);
	assert_string_equal(name, "set-aside/log-0000000003.2");
	uint8_t *copy = unit_read_file(s.fd, name, &len);
	assert_int_equal(len, size);
	assert_memory_equal(copy, bytes, len);
	free(copy);
	assert_int_equal(fstatat(s.fd, name, &st, 0), 0);
	assert_int_equal(st.st_nlink, 1);
	/* The original is where it was; a copy that cannot be finished is not left behind. */
	assert_true(unit_exists(s.fd, "log-0000000003"));
	u.changes = 0;
	u.fail_at = 4;
	u.fail_once = true;
	u.error = ENOSPC;
	assert_int_equal(datadir_set_aside(dir, "log-0000000003", name, sizeof(name), &err), HEARTH_IO);
	assert_int_equal(err.sys_errno, ENOSPC);
	assert_false(unit_exists(s.fd, "set-aside/log-0000000003.3"));
	u.fail_at = 0;
	assert_int_equal(datadir_set_aside(dir, "missing", name, sizeof(name), &err), HEARTH_IO);
	assert_int_equal(symlinkat("log-0000000003", s.fd, "link"), 0);
	assert_int_equal(datadir_set_aside(dir, "link", name, sizeof(name), &err), HEARTH_IO);
	assert_int_equal(datadir_set_aside(dir, "log-0000000003", name, 12, &err), HEARTH_TOO_LARGE);
	free(bytes);
	datadir_close(&dir);
	unit_scratch_end(&s);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(names_and_numbers),
    cmocka_unit_test(makes_and_locks),
    cmocka_unit_test(says_what_a_directory_is),
    cmocka_unit_test(sweeps_its_own_only),
    cmocka_unit_test(ids),
    cmocka_unit_test(golden_manifest),
    cmocka_unit_test(any_flipped_bit_is_mended),
    cmocka_unit_test(cut_off_or_longer),
    cmocka_unit_test(copies_that_differ_or_lie),
    cmocka_unit_test(newer_manifests),
    cmocka_unit_test(writing_fails_anywhere),
    cmocka_unit_test(rebuilds_from_headers),
    cmocka_unit_test(does_not_rebuild_over_newer_files),
    cmocka_unit_test(adopts_what_chains),
    cmocka_unit_test(sets_aside_by_link_or_copy),
};
UNIT_MAIN(tests)
