/* SPDX-License-Identifier: BSD-3-Clause */
/* tool_bench: the parts of bench that figures rest on: histogram, random numbers and ranks, sizes, traces and their
 * footprint, requests and when they are due, the values that say whose they are, requests and answers of each protocol,
 * the progress line. */
#include <math.h>
#include <zstd.h>
#include "unit.h"
#include "tool/bench_hist.h"
#include "tool/bench_answer.h"
#include "tool/bench_encode.h"
#include "tool/bench_footprint.h"
#include "tool/bench_load.h"
#include "tool/bench_progress.h"

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

/* ---- sizes ---- */

static void sizes_are_parsed(void **state)
{
	(void)state;
	static const char *const good[] = {"0", "100", "1-1048576", "7-7", "lognormal=230",
	    "lognormal=230:1.5", "lognormal=230:0", "lognormal=230:1:16-8192", "lognormal=1:10"};
	static const char *const bad[] = {"", "-", "1-", "-1", "2-1", "1048577", "1-1048577", "1x", "1-2x",
	    "lognormal", "lognormal=", "lognormal=0", "lognormal=x", "lognormal=5:", "lognormal=5:x",
	    "lognormal=5:11", "lognormal=5:-1", "lognormal=5:nan", "lognormal=5:1:", "lognormal=5:1:9-2",
	    "lognormal=5:1:2-9:3", "lognormal=5:1 ", "99999999999999999999"};
	static struct bench_sizes s;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(bench_sizes_parse(&s, good[i], 0, 1 << 20));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(bench_sizes_parse(&s, bad[i], 0, 1 << 20));
	assert_false(bench_sizes_parse_range(&s, "1", 2, 250));
	assert_true(bench_sizes_parse_range(&s, "2-250", 2, 250));
}

