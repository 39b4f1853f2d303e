/* SPDX-License-Identifier: BSD-3-Clause */
/* block_zstd: one zstd frame to bytes, with contexts kept between calls: making one costs as much as
 * unpacking a small block. Several threads may use one pool at once, no lock. For floor 1 and
 * recovery. */
#ifndef FORMAT_BLOCK_ZSTD_H
#define FORMAT_BLOCK_ZSTD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <hearth/status.h>

struct block_pool;

/* NULL when memory is short. */
struct block_pool *block_pool_open(void);
void block_pool_close(struct block_pool **pool);
/* Unpacks exactly one frame of `len` bytes into exactly `raw_len` bytes. The output is the caller's buffer of
 * the size that a CRC-protected header stated, which is the window too: a hostile frame makes nothing larger.
 * pool may be NULL. HEARTH_OK, HEARTH_DAMAGED, HEARTH_NOMEM. */
enum hearth_status block_unpack_frame(
    struct block_pool *pool, const void *data, size_t len, void *out, size_t raw_len);

/* Whether a frame of `len` bytes says that it holds raw_len bytes, and can: to be asked before so much is allocated. */
bool block_frame_holds(const void *data, size_t len, size_t raw_len);
/* The first `want` bytes of what a frame holds, of which the first `len` bytes are there. Memory is bounded by what
 * Hearth writes: a frame that needs a larger window is damaged. HEARTH_OK, HEARTH_DAMAGED, HEARTH_NOMEM. */
enum hearth_status block_unpack_head(const void *data, size_t len, void *out, size_t want);

#endif
