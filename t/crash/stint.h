/* SPDX-License-Identifier: BSD-3-Clause */
/* stint: one daemon's life without the daemon: an engine over a memfs, driven op by op beside the model, from one thread;
 * log, sync, evictor and snapshot thread are the engine's own. An op counts as acknowledged when the server would let its
 * reply leave. Ends in order, or at whatever event a test says it was killed at. */
#ifndef CRASH_STINT_H
#define CRASH_STINT_H

#include "engine/engine.h"
#include "memfs.h"
#include "model.h"

struct stint_options {
	enum engine_fsync fsync;
	unsigned workers, keep, cores;
	uint64_t segment_bytes, memory;
	size_t large; /* size of a large value now and then; 0 = none */
	uint64_t boot;
	bool left_machine; /* an earlier boot was this machine's: it comes once only */
	bool strict, record;
	bool compress; /* values are packed */
	unsigned lag;  /* see memfs */
};

struct stint {
	struct stint_options options;
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

struct stint_options stint_draw_options(struct dice *d);

/* Opens and recovers: the status. m may be NULL: a life that only looks. The engine is NULL unless HEARTH_OK. */
enum hearth_status stint_open(struct stint *stint, const struct world *start,
    const struct stint_options *options, struct model *m, uint64_t seed);
/* As open, on a file system that the caller made; it is the life's then. */
enum hearth_status stint_open_on(struct stint *stint, struct memfs *fs, const struct stint_options *options,
    struct model *m, uint64_t seed);
/* What all keys hold. */
void stint_read(struct stint *stint, struct found *ret);
/* A number that the engine gives out now, by setting a key of the harness's own. 0: refused. */
uint64_t stint_number(struct stint *stint);
/* One thing that happens: ops, time, a snapshot, waiting. False when something was wrong (stint->why). */
bool stint_step(struct stint *stint);
/* One op, drawn or given. STORE_OK: done, whatever it answered; STORE_REFUSED. */
enum store_result stint_op(struct stint *stint, struct op *op);
/* Time passes, and the tick that the server does once a second. */
bool stint_pass(struct stint *stint, int64_t seconds);
/* Looks which replies may have left. */
void stint_acks(struct stint *stint);
/* Waits until all replies have left, or the log has failed. False after a minute. */
bool stint_settle(struct stint *stint);
/* Waits until everything is durable. */
bool stint_sync(struct stint *stint);
void stint_snapshot(struct stint *stint);
bool stint_await_snapshots(struct stint *stint);
/* Ends in order. */
enum hearth_status stint_stop(struct stint *stint);
/* The engine goes, the file system stays. What it still writes lies behind memfs_last of before. */
void stint_abandon(struct stint *stint);
void stint_free(struct stint *stint);

/* Recovery found state n: the model goes on from there, and all of it is shown from now on. Up to op `least` it had been
 * answered before. */
void stint_adopt(struct stint *stint, unsigned n, unsigned least);

/* ---- what a crash at event `at` of this life must leave ---- */

/* Ops that had begun. */
unsigned stint_most(const struct stint *stint, uint32_t at);
/* Ops that must be there: after a kill; and after a power cut in the world as it was. */
unsigned stint_least_kill(const struct stint *stint, uint32_t at);
unsigned stint_least_power(const struct stint *stint, uint32_t at, const struct world *w);
/* The highest number that a client was told of. */
uint64_t stint_told(const struct stint *stint, uint32_t at);
/* The moment itself. *ret is the caller's. */
void stint_world(const struct stint *stint, uint32_t at, struct world *ret);

#endif
