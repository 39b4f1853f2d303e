/* SPDX-License-Identifier: BSD-3-Clause */
/* lane: appending items to open regions. The caller holds the lane's lock. */
#include "store/private.h"

/* So much of what the next item will be written to is fetched with each. */
#define AHEAD_BYTES 256u

struct item *lane_append(struct store *s, struct lane *lane, enum arena_queue q, size_t size)
{
	CHECK(lane_has_room(s, lane, q, size));
	uint32_t r = lane_left(s, lane->rest[q]) >= size ? lane->rest[q] : lane->open[q];
	struct region *reg = &s->arena.region[r];
	uint32_t fill = atomic_load_explicit(&reg->fill, memory_order_relaxed);
	atomic_store_explicit(&reg->fill, fill + (uint32_t)size, memory_order_relaxed);
	uint8_t *at = arena_region_base(&s->arena, r) + fill;
	/* Where the next one comes: its lines arrive meanwhile. */
	for (size_t ahead = 0; ahead < AHEAD_BYTES; ahead += 64)
		__builtin_prefetch(at + size + ahead, 1);
	return (struct item *)(void *)at;
}

void lane_rewind(struct store *s, struct lane *lane, enum arena_queue q, struct item *it, size_t size)
{
	uint32_t r = arena_region_of(&s->arena, arena_offset(&s->arena, it));
	struct region *reg = &s->arena.region[r];
	uint32_t fill = atomic_load_explicit(&reg->fill, memory_order_relaxed);
	CHECK(r == lane->open[q] || r == lane->rest[q]);
	CHECK((uint8_t *)it + size == arena_region_base(&s->arena, r) + fill);
	atomic_store_explicit(&reg->fill, fill - (uint32_t)size, memory_order_relaxed);
}

/* Seals what is worth no more than this for a rest. */
#define REST_SHARE 32u

bool lane_renew(struct store *s, struct lane *lane, enum arena_queue q, bool spare)
{
	uint32_t r = arena_take(&s->arena, q, spare), full = lane->open[q], rest = lane->rest[q];
	if (r == ARENA_NONE)
		return false;
	if (lane_left(s, full) > lane_left(s, rest)) {
		lane->rest[q] = full;
		full = rest;
	}
	if (full != ARENA_NONE)
		arena_seal(&s->arena, full);
	if (lane->rest[q] != ARENA_NONE && lane_left(s, lane->rest[q]) < s->arena.region_size / REST_SHARE) {
		arena_seal(&s->arena, lane->rest[q]);
		lane->rest[q] = ARENA_NONE;
	}
	lane->open[q] = r;
	return true;
}
