/* SPDX-License-Identifier: BSD-3-Clause */
/* replay: the log to the store. A segment is read whole, its blocks verified and decoded by all threads, then
 * applied, each key by one thread, in order. Where a block is bad the end-of-log rule decides
 * (hearth-log(5)): either the log ends there, or it is damage, and what is older than it goes. */
#include "persist/replay.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include "base/check.h"
#include "base/vfs.h"

/* Bytes of a segment that are verified and then applied at once: what was verified is still in the caches. */
#define WINDOW (UINT64_C(8) << 20)

/* ---- reading ---- */

static enum hearth_status read_head(struct replay *rp, size_t i)
{
	struct files *files = rp->rec->options->files;
	const struct vfs *vfs = datadir_vfs(files->dir);
	struct replay_head *head = &rp->heads[i];
	uint8_t raw[SEGMENT_HEADER_SIZE] = {0};
	struct stat st;
	head->entry = &files->manifest.segments[i];
	datadir_name(DATADIR_LOG, head->entry->number, head->name);
	int fd = vfs_open(vfs, datadir_fd(files->dir), head->name, O_RDONLY);
	if (fd < 0)
		return errno == ENOENT
		           ? HEARTH_OK
		           : hearth_fail(rp->rec->err, HEARTH_IO, head->name, 0, "cannot open the segment");
	ssize_t n = vfs->fstat(vfs->ctx, fd, &st) < 0 ? -1 : vfs_read_at(vfs, fd, raw, sizeof(raw), 0);
	vfs->close(vfs->ctx, fd);
	if (n < 0)
		return hearth_fail(rp->rec->err, HEARTH_IO, head->name, 0, "cannot read the segment");
	head->size = (uint64_t)st.st_size;
	head->present = true;
	head->status = head->size == 0 ? HEARTH_END : segment_decode_header(raw, (size_t)n, &head->h);
	if (head->status == HEARTH_END && head->size > 0)
		head->status = HEARTH_DAMAGED; /* a header of zeros over something: it was lost */
	if (head->status == HEARTH_OK &&
	    (memcmp(head->h.lineage, files->manifest.lineage, HEARTH_ID_SIZE) != 0 ||
	        head->h.number != head->entry->number))
		head->status = HEARTH_FOREIGN;
	return HEARTH_OK;
}

static void read_part(void *arg, unsigned i)
{
	struct replay *rp = arg;
	const struct vfs *vfs = datadir_vfs(rp->rec->options->files->dir);
	size_t slice = (rp->len + rp->rec->threads - 1) / rp->rec->threads, from = slice * i;
	if (from >= rp->len)
		return;
	size_t len = rp->len - from < slice ? rp->len - from : slice;
	if (vfs_read_at(vfs, rp->fd, rp->data + from, len, from) != (ssize_t)len)
		atomic_store(&rp->read_failed, true);
}

/* The whole file into memory. */
static enum hearth_status read_segment(struct replay *rp, const struct replay_head *head)
{
	struct files *files = rp->rec->options->files;
	const struct vfs *vfs = datadir_vfs(files->dir);
	if (rp->size < head->size) {
		uint8_t *data = realloc(rp->data, head->size);
		if (!data)
			return hearth_fail(
			    rp->rec->err, HEARTH_NOMEM, head->name, 0, "no memory to read the segment");
		rp->data = data;
		rp->size = head->size;
	}
	rp->fd = vfs_open(vfs, datadir_fd(files->dir), head->name, O_RDONLY);
	if (rp->fd < 0)
		return hearth_fail(rp->rec->err, HEARTH_IO, head->name, 0, "cannot open the segment");
	rp->len = head->size;
	atomic_store(&rp->read_failed, false);
	parallel_run(rp->rec->threads, read_part, rp);
	vfs->close(vfs->ctx, rp->fd);
	if (atomic_load(&rp->read_failed))
		return hearth_fail(rp->rec->err, HEARTH_IO, head->name, 0, "cannot read the segment");
	return HEARTH_OK;
}

/* ---- blocks ---- */

static bool push_span(struct replay *rp, const struct replay_span *span)
{
	if (rp->n_spans == rp->spans_size) {
		size_t size = rp->spans_size ? rp->spans_size * 2 : 1024;
		struct replay_span *spans = realloc(rp->spans, size * sizeof(*spans));
		if (!spans)
			return false;
		rp->spans = spans;
		rp->spans_size = size;
	}
	rp->spans[rp->n_spans++] = *span;
	return true;
}

