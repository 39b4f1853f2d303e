/* SPDX-License-Identifier: BSD-3-Clause */
/* record: golden bytes of each type, every combination of optional fields, and the two properties that matter
 * for hostile input: nothing outside is read, and what decodes has exactly one encoding. */
#include "unit.h"
#include <hearth/record.h>

#define KEY(s) .key = (const uint8_t *)(s), .key_len = sizeof(s) - 1

static void assert_encodes(const struct record *r, const char *hex)
{
	uint8_t out[512];
	size_t size = record_size(r);
	assert_int_equal(record_encode(r, out), size);
	unit_assert_hex(out, size, hex);
	struct record back;
	size_t len;
	assert_int_equal(record_decode(out, size, &back, &len), HEARTH_OK);
	assert_int_equal(len, size);
	struct record again;
	record_reread(out, &again);
	assert_memory_equal(&again, &back, sizeof(back));
	assert_int_equal(back.type, r->type);
	assert_int_equal(back.key_len, r->key_len);
	assert_true(back.expiry == r->expiry);
}

/* Should one of these change, old files are misread: raise the version, keep the old reader. */
static void golden_bytes(void **state)
{
	(void)state;
	struct record plain = {
	    .type = RECORD_SET, KEY("key"), .value = (const uint8_t *)"value", .value_len = 5};
	assert_encodes(&plain, "010b"
	                       "0000"
	                       "03"
	                       "6b6579"
	                       "76616c7565");
	struct record full = plain;
	full.bits = RECORD_STALE | RECORD_WIN_SENT | RECORD_FETCHED | RECORD_BINARY_KEY |
	            2 << RECORD_USE_SHIFT | RECORD_MAIN_QUEUE;
	full.seq = 0x0102030405060708;
	full.expiry = 0x6543210f;
	full.flags = 0xdeadbeef;
	full.cas = 0x1112131415161718;
	full.access = 0x65432100;
	full.dict = 9;
	assert_encodes(&full, "0130"
	                      "ff1b"
	                      "03"
	                      "0807060504030201"
	                      "0f21436500000000"
	                      "efbeadde"
	                      "1817161514131211"
	                      "80c28caa06"
	                      "09000000"
	                      "6b6579"
	                      "76616c7565");
	assert_encodes(&(struct record){.type = RECORD_DELETE, KEY("key")}, "0203"
	                                                                    "6b6579");
	assert_encodes(&(struct record){.type = RECORD_TOUCH, KEY("key"), .expiry = 0x6543210f},
	    "030b"
	    "0f21436500000000"
	    "6b6579");
	assert_encodes(&(struct record){.type = RECORD_FLUSH}, "0400");
	assert_encodes(&(struct record){.type = RECORD_PASS}, "8700");
	assert_encodes(&(struct record){.type = RECORD_DICT,
	                   .dict = 0x01020304,
	                   .sizes = 9,
	                   .value = (const uint8_t *)"dictionary",
	                   .value_len = 10},
	    "470f"
	    "04030201"
	    "09"
	    "64696374696f6e617279");
	assert_encodes(&(struct record){.type = RECORD_FLUSH_AT, .expiry = -2}, "0508"
	                                                                        "feffffffffffffff");
}

static void assert_same(const struct record *a, const struct record *b)
{
	assert_int_equal(a->type, b->type);
	assert_int_equal(a->bits & (RECORD_STATE_BITS | 3 << RECORD_USE_SHIFT | RECORD_MAIN_QUEUE),
	    b->bits & (RECORD_STATE_BITS | 3 << RECORD_USE_SHIFT | RECORD_MAIN_QUEUE));
	assert_int_equal(a->key_len, b->key_len);
	assert_memory_equal(a->key, b->key, a->key_len);
	assert_true(a->value_len == b->value_len);
	if (a->value_len > 0)
		assert_memory_equal(a->value, b->value, a->value_len);
	assert_true(a->seq == b->seq && a->cas == b->cas && a->expiry == b->expiry && a->access == b->access);
	assert_int_equal(a->flags, b->flags);
	assert_int_equal(a->dict, b->dict);
}

