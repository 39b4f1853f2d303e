/* SPDX-License-Identifier: BSD-3-Clause */
/* store: every operation against a model, in memory that suffices and in memory that does not; accounts; pins;
 * what the observer is told. */
#include <ctype.h>
#include "support.h"

#define KEYS 6000u
#define NOW  1700000000

/* ---- the model ---- */

struct entry {
	bool live;
	uint8_t *value;
	size_t len;
	uint32_t flags;
	int64_t expiry;
	uint64_t cas;
};

struct world {
	struct store *store;
	struct store_thread *t;
	struct entry entry[KEYS];
	int64_t now;
	uint32_t random;
	bool evicts; /* a miss is then no fault, only a wrong value is */
	struct shown shown;
	uint64_t last_cas;
	unsigned refusals;
	size_t item_max;
};

static void world_begin(struct world *w, uint64_t memory, enum store_policy policy, bool evicts)
{
	const struct store_options o = {
	    .memory = memory, .item_max = 1 * MIB, .threads = 1, .policy = policy, .no_evict = false};
	memset(w, 0, sizeof(*w));
	w->store = store_open(&o);
	assert_non_null(w->store);
	w->t = store_thread_open(w->store, w);
	w->now = NOW;
	w->random = 12345;
	w->evicts = evicts;
	w->item_max = o.item_max;
	store_thread_set_now(w->t, w->now);
}

static void world_end(struct world *w)
{
	for (unsigned i = 0; i < KEYS; i++)
		free(w->entry[i].value);
	shown_free(&w->shown);
	store_thread_close(&w->t);
	store_close(&w->store);
}

static void forget(struct entry *e)
{
	free(e->value);
	*e = (struct entry){0};
}

/* What lives by the model: expired entries do not. */
static struct entry *at(struct world *w, unsigned key)
{
	struct entry *e = &w->entry[key];
	if (e->live && store_expired(e->expiry, w->now))
		forget(e);
	return e;
}

/* Sizes around everything that changes the way: empty, STORE_COPY_MAX, a quarter of a region, large. */
static size_t any_size(struct world *w)
{
	static const size_t edges[] = {0, 1, 3, 4, STORE_COPY_MAX - 1, STORE_COPY_MAX, STORE_COPY_MAX + 1};
	struct store_stats st;
	uint32_t r = unit_random(&w->random), kind = r >> 8 & 63;
	if (kind < 8)
		return edges[r % (sizeof(edges) / sizeof(*edges))];
	if (kind < 12) {
		store_get_stats(w->store, &st);
		return st.region_size / 4 - 80 + r % 100;
	}
	if (kind < 13)
		return st.region_size = 40 * KIB + (r >> 16);
	return kind < 40 ? r % 300 : r % (5 * KIB);
}

static struct store_key key_at(struct world *w, unsigned key, char name[32])
{
	return key_of(w->store, key, name);
}

/* ---- one operation each, on both ---- */

static void check_get(struct world *w, unsigned key)
{
	char name[32];
	struct store_key k = key_at(w, key, name);
	struct entry *e = at(w, key);
	if (unit_random(&w->random) % 8 == 0)
		w->shown.room = 0;
	enum store_result r = store_fetch(w->store, w->t, &k, &w->shown);
	w->refusals += w->shown.refused;
	w->shown.refused = 0;
	if (w->evicts && r == STORE_NOT_FOUND) {
		forget(e);
		return;
	}
	assert_int_equal(r, e->live ? STORE_OK : STORE_NOT_FOUND);
	if (r != STORE_OK)
		return;
	assert_int_equal(w->shown.len, e->len);
	assert_memory_equal(w->shown.data ? w->shown.data : (uint8_t *)"", e->value, e->len);
	assert_int_equal(w->shown.flags, e->flags);
	assert_int_equal(w->shown.expiry, e->expiry);
	assert_int_equal(w->shown.cas, e->cas);
}

static void adopt(struct world *w, struct entry *e, const struct store_outcome *out, bool kept_cas)
{
	e->live = true;
	if (kept_cas)
		return;
	assert_true(out->cas > w->last_cas);
	assert_int_equal(out->seq, out->cas);
	w->last_cas = e->cas = out->cas;
}

