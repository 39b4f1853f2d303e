/* SPDX-License-Identifier: BSD-3-Clause */
/* large: values above a quarter of a region, with memory of their own, counted against -m and shared by
 * reference: the item holds one reference, every reply, ring entry and scan that uses the bytes one more. Any
 * thread. The bytes are written by the connection that receives them and never change once linked.
 *
 * Values of linked items stand in queues of their own, one by one, since a region full of items that only point to
 * their values would be much of the memory at once. Their lock is a leaf, taken under a shard's. */
#ifndef STORE_LARGE_H
#define STORE_LARGE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include "store/arena.h"

struct store_large;
TAILQ_HEAD(large_list, store_large);

struct large_queues {
	pthread_mutex_t lock;
	struct large_list list[ARENA_QUEUES]; /* oldest first */
	_Atomic uint64_t bytes[ARENA_QUEUES];
};

/* Memory of values that are gone, for the next ones: what the system would take back it would have to clear, page by page,
 * when it gives it out again, which costs more than all else that a store of such a value does. A block is brought to its
 * new size with realloc, which moves pages and no bytes. Not counted against -m, so kept small. */
#define LARGE_SPARES 8u
struct large_spares {
	pthread_mutex_t lock;
	struct store_large *block[LARGE_SPARES]; /* in no order */
	unsigned n;
	size_t bytes, most;    /* so many may be kept, but for one block */
	_Atomic uint64_t used; /* bytes of all large values there are */
};

void large_spares_init(struct large_spares *spares, size_t most);
void large_spares_fini(struct large_spares *spares);

/* One reference; spares->used gets the bytes taken and loses them when the last reference goes. NULL: memory is
 * short. */
struct store_large *large_make(size_t len, struct large_spares *spares);
struct store_large *large_ref(struct store_large *large);
void large_unref(struct store_large **large);
uint8_t *large_data(struct store_large *large);
size_t large_len(const struct store_large *large);
/* Bytes it takes from -m. */
size_t large_cost(const struct store_large *large);

void large_queues_init(struct large_queues *q);
/* An item with this hash that has the value was linked: it is the queue's youngest; born: the arena's clock. And was
 * unlinked. Under the lock of the item's shard. */
void large_enqueue(
    struct large_queues *q, struct store_large *large, enum arena_queue queue, uint64_t hash, uint64_t born);
void large_dequeue(struct large_queues *q, struct store_large *large);
/* Of one that is linked, under the lock of its shard. */
enum arena_queue large_queue(const struct store_large *large);
/* The queue's oldest or youngest, with a reference; NULL when it is empty. */
struct store_large *large_oldest(
    struct large_queues *q, enum arena_queue queue, uint64_t *ret_hash, uint64_t *ret_born);
struct store_large *large_newest(
    struct large_queues *q, enum arena_queue queue, uint64_t *ret_hash, uint64_t *ret_born);
/* The same as large_oldest; it stands behind all others then, but is no younger. */
struct store_large *large_pass(
    struct large_queues *q, enum arena_queue queue, uint64_t *ret_hash, uint64_t *ret_born);

#endif
