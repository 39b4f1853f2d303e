/* SPDX-License-Identifier: BSD-3-Clause */
/* scan: what is there when a scan begins is visited with the right value, whatever writers, touches and eviction do
 * meanwhile, unless it was changed; and nothing wrong is ever visited. */
#include "support.h"

#include <stdatomic.h>
#include "base/packed.h"
#include "store/private.h"

#define NOW  1700000000
#define KEYS 20000u

/* ---- what the visitor saw ---- */

struct seen {
	unsigned times[KEYS];
	uint32_t version[KEYS];
	int64_t expiry[KEYS];
	unsigned wrong, visits;
	unsigned give_up_at;
	uint64_t last_seq;
};

static bool visit(void *arg, const struct store_scan_item *item)
{
	struct seen *seen = arg;
	char text[32] = {0};
	uint32_t version = 0;
	unsigned long key;
	memcpy(text, item->key, item->key_len < 31 ? item->key_len : 31);
	if (sscanf(text, "key-%lu", &key) != 1 || key >= KEYS ||
	    !value_verify(item->value, item->value_len, (uint32_t)key, &version)) {
		seen->wrong++;
		return true;
	}
	seen->times[key]++;
	seen->version[key] = version;
	seen->expiry[key] = item->expiry;
	return ++seen->visits != seen->give_up_at;
}

static size_t size_of(uint32_t key)
{
	if (key % 97 == 0)
		return STORE_COPY_MAX + 1 + key % 3000;
	return key % 1501 == 0 ? 200 * KIB : VALUE_LEAST + key % 700;
}

static void fill(struct store *s, struct store_thread *t, uint32_t first, uint32_t n, uint32_t version)
{
	for (uint32_t i = first; i < first + n; i++)
		assert_int_equal(store_set(s, t, i, version, size_of(i)), STORE_OK);
}

struct bench {
	struct store *store;
	struct store_thread *t;
	struct seen *seen;
};

static struct bench begin(uint64_t memory)
{
	struct bench b = {.store = store_make(memory, 2, false)};
	b.t = store_thread_open(b.store, NULL);
	b.seen = calloc(1, sizeof(*b.seen));
	store_thread_set_now(b.t, NOW);
	return b;
}

static void end(struct bench *b)
{
	free(b->seen);
	store_thread_close(&b->t);
	store_close(&b->store);
}

static void scan_rest(struct bench *b)
{
	int more;
	while ((more = store_scan_step(b->t)) > 0)
		;
	assert_int_equal(more, 0);
	store_scan_end(b->t);
	assert_int_equal(b->seen->wrong, 0);
}

static void at_rest_each_item_comes_once(void **state)
{
	(void)state;
	struct bench b = begin(64 * MIB);
	for (int round = 0; round < 2; round++) {
		memset(b.seen, 0, sizeof(*b.seen));
		fill(b.store, b.t, 0, KEYS, 1 + (uint32_t)round);
		store_scan_begin(b.t, visit, b.seen);
		scan_rest(&b);
		for (unsigned i = 0; i < KEYS; i++) {
			assert_int_equal(b.seen->times[i], 1);
			assert_int_equal(b.seen->version[i], 1 + round);
		}
	}
	end(&b);
}

static void what_is_set_later_need_not_come_but_nothing_else_is_lost(void **state)
{
	(void)state;
	struct bench b = begin(64 * MIB);
	struct store_outcome out;
	char name[32];
	fill(b.store, b.t, 0, KEYS / 2, 1);
	store_scan_begin(b.t, visit, b.seen);
	fill(b.store, b.t, KEYS / 2, KEYS / 2, 1);
	for (uint32_t i = 0; i < KEYS / 2; i += 3) {
		struct store_key k = key_of(b.store, i, name);
		store_delete(b.t, &k, 0, &out);
	}
	for (uint32_t i = 1; i < KEYS / 2; i += 3)
		store_set(b.store, b.t, i, 2, size_of(i) + 40);
	scan_rest(&b);
	for (uint32_t i = 2; i < KEYS / 2; i += 3) {
		assert_int_equal(b.seen->times[i], 1);
		assert_int_equal(b.seen->version[i], 1);
	}
	for (uint32_t i = 0; i < KEYS / 2; i += 3)
		assert_int_equal(b.seen->times[i], 0);
	end(&b);
}

