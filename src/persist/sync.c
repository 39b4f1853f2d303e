/* SPDX-License-Identifier: BSD-3-Clause */
/* sync: the sync thread: fsync by policy, and the one owner of all file changes; see wal.h. A failed sync is
 * never retried on the same file: the log fails with it. */
#include "persist/wal_private.h"

#include <string.h>
#include <time.h>
#include "base/vfs.h"

/* Syncs the segments that were left, oldest first, then the current one. The lock is held, and let go
 * meanwhile. */
static bool sync_files(struct wal *wal)
{
	const struct vfs *vfs = datadir_vfs(wal->files->dir);
	uint64_t written = atomic_load(&wal->written);
	int64_t began = clock_mono_us();
	atomic_store(&wal->unsynced_since, 0);
	int fd = wal->current.fd;
	size_t n = wal->n_old;
	bool ok = true;
	for (size_t i = 0; i < n && ok; i++) {
		int old = wal->old[i];
		pthread_mutex_unlock(&wal->lock);
		ok = old < 0 || vfs->fdatasync(vfs->ctx, old) == 0;
		if (ok && old >= 0)
			vfs->close(vfs->ctx, old);
		pthread_mutex_lock(&wal->lock);
		if (ok)
			wal->old[i] = -1;
	}
	if (ok) {
		if (n)
			memmove(wal->old, wal->old + n, (wal->n_old - n) * sizeof(*wal->old));
		wal->n_old -= n;
		/* The log thread may leave this segment now, but only we close it. */
		pthread_mutex_unlock(&wal->lock);
		ok = vfs->fdatasync(vfs->ctx, fd) == 0;
		pthread_mutex_lock(&wal->lock);
	}
	if (!ok)
		return false;
	uint64_t us = (uint64_t)(clock_mono_us() - began);
	atomic_store(&wal->last_sync_us, us);
	if (us > atomic_load(&wal->max_sync_us))
		atomic_store(&wal->max_sync_us, us);
	atomic_fetch_add(&wal->syncs, 1);
	atomic_store(&wal->durable, written);
	return true;
}

static enum hearth_status make_next(struct wal *wal)
{
	struct manifest_segment entry;
	struct hearth_error err;
	int fd;
	enum hearth_status status =
	    files_add_segment(wal->files, atomic_load(&wal->written) + 1, &fd, &entry, &err);
	if (status != HEARTH_OK)
		return status;
	pthread_mutex_lock(&wal->lock);
	wal->next.fd = fd;
	wal->next.number = entry.number;
	memcpy(wal->next.salt, entry.salt, sizeof(wal->next.salt));
	wal->next_wanted = false;
	pthread_mutex_unlock(&wal->lock);
	ring_poke(wal->ring);
	return HEARTH_OK;
}

/* Numbers are given out only below a durable mark: it is raised long before they reach it. */
static enum hearth_status raise_mark(struct wal *wal)
{
	uint64_t taken = atomic_load(&wal->written);
	if (taken + FILES_HIGH_WATER_STEP / 2 < atomic_load(&wal->high_water))
		return HEARTH_OK;
	uint64_t high = taken + FILES_HIGH_WATER_STEP;
	enum hearth_status status = files_raise_high_water(wal->files, high, NULL);
	if (status == HEARTH_OK)
		atomic_store(&wal->high_water, high);
	return status;
}

