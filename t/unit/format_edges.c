/* SPDX-License-Identifier: BSD-3-Clause */
/* format_edges: what files may claim and no writer writes: numbers beyond 52 bits, types and names that are none, records
 * whose head alone is read, files that shrink under an open reader, and what /proc may say. */
#include <sys/mman.h>
#include <zstd.h>
#include "written.h"
#include "base/bytes.h"
#include "format/block_zstd.h"
#include "format/datadir_dir.h"
#include "format/datadir_lock.h"
#include "format/snapshot_frame.h"
#include <hearth/keyset.h>

#define BEYOND (RECORD_SEQ_MAX + 1)

/* ---- numbers ---- */

static void headers_hold_no_number_beyond_52_bits(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 7; i++) {
		struct segment_header h = {.number = 1, .first = 1}, back;
		uint64_t *fields[] = {
		    &h.number, &h.first, &h.prev_number, &h.prev_last, &h.high_water, &h.generation};
		uint8_t out[SEGMENT_HEADER_SIZE];
		if (i < 6)
			*fields[i] = BEYOND;
		segment_encode_header(&h, out);
		assert_int_equal(
		    segment_decode_header(out, sizeof(out), &back), i < 6 ? HEARTH_DAMAGED : HEARTH_OK);
	}
	for (unsigned i = 0; i < 5; i++) {
		struct snapshot_header h = {.number = 1}, back;
		uint64_t *fields[] = {&h.number, &h.start, &h.high_water, &h.generation};
		uint8_t out[SNAPSHOT_HEADER_SIZE];
		if (i < 4)
			*fields[i] = BEYOND;
		snapshot_put_header(&h, out);
		assert_int_equal(
		    snapshot_get_header_frame(out, sizeof(out), &back), i < 4 ? HEARTH_DAMAGED : HEARTH_OK);
	}
	for (unsigned i = 0; i < 3; i++) {
		static const uint8_t salt[BLOCK_SALT_SIZE];
		struct snapshot_footer f = {.end = i == 0 ? BEYOND : 1, .high_water = i == 1 ? BEYOND : 1},
		                       back;
		uint8_t out[SNAPSHOT_FOOTER_SIZE];
		snapshot_put_footer(&f, 4096, salt, out);
		assert_int_equal(
		    snapshot_get_footer_frame(out, 4096, salt, &back), i < 2 ? HEARTH_DAMAGED : HEARTH_OK);
		assert_int_equal(snapshot_get_footer_frame(out, 4097, salt, &back), HEARTH_DAMAGED);
	}
}

static void blocks_whose_parts_contradict_each_other(void **state)
{
	(void)state;
	static const uint8_t salt[BLOCK_SALT_SIZE];
	uint8_t out[BLOCK_HEADER_SIZE], raw[100], packed[200];
	struct block_header h = {.stored_len = 5, .raw_len = 0, .flags = BLOCK_ZSTD, .first = 1}, back;
	block_encode_header(&h, salt, 0, out);
	assert_int_equal(block_decode_header(out, 1000, &back), HEARTH_DAMAGED);
	/* The CRC holds for four bytes of payload, the header says five. */
	h = (struct block_header){.stored_len = 5, .raw_len = 5, .first = 1};
	block_encode_header(&h, salt, crc32c(0, "four", 4), out);
	assert_int_equal(block_verify(out, salt, "four", 4), HEARTH_DAMAGED);
	/* A frame that is to be skipped, and one that holds less than the header says. */
	h = (struct block_header){.stored_len = 12, .raw_len = 10, .flags = BLOCK_ZSTD};
	assert_int_equal(block_unpack(&h, "\x50\x2a\x4d\x18\4\0\0\0four", raw), HEARTH_DAMAGED);
	size_t n = ZSTD_compress(packed, sizeof(packed), raw, 50, 1);
	h = (struct block_header){.stored_len = (uint32_t)n, .raw_len = 60, .flags = BLOCK_ZSTD};
	assert_int_equal(block_unpack(&h, packed, raw), HEARTH_DAMAGED);
	/* A version that never was. */
	struct snapshot_header s = {.number = 1}, got;
	uint8_t head[SNAPSHOT_HEADER_SIZE];
	snapshot_put_header(&s, head);
	bytes_store32(head + 16, 0);
	bytes_store32(head + sizeof(head) - 4, crc32c(0, head, sizeof(head) - 4));
	assert_int_equal(snapshot_get_header_frame(head, sizeof(head), &got), HEARTH_DAMAGED);
	/* Records whose heads end too early for a key. */
	const uint8_t *key;
	uint8_t key_len;
	assert_false(record_find_key("\1", 1, &key, &key_len));
	assert_false(record_find_key("\1\xff\xff\xff\xff\xff", 6, &key, &key_len));
	assert_false(record_find_key("\2\5abc", 5, &key, &key_len));
	assert_false(record_find_key("\1\x20\x10\0\1\xff\xff", 7, &key, &key_len));
}

