/* SPDX-License-Identifier: BSD-3-Clause */
/* stint: see stint.h. */
#include "stint.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "engine/private.h"

#define PATIENCE_US (60 * INT64_C(1000000) * 50) /* a minute, at the harness's speed of time */
#define NUMBERS     ((UINT64_C(1) << 53) - 1)    /* the part of an engine's need that is a number */
#define OWN_KEY     "the-harness"

static bool wrong(struct stint *stint, const char *what, int a, int b)
{
	if (!stint->why[0])
		snprintf(stint->why, sizeof(stint->why), "wrong: %s (%d, expected %d) at op %u", what, a, b,
		    stint->m ? stint->m->n : 0);
	return false;
}

/* ---- opening ---- */

struct stint_options stint_draw_options(struct dice *d)
{
	static const enum engine_fsync policy[] = {
	    ENGINE_FSYNC_ALWAYS, ENGINE_FSYNC_EVERYSEC, ENGINE_FSYNC_EVERYSEC, ENGINE_FSYNC_OS};
	return (struct stint_options){
	    .fsync = policy[dice_below(d, 4)],
	    .workers = 1 + dice_below(d, 3),
	    .keep = 1 + dice_one_in(d, 3) * (1 + dice_below(d, 2)),
	    .cores = 1 + dice_below(d, 2),
	    .segment_bytes = 512u << dice_below(d, 5),
	    .memory = 4u << 20,
	    .large = dice_one_in(d, 12) ? 9000 : 0,
	    .boot = dice_one_in(d, 2) ? 0 : 2 + dice_below(d, 1000),
	    .record = true,
	    .lag = 1 + dice_below(d, 5),
	    .compress = dice_one_in(d, 3),
	};
}

/* Of what the model's values are made of. Once. */
static uint8_t dictionary[512];
static size_t dictionary_len;

static void make_dictionary(void)
{
	static uint8_t samples[400 * 300];
	size_t sizes[400];
	struct dice d = dice_make(4711);
	model_filler(&d, samples, sizeof(samples));
	for (size_t i = 0; i < 400; i++)
		sizes[i] = 300;
	dictionary_len = dict_train(samples, sizes, 400, dictionary, sizeof(dictionary));
	CHECK(dictionary_len > 0);
}

/* From here on values are packed, without that so many must be set first that there is something to train on. */
static void pack(struct engine *e)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	const struct dict *dict;
	pthread_once(&once, make_dictionary);
	if (dict_add(e->dicts, dict_id_of(dictionary, dictionary_len), 8, dictionary, dictionary_len,
	        &dict) == HEARTH_OK)
		compress_use(e->compress, dict);
}

enum hearth_status stint_open(struct stint *stint, const struct world *start,
    const struct stint_options *options, struct model *m, uint64_t seed)
{
	return stint_open_on(stint, memfs_open(start, options->record), options, m, seed);
}

enum hearth_status stint_open_on(struct stint *stint, struct memfs *fs, const struct stint_options *options,
    struct model *m, uint64_t seed)
{
	struct datadir *dir = NULL;
	const struct engine_options eo = {
	    .memory = options->memory,
	    .item_max = 1u << 20,
	    .workers = options->workers,
	    .fsync = options->fsync,
	    .keep = options->keep,
	    .segment_bytes = options->segment_bytes,
	    .strict = options->strict,
	    .compress = options->compress,
	};
	memset(stint, 0, sizeof(*stint));
	stint->options = *options;
	stint->m = m;
	stint->fs = fs;
	stint->dice = dice_make(seed);
	stint->first = m ? m->n + 1 : 1;
	fs->lag = options->lag;
	fs->lag_state = seed;
	memfs_set_boot(fs, options->boot);
	fake_set_cores(options->cores ? options->cores : 1);
	stint->status = datadir_open(&dir, &fs->vfs, MEMFS_PATH, true, true, NULL, &stint->err);
	if (stint->status == HEARTH_OK)
		stint->status = engine_open(&stint->engine, &eo, dir, &stint->err);
	if (stint->status != HEARTH_OK && dir)
		datadir_close(&dir);
	if (stint->status == HEARTH_OK)
		stint->status = engine_recover(stint->engine, &stint->recovery, &stint->err);
	if (stint->status == HEARTH_OK && options->compress)
		pack(stint->engine);
	if (stint->status != HEARTH_OK && stint->engine)
		engine_close(&stint->engine);
	stint->served = memfs_last(fs);
	return stint->status;
}

