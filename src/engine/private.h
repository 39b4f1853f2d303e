/* SPDX-License-Identifier: BSD-3-Clause */
/* private: the engine's own state, for the files of the engine only. */
#ifndef ENGINE_PRIVATE_H
#define ENGINE_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>
#include "base/check.h"
#include "base/clock.h"
#include "engine/compress.h"
#include "engine/engine.h"
#include "persist/recover.h"
#include "persist/snap.h"
#include "persist/wal.h"
#include "store/store.h"

#define ENGINE_SCRUB_BAD 64u /* bad files that are remembered */

#define ENGINE_MAGIC        0x454e474eu
#define ENGINE_WORKER_MAGIC 0x454e4757u

/* A thread's way into the engine: the workers', and one for the engine's own changes (a flush that fires). */
struct engine_worker {
	uint32_t magic;
	struct engine *engine;
	struct store_thread *thread;
	struct ring_credit credit;
	uint64_t need, epoch;
	bool lost; /* as of the turn's begin: what is not on disk is not shown */
	int64_t now;
	bool appended;                   /* since the last kick */
	struct compress_worker *packing; /* NULL: no value is packed, or will be */
};

struct keep_prefix;
struct drop;

struct snapshot_request {
	void (*done)(void *arg, enum hearth_status status, uint64_t number, uint64_t items, uint64_t bytes);
	void *arg;
	struct snapshot_request *next;
	uint64_t number; /* to pin or unpin, in its list */
	bool pin;
};

struct engine {
	uint32_t magic;
	struct engine_options options;
	struct store *store;
	struct clock *clock;
	struct files files;
	bool persist;
	struct wal *wal;
	struct engine_worker *workers; /* options.workers, and the engine's own behind them: see engine_own */
	struct engine_recovery recovery;
	struct recover_result *recovered;
	const char *_Atomic stop_waits; /* see engine_stop_waits */
	_Atomic int64_t flush_due;
	pthread_mutex_t own_lock;   /* of the engine's own worker */
	pthread_mutex_t flush_lock; /* outside of the store's locks: slot and log in one order */
	uint64_t expired_noted;
	int64_t noted_alive;            /* monotonic seconds of the last sign of life in the log */
	_Atomic bool serving;           /* recovery is over; the snapshot thread asks */
	_Atomic uint64_t snapshot_rate; /* as the options say it now */
	pthread_t scrubber;
	pthread_cond_t wake_scrubber;
	bool scrubber_running;
	struct { /* under lock, but for bytes */
		uint64_t passes, n_bad;
		_Atomic uint64_t bytes;
		int64_t last;
		char name[DATADIR_NAME_SIZE];
		struct manifest_unlink bad[ENGINE_SCRUB_BAD];
	} scrub;
	struct dict_set *dicts;       /* that values are packed with */
	struct compress *compress;    /* NULL: no more of them will be */
	struct keep_prefix *prefixes; /* of keys that are not kept */
	size_t n_prefixes;
	_Atomic uint64_t refused; /* changes */

	/* The background threads: eviction and snapshots. */
	pthread_mutex_t lock;
	pthread_cond_t wake_evictor, wake_snapshots;
	pthread_t evictor, snapshotter;
	struct store_thread *evictor_thread, *snapshot_thread; /* theirs */
	bool evictor_running, snapshotter_running, evict_wanted, snapshot_wanted;
	_Atomic bool stopping;
	struct snapshot_request *requests, *pins;
	bool snapshot_running;
	_Atomic uint64_t snapshot_written; /* items of the one that runs */
	/* A rotation; the thread that asks for one is the one that waits for the last. */
	pthread_t rotator;
	bool rotator_started;
	_Atomic bool rotating;
	void (*rotation_done)(void *arg, enum hearth_status status, uint64_t segment, uint64_t last);
	void *rotation_arg;
	struct drop *drop; /* the last one; of the thread that asks, like the rotation */
	uint64_t
	    evicted_published; /* when the last snapshot began: what was evicted since may be on disk; under lock */
	uint64_t snapshots, snapshot_errors, last_number, last_items, last_bytes, last_us;
	int64_t last_time; /* wall seconds */
	int64_t last_try;  /* monotonic seconds */
	bool room_wanted;  /* the log nears --max-disk */
	struct {
		uint64_t slack; /* see persist/room.h */
		uint64_t last,
		    last_bytes; /* the last snapshot's bytes, and those in memory; under lock, as what follows */
		uint64_t before,
		    failed; /* room before the last try; the same when it failed, 0 = it did not */
		_Atomic uint64_t early, skipped, given_up;
		_Atomic bool told;        /* that no snapshot fits, since one did */
		_Atomic bool shrinks;     /* the bound was moved below what there is */
		_Atomic bool told_shrink; /* what is done about that */
	} bound;
};

