/* SPDX-License-Identifier: BSD-3-Clause */
/* keyblock: key blocks byte by byte, the set of keys that lost numbers touched, and what the log thread remembers until it
 * writes one. */
#include <stdlib.h>
#include "unit.h"
#include "base/bytes.h"
#include "base/crc32c.h"
#include <hearth/keyset.h>
#include <hearth/record.h>
#include "persist/keys.h"

/* ---- the codec ---- */

static size_t encode(uint8_t type, uint64_t first, const uint32_t *fp, uint32_t n, uint8_t *out)
{
	size_t len = keyblock_encode_head(type, first, n, out);
	for (uint32_t i = 0; i < n; i++, len += 4)
		bytes_store32(out + len, fp[i]);
	assert_int_equal(len, keyblock_record_size(n));
	return len;
}

static void a_key_block_byte_by_byte(void **state)
{
	(void)state;
	const uint32_t fp[] = {keyblock_fingerprint("123456789", 9), KEYBLOCK_NO_KEY, 0xfedcba98};
	uint8_t out[64];
	size_t len = encode(RECORD_KEY_BLOCK, 0x1122334455667788, fp, 3, out), used;
	unit_assert_hex(out, len,
	    "c114"
	    "8877665544332211"
	    "839206e3"
	    "01000000"
	    "98badcfe");
	struct record r;
	assert_int_equal(record_decode(out, len, &r, &used), HEARTH_OK);
	assert_int_equal(used, len);
	assert_false(record_takes_number(r.type));
	struct keyblock b;
	assert_true(keyblock_decode(r.value, r.value_len, &b));
	assert_true(b.first == 0x1122334455667788 && b.count == 3);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(keyblock_get(&b, i), fp[i]);
	encode(RECORD_SEAL, 1, fp, 3, out);
	assert_int_equal(record_decode(out, len, &r, &used), HEARTH_OK);
	assert_int_equal(r.type, RECORD_SEAL);
}

static void a_key_block_has_limits(void **state)
{
	(void)state;
	uint8_t body[28] = {1};
	struct keyblock b;
	for (size_t len = 0; len <= sizeof(body); len++)
		assert_true(keyblock_decode(body, len, &b) == (len >= 12 && len % 4 == 0));
	body[0] = 0; /* numbers begin with 1 */
	assert_false(keyblock_decode(body, 12, &b));
	memset(body, 0xff, 8); /* and do not wrap */
	assert_false(keyblock_decode(body, 12, &b));
	body[0] = 0xfb;
	assert_true(keyblock_decode(body, 12, &b));
	size_t most = 8 + 4 * (size_t)KEYBLOCK_COUNT_MAX;
	uint8_t *large = calloc(1, most + 4);
	large[0] = 1;
	assert_true(keyblock_decode(large, most, &b));
	assert_false(keyblock_decode(large, most + 4, &b));
	free(large);
	assert_true(keyblock_record_size(KEYBLOCK_COUNT_MAX) <= KEYBLOCK_RECORD_MAX);
	assert_true(KEYBLOCK_RECORD_MAX <= BLOCK_PAYLOAD_MAX);
	/* As a record, what is no key block is damage: its writer was no Hearth. */
	static const uint8_t odd[] = {RECORD_KEY_BLOCK, 3, 1, 2, 3};
	struct record r;
	size_t used;
	assert_int_equal(record_decode(odd, sizeof(odd), &r, &used), HEARTH_DAMAGED);
}