void stint_abandon(struct stint *stint)
{
	if (stint->engine)
		engine_close(&stint->engine);
}

void stint_free(struct stint *stint)
{
	stint_abandon(stint);
	memfs_close(&stint->fs);
}

enum hearth_status stint_stop(struct stint *stint)
{
	stint_await_snapshots(stint);
	enum hearth_status status = engine_stop(stint->engine, &stint->err);
	stint_acks(stint);
	stint_abandon(stint);
	stint->stopped = status;
	return status;
}

/* ---- reading ---- */

struct shown {
	struct found_key *key;
	struct store_pin pin;
};

static bool show(void *arg, const struct store_view *view)
{
	struct shown *s = arg;
	*s->key = (struct found_key){.live = true,
	    .value = must_alloc(view->value_len),
	    .len = view->value_len,
	    .flags = view->flags,
	    .expiry = view->expiry,
	    .cas = view->cas};
	if (view->into)
		*view->into = s->key->value;
	else if (view->value_len)
		memcpy(s->key->value, view->value, view->value_len);
	s->pin = view->pin;
	return true;
}

static enum store_result get(
    struct engine_worker *w, const struct store_key *key, struct found_key *ret, bool touch, int64_t expiry)
{
	struct shown shown = {.key = ret, .pin = {NULL, STORE_PIN_NONE}};
	*ret = (struct found_key){0};
	enum store_result r =
	    touch ? engine_touch(w, key, expiry, show, &shown) : engine_get(w, key, show, &shown);
	if (store_pinned(&shown.pin))
		engine_unpin(w, &shown.pin);
	return r;
}

void stint_read(struct stint *stint, struct found *ret)
{
	struct engine_worker *w = engine_get_worker(stint->engine, 0);
	struct engine_stats stats;
	memset(ret, 0, sizeof(*ret));
	engine_get_stats(stint->engine, &stats);
	ret->items = stats.items;
	ret->flush_due = stats.flush_due;
	for (unsigned k = 0; k < MODEL_KEYS; k++) {
		char name[256];
		uint8_t len = model_key(k, name);
		engine_turn(w);
		ret->now = engine_now(w);
		struct store_key key = engine_key(w, name, len);
		get(w, &key, &ret->key[k], false, 0);
	}
	engine_turn_end(w);
}

uint64_t stint_number(struct stint *stint)
{
	struct engine_worker *w = engine_get_worker(stint->engine, 0);
	const struct store_put put = {.value = (const uint8_t *)"1", .value_len = 1};
	struct store_stored stored = {0};
	engine_turn(w);
	struct store_key key = engine_key(w, OWN_KEY, sizeof(OWN_KEY) - 1);
	int64_t end = clock_mono_us() + PATIENCE_US;
	while (engine_put(w, &key, &put, &stored) == STORE_WAIT && clock_mono_us() < end) {
		engine_turn_end(w);
		sched_yield();
	}
	engine_turn_end(w);
	return stored.cas;
}

/* ---- ops ---- */

static enum store_result perform(struct engine_worker *w, const struct store_key *key, const struct op *op,
    uint64_t *number, uint64_t *cas, struct found_key *seen)
{
	static const enum store_mode mode[] = {[OP_SET] = STORE_SET,
	    [OP_ADD] = STORE_ADD,
	    [OP_REPLACE] = STORE_REPLACE,
	    [OP_APPEND] = STORE_APPEND,
	    [OP_PREPEND] = STORE_PREPEND,
	    [OP_CAS] = STORE_CAS};
	const struct store_put put = {.mode = op->kind <= OP_CAS ? mode[op->kind] : STORE_SET,
	    .flags = op->flags,
	    .expiry = op->expiry,
	    .compare = op->kind == OP_CAS ? op->compare : 0,
	    .value = op->value,
	    .value_len = op->len};
	const struct store_arith arith = {.delta = op->delta, .decrement = op->kind == OP_DECR};
	struct store_number sum = {0};
	struct store_stored stored = {0};
	enum store_result r;
	switch (op->kind) {
	case OP_INCR:
	case OP_DECR:
		r = engine_arith(w, key, &arith, &sum);
		*number = sum.value;
		*cas = sum.cas;
		return r;
	case OP_DELETE:
		return engine_delete(w, key, 0);
	case OP_TOUCH:
		return engine_touch(w, key, op->expiry, NULL, NULL);
	case OP_GAT:
		return get(w, key, seen, true, op->expiry);
	case OP_GET:
		return get(w, key, seen, false, 0);
	case OP_FLUSH:
		return engine_flush(w, 0);
	case OP_FLUSH_AT:
		return engine_flush(w, op->expiry);
	default:
		r = engine_put(w, key, &put, &stored);
		*cas = stored.cas;
		return r;
	}
}

