/* SPDX-License-Identifier: BSD-3-Clause */
/* histogram: nanoseconds in buckets that grow with the value, sixteen for each doubling: what a percentile says is too high
 * by a sixteenth at most, and never too low. Fixed size, pure; one thread at a time. */
#ifndef SERVER_HISTOGRAM_H
#define SERVER_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_PART 16u
#define HISTOGRAM_BUCKETS \
	((36u - 4u + 1u) * HISTOGRAM_PART) /* up to 2^36 ns, a minute; all above counts as that */

struct histogram {
	uint64_t count, max;
	uint32_t bucket[HISTOGRAM_BUCKETS];
};

void histogram_clear(struct histogram *h);
void histogram_add(struct histogram *h, uint64_t ns);
void histogram_merge(struct histogram *into, const struct histogram *from);
/* What so many of a thousand do not exceed; 0 when there are none. */
uint64_t histogram_permille(const struct histogram *h, unsigned permille);

#endif
