/* SPDX-License-Identifier: BSD-3-Clause */
/* wal: the log thread: ring to blocks, blocks to the segment, and going on in the next segment; see wal.h. */
#include "persist/wal_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/check.h"
#include "base/crc32c.h"
#include "base/msg.h"
#include "base/nodump.h"
#include "base/schedule.h"
#include "base/vfs.h"
#include "persist/room.h"
#include <hearth/dict.h>

#define TELL_WAITING_US ((int64_t)3 * 1000000) /* a stop says so often what it waits for */

static const struct vfs *wal_vfs(const struct wal *wal)
{
	return datadir_vfs(wal->files->dir);
}

void wal_tell(const struct wal *wal)
{
	if (wal->options.progress)
		wal->options.progress(wal->options.progress_arg);
}

void wal_break(struct wal *wal, const char *what, uint64_t segment)
{
	int reason = errno;
	pthread_mutex_lock(&wal->lock);
	if (!wal->broken) {
		wal->broken = true;
		wal->broken_errno = reason;
		wal->broken_what = what;
		wal->broken_segment = segment;
	}
	atomic_store(&wal->mode, WAL_HOLDS);
	atomic_store(&wal->refuses, true);
	pthread_cond_broadcast(&wal->done);
	pthread_cond_broadcast(&wal->wake);
	pthread_mutex_unlock(&wal->lock);
	ring_poke(wal->ring);
	wal_tell(wal);
}

void wal_publish(struct wal *wal)
{
	uint64_t to = atomic_load(wal_fsync(wal) == WAL_ALWAYS ? &wal->durable : &wal->written);
	if (atomic_load(&wal->published) < to)
		atomic_store(&wal->published, to);
}

void wal_set_fsync(struct wal *wal, enum wal_fsync fsync)
{
	pthread_mutex_lock(&wal->lock);
	atomic_store(&wal->fsync, fsync);
	/* Replies that waited for a sync need not any more; or there is one to be made now. */
	wal_publish(wal);
	pthread_cond_signal(&wal->wake);
	pthread_mutex_unlock(&wal->lock);
	wal_tell(wal);
}

/* Changes are refused or served from the sync thread's next round on; a log that could not be given up may be now. */
void wal_set_serve(struct wal *wal, bool serve)
{
	if (atomic_exchange(&wal->serve, serve) == serve)
		return;
	pthread_mutex_lock(&wal->lock);
	atomic_store(&wal->try_now, true);
	pthread_cond_signal(&wal->wake);
	pthread_mutex_unlock(&wal->lock);
}

bool wal_serves(const struct wal *wal)
{
	return atomic_load(&wal->serve);
}

/* ---- blocks ---- */

uint64_t wal_claim(const struct wal *wal)
{
	uint64_t durable = atomic_load(&wal->durable);
	return durable == wal->start_last ? wal->start_prev : durable;
}

static void close_block(struct wal *wal)
{
	if (!wal->block_open)
		return;
	uint8_t *at = wal->out + wal->block_at;
	size_t len = wal->out_len - wal->block_at - BLOCK_HEADER_SIZE;
	struct block_header h = {
	    .stored_len = (uint32_t)len,
	    .raw_len = (uint32_t)len,
	    .count = wal->block_count,
	    .first = wal->block_first,
	    .time_ms = clock_ms(wal->options.clock),
	    .durable = wal_claim(wal),
	    .flush_due = wal->flush_due,
	    .prev_crc = wal->prev_crc,
	};
	block_encode_header(&h, wal->current.salt, crc32c(0, at + BLOCK_HEADER_SIZE, len), at);
	wal->prev_crc = h.crc;
	wal->block_open = false;
}

static void open_block(struct wal *wal, uint64_t first)
{
	wal->block_at = wal->out_len;
	wal->block_first = first;
	wal->block_count = 0;
	wal->block_open = true;
	wal->out_len += BLOCK_HEADER_SIZE;
}

/* The next segment is the reserve of this one: it is made before this one's own allocated bytes are used up by changes, or
 * changes are refused. False: the log is to hold. */
static bool await_reserve(struct wal *wal, size_t len)
{
	uint64_t behind = atomic_load(&wal->offset) + len;
	if (atomic_load_explicit(&wal->next_ready, memory_order_relaxed) || behind < wal->limit / 256)
		return true;
	pthread_mutex_lock(&wal->lock);
	int64_t began = clock_mono_us();
	atomic_store(&wal->awaited, true);
	pthread_cond_signal(&wal->wake);
	/* A full disk says so at once; a stalled one would stall the write as well. Not for ever: descriptors may be short. */
	while (behind > wal->reserve / 4 * 3 && !atomic_load(&wal->next_ready) &&
	       wal_state(wal) == WAL_HEALTHY && atomic_load(&wal->mode) == WAL_WRITES &&
	       !atomic_load(&wal->stopping) && wal->tried_us < began) {
		struct timespec until = clock_deadline(100);
		pthread_cond_timedwait(&wal->done, &wal->lock, &until);
	}
	atomic_store(&wal->awaited, false);
	bool writes = atomic_load(&wal->mode) == WAL_WRITES;
	pthread_mutex_unlock(&wal->lock);
	return writes;
}

