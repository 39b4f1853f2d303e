/* SPDX-License-Identifier: BSD-3-Clause */
/* snapshot: written and read back, as a standard zstd stream, whole, damaged in every bit, cut off
 * everywhere, with the index lost. The rule held throughout: a block that loads is the block that was
 * written. */
#include <pthread.h>
#include <zstd.h>
#include "unit.h"
#include "base/bytes.h"
#include "base/crc32c.h"
#include <hearth/snapshot.h>

#define NAME "snapshot-0000000005"

struct content {
	uint8_t *records[16];
	size_t lens[16];
	uint32_t items[16];
	uint8_t *file;
	size_t file_len;
	unsigned n;
	unsigned pauses; /* while it was written */
	struct snapshot_footer footer;
};

static struct snapshot_header sample_header(uint8_t seed)
{
	struct snapshot_header h = {.generation = 2,
	    .number = 5,
	    .start = 1000,
	    .wall_ms = 1700000000123,
	    .hearth_ms = 1700000000456,
	    .flush_due = 77,
	    .high_water = 9000};
	for (unsigned i = 0; i < 16; i++) {
		h.lineage[i] = (uint8_t)(0x10 + i);
		h.salt[i] = (uint8_t)(seed + i);
	}
	return h;
}

static void add_records(struct content *c, uint32_t items, size_t value_len)
{
	uint8_t *value = malloc(value_len + 1), *out = malloc(items * (value_len + 100)), key[16];
	size_t len = 0;
	for (uint32_t i = 0; i < items; i++) {
		unit_fill(value, value_len / 2, c->n * 1000 + i);
		memset(value + value_len / 2, 'v', value_len - value_len / 2);
		snprintf((char *)key, sizeof(key), "k%u-%u", c->n, (unsigned)i);
		struct record r = {.type = RECORD_SET,
		    .key = key,
		    .key_len = (uint8_t)strlen((char *)key),
		    .value = value,
		    .value_len = value_len,
		    .seq = 1 + c->n * 100 + i};
		len += record_encode(&r, out + len);
	}
	c->records[c->n] = out;
	c->lens[c->n] = len;
	c->items[c->n++] = items;
	free(value);
}

static void count_pause(void *arg)
{
	++*(unsigned *)arg;
}

