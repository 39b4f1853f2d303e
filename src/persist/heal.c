/* SPDX-License-Identifier: BSD-3-Clause */
/* heal: what becomes of the log when the disk fails, and how it gets well again; the states are those of wal.h. All of it
 * runs on the sync thread.
 *
 *   HEALTHY -> RESERVE     a write or sync fails: the segment is left at its last durable place, the tail behind that
 *                          is verified and written anew into the segment made ahead, and the log goes on there. Or
 *                          no further segment can be made: the log goes on where it is.
 *   HEALTHY, RESERVE -> STOPPED   the log cannot go on, but all that was published is durable in it. What was not
 *                          published stays in the ring; who waited for it is told nothing.
 *                    -> UNTRUSTED   the same, but what was published may be lost, as a sync has failed or the tail does
 *                          not verify: the mark in the manifest first, then memory alone.
 *                    -> LOST        the mark cannot be made durable either.
 *   STOPPED -> UNTRUSTED, LOST   an invalidation comes, which cannot wait.
 *   RESERVE, STOPPED -> HEALTHY  a new segment can be made: the log has no hole.
 *   LOST -> UNTRUSTED      the mark can be made.
 *   UNTRUSTED -> HEALING   a new segment of a new generation; from then on all is logged again.
 *   HEALING -> HEALTHY     a snapshot begun behind that is published: with it the manifest names the new generation and
 *                          takes the mark back, in one write.
 *   HEALING -> UNTRUSTED   the new segment fails as well.
 */
#include "persist/wal_private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "base/check.h"
#include "base/msg.h"
#include "base/vfs.h"
#include "persist/unsynced.h"

#define DELAY_MAX    60                          /* seconds between two tries */
#define WELL_US      ((int64_t)60 * 1000000)     /* healthy for so long: the next failure is a new one */
#define NUMBERS_LEFT (FILES_HIGH_WATER_STEP / 8) /* below this no number is given to a change */

/* ---- states ---- */

/* The lock is held. */
static bool set_gate(struct wal *wal)
{
	enum wal_state state = wal_state(wal);
	bool served =
	    state == WAL_HEALTHY || (wal_serves(wal) && (state == WAL_UNTRUSTED || state == WAL_HEALING));
	uint64_t last = ring_last(wal->ring);
	bool numbers = last + NUMBERS_LEFT < atomic_load(&wal->high_water);
	bool refuses = !served || !numbers || wal->broken;
	return atomic_exchange(&wal->refuses, refuses) != refuses;
}

/* The lock is held. */
static void enter(struct wal *wal, enum wal_state state)
{
	atomic_store(&wal->state, state);
	wal->since_ms = clock_wall_ms();
	if (state == WAL_HEALTHY)
		wal->healthy_since = clock_mono_us();
	set_gate(wal);
}

/* Why it got worse, for stats. The lock is held. */
static void set_reason(struct wal *wal, const char *what, int error)
{
	snprintf(wal->reason, sizeof(wal->reason), "%s%s%s", what, error ? ": " : "",
	    error ? strerror(error) : "");
}

/* When it is tried again: at once after a long time of health, then 1 s, 2 s, 4 s ... later. */
static void plan_try(struct wal *wal, bool failed)
{
	int64_t now = clock_mono_us();
	if (!failed && now - wal->healthy_since > WELL_US)
		wal->heal_delay = 0;
	wal->heal_at = now + wal->heal_delay * 1000000;
	wal->heal_delay = wal->heal_delay == 0 ? 1 : wal->heal_delay * 2;
	if (wal->heal_delay > DELAY_MAX)
		wal->heal_delay = DELAY_MAX;
}

static void say(const struct wal *wal, enum msg_level level, const char *what)
{
	msg(level, "%s: %s; state %s: %s", datadir_path(wal->files->dir), wal->reason,
	    wal_state_name(wal_state(wal)), what);
}

static const char *told(const struct wal *wal)
{
	switch (wal_state(wal)) {
	case WAL_HEALTHY:
		return "all is kept again";
	case WAL_RESERVE:
		return "deletes go on in the reserve, changes are refused";
	case WAL_STOPPED:
		return "changes are refused, nothing that was acknowledged is missing on disk";
	case WAL_UNTRUSTED:
	case WAL_HEALING:
		return wal_serves(wal) ? "changes are kept in memory alone, a start now would begin empty"
		                       : "deletes are kept in memory alone, changes are refused, a start "
		                         "now would begin empty";
	default:
		return "changes are refused, and deletes are not confirmed, though their keys are gone";
	}
}

