/* SPDX-License-Identifier: BSD-3-Clause */
/* snapshot_frame: the fixed parts of a snapshot file, as writer and reader share them: skippable frames
 * (magic, length, content) with their fields. hearth-snapshot(5) is the reference. Pure; any thread. Floor 1
 * only. */
#ifndef FORMAT_SNAPSHOT_FRAME_H
#define FORMAT_SNAPSHOT_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <hearth/snapshot.h>

/* zstd's skippable frames: magic 0x184D2A50 to 5F, u32 content length, content that every zstd passes over.
 */
#define FRAME_HEAD_SIZE 8
#define FRAME_HEADER    0x184d2a50u
#define FRAME_BLOCK     0x184d2a51u
#define FRAME_INDEX     0x184d2a52u
#define FRAME_FOOTER    0x184d2a53u

/* Whole frames, heads included. */
#define SNAPSHOT_HEADER_SIZE     (FRAME_HEAD_SIZE + 256)
#define SNAPSHOT_BLOCK_SIZE      (FRAME_HEAD_SIZE + 48)
#define SNAPSHOT_INDEX_HEAD_SIZE (FRAME_HEAD_SIZE + 16)
#define SNAPSHOT_INDEX_ENTRY     32
#define SNAPSHOT_FOOTER_SIZE     (FRAME_HEAD_SIZE + 128)
/* A skippable frame's length has 32 bits. */
#define SNAPSHOT_BLOCKS_MAX ((UINT32_MAX - 16) / SNAPSHOT_INDEX_ENTRY)

void snapshot_put_header(const struct snapshot_header *h, uint8_t out[SNAPSHOT_HEADER_SIZE]);
/* HEARTH_OK, HEARTH_TORN (len too small), HEARTH_DAMAGED, HEARTH_NEWER, HEARTH_FOREIGN. */
enum hearth_status snapshot_get_header_frame(const uint8_t *in, size_t len, struct snapshot_header *ret_h);

/* The head of block number i, at b->offset. */
void snapshot_put_block(const struct snapshot_block *b, uint64_t i, const uint8_t salt[BLOCK_SALT_SIZE],
    uint8_t out[SNAPSHOT_BLOCK_SIZE]);
/* The block head at `offset`; HEARTH_DAMAGED unless it verifies under the salt and says it lies there. */
enum hearth_status snapshot_get_block_frame(const uint8_t in[SNAPSHOT_BLOCK_SIZE], uint64_t offset,
    const uint8_t salt[BLOCK_SALT_SIZE], struct snapshot_block *ret_b, uint64_t *ret_i);
/* The CRC of a block's stored bytes. */
uint32_t snapshot_data_crc(const uint8_t salt[BLOCK_SALT_SIZE], const void *data, size_t len);
/* Whether the lengths of a block are possible. */
bool snapshot_block_holds(const struct snapshot_block *b);

/* out: SNAPSHOT_INDEX_HEAD_SIZE + n * SNAPSHOT_INDEX_ENTRY bytes. */
void snapshot_put_index(
    const struct snapshot_block *blocks, size_t n, const uint8_t salt[BLOCK_SALT_SIZE], uint8_t *out);
/* The head of an index frame of `len` bytes in all: how many entries follow, the CRC stated, and the CRC so far, which is
 * to be continued over the entries. False when it is none. */
bool snapshot_get_index_head(const uint8_t in[SNAPSHOT_INDEX_HEAD_SIZE], uint64_t len,
    const uint8_t salt[BLOCK_SALT_SIZE], uint64_t *ret_n, uint32_t *ret_stated, uint32_t *ret_crc);
/* False when the lengths of the block are not possible. */
bool snapshot_get_index_entry(const uint8_t in[SNAPSHOT_INDEX_ENTRY], struct snapshot_block *ret_b);

/* size: of the whole file, footer included. */
void snapshot_put_footer(const struct snapshot_footer *f, uint64_t size, const uint8_t salt[BLOCK_SALT_SIZE],
    uint8_t out[SNAPSHOT_FOOTER_SIZE]);
enum hearth_status snapshot_get_footer_frame(const uint8_t in[SNAPSHOT_FOOTER_SIZE], uint64_t size,
    const uint8_t salt[BLOCK_SALT_SIZE], struct snapshot_footer *ret_f);

#endif
