/* SPDX-License-Identifier: BSD-3-Clause */
/* segment: reads a log file block by block. The reader owns its descriptor and one window over the file, into
 * which payloads point; a block larger than the window grows it, never beyond what the file can hold.
 * segment_load touches nothing of the reader that changes, so any thread may call it. Nothing here writes. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include "base/check.h"
#include "base/crc32c.h"
#include "base/vfs.h"
#include <hearth/segment.h>
#include "format/magic.h"
#include "format/block_crc.h"
#include "format/block_zstd.h"

#define READER_MAGIC 0x5345474du
/* Read at once: a block of the usual largest size with its header. */
#define WINDOW_SIZE (BLOCK_PAYLOAD_MAX + 4096u)
/* Read at once for headers alone: small blocks come many to a read, large ones are passed over. */
#define SKIM_SIZE 8192u
#define NAME_SIZE 80

struct segment_reader {
	uint32_t magic;
	const struct vfs *vfs;
	int fd;
	char name[NAME_SIZE];
	struct segment_header header;
	struct block_pool *pool;
	uint64_t size;
	uint64_t offset;
	uint8_t *window;
	size_t window_size; /* allocated */
	size_t window_len;  /* bytes of the file in it */
	uint64_t window_at; /* offset of the first */
	uint8_t *raw;       /* unpacked payload */
	size_t raw_size;
};

/* Whether an all-zero header has something behind it: then it was lost, and is not one that never began. */
static enum hearth_status look_behind_header(struct segment_reader *r)
{
	uint8_t bytes[4096];
	ssize_t n = vfs_read_at(r->vfs, r->fd, bytes, sizeof(bytes), SEGMENT_HEADER_SIZE);
	if (n < 0)
		return HEARTH_IO;
	return bytes_all_zero(bytes, (size_t)n) ? HEARTH_END : HEARTH_DAMAGED;
}

static enum hearth_status read_header(
    struct segment_reader *r, const uint8_t *lineage, struct hearth_error *ret_err)
{
	static const char *const texts[] = {[HEARTH_OK] = "ok",
	    [HEARTH_END] = "segment was made ahead and never began",
	    [HEARTH_TORN] = "file ends inside the segment header"};
	uint8_t bytes[SEGMENT_HEADER_SIZE];
	ssize_t n = vfs_read_at(r->vfs, r->fd, bytes, sizeof(bytes), 0);
	if (n < 0)
		return hearth_fail(ret_err, HEARTH_IO, r->name, 0, "cannot read the segment header");
	enum hearth_status status = segment_decode_header(bytes, (size_t)n, &r->header);
	if (status == HEARTH_END)
		status = look_behind_header(r);
	if (status > 0)
		return hearth_fail(ret_err, status, r->name, 0, texts[status]);
	if (status == HEARTH_IO)
		return hearth_fail(ret_err, status, r->name, SEGMENT_HEADER_SIZE, "cannot read the segment");
	if (status == HEARTH_NEWER)
		return hearth_fail(ret_err, status, r->name, 8, "segment has a newer format");
	if (status == HEARTH_FOREIGN)
		return hearth_fail(ret_err, status, r->name, 0, "not a Hearth segment");
	if (status != HEARTH_OK)
		return hearth_fail(ret_err, status, r->name, 0, "segment header does not verify");
	if (lineage != NULL && memcmp(lineage, r->header.lineage, HEARTH_ID_SIZE) != 0)
		return hearth_fail(
		    ret_err, HEARTH_FOREIGN, r->name, 24, "segment belongs to another data directory");
	return HEARTH_OK;
}

static enum hearth_status look_at_size(struct segment_reader *r, struct hearth_error *ret_err)
{
	struct stat st;
	if (r->vfs->fstat(r->vfs->ctx, r->fd, &st) != 0)
		return hearth_fail(ret_err, HEARTH_IO, r->name, 0, "cannot look at the segment's size");
	r->size = (uint64_t)st.st_size;
	return HEARTH_OK;
}

