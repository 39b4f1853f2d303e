/* SPDX-License-Identifier: BSD-3-Clause */
/* written: a data directory that a test writes record by record, with the boot, times, numbers and marks that it wants,
 * and what recovery makes of it. Keys are those of key_name(). */
#ifndef UNIT_WRITTEN_H
#define UNIT_WRITTEN_H

#include <hearth/dict.h>
#include <zstd.h>
#include "history.h"
#include "base/crc32c.h"

struct written {
	struct unit_scratch s;
	struct manifest m;
	struct segment_header h; /* of the segment that is being written */
	int fd;
	uint64_t offset, block; /* its end; where its last block begins */
	uint64_t next;          /* number of the next record */
	uint32_t prev_crc;
	/* For the headers to come. */
	uint8_t other_boot; /* 0: the one that runs; any other is another */
	bool read_only;     /* says that a version like this one may only read it */
	int64_t time_ms;
	uint64_t durable, high_water;
	int64_t flush_due;
};

static inline struct written written_begin(void)
{
	struct written w = {.s = unit_scratch_begin(), .fd = -1, .next = 1, .time_ms = clock_wall_ms()};
	w.m.generation = w.m.next_segment = w.m.next_snapshot = 1;
	MUST(datadir_random_id(w.m.lineage) == 0);
	return w;
}

static inline void written_bytes(struct written *w, const void *data, size_t len)
{
	MUST(vfs_write_all(vfs_posix(), w->fd, data, len) == 0);
	w->offset += len;
}

