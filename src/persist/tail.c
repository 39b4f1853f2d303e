/* SPDX-License-Identifier: BSD-3-Clause */
/* tail: what was written to a segment and is not known to be durable, copied block by block into the segment that takes its
 * place. After an fsync that failed the page cache may say anything: a block counts only when salt, CRC, chain and
 * numbers hold. The sync thread's, while the log thread holds. */
#include "persist/wal_private.h"

#include <fcntl.h>
#include <stdlib.h>
#include "base/crc32c.h"
#include "base/vfs.h"

struct source {
	const struct vfs *vfs;
	const struct wal_segment *segment;
	char name[DATADIR_NAME_SIZE];
	int fd;
	uint64_t at;      /* of the next block */
	uint32_t crc;     /* of the one before */
	uint8_t *payload; /* of the one that was read */
	size_t size;
};

static enum hearth_status bad(const struct source *s, struct hearth_error *ret_err)
{
	return hearth_fail(ret_err, HEARTH_DAMAGED, s->name, s->at, "what was written does not verify");
}

/* The block at s->at, which must begin with the number behind `last`. */
static enum hearth_status read_block(
    struct source *s, uint64_t last, struct block_header *ret_h, struct hearth_error *ret_err)
{
	uint8_t head[BLOCK_HEADER_SIZE];
	uint64_t left = s->segment->written.end - s->at;
	if (left < sizeof(head) ||
	    vfs_read_at(s->vfs, s->fd, head, sizeof(head), s->at) != (ssize_t)sizeof(head) ||
	    block_decode_header(head, left, ret_h) != HEARTH_OK)
		return bad(s, ret_err);
	if (s->size < ret_h->stored_len) {
		uint8_t *payload = realloc(s->payload, ret_h->stored_len);
		if (!payload)
			return hearth_fail(
			    ret_err, HEARTH_NOMEM, s->name, s->at, "no memory to copy the block");
		s->payload = payload;
		s->size = ret_h->stored_len;
	}
	ssize_t n = vfs_read_at(s->vfs, s->fd, s->payload, ret_h->stored_len, s->at + sizeof(head));
	if (n != (ssize_t)ret_h->stored_len ||
	    block_verify(head, s->segment->salt, s->payload, ret_h->stored_len) != HEARTH_OK ||
	    ret_h->prev_crc != s->crc || ret_h->first != last + 1)
		return bad(s, ret_err);
	s->at += sizeof(head) + (uint64_t)ret_h->stored_len;
	s->crc = ret_h->crc;
	return HEARTH_OK;
}

static enum hearth_status write_block(struct wal *wal, const struct source *s, struct block_header *h,
    const struct wal_segment *to, int fd, struct wal_place *place, struct hearth_error *ret_err)
{
	uint8_t head[BLOCK_HEADER_SIZE];
	h->prev_crc = place->crc;
	h->durable = wal_claim(wal);
	block_encode_header(h, to->salt, crc32c(0, s->payload, h->stored_len), head);
	struct iovec iov[] = {{head, sizeof(head)}, {s->payload, h->stored_len}};
	if (vfs_writev_all(s->vfs, fd, iov, 2) < 0) {
		char name[DATADIR_NAME_SIZE];
		datadir_name(DATADIR_LOG, to->number, name);
		return hearth_fail(ret_err, HEARTH_IO, name, place->end, "cannot write to the log");
	}
	place->end += sizeof(head) + (uint64_t)h->stored_len;
	place->last = h->first + h->count - 1;
	place->crc = h->crc;
	place->flush_due = h->flush_due;
	return HEARTH_OK;
}

enum hearth_status tail_copy(struct wal *wal, const struct wal_segment *from, const struct wal_segment *to,
    int fd, struct wal_place *place, struct hearth_error *ret_err)
{
	struct datadir *dir = wal->files->dir;
	struct source s = {
	    .vfs = datadir_vfs(dir), .segment = from, .at = from->durable.end, .crc = from->durable.crc};
	enum hearth_status status = HEARTH_OK;
	datadir_name(DATADIR_LOG, from->number, s.name);
	s.fd = vfs_open(s.vfs, datadir_fd(dir), s.name, O_RDONLY);
	if (s.fd < 0)
		return hearth_fail(ret_err, HEARTH_IO, s.name, 0, "cannot open the segment");
	if (s.at == 0 && from->written.end > 0) {
		/* Not even the header is known to be there. It is not copied, but the first block names it. */
		uint8_t head[SEGMENT_HEADER_SIZE];
		struct segment_header h;
		bool ok = vfs_read_at(s.vfs, s.fd, head, sizeof(head), 0) == (ssize_t)sizeof(head) &&
		          segment_decode_header(head, sizeof(head), &h) == HEARTH_OK &&
		          h.number == from->number;
		status = ok ? HEARTH_OK : bad(&s, ret_err);
		s.at = SEGMENT_HEADER_SIZE;
		s.crc = h.crc;
	}
	while (status == HEARTH_OK && s.at < from->written.end) {
		struct block_header h;
		status = read_block(&s, place->last, &h, ret_err);
		if (status == HEARTH_OK)
			status = write_block(wal, &s, &h, to, fd, place, ret_err);
	}
	if (status == HEARTH_OK && (place->last != from->written.last || s.crc != from->written.crc))
		status = bad(&s, ret_err);
	s.vfs->close(s.vfs->ctx, s.fd);
	free(s.payload);
	return status;
}
