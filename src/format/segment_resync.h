/* SPDX-License-Identifier: BSD-3-Clause */
/* segment_resync: finds the next whole block in a damaged segment. Floor 1 only. */
#ifndef FORMAT_SEGMENT_RESYNC_H
#define FORMAT_SEGMENT_RESYNC_H

#include <stdint.h>
#include <hearth/block.h>
#include <hearth/status.h>

struct vfs;

/* The offset of a block at `from` or behind whose CRC holds under this salt and that ends within `size`: of
 * those that do, the one that ends first. HEARTH_END when there is none, HEARTH_IO, HEARTH_NOMEM. Reads every
 * byte once. */
enum hearth_status segment_find_block(const struct vfs *vfs, int fd, const uint8_t salt[BLOCK_SALT_SIZE],
    uint64_t from, uint64_t size, uint64_t *ret_offset);

#endif