/* trap 13: an item that moves behind the scan would be in no file at all: reclaim hands its victim over first. */
static void trap13_reclaim_hands_its_victim_to_the_scan(void **state)
{
	(void)state;
	struct bench b = begin(24 * MIB);
	struct shown shown = {0};
	char name[32];
	fill(b.store, b.t, 0, KEYS, 1);
	/* Half are used, so that they are copied forward, not dropped. */
	for (unsigned i = 0; i < 3 * KEYS; i += 2) {
		struct store_key k = key_of(b.store, i % KEYS, name);
		store_fetch(b.store, b.t, &k, &shown);
	}
	bool *was = calloc(KEYS, sizeof(*was));
	for (unsigned i = 0; i < KEYS; i++) {
		struct store_key k = key_of(b.store, i, name);
		was[i] = store_fetch(b.store, b.t, &k, &shown) == STORE_OK;
	}
	struct store_stats before, after;
	store_get_stats(b.store, &before);
	store_scan_begin(b.t, visit, b.seen);
	for (uint32_t i = 0; i < 60000; i++) {
		if (i % 3000 == 0)
			assert_int_equal(store_scan_step(b.t), 1);
		struct store_key k = {.data = (uint8_t *)name};
		k = store_key(
		    b.store, name, (uint8_t)snprintf(name, sizeof(name), "key-%06u", i % 10 + KEYS / 2));
		uint8_t value[700];
		value_make(value, sizeof(value), i % 10 + KEYS / 2, 1000 + i);
		struct store_outcome out;
		/* Sizes differ from one to the next, so that each takes new room. */
		struct store_put put = {.value = value, .value_len = VALUE_LEAST + 400 + i % 7 * 40};
		value_make(value, put.value_len, i % 10 + KEYS / 2, 1000 + i);
		assert_int_equal(store_put(b.t, &k, &put, put.value_len, &out), STORE_OK);
	}
	store_get_stats(b.store, &after);
	assert_true(after.reclaims + after.cleans > before.reclaims + before.cleans);
	scan_rest(&b);
	unsigned missing = 0;
	for (unsigned i = 0; i < KEYS; i++)
		missing += was[i] && b.seen->times[i] == 0 && (i < KEYS / 2 || i >= KEYS / 2 + 10);
	assert_int_equal(missing, 0);
	free(was);
	shown_free(&shown);
	end(&b);
}

/* The same with victims that the scan has not come to: all that is copied forward from them was visited before. */
static void trap13_a_victim_ahead_of_the_scan_is_read_first(void **state)
{
	(void)state;
	struct bench b = begin(24 * MIB);
	struct shown shown = {0};
	char name[32];
	fill(b.store, b.t, 0, KEYS, 1);
	for (unsigned i = 0; i < 3 * KEYS; i++) {
		struct store_key k = key_of(b.store, i % KEYS, name);
		store_fetch(b.store, b.t, &k, &shown);
	}
	store_scan_begin(b.t, visit, b.seen);
	for (unsigned i = 0; i < 20; i++)
		assert_true(reclaim_one(b.t));
	scan_rest(&b);
	unsigned live = 0, missing = 0;
	for (uint32_t i = 0; i < KEYS; i++) {
		struct store_key k = key_of(b.store, i, name);
		bool there = store_fetch(b.store, b.t, &k, &shown) == STORE_OK;
		live += there;
		missing += there && b.seen->times[i] == 0;
	}
	assert_true(live > KEYS / 10);
	assert_int_equal(missing, 0);
	shown_free(&shown);
	end(&b);
}

/* traps 5 and 13: a first TTL makes the item anew elsewhere, and the log holds no value of it: the scan must still
 * see the item. */
static void trap13_touched_items_are_visited(void **state)
{
	(void)state;
	struct bench b = begin(64 * MIB);
	struct store_outcome out;
	char name[32];
	fill(b.store, b.t, 0, KEYS, 1);
	store_scan_begin(b.t, visit, b.seen);
	for (uint32_t i = 0; i < KEYS; i += 2) {
		struct store_key k = key_of(b.store, i, name);
		assert_int_equal(store_touch(b.t, &k, NOW + 1000, SIZE_MAX, NULL, NULL, &out), STORE_OK);
	}
	scan_rest(&b);
	unsigned missing = 0;
	for (uint32_t i = 0; i < KEYS; i++) {
		missing += b.seen->times[i] == 0;
		assert_true(b.seen->times[i] == 0 || b.seen->version[i] == 1);
	}
	assert_int_equal(missing, 0);
	end(&b);
}

