/* SPDX-License-Identifier: BSD-3-Clause */
/* compress: packed values through the engine: when they are packed, that every command sees them as they were set, over starts
 * with and without the option, and what becomes of one that does not unpack. */
#include <signal.h>
#include "gate.h"
#include "base/packed.h"
#include "json.h"

#define KEYS 400u

static struct place place_packing(uint64_t memory)
{
	struct place p = {.s = unit_scratch_begin(), .options = engine_defaults()};
	p.options.compress = true;
	p.options.memory = memory;
	p.e = engine_at(p.s.path, &p.options, NULL);
	p.w = engine_get_worker(p.e, 0);
	alarm(120);
	return p;
}

static struct engine_packing figures(struct place *p)
{
	struct engine_stats st;
	engine_get_stats(p->e, &st);
	return st.packing;
}

static enum store_result put(struct place *p, uint32_t key, struct store_put put, struct store_stored *ret)
{
	char name[32];
	enum store_result r;
	uint64_t need;
	do {
		engine_turn(p->w);
		struct store_key k = key_at(p->w, key, name);
		r = engine_put(p->w, &k, &put, ret);
		need = engine_need(p->w);
		engine_turn_end(p->w);
	} while (r == STORE_WAIT);
	if (key % 64 == 0)
		engine_await(p->e, need);
	return r;
}

static unsigned items_of(uint32_t key)
{
	return key % 16 == 0 ? 60 : key % 3;
}

static void set_json(struct place *p, enum json_shape shape, uint32_t key, uint32_t version)
{
	static uint8_t value[JSON_ROOM(400)];
	size_t len = json_make(value, shape, key, version, items_of(key));
	struct store_stored stored;
	assert_int_equal(
	    put(p, key, (struct store_put){.value = value, .value_len = len, .flags = key}, &stored),
	    STORE_OK);
	assert_int_equal(stored.value_len, len);
}

/* Until so many dictionaries were trained: then what is set is packed. */
static void await_dicts(struct place *p, enum json_shape shape, uint64_t n)
{
	for (uint32_t i = 0; figures(p).trainings < n; i++) {
		set_json(p, shape, 100000 + i % 5000, i);
		if (i > 3000)
			pause_ms(1);
	}
}

/* As a reader does that has no room at first. */
static enum store_result fetch(struct place *p, uint32_t key, struct shown *s)
{
	char name[32];
	enum store_result r;
	while (engine_turn(p->w), (r = engine_get(p->w, &(struct store_key[]){key_at(p->w, key, name)}[0],
	                               shown_emit, s)) == STORE_MORE_ROOM)
		shown_grow(s);
	if (r == STORE_OK)
		engine_unpin(p->w, &s->pin);
	engine_turn_end(p->w);
	return r;
}

static void assert_is(struct place *p, uint32_t key, const void *value, size_t len)
{
	struct shown s = {0};
	assert_int_equal(fetch(p, key, &s), STORE_OK);
	assert_int_equal(s.len, len);
	assert_memory_equal(s.data, value, len);
	shown_free(&s);
}

static void assert_json(struct place *p, enum json_shape shape, uint32_t key, uint32_t version)
{
	static uint8_t value[JSON_ROOM(400)];
	assert_is(p, key, value, json_make(value, shape, key, version, items_of(key)));
}

static bool is_packed(struct place *p, uint32_t key)
{
	struct store_thread *t = store_thread_open(p->e->store, NULL);
	struct shown s = {0};
	char name[32];
	struct store_key k = key_of(p->e->store, key, name);
	MUST(store_fetch(p->e->store, t, &k, &s) == STORE_OK);
	bool packed = s.dict != 0;
	shown_free(&s);
	store_thread_close(&t);
	return packed;
}

static struct place place_packed(void)
{
	struct place p = place_packing(64 * MIB);
	await_dicts(&p, JSON_PROFILE, 3); /* a class each for 0, for 1 and 2, and for 60 items */
	for (uint32_t key = 0; key < KEYS; key++)
		set_json(&p, JSON_PROFILE, key, 1);
	return p;
}

