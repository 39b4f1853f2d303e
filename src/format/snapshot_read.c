/* SPDX-License-Identifier: BSD-3-Clause */
/* snapshot_read: reads a snapshot. Once open the reader does not change, so that many threads load blocks
 * from it, each into a buffer of its own. The index at the end is used when it verifies; otherwise the file
 * is walked (snapshot_walk.c). Nothing here writes. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include "base/check.h"
#include "base/crc32c.h"
#include "base/vfs.h"
#include "format/block_zstd.h"
#include "format/snapshot_frame.h"
#include "format/snapshot_walk.h"

#define READER_MAGIC 0x534e5052u
#define NAME_SIZE    80
/* Entries of the index, and bytes of a block's stored form, that are read at once. */
#define INDEX_PIECE 512u
#define HEAD_PIECE  (256u * 1024)

struct snapshot_reader {
	uint32_t magic;
	const struct vfs *vfs;
	int fd;
	char name[NAME_SIZE];
	uint64_t size;
	struct snapshot_header header;
	struct snapshot_footer footer;
	bool footer_good;
	uint64_t *offsets; /* of the blocks, where the index is bad */
	size_t n_blocks;
	struct block_pool *pool;
};

static enum hearth_status fail(const struct snapshot_reader *r, enum hearth_status status, uint64_t offset,
    const char *what, struct hearth_error *ret_err)
{
	return hearth_fail(ret_err, status, r->name, offset, what);
}

static enum hearth_status read_header(
    struct snapshot_reader *r, const uint8_t *lineage, struct hearth_error *ret_err)
{
	uint8_t frame[SNAPSHOT_HEADER_SIZE];
	ssize_t n = vfs_read_at(r->vfs, r->fd, frame, sizeof(frame), 0);
	if (n < 0)
		return fail(r, HEARTH_IO, 0, "cannot read the snapshot header", ret_err);
	enum hearth_status status = snapshot_get_header_frame(frame, (size_t)n, &r->header);
	switch (status) {
	case HEARTH_OK:
		break;
	case HEARTH_TORN:
		return fail(r, status, 0, "file ends inside the snapshot header", ret_err);
	case HEARTH_NEWER:
		return fail(r, status, 16, "snapshot has a newer format", ret_err);
	case HEARTH_FOREIGN:
		return fail(r, status, 0, "not a Hearth snapshot", ret_err);
	default:
		return fail(r, HEARTH_DAMAGED, 0, "snapshot header does not verify", ret_err);
	}
	if (lineage != NULL && memcmp(lineage, r->header.lineage, HEARTH_ID_SIZE) != 0)
		return fail(r, HEARTH_FOREIGN, 32, "snapshot belongs to another data directory", ret_err);
	return HEARTH_OK;
}

static enum hearth_status read_footer(struct snapshot_reader *r, struct hearth_error *ret_err)
{
	uint8_t frame[SNAPSHOT_FOOTER_SIZE];
	if (r->size < SNAPSHOT_HEADER_SIZE + SNAPSHOT_INDEX_HEAD_SIZE + SNAPSHOT_FOOTER_SIZE)
		return fail(r, HEARTH_TORN, r->size, "file ends before the footer", ret_err);
	uint64_t at = r->size - sizeof(frame);
	ssize_t n = vfs_read_at(r->vfs, r->fd, frame, sizeof(frame), at);
	if (n < 0)
		return fail(r, HEARTH_IO, at, "cannot read the footer", ret_err);
	if ((size_t)n < sizeof(frame))
		return fail(r, HEARTH_TORN, at, "file ends before the footer", ret_err);
	if (snapshot_get_footer_frame(frame, r->size, r->header.salt, &r->footer) != HEARTH_OK)
		return fail(r, HEARTH_DAMAGED, at, "snapshot footer does not verify", ret_err);
	r->footer_good = true;
	return HEARTH_OK;
}

/* Whether the index's blocks lie back to back from the header to the index, and add up to what the footer says. */
struct sum {
	uint64_t at, items, raw;
	uint32_t crc;
};

