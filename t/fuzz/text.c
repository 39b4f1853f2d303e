/* SPDX-License-Identifier: BSD-3-Clause */
/* text: the parser of classic and meta commands. A stream cut anywhere means what it means whole; what a request is made of
 * lies in the buffer, but for a coded key, which it holds itself. The input's first two bytes say where to cut. */
#include "fuzz.h"
#include "proto/meta.h"
#include "proto/parse.h"

struct meaning {
	uint32_t sum; /* of all that was understood */
	bool closed;
};

static void add(struct meaning *m, const void *data, size_t len)
{
	if (len)
		m->sum = crc32c(m->sum, data, len);
}

static void add_number(struct meaning *m, uint64_t v)
{
	add(m, &v, sizeof v);
}

static void inside(const void *at, size_t n, const uint8_t *data, size_t len)
{
	CHECK((const uint8_t *)at >= data && n <= len && (size_t)((const uint8_t *)at - data) <= len - n);
}

static void add_meta(struct meaning *m, const struct request_meta *f)
{
	CHECK(f->n <= REQUEST_META_WORDS && f->opaque_len <= REQUEST_OPAQUE_MAX &&
	      f->key_len <= REQUEST_KEY_MAX);
	add(m, f->flag, f->n);
	add(m, f->opaque, f->opaque_len);
	add_number(m, f->mode);
	add_number(m, f->client_flags);
	add_number(m, (uint64_t)f->ttl ^ (uint64_t)f->vivify_ttl << 1 ^ (uint64_t)f->recache_ttl << 2);
	add_number(m, f->compare ^ f->cas << 1 ^ f->initial << 2 ^ f->delta << 3);
}

/* A get comes in as many requests as the pieces make: what counts is its keys and its end. */
static void understand(struct meaning *m, const struct request *r, const uint8_t *data, size_t len)
{
	unsigned shape = r->command->shape;
	bool keys = shape == COMMAND_KEYS || shape == COMMAND_TOUCH_KEYS;
	bool meta = shape == COMMAND_META || shape == COMMAND_META_STORE;
	CHECK(r->n_keys <= REQUEST_KEYS);
	for (unsigned i = 0; i < r->n_keys; i++) {
		bool own = meta && r->meta.key_len;
		if (!own)
			inside(r->keys[i].data, r->keys[i].len, data, len);
		CHECK(shape == COMMAND_WORDS || i > 0 || r->keys[i].len <= REQUEST_KEY_MAX);
		add(m, r->keys[i].data, r->keys[i].len);
		add_number(m, r->keys[i].len);
	}
	if (meta)
		add_meta(m, &r->meta);
	if (shape == COMMAND_STORE || shape == COMMAND_STORE_CAS || shape == COMMAND_META_STORE) {
		inside(r->value, r->value_len, data, len);
		add(m, r->value, r->value_len);
		add_number(m, r->flags);
	}
	if (!keys || !r->more)
		add_number(m, r->command->id * 2u + r->noreply);
}

/* Reads what is there of [at, len); returns where it stopped. */
static size_t read_some(struct meaning *m, struct parser *p, const uint8_t *data, size_t at, size_t len)
{
	while (!m->closed && at < len) {
		struct parser before = *p;
		struct request r = {0};
		size_t used;
		enum parse_result result = parse_next(p, data + at, len - at, &r, &used);
		if (result == PARSE_VALUE) {
			CHECK(r.value_len + 2 > len - at - used);
			*p = before;
			return at;
		}
		CHECK(used <= len - at);
		m->closed = result == PARSE_CLOSE;
		if (result == PARSE_DONE)
			understand(m, &r, data + at, len - at);
		if (result == PARSE_ERROR)
			add_number(m, r.error + 1000u);
		at += used;
		if (result == PARSE_MORE)
			return at;
		CHECK(used > 0 || m->closed || result == PARSE_ERROR);
	}
	return at;
}

/* A line that is longer ends the connection when it comes in pieces, and may be read when it is whole. */
static bool has_long_line(const uint8_t *data, size_t len)
{
	for (const uint8_t *end = data + len, *next; data < end; data = next + 1) {
		next = memchr(data, '\n', (size_t)(end - data));
		next = next ? next : end;
		if (next - data >= PARSE_LINE_MAX)
			return true;
	}
	return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct meaning whole = {0}, cut = {0};
	struct parser p = {0}, q = {0};
	if (len < 4 || has_long_line(data + 2, len - 2))
		return 0;
	size_t at = 1 + (data[0] | (size_t)data[1] << 8) % (len - 2);
	uint8_t *copy = fuzz_copy(data + 2, len - 2);
	len -= 2;
	read_some(&whole, &p, copy, 0, len);
	/* The first piece alone, to the byte. */
	uint8_t *first = fuzz_copy(copy, at);
	size_t stopped = read_some(&cut, &q, first, 0, at);
	if (!cut.closed)
		read_some(&cut, &q, copy, stopped, len);
	CHECK(whole.sum == cut.sum && whole.closed == cut.closed);
	free(first);
	free(copy);
	return 0;
}
