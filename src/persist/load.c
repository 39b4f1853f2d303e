/* SPDX-License-Identifier: BSD-3-Clause */
/* load: the snapshot's blocks to the store, each unpacked by whichever thread is free and applied by all (spread.h). A
 * damaged block forgets its keys and no more. */
#include "persist/recover_private.h"
#include "persist/part.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "base/check.h"
#include <hearth/snapshot.h>

/* The shortest record of a snapshot: type, length, bits, length of the key, number, a byte of key. */
#define RECORD_LEAST 14u
/* Blocks that unpack to more are loaded one at a time, so that threads do not multiply their memory. */
#define LARGE (768u << 10)

struct block_buf {
	uint8_t *data;
	size_t size;
};

struct loading {
	struct recovery *rec;
	struct snapshot_reader *reader;
	char name[DATADIR_NAME_SIZE];
	struct spread *spread;
	uint64_t block_max; /* no block that can be applied unpacks to more */
	/* Blocks of a single large record: one thread at a time, in one buffer. */
	pthread_mutex_t large_lock;
	struct block_buf large;
	pthread_mutex_t lock; /* result and note */
	enum hearth_status status;
};

/* A file that cannot be opened or read for want of descriptors, memory or permission may be whole: a refusal keeps it,
 * leaving it out would not. Only a file that is missing and a sector that cannot be read are damage. */
static bool refuses(enum hearth_status status, const struct hearth_error *err)
{
	return status == HEARTH_NEWER || status == HEARTH_NOMEM ||
	       (status == HEARTH_IO && err->sys_errno != EIO && err->sys_errno != ENOENT);
}

static void fail_block(struct loading *l, enum hearth_status status, const struct hearth_error *err)
{
	pthread_mutex_lock(&l->lock);
	if (refuses(status, err)) {
		l->status = status;
		*l->rec->err = *err;
	} else {
		recover_damage(l->rec, l->name, err->offset, err->what);
	}
	pthread_mutex_unlock(&l->lock);
}

static enum hearth_status bad_record(
    const struct loading *l, size_t b, enum hearth_status status, struct hearth_error *ret_err)
{
	return hearth_fail(ret_err, status, l->name, snapshot_get_block(l->reader, b).offset,
	    status == HEARTH_NOMEM ? "no memory for a block" : "bad record");
}

/* Records of a block to the parts of the threads that will apply them, which look at what is in them. */
static enum hearth_status share_block(struct loading *l, struct spread_slot *slot)
{
	struct recovery *rec = l->rec;
	const struct store *store = rec->options->store;
	const uint8_t *key;
	uint8_t key_len;
	if (!spread_slot_reserve(slot, (uint32_t)(slot->len / RECORD_LEAST)))
		return HEARTH_NOMEM;
	for (size_t at = 0, len; at < slot->len; at += len) {
		uint8_t type = slot->records[at];
		len = record_skim(slot->records + at, slot->len - at, &key, &key_len);
		if (len == 0 || slot->n == slot->room)
			return HEARTH_DAMAGED;
		if (type != RECORD_SET && type != RECORD_DICT && !(type & RECORD_MAY_SKIP))
			return HEARTH_DAMAGED;
		if (type != RECORD_SET)
			continue;
		uint64_t hash = store_hash(store, key, key_len);
		spread_slot_add(slot, store_load_part(store, hash, rec->threads), hash, 0, (uint32_t)at);
	}
	return HEARTH_OK;
}

static void apply_set(struct loading *l, unsigned i, struct record *r, uint64_t hash)
{
	struct recovery *rec = l->rec;
	struct store_key key = {.data = r->key, .len = r->key_len, .hash = hash};
	recover_cap(rec, r);
	if (!apply_record(rec, rec->thread[i], &key, r, true))
		atomic_fetch_add_explicit(&rec->dropped, 1, memory_order_relaxed);
}

/* What this thread applies now. */
struct applying {
	struct loading *l;
	const struct spread_slot *slot;
	unsigned thread;
};

/* False: it is bad, and told. */
static bool apply_entry(void *arg, const struct spread_entry *e)
{
	const struct applying *a = arg;
	struct loading *l = a->l;
	struct snapshot_records records = snapshot_records(a->slot->records + e->at, a->slot->len - e->at);
	struct record r;
	struct hearth_error err;
	enum hearth_status status = snapshot_next_record(&records, &r);
	if (status != HEARTH_OK) {
		fail_block(l, bad_record(l, a->slot->block, status, &err), &err);
		return false;
	}
	if (r.dict) /* where it lies is not looked up for each record */
		dicts_need(l->rec, &r, l->name, snapshot_get_block(l->reader, a->slot->block).offset);
	apply_set(l, a->thread, &r, e->hash);
	return true;
}

