/* SPDX-License-Identifier: BSD-3-Clause */
/* block: the header's golden bytes, that no flipped bit and no zeros verify, and the limits of lengths. */
#include <zstd.h>
#include "unit.h"
#include "base/bytes.h"
#include "base/crc32c.h"
#include <hearth/block.h>

static const uint8_t salt[BLOCK_SALT_SIZE] = "0123456789abcde";

static struct block_header sample_header(uint32_t len)
{
	return (struct block_header){.stored_len = len,
	    .raw_len = len,
	    .count = 2,
	    .first = 1000,
	    .time_ms = 1700000000123,
	    .durable = 990,
	    .flush_due = 1700009999,
	    .prev_crc = 0xcafebabe};
}

static void golden_header(void **state)
{
	(void)state;
	static const char payload[] = "not really records";
	uint8_t out[BLOCK_HEADER_SIZE];
	struct block_header h = sample_header(18), back;
	block_encode_header(&h, salt, crc32c(0, payload, 18), out);
	unit_assert_hex(out, sizeof(out),
	    "48424b31"
	    "8e9780db"
	    "12000000"
	    "12000000"
	    "e803000000000000"
	    "02000000"
	    "0000"
	    "0000"
	    "7b68e5cf8b010000"
	    "de03000000000000"
	    "0f18546500000000"
	    "bebafeca"
	    "00000000");
	assert_int_equal(block_decode_header(out, 64 + 18, &back), HEARTH_OK);
	assert_int_equal(back.crc, h.crc);
	assert_int_equal(back.stored_len, 18);
	assert_int_equal(back.raw_len, 18);
	assert_int_equal(back.count, 2);
	assert_int_equal(back.first, 1000);
	assert_int_equal(back.flags, 0);
	assert_true(back.time_ms == h.time_ms && back.flush_due == h.flush_due);
	assert_int_equal(back.durable, 990);
	assert_int_equal(back.prev_crc, 0xcafebabe);
	assert_int_equal(block_verify(out, salt, payload, 18), HEARTH_OK);
}

/* What block.h says of the CRC, said once more by hand. */
static void crc_is_as_documented(void **state)
{
	(void)state;
	uint8_t out[BLOCK_HEADER_SIZE], le[4];
	struct block_header h = sample_header(5);
	block_encode_header(&h, salt, crc32c(0, "12345", 5), out);
	bytes_store32(le, crc32c_portable(0, "12345", 5));
	uint32_t crc = crc32c_portable(0, salt, sizeof(salt));
	crc = crc32c_portable(crc, out + 8, 56);
	crc = crc32c_portable(crc, le, 4);
	assert_int_equal(bytes_load32(out + 4), crc);
	assert_int_equal(h.crc, crc);
}