/* assumed: what its header would say, if that is not to be read. */
static enum hearth_status open_reader(struct segment_reader **ret_reader, const struct vfs *vfs, int dirfd,
    const char *name, const uint8_t *lineage, const struct segment_header *assumed,
    struct hearth_error *ret_err)
{
	*ret_reader = NULL;
	struct segment_reader *r = calloc(1, sizeof(*r));
	if (r == NULL)
		return hearth_fail(ret_err, HEARTH_NOMEM, name, 0, "no memory for a segment reader");
	r->magic = READER_MAGIC;
	r->vfs = vfs ? vfs : vfs_posix();
	r->offset = SEGMENT_HEADER_SIZE;
	strncpy(r->name, name, sizeof(r->name) - 1);
	r->fd = vfs_open(r->vfs, dirfd, name, O_RDONLY);
	enum hearth_status status = HEARTH_OK;
	if (r->fd < 0) {
		status = hearth_fail(ret_err, HEARTH_IO, name, 0, "cannot open the segment");
		goto out;
	}
	status = look_at_size(r, ret_err);
	if (assumed != NULL)
		r->header = *assumed;
	else if (status == HEARTH_OK)
		status = read_header(r, lineage, ret_err);
	if (status != HEARTH_OK)
		goto out;
	r->pool = block_pool_open();
	if (r->pool == NULL)
		status = hearth_fail(ret_err, HEARTH_NOMEM, name, 0, "no memory for a segment reader");
out:
	if (status == HEARTH_OK)
		*ret_reader = r;
	else
		segment_close(&r);
	return status;
}

enum hearth_status segment_open(struct segment_reader **ret_reader, const struct vfs *vfs, int dirfd,
    const char *name, const uint8_t *lineage, struct hearth_error *ret_err)
{
	return open_reader(ret_reader, vfs, dirfd, name, lineage, NULL, ret_err);
}

enum hearth_status segment_open_headless(struct segment_reader **ret_reader, const struct vfs *vfs, int dirfd,
    const char *name, const struct segment_header *assumed, struct hearth_error *ret_err)
{
	return open_reader(ret_reader, vfs, dirfd, name, NULL, assumed, ret_err);
}

void segment_close(struct segment_reader **reader)
{
	struct segment_reader *r = *reader;
	if (r == NULL)
		return;
	CHECK_MAGIC(r, READER_MAGIC);
	if (r->fd >= 0)
		r->vfs->close(r->vfs->ctx, r->fd);
	block_pool_close(&r->pool);
	free(r->window);
	free(r->raw);
	r->magic = 0;
	free(r);
	*reader = NULL;
}

const struct segment_header *segment_get_header(const struct segment_reader *reader)
{
	CHECK_MAGIC(reader, READER_MAGIC);
	return &reader->header;
}

uint64_t segment_size(const struct segment_reader *reader)
{
	CHECK_MAGIC(reader, READER_MAGIC);
	return reader->size;
}

int segment_get_fd(const struct segment_reader *reader)
{
	CHECK_MAGIC(reader, READER_MAGIC);
	return reader->fd;
}

uint64_t segment_offset(const struct segment_reader *reader)
{
	CHECK_MAGIC(reader, READER_MAGIC);
	return reader->offset;
}

void segment_seek(struct segment_reader *reader, uint64_t offset)
{
	CHECK_MAGIC(reader, READER_MAGIC);
	reader->offset = offset;
}

/* Grows a buffer without keeping what is in it. */
static bool make_room(uint8_t **buf, size_t *size, size_t want)
{
	if (*buf != NULL && *size >= want)
		return true;
	uint8_t *bigger = malloc(want ? want : 1);
	if (bigger == NULL)
		return false;
	free(*buf);
	*buf = bigger;
	*size = want;
	return true;
}

/* The window holds `len` bytes from the reader's position on; *ret_p points at them. len is known to be
 * within the file's size; when the window must be filled, `ahead` bytes are read if that is more. HEARTH_TORN
 * when the file turns out shorter. */
