/* SPDX-License-Identifier: BSD-3-Clause */
/* snapshot_write: makes a snapshot file, front to back, one block at a time. One thread. It owns a zstd
 * context, the buffer for one packed block and the index so far; the descriptor is the caller's. A writer
 * that failed once has an unfinished file and refuses whatever follows: the caller throws the file away. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>
#include "base/check.h"
#include "base/nodump.h"
#include "base/vfs.h"
#include "format/snapshot_frame.h"

#define WRITER_MAGIC 0x534e5057u
#define FILE_TEXT    "snapshot"
#define PIECE        (32u * 1024) /* of a block, between two calls of the pause: about 0.1 ms of packing */

struct snapshot_writer {
	uint32_t magic;
	const struct vfs *vfs;
	int fd;
	bool failed;
	void (*pause)(void *arg);
	void *pause_arg;
	uint8_t salt[BLOCK_SALT_SIZE];
	ZSTD_CCtx *context;
	uint8_t *packed;
	size_t packed_size;
	struct snapshot_block *blocks;
	size_t n_blocks, room_blocks;
	uint64_t bytes;
	uint64_t items;
	uint64_t raw_bytes;
};

static enum hearth_status write_out(struct snapshot_writer *w, const void *head, size_t head_len,
    const void *data, size_t len, struct hearth_error *ret_err)
{
	struct iovec iov[2] = {{.iov_base = (void *)(uintptr_t)head, .iov_len = head_len},
	    {.iov_base = (void *)(uintptr_t)data, .iov_len = len}};
	if (vfs_writev_all(w->vfs, w->fd, iov, 2) != 0) {
		w->failed = true;
		return hearth_fail(ret_err, HEARTH_IO, FILE_TEXT, w->bytes, "cannot write the snapshot");
	}
	w->bytes += head_len + len;
	return HEARTH_OK;
}

enum hearth_status snapshot_writer_open(struct snapshot_writer **ret_w, const struct vfs *vfs, int fd,
    const struct snapshot_header *header, int level, struct hearth_error *ret_err)
{
	*ret_w = NULL;
	struct snapshot_writer *w = calloc(1, sizeof(*w));
	if (w == NULL)
		return hearth_fail(ret_err, HEARTH_NOMEM, FILE_TEXT, 0, "no memory for a snapshot writer");
	w->magic = WRITER_MAGIC;
	w->vfs = vfs ? vfs : vfs_posix();
	w->fd = fd;
	memcpy(w->salt, header->salt, sizeof(w->salt));
	enum hearth_status status;
	w->context = ZSTD_createCCtx();
	if (w->context == NULL ||
	    ZSTD_isError(ZSTD_CCtx_setParameter(w->context, ZSTD_c_compressionLevel, level))) {
		status = hearth_fail(ret_err, HEARTH_NOMEM, FILE_TEXT, 0, "no memory for a snapshot writer");
	} else {
		uint8_t frame[SNAPSHOT_HEADER_SIZE];
		snapshot_put_header(header, frame);
		status = write_out(w, frame, sizeof(frame), NULL, 0, ret_err);
	}
	if (status == HEARTH_OK)
		*ret_w = w;
	else
		snapshot_writer_close(&w);
	return status;
}

void snapshot_writer_pauses(struct snapshot_writer *w, void (*pause)(void *arg), void *arg)
{
	CHECK_MAGIC(w, WRITER_MAGIC);
	w->pause = pause;
	w->pause_arg = arg;
}

void snapshot_writer_close(struct snapshot_writer **writer)
{
	struct snapshot_writer *w = *writer;
	if (w == NULL)
		return;
	CHECK_MAGIC(w, WRITER_MAGIC);
	ZSTD_freeCCtx(w->context);
	nodump_free(w->packed, w->packed_size);
	free(w->blocks);
	w->magic = 0;
	free(w);
	*writer = NULL;
}

uint64_t snapshot_writer_bytes(const struct snapshot_writer *w)
{
	CHECK_MAGIC(w, WRITER_MAGIC);
	return w->bytes;
}

/* Room for one more index entry and for `len` bytes packed. */
static bool make_room(struct snapshot_writer *w, size_t len)
{
	if (w->n_blocks == w->room_blocks) {
		size_t room = w->room_blocks ? 2 * w->room_blocks : 256;
		struct snapshot_block *blocks = reallocarray(w->blocks, room, sizeof(*blocks));
		if (blocks == NULL)
			return false;
		w->blocks = blocks;
		w->room_blocks = room;
	}
	size_t want = ZSTD_compressBound(len);
	if (w->packed_size < want) {
		uint8_t *packed = nodump_alloc(want);
		if (packed == NULL)
			return false;
		nodump_free(w->packed, w->packed_size);
		w->packed = packed;
		w->packed_size = want;
	}
	return true;
}

