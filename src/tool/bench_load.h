/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_load: which requests a benchmark makes, and their bytes. A phase (fill, mix or trace) is a shared
 * stock of requests from which threads claim runs; nothing a request is allocated or formatted by a library.
 * struct bench_load is read-only while threads run, but for the stock; a struct bench_source belongs to one
 * thread.
 *
 * Values are text: a slice of one random pattern, with --verify behind a head that says whose value it is:
 *   crc (8 hex digits) | sequence (16) | value length (8) | key length (2) | key | slice
 * where crc is CRC32C over all that follows it. Values too short for the head (they come from traces only)
 * have none. */
#ifndef TOOL_BENCH_LOAD_H
#define TOOL_BENCH_LOAD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <hearth/record.h>
#include "tool/bench_random.h"
#include "tool/bench_trace.h"

/* Command line, value head and key together never take more. */
#define BENCH_HEAD_MAX (2 * RECORD_KEY_MAX + 128)
#define BENCH_PATTERN  (64u * 1024)

enum bench_phase { BENCH_FILL, BENCH_MIX, BENCH_TRACE };

struct bench_load {
	enum bench_phase phase;
	uint64_t keys;
	unsigned key_size;
	uint32_t value_min, value_max;
	unsigned get_percent;
	double zipf; /* exponent, 0 = all keys alike */
	bool verify;
	uint64_t seed;
	const struct bench_trace *trace;
	struct bench_zipf ranks;
	char *pattern; /* BENCH_PATTERN and the largest value */
	atomic_uint_fast64_t claimed;
	uint64_t stock; /* requests in this phase; UINT64_MAX = until time is up */
};

enum bench_kind { BENCH_GET, BENCH_SET };

struct bench_request {
	uint64_t key; /* its number, or that of its line in the trace */
	uint32_t value_len;
	uint8_t kind;
};

struct bench_source {
	const struct bench_load *load;
	struct bench_random random;
	uint64_t sequence;
	uint64_t next, end; /* of the run in the stock */
};

/* The body of a value to be sent. */
struct bench_body {
	const char *data;
	uint32_t len;
};

/* The pattern is allocated here; false when memory is short. */
bool bench_load_init(struct bench_load *load);
void bench_load_free(struct bench_load *load);
void bench_load_start(struct bench_load *load, enum bench_phase phase, uint64_t stock);
/* Bytes of a value's head for a key of this length. */
uint32_t bench_load_head(unsigned key_len);

void bench_source_init(struct bench_source *s, const struct bench_load *load, unsigned thread);
/* Claims up to n requests for the calls of bench_source_next that follow; how many there are. */
unsigned bench_source_claim(struct bench_source *s, struct bench_load *load, unsigned n);
struct bench_request bench_source_next(struct bench_source *s);
/* Writes the command of a request, for a set all but the end of the value, at `at` (BENCH_HEAD_MAX of room):
 * its length. *ret_body is what follows, to be sent with a "\r\n" behind it; its data is NULL for a get. */
size_t bench_source_encode(
    struct bench_source *s, const struct bench_request *r, char *at, struct bench_body *ret_body);

/* The key of a request (RECORD_KEY_MAX of room): its length. */
unsigned bench_load_key(const struct bench_load *load, const struct bench_request *r, char *at);
/* Whether a value that was read is whole and this key's. */
bool bench_load_check(
    const struct bench_load *load, const char *key, unsigned key_len, const char *value, uint32_t len);

#endif