static struct manifest two_of_each(void)
{
	struct manifest m = {.generation = 1, .next_segment = 9, .next_snapshot = 9};
	for (uint64_t i = 1; i <= 2; i++) {
		const struct manifest_segment segment = {.number = i, .first = i};
		const struct manifest_snapshot snapshot = {.number = i, .start = i, .end = i};
		assert_true(manifest_add_segment(&m, &segment) && manifest_add_snapshot(&m, &snapshot));
	}
	return m;
}

static enum hearth_status there_and_back(const struct manifest *m, struct manifest *ret_back)
{
	struct buf out = {0};
	bool repaired;
	assert_int_equal(manifest_encode(m, &out), HEARTH_OK);
	enum hearth_status status = manifest_decode(out.data, buf_len(&out), ret_back, &repaired);
	buf_free(&out);
	return status;
}

static void manifests_hold_no_number_beyond_52_bits_and_none_twice(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 15; i++) {
		struct manifest m = two_of_each(), back;
		uint64_t *fields[] = {&m.next_segment, &m.next_snapshot, &m.generation, &m.high_water,
		    &m.last_seq, &m.segments[0].number, &m.segments[1].first, &m.snapshots[0].number,
		    &m.snapshots[1].start, &m.snapshots[1].end, &m.segments[1].number, &m.snapshots[1].number,
		    &m.segments[0].number, &m.snapshots[0].number};
		/* Ten that are too high, two that come twice, two that are zero; one that is all right. */
		if (i < 14)
			*fields[i] = i < 10 ? BEYOND : i < 12 ? 1 : 0;
		assert_int_equal(there_and_back(&m, &back), i < 14 ? HEARTH_DAMAGED : HEARTH_OK);
		if (i == 14)
			manifest_free(&back);
		manifest_free(&m);
	}
	/* A number that is taken is not given out again. */
	struct manifest m = two_of_each(), back;
	m.next_segment = m.next_snapshot = 2;
	assert_int_equal(there_and_back(&m, &back), HEARTH_OK);
	assert_int_equal(back.next_segment, 3);
	assert_int_equal(back.next_snapshot, 3);
	manifest_free(&back);
	manifest_free(&m);
}

static void manifests_have_limits(void **state)
{
	(void)state;
	struct manifest m = {.generation = 1};
	struct buf out = {0};
	m.n_segments = DATADIR_NAMES_MAX + 1;
	assert_int_equal(manifest_encode(&m, &out), HEARTH_TOO_LARGE);
	m = (struct manifest){.n_snapshots = DATADIR_NAMES_MAX + 1};
	assert_int_equal(manifest_encode(&m, &out), HEARTH_TOO_LARGE);
	m = (struct manifest){.n_unlinks = DATADIR_NAMES_MAX + 1};
	assert_int_equal(manifest_encode(&m, &out), HEARTH_TOO_LARGE);
	m = (struct manifest){.n_segments = DATADIR_NAMES_MAX, .n_snapshots = DATADIR_NAMES_MAX};
	assert_int_equal(manifest_encode(&m, &out), HEARTH_TOO_LARGE);
	struct unit_scratch s = unit_scratch_begin();
	struct datadir *dir;
	struct hearth_error err;
	assert_int_equal(datadir_open(&dir, NULL, s.path, false, false, NULL, &err), HEARTH_OK);
	assert_int_equal(datadir_write_manifest(dir, &m, &err), HEARTH_TOO_LARGE);
	/* One that is impossibly large is not read. */
	bool repaired;
	int fd = openat(s.fd, DATADIR_MANIFEST, O_WRONLY | O_CREAT, 0600);
	assert_int_equal(ftruncate(fd, MANIFEST_SIZE_MAX + 1), 0);
	close(fd);
	assert_int_equal(datadir_read_manifest(dir, &m, &repaired, &err), HEARTH_DAMAGED);
	datadir_close(&dir);
	datadir_close(&dir);
	unit_scratch_end(&s);
}

/* ---- names ---- */

static void everything_has_a_name(void **state)
{
	(void)state;
	static const enum hearth_status statuses[] = {HEARTH_OK, HEARTH_END, HEARTH_TORN, HEARTH_DAMAGED,
	    HEARTH_NEWER, HEARTH_FOREIGN, HEARTH_BUSY, HEARTH_IO, HEARTH_NOMEM, HEARTH_TOO_LARGE};
	for (size_t i = 0; i < sizeof(statuses) / sizeof(*statuses); i++) {
		assert_string_not_equal(hearth_status_text(statuses[i]), "unknown");
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(
			    hearth_status_text(statuses[i]), hearth_status_text(statuses[k]));
	}
	assert_string_equal(hearth_status_text((enum hearth_status)77), "unknown");
	struct hearth_error err;
	assert_int_equal(hearth_fail(NULL, HEARTH_IO, "file", 1, "what"), HEARTH_IO);
	errno = ENOSPC;
	assert_int_equal(hearth_fail(&err, HEARTH_IO, NULL, 1, "what"), HEARTH_IO);
	assert_int_equal(err.sys_errno, ENOSPC);
	assert_string_equal(err.file, "");
	unsigned known = 0;
	for (unsigned type = 0; type < 256; type++)
		known += strcmp(record_type_name((uint8_t)type), "unknown") != 0;
	assert_in_range(known, 9, 20);
}

/* ---- records of which the head alone is read ---- */