static void no_flipped_bit_verifies(void **state)
{
	(void)state;
	uint8_t block[BLOCK_HEADER_SIZE + 300];
	unit_fill(block + BLOCK_HEADER_SIZE, 300, 10);
	struct block_header h = sample_header(300);
	block_encode_header(&h, salt, crc32c(0, block + BLOCK_HEADER_SIZE, 300), block);
	for (size_t bit = 0; bit < sizeof(block) * 8; bit++) {
		block[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(block_verify(block, salt, block + BLOCK_HEADER_SIZE, 300), HEARTH_DAMAGED);
		block[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	for (size_t bit = 0; bit < sizeof(salt) * 8; bit++) {
		uint8_t other[BLOCK_SALT_SIZE];
		memcpy(other, salt, sizeof(salt));
		other[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(block_verify(block, other, block + BLOCK_HEADER_SIZE, 300), HEARTH_DAMAGED);
	}
	/* Nor one byte less or more, nor a stretch of zeros. */
	assert_int_equal(block_verify(block, salt, block + BLOCK_HEADER_SIZE, 299), HEARTH_DAMAGED);
	for (size_t at = 0; at + 16 <= sizeof(block); at += 8) {
		uint8_t zeroed[sizeof(block)];
		memcpy(zeroed, block, sizeof(block));
		memset(zeroed + at, 0, 16);
		if (memcmp(zeroed, block, sizeof(block)) != 0)
			assert_int_equal(block_verify(zeroed, salt, zeroed + 64, 300), HEARTH_DAMAGED);
	}
	assert_int_equal(block_verify(block, salt, block + BLOCK_HEADER_SIZE, 300), HEARTH_OK);
}

static void zeros_never_verify(void **state)
{
	(void)state;
	static uint8_t zeros[4096];
	static const uint8_t zero_salt[BLOCK_SALT_SIZE];
	struct block_header h;
	assert_int_equal(block_decode_header(zeros, UINT64_MAX, &h), HEARTH_DAMAGED);
	for (size_t len = 0; len < sizeof(zeros) - 64; len++) {
		assert_int_equal(block_verify(zeros, zero_salt, zeros, len), HEARTH_DAMAGED);
		assert_int_equal(block_verify(zeros, salt, zeros, len), HEARTH_DAMAGED);
	}
}

static enum hearth_status decode_changed(void (*change)(struct block_header *h), uint64_t left)
{
	struct block_header h = sample_header(100), back;
	uint8_t out[BLOCK_HEADER_SIZE];
	change(&h);
	block_encode_header(&h, salt, 0, out);
	return block_decode_header(out, left, &back);
}

static void change_nothing(struct block_header *h)
{
	(void)h;
}
static void change_to_2_32(struct block_header *h)
{
	h->stored_len = h->raw_len = UINT32_MAX;
	h->count = 1; /* more of them are held against another limit */
}
static void change_to_most(struct block_header *h)
{
	h->stored_len = h->raw_len = BLOCK_RAW_MAX;
	h->count = 1;
}
static void change_to_more_than_most(struct block_header *h)
{
	h->stored_len = h->raw_len = BLOCK_RAW_MAX + 1;
	h->count = 1;
}
static void change_to_unequal(struct block_header *h)
{
	h->raw_len++;
}
static void change_to_bomb(struct block_header *h)
{
	h->flags = BLOCK_ZSTD;
	h->raw_len = UINT32_MAX - 5;
	h->count = 1;
}
static void change_to_packed(struct block_header *h)
{
	h->flags = BLOCK_ZSTD;
	h->raw_len = 5000;
}
static void change_to_packed_nothing(struct block_header *h)
{
	h->flags = BLOCK_ZSTD;
	h->stored_len = h->raw_len = 0;
	h->count = 0;
}
static void change_to_empty(struct block_header *h)
{
	h->stored_len = h->raw_len = 0;
	h->count = 0;
}
static void change_to_many(struct block_header *h)
{
	h->count = 51;
}
/* Only one record may be larger than a block of many. */
static void change_to_large_of_many(struct block_header *h)
{
	h->stored_len = h->raw_len = BLOCK_PAYLOAD_MAX + 1;
	h->count = 2;
}
static void change_to_full_of_many(struct block_header *h)
{
	h->stored_len = h->raw_len = BLOCK_PAYLOAD_MAX;
	h->count = 2;
}
static void change_to_wrapping(struct block_header *h)
{
	h->first = UINT64_MAX - 1;
}

static void lengths_have_limits(void **state)
{
	(void)state;
	assert_int_equal(decode_changed(change_nothing, 164), HEARTH_OK);
	assert_int_equal(decode_changed(change_nothing, 163), HEARTH_TORN);
	assert_int_equal(decode_changed(change_nothing, 64), HEARTH_TORN);
	assert_int_equal(decode_changed(change_nothing, 0), HEARTH_TORN);
	assert_int_equal(decode_changed(change_to_2_32, UINT64_MAX), HEARTH_DAMAGED);
	assert_int_equal(decode_changed(change_to_2_32, 10), HEARTH_DAMAGED);
	assert_int_equal(decode_changed(change_to_most, UINT64_C(1) << 40), HEARTH_OK);
	assert_int_equal(decode_changed(change_to_most, 64 + (UINT64_C(1) << 30)), HEARTH_TORN);
	assert_int_equal(decode_changed(change_to_more_than_most, UINT64_C(1) << 40), HEARTH_DAMAGED);
	assert_int_equal(decode_changed(change_to_unequal, 1000), HEARTH_DAMAGED);
	assert_int_equal(decode_changed(change_to_bomb, 1000), HEARTH_DAMAGED);
	assert_int_equal(decode_changed(change_to_packed, 1000), HEARTH_OK);
	assert_int_equal(decode_changed(change_to_packed_nothing, 1000), HEARTH_DAMAGED);
	assert_int_equal(decode_changed(change_to_empty, 64), HEARTH_OK);
	assert_int_equal(decode_changed(change_to_many, 1000), HEARTH_DAMAGED);
	assert_int_equal(decode_changed(change_to_large_of_many, 1u << 20), HEARTH_DAMAGED);
	assert_int_equal(decode_changed(change_to_full_of_many, 1u << 20), HEARTH_OK);
	assert_int_equal(decode_changed(change_to_wrapping, 1000), HEARTH_DAMAGED);
}

static void reserved_bytes_are_zero(void **state)
{
	(void)state;
	static const size_t reserved[] = {0, 1, 2, 3, 30, 31, 60, 61, 62, 63};
	struct block_header h = sample_header(100), back;
	uint8_t out[BLOCK_HEADER_SIZE];
	block_encode_header(&h, salt, 0, out);
	for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++) {
		out[reserved[i]] ^= 1;
		assert_int_equal(block_decode_header(out, 1000, &back), HEARTH_DAMAGED);
		out[reserved[i]] ^= 1;
	}
	assert_int_equal(block_decode_header(out, 1000, &back), HEARTH_OK);
}

static void unpacks_exactly_one_frame(void **state)
{
	(void)state;
	enum { RAW = 50000 };
	uint8_t *raw = malloc(RAW), *out = malloc(RAW), packed[2 * RAW];
	unit_fill(raw, RAW / 2, 11);
	memset(raw + RAW / 2, 'z', RAW / 2);
	size_t n = ZSTD_compress(packed, sizeof(packed), raw, RAW, 1);
	assert_false(ZSTD_isError(n));
	struct block_header h = {.stored_len = (uint32_t)n, .raw_len = RAW, .flags = BLOCK_ZSTD};
	assert_int_equal(block_unpack(&h, packed, out), HEARTH_OK);
	assert_memory_equal(out, raw, RAW);

	struct block_header wrong = h;
	wrong.raw_len = RAW - 1; /* too small a room, as much as a lie */
	assert_int_equal(block_unpack(&wrong, packed, out), HEARTH_DAMAGED);
	wrong = h;
	wrong.stored_len--;
	assert_int_equal(block_unpack(&wrong, packed, out), HEARTH_DAMAGED);
	wrong = h;
	packed[n] = 0;
	wrong.stored_len++;
	assert_int_equal(block_unpack(&wrong, packed, out), HEARTH_DAMAGED);
	wrong = h;
	wrong.flags = 0;
	assert_int_equal(block_unpack(&wrong, packed, out), HEARTH_NEWER);
	wrong.flags = BLOCK_ZSTD | 2;
	assert_int_equal(block_unpack(&wrong, packed, out), HEARTH_NEWER);

	/* Two frames, and one behind a frame to skip: zstd takes them, we do not. */
	size_t half = ZSTD_compress(packed, sizeof(packed), raw, RAW / 2, 1);
	size_t rest = ZSTD_compress(packed + half, sizeof(packed) - half, raw + RAW / 2, RAW / 2, 1);
	wrong =
	    (struct block_header){.stored_len = (uint32_t)(half + rest), .raw_len = RAW, .flags = BLOCK_ZSTD};
	assert_int_equal(block_unpack(&wrong, packed, out), HEARTH_DAMAGED);
	memcpy(packed, "\x50\x2a\x4d\x18\0\0\0\0", 8);
	n = ZSTD_compress(packed + 8, sizeof(packed) - 8, raw, RAW, 1);
	wrong.stored_len = (uint32_t)n + 8;
	assert_int_equal(block_unpack(&wrong, packed, out), HEARTH_DAMAGED);
	free(out);
	free(raw);
}

static void garbage_does_not_unpack(void **state)
{
	(void)state;
	uint8_t raw[2000], packed[4000], out[2000];
	unit_fill(raw, sizeof(raw), 12);
	memset(raw + 300, 7, 1000);
	size_t n = ZSTD_compress(packed, sizeof(packed), raw, sizeof(raw), 1);
	struct block_header h = {.stored_len = (uint32_t)n, .raw_len = sizeof(raw), .flags = BLOCK_ZSTD};
	/* The CRC is the guard; this is about staying inside of out. */
	for (size_t bit = 0; bit < n * 8; bit++) {
		packed[bit / 8] ^= (uint8_t)(1 << bit % 8);
		enum hearth_status status = block_unpack(&h, packed, out);
		assert_true(status == HEARTH_OK || status == HEARTH_DAMAGED);
		packed[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	assert_int_equal(block_unpack(&h, packed, out), HEARTH_OK);
	assert_memory_equal(out, raw, sizeof(raw));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(golden_header),
    cmocka_unit_test(crc_is_as_documented),
    cmocka_unit_test(no_flipped_bit_verifies),
    cmocka_unit_test(zeros_never_verify),
    cmocka_unit_test(lengths_have_limits),
    cmocka_unit_test(reserved_bytes_are_zero),
    cmocka_unit_test(unpacks_exactly_one_frame),
    cmocka_unit_test(garbage_does_not_unpack),
};
UNIT_MAIN(tests)
