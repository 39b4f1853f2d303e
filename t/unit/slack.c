/* SPDX-License-Identifier: BSD-3-Clause */
/* slack: how much of -m is neither items nor what src/README.md says an item takes beside key and value, while sizes change
 * for a long time by overwriting, deleting and expiring, and when one size fills it afterwards. One thread plays all workers
 * and the evictor; time and random numbers are the test's own, so it ends the same each time. HEARTH_SLACK shows every stage. */
#include "no_random.h"
#include "support.h"
#include <math.h>
#include "store/private.h"

#define NOW      1700000000
#define SMALLEST 30
#define LARGEST  20000
#define PERCENT  10.0
#define FRESH    (1u << 30)
/* Header, rounding and index; a ghost for nine of ten; an expiry. */
#define OVERHEAD 28.6
#define GHOST    3.6
#define EXPIRY   8

struct world {
	struct store *s;
	struct store_thread *t[4];
	unsigned threads;
	uint64_t memory, ops, written;
	uint32_t random, fresh; /* fresh: a key that nobody has used */
	int64_t now;
	bool woken;
	uint8_t value[LARGEST];
};

static void wake(void *arg)
{
	((struct world *)arg)->woken = true;
}

static void world_begin(struct world *w, uint64_t memory, unsigned threads, enum store_policy policy)
{
	const struct store_options o = {
	    .memory = memory, .item_max = MIB, .threads = threads, .policy = policy};
	*w = (struct world){.s = store_open(&o),
	    .threads = threads,
	    .memory = memory,
	    .random = 11,
	    .fresh = FRESH,
	    .now = NOW};
	MUST(w->s);
	store_set_wake(w->s, wake, w);
	for (unsigned i = 0; i < threads; i++)
		MUST((w->t[i] = store_thread_open(w->s, NULL)) != NULL);
}

static void world_end(struct world *w)
{
	for (unsigned i = 0; i < w->threads; i++)
		store_thread_close(&w->t[i]);
	store_close(&w->s);
}

/* The worker whose turn it is. 512 changes are a second, in which the evictor comes by some times, as it does unasked. */
static struct store_thread *turn(struct world *w)
{
	struct store_thread *t = w->t[w->ops++ % w->threads];
	if (w->ops % 512 == 0)
		w->now++;
	store_thread_set_now(t, w->now);
	for (w->woken |= w->ops % 64 == 0; w->woken;)
		w->woken = store_maintain(t);
	return t;
}

static void set(struct world *w, uint32_t key, size_t len, int64_t expiry)
{
	char name[32];
	struct store_key k = key_of(w->s, key, name);
	struct store_outcome out;
	const struct store_put put = {
	    .mode = STORE_SET, .value = w->value, .value_len = len, .expiry = expiry};
	assert_int_equal(store_write(w->s, turn(w), &k, put, &out), STORE_OK);
	w->written += len + k.len;
}

static void delete (struct world *w, uint32_t key)
{
	char name[32];
	struct store_key k = key_of(w->s, key, name);
	struct store_outcome out;
	store_delete(turn(w), &k, 0, &out);
}

struct sum {
	uint64_t items, bytes, expiring;
};

static bool count(void *arg, const struct store_key_view *item)
{
	struct sum *sum = arg;
	sum->items++;
	sum->bytes += item->key_len + item->view->value_len;
	sum->expiring += item->view->expiry != 0;
	return true;
}

static void look(struct world *w, const char *what, size_t len, unsigned round)
{
	struct sum sum = {0};
	uint32_t shard = 0;
	bool again;
	while (store_walk(w->t[0], &shard, count, &sum, &again))
		;
	double each = OVERHEAD + (w->s->policy->small_queue ? GHOST : 0), memory = (double)w->memory;
	double used = (double)sum.bytes + (double)sum.items * each + (double)sum.expiring * EXPIRY;
	double slack = 100 * (memory - used) / memory;
	struct store_stats st;
	store_get_stats(w->s, &st);
	if (getenv("HEARTH_SLACK"))
		fprintf(stderr, "%s %zu, %u: %llu items, slack %.1f %%; index %.1f, ghosts %.1f\n", what, len,
		    round, (unsigned long long)sum.items, slack, 100 * (double)st.index_bytes / memory,
		    100 * (double)st.ghost_bytes / memory);
	if (slack >= PERCENT)
		fail_msg("%s %zu, round %u: %.1f %% of memory is lost", what, len, round, slack);
	assert_in_range(st.memory_used, 0, w->memory);
}

static size_t log_uniform(struct world *w)
{
	return (size_t)(SMALLEST * pow((double)LARGEST / SMALLEST, unit_random(&w->random) / 4294967296.0));
}

/* As many times as much as there is memory is written, of one size. */
static void fill(struct world *w, size_t len, unsigned times)
{
	for (unsigned i = 0; i < times; i++) {
		for (uint64_t until = w->written + w->memory; w->written < until;)
			set(w, w->fresh++, len, 0);
		look(w, "fill", len, i);
	}
}

/* The same in sizes that change. One change in four deletes; of the others, which overwrite what may be there, one in three
 * is to expire soon. */
