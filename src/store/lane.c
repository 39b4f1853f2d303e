/* SPDX-License-Identifier: BSD-3-Clause */
/* lane: appending items to open regions. The caller holds the lane's lock. */
#include "store/private.h"

struct item *lane_append(struct store *s, struct lane *lane, enum arena_queue q, size_t size)
{
	CHECK(lane_has_room(s, lane, q, size));
	uint32_t r = lane->open[q];
	struct region *reg = &s->arena.region[r];
	uint32_t fill = atomic_load_explicit(&reg->fill, memory_order_relaxed);
	atomic_store_explicit(&reg->fill, fill + (uint32_t)size, memory_order_relaxed);
	return (struct item *)(void *)(arena_region_base(&s->arena, r) + fill);
}

void lane_rewind(struct store *s, struct lane *lane, enum arena_queue q, struct item *it, size_t size)
{
	uint32_t r = lane->open[q];
	struct region *reg = &s->arena.region[r];
	uint32_t fill = atomic_load_explicit(&reg->fill, memory_order_relaxed);
	CHECK((uint8_t *)it + size == arena_region_base(&s->arena, r) + fill);
	atomic_store_explicit(&reg->fill, fill - (uint32_t)size, memory_order_relaxed);
}

bool lane_renew(struct store *s, struct lane *lane, enum arena_queue q, bool spare)
{
	uint32_t r = arena_take(&s->arena, q, spare);
	if (r == ARENA_NONE)
		return false;
	if (lane->open[q] != ARENA_NONE)
		arena_seal(&s->arena, lane->open[q]);
	lane->open[q] = r;
	return true;
}