static bool add_entries(struct sum *sum, const uint8_t *in, size_t n)
{
	sum->crc = crc32c(sum->crc, in, n * SNAPSHOT_INDEX_ENTRY);
	for (size_t i = 0; i < n; i++) {
		struct snapshot_block b;
		if (!snapshot_get_index_entry(in + i * SNAPSHOT_INDEX_ENTRY, &b) || b.offset != sum->at)
			return false;
		sum->at += SNAPSHOT_BLOCK_SIZE + (uint64_t)b.stored_len;
		sum->items += b.items;
		sum->raw += b.raw_len;
	}
	return true;
}

/* The index, a piece at a time: HEARTH_OK when all of it verifies. */
static enum hearth_status sum_index(const struct snapshot_reader *r, uint64_t at, uint64_t len)
{
	uint8_t piece[INDEX_PIECE * SNAPSHOT_INDEX_ENTRY];
	struct sum sum = {.at = SNAPSHOT_HEADER_SIZE};
	uint64_t n, left;
	uint32_t stated;
	ssize_t got = vfs_read_at(r->vfs, r->fd, piece, SNAPSHOT_INDEX_HEAD_SIZE, at);
	if (got < (ssize_t)SNAPSHOT_INDEX_HEAD_SIZE)
		return got < 0 ? HEARTH_IO : HEARTH_DAMAGED;
	if (!snapshot_get_index_head(piece, len, r->header.salt, &n, &stated, &sum.crc) ||
	    n != r->footer.blocks)
		return HEARTH_DAMAGED;
	at += SNAPSHOT_INDEX_HEAD_SIZE;
	for (left = n; left > 0;) {
		size_t entries = left < INDEX_PIECE ? (size_t)left : INDEX_PIECE;
		size_t bytes = entries * SNAPSHOT_INDEX_ENTRY;
		got = vfs_read_at(r->vfs, r->fd, piece, bytes, at);
		if (got < 0)
			return HEARTH_IO;
		if ((size_t)got < bytes || !add_entries(&sum, piece, entries))
			return HEARTH_DAMAGED;
		at += bytes;
		left -= entries;
	}
	bool holds = sum.crc == stated && sum.at == r->footer.index_offset && sum.items == r->footer.items &&
	             sum.raw == r->footer.raw_bytes;
	return holds ? HEARTH_OK : HEARTH_DAMAGED;
}

static enum hearth_status read_index(struct snapshot_reader *r, struct hearth_error *ret_err)
{
	uint64_t at = r->footer.index_offset, end = r->size - SNAPSHOT_FOOTER_SIZE;
	if (r->footer.blocks > SNAPSHOT_BLOCKS_MAX || at > end ||
	    end - at != SNAPSHOT_INDEX_HEAD_SIZE + r->footer.blocks * SNAPSHOT_INDEX_ENTRY)
		return fail(r, HEARTH_DAMAGED, end, "snapshot footer is impossible", ret_err);
	enum hearth_status status = sum_index(r, at, end - at);
	if (status == HEARTH_IO)
		return fail(r, status, at, "cannot read the index", ret_err);
	if (status != HEARTH_OK)
		return fail(r, status, at, "snapshot index does not verify", ret_err);
	r->n_blocks = (size_t)r->footer.blocks;
	return HEARTH_OK;
}

/* The blocks by index, else by walking; the status says which. */
static enum hearth_status find_blocks(struct snapshot_reader *r, struct hearth_error *ret_err)
{
	enum hearth_status status = read_footer(r, ret_err);
	if (status == HEARTH_OK)
		status = read_index(r, ret_err);
	if (status != HEARTH_DAMAGED && status != HEARTH_TORN)
		return status;
	enum hearth_status walked =
	    snapshot_walk(r->vfs, r->fd, r->size, r->header.salt, &r->offsets, &r->n_blocks);
	if (walked == HEARTH_IO || walked == HEARTH_NOMEM)
		return fail(r, walked, 0, "cannot search the snapshot", ret_err);
	/* No footer, and all up to the end is whole: a file that was cut off. */
	if (!r->footer_good && walked == HEARTH_TORN)
		return fail(r, HEARTH_TORN, r->size, "file ends before the footer", ret_err);
	return status;
}

