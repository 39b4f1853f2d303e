/* SPDX-License-Identifier: BSD-3-Clause */
/* datadir: the data directory: its lock, the manifest that says which files are live, and file names. Names carry
 * numbers, never times; nothing is ordered by name or mtime.
 *
 * MANIFEST: two identical copies, each `magic "HEARTHMF" | u32 version | u32 body length | u32 crc | body`, replaced
 * by writing MANIFEST.tmp, fsync, rename, fsync of the directory. The second copy begins at half the file's size.
 * One thread at a time uses a datadir; readers (the tool) open it without the lock. */
#ifndef HEARTH_DATADIR_H
#define HEARTH_DATADIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <hearth/segment.h>
#include <hearth/status.h>

#define DATADIR_VERSION   1
#define DATADIR_MANIFEST  "MANIFEST"
#define DATADIR_SET_ASIDE "set-aside"
#define DATADIR_ADMIN     "admin.sock"
#define DATADIR_RESERVE   "reserve" /* room for a manifest on a full disk */
#define DATADIR_UNSYNCED \
	"unsynced" /* a sync of the log has failed: what is read of it may not be on the disk */
/* A text that a backup begins with: a directory with it and without MANIFEST is a backup that was not finished. */
#define DATADIR_BACKUP    "BACKUP"
#define DATADIR_NAME_SIZE 32

enum datadir_kind { DATADIR_LOG, DATADIR_SNAPSHOT };

struct manifest_segment {
	uint64_t number;
	uint64_t first; /* no record in it has a lower number */
	bool begun;     /* first is known to be exact; not on disk */
	uint64_t generation;
	uint8_t salt[BLOCK_SALT_SIZE];
};

struct manifest_snapshot {
	uint64_t number;
	uint64_t start; /* S0 */
	uint64_t end;
	uint64_t generation;
	uint64_t bytes;
	int64_t wall_ms;
	bool pinned; /* kept whatever --keep says */
};

struct manifest_unlink {
	enum datadir_kind kind;
	uint64_t number;
};

struct manifest {
	struct hearth_features features;
	uint8_t lineage[HEARTH_ID_SIZE];
	uint64_t generation;
	uint64_t term;
	uint64_t next_segment; /* numbers never come twice */
	uint64_t next_snapshot;
	uint64_t high_water; /* no sequence number beyond this was given out */
	bool untrusted;      /* the generation on disk has a hole: automatic recovery must not use it */
	bool clean;          /* the last daemon stopped in order: last_seq below is exact */
	uint64_t last_seq;
	/* Oldest first. Arrays are the manifest's, freed by manifest_free. */
	struct manifest_segment *segments;
	size_t n_segments;
	struct manifest_snapshot *snapshots;
	size_t n_snapshots;
	struct manifest_unlink *unlinks;
	size_t n_unlinks;
};

void manifest_free(struct manifest *m);
/* Appends to the arrays; false when memory is short. */
bool manifest_add_segment(struct manifest *m, const struct manifest_segment *s);
bool manifest_add_snapshot(struct manifest *m, const struct manifest_snapshot *s);
bool manifest_add_unlink(struct manifest *m, enum datadir_kind kind, uint64_t number);

struct datadir;

/* Opens an existing directory by path. lock: take the exclusive flock on the directory (HEARTH_BUSY when held; the
 * holder's pid, where known, in *ret_pid, may be NULL). create: make it (0700) when missing. Changes nothing else. */
enum hearth_status datadir_open(struct datadir **ret_dir, const struct vfs *vfs, const char *path,
    bool create, bool lock, int *ret_pid, struct hearth_error *ret_err);
void datadir_close(struct datadir **dir);
int datadir_fd(const struct datadir *dir);
const struct vfs *datadir_vfs(const struct datadir *dir);
/* From now on its files are reached through this one, which works on that of datadir_open and lives as long as dir. */
void datadir_set_vfs(struct datadir *dir, const struct vfs *vfs);
const char *datadir_path(const struct datadir *dir);

/* "log-0000000001", "snapshot-0000000001" (ten digits or more). */
void datadir_name(enum datadir_kind kind, uint64_t number, char ret_name[DATADIR_NAME_SIZE]);
/* The number in such a name; false for any other name. */
bool datadir_parse_name(const char *name, enum datadir_kind *ret_kind, uint64_t *ret_number);

/* Reads MANIFEST. HEARTH_OK: one copy or both verify (*ret_repaired true when one was bad). HEARTH_END: there is no
 * manifest, and no Hearth file but empty segments: a new directory, or one whose first start was cut short.
 * HEARTH_DAMAGED: files but no valid manifest: rebuild. HEARTH_NEWER, HEARTH_FOREIGN (no manifest, and files that are
 * not ours), HEARTH_IO. */
enum hearth_status datadir_read_manifest(
    struct datadir *dir, struct manifest *ret_m, bool *ret_repaired, struct hearth_error *ret_err);
/* Replaces it durably. */
enum hearth_status datadir_write_manifest(
    struct datadir *dir, const struct manifest *m, struct hearth_error *ret_err);
/* The bytes of a MANIFEST, for who writes it elsewhere: malloc'ed, the caller frees. NULL when memory is short or the
 * lists are too long. */
uint8_t *datadir_manifest_image(const struct manifest *m, size_t *ret_len);
/* Rebuilds what MANIFEST said from the headers of the files that are there, by chain, not by name or time: the
 * lineage is that of the newest snapshot or segment that verifies. Writes nothing. */
enum hearth_status datadir_rebuild_manifest(
    struct datadir *dir, struct manifest *ret_m, struct hearth_error *ret_err);
/* Segments that chain to the last one the manifest names, of its lineage and generation, but that it does not name
 * yet: appended to m. */
enum hearth_status datadir_adopt_segments(
    struct datadir *dir, struct manifest *m, struct hearth_error *ret_err);
/* Moves a file of the directory into set-aside/ by hard link or copy (the original stays until it is retired), under
 * a free name "<name>.<n>"; ret_name (96 bytes or more) gets "set-aside/<name>.<n>". */
enum hearth_status datadir_set_aside(
    struct datadir *dir, const char *name, char *ret_name, size_t size, struct hearth_error *ret_err);
/* Removes our own unfinished temporary files (*.tmp). */
enum hearth_status datadir_sweep_temporary(struct datadir *dir, struct hearth_error *ret_err);
/* 16 random bytes. 0, or -1 with errno. */
int datadir_random_id(uint8_t ret_id[HEARTH_ID_SIZE]);
/* The kernel's boot_id, zeros where it has none or does not show it; read through vfs (NULL = the real file system).
 * HEARTH_OK, HEARTH_IO when the attempt failed: taken for another boot, or for this one, the log would be judged wrongly. */
enum hearth_status datadir_boot_id(
    const struct vfs *vfs, uint8_t ret_id[HEARTH_ID_SIZE], struct hearth_error *ret_err);

#endif