/* One frame of the whole. A flush ends a block of zstd's behind each piece, which then lies in the frame as it is: packing
 * goes on with all that came before in its window. 0: it failed. */
static size_t pack(struct snapshot_writer *w, const void *records, size_t len)
{
	ZSTD_outBuffer out = {.dst = w->packed, .size = w->packed_size};
	size_t left = ZSTD_CCtx_reset(w->context, ZSTD_reset_session_only);
	if (!ZSTD_isError(left))
		left = ZSTD_CCtx_setPledgedSrcSize(w->context, len); /* the header says it: readers want it */
	for (size_t at = 0; at < len && !ZSTD_isError(left);) {
		size_t n = w->pause && len - at > PIECE ? PIECE : len - at;
		ZSTD_inBuffer in = {.src = (const uint8_t *)records + at, .size = n};
		at += n;
		left = ZSTD_compressStream2(w->context, &out, &in, at < len ? ZSTD_e_flush : ZSTD_e_end);
		CHECK(ZSTD_isError(left) || left == 0); /* there is room for it all */
		if (w->pause)
			w->pause(w->pause_arg);
	}
	return ZSTD_isError(left) ? 0 : out.pos;
}

enum hearth_status snapshot_writer_block(struct snapshot_writer *w, const void *records, size_t len,
    uint32_t items, uint64_t upto, struct hearth_error *ret_err)
{
	CHECK_MAGIC(w, WRITER_MAGIC);
	CHECK(len > 0);
	errno = EIO;
	if (w->failed)
		return hearth_fail(ret_err, HEARTH_IO, FILE_TEXT, w->bytes, "the snapshot has failed before");
	if (len > BLOCK_RAW_MAX || w->n_blocks == SNAPSHOT_BLOCKS_MAX)
		return hearth_fail(ret_err, HEARTH_TOO_LARGE, FILE_TEXT, w->bytes, "block is too large");
	if (!make_room(w, len))
		return hearth_fail(ret_err, HEARTH_NOMEM, FILE_TEXT, w->bytes, "no memory for a block");
	size_t packed = pack(w, records, len);
	if (packed == 0)
		return hearth_fail(ret_err, HEARTH_NOMEM, FILE_TEXT, w->bytes, "cannot pack a block");
	struct snapshot_block b = {.offset = w->bytes,
	    .stored_len = (uint32_t)packed,
	    .raw_len = (uint32_t)len,
	    .crc = snapshot_data_crc(w->salt, w->packed, packed),
	    .items = items,
	    .upto = upto};
	CHECK(snapshot_block_holds(&b));
	uint8_t head[SNAPSHOT_BLOCK_SIZE];
	snapshot_put_block(&b, w->n_blocks, w->salt, head);
	enum hearth_status status = write_out(w, head, sizeof(head), w->packed, packed, ret_err);
	if (status != HEARTH_OK)
		return status;
	w->blocks[w->n_blocks++] = b;
	w->items += items;
	w->raw_bytes += len;
	return HEARTH_OK;
}

enum hearth_status snapshot_writer_finish(
    struct snapshot_writer *w, struct snapshot_footer *footer, struct hearth_error *ret_err)
{
	CHECK_MAGIC(w, WRITER_MAGIC);
	errno = EIO;
	if (w->failed)
		return hearth_fail(ret_err, HEARTH_IO, FILE_TEXT, w->bytes, "the snapshot has failed before");
	size_t size = SNAPSHOT_INDEX_HEAD_SIZE + w->n_blocks * SNAPSHOT_INDEX_ENTRY;
	uint8_t *index = malloc(size);
	if (index == NULL)
		return hearth_fail(ret_err, HEARTH_NOMEM, FILE_TEXT, w->bytes, "no memory for the index");
	snapshot_put_index(w->blocks, w->n_blocks, w->salt, index);
	footer->blocks = w->n_blocks;
	footer->items = w->items;
	footer->raw_bytes = w->raw_bytes;
	footer->index_offset = w->bytes;
	uint8_t frame[SNAPSHOT_FOOTER_SIZE];
	snapshot_put_footer(footer, w->bytes + size + sizeof(frame), w->salt, frame);
	enum hearth_status status = write_out(w, index, size, frame, sizeof(frame), ret_err);
	free(index);
	return status;
}