static const char *const kinds[] = {"set", "add", "replace", "append", "prepend", "incr", "decr", "cas",
    "delete", "touch", "gat", "get", "flush_all", "delayed flush_all", "fire"};

/* The answer, against the model as it was before. */
static bool answers(struct stint *stint, const struct op *op, enum store_result r, uint64_t number,
    const struct found_key *seen)
{
	bool expected = model_expects(stint->m, op);
	const struct version *v = model_holds(stint->m, op->key, op->now);
	if ((r == STORE_OK) != expected)
		return wrong(stint, kinds[op->kind], (int)r, expected ? STORE_OK : STORE_NOT_FOUND);
	if (expected && (op->kind == OP_INCR || op->kind == OP_DECR) && number != model_number(stint->m, op))
		return wrong(stint, "a number is wrong", (int)number, (int)model_number(stint->m, op));
	if (expected && (op->kind == OP_GET || op->kind == OP_GAT) &&
	    (seen->len != v->len || memcmp(seen->value, v->value, v->len) != 0 || seen->cas != v->cas ||
	        seen->flags != v->flags))
		return wrong(stint, "a value is wrong", (int)seen->len, (int)v->len);
	return true;
}

static uint64_t last_number(const struct stint *stint)
{
	return stint->engine->wal ? ring_last(wal_ring(stint->engine->wal)) : 0;
}

/* Whether it is an invalidation: refused only with neither log nor mark, and then its key is gone from memory all the same. */
static bool removes(struct stint *stint, const struct op *op)
{
	struct engine_stats stats;
	bool past = op->expiry != 0 && op->expiry <= op->now;
	bool concat = op->kind == OP_APPEND || op->kind == OP_PREPEND;
	bool by_time = (op->kind <= OP_CAS && !concat) || op->kind == OP_TOUCH || op->kind == OP_GAT;
	bool flush = op->kind == OP_FLUSH || op->kind == OP_FLUSH_AT;
	if (op->kind != OP_DELETE && !flush &&
	    !(by_time && past && op->kind != OP_INCR && op->kind != OP_DECR))
		return false;
	engine_get_stats(stint->engine, &stats);
	if (strcmp(stats.state, "lost") != 0)
		wrong(stint, "an invalidation was refused", (int)op->kind, 0);
	return true;
}

enum store_result stint_op(struct stint *stint, struct op *op)
{
	struct engine_worker *w =
	    engine_get_worker(stint->engine, dice_below(&stint->dice, stint->options.workers));
	struct found_key seen = {0};
	char name[256];
	uint64_t number = 0, cas = 0, before = last_number(stint);
	engine_turn(w);
	op->now = engine_now(w);
	struct store_key key = engine_key(w, name, model_key(op->key, name));
	op->begun = memfs_note(stint->fs, EVENT_BEGIN, stint->m->n + 1);
	enum store_result r;
	int64_t end = clock_mono_us() + PATIENCE_US;
	while ((r = perform(w, &key, op, &number, &cas, &seen)) == STORE_WAIT && clock_mono_us() < end) {
		engine_turn_end(w);
		sched_yield();
		stint_acks(stint);
	}
	uint64_t need = engine_need(w);
	if (dice_one_in(&stint->dice, 2))
		engine_turn_end(w);
	if (r == STORE_WAIT)
		wrong(stint, "an op waits for ever", (int)r, STORE_OK);
	/* While the disk fails, what is on no disk is not shown. */
	bool hidden = stint->disk_fails && op->kind == OP_GET && r == STORE_NOT_FOUND;
	bool gone = r == STORE_REFUSED && removes(stint, op);
	if (r == STORE_WAIT || (r == STORE_REFUSED && !gone) || r == STORE_NO_MEMORY || hidden) {
		free(op->value);
		op->value = NULL;
		return hidden ? STORE_REFUSED : r;
	}
	if (!gone)
		answers(stint, op, r, number, &seen);
	free(seen.value);
	struct op *done = model_do(stint->m, *op, cas);
	done->lost = gone;
	done->wait = need;
	done->need = need & NUMBERS;
	done->seq = last_number(stint) > before ? last_number(stint) : 0;
	return STORE_OK;
}