static enum hearth_status view(
    struct segment_reader *r, size_t len, size_t ahead, const uint8_t **ret_p, struct hearth_error *ret_err)
{
	uint64_t into = r->offset - r->window_at;
	if (r->offset < r->window_at || into > r->window_len || r->window_len - into < len) {
		size_t want = len > ahead ? len : ahead;
		r->window_len = 0;
		if (!make_room(&r->window, &r->window_size, want))
			return hearth_fail(
			    ret_err, HEARTH_NOMEM, r->name, r->offset, "no memory for a block");
		if (want > r->size - r->offset)
			want = (size_t)(r->size - r->offset);
		ssize_t n = vfs_read_at(r->vfs, r->fd, r->window, want, r->offset);
		if (n < 0)
			return hearth_fail(ret_err, HEARTH_IO, r->name, r->offset, "cannot read a block");
		r->window_at = r->offset;
		r->window_len = (size_t)n;
		into = 0;
		if (r->window_len < len)
			return hearth_fail(
			    ret_err, HEARTH_TORN, r->name, r->offset, "file ends inside a block");
	}
	*ret_p = r->window + into;
	return HEARTH_OK;
}

static enum hearth_status bad_header(
    const struct segment_reader *r, uint64_t offset, const uint8_t *header, struct hearth_error *ret_err)
{
	const char *what = bytes_all_zero(header, BLOCK_HEADER_SIZE) ? "zeros where a block should begin"
	                                                             : "no block where one should begin";
	return hearth_fail(ret_err, HEARTH_DAMAGED, r->name, offset, what);
}

/* The header at the position, in the window. A file that grows is looked at again before it is said to end.
 */
static enum hearth_status next_header(struct segment_reader *r, size_t ahead, const uint8_t **ret_header,
    struct segment_block *ret_block, struct hearth_error *ret_err)
{
	memset(ret_block, 0, sizeof(*ret_block));
	for (bool looked = false;; looked = true) {
		uint64_t left = r->size > r->offset ? r->size - r->offset : 0;
		enum hearth_status status = HEARTH_TORN;
		if (left >= BLOCK_HEADER_SIZE) {
			status = view(r, BLOCK_HEADER_SIZE, ahead, ret_header, ret_err);
			if (status != HEARTH_OK)
				return status;
			status = block_decode_header(*ret_header, left, &ret_block->head);
			if (status == HEARTH_DAMAGED)
				return bad_header(r, r->offset, *ret_header, ret_err);
		}
		if (status == HEARTH_OK)
			break;
		if (looked) {
			if (left == 0)
				return HEARTH_END;
			return hearth_fail(
			    ret_err, HEARTH_TORN, r->name, r->offset, "file ends inside a block");
		}
		status = look_at_size(r, ret_err);
		if (status != HEARTH_OK)
			return status;
	}
	ret_block->offset = r->offset;
	ret_block->end = r->offset + BLOCK_HEADER_SIZE + ret_block->head.stored_len;
	return HEARTH_OK;
}

/* Unpacks the payload of a verified block into `raw`, which has room for raw_len bytes. */
static enum hearth_status unpack(const struct segment_reader *r, const uint8_t *stored, uint8_t *raw,
    struct segment_block *b, struct hearth_error *ret_err)
{
	if (b->head.flags != BLOCK_ZSTD)
		return hearth_fail(ret_err, HEARTH_NEWER, r->name, b->offset, "block has an unknown flag");
	enum hearth_status status =
	    block_unpack_frame(r->pool, stored, b->head.stored_len, raw, b->head.raw_len);
	if (status != HEARTH_OK)
		return hearth_fail(ret_err, status, r->name, b->offset, "block does not unpack");
	b->payload = raw;
	b->payload_len = b->head.raw_len;
	return HEARTH_OK;
}

static const char *large_block_text(enum hearth_status status)
{
	return status == HEARTH_IO     ? "cannot read a block"
	       : status == HEARTH_TORN ? "file ends inside a block"
	                               : "block checksum does not match";
}

