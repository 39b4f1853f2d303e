/* SPDX-License-Identifier: BSD-3-Clause */
/* segment: header and blocks of a log file, whole, torn, flipped, zeroed, spliced, growing, and larger than 4
 * GiB. The rule held throughout: what a reader returns is an error or exactly what was written there. */
#include <pthread.h>
#include <zstd.h>
#include "unit.h"
#include "base/bytes.h"
#include "base/crc32c.h"
#include <hearth/keyset.h>
#include <hearth/segment.h>

#define NAME "log-0000000007"

static struct segment_header sample_header(uint8_t seed)
{
	struct segment_header h = {.generation = 3,
	    .term = 0,
	    .number = 7,
	    .first = 1000,
	    .prev_number = 6,
	    .prev_end = 0x112233445566,
	    .prev_last = 999,
	    .prev_crc = 0xcafebabe,
	    .wall_ms = 1700000000123,
	    .hearth_ms = 1700000000456,
	    .flush_due = 1700009999,
	    .high_water = 5000};
	for (unsigned i = 0; i < 16; i++) {
		h.lineage[i] = (uint8_t)(0x10 + i);
		h.boot_id[i] = (uint8_t)(0x20 + i);
		h.salt[i] = (uint8_t)(seed + i);
	}
	return h;
}

/* ---- a log being written into memory ---- */

struct log {
	uint8_t *data;
	size_t len, room;
	uint8_t salt[BLOCK_SALT_SIZE];
	uint64_t next;
	uint32_t prev_crc;
	uint64_t offsets[64]; /* of blocks; offsets[n] is the end */
	unsigned n;
};

static void log_add(struct log *log, const void *data, size_t len)
{
	if (log->len + len > log->room) {
		log->room = 2 * (log->len + len);
		log->data = realloc(log->data, log->room);
		assert_non_null(log->data);
	}
	memcpy(log->data + log->len, data, len);
	log->len += len;
	log->offsets[log->n] = log->len;
}

static struct log log_begin(const struct segment_header *header)
{
	struct log log = {.next = header->first};
	struct segment_header h = *header;
	uint8_t bytes[SEGMENT_HEADER_SIZE];
	segment_encode_header(&h, bytes);
	memcpy(log.salt, h.salt, sizeof(log.salt));
	log.prev_crc = h.crc;
	log_add(&log, bytes, sizeof(bytes));
	return log;
}

static void log_block(struct log *log, const void *payload, size_t len, uint32_t count, bool pack)
{
	uint8_t *stored = malloc(ZSTD_compressBound(len) + 1), head[BLOCK_HEADER_SIZE];
	size_t stored_len = len;
	memcpy(stored, payload, len);
	if (pack)
		stored_len = ZSTD_compress(stored, ZSTD_compressBound(len), payload, len, 1);
	struct block_header h = {.stored_len = (uint32_t)stored_len,
	    .raw_len = (uint32_t)len,
	    .count = count,
	    .first = log->next,
	    .flags = pack ? BLOCK_ZSTD : 0,
	    .time_ms = 1700000001000 + log->n,
	    .durable = log->next - 1,
	    .prev_crc = log->prev_crc};
	block_encode_header(&h, log->salt, crc32c(0, stored, stored_len), head);
	log->n++;
	log_add(log, head, sizeof(head));
	log_add(log, stored, stored_len);
	log->next += count;
	log->prev_crc = h.crc;
	free(stored);
}

/* A block of `count` sets whose values have value_len bytes that depend on the number. */
static void log_sets(struct log *log, uint32_t count, size_t value_len, bool pack)
{
	uint8_t *value = malloc(value_len + 1), *payload = malloc(count * (value_len + 100)), key[16];
	size_t len = 0;
	for (uint32_t i = 0; i < count; i++) {
		unit_fill(value, value_len, (uint32_t)log->next + i);
		snprintf((char *)key, sizeof(key), "key-%u", (unsigned)(log->next + i));
		struct record r = {.type = RECORD_SET,
		    .key = key,
		    .key_len = (uint8_t)strlen((char *)key),
		    .value = value,
		    .value_len = value_len};
		len += record_encode(&r, payload + len);
	}
	log_block(log, payload, len, count, pack);
	free(payload);
	free(value);
}

static struct log sample_log(uint8_t seed)
{
	struct segment_header h = sample_header(seed);
	struct log log = log_begin(&h);
	log_sets(&log, 2, 20, false);
	log_sets(&log, 1, 0, false);
	log_block(&log, "", 0, 0, false);
	log_sets(&log, 3, 40, true);
	log_sets(&log, 1, 33, false);
	return log;
}

/* ---- checking what is read ---- */

static struct segment_reader *open_log(const struct unit_scratch *s, const struct vfs *vfs)
{
	struct segment_reader *r;
	struct hearth_error err;
	assert_int_equal(segment_open(&r, vfs, s->fd, NAME, NULL, &err), HEARTH_OK);
	return r;
}

static int block_at(const struct log *log, uint64_t offset)
{
	for (unsigned i = 0; i < log->n; i++) {
		if (log->offsets[i] == offset)
			return (int)i;
	}
	return -1;
}