/* Finds the blocks from `offset` on by their lengths alone, for one window. Returns where that stops. */
static uint64_t walk(struct replay *rp, uint64_t offset)
{
	uint64_t window = offset + WINDOW;
	rp->n_spans = 0;
	while (offset + BLOCK_HEADER_SIZE <= rp->end && offset < window) {
		struct replay_span span = {.offset = offset};
		if (block_decode_header(rp->data + offset, rp->end - offset, &span.h) != HEARTH_OK ||
		    !push_span(rp, &span))
			break;
		offset += BLOCK_HEADER_SIZE + (uint64_t)span.h.stored_len;
	}
	return offset;
}

static bool bin_push(struct replay_bin *bin, const struct replay_entry *e)
{
	if (bin->n == bin->size) {
		size_t size = bin->size ? bin->size * 2 : 4096;
		struct replay_entry *entries = realloc(bin->entries, size * sizeof(*entries));
		if (!entries)
			return false;
		bin->entries = entries;
		bin->size = size;
	}
	bin->entries[bin->n++] = *e;
	return true;
}

/* Records of a verified block into the bins of the threads that will apply them. */
static enum hearth_status bin_records(struct replay *rp, unsigned i, const struct replay_span *span)
{
	struct recovery *rec = rp->rec;
	struct segment_block block = {
	    .head = span->h, .payload = span->payload, .payload_len = span->h.raw_len};
	struct segment_records records = segment_records(&block);
	struct record r;
	for (;;) {
		const uint8_t *at = records.at;
		enum hearth_status status = segment_next_record(&records, &r);
		if (status != HEARTH_OK)
			return status == HEARTH_END ? HEARTH_OK : status;
		if (r.seq <= rec->s0 || !record_takes_number(r.type))
			continue;
		if (r.type == RECORD_FLUSH) {
			atomic_store(&rp->has_flush, true);
			continue;
		}
		if (r.key_len == 0)
			continue;
		struct store_key key = store_key(rec->options->store, r.key, r.key_len);
		struct replay_entry e = {
		    key.hash, at, (uint32_t)(records.at - at), (uint32_t)(span - rp->spans), r.seq};
		if (!bin_push(&rp->bins[i][key.hash % rec->threads], &e))
			return HEARTH_NOMEM;
	}
}

static enum hearth_status verify_span(struct replay *rp, struct replay_span *span)
{
	const uint8_t *head = rp->data + span->offset, *stored = head + BLOCK_HEADER_SIZE;
	enum hearth_status status = block_verify(head, rp->salt, stored, span->h.stored_len);
	if (status != HEARTH_OK)
		return status;
	span->payload = stored;
	if (span->h.flags & BLOCK_ZSTD) {
		span->unpacked = malloc(span->h.raw_len);
		if (!span->unpacked)
			return HEARTH_NOMEM;
		span->payload = span->unpacked;
		status = block_unpack(&span->h, stored, span->unpacked);
	}
	return status;
}

static void verify_part(void *arg, unsigned i)
{
	struct replay *rp = arg;
	size_t slice = (rp->n_spans + rp->rec->threads - 1) / rp->rec->threads, from = slice * i;
	for (unsigned k = 0; k < rp->rec->threads; k++)
		rp->bins[i][k].n = 0;
	for (size_t n = from; n < from + slice && n < rp->n_spans; n++) {
		struct replay_span *span = &rp->spans[n];
		span->status = verify_span(rp, span);
		/* Blocks wholly before the snapshot need no decoding. */
		if (span->status == HEARTH_OK && span->h.first + span->h.count > rp->rec->s0 + 1)
			span->status = bin_records(rp, i, span);
		if (span->status != HEARTH_OK)
			break; /* what follows in this slice is looked at again, if at all */
	}
}

/* ---- applying ---- */

