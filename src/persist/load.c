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

struct loading {
	struct recovery *rec;
	struct snapshot_reader *reader;
	char name[DATADIR_NAME_SIZE];
	_Atomic size_t next;
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
	enum hearth_status status = HEARTH_OK;
	for (;;) {
		size_t used;
		while (status == HEARTH_OK && tail - head < AHEAD) {
			struct ahead *a = &queue[tail % AHEAD];
			status = record_decode(data, len, &a->r, &used);
			if (status != HEARTH_OK)
				break;
			data += used;
			len -= used;
			if (a->r.type != RECORD_SET || a->r.seq == 0)
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

static void load_part(void *arg, unsigned i)
{
	struct loading *l = arg;
	struct recovery *rec = l->rec;
	uint8_t *buf = NULL;
	size_t size = 0, b, n = snapshot_blocks(l->reader);
	while ((b = atomic_fetch_add(&l->next, 1)) < n) {
		struct hearth_error err = {0};
		const uint8_t *records;
		size_t len;
		uint64_t items = 0;
		enum hearth_status status = snapshot_load(l->reader, b, &buf, &size, &records, &len, &err);
		if (status == HEARTH_OK) {
			status = apply_block(l, i, records, len, &items);
			if (status != HEARTH_OK)
				hearth_fail(&err, status, l->name, snapshot_get_block(l->reader, b)->offset,
				    "bad record");
		}
		if (status != HEARTH_OK)
			fail_block(l, status, &err);
		atomic_fetch_add(&rec->items_applied, items);
		atomic_fetch_add(&rec->done_bytes, snapshot_get_block(l->reader, b)->stored_len);
		if (i == 0)
			recover_progress(rec);
	}
	free(buf);
}

/* Whether the segments reach back to the snapshot's S0. */
static bool covered(const struct manifest *m, const struct manifest_snapshot *snapshot)
{
	return m->n_segments == 0 || m->segments[0].first <= snapshot->start + 1;
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
	const struct snapshot_footer *f = snapshot_get_footer(l.reader);
	rec->s0 = h->start;
	rec->snapshot_end = f ? f->end : entry->end;
	rec->result->snapshot = entry->number;
	rec->result->start.flush_due = f ? f->flush_due : h->flush_due;
	life_note(&rec->life, h->hearth_ms);
	if (h->high_water > rec->high_water)
		rec->high_water = h->high_water;
	pthread_mutex_init(&l.lock, NULL);
	if (f)
		store_reserve(rec->thread[0], f->items);
	parallel_run(rec->threads, load_part, &l);
	pthread_mutex_destroy(&l.lock);
	snapshot_close(&l.reader);
	return l.status;
}

enum hearth_status load_snapshot(struct recovery *rec)
{
	const struct manifest *m = &rec->options->files->manifest;
	enum hearth_status status = HEARTH_END;
	for (size_t i = m->n_snapshots; i-- > 0 && status == HEARTH_END;) {
		if (m->snapshots[i].generation != m->generation || !covered(m, &m->snapshots[i]))
			continue;
		status = load_one(rec, &m->snapshots[i]);
	}
	return status == HEARTH_END ? HEARTH_OK : status;
}
