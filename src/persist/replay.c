/* SPDX-License-Identifier: BSD-3-Clause */
/* replay: the log to the store. A segment is read, verified and applied by all threads as long as it is plainly good
 * (stream.c); the rest is looked at a window at a time, by one. Where a block is bad the end-of-log rule decides
 * (hearth-log(5)): either the log ends there, or it is damage, and what is older than it goes. */
#include "persist/replay.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include "base/check.h"
#include "base/nodump.h"
#include "base/vfs.h"
#include "format/block_zstd.h"

/* ---- reading ---- */

static enum hearth_status read_head(struct replay *rp, const struct manifest_segment *entry)
{
	struct files *files = rp->rec->options->files;
	const struct vfs *vfs = datadir_vfs(files->dir);
	struct replay_head *head = &rp->heads[rp->n++];
	uint8_t raw[SEGMENT_HEADER_SIZE] = {0};
	struct stat st;
	head->entry = entry;
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
	head->zeros = head->status == HEARTH_END && head->size > 0;
	if (head->zeros)
		head->status = HEARTH_DAMAGED;
	head->other = head->status == HEARTH_OK &&
	              (memcmp(head->h.lineage, files->manifest.lineage, HEARTH_ID_SIZE) != 0 ||
	                  head->h.number != head->entry->number);
	if (head->other)
		head->status = HEARTH_FOREIGN;
	/* We would write behind it, and it says that this version must not. */
	if (head->status == HEARTH_OK && head->h.features.read_only)
		head->status = HEARTH_NEWER;
	if (head->status == HEARTH_OK)
		files_begin_segment(files, entry->number, head->h.first);
	return HEARTH_OK;
}

static enum hearth_status fail(const struct replay *rp, enum hearth_status status)
{
	return hearth_fail(rp->rec->err, status, rp->heads[rp->at].name, rp->window.at,
	    status == HEARTH_NOMEM ? "no memory to read the segment" : "cannot read the segment");
}

/* ---- blocks ---- */

uint64_t replay_walk(const struct replay *rp, struct replay_stretch *s, uint64_t raw_max)
{
	uint64_t stop = s->at + s->len < rp->end ? s->at + s->len : rp->end, offset = s->at, raw = 0,
	         records = 0;
	for (s->n_spans = 0; s->n_spans < REPLAY_SPANS && offset + BLOCK_HEADER_SIZE <= stop;) {
		struct replay_span span = {.offset = offset, .status = HEARTH_END};
		if (block_decode_header(s->data + (offset - s->at), rp->end - offset, &span.h) != HEARTH_OK)
			break;
		uint64_t behind = offset + BLOCK_HEADER_SIZE + span.h.stored_len;
		raw += span.h.raw_len;
		records += span.h.count;
		bool fits = behind <= stop && raw <= raw_max && records <= REPLAY_RECORDS;
		if (s->n_spans > 0 && !fits)
			break;
		s->spans[s->n_spans++] = span;
		offset = behind;
		if (!fits)
			break;
	}
	return offset;
}

static bool is_alone(const struct replay *rp)
{
	const struct replay_span *span = &rp->stretch.spans[0];
	uint64_t behind = span->offset + BLOCK_HEADER_SIZE + span->h.stored_len;
	return rp->stretch.n_spans == 1 &&
	       (behind > rp->window.at + rp->window.len || span->h.raw_len > WINDOW_SIZE);
}

/* The key and state of a record whose value is too large to be of use. */
static enum hearth_status decode_giant(struct replay *rp, const struct replay_span *span)
{
	struct replay_giant *giant = &rp->giant;
	uint64_t at = span->offset + BLOCK_HEADER_SIZE;
	size_t len = span->h.stored_len < WINDOW_SIZE ? span->h.stored_len : WINDOW_SIZE;
	enum hearth_status status = window_fill(&rp->window, at, len);
	if (status != HEARTH_OK)
		return status;
	const uint8_t *stored = window_bytes(&rp->window, at);
	if (span->h.flags & ~(unsigned)BLOCK_ZSTD)
		return HEARTH_NEWER;
	if (span->h.flags & BLOCK_ZSTD)
		status = block_unpack_head(stored, len, giant->head, sizeof(giant->head));
	else
		memcpy(giant->head, stored, sizeof(giant->head));
	if (status == HEARTH_OK)
		status = record_decode_head(giant->head, sizeof(giant->head), span->h.raw_len, &giant->r);
	if (status != HEARTH_OK)
		return status;
	bool takes = record_takes_number(giant->r.type);
	if (span->h.count != takes || (giant->r.seq && giant->r.seq != span->h.first))
		return HEARTH_DAMAGED;
	giant->r.seq = span->h.first;
	giant->here = takes && giant->r.type == RECORD_SET && giant->r.seq > rp->rec->s0;
	return HEARTH_OK;
}

