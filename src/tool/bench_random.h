/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_random: repeatable random numbers, and ranks by Zipf's law: rank r (from 0) comes with a probability
 * in proportion to 1 / (r + 1)^s, by rejection from the inverted integral (Hoermann and Derflinger, 1996), so
 * that it takes the same time whatever the number of keys and needs no table. One thread a generator. */
#ifndef TOOL_BENCH_RANDOM_H
#define TOOL_BENCH_RANDOM_H

#include <stdint.h>

struct bench_random {
	uint64_t state;
};

static inline uint64_t bench_random_next(struct bench_random *r)
{
	uint64_t z = r->state += 0x9e3779b97f4a7c15ull; /* splitmix64 */
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

/* 0 to n - 1, n below 2^32. */
static inline uint64_t bench_random_below(struct bench_random *r, uint64_t n)
{
	return (bench_random_next(r) >> 32) * n >> 32;
}

struct bench_zipf {
	uint64_t n;
	double s;
	double low, high; /* the integral's values at both ends */
	double sure;      /* distance to the rank within which no second look is needed */
};

/* n ranks, exponent s above 0. */
void bench_zipf_init(struct bench_zipf *z, uint64_t n, double s);
uint64_t bench_zipf_next(const struct bench_zipf *z, struct bench_random *r);

#endif
