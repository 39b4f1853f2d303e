/* SPDX-License-Identifier: BSD-3-Clause */
/* fake: what the crash harness takes from the machine: clocks, waiting, random bytes, the number of cores. The linker
 * puts these calls in the place of the C library's (--wrap). The wall and boot clocks stand still until a test moves
 * them, so that times in files follow from the seed; the monotonic clock runs FAKE_SPEED times as fast, so that "once a
 * second" needs no second. Any thread may call what is wrapped; fake_* belong to the thread that leads. */
#ifndef CRASH_FAKE_H
#define CRASH_FAKE_H

#include <stdint.h>

/* Everything begins anew: clocks at this wall time, random bytes from this seed. */
void fake_begin(int64_t wall_seconds, uint64_t seed);
int64_t fake_wall(void); /* seconds */
/* Time passes: both clocks go on. */
void fake_pass(int64_t seconds);
/* Somebody sets the wall clock: only that one moves. */
void fake_set_wall(int64_t seconds);
/* Of the machine, as sysconf tells it. */
void fake_set_cores(unsigned n);
/* As many times faster than real time the monotonic clock runs. */
void fake_set_speed(unsigned n);

/* ---- numbers that follow from a seed; one state a thread ---- */
struct dice {
	uint64_t state;
};
struct dice dice_make(uint64_t seed);
uint64_t dice_next(struct dice *d);
/* 0 .. n-1 */
unsigned dice_below(struct dice *d, unsigned n);
static inline int dice_one_in(struct dice *d, unsigned n)
{
	return dice_below(d, n) == 0;
}

#endif