static bool write_out(struct wal *wal, struct iovec *iov, int n, size_t len)
{
	if (wal->log_running && !await_reserve(wal, len))
		return false;
	atomic_store(&wal->busy_since, clock_mono_us());
	int ret = vfs_writev_all(wal_vfs(wal), wal->current.fd, iov, n);
	atomic_store(&wal->busy_since, 0);
	if (ret < 0) {
		wal_break(wal, "cannot write to the log", wal->current.number);
		return false;
	}
	if (atomic_load(&wal->unsynced_since) == 0)
		atomic_store(&wal->unsynced_since, clock_mono_us());
	atomic_fetch_add_explicit(&wal->offset, len, memory_order_relaxed);
	atomic_fetch_add_explicit(&wal->written_bytes, len, memory_order_relaxed);
	atomic_fetch_add_explicit(&wal->writes, 1, memory_order_relaxed);
	return true;
}

static bool flush_out(struct wal *wal)
{
	close_block(wal);
	if (wal->out_len == 0)
		return true;
	struct iovec iov = {wal->out, wal->out_len};
	bool ok = write_out(wal, &iov, 1, wal->out_len);
	wal->out_len = 0;
	return ok;
}

/* A record above the size of a block has a block of its own, sent from where the value lies. */
static bool write_large(struct wal *wal, const struct ring_entry *e)
{
	if (!flush_out(wal))
		return false;
	size_t len = e->head_len + e->value_len;
	struct block_header h = {
	    .stored_len = (uint32_t)len,
	    .raw_len = (uint32_t)len,
	    .count = 1,
	    .first = e->seq,
	    .time_ms = clock_ms(wal->options.clock),
	    .durable = wal_claim(wal),
	    .flush_due = wal->flush_due,
	    .prev_crc = wal->prev_crc,
	};
	uint8_t head[BLOCK_HEADER_SIZE];
	uint32_t crc = crc32c(crc32c(0, e->head, e->head_len), e->value, e->value_len);
	block_encode_header(&h, wal->current.salt, crc, head);
	wal->prev_crc = h.crc;
	struct iovec iov[] = {{head, sizeof(head)}, {(void *)(uintptr_t)e->head, e->head_len},
	    {(void *)(uintptr_t)e->value, e->value_len}};
	return write_out(wal, iov, 3, sizeof(head) + len);
}

/* flush_due in a block's header is the slot behind its records, so the record is looked at as it passes. */
static void follow_flush(struct wal *wal, const struct ring_entry *e)
{
	struct record r;
	size_t len;
	if (e->head[0] == RECORD_FLUSH)
		wal->flush_due = 0;
	else if (e->head[0] == RECORD_FLUSH_AT && record_decode(e->head, e->head_len, &r, &len) == HEARTH_OK)
		wal->flush_due = r.expiry;
}

/* ---- key blocks ---- */

/* Where the log is, in bytes since the start. */
static uint64_t position(const struct wal *wal)
{
	return atomic_load_explicit(&wal->written_bytes, memory_order_relaxed) + wal->out_len;
}

/* A block of its own for a record without a number, of so many bytes. NULL: the log has failed. */
static uint8_t *open_own_block(struct wal *wal, size_t len)
{
	close_block(wal);
	if (wal->out_len + BLOCK_HEADER_SIZE + len > WAL_OUT && !flush_out(wal))
		return NULL;
	open_block(wal, wal->taken + 1);
	uint8_t *at = wal->out + wal->out_len;
	wal->out_len += len;
	return at;
}

/* The record is in the log, from position `at` on. A stretch and what describes it never share a block. */
static bool note_key(struct wal *wal, const struct ring_entry *e, uint64_t at)
{
	if (!keys_note(&wal->keys, e->seq, e->head, e->head_len, at, position(wal)))
		return true;
	close_block(wal);
	size_t len = keys_due(&wal->keys);
	uint8_t *out = len ? open_own_block(wal, len) : NULL;
	if (out) {
		keys_encode(&wal->keys, out);
		close_block(wal);
	}
	keys_turn(&wal->keys);
	return out || !len;
}

