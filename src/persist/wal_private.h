/* SPDX-License-Identifier: BSD-3-Clause */
/* wal_private: what the log thread (wal.c) and the sync thread (sync.c, heal.c, tail.c) share. Nobody else
 * includes it. */
#ifndef PERSIST_WAL_PRIVATE_H
#define PERSIST_WAL_PRIVATE_H

#include <pthread.h>
#include "persist/keys.h"
#include "persist/wal.h"

#define WAL_MAGIC     0x57414c20u
#define WAL_SEGMENT   (UINT64_C(64) << 20)
#define WAL_OUT       (1u << 20)  /* one write takes this much */
#define WAL_BLOCK     (16u << 10) /* a block is closed once it has this much: what one flipped bit can cost */
#define WAL_BEHIND_MS 2000        /* everysec: older unsynced bytes hold changes back */

struct wal_job {
	enum hearth_status (*run)(void *arg, struct files *files);
	void *arg;
	enum hearth_status status;
	bool done;
	struct wal_job *next;
};

/* A place between two blocks of a segment, and how the log stands there. */
struct wal_place {
	uint64_t end;  /* offset; 0 = before the header */
	uint64_t last; /* number */
	uint32_t crc;  /* of the block before, or of the header */
	int64_t flush_due;
};

/* A segment being written, left and not yet synced, or made ahead. */
struct wal_segment {
	int fd; /* -1 = none */
	uint64_t number, first;
	uint64_t allocated; /* bytes from the start, also on a disk that is full by now */
	uint8_t salt[BLOCK_SALT_SIZE];
	struct wal_place written; /* what lies behind it is not published, and may be half a block */
	struct wal_place durable;
};

/* What the log thread does with the records. */
enum wal_mode {
	WAL_WRITES,  /* to the current segment */
	WAL_HOLDS,   /* nothing: they stay in the ring until the sync thread has decided */
	WAL_WATCHES, /* nothing, but tells when there is an invalidation among them */
	WAL_DROPS,   /* takes them from the ring and forgets them: there is no log */
};

struct wal {
	uint32_t magic;
	struct wal_options options;
	_Atomic enum wal_fsync fsync; /* the policy now */
	_Atomic bool serve;           /* so is this */
	_Atomic bool try_now;         /* what may help a disk that fails has changed */
	struct files *files;
	struct ring *ring;
	uint64_t limit, reserve; /* bytes after which a segment is left, and that are allocated for it */
	pthread_t log_thread, sync_thread;
	bool log_running, sync_running;

	_Atomic uint64_t published; /* replies up to here may leave */
	_Atomic uint64_t written, durable;
	_Atomic uint64_t epoch, lost_from; /* see wal_epoch */
	_Atomic int state, mode;           /* enum wal_state, wal_mode; changed under the lock */
	_Atomic bool next_ready;           /* next.fd is there */
	_Atomic bool refuses, held, rotate_wanted, stopping, time_wanted, snapshot_wanted;
	_Atomic bool tight, near_told; /* under a quota; see wal_tight, near_bound */
	_Atomic uint64_t snapshot_bytes;
	_Atomic uint64_t written_bytes, writes, syncs, last_sync_us, max_sync_us, waits, mark;
	_Atomic uint64_t sync_us, sync_counts[WAL_SYNC_STEPS];
	_Atomic uint64_t offset;        /* in the current segment */
	_Atomic int64_t unsynced_since; /* clock_mono_us of the oldest byte that is not durable, 0 = none */
	_Atomic int64_t busy_since;     /* clock_mono_us at which the log thread's write began, 0 = none */
	_Atomic uint64_t high_water, segments_begun;
	_Atomic uint64_t log_bytes; /* of the segments left */
	_Atomic uint64_t generation, heals;

	/* Numbers go on behind start_last; start_prev is the last one that the log has. Set once. */
	uint64_t start_last, start_prev;

	/* lock guards what follows, and is the sync thread's condition. */
	pthread_mutex_t lock;
	pthread_cond_t wake; /* for the sync thread */
	pthread_cond_t done; /* for those who wait for it, and for the log thread that holds */
	struct wal_segment current, next;
	struct wal_segment *old; /* segments left, to be synced and closed, oldest first */
	size_t n_old, old_size;
	struct wal_start before; /* where the segment before the oldest of these ends */
	struct wal_job *jobs, **jobs_end;
	uint64_t sync_to; /* somebody waits for this to be durable */
	bool log_done, log_holds, sync_done;
	bool removal; /* seen while watching */
	bool broken;  /* a write or sync has failed, and the sync thread has not decided yet */
	int broken_errno;
	const char *broken_what;
	uint64_t broken_segment;
	char reason[128];     /* of the last change to the worse */
	int64_t since_ms;     /* wall clock, of the last change of state */
	_Atomic bool awaited; /* the log thread waits for the next segment */
	int64_t tried_us;     /* the last time that a segment could not be made */

