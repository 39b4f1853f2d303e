/* SPDX-License-Identifier: BSD-3-Clause */
/* ring: see ring.h. Positions are bytes since it was last empty, modulo the size; entries never wrap: a pad fills the
 * end. */
#include "persist/ring.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/check.h"
#include "base/clock.h"
#include "base/nodump.h"

#define RING_MAGIC 0x52494e47u
#define ALIGN      16u
#define LINE       64u
/* A credit is handed out in such pieces. */
#define PIECE (16u << 10)

enum entry_state { ENTRY_OPEN, ENTRY_READY, ENTRY_PAD };

struct entry {
	uint32_t size; /* with this header, a multiple of ALIGN */
	_Atomic uint32_t state;
	uint32_t head_len;
	bool refers;
	uint64_t charge;
	uint64_t seq;
	uint8_t data[];
};

struct reference {
	const uint8_t *value;
	size_t len;
	struct store_pin pin;
};

#define ENTRY_MAX \
	((sizeof(struct entry) + RECORD_OVERHEAD_MAX + STORE_COPY_MAX + sizeof(struct reference) + \
	     2 * ALIGN) & \
	    ~(size_t)(ALIGN - 1))

struct ring {
	/* Never written. */
	uint32_t magic;
	void (*unpin)(void *arg, struct store_pin *pin);
	void *unpin_arg;
	uint8_t *mem;
	size_t size, capacity;
	/* What every change writes is one cache line. */
	pthread_mutex_t lock __attribute__((aligned(LINE)));
	uint64_t head;    /* reserved up to here */
	uint64_t seq;     /* last number given out */
	uint64_t charged; /* waiting or promised */
	/* Written when somebody waits. */
	_Atomic bool sleeping __attribute__((aligned(LINE)));
	bool refused, poked; /* under the lock */
	pthread_cond_t wake;
	/* The consumer's. */
	uint64_t tail __attribute__((aligned(LINE))), read, limit;
	uint64_t read_charge;
	size_t referring; /* entries from tail to read that hold pins */
};
_Static_assert(offsetof(struct ring, charged) + sizeof(uint64_t) - offsetof(struct ring, lock) <= LINE,
    "an append writes one line of the ring");

struct ring *ring_open(
    size_t capacity, uint64_t last_seq, void (*unpin)(void *arg, struct store_pin *pin), void *arg)
{
	struct ring *ring = aligned_alloc(LINE, sizeof(*ring));
	if (!ring)
		return NULL;
	memset(ring, 0, sizeof(*ring));
	ring->capacity = capacity;
	/* Room for the padding at the end, which nobody is charged for. */
	ring->size = (capacity + 2 * ENTRY_MAX + ALIGN - 1) & ~(size_t)(ALIGN - 1);
	ring->mem = aligned_alloc(ALIGN, ring->size);
	if (!ring->mem) {
		free(ring);
		return NULL;
	}
	nodump(ring->mem, ring->size);
	ring->magic = RING_MAGIC;
	ring->seq = last_seq;
	ring->unpin = unpin;
	ring->unpin_arg = arg;
	/* It is held for some ten instructions: who finds it taken looks again before it sleeps. */
	pthread_mutexattr_t spins;
	pthread_mutexattr_init(&spins);
	pthread_mutexattr_settype(&spins, PTHREAD_MUTEX_ADAPTIVE_NP);
	pthread_mutex_init(&ring->lock, &spins);
	pthread_mutexattr_destroy(&spins);
	clock_init_cond(&ring->wake);
	return ring;
}

void ring_close(struct ring **ref)
{
	struct ring *ring = *ref;
	struct ring_entry e;
	CHECK_MAGIC(ring, RING_MAGIC);
	*ref = NULL;
	/* What a failed disk never took still holds pins. */
	ring->limit = ring->head;
	while (ring_next(ring, &e))
		;
	ring_release(ring);
	pthread_mutex_destroy(&ring->lock);
	pthread_cond_destroy(&ring->wake);
	free(ring->mem);
	ring->magic = 0;
	free(ring);
}

