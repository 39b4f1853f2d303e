/* SPDX-License-Identifier: BSD-3-Clause */
/* segment: a whole log file, with right checksums where header and blocks lie back to back; read by each call that reads
 * one, across what is bad. */
#include <hearth/segment.h>
#include "format/block_crc.h"
#include "fuzz.h"

#define SALT_AT 136u

static void mend(uint8_t *data, size_t len)
{
	struct block_header h;
	if (len < SEGMENT_HEADER_SIZE)
		return;
	bytes_store32(data + SEGMENT_HEADER_SIZE - 4, crc32c(0, data, SEGMENT_HEADER_SIZE - 4));
	for (size_t at = SEGMENT_HEADER_SIZE; len - at >= BLOCK_HEADER_SIZE;) {
		uint8_t *head = data + at;
		if (block_decode_header(head, len - at, &h) != HEARTH_OK)
			break;
		uint32_t crc = crc32c(0, head + BLOCK_HEADER_SIZE, h.stored_len);
		bytes_store32(head + 4, block_crc_end(block_crc_begin(head, data + SALT_AT), crc));
		at += BLOCK_HEADER_SIZE + h.stored_len;
	}
}

static void walk(const struct segment_block *block)
{
	struct segment_records records = segment_records(block);
	struct record r;
	while (segment_next_record(&records, &r) == HEARTH_OK)
		;
}

/* Every block that verifies; behind what does not, the search goes on. */
static void read_all(struct segment_reader *reader)
{
	struct segment_block b, again;
	uint8_t *buf = NULL;
	size_t size = 0;
	for (uint64_t last = 0; segment_offset(reader) >= last;) {
		uint64_t at = last = segment_offset(reader);
		enum hearth_status status = segment_next(reader, &b, NULL);
		if (status == HEARTH_OK) {
			walk(&b);
			CHECK(segment_load(reader, at, &buf, &size, &again, NULL) == HEARTH_OK);
			CHECK(again.payload_len == b.payload_len && again.end == b.end);
		} else if (status == HEARTH_END || segment_resync(reader, NULL) != HEARTH_OK) {
			break;
		}
	}
	free(buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct fuzz_file file;
	struct segment_reader *reader;
	struct segment_block b;
	uint64_t offset;
	uint8_t *copy = fuzz_copy(data, len);
	mend(copy, len);
	fuzz_file_init(&file, copy, len);
	if (segment_open(&reader, &file.vfs, 0, "log", NULL, NULL) == HEARTH_OK) {
		CHECK(memcmp(segment_get_header(reader)->salt, copy + SALT_AT, BLOCK_SALT_SIZE) == 0);
		read_all(reader);
		segment_seek(reader, SEGMENT_HEADER_SIZE);
		while (segment_skim(reader, &b, NULL) == HEARTH_OK)
			;
		segment_find(&file.vfs, 100, copy + SALT_AT, 0, len, &offset);
		segment_close(&reader);
	}
	free(copy);
	return 0;
}
