/* SPDX-License-Identifier: BSD-3-Clause */
/* snap: see snap.h. Chunks pass from the scan (this thread, or one that reclaims) to the writer under the
 * scan's lock. */
#include "persist/snap.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/buf.h"
#include "base/check.h"
#include "base/schedule.h"
#include "base/vfs.h"
#include <hearth/dict.h>
#include "persist/rate.h"
#include "store/item.h"

/* Encoded bytes that may wait to be written, besides one item of the largest size: reclaim never waits for the disk, it
 * gives the snapshot up. */
#define PENDING_MAX (64u << 20)
/* With more than this waiting the rate is lifted: reclaim is handing regions over faster than it lets them go. */
#define PENDING_LIFTS (8u << 20)
#define LATE_US       30000000 /* one that has taken so long lets nobody go first any more */
#define SLICE_US      20000    /* a wait looks at what else there is this often */

struct chunk {
	struct buf buf;
	uint32_t items;
	struct chunk *next;
};

struct snap {
	const struct snap_options *options;
	struct chunk *first, *last, *spare; /* under the scan's lock */
	size_t pending, most_pending;
	bool no_memory;
	struct snapshot_writer *writer;
	struct snap_result result;
	struct snapshot_header header;
	struct snapshot_footer footer;
	const struct vfs *vfs;
	uint64_t position; /* of the log at S0 */
	struct rate rate;
	int64_t late_us; /* clock_mono_us: from then on it has taken long */
	uint64_t paid;   /* bytes of the file that the rate has seen */
	int fd;
};

static struct chunk *new_chunk(struct snap *snap)
{
	struct chunk *c = snap->spare;
	if (c)
		snap->spare = c->next;
	else
		c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->next = NULL;
	c->items = 0;
	buf_clear(&c->buf);
	if (snap->last)
		snap->last->next = c;
	else
		snap->first = c;
	snap->last = c;
	return c;
}

static struct record item_record(const struct store_scan_item *item)
{
	unsigned bits = (item->state & ITEM_STALE ? RECORD_STALE : 0) |
	                (item->state & ITEM_WIN_SENT ? RECORD_WIN_SENT : 0) |
	                (item->state & ITEM_FETCHED ? RECORD_FETCHED : 0) |
	                (item->state & ITEM_BINARY ? RECORD_BINARY_KEY : 0) |
	                (item->main_queue ? RECORD_MAIN_QUEUE : 0) | (unsigned)item->use << RECORD_USE_SHIFT;
	return (struct record){
	    .type = RECORD_SET,
	    .bits = (uint16_t)bits,
	    .key_len = item->key_len,
	    .key = item->key,
	    .value = item->value,
	    .value_len = item->value_len,
	    .seq = item->seq,
	    .cas = item->cas,
	    .expiry = item->expiry,
	    .access = item->access,
	    .flags = item->flags,
	    .dict = item->dict,
	};
}

static bool visit(void *arg, const struct store_scan_item *item)
{
	struct snap *snap = arg;
	struct record r = item_record(item);
	size_t size = record_size(&r);
	struct chunk *c = snap->last;
	if (item->state & ITEM_NOT_KEPT)
		return true;
	if (atomic_load_explicit(snap->options->cancel, memory_order_relaxed) ||
	    snap->pending > PENDING_MAX + store_item_max(snap->options->store))
		return false;
	if (!c || (c->items && buf_len(&c->buf) + size > SNAPSHOT_PAYLOAD_MAX))
		c = new_chunk(snap);
	if (!c || !buf_reserve(&c->buf,
	              size > SNAPSHOT_PAYLOAD_MAX ? size : SNAPSHOT_PAYLOAD_MAX - buf_len(&c->buf))) {
		snap->no_memory = true;
		return false;
	}
	record_encode(&r, c->buf.data + c->buf.tail);
	c->buf.tail += size;
	c->items++;
	snap->pending += size;
	if (snap->pending > snap->most_pending)
		snap->most_pending = snap->pending;
	return true;
}

