/* SPDX-License-Identifier: BSD-3-Clause */
/* stream: what is plainly good of a segment, read, verified and applied by all threads at once, a stretch of some blocks at a
 * time: while one thread reads the next one, others apply those before it. A stretch stays small, so that its bytes are in
 * the caches of the core that reads, verifies and deals its records out.
 *
 * Where a stretch begins its forerunner says once its blocks have been found, so that much of the work is done in turn. Whether
 * it follows on the one before is decided in order, too, by whoever has looked at the last one missing; only then it is
 * applied. The first one of which anything is not plainly good (a bad block, one that is too large, a flush, an error of any
 * kind) ends it: replay.c looks at it again, alone, and finds out what it is. */
#include "persist/replay.h"

#include <pthread.h>
#include <stdlib.h>
#include "base/check.h"
#include "base/nodump.h"
#include "base/vfs.h"
#include "format/block_zstd.h"
#include "persist/part.h"

#define STRETCH ((size_t)512 << 10) /* bytes that are read at once */
#define BLOCK_MOST \
	(((size_t)1 << 20) + \
	    65536) /* one block may be larger than that, but no larger than this: -I is 1 MiB */
#define RAW_MOST ((size_t)2 << 20) /* what the blocks of a stretch unpack to, if they are packed */

struct stretch {
	struct replay_stretch s;
	uint8_t *memory; /* BLOCK_MOST as it is read, and behind that RAW_MOST of what was unpacked */
	bool looked_at, good;
	uint64_t end;   /* offset behind its last block */
	int64_t access; /* of items of which nothing better is known */
};

struct stream {
	struct replay *rp;
	struct spread *spread;
	struct stretch *stretches; /* one a slot of the spread */
	pthread_mutex_t lock;
	pthread_cond_t found;
	uint64_t at;  /* where the next stretch begins, */
	size_t begun; /* which is this one */
	size_t admitted;
	bool ended;
	uint64_t reached; /* where what was admitted ends */
};

static struct stretch *stretch_of(struct stream *st, size_t k)
{
	return &st->stretches[k % spread_slots(st->spread)];
}

/* ---- reading ---- */

static bool read_at(const struct replay *rp, struct stretch *x, uint64_t offset, size_t len)
{
	uint64_t left = rp->end - offset;
	x->s.at = offset;
	x->s.len = left < len ? (size_t)left : len;
	return vfs_read_at(rp->window.vfs, rp->window.fd, x->memory, x->s.len, offset) == (ssize_t)x->s.len;
}

/* Reads a stretch and finds its blocks: those that are whole, or the first one alone where it is larger. */
static bool find_blocks(const struct replay *rp, struct stretch *x, uint64_t offset)
{
	if (!read_at(rp, x, offset, STRETCH))
		return false;
	x->end = replay_walk(rp, &x->s, RAW_MOST);
	uint64_t len = x->end - offset;
	if (x->s.n_spans == 1 && len > x->s.len && len <= BLOCK_MOST) {
		if (!read_at(rp, x, offset, (size_t)len))
			return false;
		x->end = replay_walk(rp, &x->s, RAW_MOST);
	}
	return x->s.n_spans > 0 && x->end <= offset + x->s.len && x->s.spans[0].h.raw_len <= RAW_MOST;
}

/* Waits for its turn: until the stretches before this one have found their blocks. False: it ended before. */
static bool begin(struct stream *st, size_t k, struct stretch *x)
{
	pthread_mutex_lock(&st->lock);
	while (st->begun != k && !st->ended)
		pthread_cond_wait(&st->found, &st->lock);
	bool goes_on = !st->ended;
	uint64_t offset = st->at;
	pthread_mutex_unlock(&st->lock);
	bool ok = goes_on && find_blocks(st->rp, x, offset);
	pthread_mutex_lock(&st->lock);
	if (ok) {
		st->at = x->end;
		st->begun = k + 1;
	} else if (goes_on) {
		st->begun = SIZE_MAX; /* those behind this one wait for its end */
	}
	pthread_cond_broadcast(&st->found);
	pthread_mutex_unlock(&st->lock);
	return ok;
}

/* ---- looking at it ---- */

/* Where block n of the stretch may unpack to. */
static uint8_t *raw_of(const struct stretch *x, size_t n)
{
	uint8_t *raw = x->memory + BLOCK_MOST;
	for (size_t i = 0; i < n; i++)
		raw += x->s.spans[i].h.raw_len;
	return raw;
}

/* Records to the parts of those who will apply them. False: there is more to it than that. */
static bool deal_out(struct stream *st, const struct replay_span *span, struct spread_slot *slot)
{
	struct recovery *rec = st->rp->rec;
	struct segment_records records = replay_records(span);
	const uint8_t *at;
	struct record r;
	enum hearth_status status;
	while ((status = replay_record(rec, &records, &at, &r)) == HEARTH_OK) {
		if (r.type == RECORD_FLUSH)
			return false;
		uint64_t hash = store_hash(rec->options->store, r.key, r.key_len);
		spread_slot_add(slot, store_load_part(rec->options->store, hash, rec->threads), hash, r.seq,
		    (uint32_t)(at - slot->records));
	}
	return status == HEARTH_END;
}

