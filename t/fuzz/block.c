/* SPDX-License-Identifier: BSD-3-Clause */
/* block: one block, its checksum right, to its records. A first byte that is odd has the lengths put right too. */
#include <hearth/block.h>
#include <hearth/segment.h>
#include "format/block_crc.h"
#include "format/block_zstd.h"
#include "fuzz.h"

static const uint8_t salt[BLOCK_SALT_SIZE] = "sixteen-of-salt";

static void walk(const struct block_header *h, const uint8_t *payload)
{
	struct segment_block block = {.head = *h, .payload = payload, .payload_len = h->raw_len};
	struct segment_records records = segment_records(&block);
	struct record r;
	uint64_t n = 0;
	while (segment_next_record(&records, &r) == HEARTH_OK)
		n += record_takes_number(r.type);
	CHECK(n <= h->count);
}

static void unpack(const struct block_header *h, const uint8_t *payload)
{
	uint8_t head[RECORD_OVERHEAD_MAX];
	struct record r;
	if (block_unpack_head(payload, h->stored_len, head, sizeof(head)) == HEARTH_OK)
		record_decode_head(head, sizeof(head), h->raw_len, &r);
	if (h->raw_len > FUZZ_RAW_MAX || !block_frame_holds(payload, h->stored_len, h->raw_len))
		return;
	uint8_t *raw = malloc(h->raw_len ? h->raw_len : 1);
	CHECK(raw != NULL);
	if (block_unpack(h, payload, raw) == HEARTH_OK)
		walk(h, raw);
	free(raw);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct block_header h;
	if (len < 1 + BLOCK_HEADER_SIZE)
		return 0;
	uint8_t *copy = fuzz_copy(data + 1, len - 1);
	uint8_t *payload = copy + BLOCK_HEADER_SIZE;
	size_t stored = len - 1 - BLOCK_HEADER_SIZE;
	bytes_store32(copy, 0x314b4248);
	if (data[0] & 1) {
		bytes_store32(copy + 8, (uint32_t)stored);
		if (bytes_load16(copy + 28) == 0)
			bytes_store32(copy + 12, (uint32_t)stored);
	}
	if (block_decode_header(copy, len - 1, &h) == HEARTH_OK) {
		CHECK(h.stored_len <= stored);
		bytes_store32(
		    copy + 4, block_crc_end(block_crc_begin(copy, salt), crc32c(0, payload, h.stored_len)));
		CHECK(block_verify(copy, salt, payload, h.stored_len) == HEARTH_OK);
		if (h.flags == 0)
			walk(&h, payload);
		else
			unpack(&h, payload);
	}
	free(copy);
	return 0;
}