static void round_trip(const struct record *r)
{
	size_t size = record_size(r), len;
	uint8_t *out = malloc(size), head[RECORD_OVERHEAD_MAX];
	assert_non_null(out);
	assert_int_equal(record_encode(r, out), size);
	size_t head_len = record_encode_head(r, head);
	assert_int_equal(head_len + r->value_len, size);
	assert_memory_equal(head, out, head_len);
	struct record back;
	assert_int_equal(record_decode(out, size, &back, &len), HEARTH_OK);
	assert_int_equal(len, size);
	assert_same(&back, r);
	free(out);
}

static void every_combination_comes_back(void **state)
{
	(void)state;
	static const size_t value_lens[] = {0, 1, 100, 16383, 70000};
	static const uint8_t key_lens[] = {1, 7, 250};
	uint8_t key[250], *value = malloc(70000);
	unit_fill(key, sizeof(key), 7);
	unit_fill(value, 70000, 8);
	for (unsigned fields = 0; fields < 64; fields++) {
		for (unsigned i = 0; i < 15; i++) {
			struct record r = {.type = RECORD_SET,
			    .bits = (uint16_t)((fields * 37 + i * 11) << 6 & (RECORD_BITS_KNOWN & ~0x3f)),
			    .key = key,
			    .key_len = key_lens[i % 3],
			    .value = value,
			    .value_len = value_lens[i / 3]};
			r.seq = fields & 1 ? UINT64_MAX - i : 0;
			r.expiry = fields & 2 ? (i & 1 ? INT64_MIN + i : (int64_t)i + 1) : 0;
			r.flags = fields & 4 ? UINT32_MAX - i : 0;
			r.cas = fields & 8 ? (UINT64_C(1) << 53) + i : 0;
			r.access = fields & 16 ? (i & 1 ? INT64_MAX : 1 + i * 1000) : 0;
			r.dict = fields & 32 ? i + 1 : 0;
			round_trip(&r);
		}
	}
	free(value);
}

static void large_values_come_back(void **state)
{
	(void)state;
	size_t len = 3 << 20;
	uint8_t *value = malloc(len);
	unit_fill(value, len, 9);
	struct record r = {.type = RECORD_SET, KEY("large"), .value = value, .value_len = len, .seq = 1};
	round_trip(&r);
	free(value);
}

/* Decodes from memory allocated to the byte. */
static enum hearth_status decode_exact(const uint8_t *data, size_t len, struct record *r, uint8_t **ret_copy)
{
	size_t used;
	*ret_copy = malloc(len ? len : 1);
	memcpy(*ret_copy, data, len);
	enum hearth_status status = record_decode(*ret_copy, len, r, &used);
	if (status == HEARTH_OK)
		assert_true(used > 0 && used <= len);
	return status;
}

/* Whatever decodes as a type we know says the same in the same bytes again. */
static void assert_canonical(const uint8_t *data, size_t len)
{
	struct record r;
	uint8_t *copy;
	if (decode_exact(data, len, &r, &copy) == HEARTH_OK && (r.type & RECORD_MAY_SKIP) == 0) {
		size_t size = record_size(&r);
		assert_true(size <= len);
		uint8_t *again = malloc(size);
		record_encode(&r, again);
		assert_memory_equal(again, data, size);
		free(again);
	}
	free(copy);
}

static size_t sample(uint8_t *out, unsigned which)
{
	struct record r = {
	    .type = RECORD_SET, KEY("sample"), .value = (const uint8_t *)"some bytes", .value_len = 10};
	if (which & 1)
		r.seq = 77, r.expiry = 88, r.access = 99;
	if (which & 2)
		r.flags = 3, r.cas = 4, r.dict = 5;
	if (which == 4)
		r = (struct record){.type = RECORD_TOUCH, KEY("sample"), .expiry = 5};
	if (which == 5)
		r = (struct record){.type = RECORD_DELETE, KEY("sample")};
	if (which == 6)
		r = (struct record){.type = RECORD_FLUSH_AT, .expiry = 5};
	if (which == 7)
		r = (struct record){.type = RECORD_DICT,
		    .dict = 5,
		    .sizes = 9,
		    .value = (const uint8_t *)"some bytes",
		    .value_len = 10};
	return record_encode(&r, out);
}