static void churn(struct world *w, unsigned times)
{
	uint32_t keys = (uint32_t)(w->memory / KIB);
	for (unsigned i = 0; i < times; i++) {
		for (uint64_t until = w->written + w->memory; w->written < until;) {
			uint32_t key = unit_random(&w->random) % keys,
			         kind = unit_random(&w->random) >> 8 & 3;
			int64_t soon = w->now + 1 + (unit_random(&w->random) >> 8) % 120;
			if (kind == 3)
				delete (w, key);
			else
				set(w, key, log_uniform(w), kind == 2 ? soon : 0);
		}
		look(w, "churn", 0, i);
	}
}

static void life(uint64_t memory, unsigned threads, enum store_policy policy)
{
	static struct world w;
	unsigned times = getenv("HEARTH_LONG") ? 5 : 1;
	world_begin(&w, memory, threads, policy);
	fill(&w, SMALLEST, 2);
	churn(&w, 4 * times);
	fill(&w, 100, 2);
	churn(&w, times);
	fill(&w, LARGEST, 2 * times);
	churn(&w, times);
	fill(&w, 1000, 2);
	fill(&w, SMALLEST, times);
	fill(&w, LARGEST, 2);
	world_end(&w);
}

static void slack_stays_small(void **state)
{
	(void)state;
	life(16 * MIB, 4, STORE_S3FIFO);
	life(64 * MIB, 4, STORE_S3FIFO);
}

static void slack_stays_small_as_lru(void **state)
{
	(void)state;
	life(16 * MIB, 1, STORE_LRU);
}

static bool nothing(void *arg, const struct store_view *view)
{
	struct store_pin pin = view->pin;
	if (store_pinned(&pin))
		store_unpin(arg, &pin);
	return true;
}

/* A shard that grows, shrinks and grows again loses no item, and its memory is given back. */
static void index_follows_the_items(void **state)
{
	(void)state;
	static struct world w;
	static const size_t sizes[] = {30, 10000, 30, 3000};
	uint64_t bytes[4];
	world_begin(&w, 16 * MIB, 2, STORE_LRU);
	for (unsigned i = 0; i < 4; i++) {
		uint32_t found = 0;
		for (uint64_t until = w.written + 2 * w.memory; w.written < until;)
			set(&w, w.fresh++, sizes[i], 0);
		for (uint32_t key = FRESH; key < w.fresh; key++) {
			char name[32];
			struct store_key k = key_of(w.s, key, name);
			struct store_outcome out;
			found += store_get(w.t[0], &k, nothing, w.s, &out) == STORE_OK;
		}
		struct store_stats st;
		store_get_stats(w.s, &st);
		assert_int_equal(found, st.items);
		bytes[i] = st.index_bytes;
		assert_int_equal(w.s->index.kept, 0);
	}
	assert_true(bytes[1] * 20 < bytes[0]);
	assert_in_range(bytes[2], bytes[0] * 9 / 10, bytes[0] * 11 / 10);
	assert_true(bytes[3] * 20 < bytes[2]);
	world_end(&w);
}

/* Fewer lines remember fewer keys: the newest, each where it is looked for. */
static void ghosts_forget_the_oldest(void **state)
{
	(void)state;
	struct index ix;
	struct ghost g;
	enum { KEYS = 4000 };
	uint64_t hash[KEYS];
	assert_int_equal(index_init(&ix, 64 * MIB, 64 * MIB), 0);
	assert_int_equal(ghost_init(&g, &ix), 0);
	struct index_shard *sh = &ix.shard[3];
	sh->buckets = 800;
	for (uint32_t i = 0; i < KEYS; i++) {
		unit_fill(&hash[i], sizeof(hash[i]), i + 1);
		ghost_add(&g, &ix, 3, hash[i]);
	}
	uint32_t before = sh->ghosts;
	for (uint32_t buckets = 700; buckets >= 100; buckets -= 100) {
		sh->buckets = buckets;
		ghost_shrink(&g, &ix, 3);
	}
	assert_in_range(sh->ghosts, before / 8, before / 8 + 1);
	assert_int_equal(g.kept, (uint64_t)(before - sh->ghosts) * 64);
	ghost_release(&g, &ix);
	assert_int_equal(g.bytes, (uint64_t)sh->ghosts * 64);
	uint32_t old = 0, young = 0;
	for (uint32_t i = 0; i < KEYS; i++)
		*(i < KEYS / 2 ? &old : &young) += ghost_take(&g, &ix, 3, hash[i]);
	/* Room is for one in eight of them; lines fill unevenly, so the very oldest may outlive a few. */
	assert_in_range(old, 0, young / 20);
	assert_in_range(young, sh->ghosts * GHOST_PRINTS * 9 / 10, sh->ghosts * GHOST_PRINTS);
	ghost_fini(&g);
	index_fini(&ix);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(index_follows_the_items),
    cmocka_unit_test(ghosts_forget_the_oldest),
    cmocka_unit_test(slack_stays_small),
    cmocka_unit_test(slack_stays_small_as_lru),
};
UNIT_MAIN(tests)
