/* SPDX-License-Identifier: BSD-3-Clause */
/* bytes: the cursors: what they write is little-endian, they come back with what was written, and nothing
 * runs over. */
#include "unit.h"
#include "base/bytes.h"

static void writes_little_endian(void **state)
{
	(void)state;
	uint8_t out[20];
	struct bytes_writer w = bytes_writer(out, sizeof(out));
	bytes_put8(&w, 0x01);
	bytes_put16(&w, 0x0302);
	bytes_put32(&w, 0x07060504);
	bytes_put64(&w, UINT64_C(0x0f0e0d0c0b0a0908));
	bytes_put(&w, "hey", 3);
	assert_false(w.bad);
	assert_int_equal(w.at - out, 18);
	unit_assert_hex(out, 18, "0102030405060708090a0b0c0d0e0f686579");
	struct bytes_reader r = bytes_reader(out, 18);
	assert_int_equal(bytes_get8(&r), 0x01);
	assert_int_equal(bytes_get16(&r), 0x0302);
	assert_int_equal(bytes_get32(&r), 0x07060504);
	assert_int_equal(bytes_get64(&r), UINT64_C(0x0f0e0d0c0b0a0908));
	assert_memory_equal(bytes_take(&r, 3), "hey", 3);
	assert_int_equal(bytes_left(&r), 0);
	assert_false(r.bad);
}

static void reader_stops_at_its_end(void **state)
{
	(void)state;
	for (size_t len = 0; len < 8; len++) {
		uint8_t *in = malloc(len + (len == 0));
		memset(in, 0xff, len + (len == 0));
		struct bytes_reader r = bytes_reader(in, len);
		assert_int_equal(bytes_get64(&r), 0);
		assert_true(r.bad);
		assert_ptr_equal(r.at, in);
		/* Bad for good, also for what would still fit. */
		assert_int_equal(bytes_get8(&r), 0);
		assert_null(bytes_take(&r, 0));
		free(in);
	}
	struct bytes_reader r = bytes_reader("abc", 3);
	assert_null(bytes_take(&r, SIZE_MAX));
	assert_true(r.bad);
}

static void writer_stops_at_its_end(void **state)
{
	(void)state;
	for (size_t len = 0; len < 8; len++) {
		uint8_t *out = malloc(len + 1);
		memset(out, 0x55, len + 1);
		struct bytes_writer w = bytes_writer(out, len);
		bytes_put64(&w, UINT64_MAX);
		assert_true(w.bad);
		bytes_put8(&w, 1);
		bytes_put(&w, "x", 1);
		for (size_t i = 0; i <= len; i++)
			assert_int_equal(out[i], 0x55);
		free(out);
	}
}

static void varint_comes_back(void **state)
{
	(void)state;
	for (unsigned bit = 0; bit < 64; bit++) {
		for (int off = -1; off <= 1; off++) {
			uint64_t v = (UINT64_C(1) << bit) + (uint64_t)(int64_t)off;
			uint8_t out[10];
			struct bytes_writer w = bytes_writer(out, sizeof(out));
			bytes_put_varint(&w, v);
			assert_false(w.bad);
			assert_int_equal(w.at - out, bytes_varint_size(v));
			struct bytes_reader r = bytes_reader(out, (size_t)(w.at - out));
			assert_true(bytes_get_varint(&r) == v);
			assert_false(r.bad);
			assert_int_equal(bytes_left(&r), 0);
			/* One byte less is no number. */
			r = bytes_reader(out, (size_t)(w.at - out) - 1);
			bytes_get_varint(&r);
			assert_true(r.bad);
		}
	}
}

static void varint_has_one_form(void **state)
{
	(void)state;
	static const struct {
		uint8_t bytes[12];
		size_t len;
	} bad[] = {
	    {{0x80, 0x00}, 2},
	    {{0xff, 0x80, 0x00}, 3},
	    {{0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02}, 10},
	    {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}, 10},
	    {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, 11},
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct bytes_reader r = bytes_reader(bad[i].bytes, bad[i].len);
		assert_int_equal(bytes_get_varint(&r), 0);
		assert_true(r.bad);
	}
	static const uint8_t most[10] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01};
	struct bytes_reader r = bytes_reader(most, sizeof(most));
	assert_true(bytes_get_varint(&r) == UINT64_MAX);
	assert_false(r.bad);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(writes_little_endian),
    cmocka_unit_test(reader_stops_at_its_end),
    cmocka_unit_test(writer_stops_at_its_end),
    cmocka_unit_test(varint_comes_back),
    cmocka_unit_test(varint_has_one_form),
};
UNIT_MAIN(tests)