/* Four bytes that give the CRC-32C `want`: any key can be given any fingerprint. */
static void forge(uint8_t out[4], uint32_t want)
{
	/* The CRC is affine in the bytes: solve for each bit of the input. */
	uint32_t zero = crc32c(0, "\0\0\0\0", 4), column[32], pick[32];
	for (unsigned i = 0; i < 32; i++) {
		uint8_t one[4] = {0};
		one[i / 8] = (uint8_t)(1u << i % 8);
		column[i] = crc32c(0, one, 4) ^ zero;
		pick[i] = 1u << i;
	}
	uint32_t left = want ^ zero, input = 0;
	for (unsigned bit = 0, row = 0; bit < 32; bit++) {
		unsigned k = row;
		while (k < 32 && !(column[k] >> bit & 1))
			k++;
		if (k == 32)
			continue;
		uint32_t c = column[k], p = pick[k];
		column[k] = column[row];
		pick[k] = pick[row];
		column[row] = c;
		pick[row] = p;
		for (unsigned i = row + 1; i < 32; i++)
			if (column[i] >> bit & 1) {
				column[i] ^= c;
				pick[i] ^= p;
			}
		if (left >> bit & 1) {
			left ^= c;
			input ^= p;
		}
		row++;
	}
	assert_int_equal(left, 0);
	bytes_store32(out, input);
}

static void no_key_has_a_reserved_fingerprint(void **state)
{
	(void)state;
	for (uint32_t want = 0; want < 5; want++) {
		uint8_t key[4];
		forge(key, want);
		assert_int_equal(crc32c(0, key, 4), want);
		assert_true(keyblock_fingerprint(key, 4) > KEYBLOCK_ANY);
	}
}

static void the_key_is_found_in_the_head_alone(void **state)
{
	(void)state;
	static uint8_t value[5000];
	struct record r[] = {
	    {.type = RECORD_SET,
	        .value = value,
	        .value_len = sizeof(value),
	        .expiry = 99,
	        .flags = 7,
	        .cas = 5},
	    {.type = RECORD_SET, .access = 123456789},
	    {.type = RECORD_DELETE},
	    {.type = RECORD_TOUCH, .expiry = 12},
	};
	for (unsigned key_len = 1; key_len <= RECORD_KEY_MAX; key_len += 83)
		for (unsigned i = 0; i < 4; i++) {
			uint8_t key[RECORD_KEY_MAX], out[RECORD_OVERHEAD_MAX], ret_len;
			const uint8_t *ret_key;
			unit_fill(key, key_len, key_len + i);
			r[i].key = key;
			r[i].key_len = (uint8_t)key_len;
			size_t len = record_encode_head(&r[i], out);
			assert_true(record_find_key(out, len, &ret_key, &ret_len));
			assert_int_equal(ret_len, key_len);
			assert_memory_equal(ret_key, key, key_len);
			for (size_t cut = 0; cut < len; cut++)
				assert_false(record_find_key(out, cut, &ret_key, &ret_len));
			/* Of a whole record it is the same, and nothing is found in a part of one. */
			uint8_t *whole = malloc(record_size(&r[i]) + RECORD_OVERHEAD_MAX);
			len = record_encode(&r[i], whole);
			assert_int_equal(record_skim(whole, len, &ret_key, &ret_len), len);
			assert_int_equal(ret_len, key_len);
			assert_memory_equal(ret_key, key, key_len);
			for (size_t cut = 0; cut < len; cut++)
				assert_int_equal(record_skim(whole, cut, &ret_key, &ret_len), 0);
			free(whole);
		}
	static const uint8_t none[][4] = {
	    {RECORD_FLUSH, 0}, {0}, {RECORD_TOUCH, 3, 1, 2}, {RECORD_DELETE, 0}, {0xC3, 1, 1}};
	const uint8_t *key;
	uint8_t len;
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		assert_false(record_find_key(none[i], 4, &key, &len));
}

/* ---- the set ---- */

static void add(struct keyset *s, uint64_t first, uint32_t n, int shift)
{
	uint8_t body[8 + 4 * 64];
	struct keyblock b;
	bytes_store64(body, first);
	for (uint32_t i = 0; i < n; i++) {
		char key[32];
		int len =
		    snprintf(key, sizeof(key), "k%llu", (unsigned long long)(first + i + (uint64_t)shift));
		bytes_store32(body + 8 + 4 * i, keyblock_fingerprint(key, (size_t)len));
	}
	assert_true(keyblock_decode(body, 8 + 4 * (size_t)n, &b));
	keyset_add(s, &b);
}