/* The value that a packed one unpacks to: bytes of this length. */
static bool unpack(void *arg, uint32_t dict, const uint8_t *packed, size_t len, uint8_t **ret_value)
{
	static uint8_t value[100] = {1};
	(void)arg;
	*ret_value = value;
	return dict == 7 && len == 40 && packed[0] == PACKED_LENGTH_1;
}

static bool visit_packed(void *arg, const struct store_scan_item *item)
{
	struct seen *seen = arg;
	seen->visits += item->dict == 7 && item->value_len == 40;
	return true;
}

/* trap 13: an item whose value is unpacked is made anew without a record. */
static void trap13_unpacked_items_are_visited(void **state)
{
	(void)state;
	struct bench b = begin(64 * MIB);
	static const uint8_t packed[40] = {PACKED_LENGTH_1, 100};
	const struct store_put put = {
	    .mode = STORE_SET, .value = packed, .value_len = sizeof(packed), .dict = 7};
	struct store_outcome out;
	char name[32];
	uint64_t seq[8];
	for (uint32_t i = 0; i < 8; i++) {
		struct store_key k = key_of(b.store, i, name);
		assert_int_equal(store_put(b.t, &k, &put, 40, &out), STORE_OK);
		seq[i] = out.seq;
	}
	store_scan_begin(b.t, visit_packed, b.seen);
	for (uint32_t i = 0; i < 8; i++) {
		struct store_key k = key_of(b.store, i, name);
		assert_int_equal(store_unpack(b.t, &k, unpack, NULL), STORE_OK);
		assert_int_equal(store_unpack(b.t, &k, unpack, NULL), STORE_OK); /* it is already */
		struct shown s = {0};
		assert_int_equal(store_fetch(b.store, b.t, &k, &s), STORE_OK);
		assert_true(s.dict == 0 && s.len == 100 && s.data[0] == 1 && s.seq == seq[i] && !s.fetched);
		shown_free(&s);
	}
	scan_rest(&b);
	assert_int_equal(b.seen->visits, 8);
	end(&b);
}

static void flushed_and_removed_items_do_not_come(void **state)
{
	(void)state;
	struct bench b = begin(64 * MIB);
	struct store_outcome out;
	fill(b.store, b.t, 0, KEYS, 1);
	store_scan_begin(b.t, visit, b.seen);
	assert_int_equal(store_scan_step(b.t), 1);
	unsigned until = b.seen->visits;
	assert_true(until > 0);
	store_flush(b.t, 0, &out);
	scan_rest(&b);
	assert_int_equal(b.seen->visits, until);
	end(&b);
}

static void a_visitor_gives_up(void **state)
{
	(void)state;
	struct bench b = begin(64 * MIB);
	fill(b.store, b.t, 0, KEYS, 1);
	b.seen->give_up_at = KEYS / 2;
	store_scan_begin(b.t, visit, b.seen);
	int more;
	while ((more = store_scan_step(b.t)) > 0)
		;
	assert_int_equal(more, -1);
	assert_int_equal(store_scan_step(b.t), -1);
	store_scan_end(b.t);
	assert_int_equal(b.seen->visits, KEYS / 2);
	/* Another one begins anew. */
	memset(b.seen, 0, sizeof(*b.seen));
	store_scan_begin(b.t, visit, b.seen);
	scan_rest(&b);
	assert_int_equal(b.seen->visits, KEYS);
	end(&b);
}

/* ---- with threads ---- */

#define WRITERS 3

struct shared {
	struct store *store;
	_Atomic bool stop;
	_Atomic uint8_t changed[KEYS]; /* set before anything is done to the key */
	_Atomic uint64_t changes;
	bool evicts;
};

struct writer {
	struct shared *shared;
	uint32_t random;
	pthread_t thread;
};

