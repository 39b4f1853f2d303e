/* SPDX-License-Identifier: BSD-3-Clause */
/* rate: so many bytes take at least so long, whatever the pieces; idle time is not saved up; the clock is the caller's. */
#include "unit.h"
#include "persist/rate.h"

#define MIB (UINT64_C(1) << 20)

/* Moves `total` bytes in pieces, waiting as told. Returns the microseconds that took. */
static int64_t move(struct rate *r, uint64_t total, uint64_t piece, int64_t from_us)
{
	int64_t now = from_us;
	for (uint64_t done = 0; done < total; done += piece) {
		now += 100; /* the moving itself */
		now += rate_take(r, piece, now);
	}
	return now - from_us;
}

static void bytes_take_their_time(void **state)
{
	(void)state;
	static const uint64_t pieces[] = {4096, 65536, MIB, 4 * MIB};
	for (size_t i = 0; i < sizeof(pieces) / sizeof(*pieces); i++) {
		struct rate r = {.per_second = 8 * MIB};
		int64_t us = move(&r, 80 * MIB, pieces[i], 1000000);
		assert_in_range(us, 10 * 1000000 - 2 * RATE_BURST_US, 10 * 1000000 + 2 * RATE_BURST_US);
	}
}

static void no_limit_never_waits(void **state)
{
	(void)state;
	struct rate r = {0};
	assert_int_equal(rate_take(&r, UINT64_C(1) << 50, 5), 0);
}

static void idle_time_is_not_saved_up(void **state)
{
	(void)state;
	struct rate r = {.per_second = MIB};
	assert_int_equal(rate_take(&r, 1024, 1000), 0);
	/* An hour later a second's worth still takes a second. */
	int64_t later = INT64_C(3600) * 1000000;
	assert_int_equal(rate_take(&r, MIB, later), 1000000 - RATE_BURST_US);
	/* What was not waited for adds up, until it is forgiven. */
	assert_int_equal(rate_take(&r, MIB, later), 2 * 1000000 - RATE_BURST_US);
	rate_forgive(&r);
	assert_int_equal(rate_take(&r, 1024, later), 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(bytes_take_their_time),
    cmocka_unit_test(no_limit_never_waits),
    cmocka_unit_test(idle_time_is_not_saved_up),
};
UNIT_MAIN(tests)
