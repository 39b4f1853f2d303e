/* SPDX-License-Identifier: BSD-3-Clause */
/* arena: see arena.h. */
#include "store/arena.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "base/check.h"
#include "base/nodump.h"

static size_t region_size(uint64_t memory)
{
	uint64_t size = memory / 512 & ~UINT64_C(4095);
	if (size < ARENA_REGION_MIN)
		size = ARENA_REGION_MIN;
	if (size > ARENA_REGION_MAX)
		size = ARENA_REGION_MAX;
	return (size_t)size;
}

/* A huge page is cleared whole at its first touch: in a small store that costs more than it saves, time and memory. */
#define HUGE_FROM ((size_t)40 << 20)

void arena_advise(void *base, size_t size)
{
	/* Advice only: without huge pages it is slower, not wrong. */
	if (size >= HUGE_FROM)
		madvise(base, size, MADV_HUGEPAGE);
}

static uint32_t regions_for(const struct arena *a, uint64_t memory)
{
	uint64_t n = memory / a->region_size;
	return (uint32_t)(n < ARENA_REGIONS_MIN ? ARENA_REGIONS_MIN : n);
}

int arena_init(struct arena *a, uint64_t memory, uint64_t most)
{
	*a = (struct arena){.region_size = region_size(memory)};
	uint64_t n = regions_for(a, most);
	a->regions = (uint32_t)n;
	a->region = aligned_alloc(sizeof(*a->region), n * sizeof(*a->region));
	a->free = calloc(n, sizeof(*a->free));
	a->released = calloc(n, sizeof(*a->released));
	void *base = mmap(NULL, n * a->region_size, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (!a->region || !a->free || !a->released || base == MAP_FAILED) {
		a->base = base == MAP_FAILED ? NULL : base;
		arena_fini(a);
		errno = ENOMEM;
		return -1;
	}
	a->base = base;
	nodump(base, n * a->region_size);
	if (memory >= HUGE_FROM)
		arena_advise(base, n * a->region_size);
	memset(a->region, 0, n * sizeof(*a->region));
	for (uint32_t r = 0; r < a->regions; r++) {
		a->released[r] = a->regions - 1 - r;
		a->region[r].prev = a->region[r].next = ARENA_NONE;
	}
	a->n_released = a->regions;
	for (int q = 0; q < ARENA_QUEUES; q++)
		a->head[q] = a->tail[q] = ARENA_NONE;
	atomic_init(&a->limit, regions_for(a, memory));
	pthread_mutex_init(&a->lock, NULL);
	return 0;
}

void arena_fini(struct arena *a)
{
	if (a->base) {
		munmap(a->base, (size_t)a->regions * a->region_size);
		pthread_mutex_destroy(&a->lock);
	}
	free(a->region);
	free(a->free);
	free(a->released);
	*a = (struct arena){0};
}

uint32_t arena_available(const struct arena *a)
{
	uint32_t limit = atomic_load_explicit(&a->limit, memory_order_relaxed);
	uint32_t resident = atomic_load_explicit(&a->resident, memory_order_relaxed);
	uint32_t n = atomic_load_explicit(&a->n_free, memory_order_relaxed);
	n = resident <= limit ? n + (limit - resident) : n > resident - limit ? n - (resident - limit) : 0;
	return n > ARENA_SPARE ? n - ARENA_SPARE : 0;
}

uint32_t arena_take(struct arena *a, enum arena_queue queue, bool spare)
{
	uint32_t r = ARENA_NONE;
	pthread_mutex_lock(&a->lock);
	if (spare || arena_available(a) > 0) {
		uint32_t n = atomic_load_explicit(&a->n_free, memory_order_relaxed);
		if (n > 0) {
			r = a->free[n - 1];
			atomic_store_explicit(&a->n_free, n - 1, memory_order_relaxed);
		} else if (a->n_released > 0) {
			r = a->released[--a->n_released];
			if (r >= atomic_load_explicit(&a->touched, memory_order_relaxed))
				atomic_store_explicit(&a->touched, r + 1, memory_order_relaxed);
			atomic_fetch_add_explicit(&a->resident, 1, memory_order_relaxed);
		}
	}
	if (r != ARENA_NONE) {
		struct region *reg = &a->region[r];
		CHECK(reg->state == REGION_FREE || reg->state == REGION_RELEASED);
		reg->queue = (uint8_t)queue;
		reg->aged = false;
		reg->born = atomic_fetch_add_explicit(&a->clock, a->region_size, memory_order_relaxed);
		atomic_store_explicit(&reg->fill, 0, memory_order_relaxed);
		atomic_store_explicit(&reg->live, 0, memory_order_relaxed);
		atomic_store_explicit(&reg->first_expiry, INT64_MAX, memory_order_relaxed);
		reg->state = REGION_OPEN;
	}
	pthread_mutex_unlock(&a->lock);
	return r;
}

void arena_seal(struct arena *a, uint32_t r)
{
	pthread_mutex_lock(&a->lock);
	struct region *reg = &a->region[r];
	CHECK(reg->state == REGION_OPEN);
	int q = reg->queue;
	reg->state = REGION_SEALED;
	reg->prev = a->tail[q];
	while (reg->aged && reg->prev != ARENA_NONE && a->region[reg->prev].born > reg->born)
		reg->prev = a->region[reg->prev].prev;
	uint32_t *before = reg->prev != ARENA_NONE ? &a->region[reg->prev].next : &a->head[q];
	reg->next = *before;
	*before = r;
	*(reg->next != ARENA_NONE ? &a->region[reg->next].prev : &a->tail[q]) = r;
	atomic_fetch_add_explicit(&a->sealed[q], 1, memory_order_relaxed);
	pthread_mutex_unlock(&a->lock);
}

bool arena_claim(struct arena *a, uint32_t r)
{
	pthread_mutex_lock(&a->lock);
	struct region *reg = &a->region[r];
	bool ok = reg->state == REGION_SEALED && atomic_load(&reg->pins) == 0;
	if (ok) {
		int q = reg->queue;
		if (reg->prev != ARENA_NONE)
			a->region[reg->prev].next = reg->next;
		else
			a->head[q] = reg->next;
		if (reg->next != ARENA_NONE)
			a->region[reg->next].prev = reg->prev;
		else
			a->tail[q] = reg->prev;
		reg->prev = reg->next = ARENA_NONE;
		reg->state = REGION_RECLAIM;
		atomic_fetch_sub_explicit(&a->sealed[q], 1, memory_order_relaxed);
	}
	pthread_mutex_unlock(&a->lock);
	return ok;
}

static void push_free(struct arena *a, uint32_t r)
{
	uint32_t n = atomic_load_explicit(&a->n_free, memory_order_relaxed);
	a->region[r].state = REGION_FREE;
	a->free[n] = r;
	atomic_store_explicit(&a->n_free, n + 1, memory_order_relaxed);
}

void arena_give(struct arena *a, uint32_t r)
{
	pthread_mutex_lock(&a->lock);
	struct region *reg = &a->region[r];
	CHECK(reg->state == REGION_RECLAIM);
	/* The state is set before the pins are read, and arena_unpin counts down before it reads the state:
	 * one of the two sees the other. */
	atomic_store(&reg->state, REGION_LIMBO);
	if (atomic_load(&reg->pins) == 0)
		push_free(a, r);
	pthread_mutex_unlock(&a->lock);
}

bool arena_trim(struct arena *a)
{
	pthread_mutex_lock(&a->lock);
	uint32_t n = atomic_load_explicit(&a->n_free, memory_order_relaxed);
	while (n > 0 && atomic_load_explicit(&a->resident, memory_order_relaxed) >
	                    atomic_load_explicit(&a->limit, memory_order_relaxed)) {
		uint32_t r = a->free[--n];
		atomic_store_explicit(&a->n_free, n, memory_order_relaxed);
		madvise(arena_region_base(a, r), a->region_size, MADV_DONTNEED);
		a->region[r].state = REGION_RELEASED;
		a->released[a->n_released++] = r;
		atomic_fetch_sub_explicit(&a->resident, 1, memory_order_relaxed);
	}
	bool ok = atomic_load_explicit(&a->resident, memory_order_relaxed) <=
	          atomic_load_explicit(&a->limit, memory_order_relaxed);
	pthread_mutex_unlock(&a->lock);
	return ok;
}

void arena_pin(struct arena *a, uint32_t r)
{
	if (atomic_fetch_add(&a->region[r].pins, 1) == 0)
		atomic_fetch_add_explicit(&a->pinned, 1, memory_order_relaxed);
}

void arena_unpin(struct arena *a, uint32_t r)
{
	struct region *reg = &a->region[r];
	if (atomic_fetch_sub(&reg->pins, 1) > 1)
		return;
	atomic_fetch_sub_explicit(&a->pinned, 1, memory_order_relaxed);
	if (atomic_load(&reg->state) != REGION_LIMBO)
		return;
	pthread_mutex_lock(&a->lock);
	if (reg->state == REGION_LIMBO && atomic_load(&reg->pins) == 0)
		push_free(a, r);
	pthread_mutex_unlock(&a->lock);
}
