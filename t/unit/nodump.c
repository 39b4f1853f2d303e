/* SPDX-License-Identifier: BSD-3-Clause */
/* nodump: blocks of all sizes are apart, writable to their ends, kept out of core dumps, and used again; several threads. */
#include "unit.h"
#include <pthread.h>
#include "base/nodump.h"

static const size_t SIZES[] = {
    1, NODUMP_LEAST, NODUMP_LEAST + 1, 3 * NODUMP_LEAST, 1 << 20, 16 << 20, (16 << 20) + 1, 40 << 20};
#define N_SIZES (sizeof(SIZES) / sizeof(SIZES[0]))

/* Whether the kernel leaves the page out. */
static inline bool is_left_out(const void *page)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	unsigned long from, to, at = (unsigned long)page;
	bool inside = false, left_out = false;
	char line[512];
	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			inside = from <= at && at < to;
		else if (inside && strncmp(line, "VmFlags:", 8) == 0)
			left_out = strstr(line, " dd") != NULL;
	}
	fclose(f);
	return left_out;
}

static void each_size_is_whole_and_apart(void **state)
{
	(void)state;
	uint8_t *block[N_SIZES];
	for (size_t i = 0; i < N_SIZES; i++) {
		block[i] = nodump_alloc(SIZES[i]);
		assert_non_null(block[i]);
		memset(block[i], (int)i + 1, SIZES[i]);
	}
	for (size_t i = 0; i < N_SIZES; i++) {
		assert_int_equal(block[i][0], i + 1);
		assert_int_equal(block[i][SIZES[i] - 1], i + 1);
#ifndef __SANITIZE_ADDRESS__
		assert_true(is_left_out(block[i]));
		assert_true(is_left_out(block[i] + SIZES[i] - 1));
#endif
		nodump_free(block[i], SIZES[i]);
	}
	nodump_free(NULL, 100);
#ifndef __SANITIZE_ADDRESS__
	assert_null(nodump_alloc(SIZE_MAX));
	assert_null(nodump_alloc(SIZE_MAX / 2));
#endif
}

#ifndef __SANITIZE_ADDRESS__
static void what_is_given_back_is_used_again(void **state)
{
	(void)state;
	void *first = nodump_alloc(20000);
	nodump_free(first, 20000);
	void *again = nodump_alloc(32768);
	assert_ptr_equal(first, again);
	assert_true(is_left_out(again));
	nodump_free(again, 32768);
}
#endif

/* Of more than are kept. */
static void many_come_and_go(void **state)
{
	(void)state;
	enum { N = 2000 };
	static uint8_t *block[N];
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < N; i++) {
			block[i] = nodump_alloc(NODUMP_LEAST);
			assert_non_null(block[i]);
			memcpy(block[i], &i, sizeof(i));
		}
		for (unsigned i = 0; i < N; i++) {
			unsigned at = i * 7919 % N;
			assert_memory_equal(block[at], &at, sizeof(at));
			nodump_free(block[at], NODUMP_LEAST);
		}
	}
}

static void *take_and_give(void *arg)
{
	uint32_t rnd = (uint32_t)(uintptr_t)arg;
	for (unsigned i = 0; i < 20000; i++) {
		size_t size = 1 + unit_random(&rnd) % 200000;
		uint8_t *block = nodump_alloc(size);
		if (!block)
			return "no memory";
		block[0] = block[size - 1] = (uint8_t)rnd;
		if (block[0] != (uint8_t)rnd || block[size - 1] != (uint8_t)rnd)
			return "it is somebody else's, too";
		nodump_free(block, size);
	}
	return NULL;
}

static void threads_do_not_meet(void **state)
{
	(void)state;
	pthread_t thread[4];
	for (uintptr_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, take_and_give, (void *)(i + 1)), 0);
	for (unsigned i = 0; i < 4; i++) {
		void *why;
		pthread_join(thread[i], &why);
		assert_null(why);
	}
}

static const struct CMUnitTest TESTS[] = {
    cmocka_unit_test(each_size_is_whole_and_apart),
#ifndef __SANITIZE_ADDRESS__
    cmocka_unit_test(what_is_given_back_is_used_again),
#endif
    cmocka_unit_test(many_come_and_go),
    cmocka_unit_test(threads_do_not_meet),
};
UNIT_MAIN(TESTS)
