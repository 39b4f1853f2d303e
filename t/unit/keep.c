/* SPDX-License-Identifier: BSD-3-Clause */
/* keep: items that are not kept on disk. Whatever was done to a key, after a kill it is what was last to be kept, or gone:
 * never an older value. One chain of changes for each way from one kind to the other, and chains at random. */
#include "history.h"

#define MIN_TTL 100
#define SHORT   50    /* not kept */
#define LONG    10000 /* kept */
#define KEYS    40u

struct place {
	struct unit_scratch s;
	struct engine *e;
	struct engine_options o;
	size_t value_len; /* of what is set */
};

static struct place place_make(void)
{
	struct place p = {.s = unit_scratch_begin(),
	    .o = {.memory = 32 * MIB,
	        .item_max = MIB,
	        .workers = 1,
	        .fsync = ENGINE_FSYNC_OS,
	        .keep = 1,
	        .keep_ttl = MIN_TTL,
	        .no_keep_prefixes = "tmp:\nscratch/"}};
	p.e = engine_at(p.s.path, &p.o, NULL);
	p.value_len = 10;
	return p;
}

static void place_crash(struct place *p)
{
	struct image im = image_take(p->s.fd);
	engine_close(&p->e);
	image_put(&im, p->s.fd);
	image_free(&im);
	p->e = engine_at(p->s.path, &p->o, NULL);
}

static void place_end(struct place *p)
{
	engine_close(&p->e);
	unit_scratch_end(&p->s);
}

static struct engine_worker *begin(struct place *p, const char *key, struct store_key *ret_key)
{
	struct engine_worker *w = engine_get_worker(p->e, 0);
	engine_turn(w);
	*ret_key = engine_key(w, key, (uint8_t)strlen(key));
	return w;
}

static void end(struct place *p, struct engine_worker *w)
{
	uint64_t need = engine_need(w);
	engine_turn_end(w);
	engine_await(p->e, need);
}

static enum store_result put(struct place *p, const char *key, enum store_mode mode, char fill, int64_t ttl)
{
	struct store_key k;
	struct engine_worker *w = begin(p, key, &k);
	size_t len = mode == STORE_SET ? p->value_len : 1;
	uint8_t *value = malloc(len);
	memset(value, fill, len);
	enum store_result r = engine_put_bytes(w, &k,
	    (struct store_put){
	        .mode = mode, .value = value, .value_len = len, .expiry = ttl ? engine_now(w) + ttl : 0});
	free(value);
	end(p, w);
	return r;
}

static enum store_result touch(struct place *p, const char *key, int64_t ttl)
{
	struct store_key k;
	struct engine_worker *w = begin(p, key, &k);
	enum store_result r;
	while ((r = engine_touch(w, &k, ttl ? engine_now(w) + ttl : 0, NULL, NULL)) == STORE_WAIT) {
		engine_turn_end(w);
		sched_yield();
	}
	end(p, w);
	return r;
}

static enum store_result incr(struct place *p, const char *key)
{
	struct store_key k;
	struct store_number n;
	struct engine_worker *w = begin(p, key, &k);
	enum store_result r = engine_arith(w, &k, &(struct store_arith){.delta = 1}, &n);
	end(p, w);
	return r;
}

static void drop(struct place *p, const char *key)
{
	struct store_key k;
	struct engine_worker *w = begin(p, key, &k);
	engine_delete(w, &k, 0);
	end(p, w);
}

struct seen {
	bool found;
	char first, last;
	size_t len;
	uint64_t cas;
	int64_t expiry;
};

static struct seen look(struct place *p, const char *key)
{
	struct store_key k;
	struct seen s = {0};
	struct engine_worker *w = begin(p, key, &k);
	struct store *store = p->e->store;
	struct store_thread *t = store_thread_open(store, NULL);
	struct shown shown = {0};
	store_thread_set_now(t, engine_now(w));
	if (store_fetch(store, t, &k, &shown) == STORE_OK)
		s = (struct seen){true, (char)shown.data[0], (char)shown.data[shown.len - 1], shown.len,
		    shown.cas, shown.expiry};
	shown_free(&shown);
	store_thread_close(&t);
	end(p, w);
	return s;
}

static uint64_t log_bytes(struct place *p)
{
	struct engine_stats st;
	engine_get_stats(p->e, &st);
	return st.log_written_bytes;
}

static void assert_value(struct place *p, const char *key, char fill, size_t len)
{
	struct seen s = look(p, key);
	if (!s.found || s.first != fill || s.len != len)
		fail_msg("%s: found %d, '%c', %zu bytes; expected '%c', %zu", key, s.found, s.first, s.len,
		    fill, len);
}

