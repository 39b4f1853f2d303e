/* SPDX-License-Identifier: BSD-3-Clause */
/* dict: training, packing and unpacking, and what is told of bytes that no packer made. */
#include <hearth/dict.h>
#include "base/packed.h"
#include "json.h"

#define SAMPLES 1000u
#define BYTES   (8u << 10)

/* A dictionary of values of a shape. */
static size_t train(enum json_shape shape, uint8_t out[BYTES])
{
	uint8_t *samples = malloc(SAMPLES * JSON_ROOM(4));
	size_t sizes[SAMPLES], at = 0;
	assert_non_null(samples);
	for (unsigned i = 0; i < SAMPLES; i++)
		at += sizes[i] = json_make(samples + at, shape, i, 1, 4);
	size_t len = dict_train(samples, sizes, SAMPLES, out, BYTES);
	assert_true(len > 256 && len <= BYTES);
	free(samples);
	return len;
}

struct bench {
	struct dict_set *set;
	const struct dict *dict;
	struct dict_context *context;
};

static struct bench begin(enum json_shape shape)
{
	uint8_t bytes[BYTES];
	size_t len = train(shape, bytes);
	struct bench b = {.set = dict_set_new(4), .context = dict_context_new(true)};
	assert_true(b.set && b.context);
	assert_int_equal(dict_add(b.set, dict_id_of(bytes, len), 9, bytes, len, &b.dict), HEARTH_OK);
	assert_true(dict_prepare(b.dict) && dict_prepare(b.dict));
	return b;
}

static void end(struct bench *b)
{
	dict_context_free(&b->context);
	dict_set_free(&b->set);
	assert_null(b->set);
}

static void what_is_packed_comes_back(void **state)
{
	(void)state;
	struct bench b = begin(JSON_PROFILE);
	static uint8_t value[PACKED_RAW_MAX + 4096], back[PACKED_RAW_MAX];
	static const unsigned items[] = {0, 1, 4, 20, 100, 900};
	uint64_t raw = 0, bytes = 0;
	for (unsigned i = 0; i < 600; i++) {
		size_t len = json_make(value, JSON_PROFILE, 5000 + i, i, items[i % 6]);
		len = len < PACKED_RAW_MAX ? len : PACKED_RAW_MAX;
		const uint8_t *packed;
		size_t n = dict_pack(b.context, b.dict, value, len, len - 16, &packed);
		assert_true(n > 0 && n <= len - 16);
		assert_int_equal(packed_raw_len(packed, n), len);
		if (i % 6 == 2) {
			raw += len;
			bytes += n;
		}
		memset(back, 0, len);
		if (i % 2) {
			memcpy(dict_room(b.context), packed, n);
			packed = dict_room(b.context);
		}
		assert_int_equal(dict_unpack(b.context, b.dict, packed, n, back, len), HEARTH_OK);
		assert_memory_equal(back, value, len);
	}
	assert_true(bytes * 5 < raw * 2); /* such values pack to a quarter or so */
	end(&b);
}

static void lengths_at_the_edges_pack(void **state)
{
	(void)state;
	struct bench b = begin(JSON_PROFILE);
	static uint8_t value[PACKED_RAW_MAX], back[PACKED_RAW_MAX];
	static const size_t lengths[] = {64, 65, 255, 256, 257, 511, 512, 4096, 65535, 65536};
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		const uint8_t *packed;
		size_t len = lengths[i];
		memset(value, 'a' + (int)i, len);
		size_t n = dict_pack(b.context, b.dict, value, len, len - 16, &packed);
		assert_true(n > 3);
		assert_int_equal(packed_raw_len(packed, n), len);
		assert_int_equal(dict_unpack(b.context, b.dict, packed, n, back, len), HEARTH_OK);
		assert_memory_equal(back, value, len);
	}
	end(&b);
}

static void what_does_not_get_smaller_is_left(void **state)
{
	(void)state;
	struct bench b = begin(JSON_PROFILE);
	uint8_t value[4096];
	uint32_t rnd = 7;
	const uint8_t *packed;
	for (size_t i = 0; i < sizeof(value); i++)
		value[i] = (uint8_t)(unit_random(&rnd) >> 8);
	for (size_t len = PACKED_RAW_MIN; len <= sizeof(value); len += 61)
		assert_int_equal(dict_pack(b.context, b.dict, value, len, len - 16, &packed), 0);
	/* The next one does. */
	size_t len = json_make(value, JSON_PROFILE, 77, 1, 4);
	assert_in_range(dict_pack(b.context, b.dict, value, len, len - 16, &packed), 1, len - 16);
	end(&b);
}

