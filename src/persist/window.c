/* SPDX-License-Identifier: BSD-3-Clause */
/* window: see window.h. */
#include "persist/window.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include "base/check.h"
#include "base/crc32c.h"
#include "base/nodump.h"
#include "base/vfs.h"
#include "format/block_crc.h"
#include "persist/parallel.h"

/* Less than this is read by the calling thread alone. */
#define SHARE_MIN ((size_t)1 << 20)

enum hearth_status window_open(
    struct window *w, const struct vfs *vfs, int dirfd, const char *name, uint64_t file)
{
	w->vfs = vfs;
	w->file = file;
	w->len = 0;
	atomic_store(&w->failed, false);
	w->fd = vfs_open(vfs, dirfd, name, O_RDONLY);
	return w->fd < 0 ? HEARTH_IO : HEARTH_OK;
}

void window_close(struct window *w)
{
	if (w->fd >= 0)
		w->vfs->close(w->vfs->ctx, w->fd);
	w->fd = -1;
	w->len = 0;
}

void window_free(struct window *w)
{
	window_close(w);
	nodump_free(w->data, w->size);
	w->data = NULL;
	w->size = 0;
}

static void read_part(void *arg, unsigned i)
{
	struct window *w = arg;
	size_t slice = w->part_len / w->threads + 1, from = slice * i;
	if (from >= w->part_len)
		return;
	size_t len = w->part_len - from < slice ? w->part_len - from : slice;
	from += w->part_from;
	if (vfs_read_at(w->vfs, w->fd, w->data + from, len, w->at + from) != (ssize_t)len)
		atomic_store(&w->failed, true);
}

static bool holds(const struct window *w, uint64_t at, size_t len)
{
	return at >= w->at && at - w->at <= w->len && w->len - (size_t)(at - w->at) >= len;
}

enum hearth_status window_fill(struct window *w, uint64_t at, size_t len)
{
	CHECK(at <= w->file);
	if (len > w->file - at)
		len = (size_t)(w->file - at);
	if (holds(w, at, len))
		return HEARTH_OK;
	size_t want = len > WINDOW_SIZE ? len : WINDOW_SIZE;
	if (w->size < want) {
		uint8_t *data = nodump_alloc(want);
		if (!data)
			return HEARTH_NOMEM;
		nodump_free(w->data, w->size);
		w->data = data;
		w->size = want;
		w->len = 0;
	}
	if (want > w->file - at)
		want = (size_t)(w->file - at);
	/* What is there of it already stays: the block that the last window ended inside. */
	size_t keep = holds(w, at, 0) ? w->len - (size_t)(at - w->at) : 0;
	if (keep)
		memmove(w->data, w->data + (at - w->at), keep);
	w->at = at;
	w->part_from = keep;
	w->part_len = want - keep;
	if (w->part_len < SHARE_MIN) {
		if (vfs_read_at(w->vfs, w->fd, w->data + keep, w->part_len, at + keep) !=
		    (ssize_t)w->part_len)
			atomic_store(&w->failed, true);
	} else {
		parallel_run(w->threads, read_part, w);
	}
	w->len = atomic_load(&w->failed) ? 0 : want;
	return atomic_load(&w->failed) ? HEARTH_IO : HEARTH_OK;
}

const uint8_t *window_bytes(const struct window *w, uint64_t at)
{
	CHECK(holds(w, at, 0));
	return w->data + (at - w->at);
}

/* The CRC of `len` bytes from `at` on, a window at a time. */
static enum hearth_status run_crc(struct window *w, uint64_t at, uint64_t len, uint32_t *ret_crc)
{
	*ret_crc = 0;
	while (len > 0) {
		size_t n = len < WINDOW_SIZE ? (size_t)len : WINDOW_SIZE;
		enum hearth_status status = window_fill(w, at, n);
		if (status != HEARTH_OK)
			return status;
		*ret_crc = crc32c(*ret_crc, window_bytes(w, at), n);
		at += n;
		len -= n;
	}
	return HEARTH_OK;
}

enum hearth_status window_verify(struct window *w, uint64_t at, uint64_t end,
    const uint8_t salt[BLOCK_SALT_SIZE], struct block_header *ret_h)
{
	CHECK(end <= w->file);
	if (at > end || end - at < BLOCK_HEADER_SIZE)
		return HEARTH_TORN;
	enum hearth_status status = window_fill(w, at, BLOCK_HEADER_SIZE);
	if (status == HEARTH_OK)
		status = block_decode_header(window_bytes(w, at), end - at, ret_h);
	if (status != HEARTH_OK)
		return status;
	uint32_t begun = block_crc_begin(window_bytes(w, at), salt), payload;
	status = run_crc(w, at + BLOCK_HEADER_SIZE, ret_h->stored_len, &payload);
	if (status != HEARTH_OK)
		return status;
	return block_crc_end(begun, payload) == ret_h->crc ? HEARTH_OK : HEARTH_DAMAGED;
}