/* A block larger than the window. Nothing of its size is allocated before it has been verified, and nothing at all
 * when no record in it can be applied. */
static enum hearth_status prepare_alone(struct replay *rp)
{
	struct replay_span *span = &rp->stretch.spans[0];
	enum hearth_status status = window_verify(&rp->window, span->offset, rp->end, rp->salt, &span->h);
	uint64_t whole = BLOCK_HEADER_SIZE + (uint64_t)span->h.stored_len;
	bool giant = whole > rp->block_max || span->h.raw_len > rp->block_max;
	if (status == HEARTH_OK && giant)
		status = decode_giant(rp, span);
	else if (status == HEARTH_OK)
		status = window_fill(&rp->window, span->offset, (size_t)whole);
	if (status == HEARTH_IO || status == HEARTH_NOMEM)
		return fail(rp, status);
	if (giant || status != HEARTH_OK)
		span->status = status;
	return HEARTH_OK;
}

enum hearth_status replay_verify(const struct replay *rp, struct replay_span *span, const uint8_t *head)
{
	const uint8_t *stored = head + BLOCK_HEADER_SIZE;
	enum hearth_status status = block_verify(head, rp->salt, stored, span->h.stored_len);
	if (status == HEARTH_OK && span->h.flags & ~(unsigned)BLOCK_ZSTD)
		status = HEARTH_NEWER;
	if (status == HEARTH_OK && !(span->h.flags & BLOCK_ZSTD))
		span->payload = stored;
	return status;
}

struct segment_records replay_records(const struct replay_span *span)
{
	const struct segment_block block = {
	    .head = span->h, .payload = span->payload, .payload_len = span->h.raw_len};
	return segment_records(&block);
}

enum hearth_status replay_record(
    struct recovery *rec, struct segment_records *records, const uint8_t **ret_at, struct record *ret_r)
{
	for (;;) {
		*ret_at = records->at;
		enum hearth_status status = segment_next_record(records, ret_r);
		if (status == HEARTH_OK && ret_r->type == RECORD_DICT)
			status = dicts_take(rec, ret_r);
		if (status != HEARTH_OK)
			return status;
		bool changes = ret_r->key_len > 0 || ret_r->type == RECORD_FLUSH;
		if (changes && ret_r->seq > rec->s0 && record_takes_number(ret_r->type))
			return HEARTH_OK;
	}
}

/* Blocks wholly before the snapshot's beginning need no decoding, but for dictionaries. */
bool replay_is_behind(const struct replay *rp, const struct replay_span *span)
{
	return span->h.count == 0 || span->h.first + span->h.count > rp->rec->s0 + 1;
}

static enum hearth_status look_at_span(struct replay *rp, struct replay_span *span)
{
	const uint8_t *head = window_bytes(&rp->window, span->offset);
	enum hearth_status status = replay_verify(rp, span, head);
	struct record r;
	if (status != HEARTH_OK)
		return status;
	if (!span->payload) {
		span->payload = span->unpacked = nodump_alloc(span->h.raw_len);
		if (!span->unpacked)
			return HEARTH_NOMEM;
		status = block_unpack(&span->h, head + BLOCK_HEADER_SIZE, span->unpacked);
	}
	if (status != HEARTH_OK || !replay_is_behind(rp, span))
		return status;
	struct segment_records records = replay_records(span);
	const uint8_t *at;
	while ((status = replay_record(rp->rec, &records, &at, &r)) == HEARTH_OK)
		;
	return status == HEARTH_END ? HEARTH_OK : status;
}

