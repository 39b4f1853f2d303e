/* SPDX-License-Identifier: BSD-3-Clause */
/* window: a part of a segment's file in memory, for recovery. However long the file and whatever the lengths in it
 * claim, no more than WINDOW_SIZE is read at once, unless the caller asks for one block that is known to be whole. One
 * thread calls; reading uses several. */
#ifndef PERSIST_WINDOW_H
#define PERSIST_WINDOW_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <hearth/block.h>

struct vfs;

/* Bytes that are read, verified and then applied at once: what was verified is still in the caches. */
#define WINDOW_SIZE ((size_t)8 << 20)

struct window {
	const struct vfs *vfs;
	int fd;
	unsigned threads;
	uint64_t file; /* bytes of the file */
	uint8_t *data;
	size_t size, len; /* allocated; bytes of the file that are in it */
	uint64_t at;      /* offset of the first */
	size_t part_from, part_len;
	_Atomic bool failed; /* a read failed, or the file was shorter than it had been */
};

/* Opens a segment of `file` bytes; memory of the one before is used again. HEARTH_OK, HEARTH_IO. */
enum hearth_status window_open(
    struct window *w, const struct vfs *vfs, int dirfd, const char *name, uint64_t file);
void window_close(struct window *w); /* the file alone */
void window_free(struct window *w);
/* Brings `len` bytes from `at` on into memory, or what the file has of them. HEARTH_OK, HEARTH_IO, HEARTH_NOMEM. */
enum hearth_status window_fill(struct window *w, uint64_t at, size_t len);
/* The bytes at an offset that a fill has covered. */
const uint8_t *window_bytes(const struct window *w, uint64_t at);
/* Whether a block at `at` that ends within `end` verifies; read in pieces where it is larger than a window. HEARTH_OK
 * with *ret_h; HEARTH_TORN, HEARTH_DAMAGED, HEARTH_IO, HEARTH_NOMEM. */
enum hearth_status window_verify(struct window *w, uint64_t at, uint64_t end,
    const uint8_t salt[BLOCK_SALT_SIZE], struct block_header *ret_h);

#endif