static void write_snapshot(const struct unit_scratch *s, struct content *c, uint8_t seed)
{
	struct snapshot_header h = sample_header(seed);
	struct snapshot_writer *w;
	int fd = openat(s->fd, NAME, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_int_equal(snapshot_writer_open(&w, NULL, fd, &h, 1, NULL), HEARTH_OK);
	c->pauses = 0;
	snapshot_writer_pauses(w, count_pause, &c->pauses);
	for (unsigned i = 0; i < c->n; i++)
		assert_int_equal(
		    snapshot_writer_block(w, c->records[i], c->lens[i], c->items[i], 2000 + i, NULL),
		    HEARTH_OK);
	c->footer = (struct snapshot_footer){
	    .end = 3000, .flush_due = 78, .high_water = 9100, .hearth_ms = 1700000001000};
	assert_int_equal(snapshot_writer_finish(w, &c->footer, NULL), HEARTH_OK);
	uint64_t bytes = snapshot_writer_bytes(w);
	snapshot_writer_close(&w);
	assert_null(w);
	close(fd);
	free(c->file);
	c->file = unit_read_file(s->fd, NAME, &c->file_len);
	assert_int_equal(bytes, c->file_len);
}

static struct content sample(const struct unit_scratch *s)
{
	struct content c = {0};
	add_records(&c, 3, 30);
	add_records(&c, 1, 200);
	add_records(&c, 2, 0);
	write_snapshot(s, &c, 0x30);
	return c;
}

static void content_free(struct content *c)
{
	for (unsigned i = 0; i < c->n; i++)
		free(c->records[i]);
	free(c->file);
}

/* Loads all blocks; each that loads is one of the content's, known by its upto. Returns how many did. */
static unsigned load_all(const struct snapshot_reader *r, const struct content *c)
{
	uint8_t *buf = NULL;
	size_t buf_size = 0, len;
	const uint8_t *records;
	unsigned loaded = 0;
	uint64_t last = 0;
	for (size_t i = 0; i < snapshot_blocks(r); i++) {
		const struct snapshot_block b = snapshot_get_block(r, i);
		enum hearth_status status = snapshot_load(r, i, &buf, &buf_size, &records, &len, NULL);
		assert_true(b.upto >= 2000 && b.upto < 2000 + c->n);
		assert_true(b.offset > last);
		last = b.offset;
		if (status != HEARTH_OK) {
			assert_true(status == HEARTH_DAMAGED || status == HEARTH_TORN);
			continue;
		}
		size_t which = (size_t)(b.upto - 2000);
		assert_int_equal(len, c->lens[which]);
		assert_int_equal(b.items, c->items[which]);
		assert_memory_equal(records, c->records[which], len);
		loaded++;
	}
	free(buf);
	return loaded;
}

static void comes_back_whole(void **state)
{
	(void)state;
	struct unit_scratch s = unit_scratch_begin();
	struct content c = sample(&s);
	struct snapshot_header h = sample_header(0x30);
	struct snapshot_reader *r;
	struct hearth_error err;
	assert_int_equal(snapshot_open(&r, NULL, s.fd, NAME, h.lineage, &err), HEARTH_OK);
	const struct snapshot_header *back = snapshot_get_header(r);
	assert_memory_equal(back->lineage, h.lineage, 16);
	assert_memory_equal(back->salt, h.salt, 16);
	assert_true(back->generation == 2 && back->number == 5 && back->start == 1000 && back->term == 0);
	assert_true(back->wall_ms == h.wall_ms && back->hearth_ms == h.hearth_ms && back->flush_due == 77);
	assert_true(back->high_water == 9000);
	const struct snapshot_footer *f = snapshot_get_footer(r);
	assert_non_null(f);
	assert_true(f->blocks == 3 && f->items == 6 && f->end == 3000 && f->flush_due == 78);
	assert_true(f->high_water == 9100 && f->hearth_ms == 1700000001000);
	assert_int_equal(f->raw_bytes, c.lens[0] + c.lens[1] + c.lens[2]);
	assert_memory_equal(f, &c.footer, sizeof(*f));
	assert_int_equal(snapshot_blocks(r), 3);
	assert_int_equal(snapshot_size(r), c.file_len);
	assert_int_equal(load_all(r, &c), 3);
	assert_int_equal(snapshot_verify(r, &err), HEARTH_OK);
	uint8_t *buf = NULL;
	size_t size = 0, len;
	const uint8_t *records;
	struct record record;
	assert_int_equal(snapshot_load(r, 0, &buf, &size, &records, &len, NULL), HEARTH_OK);
	struct snapshot_records walk = snapshot_records(records, len);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(snapshot_next_record(&walk, &record), HEARTH_OK);
		assert_int_equal(record.seq, 1 + i);
	}
	assert_int_equal(snapshot_next_record(&walk, &record), HEARTH_END);
	free(buf);
	snapshot_close(&r);
	assert_null(r);
	h.lineage[0] ^= 1;
	assert_int_equal(snapshot_open(&r, NULL, s.fd, NAME, h.lineage, &err), HEARTH_FOREIGN);
	assert_null(r);
	content_free(&c);
	unit_scratch_end(&s);
}