/* ---- applying ---- */

void replay_apply(struct replay *rp, struct store_thread *t, const struct replay_change *change)
{
	struct recovery *rec = rp->rec;
	struct record *r = change->r;
	struct store_key key = {.data = r->key, .len = r->key_len, .hash = change->hash};
	r->access = r->access ? r->access : change->access;
	recover_cap(rec, r);
	if (r->dict)
		dicts_need(rec, r, rp->heads[rp->at].name, change->offset);
	if (!apply_record(rec, t, &key, r, false))
		atomic_fetch_add_explicit(&rec->dropped, 1, memory_order_relaxed);
}

/* One record after the other: a flush is a barrier. */
static void apply_span(struct replay *rp, const struct replay_span *span)
{
	struct recovery *rec = rp->rec;
	struct segment_records records = replay_records(span);
	const uint8_t *at;
	struct record r;
	while (replay_record(rec, &records, &at, &r) == HEARTH_OK) {
		if (r.type == RECORD_FLUSH) {
			store_load_flush(rec->thread[0], r.seq);
			continue;
		}
		uint64_t hash = store_hash(rec->options->store, r.key, r.key_len);
		const struct replay_change change = {&r, hash, rec->life.latest_ms / 1000, span->offset};
		replay_apply(rp, rec->thread[0], &change);
		atomic_fetch_add(&rec->items_applied, 1);
	}
}

/* A record that nothing can hold deletes its key. */
static void apply_giant(struct replay *rp)
{
	const struct record *r = &rp->giant.r;
	if (!rp->giant.here)
		return;
	struct store_key key = store_key(rp->rec->options->store, r->key, r->key_len);
	if (!apply_record(rp->rec, rp->rec->thread[0], &key, r, false))
		atomic_fetch_add(&rp->rec->dropped, 1);
	atomic_fetch_add(&rp->rec->items_applied, 1);
}

size_t replay_good(const struct replay *rp, const struct replay_stretch *s)
{
	size_t n = 0;
	uint64_t expected = rp->expected;
	uint32_t prev_crc = rp->prev_crc;
	bool known = rp->chained;
	for (; n < s->n_spans; n++) {
		const struct replay_span *span = &s->spans[n];
		if (span->status != HEARTH_OK || span->h.first != expected ||
		    (known && span->h.prev_crc != prev_crc))
			break;
		expected += span->h.count;
		prev_crc = span->h.crc;
		known = true;
	}
	return n;
}

void replay_adopt(struct replay *rp, const struct replay_stretch *s, size_t n, uint64_t offset)
{
	struct recovery *rec = rp->rec;
	const struct replay_span *last = &s->spans[n - 1];
	uint64_t behind = last->h.first + last->h.count;
	store_load_expect(rec->options->store, atomic_load(&rec->done_bytes) + offset, rec->all_bytes);
	rec->result->log_records += behind - rp->expected;
	rp->expected = behind;
	rp->prev_crc = last->h.crc;
	rp->chained = true;
	rec->result->start.flush_due = last->h.flush_due;
	if (rp->counts)
		life_note(&rec->life, last->h.time_ms);
}

static void free_spans(struct replay_stretch *s)
{
	for (size_t i = 0; i < s->n_spans; i++)
		nodump_free(s->spans[i].unpacked, s->spans[i].h.raw_len);
	s->n_spans = 0;
}

static enum hearth_status look_at_window(struct replay *rp, uint64_t offset, uint64_t *ret_stop)
{
	struct replay_stretch *s = &rp->stretch;
	s->n_spans = 0;
	rp->giant.here = false;
	*ret_stop = offset;
	enum hearth_status status = window_fill(&rp->window, offset, WINDOW_SIZE);
	if (status != HEARTH_OK)
		return fail(rp, status);
	s->data = window_bytes(&rp->window, offset);
	s->at = offset;
	s->len = rp->window.len - (size_t)(offset - rp->window.at);
	*ret_stop = replay_walk(rp, s, WINDOW_SIZE);
	if (is_alone(rp))
		status = prepare_alone(rp);
	bool good = true;
	for (size_t n = 0; status == HEARTH_OK && good && n < s->n_spans; n++) {
		if (s->spans[n].status == HEARTH_END) /* else it was looked at alone */
			s->spans[n].status = look_at_span(rp, &s->spans[n]);
		good = s->spans[n].status == HEARTH_OK;
	}
	return status;
}

