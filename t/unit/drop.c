/* SPDX-License-Identifier: BSD-3-Clause */
/* drop: deleting all keys with a prefix: what is changed meanwhile goes, what is stored meanwhile stays, and what becomes of
 * it when the disk fails, the snapshot fails or the engine stops on the way. */
#include <signal.h>
#include "gate.h"
#include "persist/wal_private.h"

#define KEYS 6000u

/* ---- how a drop ends ---- */

struct end {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	struct engine_dropped state;
	unsigned told;
};

static void on_told(void *arg, const struct engine_dropped *state)
{
	struct end *end = arg;
	pthread_mutex_lock(&end->lock);
	end->state = *state;
	end->told++;
	pthread_cond_signal(&end->cond);
	pthread_mutex_unlock(&end->lock);
}

static enum hearth_status begin(struct place *p, struct end *end, const char *prefix, bool dry, bool purge)
{
	*end = (struct end){.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
	const struct engine_drop_order order = {
	    .prefix = prefix, .len = strlen(prefix), .dry = dry, .purge = purge};
	return engine_drop(p->e, &order, on_told, end);
}

static struct engine_dropped await(struct end *end)
{
	pthread_mutex_lock(&end->lock);
	while (!end->state.ended)
		pthread_cond_wait(&end->cond, &end->lock);
	pthread_mutex_unlock(&end->lock);
	return end->state;
}

static struct engine_dropped drop(struct place *p, const char *prefix, bool dry, bool purge)
{
	struct end end;
	assert_int_equal(begin(p, &end, prefix, dry, purge), HEARTH_OK);
	return await(&end);
}

static void fill_keys(struct place *p, uint32_t n)
{
	engine_turn(p->w);
	for (uint32_t i = 0; i < n; i++) {
		while (put_len(p->w, STORE_SET, i, 10, 0) == STORE_WAIT) {
			engine_turn_end(p->w);
			engine_turn(p->w);
		}
	}
	uint64_t need = engine_need(p->w);
	engine_turn_end(p->w);
	engine_await(p->e, need);
}

static uint32_t count_keys(struct place *p, uint32_t n)
{
	uint32_t found = 0;
	for (uint32_t i = 0; i < n; i++)
		found += there(p, i);
	return found;
}

static void all_with_the_prefix_go_and_no_other(void **state)
{
	(void)state;
	struct place p = place_make();
	fill_keys(&p, 200);
	struct engine_dropped d = drop(&p, "key-0001", true, false);
	assert_int_equal(d.status, HEARTH_OK);
	assert_int_equal(d.items, 100);
	assert_int_equal(d.bytes, 100 * (10 + 10));
	assert_int_equal(count_keys(&p, 200), 200);
	d = drop(&p, "key-0001", false, false);
	assert_int_equal(d.status, HEARTH_OK);
	assert_int_equal(d.items, 100);
	assert_int_equal(d.bytes, 100 * (10 + 10));
	assert_int_equal(d.permille, 1000);
	assert_int_equal(d.snapshot, 0);
	assert_int_equal(wal_durable(p.e->wal), ring_last(wal_ring(p.e->wal)));
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(count_keys(&p, 100), 100);
		assert_int_equal(count_keys(&p, 200), 100);
		place_again(&p);
	}
	place_end(&p);
}

/* ---- what is done to a key while it is to go ---- */

/* A turn that is about one key; name must last as long as the key. */
static struct store_key turn(struct engine_worker *w, uint32_t key, char name[32])
{
	engine_turn(w);
	return key_at(w, key, name);
}

static enum store_result turned(struct place *p, enum store_result r)
{
	uint64_t need = engine_need(p->w);
	engine_turn_end(p->w);
	engine_await(p->e, need);
	return r;
}

static enum store_result arith(struct place *p, uint32_t key, bool vivify)
{
	char name[32];
	struct store_number number;
	const struct store_key k = turn(p->w, key, name);
	const struct store_arith a = {.delta = 1, .vivify = vivify, .initial = 7};
	enum store_result r = turned(p, engine_arith(p->w, &k, &a, &number));
	assert_true(r != STORE_OK || (number.created && number.value == 7));
	return r;
}

static enum store_result mark(struct place *p, uint32_t key)
{
	char name[32];
	const struct store_key k = turn(p->w, key, name);
	const struct store_mark stale = {.stale = true};
	return turned(p, engine_mark(p->w, &k, &stale, NULL, NULL));
}