static void the_head_of_a_record_says_what_it_is(void **state)
{
	(void)state;
	static char value[5000];
	uint8_t out[RECORD_OVERHEAD_MAX + sizeof(value)];
	struct record r = set_record(1, "", FAR_FUTURE), back;
	r.value = (const uint8_t *)value;
	r.value_len = sizeof(value);
	size_t len = record_encode(&r, out);
	assert_int_equal(record_decode_head(out, 400, len, &back), HEARTH_OK);
	assert_int_equal(back.value_len, sizeof(value));
	assert_null(back.value);
	assert_int_equal(back.expiry, FAR_FUTURE);
	assert_int_equal(record_decode_head(out, 400, len + 1, &back), HEARTH_DAMAGED);
	assert_int_equal(record_decode_head(out, 0, len, &back), HEARTH_DAMAGED);
	out[0] = RECORD_DELETE;
	assert_int_equal(record_decode_head(out, 400, len, &back), HEARTH_DAMAGED);
	out[0] = 0x3f;
	assert_int_equal(record_decode_head(out, 400, len, &back), HEARTH_NEWER);
	out[0] = 0x3f | RECORD_MAY_SKIP;
	assert_int_equal(record_decode_head(out, 400, len, &back), HEARTH_OK);
	/* A value of more than a gigabyte, claimed. */
	r.value_len = RECORD_VALUE_MAX;
	uint64_t whole = record_size(&r) + 1;
	record_encode_head(&r, out);
	assert_true((out[1] & 0x7f) != 0x7f);
	out[1]++;
	assert_int_equal(record_decode_head(out, 400, whole, &back), HEARTH_DAMAGED);
	uint8_t *mapped =
	    mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	assert_true(mapped != MAP_FAILED);
	memcpy(mapped, out, 400);
	size_t used;
	assert_int_equal(record_decode(mapped, whole, &back, &used), HEARTH_DAMAGED);
	munmap(mapped, whole);
}

/* A number in a record of the log is the block's own, or the block is damaged. */
static void numbers_in_records_agree_with_their_block(void **state)
{
	(void)state;
	uint8_t out[64];
	struct record r = set_record(1, "v", 0), back;
	for (uint64_t seq = 6; seq <= 7; seq++) {
		r.seq = seq;
		struct segment_block block = {.head = {.first = 7, .count = 1}, .payload = out};
		block.payload_len = record_encode(&r, out);
		struct segment_records walk = segment_records(&block);
		assert_int_equal(segment_next_record(&walk, &back), seq == 7 ? HEARTH_OK : HEARTH_DAMAGED);
	}
	/* In a snapshot each has one, and it is possible. */
	for (unsigned i = 0; i < 4; i++) {
		r = set_record(1, "v", 0);
		r.seq = i == 0 ? 0 : i == 1 ? BEYOND : 5;
		if (i == 3)
			r.type = RECORD_DELETE;
		struct snapshot_records walk = snapshot_records(out, record_encode(&r, out));
		assert_int_equal(snapshot_next_record(&walk, &back), i == 2 ? HEARTH_OK : HEARTH_DAMAGED);
	}
	out[0] = 0x3f | RECORD_MAY_SKIP;
	out[1] = 0;
	struct snapshot_records walk = snapshot_records(out, 2);
	assert_int_equal(snapshot_next_record(&walk, &back), HEARTH_OK);
}

/* ---- a snapshot's block of one giant record ---- */

static uint8_t giant[400000];

