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
#include "base/vfs.h"

static const struct vfs *wal_vfs(const struct wal *wal)
{
	return datadir_vfs(wal->files->dir);
}

void wal_fail(struct wal *wal, const char *what)
{
	int reason = errno;
	pthread_mutex_lock(&wal->lock);
	bool first = !atomic_exchange(&wal->failed, true);
	pthread_mutex_unlock(&wal->lock);
	if (!first)
		return;
	wal->fail_errno = reason;
	msg(MSG_ERROR, "%s: %s: %s; changes are refused from here on", datadir_path(wal->files->dir), what,
	    strerror(reason));
	pthread_mutex_lock(&wal->lock);
	pthread_cond_broadcast(&wal->done);
	pthread_cond_broadcast(&wal->wake);
	pthread_mutex_unlock(&wal->lock);
	if (wal->options.progress)
		wal->options.progress(wal->options.progress_arg);
}

/* ---- blocks ---- */

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
	    .durable = atomic_load(&wal->durable),
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

static bool write_out(struct wal *wal, struct iovec *iov, int n, size_t len)
{
	if (vfs_writev_all(wal_vfs(wal), wal->current.fd, iov, n) < 0) {
		wal_fail(wal, "cannot write to the log");
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
	    .durable = atomic_load(&wal->durable),
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

/* A block of its own for a key block or seal of so many bytes. NULL: the log has failed. */
static uint8_t *open_key_block(struct wal *wal, size_t len)
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
	uint8_t *out = len ? open_key_block(wal, len) : NULL;
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
	uint8_t *out = len ? open_key_block(wal, len) : NULL;
	if (out)
		keys_encode_seal(&wal->keys, out);
	return out || !len;
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
	atomic_store(&wal->offset, 0);
	atomic_fetch_add(&wal->segments_begun, 1);
}

/* Its header says where the segment before ends. */
static bool begin_segment(struct wal *wal, const struct wal_start *prev)
{
	struct segment_header h = {
	    .generation = wal->files->manifest.generation,
	    .term = wal->files->manifest.term,
	    .number = wal->current.number,
	    .first = wal->current.first,
	    .prev_number = prev->prev_number,
	    .prev_end = prev->prev_end,
	    .prev_last = prev->prev_last,
	    .prev_crc = prev->prev_crc,
	    .wall_ms = clock_wall_ms(),
	    .boot_ms = clock_boot_ms(),
	    .hearth_ms = clock_ms(wal->options.clock),
	    .flush_due = wal->flush_due,
	    .high_water = atomic_load(&wal->high_water),
	};
	uint8_t out[SEGMENT_HEADER_SIZE];
	memcpy(h.lineage, wal->files->manifest.lineage, sizeof(h.lineage));
	memcpy(h.salt, wal->current.salt, sizeof(h.salt));
	datadir_boot_id(wal_vfs(wal), h.boot_id);
	segment_encode_header(&h, out);
	wal->prev_crc = h.crc;
	struct iovec iov = {out, sizeof(out)};
	return write_out(wal, &iov, 1, sizeof(out));
}

/* Keeps the descriptor of the segment being left for the sync thread. The lock is held. */
static bool leave_segment(struct wal *wal)
{
	if (wal->n_old == wal->old_size) {
		size_t size = wal->old_size ? wal->old_size * 2 : 8;
		int *old = realloc(wal->old, size * sizeof(*old));
		if (!old)
			return false; /* the old segment goes on growing */
		wal->old = old;
		wal->old_size = size;
	}
	wal->old[wal->n_old++] = wal->current.fd;
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
	bool ready = wal->next.fd >= 0 && leave_segment(wal);
	if (ready) {
		enter_segment(wal, &wal->next);
		wal->next.fd = -1;
		atomic_fetch_add(&wal->log_bytes, prev.prev_end);
		atomic_store(&wal->rotate_wanted, false);
		pthread_cond_broadcast(&wal->done);
	} else {
		wal->next_wanted = true;
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
	if (wal->options.fsync == WAL_EVERYSEC && behind && since &&
	    clock_mono_us() - since > WAL_BEHIND_MS * 1000)
		atomic_store(&wal->held, true);
}

/* Whether a seal is in place: an idle second, or the end. */
static bool seal_due(const struct wal *wal)
{
	return wal->out_len == 0 && wal->taken == wal->written &&
	       (atomic_load(&wal->stopping) || clock_mono_us() - wal->taken_us >= 1000000);
}

static bool write_batch(struct wal *wal, bool some)
{
	struct ring_entry e;
	bool ok = true;
	if (some)
		wal->taken_us = clock_mono_us();
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
	/* A sync that failed meanwhile ends it: nothing is published any more. */
	pthread_mutex_lock(&wal->lock);
	bool failed = atomic_load(&wal->failed);
	if (!failed)
		atomic_store(&wal->written, wal->taken);
	pthread_mutex_unlock(&wal->lock);
	if (failed)
		return false;
	if (ring_release(wal->ring)) {
		atomic_fetch_add_explicit(&wal->waits, 1, memory_order_relaxed);
		moved = true;
	}
	note_behind(wal);
	if (moved && wal->options.fsync == WAL_ALWAYS) {
		pthread_mutex_lock(&wal->lock);
		pthread_cond_signal(&wal->wake);
		pthread_mutex_unlock(&wal->lock);
	}
	if (moved && wal->options.progress)
		wal->options.progress(wal->options.progress_arg);
	return true;
}

static void *log_main(void *arg)
{
	struct wal *wal = arg;
	pthread_setname_np(pthread_self(), "log");
	uint64_t limit = wal->options.segment_bytes ? wal->options.segment_bytes : WAL_SEGMENT;
	for (;;) {
		bool stopping = atomic_load(&wal->stopping);
		bool some = ring_wait(wal->ring, stopping ? 0 : 1000);
		if (atomic_load(&wal->failed)) {
			if (stopping)
				break;
			/* Nobody takes the records any more: do not spin over them. */
			struct timespec pause = {0, 50000000};
			nanosleep(&pause, NULL);
			continue;
		}
		if (!write_batch(wal, some))
			continue;
		if (!some && stopping)
			break;
		uint64_t offset = atomic_load(&wal->offset);
		if (offset > limit || atomic_load(&wal->rotate_wanted)) {
			change_segment(wal);
		} else if (offset > limit / 2) {
			pthread_mutex_lock(&wal->lock);
			if (wal->next.fd < 0 && !wal->next_wanted) {
				wal->next_wanted = true;
				pthread_cond_signal(&wal->wake);
			}
			pthread_mutex_unlock(&wal->lock);
		}
	}
	pthread_mutex_lock(&wal->lock);
	wal->log_done = true;
	pthread_cond_broadcast(&wal->wake);
	pthread_mutex_unlock(&wal->lock);
	return NULL;
}

/* ---- opening and closing ---- */

static void init(
    struct wal *wal, const struct wal_options *options, struct files *files, const struct wal_start *start)
{
	wal->magic = WAL_MAGIC;
	wal->options = *options;
	wal->files = files;
	wal->taken = start->last_seq;
	wal->flush_due = start->flush_due;
	wal->current.fd = wal->next.fd = -1;
	wal->jobs_end = &wal->jobs;
	atomic_store(&wal->written, start->last_seq);
	atomic_store(&wal->durable, start->last_seq);
	pthread_mutex_init(&wal->lock, NULL);
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&wal->wake, &attr);
	pthread_cond_init(&wal->done, &attr);
	pthread_condattr_destroy(&attr);
}

enum hearth_status wal_open(struct wal **ret_wal, const struct wal_options *options, struct files *files,
    const struct wal_start *start, struct hearth_error *ret_err)
{
	struct wal *wal = calloc(1, sizeof(*wal));
	struct wal_segment segment = {.fd = -1};
	struct manifest_segment entry;
	enum hearth_status status = HEARTH_NOMEM;
	*ret_wal = NULL;
	if (!wal)
		return hearth_fail(ret_err, HEARTH_NOMEM, NULL, 0, "no memory for the log");
	init(wal, options, files, start);
	wal->ring = ring_open(options->ring_bytes, start->last_seq, options->unpin, options->unpin_arg);
	wal->out = malloc(WAL_OUT + BLOCK_HEADER_SIZE);
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
	status = files_add_segment(files, start->last_seq + 1, &segment.fd, &entry, ret_err);
	if (status != HEARTH_OK)
		goto fail;
	segment.number = entry.number;
	memcpy(segment.salt, entry.salt, sizeof(segment.salt));
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

/* Ends both threads, the log thread first. */
static void join(struct wal *wal)
{
	atomic_store(&wal->stopping, true);
	if (wal->log_running) {
		ring_poke(wal->ring);
		pthread_join(wal->log_thread, NULL);
		wal->log_running = false;
	}
	if (wal->sync_running) {
		pthread_mutex_lock(&wal->lock);
		pthread_cond_signal(&wal->wake);
		pthread_mutex_unlock(&wal->lock);
		pthread_join(wal->sync_thread, NULL);
		wal->sync_running = false;
	}
}

enum hearth_status wal_stop(struct wal *wal, struct hearth_error *ret_err)
{
	CHECK_MAGIC(wal, WAL_MAGIC);
	join(wal);
	if (wal_failed(wal)) {
		errno = wal->fail_errno;
		return hearth_fail(ret_err, HEARTH_IO, "log", 0, "the log could not be written");
	}
	struct manifest *m = &wal->files->manifest;
	m->clean = true;
	m->last_seq = wal->taken;
	return files_write(wal->files, ret_err);
}

void wal_close(struct wal **ref)
{
	struct wal *wal = *ref;
	CHECK_MAGIC(wal, WAL_MAGIC);
	*ref = NULL;
	join(wal);
	const struct vfs *vfs = wal_vfs(wal);
	for (size_t i = 0; i < wal->n_old; i++)
		if (wal->old[i] >= 0)
			vfs->close(vfs->ctx, wal->old[i]);
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
	return wal->options.fsync == WAL_ALWAYS ? wal_durable(wal) : wal_written(wal);
}

bool wal_failed(const struct wal *wal)
{
	return atomic_load(&wal->failed);
}

bool wal_held(const struct wal *wal)
{
	return atomic_load_explicit(&wal->held, memory_order_relaxed);
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
	    .segments = atomic_load(&wal->segments_begun),
	    .segment_bytes = atomic_load(&wal->offset),
	    .log_bytes = atomic_load(&wal->log_bytes) + atomic_load(&wal->offset),
	};
}
