/* SPDX-License-Identifier: BSD-3-Clause */
/* wal_private: what the log thread (wal.c) and the sync thread (sync.c) share. Nobody else includes it. */
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

/* A segment being written, or made ahead. */
struct wal_segment {
	int fd; /* -1 = none */
	uint64_t number, first;
	uint8_t salt[BLOCK_SALT_SIZE];
};

struct wal {
	uint32_t magic;
	struct wal_options options;
	struct files *files;
	int fail_errno;
	struct ring *ring;
	pthread_t log_thread, sync_thread;
	bool log_running, sync_running;

	_Atomic uint64_t written, durable;
	_Atomic bool failed, held, rotate_wanted, stopping, time_wanted, sync_everything;
	_Atomic uint64_t written_bytes, writes, syncs, last_sync_us, max_sync_us, waits, mark;
	_Atomic uint64_t offset;        /* in the current segment */
	_Atomic int64_t unsynced_since; /* clock_mono_us of the oldest byte that is not durable, 0 = none */
	_Atomic uint64_t high_water, segments_begun;
	_Atomic uint64_t log_bytes; /* of the segments left */

	/* lock guards what follows, and is the sync thread's condition. */
	pthread_mutex_t lock;
	pthread_cond_t wake; /* for the sync thread */
	pthread_cond_t done; /* for those who wait for it */
	struct wal_segment current, next;
	int *old; /* descriptors of segments left, to be synced and closed, oldest first */
	size_t n_old, old_size;
	struct wal_job *jobs, **jobs_end;
	uint64_t sync_to; /* somebody waits for this to be durable */
	bool next_wanted, log_done;
	int64_t tried_us; /* the last time that a segment could not be made */

	/* The log thread's alone. */
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
	int64_t taken_us; /* clock_mono_us of the last batch that held a record */
};

/* No success leaves any more. Says so once, with errno's reason. Any thread. */
void wal_fail(struct wal *wal, const char *what);
/* The sync thread. */
void *sync_main(void *arg);

#endif
