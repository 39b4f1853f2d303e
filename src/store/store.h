/* SPDX-License-Identifier: BSD-3-Clause */
/* store: the items in memory, behind one facade: index, arena, eviction, expiry, one observer hook, one
 * resumable scan.
 *
 * Threads: every thread that calls it has a struct store_thread of its own. Lock order, outermost first:
 *   reclaim -> lane -> scan -> the index's growing -> shard -> (observer's own) -> arena, large values (leaves)
 * At most one shard lock is held at a time, except by store_flush, which takes all of them in order. Nothing
 * that can wait happens under a shard's lock: room in the arena and a step of the index are secured before it
 * is taken, room in the log's ring by the caller. The values of a get are copied or pinned under it. */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "base/hash.h"
#include "store/policy.h"
#include "store/types.h"

struct store;
struct store_thread;

enum store_change_kind {
	STORE_CHANGE_SET,
	STORE_CHANGE_DELETE,
	STORE_CHANGE_TOUCH,
	STORE_CHANGE_PASS, /* of an item that is not kept: it only takes a number */
	STORE_CHANGE_FLUSH,
	STORE_CHANGE_FLUSH_AT
};

/* What an observer is told, before the change can be seen by anyone. */
struct store_change {
	enum store_change_kind kind;
	const struct store_key *key; /* NULL for flushes */
	const uint8_t *value;
	size_t value_len;
	uint32_t dict;        /* the value is packed with it */
	struct store_pin pin; /* set for values above STORE_COPY_MAX: the observer's, to be unpinned by it */
	uint32_t flags;
	uint16_t state; /* enum item_state: stale, win sent, fetched, binary */
	uint64_t cas;   /* forced, 0 = none */
	int64_t expiry; /* of a set or touch; when a FLUSH_AT is due */
};

/* store -> engine, the first of the two upward calls: under the shard's lock (all of them for a flush). It
 * must not wait. Returns the change's sequence number. owner is the store_thread's. */
typedef uint64_t store_observe(void *owner, const struct store_change *change);

struct store_options {
	uint64_t memory;   /* bytes: arena, index, ghosts, large values */
	uint64_t most;     /* that store_set_memory may ask for: costs address space alone; 0 = memory */
	uint64_t item_max; /* bytes: header, key, value */
	bool no_evict;
	enum store_policy policy;
	int64_t keep_ttl; /* an item set with less time to live than this is not kept on disk; 0 = all are */
	unsigned threads; /* that will call at once: sizes the lanes */
};

/* NULL with errno when memory or address space is short. */
struct store *store_open(const struct store_options *options);
void store_close(struct store **store);
/* From here on it takes so much, evicting where that is less. False: more than `most`. Any thread. */
bool store_set_memory(struct store *s, uint64_t memory);
/* options.no_evict and options.keep_ttl from here on; what is there stays as it was decided to be. Any thread. */
void store_set_no_evict(struct store *s, bool no_evict);
void store_set_keep_ttl(struct store *s, int64_t seconds);
/* NULL = none: the store numbers changes by itself. Set before threads call, after recovery. */
void store_set_observer(struct store *s, store_observe *observe);
/* Numbers of a store without observer go on behind this one. */
void store_set_seq(struct store *s, uint64_t last);

struct store_thread *store_thread_open(struct store *s, void *owner);
void store_thread_close(struct store_thread **t);
/* Hearth seconds by which this thread's next calls judge expiry. */
void store_thread_set_now(struct store_thread *t, int64_t now);

/* With the fetch of its shard begun. */
struct store_key store_key(const struct store *s, const void *data, uint8_t len);
uint64_t store_hash(const struct store *s, const void *data, uint8_t len);
/* For a key known ahead: its shard first, its bucket a little later, then the item that the bucket points to. Each reads
 * what the one before has fetched. Hints, without locks. */
void store_prefetch_shard(const struct store *s, uint64_t hash);
void store_prefetch(const struct store *s, uint64_t hash);
void store_prefetch_item(const struct store *s, uint64_t hash);

/* Results with the numbers that a reply has to wait for. */
struct store_outcome {
	uint64_t seq;     /* highest number changed or served; 0 = none */
	uint64_t cas;     /* of the item now */
	bool created;     /* arith: a miss has begun */
	bool expired;     /* a miss because it had just expired: nothing on disk says so yet */
	uint64_t number;  /* arith: the new value */
	int64_t expiry;   /* arith: of the item, before it got another */
	size_t value_len; /* put: of the item now */
	size_t needed; /* STORE_MORE_ROOM from put and arith: value bytes that must be secured in the log */
};

/* hit: it counts as one, for eviction and for what is shown of the item. */
enum store_result store_look(struct store_thread *t, const struct store_key *key, bool hit, store_emit *emit,
    void *arg, struct store_outcome *ret);
static inline enum store_result store_get(struct store_thread *t, const struct store_key *key,
    store_emit *emit, void *arg, struct store_outcome *ret)
{
	return store_look(t, key, true, emit, arg, ret);
}
/* STORE_MORE_ROOM with ret->needed above `secured`: the item goes to disk with this, value and all. */
enum store_result store_touch(struct store_thread *t, const struct store_key *key, int64_t expiry,
    size_t secured, store_emit *emit, void *arg, struct store_outcome *ret);