static size_t entry_size(size_t head_len, bool refers)
{
	size_t size =
	    sizeof(struct entry) + ((head_len + 7) & ~(size_t)7) + (refers ? sizeof(struct reference) : 0);
	return (size + ALIGN - 1) & ~(size_t)(ALIGN - 1);
}

/* What an entry counts against the capacity: referred bytes too, so that a stuck disk cannot pin all memory,
 * but never so much that a large value could not pass at all. */
static uint64_t charge_for(const struct ring *ring, size_t size, size_t referred)
{
	size_t most = ring->capacity / 4;
	return size + (referred < most ? referred : most);
}

bool ring_secure(struct ring *ring, struct ring_credit *credit, size_t key_len, size_t value_len)
{
	bool refers = value_len > STORE_COPY_MAX;
	size_t head = RECORD_OVERHEAD_MAX - RECORD_KEY_MAX + key_len + (refers ? 0 : value_len);
	uint64_t need = charge_for(ring, entry_size(head, refers), refers ? value_len : 0);
	if (credit->left >= need)
		return true;
	pthread_mutex_lock(&ring->lock);
	uint64_t more = need - credit->left;
	if (ring->charged + more + PIECE <= ring->capacity)
		more += PIECE;
	bool ok = ring->charged + more <= ring->capacity;
	if (ok) {
		ring->charged += more;
		credit->left += more;
	} else {
		ring->refused = true;
	}
	pthread_mutex_unlock(&ring->lock);
	return ok;
}

void ring_settle(struct ring *ring, struct ring_credit *credit)
{
	if (credit->left <= 2 * PIECE)
		return;
	pthread_mutex_lock(&ring->lock);
	ring->charged -= credit->left - PIECE;
	credit->left = PIECE;
	/* Somebody may have been refused for this: the consumer tells them. */
	ring->poked |= ring->refused;
	pthread_cond_signal(&ring->wake);
	pthread_mutex_unlock(&ring->lock);
}

/* The lock is held. */
static struct entry *reserve(struct ring *ring, size_t size)
{
	size_t at = ring->head % ring->size;
	if (at + size > ring->size) {
		struct entry *pad = (struct entry *)(void *)(ring->mem + at);
		pad->size = (uint32_t)(ring->size - at);
		atomic_store_explicit(&pad->state, ENTRY_PAD, memory_order_relaxed);
		ring->head += pad->size;
		at = 0;
	}
	struct entry *e = (struct entry *)(void *)(ring->mem + at);
	e->size = (uint32_t)size;
	atomic_store_explicit(&e->state, ENTRY_OPEN, memory_order_relaxed);
	ring->head += size;
	return e;
}

uint64_t ring_append(
    struct ring *ring, struct ring_credit *credit, const struct record *r, struct store_pin *pin)
{
	/* Encoded before there is a place for it, as its length comes of that. */
	uint8_t head[RECORD_OVERHEAD_MAX];
	bool refers = store_pinned(pin);
	size_t head_len = record_encode_head(r, head), copied = refers ? 0 : r->value_len;
	size_t size = entry_size(head_len + copied, refers);
	uint64_t charge = charge_for(ring, size, refers ? r->value_len : 0);
	CHECK(size <= ENTRY_MAX && charge <= credit->left);
	credit->left -= charge;

	pthread_mutex_lock(&ring->lock);
	struct entry *e = reserve(ring, size);
	uint64_t seq = e->seq = ++ring->seq;
	pthread_mutex_unlock(&ring->lock);

	e->head_len = (uint32_t)(head_len + copied);
	e->refers = refers;
	e->charge = charge;
	memcpy(e->data, head, head_len);
	if (refers) {
		struct reference ref = {r->value, r->value_len, *pin};
		memcpy(e->data + ((head_len + 7) & ~(size_t)7), &ref, sizeof(ref));
	} else if (copied) {
		memcpy(e->data + head_len, r->value, copied);
	}
	atomic_store_explicit(&e->state, ENTRY_READY, memory_order_release);
	return seq;
}

