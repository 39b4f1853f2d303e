/* SPDX-License-Identifier: BSD-3-Clause */
/* history: a sequence of changes that follows from a seed, applied to an engine and to a model alike, so that what
 * recovery finds can be compared with the state after any of them. Each change takes one sequence number: in a new
 * directory change i has number i. Also: directories as images in memory, to be damaged and recovered. */
#ifndef UNIT_HISTORY_H
#define UNIT_HISTORY_H

#include "support.h"
#include "base/clock.h"
#include "engine/private.h"

#define HISTORY_KEYS 64u
#define FAR_FUTURE   4000000000

/* ---- the model ---- */

struct fact {
	bool live;
	uint8_t *value;
	size_t len;
	uint32_t flags;
	int64_t expiry;
	uint64_t cas;
};

struct history {
	uint32_t random;
	uint64_t n;   /* changes so far */
	size_t large; /* now and then a value of this size; 0 = never */
	bool flushes;
	struct fact fact[HISTORY_KEYS];
};

enum op_kind { OP_SET, OP_DELETE, OP_TOUCH, OP_INCR, OP_APPEND, OP_FLUSH, OP_KINDS };

struct op {
	enum op_kind kind;
	uint32_t key;
	uint64_t number;
	size_t len;
	uint32_t flags;
	int64_t expiry;
	bool digits;
};

static inline uint64_t fact_hash(uint32_t key, const struct fact *f)
{
	uint64_t h = 14695981039346656037u + key;
	uint64_t parts[4] = {f->flags, (uint64_t)f->expiry, f->cas, f->len};
	if (!f->live)
		return 0;
	for (size_t i = 0; i < sizeof(parts); i++)
		h = (h ^ ((uint8_t *)parts)[i]) * 1099511628211u;
	for (size_t i = 0; i < f->len; i++)
		h = (h ^ f->value[i]) * 1099511628211u;
	return h ? h : 1;
}

static inline uint64_t facts_hash(const struct fact *facts)
{
	uint64_t sum = 0;
	for (uint32_t i = 0; i < HISTORY_KEYS; i++)
		sum += fact_hash(i, &facts[i]);
	return sum;
}

static inline void facts_free(struct fact *facts)
{
	for (uint32_t i = 0; i < HISTORY_KEYS; i++)
		free(facts[i].value);
	memset(facts, 0, HISTORY_KEYS * sizeof(*facts));
}

static inline void fact_clear(struct fact *f)
{
	free(f->value);
	*f = (struct fact){0};
}

/* The next change, and the model behind it. */
static inline struct op history_next(struct history *h)
{
	uint32_t r = unit_random(&h->random), more = unit_random(&h->random);
	struct op op = {.key = r % HISTORY_KEYS, .number = ++h->n, .flags = more & 1 ? more >> 4 : 0};
	struct fact *f = &h->fact[op.key];
	unsigned what = r >> 8 & 31;
	op.expiry = more & 2 ? FAR_FUTURE + (more >> 8 & 255) : 0;
	op.digits = (more & 12) == 0;
	op.len = more >> 12 & 255;
	if ((more >> 20 & 31) == 0)
		op.len = STORE_COPY_MAX - 1 + (more & 3);
	if (h->large && (more >> 25) == 0)
		op.len = h->large + (more & 1023);
	op.kind = what < 14   ? OP_SET
	          : what < 20 ? OP_DELETE
	          : what < 24 ? (f->live ? OP_TOUCH : OP_DELETE)
	          : what < 27 ? (f->live && f->flags != 77 ? OP_APPEND : OP_SET)
	          : what < 31 ? (!f->live || f->flags == 77 ? OP_INCR : OP_SET)
	                      : (h->flushes && h->n < 60 ? OP_FLUSH : OP_SET);
	if (op.kind == OP_SET && op.digits)
		op.flags = 77; /* a number: only these are counted up */
	return op;
}

static inline size_t op_value(const struct op *op, uint8_t **ret)
{
	*ret = malloc(op->len + 32);
	if (op->kind == OP_SET && op->flags == 77)
		return (size_t)sprintf((char *)*ret, "%llu", (unsigned long long)op->number * 7);
	value_make(*ret, op->len, op->key, (uint32_t)op->number);
	return op->len;
}

