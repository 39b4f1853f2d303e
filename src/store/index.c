/* SPDX-License-Identifier: BSD-3-Clause */
/* index: see index.h. */
#include "store/index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "base/check.h"
#include "store/arena.h"

#define OVERFLOW_MAX 255u /* a count that sticks: such a bucket is always searched past */

/* About two thousand items a shard when full of 100-byte items: growing one takes tens of microseconds. */
static unsigned choose_shard_bits(uint64_t memory)
{
	unsigned bits = 4;
	while (bits < 16 && (UINT64_C(1) << bits) * (256u << 10) < memory)
		bits++;
	return bits;
}

static uint64_t rows_for(uint64_t memory, uint32_t shards)
{
	uint64_t rows = (memory * 2 / 3 / shards / 512) + 1;
	return rows > UINT32_MAX / 8 ? UINT32_MAX / 8 : rows;
}

int index_init(struct index *ix, uint64_t memory, uint64_t most)
{
	*ix = (struct index){.shard_bits = choose_shard_bits(memory)};
	uint32_t n = index_shards(ix);
	/* The smallest item takes 20 bytes and its slot a sixth of a bucket: the index can never take more
	 * than 64 of every 20 * 6 bytes. The mapping costs nothing until it is touched. */
	uint64_t rows = rows_for(most, n);
	ix->buckets_max = (uint32_t)rows * 8;
	ix->buckets_foreseen = (uint32_t)rows_for(memory, n) * 8;
	ix->size = rows * n * 512;
	ix->shard = aligned_alloc(64, n * sizeof(*ix->shard));
	void *base =
	    mmap(NULL, ix->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (!ix->shard || base == MAP_FAILED) {
		free(ix->shard);
		if (base != MAP_FAILED)
			munmap(base, ix->size);
		ix->shard = NULL;
		errno = ENOMEM;
		return -1;
	}
	arena_advise(base, ix->size);
	ix->base = base;
	memset(ix->shard, 0, n * sizeof(*ix->shard));
	for (uint32_t s = 0; s < n; s++) {
		pthread_mutex_init(&ix->shard[s].lock, NULL);
		ix->shard[s].buckets = 1;
	}
	pthread_rwlock_init(&ix->growing, NULL);
	atomic_init(&ix->bytes, (uint64_t)n * 64);
	return 0;
}

void index_fini(struct index *ix)
{
	if (!ix->shard)
		return;
	for (uint32_t s = 0; s < index_shards(ix); s++)
		pthread_mutex_destroy(&ix->shard[s].lock);
	pthread_rwlock_destroy(&ix->growing);
	free(ix->shard);
	munmap(ix->base, ix->size);
	*ix = (struct index){0};
}

void index_prefetch_shard(const struct index *ix, uint64_t hash)
{
	__builtin_prefetch(&ix->shard[index_shard_of(ix, hash)], 1);
}

/* The home bucket as far as can be told without the lock. */
static const struct index_bucket *likely_home(const struct index *ix, uint64_t hash)
{
	uint32_t shard = index_shard_of(ix, hash);
	uint32_t n = __atomic_load_n(&ix->shard[shard].buckets, __ATOMIC_RELAXED);
	return index_bucket(ix, shard, (uint32_t)((uint64_t)index_tag(hash) * n >> INDEX_TAG_BITS));
}

void index_prefetch(const struct index *ix, uint64_t hash)
{
	__builtin_prefetch(likely_home(ix, hash), 1);
}

/* Reads what others write under the lock; nothing but a fetch comes of it. */
__attribute__((no_sanitize("thread"))) uint64_t index_guess(const struct index *ix, uint64_t hash)
{
	const struct index_bucket *b = likely_home(ix, hash);
	unsigned tagged = bucket_tagged(b, index_tag(hash));
	return tagged ? slot_place(__atomic_load_n(&b->slot[__builtin_ctz(tagged)], __ATOMIC_RELAXED)) : 0;
}

static void set_overflow(struct index_bucket *b, unsigned n)
{
	for (unsigned turn = bucket_overflow(b) ^ n; turn; turn &= turn - 1)
		b->slot[__builtin_ctz(turn)] ^= INDEX_OVERFLOW;
}

static uint32_t after(const struct index_shard *sh, uint32_t bucket)
{
	return bucket + 1 == sh->buckets ? 0 : bucket + 1;
}

struct index_cursor index_find(const struct index *ix, uint32_t shard, uint32_t tag,
    bool (*match)(const void *arg, uint64_t place), const void *arg)
{
	const struct index_shard *sh = &ix->shard[shard];
	uint32_t bucket = index_home(sh, tag);
	for (uint32_t distance = 0; distance < sh->buckets; distance++) {
		struct index_bucket *b = index_bucket(ix, shard, bucket);
		for (unsigned left = bucket_tagged(b, tag); left; left &= left - 1) {
			uint64_t *slot = &b->slot[__builtin_ctz(left)];
			if (slot_place(*slot) && match(arg, slot_place(*slot)))
				return (struct index_cursor){slot, bucket, distance};
		}
		if (bucket_overflow(b) == 0)
			break;
		bucket = after(sh, bucket);
	}
	return (struct index_cursor){NULL, bucket, 0};
}

static bool same_place(const void *arg, uint64_t place)
{
	return *(const uint64_t *)arg == place;
}

struct index_cursor index_find_place(const struct index *ix, uint32_t shard, uint32_t tag, uint64_t place)
{
	return index_find(ix, shard, tag, same_place, &place);
}

/* Written under the lock only, so a locked add is not needed; others read it as a hint. */
static void count_slots(struct index_shard *sh, int n)
{
	uint32_t slots = atomic_load_explicit(&sh->slots, memory_order_relaxed);
	atomic_store_explicit(&sh->slots, slots + (uint32_t)n, memory_order_relaxed);
}

static bool insert_slot(struct index *ix, uint32_t shard, uint64_t entry)
{
	struct index_shard *sh = &ix->shard[shard];
	uint32_t bucket = index_home(sh, (uint32_t)(entry >> INDEX_TAG_SHIFT)), first = bucket;
	for (uint32_t distance = 0; distance < sh->buckets; distance++, bucket = after(sh, bucket)) {
		struct index_bucket *b = index_bucket(ix, shard, bucket);
		unsigned free = bucket_free(b);
		if (!free)
			continue;
		uint64_t *slot = &b->slot[__builtin_ctz(free)];
		*slot = entry | (*slot & INDEX_OVERFLOW);
		for (uint32_t at = first; distance > 0; distance--, at = after(sh, at)) {
			struct index_bucket *passed = index_bucket(ix, shard, at);
			unsigned n = bucket_overflow(passed);
			if (n < OVERFLOW_MAX)
				set_overflow(passed, n + 1);
		}
		return true;
	}
	return false;
}

bool index_insert(struct index *ix, uint32_t shard, uint32_t tag, uint64_t place, unsigned use)
{
	uint64_t entry = (uint64_t)tag << INDEX_TAG_SHIFT | (uint64_t)use << INDEX_USE_SHIFT | place;
	if (!insert_slot(ix, shard, entry))
		return false;
	count_slots(&ix->shard[shard], 1);
	return true;
}

void index_remove(struct index *ix, uint32_t shard, const struct index_cursor *c)
{
	struct index_shard *sh = &ix->shard[shard];
	uint32_t at = (c->bucket + sh->buckets - c->distance) % sh->buckets;
	*c->slot &= INDEX_OVERFLOW;
	for (uint32_t d = 0; d < c->distance; d++, at = after(sh, at)) {
		struct index_bucket *b = index_bucket(ix, shard, at);
		unsigned n = bucket_overflow(b);
		if (n < OVERFLOW_MAX)
			set_overflow(b, n - 1);
	}
	count_slots(sh, -1);
}

uint32_t index_next_size(const struct index *ix, uint32_t shard, unsigned sixteenths)
{
	uint64_t n = ix->shard[shard].buckets;
	uint64_t next = n + (n < 8 ? 1 : n / 8), wanted = n * sixteenths / 16;
	next = wanted > next ? wanted : next;
	return next > ix->buckets_max ? ix->buckets_max : (uint32_t)next;
}

uint32_t index_fitting_size(const struct index *ix, uint32_t shard)
{
	uint32_t want = ix->shard[shard].slots / INDEX_LOAD + 1;
	want += want / 16;
	return want > ix->buckets_max ? ix->buckets_max : want;
}

size_t index_scratch_size(uint32_t buckets)
{
	return (size_t)buckets * INDEX_SLOTS * sizeof(uint64_t);
}

void index_resize(struct index *ix, uint32_t shard, uint32_t buckets, uint64_t *scratch)
{
	struct index_shard *sh = &ix->shard[shard];
	CHECK(buckets > 0 && buckets <= ix->buckets_max && (uint64_t)buckets * INDEX_SLOTS >= sh->slots);
	size_t n = 0;
	for (uint32_t i = 0; i < sh->buckets; i++) {
		struct index_bucket *b = index_bucket(ix, shard, i);
		__builtin_prefetch(index_bucket(ix, shard, i + 8 < buckets ? i + 8 : i), 1);
		unsigned taken = bucket_free(b) ^ ((1u << INDEX_SLOTS) - 1);
		for (; taken; taken &= taken - 1)
			scratch[n++] = b->slot[__builtin_ctz(taken)] & ~INDEX_OVERFLOW;
		memset(b, 0, sizeof(*b));
	}
	/* Unsigned arithmetic takes a shrinking shard's bytes off as well. */
	atomic_fetch_add_explicit(&ix->bytes, ((uint64_t)buckets - sh->buckets) * 64, memory_order_relaxed);
	__atomic_store_n(&sh->buckets, buckets, __ATOMIC_RELAXED);
	for (size_t i = 0; i < n; i++)
		CHECK(insert_slot(ix, shard, scratch[i]));
}

/* Three quarters of its load or less: what has just grown has more. */
bool index_too_large(const struct index *ix, uint32_t shard)
{
	const struct index_shard *sh = &ix->shard[shard];
	uint32_t slots = atomic_load_explicit(&sh->slots, memory_order_relaxed);
	uint32_t buckets = __atomic_load_n(&sh->buckets, __ATOMIC_RELAXED);
	return slots * 4 <= buckets * INDEX_LOAD * 3 && index_fitting_size(ix, shard) < buckets;
}

void index_shrink(struct index *ix, uint32_t shard, uint64_t *scratch)
{
	uint32_t before = ix->shard[shard].buckets;
	index_resize(ix, shard, index_fitting_size(ix, shard), scratch);
	uint64_t kept = (uint64_t)(before - ix->shard[shard].buckets) * 64;
	ix->kept += kept;
	atomic_fetch_add_explicit(&ix->bytes, kept, memory_order_relaxed);
}

void index_release(struct index *ix)
{
	uint32_t most = 0;
	for (uint32_t s = 0; s < index_shards(ix); s++) {
		uint32_t buckets = __atomic_load_n(&ix->shard[s].buckets, __ATOMIC_RELAXED);
		if (buckets > most)
			most = buckets;
	}
	atomic_fetch_sub_explicit(&ix->bytes, ix->kept, memory_order_relaxed);
	ix->kept = 0;
	size_t used = ((size_t)((most + 7) / 8) << ix->shard_bits) * 512;
	used = (used + 4095) & ~(size_t)4095;
	if (used < ix->size)
		madvise(ix->base + used, ix->size - used, MADV_DONTNEED);
}