/* Describes what no key block has described yet. */
static bool put_seal(struct wal *wal)
{
	size_t len = keys_seal_due(&wal->keys);
	uint8_t *out = len ? open_own_block(wal, len) : NULL;
	if (out)
		keys_encode_seal(&wal->keys, out);
	return out || !len;
}

/* ---- dictionaries ---- */

/* In a block of its own, which has no number. */
static bool put_dict(struct wal *wal, const struct dict *dict)
{
	const struct record r = dict_record(dict);
	uint8_t *out = open_own_block(wal, record_size(&r));
	if (!out)
		return false;
	record_encode(&r, out);
	close_block(wal);
	return true;
}

/* Those that this segment has not got. Records taken from here on need no others: see wal_options. */
static bool put_dicts(struct wal *wal)
{
	const struct dict_set *set = wal->options.dicts;
	size_t n = set ? dict_count(set) : 0;
	if (wal->dicts_segment != wal->current.number)
		wal->dicts = 0;
	wal->dicts_segment = wal->current.number;
	for (; wal->dicts < n; wal->dicts++)
		if (!put_dict(wal, dict_get(set, wal->dicts)))
			return false;
	return true;
}

/* ---- records ---- */

static bool take(struct wal *wal, const struct ring_entry *e)
{
	size_t len = e->head_len + e->value_len;
	uint64_t at = position(wal);
	CHECK(e->seq == wal->taken + 1);
	if (BLOCK_HEADER_SIZE + len > BLOCK_PAYLOAD_MAX) {
		wal->taken = e->seq;
		return write_large(wal, e) && note_key(wal, e, at);
	}
	if (wal->block_open && wal->out_len - wal->block_at - BLOCK_HEADER_SIZE + len > WAL_BLOCK)
		close_block(wal);
	if (wal->out_len + BLOCK_HEADER_SIZE + len > WAL_OUT && !flush_out(wal))
		return false;
	if (!wal->block_open)
		open_block(wal, e->seq);
	memcpy(wal->out + wal->out_len, e->head, e->head_len);
	wal->out_len += e->head_len;
	if (e->value_len) {
		memcpy(wal->out + wal->out_len, e->value, e->value_len);
		wal->out_len += e->value_len;
	}
	wal->block_count++;
	wal->taken = e->seq;
	follow_flush(wal, e);
	return note_key(wal, e, at);
}

/* ---- segments ---- */

/* Makes `segment` the current one; its header is still to be written. The lock is held once the threads run.
 */
static void enter_segment(struct wal *wal, const struct wal_segment *segment)
{
	wal->current = *segment;
	wal->current.first = wal->taken + 1;
	wal->current.written = wal->current.durable =
	    (struct wal_place){.last = wal->taken, .flush_due = wal->flush_due};
	atomic_store(&wal->offset, 0);
	atomic_fetch_add(&wal->segments_begun, 1);
}

void wal_make_header(const struct wal *wal, const struct wal_segment *segment, const struct wal_start *prev,
    int64_t flush_due, uint8_t out[SEGMENT_HEADER_SIZE], uint32_t *ret_crc)
{
	struct segment_header h = {
	    .generation = wal->files->generation,
	    .term = wal->files->manifest.term,
	    .number = segment->number,
	    .first = segment->first,
	    .prev_number = prev->prev_number,
	    .prev_end = prev->prev_end,
	    .prev_last = prev->prev_last,
	    .prev_crc = prev->prev_crc,
	    .wall_ms = clock_wall_ms(),
	    .boot_ms = clock_boot_ms(),
	    .hearth_ms = clock_ms(wal->options.clock),
	    .flush_due = flush_due,
	    .high_water = atomic_load(&wal->high_water),
	};
	memcpy(h.lineage, wal->files->manifest.lineage, sizeof(h.lineage));
	memcpy(h.salt, segment->salt, sizeof(h.salt));
	memcpy(h.boot_id, wal->files->boot_id, sizeof(h.boot_id));
	segment_encode_header(&h, out);
	*ret_crc = h.crc;
}

/* The current segment is whole up to here. The lock is held once the threads run. */
static void note_written(struct wal *wal)
{
	wal->current.written =
	    (struct wal_place){atomic_load(&wal->offset), wal->taken, wal->prev_crc, wal->flush_due};
}

/* Its header says where the segment before ends. */
static bool begin_segment(struct wal *wal, const struct wal_start *prev)
{
	uint8_t out[SEGMENT_HEADER_SIZE];
	wal_make_header(wal, &wal->current, prev, wal->flush_due, out, &wal->prev_crc);
	struct iovec iov = {out, sizeof(out)};
	if (!write_out(wal, &iov, 1, sizeof(out)))
		return false;
	pthread_mutex_lock(&wal->lock);
	note_written(wal);
	pthread_mutex_unlock(&wal->lock);
	return true;
}

