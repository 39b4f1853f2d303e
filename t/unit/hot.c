/* SPDX-License-Identifier: BSD-3-Clause */
/* hot: counts of a stream against exact ones: never too low, never too high by more than they say, frequent keys are there;
 * the same for tables that are merged. */
#include <stdlib.h>
#include "unit.h"
#include "server/hot.h"

#define KEYS 5000u

static uint32_t seed = 4711;

static uint32_t draw(void)
{
	seed = seed * 1664525 + 1013904223;
	return seed >> 8;
}

/* Few keys come often, most seldom. */
static uint32_t draw_key(void)
{
	uint32_t r = draw();
	return r % 4 == 0 ? draw() % 8 : r % 4 == 1 ? draw() % 100 : draw() % KEYS;
}

/* Hashes that collide: keys tell them apart. */
static void add(struct hot *h, uint32_t key)
{
	char name[16];
	int len = snprintf(name, sizeof(name), "k%u", key);
	hot_add(h, key % 64, name, (uint8_t)len);
}

static uint32_t number_of(const struct hot_key *k)
{
	char name[16];
	snprintf(name, sizeof(name), "%.*s", k->len, (const char *)k->key);
	return (uint32_t)strtoul(name + 1, NULL, 10);
}

static void check_rows(const struct hot_row *rows, size_t n, const uint64_t *exact)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t true_count = exact[number_of(rows[i].key)];
		assert_true(rows[i].count >= true_count);
		assert_true(rows[i].error <= rows[i].count && rows[i].count - rows[i].error <= true_count);
		assert_true(i == 0 || rows[i - 1].count >= rows[i].count);
	}
}

static void a_few_keys_are_counted_exactly(void **state)
{
	(void)state;
	static struct hot h;
	struct hot_row rows[HOT_KEYS];
	const struct hot *tables[] = {&h};
	uint64_t exact[KEYS] = {0};
	hot_clear(&h);
	assert_int_equal(hot_merge(tables, 1, rows), 0);
	for (unsigned i = 0; i < 10000; i++) {
		uint32_t key = draw() % HOT_KEYS;
		exact[key]++;
		add(&h, key);
	}
	size_t n = hot_merge(tables, 1, rows);
	assert_int_equal(n, HOT_KEYS);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(rows[i].count, exact[number_of(rows[i].key)]);
		assert_int_equal(rows[i].error, 0);
	}
}

static void counts_are_never_too_low_and_frequent_keys_are_there(void **state)
{
	(void)state;
	static struct hot h[3];
	static struct hot_row rows[3 * HOT_KEYS];
	static uint64_t exact[KEYS];
	const struct hot *tables[] = {&h[0], &h[1], &h[2]};
	for (unsigned i = 0; i < 3; i++)
		hot_clear(&h[i]);
	for (unsigned i = 0; i < 200000; i++) {
		uint32_t key = draw_key();
		exact[key]++;
		/* The tables see different shares of it. */
		add(&h[draw() % 5 % 3], key);
	}
	assert_int_equal(h[0].total + h[1].total + h[2].total, 200000);
	size_t n = hot_merge(tables, 3, rows);
	assert_true(n >= HOT_KEYS && n <= 3 * HOT_KEYS);
	check_rows(rows, n, exact);
	unsigned found = 0;
	for (uint32_t key = 0; key < 8; key++)
		for (size_t i = 0; i < 8; i++)
			found += number_of(rows[i].key) == key;
	assert_int_equal(found, 8);
	/* One alone. */
	static uint64_t own[KEYS];
	hot_clear(&h[0]);
	for (unsigned i = 0; i < 50000; i++) {
		uint32_t key = draw_key();
		own[key]++;
		add(&h[0], key);
	}
	n = hot_merge(tables, 1, rows);
	assert_int_equal(n, HOT_KEYS);
	check_rows(rows, n, own);
	for (uint32_t key = 0; key < KEYS; key++) {
		bool there = false;
		for (size_t i = 0; i < n; i++)
			there |= number_of(rows[i].key) == key;
		assert_true(there || own[key] <= 50000 / HOT_KEYS);
	}
}

static void keys_are_bytes_of_any_length(void **state)
{
	(void)state;
	static struct hot h;
	struct hot_row rows[HOT_KEYS];
	const struct hot *tables[] = {&h};
	uint8_t key[HOT_KEY_MAX];
	hot_clear(&h);
	memset(key, 0, sizeof(key));
	for (unsigned len = 1; len <= HOT_KEY_MAX; len += 83)
		for (unsigned i = 0; i < len; i++)
			hot_add(&h, 9, key, (uint8_t)len);
	assert_int_equal(hot_merge(tables, 1, rows), 4);
	assert_int_equal(rows[0].key->len, HOT_KEY_MAX);
	assert_int_equal(rows[0].count, HOT_KEY_MAX);
	assert_int_equal(rows[3].key->len, 1);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_few_keys_are_counted_exactly),
    cmocka_unit_test(counts_are_never_too_low_and_frequent_keys_are_there),
    cmocka_unit_test(keys_are_bytes_of_any_length),
};

UNIT_MAIN(tests)
