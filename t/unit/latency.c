/* SPDX-License-Identifier: BSD-3-Clause */
/* latency: percentiles of its histogram against sorted values, counts that end where a bucket does, what is beyond, what is added
 * while others read; which turns are timed, what of them is counted and as what, workers together, and what is recent. */
#include <pthread.h>
#include <stdlib.h>
#include "unit.h"
#include "server/internal.h"
#include "server/latency.h"

static uint32_t seed = 4711;

static uint32_t draw(void)
{
	seed = seed * 1664525 + 1013904223;
	return seed >> 8;
}

/* ---- the histogram ---- */

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

static void percentiles_are_not_too_low_and_by_a_tenth_too_high(void **state)
{
	(void)state;
	static struct histogram a, b, before;
	static uint64_t values[20000];
	uint64_t sum = 0;
	assert_int_equal(histogram_permille(&a, 500), 0);
	/* From a nanosecond to eight seconds. */
	for (unsigned i = 0; i < 20000; i++) {
		values[i] = (((uint64_t)draw() << 9 | draw() % 512) >> draw() % 32) + 1;
		sum += values[i];
		histogram_add(i % 3 ? &a : &b, values[i]);
	}
	before = a;
	histogram_merge(&a, &b);
	assert_int_equal(histogram_within(&a, HISTOGRAM_MAX), 20000);
	assert_int_equal(a.sum, sum);
	qsort(values, 20000, sizeof(*values), compare);
	for (unsigned permille = 1; permille <= 1000; permille++) {
		uint64_t exact = values[permille * 20 - 1], told = histogram_permille(&a, permille);
		assert_true(told >= exact && (told <= exact + exact / 10 || told == HISTOGRAM_MIN));
	}
	histogram_subtract(&a, &before);
	assert_memory_equal(&a, &b, sizeof(a));
}

/* What /metrics relies on: le of two digits. */
static void what_is_counted_up_to_two_digits_is_exact(void **state)
{
	(void)state;
	for (uint64_t unit = 10; unit <= 1000000000; unit *= 10) {
		for (unsigned digits = 10; digits < 100; digits++) {
			struct histogram h = {0};
			uint64_t end = digits * unit;
			histogram_add(&h, end - 1);
			histogram_add(&h, end);
			histogram_add(&h, end + 1);
			assert_int_equal(histogram_within(&h, end), 2);
			assert_int_equal(histogram_within(&h, HISTOGRAM_MAX), 3);
			assert_int_equal(histogram_permille(&h, 500), end);
			assert_true(histogram_permille(&h, 1000) > end);
		}
	}
}

static void what_is_beyond_counts_as_the_largest(void **state)
{
	(void)state;
	static struct histogram h;
	histogram_add(&h, UINT64_MAX);
	histogram_add(&h, HISTOGRAM_MAX + 1);
	histogram_add(&h, HISTOGRAM_MAX);
	histogram_add(&h, 0);
	assert_int_equal(histogram_within(&h, HISTOGRAM_MAX), 4);
	assert_int_equal(histogram_within(&h, HISTOGRAM_MAX / 10 * 9), 1);
	assert_int_equal(histogram_permille(&h, 250), HISTOGRAM_MIN);
	assert_int_equal(histogram_permille(&h, 251), HISTOGRAM_MAX);
	assert_int_equal(histogram_permille(&h, 1000), HISTOGRAM_MAX);
	/* The sum stays what the buckets say, whatever came. */
	assert_int_equal(h.sum, 3 * HISTOGRAM_MAX);
}

#define ADDED 2000000u

static void *add_many(void *arg)
{
	for (unsigned i = 0; i < ADDED; i++)
		histogram_add(arg, 1000);
	return NULL;
}

static void who_reads_meanwhile_sees_no_more_time_than_counts(void **state)
{
	(void)state;
	static struct histogram h;
	pthread_t thread;
	uint64_t n = 0;
	assert_int_equal(pthread_create(&thread, NULL, add_many, &h), 0);
	while (n < ADDED) {
		struct histogram copy = {0};
		histogram_merge(&copy, &h);
		uint64_t now = histogram_within(&copy, HISTOGRAM_MAX);
		assert_true(now >= n && copy.sum <= now * 1000);
		n = now;
	}
	pthread_join(thread, NULL);
	assert_int_equal(h.sum, (uint64_t)ADDED * 1000);
}

/* ---- turns ---- */