/* The fixed parts, byte by byte; what zstd packs may differ from version to version. */
static void golden_frames(void **state)
{
	(void)state;
	struct unit_scratch s = unit_scratch_begin();
	struct content c = sample(&s);
	unit_assert_hex(c.file, 128,
	    "502a4d18"
	    "00010000"
	    "484541525448534e"
	    "01000000"
	    "00000000"
	    "00000000"
	    "00000000"
	    "101112131415161718191a1b1c1d1e1f"
	    "0200000000000000"
	    "0000000000000000"
	    "0500000000000000"
	    "e803000000000000"
	    "7b68e5cf8b010000"
	    "c869e5cf8b010000"
	    "303132333435363738393a3b3c3d3e3f"
	    "4d00000000000000"
	    "2823000000000000");
	assert_int_equal(bytes_load32(c.file + 260), crc32c_portable(0, c.file, 260));
	const uint8_t *head = c.file + 264, *salt = c.file + 96;
	unit_assert_hex(head, 12,
	    "512a4d18"
	    "30000000"
	    "4853424b");
	uint32_t stored = bytes_load32(head + 16);
	assert_int_equal(bytes_load32(head + 20), c.lens[0]);
	assert_int_equal(bytes_load32(head + 28), 3);
	assert_int_equal(bytes_load64(head + 32), 2000);
	assert_int_equal(bytes_load64(head + 40), 264);
	assert_int_equal(bytes_load64(head + 48), 0);
	uint32_t salted = crc32c_portable(0, salt, 16);
	assert_int_equal(bytes_load32(head + 12), crc32c_portable(salted, head + 16, 40));
	assert_int_equal(bytes_load32(head + 24), crc32c_portable(salted, head + 56, stored));
	const uint8_t *index = c.file + c.footer.index_offset;
	unit_assert_hex(index, 12,
	    "522a4d18"
	    "70000000"
	    "48534958");
	assert_int_equal(bytes_load64(index + 16), 3);
	assert_int_equal(bytes_load32(index + 12), crc32c_portable(salted, index + 16, 8 + 3 * 32));
	const uint8_t *footer = c.file + c.file_len - 136;
	unit_assert_hex(footer, 32,
	    "532a4d18"
	    "80000000"
	    "4845415254485346"
	    "0300000000000000"
	    "0600000000000000");
	assert_int_equal(bytes_load64(footer + 80), c.file_len);
	assert_int_equal(bytes_load32(footer + 132), crc32c_portable(salted, footer + 8, 124));
	content_free(&c);
	unit_scratch_end(&s);
}

static void is_a_zstd_stream(void **state)
{
	(void)state;
	struct unit_scratch s = unit_scratch_begin();
	struct content c = sample(&s);
	ZSTD_DStream *stream = ZSTD_createDStream();
	uint8_t out[4096];
	ZSTD_inBuffer in = {c.file, c.file_len, 0};
	ZSTD_outBuffer to = {out, sizeof(out), 0};
	size_t ret = 1;
	while (in.pos < in.size) {
		ret = ZSTD_decompressStream(stream, &to, &in);
		assert_false(ZSTD_isError(ret));
	}
	assert_int_equal(ret, 0);
	size_t at = 0;
	for (unsigned i = 0; i < c.n; i++) {
		assert_memory_equal(out + at, c.records[i], c.lens[i]);
		at += c.lens[i];
	}
	assert_int_equal(to.pos, at);
	ZSTD_freeDStream(stream);
	content_free(&c);
	unit_scratch_end(&s);
}

static unsigned block_of(const struct content *c, size_t byte, const struct snapshot_block *blocks)
{
	for (unsigned i = 0; i < c->n; i++) {
		if (byte >= blocks[i].offset && byte < blocks[i].offset + 56 + blocks[i].stored_len)
			return i;
	}
	return c->n;
}

static void any_flipped_bit_is_found(void **state)
{
	(void)state;
	struct unit_scratch s = unit_scratch_begin();
	struct content c = sample(&s);
	struct snapshot_reader *whole, *r;
	struct hearth_error err;
	assert_int_equal(snapshot_open(&whole, NULL, s.fd, NAME, NULL, NULL), HEARTH_OK);
	struct snapshot_block blocks[3]; /* before anything is flipped: a reader reads them from the file */
	assert_int_equal(c.n, 3);
	for (unsigned i = 0; i < 3; i++)
		blocks[i] = snapshot_get_block(whole, i);
	int fd = openat(s.fd, NAME, O_RDWR);
	for (size_t bit = 0; bit < c.file_len * 8; bit++) {
		uint8_t flipped = (uint8_t)(c.file[bit / 8] ^ 1 << bit % 8);
		assert_int_equal(pwrite(fd, &flipped, 1, (off_t)(bit / 8)), 1);
		enum hearth_status status = snapshot_open(&r, NULL, s.fd, NAME, NULL, &err);
		if (bit / 8 < 264) {
			assert_int_equal(status, HEARTH_DAMAGED);
			assert_null(r);
		} else {
			assert_non_null(r);
			bool in_block = block_of(&c, bit / 8, blocks) < c.n;
			assert_int_equal(status, in_block ? HEARTH_OK : HEARTH_DAMAGED);
			/* A flip in a head is mended by the index, one in the index by the heads. */
			unsigned loaded = load_all(r, &c);
			assert_true(loaded == c.n || (in_block && loaded == c.n - 1));
			assert_int_equal(snapshot_verify(r, &err), HEARTH_DAMAGED);
			snapshot_close(&r);
		}
		assert_int_equal(pwrite(fd, c.file + bit / 8, 1, (off_t)(bit / 8)), 1);
	}
	assert_int_equal(snapshot_verify(whole, NULL), HEARTH_OK);
	close(fd);
	snapshot_close(&whole);
	content_free(&c);
	unit_scratch_end(&s);
}