static void apply_part(void *arg, unsigned p)
{
	struct replay *rp = arg;
	struct recovery *rec = rp->rec;
	const struct store *store = rec->options->store;
	uint64_t applied = 0, dropped = 0;
	for (unsigned i = 0; i < rec->threads; i++) {
		const struct replay_bin *bin = &rp->bins[i][p];
		for (size_t n = 0; n < bin->n && bin->entries[n].span < rp->apply_spans; n++) {
			const struct replay_entry *e = &bin->entries[n];
			if (n + 2 * REPLAY_AHEAD < bin->n)
				store_prefetch_shard(store, bin->entries[n + 2 * REPLAY_AHEAD].hash);
			if (n + REPLAY_AHEAD < bin->n)
				store_prefetch(store, bin->entries[n + REPLAY_AHEAD].hash);
			struct record r;
			size_t len;
			CHECK(record_decode(e->at, e->len, &r, &len) == HEARTH_OK);
			r.seq = e->seq;
			r.access = r.access ? r.access : rec->time_ms / 1000;
			struct store_key key = {.data = r.key, .len = r.key_len, .hash = e->hash};
			dropped += !apply_record(rec->thread[p], &key, &r, false);
			applied++;
		}
	}
	atomic_fetch_add(&rec->items_applied, applied);
	atomic_fetch_add(&rec->dropped, dropped);
}

/* With a flush among them the records are applied by one thread: it is rare, and a flush is a barrier. */
static void apply_serially(struct replay *rp, size_t n)
{
	struct recovery *rec = rp->rec;
	for (size_t k = 0; k < n; k++) {
		const struct replay_span *span = &rp->spans[k];
		struct segment_block block = {
		    .head = span->h, .payload = span->payload, .payload_len = span->h.raw_len};
		struct segment_records records = segment_records(&block);
		struct record r;
		while (span->payload && segment_next_record(&records, &r) == HEARTH_OK) {
			if (r.seq <= rec->s0 || !record_takes_number(r.type))
				continue;
			if (r.type == RECORD_FLUSH) {
				store_load_flush(rec->thread[0], r.seq);
				continue;
			}
			if (r.key_len == 0)
				continue;
			struct store_key key = store_key(rec->options->store, r.key, r.key_len);
			if (!apply_record(rec->thread[0], &key, &r, false))
				atomic_fetch_add(&rec->dropped, 1);
			atomic_fetch_add(&rec->items_applied, 1);
		}
	}
}

/* How many spans from the first on verify and chain. */
static size_t good_spans(struct replay *rp)
{
	size_t n = 0;
	uint64_t expected = rp->expected;
	uint32_t prev_crc = rp->prev_crc;
	bool known = rp->chained;
	for (; n < rp->n_spans; n++) {
		const struct replay_span *span = &rp->spans[n];
		if (span->status != HEARTH_OK || span->h.first != expected ||
		    (known && span->h.prev_crc != prev_crc))
			break;
		expected += span->h.count;
		prev_crc = span->h.crc;
		known = true;
	}
	return n;
}

static void free_spans(struct replay *rp)
{
	for (size_t i = 0; i < rp->n_spans; i++)
		free(rp->spans[i].unpacked);
	rp->n_spans = 0;
}

/* Verifies and applies one window. *ret_offset: how far everything is good; *ret_more: all of it was, and there may be more. */
static enum hearth_status run_window(struct replay *rp, uint64_t offset, uint64_t *ret_offset, bool *ret_more)
{
	struct recovery *rec = rp->rec;
	uint64_t stop = walk(rp, offset);
	atomic_store(&rp->has_flush, false);
	for (size_t i = 0; i < rp->n_spans; i++)
		rp->spans[i].status = HEARTH_END;
	parallel_run(rec->threads, verify_part, rp);
	size_t n = good_spans(rp);
	enum hearth_status status = HEARTH_OK;
	if (n < rp->n_spans && (rp->spans[n].status == HEARTH_NEWER || rp->spans[n].status == HEARTH_NOMEM))
		status = hearth_fail(rec->err, rp->spans[n].status, rp->heads[rp->at].name,
		    rp->spans[n].offset, "a record that cannot be read by this version");
	*ret_offset = n == rp->n_spans ? stop : rp->spans[n].offset;
	*ret_more = status == HEARTH_OK && n > 0 && n == rp->n_spans;
	if (n > 0 && status == HEARTH_OK) {
		const struct replay_span *last = &rp->spans[n - 1];
		uint64_t behind = last->h.first + last->h.count;
		rp->apply_spans = n;
		if (atomic_load(&rp->has_flush))
			apply_serially(rp, n);
		else
			parallel_run(rec->threads, apply_part, rp);
		rec->result->log_records += behind - rp->expected;
		rp->expected = behind;
		rp->prev_crc = last->h.crc;
		rp->chained = true;
		rec->result->start.flush_due = last->h.flush_due;
		if (last->h.time_ms > rec->time_ms)
			rec->time_ms = last->h.time_ms;
	}
	free_spans(rp);
	return status;
}