static void assert_gone(struct place *p, const char *key)
{
	if (look(p, key).found)
		fail_msg("%s is there", key);
}

/* Values that are copied, values that are pinned, values with memory of their own. */
static const size_t sizes[] = {10, STORE_COPY_MAX + 100, 300000};

static void a_value_that_is_not_kept_hides_the_one_before(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct place p = place_make();
		p.value_len = sizes[i];
		put(&p, "k", STORE_SET, 'a', 0);
		put(&p, "tmp:k", STORE_SET, 'a', 0);
		put(&p, "k", STORE_SET, 'b', SHORT);
		assert_value(&p, "k", 'b', sizes[i]);
		assert_value(&p, "tmp:k", 'a', sizes[i]);
		place_crash(&p);
		assert_gone(&p, "k");
		assert_gone(&p, "tmp:k");
		/* What was loaded was evicted, deleted or flushed does not matter: a tombstone comes first. */
		put(&p, "k", STORE_SET, 'c', SHORT);
		put(&p, "k", STORE_SET, 'd', LONG);
		place_crash(&p);
		assert_value(&p, "k", 'd', sizes[i]);
		place_end(&p);
	}
}

static void a_tombstone_comes_once(void **state)
{
	(void)state;
	struct place p = place_make();
	char name[240];
	memset(name, 'n', sizeof(name));
	memcpy(name, "scratch/", 8);
	name[sizeof(name) - 1] = 0;
	put(&p, name, STORE_SET, 'a', 0);
	uint64_t before = log_bytes(&p), cas = look(&p, name).cas;
	for (unsigned i = 0; i < 50; i++) {
		put(&p, name, STORE_SET, 'b', 0);
		struct seen s = look(&p, name);
		assert_true(s.cas > cas); /* numbers go on */
		cas = s.cas;
	}
	touch(&p, name, 500);
	/* Blocks and seals, but not fifty keys or values. */
	assert_true(log_bytes(&p) - before < 50 * 200);
	place_crash(&p);
	assert_gone(&p, name);
	put(&p, "other", STORE_SET, 'x', 0);
	assert_true(look(&p, "other").cas > cas);
	place_end(&p);
}

static void changes_stay_with_their_item(void **state)
{
	(void)state;
	struct place p = place_make();
	put(&p, "v", STORE_SET, '7', SHORT);
	put(&p, "kept", STORE_SET, '7', LONG);
	put(&p, "kept-too", STORE_SET, '7', LONG);
	touch(&p, "kept-too", SHORT); /* it is on disk, and stays there */
	for (unsigned i = 0; i < 2; i++) {
		const char *keys[] = {"v", "kept", "kept-too"};
		for (unsigned k = 0; k < 3; k++) {
			assert_int_equal(put(&p, keys[k], STORE_APPEND, '1', 0), STORE_OK);
			assert_int_equal(put(&p, keys[k], STORE_PREPEND, '1', 0), STORE_OK);
			assert_int_equal(incr(&p, keys[k]), STORE_OK);
		}
	}
	assert_value(&p, "v", '1', 14);
	place_crash(&p);
	assert_gone(&p, "v");
	assert_value(&p, "kept", '1', 14);
	assert_value(&p, "kept-too", '1', 14);
	assert_true(look(&p, "kept-too").expiry < look(&p, "kept").expiry);
	place_end(&p);
}

static void a_touch_can_make_it_one_that_is_kept(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		for (unsigned ever = 0; ever < 2; ever++) {
			struct place p = place_make();
			p.value_len = sizes[i];
			put(&p, "k", STORE_SET, 'a', LONG);
			put(&p, "k", STORE_SET, 'b', SHORT);
			assert_int_equal(touch(&p, "k", SHORT + 1), STORE_OK);
			uint64_t cas = look(&p, "k").cas;
			struct image im = image_take(p.s.fd);
			assert_int_equal(touch(&p, "k", ever ? 0 : LONG), STORE_OK);
			assert_int_equal(look(&p, "k").cas, cas);
			place_crash(&p);
			assert_value(&p, "k", 'b', sizes[i]);
			assert_int_equal(look(&p, "k").cas, cas);
			assert_int_equal(look(&p, "k").expiry == 0, ever);
			/* It is one like any other now. */
			touch(&p, "k", 2 * LONG);
			drop(&p, "k");
			put(&p, "k", STORE_SET, 'c', SHORT);
			drop(&p, "k");
			place_crash(&p);
			assert_gone(&p, "k");
			/* Killed before that touch. */
			engine_close(&p.e);
			image_put(&im, p.s.fd);
			image_free(&im);
			p.e = engine_at(p.s.path, &p.o, NULL);
			assert_gone(&p, "k");
			place_end(&p);
		}
	}
	/* A prefix is a prefix, whatever the time. */
	struct place p = place_make();
	put(&p, "tmp:k", STORE_SET, 'a', SHORT);
	touch(&p, "tmp:k", LONG);
	touch(&p, "tmp:k", 0);
	assert_value(&p, "tmp:k", 'a', 10);
	place_crash(&p);
	assert_gone(&p, "tmp:k");
	place_end(&p);
}

