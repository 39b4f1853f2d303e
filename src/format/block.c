/* SPDX-License-Identifier: BSD-3-Clause */
/* block: the block header and its CRC. Pure but for the context zstd allocates; any thread.
 *
 * The CRC is taken over the salt (16 bytes), header bytes 8..63 and, as four little-endian bytes, the CRC of
 * the stored payload. The payload so enters through a number that can be had while it is gathered, before the
 * header is complete, and is read only once. Nothing is lost: an undetected change needs a collision in
 * either CRC. */
#include <string.h>
#include "base/bytes.h"
#include "base/check.h"
#include "base/crc32c.h"
#include <hearth/block.h>
#include <hearth/record.h>
#include "format/block_crc.h"
#include "format/block_zstd.h"

#define BLOCK_MAGIC 0x314b4248u /* "HBK1" */
/* The smallest record that takes a number: type, length, no body. */
#define RECORD_SIZE_MIN 2u

uint32_t block_crc_begin(const uint8_t in[BLOCK_HEADER_SIZE], const uint8_t salt[BLOCK_SALT_SIZE])
{
	uint32_t crc = crc32c(0, salt, BLOCK_SALT_SIZE);
	return crc32c(crc, in + 8, BLOCK_HEADER_SIZE - 8);
}

uint32_t block_crc_end(uint32_t begun, uint32_t payload_crc)
{
	uint8_t bytes[4];
	bytes_store32(bytes, payload_crc);
	return crc32c(begun, bytes, sizeof(bytes));
}

void block_encode_header(struct block_header *h, const uint8_t salt[BLOCK_SALT_SIZE], uint32_t payload_crc,
    uint8_t out[BLOCK_HEADER_SIZE])
{
	struct bytes_writer w = bytes_writer(out, BLOCK_HEADER_SIZE);
	memset(out, 0, BLOCK_HEADER_SIZE);
	bytes_put32(&w, BLOCK_MAGIC);
	bytes_put32(&w, 0); /* the CRC, below */
	bytes_put32(&w, h->stored_len);
	bytes_put32(&w, h->raw_len);
	bytes_put64(&w, h->first);
	bytes_put32(&w, h->count);
	bytes_put16(&w, h->flags);
	bytes_put16(&w, 0);
	bytes_put64(&w, (uint64_t)h->time_ms);
	bytes_put64(&w, h->durable);
	bytes_put64(&w, (uint64_t)h->flush_due);
	bytes_put32(&w, h->prev_crc);
	CHECK(!w.bad && w.end - w.at == 4);
	h->crc = block_crc_end(block_crc_begin(out, salt), payload_crc);
	bytes_store32(out + 4, h->crc);
}

/* Lengths that a writer can have put there. What unknown flags do to a payload is not known, so raw_len is
 * then only held against the limit. */
static bool lengths_hold(const struct block_header *h)
{
	if (h->raw_len > BLOCK_RAW_MAX || h->stored_len > BLOCK_RAW_MAX)
		return false;
	if (h->count > 1 && h->raw_len > BLOCK_PAYLOAD_MAX)
		return false;
	if (h->count > h->raw_len / RECORD_SIZE_MIN || h->first > RECORD_SEQ_MAX - h->count)
		return false;
	if (h->flags == 0)
		return h->stored_len == h->raw_len;
	return h->flags != BLOCK_ZSTD || (h->stored_len > 0 && h->raw_len > 0);
}

enum hearth_status block_decode_header(
    const uint8_t in[BLOCK_HEADER_SIZE], uint64_t left, struct block_header *ret_h)
{
	struct bytes_reader r = bytes_reader(in, BLOCK_HEADER_SIZE);
	uint32_t magic = bytes_get32(&r);
	ret_h->crc = bytes_get32(&r);
	ret_h->stored_len = bytes_get32(&r);
	ret_h->raw_len = bytes_get32(&r);
	ret_h->first = bytes_get64(&r);
	ret_h->count = bytes_get32(&r);
	ret_h->flags = bytes_get16(&r);
	uint16_t zero16 = bytes_get16(&r);
	ret_h->time_ms = (int64_t)bytes_get64(&r);
	ret_h->durable = bytes_get64(&r);
	ret_h->flush_due = (int64_t)bytes_get64(&r);
	ret_h->prev_crc = bytes_get32(&r);
	uint32_t zero32 = bytes_get32(&r);
	CHECK(!r.bad && bytes_left(&r) == 0);
	if (magic != BLOCK_MAGIC || zero16 != 0 || zero32 != 0 || !lengths_hold(ret_h))
		return HEARTH_DAMAGED;
	return left >= BLOCK_HEADER_SIZE + (uint64_t)ret_h->stored_len ? HEARTH_OK : HEARTH_TORN;
}

enum hearth_status block_verify(
    const uint8_t in[BLOCK_HEADER_SIZE], const uint8_t salt[BLOCK_SALT_SIZE], const void *payload, size_t len)
{
	uint32_t crc = block_crc_end(block_crc_begin(in, salt), crc32c(0, payload, len));
	if (bytes_load32(in) != BLOCK_MAGIC || bytes_load32(in + 4) != crc || bytes_load32(in + 8) != len)
		return HEARTH_DAMAGED;
	return HEARTH_OK;
}

enum hearth_status block_unpack(const struct block_header *h, const void *payload, void *out)
{
	if (h->flags != BLOCK_ZSTD)
		return HEARTH_NEWER;
	return block_unpack_frame(NULL, payload, h->stored_len, out, h->raw_len);
}
