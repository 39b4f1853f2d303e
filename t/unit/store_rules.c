/* SPDX-License-Identifier: BSD-3-Clause */
/* store_rules: single rules of the store: overwriting in place, pins, expiry, refusals for memory, accounts and
 * their bound under churn, and what the observer is told. */
#include "support.h"
#include <sched.h>
#include <stdatomic.h>
#include "store/private.h"

#define NOW 1700000000

static struct store_thread *thread_at(struct store *s, int64_t now)
{
	struct store_thread *t = store_thread_open(s, NULL);
	assert_non_null(t);
	store_thread_set_now(t, now);
	return t;
}

static struct store_stats stats_of(struct store *s)
{
	struct store_stats st;
	store_get_stats(s, &st);
	return st;
}

static enum store_result set_text(struct store *s, struct store_thread *t, uint32_t key, const char *text,
    int64_t expiry, struct store_outcome *ret)
{
	char name[32];
	struct store_key k = key_of(s, key, name);
	struct store_put put = {
	    .mode = STORE_SET, .value = (const uint8_t *)text, .value_len = strlen(text), .expiry = expiry};
	return store_write(s, t, &k, put, ret);
}

static void same_size_is_overwritten_in_place(void **state)
{
	(void)state;
	struct store *s = store_make(64 * MIB, 1, false);
	struct store_thread *t = thread_at(s, NOW);
	static const size_t sizes[] = {0, 1, 100, 1000, STORE_COPY_MAX, STORE_COPY_MAX + 1};
	for (unsigned i = 0; i < 6; i++) {
		assert_int_equal(store_set(s, t, i, 1, sizes[i]), STORE_OK);
		uint64_t fill = 0, after = 0;
		for (uint32_t r = 0; r < s->arena.regions; r++)
			fill += s->arena.region[r].fill;
		for (unsigned n = 2; n < 50; n++)
			assert_int_equal(store_set(s, t, i, n, sizes[i]), STORE_OK);
		for (uint32_t r = 0; r < s->arena.regions; r++)
			after += s->arena.region[r].fill;
		if (sizes[i] <= STORE_COPY_MAX)
			assert_int_equal(after, fill);
		else
			assert_true(after > fill);
	}
	assert_int_equal(stats_of(s).items, 6);
	store_thread_close(&t);
	store_close(&s);
}

/* What is fetched ahead of a lookup is what the lookup reads, but for the few items that overflowed from their bucket. */
static void guesses_are_right_but_for_overflows(void **state)
{
	(void)state;
	struct store *s = store_make(64 * MIB, 1, false);
	struct store_thread *t = thread_at(s, NOW);
	char name[32];
	unsigned right = 0, absent = 0;
	for (unsigned i = 0; i < 20000; i++)
		assert_int_equal(store_set(s, t, i, 1, 50), STORE_OK);
	for (unsigned i = 0; i < 40000; i++) {
		struct store_key key = store_key(s, name, key_name(name, i));
		uint64_t place = index_guess(&s->index, key.hash);
		const struct item *it = place ? store_item(s, place) : NULL;
		if (i >= 20000)
			absent += !it;
		else
			right += it && it->key_len == key.len && memcmp(it->body, key.data, key.len) == 0;
		store_prefetch(s, key.hash);
		store_prefetch_item(s, key.hash);
	}
	assert_true(right > 17000);
	assert_true(absent > 19990);
	store_thread_close(&t);
	store_close(&s);
}

static void expiry_is_judged_by_the_threads_time(void **state)
{
	(void)state;
	struct store *s = store_make(64 * MIB, 1, false);
	struct store_thread *t = thread_at(s, NOW);
	struct store_outcome out;
	struct shown shown = {0};
	char name[32];
	struct store_key k = key_of(s, 1, name);
	assert_int_equal(set_text(s, t, 1, "old", 0, &out), STORE_OK);
	assert_int_equal(set_text(s, t, 1, "new", NOW + 10, &out), STORE_OK);
	store_thread_set_now(t, NOW + 9);
	assert_int_equal(store_fetch(s, t, &k, &shown), STORE_OK);
	store_thread_set_now(t, NOW + 10);
	assert_int_equal(store_fetch(s, t, &k, &shown), STORE_NOT_FOUND);
	store_thread_set_now(t, NOW + 5);
	assert_int_equal(store_fetch(s, t, &k, &shown), STORE_NOT_FOUND);
	/* Stored and at once expired: what it supersedes goes. */
	assert_int_equal(set_text(s, t, 1, "old", 0, &out), STORE_OK);
	assert_int_equal(set_text(s, t, 1, "new", NOW, &out), STORE_OK);
	assert_int_equal(store_fetch(s, t, &k, &shown), STORE_NOT_FOUND);
	assert_int_equal(stats_of(s).items, 0);
	assert_int_equal(stats_of(s).bytes, 0);
	assert_int_equal(stats_of(s).expired, 2);
	shown_free(&shown);
	store_thread_close(&t);
	store_close(&s);
}

