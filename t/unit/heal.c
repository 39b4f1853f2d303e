/* SPDX-License-Identifier: BSD-3-Clause */
/* heal: a log that fails under an engine: what the state says is true, and one fsync serves all who wait for one. */
#include "gate.h"

static void expect_state(struct place *p, enum wal_state state)
{
	for (unsigned i = 0; i < 2000 && wal_state(p->e->wal) != state; i++)
		pause_ms(5);
	assert_int_equal(wal_state(p->e->wal), state);
}

static struct place place_with(struct gate *g, enum engine_fsync fsync)
{
	struct engine_options o = engine_defaults();
	o.workers = 1;
	o.fsync = fsync;
	return place_behind(g, &o);
}

/* ---- a tail that does not verify ---- */

enum harm {
	/* A byte turns over, or the file ends early. */
	HARM_VALUE,
	HARM_BLOCK,
	HARM_SEGMENT,
	HARM_CUT_VALUE,
	HARM_CUT_BLOCK,
	HARM_CUT_SEGMENT,
	/* Whole by its own checksum, but another one. */
	HARM_NUMBER,
	HARM_CHAIN,
	HARM_COUNT,
	HARM_TIME,
	HARM_LENGTH,
	HARM_OTHER_SEGMENT,
	HARMS
};

#define HARMED "log-0000000001"

/* The offset of the block that holds the key. */
static size_t block_of(const uint8_t *data, size_t len, uint32_t key, struct block_header *ret_h)
{
	char name[32];
	size_t name_len = key_name(name, key), at = SEGMENT_HEADER_SIZE;
	for (;;) {
		MUST(block_decode_header(data + at, len - at, ret_h) == HEARTH_OK);
		if (memmem(data + at + BLOCK_HEADER_SIZE, ret_h->stored_len, name, name_len))
			return at;
		at += BLOCK_HEADER_SIZE + ret_h->stored_len;
	}
}

static void forge(uint8_t *data, size_t len, enum harm harm)
{
	struct segment_header s;
	struct block_header h;
	MUST(segment_decode_header(data, SEGMENT_HEADER_SIZE, &s) == HEARTH_OK);
	/* The last one shows only when all is copied. */
	uint8_t *block = data + block_of(data, len, harm <= HARM_CHAIN ? 2 : 3, &h);
	h.first += harm == HARM_NUMBER;
	h.prev_crc += harm == HARM_CHAIN;
	h.count += harm == HARM_COUNT;
	h.time_ms += harm == HARM_TIME;
	if (harm == HARM_LENGTH)
		h.stored_len = h.raw_len = h.stored_len - 4;
	block_encode_header(&h, s.salt, crc32c(0, block + BLOCK_HEADER_SIZE, h.stored_len), block);
	if (harm == HARM_OTHER_SEGMENT) {
		s.number++;
		segment_encode_header(&s, data);
	}
}