/* Reads on from `offset` as far as everything is good, and applies it. *ret_offset: where that ends. */
static enum hearth_status run(struct replay *rp, uint64_t offset, uint64_t *ret_offset)
{
	enum hearth_status status;
	bool more;
	do {
		status = run_window(rp, offset, &offset, &more);
	} while (status == HEARTH_OK && more && offset < rp->end);
	*ret_offset = offset;
	return status;
}

/* ---- one segment ---- */

/* Adopts what the header says; without a good header the manifest's salt still verifies the blocks. */
static void enter(struct replay *rp, const struct replay_head *head)
{
	struct recovery *rec = rp->rec;
	if (head->status == HEARTH_OK) {
		rp->other_boot = memcmp(head->h.boot_id, rp->boot_id, HEARTH_ID_SIZE) != 0;
		memcpy(rp->salt, head->h.salt, sizeof(rp->salt));
		rp->prev_crc = head->h.crc;
		rp->chained = true;
		rec->result->start.flush_due = head->h.flush_due;
		if (head->h.first > rp->expected)
			rp->expected = head->h.first;
		if (head->h.hearth_ms > rec->time_ms)
			rec->time_ms = head->h.hearth_ms;
		if (head->h.high_water > rec->high_water)
			rec->high_water = head->h.high_water;
	} else {
		memcpy(rp->salt, head->entry->salt, sizeof(rp->salt));
		rp->chained = false;
		if (head->entry->first > rp->expected)
			rp->expected = head->entry->first;
	}
}

static bool begun(const struct replay_head *head)
{
	return head->present && head->status != HEARTH_END;
}

/* The header of the next segment that has begun, if it names this one as its predecessor. */
static const struct replay_head *successor(const struct replay *rp, size_t i)
{
	for (size_t k = i + 1; k < rp->n; k++) {
		const struct replay_head *head = &rp->heads[k];
		if (begun(head))
			return head->status == HEARTH_OK && head->h.prev_number == rp->heads[i].entry->number
			           ? head
			           : NULL;
	}
	return NULL;
}

static void leave(struct replay *rp, uint64_t offset)
{
	rp->rec->result->start.prev_number = rp->heads[rp->at].entry->number;
	rp->rec->result->start.prev_end = offset;
	rp->rec->result->start.prev_last = rp->expected - 1;
	rp->rec->result->start.prev_crc = rp->chained ? rp->prev_crc : 0;
}

static enum hearth_status replay_segment(struct replay *rp, size_t i)
{
	const struct replay_head *head = &rp->heads[i], *next = successor(rp, i);
	rp->at = i;
	enum hearth_status status = read_segment(rp, head);
	if (status != HEARTH_OK)
		return status;
	rp->end = next && next->h.prev_end < rp->len ? next->h.prev_end : rp->len;
	/* Numbers before this segment that nobody has read, or that an earlier recovery found missing below the snapshot's
	 * end: it left a jump. What the snapshot covers matters no more. */
	const struct segment_header *h = &head->h;
	bool unread = h->prev_last >= rp->expected;
	bool jumped = h->first > h->prev_last + 1 && h->prev_last < rp->rec->snapshot_end;
	if (head->status == HEARTH_OK && i > 0 && h->first > rp->rec->s0 + 1 && (unread || jumped)) {
		recover_damage(rp->rec, head->name, 0, "records before this segment are missing");
		hole_reset(rp, h->first);
	}
	enter(rp, head);
	if (head->status != HEARTH_OK)
		recover_damage(rp->rec, head->name, 0, "the segment's header does not verify");
	uint64_t offset = SEGMENT_HEADER_SIZE < rp->end ? SEGMENT_HEADER_SIZE : rp->end;
	while (status == HEARTH_OK && !rp->ended) {
		status = run(rp, offset, &offset);
		/* A successor's prev_last says what should have been here. */
		bool missing = next && next->h.prev_last >= rp->expected;
		if (status != HEARTH_OK || (offset >= rp->end && !missing))
			break;
		status = hole_decide(rp, next, &offset);
	}
	leave(rp, offset < rp->end ? offset : rp->end);
	atomic_fetch_add(&rp->rec->done_bytes, rp->len);
	recover_progress(rp->rec);
	return status;
}