void heal_gate(struct wal *wal)
{
	pthread_mutex_lock(&wal->lock);
	bool changed = set_gate(wal);
	pthread_mutex_unlock(&wal->lock);
	if (changed)
		wal_tell(wal);
}

/* ---- the log thread ---- */

/* Waits until the log thread has put everything back that is not published. The lock is held. */
static void hold_log(struct wal *wal)
{
	atomic_store(&wal->mode, WAL_HOLDS);
	ring_poke(wal->ring);
	while (!wal->log_holds && !wal->log_done)
		pthread_cond_wait(&wal->wake, &wal->lock);
}

static void let_go(struct wal *wal, enum wal_mode mode)
{
	atomic_store(&wal->held, false);
	atomic_store(&wal->mode, mode);
	pthread_cond_broadcast(&wal->done);
}

/* ---- going on in the segment made ahead ---- */

/* The segments that are open: those left, and the current one behind them. */
static struct wal_segment *open_segment(struct wal *wal, size_t i)
{
	return i < wal->n_old ? &wal->old[i] : &wal->current;
}

static void close_all(struct wal *wal)
{
	const struct vfs *vfs = datadir_vfs(wal->files->dir);
	for (size_t i = 0; i < wal->n_old; i++)
		vfs->close(vfs->ctx, wal->old[i].fd);
	if (wal->current.fd >= 0)
		vfs->close(vfs->ctx, wal->current.fd);
	wal->n_old = 0;
	wal->current = (struct wal_segment){.fd = -1};
	atomic_store(&wal->offset, 0);
	atomic_store(&wal->unsynced_since, 0);
}

/* A full disk has not lost what it took: a first sync tells. Other failures are not asked again. */
static void sync_what_was_taken(struct wal *wal)
{
	const struct vfs *vfs = datadir_vfs(wal->files->dir);
	for (size_t i = 0; i <= wal->n_old && !wal->sync_failed; i++) {
		struct wal_segment *s = open_segment(wal, i);
		if (s->written.end == s->durable.end)
			continue;
		if (vfs->fdatasync(vfs->ctx, s->fd) == 0) {
			s->durable = s->written;
		} else {
			wal->sync_failed = true;
			unsynced_tell(wal->files);
		}
	}
}

/* Where the log is durable, over all open segments: the end of the one before the new one. */
static struct wal_start durable_end(struct wal *wal, size_t *ret_first)
{
	struct wal_start prev = wal->before;
	*ret_first = 0;
	for (size_t i = 0; i <= wal->n_old; i++) {
		const struct wal_segment *s = open_segment(wal, i);
		if (s->durable.end == 0)
			break;
		prev = (struct wal_start){.prev_number = s->number,
		    .prev_end = s->durable.end,
		    .prev_last = s->durable.last,
		    .prev_crc = s->durable.crc};
		*ret_first = i;
		if (s->durable.end != s->written.end)
			break;
	}
	return prev;
}

static bool has_tail(struct wal *wal, size_t first)
{
	for (size_t i = first; i <= wal->n_old; i++) {
		const struct wal_segment *s = open_segment(wal, i);
		uint64_t from = s->durable.end ? s->durable.end : SEGMENT_HEADER_SIZE;
		if (s->written.end > from)
			return true;
	}
	return false;
}

/* Header and tail to fd, and a sync. next->written is where that ends. */
static enum hearth_status fill_next(struct wal *wal, struct wal_segment *next, int fd,
    const struct wal_start *prev, size_t first, struct hearth_error *ret_err)
{
	const struct vfs *vfs = datadir_vfs(wal->files->dir);
	uint8_t head[SEGMENT_HEADER_SIZE];
	char name[DATADIR_NAME_SIZE];
	enum hearth_status status = HEARTH_OK;
	datadir_name(DATADIR_LOG, next->number, name);
	next->first = prev->prev_last + 1;
	next->written = (struct wal_place){.end = sizeof(head), .last = prev->prev_last};
	/* The slot as it stood at the durable end; the tail's blocks carry what came of it. */
	const struct wal_segment *from = open_segment(wal, first);
	next->written.flush_due = from->durable.end ? from->durable.flush_due : wal->before.flush_due;
	wal_make_header(wal, next, prev, next->written.flush_due, head, &next->written.crc);
	if (vfs_write_all(vfs, fd, head, sizeof(head)) < 0)
		return hearth_fail(ret_err, HEARTH_IO, name, 0, "cannot write to the log");
	for (size_t i = first; i <= wal->n_old && status == HEARTH_OK; i++)
		if (open_segment(wal, i)->written.end > 0)
			status = tail_copy(wal, open_segment(wal, i), next, fd, &next->written, ret_err);
	if (status == HEARTH_OK && vfs->fdatasync(vfs->ctx, fd) < 0)
		status = hearth_fail(ret_err, HEARTH_IO, name, 0, "cannot sync the log");
	next->durable = next->written;
	return status;
}

