/* SPDX-License-Identifier: BSD-3-Clause */
/* memfs: a file system in memory behind the vfs table. It records every change, sync and acknowledgement as numbered
 * events, from which the state at any moment can be made again (world.h), and fails where it is told to. Its calls come
 * from any thread, one at a time; a sync covers what was written before it began, and others write while it runs. */
#ifndef CRASH_MEMFS_H
#define CRASH_MEMFS_H

#include <pthread.h>
#include <stdatomic.h>
#include "base/vfs.h"
#include "world.h"

#define MEMFS_FDS   64
#define MEMFS_PATH  "memory" /* what datadir_open calls the data directory */
#define MEMFS_CHUNK 512u

/* Calls that a fault may strike. */
enum memfs_op {
	MEMFS_OPEN = 1,
	MEMFS_READ = 2,
	MEMFS_WRITE = 4,
	MEMFS_SYNC = 8,
	MEMFS_NAME = 16, /* rename, link, unlink, mkdir, and creating a file */
	MEMFS_STAT = 32, /* fstat, list, flock */
};

/* The nth call (from 1) of these kinds since the fault was set fails, once or from there on. */
struct memfs_fault {
	unsigned kinds, nth;
	bool forever;
	int error;
	bool partly; /* a write takes the first half before it fails */
};

struct memfs_fd {
	bool used, append, writable, dir;
	int inode;  /* -1: the boot id */
	size_t pos; /* of writes */
};

struct memfs {
	struct vfs vfs;
	pthread_mutex_t lock;
	struct world now, start;
	bool record;
	struct event **chunk;
	uint32_t n_events; /* event numbers begin with 1 */
	struct memfs_fd fd[MEMFS_FDS];
	int locked; /* descriptor of the data directory's lock, -1 */
	char boot_id[40];
	struct memfs_fault fault;
	unsigned struck, counted; /* calls that failed; calls of the fault's kinds */
	unsigned calls;           /* changes of the disk that were asked for */
	unsigned lag;             /* a sync lets others run, one time in so many; 0 = never */
	uint64_t lag_state;
};

/* An empty directory, or a copy of a world (which stays the caller's). record: events are kept. */
struct memfs *memfs_open(const struct world *start, bool record);
void memfs_close(struct memfs **fs);
/* Names the boot: 0 is this machine's own. */
void memfs_set_boot(struct memfs *fs, uint64_t boot);
void memfs_set_fault(struct memfs *fs, const struct memfs_fault *fault);
/* Number of the last event. */
uint32_t memfs_last(struct memfs *fs);
/* BEGIN, ACK, MARK. Returns its number. */
uint32_t memfs_note(struct memfs *fs, enum event_kind kind, size_t at);
const struct event *memfs_event(struct memfs *fs, uint32_t number);

#endif
