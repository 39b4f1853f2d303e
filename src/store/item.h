/* SPDX-License-Identifier: BSD-3-Clause */
/* item: how one item lies in a region.
 *
 *   0 u64 bits: sequence number (low 53), state (10), and whether the last byte is unused
 *   8 u32 last access, seconds since ITEM_EPOCH
 *  12 u16 units: whole size / 2   14 u8 key length
 *  15 key | [i64 expiry] | [u32 flags] | [u64 cas] | [u32 dictionary] | value, or for ITEM_LARGE a pointer
 *
 * Items are aligned to 2 bytes: to 4 they were a byte larger on average. units, key length and key never change once the
 * item is linked, so a region can be walked without locks; all else is read and written under the lock of the key's shard. */
#ifndef STORE_ITEM_H
#define STORE_ITEM_H

#include <stddef.h>
#include <string.h>
#include "store/types.h"

#define ITEM_ALIGN    2u
#define ITEM_EPOCH    1577836800 /* 2020-01-01: 32 bits of seconds last until 2156 */
#define ITEM_SEQ_MASK ((UINT64_C(1) << 53) - 1)
#define ITEM_SIZE_MAX (UINT16_MAX * ITEM_ALIGN)

enum item_state {
	ITEM_HAS_EXPIRY = 1 << 0,
	ITEM_HAS_FLAGS = 1 << 1,
	ITEM_HAS_CAS = 1 << 2,
	ITEM_HAS_DICT = 1 << 3, /* the value is compressed with this dictionary */
	ITEM_LARGE = 1 << 4,    /* the value has memory of its own */
	ITEM_STALE = 1 << 5,
	ITEM_WIN_SENT = 1 << 6,
	ITEM_FETCHED = 1 << 7,
	ITEM_BINARY = 1 << 8,
	ITEM_NOT_KEPT = 1 << 9, /* not on disk; what the disk has last for its key is a tombstone */
};
#define ITEM_STATE_SHIFT 53
#define ITEM_STATE_MASK  ((1u << 10) - 1)
#define ITEM_PADDED      (UINT64_C(1) << 63)
#define ITEM_LAYOUT      (ITEM_HAS_EXPIRY | ITEM_HAS_FLAGS | ITEM_HAS_CAS | ITEM_HAS_DICT | ITEM_LARGE)

struct item {
	uint64_t bits;
	uint32_t access;
	uint16_t units;
	uint8_t key_len;
	uint8_t body[];
} __attribute__((packed, aligned(2)));
#define ITEM_HEADER offsetof(struct item, body)
_Static_assert(ITEM_HEADER == 15, "the item header is 15 bytes");

/* What an item is made from. */
struct item_spec {
	const uint8_t *key;
	uint8_t key_len;
	uint16_t state; /* item_state; the layout bits are set by item_layout() */
	uint64_t seq;
	uint64_t cas; /* 0 = the number */
	int64_t expiry;
	int64_t access;
	uint32_t flags;
	uint32_t dict;
	size_t value_len;
	struct store_large *large;
};

static inline uint64_t item_seq(const struct item *it)
{
	return it->bits & ITEM_SEQ_MASK;
}

static inline unsigned item_state(const struct item *it)
{
	return (unsigned)(it->bits >> ITEM_STATE_SHIFT) & ITEM_STATE_MASK;
}

static inline void item_set_seq(struct item *it, uint64_t seq)
{
	it->bits = (it->bits & ~ITEM_SEQ_MASK) | seq;
}

static inline void item_set_state(struct item *it, unsigned state)
{
	it->bits = (it->bits & (ITEM_SEQ_MASK | ITEM_PADDED)) | (uint64_t)state << ITEM_STATE_SHIFT;
}

static inline size_t item_size(const struct item *it)
{
	return (size_t)it->units * ITEM_ALIGN;
}

static inline uint32_t item_clock(int64_t now)
{
	return now <= ITEM_EPOCH ? 0 : (uint32_t)(now - ITEM_EPOCH);
}

static inline int64_t item_access(const struct item *it)
{
	return (int64_t)it->access + ITEM_EPOCH;
}

/* Bytes between key and value. */
static inline size_t item_fields(unsigned state)
{
	static const uint8_t bytes[] = {0, 8, 4, 12, 8, 16, 12, 20, 4, 12, 8, 16, 12, 20, 16, 24};
	return bytes[state & (ITEM_HAS_EXPIRY | ITEM_HAS_FLAGS | ITEM_HAS_CAS | ITEM_HAS_DICT)];
}

static inline uint8_t *item_value(struct item *it)
{
	return it->body + it->key_len + item_fields(item_state(it));
}

/* Bytes of value (or pointer) that lie in the item. */
static inline size_t item_inline_len(const struct item *it)
{
	size_t padding = it->bits & ITEM_PADDED ? 1 : 0;
	return item_size(it) - ITEM_HEADER - it->key_len - item_fields(item_state(it)) - padding;
}

/* The layout bits a spec needs, and the unrounded size of the item. */
static inline unsigned item_layout(const struct item_spec *spec)
{
	return (spec->state & ~(unsigned)ITEM_LAYOUT) | (spec->expiry ? ITEM_HAS_EXPIRY : 0u) |
	       (spec->flags ? ITEM_HAS_FLAGS : 0u) | (spec->cas ? ITEM_HAS_CAS : 0u) |
	       (spec->dict ? ITEM_HAS_DICT : 0u) | (spec->large ? ITEM_LARGE : 0u);
}

static inline size_t item_bytes(const struct item_spec *spec, unsigned layout)
{
	return ITEM_HEADER + spec->key_len + item_fields(layout) +
	       (layout & ITEM_LARGE ? sizeof(spec->large) : spec->value_len);
}

static inline size_t item_round(size_t bytes)
{
	return (bytes + ITEM_ALIGN - 1) & ~(size_t)(ITEM_ALIGN - 1);
}

/* What `bits` become for an item that takes so many bytes before they are rounded. */
static inline uint64_t item_bits(unsigned layout, uint64_t seq, size_t bytes)
{
	return (seq & ITEM_SEQ_MASK) | (uint64_t)layout << ITEM_STATE_SHIFT |
	       (bytes % ITEM_ALIGN ? ITEM_PADDED : 0);
}

/* Writes header, key and fields; the caller fills the value at item_value(). bytes: what item_bytes says. */
void item_write(struct item *it, const struct item_spec *spec, unsigned layout, size_t bytes);
/* Only the fields between key and value, to `at`; returns where the value begins. */
uint8_t *item_write_fields(uint8_t *at, const struct item_spec *spec, unsigned layout);
/* Reads all fields back; spec->key points into the item. */
void item_read(const struct item *it, struct item_spec *ret_spec);
int64_t item_expiry(const struct item *it);
/* The item must have the field. */
void item_set_expiry(struct item *it, int64_t expiry);
struct store_large *item_large(const struct item *it);
size_t item_value_len(const struct item *it);
/* As clients know it; of what item_read has read. Its value is `value`. */
size_t item_shown_len(const struct item_spec *spec, const uint8_t *value);

#endif