static void cut_off_anywhere(void **state)
{
	(void)state;
	struct unit_scratch s = unit_scratch_begin();
	struct content c = sample(&s);
	struct snapshot_reader *r;
	struct hearth_error err;
	struct snapshot_block blocks[3];
	assert_int_equal(snapshot_open(&r, NULL, s.fd, NAME, NULL, NULL), HEARTH_OK);
	for (unsigned i = 0; i < 3; i++)
		blocks[i] = snapshot_get_block(r, i);
	snapshot_close(&r);
	for (size_t len = c.file_len - 1; len > 0; len--) {
		unit_write_file(s.fd, NAME, c.file, len);
		enum hearth_status status = snapshot_open(&r, NULL, s.fd, NAME, NULL, &err);
		assert_int_equal(status, HEARTH_TORN);
		assert_int_equal(err.status, HEARTH_TORN);
		assert_true((r != NULL) == (len >= 264));
		if (r == NULL)
			continue;
		unsigned whole = 0;
		while (whole < 3 && blocks[whole].offset + 56 + blocks[whole].stored_len <= len)
			whole++;
		assert_null(snapshot_get_footer(r));
		assert_int_equal(load_all(r, &c), whole);
		assert_int_not_equal(snapshot_verify(r, &err), HEARTH_OK);
		snapshot_close(&r);
	}
	content_free(&c);
	unit_scratch_end(&s);
}

static void zeroed_stretches(void **state)
{
	(void)state;
	struct unit_scratch s = unit_scratch_begin();
	struct content c = sample(&s);
	uint8_t *data = malloc(c.file_len);
	static const size_t lengths[] = {1, 8, 60, 300};
	for (unsigned l = 0; l < 4; l++) {
		for (size_t at = 0; at + lengths[l] <= c.file_len; at += 3) {
			struct snapshot_reader *r;
			memcpy(data, c.file, c.file_len);
			memset(data + at, 0, lengths[l]);
			unit_write_file(s.fd, NAME, data, c.file_len);
			enum hearth_status status = snapshot_open(&r, NULL, s.fd, NAME, NULL, NULL);
			bool same = memcmp(data, c.file, c.file_len) == 0;
			if (same)
				assert_int_equal(status, HEARTH_OK);
			if (r == NULL)
				continue;
			load_all(r, &c);
			assert_true((snapshot_verify(r, NULL) == HEARTH_OK) == same);
			snapshot_close(&r);
		}
	}
	free(data);
	content_free(&c);
	unit_scratch_end(&s);
}