/* The observer: store -> engine. */
uint64_t engine_observe(void *owner, const struct store_change *change);
/* Values that are packed, unpack.c. A call that shows an item is given unpack_emit with a struct unpacking, and its result
 * passes through unpack_done; see store_view.into. */
struct unpacking {
	struct engine_worker *worker;
	store_emit *emit;
	void *arg;
	uint8_t *into; /* where the value goes; NULL: nobody wants it, or it is not packed */
	const uint8_t *packed;
	size_t packed_len, value_len;
	uint32_t dict;
	uint64_t cas;
	struct store_pin pin;
};
static inline struct unpacking unpack_begin(struct engine_worker *w, store_emit *emit, void *arg)
{
	return (struct unpacking){.worker = w, .emit = emit, .arg = arg, .pin = {NULL, STORE_PIN_NONE}};
}
bool unpack_emit(void *arg, const struct store_view *view);
enum store_result unpack_done(struct unpacking *u, const struct store_key *key, enum store_result result);
/* After STORE_PACKED: the value is not packed any more, or gone, and the call may be repeated, as after STORE_DROPPED. False: *result is what else
 * it came to. */
bool unpack_item(struct engine_worker *w, const struct store_key *key, enum store_result *result);
/* Before workers serve: what they need to pack or unpack. False: no memory, or no thread. */
bool unpack_open(struct engine *e);
void unpack_close(struct engine *e);
void unpack_get_stats(const struct engine *e, struct engine_packing *ret);
/* Flushes now if the slot still holds this time. */
enum store_result engine_fire_flush(struct engine_worker *w, int64_t due);
/* Which keys' values are not kept on disk. keep_open: false when memory is short. */
bool keep_open(struct engine *e);
void keep_close(struct engine *e);
bool keep_not(const struct engine *e, const void *key, size_t len);
/* The thread that scrubs. */
bool scrubber_start(struct engine *e);
void scrubber_stop(struct engine *e);
/* 0 = no pass any more; counts from the last one's begin. */
void scrubber_set_interval(struct engine *e, int64_t seconds);
void scrubber_get_stats(struct engine *e, struct engine_scrub *ret);
/* Before the port opens: makes durable what recovery has decided against the files. */
enum hearth_status start_settle(struct engine *e, struct hearth_error *ret_err);
/* Does what a list of pins asks for, answers and frees it; stopping: only answers. */
void pin_requests(struct engine *e, struct snapshot_request *r, bool stopping);
/* --max-disk, bound.c. bound_open: before the log is opened, whose ring is so large. */
enum hearth_status bound_open(struct engine *e, uint64_t ring, struct hearth_error *ret_err);
/* Another bound, 0 = none any more; waits for nothing. */
void bound_move(struct engine *e, uint64_t bytes);
/* After a start: a directory that is beyond its bound already is made smaller, as when the bound is moved. */
void bound_settle(struct engine *e);
/* The snapshot thread's: whether a snapshot may be begun, which bound_taken must end then; and whether one is due for the
 * room's sake. Where nothing helps, changes are refused from then on. */
bool bound_admit(struct engine *e);
void bound_taken(struct engine *e, enum hearth_status status, const struct snap_result *result);
bool bound_wants_snapshot(struct engine *e);
/* wal -> engine: the bound is near. */
void bound_near(void *arg);
void bound_tick(struct engine *e);
/* When the next snapshot is due. The lock is held. */
void background_next(struct engine *e, struct engine_stats *ret);
/* Starts and ends the background threads. */
bool background_start(struct engine *e);
void background_stop(struct engine *e);
/* Until the last rotation has ended, before the log does. */
void rotate_wait(struct engine *e);
/* The same for a drop, which ends soon when the engine stops. */
void drop_wait(struct engine *e);
void drop_free(struct engine *e);
/* Deletes what goes with the drop that is under way: STORE_OK, NOT_FOUND, EXISTS (it stays), WAIT, REFUSED. */
enum store_result engine_drop_key(struct engine_worker *w, const struct store_key *key);
/* Room for the number that a drop begins with: STORE_OK, WAIT. */
enum store_result engine_drop_room(struct engine_worker *w);
/* store -> engine: regions run short. */
void background_wake_evictor(void *arg);

static inline struct engine_worker *engine_own(struct engine *e)
{
	return &e->workers[e->options.workers];
}

/* That of the thread that drops a prefix. */
static inline struct engine_worker *engine_dropper(struct engine *e)
{
	return &e->workers[e->options.workers + 1];
}

static inline unsigned engine_workers(const struct engine *e)
{
	return e->options.workers + 2;
}

#endif
