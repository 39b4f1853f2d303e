/* SPDX-License-Identifier: BSD-3-Clause */
/* segment_pack: a segment that is kept only for going back in time, compressed: the same records under the same numbers,
 * blocks merged up to BLOCK_PAYLOAD_MAX and packed by zstd. One thread; no state. Only blocks of the same second are
 * merged: a moment to go back to is named by a block's time. A key block stays a block of its own, and no block reaches
 * across one: else one bad block took a stretch and what describes it. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>
#include <hearth/segment.h>
#include "base/crc32c.h"
#include "base/vfs.h"

#define LEVEL 3
/* From the first to the last block that are merged. */
#define SPAN_MS 1000

struct packer {
	const struct vfs *vfs;
	int fd;
	const char *name;
	ZSTD_CCtx *zstd;
	struct segment_header header;
	struct block_header head; /* of the blocks merged so far */
	uint8_t *raw, *out;
	size_t raw_len, raw_size, out_size;
	int64_t began_ms; /* time of the first of them */
	bool alone;       /* they are a key block */
	uint32_t prev_crc;
	struct hearth_error *err;
};

static enum hearth_status fail(struct packer *p, enum hearth_status status, const char *what)
{
	return hearth_fail(p->err, status, p->name, 0, what);
}

static bool grow(uint8_t **data, size_t *size, size_t want)
{
	if (*size >= want)
		return true;
	uint8_t *more = realloc(*data, want);
	if (!more)
		return false;
	*data = more;
	*size = want;
	return true;
}

/* Writes what was merged as one block; packed only where that makes it smaller. */
static enum hearth_status flush(struct packer *p)
{
	if (p->raw_len == 0)
		return HEARTH_OK;
	size_t bound = ZSTD_compressBound(p->raw_len);
	if (!grow(&p->out, &p->out_size, BLOCK_HEADER_SIZE + bound))
		return fail(p, HEARTH_NOMEM, "no memory to pack the segment");
	size_t n = ZSTD_compressCCtx(p->zstd, p->out + BLOCK_HEADER_SIZE, bound, p->raw, p->raw_len, LEVEL);
	bool smaller = !ZSTD_isError(n) && n < p->raw_len;
	if (!smaller) {
		n = p->raw_len;
		memcpy(p->out + BLOCK_HEADER_SIZE, p->raw, n);
	}
	p->head.stored_len = (uint32_t)n;
	p->head.raw_len = (uint32_t)p->raw_len;
	p->head.flags = smaller ? BLOCK_ZSTD : 0;
	p->head.prev_crc = p->prev_crc;
	block_encode_header(&p->head, p->header.salt, crc32c(0, p->out + BLOCK_HEADER_SIZE, n), p->out);
	p->prev_crc = p->head.crc;
	p->raw_len = 0;
	if (vfs_write_all(p->vfs, p->fd, p->out, BLOCK_HEADER_SIZE + n) < 0)
		return fail(p, HEARTH_IO, "cannot write the packed segment");
	return HEARTH_OK;
}

static bool is_key_block(const struct segment_block *b)
{
	return b->payload_len > 0 && b->payload[0] == RECORD_KEY_BLOCK;
}

/* The merged block is as late, as durable and as flushed as its last part. */
static enum hearth_status add(struct packer *p, const struct segment_block *b)
{
	bool later = b->head.time_ms - p->began_ms > SPAN_MS, alone = is_key_block(b);
	if (p->raw_len && (later || alone || p->alone || p->raw_len + b->payload_len > BLOCK_PAYLOAD_MAX)) {
		enum hearth_status status = flush(p);
		if (status != HEARTH_OK)
			return status;
	}
	if (!grow(&p->raw, &p->raw_size, p->raw_len + b->payload_len))
		return fail(p, HEARTH_NOMEM, "no memory to pack the segment");
	if (p->raw_len == 0) {
		p->head = b->head;
		p->began_ms = b->head.time_ms;
	} else {
		p->head.count += b->head.count;
		p->head.time_ms = b->head.time_ms;
		p->head.durable = b->head.durable;
		p->head.flush_due = b->head.flush_due;
	}
	/* One that only tells the time is empty, and there may be no room yet. */
	if (b->payload_len > 0)
		memcpy(p->raw + p->raw_len, b->payload, b->payload_len);
	p->raw_len += b->payload_len;
	p->alone = alone;
	return HEARTH_OK;
}

static enum hearth_status write_header(struct packer *p)
{
	uint8_t out[SEGMENT_HEADER_SIZE];
	p->header.features.compatible |= SEGMENT_PACKED;
	segment_encode_header(&p->header, out);
	p->prev_crc = p->header.crc;
	if (vfs_write_all(p->vfs, p->fd, out, sizeof(out)) < 0)
		return fail(p, HEARTH_IO, "cannot write the packed segment");
	return HEARTH_OK;
}

static enum hearth_status copy(struct packer *p, struct segment_reader *reader, uint64_t end)
{
	struct segment_block block;
	enum hearth_status status = write_header(p);
	while (status == HEARTH_OK && segment_offset(reader) < end) {
		status = segment_next(reader, &block, p->err);
		if (status == HEARTH_OK)
			status = add(p, &block);
	}
	if (status == HEARTH_END)
		status = HEARTH_OK;
	return status == HEARTH_OK ? flush(p) : status;
}

enum hearth_status segment_pack(const struct vfs *vfs, int dirfd, const char *from, const char *to,
    uint64_t end, struct hearth_error *ret_err)
{
	struct packer p = {.vfs = vfs ? vfs : vfs_posix(), .fd = -1, .name = to, .err = ret_err};
	struct segment_reader *reader = NULL;
	enum hearth_status status = segment_open(&reader, p.vfs, dirfd, from, NULL, ret_err);
	if (status != HEARTH_OK)
		return status;
	p.header = *segment_get_header(reader);
	if (p.header.features.compatible & SEGMENT_PACKED) {
		status = HEARTH_END;
		goto out;
	}
	p.zstd = ZSTD_createCCtx();
	if (!p.zstd) {
		status = fail(&p, HEARTH_NOMEM, "no memory to pack the segment");
		goto out;
	}
	p.fd = vfs_open(p.vfs, dirfd, to, O_WRONLY | O_CREAT | O_EXCL);
	if (p.fd < 0) {
		status = fail(&p, HEARTH_IO, "cannot create the packed segment");
		goto out;
	}
	status = copy(&p, reader, end);
	if (status == HEARTH_OK && p.vfs->fsync(p.vfs->ctx, p.fd) < 0)
		status = fail(&p, HEARTH_IO, "fsync of the packed segment failed");
	if (status != HEARTH_OK)
		p.vfs->unlinkat(p.vfs->ctx, dirfd, to);
out:
	if (p.fd >= 0)
		p.vfs->close(p.vfs->ctx, p.fd);
	ZSTD_freeCCtx(p.zstd);
	free(p.raw);
	free(p.out);
	segment_close(&reader);
	return status;
}