static void do_put(struct world *w, unsigned key, enum store_mode mode)
{
	char name[32];
	struct store_key k = key_at(w, key, name);
	struct entry *e = at(w, key);
	struct store_outcome out;
	uint32_t r = unit_random(&w->random);
	size_t len = any_size(w);
	uint8_t *value = malloc(len + 1);
	value_make(value, len, key, r);
	struct store_put put = {.mode = mode, .value = value, .value_len = len};
	put.flags = r & 1 ? r >> 1 : 0;
	put.expiry = r % 5 == 0 ? w->now + 1 + r % 50 : 0;
	put.compare = mode == STORE_CAS ? (r & 4 || !e->live ? e->cas + 1000000 : e->cas) : 0;
	enum store_result got = store_write(w->store, w->t, &k, put, &out), want = STORE_OK;
	bool missed =
	    w->evicts && (got == STORE_NOT_FOUND || (got == STORE_NOT_STORED && mode != STORE_ADD) ||
	                     (got == STORE_OK && mode == STORE_ADD));
	if (missed)
		forget(e);
	if (mode == STORE_ADD && e->live)
		want = STORE_NOT_STORED;
	else if (mode == STORE_CAS)
		want = !e->live ? STORE_NOT_FOUND : put.compare == e->cas ? STORE_OK : STORE_EXISTS;
	else if (mode != STORE_SET && mode != STORE_ADD && !e->live)
		want = STORE_NOT_STORED;
	assert_int_equal(got, want);
	if (got != STORE_OK) {
		free(value);
		return;
	}
	if (mode == STORE_APPEND || mode == STORE_PREPEND) {
		uint8_t *both = malloc(e->len + len + 1);
		memcpy(both + (mode == STORE_APPEND ? 0 : len), e->value, e->len);
		memcpy(both + (mode == STORE_APPEND ? e->len : 0), value, len);
		free(value);
		free(e->value);
		e->value = both;
		e->len += len;
	} else {
		forget(e);
		*e = (struct entry){.value = value, .len = len, .flags = put.flags, .expiry = put.expiry};
	}
	adopt(w, e, &out, false);
}

static void do_delete(struct world *w, unsigned key, bool wrong_cas)
{
	char name[32];
	struct store_key k = key_at(w, key, name);
	struct entry *e = at(w, key);
	struct store_outcome out;
	uint64_t compare = wrong_cas ? UINT64_C(1) << 50 : 0;
	enum store_result got = store_delete(w->t, &k, compare, &out);
	if (w->evicts && got == STORE_NOT_FOUND)
		forget(e);
	assert_int_equal(got, !e->live ? STORE_NOT_FOUND : wrong_cas ? STORE_EXISTS : STORE_OK);
	if (got == STORE_OK)
		forget(e);
}

static void do_touch(struct world *w, unsigned key)
{
	char name[32];
	struct store_key k = key_at(w, key, name);
	struct entry *e = at(w, key);
	struct store_outcome out;
	uint32_t r = unit_random(&w->random);
	int64_t expiry = r % 8 == 0 ? 1 : r % 3 == 0 ? 0 : w->now + 1 + r % 100;
	enum store_result got = store_touch(w->t, &k, expiry, SIZE_MAX, NULL, NULL, &out);
	if (w->evicts && got == STORE_NOT_FOUND)
		forget(e);
	assert_int_equal(got, e->live ? STORE_OK : STORE_NOT_FOUND);
	e->expiry = expiry;
	if (expiry == 1)
		forget(e);
}

/* The number that the value is, as memcached reads it: blanks, a plus, digits, then a blank or the end. */
static bool number_of(const struct entry *e, uint64_t *ret)
{
	char *text = calloc(1, e->len + 1), *first = text, *end;
	memcpy(text, e->value, e->len);
	while (isspace((unsigned char)*first))
		first++;
	first += *first == '+';
	errno = 0;
	*ret = strtoull(first, &end, 10);
	bool ok = *first >= '0' && *first <= '9' && errno == 0 &&
	          (end == text + e->len || isspace((unsigned char)*end));
	free(text);
	return ok;
}

