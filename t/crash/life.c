/* SPDX-License-Identifier: BSD-3-Clause */
/* life: see life.h. */
#include "life.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "engine/private.h"

#define PATIENCE_US (60 * INT64_C(1000000) * 50) /* a minute, at the harness's speed of time */
#define OWN_KEY     "the-harness"

static bool wrong(struct life *life, const char *what, int a, int b)
{
	if (!life->why[0])
		snprintf(life->why, sizeof(life->why), "%s (%d, expected %d) at op %u", what, a, b,
		    life->m ? life->m->n : 0);
	return false;
}

/* ---- opening ---- */

struct life_options life_draw_options(struct dice *d)
{
	static const enum engine_fsync policy[] = {
	    ENGINE_FSYNC_ALWAYS, ENGINE_FSYNC_EVERYSEC, ENGINE_FSYNC_EVERYSEC, ENGINE_FSYNC_OS};
	return (struct life_options){
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
	};
}

enum hearth_status life_open(struct life *life, const struct world *start, const struct life_options *options,
    struct model *m, uint64_t seed)
{
	return life_open_on(life, memfs_open(start, options->record), options, m, seed);
}

enum hearth_status life_open_on(
    struct life *life, struct memfs *fs, const struct life_options *options, struct model *m, uint64_t seed)
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
	};
	memset(life, 0, sizeof(*life));
	life->options = *options;
	life->m = m;
	life->fs = fs;
	life->dice = dice_make(seed);
	life->first = m ? m->n + 1 : 1;
	fs->lag = options->lag;
	fs->lag_state = seed;
	memfs_set_boot(fs, options->boot);
	fake_set_cores(options->cores ? options->cores : 1);
	life->status = datadir_open(&dir, &fs->vfs, MEMFS_PATH, true, true, NULL, &life->err);
	if (life->status == HEARTH_OK)
		life->status = engine_open(&life->engine, &eo, dir, &life->err);
	if (life->status != HEARTH_OK && dir)
		datadir_close(&dir);
	if (life->status == HEARTH_OK)
		life->status = engine_recover(life->engine, &life->recovery, &life->err);
	if (life->status != HEARTH_OK && life->engine)
		engine_close(&life->engine);
	life->served = memfs_last(fs);
	return life->status;
}

void life_abandon(struct life *life)
{
	if (life->engine)
		engine_close(&life->engine);
}

void life_free(struct life *life)
{
	life_abandon(life);
	memfs_close(&life->fs);
}