static enum store_result append(struct place *p, uint32_t key, bool vivify)
{
	char name[32];
	const struct store_key k = turn(p->w, key, name);
	const struct store_put put = {
	    .mode = STORE_APPEND, .value = (const uint8_t *)"1", .value_len = 1, .vivify = vivify};
	return turned(p, engine_put(p->w, &k, &put, NULL));
}

static enum store_result touch(struct place *p, uint32_t key, int64_t expiry)
{
	char name[32];
	const struct store_key k = turn(p->w, key, name);
	return turned(p, engine_touch(p->w, &k, engine_expiry(p->w, expiry), NULL, NULL));
}

/* As the drop's thread does, but for the list, which comes later. */
static void open_drop(struct place *p, struct store_drop *ret_what)
{
	struct engine_worker *w = engine_dropper(p->e);
	*ret_what = (struct store_drop){.prefix = "key-", .len = 4};
	engine_turn(w);
	assert_int_equal(engine_drop_room(w), STORE_OK);
	store_drop_begin(w->thread, ret_what);
	engine_turn_end(w);
}

static bool name_it(void *arg, const struct store_key_view *item)
{
	char *names = arg;
	size_t at = strlen(names);
	snprintf(names + at, 400 - at, "%.*s ", item->key_len, (const char *)item->key);
	return at < 300;
}

static void what_would_be_changed_is_deleted_instead(void **state)
{
	(void)state;
	struct engine_options options = engine_defaults();
	options.keep_ttl = 60;
	struct gate g;
	struct place p = place_behind(&g, &options);
	for (uint32_t key = 1; key <= 9; key++)
		set(&p, key, key == 6 ? engine_now(p.w) + 30 : 0);
	struct store_drop what;
	open_drop(&p, &what);
	assert_int_equal(arith(&p, 1, false), STORE_NOT_FOUND);
	assert_int_equal(arith(&p, 2, true), STORE_OK);
	assert_int_equal(mark(&p, 3), STORE_NOT_FOUND);
	assert_int_equal(append(&p, 4, false), STORE_NOT_STORED);
	assert_int_equal(append(&p, 5, true), STORE_OK);
	/* Not on disk, and now to be: with its value, under a number of its own. */
	assert_int_equal(touch(&p, 6, 3600), STORE_NOT_FOUND);
	/* These leave it what it is, or make it another. */
	assert_int_equal(touch(&p, 7, 3600), STORE_OK);
	set(&p, 8, 0);
	assert_int_equal(what.items, 6);
	char names[400] = "";
	uint32_t part = 0;
	bool more = true, again = false;
	while (more) {
		more = store_drop_list(engine_dropper(p.e)->thread, &part, name_it, names, &again);
		assert_false(again);
	}
	assert_true(strstr(names, "key-000007") && strstr(names, "key-000009"));
	assert_int_equal(strlen(names), 2 * 11);
	store_drop_end(engine_dropper(p.e)->thread);
	assert_int_equal(drop(&p, "key-000007", false, false).items, 1);
	assert_int_equal(drop(&p, "key-000009", false, false).items, 1);
	for (unsigned i = 0; i < 2; i++) {
		for (uint32_t key = 1; key <= 9; key++)
			assert_int_equal(there(&p, key), key == 2 || key == 5 || key == 8);
		place_again(&p);
	}
	place_end(&p);
}

static void what_is_not_there_any_more_gets_a_tombstone(void **state)
{
	(void)state;
	struct place p = place_make();
	set(&p, 1, 0);
	set(&p, 2, 0);
	struct store_drop what;
	open_drop(&p, &what);
	set(&p, 2, 0);
	struct engine_worker *w = engine_dropper(p.e);
	static const enum store_result expected[] = {STORE_OK, STORE_EXISTS, STORE_NOT_FOUND};
	for (uint32_t key = 1; key <= 3; key++) {
		char name[32];
		const struct store_key k = turn(w, key, name);
		uint64_t before = ring_last(wal_ring(p.e->wal));
		assert_int_equal(engine_drop_key(w, &k), expected[key - 1]);
		/* Evicted since it was listed, the disk may have it. */
		assert_int_equal(ring_last(wal_ring(p.e->wal)) - before, key != 2);
		engine_turn_end(w);
	}
	store_drop_end(w->thread);
	place_end(&p);
}