enum hearth_status snapshot_open(struct snapshot_reader **ret_reader, const struct vfs *vfs, int dirfd,
    const char *name, const uint8_t *lineage, struct hearth_error *ret_err)
{
	*ret_reader = NULL;
	struct snapshot_reader *r = calloc(1, sizeof(*r));
	if (r == NULL)
		return hearth_fail(ret_err, HEARTH_NOMEM, name, 0, "no memory for a snapshot reader");
	r->magic = READER_MAGIC;
	r->vfs = vfs ? vfs : vfs_posix();
	strncpy(r->name, name, sizeof(r->name) - 1);
	r->fd = vfs_open(r->vfs, dirfd, name, O_RDONLY);
	enum hearth_status status;
	struct stat st;
	if (r->fd < 0 || r->vfs->fstat(r->vfs->ctx, r->fd, &st) != 0) {
		status = fail(r, HEARTH_IO, 0, "cannot open the snapshot", ret_err);
		goto out;
	}
	r->size = (uint64_t)st.st_size;
	status = read_header(r, lineage, ret_err);
	if (status != HEARTH_OK)
		goto out;
	r->pool = block_pool_open();
	if (r->pool == NULL) {
		status = fail(r, HEARTH_NOMEM, 0, "no memory for a snapshot reader", ret_err);
		goto out;
	}
	status = find_blocks(r, ret_err);
	if (status == HEARTH_OK || status == HEARTH_DAMAGED || status == HEARTH_TORN) {
		*ret_reader = r;
		return status;
	}
out:
	snapshot_close(&r);
	return status;
}

void snapshot_close(struct snapshot_reader **reader)
{
	struct snapshot_reader *r = *reader;
	if (r == NULL)
		return;
	CHECK_MAGIC(r, READER_MAGIC);
	if (r->fd >= 0)
		r->vfs->close(r->vfs->ctx, r->fd);
	block_pool_close(&r->pool);
	free(r->offsets);
	r->magic = 0;
	free(r);
	*reader = NULL;
}

const struct snapshot_header *snapshot_get_header(const struct snapshot_reader *reader)
{
	CHECK_MAGIC(reader, READER_MAGIC);
	return &reader->header;
}

const struct snapshot_footer *snapshot_get_footer(const struct snapshot_reader *reader)
{
	CHECK_MAGIC(reader, READER_MAGIC);
	return reader->footer_good ? &reader->footer : NULL;
}

uint64_t snapshot_size(const struct snapshot_reader *reader)
{
	CHECK_MAGIC(reader, READER_MAGIC);
	return reader->size;
}

int snapshot_get_fd(const struct snapshot_reader *reader)
{
	CHECK_MAGIC(reader, READER_MAGIC);
	return reader->fd;
}

size_t snapshot_blocks(const struct snapshot_reader *reader)
{
	CHECK_MAGIC(reader, READER_MAGIC);
	return reader->n_blocks;
}

/* Where the index said so when it was verified; looked at again, for the file may have changed since. */
static enum hearth_status get_indexed(const struct snapshot_reader *r, size_t i, struct snapshot_block *ret_b)
{
	uint8_t entry[SNAPSHOT_INDEX_ENTRY];
	uint64_t at = r->footer.index_offset + SNAPSHOT_INDEX_HEAD_SIZE + (uint64_t)i * SNAPSHOT_INDEX_ENTRY;
	ssize_t n = vfs_read_at(r->vfs, r->fd, entry, sizeof(entry), at);
	if (n < 0)
		return HEARTH_IO;
	bool good =
	    n == (ssize_t)sizeof(entry) && snapshot_get_index_entry(entry, ret_b) && ret_b->offset < r->size;
	return good ? HEARTH_OK : HEARTH_DAMAGED;
}

static enum hearth_status get_found(const struct snapshot_reader *r, size_t i, struct snapshot_block *ret_b)
{
	uint8_t head[SNAPSHOT_BLOCK_SIZE];
	uint64_t ordinal;
	ssize_t n = vfs_read_at(r->vfs, r->fd, head, sizeof(head), r->offsets[i]);
	if (n < 0)
		return HEARTH_IO;
	return n == (ssize_t)sizeof(head)
	           ? snapshot_get_block_frame(head, r->offsets[i], r->header.salt, ret_b, &ordinal)
	           : HEARTH_DAMAGED;
}

static enum hearth_status get_block(const struct snapshot_reader *r, size_t i, struct snapshot_block *ret_b)
{
	CHECK(i < r->n_blocks);
	enum hearth_status status = r->offsets ? get_found(r, i, ret_b) : get_indexed(r, i, ret_b);
	if (status != HEARTH_OK)
		*ret_b = (struct snapshot_block){0};
	return status;
}