static void a_sweep_takes_what_nobody_asks_for(void **state)
{
	(void)state;
	struct store *s = store_make(8 * MIB, 1, false);
	struct store_thread *t = thread_at(s, NOW);
	char name[32];
	uint8_t value[1000] = {0};
	for (uint32_t i = 0; i < 2000; i++) {
		struct store_key k = key_of(s, i, name);
		struct store_put put = {.value = value, .value_len = 1000, .expiry = i % 2 ? NOW + 100 : 0};
		struct store_outcome out;
		assert_int_equal(store_write(s, t, &k, put, &out), STORE_OK);
	}
	store_thread_set_now(t, NOW + 200);
	for (uint32_t r = 0; r < 2 * s->arena.regions; r++)
		store_maintain(t);
	/* The open region is not swept. */
	assert_in_range(stats_of(s).expired, 900, 1000);
	assert_int_equal(stats_of(s).items, 2000 - stats_of(s).expired);
	store_thread_close(&t);
	store_close(&s);
}

/* trap 14: bytes that somebody sends do not change, whatever happens to the item. */
static void trap14_pinned_bytes_stay(void **state)
{
	(void)state;
	struct store *s = store_make(8 * MIB, 1, false);
	struct store_thread *t = thread_at(s, NOW);
	static const size_t sizes[] = {STORE_COPY_MAX + 1, 6000, 40000, 500000};
	struct store_pin pins[4];
	const uint8_t *bytes[4];
	struct shown shown = {.keep_pin = true};
	uint8_t *expected = malloc(500000);
	for (uint32_t i = 0; i < 4; i++) {
		char name[32];
		struct store_key k = key_of(s, i, name);
		assert_int_equal(store_set(s, t, i, 7, sizes[i]), STORE_OK);
		assert_int_equal(store_fetch(s, t, &k, &shown), STORE_OK);
		assert_true(store_pinned(&shown.pin));
		pins[i] = shown.pin;
		struct store_outcome out;
		assert_int_equal(store_delete(t, &k, 0, &out), STORE_OK);
		/* Where the bytes are: the item is found by its size in the region that is pinned. */
		bytes[i] = NULL;
		if (pins[i].large)
			bytes[i] = store_large_data(pins[i].large);
		else
			value_make(expected, sizes[i], i, 7);
		for (size_t at = 0; !bytes[i] && at + sizes[i] <= s->arena.region_size; at++) {
			const uint8_t *base = arena_region_base(&s->arena, pins[i].region);
			if (memcmp(base + at, expected, sizes[i]) == 0)
				bytes[i] = base + at;
		}
		assert_non_null(bytes[i]);
	}
	for (uint32_t n = 0; n < 20000; n++)
		store_set(s, t, 100 + n % 5000, n, n % 5000 + 1);
	assert_true(stats_of(s).evictions > 0);
	for (uint32_t i = 0; i < 4; i++) {
		value_make(expected, sizes[i], i, 7);
		assert_memory_equal(bytes[i], expected, sizes[i]);
		store_unpin(s, &pins[i]);
	}
	assert_int_equal(s->arena.pinned, 0);
	free(expected);
	shown_free(&shown);
	store_thread_close(&t);
	store_close(&s);
}

/* Regions in use, index, ghosts and large values: never above -m by more than what one change and one reclaim
 * may take: the regions that lanes hold open, the spare ones, and one large value. */
