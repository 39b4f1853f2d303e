/* SPDX-License-Identifier: BSD-3-Clause */
/* base64: see base64.h. */
#include "proto/base64.h"

#include <stdbool.h>

static const char letters[64] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* -1: no letter. */
static int value_of(uint8_t c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Four letters, of which the last `pad` are "=". */
static bool decode_group(uint8_t *out, const uint8_t *text, unsigned pad)
{
	uint32_t bits = 0;
	for (unsigned i = 0; i < 4; i++) {
		int v = i < 4 - pad ? value_of(text[i]) : 0;
		if (v < 0)
			return false;
		bits = bits << 6 | (uint32_t)v;
	}
	for (unsigned i = 0; i < 3 - pad; i++)
		out[i] = (uint8_t)(bits >> (16 - 8 * i));
	return true;
}

size_t base64_decode(uint8_t *out, const uint8_t *text, size_t len)
{
	size_t n = 0;
	if (len == 0 || len % 4 != 0)
		return 0;
	for (size_t at = 0; at < len; at += 4) {
		unsigned pad = 0;
		if (at + 4 == len && text[at + 3] == '=')
			pad = text[at + 2] == '=' ? 2 : 1;
		if (!decode_group(out + n, text + at, pad))
			return 0;
		n += 3 - pad;
	}
	return n;
}

size_t base64_encode(uint8_t *out, const uint8_t *data, size_t len)
{
	uint8_t *at = out;
	for (size_t i = 0; i < len; i += 3) {
		size_t n = len - i < 3 ? len - i : 3;
		uint32_t bits = (uint32_t)data[i] << 16;
		if (n > 1)
			bits |= (uint32_t)data[i + 1] << 8;
		if (n > 2)
			bits |= data[i + 2];
		for (unsigned k = 0; k < 4; k++)
			*at++ = k <= n ? (uint8_t)letters[bits >> (18 - 6 * k) & 63] : '=';
	}
	return (size_t)(at - out);
}