/* A block that a reader returned is one that was written, at its place, with its bytes. */
static void assert_genuine(const struct log *log, const struct segment_block *b)
{
	int i = block_at(log, b->offset);
	assert_true(i >= 0);
	assert_int_equal(b->end, log->offsets[i + 1]);
	const uint8_t *stored = log->data + b->offset + BLOCK_HEADER_SIZE;
	assert_int_equal(b->head.crc, bytes_load32(log->data + b->offset + 4));
	if (b->head.flags == 0) {
		assert_int_equal(b->payload_len, b->head.stored_len);
		assert_memory_equal(b->payload, stored, b->payload_len);
	} else {
		uint8_t *raw = malloc(b->head.raw_len);
		assert_int_equal(
		    ZSTD_decompress(raw, b->head.raw_len, stored, b->head.stored_len), b->payload_len);
		assert_memory_equal(b->payload, raw, b->payload_len);
		free(raw);
	}
}

/* Reads on until something other than OK; returns that, and how many blocks came. */
static enum hearth_status read_on(struct segment_reader *r, const struct log *log, unsigned *ret_n)
{
	struct segment_block b;
	struct hearth_error err = {0};
	enum hearth_status status;
	*ret_n = 0;
	while ((status = segment_next(r, &b, &err)) == HEARTH_OK) {
		assert_genuine(log, &b);
		(*ret_n)++;
	}
	if (status != HEARTH_END) {
		assert_int_equal(err.status, status);
		assert_int_equal(err.offset, segment_offset(r));
		assert_string_equal(err.file, NAME);
		assert_non_null(err.what);
	}
	return status;
}

/* All blocks that can be had, going on behind damage. */
static unsigned read_all_there_is(struct segment_reader *r, const struct log *log)
{
	unsigned total = 0, n;
	for (;;) {
		enum hearth_status status = read_on(r, log, &n);
		total += n;
		if (status == HEARTH_END)
			return total;
		uint64_t before = segment_offset(r);
		status = segment_resync(r, NULL);
		if (status == HEARTH_END)
			return total;
		assert_int_equal(status, HEARTH_OK);
		assert_true(segment_offset(r) > before);
	}
}

/* ---- the tests ---- */

static void golden_header(void **state)
{
	(void)state;
	struct segment_header h = sample_header(0x30), back;
	uint8_t out[SEGMENT_HEADER_SIZE];
	h.features.compatible = 1;
	h.features.read_only = 2;
	segment_encode_header(&h, out);
	unit_assert_hex(out, 168,
	    "4845415254484c47"
	    "01000000"
	    "01000000"
	    "02000000"
	    "00000000"
	    "101112131415161718191a1b1c1d1e1f"
	    "0300000000000000"
	    "0000000000000000"
	    "0700000000000000"
	    "e803000000000000"
	    "0600000000000000"
	    "6655443322110000"
	    "e703000000000000"
	    "bebafeca"
	    "00000000"
	    "202122232425262728292a2b2c2d2e2f"
	    "7b68e5cf8b010000"
	    "c869e5cf8b010000"
	    "303132333435363738393a3b3c3d3e3f"
	    "0f18546500000000"
	    "8813000000000000");
	for (size_t i = 168; i < 252; i++)
		assert_int_equal(out[i], 0);
	assert_int_equal(bytes_load32(out + 252), crc32c_portable(0, out, 252));
	assert_int_equal(segment_decode_header(out, sizeof(out), &back), HEARTH_OK);
	assert_int_equal(back.crc, h.crc);
	assert_memory_equal(&back, &h, offsetof(struct segment_header, features) + sizeof(h.features));
	assert_memory_equal(back.lineage, h.lineage, 16);
	assert_memory_equal(back.boot_id, h.boot_id, 16);
	assert_memory_equal(back.salt, h.salt, 16);
	assert_true(back.generation == 3 && back.number == 7 && back.first == 1000 && back.prev_number == 6);
	assert_true(back.prev_end == h.prev_end && back.prev_last == 999 && back.prev_crc == h.prev_crc);
	assert_true(
	    back.wall_ms == h.wall_ms && back.hearth_ms == h.hearth_ms && back.flush_due == h.flush_due);
	assert_true(back.high_water == 5000 && back.boot_ms == 0);
	/* A field that came later: older headers have zero there. */
	h.boot_ms = 777000;
	segment_encode_header(&h, out);
	assert_int_equal(segment_decode_header(out, sizeof(out), &back), HEARTH_OK);
	assert_int_equal(back.boot_ms, 777000);
}