static void add_one(struct keyset *s, uint64_t number, uint32_t fingerprint)
{
	uint8_t body[12];
	struct keyblock b;
	bytes_store64(body, number);
	bytes_store32(body + 8, fingerprint);
	assert_true(keyblock_decode(body, sizeof(body), &b));
	keyset_add(s, &b);
}

static uint64_t below(const struct keyset *s, unsigned n)
{
	char key[32];
	return keyset_below(s, key, (size_t)snprintf(key, sizeof(key), "k%u", n));
}

static void the_set_holds_exactly_the_keys_of_the_holes(void **state)
{
	(void)state;
	struct keyset *s = keyset_new();
	keyset_begin(s, 100, 110);
	add(s, 90, 15, 0);  /* 90 to 104, */
	add(s, 103, 30, 0); /* 103 to 132: they agree where they overlap */
	assert_int_equal(keyset_end(s), KEYSET_FOUND);
	keyset_begin(s, 300, 305);
	add(s, 300, 5, -197); /* keys k103 to k107 once more */
	assert_int_equal(keyset_end(s), KEYSET_FOUND);
	assert_int_equal(keyset_size(s), 15);
	keyset_seal(s);
	assert_int_equal(keyset_size(s), 10);
	for (unsigned n = 0; n < 2000; n++)
		assert_int_equal(below(s, n), n >= 103 && n < 108 ? 305 : n >= 100 && n < 110 ? 110 : 0);
	keyset_free(&s);
	assert_null(s);
	keyset_free(&s);
}

static void nothing_follows_from_part_of_a_hole(void **state)
{
	(void)state;
	struct keyset *s = keyset_new();
	keyset_begin(s, 100, 110);
	assert_int_equal(keyset_end(s), KEYSET_UNKNOWN);
	keyset_begin(s, 100, 110);
	add(s, 100, 4, 0);
	add(s, 105, 40, 0); /* 104 is missing */
	add(s, 1, 64, 0);
	assert_int_equal(keyset_end(s), KEYSET_UNKNOWN);
	keyset_begin(s, 100, 110);
	add(s, 90, 30, 0);
	add(s, 101, 3, 7); /* says otherwise */
	assert_int_equal(keyset_end(s), KEYSET_UNKNOWN);
	keyset_begin(s, 100, 110);
	add(s, 90, 15, 0);
	add_one(s, 105, KEYBLOCK_ANY);
	add(s, 106, 9, 0);
	assert_int_equal(keyset_end(s), KEYSET_FLUSHED);
	keyset_begin(s, 100, 110);
	add(s, 90, 15, 0);
	add_one(s, 105, 0); /* zeros are no fingerprints */
	add(s, 106, 9, 0);
	assert_int_equal(keyset_end(s), KEYSET_UNKNOWN);
	keyset_begin(s, 1, UINT64_MAX); /* whatever a file claims */
	add(s, 100, 10, 0);
	assert_int_equal(keyset_end(s), KEYSET_UNKNOWN);
	assert_int_equal(keyset_size(s), 0);
	keyset_begin(s, 100, 110);
	add(s, 90, 15, 0);
	add_one(s, 105, KEYBLOCK_NO_KEY);
	add(s, 106, 9, 0);
	assert_int_equal(keyset_end(s), KEYSET_FOUND);
	assert_int_equal(keyset_size(s), 9);
	keyset_free(&s);
}

static void a_large_set(void **state)
{
	(void)state;
	struct keyset *s = keyset_new();
	keyset_begin(s, 1, 64 * 3000 + 1);
	for (unsigned i = 0; i < 3000; i++)
		add(s, 1 + 64 * (uint64_t)i, 64, 0);
	assert_int_equal(keyset_end(s), KEYSET_FOUND);
	keyset_seal(s);
	for (unsigned n = 1; n <= 64 * 3000; n++)
		assert_int_equal(below(s, n), 64 * 3000 + 1);
	unsigned by_chance = 0;
	for (unsigned n = 0; n < 300000; n++)
		by_chance += below(s, 1000000 + n) != 0;
	/* 300000 * 192000 / 2^32 = 13 keys share a fingerprint on average */
	assert_in_range(by_chance, 0, 60);
	keyset_free(&s);
}