static void churn_of_sizes_keeps_to_the_limit(void **state)
{
	(void)state;
	static const uint64_t limits[] = {6 * MIB, 16 * MIB};
	for (unsigned m = 0; m < 2; m++) {
		struct store *s = store_make(limits[m], 2, false);
		struct store_thread *t = thread_at(s, NOW);
		uint32_t random = 99;
		uint64_t allowed = limits[m] + 4 * s->arena.region_size + 300 * KIB, stored = 0;
		for (uint32_t n = 0; n < 60000; n++) {
			uint32_t r = unit_random(&random), phase = n / 10000;
			size_t len = phase % 3 == 0   ? r >> 8 & 63
			             : phase % 3 == 1 ? r >> 8 & 8191
			                              : (r & 7 ? 500 : r >> 16 & 0x3ffff);
			stored += store_set(s, t, r % 20000, n, len) == STORE_OK;
			struct store_stats st = stats_of(s);
			assert_in_range(st.memory_used, 0, allowed);
			uint64_t resident = s->arena.resident * st.region_size + st.index_bytes +
			                    st.ghost_bytes + st.large_bytes;
			assert_in_range(resident, 0, allowed);
		}
		assert_int_equal(stored, 60000);
		store_thread_close(&t);
		store_close(&s);
	}
}

static void accounts_are_exact_after_all(void **state)
{
	(void)state;
	struct store *s = store_make(7 * MIB, 1, false);
	struct store_thread *t = thread_at(s, NOW);
	uint32_t random = 3;
	for (uint32_t n = 0; n < 30000; n++) {
		uint32_t r = unit_random(&random);
		if (r % 9 == 0) {
			char name[32];
			struct store_key k = key_of(s, r >> 8 & 2047, name);
			struct store_outcome out;
			store_delete(t, &k, 0, &out);
		} else {
			store_set(s, t, r >> 8 & 2047, n, r % 50 == 0 ? 30000 : r % 7000);
		}
	}
	uint64_t items = 0, bytes = 0;
	struct shown shown = {0};
	for (uint32_t i = 0; i < 2048; i++) {
		char name[32];
		struct store_key k = key_of(s, i, name);
		if (store_fetch(s, t, &k, &shown) != STORE_OK)
			continue;
		bool large = store_wants_large(s, &k, shown.len);
		items++;
		bytes += item_round(ITEM_HEADER + k.len + (large ? sizeof(void *) : shown.len));
	}
	struct store_stats st = stats_of(s);
	assert_true(st.evictions > 0);
	assert_int_equal(st.items, items);
	assert_int_equal(st.bytes - st.large_bytes, bytes);
	struct store_outcome out;
	store_flush(t, 0, &out);
	assert_int_equal(stats_of(s).items, 0);
	for (uint32_t i = 0; i < 2048; i++) {
		char name[32];
		struct store_key k = key_of(s, i, name);
		assert_int_equal(store_fetch(s, t, &k, &shown), STORE_NOT_FOUND);
	}
	assert_int_equal(stats_of(s).bytes, 0);
	shown_free(&shown);
	store_thread_close(&t);
	store_close(&s);
}

/* Two hundred values of 200 KiB pass through 16 MiB while one of them is read now and then: it stays, and the memory is
 * full all the time, since no more goes than has to. */
/* The index of small items becomes larger than that of the memory at the start, and the ghosts follow it. */
static void small_items_fill_more_memory_than_at_the_start(void **state)
{
	(void)state;
	const struct store_options o = {
	    .memory = 2 * MIB, .most = 16 * MIB, .item_max = 1 * MIB, .threads = 1};
	struct store *s = store_open(&o);
	struct store_thread *t = thread_at(s, NOW);
	uint32_t n = 0, there = 0;
	assert_true(store_set_memory(s, 16 * MIB));
	for (; n < 800000; n++) {
		assert_int_equal(store_set(s, t, n, 0, 4), STORE_OK);
		assert_true(s->ghost.bytes <= s->ghost.size);
	}
	struct shown shown = {0};
	for (uint32_t i = 0; i < n; i++) {
		char name[32];
		uint8_t value[4];
		struct store_key k = key_of(s, i, name);
		if (store_fetch(s, t, &k, &shown) != STORE_OK)
			continue;
		value_make(value, sizeof(value), i, 0);
		there += shown.len == 4 && memcmp(shown.data, value, 4) == 0;
	}
	struct store_stats st = stats_of(s);
	assert_true(st.evictions > 0 && there == st.items);
	assert_true(s->index.bytes > s->index.buckets_foreseen * UINT64_C(64) << s->index.shard_bits);
	assert_in_range(st.memory_used, 0, 16 * MIB + 4 * s->arena.region_size);
	shown_free(&shown);
	store_thread_close(&t);
	store_close(&s);
}

