/* SPDX-License-Identifier: BSD-3-Clause */
/* block: the unit of commit in the log. A 64-byte header, then whole records. Pure: no I/O; any thread.
 *
 *   0 u32 magic "HBK1"   4 u32 crc: CRC32C over the segment's salt, header bytes 8..63, and the CRC32C of the stored
 *     payload as 4 bytes (little-endian): crc32c(crc32c(crc32c(0, salt), header[8..63]), le32(crc32c(0, payload)))
 *   8 u32 stored length  12 u32 raw length (the same unless compressed)
 *  16 u64 first: number of the first record that takes one (or the next one to come, if none does)
 *  24 u32 count: records that take a number   28 u16 flags (1 = zstd)   30 u16 zero
 *  32 i64 Hearth time, milliseconds: no earlier than the last expiry anybody was shown
 *  40 u64 durable: the number up to which the log was known durable when this was written
 *  48 i64 flush_due: the delayed flush pending behind this block's records, 0 = none
 *  56 u32 crc of the block before; for the first block of a segment the CRC of the segment header
 *  60 u32 zero
 * The salt keeps a client from forging blocks inside a value; the CRC of the block before is a field, never a
 * seed, so that damage does not make all that follows unverifiable (etcd, PostgreSQL, SQLite each have half). */
#ifndef HEARTH_BLOCK_H
#define HEARTH_BLOCK_H

#include <stddef.h>
#include <stdint.h>
#include <hearth/status.h>

#define BLOCK_HEADER_SIZE 64
#define BLOCK_SALT_SIZE   16
/* Raw payload of a block that holds more than one record; a header that says otherwise is damaged. */
#define BLOCK_PAYLOAD_MAX (256u * 1024)
/* No block is larger: one record of the largest size. */
#define BLOCK_RAW_MAX ((1u << 30) + 4096u)

enum block_flag { BLOCK_ZSTD = 1 };

struct block_header {
	uint32_t crc;
	uint32_t stored_len;
	uint32_t raw_len;
	uint32_t count;
	uint64_t first;
	uint16_t flags;
	int64_t time_ms;
	uint64_t durable;
	int64_t flush_due;
	uint32_t prev_crc;
};

/* Writes the 64 bytes and sets h->crc. payload_crc is crc32c(0, stored payload): the CRC over salt and header is
 * combined with it so that a payload is read once only; see block.c. */
void block_encode_header(struct block_header *h, const uint8_t salt[BLOCK_SALT_SIZE], uint32_t payload_crc,
    uint8_t out[BLOCK_HEADER_SIZE]);
/* Decodes and checks the header alone: magic, zero fields, lengths in range and within `left` (bytes from the
 * header's start to the file's end). HEARTH_TORN when only the length exceeds `left`. Unknown flags are no failure
 * here: before the CRC is verified nobody knows whether they are a newer format or damage. */
enum hearth_status block_decode_header(
    const uint8_t in[BLOCK_HEADER_SIZE], uint64_t left, struct block_header *ret_h);
/* Whether the CRC holds over salt, header and stored payload. */
enum hearth_status block_verify(const uint8_t in[BLOCK_HEADER_SIZE], const uint8_t salt[BLOCK_SALT_SIZE],
    const void *payload, size_t len);
/* Unpacks a BLOCK_ZSTD payload into out (raw_len bytes, the caller's). HEARTH_DAMAGED unless it is one zstd frame that
 * fills it exactly, HEARTH_NEWER when the flags are not just BLOCK_ZSTD. */
enum hearth_status block_unpack(const struct block_header *h, const void *payload, void *out);

#endif