/* Returns the offset of its block. items: what its head says. */
static uint64_t write_giant(struct unit_scratch *s, uint8_t type, uint64_t seq, uint32_t items)
{
	struct snapshot_header h = {.number = 1};
	struct snapshot_footer f = {.end = 1};
	struct snapshot_writer *w;
	struct record r = set_record(1, "", 0);
	uint8_t *out = malloc(sizeof(giant) + RECORD_OVERHEAD_MAX);
	assert_non_null(out);
	unit_fill(giant, sizeof(giant), 7);
	r.seq = seq;
	r.value = giant;
	r.value_len = sizeof(giant);
	size_t len = record_encode(&r, out);
	out[0] = type;
	int fd = openat(s->fd, "giant", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_int_equal(snapshot_writer_open(&w, vfs_posix(), fd, &h, 1, NULL), HEARTH_OK);
	uint64_t at = snapshot_writer_bytes(w);
	assert_int_equal(snapshot_writer_block(w, out, len, items, 1, NULL), HEARTH_OK);
	assert_int_equal(snapshot_writer_finish(w, &f, NULL), HEARTH_OK);
	snapshot_writer_close(&w);
	close(fd);
	free(out);
	return at;
}

static enum hearth_status load_giant(struct unit_scratch *s, struct record *ret)
{
	struct snapshot_reader *reader;
	struct hearth_error err;
	uint8_t head[RECORD_OVERHEAD_MAX];
	enum hearth_status status = snapshot_open(&reader, NULL, s->fd, "giant", NULL, &err);
	if (status == HEARTH_OK)
		status = snapshot_load_head(reader, 0, head, ret, &err);
	snapshot_close(&reader);
	return status;
}

static void a_giant_record_is_known_by_its_head(void **state)
{
	(void)state;
	struct unit_scratch s = unit_scratch_begin();
	struct record r;
	uint64_t at = write_giant(&s, RECORD_SET, 5, 1);
	assert_int_equal(load_giant(&s, &r), HEARTH_OK);
	assert_int_equal(r.value_len, sizeof(giant));
	assert_int_equal(r.seq, 5);
	/* Any stored byte that is another is found, though most are never unpacked. */
	int fd = openat(s.fd, "giant", O_RDWR);
	for (uint64_t byte = 0; byte < 390000; byte += 50021) {
		uint8_t b;
		off_t place = (off_t)(at + SNAPSHOT_BLOCK_SIZE + byte);
		assert_int_equal(pread(fd, &b, 1, place), 1);
		b ^= 1;
		assert_int_equal(pwrite(fd, &b, 1, place), 1);
		assert_int_equal(load_giant(&s, &r), HEARTH_DAMAGED);
		b ^= 1;
		assert_int_equal(pwrite(fd, &b, 1, place), 1);
	}
	close(fd);
	write_giant(&s, RECORD_SET, 5, 0); /* a head that counts another number of items */
	assert_int_equal(load_giant(&s, &r), HEARTH_DAMAGED);
	write_giant(&s, RECORD_SET, BEYOND, 1);
	assert_int_equal(load_giant(&s, &r), HEARTH_DAMAGED);
	write_giant(&s, 0x3f | RECORD_MAY_SKIP, 0, 0);
	assert_int_equal(load_giant(&s, &r), HEARTH_OK);
	write_giant(&s, 0x3f | RECORD_MAY_SKIP, 0, 1);
	assert_int_equal(load_giant(&s, &r), HEARTH_DAMAGED);
	unit_scratch_end(&s);
}

static void the_head_of_a_frame_is_unpacked_alone(void **state)
{
	(void)state;
	uint8_t *packed = malloc(ZSTD_compressBound(sizeof(giant)));
	uint8_t out[320];
	unit_fill(giant, sizeof(giant), 9);
	size_t n = ZSTD_compress(packed, ZSTD_compressBound(sizeof(giant)), giant, sizeof(giant), 1);
	assert_false(ZSTD_isError(n));
	assert_int_equal(block_unpack_head(packed, n, out, sizeof(out)), HEARTH_OK);
	assert_memory_equal(out, giant, sizeof(out));
	assert_int_equal(block_unpack_head(packed, 10, out, sizeof(out)), HEARTH_DAMAGED);
	assert_int_equal(block_unpack_head("no frame at all", 15, out, sizeof(out)), HEARTH_DAMAGED);
	n = ZSTD_compress(packed, ZSTD_compressBound(sizeof(giant)), giant, 100, 1);
	assert_int_equal(block_unpack_head(packed, n, out, sizeof(out)), HEARTH_DAMAGED);
	free(packed);
}

/* ---- files that change under an open reader ---- */

static void a_file_that_shrinks_is_torn_not_trusted(void **state)
{
	(void)state;
	static char large[300001];
	struct written w = written_begin();
	struct segment_reader *reader;
	struct segment_block block;
	struct hearth_error err;
	uint8_t *buf = NULL;
	size_t size = 0;
	memset(large, 'l', sizeof(large) - 1);
	written_segment(&w);
	written_set(&w, 1, large, 0);
	assert_int_equal(segment_open(&reader, NULL, w.s.fd, "log-0000000001", NULL, &err), HEARTH_OK);
	assert_int_equal(segment_load(reader, SEGMENT_HEADER_SIZE, &buf, &size, &block, &err), HEARTH_OK);
	written_damage(&w);
	assert_int_equal(
	    segment_load(reader, SEGMENT_HEADER_SIZE, &buf, &size, &block, &err), HEARTH_DAMAGED);
	assert_int_equal(segment_next(reader, &block, &err), HEARTH_DAMAGED);
	written_damage(&w);
	assert_int_equal(ftruncate(w.fd, 150000), 0);
	assert_int_equal(segment_next(reader, &block, &err), HEARTH_TORN);
	assert_int_equal(segment_load(reader, SEGMENT_HEADER_SIZE, &buf, &size, &block, &err), HEARTH_TORN);
	segment_seek(reader, 200000);
	assert_int_equal(segment_resync(reader, &err), HEARTH_END);
	segment_close(&reader);
	segment_close(&reader);
	free(buf);
	written_end(&w);
}

static void a_snapshot_that_changes_is_found_out(void **state)
{
	(void)state;
	struct unit_scratch s = unit_scratch_begin();
	struct snapshot_reader *reader;
	struct hearth_error err;
	const uint8_t *data;
	uint8_t *buf = NULL, head[RECORD_OVERHEAD_MAX];
	size_t size = 0, len, whole;
	struct record r;
	write_giant(&s, RECORD_SET, 5, 1);
	uint8_t *good = unit_read_file(s.fd, "giant", &whole);
	/* The file shrinks, and its index with it. */
	assert_int_equal(snapshot_open(&reader, NULL, s.fd, "giant", NULL, &err), HEARTH_OK);
	int fd = openat(s.fd, "giant", O_RDWR);
	assert_int_equal(ftruncate(fd, 1000), 0);
	assert_int_equal(snapshot_load(reader, 0, &buf, &size, &data, &len, &err), HEARTH_DAMAGED);
	assert_int_equal(snapshot_load_head(reader, 0, head, &r, &err), HEARTH_DAMAGED);
	assert_int_equal(snapshot_get_block(reader, 0).stored_len, 0);
	assert_true(snapshot_verify(reader, &err) != HEARTH_OK);
	/* The index is there, the block is not. */
	unit_write_file(s.fd, "giant", good, whole);
	uint8_t *entry = good + whole - SNAPSHOT_FOOTER_SIZE - SNAPSHOT_INDEX_ENTRY;
	uint8_t kept[SNAPSHOT_INDEX_ENTRY];
	memcpy(kept, entry, sizeof(kept));
	/* An entry that is another one by now: its offset lies beyond the file. */
	bytes_store64(entry, UINT64_MAX / 2);
	assert_int_equal(pwrite(fd, entry, sizeof(kept), (off_t)(entry - good)), sizeof(kept));
	assert_int_equal(snapshot_load(reader, 0, &buf, &size, &data, &len, &err), HEARTH_DAMAGED);
	bytes_store64(entry, whole - SNAPSHOT_BLOCK_SIZE - 10);
	assert_int_equal(pwrite(fd, entry, sizeof(kept), (off_t)(entry - good)), sizeof(kept));
	assert_int_equal(snapshot_load(reader, 0, &buf, &size, &data, &len, &err), HEARTH_TORN);
	assert_int_equal(snapshot_load_head(reader, 0, head, &r, &err), HEARTH_TORN);
	assert_true(snapshot_verify(reader, &err) != HEARTH_OK);
	assert_int_equal(pwrite(fd, kept, sizeof(kept), (off_t)(entry - good)), sizeof(kept));
	assert_int_equal(snapshot_load_head(reader, 0, head, &r, &err), HEARTH_OK);
	snapshot_close(&reader);
	snapshot_close(&reader);
	close(fd);
	free(good);
	free(buf);
	unit_scratch_end(&s);
}

/* ---- what /proc says ---- */

struct proc {
	struct vfs vfs;
	const char *text;
	size_t repeat;
	int no_file; /* what the attempt to open it ends with */
	bool no_stat;
};

static int proc_openat(void *ctx, int dirfd, const char *name, int flags, mode_t mode)
{
	struct proc *p = ctx;
	(void)dirfd;
	(void)name;
	(void)flags;
	(void)mode;
	if (p->no_file) {
		errno = p->no_file;
		return -1;
	}
	int fd = memfd_create("proc", MFD_CLOEXEC);
	for (size_t i = 0; i <= p->repeat; i++)
		MUST(write(fd, p->text, strlen(p->text)) == (ssize_t)strlen(p->text));
	return fd;
}

static int proc_fstat(void *ctx, int fd, struct stat *ret_st)
{
	struct proc *p = ctx;
	if (p->no_stat)
		return -1;
	int ret = vfs_posix()->fstat(NULL, fd, ret_st);
	ret_st->st_ino = 131073;
	return ret;
}

static struct proc proc_make(const char *text)
{
	struct proc p = {.vfs = *vfs_posix(), .text = text};
	p.vfs.openat = proc_openat;
	p.vfs.fstat = proc_fstat;
	return p;
}

static void the_holder_of_a_lock_is_told_where_known(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int pid;
	} cases[] = {
	    {"1: FLOCK  ADVISORY  WRITE 4711 fe:01:131073 0 EOF\n", 4711},
	    {"1: POSIX  ADVISORY  WRITE 1 fe:01:131073 0 EOF\n2: FLOCK  ADVISORY  WRITE 12 fe:01:131073 0 "
	     "EOF\n",
	        12},
	    {"1: FLOCK  ADVISORY  WRITE 4711 fe:01:99 0 EOF\n", 0},
	    {"1: FLOCK  ADVISORY  WRITE 4711 131073 0 EOF\n", 0},
	    {"1: FLOCK  ADVISORY  WRITE -1 fe:01:131073 0 EOF\n", 0},
	    {"1: FLOCK  ADVISORY  WRITE 99999999999 fe:01:131073 0 EOF\n", 0},
	    {"1: FLOCK\nshort\n", 0},
	    {"", 0},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct proc p = proc_make(cases[i].text);
		p.vfs.ctx = &p;
		assert_int_equal(datadir_lock_holder(&p.vfs, 0), cases[i].pid);
	}
	struct proc p = proc_make(cases[0].text);
	p.vfs.ctx = &p;
	p.no_file = ENOENT;
	assert_int_equal(datadir_lock_holder(&p.vfs, 0), 0);
	p.no_file = 0;
	p.no_stat = true;
	assert_int_equal(datadir_lock_holder(&p.vfs, 0), 0);
	/* More than anybody reads. */
	p = proc_make("1: FLOCK  ADVISORY  WRITE 1 fe:01:1 0 EOF\n");
	p.vfs.ctx = &p;
	p.repeat = 40000;
	assert_int_equal(datadir_lock_holder(&p.vfs, 0), 0);
}