static void large_values_go_one_by_one(void **state)
{
	(void)state;
	struct store *s = store_make(16 * MIB, 1, false);
	struct store_thread *t = thread_at(s, NOW);
	struct shown shown = {0};
	char name[32];
	struct store_key hot = key_of(s, 0, name);
	assert_int_equal(store_set(s, t, 0, 1, 200 * KIB), STORE_OK);
	for (uint32_t n = 1; n <= 200; n++) {
		assert_int_equal(store_set(s, t, n, n, 200 * KIB), STORE_OK);
		if (n % 20 == 0)
			assert_int_equal(store_fetch(s, t, &hot, &shown), STORE_OK);
		if (n == 60)
			assert_int_equal(stats_of(s).items, 61);
		if (n > 80)
			assert_in_range(stats_of(s).items, 70, 80);
	}
	struct store_stats st = stats_of(s);
	assert_int_equal(st.evictions, 201 - st.items);
	/* The youngest are there, whatever became of those before. */
	for (uint32_t n = 181; n <= 200; n++) {
		struct store_key k = key_of(s, n, name);
		assert_int_equal(store_fetch(s, t, &k, &shown), STORE_OK);
	}
	shown_free(&shown);
	store_thread_close(&t);
	store_close(&s);
}

/* Blocks of values that went wait for others, but no more than a sixty-fourth of the memory, or one block of four times that. */
static void spare_blocks_are_few(void **state)
{
	(void)state;
	struct store *s = store_make(32 * MIB, 1, false);
	struct store_thread *t = thread_at(s, NOW);
	uint32_t random = 5;
	bool waited = false;
	for (uint32_t n = 0; n < 400; n++) {
		uint32_t r = unit_random(&random);
		size_t len = n % 20 == 0 ? 3 * MIB : 130 * KIB + r % (700 * KIB);
		assert_int_equal(store_set(s, t, r % 60, n, len), STORE_OK);
		assert_true(s->spares.bytes <= s->spares.most || s->spares.n == 1);
		assert_in_range(s->spares.bytes, 0, 2 * MIB + KIB);
		waited |= s->spares.n > 0;
	}
	assert_true(waited);
	assert_in_range(stats_of(s).memory_used, 0, 32 * MIB);
	struct store_outcome out;
	char name[32];
	for (uint32_t n = 0; n < 60; n++) {
		struct store_key k = key_of(s, n, name);
		store_delete(t, &k, 0, &out);
	}
	assert_int_equal(s->spares.used, 0);
	store_thread_close(&t);
	store_close(&s);
}

/* Of 1000 bytes each: the first that many keys are there, then 3000 others push some of them out; how many of the first
 * stay, of those with an even number (marked: used, or about to expire) and of the others. */
struct survivors {
	unsigned marked, others;
};
#define FIRST 2000u

static struct survivors survive(enum store_policy policy, bool use, bool expire)
{
	const struct store_options o = {.memory = 4 * MIB, .item_max = MIB, .threads = 1, .policy = policy};
	struct store *s = store_open(&o);
	assert_non_null(s);
	struct store_thread *t = thread_at(s, NOW);
	struct survivors left = {0, 0};
	struct shown shown = {0};
	static uint8_t value[1000];
	char name[32];
	for (uint32_t n = 0; n < FIRST + 3000; n++) {
		struct store_key k = key_of(s, n, name);
		struct store_outcome out;
		struct store_put put = {.mode = STORE_SET, .value = value, .value_len = sizeof value};
		if (expire && n < FIRST && n % 2 == 0)
			put.expiry = NOW + 300;
		assert_int_equal(store_write(s, t, &k, put, &out), STORE_OK);
		for (int i = 0; use && n < FIRST && n % 2 == 0 && i < 3; i++)
			assert_int_equal(store_fetch(s, t, &k, &shown), STORE_OK);
	}
	for (uint32_t n = 0; n < FIRST; n++) {
		struct store_key k = key_of(s, n, name);
		if (store_fetch(s, t, &k, &shown) == STORE_OK)
			*(n % 2 == 0 ? &left.marked : &left.others) += 1;
	}
	shown_free(&shown);
	store_thread_close(&t);
	store_close(&s);
	return left;
}