/* Keeps the segment being left for the sync thread. The lock is held. */
static bool leave_segment(struct wal *wal)
{
	if (wal->n_old == wal->old_size) {
		size_t size = wal->old_size ? wal->old_size * 2 : 8;
		struct wal_segment *old = realloc(wal->old, size * sizeof(*old));
		if (!old)
			return false; /* the old segment goes on growing */
		wal->old = old;
		wal->old_size = size;
	}
	wal->old[wal->n_old++] = wal->current;
	return true;
}

/* Goes on in the segment made ahead, if there is one. Everything taken is written. The write is done without
 * the lock: the disk may keep it waiting. */
static bool change_segment(struct wal *wal)
{
	struct wal_start prev = {.prev_number = wal->current.number,
	    .prev_end = atomic_load(&wal->offset),
	    .prev_last = wal->taken,
	    .prev_crc = wal->prev_crc};
	pthread_mutex_lock(&wal->lock);
	bool ready = atomic_load(&wal->mode) == WAL_WRITES && wal->next.fd >= 0 && leave_segment(wal);
	if (ready) {
		enter_segment(wal, &wal->next);
		wal->next.fd = -1;
		atomic_store(&wal->next_ready, false);
		atomic_fetch_add(&wal->log_bytes, prev.prev_end);
		atomic_store(&wal->rotate_wanted, false);
		pthread_cond_broadcast(&wal->done);
	}
	pthread_cond_signal(&wal->wake);
	pthread_mutex_unlock(&wal->lock);
	return !ready || begin_segment(wal, &prev);
}

/* ---- the thread ---- */

static void note_behind(struct wal *wal)
{
	int64_t since = atomic_load(&wal->unsynced_since);
	/* Only records count: holding changes back for anything else would wait for a sync that nobody needs. */
	bool behind = atomic_load(&wal->written) != atomic_load(&wal->durable);
	if (wal_fsync(wal) == WAL_EVERYSEC && behind && since &&
	    clock_mono_us() - since > WAL_BEHIND_MS * 1000)
		atomic_store(&wal->held, true);
}

/* What is near the bound is told at once: a second of changes may be more than there is room for. */
static void look_at_room(struct wal *wal)
{
	const struct quota *q = files_bound(wal->files);
	if (!q || wal_state(wal) != WAL_HEALTHY)
		return;
	uint64_t room = quota_room(q), slack = wal->options.slack,
	         snapshot = atomic_load(&wal->snapshot_bytes);
	uint64_t at = atomic_load_explicit(&wal->written_bytes, memory_order_relaxed);
	bool early = room_early(room, slack, snapshot, wal_bytes_since_mark(wal)) && at >= wal->near_again;
	/* Whoever is told is about to promise a snapshot its room: what is on the way must fit beside it already. */
	bool expected = (early || atomic_load(&wal->near_told)) && !quota_promised(q);
	bool tight = room < slack + (expected ? snapshot : 0);
	if (tight)
		atomic_store(&wal->tight, true);
	if ((tight || early) && !atomic_exchange(&wal->near_told, true)) {
		wal->near_again = at + ROOM_GAIN;
		wal->options.near_bound(wal->options.near_bound_arg);
	}
}

/* Whether a seal is in place: an idle second, or the end. */
static bool seal_due(const struct wal *wal)
{
	return wal->out_len == 0 && wal->taken == wal->written &&
	       (atomic_load(&wal->stopping) || clock_mono_us() - wal->taken_us >= 1000000);
}

/* What was taken is written. False: a sync has failed meanwhile, and nothing is published any more. */
static bool publish_written(struct wal *wal)
{
	pthread_mutex_lock(&wal->lock);
	bool writes = atomic_load(&wal->mode) == WAL_WRITES;
	if (writes) {
		note_written(wal);
		atomic_store(&wal->written, wal->taken);
		wal_publish(wal);
	}
	pthread_mutex_unlock(&wal->lock);
	return writes;
}

static bool write_batch(struct wal *wal, bool some)
{
	struct ring_entry e;
	bool ok = true;
	if (some) {
		wal->taken_us = clock_mono_us();
		ok = put_dicts(wal);
	}
	while (ok && ring_next(wal->ring, &e))
		ok = take(wal, &e);
	if (ok && !some && seal_due(wal))
		ok = put_seal(wal);
	if (ok && atomic_exchange(&wal->time_wanted, false) && wal->out_len == 0 &&
	    wal->taken == wal->written)
		open_block(wal, wal->taken + 1);
	if (!ok || !flush_out(wal))
		return false;
	bool moved = atomic_load(&wal->written) != wal->taken;
	if (!publish_written(wal))
		return false;
	/* Before there is room in the ring again: what is charged there is what the slack is for. */
	look_at_room(wal);
	if (ring_release(wal->ring)) {
		atomic_fetch_add_explicit(&wal->waits, 1, memory_order_relaxed);
		moved = true;
	}
	note_behind(wal);
	if (moved && wal_fsync(wal) == WAL_ALWAYS) {
		pthread_mutex_lock(&wal->lock);
		pthread_cond_signal(&wal->wake);
		pthread_mutex_unlock(&wal->lock);
	}
	if (moved)
		wal_tell(wal);
	return true;
}

