/* SPDX-License-Identifier: BSD-3-Clause */
/* tool_bench: the parts of bench that figures rest on: histogram, random numbers and ranks, traces, requests and the
 * values that say whose they are. */
#include <math.h>
#include <zstd.h>
#include "unit.h"
#include "tool/bench_hist.h"
#include "tool/bench_load.h"

/* ---- histogram ---- */

static void buckets_cover_all_values(void **state)
{
	(void)state;
	unsigned before = 0;
	for (uint64_t v = 0; v < 1u << 20; v++) {
		unsigned i = bench_hist_index(v);
		assert_true(i == before || i == before + 1);
		assert_true(bench_hist_top(i) >= v);
		assert_true(i == 0 || bench_hist_top(i - 1) < v);
		before = i;
	}
	for (unsigned shift = 20; shift < 64; shift++) {
		uint64_t v = (UINT64_C(1) << shift) + 12345;
		unsigned i = bench_hist_index(v);
		assert_true(i < BENCH_HIST_SIZE);
		uint64_t within = v > BENCH_HIST_MAX ? BENCH_HIST_MAX : v;
		assert_true(bench_hist_top(i) >= within);
		assert_true((double)(bench_hist_top(i) - within) <= 0.01 * (double)within);
	}
	assert_int_equal(bench_hist_index(UINT64_MAX), BENCH_HIST_SIZE - 1);
}

static void percentiles_are_near(void **state)
{
	(void)state;
	static struct bench_hist a, b, all;
	assert_int_equal(bench_hist_percentile(&a, 0.5), 0);
	for (uint64_t v = 1; v <= 50000; v++) {
		bench_hist_add(&a, v, 1);
		bench_hist_add(&b, v + 50000, 1);
	}
	bench_hist_merge(&all, &a);
	bench_hist_merge(&all, &b);
	assert_int_equal(all.count, 100000);
	assert_int_equal(bench_hist_percentile(&all, 1), 100000);
	static const double shares[] = {0.001, 0.5, 0.9, 0.99, 0.999};
	for (size_t i = 0; i < sizeof(shares) / sizeof(shares[0]); i++) {
		double exact = shares[i] * 100000, got = (double)bench_hist_percentile(&all, shares[i]);
		assert_true(got >= exact && got <= exact * 1.01);
	}
	bench_hist_add(&a, 7, 1000000);
	assert_int_equal(bench_hist_percentile(&a, 0.5), 7);
}

/* ---- random numbers ---- */

static void below_is_even(void **state)
{
	(void)state;
	struct bench_random r = {1};
	unsigned counts[10] = {0};
	for (unsigned i = 0; i < 100000; i++)
		counts[bench_random_below(&r, 10)]++;
	for (unsigned i = 0; i < 10; i++)
		assert_in_range(counts[i], 9600, 10400);
}

/* Counts against the law itself, for exponents on both sides of the special case 1. */
static void ranks_follow_the_law(void **state)
{
	(void)state;
	static const double exponents[] = {0.2, 0.99, 1, 1.3};
	enum { N = 1000, DRAWS = 400000 };
	for (size_t e = 0; e < sizeof(exponents) / sizeof(exponents[0]); e++) {
		struct bench_zipf z;
		struct bench_random r = {7};
		static unsigned counts[N];
		double sum = 0;
		memset(counts, 0, sizeof(counts));
		bench_zipf_init(&z, N, exponents[e]);
		for (unsigned i = 0; i < DRAWS; i++) {
			uint64_t rank = bench_zipf_next(&z, &r);
			assert_true(rank < N);
			counts[rank]++;
		}
		for (unsigned i = 1; i <= N; i++)
			sum += pow(i, -exponents[e]);
		for (unsigned rank = 0; rank < N; rank = rank * 2 + 1) {
			double want = DRAWS * pow(rank + 1, -exponents[e]) / sum;
			assert_true(fabs(counts[rank] - want) < 5 * sqrt(want) + 1);
		}
	}
}

static void one_key_is_a_law_too(void **state)
{
	(void)state;
	struct bench_zipf z;
	struct bench_random r = {3};
	bench_zipf_init(&z, 1, 0.99);
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(bench_zipf_next(&z, &r), 0);
}

