/* SPDX-License-Identifier: BSD-3-Clause */
/* life: where Hearth time begins, and how long nobody was there, for clocks that were set to anything. */
#include "unit.h"
#include "persist/life.h"

#define NOW    INT64_C(1790000000000)
#define SECOND INT64_C(1000)
#define HOUR   (3600 * SECOND)
#define DAY    (24 * HOUR)
#define YEAR   (365 * DAY)
#define Y2106  INT64_C(4294967296000)

static struct segment_header head(int64_t wall, int64_t hearth, int64_t boot)
{
	return (struct segment_header){.wall_ms = wall, .hearth_ms = hearth, .boot_ms = boot};
}

/* One run under a sane clock, until NOW + a minute; then a start at this time. */
static struct life_verdict start_at(int64_t wall)
{
	struct life l = {.wall_ms = wall};
	struct segment_header h = head(NOW, NOW, 5000);
	life_header(&l, &h, false);
	life_note(&l, NOW + 30 * SECOND);
	life_note(&l, NOW + 60 * SECOND);
	return life_judge(&l, 0);
}

static void a_sane_clock_goes_on(void **state)
{
	(void)state;
	struct life_verdict v = start_at(NOW + 65 * SECOND);
	assert_true(v.start_ms == NOW + 65 * SECOND && v.judge_ms == v.start_ms && v.back_ms == 0);
	assert_int_equal(v.down_ms, 5 * SECOND);
	assert_false(v.odd);
	v = start_at(NOW + 90 * DAY);
	assert_true(!v.odd && v.down_ms == 90 * DAY - 60 * SECOND);
}

static void set_back_while_down_nothing_revives(void **state)
{
	(void)state;
	static const int64_t walls[] = {NOW, NOW - HOUR, NOW - DAY, NOW - YEAR, 1, 1000, NOW - 50 * YEAR};
	for (size_t i = 0; i < sizeof(walls) / sizeof(*walls); i++) {
		struct life_verdict v = start_at(walls[i]);
		assert_true(v.start_ms == NOW + 60 * SECOND && v.judge_ms == v.start_ms && v.back_ms == 0);
		assert_int_equal(v.down_ms, 0);
		assert_int_equal(v.odd, NOW + 60 * SECOND - walls[i] > DAY);
	}
}

static void far_ahead_is_told(void **state)
{
	(void)state;
	struct life_verdict v = start_at(Y2106);
	assert_true(v.odd && v.start_ms == Y2106 && v.back_ms == 0);
	v = start_at(NOW + 2 * YEAR);
	assert_true(v.odd && v.start_ms == NOW + 2 * YEAR);
}

/* A run under a mad clock lies between sane ones. */
static void a_mad_run_does_not_drag_time_along(void **state)
{
	(void)state;
	static const int64_t mads[] = {
	    NOW + 2 * DAY, NOW + YEAR, Y2106, INT64_C(2147483648000), INT64_MAX / 2};
	for (size_t i = 0; i < sizeof(mads) / sizeof(*mads); i++) {
		struct life l = {.wall_ms = NOW + HOUR};
		struct segment_header sane = head(NOW, NOW, 5000), mad = head(mads[i], mads[i], 9000);
		life_header(&l, &sane, false);
		life_note(&l, NOW + 60 * SECOND);
		life_header(&l, &mad, false);
		life_note(&l, mads[i] + SECOND);
		struct life_verdict v = life_judge(&l, 0);
		assert_true(v.odd && v.start_ms == NOW + HOUR);
		assert_true(v.judge_ms == mads[i] + SECOND && v.back_ms == v.judge_ms - v.start_ms);
		/* A start that was cut off behind that decision decides the same. */
		struct segment_header again = head(NOW + HOUR, NOW + HOUR, 10000);
		l.wall_ms = NOW + HOUR + SECOND;
		life_header(&l, &again, false);
		v = life_judge(&l, 0);
		assert_true(v.start_ms == NOW + HOUR + SECOND && v.judge_ms == mads[i] + SECOND);
	}
}

/* What remains of the mad run is a Hearth time that was carried on. */
static void time_that_was_dragged_is_let_go(void **state)
{
	(void)state;
	struct life l = {.wall_ms = NOW + HOUR};
	struct segment_header h = head(NOW, Y2106, 5000);
	life_header(&l, &h, false);
	struct life_verdict v = life_judge(&l, 0);
	assert_true(v.odd && v.start_ms == NOW + HOUR && v.back_ms == Y2106 - NOW - HOUR);
	/* But not to a clock that is behind that header's. */
	l = (struct life){.wall_ms = NOW - HOUR};
	life_header(&l, &h, false);
	v = life_judge(&l, 0);
	assert_true(v.odd && v.start_ms == Y2106 && v.back_ms == 0);
}

