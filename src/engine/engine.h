/* SPDX-License-Identifier: BSD-3-Clause */
/* engine: the one place where memory meets disk: a change in the store becomes a record in the log. Opens,
 * recovers, serves, drains, closes.
 *
 * Threads: open, recover, start, stop, close from one thread. Everything that takes a struct engine_worker
 * belongs to the thread of that worker. The rest is callable from any thread.
 *
 * One turn of a worker:  for each connection that has input: engine_turn(), commands, need = engine_need();
 * replies of that connection may leave once engine_ready(need); if not, the connection (alone) is parked. At
 * the end of the turn: engine_turn_end(). No call here writes to disk or waits for it. */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <hearth/datadir.h>
#include <hearth/status.h>
#include "store/types.h"

enum engine_fsync { ENGINE_FSYNC_ALWAYS, ENGINE_FSYNC_EVERYSEC, ENGINE_FSYNC_OS };
/* What a start does when the clock contradicts the data. */
enum engine_clock { ENGINE_CLOCK_WARN, ENGINE_CLOCK_REFUSE };
enum engine_policy { ENGINE_S3FIFO, ENGINE_LRU, ENGINE_LFU, ENGINE_TTL, ENGINE_RANDOM, ENGINE_MRU };
enum engine_on_disk_error { ENGINE_REFUSE, ENGINE_SERVE };

/* What a start does with what it has loaded. */
struct engine_restart {
	int64_t ttl_cap; /* seconds that it has left at most; 0 = no cap */
	bool stale;      /* it is stale: meta clients are told so, and one of them is to fill it anew */
};

struct engine_options {
	uint64_t memory;   /* -m, bytes: arena, index, ghosts and large values */
	uint64_t item_max; /* -I, bytes: header, key and value */
	bool no_evict;     /* -M */
	bool memory_fixed; /* no address space for more: all of it is locked */
	bool compress;     /* values are packed */
	unsigned workers;
	enum engine_policy policy;
	/* The rest only with a data directory. */
	enum engine_fsync fsync;
	int64_t snapshot_interval; /* seconds, 0 = off */
	unsigned snapshot_ratio;   /* percent of the bytes in memory, 0 = off */
	uint64_t snapshot_rate;    /* bytes a second, 0 = no limit */
	uint64_t max_disk;         /* bytes that the data directory may take, 0 = no bound */
	unsigned keep;             /* snapshots kept, 1 or more */
	unsigned keep_days;        /* younger snapshots than this stay, too */
	int64_t max_downtime;      /* seconds; start empty after a longer one; 0 = off */
	struct engine_restart restart;
	enum engine_clock clock_check;
	enum engine_on_disk_error on_disk_error;
	int64_t keep_ttl; /* what is set with less time to live stays in memory only; 0 = off */
	/* So does what is set under these, a newline between them. The caller's, as long as the engine is open. */
	const char *no_keep_prefixes;
	int64_t scrub_interval; /* seconds between two passes over sealed files, 0 = off */
	uint64_t segment_bytes; /* tests: a segment is left once it is larger; 0 = 64 MiB */
	bool strict;
	/* wal -> server (the second of the two upward calls): replies that waited may leave now, or room is
	 * back. Called by the log's threads, without locks held. It must not wait. */
	void (*progress)(void *arg);
	void *progress_arg;
	/* Recovery tells how far it is, about ten times a second, from the thread that called engine_recover.
	 */
	void (*loading)(void *arg, uint64_t done_bytes, uint64_t all_bytes, uint64_t items);
	/* A start whose data is loaded still writes what it has decided against the files; as often, with the same argument.
	 * NULL = nobody wants to know. Ending the process there is as a kill. */
	void (*settling)(void *arg);
	void *loading_arg;
};

struct engine;
struct engine_worker;

/* What recovery did, for the one line at the end. */
struct engine_recovery {
	uint64_t items, bytes; /* live after recovery; bytes of key and value */
	double seconds;
	uint64_t snapshot; /* number, 0 = none */
	uint64_t log_records;
	uint64_t expired, dropped; /* dropped: too large now, no memory, evicted while loading */
	uint64_t left_out_bytes;   /* torn tail and damage */
	uint64_t damaged;          /* places */
	double downtime;           /* seconds since the last sign of life on disk */
	bool empty;                /* longer than --max-downtime: everything was dropped */
	const char *clock;         /* how clock and data contradict each other; NULL = not */
	int64_t clock_back;        /* seconds by which Hearth time was set back for that */
	char note[512];            /* what was left out and where it lies; empty = nothing */
};

