/* SPDX-License-Identifier: BSD-3-Clause */
/* store_threads: four threads over the same keys, one that evicts, one that flushes now and then. Every value that
 * is shown is one that somebody stored under that key, whole. Meant for the sanitizers too: run time is bounded. */
#include "support.h"

#include <stdatomic.h>

#define THREADS 4
#define KEYS    4000u
#define NOW     1700000000
#define ROUNDS  40000u

struct shared {
	struct store *store;
	_Atomic bool stop;
	_Atomic uint32_t version;
	_Atomic int64_t now;
	_Atomic uint64_t hits, wakes;
	time_t end;
};

struct thread {
	struct shared *shared;
	uint32_t random;
	pthread_t thread;
};

static time_t seconds(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

static size_t size_of(uint32_t r)
{
	switch (r >> 20 & 15) {
	case 0:
		return STORE_COPY_MAX - 2 + (r & 3);
	case 1:
		return 8 * KIB + (r & 255);
	case 2:
		return r & 512 ? 300 * KIB : 60;
	default:
		return VALUE_LEAST + (r & 1023);
	}
}

static void verify_get(struct shared *sh, struct store_thread *t, uint32_t key, struct shown *shown)
{
	char name[32];
	struct store_key k = key_of(sh->store, key, name);
	uint32_t version;
	if (store_fetch(sh->store, t, &k, shown) != STORE_OK)
		return;
	atomic_fetch_add_explicit(&sh->hits, 1, memory_order_relaxed);
	MUST(value_verify(shown->data, shown->len, key, &version));
	MUST(version <= atomic_load(&sh->version));
}

/* The pin is kept while others overwrite and evict; the bytes must not change under it. */
static bool emit_pinned(void *arg, const struct store_view *view)
{
	*(struct store_view *)arg = *view;
	return view->value_len <= STORE_COPY_MAX || store_pinned(&view->pin);
}

static void verify_pinned(struct shared *sh, struct store_thread *t, uint32_t key)
{
	char name[32];
	struct store_key k = key_of(sh->store, key, name);
	struct store_view view = {.pin = {NULL, STORE_PIN_NONE}};
	struct store_outcome out;
	uint32_t version;
	if (store_get(t, &k, emit_pinned, &view, &out) != STORE_OK || view.value_len <= STORE_COPY_MAX)
		return;
	for (int i = 0; i < 3; i++) {
		MUST(value_verify(view.value, view.value_len, key, &version));
		sched_yield();
	}
	store_unpin(sh->store, &view.pin);
}

static void one_change(struct shared *sh, struct store_thread *t, uint32_t key, uint32_t r)
{
	struct store *s = sh->store;
	char name[32];
	struct store_outcome out;
	struct store_key k = key_of(s, key, name);
	uint32_t version = atomic_fetch_add(&sh->version, 1) + 1;
	switch (r >> 26 & 15) {
	case 0:
		store_delete(t, &k, 0, &out);
		break;
	case 1:
		store_touch(t, &k, r & 1 ? 0 : atomic_load(&sh->now) + (r & 63), SIZE_MAX, NULL, NULL, &out);
		break;
	case 2: /* overwrites by CAS what is shown now */
	{
		struct shown shown = {0};
		uint8_t *value = malloc(500);
		if (store_fetch(s, t, &k, &shown) == STORE_OK) {
			value_make(value, 500, key, version);
			store_write(s, t, &k,
			    (struct store_put){
			        .mode = STORE_CAS, .compare = shown.cas, .value = value, .value_len = 500},
			    &out);
		}
		shown_free(&shown);
		free(value);
		break;
	}
	case 3: /* appending nothing keeps it what it is, by the way of a rewrite */
		store_write(s, t, &k, (struct store_put){.mode = STORE_APPEND, .value = (uint8_t *)""}, &out);
		break;
	default:
		store_set(s, t, key, version, size_of(r));
	}
}

static void *work(void *arg)
{
	struct thread *me = arg;
	struct shared *sh = me->shared;
	struct store_thread *t = store_thread_open(sh->store, me);
	struct shown shown = {0};
	MUST(t);
	for (unsigned i = 0; i < ROUNDS && (i % 64 || seconds() < sh->end); i++) {
		uint32_t r = unit_random(&me->random), key = r % KEYS;
		store_thread_set_now(t, atomic_load(&sh->now));
		if (r >> 30 == 0)
			verify_pinned(sh, t, key);
		else if (r >> 31)
			verify_get(sh, t, key, &shown);
		else
			one_change(sh, t, key, unit_random(&me->random));
	}
	shown_free(&shown);
	store_thread_close(&t);
	return NULL;
}

static void *evict(void *arg)
{
	struct shared *sh = arg;
	struct store_thread *t = store_thread_open(sh->store, NULL);
	MUST(t);
	for (unsigned i = 0; !atomic_load(&sh->stop); i++) {
		struct store_stats st;
		store_thread_set_now(t, atomic_fetch_add(&sh->now, i % 50 == 0) + (i % 50 == 0));
		if (!store_maintain(t))
			sched_yield();
		if (i % 100 == 0)
			store_get_stats(sh->store, &st);
	}
	store_thread_close(&t);
	return NULL;
}

static void wake(void *arg)
{
	atomic_fetch_add(&((struct shared *)arg)->wakes, 1);
}

static void run(enum store_policy policy, bool flushes)
{
	const struct store_options o = {
	    .memory = 8 * MIB, .item_max = 1 * MIB, .threads = THREADS, .policy = policy};
	struct shared sh = {.store = store_open(&o), .now = NOW, .end = seconds() + 3};
	struct thread threads[THREADS];
	pthread_t evictor;
	store_set_wake(sh.store, wake, &sh);
	assert_int_equal(pthread_create(&evictor, NULL, evict, &sh), 0);
	for (unsigned i = 0; i < THREADS; i++) {
		threads[i] = (struct thread){.shared = &sh, .random = 77 + i};
		assert_int_equal(pthread_create(&threads[i].thread, NULL, work, &threads[i]), 0);
	}
	struct store_thread *t = store_thread_open(sh.store, NULL);
	for (unsigned i = 0; flushes && i < 20; i++) {
		struct store_outcome out;
		nanosleep(&(struct timespec){0, 20000000}, NULL);
		store_flush(t, 0, &out);
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i].thread, NULL);
	atomic_store(&sh.stop, true);
	pthread_join(evictor, NULL);
	assert_true(sh.hits > 0);
	/* At rest: what is counted is what is there. */
	struct store_stats st;
	struct shown shown = {0};
	uint64_t items = 0;
	store_thread_set_now(t, NOW);
	for (uint32_t i = 0; i < KEYS; i++) {
		char name[32];
		struct store_key k = key_of(sh.store, i, name);
		items += store_fetch(sh.store, t, &k, &shown) == STORE_OK;
	}
	store_get_stats(sh.store, &st);
	assert_int_equal(st.items, items);
	assert_true(flushes || st.evictions > 0);
	struct store_outcome out;
	store_flush(t, 0, &out);
	for (uint32_t i = 0; i < KEYS; i++) {
		char name[32];
		struct store_key k = key_of(sh.store, i, name);
		assert_int_equal(store_fetch(sh.store, t, &k, &shown), STORE_NOT_FOUND);
	}
	store_get_stats(sh.store, &st);
	assert_int_equal(st.bytes, 0);
	shown_free(&shown);
	store_thread_close(&t);
	store_close(&sh.store);
}