/* Verifies and applies one window. *ret_offset: how far everything is good; *ret_more: all of it was, and there may be more. */
static enum hearth_status run_window(struct replay *rp, uint64_t offset, uint64_t *ret_offset, bool *ret_more)
{
	struct replay_stretch *s = &rp->stretch;
	uint64_t stop;
	enum hearth_status status = look_at_window(rp, offset, &stop);
	size_t n = status == HEARTH_OK ? replay_good(rp, s) : 0;
	if (n < s->n_spans && s->spans[n].status == HEARTH_NOMEM)
		status = fail(rp, HEARTH_NOMEM);
	else if (n < s->n_spans && s->spans[n].status == HEARTH_NEWER)
		status = hearth_fail(rp->rec->err, HEARTH_NEWER, rp->heads[rp->at].name, s->spans[n].offset,
		    "a record that cannot be read by this version");
	*ret_offset = n == s->n_spans ? stop : s->spans[n].offset;
	*ret_more = status == HEARTH_OK && n > 0 && n == s->n_spans;
	if (n > 0 && status == HEARTH_OK) {
		for (size_t k = 0; k < n; k++)
			if (s->spans[k].payload && replay_is_behind(rp, &s->spans[k]))
				apply_span(rp, &s->spans[k]);
		apply_giant(rp);
		replay_adopt(rp, s, n, *ret_offset);
	}
	free_spans(s);
	return status;
}

/* Reads on from `offset` as far as everything is good, and applies it. *ret_offset: where that ends. What is not plainly good
 * is looked at a window at a time. */
static enum hearth_status run(struct replay *rp, uint64_t offset, uint64_t *ret_offset)
{
	enum hearth_status status = HEARTH_OK;
	bool more = true;
	while (status == HEARTH_OK && more && offset < rp->end) {
		offset = stream_run(rp, offset);
		if (offset < rp->end)
			status = run_window(rp, offset, &offset, &more);
	}
	*ret_offset = offset;
	return status;
}

/* ---- one segment ---- */

