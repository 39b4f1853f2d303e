/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_sizes: how large values (or keys) are: one size, even between two, or lognormal, as cached values mostly are.
 * A lognormal size is one of 4096 quantiles, computed once, so that drawing one costs a look into a table. Read-only
 * once parsed: any thread. */
#ifndef TOOL_BENCH_SIZES_H
#define TOOL_BENCH_SIZES_H

#include <stdbool.h>
#include <stdint.h>
#include "tool/bench_random.h"

#define BENCH_SIZES_QUANTILES 4096u

struct bench_sizes {
	uint32_t min, max;
	bool lognormal;
	uint32_t quantiles[BENCH_SIZES_QUANTILES];
};

/* "N" or "A-B", each from min to max. False when it is none. */
bool bench_sizes_parse_range(struct bench_sizes *sizes, const char *text, uint32_t min, uint32_t max);
/* That, or "lognormal=MEDIAN[:SIGMA[:MIN-MAX]]"; SIGMA is 1 unless given. */
bool bench_sizes_parse(struct bench_sizes *sizes, const char *text, uint32_t min, uint32_t max);

static inline uint32_t bench_sizes_draw(const struct bench_sizes *s, struct bench_random *r)
{
	if (s->lognormal)
		return s->quantiles[bench_random_below(r, BENCH_SIZES_QUANTILES)];
	return s->min == s->max ? s->min
	                        : s->min + (uint32_t)bench_random_below(r, (uint64_t)(s->max - s->min) + 1);
}

#endif