struct snapshot_block snapshot_get_block(const struct snapshot_reader *reader, size_t i)
{
	CHECK_MAGIC(reader, READER_MAGIC);
	struct snapshot_block b;
	get_block(reader, i, &b);
	return b;
}

static bool grow(uint8_t **buf, size_t *buf_size, size_t want)
{
	if (*buf != NULL && *buf_size >= want)
		return true;
	uint8_t *bigger = malloc(want);
	if (bigger == NULL)
		return false;
	free(*buf);
	*buf = bigger;
	*buf_size = want;
	return true;
}

enum hearth_status snapshot_load(const struct snapshot_reader *r, size_t i, uint8_t **buf, size_t *buf_size,
    const uint8_t **ret_records, size_t *ret_len, struct hearth_error *ret_err)
{
	CHECK_MAGIC(r, READER_MAGIC);
	struct snapshot_block block, *b = &block;
	enum hearth_status status = get_block(r, i, b);
	size_t stored = b->stored_len;
	*ret_records = NULL;
	*ret_len = 0;
	if (status != HEARTH_OK)
		return fail(r, status, 0, "index cannot be read", ret_err);
	if (!grow(buf, buf_size, stored))
		return fail(r, HEARTH_NOMEM, b->offset, "no memory for a block", ret_err);
	ssize_t n = vfs_read_at(r->vfs, r->fd, *buf, stored, b->offset + SNAPSHOT_BLOCK_SIZE);
	if (n < 0)
		return fail(r, HEARTH_IO, b->offset, "cannot read a block", ret_err);
	if ((size_t)n < stored)
		return fail(r, HEARTH_TORN, b->offset, "file ends inside a block", ret_err);
	if (snapshot_data_crc(r->header.salt, *buf, stored) != b->crc)
		return fail(r, HEARTH_DAMAGED, b->offset, "block checksum does not match", ret_err);
	if (!block_frame_holds(*buf, stored, b->raw_len))
		return fail(r, HEARTH_DAMAGED, b->offset, "block does not unpack", ret_err);
	if (*buf_size < stored + b->raw_len) {
		uint8_t *both = realloc(*buf, stored + b->raw_len);
		if (both == NULL)
			return fail(r, HEARTH_NOMEM, b->offset, "no memory for a block", ret_err);
		*buf = both;
		*buf_size = stored + b->raw_len;
	}
	status = block_unpack_frame(r->pool, *buf, stored, *buf + stored, b->raw_len);
	if (status != HEARTH_OK)
		return fail(r, status, b->offset, "block does not unpack", ret_err);
	*ret_records = *buf + stored;
	*ret_len = b->raw_len;
	return HEARTH_OK;
}

/* The CRC of a block's stored bytes, of which the first piece stays in `buf`. */
static enum hearth_status verify_stored(
    const struct snapshot_reader *r, const struct snapshot_block *b, uint8_t *buf, uint8_t *rest)
{
	uint64_t at = b->offset + SNAPSHOT_BLOCK_SIZE;
	uint32_t crc = snapshot_data_crc(r->header.salt, NULL, 0);
	for (size_t left = b->stored_len; left > 0; buf = rest) {
		size_t len = left < HEAD_PIECE ? left : HEAD_PIECE;
		ssize_t n = vfs_read_at(r->vfs, r->fd, buf, len, at);
		if (n < (ssize_t)len)
			return n < 0 ? HEARTH_IO : HEARTH_TORN;
		crc = crc32c(crc, buf, len);
		at += len;
		left -= len;
	}
	return crc == b->crc ? HEARTH_OK : HEARTH_DAMAGED;
}