static bool look_at(struct stream *st, struct stretch *x, struct spread_slot *slot)
{
	uint32_t most = 0;
	for (size_t n = 0; n < x->s.n_spans; n++)
		most += x->s.spans[n].h.count;
	if (most > REPLAY_RECORDS || !spread_slot_reserve(slot, most))
		return false;
	for (size_t n = 0; n < x->s.n_spans; n++) {
		struct replay_span *span = &x->s.spans[n];
		const uint8_t *head = x->memory + (span->offset - x->s.at);
		span->status = replay_verify(st->rp, span, head);
		if (span->status == HEARTH_OK && !span->payload) {
			uint8_t *raw = raw_of(x, n);
			span->status = block_unpack(&span->h, head + BLOCK_HEADER_SIZE, raw);
			span->payload = raw;
		}
		if (span->status != HEARTH_OK ||
		    (replay_is_behind(st->rp, span) && !deal_out(st, span, slot)))
			return false;
	}
	return true;
}

/* What has been looked at is applied as far as each follows on the one before. */
static void admit(struct stream *st)
{
	struct replay *rp = st->rp;
	struct stretch *x;
	while (!st->ended && (x = stretch_of(st, st->admitted))->looked_at) {
		x->looked_at = false;
		if (!x->good || replay_good(rp, &x->s) < x->s.n_spans) {
			st->ended = true;
			spread_end(st->spread, st->admitted);
			break;
		}
		x->access = rp->rec->life.latest_ms / 1000;
		replay_adopt(rp, &x->s, x->s.n_spans, x->end);
		st->reached = x->end;
		spread_admit(st->spread, st->admitted++);
	}
	pthread_cond_broadcast(&st->found);
}

static void fill(struct stream *st, size_t k, struct spread_slot *slot)
{
	struct stretch *x = stretch_of(st, k);
	spread_slot_clear(slot);
	slot->held = true;
	slot->block = k;
	slot->records = x->memory;
	bool good = begin(st, k, x) && look_at(st, x, slot);
	pthread_mutex_lock(&st->lock);
	x->good = good;
	x->looked_at = true;
	admit(st);
	pthread_mutex_unlock(&st->lock);
}

/* ---- applying ---- */

/* What a thread applies now. */
struct applying {
	struct stream *st;
	const struct stretch *x;
	struct store_thread *thread;
};

/* Of the block that these bytes are in. */
static uint64_t block_offset(const struct stretch *x, const uint8_t *at)
{
	for (size_t n = 0; n < x->s.n_spans; n++) {
		const struct replay_span *span = &x->s.spans[n];
		if (at >= span->payload && at < span->payload + span->h.raw_len)
			return span->offset;
	}
	return x->s.at;
}

static bool apply_entry(void *arg, const struct spread_entry *e)
{
	const struct applying *a = arg;
	const uint8_t *at = a->x->memory + e->at;
	struct record r;
	record_reread(at, &r);
	r.seq = e->seq;
	const struct replay_change change = {&r, e->hash, a->x->access, r.dict ? block_offset(a->x, at) : 0};
	replay_apply(a->st->rp, a->thread, &change);
	return true;
}

static void run_part(void *arg, unsigned i)
{
	struct stream *st = arg;
	struct recovery *rec = st->rp->rec;
	struct spread_turn turn;
	uint64_t applied = 0;
	while ((turn = spread_next(st->spread, i)).task != SPREAD_DONE) {
		if (turn.task == SPREAD_FILL) {
			fill(st, turn.block, turn.slot);
		} else {
			struct applying a = {st, stretch_of(st, turn.slot->block), rec->thread[i]};
			applied += part_run(
			    rec->thread[i], rec->options->store, turn.slot, turn.part, apply_entry, &a);
		}
		spread_did(st->spread, &turn);
	}
	atomic_fetch_add(&rec->items_applied, applied);
}

/* ---- all of it ---- */

static void close_stream(struct stream *st)
{
	for (unsigned i = 0; st->stretches && i < spread_slots(st->spread); i++) {
		free(st->stretches[i].s.spans);
		nodump_free(st->stretches[i].memory, BLOCK_MOST + RAW_MOST);
	}
	free(st->stretches);
	spread_close(&st->spread);
	pthread_mutex_destroy(&st->lock);
	pthread_cond_destroy(&st->found);
}

static bool open_stream(struct stream *st)
{
	pthread_mutex_init(&st->lock, NULL);
	pthread_cond_init(&st->found, NULL);
	st->spread = spread_open(st->rp->rec->threads, SPREAD_UNKNOWN);
	st->stretches = st->spread ? calloc(spread_slots(st->spread), sizeof(*st->stretches)) : NULL;
	bool ok = st->stretches != NULL;
	for (unsigned i = 0; ok && i < spread_slots(st->spread); i++) {
		struct stretch *x = &st->stretches[i];
		x->s.data = x->memory = nodump_alloc(BLOCK_MOST + RAW_MOST);
		x->s.spans = malloc(REPLAY_SPANS * sizeof(*x->s.spans));
		ok = x->memory && x->s.spans;
	}
	return ok;
}

uint64_t stream_run(struct replay *rp, uint64_t offset)
{
	struct stream st = {.rp = rp, .at = offset, .reached = offset};
	/* Without memory for it all there is is looked at one by one. */
	if (open_stream(&st))
		parallel_run(rp->rec->threads, run_part, &st);
	close_stream(&st);
	return st.reached;
}