void stint_acks(struct stint *stint)
{
	for (unsigned i = stint->first; i <= stint->m->n; i++) {
		struct op *op = &stint->m->op[i];
		if (!op->acked && !op->lost && engine_ready(stint->engine, op->wait))
			op->acked = memfs_note(stint->fs, EVENT_ACK, i);
	}
}

static void kick(struct stint *stint)
{
	for (unsigned i = 0; i < stint->options.workers; i++)
		engine_turn_end(engine_get_worker(stint->engine, i));
}

/* Whether all replies have left, or will never leave. */
static bool settled(struct stint *stint)
{
	stint_acks(stint);
	for (unsigned i = stint->first; i <= stint->m->n; i++) {
		struct op *op = &stint->m->op[i];
		op->lost |= !op->acked && engine_lost(stint->engine, op->wait);
		if (!op->acked && !op->lost)
			return false;
	}
	return true;
}

static bool durable(struct stint *stint)
{
	struct engine_stats stats;
	engine_get_stats(stint->engine, &stats);
	return stats.degraded || stats.durable_seq >= stats.last_seq;
}

static bool snapshots_done(struct stint *stint)
{
	return atomic_load(&stint->snapshots_done) == stint->snapshots_begun;
}

static bool await(struct stint *stint, bool (*done)(struct stint *), const char *what)
{
	int64_t end = clock_mono_us() + PATIENCE_US;
	kick(stint);
	for (unsigned i = 0; !done(stint); i++) {
		if (clock_mono_us() > end)
			return wrong(stint, what, 0, 1);
		if (i < 20)
			sched_yield();
		else
			nanosleep(&(struct timespec){0, 1000000}, NULL); /* 20 us at the harness's speed */
		stint_acks(stint);
	}
	return true;
}

bool stint_settle(struct stint *stint)
{
	return await(stint, settled, "replies wait for ever");
}

bool stint_sync(struct stint *stint)
{
	return await(stint, durable, "the log does not become durable");
}

bool stint_await_snapshots(struct stint *stint)
{
	return await(stint, snapshots_done, "a snapshot does not end");
}

static void snapshot_done(
    void *arg, enum hearth_status status, uint64_t number, uint64_t items, uint64_t bytes)
{
	struct stint *stint = arg;
	(void)status;
	(void)number;
	(void)items;
	(void)bytes;
	atomic_fetch_add(&stint->snapshots_done, 1);
}

void stint_snapshot(struct stint *stint)
{
	stint->snapshots_begun++;
	memfs_note(stint->fs, EVENT_MARK, 0);
	enum hearth_status status = engine_snapshot(stint->engine, snapshot_done, stint);
	if (status != HEARTH_OK && status != HEARTH_BUSY)
		stint->snapshots_begun--;
}

/* The delayed flush that fell due has been done by the tick. */
static void note_fire(struct stint *stint)
{
	struct engine_worker *w = engine_get_worker(stint->engine, 0);
	engine_turn(w);
	int64_t due = stint->m->op[stint->m->n].flush_due, now = engine_now(w);
	struct engine_stats stats;
	engine_get_stats(stint->engine, &stats);
	if (due == 0 || due > now || stats.flush_due == due)
		return; /* not yet; or it could not be logged now */
	struct op op = {.kind = OP_FIRE, .now = now};
	struct op *done = model_do(stint->m, op, 0);
	done->seq = done->need = done->wait = last_number(stint);
	done->begun = memfs_last(stint->fs);
}

bool stint_pass(struct stint *stint, int64_t seconds)
{
	/* A fire's number is taken inside the tick: what was written before it belongs to earlier ops. */
	uint32_t begun = memfs_last(stint->fs);
	unsigned n = stint->m->n;
	fake_pass(seconds);
	engine_tick(stint->engine);
	note_fire(stint);
	if (stint->m->n > n)
		stint->m->op[stint->m->n].begun = begun;
	return true;
}

