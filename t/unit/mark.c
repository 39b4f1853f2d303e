/* SPDX-License-Identifier: BSD-3-Clause */
/* mark: invalidating, emptying and winning an item through the engine: what is shown, what a start finds again, and what
 * becomes of it when the log waits or refuses. */
#include <signal.h>
#include "gate.h"
#include "persist/wal_private.h"

#define LARGE (300 * KIB)

struct seen {
	struct store_view view;
	unsigned times;
	unsigned refuse; /* so many looks want more room */
};

static bool look(void *arg, const struct store_view *view)
{
	struct seen *s = arg;
	if (s->refuse) {
		s->refuse--;
		return false;
	}
	s->view = *view;
	s->times++;
	return true;
}

static struct seen peek(struct place *p, uint32_t key, enum store_result expected)
{
	struct seen s = {0};
	char name[32];
	engine_turn(p->w);
	struct store_key k = key_at(p->w, key, name);
	assert_int_equal(engine_peek(p->w, &k, look, &s), expected);
	engine_unpin(p->w, &s.view.pin);
	engine_turn_end(p->w);
	return s;
}

/* One turn; waits until a kill cannot take it back. */
static enum store_result mark(struct place *p, uint32_t key, struct store_mark m, struct seen *seen)
{
	char name[32];
	engine_turn(p->w);
	struct store_key k = key_at(p->w, key, name);
	enum store_result r = engine_mark(p->w, &k, &m, seen ? look : NULL, seen);
	uint64_t need = engine_need(p->w);
	engine_turn_end(p->w);
	if (seen)
		engine_unpin(p->w, &seen->view.pin);
	if (r != STORE_WAIT && !wal_refuses(p->e->wal))
		engine_await(p->e, need);
	return r;
}

static void an_invalidated_item_stays_with_a_new_cas_over_a_start(void **state)
{
	(void)state;
	struct place p = place_make();
	set(&p, 1, 0);
	uint64_t before = peek(&p, 1, STORE_OK).view.cas;
	assert_int_equal(mark(&p, 1, (struct store_mark){.stale = true}, NULL), STORE_OK);
	for (unsigned i = 0; i < 2; i++) {
		struct seen s = peek(&p, 1, STORE_OK);
		assert_true(s.view.stale && !s.view.win_sent && s.view.cas > before);
		assert_int_equal(s.view.value_len, 10);
		before = s.view.cas - 1;
		place_again(&p);
	}
	/* Another set makes it whole. */
	set(&p, 1, 0);
	assert_false(peek(&p, 1, STORE_OK).view.stale);
	place_end(&p);
}

static void one_wins_and_that_survives(void **state)
{
	(void)state;
	struct place p = place_make();
	set(&p, 1, 0);
	assert_int_equal(mark(&p, 1, (struct store_mark){.stale = true, .cas = 77}, NULL), STORE_OK);
	struct seen s = {0};
	assert_int_equal(mark(&p, 1, (struct store_mark){.win = true}, &s), STORE_OK);
	assert_true(s.times == 1 && s.view.stale && !s.view.win_sent && !s.view.fetched);
	place_again(&p);
	s = peek(&p, 1, STORE_OK);
	assert_true(s.view.stale && s.view.win_sent && s.view.fetched == false);
	assert_int_equal(s.view.cas, 77); /* who wins does not change it */
	/* Nothing is logged when it is as it is to be. */
	uint64_t seq = s.view.seq;
	assert_int_equal(mark(&p, 1, (struct store_mark){.win = true}, &s), STORE_OK);
	assert_int_equal(peek(&p, 1, STORE_OK).view.seq, seq);
	/* Invalidated again, there is something to win again. */
	assert_int_equal(mark(&p, 1, (struct store_mark){.stale = true}, NULL), STORE_OK);
	assert_false(peek(&p, 1, STORE_OK).view.win_sent);
	place_end(&p);
}

static void an_emptied_item_keeps_its_cas_and_gets_flags_and_time(void **state)
{
	(void)state;
	struct place p = place_make();
	set(&p, 1, 0);
	uint64_t cas = peek(&p, 1, STORE_OK).view.cas;
	int64_t later = clock_now(p.e->clock) + 1000;
	const struct store_mark m = {.empty = true, .flags = 9, .expires = true, .expiry = later};
	assert_int_equal(mark(&p, 1, m, NULL), STORE_OK);
	for (unsigned i = 0; i < 2; i++) {
		struct seen s = peek(&p, 1, STORE_OK);
		assert_true(s.view.value_len == 0 && s.view.flags == 9 && s.view.expiry == later);
		assert_true(s.view.cas == cas && !s.view.stale);
		place_again(&p);
	}
	place_end(&p);
}

