/* SPDX-License-Identifier: BSD-3-Clause */
/* clock: see clock.h. Hearth time is a line over CLOCK_BOOTTIME: at `since` it was `base`; from there it runs
 * with the boot clock, and `slew` microseconds more or less are spread evenly over the first second. A new
 * line begins where the old one is at that moment, so time never steps. Readers take the three values under a
 * sequence lock made of atomics alone (odd = being written); because a reader's look at the boot clock lies
 * between two looks at the sequence, nobody gets a value of the old line after the new one began. */
#include <sched.h>
#include <stdbool.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include "base/check.h"
#include "base/clock.h"

#define CLOCK_MAGIC   0x434c4b31u
#define SECOND_US     INT64_C(1000000)
#define SLEW_LIMIT_US 5000

struct clock {
	uint32_t magic;
	atomic_uint sequence;
	_Atomic int64_t since; /* boot clock, microseconds, as all here */
	_Atomic int64_t base;
	_Atomic int64_t slew;
	/* One writes at a time: the main thread slews, and a worker that was asked to jump does. */
	pthread_mutex_t lock;
	int64_t jumped; /* under the lock */
};

static int64_t read_us(clockid_t id)
{
	struct timespec ts;
	CHECK(clock_gettime(id, &ts) == 0);
	return (int64_t)ts.tv_sec * SECOND_US + ts.tv_nsec / 1000;
}

static int64_t value_at(int64_t boot, int64_t since, int64_t base, int64_t slew)
{
	int64_t elapsed = boot - since;
	int64_t slewing = elapsed < SECOND_US ? elapsed : SECOND_US;
	return base + elapsed + slew * slewing / SECOND_US;
}

static int64_t now_us(const struct clock *clock)
{
	CHECK_MAGIC(clock, CLOCK_MAGIC);
	for (;;) {
		unsigned before = atomic_load_explicit(&clock->sequence, memory_order_acquire);
		int64_t boot = read_us(CLOCK_BOOTTIME);
		int64_t since = atomic_load_explicit(&clock->since, memory_order_acquire);
		int64_t base = atomic_load_explicit(&clock->base, memory_order_acquire);
		int64_t slew = atomic_load_explicit(&clock->slew, memory_order_acquire);
		unsigned after = atomic_load_explicit(&clock->sequence, memory_order_relaxed);
		if (before == after && (before & 1) == 0)
			return value_at(boot, since, base, slew);
		sched_yield();
	}
}

/* Begins a new line: `step` away from where the old one is now (forward only, but for tests), or where it
 * must be to be no earlier than `floor`; it then slews towards wall clock + jumped if told to. The lock is held. */
static void begin_line(struct clock *clock, int64_t step, int64_t floor, bool towards_wall)
{
	unsigned sequence = atomic_load_explicit(&clock->sequence, memory_order_relaxed);
	/* Sequentially consistent: odd is visible before the boot clock is read below. */
	atomic_store(&clock->sequence, sequence + 1);
	int64_t boot = read_us(CLOCK_BOOTTIME);
	int64_t base = value_at(boot, atomic_load_explicit(&clock->since, memory_order_relaxed),
	    atomic_load_explicit(&clock->base, memory_order_relaxed),
	    atomic_load_explicit(&clock->slew, memory_order_relaxed));
	base += step;
	if (base < floor)
		base = floor;
	int64_t slew = 0;
	if (towards_wall) {
		slew = read_us(CLOCK_REALTIME) + clock->jumped - base;
		if (slew > SLEW_LIMIT_US)
			slew = SLEW_LIMIT_US;
		if (slew < -SLEW_LIMIT_US)
			slew = -SLEW_LIMIT_US;
	}
	atomic_store_explicit(&clock->since, boot, memory_order_release);
	atomic_store_explicit(&clock->base, base, memory_order_release);
	atomic_store_explicit(&clock->slew, slew, memory_order_release);
	atomic_store_explicit(&clock->sequence, sequence + 2, memory_order_release);
}

struct clock *clock_open(int64_t not_before_ms)
{
	struct clock *clock = calloc(1, sizeof(*clock));
	if (clock == NULL)
		return NULL;
	clock->magic = CLOCK_MAGIC;
	pthread_mutex_init(&clock->lock, NULL);
	int64_t wall = read_us(CLOCK_REALTIME);
	atomic_init(&clock->since, read_us(CLOCK_BOOTTIME));
	atomic_init(&clock->base, wall);
	clock_raise(clock, not_before_ms);
	return clock;
}

void clock_close(struct clock **clock)
{
	if (*clock == NULL)
		return;
	CHECK_MAGIC(*clock, CLOCK_MAGIC);
	pthread_mutex_destroy(&(*clock)->lock);
	(*clock)->magic = 0;
	free(*clock);
	*clock = NULL;
}

void clock_raise(struct clock *clock, int64_t not_before_ms)
{
	CHECK_MAGIC(clock, CLOCK_MAGIC);
	/* A time from disk is any number: one that does not fit is held at the largest that does. */
	if (not_before_ms > INT64_MAX / 4000)
		not_before_ms = INT64_MAX / 4000;
	if (not_before_ms <= 0)
		return;
	pthread_mutex_lock(&clock->lock);
	begin_line(clock, 0, not_before_ms * 1000, false);
	pthread_mutex_unlock(&clock->lock);
}

int64_t clock_ms(const struct clock *clock)
{
	return now_us(clock) / 1000;
}

int64_t clock_now(const struct clock *clock)
{
	return now_us(clock) / SECOND_US;
}

int64_t clock_wall_ms(void)
{
	return read_us(CLOCK_REALTIME) / 1000;
}

int64_t clock_boot_ms(void)
{
	return read_us(CLOCK_BOOTTIME) / 1000;
}

int64_t clock_mono_us(void)
{
	return read_us(CLOCK_MONOTONIC);
}

void clock_slew(struct clock *clock)
{
	CHECK_MAGIC(clock, CLOCK_MAGIC);
	pthread_mutex_lock(&clock->lock);
	begin_line(clock, 0, INT64_MIN, true);
	pthread_mutex_unlock(&clock->lock);
}

void clock_jump(struct clock *clock, int64_t seconds)
{
	CHECK_MAGIC(clock, CLOCK_MAGIC);
	if (seconds > INT32_MAX)
		seconds = INT32_MAX;
	if (seconds < INT32_MIN)
		seconds = INT32_MIN;
	pthread_mutex_lock(&clock->lock);
	clock->jumped += seconds * SECOND_US;
	begin_line(clock, seconds * SECOND_US, INT64_MIN, false);
	pthread_mutex_unlock(&clock->lock);
}

void clock_init_cond(pthread_cond_t *cond)
{
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(cond, &attr);
	pthread_condattr_destroy(&attr);
}

struct timespec clock_deadline(int ms)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	ts.tv_sec += ms / 1000;
	ts.tv_nsec += (long)(ms % 1000) * 1000000;
	if (ts.tv_nsec >= 1000000000) {
		ts.tv_nsec -= 1000000000;
		ts.tv_sec++;
	}
	return ts;
}
