/* SPDX-License-Identifier: BSD-3-Clause */
/* large: see large.h. */
#include "store/large.h"

#include <stdlib.h>
#include "base/check.h"
#include "base/nodump.h"

#define LARGE_MAGIC 0x4c415247u

struct store_large {
	uint32_t magic;
	_Atomic uint32_t refs;
	size_t len;
	struct large_spares *spares;
	/* While it is linked; under the queues' lock. */
	TAILQ_ENTRY(store_large) entry;
	uint64_t hash, born;
	enum arena_queue queue;
	uint8_t data[];
};

/* The system maps blocks from here on one by one (see store_open): smaller ones are the allocator's to keep. */
#define SPARE_FROM ((size_t)128 << 10)
/* What is larger than so many times what may be kept in all goes back at once. */
#define SPARE_MOST 4u

static size_t cost_of(size_t len)
{
	return sizeof(struct store_large) + len + 16; /* the allocator's own */
}

void large_spares_init(struct large_spares *spares, size_t most)
{
	*spares = (struct large_spares){.most = most};
	pthread_mutex_init(&spares->lock, NULL);
}

void large_spares_fini(struct large_spares *spares)
{
	while (spares->n > 0)
		free(spares->block[--spares->n]);
	pthread_mutex_destroy(&spares->lock);
}

static size_t apart(size_t a, size_t b)
{
	return a > b ? a - b : b - a;
}

/* Under the lock. */
static struct store_large *take_out(struct large_spares *spares, unsigned i)
{
	struct store_large *block = spares->block[i];
	spares->block[i] = spares->block[--spares->n];
	spares->bytes -= large_cost(block);
	return block;
}

/* The spare block nearest in size, or NULL. */
static struct store_large *take_spare(struct large_spares *spares, size_t len)
{
	struct store_large *block = NULL;
	pthread_mutex_lock(&spares->lock);
	unsigned best = 0;
	for (unsigned i = 1; i < spares->n; i++)
		if (apart(spares->block[i]->len, len) < apart(spares->block[best]->len, len))
			best = i;
	if (spares->n > 0)
		block = take_out(spares, best);
	pthread_mutex_unlock(&spares->lock);
	return block;
}

/* Keeps the block, and lets others go where that is too much. */
static void keep_spare(struct large_spares *spares, struct store_large *block)
{
	struct store_large *out[LARGE_SPARES + 1];
	unsigned n = 0;
	pthread_mutex_lock(&spares->lock);
	while (
	    spares->n > 0 && (spares->n == LARGE_SPARES || spares->bytes + large_cost(block) > spares->most))
		out[n++] = take_out(spares, 0);
	spares->block[spares->n++] = block;
	spares->bytes += large_cost(block);
	pthread_mutex_unlock(&spares->lock);
	while (n > 0)
		free(out[--n]);
}

static struct store_large *allocate(size_t len, struct large_spares *spares)
{
	size_t size = sizeof(struct store_large) + len;
	struct store_large *spare = size >= SPARE_FROM ? take_spare(spares, len) : NULL;
	struct store_large *large = spare ? realloc(spare, size) : malloc(size);
	if (!large)
		free(spare);
	/* With the allocator's own words in front, so that blocks side by side are one mapping for the kernel. */
	else
		nodump((uint8_t *)large - 2 * sizeof(size_t), size + 2 * sizeof(size_t));
	return large;
}

struct store_large *large_make(size_t len, struct large_spares *spares)
{
	struct store_large *large = allocate(len, spares);
	if (!large)
		return NULL;
	large->magic = LARGE_MAGIC;
	atomic_init(&large->refs, 1);
	large->len = len;
	large->spares = spares;
	atomic_fetch_add_explicit(&spares->used, cost_of(len), memory_order_relaxed);
	return large;
}

struct store_large *large_ref(struct store_large *large)
{
	CHECK_MAGIC(large, LARGE_MAGIC);
	atomic_fetch_add_explicit(&large->refs, 1, memory_order_relaxed);
	return large;
}

void large_unref(struct store_large **ref)
{
	struct store_large *large = *ref;
	CHECK_MAGIC(large, LARGE_MAGIC);
	*ref = NULL;
	if (atomic_fetch_sub_explicit(&large->refs, 1, memory_order_acq_rel) > 1)
		return;
	struct large_spares *spares = large->spares;
	size_t size = sizeof(*large) + large->len;
	atomic_fetch_sub_explicit(&spares->used, cost_of(large->len), memory_order_relaxed);
	large->magic = 0;
	if (size >= SPARE_FROM && size <= spares->most * SPARE_MOST)
		keep_spare(spares, large);
	else
		free(large);
}

uint8_t *large_data(struct store_large *large)
{
	return large->data;
}

size_t large_len(const struct store_large *large)
{
	return large->len;
}

size_t large_cost(const struct store_large *large)
{
	return cost_of(large->len);
}

void large_queues_init(struct large_queues *q)
{
	pthread_mutex_init(&q->lock, NULL);
	for (int i = 0; i < ARENA_QUEUES; i++)
		TAILQ_INIT(&q->list[i]);
}

void large_enqueue(
    struct large_queues *q, struct store_large *large, enum arena_queue queue, uint64_t hash, uint64_t born)
{
	CHECK_MAGIC(large, LARGE_MAGIC);
	pthread_mutex_lock(&q->lock);
	large->queue = queue;
	large->hash = hash;
	large->born = born;
	TAILQ_INSERT_TAIL(&q->list[queue], large, entry);
	atomic_fetch_add_explicit(&q->bytes[queue], large_cost(large), memory_order_relaxed);
	pthread_mutex_unlock(&q->lock);
}

void large_dequeue(struct large_queues *q, struct store_large *large)
{
	CHECK_MAGIC(large, LARGE_MAGIC);
	pthread_mutex_lock(&q->lock);
	TAILQ_REMOVE(&q->list[large->queue], large, entry);
	atomic_fetch_sub_explicit(&q->bytes[large->queue], large_cost(large), memory_order_relaxed);
	pthread_mutex_unlock(&q->lock);
}

enum arena_queue large_queue(const struct store_large *large)
{
	return large->queue;
}

enum end { OLDEST, NEWEST, PASSED };

static struct store_large *at_end(
    struct large_queues *q, enum arena_queue queue, enum end end, uint64_t *ret_hash, uint64_t *ret_born)
{
	pthread_mutex_lock(&q->lock);
	struct large_list *list = &q->list[queue];
	struct store_large *large = end == NEWEST ? TAILQ_LAST(list, large_list) : TAILQ_FIRST(list);
	if (large) {
		large_ref(large);
		*ret_hash = large->hash;
		*ret_born = large->born;
	}
	if (large && end == PASSED) {
		TAILQ_REMOVE(list, large, entry);
		TAILQ_INSERT_TAIL(list, large, entry);
	}
	pthread_mutex_unlock(&q->lock);
	return large;
}

struct store_large *large_oldest(
    struct large_queues *q, enum arena_queue queue, uint64_t *ret_hash, uint64_t *ret_born)
{
	return at_end(q, queue, OLDEST, ret_hash, ret_born);
}

struct store_large *large_newest(
    struct large_queues *q, enum arena_queue queue, uint64_t *ret_hash, uint64_t *ret_born)
{
	return at_end(q, queue, NEWEST, ret_hash, ret_born);
}

struct store_large *large_pass(
    struct large_queues *q, enum arena_queue queue, uint64_t *ret_hash, uint64_t *ret_born)
{
	return at_end(q, queue, PASSED, ret_hash, ret_born);
}
