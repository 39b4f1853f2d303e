/* SPDX-License-Identifier: BSD-3-Clause */
/* target: a data directory in the making, of a new lineage. Files are written under temporary names, synced
 * and renamed; the manifest comes last, so that a directory that was not finished is none. One thread.
 * Failures are reported here. */
#ifndef TOOL_TARGET_H
#define TOOL_TARGET_H

#include <stdbool.h>
#include <hearth/datadir.h>
#include <hearth/snapshot.h>

struct target;

/* Whether a directory may be made or filled at this path: TOOL_OK or TOOL_CANNOT_CREATE after a message.
 * Changes nothing. */
int target_look(const char *path);
/* Makes the directory where it is missing and locks it. high_water: see struct manifest. TOOL_OK,
 * TOOL_CANNOT_CREATE, TOOL_BUSY, ... */
int target_open(struct target **ret_target, const char *path, uint64_t high_water);
/* Undoes all of it unless target_finish succeeded. */
void target_close(struct target **target);

/* The snapshot, before any segment. Lineage, generation, number, salt and high water of the header are filled
 * in. */
int target_snapshot_begin(struct target *t, const struct snapshot_header *header);
int target_snapshot_block(struct target *t, const void *records, size_t len, uint32_t items, uint64_t upto);
int target_snapshot_end(struct target *t, const struct snapshot_footer *footer);

/* A segment. Of the header only first, flush_due and hearth_ms count. */
int target_segment_begin(struct target *t, const struct segment_header *header);
/* Numbers, times and flush slot are those of `head`; the payload is raw. */
int target_segment_block(
    struct target *t, const struct block_header *head, const uint8_t *payload, size_t len);
int target_segment_end(struct target *t);

/* Publishes it, behind a last segment that holds no record and begins above the high water mark: no number that the
 * old directory gave out comes a second time. */
int target_finish(struct target *t, int64_t flush_due, int64_t hearth_ms);
uint64_t target_bytes(const struct target *t);

#endif
