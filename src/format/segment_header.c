/* SPDX-License-Identifier: BSD-3-Clause */
/* segment_header: the first 256 bytes of a log file. Pure: no I/O, no allocation; any thread. Magic, version
 * and feature bits stay where they are in all versions to come, and so does the CRC in the last four bytes: a
 * reader tells "newer" from "damaged" before it knows anything else. */
#include <string.h>
#include "base/bytes.h"
#include "base/check.h"
#include "base/crc32c.h"
#include <hearth/segment.h>
#include "format/magic.h"

#define CRC_AT (SEGMENT_HEADER_SIZE - 4)

static const uint8_t segment_magic[MAGIC_SIZE] = {'H', 'E', 'A', 'R', 'T', 'H', 'L', 'G'};

void segment_encode_header(struct segment_header *h, uint8_t out[SEGMENT_HEADER_SIZE])
{
	struct bytes_writer w = bytes_writer(out, SEGMENT_HEADER_SIZE);
	memset(out, 0, SEGMENT_HEADER_SIZE);
	bytes_put(&w, segment_magic, sizeof(segment_magic));
	bytes_put32(&w, SEGMENT_VERSION);
	bytes_put32(&w, h->features.compatible);
	bytes_put32(&w, h->features.read_only);
	bytes_put32(&w, h->features.incompatible);
	bytes_put(&w, h->lineage, sizeof(h->lineage));
	bytes_put64(&w, h->generation);
	bytes_put64(&w, h->term);
	bytes_put64(&w, h->number);
	bytes_put64(&w, h->first);
	bytes_put64(&w, h->prev_number);
	bytes_put64(&w, h->prev_end);
	bytes_put64(&w, h->prev_last);
	bytes_put32(&w, h->prev_crc);
	bytes_put32(&w, 0);
	bytes_put(&w, h->boot_id, sizeof(h->boot_id));
	bytes_put64(&w, (uint64_t)h->wall_ms);
	bytes_put64(&w, (uint64_t)h->hearth_ms);
	bytes_put(&w, h->salt, sizeof(h->salt));
	bytes_put64(&w, (uint64_t)h->flush_due);
	bytes_put64(&w, h->high_water);
	bytes_put64(&w, (uint64_t)h->boot_ms);
	CHECK(!w.bad && w.at <= out + CRC_AT);
	h->crc = crc32c(0, out, CRC_AT);
	bytes_store32(out + CRC_AT, h->crc);
}

static void get_array(struct bytes_reader *r, uint8_t *out, size_t len)
{
	const uint8_t *p = bytes_take(r, len);
	CHECK(p != NULL);
	memcpy(out, p, len);
}

static void get_fields(struct bytes_reader *r, struct segment_header *h)
{
	h->features.compatible = bytes_get32(r);
	h->features.read_only = bytes_get32(r);
	h->features.incompatible = bytes_get32(r);
	get_array(r, h->lineage, sizeof(h->lineage));
	h->generation = bytes_get64(r);
	h->term = bytes_get64(r);
	h->number = bytes_get64(r);
	h->first = bytes_get64(r);
	h->prev_number = bytes_get64(r);
	h->prev_end = bytes_get64(r);
	h->prev_last = bytes_get64(r);
	h->prev_crc = bytes_get32(r);
	bytes_take(r, 4);
	get_array(r, h->boot_id, sizeof(h->boot_id));
	h->wall_ms = (int64_t)bytes_get64(r);
	h->hearth_ms = (int64_t)bytes_get64(r);
	get_array(r, h->salt, sizeof(h->salt));
	h->flush_due = (int64_t)bytes_get64(r);
	h->high_water = bytes_get64(r);
	h->boot_ms = (int64_t)bytes_get64(r);
}

static bool numbers_hold(const struct segment_header *h)
{
	return h->number <= RECORD_SEQ_MAX && h->first <= RECORD_SEQ_MAX &&
	       h->prev_number <= RECORD_SEQ_MAX && h->prev_last <= RECORD_SEQ_MAX &&
	       h->high_water <= RECORD_SEQ_MAX && h->generation <= RECORD_SEQ_MAX;
}

enum hearth_status segment_decode_header(const uint8_t *in, size_t len, struct segment_header *ret_h)
{
	memset(ret_h, 0, sizeof(*ret_h));
	bool foreign = len >= MAGIC_SIZE && !magic_resembles(in, segment_magic);
	if (len < SEGMENT_HEADER_SIZE)
		return foreign && !bytes_all_zero(in, len) ? HEARTH_FOREIGN : HEARTH_TORN;
	if (bytes_all_zero(in, SEGMENT_HEADER_SIZE))
		return HEARTH_END;
	if (foreign)
		return HEARTH_FOREIGN;
	struct bytes_reader r = bytes_reader(in, SEGMENT_HEADER_SIZE);
	const uint8_t *magic = bytes_take(&r, MAGIC_SIZE);
	uint32_t version = bytes_get32(&r);
	ret_h->crc = bytes_load32(in + CRC_AT);
	if (memcmp(magic, segment_magic, MAGIC_SIZE) != 0 || crc32c(0, in, CRC_AT) != ret_h->crc)
		return HEARTH_DAMAGED;
	get_fields(&r, ret_h);
	CHECK(!r.bad);
	if (version > SEGMENT_VERSION || ret_h->features.incompatible != 0)
		return HEARTH_NEWER;
	return version == 0 || !numbers_hold(ret_h) ? HEARTH_DAMAGED : HEARTH_OK;
}