/* With a tail the segment must appear as a whole: until it does, the one that failed is the log, and after a kill its
 * pages may still be all there. */
static enum hearth_status replace_next(struct wal *wal, struct wal_segment *next,
    const struct wal_start *prev, size_t first, struct hearth_error *ret_err)
{
	const struct vfs *vfs = datadir_vfs(wal->files->dir);
	uint64_t bytes = wal->reserve;
	for (size_t i = first; i <= wal->n_old; i++)
		bytes += open_segment(wal, i)->written.end - open_segment(wal, i)->durable.end;
	int fd = files_begin_replacement(wal->files, next->number, bytes);
	if (fd < 0)
		return hearth_fail(ret_err, HEARTH_IO, "log", 0, "no room to write the log's end anew");
	enum hearth_status status = fill_next(wal, next, fd, prev, first, ret_err);
	if (status == HEARTH_OK)
		status = files_replaced(wal->files, next->number, ret_err);
	if (status != HEARTH_OK) {
		vfs->close(vfs->ctx, fd);
		files_drop_temporary(wal->files, DATADIR_LOG, next->number);
		return status;
	}
	vfs->close(vfs->ctx, next->fd);
	next->fd = fd;
	return HEARTH_OK;
}

/* The log goes on in `next`, which is synced. The lock is held. */
static void take_next(struct wal *wal, const struct wal_segment *next, const struct wal_start *prev)
{
	uint64_t bytes = atomic_load(&wal->log_bytes) + atomic_load(&wal->offset);
	/* What lies between the durable end and the new segment is no part of the log any more. */
	for (size_t i = 0; i <= wal->n_old; i++)
		if (open_segment(wal, i)->number > prev->prev_number)
			files_drop_segment(wal->files, open_segment(wal, i)->number);
	close_all(wal);
	unsynced_forget(wal->files);
	wal->before = *prev;
	wal->current = *next;
	wal->next.fd = -1;
	atomic_store(&wal->next_ready, false);
	wal->sync_failed = false;
	wal->taken = next->written.last;
	wal->prev_crc = next->written.crc;
	wal->flush_due = next->written.flush_due;
	atomic_store(&wal->offset, next->written.end);
	atomic_store(&wal->log_bytes, bytes);
	atomic_store(&wal->durable, next->written.last);
	atomic_fetch_add(&wal->segments_begun, 1);
	wal_publish(wal);
	files_begin_segment(wal->files, next->number, next->first);
}

/* HEARTH_DAMAGED: the tail does not verify, and no sync makes it whole. Other failures, with err if there is more to say,
 * tell nothing about the tail. The log thread holds; the lock is not held. */
static enum hearth_status go_on(struct wal *wal, struct hearth_error *ret_err)
{
	/* Between two segments there may be none yet. In the reserve there was none to be had. */
	if (wal->next.fd < 0 && (wal_state(wal) == WAL_RESERVE || sync_make_next(wal, ret_err) != HEARTH_OK))
		return HEARTH_IO;
	if (files_is_full(wal->broken_errno))
		sync_what_was_taken(wal);
	struct wal_segment next = wal->next;
	size_t first;
	struct wal_start prev = durable_end(wal, &first);
	enum hearth_status status = has_tail(wal, first)
	                                ? replace_next(wal, &next, &prev, first, ret_err)
	                                : fill_next(wal, &next, next.fd, &prev, first, ret_err);
	if (status != HEARTH_OK)
		return status;
	/* tail_copy has seen to it, segment by segment. */
	CHECK(next.written.last == atomic_load(&wal->written));
	pthread_mutex_lock(&wal->lock);
	take_next(wal, &next, &prev);
	pthread_mutex_unlock(&wal->lock);
	return HEARTH_OK;
}