/* What max_disk must be at least, and what is enough for memory full of values that do not compress; bytes. */
uint64_t engine_least_disk(const struct engine_options *options);
uint64_t engine_enough_disk(const struct engine_options *options);
/* Bytes of memory that it takes at most beside options->memory, clients' buffers and what snapshots pack left out. */
uint64_t engine_memory_beside(const struct engine_options *options, bool persist);

/* Makes the store and, with dir (taken over on success; NULL = keep nothing), reads the manifest. Refusals
 * change no byte. */
enum hearth_status engine_open(struct engine **ret_engine, const struct engine_options *options,
    struct datadir *dir, struct hearth_error *ret_err);
/* Files to store, on all cores; then opens the log behind what was found. Call once, before workers serve. */
enum hearth_status engine_recover(
    struct engine *e, struct engine_recovery *ret_recovery, struct hearth_error *ret_err);
/* Stops snapshots and eviction, writes and syncs what is queued, marks the manifest clean. HEARTH_IO when the
 * disk refused. Workers must have stopped. */
enum hearth_status engine_stop(struct engine *e, struct hearth_error *ret_err);
/* What engine_stop waits for: NULL when it has not been called, empty when it is the log, which says so itself. Any thread,
 * until engine_close. */
const char *engine_stop_waits(const struct engine *e);
void engine_close(struct engine **e);

struct engine_worker *engine_get_worker(struct engine *e, unsigned index);
/* From here on these are as in next, and nothing else of it counts: fsync, the snapshots' interval, ratio and rate, keep,
 * keep_days, keep_ttl, max_downtime, on_disk_error, scrub_interval, no_evict. The thread that calls engine_tick. */
void engine_tune(struct engine *e, const struct engine_options *next);

/* Another max_disk, or none, in force when it returns. If the directory takes more already, kept snapshots and a fresh one make it
 * less, from another thread, and changes wait or are refused meanwhile. HEARTH_TOO_LARGE: less than engine_needs_disk,
 * by the memory that it was started with. The thread that calls engine_tick. */
enum hearth_status engine_set_max_disk(struct engine *e, uint64_t bytes);
/* The least that it takes. */
uint64_t engine_needs_disk(const struct engine *e);

/* ---- a turn ---- */
void engine_turn(struct engine_worker *w); /* a connection's batch begins: need is 0 */
/* What its replies wait for: the highest number that they changed or served; above it the epoch of the turn, as a log that
 * fails may give numbers up. Of two needs the larger one covers both. */
uint64_t engine_need(const struct engine_worker *w);
bool engine_ready(const struct engine *e, uint64_t need);
/* The log failed, and what these replies say is on no disk: they will never leave; close the connection. */
bool engine_lost(const struct engine *e, uint64_t need);
/* Whether this turn appended: the log thread is to be woken. */
bool engine_appended(const struct engine_worker *w);
void engine_turn_end(struct engine_worker *w);     /* wakes it if so */
int64_t engine_now(const struct engine_worker *w); /* Hearth seconds, read once a turn */

/* ---- commands ---- */
/* Hashes the key and starts the fetch of its bucket, so that a batch can be prepared before it is executed.
 */
struct store_key engine_key(struct engine_worker *w, const void *data, uint8_t len);
/* For keys that are known ahead, in this order, each for all of them before the next: hints. */
void engine_prefetch(const struct engine_worker *w, const struct store_key *key);
void engine_prefetch_item(const struct engine_worker *w, const struct store_key *key);
/* A client's exptime (signed, memcached's 30-day rule) as an absolute time; negative: 1, long past. */
int64_t engine_expiry(const struct engine_worker *w, int64_t exptime);

/* STORE_OK (emitted), STORE_NOT_FOUND, STORE_MORE_ROOM. */
enum store_result engine_get(
    struct engine_worker *w, const struct store_key *key, store_emit *emit, void *arg);
/* The same, but no hit: the item stays as cold as it is. */
enum store_result engine_peek(
    struct engine_worker *w, const struct store_key *key, store_emit *emit, void *arg);
/* gat and touch (emit NULL): STORE_OK, STORE_NOT_FOUND, STORE_WAIT, STORE_MORE_ROOM, STORE_REFUSED. */
enum store_result engine_touch(
    struct engine_worker *w, const struct store_key *key, int64_t expiry, store_emit *emit, void *arg);
/* Before a value is received. STORE_OK with *ret_large NULL: collect it in a buffer of the connection and
 * hand it to engine_put as put->value; STORE_OK with *ret_large: read it straight into engine_large_data()
 * and hand that over; STORE_TOO_LARGE, STORE_NO_MEMORY: swallow it; a failed `set` is an invalidation: call
 * engine_delete(). */