/* A segment that is no part of the log: made ahead and never begun, or gone. */
static void skip_segment(struct replay *rp, size_t i)
{
	const struct replay_head *head = &rp->heads[i];
	if (!head->present) {
		bool last = i + 1 == rp->n;
		recover_damage(rp->rec, head->name, 0, "the file is missing");
		/* Whether it had begun nobody knows: its records may have superseded anything. It stays in the
		 * manifest, so that the next start decides the same until a snapshot has retired it. */
		hole_reset(rp, last ? 0 : rp->heads[i + 1].entry->first);
		return;
	}
	recover_forget(rp->rec, head->entry->number);
}

static enum hearth_status replay_all(struct replay *rp)
{
	enum hearth_status status = HEARTH_OK;
	for (size_t i = 0; i < rp->n && status == HEARTH_OK && !rp->ended; i++) {
		const struct replay_head *head = &rp->heads[i];
		if (head->status == HEARTH_NEWER)
			return hearth_fail(
			    rp->rec->err, HEARTH_NEWER, head->name, 0, "written by a newer version");
		if (!begun(head)) {
			skip_segment(rp, i);
			continue;
		}
		/* The last segment's header was cut off: it never held a record. */
		if (head->status == HEARTH_TORN && i + 1 == rp->n) {
			rp->rec->result->left_out_bytes += head->size;
			recover_note(rp->rec, "%s ends inside its header;", head->name);
			recover_set_aside(rp->rec, head->name);
			recover_forget(rp->rec, head->entry->number);
			continue;
		}
		status = replay_segment(rp, i);
	}
	return status;
}

static void replay_free(struct replay *rp)
{
	for (unsigned i = 0; rp->bins && i < rp->rec->threads; i++) {
		for (unsigned k = 0; rp->bins[i] && k < rp->rec->threads; k++)
			free(rp->bins[i][k].entries);
		free(rp->bins[i]);
	}
	free(rp->bins);
	free(rp->heads);
	free(rp->spans);
	free(rp->data);
}

enum hearth_status replay_log(struct recovery *rec)
{
	const struct manifest *m = &rec->options->files->manifest;
	struct replay rp = {.rec = rec, .n = m->n_segments, .fd = -1, .hole_at = SIZE_MAX};
	enum hearth_status status = HEARTH_NOMEM;
	rp.heads = calloc(rp.n + 1, sizeof(*rp.heads));
	rp.bins = calloc(rec->threads, sizeof(*rp.bins));
	bool ok = rp.heads && rp.bins;
	for (unsigned i = 0; ok && i < rec->threads; i++)
		ok = (rp.bins[i] = calloc(rec->threads, sizeof(**rp.bins))) != NULL;
	if (!ok) {
		hearth_fail(rec->err, HEARTH_NOMEM, "log", 0, "no memory to read the log");
		goto out;
	}
	for (size_t i = 0; i < rp.n; i++) {
		status = read_head(&rp, i);
		if (status != HEARTH_OK)
			goto out;
		rec->all_bytes += rp.heads[i].size;
	}
	datadir_boot_id(datadir_vfs(rec->options->files->dir), rp.boot_id);
	rp.expected = rec->s0 + 1;
	if (rp.n && rp.heads[0].status == HEARTH_OK) {
		const struct segment_header *h = &rp.heads[0].h;
		rp.expected = h->first;
		/* What came between the snapshot and the first segment there is. */
		if (rec->s0 && h->prev_last > rec->s0)
			hole_reset(&rp, h->first);
	} else if (rp.n) {
		rp.expected = rp.heads[0].entry->first;
	}
	status = replay_all(&rp);
	for (size_t i = 0; i < rp.n; i++)
		if (begun(&rp.heads[i]) && rp.heads[i].status == HEARTH_OK)
			rec->other_boot = memcmp(rp.heads[i].h.boot_id, rp.boot_id, HEARTH_ID_SIZE) != 0;
	/* The snapshot was published when the log was durable up to its end: without that part it is no state
	 * at all. */
	bool short_of_snapshot = rec->s0 && rp.expected <= rec->snapshot_end;
	bool short_of_stop = m->clean && rp.n > 0 && m->last_seq >= rp.expected;
	if (status == HEARTH_OK && !rp.reset_all && (short_of_snapshot || short_of_stop)) {
		recover_damage(rec, "log", 0,
		    short_of_snapshot ? "it ends before the snapshot does"
		                      : "it ends before the last stop in order did");
		hole_reset(&rp, 0);
	}
	rec->result->start.last_seq = rp.expected ? rp.expected - 1 : 0;
	if (rec->result->start.last_seq < rec->s0)
		rec->result->start.last_seq = rec->s0;
out:
	replay_free(&rp);
	return status;
}