/* ---- without a log ---- */

/* The mark, with so many numbers above it that memory can go on for long. No lock is held. */
static bool mark(struct wal *wal)
{
	uint64_t high = ring_last(wal->ring) + FILES_UNTRUSTED_STEP;
	struct hearth_error err;
	if (wal->files->marked)
		return true;
	if (files_mark_untrusted(wal->files, high, &err) != HEARTH_OK)
		return false;
	if (atomic_load(&wal->high_water) < high)
		atomic_store(&wal->high_water, high);
	return true;
}

/* What was not published never will be, but for what memory holds: who waits for it is told nothing. The lock is held. */
static void give_up_numbers(struct wal *wal)
{
	atomic_store(&wal->lost_from, atomic_load(&wal->published));
	atomic_fetch_add(&wal->epoch, 1);
}

/* Closes all segments, and leaves no other to begin. The lock is held. */
static void leave_log(struct wal *wal)
{
	const struct vfs *vfs = datadir_vfs(wal->files->dir);
	/* A generation that never got its snapshot. */
	if (wal_state(wal) == WAL_HEALING)
		files_drop_segment(wal->files, wal->current.number);
	wal->files->generation = wal->files->manifest.generation;
	atomic_store(&wal->generation, wal->files->generation);
	close_all(wal);
	if (wal->next.fd >= 0) {
		vfs->close(vfs->ctx, wal->next.fd);
		wal->next.fd = -1;
		atomic_store(&wal->next_ready, false);
	}
	wal->before = (struct wal_start){0};
	wal->sync_failed = wal->removal = false;
}

/* The log ends; the log thread holds. No lock is held. */
static void give_up(struct wal *wal)
{
	bool marked = mark(wal);
	pthread_mutex_lock(&wal->lock);
	leave_log(wal);
	wal->broken = false;
	enter(wal, marked ? WAL_UNTRUSTED : WAL_LOST);
	say(wal, MSG_ERROR, told(wal));
	let_go(wal, WAL_DROPS);
	pthread_mutex_unlock(&wal->lock);
	plan_try(wal, true);
}

/* Whether all that was published is durable in the segments there are. The log thread holds; no lock is held. */
static bool is_whole(struct wal *wal)
{
	sync_what_was_taken(wal);
	for (size_t i = 0; i <= wal->n_old; i++)
		if (open_segment(wal, i)->durable.end != open_segment(wal, i)->written.end)
			return false;
	return true;
}

/* The log ends here, and may go on here later. The segment made ahead has failed too. The lock is held. */
static void stop_log(struct wal *wal)
{
	const struct vfs *vfs = datadir_vfs(wal->files->dir);
	if (wal->next.fd >= 0) {
		vfs->close(vfs->ctx, wal->next.fd);
		wal->next.fd = -1;
		atomic_store(&wal->next_ready, false);
		files_drop_segment(wal->files, wal->next.number);
	}
	atomic_store(&wal->durable, atomic_load(&wal->written));
	wal_publish(wal);
	let_go(wal, WAL_WATCHES);
}

/* The log cannot go on. The lock is held, and let go meanwhile. */
static void end_log(struct wal *wal, bool whole)
{
	/* While the mark stands, what is said without a log is no lie, and no number is given up. */
	bool marked = wal->files->marked;
	if (!marked)
		give_up_numbers(wal);
	if (whole && !wal_serves(wal)) {
		stop_log(wal);
		enter(wal, WAL_STOPPED);
		say(wal, MSG_ERROR, told(wal));
		plan_try(wal, true);
		return;
	}
	pthread_mutex_unlock(&wal->lock);
	if (!marked)
		wal_tell(wal);
	give_up(wal);
	pthread_mutex_lock(&wal->lock);
}

void heal_removal(struct wal *wal)
{
	hold_log(wal);
	wal->removal = false;
	pthread_mutex_unlock(&wal->lock);
	if (wal_state(wal) == WAL_STOPPED)
		give_up(wal);
	heal_gate(wal);
	wal_tell(wal);
	pthread_mutex_lock(&wal->lock);
}