static void lognormal_sizes_follow_the_law(void **state)
{
	(void)state;
	enum { DRAWS = 200000 };
	static struct bench_sizes s;
	struct bench_random r = {11};
	assert_true(bench_sizes_parse(&s, "lognormal=1000:0.5:1-1000000", 0, 1 << 30));
	unsigned below_median = 0, above_sigma = 0;
	double logs = 0;
	for (unsigned i = 0; i < DRAWS; i++) {
		uint32_t size = bench_sizes_draw(&s, &r);
		assert_in_range(size, s.min, s.max);
		below_median += size < 1000;
		above_sigma += size > 1000 * exp(0.5);
		logs += log(size);
	}
	assert_in_range(below_median, DRAWS * 0.49, DRAWS * 0.51);
	assert_in_range(above_sigma, DRAWS * 0.155, DRAWS * 0.162);
	assert_true(fabs(logs / DRAWS - log(1000)) < 0.01);
	assert_true(bench_sizes_parse(&s, "lognormal=230:1:16-8192", 0, 1 << 30));
	assert_int_equal(s.min, 16);
	assert_in_range(s.max, 8000, 8192);
	assert_true(bench_sizes_parse(&s, "lognormal=230:0", 0, 1 << 30));
	assert_int_equal(s.min, 230);
	assert_int_equal(s.max, 230);
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

static void sizes_are_scaled_to_the_footprint(void **state)
{
	(void)state;
	static const char text[] = "0 a 100\n0 bb 200\n1 a 700\n1 bb 200\n2 ccc 0\n";
	struct unit_scratch scratch = unit_scratch_begin();
	struct bench_trace t;
	struct bench_footprint f;
	char path[300];
	double factor;
	unit_write_file(scratch.fd, "trace", text, strlen(text));
	snprintf(path, sizeof(path), "%s/trace", scratch.path);
	assert_true(bench_trace_load(&t, path));
	assert_true(bench_footprint(&t, &f));
	assert_int_equal(f.keys, 3);
	assert_int_equal(f.key_bytes, 6);
	assert_int_equal(f.value_bytes, 300);
	assert_true(bench_footprint_factor(&t, 3006, &factor));
	assert_true(fabs(factor - 10) < 1e-9);
	assert_false(bench_footprint_factor(&t, 6, &factor));
	bench_trace_scale(&t, 2.5);
	assert_int_equal(t.requests[0].size, 250);
	assert_int_equal(t.requests[4].size, 1);
	assert_int_equal(t.size_max, 1750);
	bench_trace_scale(&t, 1e9);
	assert_int_equal(t.size_max, RECORD_VALUE_MAX);
	bench_trace_free(&t);
	unit_scratch_end(&scratch);
}

/* ---- requests ---- */

static struct bench_load small_load(void)
{
	return (struct bench_load){.keys = 1000,
	    .key_sizes = {.min = 12, .max = 12},
	    .value_sizes = {.min = 60, .max = 200},
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
	bench_load_start(&load, BENCH_FILL, 0, load.keys, 0);
	bench_source_init(&source, &load, 0);
	uint64_t expected = 0;
	for (unsigned n; (n = bench_source_claim(&source, &load, 7, 0)) > 0;) {
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
	size_t len = bench_encode(s, r, at, &body);
	if (body.data)
		memcpy(at + len, body.data, body.len);
	len += body.len;
	if (body.line)
		memcpy(at + len, "\r\n", 2);
	return len + (body.line ? 2 : 0);
}

static void values_say_whose_they_are(void **state)
{
	(void)state;
	struct bench_load load = small_load();
	struct bench_source source;
	char text[2048], expected[64];
	assert_true(bench_load_init(&load));
	bench_source_init(&source, &load, 3);
	struct bench_request get = {7, 42, 100, BENCH_GET, false}, set = {7, 42, 100, BENCH_SET, false};
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
	bench_load_start(&load, BENCH_MIX, 0, UINT64_MAX, 0);
	bench_source_init(&source, &load, 0);
	unsigned gets = 0, keys = 0;
	for (unsigned i = 0; i < 200000; i++) {
		assert_int_equal(bench_source_claim(&source, &load, 1, 0), 1);
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

/* Whoever claims them, and in whatever runs: the requests are the same. */
static void requests_hang_on_their_number(void **state)
{
	(void)state;
	enum { N = 2000 };
	struct bench_load load = small_load();
	static struct bench_request all[N];
	struct bench_source a, b;
	load.overwrite_percent = 30;
	load.ttl_percent = 50;
	assert_true(bench_load_init(&load));
	bench_load_start(&load, BENCH_MIX, 0, N, 0);
	bench_source_init(&a, &load, 0);
	assert_int_equal(bench_source_claim(&a, &load, N + 5, 0), N);
	assert_int_equal(bench_source_claim(&a, &load, 1, 0), 0);
	unsigned overwrites = 0, expire = 0;
	for (unsigned i = 0; i < N; i++) {
		all[i] = bench_source_next(&a);
		assert_int_equal(all[i].number, i);
		uint32_t ttl = bench_load_ttl(&load, &all[i]);
		assert_true(ttl == 0 || (ttl >= 60 && ttl <= 86400));
		expire += ttl > 0;
		struct bench_request set = all[i];
		if (bench_load_overwrites(&load, &set)) {
			overwrites++;
			assert_int_equal(set.kind, BENCH_SET);
			assert_in_range(set.value_len, all[i].value_len / 2, all[i].value_len * 3 / 2);
			assert_true(set.value_len <= bench_load_largest(&load));
			assert_true(set.value_len >= bench_load_smallest(&load));
		}
	}
	assert_in_range(overwrites, N * 0.26, N * 0.34);
	assert_in_range(expire, N * 0.45, N * 0.55);
	bench_load_start(&load, BENCH_MIX, 3, N, 0);
	bench_source_init(&a, &load, 5);
	bench_source_init(&b, &load, 6);
	for (unsigned n, turn = 0; (n = bench_source_claim(turn ? &b : &a, &load, 7, 0)) > 0; turn = !turn) {
		while (n-- > 0) {
			struct bench_request r = bench_source_next(turn ? &b : &a);
			assert_memory_equal(&r, &all[r.number], offsetof(struct bench_request, follows) + 1);
		}
	}
	bench_load_free(&load);
}

/* With --miss-set a key keeps the size of its value, and always that of itself. */
static void keys_keep_their_sizes(void **state)
{
	(void)state;
	struct bench_load load = small_load();
	struct bench_source source;
	static uint32_t size[1000];
	static unsigned key_len[1000];
	char key[RECORD_KEY_MAX];
	load.key_sizes.max = 50;
	load.sizes_by_key = true;
	assert_true(bench_load_init(&load));
	bench_load_start(&load, BENCH_MIX, 0, UINT64_MAX, 0);
	bench_source_init(&source, &load, 0);
	unsigned seen[51] = {0};
	for (unsigned i = 0; i < 20000; i++) {
		bench_source_claim(&source, &load, 1, 0);
		struct bench_request r = bench_source_next(&source);
		unsigned len = bench_load_key(&load, &r, key);
		assert_in_range(len, 12, 50);
		assert_true(size[r.key] == 0 || size[r.key] == r.value_len);
		assert_true(key_len[r.key] == 0 || key_len[r.key] == len);
		size[r.key] = r.value_len;
		key_len[r.key] = len;
		seen[len]++;
	}
	for (unsigned i = 12; i <= 50; i++)
		assert_true(seen[i] > 0);
	bench_load_free(&load);
}

static void requests_come_when_they_are_due(void **state)
{
	(void)state;
	struct bench_load load = small_load();
	struct bench_source source;
	load.interval = 1000;
	assert_true(bench_load_init(&load));
	bench_load_start(&load, BENCH_MIX, 40, 50, 5000);
	bench_source_init(&source, &load, 0);
	assert_int_equal(bench_load_due(&load, 43), 8000);
	assert_int_equal(bench_source_claim(&source, &load, 9, 5000), 1);
	assert_int_equal(bench_source_claim(&source, &load, 9, 5999), 0);
	assert_in_range(bench_load_next_due(&load), 6000, 6001);
	assert_int_equal(bench_source_claim(&source, &load, 9, bench_load_next_due(&load)), 1);
	assert_int_equal(bench_source_claim(&source, &load, 2, 9000), 2);
	assert_int_equal(bench_source_claim(&source, &load, 9, 100000), 6);
	assert_int_equal(bench_load_next_due(&load), UINT64_MAX);
	bench_load_free(&load);
}

/* ---- protocols ---- */

static struct bench_load speaking(enum bench_protocol protocol)
{
	struct bench_load load = small_load();
	load.protocol = protocol;
	load.verify = false;
	load.ttl_percent = 0;
	return load;
}

static void requests_are_in_form(void **state)
{
	(void)state;
	static const struct {
		enum bench_protocol protocol;
		const char *get, *set, *expiring;
	} rows[] = {
	    {BENCH_TEXT, "get k00000000042\r\n", "set k00000000042 0 0 60\r\n",
	        "set k00000000042 0 %u 60\r\n"},
	    {BENCH_META, "mg k00000000042 v\r\n", "ms k00000000042 60\r\n", "ms k00000000042 60 T%u\r\n"},
	    {BENCH_RESP, "*2\r\n$3\r\nGET\r\n$12\r\nk00000000042\r\n",
	        "*3\r\n$3\r\nSET\r\n$12\r\nk00000000042\r\n$60\r\n",
	        "*4\r\n$5\r\nSETEX\r\n$12\r\nk00000000042\r\n$5\r\n%u\r\n$60\r\n"},
	};
	struct bench_request get = {7, 42, 60, BENCH_GET, false}, set = {7, 42, 60, BENCH_SET, false};
	char text[1024], want[128];
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct bench_load load = speaking(rows[i].protocol);
		struct bench_source s;
		assert_true(bench_load_init(&load));
		bench_source_init(&s, &load, 0);
		size_t len = encode_whole(&s, &get, text);
		assert_int_equal(len, strlen(rows[i].get));
		assert_memory_equal(text, rows[i].get, len);
		len = encode_whole(&s, &set, text);
		assert_int_equal(len, strlen(rows[i].set) + 62);
		assert_memory_equal(text, rows[i].set, strlen(rows[i].set));
		assert_memory_equal(text + len - 2, "\r\n", 2);
		load.ttl_percent = 100;
		len = encode_whole(&s, &set, text);
		size_t line =
		    (size_t)snprintf(want, sizeof(want), rows[i].expiring, bench_load_ttl(&load, &set));
		assert_int_equal(len, line + 62);
		assert_memory_equal(text, want, line);
		bench_load_free(&load);
	}
}

static void binary_requests_are_in_form(void **state)
{
	(void)state;
	struct bench_load load = speaking(BENCH_BINARY);
	struct bench_source s;
	struct bench_request get = {0x01020304, 42, 60, BENCH_GET, false},
	                     set = {7, 42, 60, BENCH_SET, false};
	char text[1024];
	assert_true(bench_load_init(&load));
	bench_source_init(&s, &load, 0);
	assert_int_equal(encode_whole(&s, &get, text), 36);
	assert_memory_equal(text, "\x80\0\0\x0c\0\0\0\0\0\0\0\x0c\1\2\3\4\0\0\0\0\0\0\0\0k00000000042", 36);
	assert_int_equal(encode_whole(&s, &set, text), 24 + 8 + 12 + 60);
	assert_memory_equal(
	    text, "\x80\1\0\x0c\x08\0\0\0\0\0\0\x50\0\0\0\7\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0k00000000042", 44);
	bench_load_free(&load);
}

/* What an answer is, with all bytes there; less of it must ask for more, or see the head of the value already. */
static enum bench_answer_kind judge(
    enum bench_protocol protocol, enum bench_kind kind, const char *data, size_t len, struct bench_answer *a)
{
	struct bench_load load = speaking(protocol);
	struct bench_request r = {7, 42, 60, kind, false};
	enum bench_answer_kind whole = bench_answer(&load, &r, data, len, a);
	for (size_t i = 0; i < len && whole < BENCH_WRONG; i++) {
		struct bench_answer part;
		char *copy = malloc(i + 1); /* so that a look behind it is seen */
		memcpy(copy + 1, data, i);
		assert_int_equal(
		    bench_answer(&load, &r, copy + 1, i, &part), i < a->head ? BENCH_PARTIAL : whole);
		free(copy);
	}
	return whole;
}

static void answers_are_told_apart(void **state)
{
	(void)state;
	static const struct {
		enum bench_protocol protocol;
		enum bench_kind kind;
		const char *text;
		enum bench_answer_kind is;
	} rows[] = {
	    {BENCH_TEXT, BENCH_SET, "STORED\r\n", BENCH_STORED},
	    {BENCH_TEXT, BENCH_GET, "STORED\r\n", BENCH_BROKEN},
	    {BENCH_TEXT, BENCH_GET, "END\r\n", BENCH_MISS},
	    {BENCH_TEXT, BENCH_SET, "END\r\n", BENCH_BROKEN},
	    {BENCH_TEXT, BENCH_GET, "END\n", BENCH_BROKEN},
	    {BENCH_TEXT, BENCH_GET, "\n", BENCH_BROKEN},
	    {BENCH_TEXT, BENCH_GET, "VALUE k00000000042 0 60\r\n", BENCH_VALUE},
	    {BENCH_TEXT, BENCH_GET, "VALUE k00000000042 4294967295 60\r\n", BENCH_VALUE},
	    {BENCH_TEXT, BENCH_GET, "VALUE k00000000041 0 60\r\n", BENCH_WRONG},
	    {BENCH_TEXT, BENCH_GET, "VALUE k000000000421 0 60\r\n", BENCH_WRONG},
	    {BENCH_TEXT, BENCH_GET, "VALUE k00000000042\r\n", BENCH_WRONG},
	    {BENCH_TEXT, BENCH_GET, "VALUE k00000000042 0\r\n", BENCH_WRONG},
	    {BENCH_TEXT, BENCH_GET, "VALUE k00000000042 0 \r\n", BENCH_WRONG},
	    {BENCH_TEXT, BENCH_GET, "VALUE k00000000042 0 6x\r\n", BENCH_WRONG},
	    {BENCH_TEXT, BENCH_GET, "VALUE k00000000042 0 60 1\r\n", BENCH_WRONG},
	    {BENCH_TEXT, BENCH_GET, "VALUE k00000000042 0 99999999999999999999\r\n", BENCH_WRONG},
	    {BENCH_TEXT, BENCH_GET, "SERVER_ERROR out of memory\r\n", BENCH_REFUSED},
	    {BENCH_TEXT, BENCH_SET, "CLIENT_ERROR bad\r\n", BENCH_REFUSED},
	    {BENCH_TEXT, BENCH_SET, "NOT_STORED\r\n", BENCH_REFUSED},
	    {BENCH_TEXT, BENCH_GET, "NOT_STORED\r\n", BENCH_BROKEN},
	    {BENCH_META, BENCH_SET, "HD\r\n", BENCH_STORED},
	    {BENCH_META, BENCH_SET, "NS\r\n", BENCH_REFUSED},
	    {BENCH_META, BENCH_GET, "EN\r\n", BENCH_MISS},
	    {BENCH_META, BENCH_GET, "VA 60\r\n", BENCH_VALUE},
	    {BENCH_META, BENCH_GET, "VA 60 s60\r\n", BENCH_WRONG},
	    {BENCH_META, BENCH_GET, "SERVER_ERROR x\r\n", BENCH_REFUSED},
	    {BENCH_RESP, BENCH_SET, "+OK\r\n", BENCH_STORED},
	    {BENCH_RESP, BENCH_GET, "$-1\r\n", BENCH_MISS},
	    {BENCH_RESP, BENCH_GET, "$60\r\n", BENCH_VALUE},
	    {BENCH_RESP, BENCH_GET, "$\r\n", BENCH_WRONG},
	    {BENCH_RESP, BENCH_SET, "-OOM command not allowed\r\n", BENCH_REFUSED},
	    {BENCH_RESP, BENCH_GET, "-ERR x\r\n", BENCH_REFUSED},
	    {BENCH_RESP, BENCH_GET, "SERVER_ERROR x\r\n", BENCH_BROKEN},
	    {BENCH_RESP, BENCH_SET, "$60\r\n", BENCH_BROKEN},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct bench_answer a = {0};
		size_t len = strlen(rows[i].text);
		if (judge(rows[i].protocol, rows[i].kind, rows[i].text, len, &a) != rows[i].is)
			fail_msg("row %zu: %s", i, rows[i].text);
		assert_true(rows[i].is > BENCH_REFUSED || a.head == len);
		assert_true(rows[i].is != BENCH_VALUE || a.value_len == 60);
		assert_true(rows[i].is < BENCH_REFUSED || a.what);
	}
	/* A line without end is none. */
	static char endless[8192];
	struct bench_answer a;
	memset(endless, 'x', sizeof(endless));
	assert_int_equal(judge(BENCH_TEXT, BENCH_GET, endless, 4095, &a), BENCH_PARTIAL);
	assert_int_equal(judge(BENCH_TEXT, BENCH_GET, endless, sizeof(endless), &a), BENCH_BROKEN);
}

/* A head as a server sends it, whose words are `more` bytes behind it. */
static enum bench_answer_kind judge_binary(enum bench_kind kind, unsigned status, unsigned extras,
    unsigned more, uint32_t opaque, struct bench_answer *a)
{
	char data[200] = {(char)0x81, kind == BENCH_SET, 0, 0, (char)extras, 0, 0, (char)status, 0, 0, 0,
	    (char)(extras + more), 0, 0, 0, (char)opaque};
	return judge(BENCH_BINARY, kind, data, 24 + extras + more, a);
}

static void binary_answers_are_told_apart(void **state)
{
	(void)state;
	struct bench_answer a = {0};
	assert_int_equal(judge_binary(BENCH_SET, 0, 0, 0, 7, &a), BENCH_STORED);
	assert_int_equal(a.head, 24);
	assert_int_equal(judge_binary(BENCH_GET, 1, 0, 9, 7, &a), BENCH_MISS);
	assert_int_equal(a.head, 33);
	assert_int_equal(judge_binary(BENCH_SET, 3, 0, 9, 7, &a), BENCH_REFUSED);
	assert_int_equal(a.text_len, 9);
	assert_int_equal(judge_binary(BENCH_SET, 1, 0, 9, 7, &a), BENCH_REFUSED);
	assert_int_equal(judge_binary(BENCH_GET, 0, 4, 60, 7, &a), BENCH_VALUE);
	assert_int_equal(a.head, 28);
	assert_int_equal(a.value_len, 60);
	assert_int_equal(judge_binary(BENCH_GET, 0, 4, 60, 8, &a), BENCH_WRONG);
	struct bench_load load = speaking(BENCH_BINARY);
	struct bench_request r = {7, 42, 60, BENCH_GET, false};
	char data[24] = {(char)0x80};
	assert_int_equal(bench_answer(&load, &r, data, 24, &a), BENCH_BROKEN);
	data[0] = (char)0x81;
	data[1] = 1; /* the answer to a set */
	assert_int_equal(bench_answer(&load, &r, data, 24, &a), BENCH_BROKEN);
	data[1] = 0;
	data[4] = 4; /* extras beyond the body */
	assert_int_equal(bench_answer(&load, &r, data, 24, &a), BENCH_BROKEN);
}

/* ---- progress ---- */

static void progress_says_how_long(void **state)
{
	(void)state;
	atomic_uint_fast64_t claimed = 2500;
	char text[160];
	struct bench_progress p = {
	    .name = "mix", .begun = 1, .deadline = UINT64_MAX, .stock = 10000, .claimed = &claimed};
	p.done = 2500;
	p.gets = 2000;
	p.hits = 500;
	bench_progress_line(&p, 2000000001, text, sizeof(text));
	assert_string_equal(text, "mix: 2500 requests, 1250 a second, hit ratio 0.2500, 6 s left");
	p.done = 3500;
	p.gets = 3000;
	p.hits = 1500;
	p.deadline = 5000000001;
	claimed = 3500;
	bench_progress_line(&p, 3000000001, text, sizeof(text));
	assert_string_equal(text, "mix: 3500 requests, 1000 a second, hit ratio 1.0000, 2 s left");
	p.stock = UINT64_MAX;
	p.deadline = UINT64_MAX;
	bench_progress_line(&p, 4000000001, text, sizeof(text));
	assert_string_equal(text, "mix: 3500 requests, 0 a second");
	bench_progress_line(&p, 5000000001, text, 8);
	assert_string_equal(text, "mix: 35");
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
    cmocka_unit_test(sizes_are_parsed),
    cmocka_unit_test(lognormal_sizes_follow_the_law),
    cmocka_unit_test(sizes_are_scaled_to_the_footprint),
    cmocka_unit_test(requests_hang_on_their_number),
    cmocka_unit_test(keys_keep_their_sizes),
    cmocka_unit_test(requests_come_when_they_are_due),
    cmocka_unit_test(requests_are_in_form),
    cmocka_unit_test(binary_requests_are_in_form),
    cmocka_unit_test(answers_are_told_apart),
    cmocka_unit_test(binary_answers_are_told_apart),
    cmocka_unit_test(progress_says_how_long),
};

UNIT_MAIN(TESTS)