static void apply_part(struct loading *l, unsigned i, const struct spread_slot *slot, unsigned part)
{
	struct recovery *rec = l->rec;
	struct applying a = {l, slot, i};
	uint64_t items = part_run(rec->thread[i], rec->options->store, slot, part, apply_entry, &a);
	atomic_fetch_add(&rec->items_applied, items);
}

/* A record too large for any item: its key goes, and nothing of its size is allocated. */
static enum hearth_status load_giant(struct loading *l, unsigned i, size_t b, struct hearth_error *ret_err)
{
	uint8_t head[RECORD_OVERHEAD_MAX];
	struct record r;
	enum hearth_status status = snapshot_load_head(l->reader, b, head, &r, ret_err);
	if (status != HEARTH_OK || r.type != RECORD_SET)
		return status;
	apply_set(l, i, &r, store_hash(l->rec->options->store, r.key, r.key_len));
	atomic_fetch_add(&l->rec->items_applied, 1);
	return HEARTH_OK;
}

/* A block of one record that is too large to be passed on: whoever reads it applies it. */
static enum hearth_status load_large(
    struct loading *l, unsigned i, size_t b, struct block_buf *buf, struct hearth_error *ret_err)
{
	const uint8_t *data;
	size_t len;
	struct record r;
	enum hearth_status status = snapshot_load(l->reader, b, &buf->data, &buf->size, &data, &len, ret_err);
	if (status != HEARTH_OK)
		return status;
	struct snapshot_records records = snapshot_records(data, len);
	while ((status = snapshot_next_record(&records, &r)) == HEARTH_OK) {
		if (r.type != RECORD_SET)
			continue;
		dicts_need(l->rec, &r, l->name, snapshot_get_block(l->reader, b).offset);
		apply_set(l, i, &r, store_hash(l->rec->options->store, r.key, r.key_len));
		atomic_fetch_add(&l->rec->items_applied, 1);
	}
	return status == HEARTH_END ? HEARTH_OK : bad_record(l, b, status, ret_err);
}

static enum hearth_status load_shared(
    struct loading *l, size_t b, struct spread_slot *slot, struct hearth_error *ret_err)
{
	enum hearth_status status =
	    snapshot_load(l->reader, b, &slot->buf, &slot->size, &slot->records, &slot->len, ret_err);
	if (status != HEARTH_OK)
		return status;
	slot->block = b;
	status = share_block(l, slot);
	return status == HEARTH_OK ? status : bad_record(l, b, status, ret_err);
}

static void load_block(
    struct loading *l, unsigned i, size_t b, struct spread_slot *slot, struct block_buf *buf)
{
	struct hearth_error err = {0};
	struct snapshot_block block = snapshot_get_block(l->reader, b);
	enum hearth_status status;
	spread_slot_clear(slot);
	if (snapshot_has_dicts(&block))
		return;
	if (block.raw_len <= SNAPSHOT_PAYLOAD_MAX) {
		status = load_shared(l, b, slot, &err);
	} else if (block.raw_len <= LARGE) {
		status = load_large(l, i, b, buf, &err);
	} else {
		pthread_mutex_lock(&l->large_lock);
		status = block.raw_len > l->block_max ? load_giant(l, i, b, &err)
		                                      : load_large(l, i, b, &l->large, &err);
		pthread_mutex_unlock(&l->large_lock);
	}
	if (status != HEARTH_OK)
		fail_block(l, status, &err);
	atomic_fetch_add(&l->rec->done_bytes, block.stored_len);
}

static void load_part(void *arg, unsigned i)
{
	struct loading *l = arg;
	struct block_buf buf = {0};
	struct spread_turn turn;
	while ((turn = spread_next(l->spread, i)).task != SPREAD_DONE) {
		if (turn.task == SPREAD_FILL)
			load_block(l, i, turn.block, turn.slot, &buf);
		else
			apply_part(l, i, turn.slot, turn.part);
		spread_did(l->spread, &turn);
		if (i == 0)
			recover_progress(l->rec);
	}
	free(buf.data);
}

