/* SPDX-License-Identifier: BSD-3-Clause */
/* sync: the sync thread: fsync by policy, and the one owner of all file changes; see wal.h. A failed sync is
 * never retried on the same file: heal.c decides how the log goes on. */
#include "persist/unsynced.h"
#include "persist/wal_private.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include "base/vfs.h"

#define SECOND_US ((int64_t)1000000)

/* The oldest segment that was left is durable up to its end. The lock is held. */
static void close_oldest(struct wal *wal)
{
	const struct vfs *vfs = datadir_vfs(wal->files->dir);
	const struct wal_segment *s = &wal->old[0];
	wal->before = (struct wal_start){.prev_number = s->number,
	    .prev_end = s->written.end,
	    .prev_last = s->written.last,
	    .prev_crc = s->written.crc,
	    .flush_due = s->written.flush_due};
	vfs->close(vfs->ctx, s->fd);
	memmove(wal->old, wal->old + 1, --wal->n_old * sizeof(*wal->old));
}

/* One fdatasync, without the lock that is held. */
static bool sync_one(struct wal *wal, int fd, uint64_t number)
{
	const struct vfs *vfs = datadir_vfs(wal->files->dir);
	pthread_mutex_unlock(&wal->lock);
	bool ok = vfs->fdatasync(vfs->ctx, fd) == 0;
	if (!ok) {
		wal->sync_failed = true;
		unsynced_tell(wal->files);
		wal_break(wal, "cannot sync the log", number);
	}
	pthread_mutex_lock(&wal->lock);
	return ok;
}

/* How long they take, for those who watch the disk. */
static void count_sync(struct wal *wal, uint64_t us)
{
	unsigned step = 0;
	while (step < WAL_SYNC_STEPS - 1 && us > WAL_SYNC_STEP_US(step))
		step++;
	atomic_store(&wal->last_sync_us, us);
	if (us > atomic_load(&wal->max_sync_us))
		atomic_store(&wal->max_sync_us, us);
	atomic_fetch_add(&wal->sync_us, us);
	atomic_fetch_add(&wal->sync_counts[step], 1);
	atomic_fetch_add(&wal->syncs, 1);
}

bool sync_files(struct wal *wal)
{
	int64_t began = clock_mono_us();
	uint64_t written = atomic_load(&wal->written);
	const struct wal_segment now = wal->current;
	atomic_store(&wal->unsynced_since, 0);
	while (wal->n_old > 0 && wal->old[0].number != now.number) {
		if (!sync_one(wal, wal->old[0].fd, wal->old[0].number))
			return false;
		close_oldest(wal);
	}
	/* The log thread may leave this segment meanwhile, but only we close it. */
	if (!sync_one(wal, now.fd, now.number))
		return false;
	struct wal_segment *s = wal->n_old > 0 ? &wal->old[0] : &wal->current;
	if (s->number == now.number)
		s->durable = now.written;
	count_sync(wal, (uint64_t)(clock_mono_us() - began));
	atomic_store(&wal->durable, written);
	if (atomic_load(&wal->mode) == WAL_WRITES)
		wal_publish(wal);
	return true;
}

enum hearth_status sync_make_next(struct wal *wal, struct hearth_error *ret_err)
{
	struct manifest_segment entry;
	int fd;
	/* The one made last has begun; it would go unnoticed if the next one began before anybody looks again. */
	pthread_mutex_lock(&wal->lock);
	files_begin_segment(wal->files, wal->current.number, wal->current.first);
	pthread_mutex_unlock(&wal->lock);
	/* The tail of a segment that fails is written anew, so lower numbers than those to come are possible. */
	enum hearth_status status = files_add_segment(wal->files, wal->files->generation,
	    atomic_load(&wal->durable) + 1, wal->reserve, &fd, &entry, ret_err);
	if (status != HEARTH_OK)
		return status;
	pthread_mutex_lock(&wal->lock);
	wal->next.fd = fd;
	wal->next.number = entry.number;
	wal->next.allocated = wal->reserve;
	atomic_store(&wal->next_ready, true);
	memcpy(wal->next.salt, entry.salt, sizeof(wal->next.salt));
	pthread_cond_broadcast(&wal->done);
	pthread_mutex_unlock(&wal->lock);
	ring_poke(wal->ring);
	return HEARTH_OK;
}

