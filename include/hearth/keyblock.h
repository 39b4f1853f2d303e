/* SPDX-License-Identifier: BSD-3-Clause */
/* keyblock: which key each of a row of sequence numbers touched, so that damage in the log costs only the keys that it
 * hit. The body of RECORD_KEY_BLOCK and RECORD_SEAL, all little-endian:
 *   u64 first | u32 fingerprint, for the numbers first, first + 1, ...
 * Fingerprints are the CRC-32C of the key, unkeyed, so that any tool can compute them. Two keys that share one cost a key
 * more when a number of theirs is lost; who makes such keys on purpose can make a cache forget, which deleting would do
 * as well, never make it show something old.
 *
 * A key block lies at least 64 KiB behind what it describes, so that one bad place never takes both. A seal repeats, once
 * the log has been idle for a second and at a stop in order, what no key block has described yet.
 * The codec is pure: no I/O, no allocation, no state; any thread. */
#ifndef HEARTH_KEYBLOCK_H
#define HEARTH_KEYBLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Numbers that one describes at most: as a record it fits into a block. */
#define KEYBLOCK_COUNT_MAX 65532u
/* Bytes of a record of so many. */
#define KEYBLOCK_RECORD_MAX (16u + 4 * (size_t)KEYBLOCK_COUNT_MAX)

/* Not fingerprints: the number touched no key (0 is none either, so that zeros are never taken for some); or it may have
 * touched any key (a flush). */
#define KEYBLOCK_NO_KEY 1u
#define KEYBLOCK_ANY    2u

struct keyblock {
	uint64_t first;
	uint32_t count;
	const uint8_t *fingerprints; /* count times u32, little-endian */
};

uint32_t keyblock_fingerprint(const void *key, size_t len);
/* Bytes of the whole record. count is 1 to KEYBLOCK_COUNT_MAX. */
size_t keyblock_record_size(uint32_t count);
/* Writes type, length, first and count; the fingerprints follow, 4 bytes each. Returns the bytes written, 16 at most. */
size_t keyblock_encode_head(uint8_t type, uint64_t first, uint32_t count, uint8_t *out);
/* False: these bytes are none. */
bool keyblock_decode(const void *body, size_t len, struct keyblock *ret_b);

static inline uint32_t keyblock_get(const struct keyblock *b, uint32_t i)
{
	const uint8_t *p = b->fingerprints + 4 * (size_t)i;
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

#endif