static void values_pack_and_come_back_over_starts(void **state)
{
	(void)state;
	struct place p = place_packed();
	struct engine_packing before = figures(&p);
	assert_true(before.on && before.sets >= KEYS / 2 && before.raw_bytes > 2 * before.packed_bytes);
	/* Killed, from the log; without the option; with it again, from a snapshot. */
	for (unsigned start = 0; start < 4; start++) {
		unsigned packed = 0;
		for (uint32_t key = 0; key < KEYS; key++) {
			assert_json(&p, JSON_PROFILE, key, 1);
			packed += is_packed(&p, key);
		}
		assert_true(packed > KEYS / 2);
		struct engine_packing now = figures(&p);
		assert_true(now.unpacked >= packed && now.errors == 0 && now.dictionaries >= 3);
		if (start == 1)
			assert_int_equal(engine_snapshot(p.e, NULL, NULL), HEARTH_OK);
		for (struct engine_stats st = {0}; start == 1 && st.snapshots == 0; pause_ms(1))
			engine_get_stats(p.e, &st);
		p.options.compress = start % 2;
		place_again(&p);
	}
	/* It packs with what it found: nothing is trained anew. */
	assert_int_equal(figures(&p).trainings, 0);
	set_json(&p, JSON_PROFILE, 1, 2);
	assert_json(&p, JSON_PROFILE, 1, 2);
	assert_true(is_packed(&p, 1));
	place_end(&p);
}

/* A look that finds no room has not happened: the next one is the first. */
static void a_look_without_room_is_none(void **state)
{
	(void)state;
	struct place p = place_packed();
	struct shown s = {0};
	assert_int_equal(fetch(&p, 7, &s), STORE_OK);
	assert_true(s.refused > 0 && !s.fetched);
	assert_int_equal(fetch(&p, 7, &s), STORE_OK);
	assert_true(s.fetched);
	shown_free(&s);
	place_end(&p);
}

static void what_changes_a_part_sees_the_whole(void **state)
{
	(void)state;
	struct place p = place_packed();
	uint8_t value[JSON_ROOM(60) + 16];
	struct store_stored stored;
	size_t len = json_make(value, JSON_PROFILE, 32, 1, items_of(32));
	assert_true(is_packed(&p, 32));
	/* A compare value that is another: nothing happens. */
	assert_int_equal(
	    put(&p, 32,
	        (struct store_put){
	            .mode = STORE_APPEND, .compare = 1, .value = (const uint8_t *)"x", .value_len = 1},
	        &stored),
	    STORE_EXISTS);
	struct engine_stats before, after;
	engine_get_stats(p.e, &before);
	memcpy(value + len, "tail", 4);
	assert_int_equal(
	    put(&p, 32,
	        (struct store_put){.mode = STORE_APPEND, .value = (const uint8_t *)"tail", .value_len = 4},
	        &stored),
	    STORE_OK);
	engine_get_stats(p.e, &after);
	assert_int_equal(after.last_seq, before.last_seq + 1);
	assert_int_equal(stored.value_len, len + 4);
	assert_is(&p, 32, value, len + 4);
	assert_false(is_packed(&p, 32));
	memmove(value + 2, value, len = json_make(value, JSON_PROFILE, 1, 1, items_of(1)));
	memcpy(value, "to", 2);
	assert_int_equal(
	    put(&p, 1,
	        (struct store_put){.mode = STORE_PREPEND, .value = (const uint8_t *)"to", .value_len = 2},
	        &stored),
	    STORE_OK);
	assert_is(&p, 1, value, len + 2);
	place_again(&p);
	assert_is(&p, 1, value, len + 2);
	place_end(&p);
}

