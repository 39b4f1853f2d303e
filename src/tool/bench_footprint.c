/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_footprint: see bench_footprint.h. An open-addressed table of the requests that were the first of their key. */
#include <stdlib.h>
#include <string.h>
#include "base/msg.h"
#include "tool/bench_footprint.h"

static uint64_t hash(const char *key, size_t len)
{
	uint64_t h = 14695981039346656037ull; /* FNV-1a */
	for (size_t i = 0; i < len; i++)
		h = (h ^ (unsigned char)key[i]) * 1099511628211ull;
	return h ^ h >> 32;
}

static bool same_key(const struct bench_trace *t, size_t i, size_t j)
{
	const struct bench_trace_request *a = &t->requests[i], *b = &t->requests[j];
	return a->key_len == b->key_len &&
	       memcmp(bench_trace_key(t, a), bench_trace_key(t, b), a->key_len) == 0;
}

bool bench_footprint(const struct bench_trace *t, struct bench_footprint *ret)
{
	size_t size = 16;
	while (size < 2 * t->n)
		size *= 2;
	size_t *seen = calloc(size, sizeof(*seen)); /* number of the request, and 1 */
	*ret = (struct bench_footprint){0, 0, 0};
	if (!seen) {
		msg(MSG_ERROR, "memory is short");
		return false;
	}
	for (size_t i = 0; i < t->n; i++) {
		const struct bench_trace_request *r = &t->requests[i];
		size_t at = hash(bench_trace_key(t, r), r->key_len) & (size - 1);
		while (seen[at] > 0 && !same_key(t, seen[at] - 1, i))
			at = (at + 1) & (size - 1);
		if (seen[at] > 0)
			continue;
		seen[at] = i + 1;
		ret->keys++;
		ret->key_bytes += r->key_len;
		ret->value_bytes += r->size;
	}
	free(seen);
	return true;
}

bool bench_footprint_factor(const struct bench_trace *trace, double bytes, double *ret_factor)
{
	struct bench_footprint f;
	if (!bench_footprint(trace, &f))
		return false;
	if (f.value_bytes == 0 || (double)f.key_bytes >= bytes) {
		msg(MSG_ERROR,
		    "--scale-to: %llu keys of the trace have %llu bytes, their values %llu: no factor makes "
		    "that %.0f bytes",
		    (unsigned long long)f.keys, (unsigned long long)f.key_bytes,
		    (unsigned long long)f.value_bytes, bytes);
		return false;
	}
	*ret_factor = (bytes - (double)f.key_bytes) / (double)f.value_bytes;
	return true;
}