static void a_boot_id_is_32_digits_or_none(void **state)
{
	(void)state;
	static const uint8_t none[HEARTH_ID_SIZE];
	uint8_t id[HEARTH_ID_SIZE];
	struct proc p = proc_make("0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0\n");
	p.vfs.ctx = &p;
	assert_int_equal(datadir_boot_id(&p.vfs, id, NULL), HEARTH_OK);
	assert_int_equal(id[0], 0x0f);
	assert_int_equal(id[15], 0xf0);
	p.text = "0f1e2d3c-4b5a\n";
	assert_int_equal(datadir_boot_id(&p.vfs, id, NULL), HEARTH_OK);
	assert_memory_equal(id, none, sizeof(id));
	p.text = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0 and more of it {}~";
	assert_int_equal(datadir_boot_id(&p.vfs, id, NULL), HEARTH_OK);
	assert_int_equal(id[0], 0x0f);
	p.no_file = ENOENT;
	assert_int_equal(datadir_boot_id(&p.vfs, id, NULL), HEARTH_OK);
	assert_memory_equal(id, none, sizeof(id));
	p.no_file = EMFILE;
	struct hearth_error err;
	assert_int_equal(datadir_boot_id(&p.vfs, id, &err), HEARTH_IO);
	assert_non_null(err.file);
	assert_int_equal(datadir_boot_id(NULL, id, NULL), HEARTH_OK);
	assert_memory_not_equal(id, none, sizeof(id));
}