/* Blocks without items hold dictionaries, which come before all else, wherever they lie. */
static enum hearth_status load_dicts(struct loading *l)
{
	struct block_buf buf = {0};
	for (size_t b = 0; b < snapshot_blocks(l->reader) && l->status == HEARTH_OK; b++) {
		struct hearth_error err = {0};
		struct record r;
		const uint8_t *data;
		size_t len;
		struct snapshot_block block = snapshot_get_block(l->reader, b);
		/* Without a length its index could not be read; loading it says why. */
		if (block.raw_len > 0 && !snapshot_has_dicts(&block))
			continue;
		enum hearth_status status =
		    snapshot_load(l->reader, b, &buf.data, &buf.size, &data, &len, &err);
		struct snapshot_records records = snapshot_records(data, len);
		while (status == HEARTH_OK && (status = snapshot_next_record(&records, &r)) == HEARTH_OK)
			if (r.type == RECORD_DICT && (status = dicts_take(l->rec, &r)) != HEARTH_OK)
				break;
		if (status != HEARTH_OK && status != HEARTH_END) {
			if (data)
				bad_record(l, b, status, &err);
			fail_block(l, status, &err);
		}
	}
	free(buf.data);
	return l->status;
}

/* All blocks, by all threads. */
static enum hearth_status load_blocks(struct loading *l)
{
	struct recovery *rec = l->rec;
	uint64_t applicable = store_item_max(rec->options->store) + RECORD_OVERHEAD_MAX;
	l->block_max = applicable > LARGE ? applicable : LARGE;
	l->spread = spread_open(rec->threads, snapshot_blocks(l->reader));
	if (!l->spread)
		return hearth_fail(rec->err, HEARTH_NOMEM, l->name, 0, "no memory for its blocks");
	pthread_mutex_init(&l->lock, NULL);
	pthread_mutex_init(&l->large_lock, NULL);
	parallel_run(rec->threads, load_part, l);
	pthread_mutex_destroy(&l->lock);
	pthread_mutex_destroy(&l->large_lock);
	spread_close(&l->spread);
	free(l->large.data);
	return l->status;
}

static enum hearth_status load_one(struct recovery *rec, const struct manifest_snapshot *entry)
{
	struct files *files = rec->options->files;
	struct hearth_error err = {0};
	struct loading l = {.rec = rec, .status = HEARTH_OK};
	datadir_name(DATADIR_SNAPSHOT, entry->number, l.name);
	enum hearth_status status = snapshot_open(&l.reader, datadir_vfs(files->dir), datadir_fd(files->dir),
	    l.name, files->manifest.lineage, &err);
	if (l.reader && snapshot_get_header(l.reader)->features.read_only) {
		snapshot_close(&l.reader);
		status = hearth_fail(
		    &err, HEARTH_NEWER, l.name, 24, "a newer version says that this one must not write here");
	}
	if (refuses(status, &err)) {
		*rec->err = err;
		return status;
	}
	if (status != HEARTH_OK)
		recover_damage(rec, l.name, err.offset, err.what);
	if (!l.reader)
		return HEARTH_END;
	const struct snapshot_header *h = snapshot_get_header(l.reader);
	if (h->number != entry->number || h->start != entry->start) {
		recover_damage(rec, l.name, 0, "it is another snapshot than the manifest names");
		snapshot_close(&l.reader);
		return HEARTH_END;
	}
	const struct snapshot_footer *f = snapshot_get_footer(l.reader);
	rec->s0 = h->start;
	rec->snapshot_end = f ? f->end : entry->end;
	rec->result->snapshot = entry->number;
	rec->result->start.flush_due = f ? f->flush_due : h->flush_due;
	life_note(&rec->life, h->hearth_ms);
	if (h->high_water > rec->high_water)
		rec->high_water = h->high_water;
	if (f)
		store_reserve(rec->thread[0], f->items, f->raw_bytes);
	status = load_dicts(&l);
	if (status == HEARTH_OK)
		status = load_blocks(&l);
	snapshot_close(&l.reader);
	return status;
}

enum hearth_status load_snapshot(struct recovery *rec)
{
	const struct manifest *m = &rec->options->files->manifest;
	enum hearth_status status = HEARTH_END;
	for (size_t i = m->n_snapshots; i-- > 0 && status == HEARTH_END;) {
		char name[DATADIR_NAME_SIZE];
		if (m->snapshots[i].generation != m->generation)
			continue;
		datadir_name(DATADIR_SNAPSHOT, m->snapshots[i].number, name);
		if (files_reach_back(rec->options->files, &m->snapshots[i]))
			status = load_one(rec, &m->snapshots[i]);
		else
			recover_damage(rec, name, 0, "the log does not reach back to it");
	}
	return status == HEARTH_END ? HEARTH_OK : status;
}