static void each_policy_keeps_what_it_is_for(void **state)
{
	(void)state;
	struct survivors left = survive(STORE_S3FIFO, true, false);
	assert_true(left.marked > 900 && left.others < 100);
	left = survive(STORE_LFU, true, false);
	assert_true(left.marked > 900 && left.others < 100);
	left = survive(STORE_TTL, false, true);
	assert_true(left.marked < 100 && left.others > 900);
	left = survive(STORE_MRU, false, false);
	assert_true(left.marked + left.others > 1900);
	left = survive(STORE_RANDOM, true, false);
	assert_true(left.marked > 100 && left.marked < 900 && left.others > 100 && left.others < 900);
	/* A second chance, no third: of those that were used twice as many stay for a while, none for good. */
	left = survive(STORE_LRU, true, false);
	assert_true(left.marked > left.others);
}

/* Of keys that are all asked for as often, in an order that a seed gives, every other one has a value nine times as large, and
 * half of the bytes fit. Hits of the small ones, and of the large. */
static void ask_evenly(enum store_policy policy, unsigned *ret_small, unsigned *ret_large)
{
	const struct store_options o = {.memory = 4 * MIB, .item_max = MIB, .threads = 1, .policy = policy};
	struct store *s = store_open(&o);
	assert_non_null(s);
	struct store_thread *t = thread_at(s, NOW);
	struct shown shown = {0};
	uint32_t random = 11;
	unsigned hits[2] = {0, 0};
	for (uint32_t n = 0; n < 200000; n++) {
		char name[32];
		uint32_t key = unit_random(&random) / 16 % 8000;
		bool large = key % 2;
		struct store_key k = key_of(s, key, name);
		if (store_fetch(s, t, &k, &shown) != STORE_OK)
			assert_int_equal(store_set(s, t, key, 1, large ? 1800 : 200), STORE_OK);
		else if (n >= 50000)
			hits[large]++;
	}
	*ret_small = hits[0];
	*ret_large = hits[1];
	shown_free(&shown);
	store_thread_close(&t);
	store_close(&s);
}

/* With the room of a large one nine small ones are served. */
static void small_items_need_fewer_uses(void **state)
{
	(void)state;
	unsigned small, large, lru_small, lru_large;
	ask_evenly(STORE_LRU, &lru_small, &lru_large);
	assert_in_range(lru_small, lru_large * 9 / 10, lru_large * 11 / 10);
	ask_evenly(STORE_S3FIFO, &small, &large);
	assert_true(small > large * 5 / 4);
	assert_true(small + large > (lru_small + lru_large) * 11 / 10);
}

/* Of a hundred values that fill the memory a tenth is ten: one that nobody has asked for yet is to outlive thirty others. */
static void a_handful_of_large_values_is_given_time(void **state)
{
	(void)state;
	struct store *s = store_make(32 * MIB, 1, false);
	struct store_thread *t = thread_at(s, NOW);
	struct shown shown = {0};
	unsigned met = 0;
	char name[32];
	for (uint32_t n = 0; n < 300; n++) {
		struct store_key k = key_of(s, n < 200 ? n : n - 30, name);
		assert_int_equal(store_set(s, t, n, 1, 300 * KIB), STORE_OK);
		if (n < 200 || n >= 230)
			met += store_fetch(s, t, &k, &shown) == STORE_OK;
	}
	assert_in_range(met, 265, 270);
	shown_free(&shown);
	store_thread_close(&t);
	store_close(&s);
}

