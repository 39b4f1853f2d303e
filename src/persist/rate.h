/* SPDX-License-Identifier: BSD-3-Clause */
/* rate: a token bucket for background reading and writing. It only counts: the caller waits, so that it can look at
 * other things meanwhile. One thread. */
#ifndef PERSIST_RATE_H
#define PERSIST_RATE_H

#include <stdint.h>

struct rate {
	uint64_t per_second; /* bytes; 0 = no limit */
	int64_t last_us;     /* of the last call, clock_mono_us */
	int64_t debt_us;     /* what was taken and is not paid by time yet */
};

/* Short bursts pass: so much debt is not waited for. */
#define RATE_BURST_US 50000

/* So many bytes were moved at this time (clock_mono_us). Returns how many microseconds to wait before the next. */
int64_t rate_take(struct rate *r, uint64_t bytes, int64_t now_us);
/* Forgets the debt: the limit was lifted for a while. */
void rate_forgive(struct rate *r);

#endif
