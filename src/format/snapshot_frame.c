/* SPDX-License-Identifier: BSD-3-Clause */
/* snapshot_frame: see snapshot_frame.h. Each frame's CRC is taken over the salt of this file and the content,
 * so that a part of another snapshot never passes; the header's own has no salt, it carries it. */
#include <string.h>
#include <zstd.h>
#include "base/bytes.h"
#include "base/check.h"
#include "base/crc32c.h"
#include "format/magic.h"
#include "format/snapshot_frame.h"

#define BLOCK_MAGIC 0x4b425348u /* "HSBK" */
#define INDEX_MAGIC 0x58495348u /* "HSIX" */

static const uint8_t header_magic[MAGIC_SIZE] = {'H', 'E', 'A', 'R', 'T', 'H', 'S', 'N'};
static const uint8_t footer_magic[MAGIC_SIZE] = {'H', 'E', 'A', 'R', 'T', 'H', 'S', 'F'};

static void put_frame_head(struct bytes_writer *w, uint32_t magic, size_t content)
{
	bytes_put32(w, magic);
	bytes_put32(w, (uint32_t)content);
}

static bool frame_head_is(const uint8_t *in, uint32_t magic, size_t content)
{
	return bytes_load32(in) == magic && bytes_load32(in + 4) == content;
}

uint32_t snapshot_data_crc(const uint8_t salt[BLOCK_SALT_SIZE], const void *data, size_t len)
{
	return crc32c(crc32c(0, salt, BLOCK_SALT_SIZE), data, len);
}

static void get_array(struct bytes_reader *r, uint8_t *out, size_t len)
{
	const uint8_t *p = bytes_take(r, len);
	CHECK(p != NULL);
	memcpy(out, p, len);
}

void snapshot_put_header(const struct snapshot_header *h, uint8_t out[SNAPSHOT_HEADER_SIZE])
{
	struct bytes_writer w = bytes_writer(out, SNAPSHOT_HEADER_SIZE);
	memset(out, 0, SNAPSHOT_HEADER_SIZE);
	put_frame_head(&w, FRAME_HEADER, SNAPSHOT_HEADER_SIZE - FRAME_HEAD_SIZE);
	bytes_put(&w, header_magic, sizeof(header_magic));
	bytes_put32(&w, SNAPSHOT_VERSION);
	bytes_put32(&w, h->features.compatible);
	bytes_put32(&w, h->features.read_only);
	bytes_put32(&w, h->features.incompatible);
	bytes_put(&w, h->lineage, sizeof(h->lineage));
	bytes_put64(&w, h->generation);
	bytes_put64(&w, h->term);
	bytes_put64(&w, h->number);
	bytes_put64(&w, h->start);
	bytes_put64(&w, (uint64_t)h->wall_ms);
	bytes_put64(&w, (uint64_t)h->hearth_ms);
	bytes_put(&w, h->salt, sizeof(h->salt));
	bytes_put64(&w, (uint64_t)h->flush_due);
	bytes_put64(&w, h->high_water);
	CHECK(!w.bad && w.end - w.at >= 4);
	bytes_store32(w.end - 4, crc32c(0, out, SNAPSHOT_HEADER_SIZE - 4));
}

enum hearth_status snapshot_get_header_frame(const uint8_t *in, size_t len, struct snapshot_header *ret_h)
{
	struct bytes_reader r = bytes_reader(in, len);
	memset(ret_h, 0, sizeof(*ret_h));
	if (len >= FRAME_HEAD_SIZE + MAGIC_SIZE && !magic_resembles(in + FRAME_HEAD_SIZE, header_magic))
		return HEARTH_FOREIGN;
	if (len < SNAPSHOT_HEADER_SIZE)
		return HEARTH_TORN;
	uint32_t crc = bytes_load32(in + SNAPSHOT_HEADER_SIZE - 4);
	if (!frame_head_is(in, FRAME_HEADER, SNAPSHOT_HEADER_SIZE - FRAME_HEAD_SIZE) ||
	    memcmp(in + FRAME_HEAD_SIZE, header_magic, MAGIC_SIZE) != 0 ||
	    crc32c(0, in, SNAPSHOT_HEADER_SIZE - 4) != crc)
		return HEARTH_DAMAGED;
	bytes_take(&r, FRAME_HEAD_SIZE + MAGIC_SIZE);
	uint32_t version = bytes_get32(&r);
	ret_h->features.compatible = bytes_get32(&r);
	ret_h->features.read_only = bytes_get32(&r);
	ret_h->features.incompatible = bytes_get32(&r);
	get_array(&r, ret_h->lineage, sizeof(ret_h->lineage));
	ret_h->generation = bytes_get64(&r);
	ret_h->term = bytes_get64(&r);
	ret_h->number = bytes_get64(&r);
	ret_h->start = bytes_get64(&r);
	ret_h->wall_ms = (int64_t)bytes_get64(&r);
	ret_h->hearth_ms = (int64_t)bytes_get64(&r);
	get_array(&r, ret_h->salt, sizeof(ret_h->salt));
	ret_h->flush_due = (int64_t)bytes_get64(&r);
	ret_h->high_water = bytes_get64(&r);
	CHECK(!r.bad);
	if (version > SNAPSHOT_VERSION || ret_h->features.incompatible != 0)
		return HEARTH_NEWER;
	bool holds = ret_h->number <= RECORD_SEQ_MAX && ret_h->start <= RECORD_SEQ_MAX &&
	             ret_h->high_water <= RECORD_SEQ_MAX && ret_h->generation <= RECORD_SEQ_MAX;
	return version == 0 || !holds ? HEARTH_DAMAGED : HEARTH_OK;
}

