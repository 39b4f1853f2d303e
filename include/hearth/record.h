/* SPDX-License-Identifier: BSD-3-Clause */
/* record: one change, as log and snapshots hold it. A record carries the result of a change, never the command.
 * The codec is pure: no I/O, no allocation, no state; any thread. Decoded pointers point into the input.
 *
 * On disk (all little-endian):
 *   u8 type | varint body length | body
 *   SET    u16 bits | u8 key length | [u64 seq] [i64 expiry] [u32 flags] [u64 cas] [varint access] [u32 dict]
 *          | key | value (the rest)
 *   DELETE key (the rest of the body, 1 to 250 bytes)
 *   TOUCH  i64 expiry | key
 *   FLUSH  nothing: kills every item whose number is lower than this record's
 *   PASS   nothing: takes a number and changes nothing on disk
 *   FLUSH_AT i64 due: the one slot for a delayed flush is set to this time; 0 empties it
 *   KEY_BLOCK, SEAL: which keys earlier records touched, see keyblock.h
 *   DICT   u32 id | u8 sizes | a dictionary (the rest): what values of SETs behind it may be packed with, see dict.h
 * Zero is no valid type, so zero-filled tails never decode. hearth-log(5) is the page for users.
 *
 * To change the format: add a type or a bit here and in record.c, say in hearth-log(5) what older readers do
 * with it, add golden bytes to t/data, and raise the version in segment.h only if an older reader would
 * misread what it accepts. */
#ifndef HEARTH_RECORD_H
#define HEARTH_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <hearth/status.h>

#define RECORD_KEY_MAX 250
/* Values end at 1 GiB (memcached's largest -I). */
#define RECORD_VALUE_MAX (1u << 30)
/* No number in any file is larger, and none of a file: items keep 53 bits of it. At a million changes a second that is
 * after 142 years; a number beyond is damage. A daemon that would have to begin beyond half of it refuses to. */
#define RECORD_SEQ_MAX (UINT64_C(1) << 52)
/* No record's header, key and optional fields take more than this; the value comes on top. */
#define RECORD_OVERHEAD_MAX 320

/* Type bits: unknown types without RECORD_MAY_SKIP are refused (HEARTH_NEWER). Types with RECORD_NO_NUMBER take
 * no sequence number. */
#define RECORD_MAY_SKIP  0x80
#define RECORD_NO_NUMBER 0x40

enum record_type {
	RECORD_SET = 0x01,
	RECORD_DELETE = 0x02,
	RECORD_TOUCH = 0x03,
	RECORD_FLUSH = 0x04,
	RECORD_FLUSH_AT = 0x05,
	RECORD_PASS = 0x87,      /* a change of an item that is not kept on disk */
	RECORD_MARK = 0x06,      /* reserved: stale and win-sent bits change, value stays */
	RECORD_DICT = 0x47,      /* a dictionary: who reads a value packed with it needs it */
	RECORD_KEY_BLOCK = 0xC1, /* fingerprints of the keys in a stretch of the log, some way behind it */
	RECORD_SEAL = 0xC2,      /* the same for what is not yet described, at an idle second or a stop */
};

enum record_bit {
	RECORD_HAS_SEQ = 1 << 0, /* in snapshots; in the log the number follows from the block */
	RECORD_HAS_EXPIRY = 1 << 1,
	RECORD_HAS_FLAGS = 1 << 2,
	RECORD_HAS_CAS = 1 << 3, /* a CAS of its own, forced by a client, other than the number */
	RECORD_HAS_ACCESS = 1 << 4,
	RECORD_HAS_DICT = 1 << 5, /* the value is compressed with this dictionary */
	RECORD_STALE = 1 << 6,
	RECORD_WIN_SENT = 1 << 7,
	RECORD_FETCHED = 1 << 8,
	RECORD_BINARY_KEY = 1 << 9,
	RECORD_USE_SHIFT = 10, /* bits 10 and 11: the use counter, 0 to 3 */
	RECORD_MAIN_QUEUE = 1 << 12,
	RECORD_BITS_KNOWN = 0x1fff, /* a bit beyond these: HEARTH_NEWER */
};

/* The bits that say something about the item, as against which fields follow. */
#define RECORD_STATE_BITS (RECORD_STALE | RECORD_WIN_SENT | RECORD_FETCHED | RECORD_BINARY_KEY)

struct record {
	uint8_t type;
	uint16_t bits; /* SET: state, use and queue bits; the encoder adds HAS_ bits for the fields below */
	uint8_t key_len;
	const uint8_t *key;
	const uint8_t *
	    value; /* KEY_BLOCK, SEAL: the body; DICT: the dictionary; with dict: packed, see base/packed.h */
	uint64_t value_len;
	uint64_t seq;   /* sequence number (LSN); 0 = not in the record */
	uint64_t cas;   /* 0 = the same as seq */
	int64_t expiry; /* seconds, Hearth time; 0 = never. FLUSH_AT: when it is due */
	int64_t access; /* seconds, Hearth time of the last access; 0 = not in the record */
	uint32_t flags; /* the client's */
	uint32_t dict;  /* 0 = not compressed. DICT: its id */
	uint8_t sizes;  /* DICT: the lengths it was made for, their logarithm to base 2 */
};

static inline bool record_takes_number(uint8_t type)
{
	return (type & RECORD_NO_NUMBER) == 0;
}

/* Bytes that encode will write, value included. */
size_t record_size(const struct record *r);
/* Writes all but the value bytes, which follow directly (values above 4 KiB are sent from where they lie).
 * The room must be RECORD_OVERHEAD_MAX or more. Returns the bytes written. */
size_t record_encode_head(const struct record *r, uint8_t *out);
/* Writes the whole record; out holds record_size() bytes or more. Returns the bytes written. */
size_t record_encode(const struct record *r, uint8_t *out);
/* Decodes the record at data. HEARTH_OK with *ret_r and its length *ret_len; HEARTH_END for len 0; HEARTH_DAMAGED
 * when these bytes cannot be a record; HEARTH_NEWER for a type or bit that must not be skipped. An unknown type
 * that may be skipped comes back as HEARTH_OK with only type and *ret_len set. */
enum hearth_status record_decode(const void *data, size_t len, struct record *ret_r, size_t *ret_len);
/* Decodes once more, with less to look at, a record that record_decode has accepted and nobody has written to since. */
void record_reread(const void *data, struct record *ret_r);
/* Decodes the head of a SET that is `whole` bytes long and of which only the first `len` are there, RECORD_OVERHEAD_MAX
 * or more: for a value too large to be of use. ret_r->value is NULL. HEARTH_OK; HEARTH_DAMAGED, also for any other type
 * that is known; HEARTH_NEWER. A type that may be skipped comes back as above. */
enum hearth_status record_decode_head(const void *data, size_t len, uint64_t whole, struct record *ret_r);
/* The key of an encoded record of which only the head may be there, as record_encode_head has written it. False: it has
 * none, or these bytes are no record. */
bool record_find_key(const void *head, size_t len, const uint8_t **ret_key, uint8_t *ret_key_len);
/* The length of the record at data, and its key, of length 0 where it has none, without a look at the rest: for who hands it on
 * to record_decode. 0: these bytes are no record. */
size_t record_skim(const void *data, size_t len, const uint8_t **ret_key, uint8_t *ret_key_len);
/* "set", "delete", ...; "unknown" for others. */
const char *record_type_name(uint8_t type);

#endif
