/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_trace: a recorded stream of requests, read whole before the load begins: a request a line, "seconds
 * key size", plain or as a zstd stream. Read-only once loaded: any thread. */
#ifndef TOOL_BENCH_TRACE_H
#define TOOL_BENCH_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"

struct bench_trace_request {
	uint64_t key_at; /* in keys */
	uint32_t size;
	uint8_t key_len;
};

struct bench_trace {
	struct bench_trace_request *requests;
	size_t n;
	char *keys;           /* back to back */
	struct buf memory[2]; /* of both */
	uint32_t size_max;
	uint8_t key_max;
};

/* False, after a message with file and line, when it cannot be read or a line is none. */
bool bench_trace_load(struct bench_trace *trace, const char *path);
/* Multiplies all sizes; none becomes less than 1 or more than RECORD_VALUE_MAX. */
void bench_trace_scale(struct bench_trace *trace, double factor);
void bench_trace_free(struct bench_trace *trace);
static inline const char *bench_trace_key(const struct bench_trace *t, const struct bench_trace_request *r)
{
	return t->keys + r->key_at;
}

/* One line without its newline: key and size; false when it is no request. Pure. */
bool bench_trace_parse(
    const char *line, size_t len, const char **ret_key, size_t *ret_key_len, uint32_t *ret_size);

#endif
