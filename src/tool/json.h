/* SPDX-License-Identifier: BSD-3-Clause */
/* json: writes one flat object a line; it reads nothing. Field names are plain constants and are not escaped.
 * Strings that are not UTF-8 go out as base64 under the name with "_b64" behind it, because JSON cannot hold
 * them. */
#ifndef TOOL_JSON_H
#define TOOL_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "tool/out.h"

/* libjansson has functions of some of these names, and would call ours for its own were they to be seen. */
#pragma GCC visibility push(hidden)

struct json {
	struct out *out;
	bool first;
};

static inline struct json json_begin(struct out *out)
{
	out_char(out, '{');
	return (struct json){out, true};
}

static inline void json_end(struct json *j)
{
	out_text(j->out, "}\n");
}

static inline void json_name(struct json *j, const char *name)
{
	if (!j->first)
		out_char(j->out, ',');
	j->first = false;
	out_char(j->out, '"');
	out_text(j->out, name);
	out_text(j->out, "\":");
}

void json_u64(struct json *j, const char *name, uint64_t n);
void json_i64(struct json *j, const char *name, int64_t n);
void json_bool(struct json *j, const char *name, bool b);
void json_null(struct json *j, const char *name);
/* Up to six decimals; no number at all (NaN, infinite) is null. */
void json_double(struct json *j, const char *name, double d);
/* A number as text, which the caller knows to be one. */
void json_raw(struct json *j, const char *name, const char *text);
/* Bytes of any kind; "name_b64" in place of "name" when they are not UTF-8. */
void json_bytes(struct json *j, const char *name, const void *data, size_t len);
void json_text(struct json *j, const char *name, const char *text);

bool json_is_utf8(const void *data, size_t len);
/* The string with its quotes; data must be UTF-8. */
void json_string(struct out *out, const void *data, size_t len);
void json_base64(struct out *out, const void *data, size_t len);

#pragma GCC visibility pop

#endif
