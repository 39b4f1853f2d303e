/* SPDX-License-Identifier: BSD-3-Clause */
/* clock: Hearth time starts right, never runs backwards for anybody, and is slewed no faster than promised.
 * What it does is held against the boot clock, not against sleeps, so that a slow machine does not matter. */
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include "unit.h"
#include "base/clock.h"

static int64_t boot_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void sleep_ms(long ms)
{
	struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
	nanosleep(&ts, NULL);
}

static void starts_with_the_wall_clock(void **state)
{
	(void)state;
	int64_t before = clock_wall_ms();
	struct clock *clock = clock_open(0);
	int64_t now = clock_ms(clock);
	int64_t after = clock_wall_ms();
	assert_in_range(now, before, after + 1);
	assert_in_range(clock_now(clock), before / 1000, clock_wall_ms() / 1000 + 1);
	clock_close(&clock);
	assert_null(clock);
	clock_close(&clock);
}

static void never_before_the_disk(void **state)
{
	(void)state;
	int64_t future = clock_wall_ms() + 3600 * 1000;
	struct clock *clock = clock_open(future);
	assert_true(clock_ms(clock) >= future);
	assert_true(clock_ms(clock) < future + 10000);
	clock_raise(clock, future - 1000);
	assert_true(clock_ms(clock) >= future);
	clock_raise(clock, future + 5000);
	assert_true(clock_ms(clock) >= future + 5000);
	clock_close(&clock);
	clock = clock_open(clock_wall_ms() - 1000000);
	assert_true(clock_ms(clock) >= clock_wall_ms() - 1000);
	/* Nonsense from a disk does not overflow. */
	clock_raise(clock, INT64_MAX);
	assert_true(clock_ms(clock) > 0);
	clock_raise(clock, INT64_MIN);
	clock_close(&clock);
}

static void slews_slowly(void **state)
{
	(void)state;
	/* Ten seconds ahead of the wall clock: it must come back at 5 ms a second, not at once. */
	struct clock *clock = clock_open(clock_wall_ms() + 10000);
	int64_t hearth = clock_ms(clock), boot = boot_ms();
	clock_slew(clock);
	for (int i = 0; i < 12; i++) {
		int64_t last = clock_ms(clock);
		sleep_ms(100);
		assert_true(clock_ms(clock) >= last);
		int64_t lag = boot_ms() - boot - (clock_ms(clock) - hearth);
		assert_in_range(lag + 2, 0, 5 + 4);
	}
	/* After the first second it has done what one call allows, and does no more. */
	int64_t lag = boot_ms() - boot - (clock_ms(clock) - hearth);
	assert_in_range(lag, 3, 7);
	clock_close(&clock);
}

static void slewing_often_is_not_faster(void **state)
{
	(void)state;
	struct clock *clock = clock_open(clock_wall_ms() + 10000);
	int64_t hearth = clock_ms(clock), boot = boot_ms();
	for (int i = 0; i < 2000; i++)
		clock_slew(clock);
	int64_t passed = boot_ms() - boot;
	int64_t lag = passed - (clock_ms(clock) - hearth);
	assert_true(lag <= passed * 5 / 1000 + 3);
	clock_close(&clock);
}

static void jumps_for_tests(void **state)
{
	(void)state;
	struct clock *clock = clock_open(0);
	int64_t start = clock_now(clock);
	clock_jump(clock, 1000);
	assert_in_range(clock_now(clock) - start, 1000, 1010);
	/* Slewing must not take the jump back. */
	int64_t hearth = clock_ms(clock), boot = boot_ms();
	clock_slew(clock);
	sleep_ms(600);
	int64_t lag = boot_ms() - boot - (clock_ms(clock) - hearth);
	assert_in_range(lag + 1, 0, 2);
	clock_jump(clock, -1500);
	assert_in_range(start - clock_now(clock), 490, 500);
	clock_close(&clock);
}

struct race {
	struct clock *clock;
	atomic_bool stop;
	_Atomic int64_t latest;
	atomic_uint backwards;
};

static void *read_always(void *arg)
{
	struct race *race = arg;
	while (!atomic_load(&race->stop)) {
		int64_t seen = atomic_load(&race->latest);
		int64_t now = clock_ms(race->clock);
		if (now < seen)
			atomic_fetch_add(&race->backwards, 1);
		while (seen < now && !atomic_compare_exchange_weak(&race->latest, &seen, now))
			;
	}
	return NULL;
}

static void never_backwards_for_any_thread(void **state)
{
	(void)state;
	struct race race = {.clock = clock_open(clock_wall_ms() + 60000)};
	pthread_t threads[3];
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, read_always, &race), 0);
	for (int i = 0; i < 400; i++) {
		clock_slew(race.clock);
		if (i % 50 == 0)
			clock_raise(race.clock, clock_ms(race.clock) + 20);
		sleep_ms(1);
	}
	atomic_store(&race.stop, true);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(atomic_load(&race.backwards), 0);
	clock_close(&race.clock);
}

static void *slew_always(void *arg)
{
	struct race *race = arg;
	while (!atomic_load(&race->stop))
		clock_slew(race->clock);
	return NULL;
}

/* As `debugtime` has it, on a worker, while the main thread ticks. */
static void no_jump_is_lost(void **state)
{
	(void)state;
	struct race race = {.clock = clock_open(0)};
	int64_t ahead = clock_ms(race.clock) - boot_ms();
	pthread_t thread;
	assert_int_equal(pthread_create(&thread, NULL, slew_always, &race), 0);
	for (int i = 0; i < 20000; i++)
		clock_jump(race.clock, 1);
	atomic_store(&race.stop, true);
	pthread_join(thread, NULL);
	ahead = clock_ms(race.clock) - boot_ms() - ahead;
	assert_in_range(ahead, 19999000, 20001000);
	clock_close(&race.clock);
}

static void durations_are_monotonic(void **state)
{
	(void)state;
	int64_t a = clock_mono_us();
	sleep_ms(5);
	int64_t b = clock_mono_us();
	assert_true(b - a >= 5000);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(starts_with_the_wall_clock),
    cmocka_unit_test(never_before_the_disk),
    cmocka_unit_test(slews_slowly),
    cmocka_unit_test(slewing_often_is_not_faster),
    cmocka_unit_test(jumps_for_tests),
    cmocka_unit_test(never_backwards_for_any_thread),
    cmocka_unit_test(no_jump_is_lost),
    cmocka_unit_test(durations_are_monotonic),
};
UNIT_MAIN(tests)
