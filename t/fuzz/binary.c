/* SPDX-License-Identifier: BSD-3-Clause */
/* binary: the parser of the binary protocol. A stream cut anywhere means what it means whole; what a request is made of
 * lies in the buffer. The input's first byte says where to cut. */
#include <string.h>
#include "fuzz.h"
#include "proto/binary.h"

struct meaning {
	uint32_t sum; /* of all that was understood */
	unsigned requests;
	bool closed;
};

static void add(struct meaning *m, const void *data, size_t len)
{
	m->sum = crc32c(m->sum, data, len);
}

static void add_number(struct meaning *m, uint64_t v)
{
	add(m, &v, sizeof v);
}

static void inside(const uint8_t *at, size_t n, const uint8_t *data, size_t len)
{
	CHECK(at >= data && n <= len && (size_t)(at - data) <= len - n);
}

static void understand(struct meaning *m, enum parse_result result, const struct binary_request *r,
    const uint8_t *data, size_t len)
{
	m->requests++;
	add_number(m, (uint64_t)result << 8 | r->tag.opcode);
	if (result == PARSE_ERROR) {
		uint8_t out[BINARY_ANSWER_MAX];
		size_t n = binary_answer(out, &r->tag, r->error, r->cas);
		CHECK(n > BINARY_HEAD && n <= sizeof out);
		add(m, out, n);
		m->closed = r->close;
		return;
	}
	CHECK(r->command != NULL && r->key.len <= REQUEST_KEY_MAX);
	inside(r->key.data, r->key.len, data, len);
	inside(r->value, r->value_len, data, len);
	add(m, r->key.data, r->key.len);
	add(m, r->value, r->value_len);
	add_number(m, r->flags);
	add_number(m, (uint64_t)r->exptime);
	add_number(m, r->delta);
	add_number(m, r->initial);
	add_number(m, r->cas);
	add_number(m, r->level);
	add_number(m, r->command->id * 8u + r->wants_key * 4u + r->creates * 2u + r->tag.quiet);
}

/* Reads what is there of [at, len); returns where it stopped. */
static size_t read_some(
    struct meaning *m, struct binary_parser *p, const uint8_t *data, size_t at, size_t len)
{
	while (!m->closed) {
		struct binary_parser before = *p;
		struct binary_request req;
		size_t used;
		enum parse_result result = binary_next(p, data + at, len - at, &req, &used);
		if (result == PARSE_CLOSE) {
			m->closed = true;
			break;
		}
		CHECK(used <= len - at);
		if (result == PARSE_VALUE) {
			CHECK(req.value == NULL && req.value_len > len - at - used);
			*p = before;
			return at;
		}
		if (result != PARSE_MORE)
			understand(m, result, &req, data + at, len - at);
		at += used;
		if (result == PARSE_MORE)
			return at;
		CHECK(used > 0);
	}
	return len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct meaning whole = {0}, cut = {0};
	struct binary_parser p = {0}, q = {0};
	if (len < 2)
		return 0;
	size_t at = 1 + data[0] % (len - 1);
	uint8_t *copy = fuzz_copy(data + 1, len - 1);
	len--;
	size_t end = read_some(&whole, &p, copy, 0, len);
	/* The first piece alone, to the byte. */
	uint8_t *first = fuzz_copy(copy, at);
	size_t stopped = read_some(&cut, &q, first, 0, at);
	if (!cut.closed)
		stopped = read_some(&cut, &q, copy, stopped, len);
	CHECK(whole.sum == cut.sum && whole.requests == cut.requests && whole.closed == cut.closed);
	CHECK(whole.closed || end + p.swallow == stopped + q.swallow);
	free(first);
	free(copy);
	return 0;
}