static void damaged_headers(void **state)
{
	(void)state;
	struct segment_header h = sample_header(0x30), back;
	uint8_t out[SEGMENT_HEADER_SIZE];
	segment_encode_header(&h, out);
	for (size_t bit = 0; bit < sizeof(out) * 8; bit++) {
		out[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(segment_decode_header(out, sizeof(out), &back), HEARTH_DAMAGED);
		out[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	for (size_t len = 0; len < sizeof(out); len++)
		assert_int_equal(segment_decode_header(out, len, &back), HEARTH_TORN);
	uint8_t zeros[SEGMENT_HEADER_SIZE] = {0};
	assert_int_equal(segment_decode_header(zeros, sizeof(zeros), &back), HEARTH_END);
	assert_int_equal(segment_decode_header(zeros, 100, &back), HEARTH_TORN);
	memcpy(zeros, "#!/bin/sh\n", 10);
	assert_int_equal(segment_decode_header(zeros, sizeof(zeros), &back), HEARTH_FOREIGN);
	assert_int_equal(segment_decode_header(zeros, 10, &back), HEARTH_FOREIGN);
}

static void recrc(uint8_t header[SEGMENT_HEADER_SIZE])
{
	bytes_store32(header + 252, crc32c(0, header, 252));
}

static void newer_headers(void **state)
{
	(void)state;
	struct segment_header h = sample_header(0x30), back;
	uint8_t out[SEGMENT_HEADER_SIZE];
	segment_encode_header(&h, out);
	bytes_store32(out + 8, SEGMENT_VERSION + 1);
	recrc(out);
	assert_int_equal(segment_decode_header(out, sizeof(out), &back), HEARTH_NEWER);
	bytes_store32(out + 8, 0);
	recrc(out);
	assert_int_equal(segment_decode_header(out, sizeof(out), &back), HEARTH_DAMAGED);
	h.features.incompatible = 0x80000000;
	segment_encode_header(&h, out);
	assert_int_equal(segment_decode_header(out, sizeof(out), &back), HEARTH_NEWER);
	/* Reserved bytes may be a compatible feature's. */
	h = sample_header(0x30);
	segment_encode_header(&h, out);
	out[200] = 0xff;
	recrc(out);
	assert_int_equal(segment_decode_header(out, sizeof(out), &back), HEARTH_OK);
}

static void opens_what_it_should(void **state)
{
	(void)state;
	struct unit_scratch s = unit_scratch_begin();
	struct segment_header h = sample_header(0x30);
	struct log log = sample_log(0x30);
	struct segment_reader *r;
	struct hearth_error err;
	unit_write_file(s.fd, NAME, log.data, log.len);
	assert_int_equal(segment_open(&r, NULL, s.fd, NAME, h.lineage, &err), HEARTH_OK);
	assert_int_equal(segment_size(r), log.len);
	assert_int_equal(segment_offset(r), SEGMENT_HEADER_SIZE);
	assert_memory_equal(segment_get_header(r)->salt, h.salt, 16);
	segment_close(&r);
	assert_null(r);
	h.lineage[3] ^= 1;
	assert_int_equal(segment_open(&r, NULL, s.fd, NAME, h.lineage, &err), HEARTH_FOREIGN);
	assert_null(r);
	assert_int_equal(err.status, HEARTH_FOREIGN);
	assert_int_equal(segment_open(&r, NULL, s.fd, "missing", NULL, &err), HEARTH_IO);
	assert_int_equal(err.sys_errno, ENOENT);
	assert_string_equal(err.file, "missing");
	assert_int_equal(symlinkat(NAME, s.fd, "link"), 0);
	assert_int_equal(segment_open(&r, NULL, s.fd, "link", NULL, &err), HEARTH_IO);
	/* Made ahead and never begun; and one whose header was lost. */
	static uint8_t zeros[9000];
	unit_write_file(s.fd, NAME, zeros, 256);
	assert_int_equal(segment_open(&r, NULL, s.fd, NAME, NULL, &err), HEARTH_END);
	unit_write_file(s.fd, NAME, zeros, sizeof(zeros));
	assert_int_equal(segment_open(&r, NULL, s.fd, NAME, NULL, &err), HEARTH_END);
	memset(log.data, 0, 256);
	unit_write_file(s.fd, NAME, log.data, log.len);
	assert_int_equal(segment_open(&r, NULL, s.fd, NAME, NULL, NULL), HEARTH_DAMAGED);
	unit_write_file(s.fd, NAME, "", 0);
	assert_int_equal(segment_open(&r, NULL, s.fd, NAME, NULL, &err), HEARTH_TORN);
	free(log.data);
	unit_scratch_end(&s);
}

static void reads_blocks_and_records(void **state)
{
	(void)state;
	struct unit_scratch s = unit_scratch_begin();
	struct log log = sample_log(0x30);
	unit_write_file(s.fd, NAME, log.data, log.len);
	struct segment_reader *r = open_log(&s, NULL);
	struct segment_block b;
	uint32_t prev_crc = segment_get_header(r)->crc;
	uint64_t seq = 1000;
	for (unsigned i = 0; i < log.n; i++) {
		assert_int_equal(segment_next(r, &b, NULL), HEARTH_OK);
		assert_genuine(&log, &b);
		assert_int_equal(b.head.prev_crc, prev_crc);
		assert_int_equal(b.head.first, seq);
		prev_crc = b.head.crc;
		struct segment_records records = segment_records(&b);
		struct record record;
		enum hearth_status status;
		while ((status = segment_next_record(&records, &record)) == HEARTH_OK) {
			char key[16];
			uint8_t value[64];
			snprintf(key, sizeof(key), "key-%u", (unsigned)seq);
			unit_fill(value, record.value_len, (uint32_t)seq);
			assert_int_equal(record.seq, seq);
			assert_memory_equal(record.key, key, record.key_len);
			assert_memory_equal(record.value, value, record.value_len);
			seq++;
		}
		assert_int_equal(status, HEARTH_END);
	}
	assert_int_equal(seq, 1007);
	assert_int_equal(segment_next(r, &b, NULL), HEARTH_END);
	assert_int_equal(segment_offset(r), log.len);
	segment_seek(r, log.offsets[3]);
	assert_int_equal(segment_next(r, &b, NULL), HEARTH_OK);
	assert_int_equal(b.offset, log.offsets[3]);
	/* Positions that come from a damaged file are no reason to die. */
	static const uint64_t odd[] = {0, 1, 257, INT64_MAX, UINT64_MAX};
	for (unsigned i = 0; i < 5; i++) {
		segment_seek(r, odd[i]);
		assert_int_not_equal(segment_next(r, &b, NULL), HEARTH_OK);
	}
	segment_close(&r);
	free(log.data);
	unit_scratch_end(&s);
}

static void counts_records(void **state)
{
	(void)state;
	/* two numbered ones and one that takes none between them */
	static const uint8_t payload[] = {RECORD_FLUSH, 0, 0xC3, 1, 9, RECORD_DELETE, 1, 'k'};
	struct segment_block b = {
	    .payload = payload, .payload_len = sizeof(payload), .head = {.first = 50, .count = 2}};
	struct record r;
	struct segment_records w = segment_records(&b);
	assert_int_equal(segment_next_record(&w, &r), HEARTH_OK);
	assert_int_equal(r.seq, 50);
	assert_int_equal(segment_next_record(&w, &r), HEARTH_OK);
	assert_int_equal(r.type, 0xC3);
	assert_int_equal(r.seq, 51);
	assert_int_equal(segment_next_record(&w, &r), HEARTH_OK);
	assert_int_equal(r.seq, 51);
	assert_int_equal(segment_next_record(&w, &r), HEARTH_END);
	b.head.count = 3;
	w = segment_records(&b);
	for (int i = 0; i < 3; i++)
		assert_int_equal(segment_next_record(&w, &r), HEARTH_OK);
	assert_int_equal(segment_next_record(&w, &r), HEARTH_DAMAGED);
	b.head.count = 1;
	w = segment_records(&b);
	for (int i = 0; i < 2; i++)
		assert_int_equal(segment_next_record(&w, &r), HEARTH_OK);
	assert_int_equal(segment_next_record(&w, &r), HEARTH_DAMAGED);
}

static void any_flipped_bit_is_found(void **state)
{
	(void)state;
	struct unit_scratch s = unit_scratch_begin();
	struct log log = sample_log(0x30);
	unit_write_file(s.fd, NAME, log.data, log.len);
	int fd = openat(s.fd, NAME, O_RDWR);
	for (size_t bit = SEGMENT_HEADER_SIZE * 8; bit < log.len * 8; bit++) {
		uint8_t flipped = (uint8_t)(log.data[bit / 8] ^ 1 << bit % 8);
		unsigned n, hit = 0;
		assert_int_equal(pwrite(fd, &flipped, 1, (off_t)(bit / 8)), 1);
		while (log.offsets[hit + 1] <= bit / 8)
			hit++;
		struct segment_reader *r = open_log(&s, NULL);
		enum hearth_status status = read_on(r, &log, &n);
		assert_true(status == HEARTH_DAMAGED || status == HEARTH_TORN);
		assert_int_equal(n, hit);
		/* Only the block that was hit is lost. */
		segment_seek(r, SEGMENT_HEADER_SIZE);
		assert_int_equal(read_all_there_is(r, &log), log.n - 1);
		segment_close(&r);
		assert_int_equal(pwrite(fd, log.data + bit / 8, 1, (off_t)(bit / 8)), 1);
	}
	close(fd);
	free(log.data);
	unit_scratch_end(&s);
}

static void cut_off_anywhere(void **state)
{
	(void)state;
	struct unit_scratch s = unit_scratch_begin();
	struct log log = sample_log(0x30);
	unit_write_file(s.fd, NAME, log.data, log.len);
	for (size_t len = log.len; len >= SEGMENT_HEADER_SIZE; len--) {
		unsigned n, whole = 0;
		int fd = openat(s.fd, NAME, O_RDWR);
		assert_int_equal(ftruncate(fd, (off_t)len), 0);
		close(fd);
		while (whole < log.n && log.offsets[whole + 1] <= len)
			whole++;
		struct segment_reader *r = open_log(&s, NULL);
		enum hearth_status status = read_on(r, &log, &n);
		assert_int_equal(n, whole);
		assert_int_equal(status, len == log.offsets[whole] ? HEARTH_END : HEARTH_TORN);
		assert_int_equal(segment_offset(r), log.offsets[whole]);
		segment_close(&r);
	}
	free(log.data);
	unit_scratch_end(&s);
}

static void zeroed_stretches(void **state)
{
	(void)state;
	struct unit_scratch s = unit_scratch_begin();
	struct log log = sample_log(0x30);
	static const size_t lengths[] = {1, 4, 8, 64, 100, 512};
	uint8_t *data = malloc(log.len);
	for (unsigned l = 0; l < 6; l++) {
		for (size_t at = SEGMENT_HEADER_SIZE; at < log.len; at += 7) {
			size_t len = at + lengths[l] <= log.len ? lengths[l] : log.len - at;
			unsigned intact = 0;
			memcpy(data, log.data, log.len);
			memset(data + at, 0, len);
			for (unsigned i = 0; i < log.n; i++)
				intact += memcmp(data + log.offsets[i], log.data + log.offsets[i],
				              log.offsets[i + 1] - log.offsets[i]) == 0;
			unit_write_file(s.fd, NAME, data, log.len);
			struct segment_reader *r = open_log(&s, NULL);
			assert_int_equal(read_all_there_is(r, &log), intact);
			segment_close(&r);
		}
	}
	free(data);
	free(log.data);
	unit_scratch_end(&s);
}

static void blocks_of_another_segment(void **state)
{
	(void)state;
	struct unit_scratch s = unit_scratch_begin();
	struct log log = sample_log(0x30), other = sample_log(0x31);
	unsigned n;
	/* The same lengths and numbers, only the salt differs: block 1 of the other in the place of ours. */
	assert_int_equal(log.len, other.len);
	size_t len = log.offsets[2] - log.offsets[1];
	uint8_t *data = malloc(log.len + len);
	memcpy(data, log.data, log.len);
	memcpy(data + log.offsets[1], other.data + log.offsets[1], len);
	unit_write_file(s.fd, NAME, data, log.len);
	struct segment_reader *r = open_log(&s, NULL);
	assert_int_equal(read_on(r, &log, &n), HEARTH_DAMAGED);
	assert_int_equal(n, 1);
	assert_int_equal(segment_resync(r, NULL), HEARTH_OK);
	assert_int_equal(segment_offset(r), log.offsets[2]);
	segment_close(&r);
	/* And behind the end. */
	memcpy(data, log.data, log.len);
	memcpy(data + log.len, other.data + log.offsets[1], len);
	unit_write_file(s.fd, NAME, data, log.len + len);
	r = open_log(&s, NULL);
	assert_int_equal(read_on(r, &log, &n), HEARTH_DAMAGED);
	assert_int_equal(n, log.n);
	assert_int_equal(segment_resync(r, NULL), HEARTH_END);
	assert_int_equal(segment_offset(r), log.len);
	segment_close(&r);
	free(data);
	free(other.data);
	free(log.data);
	unit_scratch_end(&s);
}

static void records_above_the_window(void **state)
{
	(void)state;
	struct unit_scratch s = unit_scratch_begin();
	struct segment_header h = sample_header(0x30);
	struct log log = log_begin(&h);
	log_sets(&log, 5, 50, false);
	log_sets(&log, 1, 300 * 1024, false);
	log_sets(&log, 1, 5 << 20, false);
	log_sets(&log, 1, 700 * 1024, true);
	log_sets(&log, 2, 100 * 1024, true);
	log_sets(&log, 5, 50, false);
	unit_write_file(s.fd, NAME, log.data, log.len);
	struct segment_reader *r = open_log(&s, NULL);
	unsigned n;
	assert_int_equal(read_on(r, &log, &n), HEARTH_END);
	assert_int_equal(n, log.n);
	/* Damage in a large one does not hide what follows. */
	int fd = openat(s.fd, NAME, O_RDWR);
	assert_int_equal(pwrite(fd, "DAMAGE", 6, (off_t)log.offsets[2] + 3000000), 6);
	segment_seek(r, SEGMENT_HEADER_SIZE);
	assert_int_equal(read_all_there_is(r, &log), log.n - 1);
	assert_int_equal(pwrite(fd, "DAMAGE", 6, (off_t)log.offsets[2] + 8), 6);
	segment_seek(r, SEGMENT_HEADER_SIZE);
	assert_int_equal(read_all_there_is(r, &log), log.n - 1);
	close(fd);
	segment_close(&r);
	free(log.data);
	unit_scratch_end(&s);
}

static void follows_a_growing_file(void **state)
{
	(void)state;
	struct unit_scratch s = unit_scratch_begin();
	struct log log = sample_log(0x30);
	unit_write_file(s.fd, NAME, log.data, SEGMENT_HEADER_SIZE);
	int fd = openat(s.fd, NAME, O_WRONLY | O_APPEND);
	struct segment_reader *r = open_log(&s, NULL), *skim = open_log(&s, NULL);
	struct segment_block b;
	unsigned seen = 0, skimmed = 0;
	/* In bites that never fit the blocks: what is whole comes at once, what is not comes later. */
	for (size_t at = SEGMENT_HEADER_SIZE; at < log.len;) {
		size_t bite = log.len - at < 37 ? log.len - at : 37;
		assert_int_equal(write(fd, log.data + at, bite), bite);
		at += bite;
		enum hearth_status status;
		while ((status = segment_next(r, &b, NULL)) == HEARTH_OK) {
			assert_genuine(&log, &b);
			seen++;
		}
		assert_int_equal(status, at == log.offsets[seen] ? HEARTH_END : HEARTH_TORN);
		assert_true(log.offsets[seen] <= at && (seen == log.n || log.offsets[seen + 1] > at));
		while ((status = segment_skim(skim, &b, NULL)) == HEARTH_OK)
			assert_int_equal(b.offset, log.offsets[skimmed++]);
		assert_int_equal(skimmed, seen);
	}
	assert_int_equal(seen, log.n);
	close(fd);
	segment_close(&r);
	segment_close(&skim);
	free(log.data);
	unit_scratch_end(&s);
}

struct load_job {
	const struct segment_reader *reader;
	const struct log *log;
	unsigned first;
};

static void *load_blocks(void *arg)
{
	struct load_job *job = arg;
	uint8_t *buf = NULL;
	size_t buf_size = 0;
	for (unsigned round = 0; round < 200; round++) {
		unsigned i = (job->first + round) % job->log->n;
		struct segment_block b;
		assert_int_equal(
		    segment_load(job->reader, job->log->offsets[i], &buf, &buf_size, &b, NULL), HEARTH_OK);
		assert_genuine(job->log, &b);
	}
	free(buf);
	return NULL;
}

static void skims_and_loads_by_many(void **state)
{
	(void)state;
	struct unit_scratch s = unit_scratch_begin();
	struct segment_header h = sample_header(0x30);
	struct log log = log_begin(&h);
	for (unsigned i = 0; i < 40; i++)
		log_sets(&log, 1 + i % 3, i * 300, i % 4 == 1);
	unit_write_file(s.fd, NAME, log.data, log.len);
	struct segment_reader *r = open_log(&s, NULL);
	struct segment_block b;
	pthread_t threads[4];
	struct load_job jobs[4];
	for (unsigned i = 0; i < 4; i++) {
		jobs[i] = (struct load_job){r, &log, i * 9};
		assert_int_equal(pthread_create(&threads[i], NULL, load_blocks, &jobs[i]), 0);
	}
	for (unsigned i = 0; i < log.n; i++) {
		assert_int_equal(segment_skim(r, &b, NULL), HEARTH_OK);
		assert_int_equal(b.offset, log.offsets[i]);
		assert_int_equal(b.end, log.offsets[i + 1]);
		assert_null(b.payload);
	}
	assert_int_equal(segment_skim(r, &b, NULL), HEARTH_END);
	for (unsigned i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	uint8_t *buf = NULL;
	size_t buf_size = 0;
	assert_int_equal(segment_load(r, log.len, &buf, &buf_size, &b, NULL), HEARTH_END);
	assert_int_equal(segment_load(r, UINT64_MAX, &buf, &buf_size, &b, NULL), HEARTH_END);
	assert_int_equal(segment_load(r, log.len - 10, &buf, &buf_size, &b, NULL), HEARTH_TORN);
	assert_int_equal(segment_load(r, log.offsets[1] + 1, &buf, &buf_size, &b, NULL), HEARTH_DAMAGED);
	free(buf);
	segment_close(&r);
	free(log.data);
	unit_scratch_end(&s);
}

static void unknown_flag_is_newer(void **state)
{
	(void)state;
	struct unit_scratch s = unit_scratch_begin();
	struct segment_header h = sample_header(0x30);
	struct log log = log_begin(&h);
	uint8_t block[BLOCK_HEADER_SIZE + 10] = {0};
	struct block_header bh = {.stored_len = 10, .raw_len = 500, .first = 1000, .flags = 4};
	block_encode_header(&bh, log.salt, crc32c(0, block + 64, 10), block);
	log_add(&log, block, sizeof(block));
	unit_write_file(s.fd, NAME, log.data, log.len);
	struct segment_reader *r = open_log(&s, NULL);
	struct segment_block b;
	uint8_t *buf = NULL;
	size_t buf_size = 0;
	assert_int_equal(segment_next(r, &b, NULL), HEARTH_NEWER);
	assert_int_equal(segment_load(r, 256, &buf, &buf_size, &b, NULL), HEARTH_NEWER);
	log.data[log.len - 1] ^= 1;
	unit_write_file(s.fd, NAME, log.data, log.len);
	assert_int_equal(segment_next(r, &b, NULL), HEARTH_DAMAGED);
	free(buf);
	segment_close(&r);
	free(log.data);
	unit_scratch_end(&s);
}

/* A client stores values full of headers that claim all that the file can hold. */
static void forged_headers_cost_nothing(void **state)
{
	(void)state;
	struct unit_scratch s = unit_scratch_begin();
	struct segment_header h = sample_header(0x30);
	struct log log = log_begin(&h);
	enum { VALUE = 512 * 1024 };
	uint8_t *value = malloc(VALUE + 300), wrong_salt[16] = {1};
	for (size_t at = 0; at + 64 <= VALUE; at += 64) {
		uint32_t len = at % 128 ? (1u << 20) + (uint32_t)at : (uint32_t)(at % 5000);
		struct block_header f = {.stored_len = len, .raw_len = len, .first = 1};
		block_encode_header(&f, wrong_salt, 0, value + at);
	}
	struct record r = {.type = RECORD_SET,
	    .key = (const uint8_t *)"k",
	    .key_len = 1,
	    .value = value,
	    .value_len = VALUE};
	uint8_t *payload = malloc(VALUE + 300);
	size_t payload_len = record_encode(&r, payload);
	for (unsigned i = 0; i < 6; i++)
		log_block(&log, payload, payload_len, 1, false);
	log_sets(&log, 3, 1000, false);
	memset(log.data + log.offsets[1] + 4, 0xee, 4);
	unit_write_file(s.fd, NAME, log.data, log.len);
	struct unit_vfs u;
	unit_vfs_init(&u);
	struct segment_reader *reader = open_log(&s, &u.vfs);
	struct segment_block b;
	segment_seek(reader, log.offsets[1]);
	assert_int_equal(segment_next(reader, &b, NULL), HEARTH_DAMAGED);
	u.bytes_read = 0;
	assert_int_equal(segment_resync(reader, NULL), HEARTH_OK);
	assert_int_equal(segment_offset(reader), log.offsets[2]);
	assert_true(u.bytes_read <= log.len);
	/* Nothing left to find: still every byte once. */
	memset(log.data + log.offsets[2] + 4, 0xee, 4);
	for (unsigned i = 3; i < log.n; i++)
		log.data[log.offsets[i] + 70] ^= 1;
	unit_write_file(s.fd, NAME, log.data, log.len);
	u.bytes_read = 0;
	assert_int_equal(segment_resync(reader, NULL), HEARTH_END);
	assert_true(u.bytes_read <= log.len);
	assert_int_equal(segment_offset(reader), log.offsets[2]);
	segment_close(&reader);
	free(payload);
	free(value);
	free(log.data);
	unit_scratch_end(&s);
}

/* Blocks at every distance from the edges of the search's window. */
static void resync_at_window_edges(void **state)
{
	(void)state;
	struct unit_scratch s = unit_scratch_begin();
	struct log log = sample_log(0x30);
	size_t first = log.offsets[0], len = log.offsets[1] - first;
	for (size_t pad = 256 * 1024 - 300; pad < 256 * 1024 + 10; pad += 3) {
		uint8_t *data = malloc(first + pad + len);
		memcpy(data, log.data, first);
		unit_fill(data + first, pad, (uint32_t)pad);
		memcpy(data + first + pad, log.data + first, len);
		unit_write_file(s.fd, NAME, data, first + pad + len);
		struct segment_reader *r = open_log(&s, NULL);
		assert_int_equal(segment_resync(r, NULL), HEARTH_OK);
		assert_int_equal(segment_offset(r), first + pad);
		segment_close(&r);
		free(data);
	}
	free(log.data);
	unit_scratch_end(&s);
}

static void beyond_4_gib(void **state)
{
	(void)state;
	struct unit_scratch s = unit_scratch_begin();
	struct log log = sample_log(0x30);
	const uint64_t far = (UINT64_C(1) << 32) + 1000;
	unit_write_file(s.fd, NAME, log.data, SEGMENT_HEADER_SIZE);
	int fd = openat(s.fd, NAME, O_RDWR);
	size_t len = log.len - SEGMENT_HEADER_SIZE;
	/* A hole, so it takes no room. */
	assert_int_equal(pwrite(fd, log.data + SEGMENT_HEADER_SIZE, len, (off_t)far), len);
	close(fd);
	struct segment_reader *r = open_log(&s, NULL);
	struct segment_block b;
	uint8_t *buf = NULL;
	size_t buf_size = 0;
	assert_int_equal(segment_size(r), far + len);
	segment_seek(r, far);
	for (unsigned i = 0; i < log.n; i++) {
		assert_int_equal(segment_next(r, &b, NULL), HEARTH_OK);
		assert_int_equal(b.offset, far + log.offsets[i] - SEGMENT_HEADER_SIZE);
		assert_int_equal(segment_load(r, b.offset, &buf, &buf_size, &b, NULL), HEARTH_OK);
	}
	assert_int_equal(segment_next(r, &b, NULL), HEARTH_END);
	segment_seek(r, (UINT64_C(1) << 32) - 5000);
	assert_int_equal(segment_next(r, &b, NULL), HEARTH_DAMAGED);
	assert_int_equal(segment_resync(r, NULL), HEARTH_OK);
	assert_int_equal(segment_offset(r), far);
	free(buf);
	segment_close(&r);
	free(log.data);
	unit_scratch_end(&s);
}

/* A header that claims a gigabyte in a file that has it: refused after a look, the process lives. */
static void claims_that_the_file_can_hold(void **state)
{
	(void)state;
	struct unit_scratch s = unit_scratch_begin();
	struct log log = sample_log(0x30);
	struct block_header h = {.stored_len = 64u << 20, .raw_len = 64u << 20, .first = 1000};
	uint8_t head[BLOCK_HEADER_SIZE];
	block_encode_header(&h, log.salt, 0, head);
	memcpy(log.data + 256, head, sizeof(head));
	unit_write_file(s.fd, NAME, log.data, log.len);
	struct segment_reader *r = open_log(&s, NULL);
	struct segment_block b;
	assert_int_equal(segment_next(r, &b, NULL), HEARTH_TORN);
	int fd = openat(s.fd, NAME, O_RDWR);
	assert_int_equal(ftruncate(fd, 65 << 20), 0);
	close(fd);
	assert_int_equal(segment_next(r, &b, NULL), HEARTH_DAMAGED);
	segment_close(&r);
	free(log.data);
	unit_scratch_end(&s);
}

/* ---- key blocks ---- */

/* A block that describes the keys of log_sets for these numbers. */
static void log_keys(struct log *log, uint8_t type, uint64_t first, uint32_t count)
{
	uint8_t out[1024];
	size_t len = keyblock_encode_head(type, first, count, out);
	for (uint32_t i = 0; i < count; i++, len += 4) {
		char key[32];
		int n = snprintf(key, sizeof(key), "key-%u", (unsigned)(first + i));
		bytes_store32(out + len, keyblock_fingerprint(key, (size_t)n));
	}
	log_block(log, out, len, 0, false);
}

/* Numbers from `first` on: ten a stretch of two blocks, each described behind the next one, a seal at the end. */
static struct log keyed_log(uint64_t *ret_first)
{
	struct segment_header h = sample_header(0x40);
	struct log log = log_begin(&h);
	*ret_first = log.next;
	for (unsigned i = 0; i < 5; i++) {
		if (i >= 2)
			log_keys(&log, RECORD_KEY_BLOCK, *ret_first + 10 * (i - 2), 10);
		log_sets(&log, 4, 300, false);
		log_sets(&log, 6, 300, false);
	}
	log_keys(&log, RECORD_SEAL, *ret_first + 30, 20);
	return log;
}

/* What is found of the numbers of block `lost`, behind it, when the blocks of `also` are bad, too. */
static enum keyset_verdict look(
    const struct unit_scratch *s, const struct log *log, unsigned lost, uint64_t also, bool expect_all)
{
	uint8_t *data = malloc(log->len);
	memcpy(data, log->data, log->len);
	also |= UINT64_C(1) << lost;
	for (unsigned i = 0; i < log->n; i++)
		if (also >> i & 1)
			data[log->offsets[i] + BLOCK_HEADER_SIZE + 3] ^= 4;
	unit_write_file(s->fd, NAME, data, log->len);
	uint64_t first = bytes_load64(data + log->offsets[lost] + 16);
	uint32_t count = bytes_load32(data + log->offsets[lost] + 24);
	free(data);
	struct segment_reader *r = open_log(s, NULL);
	struct keyset *set = keyset_new();
	keyset_begin(set, first, first + count);
	segment_seek(r, log->offsets[lost + 1]);
	assert_true(keyset_search(set, r, UINT64_MAX) == expect_all);
	enum keyset_verdict verdict = keyset_end(set);
	assert_int_equal(keyset_size(set), verdict == KEYSET_FOUND ? count : 0);
	keyset_seal(set);
	for (uint64_t n = first - 30; verdict == KEYSET_FOUND && n < first + 60; n++) {
		char key[32];
		size_t len = (size_t)snprintf(key, sizeof(key), "key-%u", (unsigned)n);
		assert_int_equal(
		    keyset_below(set, key, len), n >= first && n < first + count ? first + count : 0);
	}
	keyset_free(&set);
	segment_close(&r);
	return verdict;
}

static void keys_are_found_behind_a_hole(void **state)
{
	(void)state;
	struct unit_scratch s = unit_scratch_begin();
	uint64_t first;
	struct log log = keyed_log(&first);
	/* sets sets sets sets KEYS sets sets KEYS sets sets KEYS sets sets SEAL */
	static const unsigned sets[] = {0, 1, 2, 3, 5, 6, 8, 9, 11, 12};
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(look(&s, &log, sets[i], 0, true), KEYSET_FOUND);
	/* Its own key block is gone: the next one tells that none will follow. */
	assert_int_equal(look(&s, &log, 1, 1u << 4, true), KEYSET_UNKNOWN);
	assert_int_equal(look(&s, &log, 5, 1u << 10, false), KEYSET_UNKNOWN);
	/* Any other is of no matter. */
	assert_int_equal(look(&s, &log, 2, 1u << 4 | 1u << 5 | 1u << 10, true), KEYSET_FOUND);
	assert_int_equal(look(&s, &log, 8, 1u << 10, true), KEYSET_FOUND);
	assert_int_equal(look(&s, &log, 8, 1u << 13, false), KEYSET_UNKNOWN);
	/* Not beyond the limit. */
	unit_write_file(s.fd, NAME, log.data, log.len);
	struct segment_reader *r = open_log(&s, NULL);
	struct keyset *set = keyset_new();
	keyset_begin(set, first, first + 4);
	assert_false(keyset_search(set, r, log.offsets[5] - 1));
	assert_int_equal(keyset_end(set), KEYSET_UNKNOWN);
	/* What it claims of numbers to come is not believed. */
	log_keys(&log, RECORD_SEAL, log.next - 3, 10);
	unit_write_file(s.fd, NAME, log.data, log.len);
	segment_close(&r);
	r = open_log(&s, NULL);
	segment_seek(r, log.offsets[13]);
	keyset_begin(set, log.next - 3, log.next + 7);
	assert_false(keyset_search(set, r, UINT64_MAX));
	assert_int_equal(keyset_end(set), KEYSET_UNKNOWN);
	keyset_free(&set);
	segment_close(&r);
	free(log.data);
	unit_scratch_end(&s);
}

/* Packed, a key block has a block of its own, and tells of others than its neighbours. */
static void packed_segments_keep_key_blocks_apart(void **state)
{
	(void)state;
	struct unit_scratch s = unit_scratch_begin();
	uint64_t first;
	struct log log = keyed_log(&first);
	unit_write_file(s.fd, NAME, log.data, log.len);
	struct hearth_error err;
	assert_int_equal(segment_pack(NULL, s.fd, NAME, "packed", log.len, &err), HEARTH_OK);
	struct segment_reader *r;
	assert_int_equal(segment_open(&r, NULL, s.fd, "packed", NULL, &err), HEARTH_OK);
	assert_int_equal(segment_get_header(r)->features.compatible, SEGMENT_PACKED);
	struct segment_block b;
	struct record rec;
	unsigned blocks = 0, key_blocks = 0, seals = 0;
	uint64_t next = first;
	while (segment_next(r, &b, &err) == HEARTH_OK) {
		struct segment_records walk = segment_records(&b);
		unsigned here = 0, others = 0;
		assert_int_equal(b.head.first, next);
		while (segment_next_record(&walk, &rec) == HEARTH_OK) {
			here += rec.type == RECORD_KEY_BLOCK;
			seals += rec.type == RECORD_SEAL;
			others += rec.type != RECORD_KEY_BLOCK;
		}
		assert_true(here == 0 || (here == 1 && others == 0));
		key_blocks += here;
		blocks++;
		next += b.head.count;
	}
	assert_int_equal(next, log.next);
	assert_int_equal(key_blocks, 3);
	assert_int_equal(seals, 1);
	assert_int_equal(blocks, 7); /* sets KEYS sets KEYS sets KEYS sets with seal */
	segment_close(&r);
	free(log.data);
	unit_scratch_end(&s);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(golden_header),
    cmocka_unit_test(damaged_headers),
    cmocka_unit_test(newer_headers),
    cmocka_unit_test(opens_what_it_should),
    cmocka_unit_test(reads_blocks_and_records),
    cmocka_unit_test(counts_records),
    cmocka_unit_test(any_flipped_bit_is_found),
    cmocka_unit_test(cut_off_anywhere),
    cmocka_unit_test(zeroed_stretches),
    cmocka_unit_test(blocks_of_another_segment),
    cmocka_unit_test(records_above_the_window),
    cmocka_unit_test(follows_a_growing_file),
    cmocka_unit_test(skims_and_loads_by_many),
    cmocka_unit_test(unknown_flag_is_newer),
    cmocka_unit_test(forged_headers_cost_nothing),
    cmocka_unit_test(resync_at_window_edges),
    cmocka_unit_test(beyond_4_gib),
    cmocka_unit_test(claims_that_the_file_can_hold),
    cmocka_unit_test(keys_are_found_behind_a_hole),
    cmocka_unit_test(packed_segments_keep_key_blocks_apart),
};
UNIT_MAIN(tests)