static void another_cas_changes_nothing_and_a_miss_leaves_a_tombstone(void **state)
{
	(void)state;
	struct place p = place_make();
	set(&p, 1, 0);
	uint64_t cas = peek(&p, 1, STORE_OK).view.cas;
	assert_int_equal(
	    mark(&p, 1, (struct store_mark){.stale = true, .compare = cas + 1}, NULL), STORE_EXISTS);
	assert_false(peek(&p, 1, STORE_OK).view.stale);
	assert_int_equal(mark(&p, 1, (struct store_mark){.stale = true, .compare = cas}, NULL), STORE_OK);
	assert_true(peek(&p, 1, STORE_OK).view.stale);
	struct engine_stats before, after;
	engine_get_stats(p.e, &before);
	assert_int_equal(mark(&p, 2, (struct store_mark){.stale = true}, NULL), STORE_NOT_FOUND);
	engine_get_stats(p.e, &after);
	assert_int_equal(after.last_seq, before.last_seq + 1);
	/* A client that only wants to win has changed nothing. */
	assert_int_equal(mark(&p, 2, (struct store_mark){.win = true}, NULL), STORE_NOT_FOUND);
	engine_get_stats(p.e, &before);
	assert_int_equal(after.last_seq, before.last_seq);
	place_end(&p);
}

/* A time in the past takes it away, shown one last time. */
static void a_mark_into_the_past_removes(void **state)
{
	(void)state;
	struct place p = place_make();
	struct seen s = {0};
	set(&p, 1, 0);
	assert_int_equal(
	    mark(&p, 1, (struct store_mark){.win = true, .expires = true, .expiry = 1}, &s), STORE_OK);
	assert_int_equal(s.times, 1);
	peek(&p, 1, STORE_NOT_FOUND);
	place_again(&p);
	peek(&p, 1, STORE_NOT_FOUND);
	place_end(&p);
}

/* Values of every kind of memory go to the log whole; a reader without room is asked again and nothing has happened. */
static void long_values_are_marked_whole(void **state)
{
	(void)state;
	struct place p = place_make();
	const size_t sizes[] = {100, 5000, 40 * KIB, LARGE};
	static uint8_t value[LARGE];
	unit_fill(value, sizeof(value), 3);
	for (uint32_t i = 0; i < 4; i++) {
		char name[32];
		engine_turn(p.w);
		struct store_key k = key_at(p.w, i, name);
		const struct store_put put = {.mode = STORE_SET, .value = value, .value_len = sizes[i]};
		assert_int_equal(engine_put(p.w, &k, &put, NULL), STORE_OK);
		engine_turn_end(p.w);
		struct seen s = {.refuse = 1};
		uint64_t cas = peek(&p, i, STORE_OK).view.cas;
		assert_int_equal(mark(&p, i, (struct store_mark){.win = true}, &s), STORE_MORE_ROOM);
		assert_false(peek(&p, i, STORE_OK).view.win_sent);
		assert_int_equal(mark(&p, i, (struct store_mark){.win = true}, &s), STORE_OK);
		assert_int_equal(peek(&p, i, STORE_OK).view.cas, cas);
		assert_int_equal(mark(&p, i, (struct store_mark){.stale = true}, NULL), STORE_OK);
	}
	place_again(&p);
	for (uint32_t i = 0; i < 4; i++) {
		char name[32];
		struct seen s = {0};
		engine_turn(p.w);
		struct store_key k = key_at(p.w, i, name);
		assert_int_equal(engine_peek(p.w, &k, look, &s), STORE_OK);
		assert_true(s.view.stale && s.view.value_len == sizes[i]);
		/* Short values are to be copied by who is shown them, long ones are pinned. */
		if (store_pinned(&s.view.pin))
			assert_memory_equal(s.view.value, value, sizes[i]);
		engine_unpin(p.w, &s.view.pin);
		engine_turn_end(p.w);
	}
	place_end(&p);
}