/* Without eviction a region whose items live stays as it is while the one that is open beside it is cleaned. */
static void what_is_left_of_a_region_takes_items_without_an_open_one(void **state)
{
	(void)state;
	static const enum store_policy policies[] = {STORE_S3FIFO, STORE_LRU};
	for (unsigned p = 0; p < 2; p++) {
		const struct store_options o = {.memory = 16 * MIB,
		    .item_max = 1 * MIB,
		    .threads = 1,
		    .no_evict = true,
		    .policy = policies[p]};
		struct store *s = store_open(&o);
		struct store_thread *t = thread_at(s, NOW);
		struct store_outcome out;
		struct shown shown = {0};
		uint32_t version;
		char name[32];
		for (uint32_t i = 0; i < 4; i++)
			assert_int_equal(store_set(s, t, i, 1, 6200), STORE_OK);
		assert_int_equal(store_set(s, t, 4, 1, 8100), STORE_OK);
		struct store_key k = key_of(s, 4, name);
		assert_int_equal(store_delete(t, &k, 0, &out), STORE_OK);
		assert_true(reclaim_one(t));
		enum arena_queue q = s->policy->small_queue ? ARENA_SMALL : ARENA_MAIN;
		assert_true(s->lanes[0].open[q] == ARENA_NONE && lane_left(s, s->lanes[0].rest[q]) > 7000);
		k = key_of(s, 0, name);
		assert_int_equal(store_touch(t, &k, NOW + 9, 6200, NULL, NULL, &out), STORE_OK);
		assert_int_equal(store_fetch(s, t, &k, &shown), STORE_OK);
		assert_true(shown.expiry == NOW + 9 && value_verify(shown.data, shown.len, 0, &version));
		assert_int_equal(store_set(s, t, 5, 1, 7000), STORE_OK);
		shown_free(&shown);
		store_thread_close(&t);
		store_close(&s);
	}
}

static void without_eviction_a_set_is_refused_and_nothing_goes(void **state)
{
	(void)state;
	struct store *s = store_make(4 * MIB, 1, true);
	struct store_thread *t = thread_at(s, NOW);
	uint32_t n = 0, version;
	while (store_set(s, t, n, 1, 500) == STORE_OK)
		assert_true(++n < 10000);
	assert_true(n > 4000);
	assert_int_equal(store_set(s, t, n, 1, 500), STORE_NO_MEMORY);
	struct shown shown = {0};
	char name[32];
	for (uint32_t i = 0; i < n; i++) {
		struct store_key k = key_of(s, i, name);
		assert_int_equal(store_fetch(s, t, &k, &shown), STORE_OK);
		assert_true(value_verify(shown.data, shown.len, i, &version));
	}
	assert_int_equal(stats_of(s).evictions, 0);
	/* What is deleted makes room again. */
	for (uint32_t i = 0; i < n; i += 2) {
		struct store_key k = key_of(s, i, name);
		struct store_outcome out;
		assert_int_equal(store_delete(t, &k, 0, &out), STORE_OK);
	}
	for (uint32_t i = 0; i < n / 4; i++)
		assert_int_equal(store_set(s, t, 100000 + i, 1, 500), STORE_OK);
	assert_int_equal(stats_of(s).evictions, 0);
	shown_free(&shown);
	store_thread_close(&t);
	store_close(&s);
}

/* ---- what the observer is told ---- */

struct told {
	struct store *store;
	uint64_t last;
	unsigned calls;
	enum store_change_kind kind;
	size_t value_len;
	bool pinned;
};

static struct told told;

/* The key's lock is held, for a flush those of all shards. */
static bool locked(struct store *s, const struct store_change *change)
{
	uint32_t first = 0, n = index_shards(&s->index);
	if (change->key) {
		first = index_shard_of(&s->index, change->key->hash);
		n = first + 1;
	}
	for (uint32_t shard = first; shard < n; shard++) {
		if (pthread_mutex_trylock(&s->index.shard[shard].lock) == EBUSY)
			continue;
		pthread_mutex_unlock(&s->index.shard[shard].lock);
		return false;
	}
	return true;
}

static uint64_t note(void *owner, const struct store_change *change)
{
	struct store_pin pin = change->pin;
	assert_ptr_equal(owner, &told);
	assert_true(locked(told.store, change));
	told.calls++;
	told.kind = change->kind;
	told.value_len = change->value_len;
	told.pinned = store_pinned(&pin);
	/* Whoever reads the value must find it whole. */
	uint32_t version;
	if (change->kind == STORE_CHANGE_SET && change->value_len >= 64)
		assert_true(value_verify(change->value, change->value_len, 5, &version));
	store_unpin(told.store, &pin);
	return told.last += 3;
}

static void observed(enum store_change_kind kind, const struct store_outcome *out)
{
	assert_int_equal(told.calls, 1);
	assert_int_equal(told.kind, kind);
	assert_int_equal(out->seq, told.last);
	told.calls = 0;
}