void heal_settle(struct wal *wal)
{
	struct hearth_error err = {0};
	enum wal_state was = wal_state(wal);
	char what[96];
	hold_log(wal);
	int error = wal->broken_errno;
	snprintf(
	    what, sizeof(what), "%s: log-%010llu", wal->broken_what, (unsigned long long)wal->broken_segment);
	set_reason(wal, what, error);
	pthread_mutex_unlock(&wal->lock);
	enum hearth_status status = was != WAL_HEALING ? go_on(wal, &err) : HEARTH_IO;
	bool goes_on = status == HEARTH_OK;
	if (!goes_on && err.what)
		msg(MSG_ERROR, "%s: %s: %s%s%s", datadir_path(wal->files->dir), err.file, err.what,
		    err.sys_errno ? ": " : "", err.sys_errno ? strerror(err.sys_errno) : "");
	bool whole = !goes_on && status != HEARTH_DAMAGED && was != WAL_HEALING && is_whole(wal);
	pthread_mutex_lock(&wal->lock);
	wal->broken = false;
	if (goes_on) {
		enter(wal, WAL_RESERVE);
		say(wal, MSG_ERROR, told(wal));
		let_go(wal, WAL_WRITES);
		plan_try(wal, false);
	} else {
		end_log(wal, whole);
	}
	pthread_mutex_unlock(&wal->lock);
	heal_gate(wal);
	wal_tell(wal);
	pthread_mutex_lock(&wal->lock);
}

void heal_refuse(struct wal *wal, const char *what, int error)
{
	pthread_mutex_lock(&wal->lock);
	bool change = wal_state(wal) == WAL_HEALTHY && !wal->broken;
	if (change) {
		wal->broken_errno = error;
		set_reason(wal, what, error);
		enter(wal, WAL_RESERVE);
		say(wal, MSG_ERROR, told(wal));
		plan_try(wal, true);
	}
	pthread_mutex_unlock(&wal->lock);
}

/* No room under the bound, and nothing helps. */
static void refuse_for_bound(struct wal *wal)
{
	heal_refuse(wal, "--max-disk is reached, and no snapshot would make room", 0);
	wal->bound_refused = wal_state(wal) == WAL_RESERVE;
	heal_gate(wal);
}

/* Under a bound: whether there is more room than what makes changes wait, so that it is not healed for a moment only. */
static bool has_room(const struct wal *wal, uint64_t besides)
{
	struct quota *q = files_bound(wal->files);
	if (!q)
		return true;
	quota_refresh(q);
	return quota_room(q) >= wal->options.slack + wal->options.slack / 2 + besides;
}

void wal_room_done(struct wal *wal)
{
	const struct quota *q = files_bound(wal->files);
	if (q && atomic_load(&wal->tight) && quota_room(q) < wal->options.slack)
		refuse_for_bound(wal);
	atomic_store(&wal->tight, false);
	atomic_store(&wal->near_told, false);
	/* The next try need not wait for its time: this is not a disk that fails. */
	bool untrusted = wal_state(wal) == WAL_UNTRUSTED;
	if (wal->bound_refused && has_room(wal, untrusted ? atomic_load(&wal->snapshot_bytes) : 0))
		wal->heal_at = 0;
	wal_tell(wal);
}

/* ---- getting well ---- */

static void healed(struct wal *wal)
{
	pthread_mutex_lock(&wal->lock);
	wal->bound_refused = false;
	enter(wal, WAL_HEALTHY);
	atomic_fetch_add(&wal->heals, 1);
	msg(MSG_INFO, "%s: the disk is well; state healthy: all is kept again",
	    datadir_path(wal->files->dir));
	pthread_mutex_unlock(&wal->lock);
}

/* RESERVE: the log is whole; it only needs room. */
static bool try_reserve(struct wal *wal)
{
	struct hearth_error err = {0};
	if (has_room(wal, 0) && (wal->next.fd >= 0 || sync_make_next(wal, &err) == HEARTH_OK) &&
	    files_make_spare(wal->files, &err) == HEARTH_OK &&
	    (!wal->files->in_doubt || files_write(wal->files, &err) == HEARTH_OK)) {
		healed(wal);
		/* It retires the segment that failed. */
		atomic_store(&wal->snapshot_wanted, true);
		return true;
	}
	if (!wal_serves(wal) || !mark(wal))
		return false;
	pthread_mutex_lock(&wal->lock);
	hold_log(wal);
	pthread_mutex_unlock(&wal->lock);
	give_up(wal);
	return true;
}