enum hearth_status life_stop(struct life *life)
{
	life_await_snapshots(life);
	enum hearth_status status = engine_stop(life->engine, &life->err);
	life_acks(life);
	life_abandon(life);
	life->stopped = status;
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
	if (view->value_len)
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

void life_read(struct life *life, struct found *ret)
{
	struct engine_worker *w = engine_get_worker(life->engine, 0);
	struct engine_stats stats;
	memset(ret, 0, sizeof(*ret));
	engine_get_stats(life->engine, &stats);
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

uint64_t life_number(struct life *life)
{
	struct engine_worker *w = engine_get_worker(life->engine, 0);
	const struct store_put put = {.value = (const uint8_t *)"1", .value_len = 1};
	uint64_t cas = 0;
	engine_turn(w);
	struct store_key key = engine_key(w, OWN_KEY, sizeof(OWN_KEY) - 1);
	int64_t end = clock_mono_us() + PATIENCE_US;
	while (engine_put(w, &key, &put, &cas) == STORE_WAIT && clock_mono_us() < end) {
		engine_turn_end(w);
		sched_yield();
	}
	engine_turn_end(w);
	return cas;
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
	    .compare = op->compare,
	    .value = op->value,
	    .value_len = op->len};
	const struct store_arith arith = {.delta = op->delta, .decrement = op->kind == OP_DECR};
	switch (op->kind) {
	case OP_INCR:
	case OP_DECR:
		return engine_arith(w, key, &arith, number, cas);
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
		return engine_put(w, key, &put, cas);
	}
}

/* The answer, against the model as it was before. */
static bool answers(struct life *life, const struct op *op, enum store_result r, uint64_t number,
    const struct found_key *seen)
{
	bool expected = model_expects(life->m, op);
	const struct version *v = model_holds(life->m, op->key, op->now);
	if ((r == STORE_OK) != expected)
		return wrong(life, "an op's answer is wrong", (int)r, expected ? STORE_OK : STORE_NOT_FOUND);
	if (expected && (op->kind == OP_INCR || op->kind == OP_DECR) && number != model_number(life->m, op))
		return wrong(life, "a number is wrong", (int)number, (int)model_number(life->m, op));
	if (expected && (op->kind == OP_GET || op->kind == OP_GAT) &&
	    (seen->len != v->len || memcmp(seen->value, v->value, v->len) != 0 || seen->cas != v->cas ||
	        seen->flags != v->flags))
		return wrong(life, "a value is wrong", (int)seen->len, (int)v->len);
	return true;
}

static uint64_t last_number(const struct life *life)
{
	return life->engine->wal ? ring_last(wal_ring(life->engine->wal)) : 0;
}

enum store_result life_op(struct life *life, struct op *op)
{
	struct engine_worker *w =
	    engine_get_worker(life->engine, dice_below(&life->dice, life->options.workers));
	struct found_key seen = {0};
	char name[256];
	uint64_t number = 0, cas = 0, before = last_number(life);
	engine_turn(w);
	op->now = engine_now(w);
	struct store_key key = engine_key(w, name, model_key(op->key, name));
	op->begun = memfs_note(life->fs, EVENT_BEGIN, life->m->n + 1);
	enum store_result r;
	int64_t end = clock_mono_us() + PATIENCE_US;
	while ((r = perform(w, &key, op, &number, &cas, &seen)) == STORE_WAIT && clock_mono_us() < end) {
		engine_turn_end(w);
		sched_yield();
		life_acks(life);
	}
	uint64_t need = engine_need(w);
	if (dice_one_in(&life->dice, 2))
		engine_turn_end(w);
	if (r == STORE_WAIT)
		wrong(life, "an op waits for ever", (int)r, STORE_OK);
	if (r == STORE_WAIT || r == STORE_REFUSED || r == STORE_NO_MEMORY) {
		free(op->value);
		op->value = NULL;
		return r;
	}
	answers(life, op, r, number, &seen);
	free(seen.value);
	struct op *done = model_do(life->m, *op, cas);
	done->need = need;
	done->seq = last_number(life) > before ? last_number(life) : 0;
	return STORE_OK;
}

void life_acks(struct life *life)
{
	for (unsigned i = life->first; i <= life->m->n; i++) {
		struct op *op = &life->m->op[i];
		if (!op->acked && engine_ready(life->engine, op->need))
			op->acked = memfs_note(life->fs, EVENT_ACK, i);
	}
}

static void kick(struct life *life)
{
	for (unsigned i = 0; i < life->options.workers; i++)
		engine_turn_end(engine_get_worker(life->engine, i));
}

/* Whether all replies have left, or will never leave. */
static bool settled(struct life *life)
{
	life_acks(life);
	for (unsigned i = life->first; i <= life->m->n; i++) {
		const struct op *op = &life->m->op[i];
		if (!op->acked && !engine_lost(life->engine, op->need))
			return false;
	}
	return true;
}

static bool durable(struct life *life)
{
	struct engine_stats stats;
	engine_get_stats(life->engine, &stats);
	return stats.degraded || stats.durable_seq >= stats.last_seq;
}

static bool snapshots_done(struct life *life)
{
	return atomic_load(&life->snapshots_done) == life->snapshots_begun;
}

static bool await(struct life *life, bool (*done)(struct life *), const char *what)
{
	int64_t end = clock_mono_us() + PATIENCE_US;
	kick(life);
	for (unsigned i = 0; !done(life); i++) {
		if (clock_mono_us() > end)
			return wrong(life, what, 0, 1);
		if (i < 20)
			sched_yield();
		else
			nanosleep(&(struct timespec){0, 1000000}, NULL); /* 20 us at the harness's speed */
		life_acks(life);
	}
	return true;
}

bool life_settle(struct life *life)
{
	return await(life, settled, "replies wait for ever");
}

bool life_sync(struct life *life)
{
	return await(life, durable, "the log does not become durable");
}

bool life_await_snapshots(struct life *life)
{
	return await(life, snapshots_done, "a snapshot does not end");
}

static void snapshot_done(
    void *arg, enum hearth_status status, uint64_t number, uint64_t items, uint64_t bytes)
{
	struct life *life = arg;
	(void)status;
	(void)number;
	(void)items;
	(void)bytes;
	atomic_fetch_add(&life->snapshots_done, 1);
}

void life_snapshot(struct life *life)
{
	life->snapshots_begun++;
	memfs_note(life->fs, EVENT_MARK, 0);
	engine_snapshot(life->engine, snapshot_done, life);
}

/* The delayed flush that fell due has been done by the tick. */
static void note_fire(struct life *life)
{
	struct engine_worker *w = engine_get_worker(life->engine, 0);
	engine_turn(w);
	int64_t due = life->m->op[life->m->n].flush_due, now = engine_now(w);
	struct engine_stats stats;
	engine_get_stats(life->engine, &stats);
	if (due == 0 || due > now || stats.flush_due == due)
		return; /* not yet; or it could not be logged now */
	struct op op = {.kind = OP_FIRE, .now = now};
	struct op *done = model_do(life->m, op, 0);
	done->seq = done->need = last_number(life);
	done->begun = memfs_last(life->fs);
}

bool life_pass(struct life *life, int64_t seconds)
{
	/* A fire's number is taken inside the tick: what was written before it belongs to earlier ops. */
	uint32_t begun = memfs_last(life->fs);
	unsigned n = life->m->n;
	fake_pass(seconds);
	engine_tick(life->engine);
	note_fire(life);
	if (life->m->n > n)
		life->m->op[life->m->n].begun = begun;
	return true;
}

bool life_step(struct life *life)
{
	struct dice *d = &life->dice;
	unsigned what = dice_below(d, 100);
	life_acks(life);
	if (what < 70) {
		for (unsigned i = 1 + dice_below(d, 6); i > 0 && life->m->n < MODEL_OPS - 2; i--) {
			engine_turn(engine_get_worker(life->engine, 0));
			int64_t now = engine_now(engine_get_worker(life->engine, 0));
			struct op op = model_draw(life->m, d, now, life->options.large);
			if (life_op(life, &op) == STORE_REFUSED && !life->disk_fails)
				wrong(life, "a change was refused", 0, 1);
		}
	} else if (what < 78) {
		life_settle(life);
	} else if (what < 88) {
		static const int64_t seconds[] = {0, 1, 1, 2, 5, 15, 70, 90000};
		if (life->m->n < MODEL_OPS - 2)
			life_pass(life, seconds[dice_below(d, 8)]);
	} else if (what < 93) {
		if (snapshots_done(life))
			life_snapshot(life);
	} else if (what < 96) {
		life_await_snapshots(life);
	} else if (life->options.fsync != ENGINE_FSYNC_OS) {
		life_sync(life);
	}
	return life->why[0] == 0;
}

/* ---- what must be there ---- */

void life_adopt(struct life *life, unsigned n, unsigned least)
{
	struct model *m = life->m;
	model_truncate(m, n);
	/* Numbers of ops that a crash took may come again: those of this life are told apart. */
	for (unsigned i = 1; i <= n; i++) {
		m->op[i].begun = 0;
		m->op[i].acked = 1;
		m->op[i].seq = m->op[i].need = 0;
	}
	life->first = n + 1;
	life->adopted = n;
	life->inherited = least < n ? least : n;
	note_fire(life);
	if (m->n > n)
		m->op[m->n].begun = 0;
}

unsigned life_most(const struct life *life, uint32_t at)
{
	unsigned n = life->m->n;
	while (n > 0 && life->m->op[n].begun > at)
		n--;
	return n;
}

/* The last op of this life whose number is no higher. */
static unsigned op_of(const struct life *life, uint64_t number)
{
	unsigned least = 0;
	for (unsigned i = life->first; i <= life->m->n; i++)
		if (life->m->op[i].seq && life->m->op[i].seq <= number)
			least = i;
	return least;
}

/* The highest number of this life that an answer told until then; disk: and that no power cut may take. */
static uint64_t answered(const struct life *life, uint32_t at, const struct world *disk)
{
	uint64_t number = 0;
	for (unsigned i = life->first; i <= life->m->n; i++) {
		const struct op *op = &life->m->op[i];
		if (op->acked && op->acked <= at && op->need > number &&
		    (!disk || !world_log_unsynced(disk, op->acked)))
			number = op->need;
	}
	return number;
}

uint64_t life_told(const struct life *life, uint32_t at)
{
	uint64_t number = answered(life, at, NULL);
	return number > life->told ? number : life->told;
}

unsigned life_least_kill(const struct life *life, uint32_t at)
{
	unsigned before = at >= life->served ? life->adopted : life->inherited;
	unsigned now = op_of(life, answered(life, at, NULL));
	return now > before ? now : before;
}

unsigned life_least_power(const struct life *life, uint32_t at, const struct world *w)
{
	if (life->options.fsync == ENGINE_FSYNC_OS)
		return 0;
	if (life->options.fsync == ENGINE_FSYNC_ALWAYS)
		return life_least_kill(life, at);
	/* everysec: what had been answered when the last sync that has ended began. */
	if (world_log_unsynced(w, 1))
		return 0;
	unsigned before = at >= life->served ? life->adopted : life->inherited;
	unsigned now = op_of(life, answered(life, at, w));
	return now > before ? now : before;
}

void life_world(const struct life *life, uint32_t at, struct world *ret)
{
	world_copy(ret, &life->fs->start);
	for (uint32_t i = 1; i <= at; i++)
		world_apply(ret, memfs_event(life->fs, i), i);
}
