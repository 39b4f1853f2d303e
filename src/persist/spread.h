/* SPDX-License-Identifier: BSD-3-Clause */
/* spread: the blocks of a snapshot, or stretches of the log, each unpacked by one thread and applied by all, so that what
 * belongs to a shard of the store is written by one thread alone: cache lines that two cores write in turn cost more than
 * all else of a load.
 *
 * Each thread asks spread_next what there is to do, does it, says that it is done and asks again. Blocks have a few
 * slots that go round; each is unpacked into a slot that everybody has applied, and has a part for each thread. A part is
 * applied in the order of the blocks, by its own thread or by one that has nothing else to do, so that all is done even
 * where a thread is late or could not be started. Locks: one, a leaf. */
#ifndef PERSIST_SPREAD_H
#define PERSIST_SPREAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "persist/parallel.h"

/* A record of a block, and where the next one of its part is. */
struct spread_entry {
	uint64_t hash;
	uint64_t seq; /* of a record of the log, which does not hold it; else 0 */
	uint32_t at, next;
};
#define SPREAD_NONE UINT32_MAX

/* An unpacked block. */
struct spread_slot {
	size_t block; /* which one, for whoever fills it to say */
	uint8_t *buf; /* whoever fills it makes it as large as it has to be */
	size_t size;
	const uint8_t *records;
	size_t len;
	struct spread_entry *entries;
	uint32_t n, room;
	uint32_t first[PARALLEL_MAX], last[PARALLEL_MAX]; /* of each part */
	unsigned left;                                    /* parts to be applied; 0 = free */
	bool held; /* to be applied once spread_admit says so, not as soon as it is filled */
	bool ready;
};

struct spread;

enum spread_task { SPREAD_FILL, SPREAD_APPLY, SPREAD_DONE };

/* What a thread is to do. */
struct spread_turn {
	enum spread_task task;
	struct spread_slot *slot;
	size_t block;  /* FILL: which one */
	unsigned part; /* APPLY: what of it */
};

#define SPREAD_UNKNOWN SIZE_MAX
/* For this many threads, and as many parts; SPREAD_UNKNOWN: how many blocks there are spread_end will say. NULL without
 * memory. */
struct spread *spread_open(unsigned threads, size_t blocks);
void spread_close(struct spread **spread);
/* Waits until there is something to do for thread i, or everything has been done. */
struct spread_turn spread_next(struct spread *spread, unsigned i);
/* The task of this turn is done. */
void spread_did(struct spread *spread, const struct spread_turn *turn);

/* A block whose slot was held is to be applied. */
void spread_admit(struct spread *spread, size_t block);
/* There are no more blocks than so many: what is filled beyond is dropped. None of those beyond was admitted. */
void spread_end(struct spread *spread, size_t blocks);
/* How many slots there are: block b is in slot b modulo that. */
unsigned spread_slots(const struct spread *spread);

/* A slot being filled: no record in it yet. */
void spread_slot_clear(struct spread_slot *slot);
/* Room for so many, while there is none. False without memory. */
bool spread_slot_reserve(struct spread_slot *slot, uint32_t most);
/* One more record, for this part. There is room. */
void spread_slot_add(struct spread_slot *slot, unsigned part, uint64_t hash, uint64_t seq, uint32_t at);

#endif
