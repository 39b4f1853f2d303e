/* SPDX-License-Identifier: BSD-3-Clause */
/* bytes: little-endian cursors that cannot overrun. A reader or writer that runs out of room sets `bad`, does
 * nothing more and returns zeros, so a decoder checks once, at its end. Not shared between threads. */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct bytes_reader {
	const uint8_t *at;
	const uint8_t *end;
	bool bad;
};

struct bytes_writer {
	uint8_t *at;
	uint8_t *end;
	bool bad;
};

static inline struct bytes_reader bytes_reader(const void *data, size_t len)
{
	const uint8_t *p = data;
	return (struct bytes_reader){p, p + len, false};
}

static inline struct bytes_writer bytes_writer(void *data, size_t len)
{
	uint8_t *p = data;
	return (struct bytes_writer){p, p + len, false};
}

static inline size_t bytes_left(const struct bytes_reader *r)
{
	return (size_t)(r->end - r->at);
}

static inline const uint8_t *bytes_take(struct bytes_reader *r, size_t len)
{
	if (r->bad || bytes_left(r) < len) {
		r->bad = true;
		return NULL;
	}
	const uint8_t *p = r->at;
	r->at += len;
	return p;
}

static inline uint8_t *bytes_room(struct bytes_writer *w, size_t len)
{
	if (w->bad || (size_t)(w->end - w->at) < len) {
		w->bad = true;
		return NULL;
	}
	uint8_t *p = w->at;
	w->at += len;
	return p;
}

/* A fixed-size copy is one move; a byte loop is not (gcc 12 leaves it a loop at -O2). */
#define bytes_swap8(v)  (v)
#define bytes_swap16(v) htole16(v)
#define bytes_swap32(v) htole32(v)
#define bytes_swap64(v) htole64(v)
#define BYTES_DEFINE(bits) \
	static inline void bytes_store##bits(uint8_t *p, uint##bits##_t v) \
	{ \
		v = bytes_swap##bits(v); \
		memcpy(p, &v, sizeof(v)); \
	} \
	static inline uint##bits##_t bytes_load##bits(const uint8_t *p) \
	{ \
		uint##bits##_t v; \
		memcpy(&v, p, sizeof(v)); \
		return bytes_swap##bits(v); \
	} \
	static inline void bytes_put##bits(struct bytes_writer *w, uint##bits##_t v) \
	{ \
		uint8_t *p = bytes_room(w, bits / 8); \
		if (p) \
			bytes_store##bits(p, v); \
	} \
	static inline uint##bits##_t bytes_get##bits(struct bytes_reader *r) \
	{ \
		const uint8_t *p = bytes_take(r, bits / 8); \
		return p ? bytes_load##bits(p) : 0; \
	}
BYTES_DEFINE(8)
BYTES_DEFINE(16)
BYTES_DEFINE(32)
BYTES_DEFINE(64)
#undef BYTES_DEFINE
#undef bytes_swap8
#undef bytes_swap16
#undef bytes_swap32
#undef bytes_swap64

static inline void bytes_put(struct bytes_writer *w, const void *data, size_t len)
{
	uint8_t *p = bytes_room(w, len);
	if (p && len)
		memcpy(p, data, len);
}

static inline unsigned bytes_varint_size(uint64_t v)
{
	unsigned n = 1;
	while (v >= 0x80) {
		v >>= 7;
		n++;
	}
	return n;
}

/* LEB128, at most ten bytes; a longer or non-minimal ending form is bad. To where there is room for bytes_varint_size of them;
 * returns the place behind. */
static inline uint8_t *bytes_store_varint(uint8_t *p, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		*p++ = (uint8_t)(v | 0x80);
	*p++ = (uint8_t)v;
	return p;
}

static inline void bytes_put_varint(struct bytes_writer *w, uint64_t v)
{
	uint8_t *p = bytes_room(w, bytes_varint_size(v));
	if (p)
		bytes_store_varint(p, v);
}

static inline uint64_t bytes_get_varint(struct bytes_reader *r)
{
	const uint8_t *p = r->at;
	size_t most = bytes_left(r) < 10 ? bytes_left(r) : 10;
	uint64_t v = 0;
	if (r->bad)
		return 0;
	for (unsigned n = 0; n < most; n++) {
		v |= (uint64_t)(p[n] & 0x7f) << (7 * n);
		if (p[n] >= 0x80)
			continue;
		if ((n == 9 && p[n] > 1) || (n > 0 && p[n] == 0))
			break;
		r->at = p + n + 1;
		return v;
	}
	r->bad = true;
	return 0;
}

/* The length of the varint that begins in these eight bytes, a little-endian number; 0: it is longer. */
static inline unsigned bytes_varint_len(uint64_t eight)
{
	uint64_t ends = ~eight & UINT64_C(0x8080808080808080);
	return ends ? ((unsigned)__builtin_ctzll(ends) + 1) / 8 : 0;
}

#endif
