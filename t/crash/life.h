/* SPDX-License-Identifier: BSD-3-Clause */
/* life: one daemon's life without the daemon: an engine over a memfs, driven op by op beside the model, from one thread;
 * log, sync, evictor and snapshot thread are the engine's own. An op counts as acknowledged when the server would let its
 * reply leave. Ends in order, or at whatever event a test says it was killed at. */
#ifndef CRASH_LIFE_H
#define CRASH_LIFE_H

#include "engine/engine.h"
#include "memfs.h"
#include "model.h"

struct life_options {
	enum engine_fsync fsync;
	unsigned workers, keep, cores;
	uint64_t segment_bytes, memory;
	size_t large; /* size of a large value now and then; 0 = none */
	uint64_t boot;
	bool strict, record;
	unsigned lag; /* see memfs */
};

struct life {
	struct life_options options;
	struct memfs *fs;
	struct engine *engine;
	struct model *m;
	struct dice dice;
	unsigned first; /* op of this life */
	unsigned adopted,
	    inherited;   /* ops of earlier lives that it found; and of these, those that were answered */
	uint32_t served; /* event from which on it served */
	uint64_t told;   /* a number of an earlier life that a client knows */
	bool disk_fails; /* refusals and lost replies are expected */
	bool snapshotting;
	_Atomic int snapshots_done; /* +1 each */
	int snapshots_begun;
	enum hearth_status status, stopped; /* of opening, and of stopping */
	struct hearth_error err;
	struct engine_recovery recovery;
	char why[256]; /* what went wrong while it lived; empty = nothing */
};

struct life_options life_draw_options(struct dice *d);

/* Opens and recovers: the status. m may be NULL: a life that only looks. The engine is NULL unless HEARTH_OK. */
enum hearth_status life_open(struct life *life, const struct world *start, const struct life_options *options,
    struct model *m, uint64_t seed);
/* As open, on a file system that the caller made; it is the life's then. */
enum hearth_status life_open_on(
    struct life *life, struct memfs *fs, const struct life_options *options, struct model *m, uint64_t seed);
/* What all keys hold. */
void life_read(struct life *life, struct found *ret);
/* A number that the engine gives out now, by setting a key of the harness's own. 0: refused. */
uint64_t life_number(struct life *life);
/* One thing that happens: ops, time, a snapshot, waiting. False when something was wrong (life->why). */
bool life_step(struct life *life);
/* One op, drawn or given. STORE_OK: done, whatever it answered; STORE_REFUSED. */
enum store_result life_op(struct life *life, struct op *op);
/* Time passes, and the tick that the server does once a second. */
bool life_pass(struct life *life, int64_t seconds);
/* Looks which replies may have left. */
void life_acks(struct life *life);
/* Waits until all replies have left, or the log has failed. False after a minute. */
bool life_settle(struct life *life);
/* Waits until everything is durable. */
bool life_sync(struct life *life);
void life_snapshot(struct life *life);
bool life_await_snapshots(struct life *life);
/* Ends in order. */
enum hearth_status life_stop(struct life *life);
/* The engine goes, the file system stays. What it still writes lies behind memfs_last of before. */
void life_abandon(struct life *life);
void life_free(struct life *life);

/* Recovery found state n: the model goes on from there, and all of it is shown from now on. Up to op `least` it had been
 * answered before. */
void life_adopt(struct life *life, unsigned n, unsigned least);

/* ---- what a crash at event `at` of this life must leave ---- */

/* Ops that had begun. */
unsigned life_most(const struct life *life, uint32_t at);
/* Ops that must be there: after a kill; and after a power cut in the world as it was. */
unsigned life_least_kill(const struct life *life, uint32_t at);
unsigned life_least_power(const struct life *life, uint32_t at, const struct world *w);
/* The highest number that a client was told of. */
uint64_t life_told(const struct life *life, uint32_t at);
/* The moment itself. *ret is the caller's. */
void life_world(const struct life *life, uint32_t at, struct world *ret);

#endif
