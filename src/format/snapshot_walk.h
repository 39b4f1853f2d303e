/* SPDX-License-Identifier: BSD-3-Clause */
/* snapshot_walk: finds the blocks of a snapshot whose index is lost. Floor 1 only. */
#ifndef FORMAT_SNAPSHOT_WALK_H
#define FORMAT_SNAPSHOT_WALK_H

#include <stddef.h>
#include <stdint.h>
#include <hearth/snapshot.h>

struct vfs;

/* The offsets of all blocks whose head verifies and that end within `size`, in file order, none inside another,
 * SNAPSHOT_FOUND_MAX at most; *ret_offsets is malloc'ed, the caller frees it. HEARTH_TORN: they lie back to back from the header on, and after the
 * last one the file just ends. HEARTH_DAMAGED: anything else. HEARTH_IO, HEARTH_NOMEM. What the blocks hold
 * is not looked at. */
enum hearth_status snapshot_walk(const struct vfs *vfs, int fd, uint64_t size,
    const uint8_t salt[BLOCK_SALT_SIZE], uint64_t **ret_offsets, size_t *ret_n);

#endif
