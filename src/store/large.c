/* SPDX-License-Identifier: BSD-3-Clause */
/* large: see large.h. */
#include "store/large.h"

#include <stdlib.h>
#include "base/check.h"

#define LARGE_MAGIC 0x4c415247u

struct store_large {
	uint32_t magic;
	_Atomic uint32_t refs;
	size_t len;
	_Atomic uint64_t *counter;
	/* While it is linked; under the queues' lock. */
	TAILQ_ENTRY(store_large) entry;
	uint64_t hash, born;
	enum arena_queue queue;
	uint8_t data[];
};

struct store_large *large_make(size_t len, _Atomic uint64_t *counter)
{
	struct store_large *large = malloc(sizeof(*large) + len);
	if (!large)
		return NULL;
	large->magic = LARGE_MAGIC;
	atomic_init(&large->refs, 1);
	large->len = len;
	large->counter = counter;
	atomic_fetch_add_explicit(counter, large_cost(large), memory_order_relaxed);
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
	atomic_fetch_sub_explicit(large->counter, large_cost(large), memory_order_relaxed);
	large->magic = 0;
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
	return sizeof(*large) + large->len + 16; /* the allocator's own */
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

static struct store_large *at_end(
    struct large_queues *q, enum arena_queue queue, bool newest, uint64_t *ret_hash, uint64_t *ret_born)
{
	pthread_mutex_lock(&q->lock);
	const struct large_list *list = &q->list[queue];
	struct store_large *large = newest ? TAILQ_LAST(list, large_list) : TAILQ_FIRST(list);
	if (large) {
		large_ref(large);
		*ret_hash = large->hash;
		*ret_born = large->born;
	}
	pthread_mutex_unlock(&q->lock);
	return large;
}

struct store_large *large_oldest(
    struct large_queues *q, enum arena_queue queue, uint64_t *ret_hash, uint64_t *ret_born)
{
	return at_end(q, queue, false, ret_hash, ret_born);
}

struct store_large *large_newest(
    struct large_queues *q, enum arena_queue queue, uint64_t *ret_hash, uint64_t *ret_born)
{
	return at_end(q, queue, true, ret_hash, ret_born);
}
