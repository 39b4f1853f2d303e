/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_footprint: how much memory a trace asks for: key and value bytes of its distinct keys, and what its value
 * sizes are to be multiplied by so that it asks for another amount. */
#ifndef TOOL_BENCH_FOOTPRINT_H
#define TOOL_BENCH_FOOTPRINT_H

#include <stdbool.h>
#include <stdint.h>
#include "tool/bench_trace.h"

struct bench_footprint {
	uint64_t keys, key_bytes, value_bytes; /* of a key that has several sizes, the first */
};

/* False, after a message, when memory is short. */
bool bench_footprint(const struct bench_trace *trace, struct bench_footprint *ret);
/* The factor by which the footprint becomes so many bytes. False, after a message, also when keys alone take more or
 * there is no value. */
bool bench_footprint_factor(const struct bench_trace *trace, double bytes, double *ret_factor);

#endif
