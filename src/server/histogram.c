/* SPDX-License-Identifier: BSD-3-Clause */
/* histogram: see histogram.h. */
#include "server/histogram.h"

/* The first bucket ends at HISTOGRAM_MIN; then come eleven to a hundred tenths of each power of ten. */
static unsigned index_of(uint64_t ns)
{
	uint64_t tenth = HISTOGRAM_MIN / 10;
	unsigned first = 1;
	if (ns <= HISTOGRAM_MIN)
		return 0;
	for (; ns > 100 * tenth; tenth *= 10)
		first += HISTOGRAM_STEPS;
	return first + (unsigned)((ns + tenth - 1) / tenth) - 11;
}

/* Where a bucket ends. */
static uint64_t end_of(unsigned index)
{
	uint64_t tenth = HISTOGRAM_MIN / 10;
	if (index == 0)
		return HISTOGRAM_MIN;
	for (index--; index >= HISTOGRAM_STEPS; index -= HISTOGRAM_STEPS)
		tenth *= 10;
	return (index + 11) * tenth;
}

/* One thread writes, so it need not lock what it adds to. */
void histogram_add(struct histogram *h, uint64_t ns)
{
	ns = ns < HISTOGRAM_MAX ? ns : HISTOGRAM_MAX;
	uint64_t *bucket = &h->bucket[index_of(ns)];
	__atomic_store_n(bucket, *bucket + 1, __ATOMIC_RELAXED);
	/* After the bucket, as histogram_merge reads it before. */
	__atomic_store_n(&h->sum, h->sum + ns, __ATOMIC_RELEASE);
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
	into->sum += __atomic_load_n(&from->sum, __ATOMIC_ACQUIRE);
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
		into->bucket[i] += __atomic_load_n(&from->bucket[i], __ATOMIC_RELAXED);
}

void histogram_subtract(struct histogram *h, const struct histogram *before)
{
	h->sum -= before->sum;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
		h->bucket[i] -= before->bucket[i];
}

uint64_t histogram_within(const struct histogram *h, uint64_t ns)
{
	uint64_t n = 0;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS && end_of(i) <= ns; i++)
		n += h->bucket[i];
	return n;
}

uint64_t histogram_permille(const struct histogram *h, unsigned permille)
{
	uint64_t all = histogram_within(h, HISTOGRAM_MAX), wanted = (all * permille + 999) / 1000, seen = 0;
	unsigned i = 0;
	if (all == 0)
		return 0;
	for (; i + 1 < HISTOGRAM_BUCKETS; i++) {
		seen += h->bucket[i];
		if (seen >= wanted && seen > 0)
			break;
	}
	return end_of(i);
}