/* An invalidation is never refused: where nothing can be logged the item goes. Who wins is then told without a record. */
static void while_changes_are_refused_an_invalidation_takes_the_item_away(void **state)
{
	(void)state;
	struct place p = place_make();
	struct seen s = {0};
	set(&p, 1, 0);
	set(&p, 2, 0);
	atomic_store(&p.e->wal->refuses, true);
	assert_int_equal(mark(&p, 1, (struct store_mark){.stale = true}, NULL), STORE_OK);
	peek(&p, 1, STORE_NOT_FOUND);
	assert_int_equal(mark(&p, 2, (struct store_mark){.win = true}, &s), STORE_OK);
	assert_int_equal(s.times, 1);
	assert_true(peek(&p, 2, STORE_OK).view.win_sent);
	assert_int_equal(
	    mark(&p, 2, (struct store_mark){.win = true, .expires = true, .expiry = 0}, &s), STORE_REFUSED);
	atomic_store(&p.e->wal->refuses, false);
	set(&p, 3, 0);
	place_again(&p);
	peek(&p, 1, STORE_NOT_FOUND);
	assert_false(peek(&p, 2, STORE_OK).view.win_sent);
	place_end(&p);
}

/* Nor for want of memory: a mark is a copy of the item. */
static void without_memory_an_invalidation_takes_the_item_away(void **state)
{
	(void)state;
	struct place p = place_make();
	struct seen s = {0};
	uint32_t n = 10;
	p.options.memory = 8 * MIB;
	p.options.no_evict = true;
	place_again(&p);
	set(&p, 1, 0);
	set(&p, 2, 0);
	assert_int_equal(mark(&p, 2, (struct store_mark){.stale = true}, NULL), STORE_OK);
	for (size_t len = 2000; len > 1; len /= 4) {
		enum store_result r;
		do {
			engine_turn(p.w);
			r = put_len(p.w, STORE_SET, n++, len, 0);
			uint64_t need = engine_need(p.w);
			engine_turn_end(p.w);
			engine_await(p.e, need);
		} while (r != STORE_NO_MEMORY);
	}
	assert_int_equal(mark(&p, 2, (struct store_mark){.win = true}, &s), STORE_OK);
	assert_true(s.times == 1 && peek(&p, 2, STORE_OK).view.win_sent);
	assert_int_equal(mark(&p, 1, (struct store_mark){.stale = true}, NULL), STORE_OK);
	peek(&p, 1, STORE_NOT_FOUND);
	place_again(&p);
	peek(&p, 1, STORE_NOT_FOUND);
	place_end(&p);
}

static void without_room_in_the_log_nothing_has_happened(void **state)
{
	(void)state;
	struct place p = place_make();
	struct seen s = {0};
	set(&p, 1, 0);
	atomic_store(&p.e->wal->tight, true);
	assert_int_equal(mark(&p, 1, (struct store_mark){.win = true}, &s), STORE_WAIT);
	assert_int_equal(s.times, 0);
	assert_false(peek(&p, 1, STORE_OK).view.win_sent);
	atomic_store(&p.e->wal->tight, false);
	place_end(&p);
}

/* What is not kept on disk is marked in memory, and the disk's tombstone stays the last word. */
static void what_is_not_kept_stays_so(void **state)
{
	(void)state;
	struct place p = place_make();
	p.options.keep_ttl = 100;
	place_again(&p);
	set(&p, 1, clock_now(p.e->clock) + 50);
	assert_int_equal(mark(&p, 1, (struct store_mark){.stale = true}, NULL), STORE_OK);
	assert_true(peek(&p, 1, STORE_OK).view.stale);
	/* With more time it is one that is kept, as it is by then. */
	set(&p, 2, clock_now(p.e->clock) + 50);
	const struct store_mark m = {.stale = true, .expires = true};
	assert_int_equal(mark(&p, 2, m, NULL), STORE_OK);
	place_again(&p);
	peek(&p, 1, STORE_NOT_FOUND);
	assert_true(peek(&p, 2, STORE_OK).view.stale);
	place_end(&p);
}

/* ---- a walk over keys ---- */

struct listed {
	unsigned n;
	unsigned refuse; /* so many visits find no room */
	uint64_t highest;
};

