/* SPDX-License-Identifier: BSD-3-Clause */
/* index: hash -> place of the item. Cut into shards, each a lock and a table of 64-byte buckets of eight
 * slots; a full bucket overflows into the next one of its shard and counts how many items passed it, so that
 * a miss costs one cache line. A shard grows by itself, an eighth at a time, from the tags alone: no key is
 * read and the others go on.
 *
 * Hash bits: the low ones choose the shard, the top 23 are the tag; the bucket is tag * buckets >> 23, which
 * keeps the order of tags, so growing never changes which tags lie together for long. A slot: tag 23 | use 2
 * | overflow 1 | place 38 (offset in the arena / 2, plus 1; 0 = empty).
 *
 * Everything of a shard is read and written under its lock. Who makes one larger while others run holds `growing` for
 * reading, taken before the shard's lock: memory behind the largest shard is given back under it, held for writing. */
#ifndef STORE_INDEX_H
#define STORE_INDEX_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "store/bucket.h"

/* The arena cannot be larger than the places reach. */
#define INDEX_ARENA_MAX ((UINT64_C(1) << INDEX_PLACE_BITS) * 2 - 8)
/* Items a bucket holds on average before its shard grows. */
#define INDEX_LOAD 6u

struct index_shard {
	pthread_mutex_t lock;
	uint32_t buckets;
	_Atomic uint32_t slots; /* taken; read without the lock as a hint to grow */
	_Atomic uint32_t items; /* linked and not flushed */
	uint32_t ghosts;        /* lines of the ghost table */
	uint64_t gone;          /* number of the last removal: replies that show a miss wait for it */
} __attribute__((aligned(64)));

struct index {
	struct index_shard *shard;
	unsigned shard_bits;
	uint8_t *base;             /* of all buckets, a mapping */
	size_t size;               /* of the mapping */
	uint32_t buckets_max;      /* a shard */
	uint32_t buckets_foreseen; /* with the memory of the start */
	_Atomic uint64_t bytes;    /* in use, or not yet given back */
	uint64_t kept;             /* of them, those that shards no longer need: of who shrinks them */
	pthread_rwlock_t growing;
};

/* A slot found: where, and how far from its home. */
struct index_cursor {
	uint64_t *slot;
	uint32_t bucket, distance;
};

int index_init(struct index *ix, uint64_t memory, uint64_t most);
void index_fini(struct index *ix);

static inline uint32_t index_shard_of(const struct index *ix, uint64_t hash)
{
	return (uint32_t)(hash & ((UINT64_C(1) << ix->shard_bits) - 1));
}

static inline uint32_t index_shards(const struct index *ix)
{
	return 1u << ix->shard_bits;
}

static inline uint32_t index_tag(uint64_t hash)
{
	return (uint32_t)(hash >> INDEX_TAG_SHIFT);
}

/* Runs of eight buckets lie together, so that an overflow is in the next cache line most of the time, and the
 * shards take turns, so that the table grows at its end. */
static inline struct index_bucket *index_bucket(const struct index *ix, uint32_t shard, uint32_t bucket)
{
	size_t run = ((size_t)(bucket >> 3) << ix->shard_bits) + shard;
	return (struct index_bucket *)(void *)(ix->base + run * 512 + (bucket & 7) * 64);
}

static inline uint32_t index_home(const struct index_shard *sh, uint32_t tag)
{
	return (uint32_t)((uint64_t)tag * sh->buckets >> INDEX_TAG_BITS);
}

/* Without the lock: starts the fetch of the home bucket (the count of buckets may be stale; it is only a
 * hint). */
void index_prefetch(const struct index *ix, uint64_t hash);
/* What index_prefetch itself reads, for those who can look further ahead. */
void index_prefetch_shard(const struct index *ix, uint64_t hash);
/* The place that the home bucket has for the tag, 0 when none; without the lock, so it may be stale: a hint. */
uint64_t index_guess(const struct index *ix, uint64_t hash);

/* Calls match(arg, place) for each slot with the tag until it says yes. The cursor's slot is NULL on a miss.
 */
struct index_cursor index_find(const struct index *ix, uint32_t shard, uint32_t tag,
    bool (*match)(const void *arg, uint64_t place), const void *arg);
/* The slot with this tag and place. */
struct index_cursor index_find_place(const struct index *ix, uint32_t shard, uint32_t tag, uint64_t place);
/* False when the shard is full to the last slot. */
bool index_insert(struct index *ix, uint32_t shard, uint32_t tag, uint64_t place, unsigned use);
void index_remove(struct index *ix, uint32_t shard, const struct index_cursor *c);

/* Written under the lock only, so a locked add is not needed; others read it for what they show. */
static inline void index_count_items(struct index_shard *sh, int n)
{
	uint32_t items = atomic_load_explicit(&sh->items, memory_order_relaxed);
	atomic_store_explicit(&sh->items, items + (uint32_t)n, memory_order_relaxed);
}

static inline bool index_wants_growth(const struct index *ix, uint32_t shard)
{
	const struct index_shard *sh = &ix->shard[shard];
	uint32_t n = __atomic_load_n(&sh->buckets, __ATOMIC_RELAXED);
	return atomic_load_explicit(&sh->slots, memory_order_relaxed) >= n * INDEX_LOAD &&
	       n < ix->buckets_max;
}

/* Bytes of scratch memory that index_resize needs for a shard of so many buckets. */
size_t index_scratch_size(uint32_t buckets);
/* The size to grow to: an eighth more, so that little is too large; or so many sixteenths of what it is, if that is more. While
 * loading, shards grow to what is expected of them and are fitted at the end: most slots move once then, not nine times. */
uint32_t index_next_size(const struct index *ix, uint32_t shard, unsigned sixteenths);
/* The size that suits what is in the shard. */
uint32_t index_fitting_size(const struct index *ix, uint32_t shard);
/* To so many buckets, more or fewer; under the lock; scratch holds at least all slots of the old size. */
void index_resize(struct index *ix, uint32_t shard, uint32_t buckets, uint64_t *scratch);
/* The same, to the size that suits it, when it has become too large for what is in it. */
bool index_too_large(const struct index *ix, uint32_t shard);
void index_shrink(struct index *ix, uint32_t shard, uint64_t *scratch);
/* Gives memory behind the largest shard back to the system. Alone, or with `growing` held for writing. */
void index_release(struct index *ix);

#endif
