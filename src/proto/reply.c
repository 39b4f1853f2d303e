/* SPDX-License-Identifier: BSD-3-Clause */
/* reply: composition of answers: table of constant lines, fast decimals. */
#include "proto/reply.h"

#include <string.h>
#include "base/check.h"

struct text {
	const char *line;
	uint8_t len;
};

#define TEXT(name, line) {line "\r\n", sizeof(line "\r\n") - 1},
static const struct text texts[REPLY_COUNT] = {REPLY_TABLE(TEXT)};
#undef TEXT

#define FITS(name, line) \
	_Static_assert(sizeof(line "\r\n") <= REPLY_TEXT_MAX, "REPLY_TEXT_MAX is too small for " #name);
REPLY_TABLE(FITS)
#undef FITS

static const char pairs[201] =
    "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
    "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
    "8081828384858687888990919293949596979899";

size_t reply_text(uint8_t *out, enum reply_id id)
{
	CHECK((unsigned)id < REPLY_COUNT);
	if (id == REPLY_NONE)
		return 0;
	memcpy(out, texts[id].line, texts[id].len);
	return texts[id].len;
}

size_t reply_uint(uint8_t *out, uint64_t v)
{
	/* Most flags and lengths. */
	if (v < 10) {
		out[0] = (uint8_t)('0' + v);
		return 1;
	}
	if (v < 1000) {
		size_t hundreds = v >= 100;
		out[0] = (uint8_t)('0' + v / 100);
		memcpy(out + hundreds, pairs + 2 * (v % 100), 2);
		return 2 + hundreds;
	}
	uint8_t digits[REPLY_UINT_MAX];
	uint8_t *at = digits + sizeof digits;
	while (v >= 100) {
		at -= 2;
		memcpy(at, pairs + 2 * (v % 100), 2);
		v /= 100;
	}
	if (v >= 10) {
		at -= 2;
		memcpy(at, pairs + 2 * v, 2);
	} else {
		*--at = (uint8_t)('0' + v);
	}
	size_t len = (size_t)(digits + sizeof digits - at);
	memcpy(out, at, len);
	return len;
}

static uint8_t *value_head(
    uint8_t *at, const uint8_t *key, size_t key_len, uint32_t flags, uint64_t value_len)
{
	memcpy(at, "VALUE ", 6);
	at += 6;
	memcpy(at, key, key_len);
	at += key_len;
	*at++ = ' ';
	at += reply_uint(at, flags);
	*at++ = ' ';
	return at + reply_uint(at, value_len);
}

static size_t line_end(const uint8_t *out, uint8_t *at)
{
	*at++ = '\r';
	*at++ = '\n';
	return (size_t)(at - out);
}

size_t reply_value(uint8_t *out, const uint8_t *key, size_t key_len, uint32_t flags, uint64_t value_len)
{
	return line_end(out, value_head(out, key, key_len, flags, value_len));
}

size_t reply_value_cas(
    uint8_t *out, const uint8_t *key, size_t key_len, uint32_t flags, uint64_t value_len, uint64_t cas)
{
	uint8_t *at = value_head(out, key, key_len, flags, value_len);
	*at++ = ' ';
	return line_end(out, at + reply_uint(at, cas));
}

size_t reply_number(uint8_t *out, uint64_t v)
{
	return line_end(out, out + reply_uint(out, v));
}

uint8_t *reply_append(uint8_t *at, const char *text)
{
	size_t len = strlen(text);
	memcpy(at, text, len);
	return at + len;
}

uint8_t *reply_named(uint8_t *at, const char *name, uint64_t v)
{
	at = reply_append(at, name);
	return at + reply_uint(at, v);
}