/* The lock is held, and let go while a job runs. */
static void run_jobs(struct wal *wal)
{
	while (wal->jobs) {
		struct wal_job *job = wal->jobs;
		wal->jobs = job->next;
		if (!wal->jobs)
			wal->jobs_end = &wal->jobs;
		files_begin_segment(wal->files, wal->current.number, wal->current.first);
		pthread_mutex_unlock(&wal->lock);
		enum hearth_status status = job->run(job->arg, wal->files);
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
	bool second = clock_mono_us() - last_us >= 1000000;
	if (atomic_load(&wal->failed))
		return false;
	bool asked = wal->sync_to > durable && atomic_load(&wal->written) > durable;
	if (asked || wal->n_old > 0 || atomic_load(&wal->held))
		return true;
	/* Headers and blocks without records are bytes too, but nobody waits for them. */
	if (atomic_load(&wal->written) == durable)
		return atomic_load(&wal->unsynced_since) != 0 &&
		       (wal->log_done || (wal->options.fsync != WAL_OS && second));
	if (wal->options.fsync == WAL_ALWAYS || wal->log_done)
		return true;
	return wal->options.fsync == WAL_EVERYSEC && second;
}

static bool idle(const struct wal *wal, int64_t last_us)
{
	bool next = wal->next_wanted && wal->next.fd < 0 && clock_mono_us() - wal->tried_us >= 1000000;
	return !wal->jobs && !next && !due(wal, last_us) && !wal->log_done;
}

void *sync_main(void *arg)
{
	struct wal *wal = arg;
	pthread_setname_np(pthread_self(), "sync");
	int64_t last_us = clock_mono_us();
	pthread_mutex_lock(&wal->lock);
	for (;;) {
		if (idle(wal, last_us)) {
			int64_t passed = (clock_mono_us() - last_us) / 1000;
			struct timespec until = clock_deadline(passed < 1000 ? (int)(1000 - passed) : 100);
			pthread_cond_timedwait(&wal->wake, &wal->lock, &until);
		}
		bool ok = true;
		if (due(wal, last_us)) {
			last_us = clock_mono_us();
			ok = sync_files(wal);
			if (ok)
				atomic_store(&wal->held, false);
			pthread_cond_broadcast(&wal->done);
		}
		bool next = ok && wal->next_wanted && wal->next.fd < 0 && !atomic_load(&wal->failed);
		files_begin_segment(wal->files, wal->current.number, wal->current.first);
		pthread_mutex_unlock(&wal->lock);
		/* A new file that cannot be made costs nothing yet: the log goes on where it is, and a second later it is
		 * tried again. Only numbers without a durable mark above them must not be given out. */
		if (ok && next && clock_mono_us() - wal->tried_us >= 1000000 && make_next(wal) != HEARTH_OK)
			wal->tried_us = clock_mono_us();
		if (ok && !atomic_load(&wal->failed) && raise_mark(wal) != HEARTH_OK)
			ok = atomic_load(&wal->written) + FILES_HIGH_WATER_STEP / 8 <
			     atomic_load(&wal->high_water);
		if (!ok)
			wal_fail(wal, "cannot make the log durable");
		else if (wal->options.progress)
			wal->options.progress(wal->options.progress_arg);
		pthread_mutex_lock(&wal->lock);
		run_jobs(wal);
		if (wal->log_done && (!due(wal, last_us) || atomic_load(&wal->failed)))
			break;
	}
	pthread_mutex_unlock(&wal->lock);
	return NULL;
}

enum hearth_status wal_sync(struct wal *wal, uint64_t seq)
{
	pthread_mutex_lock(&wal->lock);
	if (wal->sync_to < seq)
		wal->sync_to = seq;
	pthread_cond_signal(&wal->wake);
	while (
	    atomic_load(&wal->durable) < seq && !atomic_load(&wal->failed) && !atomic_load(&wal->stopping)) {
		struct timespec until = clock_deadline(100);
		pthread_cond_timedwait(&wal->done, &wal->lock, &until);
		pthread_cond_signal(&wal->wake);
	}
	bool ok = atomic_load(&wal->durable) >= seq;
	pthread_mutex_unlock(&wal->lock);
	return ok ? HEARTH_OK : HEARTH_IO;
}

void wal_rotate(struct wal *wal)
{
	pthread_mutex_lock(&wal->lock);
	uint64_t before = atomic_load(&wal->segments_begun);
	wal->next_wanted = wal->next.fd < 0;
	atomic_store(&wal->rotate_wanted, true);
	pthread_cond_signal(&wal->wake);
	pthread_mutex_unlock(&wal->lock);
	ring_poke(wal->ring);
	pthread_mutex_lock(&wal->lock);
	for (int i = 0; i < 50 && atomic_load(&wal->segments_begun) == before && !atomic_load(&wal->failed);
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