/* Without a log: the records are forgotten. While the mark on disk says so, that is no lie. */
static void drop_batch(struct wal *wal)
{
	struct ring_entry e;
	while (ring_next(wal->ring, &e)) {
		CHECK(e.seq == wal->taken + 1);
		wal->taken = e.seq;
		follow_flush(wal, &e);
	}
	ring_release(wal->ring);
	pthread_mutex_lock(&wal->lock);
	if (atomic_load(&wal->mode) == WAL_DROPS && atomic_load(&wal->state) == WAL_UNTRUSTED)
		atomic_store(&wal->published, wal->taken);
	pthread_mutex_unlock(&wal->lock);
	wal_tell(wal);
}

/* Goes back to the last published record and waits until the sync thread has decided how to go on. */
static void hold(struct wal *wal)
{
	pthread_mutex_lock(&wal->lock);
	if (!wal->log_holds && atomic_load(&wal->mode) == WAL_HOLDS) {
		ring_rewind(wal->ring);
		wal->dicts = 0;
		wal->out_len = 0;
		wal->block_open = false;
		if (wal->current.fd < 0 || wal->taken != wal->current.written.last)
			keys_reset(&wal->keys);
		if (wal->current.fd >= 0) {
			wal->taken = wal->current.written.last;
			wal->prev_crc = wal->current.written.crc;
			wal->flush_due = wal->current.written.flush_due;
		}
		wal->log_holds = true;
		pthread_cond_broadcast(&wal->wake);
		while (atomic_load(&wal->mode) == WAL_HOLDS)
			pthread_cond_wait(&wal->done, &wal->lock);
		wal->log_holds = false;
	}
	pthread_mutex_unlock(&wal->lock);
}

/* Without a log that goes on: what is in the ring was never acknowledged. It stays there, but who invalidates something
 * must not wait until the disk is well. */
static void watch(struct wal *wal)
{
	struct ring_entry e;
	bool removal = false;
	while (ring_next(wal->ring, &e))
		removal |=
		    e.head[0] == RECORD_DELETE || e.head[0] == RECORD_FLUSH || e.head[0] == RECORD_FLUSH_AT;
	if (!removal)
		return;
	pthread_mutex_lock(&wal->lock);
	if (atomic_load(&wal->mode) == WAL_WATCHES) {
		atomic_store(&wal->mode, WAL_HOLDS);
		wal->removal = true;
		pthread_cond_signal(&wal->wake);
	}
	pthread_mutex_unlock(&wal->lock);
}

/* Everything taken is written: a new segment, if it is time for one. */
static void look_at_segment(struct wal *wal)
{
	if (atomic_load(&wal->offset) > wal->limit || atomic_load(&wal->rotate_wanted))
		change_segment(wal);
}

static void *log_main(void *arg)
{
	struct wal *wal = arg;
	pthread_setname_np(pthread_self(), "log");
	schedule_promptly();
	for (;;) {
		bool stopping = atomic_load(&wal->stopping);
		bool some = ring_wait(wal->ring, stopping ? 0 : 1000);
		switch ((enum wal_mode)atomic_load(&wal->mode)) {
		case WAL_HOLDS:
			hold(wal);
			continue;
		case WAL_WATCHES:
			watch(wal);
			some = atomic_load(&wal->mode) != WAL_WATCHES;
			break;
		case WAL_DROPS:
			drop_batch(wal);
			break;
		case WAL_WRITES:
			if (!write_batch(wal, some)) {
				hold(wal);
				continue;
			}
			break;
		}
		if (!some && stopping)
			break;
		if (atomic_load(&wal->mode) == WAL_WRITES)
			look_at_segment(wal);
	}
	pthread_mutex_lock(&wal->lock);
	wal->log_done = true;
	pthread_cond_broadcast(&wal->wake);
	pthread_cond_broadcast(&wal->done);
	pthread_mutex_unlock(&wal->lock);
	return NULL;
}

/* ---- opening and closing ---- */