static void index_lost_and_heads_too(void **state)
{
	(void)state;
	struct unit_scratch s = unit_scratch_begin();
	struct content c = {0};
	for (unsigned i = 0; i < 12; i++)
		add_records(&c, 2, i == 5 ? 100000 : 100 * i);
	write_snapshot(&s, &c, 0x30);
	struct snapshot_reader *r;
	struct snapshot_block blocks[12];
	assert_int_equal(snapshot_open(&r, NULL, s.fd, NAME, NULL, NULL), HEARTH_OK);
	for (unsigned i = 0; i < 12; i++)
		blocks[i] = snapshot_get_block(r, i);
	snapshot_close(&r);
	c.file[c.footer.index_offset + 30] ^= 1;
	unit_write_file(s.fd, NAME, c.file, c.file_len);
	assert_int_equal(snapshot_open(&r, NULL, s.fd, NAME, NULL, NULL), HEARTH_DAMAGED);
	assert_non_null(snapshot_get_footer(r));
	assert_int_equal(load_all(r, &c), 12);
	snapshot_close(&r);
	/* Then heads 0, 6 and 11, and the data of 3. */
	c.file[blocks[0].offset] ^= 1;
	c.file[blocks[6].offset + 20] ^= 1;
	c.file[blocks[11].offset + 50] ^= 1;
	c.file[blocks[3].offset + 60] ^= 1;
	unit_write_file(s.fd, NAME, c.file, c.file_len);
	assert_int_equal(snapshot_open(&r, NULL, s.fd, NAME, NULL, NULL), HEARTH_DAMAGED);
	assert_int_equal(snapshot_blocks(r), 9);
	assert_int_equal(load_all(r, &c), 8);
	snapshot_close(&r);
	content_free(&c);
	unit_scratch_end(&s);
}

/* Under good CRCs, as a bug of a writer would make it: such an index is not followed into the wrong places. */
static void index_that_does_not_add_up(void **state)
{
	(void)state;
	struct unit_scratch s = unit_scratch_begin();
	struct content c = sample(&s);
	uint8_t *index = c.file + c.footer.index_offset;
	static const size_t fields[] = {
	    24, 24 + 20, 24 + 32, 24 + 32 + 8, 24 + 64 + 12}; /* in the three entries */
	for (unsigned i = 0; i < 5; i++) {
		struct snapshot_reader *r;
		uint32_t was = bytes_load32(index + fields[i]);
		bytes_store32(index + fields[i], was + 1);
		bytes_store32(index + 12, crc32c(crc32c(0, c.file + 96, 16), index + 16, 8 + 3 * 32));
		unit_write_file(s.fd, NAME, c.file, c.file_len);
		assert_int_equal(snapshot_open(&r, NULL, s.fd, NAME, NULL, NULL), HEARTH_DAMAGED);
		assert_int_equal(load_all(r, &c), 3);
		snapshot_close(&r);
		bytes_store32(index + fields[i], was);
	}
	content_free(&c);
	unit_scratch_end(&s);
}

static void parts_of_another_snapshot(void **state)
{
	(void)state;
	struct unit_scratch s = unit_scratch_begin();
	struct content c = sample(&s);
	uint8_t *ours = malloc(c.file_len);
	memcpy(ours, c.file, c.file_len);
	struct snapshot_reader *r;
	assert_int_equal(snapshot_open(&r, NULL, s.fd, NAME, NULL, NULL), HEARTH_OK);
	struct snapshot_block b = snapshot_get_block(r, 1);
	snapshot_close(&r);
	write_snapshot(&s, &c, 0x31); /* same records, other salt */
	/* Its block with its head; its footer; its whole end. */
	const struct {
		size_t from, to;
	} splices[] = {{b.offset, b.offset + 56 + b.stored_len}, {b.offset, b.offset + 56},
	    {c.file_len - 136, c.file_len}, {c.footer.index_offset, c.file_len}};
	for (unsigned i = 0; i < 4; i++) {
		uint8_t *mixed = malloc(c.file_len);
		memcpy(mixed, ours, c.file_len);
		memcpy(mixed + splices[i].from, c.file + splices[i].from, splices[i].to - splices[i].from);
		unit_write_file(s.fd, NAME, mixed, c.file_len);
		enum hearth_status status = snapshot_open(&r, NULL, s.fd, NAME, NULL, NULL);
		assert_int_equal(status, i < 2 ? HEARTH_OK : HEARTH_DAMAGED);
		load_all(r, &c);
		assert_int_equal(snapshot_verify(r, NULL), HEARTH_DAMAGED);
		snapshot_close(&r);
		free(mixed);
	}
	/* A block twice, without an index: the copy does not count. */
	size_t len = 56 + b.stored_len;
	uint8_t *twice = malloc(c.file_len + len);
	memcpy(twice, ours, b.offset + len);
	memcpy(twice + b.offset + len, ours + b.offset, len);
	unit_write_file(s.fd, NAME, twice, b.offset + 2 * len);
	assert_int_equal(snapshot_open(&r, NULL, s.fd, NAME, NULL, NULL), HEARTH_DAMAGED);
	assert_int_equal(snapshot_blocks(r), 2);
	snapshot_close(&r);
	/* Garbage behind the footer. */
	memcpy(twice, ours, c.file_len);
	memset(twice + c.file_len, 0, len);
	unit_write_file(s.fd, NAME, twice, c.file_len + len);
	assert_int_equal(snapshot_open(&r, NULL, s.fd, NAME, NULL, NULL), HEARTH_DAMAGED);
	assert_int_equal(load_all(r, &c), 3);
	snapshot_close(&r);
	free(twice);
	free(ours);
	content_free(&c);
	unit_scratch_end(&s);
}