/* Whether the block holds, read in pieces: nothing of the size that a header claims is allocated before. */
static enum hearth_status verify_in_pieces(
    const struct segment_reader *r, const uint8_t *header, const struct segment_block *b)
{
	uint8_t piece[16384];
	uint32_t begun = block_crc_begin(header, r->header.salt), crc = 0;
	for (uint64_t at = b->offset + BLOCK_HEADER_SIZE; at < b->end;) {
		size_t len = b->end - at < sizeof(piece) ? (size_t)(b->end - at) : sizeof(piece);
		ssize_t n = vfs_read_at(r->vfs, r->fd, piece, len, at);
		if (n < (ssize_t)len)
			return n < 0 ? HEARTH_IO : HEARTH_TORN;
		crc = crc32c(crc, piece, len);
		at += len;
	}
	return block_crc_end(begun, crc) == b->head.crc ? HEARTH_OK : HEARTH_DAMAGED;
}

static enum hearth_status next_block(
    struct segment_reader *r, struct segment_block *b, struct hearth_error *ret_err)
{
	const uint8_t *p;
	enum hearth_status status = next_header(r, WINDOW_SIZE, &p, b, ret_err);
	if (status != HEARTH_OK)
		return status;
	size_t len = (size_t)(b->end - b->offset);
	if (len > WINDOW_SIZE) {
		status = verify_in_pieces(r, p, b);
		if (status != HEARTH_OK)
			return hearth_fail(ret_err, status, r->name, r->offset, large_block_text(status));
	}
	status = view(r, len, WINDOW_SIZE, &p, ret_err);
	if (status != HEARTH_OK)
		return status;
	status = block_verify(p, r->header.salt, p + BLOCK_HEADER_SIZE, b->head.stored_len);
	if (status != HEARTH_OK)
		return hearth_fail(ret_err, status, r->name, r->offset, "block checksum does not match");
	b->payload = p + BLOCK_HEADER_SIZE;
	b->payload_len = b->head.stored_len;
	if (b->head.flags == 0)
		return HEARTH_OK;
	if (b->head.flags == BLOCK_ZSTD &&
	    !block_frame_holds(b->payload, b->head.stored_len, b->head.raw_len))
		return hearth_fail(ret_err, HEARTH_DAMAGED, r->name, r->offset, "block does not unpack");
	if (!make_room(&r->raw, &r->raw_size, b->head.raw_len))
		return hearth_fail(ret_err, HEARTH_NOMEM, r->name, r->offset, "no memory for a block");
	return unpack(r, b->payload, r->raw, b, ret_err);
}

enum hearth_status segment_next(
    struct segment_reader *reader, struct segment_block *ret_block, struct hearth_error *ret_err)
{
	CHECK_MAGIC(reader, READER_MAGIC);
	enum hearth_status status = next_block(reader, ret_block, ret_err);
	if (status == HEARTH_OK)
		reader->offset = ret_block->end;
	else
		reader->window_len = 0; /* the next try reads the file, not what was read before */
	return status;
}

enum hearth_status segment_skim(
    struct segment_reader *reader, struct segment_block *ret_block, struct hearth_error *ret_err)
{
	CHECK_MAGIC(reader, READER_MAGIC);
	const uint8_t *p;
	enum hearth_status status = next_header(reader, SKIM_SIZE, &p, ret_block, ret_err);
	if (status == HEARTH_OK)
		reader->offset = ret_block->end;
	else
		reader->window_len = 0;
	return status;
}

enum hearth_status segment_resync(struct segment_reader *reader, struct hearth_error *ret_err)
{
	CHECK_MAGIC(reader, READER_MAGIC);
	reader->window_len = 0;
	enum hearth_status status = look_at_size(reader, ret_err);
	if (status != HEARTH_OK)
		return status;
	if (reader->offset >= reader->size)
		return HEARTH_END;
	uint64_t found;
	status = segment_find(
	    reader->vfs, reader->fd, reader->header.salt, reader->offset + 1, reader->size, &found);
	if (status == HEARTH_OK)
		reader->offset = found;
	else if (status != HEARTH_END)
		hearth_fail(ret_err, status, reader->name, reader->offset, "cannot search the segment");
	return status;
}