static void any_change_is_refused_or_canonical(void **state)
{
	(void)state;
	uint8_t bytes[128], changed[128];
	for (unsigned which = 0; which < 8; which++) {
		size_t len = sample(bytes, which);
		for (size_t i = 0; i < len; i++) {
			for (unsigned v = 0; v < 256; v++) {
				memcpy(changed, bytes, len);
				changed[i] = (uint8_t)v;
				assert_canonical(changed, len);
			}
		}
	}
	uint32_t rnd = 12345;
	for (unsigned n = 0; n < 300000; n++) {
		size_t len = sample(bytes, n % 8);
		for (unsigned k = 0; k < 1 + n % 4; k++)
			bytes[unit_random(&rnd) % (k == 0 ? 5 : len)] = (uint8_t)unit_random(&rnd);
		assert_canonical(bytes, unit_random(&rnd) % (len + 1));
	}
}

static void no_prefix_is_a_record(void **state)
{
	(void)state;
	uint8_t bytes[128], *copy;
	struct record r;
	for (unsigned which = 0; which < 8; which++) {
		size_t len = sample(bytes, which);
		for (size_t cut = 1; cut < len; cut++) {
			assert_int_equal(decode_exact(bytes, cut, &r, &copy), HEARTH_DAMAGED);
			free(copy);
		}
		assert_int_equal(decode_exact(bytes, 0, &r, &copy), HEARTH_END);
		free(copy);
	}
}

static void assert_decodes(const char *hex, enum hearth_status expected)
{
	uint8_t bytes[600], *copy;
	size_t len = strlen(hex) / 2;
	for (size_t i = 0; i < len; i++) {
		unsigned v;
		assert_int_equal(sscanf(hex + 2 * i, "%2x", &v), 1);
		bytes[i] = (uint8_t)v;
	}
	struct record r;
	assert_int_equal(decode_exact(bytes, len, &r, &copy), expected);
	free(copy);
}

static void refuses_what_nobody_writes(void **state)
{
	(void)state;
	assert_decodes("0000", HEARTH_DAMAGED);         /* zeros */
	assert_decodes("00", HEARTH_DAMAGED);           /* a single one */
	assert_decodes("0004deadbeef", HEARTH_DAMAGED); /* type 0 */
	assert_decodes("0104000000"
	               "61",
	    HEARTH_DAMAGED); /* set, key length 0 */
	assert_decodes("0104000002"
	               "61",
	    HEARTH_DAMAGED); /* set, key longer than the body */
	assert_decodes("0104000001"
	               "61",
	    HEARTH_OK);
	assert_decodes("0200", HEARTH_DAMAGED);                 /* delete without a key */
	assert_decodes("03080000000000000000", HEARTH_DAMAGED); /* touch without a key */
	assert_decodes("0401"
	               "00",
	    HEARTH_DAMAGED); /* flush with a body */
	assert_decodes("05090000000000000000"
	               "00",
	    HEARTH_DAMAGED); /* trailing garbage */
	assert_decodes("0507"
	               "00000000000000",
	    HEARTH_DAMAGED);
	assert_decodes("048000", HEARTH_DAMAGED);                 /* length in a longer form than needed */
	assert_decodes("01ffffffffffffffffff01", HEARTH_DAMAGED); /* length near 2^64 */
	assert_decodes("01ffffffffffffffffff7f", HEARTH_DAMAGED);
	assert_decodes("01ffffffff0f"
	               "000001",
	    HEARTH_DAMAGED);                                    /* 2^32 - 1 */
	assert_decodes("01808080801000000161", HEARTH_DAMAGED); /* 2^32 */
	/* A field that is there and zero. */
	assert_decodes("010c010001"
	               "0000000000000000"
	               "61",
	    HEARTH_DAMAGED);
	assert_decodes("010c020001"
	               "0000000000000000"
	               "61",
	    HEARTH_DAMAGED);
	assert_decodes("0108040001"
	               "00000000"
	               "61",
	    HEARTH_DAMAGED);
	assert_decodes("0105100001"
	               "00"
	               "61",
	    HEARTH_DAMAGED);
	/* A dictionary without id, without bytes, and one. */
	assert_decodes("4706"
	               "0000000009"
	               "aa",
	    HEARTH_DAMAGED);
	assert_decodes("4705"
	               "0100000009",
	    HEARTH_DAMAGED);
	assert_decodes("4703"
	               "010000",
	    HEARTH_DAMAGED);
	assert_decodes("4706"
	               "0100000009"
	               "aa",
	    HEARTH_OK);
	/* A last access beyond 63 bits. */
	assert_decodes("010e100001"
	               "ffffffffffffffffff01"
	               "61",
	    HEARTH_DAMAGED);
	assert_decodes("010d100001"
	               "ffffffffffffffff7f"
	               "61",
	    HEARTH_OK);
}

