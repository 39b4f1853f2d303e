/* SPDX-License-Identifier: BSD-3-Clause */
/* crc32c: known answers, and the fast version against the table version for all lengths and alignments that
 * take a path of their own. */
#include "unit.h"
#include "base/crc32c.h"

typedef uint32_t crc_function(uint32_t crc, const void *data, size_t len);
static crc_function *const versions[] = {crc32c, crc32c_portable};

static void answers_rfc3720(void **state)
{
	(void)state;
	uint8_t zeros[32] = {0}, ones[32], up[32], down[32];
	memset(ones, 0xff, sizeof(ones));
	for (unsigned i = 0; i < 32; i++) {
		up[i] = (uint8_t)i;
		down[i] = (uint8_t)(31 - i);
	}
	for (unsigned v = 0; v < 2; v++) {
		assert_int_equal(versions[v](0, zeros, 32), 0x8a9136aa);
		assert_int_equal(versions[v](0, ones, 32), 0x62a8ab43);
		assert_int_equal(versions[v](0, up, 32), 0x46dd794e);
		assert_int_equal(versions[v](0, down, 32), 0x113fdb5c);
		assert_int_equal(versions[v](0, "123456789", 9), 0xe3069283);
		assert_int_equal(versions[v](0, "", 0), 0);
		assert_int_equal(versions[v](0x12345678, "", 0), 0x12345678);
	}
}

static void same_for_all_lengths_and_alignments(void **state)
{
	(void)state;
	static uint8_t bytes[1700];
	unit_fill(bytes, sizeof(bytes), 1);
	for (size_t len = 0; len <= 1600; len++) {
		for (size_t at = 0; at < 16; at++) {
			uint32_t start = (uint32_t)(len * 77777 + at);
			assert_int_equal(
			    crc32c(start, bytes + at, len), crc32c_portable(start, bytes + at, len));
		}
	}
}

static void same_around_long_stretches(void **state)
{
	(void)state;
	size_t size = 300000;
	uint8_t *bytes = malloc(size);
	unit_fill(bytes, size, 2);
	static const size_t around[] = {1536, 3072, 12288, 24576, 36864, 262144, 299000};
	for (size_t i = 0; i < sizeof(around) / sizeof(around[0]); i++) {
		for (size_t len = around[i] - 30; len <= around[i] + 30; len++)
			assert_int_equal(
			    crc32c(7, bytes + len % 9, len), crc32c_portable(7, bytes + len % 9, len));
	}
	free(bytes);
}

static void reads_nothing_outside(void **state)
{
	(void)state;
	/* Allocated to the byte: a sanitizer sees one byte too many at either end. */
	for (size_t len = 1; len < 400; len++) {
		uint8_t *bytes = malloc(len);
		unit_fill(bytes, len, (uint32_t)len);
		assert_int_equal(crc32c(0, bytes, len), crc32c_portable(0, bytes, len));
		free(bytes);
	}
}

static void continues_over_any_cut(void **state)
{
	(void)state;
	static uint8_t bytes[1300];
	unit_fill(bytes, sizeof(bytes), 3);
	uint32_t whole = crc32c(0, bytes, sizeof(bytes));
	for (size_t cut = 0; cut <= sizeof(bytes); cut++) {
		uint32_t first = crc32c(0, bytes, cut);
		uint32_t second = crc32c(0, bytes + cut, sizeof(bytes) - cut);
		assert_int_equal(crc32c(first, bytes + cut, sizeof(bytes) - cut), whole);
		assert_int_equal(crc32c_combine(first, second, sizeof(bytes) - cut), whole);
	}
}

static void combines_over_long_distances(void **state)
{
	(void)state;
	/* A distance of 2^33 and more, as a sum of distances: the group law holds. */
	uint32_t crc = 0x9abcdef1;
	uint64_t far = (UINT64_C(1) << 33) + 12345, half = far / 2;
	assert_int_equal(
	    crc32c_combine(crc32c_combine(crc, 0, half), 0, far - half), crc32c_combine(crc, 0, far));
	assert_int_equal(crc32c_combine(crc, 0, 0), crc);
	assert_int_equal(crc32c_combine(0, crc, 99), crc);
	assert_int_not_equal(crc32c_combine(crc, 0, far), crc32c_combine(crc, 0, far & 0xffffffff));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(answers_rfc3720),
    cmocka_unit_test(same_for_all_lengths_and_alignments),
    cmocka_unit_test(same_around_long_stretches),
    cmocka_unit_test(reads_nothing_outside),
    cmocka_unit_test(continues_over_any_cut),
    cmocka_unit_test(combines_over_long_distances),
};
UNIT_MAIN(tests)