/* Whatever is done to the bytes: no crash, no byte outside, and no value of another length than is said. */
static void hostile_bytes_are_refused(void **state)
{
	(void)state;
	struct bench b = begin(JSON_PROFILE);
	uint8_t value[JSON_ROOM(4)];
	const uint8_t *p;
	size_t len = json_make(value, JSON_PROFILE, 77, 1, 4);
	size_t n = dict_pack(b.context, b.dict, value, len, len, &p);
	assert_true(n > 0);
	uint8_t *packed = malloc(n), *out = malloc(len);
	memcpy(packed, p, n);
	for (size_t cut = 0; cut < n; cut++) {
		uint8_t *head = malloc(cut + 1);
		memcpy(head, packed, cut);
		assert_int_equal(dict_unpack(b.context, b.dict, head, cut, out, len), HEARTH_DAMAGED);
		free(head);
	}
	for (size_t at = 0; at < n; at++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			packed[at] ^= (uint8_t)(1u << bit);
			size_t says = packed_raw_len(packed, n);
			if (says == len)
				dict_unpack(b.context, b.dict, packed, n, out, len);
			else
				assert_int_equal(
				    dict_unpack(b.context, b.dict, packed, n, out, len), HEARTH_DAMAGED);
			packed[at] ^= (uint8_t)(1u << bit);
		}
	}
	/* A header that says another length, which is believed by whoever makes room. */
	uint8_t *other = malloc(len + 1);
	packed[1]++;
	assert_int_equal(packed_raw_len(packed, n), len + 1);
	assert_int_equal(dict_unpack(b.context, b.dict, packed, n, other, len + 1), HEARTH_DAMAGED);
	packed[1] = (uint8_t)(packed[1] - 2);
	assert_int_equal(packed_raw_len(packed, n), len - 1);
	assert_int_equal(dict_unpack(b.context, b.dict, packed, n, other, len - 1), HEARTH_DAMAGED);
	assert_int_equal(
	    dict_unpack(b.context, b.dict, packed, PACKED_RAW_MAX + 1, out, len), HEARTH_DAMAGED);
	free(other);
	free(packed);
	free(out);
	end(&b);
}

static void heads_that_are_none_have_no_length(void **state)
{
	(void)state;
	static const uint8_t heads[][4] = {{0x20, 63, 0, 0}, {0x00, 100, 0, 0}, {0x24, 100, 0, 0},
	    {0x21, 100, 0, 0}, {0xa0, 0, 1, 0}, {0xe0, 0, 1, 0}, {0x60, 1, 0xff, 0}};
	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++)
		assert_int_equal(packed_raw_len(heads[i], 4), 0);
	static const uint8_t one[] = {0x20, 64, 0, 0}, two[] = {0x60, 0, 0xff, 0};
	assert_int_equal(packed_raw_len(one, 2), 0);
	assert_int_equal(packed_raw_len(one, 3), 64);
	assert_int_equal(packed_raw_len(two, 3), 0);
	assert_int_equal(packed_raw_len(two, 4), 65536);
}

static void a_dictionary_is_what_its_id_says(void **state)
{
	(void)state;
	uint8_t bytes[DICT_BYTES_MAX + 1] = {0};
	const struct dict *dict;
	size_t len = train(JSON_PROFILE, bytes);
	uint32_t id = dict_id_of(bytes, len);
	struct dict_set *set = dict_set_new(2);
	assert_non_null(set);
	assert_int_equal(dict_add(set, id + 1, 9, bytes, len, &dict), HEARTH_DAMAGED);
	assert_int_equal(dict_add(set, id, 9, bytes, len - 1, &dict), HEARTH_DAMAGED);
	assert_int_equal(dict_add(set, id, 9, bytes, sizeof(bytes), &dict), HEARTH_TOO_LARGE);
	/* Bytes with an id of their own that are no dictionary. */
	assert_int_equal(dict_add(set, dict_id_of(bytes, 9), 9, bytes, 9, &dict), HEARTH_DAMAGED);
	assert_int_equal(dict_add(set, dict_id_of(bytes, 4), 9, bytes, 4, &dict), HEARTH_DAMAGED);
	assert_int_equal(dict_add(set, dict_id_of(bytes + 1, 999), 9, bytes + 1, 999, &dict), HEARTH_DAMAGED);
	assert_null(dict);
	assert_int_equal(dict_count(set), 0);
	assert_null(dict_find(set, id));
	assert_int_equal(dict_add(set, id, 9, bytes, len, &dict), HEARTH_OK);
	assert_ptr_equal(dict_find(set, id), dict);
	assert_int_equal(dict_id(dict), id);
	assert_int_equal(dict_sizes(dict), 9);
	size_t kept;
	assert_memory_equal(dict_bytes(dict, &kept), bytes, len);
	assert_int_equal(kept, len);
	dict_set_free(&set);
}