/* ---- many at once ---- */

struct changer {
	struct store *store;
	struct store_thread *t;
	_Atomic bool *stop;
	uint32_t seed;
};

static void *change_main(void *arg)
{
	struct changer *c = arg;
	while (!atomic_load(c->stop)) {
		char name[32];
		struct store_outcome out;
		c->seed = c->seed * 1664525 + 1013904223;
		struct store_key k = key_of(c->store, (c->seed >> 8) % KEYS, name);
		const struct store_put put = {
		    .mode = STORE_APPEND, .value = (const uint8_t *)"1", .value_len = 1};
		const struct store_arith add = {.delta = 1};
		const struct store_mark stale = {.stale = true};
		switch (c->seed >> 30) {
		case 0:
			store_put(c->t, &k, &put, 4096, &out);
			break;
		case 1:
			store_arith(c->t, &k, &add, &out);
			break;
		case 2:
			store_mark(c->t, &k, &stale, 4096, NULL, NULL, &out);
			break;
		default:
			store_touch(c->t, &k, 2000000000, 4096, NULL, NULL, &out);
		}
	}
	return NULL;
}

struct listed {
	char (*names)[32];
	uint8_t *lens;
	unsigned n;
};

static bool list(void *arg, const struct store_key_view *item)
{
	struct listed *l = arg;
	memcpy(l->names[l->n], item->key, item->key_len);
	l->lens[l->n++] = item->key_len;
	return true;
}

/* Nobody sets anything, so nothing may be left: neither by a change that a list came too late for. */
static void nothing_old_outlives_it(void **state)
{
	(void)state;
	static char names[KEYS][32];
	static uint8_t lens[KEYS];
	for (unsigned round = 0; round < 10; round++) {
		struct store *s = store_make(64 * MIB, 3, false);
		struct store_thread *t = store_thread_open(s, NULL);
		struct changer c[2];
		pthread_t id[2];
		_Atomic bool stop = false;
		store_thread_set_now(t, 1700000000);
		for (uint32_t key = 0; key < KEYS; key++) {
			char name[32];
			struct store_outcome out;
			struct store_key k = key_of(s, key, name);
			const struct store_put put = {.value = (const uint8_t *)"12345", .value_len = 5};
			assert_int_equal(store_put(t, &k, &put, 5, &out), STORE_OK);
		}
		for (unsigned i = 0; i < 2; i++) {
			c[i] = (struct changer){s, store_thread_open(s, NULL), &stop, round * 2 + i};
			store_thread_set_now(c[i].t, 1700000000);
			MUST(pthread_create(&id[i], NULL, change_main, &c[i]) == 0);
		}
		struct store_drop what = {.prefix = "key-", .len = 4};
		struct store_outcome out;
		uint32_t part = 0;
		bool more = true, again;
		store_drop_begin(t, &what);
		while (more) {
			struct listed l = {names, lens, 0};
			more = store_drop_list(t, &part, list, &l, &again);
			for (unsigned i = 0; i < l.n; i++) {
				struct store_key k = store_key(s, names[i], lens[i]);
				store_drop_key(t, &k, &out);
			}
		}
		store_drop_end(t);
		atomic_store(&stop, true);
		for (unsigned i = 0; i < 2; i++) {
			pthread_join(id[i], NULL);
			store_thread_close(&c[i].t);
		}
		struct store_stats st;
		store_get_stats(s, &st);
		assert_int_equal(st.items, 0);
		assert_int_equal(what.items, KEYS);
		store_thread_close(&t);
		store_close(&s);
	}
}

/* ---- what can go wrong ---- */

static struct place place_to_fail(struct gate *g)
{
	const struct engine_options options = engine_defaults();
	return place_behind(g, &options);
}

static void sleep_ms(long ms)
{
	struct timespec t = {ms / 1000, ms % 1000 * 1000000};
	nanosleep(&t, NULL);
}

/* All keys are there and going, and the log is held, for which their drop waits. */
static struct place place_that_waits(struct gate *g, struct end *end)
{
	struct place p = place_to_fail(g);
	fill_keys(&p, KEYS);
	gate_set(g, true);
	assert_int_equal(begin(&p, end, "key-", false, false), HEARTH_OK);
	return p;
}

