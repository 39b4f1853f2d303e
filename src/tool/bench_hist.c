/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_hist: see bench_hist.h. */
#include <math.h>
#include "tool/bench_hist.h"

uint64_t bench_hist_top(unsigned index)
{
	if (index < 2 * BENCH_HIST_HALF)
		return index;
	unsigned shift = index / BENCH_HIST_HALF - 1;
	uint64_t part = index % BENCH_HIST_HALF + BENCH_HIST_HALF;
	return ((part + 1) << shift) - 1;
}

void bench_hist_merge(struct bench_hist *into, const struct bench_hist *from)
{
	into->count += from->count;
	into->max = from->max > into->max ? from->max : into->max;
	for (unsigned i = 0; i < BENCH_HIST_SIZE; i++)
		into->buckets[i] += from->buckets[i];
}

uint64_t bench_hist_percentile(const struct bench_hist *h, double share)
{
	if (h->count == 0)
		return 0;
	double wanted = ceil(share * (double)h->count);
	uint64_t rank = wanted < 1 ? 1 : (uint64_t)wanted;
	uint64_t seen = 0;
	for (unsigned i = 0; i < BENCH_HIST_SIZE; i++) {
		seen += h->buckets[i];
		if (seen >= rank)
			return bench_hist_top(i) < h->max ? bench_hist_top(i) : h->max;
	}
	return h->max;
}