bool stint_step(struct stint *stint)
{
	struct dice *d = &stint->dice;
	unsigned what = dice_below(d, 100);
	stint_acks(stint);
	if (what < 70) {
		for (unsigned i = 1 + dice_below(d, 6); i > 0 && stint->m->n < MODEL_OPS - 2; i--) {
			engine_turn(engine_get_worker(stint->engine, 0));
			int64_t now = engine_now(engine_get_worker(stint->engine, 0));
			struct op op = model_draw(stint->m, d, now, stint->options.large);
			if (stint_op(stint, &op) == STORE_REFUSED && !stint->disk_fails)
				wrong(stint, "a change was refused", 0, 1);
		}
	} else if (what < 78) {
		stint_settle(stint);
	} else if (what < 88) {
		static const int64_t seconds[] = {0, 1, 1, 2, 5, 15, 70, 90000};
		if (stint->m->n < MODEL_OPS - 2)
			stint_pass(stint, seconds[dice_below(d, 8)]);
	} else if (what < 93) {
		if (snapshots_done(stint))
			stint_snapshot(stint);
	} else if (what < 96) {
		stint_await_snapshots(stint);
	} else if (stint->options.fsync != ENGINE_FSYNC_OS) {
		stint_sync(stint);
	}
	return stint->why[0] == 0;
}

/* ---- what must be there ---- */

void stint_adopt(struct stint *stint, unsigned n, unsigned least)
{
	struct model *m = stint->m;
	model_truncate(m, n);
	/* Numbers of ops that a crash took may come again: those of this life are told apart. */
	for (unsigned i = 1; i <= n; i++) {
		m->op[i].begun = 0;
		m->op[i].acked = 1;
		m->op[i].was = m->op[i].seq ? m->op[i].seq : m->op[i].was;
		m->op[i].seq = m->op[i].need = 0;
	}
	stint->first = n + 1;
	stint->adopted = n;
	stint->inherited = least < n ? least : n;
	note_fire(stint);
	if (m->n > n)
		m->op[m->n].begun = 0;
}

unsigned stint_most(const struct stint *stint, uint32_t at)
{
	unsigned n = stint->m->n;
	while (n > 0 && stint->m->op[n].begun > at)
		n--;
	return n;
}

/* The last op of this life whose number is no higher. */
static unsigned op_of(const struct stint *stint, uint64_t number)
{
	unsigned least = 0;
	for (unsigned i = stint->first; i <= stint->m->n; i++)
		if (stint->m->op[i].seq && stint->m->op[i].seq <= number)
			least = i;
	return least;
}

/* The highest number of this life that an answer told until then; disk: and that no power cut may take. */
static uint64_t answered(const struct stint *stint, uint32_t at, const struct world *disk)
{
	uint64_t number = 0;
	for (unsigned i = stint->first; i <= stint->m->n; i++) {
		const struct op *op = &stint->m->op[i];
		if (op->acked && op->acked <= at && op->need > number &&
		    (!disk || !world_log_unsynced(disk, op->acked)))
			number = op->need;
	}
	return number;
}

uint64_t stint_told(const struct stint *stint, uint32_t at)
{
	uint64_t number = answered(stint, at, NULL);
	return number > stint->told ? number : stint->told;
}

unsigned stint_least_kill(const struct stint *stint, uint32_t at)
{
	unsigned before = at >= stint->served ? stint->adopted : stint->inherited;
	unsigned now = op_of(stint, answered(stint, at, NULL));
	return now > before ? now : before;
}

unsigned stint_least_power(const struct stint *stint, uint32_t at, const struct world *w)
{
	if (stint->options.fsync == ENGINE_FSYNC_OS)
		return 0;
	if (stint->options.fsync == ENGINE_FSYNC_ALWAYS)
		return stint_least_kill(stint, at);
	/* everysec: what had been answered when the last sync that has ended began. */
	if (world_log_unsynced(w, 1))
		return 0;
	unsigned before = at >= stint->served ? stint->adopted : stint->inherited;
	unsigned now = op_of(stint, answered(stint, at, w));
	return now > before ? now : before;
}

void stint_world(const struct stint *stint, uint32_t at, struct world *ret)
{
	world_copy(ret, &stint->fs->start);
	for (uint32_t i = 1; i <= at; i++)
		world_apply(ret, memfs_event(stint->fs, i), i);
}