bool snapshot_block_holds(const struct snapshot_block *b)
{
	/* zstd makes what it cannot compress a little longer, no more than this. */
	if (b->items > 1 && b->raw_len > SNAPSHOT_PAYLOAD_MAX)
		return false;
	return b->raw_len > 0 && b->raw_len <= BLOCK_RAW_MAX && b->items <= b->raw_len && b->stored_len > 0 &&
	       b->stored_len <= ZSTD_COMPRESSBOUND((size_t)b->raw_len);
}

void snapshot_put_block(const struct snapshot_block *b, uint64_t i, const uint8_t salt[BLOCK_SALT_SIZE],
    uint8_t out[SNAPSHOT_BLOCK_SIZE])
{
	struct bytes_writer w = bytes_writer(out, SNAPSHOT_BLOCK_SIZE);
	memset(out, 0, SNAPSHOT_BLOCK_SIZE);
	put_frame_head(&w, FRAME_BLOCK, SNAPSHOT_BLOCK_SIZE - FRAME_HEAD_SIZE);
	bytes_put32(&w, BLOCK_MAGIC);
	bytes_put32(&w, 0); /* the CRC, below */
	bytes_put32(&w, b->stored_len);
	bytes_put32(&w, b->raw_len);
	bytes_put32(&w, b->crc);
	bytes_put32(&w, b->items);
	bytes_put64(&w, b->upto);
	bytes_put64(&w, b->offset);
	bytes_put64(&w, i);
	CHECK(!w.bad && w.at == w.end);
	bytes_store32(out + FRAME_HEAD_SIZE + 4,
	    snapshot_data_crc(salt, out + FRAME_HEAD_SIZE + 8, SNAPSHOT_BLOCK_SIZE - FRAME_HEAD_SIZE - 8));
}

enum hearth_status snapshot_get_block_frame(const uint8_t in[SNAPSHOT_BLOCK_SIZE], uint64_t offset,
    const uint8_t salt[BLOCK_SALT_SIZE], struct snapshot_block *ret_b, uint64_t *ret_i)
{
	struct bytes_reader r = bytes_reader(in, SNAPSHOT_BLOCK_SIZE);
	bytes_take(&r, FRAME_HEAD_SIZE);
	uint32_t magic = bytes_get32(&r);
	uint32_t crc = bytes_get32(&r);
	if (!frame_head_is(in, FRAME_BLOCK, SNAPSHOT_BLOCK_SIZE - FRAME_HEAD_SIZE) || magic != BLOCK_MAGIC ||
	    snapshot_data_crc(salt, r.at, bytes_left(&r)) != crc)
		return HEARTH_DAMAGED;
	ret_b->stored_len = bytes_get32(&r);
	ret_b->raw_len = bytes_get32(&r);
	ret_b->crc = bytes_get32(&r);
	ret_b->items = bytes_get32(&r);
	ret_b->upto = bytes_get64(&r);
	ret_b->offset = bytes_get64(&r);
	*ret_i = bytes_get64(&r);
	CHECK(!r.bad);
	return ret_b->offset == offset && snapshot_block_holds(ret_b) ? HEARTH_OK : HEARTH_DAMAGED;
}

void snapshot_put_index(
    const struct snapshot_block *blocks, size_t n, const uint8_t salt[BLOCK_SALT_SIZE], uint8_t *out)
{
	size_t size = SNAPSHOT_INDEX_HEAD_SIZE + n * SNAPSHOT_INDEX_ENTRY;
	struct bytes_writer w = bytes_writer(out, size);
	put_frame_head(&w, FRAME_INDEX, size - FRAME_HEAD_SIZE);
	bytes_put32(&w, INDEX_MAGIC);
	bytes_put32(&w, 0); /* the CRC, below */
	bytes_put64(&w, n);
	for (size_t i = 0; i < n; i++) {
		bytes_put64(&w, blocks[i].offset);
		bytes_put32(&w, blocks[i].stored_len);
		bytes_put32(&w, blocks[i].raw_len);
		bytes_put32(&w, blocks[i].crc);
		bytes_put32(&w, blocks[i].items);
		bytes_put64(&w, blocks[i].upto);
	}
	CHECK(!w.bad && w.at == w.end);
	bytes_store32(out + FRAME_HEAD_SIZE + 4,
	    snapshot_data_crc(salt, out + FRAME_HEAD_SIZE + 8, size - FRAME_HEAD_SIZE - 8));
}