/* Whether a value of this length gets memory of its own. */
bool store_wants_large(const struct store *s, const struct store_key *key, size_t value_len);
/* Evicts until it fits; NULL when it cannot. Unref with store_unpin or hand it to store_put. */
struct store_large *store_large_make(struct store_thread *t, size_t value_len);
uint8_t *store_large_data(struct store_large *large);
/* STORE_OK (emitted as it was before), NOT_FOUND (an invalidation leaves a tombstone), EXISTS, NO_MEMORY, STORE_MORE_ROOM
 * with ret->needed above `secured`: the item goes to disk with this, value and all. emit may be NULL. */
enum store_result store_mark(struct store_thread *t, const struct store_key *key,
    const struct store_mark *mark, size_t secured, store_emit *emit, void *arg, struct store_outcome *ret);
/* secured: value bytes for which the caller secured room in the log (matters for append and prepend, whose
 * result is learned inside). */
enum store_result store_put(struct store_thread *t, const struct store_key *key, const struct store_put *put,
    size_t secured, struct store_outcome *ret);
/* With this to compare, store_delete only leaves the tombstone of a miss; what is there stays (STORE_EXISTS). */
#define STORE_COMPARE_NONE UINT64_MAX
enum store_result store_delete(
    struct store_thread *t, const struct store_key *key, uint64_t compare, struct store_outcome *ret);
enum store_result store_arith(struct store_thread *t, const struct store_key *key,
    const struct store_arith *arith, struct store_outcome *ret);
/* Makes a value of so many bytes from a packed one, without a lock held; false: it cannot. */
typedef bool store_unpacker(void *arg, uint32_t dict, const uint8_t *packed, size_t len, uint8_t **ret_value);
/* The value of this key, if it is packed, is kept as it is from here on, which nobody is told: neither its number nor
 * anything else of it changes. STORE_OK, also when there is nothing to do; NO_MEMORY; NOT_STORED: it does not unpack. */
enum store_result store_unpack(
    struct store_thread *t, const struct store_key *key, store_unpacker *unpack, void *arg);
/* due 0 kills every item there is; else only the record of the slot is made. */
void store_flush(struct store_thread *t, int64_t due, struct store_outcome *ret);
void store_unpin(struct store *s, struct store_pin *pin);

/* ---- recovery: like the above, but with numbers given and nothing observed ---- */
struct store_load {
	const uint8_t *value;
	size_t value_len;
	uint64_t seq, cas;
	int64_t expiry, access;
	uint32_t flags;
	uint32_t dict; /* the value is packed with it */
	uint16_t state;
	uint8_t use;
	bool main_queue;
	bool keep_newer; /* from a snapshot: an item with a higher number stays */
};
/* An item that cannot be applied deletes its key. False in that case. */
bool store_load_set(struct store_thread *t, const struct store_key *key, const struct store_load *load);
void store_load_delete(struct store_thread *t, const struct store_key *key);
/* Between these the thread keeps its lane's lock from one item to the next, and no shard's: it loads keys of one part
 * (store_load_part) that no other thread loads meanwhile, calls nothing else of the store and waits for nobody. What is
 * loaded outside of them waits for the batches of all others. */
void store_load_batch(struct store_thread *t);
void store_load_batch_end(struct store_thread *t);
/* Whether the last batch of this thread overwrote so many items that store_prefetch_item pays. */
bool store_load_overwrites(const struct store_thread *t);
/* Which of so many parts a key belongs to: threads that load a part each do not write the same shards. */
unsigned store_load_part(const struct store *s, uint64_t hash, unsigned parts);
/* False when there was no memory for the item's new shape; its key is deleted then. */
bool store_load_touch(struct store_thread *t, const struct store_key *key, int64_t expiry);
/* Kills what has a lower number. Alone: no other thread may call meanwhile. */
void store_load_flush(struct store_thread *t, uint64_t seq);
/* Drops everything (what lies behind was damaged). Alone. */
void store_load_reset(struct store_thread *t);
/* Drops, in a part of the shards (part of parts, by several threads, nobody else), each item whose number is lower than
 * `below` says of its key; 0 = it stays. Returns the count. */
typedef uint64_t store_load_below(void *arg, const void *key, size_t len);
uint64_t store_load_drop(
    struct store_thread *t, unsigned part, unsigned parts, store_load_below *below, void *arg);
/* From here on records are loaded: evictions are not counted as such, no expiry is judged. Until store_load_done. */
void store_load_begin(struct store *s);
/* While loading: of so many bytes in all so many will be read next, and the rest brings as many items for each as these. A guess,
 * by which the index grows. Any thread. */