/* ---- directories ---- */

static void names_that_are_no_files_of_ours(void **state)
{
	(void)state;
	struct written w = written_begin();
	struct datadir *dir;
	struct manifest m;
	struct hearth_error err;
	written_segment(&w);
	written_set(&w, 1, "x", 0);
	written_segment(&w);
	struct record r = set_record(1, "x", 0);
	r.seq = 1;
	written_snapshot(&w, &r, 1, 1, 1);
	/* A snapshot under another's number, a footer that is cut off, a segment that is a directory or a link. */
	assert_int_equal(linkat(w.s.fd, "snapshot-0000000001", w.s.fd, "snapshot-0000000007", 0), 0);
	written_snapshot(&w, &r, 1, 1, 1);
	size_t len;
	uint8_t *data = unit_read_file(w.s.fd, "snapshot-0000000002", &len);
	unit_write_file(w.s.fd, "snapshot-0000000002", data, len - 9);
	free(data);
	assert_int_equal(mkdirat(w.s.fd, "log-0000000005", 0700), 0);
	assert_int_equal(symlinkat("log-0000000001", w.s.fd, "log-0000000006"), 0);
	assert_int_equal(symlinkat("nowhere", w.s.fd, "log-99999999999999999"), 0);
	assert_int_equal(datadir_open(&dir, NULL, w.s.path, false, false, NULL, &err), HEARTH_OK);
	assert_int_equal(datadir_rebuild_manifest(dir, &m, &err), HEARTH_OK);
	assert_int_equal(m.n_segments, 2);
	assert_int_equal(m.n_snapshots, 2);
	assert_int_equal(m.next_snapshot, 8);
	assert_int_equal(datadir_adopt_segments(dir, &m, &err), HEARTH_OK);
	assert_int_equal(m.n_segments, 2);
	manifest_free(&m);
	datadir_close(&dir);
	written_end(&w);
}

static void set_aside_finds_room_or_says_so(void **state)
{
	(void)state;
	struct unit_scratch s = unit_scratch_begin();
	struct datadir *dir;
	struct hearth_error err;
	char name[96], tiny[8];
	unit_write_file(s.fd, "log-0000000001", "x", 1);
	assert_int_equal(datadir_open(&dir, NULL, s.path, false, false, NULL, &err), HEARTH_OK);
	assert_int_equal(datadir_set_aside(dir, "log-0000000001", name, sizeof(name), &err), HEARTH_OK);
	assert_string_equal(name, "set-aside/log-0000000001.1");
	assert_int_equal(
	    datadir_set_aside(dir, "log-0000000001", tiny, sizeof(tiny), &err), HEARTH_TOO_LARGE);
	assert_int_equal(datadir_set_aside(dir, "log-0000000001", tiny, 0, &err), HEARTH_TOO_LARGE);
	char path[300];
	snprintf(path, sizeof(path), "%s/set-aside", s.path);
	assert_int_equal(access(path, F_OK), 0);
	datadir_close(&dir);
	unit_scratch_end(&s);
}

/* Linking fails in each way that means "not here": the file is copied. */
static int link_errno;

static int no_linkat(void *ctx, int olddir, const char *from, int newdir, const char *to)
{
	(void)ctx;
	(void)olddir;
	(void)from;
	(void)newdir;
	(void)to;
	errno = link_errno;
	return -1;
}