/* Takes what is ready; all: the last, unfinished chunk too. */
static struct chunk *take(struct snap *snap, bool all)
{
	struct store *store = snap->options->store;
	store_scan_lock(store);
	struct chunk *c = snap->first;
	if (c && (all || c->next)) {
		snap->first = c->next;
		if (!snap->first)
			snap->last = NULL;
		snap->pending -= buf_len(&c->buf);
	} else {
		c = NULL;
	}
	store_scan_unlock(store);
	return c;
}

static void give_back(struct snap *snap, struct chunk *c)
{
	store_scan_lock(snap->options->store);
	c->next = snap->spare;
	snap->spare = c;
	store_scan_unlock(snap->options->store);
}

static size_t pending(struct snap *snap)
{
	store_scan_lock(snap->options->store);
	size_t bytes = snap->pending;
	store_scan_unlock(snap->options->store);
	return bytes;
}

/* Waits as the rate says. What reclaim adds meanwhile lies in memory: with too much of it the rate is lifted, so that
 * a slow rate never makes a snapshot fail. */
static void hold_back(struct snap *snap)
{
	uint64_t bytes = snapshot_writer_bytes(snap->writer), news = bytes - snap->paid;
	int64_t us = rate_take(&snap->rate, news, clock_mono_us());
	snap->paid = bytes;
	while (us > 0 && !atomic_load(snap->options->cancel)) {
		if (pending(snap) > PENDING_LIFTS || wal_tight(snap->options->wal)) {
			rate_forgive(&snap->rate);
			return;
		}
		struct timespec slice = {0, (long)(us < SLICE_US ? us : SLICE_US) * 1000};
		nanosleep(&slice, NULL);
		us -= SLICE_US;
	}
}

/* Once it has a core it would have it until the next tick, milliseconds, beside requests that wait. Where no core is ever
 * idle it gets next to none that way, so after a while it stops that: the log must not grow for ever. */
static void let_others(void *arg)
{
	const struct snap *snap = arg;
	if (clock_mono_us() < snap->late_us)
		schedule_yield();
}

static enum hearth_status write_ready(struct snap *snap, bool all, struct hearth_error *ret_err)
{
	struct chunk *c;
	while ((c = take(snap, all))) {
		uint64_t upto = ring_last(wal_ring(snap->options->wal));
		enum hearth_status status = snapshot_writer_block(
		    snap->writer, c->buf.data + c->buf.head, buf_len(&c->buf), c->items, upto, ret_err);
		snap->result.items += c->items;
		if (snap->options->written)
			atomic_store_explicit(
			    snap->options->written, snap->result.items, memory_order_relaxed);
		give_back(snap, c);
		if (status != HEARTH_OK)
			return status;
		hold_back(snap);
	}
	return HEARTH_OK;
}

static void free_chunks(struct chunk *c)
{
	while (c) {
		struct chunk *next = c->next;
		buf_free(&c->buf);
		free(c);
		c = next;
	}
}

/* ---- jobs for the sync thread, which owns the files ---- */

static enum hearth_status begin_job(void *arg, struct files *files)
{
	struct snap *snap = arg;
	struct hearth_error err;
	snap->vfs = datadir_vfs(files->dir);
	memcpy(snap->header.lineage, files->manifest.lineage, HEARTH_ID_SIZE);
	snap->header.generation = files->generation;
	snap->header.term = files->manifest.term;
	snap->header.high_water = files->manifest.high_water;
	return files_add_snapshot(files, &snap->result.number, &snap->fd, &err);
}

static enum hearth_status publish_job(void *arg, struct files *files)
{
	struct snap *snap = arg;
	struct hearth_error err;
	const struct manifest_snapshot entry = {
	    .number = snap->result.number,
	    .start = snap->header.start,
	    .end = snap->footer.end,
	    .generation = snap->header.generation,
	    .bytes = snap->result.bytes,
	    .wall_ms = snap->header.wall_ms,
	};
	return files_publish(files, &entry, &err);
}

