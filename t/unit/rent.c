/* SPDX-License-Identifier: BSD-3-Clause */
/* rent: an item of average size or less pays one use a round, larger ones by their size, in whole uses that come out right on average, and
 * what is average follows what is seen. */
#include "unit.h"
#include "store/index.h"
#include "store/rent.h"

#define ROUNDS 20000u

/* What an item of so many bytes pays on average, in hundredths of a use. */
static unsigned hundredths(const struct rent *rent, size_t bytes, unsigned least, unsigned most)
{
	unsigned sum = 0;
	uint32_t random = 7;
	for (unsigned round = 0; round < ROUNDS; round++) {
		/* The hash may stay the same for all rounds, or be another one each time. */
		uint64_t hash = round % 2 ? 42 : (uint64_t)unit_random(&random) << 32;
		unsigned uses = rent_of(rent, bytes, hash, round);
		assert_in_range(uses, least, most);
		sum += uses;
	}
	return sum / (ROUNDS / 100);
}

static void size_is_paid_for(void **state)
{
	(void)state;
	struct rent rent = {0};
	assert_int_equal(hundredths(&rent, 100, 1, 1), 100);
	rent_note(&rent, 100);
	rent_note(&rent, 300);
	assert_int_equal(hundredths(&rent, 200, 1, 1), 100);
	assert_int_equal(hundredths(&rent, 100, 1, 1), 100);
	assert_in_range(hundredths(&rent, 250, 1, 2), 122, 128);
	assert_in_range(hundredths(&rent, 300, 1, 2), 147, 153);
	assert_int_equal(hundredths(&rent, 400, 2, 2), 200);
}

static void no_size_pays_nothing_or_without_bound(void **state)
{
	(void)state;
	struct rent rent = {0};
	rent_note(&rent, 1000);
	assert_int_equal(hundredths(&rent, 250, 1, 1), 100);
	assert_int_equal(hundredths(&rent, 1, 1, 1), 100);
	assert_int_equal(hundredths(&rent, 3000, 3, 3), 300);
	assert_int_equal(hundredths(&rent, (size_t)1 << 37, 3, INDEX_USE_MAX), 300);
}

static void what_is_average_follows(void **state)
{
	(void)state;
	struct rent rent = {0};
	for (unsigned n = 0; n < 1000000; n++)
		rent_note(&rent, (size_t)1 << 30);
	assert_int_equal(rent_of(&rent, (size_t)1 << 30, 1, 1), 1);
	for (unsigned n = 0; n < 3000000; n++)
		rent_note(&rent, 100);
	assert_in_range(hundredths(&rent, 102, 1, 2), 100, 105);
	assert_in_range(rent.items, 1, 1 << 17);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(size_is_paid_for),
    cmocka_unit_test(no_size_pays_nothing_or_without_bound),
    cmocka_unit_test(what_is_average_follows),
};
UNIT_MAIN(tests)