static bool list(void *arg, const struct store_key_view *item)
{
	struct listed *l = arg;
	if (l->refuse) {
		l->refuse--;
		return false;
	}
	l->n++;
	if (item->view->seq > l->highest)
		l->highest = item->view->seq;
	return true;
}

static struct listed walk(struct place *p, unsigned refuse, uint64_t *ret_need)
{
	struct listed l = {.refuse = refuse};
	bool again;
	engine_turn(p->w);
	for (uint32_t at = 0; engine_walk(p->w, &at, list, &l, &again);)
		;
	*ret_need = engine_need(p->w);
	engine_turn_end(p->w);
	return l;
}

static void a_walk_lists_each_key_once_and_waits_for_what_it_shows(void **state)
{
	(void)state;
	struct place p = place_make();
	uint64_t need;
	for (uint32_t i = 1; i <= 300; i++)
		set(&p, i, i <= 100 ? clock_now(p.e->clock) + 5 : 0);
	struct listed l = walk(&p, 0, &need);
	assert_int_equal(l.n, 300);
	/* Where there was no room a part comes again: what it had listed by then is the caller's to forget. */
	assert_true(walk(&p, 1, &need).n == 300);
	assert_int_equal(need & ((UINT64_C(1) << 53) - 1), l.highest);
	clock_jump(p.e->clock, 10);
	assert_int_equal(walk(&p, 0, &need).n, 200);
	/* Neither log nor mark: what is on no disk is not shown. */
	atomic_store(&p.e->wal->published, wal_published(p.e->wal) - 1);
	atomic_store(&p.e->wal->state, WAL_LOST);
	assert_int_equal(walk(&p, 0, &need).n, 199);
	atomic_store(&p.e->wal->state, WAL_HEALTHY);
	atomic_store(&p.e->wal->published, ring_last(wal_ring(p.e->wal)));
	place_end(&p);
}

/* Who is told that it has expired is told what a kill cannot undo. */
static void winning_what_has_expired_leaves_a_tombstone(void **state)
{
	(void)state;
	struct place p = place_make();
	struct engine_stats before, after;
	set(&p, 1, clock_now(p.e->clock) + 5);
	clock_jump(p.e->clock, 10);
	engine_get_stats(p.e, &before);
	assert_int_equal(mark(&p, 1, (struct store_mark){.win = true}, NULL), STORE_NOT_FOUND);
	engine_get_stats(p.e, &after);
	assert_int_equal(after.last_seq, before.last_seq + 1);
	place_end(&p);
}

/* ---- puts and numbers with what meta commands add ---- */

static enum store_result put_with(
    struct place *p, uint32_t key, struct store_put put, struct store_stored *stored)
{
	char name[32];
	engine_turn(p->w);
	struct store_key k = key_at(p->w, key, name);
	put.value = (const uint8_t *)"0123456789";
	put.value_len = 10;
	enum store_result r = engine_put(p->w, &k, &put, stored);
	uint64_t need = engine_need(p->w);
	engine_turn_end(p->w);
	engine_await(p->e, need);
	return r;
}

static void a_store_over_something_newer_is_stale_and_keeps_its_time(void **state)
{
	(void)state;
	struct place p = place_make();
	struct store_stored stored;
	int64_t later = clock_now(p.e->clock) + 1000;
	const struct store_put first = {.mode = STORE_SET, .cas = 50, .expiry = later};
	const struct store_put older = {.mode = STORE_CAS, .compare = 40, .older_is_stale = true};
	struct store_put newer = older;
	newer.compare = 60;
	assert_int_equal(put_with(&p, 1, first, &stored), STORE_OK);
	assert_int_equal(stored.cas, 50);
	assert_int_equal(put_with(&p, 1, newer, NULL), STORE_EXISTS);
	assert_int_equal(put_with(&p, 1, older, &stored), STORE_OK);
	struct seen s = peek(&p, 1, STORE_OK);
	assert_true(s.view.stale && s.view.expiry == later && s.view.cas == stored.cas);
	place_again(&p);
	s = peek(&p, 1, STORE_OK);
	assert_true(s.view.stale && s.view.expiry == later && s.view.cas == stored.cas);
	place_end(&p);
}