static void init(
    struct wal *wal, const struct wal_options *options, struct files *files, const struct wal_start *start)
{
	wal->magic = WAL_MAGIC;
	wal->options = *options;
	atomic_init(&wal->fsync, options->fsync);
	atomic_init(&wal->serve, options->serve);
	wal->files = files;
	wal->taken = start->last_seq;
	wal->flush_due = start->flush_due;
	wal->current.fd = wal->next.fd = -1;
	wal->limit = options->segment_bytes ? options->segment_bytes : WAL_SEGMENT;
	wal->reserve = room_reserve(options->ring_bytes);
	if (wal->reserve > wal->limit)
		wal->reserve = wal->limit;
	wal->before = *start;
	wal->start_last = start->last_seq;
	wal->start_prev = start->prev_last;
	wal->since_ms = clock_wall_ms();
	wal->healthy_since = clock_mono_us();
	atomic_store(&wal->published, start->last_seq);
	atomic_store(&wal->generation, files->generation);
	wal->jobs_end = &wal->jobs;
	atomic_store(&wal->written, start->last_seq);
	atomic_store(&wal->durable, start->last_seq);
	pthread_mutex_init(&wal->lock, NULL);
	clock_init_cond(&wal->wake);
	clock_init_cond(&wal->done);
}

/* The first segment of this run. On a full disk it may be one without a reserve: reads and deletes are better than no
 * start at all. */
static enum hearth_status add_first(
    struct wal *wal, uint64_t first, struct wal_segment *ret, struct hearth_error *ret_err)
{
	struct files *f = wal->files;
	struct manifest_segment entry;
	struct hearth_error err;
	/* What an earlier run left makes room for the segment, if need be; a new one is made at once. */
	files_free_spare(f);
	if (f->quota)
		quota_refresh(f->quota);
	if (files_bound(f) && quota_room(f->quota) < wal->reserve + ROOM_SPARE) {
		msg(MSG_WARN,
		    "%s: %llu bytes, which leaves no room under --max-disk %llu: a start takes %llu, then "
		    "changes "
		    "are refused until there is room; a larger --max-disk once lets a snapshot make some",
		    datadir_path(f->dir), (unsigned long long)quota_used(f->quota),
		    (unsigned long long)quota_limit(f->quota), (unsigned long long)wal->reserve + ROOM_SPARE);
		quota_allow(f->quota, wal->reserve + ROOM_SPARE + QUOTA_MANIFEST, quota_limit(f->quota));
	}
	ret->allocated = wal->reserve;
	enum hearth_status status =
	    files_add_segment(f, f->generation, first, ret->allocated, &ret->fd, &entry, &err);
	if (status == HEARTH_IO && files_is_full(err.sys_errno)) {
		ret->allocated = ROOM_SPARE / 4;
		status = files_add_segment(f, f->generation, first, ret->allocated, &ret->fd, &entry, &err);
	}
	if (status != HEARTH_OK) {
		if (ret_err)
			*ret_err = err;
		return status;
	}
	ret->number = entry.number;
	memcpy(ret->salt, entry.salt, sizeof(ret->salt));
	/* Without it changes are refused as soon as there are some. */
	files_make_spare(f, NULL);
	/* A kill leaves what was allocated to the current segment and the next one; then two are allocated again. */
	if (f->quota)
		quota_keep_back(f->quota, 3 * wal->reserve + ROOM_SPARE);
	return HEARTH_OK;
}

enum hearth_status wal_open(struct wal **ret_wal, const struct wal_options *options, struct files *files,
    const struct wal_start *start, struct hearth_error *ret_err)
{
	struct wal *wal = calloc(1, sizeof(*wal));
	struct wal_segment segment = {.fd = -1};
	enum hearth_status status = HEARTH_NOMEM;
	*ret_wal = NULL;
	if (!wal)
		return hearth_fail(ret_err, HEARTH_NOMEM, NULL, 0, "no memory for the log");
	init(wal, options, files, start);
	wal->ring = ring_open(options->ring_bytes, start->last_seq, options->unpin, options->unpin_arg);
	wal->out = malloc(WAL_OUT + BLOCK_HEADER_SIZE);
	nodump(wal->out, WAL_OUT + BLOCK_HEADER_SIZE);
	if (!wal->ring || !wal->out || !keys_init(&wal->keys)) {
		hearth_fail(ret_err, HEARTH_NOMEM, NULL, 0, "no memory for the log's ring");
		goto fail;
	}
	atomic_store(&wal->log_bytes, files_log_bytes(files));
	/* What lies there already counts as grown; unsigned arithmetic puts the mark before the start. */
	atomic_store(&wal->mark, 0 - atomic_load(&wal->log_bytes));
	files->manifest.clean = false;
	if (files->manifest.high_water < start->last_seq + FILES_HIGH_WATER_STEP / 2)
		files->manifest.high_water = start->last_seq + FILES_HIGH_WATER_STEP;
	atomic_store(&wal->high_water, files->manifest.high_water);
	status = add_first(wal, start->last_seq + 1, &segment, ret_err);
	if (status != HEARTH_OK)
		goto fail;
	enter_segment(wal, &segment);
	if (!begin_segment(wal, start)) {
		status = hearth_fail(ret_err, HEARTH_IO, "log", 0, "cannot write to the new segment");
		goto fail;
	}
	files_begin_segment(files, segment.number, wal->current.first);
	wal->log_running = pthread_create(&wal->log_thread, NULL, log_main, wal) == 0;
	wal->sync_running = wal->log_running && pthread_create(&wal->sync_thread, NULL, sync_main, wal) == 0;
	if (!wal->sync_running) {
		status = hearth_fail(ret_err, HEARTH_NOMEM, NULL, 0, "cannot start the log's threads");
		goto fail;
	}
	*ret_wal = wal;
	return HEARTH_OK;
fail:
	wal_close(&wal);
	return status;
}