static enum hearth_status drop_job(void *arg, struct files *files)
{
	struct snap *snap = arg;
	files_drop_temporary(files, DATADIR_SNAPSHOT, snap->result.number);
	return HEARTH_OK;
}

/* ---- the run ---- */

static enum hearth_status begin(struct snap *snap, struct hearth_error *ret_err)
{
	const struct snap_options *o = snap->options;
	if (!wal_logs(o->wal))
		return hearth_fail(
		    ret_err, HEARTH_IO, "snapshot", 0, "there is no log that it could belong to");
	wal_rotate(o->wal);
	enum hearth_status status = wal_run(o->wal, begin_job, snap);
	if (status != HEARTH_OK)
		return hearth_fail(ret_err, status, "snapshot", 0, "cannot create the snapshot's file");
	snap->header.number = snap->result.number;
	snap->header.wall_ms = clock_wall_ms();
	snap->header.hearth_ms = clock_ms(o->clock);
	if (datadir_random_id(snap->header.salt) < 0)
		return hearth_fail(ret_err, HEARTH_IO, "snapshot", 0, "no random bytes for the salt");
	/* S0 first, then the scan: what is linked between the two is in the log behind S0 as well. */
	snap->position = wal_position(o->wal);
	snap->header.flush_due = atomic_load(o->flush_due);
	snap->header.start = ring_last(wal_ring(o->wal));
	status = snapshot_writer_open(&snap->writer, snap->vfs, snap->fd, &snap->header, o->level, ret_err);
	if (status == HEARTH_OK)
		snapshot_writer_pauses(snap->writer, let_others, snap);
	return status;
}

static enum hearth_status scan(struct snap *snap, struct hearth_error *ret_err)
{
	const struct snap_options *o = snap->options;
	enum hearth_status status = HEARTH_OK;
	int more = 1;
	store_scan_begin(o->thread, visit, snap);
	while (more > 0 && status == HEARTH_OK) {
		more = store_scan_step(o->thread);
		status = write_ready(snap, false, ret_err);
		let_others(snap);
	}
	store_scan_end(o->thread);
	if (more < 0 && status == HEARTH_OK)
		status = hearth_fail(ret_err, snap->no_memory ? HEARTH_NOMEM : HEARTH_BUSY, "snapshot", 0,
		    "given up: stopped, or the disk is too slow");
	return status == HEARTH_OK ? write_ready(snap, true, ret_err) : status;
}

/* All dictionaries that an item may be packed with, in blocks without items: readers take these first. Called when the log
 * is written up to the scan's end: a dictionary that is younger than this is in the log behind S0. */
static enum hearth_status write_dicts(struct snap *snap, struct hearth_error *ret_err)
{
	const struct dict_set *dicts = snap->options->dicts;
	enum hearth_status status = HEARTH_OK;
	struct buf buf = {0};
	for (size_t i = 0; dicts && i < dict_count(dicts) && status == HEARTH_OK; i++) {
		const struct record r = dict_record(dict_get(dicts, i));
		buf_clear(&buf);
		if (!buf_reserve(&buf, record_size(&r) + RECORD_OVERHEAD_MAX)) {
			status =
			    hearth_fail(ret_err, HEARTH_NOMEM, "snapshot", 0, "no memory for a dictionary");
			break;
		}
		size_t len = record_encode(&r, buf.data + buf.tail);
		status = snapshot_writer_block(
		    snap->writer, buf.data + buf.tail, len, 0, snap->footer.end, ret_err);
	}
	buf_free(&buf);
	return status;
}