static struct store_thread *observed_thread(struct store *s)
{
	told = (struct told){.store = s, .last = 1000};
	store_set_observer(s, note);
	struct store_thread *t = store_thread_open(s, &told);
	store_thread_set_now(t, NOW);
	return t;
}

/* trap 1: each mutating miss leaves a tombstone; nothing else does. */
static void trap01_each_mutating_miss_leaves_a_tombstone(void **state)
{
	(void)state;
	struct store *s = store_make(64 * MIB, 1, false);
	struct store_thread *t = observed_thread(s);
	struct store_outcome out = {0};
	struct store_key k = store_key(s, "missing", 7);
	static const enum store_mode modes[] = {STORE_REPLACE, STORE_CAS, STORE_APPEND, STORE_PREPEND};
	for (unsigned i = 0; i < 4; i++) {
		struct store_put put = {
		    .mode = modes[i], .value = (uint8_t *)"v", .value_len = 1, .compare = 5};
		assert_int_equal(store_put(t, &k, &put, 1, &out),
		    modes[i] == STORE_CAS ? STORE_NOT_FOUND : STORE_NOT_STORED);
		observed(STORE_CHANGE_DELETE, &out);
	}
	assert_int_equal(store_delete(t, &k, 0, &out), STORE_NOT_FOUND);
	observed(STORE_CHANGE_DELETE, &out);
	assert_int_equal(store_arith(t, &k, &(struct store_arith){.delta = 1}, &out), STORE_NOT_FOUND);
	observed(STORE_CHANGE_DELETE, &out);
	assert_int_equal(store_touch(t, &k, 1, SIZE_MAX, NULL, NULL, &out), STORE_NOT_FOUND);
	observed(STORE_CHANGE_DELETE, &out);
	uint64_t gone = out.seq;
	/* These change nothing; what they show waits for the last removal. */
	assert_int_equal(store_touch(t, &k, NOW + 5, SIZE_MAX, NULL, NULL, &out), STORE_NOT_FOUND);
	assert_int_equal(told.calls, 0);
	struct shown shown = {0};
	assert_int_equal(store_get(t, &k, shown_emit, &shown, &out), STORE_NOT_FOUND);
	assert_int_equal(told.calls, 0);
	assert_int_equal(out.seq, gone);
	store_thread_close(&t);
	store_close(&s);
}

/* trap 5: a touch is told each time and keeps number and CAS. */
static void trap05_touches_keep_the_number(void **state)
{
	(void)state;
	struct store *s = store_make(64 * MIB, 1, false);
	struct store_thread *t = observed_thread(s);
	static const size_t sizes[] = {1, 100, STORE_COPY_MAX + 1, 300000};
	static const int64_t expiries[] = {0, NOW + 10, NOW + 10, 0, NOW + 3600};
	char name[32];
	struct store_key k = key_of(s, 5, name);
	for (unsigned i = 0; i < 4; i++) {
		struct shown shown = {0};
		struct store_outcome out;
		assert_int_equal(store_set(s, t, 5, i, sizes[i]), STORE_OK);
		assert_int_equal(told.pinned, sizes[i] > STORE_COPY_MAX);
		assert_int_equal(told.value_len, sizes[i]);
		assert_int_equal(told.calls, 1);
		uint64_t cas = told.last;
		told.calls = 0;
		for (unsigned e = 0; e < 5; e++) {
			assert_int_equal(
			    store_touch(t, &k, expiries[e], SIZE_MAX, NULL, NULL, &out), STORE_OK);
			observed(STORE_CHANGE_TOUCH, &out);
			assert_int_equal(store_fetch(s, t, &k, &shown), STORE_OK);
			assert_int_equal(shown.cas, cas);
			assert_int_equal(shown.seq, cas);
			assert_int_equal(shown.expiry, expiries[e]);
			assert_int_equal(shown.len, sizes[i]);
		}
		shown_free(&shown);
	}
	struct store_outcome out;
	assert_int_equal(store_touch(t, &k, 1, SIZE_MAX, NULL, NULL, &out), STORE_OK);
	observed(STORE_CHANGE_DELETE, &out);
	store_thread_close(&t);
	store_close(&s);
}