static void do_arith(struct world *w, unsigned key)
{
	char name[32], text[32];
	struct store_key k = key_at(w, key, name);
	struct entry *e = at(w, key);
	struct store_outcome out;
	uint32_t r = unit_random(&w->random);
	const struct store_arith a = {.delta = r >> (r & 31), .decrement = r & 32};
	uint64_t n = 0;
	if (e->live && r % 4 == 0) { /* begin with a number */
		struct store_put put = {
		    .mode = STORE_SET, .value = (uint8_t *)"18446744073709551610", .value_len = 20};
		assert_int_equal(store_write(w->store, w->t, &k, put, &out), STORE_OK);
		forget(e);
		*e = (struct entry){.value = (uint8_t *)strdup("18446744073709551610"), .len = 20};
		adopt(w, e, &out, false);
	}
	enum store_result got = store_arith(w->t, &k, &a, &out);
	if (w->evicts && got == STORE_NOT_FOUND)
		forget(e);
	if (!e->live) {
		assert_int_equal(got, STORE_NOT_FOUND);
		return;
	}
	if (!number_of(e, &n)) {
		assert_int_equal(got, STORE_NOT_NUMBER);
		return;
	}
	n = a.decrement ? (a.delta > n ? 0 : n - a.delta) : n + a.delta;
	assert_int_equal(got, STORE_OK);
	assert_true(out.number == n);
	free(e->value);
	e->len = (size_t)snprintf(text, sizeof(text), "%llu", (unsigned long long)n);
	e->value = (uint8_t *)strdup(text);
	adopt(w, e, &out, false);
}

static void do_flush(struct world *w)
{
	struct store_outcome out;
	store_flush(w->t, 0, &out);
	for (unsigned i = 0; i < KEYS; i++)
		forget(&w->entry[i]);
}

static void step(struct world *w)
{
	uint32_t r = unit_random(&w->random);
	unsigned key = r % KEYS, op = r >> 10 & 127;
	if (op < 30)
		check_get(w, key);
	else if (op < 60)
		do_put(w, key, STORE_SET);
	else if (op < 66)
		do_put(w, key, STORE_ADD);
	else if (op < 72)
		do_put(w, key, STORE_REPLACE);
	else if (op < 78)
		do_put(w, key, w->entry[key].len < 100 * KIB ? STORE_APPEND : STORE_SET);
	else if (op < 84)
		do_put(w, key, w->entry[key].len < 100 * KIB ? STORE_PREPEND : STORE_SET);
	else if (op < 92)
		do_put(w, key, STORE_CAS);
	else if (op < 100)
		do_delete(w, key, op & 1);
	else if (op < 112)
		do_touch(w, key);
	else if (op < 124)
		do_arith(w, key);
	else if (op < 126)
		store_maintain(w->t);
	else if (op < 127)
		store_thread_set_now(w->t, ++w->now);
	else if (r >> 20 & 31)
		check_get(w, key);
	else
		do_flush(w);
}

static void compare_all(struct world *w)
{
	struct store_stats st;
	uint64_t items = 0;
	for (unsigned i = 0; i < KEYS; i++) {
		check_get(w, i);
		items += w->entry[i].live;
	}
	store_get_stats(w->store, &st);
	assert_int_equal(st.items, items);
}

static void run_model(uint64_t memory, enum store_policy policy, bool evicts, unsigned steps)
{
	struct world w;
	world_begin(&w, memory, policy, evicts);
	for (unsigned i = 0; i < steps; i++) {
		step(&w);
		if (i % 5000 == 4999)
			compare_all(&w);
	}
	compare_all(&w);
	assert_true(w.refusals > 0);
	if (evicts) {
		struct store_stats st;
		store_get_stats(w.store, &st);
		assert_true(st.evictions > 0);
	}
	world_end(&w);
}

