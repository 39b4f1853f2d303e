/* SPDX-License-Identifier: BSD-3-Clause */
/* snapshot: a whole snapshot, with right checksums where frames lie back to back, at its index and at its end. */
#include <hearth/snapshot.h>
#include "format/snapshot_frame.h"
#include "fuzz.h"

#define SALT_AT (FRAME_HEAD_SIZE + 88)

static uint32_t salted(const uint8_t *data, const uint8_t *p, size_t len)
{
	return crc32c(crc32c(0, data + SALT_AT, BLOCK_SALT_SIZE), p, len);
}

/* The blocks from the header on; returns where they end. */
static size_t mend_blocks(uint8_t *data, size_t len)
{
	size_t at = SNAPSHOT_HEADER_SIZE;
	while (len - at >= SNAPSHOT_BLOCK_SIZE && bytes_load32(data + at) == FRAME_BLOCK) {
		uint8_t *content = data + at + FRAME_HEAD_SIZE;
		size_t stored = bytes_load32(content + 8);
		if (stored > len - at - SNAPSHOT_BLOCK_SIZE)
			break;
		bytes_store32(content + 16, salted(data, data + at + SNAPSHOT_BLOCK_SIZE, stored));
		bytes_store32(content + 4, salted(data, content + 8, 40));
		at += SNAPSHOT_BLOCK_SIZE + stored;
	}
	return at;
}

static void mend(uint8_t *data, size_t len)
{
	if (len < SNAPSHOT_HEADER_SIZE)
		return;
	bytes_store32(data + SNAPSHOT_HEADER_SIZE - 4, crc32c(0, data, SNAPSHOT_HEADER_SIZE - 4));
	size_t at = mend_blocks(data, len), entry = at + SNAPSHOT_INDEX_HEAD_SIZE;
	if (len - at < SNAPSHOT_INDEX_HEAD_SIZE + SNAPSHOT_FOOTER_SIZE)
		return;
	/* The index repeats what the heads say of the data. */
	for (size_t b = SNAPSHOT_HEADER_SIZE; b < at && entry + SNAPSHOT_INDEX_ENTRY <= len; entry += 32) {
		const uint8_t *content = data + b + FRAME_HEAD_SIZE;
		bytes_store32(data + entry + 16, bytes_load32(content + 16));
		b += SNAPSHOT_BLOCK_SIZE + bytes_load32(content + 8);
	}
	size_t index = bytes_load32(data + at + 4), rest = len - at - FRAME_HEAD_SIZE;
	if (index >= 16 && index <= rest)
		bytes_store32(data + at + 12, salted(data, data + at + 16, index - 8));
	uint8_t *footer = data + len - SNAPSHOT_FOOTER_SIZE;
	bytes_store32(data + len - 4, salted(data, footer + FRAME_HEAD_SIZE, 124));
}

static void load_all(const struct snapshot_reader *reader)
{
	uint8_t *buf = NULL, head[RECORD_OVERHEAD_MAX];
	size_t size = 0, len;
	const uint8_t *records;
	struct record r;
	for (size_t i = 0; i < snapshot_blocks(reader) && i < 100; i++) {
		struct snapshot_block b = snapshot_get_block(reader, i);
		if (b.raw_len > SNAPSHOT_PAYLOAD_MAX)
			snapshot_load_head(reader, i, head, &r, NULL);
		if (b.raw_len > FUZZ_RAW_MAX ||
		    snapshot_load(reader, i, &buf, &size, &records, &len, NULL) != HEARTH_OK)
			continue;
		struct snapshot_records walk = snapshot_records(records, len);
		while (snapshot_next_record(&walk, &r) == HEARTH_OK)
			;
	}
	free(buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct fuzz_file file;
	struct snapshot_reader *reader;
	uint8_t *copy = fuzz_copy(data, len);
	mend(copy, len);
	fuzz_file_init(&file, copy, len);
	enum hearth_status status = snapshot_open(&reader, &file.vfs, 0, "snapshot", NULL, NULL);
	CHECK(status == HEARTH_OK || reader == NULL || status == HEARTH_DAMAGED || status == HEARTH_TORN);
	if (reader) {
		load_all(reader);
		snapshot_verify(reader, NULL);
		snapshot_close(&reader);
	}
	free(copy);
	return 0;
}