/* ---- the collector ---- */

static size_t put(uint8_t *out, unsigned n, size_t value_len)
{
	char key[32];
	struct record r = {.type = RECORD_SET, .key = (void *)key, .value_len = value_len};
	r.key_len = (uint8_t)snprintf(key, sizeof(key), "k%u", n);
	return record_encode_head(&r, out);
}

/* Whether the record describes exactly these numbers, and each key by its own. */
static void assert_describes(const uint8_t *out, size_t len, uint8_t type, uint64_t first, uint64_t last)
{
	struct record r;
	struct keyblock b;
	size_t used;
	assert_int_equal(record_decode(out, len, &r, &used), HEARTH_OK);
	assert_int_equal(used, len);
	assert_int_equal(r.type, type);
	assert_true(keyblock_decode(r.value, r.value_len, &b));
	assert_int_equal(b.first, first);
	assert_int_equal(b.first + b.count - 1, last);
	for (uint32_t i = 0; i < b.count; i++) {
		char key[32];
		int n = snprintf(key, sizeof(key), "k%u", (unsigned)(first + i));
		assert_int_equal(keyblock_get(&b, i), keyblock_fingerprint(key, (size_t)n));
	}
}

static uint8_t room[KEYBLOCK_RECORD_MAX];

static void stretches_are_described_behind_the_next_one(void **state)
{
	(void)state;
	struct keys k;
	uint8_t head[RECORD_OVERHEAD_MAX];
	uint64_t at = 1000, seq = 500, begun = seq, before = 0, before_at = 0, begun_at = at;
	assert_true(keys_init(&k));
	assert_int_equal(keys_seal_due(&k), 0);
	for (unsigned turns = 0; turns < 20; seq++) {
		/* Now and then one that is a stretch of its own. */
		size_t len = put(head, (unsigned)seq, 100), more = seq % 1000 == 0 ? 100000 : 100;
		bool full = keys_note(&k, seq, head, len, at, at + len + more);
		at += len + more;
		assert_true(full == (at - begun_at >= KEYS_STRETCH));
		if (!full)
			continue;
		assert_true((keys_due(&k) != 0) == (before != 0));
		if (before) {
			keys_encode(&k, room);
			assert_describes(room, keys_due(&k), RECORD_KEY_BLOCK, before, begun - 1);
			assert_true(at - before_at >= KEYS_STRETCH);
		}
		/* A seal has what is left, both of them. */
		size_t seal = keys_seal_due(&k);
		assert_true(seal > 0);
		keys_encode_seal(&k, room);
		assert_describes(room, seal, RECORD_SEAL, before ? before : begun, seq);
		assert_int_equal(keys_seal_due(&k), 0);
		keys_turn(&k);
		before = begun;
		before_at = begun_at = at;
		begun = seq + 1;
		turns++;
	}
	/* Also when the full one is all there is; once. */
	assert_int_equal(keys_seal_due(&k), 0);
	size_t len = put(head, (unsigned)seq, 1);
	assert_false(keys_note(&k, seq, head, len, at, at + len));
	size_t seal = keys_seal_due(&k);
	keys_encode_seal(&k, room);
	assert_describes(room, seal, RECORD_SEAL, before, seq);
	keys_destroy(&k);
}