/* Reads the stored payload of a block whose header is known to fit the file, and verifies both. */
static enum hearth_status load_stored(const struct segment_reader *r, const uint8_t *header, uint8_t **buf,
    size_t *buf_size, const struct segment_block *b, struct hearth_error *ret_err)
{
	size_t len = b->head.stored_len;
	if (!make_room(buf, buf_size, len))
		return hearth_fail(ret_err, HEARTH_NOMEM, r->name, b->offset, "no memory for a block");
	ssize_t n = vfs_read_at(r->vfs, r->fd, *buf, len, b->offset + BLOCK_HEADER_SIZE);
	if (n < 0)
		return hearth_fail(ret_err, HEARTH_IO, r->name, b->offset, "cannot read a block");
	if ((size_t)n < len)
		return hearth_fail(ret_err, HEARTH_TORN, r->name, b->offset, "file ends inside a block");
	if (block_verify(header, r->header.salt, *buf, len) != HEARTH_OK)
		return hearth_fail(
		    ret_err, HEARTH_DAMAGED, r->name, b->offset, "block checksum does not match");
	return HEARTH_OK;
}

enum hearth_status segment_load(const struct segment_reader *reader, uint64_t offset, uint8_t **buf,
    size_t *buf_size, struct segment_block *ret_block, struct hearth_error *ret_err)
{
	CHECK_MAGIC(reader, READER_MAGIC);
	const struct segment_reader *r = reader;
	uint8_t header[BLOCK_HEADER_SIZE];
	struct stat st;
	memset(ret_block, 0, sizeof(*ret_block));
	if (r->vfs->fstat(r->vfs->ctx, r->fd, &st) != 0)
		return hearth_fail(ret_err, HEARTH_IO, r->name, offset, "cannot look at the segment's size");
	if (offset >= (uint64_t)st.st_size)
		return HEARTH_END;
	ssize_t n = vfs_read_at(r->vfs, r->fd, header, sizeof(header), offset);
	if (n < 0)
		return hearth_fail(ret_err, HEARTH_IO, r->name, offset, "cannot read a block");
	enum hearth_status status = HEARTH_TORN;
	if ((size_t)n == sizeof(header))
		status = block_decode_header(header, (uint64_t)st.st_size - offset, &ret_block->head);
	if (status == HEARTH_TORN)
		return hearth_fail(ret_err, status, r->name, offset, "file ends inside a block");
	if (status != HEARTH_OK)
		return bad_header(r, offset, header, ret_err);
	ret_block->offset = offset;
	ret_block->end = offset + BLOCK_HEADER_SIZE + ret_block->head.stored_len;
	status = load_stored(r, header, buf, buf_size, ret_block, ret_err);
	if (status != HEARTH_OK || ret_block->head.flags == 0) {
		ret_block->payload = *buf;
		ret_block->payload_len = ret_block->head.stored_len;
		return status;
	}
	/* Both forms share the caller's buffer, the raw one behind the stored one; only now is raw_len to be
	 * believed. */
	size_t stored = ret_block->head.stored_len, both = stored + ret_block->head.raw_len;
	if (ret_block->head.flags == BLOCK_ZSTD && !block_frame_holds(*buf, stored, ret_block->head.raw_len))
		return hearth_fail(ret_err, HEARTH_DAMAGED, r->name, offset, "block does not unpack");
	if (*buf_size < both) {
		uint8_t *bigger = realloc(*buf, both);
		if (bigger == NULL)
			return hearth_fail(ret_err, HEARTH_NOMEM, r->name, offset, "no memory for a block");
		*buf = bigger;
		*buf_size = both;
	}
	return unpack(r, *buf, *buf + stored, ret_block, ret_err);
}
