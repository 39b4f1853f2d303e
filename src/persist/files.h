/* SPDX-License-Identifier: BSD-3-Clause */
/* files: the data directory while a daemon runs: manifest, creating segments, publishing snapshots, retiring
 * what they make superfluous. One thread at a time calls it: recovery first, then the log's sync thread,
 * which owns all file changes. Every call leaves the manifest on disk in step, or fails and changes nothing
 * that counts. */
#ifndef PERSIST_FILES_H
#define PERSIST_FILES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <hearth/datadir.h>
#include <hearth/snapshot.h>
#include "persist/quota.h"

/* Numbers given out ahead of a durable mark. */
#define FILES_HIGH_WATER_STEP (UINT64_C(1) << 26)

/* A file's name with ".tmp" behind it. */
#define FILES_NAME_SIZE (DATADIR_NAME_SIZE + 8)

/* A generation that is given up gets no numbers any more for a long time: as many as are given out in memory meanwhile. */
#define FILES_UNTRUSTED_STEP (UINT64_C(1) << 36)

struct files {
	struct datadir *dir;
	struct manifest manifest;
	/* The generation that segments and snapshots are written for now. The manifest's own is the one that a start begins
	 * with; they differ while a generation on disk that is not to be trusted is being replaced. */
	uint64_t generation;
	bool marked;   /* it is certain that the manifest on disk says "untrusted" */
	bool spare;    /* the spare file is there */
	bool in_doubt; /* the last write of the manifest failed: nobody knows which one is there */
	uint64_t next_generation;
	uint64_t begun;        /* highest segment that has begun since the start */
	atomic_uint keep;      /* snapshots; any thread may set it */
	atomic_uint keep_days; /* younger ones than this stay, too; any thread may set it */
	bool fresh;            /* a new directory */
	bool repaired;         /* one copy of the manifest was bad */
	bool rebuilt;          /* both were */
	uint64_t log_bytes;    /* of the segments, as last counted */
	struct quota *quota;   /* the bound on the directory; NULL = there will be none */
	/* Of the kernel, zeros where it has none. Read once: no descriptor may be left for it at a rotation. */
	uint8_t boot_id[HEARTH_ID_SIZE];
};

/* Reads, rebuilds or invents the manifest; writes nothing. Takes over dir on success. */
enum hearth_status files_open(
    struct files *f, struct datadir *dir, unsigned keep, struct hearth_error *ret_err);
void files_close(struct files *f);
/* Bounds the directory from now on, in bytes; 0: not yet, but quota_set_limit may. What is done with its files goes through
 * the quota, which is closed with the files. */
enum hearth_status files_limit(struct files *f, uint64_t bytes, struct hearth_error *ret_err);
/* The quota while there is a bound, else NULL. */
static inline struct quota *files_bound(const struct files *f)
{
	return f->quota && quota_limit(f->quota) ? f->quota : NULL;
}

/* The name of a file that is being made. */
void files_temporary_name(enum datadir_kind kind, uint64_t number, char ret_name[FILES_NAME_SIZE]);
/* Creates the next segment's file, empty, so many bytes allocated where the file system can, synced, and named in the
 * manifest; first: no lower number will be in it. */
enum hearth_status files_add_segment(struct files *f, uint64_t generation, uint64_t first, uint64_t bytes,
    int *ret_fd, struct manifest_segment *ret_segment, struct hearth_error *ret_err);
/* An empty file ("log-N.tmp") that is to take the place of segment `number` as a whole, when it is there: so many bytes
 * allocated. files_replaced: it is written and synced, and takes that place. */
int files_begin_replacement(struct files *f, uint64_t number, uint64_t bytes);
/* What was being made for this number goes, if it is there. */
void files_drop_temporary(struct files *f, enum datadir_kind kind, uint64_t number);
enum hearth_status files_replaced(struct files *f, uint64_t number, struct hearth_error *ret_err);
/* The segment is no part of the log any more: off the list, and to be unlinked with the next sweep. */
void files_drop_segment(struct files *f, uint64_t number);
/* Says durably that the generation on disk must not be used by itself any more, and that numbers up to `high` may have
 * been given out. Gives up the spare file where that helps. */
enum hearth_status files_mark_untrusted(struct files *f, uint64_t high, struct hearth_error *ret_err);
/* The number of a generation that nobody has used. */
uint64_t files_new_generation(struct files *f);
/* At start: files that are marked as not to be trusted are left behind with their generation; written with the next
 * manifest. */
void files_begin_generation(struct files *f);
/* Makes the spare file; HEARTH_IO when there is no room for it. files_free_spare: at start, for those who need the room. */
enum hearth_status files_make_spare(struct files *f, struct hearth_error *ret_err);
void files_free_spare(struct files *f);
/* Whether an errno says that there is no room, rather than that the disk fails. */
bool files_is_full(int error);
/* The segment has begun with exactly this number (written with the next manifest). Told of each, or what lies before it stays
 * until one behind it is told of. */
void files_begin_segment(struct files *f, uint64_t number, uint64_t first);
/* At start: the headers say where those segments have begun that nobody has told of, as recovery reads no generation but one. */
void files_look_at_others(struct files *f);
/* A temporary file for snapshot `number`, which is taken from the manifest's counter. */
enum hearth_status files_add_snapshot(
    struct files *f, uint64_t *ret_number, int *ret_fd, struct hearth_error *ret_err);
/* Renames the synced temporary file, names it in the manifest and retires what is no longer needed. The first one of a
 * new generation makes that the manifest's, which is then to be trusted. HEARTH_BUSY: the generation that it was
 * begun for has been given up meanwhile. */
enum hearth_status files_publish(
    struct files *f, const struct manifest_snapshot *snapshot, struct hearth_error *ret_err);
/* Marks a published snapshot, durably: a pinned one stays, with the log behind it; one that is unpinned goes with the next
 * that is published. HEARTH_END: there is none of this number. */
enum hearth_status files_pin(struct files *f, uint64_t number, bool pin, struct hearth_error *ret_err);
/* For want of room: gives up the oldest snapshot that is neither pinned nor the newest, whatever keep says, with the log that
 * only it needs. Of a generation that is marked as not to be trusted the newest goes, too, and then its log. HEARTH_END: there
 * is nothing to give up. */
enum hearth_status files_give_up(struct files *f, struct hearth_error *ret_err);
/* Gives up all snapshots with a lower number than this that are not pinned, whatever keep says, with the log that only they
 * need, and removes the files. HEARTH_IO: some may be there yet, and go with the next snapshot. */
enum hearth_status files_purge(struct files *f, uint64_t number, struct hearth_error *ret_err);
/* What a snapshot taken now would make superfluous if none but pinned ones were kept: bytes. */
uint64_t files_superfluous(struct files *f);
/* The oldest segment that only an older snapshot needs and whose number is above `after`: worth packing. With where it ends
 * by its successor's header. False when there is none. */
bool files_next_to_pack(struct files *f, uint64_t after, uint64_t *ret_number, uint64_t *ret_end);
/* Puts the packed copy ("<name>.tmp") in its place. HEARTH_END: the segment has been retired meanwhile, and so is its copy. */
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
/* Whether the log goes on behind a snapshot without a gap. What a manifest names does: that is what retiring goes by. Only
 * one that was rebuilt must be held against the headers. */
bool files_reach_back(struct files *f, const struct manifest_snapshot *snapshot);
/* Sizes of the segments. */
uint64_t files_log_bytes(struct files *f);

#endif