static void what_cannot_be_linked_is_copied(void **state)
{
	(void)state;
	static const int errors[] = {EPERM, EOPNOTSUPP, ENOSYS, EMLINK, EXDEV, EIO};
	for (unsigned i = 0; i < 6; i++) {
		struct unit_scratch s = unit_scratch_begin();
		struct vfs vfs = *vfs_posix();
		struct datadir *dir;
		struct hearth_error err;
		char name[96];
		link_errno = errors[i];
		vfs.linkat = no_linkat;
		unit_write_file(s.fd, "log-0000000001", giant, 200000);
		assert_int_equal(datadir_open(&dir, &vfs, s.path, false, false, NULL, &err), HEARTH_OK);
		assert_int_equal(datadir_set_aside(dir, "log-0000000001", name, sizeof(name), &err),
		    errors[i] == EIO ? HEARTH_IO : HEARTH_OK);
		assert_int_equal(unit_exists(s.fd, "set-aside/log-0000000001.1"), errors[i] != EIO);
		datadir_close(&dir);
		unit_scratch_end(&s);
	}
}

static void what_a_new_directory_may_hold(void **state)
{
	(void)state;
	struct unit_scratch s = unit_scratch_begin();
	struct datadir *dir, *other;
	struct manifest m;
	struct hearth_error err;
	bool repaired;
	assert_int_equal(datadir_open(&dir, NULL, s.path, true, true, NULL, &err), HEARTH_OK);
	assert_int_equal(datadir_open(&other, NULL, s.path, true, true, NULL, &err), HEARTH_BUSY);
	/* What a first start that was cut short leaves, and a socket's name. */
	unit_write_file(s.fd, "log-0000000001", "", 0);
	unit_write_file(s.fd, DATADIR_ADMIN, "", 0);
	unit_write_file(s.fd, DATADIR_RESERVE, "", 0);
	assert_int_equal(datadir_read_manifest(dir, &m, &repaired, &err), HEARTH_END);
	/* A segment that cannot be opened is no empty one, and a snapshot never is. */
	assert_int_equal(symlinkat("nowhere", s.fd, "log-0000000002"), 0);
	assert_int_equal(datadir_read_manifest(dir, &m, &repaired, &err), HEARTH_DAMAGED);
	assert_int_equal(unlinkat(s.fd, "log-0000000002", 0), 0);
	unit_write_file(s.fd, "snapshot-0000000001", "", 0);
	assert_int_equal(datadir_read_manifest(dir, &m, &repaired, &err), HEARTH_DAMAGED);
	datadir_close(&dir);
	unit_scratch_end(&s);
}

/* More files than a list's first room, more blocks than an index's, more heads than a walk's. */
static void lists_grow(void **state)
{
	(void)state;
	struct written w = written_begin();
	struct snapshot_header h = {.number = 1};
	struct snapshot_footer f = {.end = 1};
	struct snapshot_writer *writer;
	struct snapshot_reader *reader;
	struct datadir *dir;
	struct manifest m;
	struct hearth_error err;
	uint8_t out[64];
	for (unsigned i = 0; i < 70; i++)
		written_segment(&w);
	assert_int_equal(datadir_open(&dir, NULL, w.s.path, false, false, NULL, &err), HEARTH_OK);
	assert_int_equal(datadir_rebuild_manifest(dir, &m, &err), HEARTH_OK);
	assert_int_equal(m.n_segments, 70);
	manifest_free(&m);
	datadir_close(&dir);
	struct record r = set_record(1, "v", 0);
	r.seq = 1;
	size_t len = record_encode(&r, out), whole;
	int fd = openat(w.s.fd, "many", O_WRONLY | O_CREAT, 0600);
	assert_int_equal(snapshot_writer_open(&writer, vfs_posix(), fd, &h, 1, NULL), HEARTH_OK);
	for (unsigned i = 0; i < 600; i++)
		assert_int_equal(snapshot_writer_block(writer, out, len, 1, 1, NULL), HEARTH_OK);
	assert_int_equal(snapshot_writer_finish(writer, &f, NULL), HEARTH_OK);
	snapshot_writer_close(&writer);
	snapshot_writer_close(&writer);
	close(fd);
	assert_int_equal(snapshot_open(&reader, NULL, w.s.fd, "many", NULL, &err), HEARTH_OK);
	assert_int_equal(snapshot_verify(reader, &err), HEARTH_OK);
	snapshot_close(&reader);
	/* No block is larger than what a reader takes. */
	fd = openat(w.s.fd, "none", O_WRONLY | O_CREAT, 0600);
	assert_int_equal(snapshot_writer_open(&writer, vfs_posix(), fd, &h, 1, NULL), HEARTH_OK);
	assert_int_equal(
	    snapshot_writer_block(writer, out, (size_t)BLOCK_RAW_MAX + 1, 1, 1, NULL), HEARTH_TOO_LARGE);
	snapshot_writer_close(&writer);
	close(fd);
	uint8_t *data = unit_read_file(w.s.fd, "many", &whole);
	unit_write_file(w.s.fd, "many", data, whole - 5);
	free(data);
	assert_true(snapshot_open(&reader, NULL, w.s.fd, "many", NULL, &err) != HEARTH_OK);
	assert_int_equal(snapshot_blocks(reader), 600);
	snapshot_close(&reader);
	written_end(&w);
}