static void append_compares_vivifies_and_makes_fresh(void **state)
{
	(void)state;
	struct place p = place_make();
	struct store_stored stored;
	struct store_put put = {.mode = STORE_APPEND, .expiry = clock_now(p.e->clock) + 1000};
	assert_int_equal(put_with(&p, 1, put, &stored), STORE_NOT_STORED);
	put.vivify = true;
	assert_int_equal(put_with(&p, 1, put, &stored), STORE_OK);
	assert_int_equal(stored.value_len, 10);
	assert_int_equal(peek(&p, 1, STORE_OK).view.expiry, put.expiry);
	put.compare = stored.cas + 1;
	assert_int_equal(put_with(&p, 1, put, NULL), STORE_EXISTS);
	put.compare = stored.cas;
	put.cas = 99;
	assert_int_equal(mark(&p, 1, (struct store_mark){.stale = true, .cas = stored.cas}, NULL), STORE_OK);
	assert_int_equal(put_with(&p, 1, put, &stored), STORE_OK);
	assert_int_equal(stored.value_len, 20);
	assert_int_equal(stored.cas, 99);
	place_again(&p);
	struct seen s = peek(&p, 1, STORE_OK);
	assert_true(!s.view.stale && s.view.cas == 99 && s.view.value_len == 20);
	place_end(&p);
}

static enum store_result arith(struct place *p, uint32_t key, struct store_arith a, struct store_number *n)
{
	char name[32];
	engine_turn(p->w);
	struct store_key k = key_at(p->w, key, name);
	enum store_result r = engine_arith(p->w, &k, &a, n);
	uint64_t need = engine_need(p->w);
	engine_turn_end(p->w);
	engine_await(p->e, need);
	return r;
}

static void a_number_begins_gets_time_and_goes(void **state)
{
	(void)state;
	struct place p = place_make();
	struct store_number n;
	int64_t later = clock_now(p.e->clock) + 1000;
	struct store_arith a = {
	    .delta = 5, .vivify = true, .initial = 7, .initial_expiry = later, .cas = 1234};
	assert_int_equal(arith(&p, 1, a, &n), STORE_OK);
	assert_true(n.value == 7 && n.created && n.cas == 1234);
	a.cas = 0;
	assert_int_equal(arith(&p, 1, a, &n), STORE_OK);
	assert_true(n.value == 12 && !n.created && n.expiry == later && n.cas != 1234);
	a.expires = true;
	a.expiry = 0;
	assert_int_equal(arith(&p, 1, a, &n), STORE_OK);
	assert_true(n.value == 17 && n.expiry == later);
	place_again(&p);
	struct seen s = peek(&p, 1, STORE_OK);
	assert_true(s.view.expiry == 0 && s.view.value_len == 2 && s.view.cas == n.cas);
	a.compare = n.cas + 1;
	assert_int_equal(arith(&p, 1, a, &n), STORE_EXISTS);
	a.compare = 0;
	a.expiry = 1;
	assert_int_equal(arith(&p, 1, a, &n), STORE_OK);
	assert_int_equal(n.value, 22);
	peek(&p, 1, STORE_NOT_FOUND);
	place_again(&p);
	peek(&p, 1, STORE_NOT_FOUND);
	place_end(&p);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(an_invalidated_item_stays_with_a_new_cas_over_a_start),
    cmocka_unit_test(one_wins_and_that_survives),
    cmocka_unit_test(an_emptied_item_keeps_its_cas_and_gets_flags_and_time),
    cmocka_unit_test(another_cas_changes_nothing_and_a_miss_leaves_a_tombstone),
    cmocka_unit_test(a_mark_into_the_past_removes),
    cmocka_unit_test(long_values_are_marked_whole),
    cmocka_unit_test(while_changes_are_refused_an_invalidation_takes_the_item_away),
    cmocka_unit_test(without_memory_an_invalidation_takes_the_item_away),
    cmocka_unit_test(without_room_in_the_log_nothing_has_happened),
    cmocka_unit_test(what_is_not_kept_stays_so),
    cmocka_unit_test(a_walk_lists_each_key_once_and_waits_for_what_it_shows),
    cmocka_unit_test(winning_what_has_expired_leaves_a_tombstone),
    cmocka_unit_test(a_store_over_something_newer_is_stale_and_keeps_its_time),
    cmocka_unit_test(append_compares_vivifies_and_makes_fresh),
    cmocka_unit_test(a_number_begins_gets_time_and_goes),
};

UNIT_MAIN(tests)