static void knows_what_it_does_not_know(void **state)
{
	(void)state;
	struct record r;
	size_t len;
	/* A bit beyond those known: the record must not be misread. */
	assert_decodes("0104002001"
	               "61",
	    HEARTH_NEWER);
	assert_decodes("0104008001"
	               "61",
	    HEARTH_NEWER);
	assert_decodes("0600", HEARTH_NEWER);
	assert_decodes("4600", HEARTH_NEWER);
	assert_decodes("7f02"
	               "aabb",
	    HEARTH_NEWER);
	assert_decodes("7f03"
	               "aabb",
	    HEARTH_DAMAGED);
	static const uint8_t skip[] = {0xC3, 3, 1, 2, 3, RECORD_FLUSH, 0};
	assert_int_equal(record_decode(skip, sizeof(skip), &r, &len), HEARTH_OK);
	assert_int_equal(len, 5);
	assert_int_equal(r.type, 0xC3);
	assert_null(r.key);
	assert_false(record_takes_number(RECORD_KEY_BLOCK));
	assert_false(record_takes_number(RECORD_DICT));
	assert_true(record_takes_number(RECORD_SET) && record_takes_number(RECORD_FLUSH_AT));
	assert_true(record_takes_number(RECORD_PASS) && (RECORD_PASS & RECORD_MAY_SKIP));
}

static void keys_have_limits(void **state)
{
	(void)state;
	for (unsigned type = RECORD_SET; type <= RECORD_TOUCH; type++) {
		for (unsigned key_len = 249; key_len <= 252; key_len++) {
			uint8_t bytes[300] = {0}, *copy;
			size_t n = 0, body = key_len + (type == RECORD_SET        ? 3
			                                   : type == RECORD_TOUCH ? 8
			                                                          : 0);
			bytes[n++] = (uint8_t)type;
			bytes[n++] = (uint8_t)(body | 0x80);
			bytes[n++] = (uint8_t)(body >> 7);
			if (type == RECORD_SET)
				bytes[4] = 0, bytes[5] = (uint8_t)key_len;
			struct record r;
			enum hearth_status status = decode_exact(bytes, n + body, &r, &copy);
			assert_int_equal(status, key_len <= RECORD_KEY_MAX ? HEARTH_OK : HEARTH_DAMAGED);
			free(copy);
		}
	}
}

static void names_its_types(void **state)
{
	(void)state;
	assert_string_equal(record_type_name(RECORD_SET), "set");
	assert_string_equal(record_type_name(RECORD_FLUSH_AT), "flush_at");
	assert_string_equal(record_type_name(RECORD_PASS), "pass");
	assert_string_equal(record_type_name(0), "unknown");
	assert_string_equal(record_type_name(0x7f), "unknown");
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(golden_bytes),
    cmocka_unit_test(every_combination_comes_back),
    cmocka_unit_test(large_values_come_back),
    cmocka_unit_test(any_change_is_refused_or_canonical),
    cmocka_unit_test(no_prefix_is_a_record),
    cmocka_unit_test(refuses_what_nobody_writes),
    cmocka_unit_test(knows_what_it_does_not_know),
    cmocka_unit_test(keys_have_limits),
    cmocka_unit_test(names_its_types),
};
UNIT_MAIN(tests)