static void it_waits_for_the_log_and_is_given_up_when_that_fails(void **state)
{
	(void)state;
	struct gate g;
	struct end end;
	struct place p = place_that_waits(&g, &end);
	assert_int_equal(begin(&p, &(struct end){0}, "key-", false, false), HEARTH_BUSY);
	/* It does not run ahead of the log, whose ring is for requests. */
	sleep_ms(300);
	assert_in_range(ring_last(wal_ring(p.e->wal)) - wal_written(p.e->wal), 1, KEYS - 1);
	g.fail_writes = g.fail_creates = -1;
	gate_set(&g, false);
	struct engine_dropped d = await(&end);
	assert_int_equal(d.status, HEARTH_IO);
	assert_non_null(strstr(d.note, "the disk fails"));
	assert_true(d.items > 0 && d.items < KEYS);
	/* From then on it is refused, but counting is not. */
	assert_int_equal(begin(&p, &end, "key-", false, false), HEARTH_IO);
	assert_int_equal(drop(&p, "key-", true, false).items, KEYS - d.items);
	g.fail_writes = g.fail_creates = 0;
	place_end(&p);
}

static void without_its_snapshot_it_is_no_success(void **state)
{
	(void)state;
	struct gate g;
	struct place p = place_to_fail(&g);
	set(&p, 1, 0);
	/* As if something had been evicted. */
	p.e->evicted_published = UINT64_MAX;
	g.fail_snapshots = true;
	struct engine_dropped d = drop(&p, "key-", false, false);
	assert_int_equal(d.status, HEARTH_IO);
	assert_int_equal(d.items, 1);
	assert_non_null(strstr(d.note, "may come back"));
	g.fail_snapshots = false;
	d = drop(&p, "key-", false, false);
	assert_int_equal(d.status, HEARTH_OK);
	assert_true(d.snapshot > 0 && d.writing);
	/* And now there is one. */
	assert_int_equal(drop(&p, "key-", false, false).snapshot, 0);
	place_end(&p);
}

static void stopping_ends_it(void **state)
{
	(void)state;
	struct gate g;
	struct end end;
	struct place p = place_that_waits(&g, &end);
	while (!g.waits)
		sleep_ms(1);
	background_stop(p.e);
	assert_int_equal(end.state.status, HEARTH_BUSY);
	assert_true(end.state.ended && end.state.items < KEYS);
	gate_set(&g, false);
	place_end(&p);
}

static void pins_are_in_the_way_of_a_purge(void **state)
{
	(void)state;
	struct place p = place_make();
	set(&p, 1, 0);
	p.e->evicted_published = UINT64_MAX;
	uint64_t number = drop(&p, "none", false, false).snapshot;
	assert_int_equal(number, 1);
	struct manifest *m = &p.e->files.manifest;
	m->snapshots[0].pinned = true;
	struct engine_dropped d = drop(&p, "key-", false, true);
	assert_int_equal(d.status, HEARTH_TOO_LARGE);
	assert_non_null(strstr(d.note, "nothing is dropped: snapshot 1 is pinned"));
	assert_true(there(&p, 1));
	m->snapshots[0].pinned = false;
	d = drop(&p, "key-", false, true);
	assert_int_equal(d.status, HEARTH_OK);
	assert_int_equal(d.snapshot, 2);
	assert_int_equal(m->n_snapshots, 1);
	assert_int_equal(m->snapshots[0].number, 2);
	assert_true(m->segments[0].first > 3);
	assert_false(unit_exists(p.s.fd, "snapshot-0000000001"));
	assert_false(unit_exists(p.s.fd, "log-0000000001"));
	place_again(&p);
	assert_false(there(&p, 1));
	place_end(&p);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(all_with_the_prefix_go_and_no_other),
    cmocka_unit_test(what_would_be_changed_is_deleted_instead),
    cmocka_unit_test(what_is_not_there_any_more_gets_a_tombstone),
    cmocka_unit_test(nothing_old_outlives_it),
    cmocka_unit_test(it_waits_for_the_log_and_is_given_up_when_that_fails),
    cmocka_unit_test(without_its_snapshot_it_is_no_success),
    cmocka_unit_test(stopping_ends_it),
    cmocka_unit_test(pins_are_in_the_way_of_a_purge),
};

UNIT_MAIN(tests)