/* A server of two workers that nothing runs. */
struct fixture {
	struct server server;
	struct worker workers[2];
	struct conn conn;
};

static struct fixture *make(void)
{
	struct fixture *f = calloc(1, sizeof(*f));
	assert_non_null(f);
	f->server.latency = latency_open(0);
	assert_non_null(f->server.latency);
	f->server.workers = f->workers;
	f->server.n_workers = 2;
	for (unsigned i = 0; i < 2; i++)
		assert_true(latency_open_worker(&f->workers[i]));
	f->conn = (struct conn){.worker = &f->workers[0], .verdict = CONN_IDLE};
	return f;
}

/* As at the start. */
static void make_again(struct fixture *f)
{
	latency_close_worker(&f->workers[0]);
	assert_true(latency_open_worker(&f->workers[0]));
}

static void drop(struct fixture *f)
{
	latency_close(&f->server.latency);
	assert_null(f->server.latency);
	latency_close_worker(&f->workers[0]);
	latency_close_worker(&f->workers[1]);
	free(f);
}

/* Requests that were executed: so many more of a counter each, and an answer or none. */
static void run(struct fixture *f, unsigned gets, unsigned sets, bool answer)
{
	static uint8_t bytes[8];
	struct worker *w = f->conn.worker;
	uint64_t counted[LATENCY_KINDS];
	latency_before(w, counted);
	counter_add(w->counters, COUNTER_cmd_get, gets);
	counter_add(w->counters, COUNTER_delete_misses, sets);
	f->conn.out.copied = (struct buf){.data = bytes, .size = 8, .tail = answer ? 8 : 0};
	latency_ran(&f->conn, counted);
}

static uint64_t counted(const struct fixture *f, enum latency_kind kind)
{
	struct latency_times times;
	latency_collect(&f->server, &times);
	return histogram_within(&times.kind[kind], HISTOGRAM_MAX);
}

static void one_turn_in_so_many_is_timed_and_of_each_rhythm_all_beats(void **state)
{
	(void)state;
	struct fixture *f = make();
	unsigned distances[2 * LATENCY_EVERY] = {0}, rests[100] = {0};
	const unsigned turns = 64 * 64 * 1000;
	assert_true(latency_due(&f->workers[0])); /* the first */
	latency_begin(&f->conn);
	unsigned last = 0, n = 0;
	for (unsigned i = 1; i <= turns; i++) {
		if (!latency_due(&f->workers[0]))
			continue;
		latency_begin(&f->conn);
		assert_true(i - last < 2 * LATENCY_EVERY);
		distances[i - last]++;
		last = i;
		n++;
	}
	const unsigned all = turns / LATENCY_EVERY;
	assert_true(n > all * 0.98 && n < all * 1.02);
	for (unsigned d = 1; d < 2 * LATENCY_EVERY; d++)
		assert_true(distances[d] > all / 127 * 0.75 && distances[d] < all / 127 * 1.25);
	/* Whatever the rhythm of the load is, each beat of it has its share. */
	for (unsigned beats = 2; beats <= 100; beats++) {
		memset(rests, 0, sizeof(rests));
		make_again(f);
		for (unsigned i = 0; i < turns / 10; i++) {
			if (latency_due(&f->workers[0])) {
				rests[i % beats]++;
				latency_begin(&f->conn);
			}
		}
		for (unsigned k = 0; k < beats; k++)
			assert_true(rests[k] > all / 10 / beats * 0.5 && rests[k] < all / 10 / beats * 1.6);
	}
	drop(f);
}

static void a_turn_counts_once_for_each_kind_of_its_requests(void **state)
{
	(void)state;
	struct fixture *f = make();
	static const struct {
		unsigned gets, sets;
	} turns[] = {{1, 0}, {16, 0}, {0, 3}, {2, 2}, {0, 0}};
	for (unsigned i = 0; i < 5; i++) {
		latency_begin(&f->conn);
		run(f, turns[i].gets, turns[i].sets, true);
		latency_answered(&f->conn, true);
		assert_int_equal(f->conn.began, 0);
	}
	assert_int_equal(counted(f, LATENCY_GET), 3);
	assert_int_equal(counted(f, LATENCY_SET), 2);
	/* Nobody is answered: that is no time that anybody waits. */
	latency_begin(&f->conn);
	run(f, 0, 1, false);
	assert_int_equal(f->conn.began, 0);
	assert_int_equal(counted(f, LATENCY_SET), 2);
	drop(f);
}