static void snapshot(struct place *p)
{
	struct engine_stats st;
	engine_get_stats(p->e, &st);
	uint64_t before = st.snapshots;
	engine_snapshot(p->e, NULL, NULL);
	for (unsigned i = 0; i < 4000 && st.snapshots == before; i++) {
		pause_ms(2);
		engine_get_stats(p->e, &st);
	}
	assert_int_equal(st.snapshots, before + 1);
}

static void snapshots_leave_them_out(void **state)
{
	(void)state;
	struct place p = place_make();
	put(&p, "a", STORE_SET, 'a', LONG);
	put(&p, "b", STORE_SET, 'b', SHORT);
	put(&p, "tmp:c", STORE_SET, 'c', 0);
	snapshot(&p);
	struct engine_stats st;
	engine_get_stats(p.e, &st);
	assert_int_equal(st.last_snapshot_items, 1);
	touch(&p, "b", LONG);
	place_crash(&p);
	assert_value(&p, "a", 'a', 10);
	assert_value(&p, "b", 'b', 10);
	assert_gone(&p, "tmp:c");
	place_end(&p);
}

/* What the disk has to give back of a key. */
struct model {
	bool live, kept;
	char fill;
	size_t len;
};

static void one(struct place *p, struct model *m, const char *name, uint32_t r)
{
	bool prefix = name[0] == 't';
	char fill = (char)('a' + r % 26);
	int64_t ttl = r >> 8 & 1 ? SHORT : r >> 9 & 1 ? LONG : 0;
	bool kept = !prefix && ttl != SHORT;
	switch (r >> 16 & 7) {
	case 0:
		drop(p, name);
		m->live = false;
		break;
	case 1:
		assert_int_equal(touch(p, name, ttl), m->live ? STORE_OK : STORE_NOT_FOUND);
		m->kept = m->kept || kept;
		break;
	case 2:
		assert_int_equal(put(p, name, STORE_APPEND, fill, 0), m->live ? STORE_OK : STORE_NOT_STORED);
		m->len++;
		break;
	default:
		assert_int_equal(put(p, name, STORE_SET, fill, ttl), STORE_OK);
		*m = (struct model){true, kept, fill, p->value_len};
	}
}

static void chains_at_random(void **state)
{
	(void)state;
	uint32_t random =
	    getenv("HEARTH_SEED") ? (uint32_t)atoi(getenv("HEARTH_SEED")) : (uint32_t)getpid() * 7919u + 1;
	printf("# HEARTH_SEED=%u\n", random);
	struct place p = place_make();
	struct model model[KEYS] = {{0}};
	for (unsigned round = 0; round < 12; round++) {
		for (unsigned i = 0; i < 150; i++) {
			uint32_t r = unit_random(&random), k = unit_random(&random) % KEYS;
			char name[32];
			snprintf(name, sizeof(name), k % 4 ? "key%u" : "tmp:%u", k);
			p.value_len = sizes[(r >> 24) % 8 < 6 ? 0 : (r >> 24) % 8 - 5];
			one(&p, &model[k], name, r);
		}
		if (round % 3 == 1)
			snapshot(&p);
		place_crash(&p);
		for (unsigned k = 0; k < KEYS; k++) {
			char name[32];
			snprintf(name, sizeof(name), k % 4 ? "key%u" : "tmp:%u", k);
			struct model *m = &model[k];
			if (m->live && m->kept)
				assert_value(&p, name, m->fill, m->len);
			else
				assert_gone(&p, name);
			m->live = m->live && m->kept;
			if (!m->live)
				*m = (struct model){0};
		}
	}
	place_end(&p);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_value_that_is_not_kept_hides_the_one_before),
    cmocka_unit_test(a_tombstone_comes_once),
    cmocka_unit_test(changes_stay_with_their_item),
    cmocka_unit_test(a_touch_can_make_it_one_that_is_kept),
    cmocka_unit_test(snapshots_leave_them_out),
    cmocka_unit_test(chains_at_random),
};
UNIT_MAIN(tests)
