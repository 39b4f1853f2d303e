/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_answer: see bench_answer.h. Three of the protocols answer in lines and differ in their words only. */
#include <string.h>
#include "tool/bench_answer.h"

/* No line of an answer is longer. */
#define LINE_LIMIT   4096u
#define BINARY_HEAD  24u
#define BINARY_MAGIC 0x81u
#define BINARY_MISS  1u

static const struct {
	const char *stored, *miss, *value, *refused, *tail;
} WORDS[] = {
    [BENCH_TEXT] = {"STORED", "END", "VALUE ", "NOT_STORED", "\r\nEND\r\n"},
    [BENCH_META] = {"HD", "EN", "VA ", "NS", "\r\n"},
    [BENCH_BINARY] = {.tail = ""},
    [BENCH_RESP] = {"+OK", "$-1", "$", "-", "\r\n"},
};

const char *bench_answer_tail(enum bench_protocol protocol, unsigned *ret_len)
{
	*ret_len = (unsigned)strlen(WORDS[protocol].tail);
	return WORDS[protocol].tail;
}

static inline bool starts(const char *p, size_t len, const char *with)
{
	size_t n = strlen(with);
	return len >= n && memcmp(p, with, n) == 0;
}

static enum bench_answer_kind said(struct bench_answer *a, const char *what, const char *text, size_t len)
{
	a->what = what;
	a->text = text;
	a->text_len = len;
	return BENCH_BROKEN;
}

static enum bench_answer_kind wrong(struct bench_answer *a, const char *what)
{
	said(a, what, NULL, 0);
	return BENCH_WRONG;
}

/* A line that is not what the request hoped for. */
static enum bench_answer_kind refusal(const struct bench_load *load, const struct bench_request *r,
    const char *p, size_t len, struct bench_answer *a)
{
	bool set = r->kind == BENCH_SET, resp = load->protocol == BENCH_RESP;
	bool known = (set || resp) && starts(p, len, WORDS[load->protocol].refused);
	known = known || (!resp && (starts(p, len, "SERVER_ERROR") || starts(p, len, "CLIENT_ERROR") ||
	                               starts(p, len, "ERROR")));
	said(a, known ? "answer: " : "unexpected answer: ", p, len);
	return known ? BENCH_REFUSED : BENCH_BROKEN;
}

/* Behind the first word of a value's line, [p, end): of the text protocol key, flags and length, else the length. */
static enum bench_answer_kind value_line(const struct bench_load *load, const struct bench_request *r,
    const char *p, const char *end, struct bench_answer *a)
{
	if (load->protocol == BENCH_TEXT) {
		char key[RECORD_KEY_MAX];
		unsigned key_len = bench_load_key(load, r, key);
		if ((size_t)(end - p) <= key_len || memcmp(p, key, key_len) != 0 || p[key_len] != ' ')
			return wrong(a, "an answer for another key than ");
		p += key_len + 1;
		const char *flags = p;
		while (p < end && *p >= '0' && *p <= '9')
			p++;
		if (p == flags || p == end || *p++ != ' ')
			return wrong(a, "no flags behind ");
	}
	const char *digits = p;
	uint64_t len = 0;
	while (p < end && *p >= '0' && *p <= '9' && len <= RECORD_VALUE_MAX)
		len = len * 10 + (uint64_t)(*p++ - '0');
	if (p == digits || p != end || len > RECORD_VALUE_MAX)
		return wrong(a, "no length in the answer for ");
	a->value_len = (uint32_t)len;
	return BENCH_VALUE;
}

static enum bench_answer_kind line_answer(const struct bench_load *load, const struct bench_request *r,
    const char *p, size_t len, struct bench_answer *a)
{
	const char *newline = len > 0 ? memchr(p, '\n', len < LINE_LIMIT ? len : LINE_LIMIT) : NULL;
	if (!newline)
		return len < LINE_LIMIT ? BENCH_PARTIAL : said(a, "no end of a line: ", p, LINE_LIMIT);
	const char *end = newline > p && newline[-1] == '\r' ? newline - 1 : newline;
	size_t n = (size_t)(end - p);
	a->head = (size_t)(newline - p) + 1;
	if (end == newline)
		return said(a, "a line that ends wrongly: ", p, n);
	bool get = r->kind == BENCH_GET;
	const char *hoped = get ? WORDS[load->protocol].miss : WORDS[load->protocol].stored;
	if (n == strlen(hoped) && memcmp(p, hoped, n) == 0)
		return get ? BENCH_MISS : BENCH_STORED;
	if (get && starts(p, n, WORDS[load->protocol].value))
		return value_line(load, r, p + strlen(WORDS[load->protocol].value), end, a);
	return refusal(load, r, p, n, a);
}

static uint32_t big_endian(const uint8_t *p, unsigned bytes)
{
	uint32_t n = 0;
	for (unsigned i = 0; i < bytes; i++)
		n = n << 8 | p[i];
	return n;
}

/* 24 bytes, extras, key and value; what is no success has words for a value. */
static enum bench_answer_kind binary_answer(
    const struct bench_request *r, const char *data, size_t len, struct bench_answer *a)
{
	const uint8_t *p = (const uint8_t *)data;
	if (len < BINARY_HEAD)
		return BENCH_PARTIAL;
	uint32_t before = big_endian(p + 2, 2) + p[4], body = big_endian(p + 8, 4);
	if (p[0] != BINARY_MAGIC || p[1] != (r->kind == BENCH_GET ? 0 : 1) || body < before ||
	    body - before > RECORD_VALUE_MAX)
		return said(a, "unexpected answer: ", "no head that answers the request", 32);
	if (big_endian(p + 12, 4) != (uint32_t)r->number)
		return wrong(a, "an answer for another request than that of ");
	uint32_t status = big_endian(p + 6, 2);
	a->head = BINARY_HEAD + before;
	if (status == 0 && r->kind == BENCH_GET) {
		a->value_len = body - before;
		return len < a->head ? BENCH_PARTIAL : BENCH_VALUE;
	}
	a->head = BINARY_HEAD + body;
	if (len < a->head)
		return body < LINE_LIMIT ? BENCH_PARTIAL
		                         : said(a, "unexpected answer: ", "words without end", 17);
	if (status == 0)
		return BENCH_STORED;
	if (status == BINARY_MISS && r->kind == BENCH_GET)
		return BENCH_MISS;
	said(a, "answer: ", data + BINARY_HEAD + before, body - before);
	return BENCH_REFUSED;
}

enum bench_answer_kind bench_answer(const struct bench_load *load, const struct bench_request *r,
    const char *data, size_t len, struct bench_answer *ret)
{
	if (load->protocol == BENCH_BINARY)
		return binary_answer(r, data, len, ret);
	return line_answer(load, r, data, len, ret);
}
