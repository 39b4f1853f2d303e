/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_load: which requests a benchmark makes. A phase (fill, mix or trace) is a shared stock of numbered requests
 * from which threads claim runs; with a rate, no request is claimed before it is due. struct bench_load is read-only
 * while threads run, but for what is claimed; a struct bench_source belongs to one thread. */
#ifndef TOOL_BENCH_LOAD_H
#define TOOL_BENCH_LOAD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <hearth/record.h>
#include "tool/bench_draw.h"
#include "tool/bench_sizes.h"
#include "tool/bench_trace.h"
#include "tool/bench_value.h"

enum bench_phase { BENCH_FILL, BENCH_MIX, BENCH_TRACE };
enum bench_protocol { BENCH_TEXT, BENCH_META, BENCH_BINARY, BENCH_RESP };

struct bench_load {
	enum bench_protocol protocol;
	enum bench_phase phase;
	uint64_t keys;
	struct bench_sizes key_sizes, value_sizes;
	bool sizes_by_key; /* what is read through keeps its size; otherwise each set draws one */
	unsigned get_percent, overwrite_percent, ttl_percent;
	double zipf; /* exponent, 0 = all keys alike */
	bool verify;
	bool json; /* values look like JSON */
	uint64_t seed;
	const struct bench_trace *trace;
	struct bench_zipf ranks;
	char *pattern;
	atomic_uint_fast64_t claimed;
	uint64_t stock;        /* the phase ends before this number; UINT64_MAX = when time is up */
	uint64_t first, begun; /* number and time (ns) at which the phase began */
	double interval;       /* ns from one request to the next; 0 = as fast as answers come */
};

enum bench_kind { BENCH_GET, BENCH_SET };

struct bench_request {
	uint64_t number; /* in its phase; a set that follows a get has the get's */
	uint64_t key;    /* its number, or that of its line in the trace */
	uint32_t value_len;
	uint8_t kind;
	bool follows; /* a set after a get: due at once */
};

struct bench_source {
	const struct bench_load *load;
	uint64_t sequence;  /* of values */
	uint64_t next, end; /* of the run in the stock */
};

/* The pattern is allocated here; false when memory is short. */
bool bench_load_init(struct bench_load *load);
void bench_load_free(struct bench_load *load);
/* Another phase begins with request 0, the same goes on where it was; now: bench_conn_now(). */
void bench_load_start(
    struct bench_load *load, enum bench_phase phase, uint64_t first, uint64_t stock, uint64_t now);
/* The largest value and the shortest one that may be stored. */
uint32_t bench_load_largest(const struct bench_load *load);
uint32_t bench_load_smallest(const struct bench_load *load);

void bench_source_init(struct bench_source *s, const struct bench_load *load, unsigned thread);
/* Claims up to n requests, of those that are due by now, for the calls of bench_source_next that follow; how many
 * there are. */
unsigned bench_source_claim(struct bench_source *s, struct bench_load *load, unsigned n, uint64_t now);
struct bench_request bench_source_next(struct bench_source *s);

/* When the next request is due that nobody has claimed; UINT64_MAX when there is none. */
uint64_t bench_load_next_due(const struct bench_load *load);
/* Whether requests are due at times of their own. */
static inline bool bench_load_paced(const struct bench_load *load)
{
	return load->interval > 0 && load->phase != BENCH_FILL;
}

/* When a request was due, where they are. */
static inline uint64_t bench_load_due(const struct bench_load *load, uint64_t number)
{
	return load->begun + (uint64_t)((double)(number - load->first) * load->interval);
}

/* Whether the hit of a get is followed by a set of its key, which *r is made then. */
bool bench_load_overwrites(const struct bench_load *load, struct bench_request *r);
/* Seconds that what a set stores lives; 0 = for ever. */
uint32_t bench_load_ttl(const struct bench_load *load, const struct bench_request *r);
/* The key of a request (RECORD_KEY_MAX of room): its length. */
unsigned bench_load_key(const struct bench_load *load, const struct bench_request *r, char *at);
/* Whether a value that was read is whole and this key's. */
bool bench_load_check(
    const struct bench_load *load, const char *key, unsigned key_len, const char *value, uint32_t len);

#endif