enum store_result engine_room(
    struct engine_worker *w, const struct store_key *key, size_t value_len, struct store_large **ret_large);
uint8_t *engine_large_data(struct store_large *large);
void engine_large_drop(struct engine_worker *w, struct store_large **large);
/* STORE_OK, NOT_STORED, EXISTS, NOT_FOUND (cas), TOO_LARGE, NO_MEMORY, WAIT, REFUSED. ret_stored may be NULL. */
enum store_result engine_put(struct engine_worker *w, const struct store_key *key,
    const struct store_put *put, struct store_stored *ret_stored);
/* STORE_OK, NOT_FOUND, EXISTS (compare not 0 and another), WAIT, REFUSED. A miss leaves a tombstone too. */
enum store_result engine_delete(struct engine_worker *w, const struct store_key *key, uint64_t compare);
/* STORE_OK with *ret_number, NOT_FOUND, NOT_NUMBER, EXISTS, NO_MEMORY, WAIT, REFUSED. */
enum store_result engine_arith(struct engine_worker *w, const struct store_key *key,
    const struct store_arith *arith, struct store_number *ret_number);
/* STORE_OK (emitted as it was before; emit may be NULL), NOT_FOUND, EXISTS, NO_MEMORY, WAIT, MORE_ROOM, REFUSED. While
 * changes are refused, or without memory for a copy, an invalidation takes the item away instead, which is never refused, and
 * a win is not logged. */
enum store_result engine_mark(struct engine_worker *w, const struct store_key *key,
    const struct store_mark *mark, store_emit *emit, void *arg);
/* due 0: now. Else the one delayed slot is set. A flush now empties the slot. STORE_OK, WAIT, REFUSED. */
enum store_result engine_flush(struct engine_worker *w, int64_t due);
/* -m from here on, until the daemon ends; evicts where that is less. False: too much to ask for, or too little for what
 * cannot shrink. Any thread. */
bool engine_set_memory(struct engine *e, uint64_t memory);
/* Called for each item that is evicted, with a shard locked: it must not wait. NULL = none. Any thread, one arg. */
void engine_watch_evictions(
    struct engine *e, void (*evicted)(void *arg, const struct store_key_view *item, int64_t now), void *arg);
/* Lists the keys, a part with each call; *at is 0 first. True: there is more. *ret_again: visit had no room, and the part
 * comes once more, from its beginning. No hit, and writers wait for no more than a part. */
bool engine_walk(struct engine_worker *w, uint32_t *at, store_visit_key *visit, void *arg, bool *ret_again);
/* For a view's pin, when its bytes were sent. */
void engine_unpin(struct engine_worker *w, struct store_pin *pin);

/* ---- the rest: any thread ---- */
/* Once a second from a timer: slews the clock, fires a delayed flush, sweeps expired items, starts due
 * snapshots. */
void engine_tick(struct engine *e);
/* Asks for a snapshot; it runs on its own thread. done (may be NULL) is called from that thread: status,
 * number, items and bytes of the file. HEARTH_BUSY when one is running already (a second is queued behind it
 * and done is called at its end), HEARTH_END without a data directory. */
enum hearth_status engine_snapshot(struct engine *e,
    void (*done)(void *arg, enum hearth_status status, uint64_t number, uint64_t items, uint64_t bytes),
    void *arg);
/* Begins a new segment of the log, and calls done from a thread of its own when all before it is durable, or could not
 * be: segment is the new one's number, last the last number before it. One thread asks. HEARTH_OK (done will be
 * called), HEARTH_BUSY (one is under way), HEARTH_END (no data directory), HEARTH_NOMEM. */
enum hearth_status engine_rotate(struct engine *e,
    void (*done)(void *arg, enum hearth_status status, uint64_t segment, uint64_t last), void *arg);
/* Pins or unpins a snapshot, durably; done is called from another thread: HEARTH_END when there is none of this number.
 * HEARTH_OK: done will be called; HEARTH_END without a data directory. */
enum hearth_status engine_pin(struct engine *e, uint64_t number, bool pin,
    void (*done)(void *arg, enum hearth_status status, uint64_t number, uint64_t items, uint64_t bytes),
    void *arg);