static void random_operations_equal_the_model(void **state)
{
	(void)state;
	run_model(64 * MIB, STORE_S3FIFO, false, 60000);
}

static void random_operations_equal_the_model_with_lru(void **state)
{
	(void)state;
	run_model(64 * MIB, STORE_LRU, false, 30000);
}

static void eviction_never_yields_a_wrong_value(void **state)
{
	(void)state;
	run_model(5 * MIB, STORE_S3FIFO, true, 100000);
	run_model(5 * MIB, STORE_LRU, true, 50000);
}

/* A quarter of the smallest region is no more than STORE_COPY_MAX. */
static void the_smallest_memory_keeps_values_whole(void **state)
{
	(void)state;
	run_model(2 * MIB, STORE_S3FIFO, true, 60000);
	run_model(1 * MIB, STORE_LRU, true, 30000);
}

/* An item of 120 bytes with this number. */
static void load_item(struct store *s, struct store_thread *t, uint64_t seq)
{
	static const uint8_t value[100];
	const struct store_load load = {.value = value, .value_len = sizeof(value), .seq = seq};
	char name[32];
	struct store_key k = key_of(s, (unsigned)seq, name);
	assert_true(store_load_set(t, &k, &load));
}

/* What is loaded of so many such items, of which few have room; reserved: the index is made for them first. */
static uint64_t loaded_of_many(bool reserved)
{
	const unsigned n = 200000;
	struct store *s = store_make(8 * MIB, 1, false);
	struct store_thread *t = store_thread_open(s, NULL);
	struct store_stats stats;
	store_load_begin(s);
	if (reserved)
		store_reserve(t, n, n * 120);
	for (uint64_t seq = 1; seq <= n; seq++)
		load_item(s, t, seq);
	store_load_fit(t, 0, 1);
	store_load_done(s);
	store_get_stats(s, &stats);
	store_thread_close(&t);
	store_close(&s);
	return stats.items;
}

static void an_index_is_made_for_what_has_room(void **state)
{
	(void)state;
	assert_true(loaded_of_many(true) > loaded_of_many(false) * 95 / 100);
}

/* Loads so many of them, of which as many are told to come as `all` says; *ret_before: of the index, before it is fitted. */
static uint64_t index_loaded(uint64_t n, uint64_t all, uint64_t *ret_before)
{
	struct store *s = store_make(64 * MIB, 1, false);
	struct store_thread *t = store_thread_open(s, NULL);
	struct store_stats stats;
	store_load_begin(s);
	for (uint64_t seq = 1; seq <= n; seq++) {
		store_load_expect(s, seq, all);
		load_item(s, t, seq);
	}
	store_get_stats(s, &stats);
	*ret_before = stats.index_bytes;
	store_load_fit(t, 0, 1);
	store_load_done(s);
	store_get_stats(s, &stats);
	assert_int_equal(stats.items, n);
	store_thread_close(&t);
	store_close(&s);
	return stats.index_bytes;
}

/* The index is made for what is expected, is no larger than an eighth of the memory when that was too much, and fits in the
 * end whatever was expected. */
static void an_index_grows_to_what_is_expected(void **state)
{
	(void)state;
	uint64_t expected, far_more, none;
	uint64_t fitting = index_loaded(100000, 100000, &expected);
	assert_in_range(expected, fitting, fitting * 5 / 4);
	assert_in_range(index_loaded(100000, 1000000000, &far_more), fitting * 7 / 8, fitting * 9 / 8);
	assert_in_range(far_more, fitting * 2, 64 * MIB / 8);
	assert_in_range(index_loaded(100000, 0, &none), fitting * 7 / 8, fitting * 9 / 8);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(random_operations_equal_the_model),
    cmocka_unit_test(random_operations_equal_the_model_with_lru),
    cmocka_unit_test(eviction_never_yields_a_wrong_value),
    cmocka_unit_test(the_smallest_memory_keeps_values_whole),
    cmocka_unit_test(an_index_is_made_for_what_has_room),
    cmocka_unit_test(an_index_grows_to_what_is_expected),
};
UNIT_MAIN(tests)