/* STOPPED: the log goes on behind its end, beginning with what waits in the ring. */
static bool try_stopped(struct wal *wal)
{
	struct hearth_error err;
	pthread_mutex_lock(&wal->lock);
	hold_log(wal);
	bool removal = wal->removal;
	pthread_mutex_unlock(&wal->lock);
	bool ok = !removal && go_on(wal, &err) == HEARTH_OK;
	/* It stopped so that no change be lost; meanwhile they are to be served. */
	bool ends = !ok && !removal && wal_serves(wal);
	pthread_mutex_lock(&wal->lock);
	if (ok) {
		enter(wal, WAL_RESERVE);
		let_go(wal, WAL_WRITES);
	} else if (!removal && !ends) {
		stop_log(wal);
	}
	pthread_mutex_unlock(&wal->lock);
	if (ends)
		give_up(wal);
	return ends || (ok && try_reserve(wal));
}

static bool try_lost(struct wal *wal)
{
	if (!mark(wal))
		return false;
	pthread_mutex_lock(&wal->lock);
	enter(wal, WAL_UNTRUSTED);
	say(wal, MSG_WARN, told(wal));
	pthread_mutex_unlock(&wal->lock);
	ring_poke(wal->ring);
	return true;
}

/* The log goes on in the first segment of a new generation. Until its snapshot is published the mark stands. */
static bool try_untrusted(struct wal *wal)
{
	struct files *f = wal->files;
	struct hearth_error err;
	struct manifest_segment entry;
	struct wal_segment next = {.fd = -1};
	/* A snapshot that does not fit is not tried again and again. */
	if (!has_room(wal, atomic_load(&wal->snapshot_bytes)))
		return false;
	uint64_t generation = files_new_generation(f);
	if (files_add_segment(f, generation, atomic_load(&wal->published) + 1, wal->reserve, &next.fd, &entry,
	        &err) != HEARTH_OK)
		return false;
	next.number = entry.number;
	next.allocated = wal->reserve;
	memcpy(next.salt, entry.salt, sizeof(next.salt));
	pthread_mutex_lock(&wal->lock);
	hold_log(wal);
	pthread_mutex_unlock(&wal->lock);
	f->generation = generation;
	/* Nothing before it belongs to it: a segment without a predecessor, from the next number on. */
	const struct wal_start none = {.prev_last = wal->taken};
	wal->before.flush_due = wal->flush_due;
	bool ok = fill_next(wal, &next, next.fd, &none, 0, &err) == HEARTH_OK;
	pthread_mutex_lock(&wal->lock);
	if (ok) {
		atomic_store(&wal->written, next.written.last);
		atomic_store(&wal->generation, generation);
		take_next(wal, &next, &none);
		enter(wal, WAL_HEALING);
		let_go(wal, WAL_WRITES);
	} else {
		f->generation = f->manifest.generation;
		files_drop_segment(f, next.number);
		datadir_vfs(f->dir)->close(datadir_vfs(f->dir)->ctx, next.fd);
		let_go(wal, WAL_DROPS);
	}
	pthread_mutex_unlock(&wal->lock);
	if (ok)
		atomic_store(&wal->snapshot_wanted, true);
	return ok;
}

void heal_try(struct wal *wal)
{
	enum wal_state state = wal_state(wal);
	if (atomic_exchange(&wal->try_now, false))
		wal->heal_at = 0;
	if (state == WAL_HEALTHY || atomic_load(&wal->stopping) || clock_mono_us() < wal->heal_at)
		return;
	bool better = false;
	switch (state) {
	case WAL_RESERVE:
		better = try_reserve(wal);
		break;
	case WAL_STOPPED:
		better = try_stopped(wal);
		break;
	case WAL_LOST:
		better = try_lost(wal);
		break;
	case WAL_UNTRUSTED:
		better = try_untrusted(wal);
		break;
	default:
		/* The snapshot did not come about: another one. */
		atomic_store(&wal->snapshot_wanted, true);
	}
	if (wal_state(wal) != WAL_HEALTHY)
		plan_try(wal, !better);
}

void heal_look(struct wal *wal)
{
	const struct files *f = wal->files;
	if (wal_state(wal) != WAL_HEALING || f->manifest.untrusted)
		return;
	CHECK(f->manifest.generation == f->generation);
	healed(wal);
}