static void newer_and_foreign(void **state)
{
	(void)state;
	struct unit_scratch s = unit_scratch_begin();
	struct content c = sample(&s);
	struct snapshot_reader *r;
	bytes_store32(c.file + 16, SNAPSHOT_VERSION + 1);
	bytes_store32(c.file + 260, crc32c(0, c.file, 260));
	unit_write_file(s.fd, NAME, c.file, c.file_len);
	assert_int_equal(snapshot_open(&r, NULL, s.fd, NAME, NULL, NULL), HEARTH_NEWER);
	assert_null(r);
	bytes_store32(c.file + 16, SNAPSHOT_VERSION);
	bytes_store32(c.file + 28, 1);
	bytes_store32(c.file + 260, crc32c(0, c.file, 260));
	unit_write_file(s.fd, NAME, c.file, c.file_len);
	assert_int_equal(snapshot_open(&r, NULL, s.fd, NAME, NULL, NULL), HEARTH_NEWER);
	unit_write_file(s.fd, NAME, "just a text that somebody wrote here", 36);
	assert_int_equal(snapshot_open(&r, NULL, s.fd, NAME, NULL, NULL), HEARTH_FOREIGN);
	unit_write_file(s.fd, NAME, "", 0);
	assert_int_equal(snapshot_open(&r, NULL, s.fd, NAME, NULL, NULL), HEARTH_TORN);
	assert_int_equal(snapshot_open(&r, NULL, s.fd, "missing", NULL, NULL), HEARTH_IO);
	content_free(&c);
	unit_scratch_end(&s);
}

static void large_and_empty(void **state)
{
	(void)state;
	struct unit_scratch s = unit_scratch_begin();
	struct content c = {0};
	struct snapshot_reader *r;
	write_snapshot(&s, &c, 0x30);
	assert_int_equal(snapshot_open(&r, NULL, s.fd, NAME, NULL, NULL), HEARTH_OK);
	assert_int_equal(snapshot_blocks(r), 0);
	assert_int_equal(snapshot_verify(r, NULL), HEARTH_OK);
	snapshot_close(&r);
	add_records(&c, 1, 3 << 20);
	add_records(&c, 200, 1000);
	write_snapshot(&s, &c, 0x30);
	/* Nobody waits for a block to be packed: after each tenth of a megabyte at the least, whatever its length. */
	assert_true(c.pauses >= (c.lens[0] + c.lens[1]) / 100000);
	assert_int_equal(snapshot_open(&r, NULL, s.fd, NAME, NULL, NULL), HEARTH_OK);
	assert_int_equal(load_all(r, &c), 2);
	assert_int_equal(snapshot_verify(r, NULL), HEARTH_OK);
	snapshot_close(&r);
	content_free(&c);
	unit_scratch_end(&s);
}

