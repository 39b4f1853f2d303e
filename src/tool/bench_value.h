/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_value: the values that a benchmark stores. They are text: a slice of one random pattern, with --verify behind
 * a head that says whose value it is:
 *   crc (8 hex digits) | sequence (16) | value length (8) | key length (2) | key | slice
 * where crc is CRC32C over all that follows it. Values too short for the head (traces only) have none. */
#ifndef TOOL_BENCH_VALUE_H
#define TOOL_BENCH_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "tool/bench_random.h"

#define BENCH_PATTERN (64u * 1024)

/* The part of a value that is still to be sent. */
struct bench_body {
	const char *data;
	uint32_t len;
	bool line; /* a "\r\n" behind it */
};

/* BENCH_PATTERN and the largest value of random text, or of JSON objects with the same names and random contents, which a
 * server that compresses can make smaller; NULL when memory is short. The caller frees. */
char *bench_value_pattern(uint64_t seed, uint32_t largest, bool json);
/* Bytes of a value's head for a key of this length. */
uint32_t bench_value_head(unsigned key_len);

/* The value of a key, the sequence-th of its source: all of it in body, or with verify its head at `at` (room for
 * bench_value_head) and the rest in body: the length of the head. */
size_t bench_value_put(const char *pattern, bool verify, uint64_t sequence, uint32_t len, const char *key,
    unsigned key_len, char *at, struct bench_body *body);
/* Whether a value that was read is whole and this key's. */
bool bench_value_check(const char *key, unsigned key_len, const char *value, uint32_t len);

#endif