/* ---- traces ---- */

static void lines_are_parsed(void **state)
{
	(void)state;
	static const char *const good[] = {"0 1f 515", "12.5\tkey  0", "1 k 1073741824\r"};
	static const char *const bad[] = {"", "0", "0 k", "0 k 1 2", "x k 1", "0 k -1", "0 k 1x",
	    "0 k 1073741825", "0 k\x01 1", "0 k 99999999999999999999"};
	const char *key;
	size_t key_len;
	uint32_t size;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(bench_trace_parse(good[i], strlen(good[i]), &key, &key_len, &size));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(bench_trace_parse(bad[i], strlen(bad[i]), &key, &key_len, &size));
	assert_true(bench_trace_parse(good[0], strlen(good[0]), &key, &key_len, &size));
	assert_memory_equal(key, "1f", key_len);
	assert_int_equal(key_len, 2);
	assert_int_equal(size, 515);
	char line[300] = "0 ";
	memset(line + 2, 'k', 251);
	memcpy(line + 253, " 1", 3);
	assert_false(bench_trace_parse(line, strlen(line), &key, &key_len, &size));
	assert_true(bench_trace_parse(line, 1, &key, &key_len, &size) == false);
	memcpy(line + 252, " 1", 3);
	assert_true(bench_trace_parse(line, strlen(line), &key, &key_len, &size));
	assert_int_equal(key_len, 250);
}

/* The same trace plain and packed, longer than a chunk, its last line without newline. */
static void plain_and_packed_are_the_same(void **state)
{
	(void)state;
	enum { N = 60000 };
	struct unit_scratch scratch = unit_scratch_begin();
	char *text = malloc(N * 32), path[300];
	size_t len = 0;
	assert_non_null(text);
	for (unsigned i = 0; i < N; i++)
		len += (size_t)sprintf(
		    text + len, "%s%u k%u %u", i ? "\n" : "# head\n", i / 10, i % 777, i % 5000);
	unit_write_file(scratch.fd, "plain", text, len);
	void *packed = malloc(ZSTD_compressBound(len));
	size_t packed_len = ZSTD_compress(packed, ZSTD_compressBound(len), text, len, 1);
	unit_write_file(scratch.fd, "packed", packed, packed_len);
	unit_write_file(scratch.fd, "cut", packed, packed_len / 2);
	static const char *const names[] = {"plain", "packed"};
	for (unsigned k = 0; k < 2; k++) {
		struct bench_trace t;
		snprintf(path, sizeof(path), "%s/%s", scratch.path, names[k]);
		assert_true(bench_trace_load(&t, path));
		assert_int_equal(t.n, N);
		assert_int_equal(t.size_max, 4999);
		assert_int_equal(t.key_max, 4);
		for (unsigned i = 0; i < N; i += 997) {
			char key[16];
			int key_len = sprintf(key, "k%u", i % 777);
			assert_int_equal(t.requests[i].key_len, key_len);
			assert_memory_equal(bench_trace_key(&t, &t.requests[i]), key, (size_t)key_len);
			assert_int_equal(t.requests[i].size, i % 5000);
		}
		bench_trace_free(&t);
	}
	struct bench_trace t;
	snprintf(path, sizeof(path), "%s/cut", scratch.path);
	assert_false(bench_trace_load(&t, path));
	free(packed);
	free(text);
	unit_scratch_end(&scratch);
}

/* ---- requests ---- */

static struct bench_load small_load(void)
{
	return (struct bench_load){.keys = 1000,
	    .key_size = 12,
	    .value_min = 60,
	    .value_max = 200,
	    .get_percent = 50,
	    .verify = true,
	    .seed = 5};
}

