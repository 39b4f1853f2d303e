/* SPDX-License-Identifier: BSD-3-Clause */
/* arena: the memory of all items, cut into regions of one size. Items are appended to the open region of a
 * lane; a full region is sealed and joins the tail of its queue; reclaim takes sealed regions from the front.
 * One mapping, nothing is touched before it is used, and released regions go back to the system, so the arena
 * can grow and shrink while running.
 *
 * Locks: `lock` guards free lists, queues and states and is taken last (see the lock order in store.h). live,
 * pins and first_expiry are atomics; fill is written by the lane that has the region open. */
#ifndef STORE_ARENA_H
#define STORE_ARENA_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARENA_NONE        UINT32_MAX
#define ARENA_REGION_MIN  (16u << 10)
#define ARENA_REGION_MAX  (1u << 20)
#define ARENA_REGIONS_MIN 128u
/* Free regions that only reclaim may take, so that it can always copy forward. */
#define ARENA_SPARE 2u

enum arena_queue { ARENA_SMALL, ARENA_MAIN, ARENA_QUEUES };
enum region_state { REGION_RELEASED, REGION_FREE, REGION_OPEN, REGION_SEALED, REGION_RECLAIM, REGION_LIMBO };

struct region {
	_Atomic uint32_t live; /* bytes of linked items */
	_Atomic uint32_t
	    pins; /* readers of values that lie here; taken under the shard's lock of a linked item */
	_Atomic uint32_t fill; /* bytes appended */
	_Atomic uint8_t state;
	uint8_t queue;
	bool aged;           /* from those */
	bool scan_pending;   /* under the scan's lock */
	uint32_t scan_limit; /* items beyond it were written after the scan began */
	uint32_t prev, next; /* in its queue, oldest first */
	uint64_t born; /* what the arena's clock was when it was opened, or those that it was cleaned from */
	_Atomic int64_t first_expiry; /* no item here expires earlier; INT64_MAX = none expires */
	/* Two threads append to neighbouring regions: what they write is apart by a cache line. */
	uint8_t apart[16];
};
_Static_assert(sizeof(struct region) == 64, "a region's state is a cache line");

struct arena {
	pthread_mutex_t lock;
	uint8_t *base;
	size_t region_size;
	uint32_t regions;         /* all there can be */
	_Atomic uint32_t touched; /* those from here on were never taken */
	struct region *region;
	_Atomic uint32_t limit; /* that may be resident now: -m less index, ghosts and large values */
	_Atomic uint32_t resident;
	_Atomic uint32_t pinned;   /* regions with pins */
	_Atomic uint64_t clock;    /* bytes that were ever written here or beside: tells what is older */
	uint32_t *free, *released; /* stacks */
	_Atomic uint32_t n_free;
	uint32_t n_released;
	uint32_t head[ARENA_QUEUES], tail[ARENA_QUEUES];
	_Atomic uint32_t sealed[ARENA_QUEUES]; /* regions in each queue */
};

/* Regions sized for `memory`, address space for `most`. 0, or -1 with errno. */
int arena_init(struct arena *a, uint64_t memory, uint64_t most);
/* Asks for huge pages for a fresh mapping that is worth them. */
void arena_advise(void *base, size_t size);
void arena_fini(struct arena *a);
/* A free region as OPEN, or ARENA_NONE. spare: whether the last ARENA_SPARE may be taken. */
uint32_t arena_take(struct arena *a, enum arena_queue queue, bool spare);
/* Regions that workers can still take. */
uint32_t arena_available(const struct arena *a);
/* To the end of its queue, or to where those of its age are. */
void arena_seal(struct arena *a, uint32_t r);
/* Takes a sealed region out of its queue as RECLAIM; false if it is no longer sealed, or pinned. */
bool arena_claim(struct arena *a, uint32_t r);
/* A region without linked items becomes free at once, or when its last pin goes. */
void arena_give(struct arena *a, uint32_t r);
/* Gives free regions back to the system while more are resident than the limit. True when none is over. */
bool arena_trim(struct arena *a);
void arena_pin(struct arena *a, uint32_t r);
void arena_unpin(struct arena *a, uint32_t r);

static inline uint64_t arena_offset(const struct arena *a, const void *p)
{
	return (uint64_t)((const uint8_t *)p - a->base);
}

static inline uint32_t arena_region_of(const struct arena *a, uint64_t offset)
{
	return (uint32_t)(offset / a->region_size);
}

static inline uint8_t *arena_region_base(const struct arena *a, uint32_t r)
{
	return a->base + (size_t)r * a->region_size;
}

#endif