static void a_set_has_a_bound_and_drops_what_nothing_uses(void **state)
{
	(void)state;
	uint8_t bytes[3][BYTES];
	uint32_t id[3];
	size_t len[3];
	const struct dict *dict[3], *again;
	struct dict_set *set = dict_set_new(2);
	len[0] = train(JSON_PROFILE, bytes[0]);
	len[1] = train(JSON_ORDER, bytes[1]);
	/* The same with another id within is another dictionary. */
	memcpy(bytes[2], bytes[0], len[2] = len[0]);
	bytes[2][4] ^= 1;
	for (unsigned i = 0; i < 3; i++) {
		id[i] = dict_id_of(bytes[i], len[i]);
		assert_int_equal(dict_add(set, id[i], 9, bytes[i], len[i], &dict[i]),
		    i < 2 ? HEARTH_OK : HEARTH_TOO_LARGE);
	}
	assert_int_equal(dict_add(set, id[0], 9, bytes[0], len[0], &again), HEARTH_OK);
	assert_ptr_equal(again, dict[0]);
	assert_int_equal(dict_count(set), 2);
	assert_ptr_equal(dict_get(set, 1), dict[1]);
	dict_use(dict[1]);
	dict_use(dict[1]);
	dict_drop_unused(set);
	assert_int_equal(dict_count(set), 1);
	assert_ptr_equal(dict_get(set, 0), dict[1]);
	assert_ptr_equal(dict_find(set, id[1]), dict[1]);
	assert_null(dict_find(set, id[0]));
	assert_int_equal(dict_add(set, id[2], 9, bytes[2], len[2], &again), HEARTH_OK);
	dict_set_free(&set);
}

/* Not told apart by what unpacks, which may be garbage of the right length: hence ids that are checksums. */
static void another_dictionary_does_not_bring_the_value_back(void **state)
{
	(void)state;
	struct bench b = begin(JSON_PROFILE), other = begin(JSON_ORDER);
	uint8_t value[JSON_ROOM(4)], out[JSON_ROOM(4)] = {0};
	const uint8_t *packed;
	size_t len = json_make(value, JSON_PROFILE, 77, 1, 4);
	size_t n = dict_pack(b.context, b.dict, value, len, len, &packed);
	assert_true(n > 0 && dict_id(b.dict) != dict_id(other.dict));
	bool same = dict_unpack(b.context, other.dict, packed, n, out, len) == HEARTH_OK &&
	            memcmp(out, value, len) == 0;
	assert_false(same);
	end(&b);
	end(&other);
}

static void what_has_nothing_in_common_trains_nothing(void **state)
{
	(void)state;
	uint8_t samples[100], out[BYTES];
	size_t sizes[] = {50, 50};
	memset(samples, 1, sizeof(samples));
	assert_int_equal(dict_train(samples, sizes, 2, out, sizeof(out)), 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(what_is_packed_comes_back),
    cmocka_unit_test(lengths_at_the_edges_pack),
    cmocka_unit_test(what_does_not_get_smaller_is_left),
    cmocka_unit_test(hostile_bytes_are_refused),
    cmocka_unit_test(heads_that_are_none_have_no_length),
    cmocka_unit_test(a_dictionary_is_what_its_id_says),
    cmocka_unit_test(a_set_has_a_bound_and_drops_what_nothing_uses),
    cmocka_unit_test(another_dictionary_does_not_bring_the_value_back),
    cmocka_unit_test(what_has_nothing_in_common_trains_nothing),
};
UNIT_MAIN(tests)