/* Zeros and blanks around a number pack well, and count. */
static void a_packed_number_counts(void **state)
{
	(void)state;
	struct place p = place_packed();
	uint8_t value[200];
	char name[32];
	struct store_number number;
	memset(value, '0', sizeof(value));
	memcpy(value + 190, "41        ", 10);
	struct store_stored stored;
	assert_int_equal(
	    put(&p, 5, (struct store_put){.value = value, .value_len = sizeof(value)}, &stored), STORE_OK);
	assert_true(is_packed(&p, 5));
	engine_turn(p.w);
	struct store_key k = key_at(p.w, 5, name);
	assert_int_equal(engine_arith(p.w, &k, &(struct store_arith){.delta = 1}, &number), STORE_OK);
	assert_int_equal(number.value, 42);
	k = key_at(p.w, 2, name);
	assert_int_equal(engine_arith(p.w, &k, &(struct store_arith){.delta = 1}, &number), STORE_NOT_NUMBER);
	engine_turn_end(p.w);
	assert_is(&p, 5, "42", 2);
	place_end(&p);
}

static void touches_and_marks_leave_it_packed(void **state)
{
	(void)state;
	struct place p = place_packed();
	char name[32];
	struct shown s = {0};
	assert_int_equal(fetch(&p, 3, &s), STORE_OK); /* makes room in s */
	uint64_t cas = s.cas;
	engine_turn(p.w);
	struct store_key k = key_at(p.w, 3, name);
	int64_t expiry = engine_expiry(p.w, 1000);
	static uint8_t value[JSON_ROOM(60)];
	size_t len = json_make(value, JSON_PROFILE, 3, 1, items_of(3));
	memset(s.data, 0, s.len);
	assert_int_equal(engine_touch(p.w, &k, expiry, shown_emit, &s), STORE_OK);
	assert_memory_equal(s.data, value, len);
	memset(s.data, 0, s.len);
	const struct store_mark win = {.win = true}, stale = {.stale = true};
	assert_int_equal(engine_mark(p.w, &k, &win, shown_emit, &s), STORE_OK);
	assert_memory_equal(s.data, value, len);
	assert_true(!s.win_sent && s.cas == cas);
	assert_int_equal(engine_mark(p.w, &k, &stale, NULL, NULL), STORE_OK);
	memset(s.data, 0, s.len);
	assert_int_equal(engine_peek(p.w, &k, shown_emit, &s), STORE_OK);
	assert_memory_equal(s.data, value, len);
	assert_true(s.stale && s.cas != cas && s.expiry == expiry);
	uint64_t need = engine_need(p.w);
	engine_turn_end(p.w);
	engine_await(p.e, need);
	for (unsigned start = 0; start < 2; start++) {
		assert_true(is_packed(&p, 3));
		assert_int_equal(fetch(&p, 3, &s), STORE_OK);
		assert_memory_equal(s.data, value, len);
		assert_true(s.stale && s.expiry == expiry);
		place_again(&p);
	}
	shown_free(&s);
	place_end(&p);
}

static void what_does_not_pack_is_kept_as_it_is(void **state)
{
	(void)state;
	struct place p = place_packed();
	uint8_t value[300];
	struct store_stored stored;
	for (uint32_t key = 0; key < 200; key++) {
		value_make(value, sizeof(value), key, 1);
		assert_int_equal(
		    put(&p, key, (struct store_put){.value = value, .value_len = sizeof(value)}, &stored),
		    STORE_OK);
		assert_is(&p, key, value, sizeof(value));
		assert_false(is_packed(&p, key));
	}
	/* After some that did not, most are not even tried. */
	uint64_t refused = figures(&p).refused;
	assert_true(refused > 0 && refused < 50);
	/* And what packs is packed again, as soon as one is tried. */
	unsigned packed = 0;
	for (uint32_t key = 0; key < 200; key++) {
		set_json(&p, JSON_PROFILE, key, 2);
		packed += is_packed(&p, key);
	}
	assert_true(packed > 100);
	place_end(&p);
}