static inline void model_apply(struct history *h, const struct op *op)
{
	struct fact *f = &h->fact[op->key];
	uint8_t *value;
	size_t len = op_value(op, &value);
	switch (op->kind) {
	case OP_SET:
		fact_clear(f);
		*f = (struct fact){true, value, len, op->flags, op->expiry, op->number};
		return;
	case OP_DELETE:
		fact_clear(f);
		break;
	case OP_TOUCH:
		f->expiry = op->expiry;
		break;
	case OP_INCR:
		if (f->live) {
			char digits[32];
			snprintf(digits, sizeof(digits), "%.*s", (int)f->len, (const char *)f->value);
			uint64_t n = strtoull(digits, NULL, 10) + 5;
			free(f->value);
			f->value = malloc(32);
			f->len = (size_t)sprintf((char *)f->value, "%llu", (unsigned long long)n);
			f->cas = op->number;
		}
		break;
	case OP_APPEND:
		f->value = realloc(f->value, f->len + len + 1);
		memcpy(f->value + f->len, value, len);
		f->len += len;
		f->value[f->len] = 0;
		f->cas = op->number;
		break;
	default:
		for (uint32_t i = 0; i < HISTORY_KEYS; i++)
			fact_clear(&h->fact[i]);
	}
	free(value);
}

/* ---- the engine ---- */

static inline struct engine_options engine_defaults(void)
{
	return (struct engine_options){
	    .memory = 32 * MIB, .item_max = 16 * MIB, .workers = 2, .fsync = ENGINE_FSYNC_OS, .keep = 1};
}

static inline enum hearth_status engine_try(struct engine **ret, const char *path,
    const struct engine_options *o, struct engine_recovery *ret_recovery, struct hearth_error *err)
{
	struct datadir *dir;
	enum hearth_status status = datadir_open(&dir, vfs_posix(), path, true, true, NULL, err);
	*ret = NULL;
	if (status != HEARTH_OK)
		return status;
	status = engine_open(ret, o, dir, err);
	if (status != HEARTH_OK) {
		datadir_close(&dir);
		return status;
	}
	status = engine_recover(*ret, ret_recovery, err);
	if (status != HEARTH_OK)
		engine_close(ret);
	return status;
}

static inline struct engine *engine_at(
    const char *path, const struct engine_options *o, struct engine_recovery *ret_recovery)
{
	struct engine *e;
	struct hearth_error err = {0};
	enum hearth_status status = engine_try(&e, path, o, ret_recovery, &err);
	if (status != HEARTH_OK)
		fprintf(stderr, "# %s: %s\n", err.file, err.what ? err.what : "?");
	MUST(status == HEARTH_OK);
	return e;
}

