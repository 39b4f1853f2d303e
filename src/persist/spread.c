/* SPDX-License-Identifier: BSD-3-Clause */
/* spread: see spread.h. */
#include "persist/spread.h"

#include <pthread.h>
#include <stdlib.h>
#include "base/check.h"

struct spread {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	unsigned threads, n_slots;
	size_t blocks;
	size_t filled;            /* blocks that somebody has begun to unpack */
	size_t at[PARALLEL_MAX];  /* the block that each part is at */
	bool busy[PARALLEL_MAX];  /* somebody is applying it */
	unsigned parts_left;      /* that are not at the end */
	struct spread_slot *slot; /* n_slots of them: block b is in b % n_slots */
};

struct spread *spread_open(unsigned threads, size_t blocks)
{
	struct spread *s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	CHECK(threads >= 1 && threads <= PARALLEL_MAX);
	s->threads = threads;
	s->blocks = blocks;
	s->parts_left = blocks ? threads : 0;
	/* One for each thread to fill, and two that are being applied. */
	s->n_slots = threads + 2;
	s->slot = calloc(s->n_slots, sizeof(*s->slot));
	if (!s->slot) {
		free(s);
		return NULL;
	}
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->wake, NULL);
	return s;
}

void spread_close(struct spread **spread)
{
	struct spread *s = *spread;
	if (!s)
		return;
	for (unsigned i = 0; i < s->n_slots; i++) {
		free(s->slot[i].buf);
		free(s->slot[i].entries);
	}
	pthread_mutex_destroy(&s->lock);
	pthread_cond_destroy(&s->wake);
	free(s->slot);
	free(s);
	*spread = NULL;
}

static struct spread_slot *slot_of(struct spread *s, size_t block)
{
	return &s->slot[block % s->n_slots];
}

/* Whether there is a block of this part to be applied, by nobody else. */
static bool waits(struct spread *s, unsigned part)
{
	return !s->busy[part] && s->at[part] < s->filled && slot_of(s, s->at[part])->ready;
}

static struct spread_turn apply(struct spread *s, unsigned part)
{
	s->busy[part] = true;
	return (struct spread_turn){.task = SPREAD_APPLY, .slot = slot_of(s, s->at[part]), .part = part};
}

/* Its own part comes first, as that makes room; another's last. */
static bool find_task(struct spread *s, unsigned i, struct spread_turn *ret_turn)
{
	if (waits(s, i)) {
		*ret_turn = apply(s, i);
		return true;
	}
	if (s->filled < s->blocks && slot_of(s, s->filled)->left == 0) {
		struct spread_slot *slot = slot_of(s, s->filled);
		slot->left = s->threads;
		slot->held = slot->ready = false;
		*ret_turn = (struct spread_turn){.task = SPREAD_FILL, .slot = slot, .block = s->filled++};
		return true;
	}
	for (unsigned k = 1; k < s->threads; k++) {
		unsigned part = (i + k) % s->threads;
		if (waits(s, part)) {
			*ret_turn = apply(s, part);
			return true;
		}
	}
	return false;
}

struct spread_turn spread_next(struct spread *s, unsigned i)
{
	struct spread_turn turn = {.task = SPREAD_DONE};
	pthread_mutex_lock(&s->lock);
	while (s->parts_left > 0 && !find_task(s, i, &turn))
		pthread_cond_wait(&s->wake, &s->lock);
	pthread_mutex_unlock(&s->lock);
	return turn;
}

void spread_did(struct spread *s, const struct spread_turn *turn)
{
	pthread_mutex_lock(&s->lock);
	if (turn->task == SPREAD_FILL) {
		turn->slot->ready |= !turn->slot->held;
	} else {
		s->busy[turn->part] = false;
		turn->slot->left--;
		if (++s->at[turn->part] == s->blocks)
			s->parts_left--;
	}
	pthread_cond_broadcast(&s->wake);
	pthread_mutex_unlock(&s->lock);
}

void spread_admit(struct spread *s, size_t block)
{
	pthread_mutex_lock(&s->lock);
	CHECK(block < s->blocks);
	slot_of(s, block)->ready = true;
	pthread_cond_broadcast(&s->wake);
	pthread_mutex_unlock(&s->lock);
}

void spread_end(struct spread *s, size_t blocks)
{
	pthread_mutex_lock(&s->lock);
	s->blocks = blocks;
	s->parts_left = 0;
	for (unsigned part = 0; part < s->threads; part++) {
		CHECK(s->at[part] <= blocks);
		s->parts_left += s->at[part] < blocks;
	}
	pthread_cond_broadcast(&s->wake);
	pthread_mutex_unlock(&s->lock);
}

unsigned spread_slots(const struct spread *s)
{
	return s->n_slots;
}

void spread_slot_clear(struct spread_slot *slot)
{
	for (unsigned p = 0; p < PARALLEL_MAX; p++)
		slot->first[p] = slot->last[p] = SPREAD_NONE;
	slot->n = 0;
}

bool spread_slot_reserve(struct spread_slot *slot, uint32_t most)
{
	if (slot->room >= most)
		return true;
	free(slot->entries);
	slot->entries = malloc(most * sizeof(*slot->entries));
	slot->room = slot->entries ? most : 0;
	return slot->entries != NULL;
}

void spread_slot_add(struct spread_slot *slot, unsigned part, uint64_t hash, uint64_t seq, uint32_t at)
{
	CHECK(slot->n < slot->room);
	uint32_t n = slot->n++;
	slot->entries[n] = (struct spread_entry){.hash = hash, .seq = seq, .at = at, .next = SPREAD_NONE};
	if (slot->last[part] == SPREAD_NONE)
		slot->first[part] = n;
	else
		slot->entries[slot->last[part]].next = n;
	slot->last[part] = n;
}