/* Waits until *done; says what for when a disk that does not answer makes that long. The lock is held. */
static void await_thread(struct wal *wal, const bool *done)
{
	int64_t began = clock_mono_us(), told = began;
	while (!*done) {
		struct timespec until = clock_deadline(500);
		pthread_cond_timedwait(&wal->done, &wal->lock, &until);
		int64_t now = clock_mono_us();
		if (*done || now - told < TELL_WAITING_US)
			continue;
		told = now;
		bool writes = atomic_load(&wal->busy_since) != 0;
		msg(MSG_WARN, "%s: waiting for the disk: %s has not come back for %lld seconds",
		    datadir_path(wal->files->dir),
		    writes ? "a write to the log" : "an fsync or a change of files",
		    (long long)(now - began) / 1000000);
	}
}

/* Ends both threads, the log thread first. */
static void join(struct wal *wal)
{
	atomic_store(&wal->stopping, true);
	if (wal->log_running) {
		ring_poke(wal->ring);
		pthread_mutex_lock(&wal->lock);
		await_thread(wal, &wal->log_done);
		pthread_mutex_unlock(&wal->lock);
		pthread_join(wal->log_thread, NULL);
		wal->log_running = false;
	}
	if (wal->sync_running) {
		pthread_mutex_lock(&wal->lock);
		pthread_cond_signal(&wal->wake);
		await_thread(wal, &wal->sync_done);
		pthread_mutex_unlock(&wal->lock);
		pthread_join(wal->sync_thread, NULL);
		wal->sync_running = false;
	}
}

/* The segment made ahead holds nothing: it is not left behind. */
static void drop_next(struct wal *wal)
{
	if (wal->next.fd < 0)
		return;
	wal_vfs(wal)->close(wal_vfs(wal)->ctx, wal->next.fd);
	wal->next.fd = -1;
	files_drop_segment(wal->files, wal->next.number);
}

enum hearth_status wal_stop(struct wal *wal, struct hearth_error *ret_err)
{
	static const char *const why[WAL_STATES] = {
	    [WAL_RESERVE] = "stopped while changes were refused; the log is whole",
	    [WAL_STOPPED] = "stopped while changes were refused; the log is whole",
	    [WAL_UNTRUSTED] = "stopped while the files were not to be trusted: the next start begins empty",
	    [WAL_HEALING] = "stopped while the files were not to be trusted: the next start begins empty",
	    [WAL_LOST] = "stopped without a log: what was changed since the disk failed is lost",
	};
	CHECK_MAGIC(wal, WAL_MAGIC);
	join(wal);
	enum wal_state state = wal_state(wal);
	bool whole = state == WAL_HEALTHY || state == WAL_RESERVE || state == WAL_STOPPED;
	enum hearth_status status = HEARTH_OK;
	if (whole && atomic_load(&wal->durable) == wal->taken) {
		struct manifest *m = &wal->files->manifest;
		m->clean = true;
		m->last_seq = wal->taken;
		drop_next(wal);
		files_free_spare(wal->files);
		status = files_write(wal->files, ret_err);
		if (status == HEARTH_OK)
			files_sweep(wal->files, NULL);
	}
	if (state == WAL_HEALTHY)
		return status;
	errno = wal->broken_errno;
	return hearth_fail(ret_err, HEARTH_IO, "log", 0, why[state]);
}