static inline void pause_ms(long ms)
{
	nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

/* Until replies with this need may leave. */
static inline void engine_await(struct engine *e, uint64_t need)
{
	for (unsigned i = 0; !engine_ready(e, need); i++) {
		MUST(!engine_lost(e, need) && i < 600000);
		if (i > 20)
			nanosleep(&(struct timespec){0, 50000}, NULL);
		else
			sched_yield();
	}
}

static inline enum store_result engine_put_bytes(
    struct engine_worker *w, const struct store_key *key, struct store_put put)
{
	if (put.mode == STORE_SET) {
		struct store_large *large;
		MUST(engine_room(w, key, put.value_len, &large) == STORE_OK);
		if (large) {
			memcpy(engine_large_data(large), put.value, put.value_len);
			put.large = large;
			put.value = NULL;
		}
	}
	for (;;) {
		enum store_result r = engine_put(w, key, &put, NULL);
		if (r != STORE_WAIT)
			return r;
		engine_turn_end(w);
		sched_yield();
	}
}

static inline enum store_result op_try(
    struct engine_worker *w, const struct op *op, const struct store_key *k)
{
	uint8_t *value;
	struct store_number number;
	size_t len = op_value(op, &value);
	enum store_result r = STORE_OK;
	const struct store_put put = {.mode = op->kind == OP_SET ? STORE_SET : STORE_APPEND,
	    .value = value,
	    .value_len = len,
	    .flags = op->flags,
	    .expiry = op->expiry};
	switch (op->kind) {
	case OP_SET:
	case OP_APPEND:
		r = engine_put_bytes(w, k, put);
		break;
	case OP_DELETE:
		r = engine_delete(w, k, 0);
		break;
	case OP_TOUCH:
		r = engine_touch(w, k, op->expiry, NULL, NULL);
		break;
	case OP_INCR:
		r = engine_arith(w, k, &(struct store_arith){.delta = 5}, &number);
		break;
	default:
		r = engine_flush(w, 0);
	}
	free(value);
	return r;
}

/* One turn with one change. Returns its need. */
static inline uint64_t op_run(struct engine_worker *w, const struct op *op)
{
	char name[32];
	engine_turn(w);
	struct store_key k = engine_key(w, name, key_name(name, op->key));
	while (op_try(w, op, &k) == STORE_WAIT) {
		engine_turn_end(w);
		sched_yield();
	}
	uint64_t need = engine_need(w);
	engine_turn_end(w);
	return need;
}

/* n changes on engine and model; each block of the log gets up to `batch` of them. */
static inline void history_run(struct history *h, struct engine *e, unsigned n, unsigned batch)
{
	struct engine_worker *w = engine_get_worker(e, 0);
	for (unsigned i = 0; i < n; i++) {
		struct op op = history_next(h);
		uint64_t need = op_run(w, &op);
		model_apply(h, &op);
		if (i % batch == batch - 1 || i + 1 == n)
			engine_await(e, need);
	}
}

/* ---- what is there ---- */

static inline void facts_read(struct store *s, int64_t now, struct fact *facts)
{
	struct store_thread *t = store_thread_open(s, NULL);
	store_thread_set_now(t, now);
	for (uint32_t i = 0; i < HISTORY_KEYS; i++) {
		char name[32];
		struct store_key k = key_of(s, i, name);
		struct shown shown = {0};
		facts[i] = (struct fact){0};
		if (store_fetch(s, t, &k, &shown) != STORE_OK)
			continue;
		facts[i] = (struct fact){true, shown.data, shown.len, shown.flags, shown.expiry, shown.cas};
	}
	store_thread_close(&t);
}

static inline uint64_t engine_hash(struct engine *e)
{
	struct fact facts[HISTORY_KEYS];
	facts_read(e->store, clock_now(e->clock), facts);
	uint64_t hash = facts_hash(facts);
	facts_free(facts);
	return hash;
}

/* ---- directories as images ---- */

struct image_file {
	char name[DATADIR_NAME_SIZE];
	uint8_t *data;
	size_t len;
};

struct image {
	struct image_file file[64];
	unsigned n;
};

/* Manifest first: what is written meanwhile only adds to what it names. */
static inline struct image image_take(int dirfd)
{
	struct image im = {.n = 1};
	snprintf(im.file[0].name, sizeof(im.file[0].name), "%s", DATADIR_MANIFEST);
	DIR *dir = fdopendir(openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	struct dirent *d;
	while ((d = readdir(dir))) {
		enum datadir_kind kind;
		uint64_t number;
		if (datadir_parse_name(d->d_name, &kind, &number))
			datadir_name(kind, number, im.file[im.n++].name);
		MUST(im.n < 64);
	}
	closedir(dir);
	for (unsigned i = 0; i < im.n; i++)
		im.file[i].data = unit_read_file(dirfd, im.file[i].name, &im.file[i].len);
	for (unsigned i = 1; i < im.n; i++)
		for (unsigned k = i; k > 1 && strcmp(im.file[k].name, im.file[k - 1].name) < 0; k--) {
			struct image_file swap = im.file[k];
			im.file[k] = im.file[k - 1];
			im.file[k - 1] = swap;
		}
	return im;
}

static inline void image_put(const struct image *im, int dirfd)
{
	unit_empty(dirfd);
	for (unsigned i = 0; i < im->n; i++)
		unit_write_file(dirfd, im->file[i].name, im->file[i].data, im->file[i].len);
}

static inline void image_free(struct image *im)
{
	for (unsigned i = 0; i < im->n; i++)
		free(im->file[i].data);
	im->n = 0;
}

static inline struct image_file *image_find(struct image *im, const char *prefix, unsigned nth)
{
	for (unsigned i = 0; i < im->n; i++)
		if (strncmp(im->file[i].name, prefix, strlen(prefix)) == 0 && nth-- == 0)
			return &im->file[i];
	return NULL;
}

/* ---- recovery alone: it reads only ---- */

struct recovered {
	enum hearth_status status;
	struct recover_result *result;
	struct fact fact[HISTORY_KEYS];
	struct store_stats stats;
};

static inline struct recovered recover_dir(const char *path, uint64_t memory, unsigned threads, bool strict)
{
	struct recovered rec = {.status = HEARTH_IO};
	struct datadir *dir;
	struct files files;
	struct hearth_error err = {0};
	struct store *s = store_make(memory, threads, false);
	struct clock *clock = clock_open(0);
	rec.result = calloc(1, sizeof(*rec.result));
	MUST(clock && rec.result);
	MUST(datadir_open(&dir, vfs_posix(), path, false, false, NULL, &err) == HEARTH_OK);
	rec.status = files_open(&files, dir, 1, &err);
	if (rec.status == HEARTH_OK) {
		const struct recover_options o = {
		    .store = s, .files = &files, .clock = clock, .threads = threads, .strict = strict};
		rec.status = recover_run(&o, rec.result, &err);
		if (rec.status == HEARTH_OK)
			facts_read(s, clock_now(clock), rec.fact);
		store_get_stats(s, &rec.stats);
		files_close(&files);
	} else {
		datadir_close(&dir);
	}
	clock_close(&clock);
	store_close(&s);
	return rec;
}

static inline void recovered_free(struct recovered *rec)
{
	facts_free(rec->fact);
	free(rec->result);
}

#endif
