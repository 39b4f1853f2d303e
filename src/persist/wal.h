/* SPDX-License-Identifier: BSD-3-Clause */
/* wal: the log while a daemon runs. Two threads of its own: the log thread takes records from the ring, makes
 * blocks and writes them, many in one call; the sync thread makes them durable by the policy, and owns all
 * changes of files: segments made ahead, manifest, snapshots published, files retired. No worker ever calls
 * write or fsync.
 *
 * Numbers: written = replies survive kill -9; durable = they survive a power cut. Any thread may read them.
 *
 * When the disk fails (heal.c, src/README.md): the segment that failed is never touched again. The log goes on in the
 * segment made ahead, whose first bytes are allocated: the reserve, for invalidations only. When that fails too, the
 * generation on disk is marked as not to be trusted, and there is no log until a snapshot of a new one is published. */
#ifndef PERSIST_WAL_H
#define PERSIST_WAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/clock.h"
#include "persist/files.h"
#include "persist/ring.h"

struct wal;

enum wal_fsync { WAL_ALWAYS, WAL_EVERYSEC, WAL_OS };

enum wal_state {
	WAL_HEALTHY,
	WAL_RESERVE,   /* the log goes on without a hole, for invalidations; changes are refused */
	WAL_STOPPED,   /* the log ended where it is whole; the first invalidation makes it untrusted */
	WAL_UNTRUSTED, /* the mark on disk says that its generation has a hole; nothing is logged */
	WAL_HEALING,   /* the same mark, but a new generation is logged, and its snapshot under way */
	WAL_LOST,      /* neither a log nor the mark: what is said about a change would be a lie */
	WAL_STATES
};
/* "healthy", ...; static. */
const char *wal_state_name(enum wal_state state);

struct wal_options {
	enum wal_fsync fsync;
	bool serve;             /* changes go on in memory while there is no log, instead of being refused */
	uint64_t segment_bytes; /* a segment is left once it is larger; 0 = the default, 64 MiB */
	size_t ring_bytes;
	const struct clock *clock;
	/* What values may be packed with, or NULL. Each segment has all of them before its first record that was made when
	 * they were there, so a dictionary is to be in the set before a record that needs it is in the ring. */
	const struct dict_set *dicts;
	/* Numbers have moved, or room is back: wal -> server. */
	void (*progress)(void *arg);
	void *progress_arg;
	void (*unpin)(void *arg, struct store_pin *pin);
	void *unpin_arg;
	/* Under files->quota: the log nears the bound. Called by its threads, without locks held, once until wal_room_done;
	 * slack as in room.h. */
	void (*near_bound)(void *arg);
	void *near_bound_arg;
	uint64_t slack;
};

/* Where the log goes on: what recovery found. */
struct wal_start {
	uint64_t last_seq; /* numbers go on behind it */
	uint64_t prev_number, prev_end, prev_last;
	uint32_t prev_crc;
	int64_t flush_due;
};

/* Syncs are counted by how long they took: step i, at most that many microseconds; the last one has all longer ones. */
#define WAL_SYNC_STEPS      17
#define WAL_SYNC_STEP_US(i) ((uint64_t)250 << (i))

struct wal_stats {
	uint64_t written, durable, written_bytes, writes, syncs, last_sync_us, max_sync_us, waits;
	uint64_t sync_us, sync_counts[WAL_SYNC_STEPS]; /* the sum of all */
	uint64_t segments, segment_bytes, log_bytes;
	uint64_t generation, heals, reserve_bytes;
	enum wal_state state;
	int64_t state_ms; /* wall clock of the last change of state */
	char reason[128]; /* of the last change to the worse; empty = none yet */
};

/* Creates and begins a segment behind what recovery found, then starts the threads. files stays the caller's,
 * but only the sync thread uses it until wal_close. */
enum hearth_status wal_open(struct wal **ret_wal, const struct wal_options *options, struct files *files,
    const struct wal_start *start, struct hearth_error *ret_err);
/* Writes and syncs everything, marks the manifest clean, ends the threads. */
enum hearth_status wal_stop(struct wal *wal, struct hearth_error *ret_err);
void wal_close(struct wal **wal);

struct ring *wal_ring(struct wal *wal);
uint64_t wal_written(const struct wal *wal);
uint64_t wal_durable(const struct wal *wal);
/* The number up to which replies may leave under the policy. */
uint64_t wal_published(const struct wal *wal);
/* Another policy from here on; what it was opened with is in the options. Replies that left before keep what they had. */
void wal_set_fsync(struct wal *wal, enum wal_fsync fsync);
/* The same for options.serve. It waits for nothing: the sync thread does what follows from it. */
void wal_set_serve(struct wal *wal, bool serve);
bool wal_serves(const struct wal *wal);
enum wal_state wal_state(const struct wal *wal);
/* Whether there is a log that goes on, for a snapshot to go with. */
bool wal_logs(const struct wal *wal);
/* Changes are refused, invalidations never. */
bool wal_refuses(const struct wal *wal);
/* Raised when numbers that were given out are given up. What waited in an epoch before for a number above wal_lost_from
 * must not be told that it has happened; wal_lost_from is what was published when the epoch was raised last. */
uint64_t wal_epoch(const struct wal *wal);
uint64_t wal_lost_from(const struct wal *wal);
/* True once each time that the disk would be better off with a fresh snapshot. */
bool wal_wants_snapshot(struct wal *wal);
/* Changes are held back while everysec is seconds behind. */
bool wal_held(const struct wal *wal);
/* Changes, but no invalidation, wait until somebody has looked for room. */
bool wal_tight(const struct wal *wal);
/* What a snapshot would take now, for who is to be told that the bound is near. */
void wal_set_snapshot_bytes(struct wal *wal, uint64_t bytes);
/* Somebody else has noticed that the bound is near, and is about to look for room. */
void wal_expect_snapshot(struct wal *wal);
/* Somebody has looked for room. On the sync thread, in a job: what waits goes on if there is some, else changes are refused
 * as on a full disk. */
void wal_room_done(struct wal *wal);
/* Waits until the log is durable up to seq, under every policy. */
enum hearth_status wal_sync(struct wal *wal, uint64_t seq);
/* Begins a new segment; returns when it has, or after a few seconds if the disk is slow. */
void wal_rotate(struct wal *wal);
/* An idle log gets an empty block with the time, so that what has expired stays so. */
void wal_note_time(struct wal *wal);
/* Runs job on the sync thread and waits for it. */
enum hearth_status wal_run(
    struct wal *wal, enum hearth_status (*job)(void *arg, struct files *files), void *arg);
void wal_get_stats(struct wal *wal, struct wal_stats *ret_stats);
/* Log bytes there are behind the mark: where the last published snapshot began. */
uint64_t wal_bytes_since_mark(const struct wal *wal);
uint64_t wal_position(const struct wal *wal);
void wal_mark(struct wal *wal, uint64_t position);

#endif
