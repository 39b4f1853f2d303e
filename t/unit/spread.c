/* SPDX-License-Identifier: BSD-3-Clause */
/* spread: every block is unpacked once and each of its parts applied once, in order, by however many threads there are. */
#include <pthread.h>
#include <stdatomic.h>
#include "unit.h"
#include "persist/spread.h"

#define THREADS 5u
#define BLOCKS  200u
#define RECORDS 20u

struct work {
	struct spread *spread;
	unsigned i;
};

static _Atomic unsigned filled[BLOCKS], order_broken;
static size_t next_block[THREADS]; /* of each part; one thread at a time looks at it */

/* The records of a block carry its number and belong to the parts in turn. */
static void fill(struct spread_slot *slot, size_t block)
{
	atomic_fetch_add(&filled[block], 1);
	spread_slot_clear(slot);
	assert_true(spread_slot_reserve(slot, RECORDS));
	for (unsigned n = 0; n < RECORDS; n++)
		spread_slot_add(slot, n % THREADS, block, 0, n);
}

static void apply(const struct spread_slot *slot, unsigned part)
{
	uint32_t at = part, seen = 0;
	for (uint32_t n = slot->first[part]; n != SPREAD_NONE; n = slot->entries[n].next) {
		if (slot->entries[n].hash != next_block[part] || slot->entries[n].at != at)
			atomic_fetch_add(&order_broken, 1);
		at += THREADS;
		seen++;
	}
	if (seen != RECORDS / THREADS)
		atomic_fetch_add(&order_broken, 1);
	next_block[part]++;
}

static void *work(void *arg)
{
	const struct work *w = arg;
	struct spread_turn turn;
	while ((turn = spread_next(w->spread, w->i)).task != SPREAD_DONE) {
		if (turn.task == SPREAD_FILL)
			fill(turn.slot, turn.block);
		else
			apply(turn.slot, turn.part);
		spread_did(w->spread, &turn);
	}
	return NULL;
}

/* `running` of the threads that it was opened for. */
static void run(unsigned running)
{
	pthread_t thread[THREADS];
	struct work w[THREADS];
	struct spread *spread = spread_open(THREADS, BLOCKS);
	assert_non_null(spread);
	order_broken = 0;
	for (unsigned b = 0; b < BLOCKS; b++)
		filled[b] = 0;
	for (unsigned i = 0; i < THREADS; i++)
		next_block[i] = 0;
	for (unsigned i = 0; i < running; i++) {
		w[i] = (struct work){.spread = spread, .i = i};
		assert_int_equal(pthread_create(&thread[i], NULL, work, &w[i]), 0);
	}
	for (unsigned i = 0; i < running; i++)
		pthread_join(thread[i], NULL);
	for (unsigned b = 0; b < BLOCKS; b++)
		assert_int_equal(filled[b], 1);
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(next_block[i], BLOCKS);
	assert_int_equal(order_broken, 0);
	spread_close(&spread);
	assert_null(spread);
}

static void all_parts_of_all_blocks_in_order(void **state)
{
	(void)state;
	run(THREADS);
}

static void threads_that_never_started_are_made_up_for(void **state)
{
	(void)state;
	run(1);
	run(2);
}

static void without_blocks_there_is_nothing_to_do(void **state)
{
	(void)state;
	struct spread *spread = spread_open(2, 0);
	assert_int_equal(spread_next(spread, 1).task, SPREAD_DONE);
	spread_close(&spread);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(all_parts_of_all_blocks_in_order),
    cmocka_unit_test(threads_that_never_started_are_made_up_for),
    cmocka_unit_test(without_blocks_there_is_nothing_to_do),
};
UNIT_MAIN(tests)
