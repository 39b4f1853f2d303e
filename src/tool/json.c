/* SPDX-License-Identifier: BSD-3-Clause */
/* json: see json.h. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "tool/json.h"

static const char hex[] = "0123456789abcdef";

bool json_is_utf8(const void *data, size_t len)
{
	const uint8_t *s = data;
	while (len > 0) {
		uint64_t eight;
		/* Eight bytes of ASCII at a time: nearly all keys and most values. */
		if (len >= 8 && (memcpy(&eight, s, 8), (eight & 0x8080808080808080ull) == 0)) {
			s += 8;
			len -= 8;
			continue;
		}
		size_t n = out_utf8(s, len);
		if (n == 0)
			return false;
		s += n;
		len -= n;
	}
	return true;
}

static void escape(struct out *out, uint8_t c)
{
	static const char names[] = "btn_fr"; /* 8 to 13 */
	uint8_t *at = out_room(out, 6);
	at[0] = '\\';
	if (c == '"' || c == '\\') {
		at[1] = c;
		out->len += 2;
	} else if (c >= 8 && c <= 13 && c != 11) {
		at[1] = (uint8_t)names[c - 8];
		out->len += 2;
	} else {
		memcpy(at + 1, "u00", 3);
		at[4] = (uint8_t)hex[c >> 4];
		at[5] = (uint8_t)hex[c & 15];
		out->len += 6;
	}
}

void json_string(struct out *out, const void *data, size_t len)
{
	const uint8_t *s = data;
	const uint8_t *end = s + len;
	out_char(out, '"');
	while (s < end) {
		const uint8_t *plain = s;
		while (s < end && *s >= 0x20 && *s != '"' && *s != '\\' && *s != 0x7f)
			s++;
		out_bytes(out, plain, (size_t)(s - plain));
		if (s < end)
			escape(out, *s++);
	}
	out_char(out, '"');
}

void json_base64(struct out *out, const void *data, size_t len)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const uint8_t *s = data;
	out_char(out, '"');
	for (; len > 0; s += 3) {
		uint32_t v =
		    (uint32_t)s[0] << 16 | (len > 1 ? (uint32_t)s[1] << 8 : 0) | (len > 2 ? s[2] : 0u);
		uint8_t *at = out_room(out, 4);
		at[0] = (uint8_t)digits[v >> 18];
		at[1] = (uint8_t)digits[v >> 12 & 63];
		at[2] = len > 1 ? (uint8_t)digits[v >> 6 & 63] : '=';
		at[3] = len > 2 ? (uint8_t)digits[v & 63] : '=';
		out->len += 4;
		if (len <= 3)
			break;
		len -= 3;
	}
	out_char(out, '"');
}

void json_u64(struct json *j, const char *name, uint64_t n)
{
	json_name(j, name);
	out_u64(j->out, n);
}

void json_i64(struct json *j, const char *name, int64_t n)
{
	json_name(j, name);
	out_i64(j->out, n);
}

void json_bool(struct json *j, const char *name, bool b)
{
	json_raw(j, name, b ? "true" : "false");
}

void json_null(struct json *j, const char *name)
{
	json_raw(j, name, "null");
}

void json_double(struct json *j, const char *name, double d)
{
	char text[64];
	if (!isfinite(d))
		strcpy(text, "null");
	else
		snprintf(text, sizeof(text), "%.6f", d);
	/* No zeros behind the last digit that says something. */
	if (strchr(text, '.')) {
		size_t len = strlen(text);
		while (text[len - 1] == '0')
			len--;
		if (text[len - 1] == '.')
			len--;
		text[len] = '\0';
	}
	json_raw(j, name, text);
}

void json_raw(struct json *j, const char *name, const char *text)
{
	json_name(j, name);
	out_text(j->out, text);
}

void json_bytes(struct json *j, const char *name, const void *data, size_t len)
{
	if (json_is_utf8(data, len)) {
		json_name(j, name);
		json_string(j->out, data, len);
		return;
	}
	if (!j->first)
		out_char(j->out, ',');
	j->first = false;
	out_char(j->out, '"');
	out_text(j->out, name);
	out_text(j->out, "_b64\":");
	json_base64(j->out, data, len);
}

void json_text(struct json *j, const char *name, const char *text)
{
	json_bytes(j, name, text, strlen(text));
}
