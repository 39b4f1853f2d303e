/* SPDX-License-Identifier: BSD-3-Clause */
/* snapshot_walk: from block to block while heads verify; behind one that does not, the next head that does is
 * searched for byte by byte. A head carries its own offset under a salted CRC, so neither a value that
 * contains one nor a copied stretch of the file passes for one. One thread; reads through one window, each
 * byte once at most. */
#include <stdlib.h>
#include <string.h>
#include "base/bytes.h"
#include "base/vfs.h"
#include "format/snapshot_frame.h"
#include "format/snapshot_walk.h"

#define WINDOW_SIZE (64u * 1024)

struct walk {
	const struct vfs *vfs;
	int fd;
	uint64_t size;
	const uint8_t *salt;
	uint8_t *window;
	uint64_t window_at;
	size_t window_len;
	uint64_t *offsets;
	size_t n, room;
};

/* The bytes from `at` on that are in the window, which is filled from there when they are less than a head.
 * NULL with HEARTH_END when the file has less. */
static enum hearth_status view(struct walk *w, uint64_t at, const uint8_t **ret_p, size_t *ret_len)
{
	uint64_t into = at - w->window_at;
	if (at < w->window_at || into > w->window_len || w->window_len - into < SNAPSHOT_BLOCK_SIZE) {
		if (at > w->size || w->size - at < SNAPSHOT_BLOCK_SIZE)
			return HEARTH_END;
		ssize_t n = vfs_read_at(w->vfs, w->fd, w->window, WINDOW_SIZE, at);
		if (n < 0)
			return HEARTH_IO;
		if (n < SNAPSHOT_BLOCK_SIZE)
			return HEARTH_END;
		w->window_at = at;
		w->window_len = (size_t)n;
		into = 0;
	}
	*ret_p = w->window + into;
	*ret_len = w->window_len - (size_t)into;
	return HEARTH_OK;
}

static enum hearth_status add(struct walk *w, uint64_t offset)
{
	if (w->n == SNAPSHOT_FOUND_MAX)
		return HEARTH_END;
	if (w->n == w->room) {
		size_t room = w->room ? 2 * w->room : 64;
		uint64_t *offsets = reallocarray(w->offsets, room, sizeof(*offsets));
		if (offsets == NULL)
			return HEARTH_NOMEM;
		w->offsets = offsets;
		w->room = room;
	}
	w->offsets[w->n++] = offset;
	return HEARTH_OK;
}

/* A head at p, which is at offset `at`: adds the block and sets *ret_next behind it. HEARTH_DAMAGED when it
 * is none. */
static enum hearth_status take(struct walk *w, const uint8_t *p, uint64_t at, uint64_t *ret_next)
{
	struct snapshot_block b;
	uint64_t ordinal;
	if (snapshot_get_block_frame(p, at, w->salt, &b, &ordinal) != HEARTH_OK)
		return HEARTH_DAMAGED;
	uint64_t len = SNAPSHOT_BLOCK_SIZE + (uint64_t)b.stored_len;
	if (len > w->size - at)
		return HEARTH_END; /* the file was cut off in this block */
	*ret_next = at + len;
	return add(w, at);
}

/* Whether an index begins here that the file ends inside of, or before the footer. */
static bool index_is_cut(const struct walk *w, const uint8_t *p, uint64_t at)
{
	uint64_t len = FRAME_HEAD_SIZE + (uint64_t)bytes_load32(p + 4) + SNAPSHOT_FOOTER_SIZE;
	return bytes_load32(p) == FRAME_INDEX && len > w->size - at;
}

/* From `at` on, the next offset where a block's frame may begin; HEARTH_END when there is none. */
static enum hearth_status search(struct walk *w, uint64_t at, uint64_t *ret_at)
{
	static const uint8_t mark[8] = {0x51, 0x2a, 0x4d, 0x18, SNAPSHOT_BLOCK_SIZE - FRAME_HEAD_SIZE};
	for (;;) {
		const uint8_t *p;
		size_t len;
		enum hearth_status status = view(w, at, &p, &len);
		if (status != HEARTH_OK)
			return status;
		size_t starts = len - SNAPSHOT_BLOCK_SIZE + 1;
		const uint8_t *found = memmem(p, starts + sizeof(mark) - 1, mark, sizeof(mark));
		if (found != NULL) {
			*ret_at = at + (uint64_t)(found - p);
			return HEARTH_OK;
		}
		at += starts;
	}
}

enum hearth_status snapshot_walk(const struct vfs *vfs, int fd, uint64_t size,
    const uint8_t salt[BLOCK_SALT_SIZE], uint64_t **ret_offsets, size_t *ret_n)
{
	struct walk w = {.vfs = vfs, .fd = fd, .size = size, .salt = salt, .window = malloc(WINDOW_SIZE)};
	enum hearth_status status = w.window ? HEARTH_OK : HEARTH_NOMEM;
	uint64_t at = SNAPSHOT_HEADER_SIZE;
	bool gap = false;
	while (status == HEARTH_OK) {
		const uint8_t *p;
		size_t len;
		status = view(&w, at, &p, &len);
		if (status != HEARTH_OK)
			break;
		if (!gap && index_is_cut(&w, p, at))
			break;
		status = take(&w, p, at, &at);
		if (status == HEARTH_DAMAGED) {
			gap = true;
			status = search(&w, at + 1, &at);
		}
	}
	free(w.window);
	if (status != HEARTH_END && status != HEARTH_OK) {
		free(w.offsets);
		return status;
	}
	*ret_offsets = w.offsets;
	*ret_n = w.n;
	return gap ? HEARTH_DAMAGED : HEARTH_TORN;
}
