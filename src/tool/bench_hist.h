/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_hist: a histogram of nanoseconds with buckets that grow with the value, as HDR histograms do, so that the
 * relative error is bounded: below 2^BITS a bucket a value, above that 2^(BITS-1) buckets for each doubling. A
 * percentile is the top of its bucket: never too low, and too high by less than 1 in 128, 0.8 percent. Fixed size,
 * no allocation. One thread; merge when the others have ended. */
#ifndef TOOL_BENCH_HIST_H
#define TOOL_BENCH_HIST_H

#include <stdint.h>

#define BENCH_HIST_BITS 8
#define BENCH_HIST_HALF (1u << (BENCH_HIST_BITS - 1))
/* Values from here on (18 minutes) count as this. */
#define BENCH_HIST_MAX  ((1ull << 40) - 1)
#define BENCH_HIST_SIZE ((40 - BENCH_HIST_BITS + 2) * BENCH_HIST_HALF)

struct bench_hist {
	uint64_t count;
	uint64_t max;
	uint64_t buckets[BENCH_HIST_SIZE];
};

static inline unsigned bench_hist_index(uint64_t v)
{
	if (v > BENCH_HIST_MAX)
		v = BENCH_HIST_MAX;
	if (v < 2 * BENCH_HIST_HALF)
		return (unsigned)v;
	unsigned shift = 64 - BENCH_HIST_BITS - (unsigned)__builtin_clzll(v);
	return shift * BENCH_HIST_HALF + (unsigned)(v >> shift);
}

/* The largest value that falls into a bucket. */
uint64_t bench_hist_top(unsigned index);

static inline void bench_hist_add(struct bench_hist *h, uint64_t v, uint64_t times)
{
	h->count += times;
	h->max = v > h->max ? v : h->max;
	h->buckets[bench_hist_index(v)] += times;
}

void bench_hist_merge(struct bench_hist *into, const struct bench_hist *from);
/* The value that this share of all values (0 to 1) does not exceed; 0 when there are none. */
uint64_t bench_hist_percentile(const struct bench_hist *h, double share);

#endif