void ring_kick(struct ring *ring)
{
	/* What was appended before was so under the lock: the consumer has seen it, or waits by now. It wakes with the lock
	 * free, and is woken once. */
	if (atomic_load_explicit(&ring->sleeping, memory_order_relaxed) &&
	    atomic_exchange(&ring->sleeping, false))
		pthread_cond_signal(&ring->wake);
}

uint64_t ring_last(struct ring *ring)
{
	pthread_mutex_lock(&ring->lock);
	uint64_t seq = ring->seq;
	pthread_mutex_unlock(&ring->lock);
	return seq;
}

void ring_poke(struct ring *ring)
{
	pthread_mutex_lock(&ring->lock);
	ring->poked = true;
	pthread_cond_signal(&ring->wake);
	pthread_mutex_unlock(&ring->lock);
}

bool ring_wait(struct ring *ring, int timeout_ms)
{
	pthread_mutex_lock(&ring->lock);
	if (ring->head == ring->read && !ring->poked) {
		struct timespec until = clock_deadline(timeout_ms);
		int timed_out = 0;
		while (ring->head == ring->read && !ring->poked && !timed_out) {
			atomic_store(&ring->sleeping, true);
			timed_out = pthread_cond_timedwait(&ring->wake, &ring->lock, &until);
		}
		atomic_store(&ring->sleeping, false);
	}
	ring->poked = false;
	ring->limit = ring->head;
	pthread_mutex_unlock(&ring->lock);
	return ring->read != ring->limit;
}

/* A reserved entry is being filled by a worker that holds a shard's lock: it takes no longer than a copy of 4
 * KiB, unless the worker has lost the processor. */
static void await_ready(struct entry *e)
{
	for (unsigned spins = 0; atomic_load_explicit(&e->state, memory_order_acquire) == ENTRY_OPEN; spins++)
		if (spins > 100)
			sched_yield();
}

bool ring_next(struct ring *ring, struct ring_entry *ret)
{
	while (ring->read != ring->limit) {
		struct entry *e = (struct entry *)(void *)(ring->mem + ring->read % ring->size);
		await_ready(e);
		ring->read += e->size;
		if (atomic_load_explicit(&e->state, memory_order_relaxed) == ENTRY_PAD)
			continue;
		*ret = (struct ring_entry){e->data, e->head_len, NULL, 0, e->seq, e->charge};
		ring->read_charge += e->charge;
		if (e->refers) {
			struct reference ref;
			memcpy(&ref, e->data + ((e->head_len + 7) & ~(size_t)7), sizeof(ref));
			ret->value = ref.value;
			ret->value_len = ref.len;
			ring->referring++;
		}
		return true;
	}
	return false;
}

static void release_pins(struct ring *ring)
{
	if (ring->referring == 0)
		ring->tail = ring->read;
	ring->referring = 0;
	while (ring->tail != ring->read) {
		struct entry *e = (struct entry *)(void *)(ring->mem + ring->tail % ring->size);
		ring->tail += e->size;
		if (atomic_load_explicit(&e->state, memory_order_relaxed) == ENTRY_PAD || !e->refers)
			continue;
		struct reference ref;
		memcpy(&ref, e->data + ((e->head_len + 7) & ~(size_t)7), sizeof(ref));
		ring->unpin(ring->unpin_arg, &ref.pin);
	}
}

/* Nothing is in the ring: what comes is put at its beginning, where the caches still know the memory, so that an append
 * waits for none of it. The lock is held. */
static void begin_anew(struct ring *ring)
{
	ring->head = ring->tail = ring->read = ring->limit = 0;
}

bool ring_release(struct ring *ring)
{
	release_pins(ring);
	pthread_mutex_lock(&ring->lock);
	ring->charged -= ring->read_charge;
	ring->read_charge = 0;
	bool refused = ring->refused;
	ring->refused = false;
	if (ring->head == ring->read)
		begin_anew(ring);
	pthread_mutex_unlock(&ring->lock);
	return refused;
}

void ring_rewind(struct ring *ring)
{
	ring->read = ring->tail;
	ring->read_charge = 0;
	ring->referring = 0;
}
