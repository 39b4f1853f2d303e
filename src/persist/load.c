/* SPDX-License-Identifier: BSD-3-Clause */
/* load: the snapshot's blocks to the store, each block by whichever thread is free. A damaged block forgets
 * its keys and no more. */
#include "persist/recover_private.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <hearth/snapshot.h>

#define AHEAD 12u /* records whose buckets are fetched ahead */
/* Blocks that unpack to more are loaded one at a time, so that threads do not multiply their memory. */
#define LARGE (1u << 20)

struct loading {
	struct recovery *rec;
	struct snapshot_reader *reader;
	char name[DATADIR_NAME_SIZE];
	_Atomic size_t next;
	uint64_t block_max; /* no block that can be applied unpacks to more */
	/* Blocks of a single large record: one thread at a time, in one buffer. */
	pthread_mutex_t large_lock;
	uint8_t *large;
	size_t large_size;
	pthread_mutex_t lock; /* result and note */
	enum hearth_status status;
};

struct ahead {
	struct record r;
	struct store_key key;
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

/* A short queue between decoding and applying, so that the fetches overlap. */
static enum hearth_status apply_block(
    struct loading *l, unsigned i, const uint8_t *data, size_t len, uint64_t *ret_items)
{
	struct recovery *rec = l->rec;
	struct store_thread *t = rec->thread[i];
	struct ahead queue[AHEAD];
	unsigned head = 0, tail = 0;
	struct snapshot_records records = snapshot_records(data, len);
	enum hearth_status status = HEARTH_OK;
	for (;;) {
		while (status == HEARTH_OK && tail - head < AHEAD) {
			struct ahead *a = &queue[tail % AHEAD];
			status = snapshot_next_record(&records, &a->r);
			if (status != HEARTH_OK)
				break;
			if (a->r.type != RECORD_SET)
				continue;
			a->key = store_key(rec->options->store, a->r.key, a->r.key_len);
			tail++;
		}
		if (head == tail)
			break;
		struct ahead *a = &queue[head++ % AHEAD];
		recover_cap(rec, &a->r);
		if (!apply_record(t, &a->key, &a->r, true))
			atomic_fetch_add_explicit(&rec->dropped, 1, memory_order_relaxed);
		++*ret_items;
	}
	return status == HEARTH_END ? HEARTH_OK : status;
}

/* A record too large for any item: its key goes, and nothing of its size is allocated. */
static enum hearth_status load_giant(
    struct loading *l, unsigned i, size_t b, uint64_t *ret_items, struct hearth_error *ret_err)
{
	uint8_t head[RECORD_OVERHEAD_MAX];
	struct record r;
	enum hearth_status status = snapshot_load_head(l->reader, b, head, &r, ret_err);
	if (status != HEARTH_OK || r.type != RECORD_SET)
		return status;
	struct store_key key = store_key(l->rec->options->store, r.key, r.key_len);
	if (!apply_record(l->rec->thread[i], &key, &r, true))
		atomic_fetch_add(&l->rec->dropped, 1);
	++*ret_items;
	return HEARTH_OK;
}

static enum hearth_status load_block(struct loading *l, unsigned i, size_t b, uint8_t **buf, size_t *size,
    uint64_t *ret_items, struct hearth_error *ret_err)
{
	const uint8_t *records;
	size_t len;
	enum hearth_status status = snapshot_load(l->reader, b, buf, size, &records, &len, ret_err);
	if (status != HEARTH_OK)
		return status;
	status = apply_block(l, i, records, len, ret_items);
	if (status != HEARTH_OK)
		hearth_fail(ret_err, status, l->name, snapshot_get_block(l->reader, b).offset, "bad record");
	return status;
}

static void load_part(void *arg, unsigned i)
{
	struct loading *l = arg;
	struct recovery *rec = l->rec;
	uint8_t *buf = NULL;
	size_t size = 0, b, n = snapshot_blocks(l->reader);
	while ((b = atomic_fetch_add(&l->next, 1)) < n) {
		struct hearth_error err = {0};
		struct snapshot_block block = snapshot_get_block(l->reader, b);
		uint64_t items = 0;
		enum hearth_status status;
		if (block.raw_len <= LARGE) {
			status = load_block(l, i, b, &buf, &size, &items, &err);
		} else {
			pthread_mutex_lock(&l->large_lock);
			status = block.raw_len > l->block_max
			             ? load_giant(l, i, b, &items, &err)
			             : load_block(l, i, b, &l->large, &l->large_size, &items, &err);
			pthread_mutex_unlock(&l->large_lock);
		}
		if (status != HEARTH_OK)
			fail_block(l, status, &err);
		atomic_fetch_add(&rec->items_applied, items);
		atomic_fetch_add(&rec->done_bytes, block.stored_len);
		if (i == 0)
			recover_progress(rec);
	}
	free(buf);
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
	uint64_t applicable = store_item_max(rec->options->store) + RECORD_OVERHEAD_MAX;
	l.block_max = applicable > LARGE ? applicable : LARGE;
	pthread_mutex_init(&l.lock, NULL);
	pthread_mutex_init(&l.large_lock, NULL);
	if (f)
		store_reserve(rec->thread[0], f->items);
	parallel_run(rec->threads, load_part, &l);
	pthread_mutex_destroy(&l.lock);
	pthread_mutex_destroy(&l.large_lock);
	free(l.large);
	snapshot_close(&l.reader);
	return l.status;
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