static void *write_on(void *arg)
{
	struct writer *me = arg;
	struct shared *sh = me->shared;
	struct store_thread *t = store_thread_open(sh->store, NULL);
	struct store_outcome out;
	char name[32];
	MUST(t);
	store_thread_set_now(t, NOW);
	while (!atomic_load(&sh->stop)) {
		uint32_t r = unit_random(&me->random), key = r % KEYS;
		struct store_key k = key_of(sh->store, key, name);
		atomic_fetch_add(&sh->changes, 1);
		if (key % 4 == 0) /* only touched: these must be visited all the same */
			store_touch(t, &k, r >> 31 ? NOW + 5000 : 0, SIZE_MAX, NULL, NULL, &out);
		if (key % 4 != 1)
			continue;
		atomic_store(&sh->changed[key], 1);
		if (r >> 30 == 0)
			store_delete(t, &k, 0, &out);
		else
			store_set(sh->store, t, key, r, VALUE_LEAST + (r >> 16 & 4095));
	}
	store_thread_close(&t);
	return NULL;
}

static void *maintain(void *arg)
{
	struct shared *sh = arg;
	struct store_thread *t = store_thread_open(sh->store, NULL);
	MUST(t);
	store_thread_set_now(t, NOW);
	while (!atomic_load(&sh->stop))
		if (!store_maintain(t))
			sched_yield();
	store_thread_close(&t);
	return NULL;
}

static void scan_with_writers(uint64_t memory)
{
	struct bench b = begin(memory);
	struct shared *sh = calloc(1, sizeof(*sh));
	struct writer writers[WRITERS];
	pthread_t evictor;
	struct store_stats st;
	sh->store = b.store;
	fill(b.store, b.t, 0, KEYS, 1);
	store_get_stats(b.store, &st);
	uint64_t evicted = st.evictions;
	for (unsigned i = 0; i < WRITERS; i++) {
		writers[i] = (struct writer){.shared = sh, .random = 5 + i};
		assert_int_equal(pthread_create(&writers[i].thread, NULL, write_on, &writers[i]), 0);
	}
	assert_int_equal(pthread_create(&evictor, NULL, maintain, sh), 0);
	unsigned missing = 0;
	for (int round = 0; round < 3; round++) {
		memset(b.seen, 0, sizeof(*b.seen));
		store_scan_begin(b.t, visit, b.seen);
		int more = 1;
		for (unsigned n = 0; more > 0; n++) {
			more = store_scan_step(b.t);
			uint64_t until = atomic_load(&sh->changes) + 50;
			while (n < 200 && atomic_load(&sh->changes) < until)
				sched_yield();
		}
		assert_int_equal(more, 0);
		store_scan_end(b.t);
		assert_int_equal(b.seen->wrong, 0);
		for (unsigned i = 0; i < KEYS; i++)
			missing += b.seen->times[i] == 0 && !atomic_load(&sh->changed[i]);
	}
	atomic_store(&sh->stop, true);
	for (unsigned i = 0; i < WRITERS; i++)
		pthread_join(writers[i].thread, NULL);
	pthread_join(evictor, NULL);
	store_get_stats(b.store, &st);
	/* Where nothing is evicted nothing is missing. */
	if (memory >= 64 * MIB)
		assert_int_equal(missing, 0);
	else
		assert_true(st.evictions > evicted);
	free(sh);
	end(&b);
}

static void writers_do_not_hide_what_they_leave_alone(void **state)
{
	(void)state;
	scan_with_writers(64 * MIB);
}

static void nothing_wrong_is_visited_while_memory_is_short(void **state)
{
	(void)state;
	scan_with_writers(10 * MIB);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(at_rest_each_item_comes_once),
    cmocka_unit_test(what_is_set_later_need_not_come_but_nothing_else_is_lost),
    cmocka_unit_test(trap13_reclaim_hands_its_victim_to_the_scan),
    cmocka_unit_test(trap13_a_victim_ahead_of_the_scan_is_read_first),
    cmocka_unit_test(trap13_touched_items_are_visited),
    cmocka_unit_test(trap13_unpacked_items_are_visited),
    cmocka_unit_test(flushed_and_removed_items_do_not_come),
    cmocka_unit_test(a_visitor_gives_up),
    cmocka_unit_test(writers_do_not_hide_what_they_leave_alone),
    cmocka_unit_test(nothing_wrong_is_visited_while_memory_is_short),
};
UNIT_MAIN(tests)
