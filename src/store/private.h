/* SPDX-License-Identifier: BSD-3-Clause */
/* private: what the files of the store share among themselves, and nobody else includes. */
#ifndef STORE_PRIVATE_H
#define STORE_PRIVATE_H

#include "base/check.h"
#include "store/arena.h"
#include "store/ghost.h"
#include "store/index.h"
#include "store/item.h"
#include "store/large.h"
#include "store/rent.h"
#include "store/store.h"

#define STORE_MAGIC        0x53544f52u
#define STORE_THREAD_MAGIC 0x53544854u

/* Where items are appended: a region a queue, and what is left of one before it, for smaller items that still fit. A
 * worker shares it only when there are more workers than the arena has regions to spare. */
struct lane {
	pthread_mutex_t lock;
	uint32_t open[ARENA_QUEUES], rest[ARENA_QUEUES];
	_Atomic uint64_t total_items; /* linked or overwritten through here */
	uint64_t newest;              /* number that was loaded from a snapshot through here */
} __attribute__((aligned(64)));

struct reclaim_entry {
	uint64_t hash;
	uint32_t offset; /* in the region */
	uint16_t units;
	uint8_t rank;
	uint8_t rent;
};

struct store_scan {
	pthread_mutex_t lock;
	bool active, failed;
	store_visit *visit;
	void *arg;
	uint32_t *order; /* regions, coldest first */
	uint32_t n, at;
	uint32_t offset;  /* visited so far of the region at `at` */
	uint64_t visited; /* value bytes, in this call */
};

#define LOAD_GROWTH      32u /* where nothing is expected */
#define LOAD_GROWTH_MOST 256u

struct store {
	uint32_t magic;
	struct store_options options;
	_Atomic uint64_t memory; /* the bound; options.memory is that of the start */
	/* So are these. */
	_Atomic bool no_evict;
	_Atomic int64_t keep_ttl;
	const struct policy *policy;
	struct hash_key hash;
	struct index index;
	struct arena arena;
	struct ghost ghost;
	struct large_spares
	    spares; /* their `used` are the bytes of all large values; those linked stand in the queues */
	struct large_queues large;
	_Atomic uint64_t flush_seq; /* items with this number or a lower one are dead */
	_Atomic uint64_t seq;       /* without an observer */
	_Atomic bool loading;
	/* Held for reading by who loads a batch, whose shards are its own then, without their locks; for writing by who needs any
	 * shard meanwhile. Taken before all other locks. */
	pthread_rwlock_t load_gate;
	_Atomic unsigned
	    load_growth; /* while loading: to how many sixteenths of its size a shard that is full grows */
	_Atomic bool ghosts_on; /* something was dropped */
	store_observe *observe;
	void (*wake)(void *arg);
	void *wake_arg;
	_Atomic(store_evicted *) evicted;
	_Atomic(void *) evicted_arg;
	struct lane *lanes;
	unsigned n_lanes;
	_Atomic unsigned next_lane;
	/* Reclaim: one at a time. */
	pthread_mutex_t reclaim_lock;
	struct lane forward; /* where reclaim copies to what was worth keeping, under reclaim_lock; */
	struct lane cleaned; /* and what was only in the way of room, which keeps its age */
	struct reclaim_entry *entries;
	struct rent rent;
	uint64_t rounds; /* reclaims that were begun */
	uint32_t sweep_at, shrink_at;
	uint64_t draws; /* at random, so far */
	struct store_scan scan;
	struct store_drop *drop;          /* written with all shards locked, read with one */
	_Atomic uint64_t evictions_reset; /* those before stats reset */
	_Atomic uint64_t evictions, expired, expired_unfetched, evicted_unfetched, reclaims, cleans,
	    load_evictions, flushed;
};

enum load_gate { GATE_OPEN, GATE_PART, GATE_ALL };

struct store_thread {
	uint32_t magic;
	enum load_gate gate; /* how this thread holds it */
	struct store *store;
	struct lane *lane;
	bool batch;                   /* of a load: the lane stays locked from one item to the next, */
	bool lane_locked;             /* and is: */
	size_t left;                  /* so many bytes fit into it, at least */
	unsigned loaded, overwritten; /* in this batch */
	bool overwrites;              /* the last one did, often */
	void *owner;
	int64_t now;
	uint64_t *scratch; /* for resizing a shard */
	size_t scratch_size;
} __attribute__((aligned(64))); /* threads that load write to theirs with each item */

static inline struct item *store_item(const struct store *s, uint64_t place)
{
	return (struct item *)(void *)(s->arena.base + (place - 1) * ITEM_ALIGN);
}

static inline uint64_t store_place(const struct store *s, const struct item *it)
{
	return arena_offset(&s->arena, it) / ITEM_ALIGN + 1;
}

static inline struct region *store_region(const struct store *s, const struct item *it)
{
	return &s->arena.region[arena_region_of(&s->arena, arena_offset(&s->arena, it))];
}

/* Whether what is set under this key, to expire then, stays in memory only. */
static inline bool store_not_kept(
    const struct store *s, const struct store_key *key, int64_t expiry, int64_t now)
{
	int64_t least = atomic_load_explicit(&s->keep_ttl, memory_order_relaxed);
	return key->not_kept || (expiry && least && expiry - now < least);
}