static void what_is_answered_in_parts_counts_part_by_part(void **state)
{
	(void)state;
	struct fixture *f = make();
	latency_begin(&f->conn);
	f->conn.verdict = CONN_AGAIN;
	run(f, 1, 0, true);
	latency_answered(&f->conn, true);
	assert_true(f->conn.began != 0); /* the rest of what was read goes on waiting */
	f->conn.verdict = CONN_WAIT;
	run(f, 0, 1, false); /* its answer is not there yet */
	assert_true(f->conn.began != 0);
	f->conn.verdict = CONN_IDLE;
	run(f, 0, 1, true);
	latency_answered(&f->conn, true);
	assert_int_equal(f->conn.began, 0);
	assert_int_equal(counted(f, LATENCY_GET), 1);
	assert_int_equal(counted(f, LATENCY_SET), 1);
	/* From where the client does not read, nothing is timed. */
	latency_begin(&f->conn);
	f->conn.verdict = CONN_AGAIN;
	run(f, 1, 0, true);
	latency_answered(&f->conn, false);
	assert_int_equal(f->conn.began, 0);
	assert_int_equal(counted(f, LATENCY_GET), 2);
	drop(f);
}

/* A get that took so long, by one of the workers. */
static void take(struct fixture *f, unsigned worker, uint64_t ns)
{
	f->conn.worker = &f->workers[worker];
	latency_begin(&f->conn);
	f->conn.began -= ns;
	run(f, 1, 0, true);
	latency_answered(&f->conn, true);
}

static void workers_are_told_together_and_only_what_is_recent(void **state)
{
	(void)state;
	struct fixture *f = make();
	struct latency_times t;
	struct histogram *h = &t.kind[LATENCY_GET];
	double seconds;
	const int64_t s = 1000000;
	take(f, 0, 2000000000);
	take(f, 1, 4000000000);
	latency_recent(&f->server, 5 * s, &t, &seconds);
	assert_true(seconds == 5);
	assert_int_equal(histogram_within(h, HISTOGRAM_MAX), 2);
	assert_true(histogram_permille(h, 500) >= 2000000000 && histogram_permille(h, 500) < 4000000000);
	assert_true(histogram_permille(h, 1000) >= 4000000000);
	/* Two windows on, these are forgotten; what came in the second is not. */
	latency_tick(&f->server, 29 * s);
	latency_tick(&f->server, 30 * s);
	take(f, 1, 1000000000);
	latency_tick(&f->server, 31 * s);
	latency_recent(&f->server, 59 * s, &t, &seconds);
	assert_true(seconds == 59);
	assert_int_equal(histogram_within(h, HISTOGRAM_MAX), 3);
	latency_tick(&f->server, 60 * s);
	latency_recent(&f->server, 61 * s, &t, &seconds);
	assert_true(seconds == 31);
	assert_int_equal(histogram_within(h, HISTOGRAM_MAX), 1);
	assert_true(histogram_permille(h, 1000) >= 1000000000 && histogram_permille(h, 1000) < 2000000000);
	assert_true(h->sum >= 1000000000 && h->sum < 2000000000);
	/* A reset begins anew; what /metrics has goes on. */
	latency_reset(&f->server, 62 * s);
	latency_recent(&f->server, 62 * s, &t, &seconds);
	assert_true(seconds == 0);
	assert_int_equal(histogram_within(h, HISTOGRAM_MAX), 0);
	assert_int_equal(histogram_permille(h, 1000), 0);
	assert_int_equal(h->sum, 0);
	assert_int_equal(counted(f, LATENCY_GET), 3);
	drop(f);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(percentiles_are_not_too_low_and_by_a_tenth_too_high),
    cmocka_unit_test(what_is_counted_up_to_two_digits_is_exact),
    cmocka_unit_test(what_is_beyond_counts_as_the_largest),
    cmocka_unit_test(who_reads_meanwhile_sees_no_more_time_than_counts),
    cmocka_unit_test(one_turn_in_so_many_is_timed_and_of_each_rhythm_all_beats),
    cmocka_unit_test(a_turn_counts_once_for_each_kind_of_its_requests),
    cmocka_unit_test(what_is_answered_in_parts_counts_part_by_part),
    cmocka_unit_test(workers_are_told_together_and_only_what_is_recent),
};

UNIT_MAIN(tests)