/* Numbers are given out only below a durable mark: it is raised long before they reach it. When that fails for long,
 * heal_gate stops changes in time. */
static void raise_mark(struct wal *wal)
{
	uint64_t taken = atomic_load(&wal->published);
	if (taken + FILES_HIGH_WATER_STEP / 2 < atomic_load(&wal->high_water))
		return;
	uint64_t high = taken + FILES_HIGH_WATER_STEP;
	enum hearth_status status = files_raise_high_water(wal->files, high, NULL);
	if (status == HEARTH_OK)
		atomic_store(&wal->high_water, high);
}

/* Descriptors and memory come back; that is no state of the disk. */
static bool passes(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOMEM;
}

/* The current segment's own first bytes are allocated too: as long as there is but this one, a part of them may be used
 * before another is made. The lock is held: the log thread changes segments. */
static bool wants_reserves(const struct wal *wal)
{
	bool early = atomic_load(&wal->segments_begun) > 1 || wal->current.allocated < wal->reserve;
	return wal_state(wal) == WAL_HEALTHY && (wal->next.fd < 0 || !wal->files->spare) &&
	       (early || atomic_load(&wal->awaited) || atomic_load(&wal->offset) > wal->limit / 256 ||
	           atomic_load(&wal->rotate_wanted)) &&
	       clock_mono_us() - wal->tried_us >= SECOND_US;
}

/* The segment to come, and the file that is given up for the manifest's sake. Without them a delete has no reserved room:
 * then changes are refused before the disk is full. No lock is held. */
static void make_reserves(struct wal *wal)
{
	struct hearth_error err = {0};
	pthread_mutex_lock(&wal->lock);
	bool wanted = wants_reserves(wal);
	pthread_mutex_unlock(&wal->lock);
	if (!wanted)
		return;
	enum hearth_status status = wal->next.fd >= 0 ? HEARTH_OK : sync_make_next(wal, &err);
	if (status == HEARTH_OK)
		status = files_make_spare(wal->files, &err);
	if (status == HEARTH_OK)
		return;
	pthread_mutex_lock(&wal->lock);
	wal->tried_us = clock_mono_us();
	pthread_cond_broadcast(&wal->done);
	pthread_mutex_unlock(&wal->lock);
	if (status == HEARTH_IO && !passes(err.sys_errno))
		heal_refuse(wal, "no reserve can be made", err.sys_errno);
}

/* The lock is held, and let go while a job runs. */
static void run_jobs(struct wal *wal)
{
	while (wal->jobs && !wal->broken) {
		struct wal_job *job = wal->jobs;
		wal->jobs = job->next;
		if (!wal->jobs)
			wal->jobs_end = &wal->jobs;
		files_begin_segment(wal->files, wal->current.number, wal->current.first);
		pthread_mutex_unlock(&wal->lock);
		enum hearth_status status = job->run(job->arg, wal->files);
		heal_look(wal);
		uint64_t bytes = files_log_bytes(wal->files);
		pthread_mutex_lock(&wal->lock);
		uint64_t offset = atomic_load(&wal->offset);
		atomic_store(&wal->log_bytes, bytes > offset ? bytes - offset : 0);
		job->status = status;
		job->done = true;
		pthread_cond_broadcast(&wal->done);
	}
}

static bool due(const struct wal *wal, int64_t last_us)
{
	uint64_t durable = atomic_load(&wal->durable);
	bool second = clock_mono_us() - last_us >= SECOND_US;
	if (atomic_load(&wal->mode) != WAL_WRITES)
		return false;
	bool asked = wal->sync_to > durable && atomic_load(&wal->written) > durable;
	if (asked || wal->n_old > 0 || atomic_load(&wal->held))
		return true;
	/* Headers and blocks without records are bytes too, but nobody waits for them. */
	if (atomic_load(&wal->written) == durable)
		return atomic_load(&wal->unsynced_since) != 0 &&
		       (wal->log_done || (wal_fsync(wal) != WAL_OS && second));
	if (wal_fsync(wal) == WAL_ALWAYS || wal->log_done)
		return true;
	return wal_fsync(wal) == WAL_EVERYSEC && second;
}

/* Whether nothing is to be done but what goes by the second. The lock is held. */
static bool idle(const struct wal *wal, int64_t last_us)
{
	return !wal->broken && !wal->removal && !wal->jobs && !wants_reserves(wal) && !due(wal, last_us) &&
	       !wal->log_done;
}