static void numbers_that_do_not_follow_are_described_by_nothing(void **state)
{
	(void)state;
	struct keys k;
	uint8_t head[RECORD_OVERHEAD_MAX];
	assert_true(keys_init(&k));
	for (unsigned seq = 1; seq <= 3; seq++)
		keys_note(&k, seq, head, put(head, seq, 0), seq * 10, seq * 10 + 10);
	keys_turn(&k);
	for (unsigned seq = 4; seq <= 5; seq++)
		keys_note(&k, seq, head, put(head, seq, 0), seq * 10, seq * 10 + 10);
	for (unsigned seq = 8; seq <= 9; seq++)
		keys_note(&k, seq, head, put(head, seq, 0), seq * 10, seq * 10 + 10);
	assert_int_equal(keys_due(&k), 0);
	size_t len = keys_seal_due(&k);
	keys_encode_seal(&k, room);
	assert_describes(room, len, RECORD_SEAL, 8, 9);
	/* Back again, as after a write that failed. */
	keys_turn(&k);
	keys_note(&k, 9, head, put(head, 9, 0), 0, 10);
	len = keys_seal_due(&k);
	keys_encode_seal(&k, room);
	assert_describes(room, len, RECORD_SEAL, 9, 9);
	keys_destroy(&k);
}

static void flushes_and_the_shortest_records(void **state)
{
	(void)state;
	struct keys k;
	static const uint8_t flush[] = {RECORD_FLUSH, 0}, at[] = {RECORD_FLUSH_AT, 8, 1, 0, 0, 0, 0, 0, 0, 0},
	                     del[] = {RECORD_DELETE, 1, 'x'}, newer[] = {RECORD_MARK, 1, 'x'};
	struct record r;
	struct keyblock b;
	size_t used;
	assert_true(keys_init(&k));
	keys_note(&k, 1, flush, sizeof(flush), 0, 2);
	keys_note(&k, 2, at, sizeof(at), 2, 12);
	keys_note(&k, 3, newer, sizeof(newer), 12, 15);
	keys_note(&k, 4, del, sizeof(del), 15, 18);
	size_t len = keys_seal_due(&k);
	keys_encode_seal(&k, room);
	assert_int_equal(record_decode(room, len, &r, &used), HEARTH_OK);
	assert_true(keyblock_decode(r.value, r.value_len, &b) && b.count == 4);
	assert_int_equal(keyblock_get(&b, 0), KEYBLOCK_ANY);
	assert_int_equal(keyblock_get(&b, 1), KEYBLOCK_NO_KEY);
	assert_int_equal(keyblock_get(&b, 2), KEYBLOCK_ANY);
	assert_int_equal(keyblock_get(&b, 3), keyblock_fingerprint("x", 1));
	/* Two stretches of the shortest ones fit, and so does their seal. */
	uint64_t seq = 5, where = 18;
	for (unsigned turns = 0; turns < 2; seq++, where += 3)
		if (keys_note(&k, seq, del, sizeof(del), where, where + 3) && ++turns == 1)
			keys_turn(&k);
	assert_int_equal(keys_seal_due(&k), keyblock_record_size((uint32_t)(seq - 1)));
	/* More than can be, should a caller count no bytes: then it is given up, not overrun. */
	for (unsigned i = 0; i < 2 * KEYS_STRETCH_MAX; i++, seq++)
		keys_note(&k, seq, flush, sizeof(flush), where, where);
	assert_true(keys_seal_due(&k) <= sizeof(room));
	keys_destroy(&k);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_key_block_byte_by_byte),
    cmocka_unit_test(a_key_block_has_limits),
    cmocka_unit_test(no_key_has_a_reserved_fingerprint),
    cmocka_unit_test(the_key_is_found_in_the_head_alone),
    cmocka_unit_test(the_set_holds_exactly_the_keys_of_the_holes),
    cmocka_unit_test(nothing_follows_from_part_of_a_hole),
    cmocka_unit_test(a_large_set),
    cmocka_unit_test(stretches_are_described_behind_the_next_one),
    cmocka_unit_test(numbers_that_do_not_follow_are_described_by_nothing),
    cmocka_unit_test(flushes_and_the_shortest_records),
};
UNIT_MAIN(tests)