static void fill_sets_each_key_once(void **state)
{
	(void)state;
	struct bench_load load = small_load();
	struct bench_source source;
	assert_true(bench_load_init(&load));
	bench_load_start(&load, BENCH_FILL, load.keys);
	bench_source_init(&source, &load, 0);
	uint64_t expected = 0;
	for (unsigned n; (n = bench_source_claim(&source, &load, 7)) > 0;) {
		for (unsigned i = 0; i < n; i++) {
			struct bench_request r = bench_source_next(&source);
			assert_int_equal(r.kind, BENCH_SET);
			assert_int_equal(r.key, expected++);
			assert_in_range(r.value_len, 60, 200);
		}
	}
	assert_int_equal(expected, 1000);
	bench_load_free(&load);
}

/* What is sent for a set, whole. */
static size_t encode_whole(struct bench_source *s, const struct bench_request *r, char *at)
{
	struct bench_body body;
	size_t len = bench_source_encode(s, r, at, &body);
	if (body.data) {
		memcpy(at + len, body.data, body.len);
		memcpy(at + len + body.len, "\r\n", 2);
		len += body.len + 2;
	}
	return len;
}

static void values_say_whose_they_are(void **state)
{
	(void)state;
	struct bench_load load = small_load();
	struct bench_source source;
	char text[2048], expected[64];
	assert_true(bench_load_init(&load));
	bench_source_init(&source, &load, 3);
	struct bench_request get = {42, 100, BENCH_GET}, set = {42, 100, BENCH_SET};
	size_t len = encode_whole(&source, &get, text);
	assert_int_equal(len, 18);
	assert_memory_equal(text, "get k00000000042\r\n", len);
	len = encode_whole(&source, &set, text);
	size_t line = (size_t)sprintf(expected, "set k00000000042 0 0 100\r\n");
	assert_int_equal(len, line + 100 + 2);
	assert_memory_equal(text, expected, line);
	assert_memory_equal(text + len - 2, "\r\n", 2);
	char *value = text + line;
	assert_true(bench_load_check(&load, "k00000000042", 12, value, 100));
	assert_false(bench_load_check(&load, "k00000000043", 12, value, 100));
	assert_false(bench_load_check(&load, "k00000000042", 12, value, 99));
	assert_false(bench_load_check(&load, "k00000000042", 12, value, 20));
	for (unsigned bit = 0; bit < 100 * 8; bit++) {
		value[bit / 8] = (char)(value[bit / 8] ^ 1 << bit % 8);
		assert_false(bench_load_check(&load, "k00000000042", 12, value, 100));
		value[bit / 8] = (char)(value[bit / 8] ^ 1 << bit % 8);
	}
	assert_true(bench_load_check(&load, "k00000000042", 12, value, 100));
	bench_load_free(&load);
}

/* Popular ranks are spread, but no two meet in one key. */
static void ranks_map_to_keys(void **state)
{
	(void)state;
	struct bench_load load = small_load();
	struct bench_source source;
	static unsigned counts[1000];
	load.zipf = 0.99;
	assert_true(bench_load_init(&load));
	bench_load_start(&load, BENCH_MIX, UINT64_MAX);
	bench_source_init(&source, &load, 0);
	unsigned gets = 0, keys = 0;
	for (unsigned i = 0; i < 200000; i++) {
		assert_int_equal(bench_source_claim(&source, &load, 1), 1);
		struct bench_request r = bench_source_next(&source);
		assert_true(r.key < load.keys);
		counts[r.key]++;
		gets += r.kind == BENCH_GET;
	}
	for (unsigned i = 0; i < 1000; i++)
		keys += counts[i] > 0;
	assert_int_equal(keys, 1000);
	assert_in_range(gets, 98500, 101500);
	assert_true(counts[0] > counts[1]);
	bench_load_free(&load);
}

static const struct CMUnitTest TESTS[] = {
    cmocka_unit_test(buckets_cover_all_values),
    cmocka_unit_test(percentiles_are_near),
    cmocka_unit_test(below_is_even),
    cmocka_unit_test(ranks_follow_the_law),
    cmocka_unit_test(one_key_is_a_law_too),
    cmocka_unit_test(lines_are_parsed),
    cmocka_unit_test(plain_and_packed_are_the_same),
    cmocka_unit_test(fill_sets_each_key_once),
    cmocka_unit_test(values_say_whose_they_are),
    cmocka_unit_test(ranks_map_to_keys),
};

UNIT_MAIN(TESTS)