/* What the page cache says about bytes that were written and never synced is no longer what was written. */
static void harm_tail(struct place *p, enum harm harm)
{
	size_t len;
	struct block_header h;
	uint8_t *data = unit_read_file(p->s.fd, HARMED, &len);
	size_t block = block_of(data, len, 2, &h);
	const size_t places[] = {[HARM_VALUE] = block + BLOCK_HEADER_SIZE + h.stored_len - 1,
	    [HARM_BLOCK] = block + 4,
	    [HARM_SEGMENT] = 20,
	    [HARM_CUT_VALUE] = block + BLOCK_HEADER_SIZE + 1,
	    [HARM_CUT_BLOCK] = block + 1,
	    [HARM_CUT_SEGMENT] = SEGMENT_HEADER_SIZE - 1};
	int fd = openat(p->s.fd, HARMED, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	if (harm <= HARM_SEGMENT)
		data[places[harm]] ^= 16;
	else if (harm <= HARM_CUT_SEGMENT)
		len = places[harm];
	else
		forge(data, len, harm);
	assert_int_equal(ftruncate(fd, (off_t)len), 0);
	assert_int_equal(pwrite(fd, data, len, 0), len);
	close(fd);
	free(data);
}

/* A log of which nothing is synced, harmed; then a write fails. */
static struct place place_harmed(struct gate *g, enum harm harm, bool heals)
{
	struct place p = place_with(g, ENGINE_FSYNC_OS);
	for (uint32_t i = 1; i <= 3; i++)
		set(&p, i, 0);
	assert_int_equal(wal_durable(p.e->wal), 0);
	harm_tail(&p, harm);
	g->fail_snapshots = !heals;
	g->fail_writes = 1;
	engine_turn(p.w);
	assert_int_equal(put_len(p.w, STORE_SET, 4, 10, 0), STORE_OK);
	engine_turn_end(p.w);
	return p;
}

/* Syncs go well all the time: that does not make it whole. Nothing of the generation is used. */
static void harmed_tail_is_not_to_be_trusted(void **state)
{
	(void)state;
	for (enum harm harm = 0; harm < HARMS; harm++) {
		struct gate g;
		struct place p = place_harmed(&g, harm, false);
		expect_state(&p, WAL_HEALING);
		engine_turn(p.w);
		assert_int_equal(put_len(p.w, STORE_SET, 5, 10, 0), STORE_REFUSED);
		engine_turn_end(p.w);
		place_again(&p);
		for (uint32_t i = 1; i <= 5; i++)
			assert_false(there(&p, i));
		place_end(&p);
	}
}

static void harmed_tail_heals_in_a_new_generation(void **state)
{
	(void)state;
	for (enum harm harm = 0; harm < HARMS; harm++) {
		struct gate g;
		struct place p = place_harmed(&g, harm, true);
		struct wal_stats st = {0};
		for (unsigned i = 0; i < 2000 && !(st.heals && st.state == WAL_HEALTHY); i++) {
			engine_tick(p.e);
			pause_ms(5);
			wal_get_stats(p.e->wal, &st);
		}
		assert_int_equal(st.state, WAL_HEALTHY);
		assert_int_equal(st.generation, 2);
		place_again(&p);
		for (uint32_t i = 1; i <= 3; i++)
			assert_true(there(&p, i));
		place_end(&p);
	}
}

/* ---- group commit ---- */

static void hold_syncs(struct gate *g, bool hold)
{
	pthread_mutex_lock(&g->lock);
	g->hold_syncs = hold;
	pthread_cond_broadcast(&g->opened);
	pthread_mutex_unlock(&g->lock);
}

/* A set in a turn of its own. */
static uint64_t set_need(struct place *p, uint32_t key)
{
	engine_turn(p->w);
	assert_int_equal(put_len(p->w, STORE_SET, key, 10, 0), STORE_OK);
	uint64_t need = engine_need(p->w);
	engine_turn_end(p->w);
	return need;
}

/* While an fsync does not come back the one worker goes on, reads are answered, and all replies that gathered meanwhile
 * leave with the next fsync. */
static void always_is_a_group_commit(void **state)
{
	(void)state;
	enum { SETS = 200 };
	struct gate g;
	struct place p = place_with(&g, ENGINE_FSYNC_ALWAYS);
	struct wal_stats before, after;
	uint64_t need[SETS];
	set(&p, 1, 0);
	wal_get_stats(p.e->wal, &before);
	hold_syncs(&g, true);
	for (uint32_t i = 0; i < SETS; i++) {
		need[i] = set_need(&p, 2 + i % 20);
		assert_true(there(&p, 1));
	}
	for (unsigned i = 0; i < 2000 && wal_written(p.e->wal) < need[SETS - 1]; i++)
		pause_ms(5);
	assert_int_equal(wal_written(p.e->wal), need[SETS - 1]);
	for (uint32_t i = 0; i < SETS; i++)
		assert_false(engine_ready(p.e, need[i]));
	hold_syncs(&g, false);
	engine_await(p.e, need[SETS - 1]);
	wal_get_stats(p.e->wal, &after);
	for (uint32_t i = 0; i < SETS; i++)
		assert_true(engine_ready(p.e, need[i]));
	/* The one that hung, the one for all behind it, and one if the clock wants the idle log's seal synced. */
	assert_in_range(after.syncs - before.syncs, 1, 3);
	place_end(&p);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(harmed_tail_is_not_to_be_trusted),
    cmocka_unit_test(harmed_tail_heals_in_a_new_generation),
    cmocka_unit_test(always_is_a_group_commit),
};
UNIT_MAIN(tests)