void store_load_expect(struct store *s, uint64_t done, uint64_t all);
/* Fits the index to what was loaded (part of parts, by several threads), then, alone, ends the loading. */
void store_load_fit(struct store_thread *t, unsigned part, unsigned parts);
void store_load_done(struct store *s);
/* The highest number of the items that a snapshot brought. No other thread loads meanwhile. */
uint64_t store_newest(const struct store *s);
/* Bytes of header, key and value that an item may have. */
uint64_t store_item_max(const struct store *s);
/* How a start changes what it has loaded. */
struct store_retime {
	int64_t back; /* what expires at all expires so many seconds earlier */
	int64_t
	    latest; /* and everything no later than this; 0 = any time; items without expiry need its field for that */
	bool stale; /* and is stale, for somebody to win */
};
/* Part of parts, by several threads, after store_sweep. */
void store_load_retime(
    struct store_thread *t, unsigned part, unsigned parts, const struct store_retime *retime);
/* Prepares an empty index for those of so many items, of so many bytes in all, that have room here. Alone. */
void store_reserve(struct store_thread *t, uint64_t items, uint64_t bytes);
/* One sweep for expired items over a part of the shards (part of parts), after the last record. Returns the
 * count. */
uint64_t store_sweep(struct store_thread *t, unsigned part, unsigned parts);

/* ---- eviction: any one thread at a time does the work, others wait for it ---- */
/* Brings free regions and the limit in order, sweeps a region for expired items. Called by a thread made for
 * it and woken by wake, or now and then. True when there is more to do at once. */
bool store_maintain(struct store_thread *t);
/* Called, from any thread, when regions run short. */
void store_set_wake(struct store *s, void (*wake)(void *arg), void *arg);
/* Called for each item that is evicted, under its shard's lock; NULL = none. From any thread, always with the same arg. */
typedef void store_evicted(void *arg, const struct store_key_view *item, int64_t now);
void store_set_evicted(struct store *s, store_evicted *evicted, void *arg);

/* ---- the one scan: snapshots, key dumps ---- */
struct store_scan_item {
	const uint8_t *key;
	uint8_t key_len;
	const uint8_t *value;
	size_t value_len;
	uint64_t seq, cas;
	int64_t expiry, access;
	uint32_t flags;
	uint32_t dict; /* the value is packed with it */
	uint16_t state;
	uint8_t use;
	bool main_queue;
};
/* False: the scan is given up (too much is waiting, no memory). Called under a shard's lock for values up to
 * STORE_COPY_MAX, without for others; from the scanning thread or from one that reclaims; never from two at
 * once. */
typedef bool store_visit(void *arg, const struct store_scan_item *item);

/* One scan at a time. Every item linked before this call is visited unless it is removed or changed
 * meanwhile; items come in eviction order, coldest first, as far as no reclaim runs ahead. */
void store_scan_begin(struct store_thread *t, store_visit *visit, void *arg);
/* Visits a region, or a part of one with large values. 1: go on; 0: done; -1: given up. */
int store_scan_step(struct store_thread *t);
void store_scan_end(struct store_thread *t);
/* Taken around visits, so that the scanning thread can take what reclaim has added. */
void store_scan_lock(struct store *s);
void store_scan_unlock(struct store *s);

/* ---- the walk over keys: for who lists what there is ---- */
/* One shard, whole under its lock; *shard is 0 first. True: go on with the next call. An item that is there all the time is
 * visited once; none is a hit. */
bool store_walk(struct store_thread *t, uint32_t *shard, store_visit_key *visit, void *arg, bool *ret_again);

/* ---- dropping a prefix ---- */
struct store_drop {
	const void *prefix; /* the caller's, until store_drop_end */
	size_t len;
	uint64_t upto; /* items with a higher number stay */
	/* Deleted: by store_drop_key, and by who would have changed them. Bytes of key and value. */
	_Atomic uint64_t items, bytes;
};
/* Takes a number, for which room is secured: an item that has a lower one, and such a key, is from here on not changed any
 * more but deleted (STORE_DROPPED). One drop at a time. */
void store_drop_begin(struct store_thread *t, struct store_drop *drop);
void store_drop_end(struct store_thread *t);
/* Lists what is to go, as store_walk does; what has expired or was flushed, too, as a snapshot may have it yet. */
bool store_drop_list(
    struct store_thread *t, uint32_t *shard, store_visit_key *visit, void *arg, bool *ret_again);
uint32_t store_drop_parts(const struct store *s);
/* STORE_OK: deleted; NOT_FOUND: it was not there any more, and has a tombstone; EXISTS: stored anew, it stays. */
enum store_result store_drop_key(
    struct store_thread *t, const struct store_key *key, struct store_outcome *ret);
/* Items evicted so far, whatever `stats reset` says, but for those while loading. */
uint64_t store_evicted_count(const struct store *s);

struct store_stats {
	uint64_t items, total_items, bytes, memory, memory_used;
	uint64_t evictions, flushed, expired, expired_unfetched, evicted_unfetched, reclaims, cleans;
	uint64_t load_evictions; /* while loading: counted as nothing else */
	uint64_t index_buckets, index_bytes, ghost_bytes, large_bytes;
	uint64_t regions, regions_free, region_size;
	int64_t oldest_access;
};
/* Items found expired so far; cheap. */
uint64_t store_expired_count(const struct store *s);
void store_get_stats(struct store *s, struct store_stats *ret_stats);
void store_reset_stats(struct store *s);

#endif