static enum hearth_status finish(struct snap *snap, struct hearth_error *ret_err)
{
	const struct snap_options *o = snap->options;
	snap->footer.end = ring_last(wal_ring(o->wal));
	snap->footer.flush_due = atomic_load(o->flush_due);
	snap->footer.high_water = snap->header.high_water;
	snap->footer.hearth_ms = clock_ms(o->clock);
	/* Never ahead of the log: otherwise it would hold what the log may lose. */
	if (wal_sync(o->wal, snap->footer.end) != HEARTH_OK)
		return hearth_fail(ret_err, HEARTH_IO, "snapshot", 0, "the log could not be made durable");
	enum hearth_status status = write_dicts(snap, ret_err);
	if (status == HEARTH_OK)
		status = snapshot_writer_finish(snap->writer, &snap->footer, ret_err);
	if (status != HEARTH_OK)
		return status;
	snap->result.bytes = snapshot_writer_bytes(snap->writer);
	if (snap->vfs->fsync(snap->vfs->ctx, snap->fd) < 0)
		return hearth_fail(ret_err, HEARTH_IO, "snapshot", 0, "fsync failed");
	status = wal_run(o->wal, publish_job, snap);
	if (status != HEARTH_OK)
		return hearth_fail(ret_err, status, "snapshot", 0, "cannot be published");
	wal_mark(o->wal, snap->position);
	return HEARTH_OK;
}

enum hearth_status snap_run(
    const struct snap_options *options, struct snap_result *ret_result, struct hearth_error *ret_err)
{
	struct snap snap = {.options = options,
	    .fd = -1,
	    .rate = {.per_second = options->rate},
	    .late_us = clock_mono_us() + LATE_US};
	enum hearth_status status = begin(&snap, ret_err);
	if (status == HEARTH_OK)
		status = scan(&snap, ret_err);
	if (status == HEARTH_OK)
		status = finish(&snap, ret_err);
	if (snap.writer)
		snapshot_writer_close(&snap.writer);
	if (snap.fd >= 0)
		snap.vfs->close(snap.vfs->ctx, snap.fd);
	if (status != HEARTH_OK && snap.result.number)
		wal_run(options->wal, drop_job, &snap);
	free_chunks(snap.first);
	free_chunks(snap.spare);
	/* The allocator would keep what an eviction storm made it take, for nobody. */
	if (snap.most_pending > PENDING_LIFTS)
		malloc_trim(0);
	*ret_result = snap.result;
	return status;
}

/* ---- packing what is kept for going back in time ---- */

struct packing {
	uint64_t number, end;
	int dirfd;
	const struct vfs *vfs;
};

static enum hearth_status next_job(void *arg, struct files *files)
{
	struct packing *p = arg;
	p->dirfd = datadir_fd(files->dir);
	p->vfs = datadir_vfs(files->dir);
	if (!files_next_to_pack(files, p->number, &p->number, &p->end))
		return HEARTH_END;
	/* Under a bound packing, which takes a second copy, is no reason for changes to wait. */
	const struct quota *q = files_bound(files);
	return q && quota_room(q) < quota_limit(q) / 4 + p->end ? HEARTH_END : HEARTH_OK;
}

static enum hearth_status packed_job(void *arg, struct files *files)
{
	struct packing *p = arg;
	struct hearth_error err;
	return files_packed(files, p->number, &err);
}

void snap_pack(const struct snap_options *o)
{
	struct packing p = {0};
	while (!atomic_load(o->cancel) && wal_run(o->wal, next_job, &p) == HEARTH_OK) {
		char from[DATADIR_NAME_SIZE], to[FILES_NAME_SIZE];
		struct hearth_error err;
		datadir_name(DATADIR_LOG, p.number, from);
		files_temporary_name(DATADIR_LOG, p.number, to);
		/* A segment that cannot be packed stays as it is: nothing is lost but space. */
		if (segment_pack(p.vfs, p.dirfd, from, to, p.end, &err) == HEARTH_OK)
			wal_run(o->wal, packed_job, &p);
	}
}