/* -I is what clients know. */
static void a_value_too_large_is_too_large(void **state)
{
	(void)state;
	struct place p = place_packed();
	static uint8_t value[2000];
	struct store_stored stored;
	memset(value, 'a', sizeof(value));
	p.options.item_max = 1024;
	place_again(&p);
	assert_int_equal(
	    put(&p, 1, (struct store_put){.value = value, .value_len = 1020}, &stored), STORE_TOO_LARGE);
	assert_int_equal(put(&p, 1, (struct store_put){.value = value, .value_len = 900}, &stored), STORE_OK);
	assert_int_equal(
	    put(&p, 1, (struct store_put){.mode = STORE_APPEND, .value = value, .value_len = 200}, &stored),
	    STORE_NOT_STORED);
	place_end(&p);
}

/* In regions of 16 KiB what is packed may still need memory of its own. */
static void long_values_pack_in_small_memory(void **state)
{
	(void)state;
	struct place p = place_packing(4 * MIB);
	static uint8_t value[JSON_ROOM(600) + 8];
	struct store_stored stored;
	size_t len = 0;
	for (uint32_t i = 0; figures(&p).trainings < 1; i++) {
		len = json_make(value, JSON_PROFILE, i, 1, 600);
		assert_int_equal(
		    put(&p, i % 8, (struct store_put){.value = value, .value_len = len}, &stored), STORE_OK);
		pause_ms(i > 300);
	}
	assert_true(len > 16 * KIB && len <= PACKED_RAW_MAX);
	assert_int_equal(put(&p, 1, (struct store_put){.value = value, .value_len = len}, &stored), STORE_OK);
	assert_int_equal(stored.value_len, len);
	assert_true(is_packed(&p, 1));
	for (unsigned start = 0; start < 2; start++) {
		assert_is(&p, 1, value, len);
		place_again(&p);
	}
	memcpy(value + len, "tail", 4);
	assert_int_equal(
	    put(&p, 1,
	        (struct store_put){.mode = STORE_APPEND, .value = (const uint8_t *)"tail", .value_len = 4},
	        &stored),
	    STORE_OK);
	assert_is(&p, 1, value, len + 4);
	place_again(&p);
	assert_is(&p, 1, value, len + 4);
	place_end(&p);
}

/* Memory that lies: a miss, never garbage, and the key is gone for good. */
static void what_does_not_unpack_is_a_miss(void **state)
{
	(void)state;
	struct place p = place_packed();
	struct dict_set *dicts = p.e->dicts;
	struct store_number number;
	struct store_stored stored;
	struct shown s = {0};
	char name[32];
	p.e->dicts = dict_set_new(1);
	assert_int_equal(fetch(&p, 1, &s), STORE_NOT_FOUND);
	assert_int_equal(figures(&p).errors, 1);
	engine_turn(p.w);
	struct store_key k = key_at(p.w, 2, name);
	assert_int_equal(engine_arith(p.w, &k, &(struct store_arith){.delta = 1}, &number), STORE_NOT_FOUND);
	engine_turn_end(p.w);
	assert_int_equal(
	    put(&p, 3,
	        (struct store_put){.mode = STORE_APPEND, .value = (const uint8_t *)"x", .value_len = 1},
	        &stored),
	    STORE_NOT_STORED);
	assert_int_equal(figures(&p).errors, 3);
	dict_set_free(&p.e->dicts);
	p.e->dicts = dicts;
	for (unsigned start = 0; start < 2; start++) {
		for (uint32_t key = 1; key < 4; key++)
			assert_int_equal(fetch(&p, key, &s), STORE_NOT_FOUND);
		assert_json(&p, JSON_PROFILE, 4, 1);
		engine_turn(p.w);
		uint64_t need = engine_need(p.w);
		engine_turn_end(p.w);
		engine_await(p.e, need);
		place_again(&p);
	}
	shown_free(&s);
	place_end(&p);
}

