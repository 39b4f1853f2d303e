/* SPDX-License-Identifier: BSD-3-Clause */
/* out: a buffered writer for data on standard output, fast enough for millions of records: no format strings.
 * A write that fails is remembered; out_close tells. One thread. */
#ifndef TOOL_OUT_H
#define TOOL_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define OUT_SIZE (256u * 1024)
/* out_room gives at most this much. */
#define OUT_ROOM 4096u

struct out {
	int fd;
	int error; /* errno of the first write that failed, 0 = none */
	size_t len;
	uint8_t *buf;
};

/* False when memory is short. */
bool out_open(struct out *out, int fd);
void out_flush(struct out *out);
/* Flushes and frees. False, after a message, when anything could not be written. */
bool out_close(struct out *out);

/* At least `len` (OUT_ROOM or less) bytes of room; the caller fills them and adds to out->len what it used.
 */
static inline uint8_t *out_room(struct out *out, size_t len)
{
	if (OUT_SIZE - out->len < len)
		out_flush(out);
	return out->buf + out->len;
}

void out_bytes(struct out *out, const void *data, size_t len);
void out_u64(struct out *out, uint64_t n);
void out_i64(struct out *out, int64_t n);
/* Control bytes, the backslash and what is no UTF-8 as \xNN, so that no terminal obeys what a client stored.
 */
void out_escaped(struct out *out, const void *data, size_t len);

static inline void out_text(struct out *out, const char *text)
{
	out_bytes(out, text, strlen(text));
}

static inline void out_char(struct out *out, char c)
{
	*out_room(out, 1) = (uint8_t)c;
	out->len++;
}

/* Decimal digits of n at `at` (20 bytes of room or more): their count. */
unsigned out_digits(uint64_t n, uint8_t *at);
/* Length of the well-formed UTF-8 sequence at data (len 1 or more), 0 when there is none. */
size_t out_utf8(const uint8_t *data, size_t len);

#endif