static void a_segment_is_packed_once(void **state)
{
	(void)state;
	struct written w = written_begin();
	written_segment(&w);
	for (unsigned i = 0; i < 20; i++)
		written_set(&w, i, "a value that packs", 0);
	assert_int_equal(segment_pack(NULL, w.s.fd, "log-0000000001", "once", UINT64_MAX, NULL), HEARTH_OK);
	assert_int_equal(segment_pack(NULL, w.s.fd, "once", "twice", UINT64_MAX, NULL), HEARTH_END);
	assert_false(unit_exists(w.s.fd, "twice"));
	/* Nothing in it, nothing of it wanted. */
	written_segment(&w);
	assert_int_equal(segment_pack(NULL, w.s.fd, "log-0000000002", "empty", UINT64_MAX, NULL), HEARTH_OK);
	struct segment_reader *reader;
	unit_write_file(w.s.fd, "foreign", giant, 4096);
	assert_int_equal(segment_open(&reader, NULL, w.s.fd, "foreign", NULL, NULL), HEARTH_FOREIGN);
	assert_null(reader);
	written_end(&w);
}

/* What the set of keys passes over: blocks too large to hold key blocks, holes, and what lies far behind. */
static void a_search_for_keys_reads_no_more_than_it_must(void **state)
{
	(void)state;
	static char large[300001];
	struct written w = written_begin();
	struct segment_reader *reader;
	struct hearth_error err;
	struct keyset *set = keyset_new(), *none = NULL;
	keyset_free(&none);
	memset(large, 'l', sizeof(large) - 1);
	written_segment(&w);
	written_set(&w, 1, "lost", 0);
	written_damage(&w);
	written_set(&w, 2, large, 0);
	written_set(&w, 3, "x", 0);
	assert_int_equal(segment_open(&reader, NULL, w.s.fd, "log-0000000001", NULL, &err), HEARTH_OK);
	keyset_begin(set, 1, 2);
	assert_false(keyset_search(set, reader, UINT64_MAX));
	assert_int_equal(keyset_end(set), KEYSET_UNKNOWN);
	segment_seek(reader, SEGMENT_HEADER_SIZE);
	keyset_begin(set, 1, 2);
	assert_false(keyset_search(set, reader, 1000)); /* the next block ends beyond that */
	assert_int_equal(keyset_end(set), KEYSET_UNKNOWN);
	segment_seek(reader, SEGMENT_HEADER_SIZE);
	assert_true(keyset_search(set, reader, UINT64_MAX)); /* nothing is searched for */
	/* Numbers jump so far that no key block can speak of it. */
	w.next += UINT64_C(3) * KEYBLOCK_COUNT_MAX;
	written_set(&w, 4, "far", 0);
	segment_seek(reader, SEGMENT_HEADER_SIZE);
	keyset_begin(set, 1, 2);
	assert_true(keyset_search(set, reader, UINT64_MAX));
	assert_int_equal(segment_offset(reader), w.offset);
	assert_int_equal(keyset_end(set), KEYSET_UNKNOWN);
	/* The same key twice: the later hole counts. */
	for (uint64_t first = 1; first <= 10; first += 9) {
		uint8_t fp[4], body[16] = {0};
		struct keyblock b;
		bytes_store32(fp, keyblock_fingerprint("key", 3));
		bytes_store64(body, first);
		memcpy(body + 8, fp, 4);
		assert_true(keyblock_decode(body, 12, &b));
		keyset_begin(set, first, first + 1);
		keyset_add(set, &b);
		assert_int_equal(keyset_end(set), KEYSET_FOUND);
	}
	keyset_seal(set);
	assert_int_equal(keyset_size(set), 1);
	assert_int_equal(keyset_below(set, "key", 3), 11);
	assert_int_equal(keyset_below(set, "other", 5), 0);
	keyset_free(&set);
	segment_close(&reader);
	written_end(&w);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(headers_hold_no_number_beyond_52_bits),
    cmocka_unit_test(blocks_whose_parts_contradict_each_other),
    cmocka_unit_test(manifests_hold_no_number_beyond_52_bits_and_none_twice),
    cmocka_unit_test(manifests_have_limits),
    cmocka_unit_test(everything_has_a_name),
    cmocka_unit_test(the_head_of_a_record_says_what_it_is),
    cmocka_unit_test(numbers_in_records_agree_with_their_block),
    cmocka_unit_test(a_giant_record_is_known_by_its_head),
    cmocka_unit_test(the_head_of_a_frame_is_unpacked_alone),
    cmocka_unit_test(a_file_that_shrinks_is_torn_not_trusted),
    cmocka_unit_test(a_snapshot_that_changes_is_found_out),
    cmocka_unit_test(the_holder_of_a_lock_is_told_where_known),
    cmocka_unit_test(a_boot_id_is_32_digits_or_none),
    cmocka_unit_test(names_that_are_no_files_of_ours),
    cmocka_unit_test(set_aside_finds_room_or_says_so),
    cmocka_unit_test(what_cannot_be_linked_is_copied),
    cmocka_unit_test(what_a_new_directory_may_hold),
    cmocka_unit_test(lists_grow),
    cmocka_unit_test(a_segment_is_packed_once),
    cmocka_unit_test(a_search_for_keys_reads_no_more_than_it_must),
};
UNIT_MAIN(tests)