enum hearth_status snapshot_load_head(const struct snapshot_reader *r, size_t i,
    uint8_t head[RECORD_OVERHEAD_MAX], struct record *ret_record, struct hearth_error *ret_err)
{
	CHECK_MAGIC(r, READER_MAGIC);
	struct snapshot_block b;
	enum hearth_status status = get_block(r, i, &b);
	size_t first = b.stored_len < HEAD_PIECE ? b.stored_len : HEAD_PIECE;
	if (status == HEARTH_OK && b.raw_len <= SNAPSHOT_PAYLOAD_MAX)
		status = HEARTH_DAMAGED;
	if (status != HEARTH_OK)
		return fail(r, status, b.offset, "index cannot be read", ret_err);
	uint8_t *buf = malloc(2 * HEAD_PIECE);
	if (buf == NULL)
		return fail(r, HEARTH_NOMEM, b.offset, "no memory for a block", ret_err);
	status = verify_stored(r, &b, buf, buf + HEAD_PIECE);
	if (status == HEARTH_OK)
		status = block_unpack_head(buf, first, head, RECORD_OVERHEAD_MAX);
	if (status == HEARTH_OK)
		status = record_decode_head(head, RECORD_OVERHEAD_MAX, b.raw_len, ret_record);
	free(buf);
	bool set = status == HEARTH_OK && ret_record->type == RECORD_SET;
	if (status == HEARTH_OK && (b.items != set || (set && ret_record->seq - 1 >= RECORD_SEQ_MAX)))
		status = HEARTH_DAMAGED;
	return status == HEARTH_OK ? status : fail(r, status, b.offset, "block does not verify", ret_err);
}

/* Records of a block: whole, and as many sets as its head says. */
static enum hearth_status verify_records(const uint8_t *records, size_t len, uint32_t items)
{
	struct snapshot_records walk = snapshot_records(records, len);
	struct record record;
	enum hearth_status status;
	uint64_t sets = 0;
	while ((status = snapshot_next_record(&walk, &record)) == HEARTH_OK)
		sets += record.type == RECORD_SET;
	if (status != HEARTH_END)
		return status;
	return sets == items ? HEARTH_OK : HEARTH_DAMAGED;
}

static enum hearth_status verify_block(
    const struct snapshot_reader *r, size_t i, uint8_t **buf, size_t *buf_size, struct hearth_error *ret_err)
{
	struct snapshot_block block, *b = &block, stated;
	uint8_t head[SNAPSHOT_BLOCK_SIZE];
	uint64_t ordinal;
	enum hearth_status status = get_block(r, i, b);
	if (status != HEARTH_OK)
		return fail(r, status, 0, "index cannot be read", ret_err);
	ssize_t n = vfs_read_at(r->vfs, r->fd, head, sizeof(head), b->offset);
	if (n < 0)
		return fail(r, HEARTH_IO, b->offset, "cannot read a block", ret_err);
	if ((size_t)n < sizeof(head) ||
	    snapshot_get_block_frame(head, b->offset, r->header.salt, &stated, &ordinal) != HEARTH_OK ||
	    ordinal != i || stated.stored_len != b->stored_len || stated.raw_len != b->raw_len ||
	    stated.crc != b->crc || stated.items != b->items || stated.upto != b->upto)
		return fail(r, HEARTH_DAMAGED, b->offset, "block head and index differ", ret_err);
	const uint8_t *records;
	size_t len;
	status = snapshot_load(r, i, buf, buf_size, &records, &len, ret_err);
	if (status != HEARTH_OK)
		return status;
	status = verify_records(records, len, b->items);
	if (status != HEARTH_OK)
		return fail(r, status, b->offset, "records of a block do not decode", ret_err);
	return HEARTH_OK;
}

enum hearth_status snapshot_verify(const struct snapshot_reader *reader, struct hearth_error *ret_err)
{
	CHECK_MAGIC(reader, READER_MAGIC);
	enum hearth_status status = HEARTH_OK;
	uint8_t *buf = NULL;
	size_t buf_size = 0;
	/* Looked at again: what was found when opening is no answer for a file that has changed since. */
	struct snapshot_reader again = *reader;
	struct stat st;
	if (again.vfs->fstat(again.vfs->ctx, again.fd, &st) != 0)
		return fail(reader, HEARTH_IO, 0, "cannot look at the snapshot's size", ret_err);
	again.size = (uint64_t)st.st_size;
	again.offsets = NULL;
	status = read_header(&again, reader->header.lineage, ret_err);
	if (status == HEARTH_OK)
		status = read_footer(&again, ret_err);
	if (status == HEARTH_OK)
		status = read_index(&again, ret_err);
	for (size_t i = 0; status == HEARTH_OK && i < again.n_blocks; i++)
		status = verify_block(&again, i, &buf, &buf_size, ret_err);
	free(buf);
	return status;
}