static void threads_see_whole_values(void **state)
{
	(void)state;
	run(STORE_S3FIFO, false);
}

static void threads_see_whole_values_with_lru(void **state)
{
	(void)state;
	run(STORE_LRU, false);
}

/* Regions and large values go in other orders than those that a scan takes. */
static void threads_see_whole_values_with_the_other_policies(void **state)
{
	(void)state;
	for (enum store_policy policy = STORE_LFU; policy < STORE_POLICIES; policy++)
		run(policy, false);
}

static void threads_see_whole_values_between_flushes(void **state)
{
	(void)state;
	run(STORE_S3FIFO, true);
}

/* Each increment counts once, and each add wins once. */

struct counting {
	struct store *store;
	_Atomic unsigned added;
};

static void *count(void *arg)
{
	struct counting *c = arg;
	struct store_thread *t = store_thread_open(c->store, NULL);
	struct store_outcome out;
	struct store_key n = store_key(c->store, "n", 1);
	char name[32];
	for (uint32_t i = 0; i < 5000; i++) {
		MUST(store_arith(t, &n, &(struct store_arith){.delta = 1}, &out) == STORE_OK);
		struct store_key k = key_of(c->store, i, name);
		struct store_put put = {.mode = STORE_ADD, .value = (uint8_t *)"x", .value_len = 1};
		atomic_fetch_add(&c->added, store_put(t, &k, &put, 1, &out) == STORE_OK);
	}
	store_thread_close(&t);
	return NULL;
}

static void each_increment_counts_once(void **state)
{
	(void)state;
	struct counting c = {.store = store_make(16 * MIB, THREADS, false)};
	struct store_thread *t = store_thread_open(c.store, NULL);
	struct store_key n = store_key(c.store, "n", 1);
	struct store_outcome out;
	pthread_t threads[THREADS];
	assert_int_equal(
	    store_write(c.store, t, &n, (struct store_put){.value = (uint8_t *)"0", .value_len = 1}, &out),
	    STORE_OK);
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, count, &c), 0);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(store_arith(t, &n, &(struct store_arith){0}, &out), STORE_OK);
	assert_int_equal(out.number, 5000 * THREADS);
	assert_int_equal(c.added, 5000);
	store_thread_close(&t);
	store_close(&c.store);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(threads_see_whole_values),
    cmocka_unit_test(threads_see_whole_values_with_lru),
    cmocka_unit_test(threads_see_whole_values_with_the_other_policies),
    cmocka_unit_test(threads_see_whole_values_between_flushes),
    cmocka_unit_test(each_increment_counts_once),
};
UNIT_MAIN(tests)