/* What is looked at in each round, and at least once a second. No lock is held. */
static void keep_house(struct wal *wal)
{
	if (!atomic_load(&wal->stopping))
		make_reserves(wal);
	if (wal_state(wal) == WAL_HEALTHY)
		raise_mark(wal);
	if (files_bound(wal->files) && clock_mono_us() - wal->counted_us >= SECOND_US) {
		wal->counted_us = clock_mono_us();
		quota_refresh(wal->files->quota);
	}
	heal_try(wal);
	heal_gate(wal);
}

void *sync_main(void *arg)
{
	struct wal *wal = arg;
	int64_t last_us = clock_mono_us();
	pthread_setname_np(pthread_self(), "sync");
	pthread_mutex_lock(&wal->lock);
	for (;;) {
		if (idle(wal, last_us)) {
			int64_t passed = (clock_mono_us() - last_us) / 1000;
			struct timespec until = clock_deadline(passed < 1000 ? (int)(1000 - passed) : 100);
			pthread_cond_timedwait(&wal->wake, &wal->lock, &until);
		}
		bool synced = false;
		if (!wal->broken && due(wal, last_us)) {
			last_us = clock_mono_us();
			synced = sync_files(wal);
			if (synced)
				atomic_store(&wal->held, false);
			pthread_cond_broadcast(&wal->done);
		}
		if (wal->broken)
			heal_settle(wal);
		if (wal->removal)
			heal_removal(wal);
		files_begin_segment(wal->files, wal->current.number, wal->current.first);
		pthread_mutex_unlock(&wal->lock);
		if (synced)
			wal_tell(wal);
		keep_house(wal);
		pthread_mutex_lock(&wal->lock);
		run_jobs(wal);
		if (wal->log_done && !wal->broken && !wal->removal && !due(wal, last_us) && !wal->jobs)
			break;
	}
	wal->sync_done = true;
	pthread_cond_broadcast(&wal->done);
	pthread_mutex_unlock(&wal->lock);
	return NULL;
}

enum hearth_status wal_sync(struct wal *wal, uint64_t seq)
{
	pthread_mutex_lock(&wal->lock);
	if (wal->sync_to < seq)
		wal->sync_to = seq;
	pthread_cond_signal(&wal->wake);
	while (atomic_load(&wal->durable) < seq && wal_logs(wal) && !atomic_load(&wal->stopping)) {
		struct timespec until = clock_deadline(100);
		pthread_cond_timedwait(&wal->done, &wal->lock, &until);
		pthread_cond_signal(&wal->wake);
	}
	bool ok = wal_logs(wal) && atomic_load(&wal->durable) >= seq;
	pthread_mutex_unlock(&wal->lock);
	return ok ? HEARTH_OK : HEARTH_IO;
}

void wal_rotate(struct wal *wal)
{
	pthread_mutex_lock(&wal->lock);
	uint64_t before = atomic_load(&wal->segments_begun);
	atomic_store(&wal->rotate_wanted, true);
	pthread_cond_signal(&wal->wake);
	pthread_mutex_unlock(&wal->lock);
	ring_poke(wal->ring);
	pthread_mutex_lock(&wal->lock);
	for (int i = 0; i < 50 && atomic_load(&wal->segments_begun) == before &&
	                wal_state(wal) == WAL_HEALTHY && !atomic_load(&wal->stopping);
	     i++) {
		struct timespec until = clock_deadline(100);
		pthread_cond_timedwait(&wal->done, &wal->lock, &until);
	}
	pthread_mutex_unlock(&wal->lock);
}

enum hearth_status wal_run(
    struct wal *wal, enum hearth_status (*run)(void *arg, struct files *files), void *arg)
{
	struct wal_job job = {.run = run, .arg = arg};
	pthread_mutex_lock(&wal->lock);
	if (!wal->sync_running || wal->log_done) {
		pthread_mutex_unlock(&wal->lock);
		return HEARTH_BUSY;
	}
	*wal->jobs_end = &job;
	wal->jobs_end = &job.next;
	pthread_cond_signal(&wal->wake);
	while (!job.done)
		pthread_cond_wait(&wal->done, &wal->lock);
	pthread_mutex_unlock(&wal->lock);
	return job.status;
}