static inline int written_file(struct written *w, enum datadir_kind kind, uint64_t number)
{
	char name[DATADIR_NAME_SIZE];
	datadir_name(kind, number, name);
	int fd = openat(w->s.fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	MUST(fd >= 0);
	return fd;
}

/* Goes on in a new segment. */
static inline void written_segment(struct written *w)
{
	struct segment_header h = {.features.read_only = w->read_only,
	    .generation = w->m.generation,
	    .number = w->m.next_segment++,
	    .first = w->next,
	    .prev_number = w->h.number,
	    .prev_end = w->offset,
	    .prev_last = w->fd >= 0 ? w->next - 1 : 0,
	    .prev_crc = w->prev_crc,
	    .wall_ms = w->time_ms,
	    .hearth_ms = w->time_ms,
	    .flush_due = w->flush_due,
	    .high_water = w->high_water};
	uint8_t out[SEGMENT_HEADER_SIZE];
	memcpy(h.lineage, w->m.lineage, sizeof(h.lineage));
	MUST(datadir_random_id(h.salt) == 0);
	datadir_boot_id(vfs_posix(), h.boot_id, NULL);
	h.boot_id[0] ^= w->other_boot;
	if (w->fd >= 0)
		close(w->fd);
	w->fd = written_file(w, DATADIR_LOG, h.number);
	w->h = h;
	w->offset = 0;
	segment_encode_header(&w->h, out);
	w->prev_crc = w->h.crc;
	written_bytes(w, out, sizeof(out));
	struct manifest_segment entry = {.number = h.number, .first = h.first, .generation = h.generation};
	memcpy(entry.salt, h.salt, sizeof(entry.salt));
	MUST(manifest_add_segment(&w->m, &entry));
}

/* A block of these bytes; its header says the rest of itself. */
static inline void written_block(struct written *w, struct block_header b, const void *stored)
{
	uint8_t head[BLOCK_HEADER_SIZE];
	b.first = w->next;
	b.time_ms = w->time_ms;
	b.durable = w->durable;
	b.flush_due = w->flush_due;
	b.prev_crc = w->prev_crc;
	block_encode_header(&b, w->h.salt, crc32c(0, stored, b.stored_len), head);
	w->prev_crc = b.crc;
	w->block = w->offset;
	written_bytes(w, head, sizeof(head));
	written_bytes(w, stored, b.stored_len);
	w->next += b.count;
}

static inline uint8_t *written_encode(const struct record *r, struct block_header *ret_b)
{
	size_t len = record_size(r);
	uint8_t *out = malloc(len);
	MUST(out && record_encode(r, out) == len);
	*ret_b = (struct block_header){
	    .stored_len = (uint32_t)len, .raw_len = (uint32_t)len, .count = record_takes_number(r->type)};
	return out;
}

/* A block of one record. */
static inline void written_record(struct written *w, struct record r)
{
	struct block_header b;
	uint8_t *out = written_encode(&r, &b);
	written_block(w, b, out);
	free(out);
}

/* The same, compressed. */
static inline void written_packed(struct written *w, struct record r)
{
	struct block_header b;
	uint8_t *out = written_encode(&r, &b);
	size_t size = ZSTD_compressBound(b.raw_len);
	uint8_t *packed = malloc(size);
	MUST(packed);
	b.stored_len = (uint32_t)ZSTD_compress(packed, size, out, b.raw_len, 1);
	b.flags = BLOCK_ZSTD;
	written_block(w, b, packed);
	free(packed);
	free(out);
}

static inline struct record set_record(uint32_t key, const char *value, int64_t expiry)
{
	static char names[HISTORY_KEYS][32];
	MUST(key < HISTORY_KEYS);
	return (struct record){.type = RECORD_SET,
	    .key = (const uint8_t *)names[key],
	    .key_len = key_name(names[key], key),
	    .value = (const uint8_t *)value,
	    .value_len = strlen(value),
	    .expiry = expiry};
}

static inline void written_set(struct written *w, uint32_t key, const char *value, int64_t expiry)
{
	written_record(w, set_record(key, value, expiry));
}

static inline void written_touch(struct written *w, uint32_t key, int64_t expiry)
{
	struct record r = set_record(key, "", expiry);
	r.type = RECORD_TOUCH;
	written_record(w, r);
}

static inline void written_delete(struct written *w, uint32_t key)
{
	struct record r = set_record(key, "", 0);
	r.type = RECORD_DELETE;
	written_record(w, r);
}

/* A bit of the last block's payload turns over. */
static inline void written_damage(struct written *w)
{
	uint8_t byte;
	off_t at = (off_t)w->block + BLOCK_HEADER_SIZE;
	MUST(pread(w->fd, &byte, 1, at) == 1);
	byte ^= 16;
	MUST(pwrite(w->fd, &byte, 1, at) == 1);
}

/* A snapshot of these records (with their numbers), of which the log up to `start` is a part. */
static inline void written_snapshot(
    struct written *w, const struct record *records, unsigned n, uint64_t start, uint64_t end)
{
	struct snapshot_header h = {.features.read_only = w->read_only,
	    .generation = w->m.generation,
	    .number = w->m.next_snapshot++,
	    .start = start,
	    .wall_ms = w->time_ms,
	    .hearth_ms = w->time_ms,
	    .flush_due = w->flush_due,
	    .high_water = w->high_water};
	struct snapshot_footer f = {
	    .end = end, .flush_due = w->flush_due, .high_water = w->high_water, .hearth_ms = w->time_ms};
	struct snapshot_writer *writer;
	int fd = written_file(w, DATADIR_SNAPSHOT, h.number);
	memcpy(h.lineage, w->m.lineage, sizeof(h.lineage));
	MUST(datadir_random_id(h.salt) == 0);
	MUST(snapshot_writer_open(&writer, vfs_posix(), fd, &h, 1, NULL) == HEARTH_OK);
	for (unsigned i = 0; i < n; i++) {
		size_t len = record_size(&records[i]);
		uint8_t *out = malloc(len);
		MUST(out && record_encode(&records[i], out) == len);
		bool item = records[i].type != RECORD_DICT;
		MUST(snapshot_writer_block(writer, out, len, item, end, NULL) == HEARTH_OK);
		free(out);
	}
	MUST(snapshot_writer_finish(writer, &f, NULL) == HEARTH_OK);
	const struct manifest_snapshot entry = {.number = h.number,
	    .start = start,
	    .end = end,
	    .generation = h.generation,
	    .bytes = snapshot_writer_bytes(writer),
	    .wall_ms = w->time_ms};
	MUST(manifest_add_snapshot(&w->m, &entry));
	snapshot_writer_close(&writer);
	close(fd);
}

/* The manifest, once all files are written. */
static inline void written_manifest(struct written *w)
{
	struct datadir *dir;
	MUST(datadir_open(&dir, vfs_posix(), w->s.path, false, false, NULL, NULL) == HEARTH_OK);
	MUST(datadir_write_manifest(dir, &w->m, NULL) == HEARTH_OK);
	datadir_close(&dir);
}

static inline void written_end(struct written *w)
{
	if (w->fd >= 0)
		close(w->fd);
	manifest_free(&w->m);
	unit_scratch_end(&w->s);
}

/* ---- what recovery makes of it ---- */

struct loaded {
	enum hearth_status status;
	struct store *store;
	struct store_thread *thread;
	struct clock *clock;
	struct recover_result *result;
	struct hearth_error err;
	struct dict_set *dicts;
};

static inline struct loaded load_on(const struct vfs *vfs, const char *path, const struct store_options *o)
{
	struct loaded l = {
	    .store = store_open(o), .clock = clock_open(0), .dicts = dict_set_new(DICT_COUNT_MAX)};
	struct datadir *dir;
	struct files files;
	l.result = calloc(1, sizeof(*l.result));
	MUST(l.store && l.clock && l.result && l.dicts);
	MUST(datadir_open(&dir, vfs, path, false, false, NULL, &l.err) == HEARTH_OK);
	l.status = files_open(&files, dir, 1, &l.err);
	if (l.status == HEARTH_OK) {
		const struct recover_options ro = {.store = l.store,
		    .files = &files,
		    .clock = l.clock,
		    .dicts = l.dicts,
		    .threads = o->threads};
		l.status = recover_run(&ro, l.result, &l.err);
		files_close(&files);
	} else {
		datadir_close(&dir);
	}
	l.thread = store_thread_open(l.store, NULL);
	store_thread_set_now(l.thread, clock_now(l.clock));
	return l;
}

static inline struct loaded load_with(const char *path, const struct store_options *o)
{
	return load_on(vfs_posix(), path, o);
}

static inline struct loaded load_dir(const char *path)
{
	return load_with(
	    path, &(struct store_options){.memory = 32 * MIB, .item_max = 8 * MIB, .threads = 2});
}

static inline void loaded_end(struct loaded *l)
{
	store_thread_close(&l->thread);
	store_close(&l->store);
	clock_close(&l->clock);
	dict_set_free(&l->dicts);
	free(l->result);
}

/* The key's item, or nothing. shown_free when done. */
static inline bool loaded_find(struct loaded *l, uint32_t key, struct shown *ret)
{
	char name[32];
	struct store_key k = key_of(l->store, key, name);
	*ret = (struct shown){0};
	return store_fetch(l->store, l->thread, &k, ret) == STORE_OK;
}

/* The bytes of a packed value in their place. */
static inline bool loaded_unpack(struct loaded *l, struct shown *shown)
{
	const struct dict *dict = dict_find(l->dicts, shown->dict);
	struct dict_context *context = dict_context_new(false);
	uint8_t *out = malloc(shown->len);
	MUST(context && out);
	bool whole =
	    dict && dict_unpack(context, dict, shown->data, shown->packed_len, out, shown->len) == HEARTH_OK;
	dict_context_free(&context);
	free(shown->data);
	shown->data = out;
	return whole;
}

/* Whether the key has this value; NULL: is not there. */
static inline bool loaded_is(struct loaded *l, uint32_t key, const char *value)
{
	struct shown shown;
	bool there = loaded_find(l, key, &shown);
	MUST(!there || !shown.dict || loaded_unpack(l, &shown));
	bool same =
	    value ? there && shown.len == strlen(value) && memcmp(shown.data, value, shown.len) == 0 : !there;
	shown_free(&shown);
	return same;
}

#endif