bool snapshot_get_index_head(const uint8_t in[SNAPSHOT_INDEX_HEAD_SIZE], uint64_t len,
    const uint8_t salt[BLOCK_SALT_SIZE], uint64_t *ret_n, uint32_t *ret_stated, uint32_t *ret_crc)
{
	struct bytes_reader r = bytes_reader(in, SNAPSHOT_INDEX_HEAD_SIZE);
	bytes_take(&r, FRAME_HEAD_SIZE);
	uint32_t magic = bytes_get32(&r);
	*ret_stated = bytes_get32(&r);
	*ret_crc = snapshot_data_crc(salt, r.at, bytes_left(&r));
	*ret_n = bytes_get64(&r);
	CHECK(!r.bad);
	return frame_head_is(in, FRAME_INDEX, (size_t)(len - FRAME_HEAD_SIZE)) && magic == INDEX_MAGIC &&
	       *ret_n == (len - SNAPSHOT_INDEX_HEAD_SIZE) / SNAPSHOT_INDEX_ENTRY;
}

bool snapshot_get_index_entry(const uint8_t in[SNAPSHOT_INDEX_ENTRY], struct snapshot_block *ret_b)
{
	struct bytes_reader r = bytes_reader(in, SNAPSHOT_INDEX_ENTRY);
	ret_b->offset = bytes_get64(&r);
	ret_b->stored_len = bytes_get32(&r);
	ret_b->raw_len = bytes_get32(&r);
	ret_b->crc = bytes_get32(&r);
	ret_b->items = bytes_get32(&r);
	ret_b->upto = bytes_get64(&r);
	CHECK(!r.bad);
	return snapshot_block_holds(ret_b);
}

void snapshot_put_footer(const struct snapshot_footer *f, uint64_t size, const uint8_t salt[BLOCK_SALT_SIZE],
    uint8_t out[SNAPSHOT_FOOTER_SIZE])
{
	struct bytes_writer w = bytes_writer(out, SNAPSHOT_FOOTER_SIZE);
	memset(out, 0, SNAPSHOT_FOOTER_SIZE);
	put_frame_head(&w, FRAME_FOOTER, SNAPSHOT_FOOTER_SIZE - FRAME_HEAD_SIZE);
	bytes_put(&w, footer_magic, sizeof(footer_magic));
	bytes_put64(&w, f->blocks);
	bytes_put64(&w, f->items);
	bytes_put64(&w, f->raw_bytes);
	bytes_put64(&w, f->end);
	bytes_put64(&w, (uint64_t)f->flush_due);
	bytes_put64(&w, f->high_water);
	bytes_put64(&w, (uint64_t)f->hearth_ms);
	bytes_put64(&w, f->index_offset);
	bytes_put64(&w, size);
	CHECK(!w.bad && w.end - w.at >= 4);
	bytes_store32(w.end - 4,
	    snapshot_data_crc(salt, out + FRAME_HEAD_SIZE, SNAPSHOT_FOOTER_SIZE - FRAME_HEAD_SIZE - 4));
}

enum hearth_status snapshot_get_footer_frame(const uint8_t in[SNAPSHOT_FOOTER_SIZE], uint64_t size,
    const uint8_t salt[BLOCK_SALT_SIZE], struct snapshot_footer *ret_f)
{
	struct bytes_reader r = bytes_reader(in, SNAPSHOT_FOOTER_SIZE);
	uint32_t crc = bytes_load32(in + SNAPSHOT_FOOTER_SIZE - 4);
	if (!frame_head_is(in, FRAME_FOOTER, SNAPSHOT_FOOTER_SIZE - FRAME_HEAD_SIZE) ||
	    memcmp(in + FRAME_HEAD_SIZE, footer_magic, MAGIC_SIZE) != 0 ||
	    snapshot_data_crc(salt, in + FRAME_HEAD_SIZE, SNAPSHOT_FOOTER_SIZE - FRAME_HEAD_SIZE - 4) != crc)
		return HEARTH_DAMAGED;
	bytes_take(&r, FRAME_HEAD_SIZE + MAGIC_SIZE);
	ret_f->blocks = bytes_get64(&r);
	ret_f->items = bytes_get64(&r);
	ret_f->raw_bytes = bytes_get64(&r);
	ret_f->end = bytes_get64(&r);
	ret_f->flush_due = (int64_t)bytes_get64(&r);
	ret_f->high_water = bytes_get64(&r);
	ret_f->hearth_ms = (int64_t)bytes_get64(&r);
	ret_f->index_offset = bytes_get64(&r);
	uint64_t stated = bytes_get64(&r);
	CHECK(!r.bad);
	bool holds = ret_f->end <= RECORD_SEQ_MAX && ret_f->high_water <= RECORD_SEQ_MAX;
	return stated == size && holds ? HEARTH_OK : HEARTH_DAMAGED;
}
