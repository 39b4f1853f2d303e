/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_draw: what chance decides about a request hangs on the seed and the request's number alone, so that each
 * server that is loaded gets the same requests, however many threads and connections share them. Pure. */
#ifndef TOOL_BENCH_DRAW_H
#define TOOL_BENCH_DRAW_H

#include <stdbool.h>
#include <stdint.h>
#include "tool/bench_random.h"

enum bench_draw {
	BENCH_DRAW_REQUEST, /* key and kind */
	BENCH_DRAW_OVERWRITE,
	BENCH_DRAW_EXPIRES,
	BENCH_DRAW_OTHER_SIZE,
	BENCH_DRAW_TTL,
	BENCH_DRAW_VALUE_SIZE,
	BENCH_DRAW_KEY_SIZE
};

#define BENCH_TTL_MIN 60u
#define BENCH_TTL_MAX 86400u

/* The random numbers of a request for one purpose. */
static inline struct bench_random bench_draw(uint64_t seed, uint64_t number, enum bench_draw what)
{
	return (struct bench_random){(seed * 0xd1342543de82ef95ull) ^ (number << 8 | (uint64_t)what)};
}

static inline bool bench_draw_percent(uint64_t seed, uint64_t number, enum bench_draw what, unsigned percent)
{
	struct bench_random r = bench_draw(seed, number, what);
	return percent > 0 && bench_random_below(&r, 100) < percent;
}

/* The size that a value is overwritten with: half to one and a half times its size, at least 1. */
static inline uint64_t bench_draw_other_size(uint64_t seed, uint64_t number, uint32_t size)
{
	struct bench_random r = bench_draw(seed, number, BENCH_DRAW_OTHER_SIZE);
	uint64_t other = size / 2 + bench_random_below(&r, (uint64_t)size + 1);
	return other > 0 ? other : 1;
}

/* Seconds, a minute to a day. */
static inline uint32_t bench_draw_ttl(uint64_t seed, uint64_t number)
{
	struct bench_random r = bench_draw(seed, number, BENCH_DRAW_TTL);
	return BENCH_TTL_MIN + (uint32_t)bench_random_below(&r, BENCH_TTL_MAX - BENCH_TTL_MIN + 1);
}

#endif
