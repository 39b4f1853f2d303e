/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_encode: the bytes of a request in each protocol that bench speaks. Nothing is allocated, or formatted by a
 * library. */
#ifndef TOOL_BENCH_ENCODE_H
#define TOOL_BENCH_ENCODE_H

#include "tool/bench_load.h"

/* Command, value head and key together never take more. */
#define BENCH_HEAD_MAX (2 * RECORD_KEY_MAX + 160)

/* Writes a request, for a set all but the end of the value, at `at` (BENCH_HEAD_MAX of room): its length. *ret_body
 * is what follows; its data is NULL for a get. */
size_t bench_encode(
    struct bench_source *s, const struct bench_request *r, char *at, struct bench_body *ret_body);

#endif