static void wrong_records_do_not_verify(void **state)
{
	(void)state;
	struct unit_scratch s = unit_scratch_begin();
	struct snapshot_reader *r;
	/* A block head that counts wrongly, a record without its number, a delete: bugs of a writer, CRCs all
	 * good. */
	for (unsigned i = 0; i < 3; i++) {
		struct content c = {0};
		add_records(&c, 2, 10);
		if (i == 0)
			c.items[0] = 3;
		struct record bad = {
		    .type = i == 1 ? RECORD_SET : RECORD_DELETE, .key = (const uint8_t *)"k", .key_len = 1};
		if (i > 0)
			c.lens[0] += record_encode(&bad, c.records[0] + c.lens[0]);
		if (i == 1)
			c.items[0] = 3;
		write_snapshot(&s, &c, 0x30);
		assert_int_equal(snapshot_open(&r, NULL, s.fd, NAME, NULL, NULL), HEARTH_OK);
		assert_int_equal(snapshot_verify(r, NULL), HEARTH_DAMAGED);
		snapshot_close(&r);
		content_free(&c);
	}
	unit_scratch_end(&s);
}

static void failed_writes_stay_failed(void **state)
{
	(void)state;
	struct unit_scratch s = unit_scratch_begin();
	struct content c = {0};
	struct snapshot_header h = sample_header(0x30);
	add_records(&c, 3, 30);
	for (unsigned fail_at = 1; fail_at <= 3; fail_at++) {
		struct unit_vfs u;
		struct snapshot_writer *w;
		struct snapshot_footer f = {0};
		struct hearth_error err;
		unit_vfs_init(&u);
		u.error = ENOSPC;
		u.fail_at = fail_at;
		int fd = openat(s.fd, NAME, O_WRONLY | O_CREAT | O_TRUNC, 0600);
		enum hearth_status status = snapshot_writer_open(&w, &u.vfs, fd, &h, 1, &err);
		if (fail_at == 1) {
			assert_int_equal(status, HEARTH_IO);
			assert_null(w);
			close(fd);
			continue;
		}
		status = snapshot_writer_block(w, c.records[0], c.lens[0], 3, 1, &err);
		assert_int_equal(status, fail_at == 2 ? HEARTH_IO : HEARTH_OK);
		assert_int_equal(snapshot_writer_finish(w, &f, &err), HEARTH_IO);
		if (fail_at == 3)
			assert_int_equal(err.sys_errno, ENOSPC);
		/* The disk has room again: too late, nobody knows what is in the file. */
		u.fail_at = 0;
		assert_int_equal(snapshot_writer_block(w, c.records[0], c.lens[0], 3, 1, &err), HEARTH_IO);
		assert_int_equal(snapshot_writer_finish(w, &f, &err), HEARTH_IO);
		snapshot_writer_close(&w);
		close(fd);
	}
	content_free(&c);
	unit_scratch_end(&s);
}

struct load_job {
	const struct snapshot_reader *reader;
	const struct content *content;
};

static void *load_often(void *arg)
{
	const struct load_job *job = arg;
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(load_all(job->reader, job->content), job->content->n);
	return NULL;
}

static void loaded_by_many_threads(void **state)
{
	(void)state;
	struct unit_scratch s = unit_scratch_begin();
	struct content c = {0};
	for (unsigned i = 0; i < 12; i++)
		add_records(&c, 20, 200 * i);
	write_snapshot(&s, &c, 0x30);
	struct snapshot_reader *r;
	assert_int_equal(snapshot_open(&r, NULL, s.fd, NAME, NULL, NULL), HEARTH_OK);
	struct load_job job = {r, &c};
	pthread_t threads[20]; /* more than there are kept contexts */
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, load_often, &job), 0);
	for (unsigned i = 0; i < 20; i++)
		pthread_join(threads[i], NULL);
	snapshot_close(&r);
	content_free(&c);
	unit_scratch_end(&s);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(comes_back_whole),
    cmocka_unit_test(golden_frames),
    cmocka_unit_test(is_a_zstd_stream),
    cmocka_unit_test(any_flipped_bit_is_found),
    cmocka_unit_test(cut_off_anywhere),
    cmocka_unit_test(zeroed_stretches),
    cmocka_unit_test(index_lost_and_heads_too),
    cmocka_unit_test(index_that_does_not_add_up),
    cmocka_unit_test(parts_of_another_snapshot),
    cmocka_unit_test(newer_and_foreign),
    cmocka_unit_test(large_and_empty),
    cmocka_unit_test(wrong_records_do_not_verify),
    cmocka_unit_test(failed_writes_stay_failed),
    cmocka_unit_test(loaded_by_many_threads),
};
UNIT_MAIN(tests)