/* What a drop is to do, */
struct engine_drop_order {
	const void *prefix; /* copied */
	size_t len;         /* 1 to 250 */
	bool dry;           /* it only counts */
	bool purge;         /* no file of the directory is to hold what was dropped */
};
/* and how far it is. */
struct engine_dropped {
	bool ended;
	bool writing;          /* all is deleted; it waits for a snapshot */
	unsigned permille;     /* of the keys it has looked at */
	uint64_t items, bytes; /* deleted, or counted; bytes of key and value */
	uint64_t snapshot;     /* that it has taken; 0 = none was needed */
	/* At the end. HEARTH_BUSY: the daemon stops; HEARTH_TOO_LARGE: pinned snapshots are in a purge's way; HEARTH_IO,
	 * HEARTH_NOMEM. What has been deleted until then stays so. */
	enum hearth_status status;
	char note[320]; /* why; empty = all is done, and durable under every policy */
};
typedef void engine_told(void *arg, const struct engine_dropped *state);
/* Deletes all items whose keys begin with a prefix, and that are there when it begins; requests go on. told is called from
 * a thread of its own, now and then and at the end. One at a time, one thread asks. HEARTH_OK (told will be called),
 * HEARTH_BUSY (one is under way), HEARTH_END (no data directory), HEARTH_IO (the disk fails or is full), HEARTH_NOMEM. */
enum hearth_status engine_drop(
    struct engine *e, const struct engine_drop_order *order, engine_told *told, void *arg);
/* Tests only. */
void engine_jump(struct engine *e, int64_t seconds);

struct engine_scrub {
	uint64_t passes, bytes, errors; /* errors: bad files */
	int64_t last;                   /* wall seconds at the end of the last pass; 0 = none yet */
	char bad[DATADIR_NAME_SIZE];    /* the last bad file; empty = none */
};

/* Packed values; counts since the start, bytes with what an item keeps of its dictionary. */
struct engine_packing {
	bool on;
	uint64_t dictionaries, trainings;
	uint64_t sets, raw_bytes, packed_bytes; /* values that were set and packed */
	uint64_t refused;                       /* that did not get smaller by enough */
	uint64_t unpacked, errors;
};

/* Syncs of the log by how long they took: step i, at most that many microseconds; the last one has all longer ones. */
#define ENGINE_SYNC_STEPS      17
#define ENGINE_SYNC_STEP_US(i) ((uint64_t)250 << (i))

struct engine_stats {
	/* store */
	uint64_t items, total_items, bytes; /* bytes: items with their headers, as memcached counts */
	uint64_t memory, memory_used;       /* limit; arena in use, index, ghosts, large values */
	uint64_t evictions, flushed, expired, reclaimed, expired_unfetched, evicted_unfetched;
	uint64_t index_buckets, index_bytes, regions, regions_free, region_size, large_bytes, ghost_bytes;
	int64_t oldest_access; /* seconds since, of the next victim */
	/* log; all zero without a data directory */
	bool persist;
	uint64_t last_seq, written_seq, durable_seq;
	uint64_t log_segments, log_bytes, log_written_bytes, log_writes, log_syncs, log_waits;
	uint64_t last_sync_us, max_sync_us;
	uint64_t sync_us, sync_counts[ENGINE_SYNC_STEPS]; /* the sum of all; those of each step */
	uint64_t snapshots, snapshot_errors, last_snapshot, last_snapshot_items, last_snapshot_bytes;
	int64_t last_snapshot_time; /* wall seconds; 0 never */
	uint64_t last_snapshot_us;
	bool snapshot_running;
	uint64_t snapshot_written; /* items of the one that runs */
	/* When the next one comes: after so many seconds, and so many bytes of the log; 0 = not for that. */
	int64_t snapshot_interval, snapshot_wait;
	uint64_t snapshot_log_bytes, log_since_snapshot;
	bool degraded; /* the disk fails or is full: see state */
	const char *state;
	char state_reason[128];
	int64_t state_seconds; /* in this state */
	uint64_t heals, refused, reserve_bytes;
	/* --max-disk, all zero without: what the directory takes; snapshots taken early, not taken for want of room, and
	 * given up. */
	uint64_t disk_limit, disk_bytes, disk_early_snapshots, disk_skipped_snapshots, disk_given_up;
	bool disk_waiting; /* changes wait for room */
	bool serve;
	uint64_t generation;
	uint8_t lineage[HEARTH_ID_SIZE];
	struct engine_recovery recovery;
	struct engine_scrub scrub;
	int64_t flush_due;
	struct engine_packing packing;
};
void engine_get_stats(struct engine *e, struct engine_stats *ret_stats);
/* stats reset: the counters above that memcached resets. */
void engine_reset_stats(struct engine *e);

#endif
