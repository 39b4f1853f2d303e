/* SPDX-License-Identifier: BSD-3-Clause */
/* packed: how a value looks that is kept compressed: a zstd frame without its magic number, in one segment, that tells the
 * length of the value, and neither a checksum nor the id of its dictionary. So whoever shows an item knows how long its
 * value is without unpacking it. hearth/dict.h packs and unpacks. Pure; any thread. */
#ifndef BASE_PACKED_H
#define BASE_PACKED_H

#include <stddef.h>
#include <stdint.h>

/* Values of this length are packed, and no others. */
#define PACKED_RAW_MIN 64u
#define PACKED_RAW_MAX 65536u

/* The frame header's descriptor: one segment, and a length of one byte, or of two. */
#define PACKED_LENGTH_1 0x20
#define PACKED_LENGTH_2 0x60

/* The length of the value; 0: these bytes are no packed value. */
static inline size_t packed_raw_len(const uint8_t *packed, size_t len)
{
	size_t raw = 0;
	if (len > 2 && packed[0] == PACKED_LENGTH_1)
		raw = packed[1];
	else if (len > 3 && packed[0] == PACKED_LENGTH_2)
		raw = 256 + (size_t)packed[1] + ((size_t)packed[2] << 8);
	return raw >= PACKED_RAW_MIN && raw <= PACKED_RAW_MAX ? raw : 0;
}

#endif
