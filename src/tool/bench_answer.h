/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_answer: one answer of a server from a buffer, in each protocol that bench speaks. Pure: it looks at bytes and
 * says what they are; what lies behind the head of a value need not be there yet. */
#ifndef TOOL_BENCH_ANSWER_H
#define TOOL_BENCH_ANSWER_H

#include <stddef.h>
#include <stdint.h>
#include "tool/bench_load.h"

enum bench_answer_kind {
	BENCH_PARTIAL, /* more bytes are needed to tell */
	BENCH_STORED,
	BENCH_VALUE, /* its head; value and tail follow */
	BENCH_MISS,
	BENCH_REFUSED, /* the server says that the request failed */
	BENCH_WRONG,   /* a value, but not of this request, or out of form */
	BENCH_BROKEN   /* nothing that the request can have for an answer */
};

struct bench_answer {
	size_t head; /* bytes of the answer, of a value those before it */
	uint32_t value_len;
	const char *what; /* of the last three: words for a message, static; then follows */
	const char *text; /* what the server said; NULL: then the key follows */
	size_t text_len;
};

/* The answer to r, of which len bytes are there. */
enum bench_answer_kind bench_answer(const struct bench_load *load, const struct bench_request *r,
    const char *data, size_t len, struct bench_answer *ret);
/* What follows a value: its bytes, and how many. */
const char *bench_answer_tail(enum bench_protocol protocol, unsigned *ret_len);

#endif
