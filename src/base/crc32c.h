/* SPDX-License-Identifier: BSD-3-Clause */
/* crc32c: the Castagnoli CRC (RFC 3720, B.4), by SSE4.2 where the processor has it, by table elsewhere.
 * crc32c(crc32c(0, a), b) == crc32c(0, a b). Any thread. */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

uint32_t crc32c(uint32_t crc, const void *data, size_t len);

/* crc32c(0, a b) of crc32c(0, a), crc32c(0, b) and the length of b, without the bytes. */
uint32_t crc32c_combine(uint32_t crc, uint32_t behind, uint64_t len);

/* The table version, so that a test can hold both against each other. */
uint32_t crc32c_portable(uint32_t crc, const void *data, size_t len);

#endif