/* Adopts what the header says; without a good header the manifest's salt still verifies the blocks. */
static void enter(struct replay *rp, const struct replay_head *head)
{
	struct recovery *rec = rp->rec;
	if (head->status == HEARTH_OK) {
		rp->other_boot = !replay_in_this_boot(rp, head);
		memcpy(rp->salt, head->h.salt, sizeof(rp->salt));
		rp->prev_crc = head->h.crc;
		rp->chained = true;
		rec->result->start.flush_due = head->h.flush_due;
		if (head->h.first > rp->expected)
			rp->expected = head->h.first;
		if (rp->counts)
			life_header(&rec->life, &head->h, !rp->other_boot);
		if (head->h.high_water > rec->high_water)
			rec->high_water = head->h.high_water;
	} else {
		/* One of this boot was there when a later one began, or was written behind an earlier one. */
		rp->other_boot = !rp->boot_seen;
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

const struct replay_head *replay_successor(const struct replay *rp, size_t i)
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
	const struct replay_head *head = &rp->heads[i], *next = replay_successor(rp, i);
	/* Numbers before this segment that nobody has read, or that an earlier recovery found missing below the snapshot's
	 * end: it left a jump. What the snapshot covers matters no more. */
	const struct segment_header *h = &head->h;
	bool unread = h->prev_last >= rp->expected;
	bool jumped = h->first > h->prev_last + 1 && h->prev_last < rp->rec->snapshot_end;
	bool gap = head->status == HEARTH_OK && i > 0 && h->first > rp->rec->s0 + 1 && (unread || jumped);
	/* A bad header does not say how the segment before ended: numbers below those that the manifest knows of and
	 * nobody has read are as good as lost. */
	bool unsaid = head->status != HEARTH_OK && i > 0 && head->entry->first > rp->expected;
	bool there = i > 0 && rp->heads[i - 1].present && !rp->heads[i - 1].other;
	bool may_end = there && (gap || (unsaid && head->zeros && !rp->boot_seen));
	enum hearth_status status = may_end ? hole_ends_before(rp, i) : HEARTH_OK;
	if (status != HEARTH_OK || rp->ended)
		return status;
	rp->at = i;
	struct datadir *dir = rp->rec->options->files->dir;
	rp->len = head->size;
	status = window_open(&rp->window, datadir_vfs(dir), datadir_fd(dir), head->name, head->size);
	if (status != HEARTH_OK)
		return fail(rp, status);
	rp->end = next && next->h.prev_end < rp->len ? next->h.prev_end : rp->len;
	if (gap) {
		recover_damage(rp->rec, head->name, 0, "records before this segment are missing");
		if (jumped)
			hole_reset(rp, h->first);
		else
			lost_numbers(rp, h->prev_last + 1, i, SEGMENT_HEADER_SIZE);
	}
	if (unsaid)
		lost_numbers(rp, head->entry->first, i, SEGMENT_HEADER_SIZE);
	/* What is older than the snapshot was judged when it was made. */
	rp->counts = !next || next->h.first > rp->rec->s0 + 1;
	enter(rp, head);
	/* A power cut may have left zeros, and a start since then taken them for the end. */
	bool was_end = next && next->h.prev_end <= SEGMENT_HEADER_SIZE;
	if (head->status != HEARTH_OK && !(head->zeros && (rp->other_boot || was_end)))
		recover_damage(rp->rec, head->name, 0, "the segment's header does not verify");
	else if (unsaid)
		recover_damage(rp->rec, head->name, 0, "records before this segment are missing");
	uint64_t offset = SEGMENT_HEADER_SIZE < rp->end ? SEGMENT_HEADER_SIZE : rp->end;
	while (status == HEARTH_OK && !rp->ended) {
		status = run(rp, offset, &offset);
		/* A successor's prev_last says what should have been here. */
		bool missing = next && next->h.prev_last >= rp->expected;
		if (status != HEARTH_OK || (offset >= rp->end && !missing))
			break;
		status = hole_decide(rp, next, &offset);
	}
	window_close(&rp->window);
	leave(rp, offset < rp->end ? offset : rp->end);
	atomic_fetch_add(&rp->rec->done_bytes, rp->len);
	recover_progress(rp->rec);
	return status;
}

/* The first number of the next segment that has begun; 0 when there is none, or nobody knows: the manifest has but a lower
 * bound. */
static uint64_t begins_behind(const struct replay *rp, size_t i)
{
	while (++i < rp->n)
		if (begun(&rp->heads[i]))
			return replay_readable(&rp->heads[i]) ? rp->heads[i].h.first : 0;
	return 0;
}

/* Whether all that a segment can have held is older than the snapshot: its numbers lie below those of any that comes later,
 * also where the one in between cannot be read. */
static bool is_covered(const struct replay *rp, size_t i)
{
	while (++i < rp->n)
		if (begun(&rp->heads[i]) && replay_readable(&rp->heads[i]))
			return rp->heads[i].h.first <= rp->rec->s0 + 1;
	return false;
}

/* A segment that is no part of the log: made ahead and never begun, or gone. */
static void skip_segment(struct replay *rp, size_t i)
{
	const struct replay_head *head = &rp->heads[i];
	if (!head->present || head->other) {
		recover_damage(rp->rec, head->name, 0,
		    head->present ? "the file is another segment" : "the file is missing");
		/* Whether it had begun nobody knows, but for a successor that names its last number: its records may
		 * have superseded anything. It stays in the manifest, so that the next start decides the same until
		 * a snapshot has retired it. */
		if (!replay_successor(rp, i) && !is_covered(rp, i))
			hole_reset(rp, begins_behind(rp, i));
		return;
	}
	recover_forget(rp->rec, head->entry->number);
}

/* Those behind it, if there are any, were made ahead, or cut off like it. */
static bool is_last(const struct replay *rp, size_t i)
{
	while (++i < rp->n)
		if (begun(&rp->heads[i]) && rp->heads[i].status != HEARTH_TORN)
			return false;
	return true;
}

static enum hearth_status replay_all(struct replay *rp)
{
	enum hearth_status status = HEARTH_OK;
	for (size_t i = 0; i < rp->n && status == HEARTH_OK && !rp->ended; i++) {
		const struct replay_head *head = &rp->heads[i];
		if (head->status == HEARTH_NEWER)
			return hearth_fail(
			    rp->rec->err, HEARTH_NEWER, head->name, 0, "written by a newer version");
		if (!begun(head) || head->other) {
			skip_segment(rp, i);
			continue;
		}
		/* The last segment's header was cut off: it never held a record. */
		if (head->status == HEARTH_TORN && is_last(rp, i)) {
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

/* A header names the segment that it goes on from, and the number: the disk failed after those in between had begun, and
 * their records were written anew to this one. Where the numbers jump a start has begun it, which had not found what was in
 * between: that stays damage until a snapshot has retired it. */
static bool is_superseded(const struct replay *rp, size_t i)
{
	const struct replay_head *head = &rp->heads[i];
	uint64_t number = head->entry->number;
	for (size_t k = i + 1; k < rp->n; k++) {
		const struct replay_head *by = &rp->heads[k];
		bool between =
		    replay_readable(by) && by->h.prev_number < number && number < by->entry->number;
		bool anew = by->h.first == by->h.prev_last + 1 &&
		            (!replay_readable(head) || by->h.first <= head->h.first);
		if (between && anew)
			return true;
	}
	return false;
}

static void leave_superseded(struct replay *rp)
{
	for (size_t i = 0; i < rp->n; i++)
		rp->heads[i].superseded = is_superseded(rp, i);
	size_t kept = 0;
	for (size_t i = 0; i < rp->n; i++) {
		if (rp->heads[i].superseded)
			recover_forget(rp->rec, rp->heads[i].entry->number);
		else
			rp->heads[kept++] = rp->heads[i];
	}
	rp->n = kept;
}

static void replay_free(struct replay *rp)
{
	keyset_free(&rp->lost);
	free(rp->heads);
	free(rp->stretch.spans);
	window_free(&rp->window);
}

enum hearth_status replay_log(struct recovery *rec)
{
	const struct manifest *m = &rec->options->files->manifest;
	struct replay rp = {.rec = rec, .hole_at = SIZE_MAX};
	uint64_t applicable = store_item_max(rec->options->store) + RECORD_OVERHEAD_MAX + BLOCK_HEADER_SIZE;
	rp.block_max = applicable > WINDOW_SIZE ? applicable : WINDOW_SIZE;
	rp.window = (struct window){.fd = -1, .threads = rec->threads};
	enum hearth_status status = HEARTH_NOMEM;
	rp.heads = calloc(m->n_segments + 1, sizeof(*rp.heads));
	rp.stretch.spans = calloc(REPLAY_SPANS, sizeof(*rp.stretch.spans));
	rp.lost = keyset_new();
	if (!rp.heads || !rp.stretch.spans || !rp.lost) {
		hearth_fail(rec->err, HEARTH_NOMEM, "log", 0, "no memory to read the log");
		goto out;
	}
	for (size_t i = 0; i < m->n_segments; i++) {
		/* Between an older generation and this one lies a hole. */
		if (m->segments[i].generation != m->generation)
			continue;
		status = read_head(&rp, &m->segments[i]);
		if (status != HEARTH_OK)
			goto out;
	}
	leave_superseded(&rp);
	for (size_t i = 0; i < rp.n; i++)
		rec->all_bytes += rp.heads[i].size;
	status = HEARTH_OK;
	rp.boot_id = rec->options->files->boot_id;
	/* A power cut may have taken headers, too: unless one says so, no segment was written under this boot. */
	rp.other_boot = rec->other_boot = true;
	for (size_t i = 0; i < rp.n; i++)
		rp.boot_seen |= replay_readable(&rp.heads[i]) && replay_in_this_boot(&rp, &rp.heads[i]);
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
	if (status == HEARTH_OK)
		lost_drop(&rp);
	rec->result->start.last_seq = rp.expected ? rp.expected - 1 : 0;
	if (rec->result->start.last_seq < rec->s0)
		rec->result->start.last_seq = rec->s0;
out:
	replay_free(&rp);
	return status;
}
