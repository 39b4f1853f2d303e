/* SPDX-License-Identifier: BSD-3-Clause */
/* ghost: 32-bit prints of the keys that were dropped from the small queue, for about 0.9 of the live items,
 * so that a key that comes back soon enters the main queue (S3-FIFO: Yang et al., "FIFO queues are all you
 * need for cache eviction", SOSP 2023). Lines of 16 prints, each a FIFO of its own; a shard's lines are read
 * and written under its lock. Memory is touched only once something was dropped. */
#ifndef STORE_GHOST_H
#define STORE_GHOST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "store/index.h"

#define GHOST_PRINTS 16u

struct ghost {
	uint8_t *base;
	size_t size;
	_Atomic uint64_t bytes; /* in use, or not yet given back */
	uint64_t kept;          /* of them, those that shards no longer need: of who shrinks them */
	unsigned shard_bits;
};

int ghost_init(struct ghost *g, const struct index *ix);
void ghost_fini(struct ghost *g);
/* Remembers the key. Sizes the shard's part to its index first. */
void ghost_add(struct ghost *g, struct index *ix, uint32_t shard, uint64_t hash);
/* Whether the key was there; it is forgotten then. */
bool ghost_take(struct ghost *g, struct index *ix, uint32_t shard, uint64_t hash);
/* Fits the shard's part to its index where that has become smaller; the oldest prints go. Under the shard's lock. */
void ghost_shrink(struct ghost *g, struct index *ix, uint32_t shard);
/* Gives memory behind the largest part back to the system. Nobody adds meanwhile. */
void ghost_release(struct ghost *g, const struct index *ix);

#endif
