/* SPDX-License-Identifier: BSD-3-Clause */
/* files: the data directory while a daemon runs: manifest, creating segments, publishing snapshots, retiring
 * what they make superfluous. One thread at a time calls it: recovery first, then the log's sync thread,
 * which owns all file changes. Every call leaves the manifest on disk in step, or fails and changes nothing
 * that counts. */
#ifndef PERSIST_FILES_H
#define PERSIST_FILES_H

#include <stdbool.h>
#include <stdint.h>
#include <hearth/datadir.h>
#include <hearth/snapshot.h>

/* Numbers given out ahead of a durable mark. */
#define FILES_HIGH_WATER_STEP (UINT64_C(1) << 26)

/* A file's name with ".tmp" behind it. */
#define FILES_NAME_SIZE (DATADIR_NAME_SIZE + 8)

struct files {
	struct datadir *dir;
	struct manifest manifest;
	uint64_t begun;     /* highest segment that has begun since the start */
	unsigned keep;      /* snapshots */
	unsigned keep_days; /* younger ones than this stay, too */
	bool fresh;         /* a new directory */
	bool repaired;      /* one copy of the manifest was bad */
	bool rebuilt;       /* both were */
	uint64_t log_bytes; /* of the segments, as last counted */
};

/* Reads, rebuilds or invents the manifest; writes nothing. Takes over dir on success. */
enum hearth_status files_open(
    struct files *f, struct datadir *dir, unsigned keep, struct hearth_error *ret_err);
void files_close(struct files *f);

/* The name of a file that is being made. */
void files_temporary_name(enum datadir_kind kind, uint64_t number, char ret_name[FILES_NAME_SIZE]);
/* Creates the next segment's file, empty, synced and named in the manifest; first: no lower number will be in
 * it. */
enum hearth_status files_add_segment(struct files *f, uint64_t first, int *ret_fd,
    struct manifest_segment *ret_segment, struct hearth_error *ret_err);
/* The segment has begun with exactly this number (written with the next manifest). */
void files_begin_segment(struct files *f, uint64_t number, uint64_t first);
/* A temporary file for snapshot `number`, which is taken from the manifest's counter. */
enum hearth_status files_add_snapshot(
    struct files *f, uint64_t *ret_number, int *ret_fd, struct hearth_error *ret_err);
/* Renames the synced temporary file, names it in the manifest and retires what is no longer needed. */
enum hearth_status files_publish(
    struct files *f, const struct manifest_snapshot *snapshot, struct hearth_error *ret_err);
/* Marks a published snapshot, durably: a pinned one stays, with the log behind it; one that is unpinned goes with the next
 * that is published. HEARTH_END: there is none of this number. */
enum hearth_status files_pin(struct files *f, uint64_t number, bool pin, struct hearth_error *ret_err);
void files_drop_snapshot(struct files *f, uint64_t number);
/* The oldest segment that only an older snapshot needs and whose number is above `after`: worth packing. With where it ends
 * by its successor's header. False when there is none. */
bool files_next_to_pack(struct files *f, uint64_t after, uint64_t *ret_number, uint64_t *ret_end);
/* Puts the packed copy ("<name>.tmp") in its place. */
enum hearth_status files_packed(struct files *f, uint64_t number, struct hearth_error *ret_err);
/* Raises the durable mark to at least `high`. */
enum hearth_status files_raise_high_water(struct files *f, uint64_t high, struct hearth_error *ret_err);
/* Drops segments from the manifest (they were decided not to be part of the log) without unlinking them now.
 */
void files_forget_segment(struct files *f, uint64_t number);
/* Unlinks what the manifest lists and clears the list. */
enum hearth_status files_sweep(struct files *f, struct hearth_error *ret_err);
enum hearth_status files_write(struct files *f, struct hearth_error *ret_err);
/* What is in the segments becomes durable: a daemon that was killed may have left it in the page cache alone, and what
 * comes behind it must not outlive it. */
enum hearth_status files_sync_segments(struct files *f, struct hearth_error *ret_err);
/* Sizes of the segments. */
uint64_t files_log_bytes(struct files *f);

#endif