static void the_same_boot_knows_the_downtime(void **state)
{
	(void)state;
	static const int64_t walls[] = {NOW + 70 * SECOND, NOW - HOUR, NOW + DAY, Y2106};
	for (size_t i = 0; i < sizeof(walls) / sizeof(*walls); i++) {
		struct life l = {.wall_ms = walls[i]};
		struct segment_header h = head(NOW, NOW, 500000);
		life_header(&l, &h, true);
		life_note(&l, NOW + 60 * SECOND);
		struct life_verdict v = life_judge(&l, 500000 + 70 * SECOND);
		assert_int_equal(v.down_ms, 10 * SECOND);
		assert_int_equal(v.odd, walls[i] == Y2106);
		/* A boot clock behind the header's is another container's: the wall clock then. */
		v = life_judge(&l, 1000);
		assert_int_equal(v.down_ms, walls[i] > NOW + 60 * SECOND ? walls[i] - NOW - 60 * SECOND : 0);
	}
	/* Written before headers said it. */
	struct life l = {.wall_ms = NOW + 70 * SECOND};
	struct segment_header h = head(NOW, NOW, 0);
	life_header(&l, &h, true);
	life_note(&l, NOW);
	assert_int_equal(life_judge(&l, 12345).down_ms, 70 * SECOND);
}

/* A start that was cut off: nobody was there, but what had expired at that time has. */
static void a_header_alone_is_no_life(void **state)
{
	(void)state;
	struct life l = {.wall_ms = NOW + 2 * HOUR};
	struct segment_header first = head(NOW, NOW, 5000), alone = head(NOW + HOUR, NOW + HOUR, 5000 + HOUR);
	life_header(&l, &first, true);
	life_note(&l, NOW + SECOND);
	life_header(&l, &alone, true);
	assert_int_equal(life_judge(&l, 5000 + 2 * HOUR).down_ms, 2 * HOUR - SECOND);
	l.wall_ms = NOW - HOUR;
	assert_int_equal(life_judge(&l, 5000 + 2 * HOUR).start_ms, NOW + HOUR);
}

static void nothing_is_nothing(void **state)
{
	(void)state;
	struct life l = {.wall_ms = NOW};
	struct life_verdict v = life_judge(&l, 1);
	assert_true(!v.odd && v.down_ms == 0 && v.start_ms == NOW && v.back_ms == 0);
	life_note(&l, 0);
	life_note(&l, INT64_MIN);
	v = life_judge(&l, 1);
	assert_true(!v.odd && v.start_ms == NOW);
	/* Any number from a file. */
	life_note(&l, INT64_MAX);
	assert_true(life_judge(&l, 1).odd);
}

/* Headers and times that no Hearth has written: no number in them makes a sign of life out of nothing. */
static void odd_signs_are_judged_without_the_others(void **state)
{
	(void)state;
	/* All there is lies ahead: no gap to tell that it was a mad clock. */
	struct life l = {.wall_ms = NOW};
	life_note(&l, NOW + 30 * DAY);
	struct life_verdict v = life_judge(&l, 0);
	assert_true(v.odd && v.start_ms == NOW + 30 * DAY && v.back_ms == 0);
	/* No gap where the clock is. */
	l = (struct life){.wall_ms = NOW};
	life_note(&l, NOW - SECOND);
	life_note(&l, NOW + HOUR);
	life_note(&l, NOW + 30 * DAY);
	v = life_judge(&l, 0);
	assert_true(v.odd && v.start_ms == NOW + 30 * DAY && v.back_ms == 0);
	/* A header without a wall clock says nothing of steps. */
	const int64_t walls[] = {0, -5, INT64_MIN};
	for (size_t i = 0; i < sizeof(walls) / sizeof(*walls); i++) {
		l = (struct life){.wall_ms = NOW};
		struct segment_header h = head(walls[i], NOW - HOUR, 5000);
		life_header(&l, &h, true);
		life_note(&l, NOW - HOUR);
		v = life_judge(&l, 5000 + HOUR);
		assert_true(!v.odd && v.start_ms == NOW && v.down_ms == HOUR);
	}
	/* Nor does one without Hearth time. */
	l = (struct life){.wall_ms = NOW};
	struct segment_header h = head(NOW - HOUR, 0, 5000);
	life_header(&l, &h, true);
	life_note(&l, NOW - HOUR);
	v = life_judge(&l, 5000 + HOUR);
	assert_true(!v.odd && v.start_ms == NOW && v.down_ms == HOUR);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_sane_clock_goes_on),
    cmocka_unit_test(set_back_while_down_nothing_revives),
    cmocka_unit_test(far_ahead_is_told),
    cmocka_unit_test(a_mad_run_does_not_drag_time_along),
    cmocka_unit_test(time_that_was_dragged_is_let_go),
    cmocka_unit_test(the_same_boot_knows_the_downtime),
    cmocka_unit_test(a_header_alone_is_no_life),
    cmocka_unit_test(nothing_is_nothing),
    cmocka_unit_test(odd_signs_are_judged_without_the_others),
};
UNIT_MAIN(tests)