	/* The sync thread's alone. */
	bool sync_failed;      /* on one of the open segments: none of them is synced again */
	int64_t heal_at;       /* clock_mono_us of the next try */
	int64_t heal_delay;    /* seconds, of the one after it */
	int64_t healthy_since; /* clock_mono_us */
	bool bound_refused;    /* it is not healthy for want of room under --max-disk */
	int64_t counted_us;    /* when what lies in the directory was last counted */

	/* The log thread's alone, or the sync thread's while that one holds. */
	uint8_t *out;
	size_t out_len;
	uint32_t prev_crc;
	uint64_t block_at; /* start of the open block in out */
	uint64_t block_first;
	uint32_t block_count;
	bool block_open;
	uint64_t taken; /* last number put into out */
	int64_t flush_due;
	struct keys keys;
	uint64_t dicts_segment; /* the one that has the first `dicts` of the dictionaries */
	size_t dicts;
	int64_t taken_us; /* clock_mono_us of the last batch that held a record */
	uint64_t
	    near_again; /* written_bytes before which near_bound is not called again, unless it is tight */
};

/* ---- wal.c ---- */
/* A write or sync has failed with errno, on this segment: the log holds until the sync thread has decided. Any of the two
 * threads. */
void wal_break(struct wal *wal, const char *what, uint64_t segment);
/* The header of a segment that begins behind `prev`; its CRC in *ret_crc. */
void wal_make_header(const struct wal *wal, const struct wal_segment *segment, const struct wal_start *prev,
    int64_t flush_due, uint8_t out[SEGMENT_HEADER_SIZE], uint32_t *ret_crc);
static inline enum wal_fsync wal_fsync(const struct wal *wal)
{
	return atomic_load_explicit(&wal->fsync, memory_order_relaxed);
}
/* Replies up to what is written or durable may leave. The lock is held. */
void wal_publish(struct wal *wal);
/* What a block may say is durable: as long as nothing of this life is, what the one before left. Its numbers end at
 * start_prev, and a jump above that is durable only with the header that tells of it. */
uint64_t wal_claim(const struct wal *wal);
/* Calls the server. No lock is held. */
void wal_tell(const struct wal *wal);

/* ---- sync.c: the sync thread ---- */
void *sync_main(void *arg);
/* Syncs the segments that were left, oldest first, then the current one. False with errno: told to wal_break. The lock is
 * held, and let go meanwhile. */
bool sync_files(struct wal *wal);
/* Makes the segment to come; HEARTH_IO with err. No lock is held. */
enum hearth_status sync_make_next(struct wal *wal, struct hearth_error *ret_err);

/* ---- heal.c: the sync thread's answer to a disk that fails ---- */
/* The log is broken: goes on in the reserve, or without a log. The lock is held, and let go meanwhile. */
void heal_settle(struct wal *wal);
/* The log has stopped, and there is an invalidation: the mark, then memory alone. The lock is held, and let go meanwhile. */
void heal_removal(struct wal *wal);
/* Tries to get better when it is time for it. No lock is held. */
void heal_try(struct wal *wal);
/* The reserve or the numbers run out: changes are refused, no record is in danger. No lock is held. */
void heal_refuse(struct wal *wal, const char *what, int error);
/* After a job: a published snapshot may have made the disk's generation a good one again. No lock is held. */
void heal_look(struct wal *wal);
/* Whether changes are refused, anew. No lock is held. */
void heal_gate(struct wal *wal);

/* ---- tail.c ---- */
/* Writes to fd the records of `from` between its durable and its written place as blocks of `to`, each verified by salt,
 * CRC, chain and number. *place is where `to` stands, and moves. HEARTH_DAMAGED when they do not verify, HEARTH_IO. */
enum hearth_status tail_copy(struct wal *wal, const struct wal_segment *from, const struct wal_segment *to,
    int fd, struct wal_place *place, struct hearth_error *ret_err);

#endif