/* The queue that a linked item stands in. */
static inline enum arena_queue store_queue(const struct store *s, const struct item *it)
{
	struct store_large *large = item_large(it);
	return large ? large_queue(large) : (enum arena_queue)store_region(s, it)->queue;
}

/* The value of an item, of which spec was read, as it lies in memory. */
static inline uint8_t *store_value_of(struct item *it, const struct item_spec *spec)
{
	return spec->large ? large_data(spec->large) : item_value(it);
}

/* What is told of an item without its bytes. */
static inline struct store_view store_show(struct item *it, const struct item_spec *spec)
{
	return (struct store_view){.value_len = item_shown_len(spec, store_value_of(it, spec)),
	    .dict = spec->dict,
	    .packed_len = spec->value_len,
	    .flags = spec->flags,
	    .seq = spec->seq,
	    .cas = spec->cas ? spec->cas : spec->seq,
	    .expiry = spec->expiry,
	    .access = spec->access,
	    .fetched = spec->state & ITEM_FETCHED,
	    .stale = spec->state & ITEM_STALE,
	    .win_sent = spec->state & ITEM_WIN_SENT,
	    .binary = spec->state & ITEM_BINARY,
	    .pin = {NULL, STORE_PIN_NONE}};
}

/* All lanes, in the order of their locks. */
static inline unsigned store_lanes(const struct store *s)
{
	return s->n_lanes + 2;
}

static inline struct lane *store_lane(struct store *s, unsigned i)
{
	return i < s->n_lanes ? &s->lanes[i] : i == s->n_lanes ? &s->forward : &s->cleaned;
}

static inline bool store_flushed(const struct store *s, const struct item *it)
{
	return item_seq(it) <= atomic_load_explicit(&s->flush_seq, memory_order_relaxed);
}

/* The largest item that lies in a region. */
static inline size_t store_item_limit(const struct store *s)
{
	size_t quarter = s->arena.region_size / 4;
	return quarter < ITEM_SIZE_MAX ? quarter : ITEM_SIZE_MAX;
}

/* The item was linked, or is about to be unlinked: what its value needs, if it is a large one. */
void store_join(struct store *s, const struct item *it, uint64_t hash);
void store_leave(struct store *s, const struct item *it);
/* Removes the item at the cursor from the index and from the accounts; the shard's lock is held. */
void store_unlink(struct store *s, uint32_t shard, const struct index_cursor *c, struct item *it);
/* Counts an item found expired, unless loading. */
void store_count_expired(struct store *s, const struct item *it);
/* The region's earliest expiry is no later than this. */
void store_note_expiry(struct store *s, const struct item *it, int64_t expiry);
/* Shows the item to emit, with a pin for larger values; false when emit wants more room. */
bool store_emit_item(struct store *s, struct item *it, store_emit *emit, void *arg);
/* Bookkeeping of a hit: last access, fetched, use. Written only when it changes, so that a hot item stays
 * clean. */
void store_note_hit(const struct store_thread *t, struct item *it, uint64_t *slot);
/* What may be resident now, from the limit and what else takes memory. */
void store_set_limit(struct store *s);
/* The thread's scratch has so many bytes, for resizing a shard; false when there is no memory. */
bool store_scratch(struct store_thread *t, size_t size);

/* An item that a client stored. */
static inline void lane_count(struct lane *lane)
{
	atomic_fetch_add_explicit(&lane->total_items, 1, memory_order_relaxed);
}

/* Bytes that are left in a region that the caller's lane has open. */
static inline size_t lane_left(const struct store *s, uint32_t r)
{
	return r == ARENA_NONE ? 0
	                       : s->arena.region_size -
	                             atomic_load_explicit(&s->arena.region[r].fill, memory_order_relaxed);
}

/* Room for `size` bytes in one of the lane's regions of the queue; the lane is locked by the caller. */
static inline bool lane_has_room(
    const struct store *s, const struct lane *lane, enum arena_queue q, size_t size)
{
	return lane_left(s, lane->open[q]) >= size || lane_left(s, lane->rest[q]) >= size;
}
/* Appends; there is room. */
struct item *lane_append(struct store *s, struct lane *lane, enum arena_queue q, size_t size);
/* Takes the last append back. */
void lane_rewind(struct store *s, struct lane *lane, enum arena_queue q, struct item *it, size_t size);
/* Opens a new region for the queue, sealing the fuller one of those before; false when there is none to take. */
bool lane_renew(struct store *s, struct lane *lane, enum arena_queue q, bool spare);

/* Everything that lives is dead. All shards are locked, or nobody else runs. */
void store_kill_all(struct store *s, uint64_t seq);
/* Free regions below which the evictor works ahead of the workers: it needs less than a millisecond for each. */
static inline uint32_t store_low(const struct store *s)
{
	return 1 + s->n_lanes / 4;
}
/* Frees memory: one region cleaned or evicted. False when nothing can be freed. */
bool reclaim_one(struct store_thread *t);
/* Looks at a few shards whose index may have become too large for them; reclaim_lock is held. */
void shrink_step(struct store_thread *t);
/* Visits what the scan has still to see of this region. */
void scan_region(struct store *s, uint32_t r);
/* Visits the item at this place, if it is still the key's and the scan has yet to see it: before it is moved without a
 * record that holds all of it. The caller holds its lane's lock, so that no scan begins meanwhile. */
void scan_item(struct store *s, const struct store_key *key, uint64_t place);

#endif