/* What is set changes its shape: the dictionary is no good any more, and another one is trained, once. */
static void another_shape_gets_another_dictionary(void **state)
{
	(void)state;
	struct engine_options o = engine_defaults();
	struct place p = {.options = o};
	struct hearth_error err;
	o.compress = true;
	MUST(engine_open(&p.e, &o, NULL, &err) == HEARTH_OK);
	MUST(engine_recover(p.e, NULL, &err) == HEARTH_OK);
	p.w = engine_get_worker(p.e, 0);
	alarm(120);
	static uint8_t value[JSON_ROOM(20)];
	struct store_stored stored;
	uint64_t seen = 0, n;
	for (uint32_t i = 0; (n = figures(&p).trainings) < 2; i++) {
		/* First one shape, for longer than it takes to be tried again, then the other. */
		size_t len = json_make(value, seen < 80 * MIB ? JSON_PROFILE : JSON_ORDER, i, 1, 16);
		seen += n ? len : 0;
		assert_true(len > 512 && len <= 2048);
		assert_int_equal(
		    put(&p, i % 1000, (struct store_put){.value = value, .value_len = len}, &stored),
		    STORE_OK);
		assert_true(seen < 80 * MIB || n == 1);
		if (seen > 160 * MIB)
			pause_ms(1);
	}
	assert_int_equal(figures(&p).dictionaries, 2);
	engine_close(&p.e);
	alarm(0);
}

/* The same words in each, and numbers between them: nothing that packs by itself, nor with a dictionary of JSON. 432 bytes, a
 * length that has one. */
static size_t make_words(uint8_t *out, uint32_t n)
{
	uint32_t words = 99;
	size_t len = 0;
	for (unsigned word = 0; word < 24; word++) {
		for (unsigned i = 0; i < 12; i++)
			out[len++] = (uint8_t)('A' + unit_random(&words) % 64);
		len += (size_t)sprintf((char *)out + len, "%06u", unit_random(&n) % 1000000);
	}
	return len;
}

/* Whether values have changed while it was down cannot be told by how well the dictionary did at first: it packs none. */
static void another_shape_after_a_start_gets_one_too(void **state)
{
	(void)state;
	struct place p = place_packed();
	place_again(&p);
	uint8_t value[512];
	struct store_stored stored;
	size_t seen = 0;
	for (uint32_t i = 0; figures(&p).trainings == 0; i++) {
		size_t len = make_words(value, i);
		seen += len;
		assert_int_equal(
		    put(&p, i % 1000, (struct store_put){.value = value, .value_len = len}, &stored),
		    STORE_OK);
		if (seen > 24 * MIB)
			pause_ms(1);
		assert_true(seen < 32 * MIB);
	}
	unsigned packed = 0;
	for (uint32_t i = 0; i < 200; i++) {
		size_t len = make_words(value, i);
		assert_int_equal(
		    put(&p, i, (struct store_put){.value = value, .value_len = len}, &stored), STORE_OK);
		assert_is(&p, i, value, len);
		packed += is_packed(&p, i);
	}
	assert_true(packed > 100);
	place_end(&p);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(values_pack_and_come_back_over_starts),
    cmocka_unit_test(a_look_without_room_is_none),
    cmocka_unit_test(what_changes_a_part_sees_the_whole),
    cmocka_unit_test(a_packed_number_counts),
    cmocka_unit_test(touches_and_marks_leave_it_packed),
    cmocka_unit_test(what_does_not_pack_is_kept_as_it_is),
    cmocka_unit_test(a_value_too_large_is_too_large),
    cmocka_unit_test(long_values_pack_in_small_memory),
    cmocka_unit_test(what_does_not_unpack_is_a_miss),
    cmocka_unit_test(another_shape_gets_another_dictionary),
    cmocka_unit_test(another_shape_after_a_start_gets_one_too),
};
UNIT_MAIN(tests)