/* trap 6: a flush kills by number: what is set behind it lives. */
static void trap06_flush_kills_by_number(void **state)
{
	(void)state;
	struct store *s = store_make(64 * MIB, 1, false);
	struct store_thread *t = observed_thread(s);
	struct store_outcome out;
	struct shown shown = {0};
	char name[32];
	assert_int_equal(store_set(s, t, 5, 1, 100), STORE_OK);
	told.calls = 0;
	store_flush(t, NOW + 100, &out);
	observed(STORE_CHANGE_FLUSH_AT, &out);
	struct store_key k = key_of(s, 5, name);
	assert_int_equal(store_fetch(s, t, &k, &shown), STORE_OK);
	store_flush(t, 0, &out);
	observed(STORE_CHANGE_FLUSH, &out);
	uint64_t flush = out.seq;
	assert_int_equal(store_get(t, &k, shown_emit, &shown, &out), STORE_NOT_FOUND);
	assert_int_equal(out.seq, flush);
	assert_int_equal(store_set(s, t, 5, 2, 100), STORE_OK);
	assert_int_equal(store_fetch(s, t, &k, &shown), STORE_OK);
	shown_free(&shown);
	store_thread_close(&t);
	store_close(&s);
}

struct peek {
	struct store *store;
	uint32_t shard;
	_Atomic bool begun;
	uint64_t flush_seq;
};

/* Waits for the lock of the shard that a flush lets go first, and looks at what is dead then. */
static void *peek(void *arg)
{
	struct peek *p = arg;
	pthread_mutex_t *lock = &p->store->index.shard[p->shard].lock;
	atomic_store(&p->begun, true);
	pthread_mutex_lock(lock);
	p->flush_seq = atomic_load(&p->store->flush_seq);
	pthread_mutex_unlock(lock);
	return NULL;
}

static struct peek peeking;
static pthread_t peeker;

static uint64_t note_and_peek(void *owner, const struct store_change *change)
{
	(void)owner;
	(void)change;
	atomic_store(&peeking.begun, false);
	MUST(pthread_create(&peeker, NULL, peek, &peeking) == 0);
	while (!atomic_load(&peeking.begun))
		sched_yield();
	nanosleep(
	    &(struct timespec){0, 200000}, NULL); /* it sleeps at the lock by now, as far as can be told */
	return ++told.last;
}

/* trap 6: whoever enters a shard behind a flush finds it done, or an incr would straddle it. */
static void trap06_a_flush_is_published_before_its_locks_go(void **state)
{
	(void)state;
	struct store *s = store_make(64 * MIB, 1, false);
	struct store_outcome out;
	told = (struct told){.store = s};
	peeking = (struct peek){.store = s, .shard = index_shards(&s->index) - 1};
	store_set_observer(s, note_and_peek);
	struct store_thread *t = store_thread_open(s, &told);
	for (unsigned i = 0; i < 200; i++) {
		store_flush(t, 0, &out);
		pthread_join(peeker, NULL);
		assert_int_equal(peeking.flush_seq, out.seq);
	}
	store_thread_close(&t);
	store_close(&s);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(same_size_is_overwritten_in_place),
    cmocka_unit_test(guesses_are_right_but_for_overflows),
    cmocka_unit_test(expiry_is_judged_by_the_threads_time),
    cmocka_unit_test(a_sweep_takes_what_nobody_asks_for),
    cmocka_unit_test(trap14_pinned_bytes_stay),
    cmocka_unit_test(churn_of_sizes_keeps_to_the_limit),
    cmocka_unit_test(accounts_are_exact_after_all),
    cmocka_unit_test(small_items_fill_more_memory_than_at_the_start),
    cmocka_unit_test(large_values_go_one_by_one),
    cmocka_unit_test(spare_blocks_are_few),
    cmocka_unit_test(each_policy_keeps_what_it_is_for),
    cmocka_unit_test(small_items_need_fewer_uses),
    cmocka_unit_test(a_handful_of_large_values_is_given_time),
    cmocka_unit_test(what_is_left_of_a_region_takes_items_without_an_open_one),
    cmocka_unit_test(without_eviction_a_set_is_refused_and_nothing_goes),
    cmocka_unit_test(trap01_each_mutating_miss_leaves_a_tombstone),
    cmocka_unit_test(trap05_touches_keep_the_number),
    cmocka_unit_test(trap06_flush_kills_by_number),
    cmocka_unit_test(trap06_a_flush_is_published_before_its_locks_go),
};
UNIT_MAIN(tests)
