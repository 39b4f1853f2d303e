/* SPDX-License-Identifier: BSD-3-Clause */
/* histogram: how many times of each length there were, to two digits: 90 steps for each power of ten from 100 ns to 100 s, each
 * up to and with its end. What a percentile says is too high by a tenth at most, and never too low; what is counted up to a time
 * of two digits is exact. All above 100 s counts as that. Fixed size, pure.
 *
 * Threads: one adds, any merge from it meanwhile; the rest is for copies. */
#ifndef SERVER_HISTOGRAM_H
#define SERVER_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_MIN     UINT64_C(100) /* ns: the end of the first step */
#define HISTOGRAM_MAX     UINT64_C(100000000000)
#define HISTOGRAM_STEPS   90u /* for each power of ten */
#define HISTOGRAM_BUCKETS (9u * HISTOGRAM_STEPS + 1)

struct histogram {
	uint64_t sum; /* ns, of what is in bucket */
	uint64_t bucket[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *h, uint64_t ns);
/* The sum is never of more than the buckets hold. */
void histogram_merge(struct histogram *into, const struct histogram *from);
/* What has come since; before is an earlier copy of the same. */
void histogram_subtract(struct histogram *h, const struct histogram *before);
/* How many took so long at most; HISTOGRAM_MAX = all. */
uint64_t histogram_within(const struct histogram *h, uint64_t ns);
/* What so many of a thousand do not exceed; 0 when there are none. */
uint64_t histogram_permille(const struct histogram *h, unsigned permille);

#endif
