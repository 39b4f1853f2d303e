/* SPDX-License-Identifier: BSD-3-Clause */
/* histogram: see histogram.h. */
#include "server/histogram.h"

#include <string.h>

#define NS_MAX ((UINT64_C(1) << 36) - 1)

void histogram_clear(struct histogram *h)
{
	memset(h, 0, sizeof(*h));
}

/* Below 16 a bucket a value; from there on the four bits behind the highest one. */
static unsigned index_of(uint64_t ns)
{
	if (ns > NS_MAX)
		ns = NS_MAX;
	if (ns < HISTOGRAM_PART)
		return (unsigned)ns;
	unsigned shift = 63u - 4u - (unsigned)__builtin_clzll(ns);
	return (shift + 1) * HISTOGRAM_PART + (unsigned)((ns >> shift) & (HISTOGRAM_PART - 1));
}

/* The largest value of a bucket. */
static uint64_t top_of(unsigned index)
{
	if (index < HISTOGRAM_PART)
		return index;
	unsigned shift = index / HISTOGRAM_PART - 1;
	return ((uint64_t)(index % HISTOGRAM_PART + HISTOGRAM_PART + 1) << shift) - 1;
}

void histogram_add(struct histogram *h, uint64_t ns)
{
	unsigned i = index_of(ns);
	h->count++;
	h->max = ns > h->max ? ns : h->max;
	h->bucket[i] += h->bucket[i] < UINT32_MAX;
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
	into->count += from->count;
	into->max = from->max > into->max ? from->max : into->max;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		uint64_t sum = (uint64_t)into->bucket[i] + from->bucket[i];
		into->bucket[i] = sum < UINT32_MAX ? (uint32_t)sum : UINT32_MAX;
	}
}

uint64_t histogram_permille(const struct histogram *h, unsigned permille)
{
	uint64_t wanted = (h->count * permille + 999) / 1000, seen = 0;
	if (h->count == 0)
		return 0;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += h->bucket[i];
		if (seen >= wanted && seen > 0)
			return top_of(i) < h->max ? top_of(i) : h->max;
	}
	return h->max;
}
