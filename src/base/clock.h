/* SPDX-License-Identifier: BSD-3-Clause */
/* clock: Hearth time. Anchored to the wall clock when made, it then advances with CLOCK_BOOTTIME, is slewed
 * towards the wall clock by at most 5 ms a second and never stepped or set back: TTLs in memory and on disk are
 * judged by it (the file format pages say why). Any thread may call all but clock_close. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <pthread.h>
#include <stdint.h>
#include <time.h>

struct clock;

/* not_before_ms: the latest Hearth time known from disk, 0 if none: the clock never starts before it.
 * NULL when memory is short. */
struct clock *clock_open(int64_t not_before_ms);
void clock_close(struct clock **clock);
/* Recovery learns the time on disk after the clock was made: raises it to at least this. */
void clock_raise(struct clock *clock, int64_t not_before_ms);
/* Milliseconds and whole seconds since 1970-01-01 UTC. */
int64_t clock_ms(const struct clock *clock);
int64_t clock_now(const struct clock *clock);
/* Wall clock, milliseconds: for file headers and messages only. */
int64_t clock_wall_ms(void);
/* CLOCK_BOOTTIME, milliseconds: nobody sets it, and it goes on while the machine sleeps. */
int64_t clock_boot_ms(void);
/* Monotonic microseconds with no epoch: for durations. */
int64_t clock_mono_us(void);
/* A condition variable that waits by CLOCK_MONOTONIC, and so many milliseconds from now on it. */
void clock_init_cond(pthread_cond_t *cond);
struct timespec clock_deadline(int ms);
/* Called about once a second. */
void clock_slew(struct clock *clock);
/* Tests only (`debugtime`): moves Hearth time by so many seconds, forwards or back. */
void clock_jump(struct clock *clock, int64_t seconds);

#endif
