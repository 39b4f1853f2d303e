/* SPDX-License-Identifier: BSD-3-Clause */
/* bucket: what is asked of eight slots at once is what asking one after the other says. */
#include "unit.h"
#include "store/bucket.h"

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	return *state ^= *state << 17;
}

/* Slots with few tags and places, so that many are alike, empty, or differ in a single bit. */
static struct index_bucket some_bucket(uint64_t *state)
{
	struct index_bucket b;
	for (unsigned i = 0; i < INDEX_SLOTS; i++) {
		uint64_t r = next_random(state), tag = r & 3 ? r >> 8 & 3 : r >> 41;
		uint64_t place = r & 4 ? UINT64_C(1) << (r >> 16) % INDEX_PLACE_BITS : 0;
		b.slot[i] = tag << INDEX_TAG_SHIFT | (r >> 32 & 7) << INDEX_PLACE_BITS | place;
	}
	return b;
}

static void all_at_once_is_one_by_one(void **state)
{
	(void)state;
	uint64_t random = 88172645463325252;
	unsigned seen_tagged = 0, seen_overflow = 0, seen_free = 0;
	for (unsigned n = 0; n < 100000; n++) {
		struct index_bucket b = some_bucket(&random);
		uint32_t tag = (uint32_t)(b.slot[n % INDEX_SLOTS] >> INDEX_TAG_SHIFT);
		unsigned tagged = 0, overflow = 0, free = 0;
		for (unsigned i = 0; i < INDEX_SLOTS; i++) {
			tagged |= (unsigned)(b.slot[i] >> INDEX_TAG_SHIFT == tag) << i;
			overflow |= (unsigned)((b.slot[i] & INDEX_OVERFLOW) != 0) << i;
			free |= (unsigned)(slot_place(b.slot[i]) == 0) << i;
		}
		assert_int_equal(bucket_tagged(&b, tag), tagged);
		assert_int_equal(bucket_overflow(&b), overflow);
		assert_int_equal(bucket_free(&b), free);
		seen_tagged |= tagged;
		seen_overflow |= overflow;
		seen_free |= free;
	}
	assert_int_equal(seen_tagged & seen_overflow & seen_free, 255);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(all_at_once_is_one_by_one)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