void wal_close(struct wal **ref)
{
	struct wal *wal = *ref;
	CHECK_MAGIC(wal, WAL_MAGIC);
	*ref = NULL;
	join(wal);
	const struct vfs *vfs = wal_vfs(wal);
	for (size_t i = 0; i < wal->n_old; i++)
		vfs->close(vfs->ctx, wal->old[i].fd);
	if (wal->current.fd >= 0)
		vfs->close(vfs->ctx, wal->current.fd);
	if (wal->next.fd >= 0)
		vfs->close(vfs->ctx, wal->next.fd);
	if (wal->ring)
		ring_close(&wal->ring);
	pthread_mutex_destroy(&wal->lock);
	pthread_cond_destroy(&wal->wake);
	pthread_cond_destroy(&wal->done);
	keys_destroy(&wal->keys);
	free(wal->old);
	free(wal->out);
	wal->magic = 0;
	free(wal);
}

/* ---- asked by others ---- */

struct ring *wal_ring(struct wal *wal)
{
	return wal->ring;
}

uint64_t wal_written(const struct wal *wal)
{
	return atomic_load(&wal->written);
}

uint64_t wal_durable(const struct wal *wal)
{
	return atomic_load(&wal->durable);
}

uint64_t wal_published(const struct wal *wal)
{
	return atomic_load(&wal->published);
}

enum wal_state wal_state(const struct wal *wal)
{
	return (enum wal_state)atomic_load_explicit(&wal->state, memory_order_relaxed);
}

bool wal_logs(const struct wal *wal)
{
	enum wal_state state = wal_state(wal);
	return state != WAL_STOPPED && state != WAL_UNTRUSTED && state != WAL_LOST;
}

const char *wal_state_name(enum wal_state state)
{
	static const char *const names[WAL_STATES] = {
	    "healthy", "reserve", "stopped", "untrusted", "healing", "lost"};
	return names[state];
}

bool wal_refuses(const struct wal *wal)
{
	return atomic_load_explicit(&wal->refuses, memory_order_relaxed);
}

uint64_t wal_epoch(const struct wal *wal)
{
	return atomic_load(&wal->epoch);
}

uint64_t wal_lost_from(const struct wal *wal)
{
	return atomic_load(&wal->lost_from);
}

bool wal_wants_snapshot(struct wal *wal)
{
	return atomic_exchange(&wal->snapshot_wanted, false);
}

bool wal_held(const struct wal *wal)
{
	return atomic_load_explicit(&wal->held, memory_order_relaxed);
}

void wal_expect_snapshot(struct wal *wal)
{
	atomic_store(&wal->near_told, true);
}

bool wal_tight(const struct wal *wal)
{
	return atomic_load_explicit(&wal->tight, memory_order_relaxed);
}

void wal_set_snapshot_bytes(struct wal *wal, uint64_t bytes)
{
	atomic_store(&wal->snapshot_bytes, bytes);
}

void wal_note_time(struct wal *wal)
{
	atomic_store(&wal->time_wanted, true);
	ring_poke(wal->ring);
}

uint64_t wal_bytes_since_mark(const struct wal *wal)
{
	return atomic_load(&wal->written_bytes) - atomic_load(&wal->mark);
}

uint64_t wal_position(const struct wal *wal)
{
	return atomic_load(&wal->written_bytes);
}

void wal_mark(struct wal *wal, uint64_t position)
{
	atomic_store(&wal->mark, position);
}

void wal_get_stats(struct wal *wal, struct wal_stats *st)
{
	*st = (struct wal_stats){
	    .written = atomic_load(&wal->written),
	    .durable = atomic_load(&wal->durable),
	    .written_bytes = atomic_load(&wal->written_bytes),
	    .writes = atomic_load(&wal->writes),
	    .syncs = atomic_load(&wal->syncs),
	    .last_sync_us = atomic_load(&wal->last_sync_us),
	    .max_sync_us = atomic_load(&wal->max_sync_us),
	    .waits = atomic_load(&wal->waits),
	    .sync_us = atomic_load(&wal->sync_us),
	    .segments = atomic_load(&wal->segments_begun),
	    .segment_bytes = atomic_load(&wal->offset),
	    .log_bytes = atomic_load(&wal->log_bytes) + atomic_load(&wal->offset),
	    .generation = atomic_load(&wal->generation),
	    .heals = atomic_load(&wal->heals),
	    .state = wal_state(wal),
	};
	for (unsigned i = 0; i < WAL_SYNC_STEPS; i++)
		st->sync_counts[i] = atomic_load(&wal->sync_counts[i]);
	uint64_t offset = st->segment_bytes;
	pthread_mutex_lock(&wal->lock);
	st->state_ms = wal->since_ms;
	memcpy(st->reason, wal->reason, sizeof(st->reason));
	if (wal->next.fd >= 0)
		st->reserve_bytes = wal->next.allocated;
	else if (wal->current.fd >= 0 && offset < wal->current.allocated)
		st->reserve_bytes = wal->current.allocated - offset;
	pthread_mutex_unlock(&wal->lock);
}
