/* SPDX-License-Identifier: BSD-3-Clause */
/* block_crc: the two halves of a block's CRC, for those who learn the CRC of the payload in between: the
 * searcher for blocks behind damage, which reads a file once whatever the headers in it claim. For floor 1 and
 * recovery. */
#ifndef FORMAT_BLOCK_CRC_H
#define FORMAT_BLOCK_CRC_H

#include <stdint.h>
#include <hearth/block.h>

/* The CRC over salt and header bytes 8..63. */
uint32_t block_crc_begin(const uint8_t in[BLOCK_HEADER_SIZE], const uint8_t salt[BLOCK_SALT_SIZE]);
/* The block's CRC, given that and crc32c(0, stored payload). */
uint32_t block_crc_end(uint32_t begun, uint32_t payload_crc);

#endif
