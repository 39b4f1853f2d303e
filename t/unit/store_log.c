/* SPDX-License-Identifier: BSD-3-Clause */
/* store_log: four threads make every kind of change to the same keys, through two lanes, while others evict, scan, drop a
 * prefix, flush and move the bound. What the observer was told is kept as a log, and held against what is seen: a reader is
 * shown the very value that the number stands for, and nothing older than what was there when it asked; each scan with the
 * log behind its start is what the memory holds at its end, as a restart would load it. Run time is bounded. */
#include "support.h"

#include <stdatomic.h>
#include "base/crc32c.h"
#include "base/packed.h"
#include "store/item.h"

#define WORKERS 4
#define KEYS    6000u
#define NOW     1700000000
#define CHANGES 300000u /* all that workers make at most */
#define OTHERS  10000u  /* and those who look after all of it */
#define RUN_MS  600
#define DICT    7
#define PINS    64u

struct entry {
	enum store_change_kind kind;
	bool hidden; /* its value is in memory alone */
	uint32_t key, crc, flags, seconds;
	size_t len;
	uint64_t cas;
	int64_t expiry;
};

/* A value that the log refers to, as the ring does. */
struct waiting {
	const uint8_t *value;
	size_t len;
	uint32_t dict, crc;
	struct store_pin pin;
};

struct race {
	struct store *store;
	bool no_evict;
	_Atomic bool stop;
	_Atomic int64_t now;
	pthread_rwlock_t world; /* held for writing while all changes rest */
	pthread_mutex_t lock;   /* of seq and waiting */
	_Atomic uint64_t seq;
	struct waiting waiting[PINS];
	unsigned n_waiting;
	struct entry *log;         /* by number; one is written under its key's shard */
	_Atomic uint64_t at[KEYS]; /* no reader may see anything older */
	_Atomic uint64_t flushed, dropped;
	_Atomic uint64_t reads, scans;
	struct entry *seen; /* what a scan has visited; seq in seen_seq, 0 = nothing */
	uint64_t *seen_seq;
};

struct thread {
	struct race *race;
	struct store_thread *t;
	uint32_t random;
	pthread_t thread;
};

static uint32_t key_number(const uint8_t *name, size_t len)
{
	uint32_t n = 0;
	for (size_t i = 4; i < len; i++)
		n = n * 10 + (name[i] - '0');
	return n;
}

/* A value whose halves are the same. The store looks at no more of a packed one than its length. */
static uint8_t *pack(uint8_t *raw, size_t len, size_t *ret_len)
{
	size_t half = len / 2;
	uint8_t *packed = malloc(half + 3);
	MUST(packed && len >= 256 && len % 2 == 0);
	memcpy(raw + half, raw, half);
	packed[0] = PACKED_LENGTH_2;
	packed[1] = (uint8_t)(len - 256);
	packed[2] = (uint8_t)((len - 256) >> 8);
	for (size_t i = 0; i < half; i++)
		packed[3 + i] = raw[i] ^ 0x5a;
	*ret_len = half + 3;
	return packed;
}

static bool unpack(void *arg, uint32_t dict, const uint8_t *packed, size_t len, uint8_t **ret_value)
{
	uint8_t *value = arg;
	size_t half = len - 3;
	MUST(dict == DICT && packed_raw_len(packed, len) == 2 * half && half <= 4 * KIB);
	for (size_t i = 0; i < half; i++)
		value[i] = value[half + i] = packed[3 + i] ^ 0x5a;
	*ret_value = value;
	return true;
}

/* Of the value as clients know it. */
static uint32_t crc_of(const uint8_t *value, size_t len, uint32_t dict, size_t *ret_len)
{
	uint8_t raw[8 * KIB], *at;
	*ret_len = len;
	if (!dict)
		return crc32c(0, value, len);
	MUST(unpack(raw, dict, value, len, &at));
	*ret_len = 2 * (len - 3);
	return crc32c(0, raw, *ret_len);
}

/* ---- the log ---- */

static uint64_t observe(void *owner, const struct store_change *c)
{
	struct race *race = ((struct thread *)owner)->race;
	struct entry e = {
	    .kind = c->kind, .flags = c->flags, .cas = c->cas, .expiry = c->expiry, .key = KEYS};
	struct store_pin pin = c->pin;
	if (c->key)
		e.key = key_number(c->key->data, c->key->len);
	if (c->kind == STORE_CHANGE_SET)
		e.crc = crc_of(c->value, c->value_len, c->dict, &e.len);
	e.hidden =
	    c->kind == STORE_CHANGE_PASS || (c->kind == STORE_CHANGE_DELETE && c->state & ITEM_NOT_KEPT);
	MUST(store_pinned(&pin) == (c->kind == STORE_CHANGE_SET && c->value_len > STORE_COPY_MAX));
	pthread_mutex_lock(&race->lock);
	uint64_t seq = atomic_load(&race->seq) + 1;
	MUST(seq < CHANGES + OTHERS);
	race->log[seq] = e;
	atomic_store(&race->seq, seq);
	if (store_pinned(&pin) && race->n_waiting < PINS) {
		race->waiting[race->n_waiting++] =
		    (struct waiting){c->value, c->value_len, c->dict, e.crc, pin};
		pin = (struct store_pin){NULL, STORE_PIN_NONE};
	}
	pthread_mutex_unlock(&race->lock);
	store_unpin(race->store, &pin);
	/* Here it has its number, and is nowhere yet. */
	if (seq % 16 == 0)
		sched_yield();
	return seq;
}

/* What lay still while it was waiting is what it was. */
static void write_out(struct race *race)
{
	struct waiting w[PINS];
	pthread_mutex_lock(&race->lock);
	unsigned n = race->n_waiting;
	memcpy(w, race->waiting, n * sizeof(*w));
	race->n_waiting = 0;
	pthread_mutex_unlock(&race->lock);
	for (unsigned i = 0; i < n; i++) {
		size_t len;
		MUST(crc_of(w[i].value, w[i].len, w[i].dict, &len) == w[i].crc);
		store_unpin(race->store, &w[i].pin);
	}
}

/* ---- readers ---- */

static void at_least(_Atomic uint64_t *to, uint64_t seq)
{
	uint64_t old = atomic_load(to);
	while (old < seq && !atomic_compare_exchange_weak(to, &old, seq))
		;
}

static bool is_prefixed(uint32_t key)
{
	return key / 100 == 3; /* with key-0003 */
}

static void must_be(const struct race *race, uint32_t key, const struct shown *s)
{
	const struct entry *e = &race->log[s->seq];
	size_t len;
	MUST(e->key == key && s->seq > 0);
	if (e->hidden)
		return;
	MUST(e->kind == STORE_CHANGE_SET);
	MUST(s->cas == (e->cas ? e->cas : s->seq) && s->flags == e->flags);
	MUST(crc_of(s->data, s->dict ? s->packed_len : s->len, s->dict, &len) == e->crc);
	MUST(len == e->len && s->len == len);
}

static void look(struct thread *me, uint32_t key, struct shown *s)
{
	struct race *race = me->race;
	char name[32];
	struct store_key k = key_of(race->store, key, name);
	uint64_t least = atomic_load(&race->at[key]), flushed = atomic_load(&race->flushed);
	uint64_t dropped = is_prefixed(key) ? atomic_load(&race->dropped) : 0;
	if (store_fetch(race->store, me->t, &k, s) != STORE_OK)
		return;
	MUST(s->seq >= least && s->seq > flushed && s->seq > dropped);
	must_be(race, key, s);
	atomic_fetch_add_explicit(&race->reads, 1, memory_order_relaxed);
}

/* ---- who changes ---- */

static size_t size_of(uint32_t r)
{
	switch (r & 31) {
	case 0:
		return STORE_COPY_MAX - 3 + (r >> 5 & 3);
	case 1:
		return STORE_COPY_MAX - 64 + (r >> 5 & 127);
	case 2:
		return 8 * KIB - 128 + (r >> 5 & 127); /* around the largest that lies in a region */
	case 3:
		return r & 32 ? 40 * KIB : 0;
	case 4:
		return r >> 5 & 1023;
	default:
		return 20 + (r >> 5 & 3);
	}
}

static enum store_result put_value(struct thread *me, const struct store_key *k, uint32_t key, uint32_t r,
    struct store_put put, struct store_outcome *out)
{
	static _Atomic uint32_t version;
	size_t len = size_of(unit_random(&me->random)), packed_len;
	uint8_t *value = malloc(len + 24), *packed = NULL;
	MUST(value);
	value_make(value, len, key, atomic_fetch_add(&version, 1));
	if (key % 8 == 0)
		len = (size_t)sprintf((char *)value, "%u", r >> (r & 31));
	put.value = value;
	put.value_len = len;
	put.flags = r & 1 ? 0 : r;
	put.expiry = r & 14 ? 0 : atomic_load(&me->race->now) + 1 + (r >> 4 & 15);
	put.cas = r >> 4 & 15 || put.mode == STORE_APPEND ? 0 : UINT64_C(1) << 60 | r;
	if (key % 8 == 1 && len >= 256 && len <= 8 * KIB) {
		put.value = packed = pack(value, len & ~(size_t)1, &packed_len);
		put.value_len = packed_len;
		put.dict = DICT;
	}
	enum store_result result = store_write(me->race->store, me->t, k, put, out);
	free(value);
	free(packed);
	return result;
}

static void concat(struct thread *me, const struct store_key *k, uint32_t r, struct store_outcome *out)
{
	struct store_put put = {.mode = r & 1 ? STORE_APPEND : STORE_PREPEND,
	    .value = (const uint8_t *)"123456789",
	    .value_len = r >> 1 & 7};
	uint8_t raw[8 * KIB];
	if (store_write(me->race->store, me->t, k, put, out) == STORE_PACKED) {
		store_unpack(me->t, k, unpack, raw);
		*out = (struct store_outcome){0};
	}
}

static void mark(struct thread *me, const struct store_key *k, uint32_t r, struct store_outcome *out)
{
	const struct store_mark m = {.win = r & 1,
	    .stale = r & 2,
	    .empty = (r & 12) == 12,
	    .expires = r & 16,
	    .expiry = atomic_load(&me->race->now) + 5,
	    .unlogged = (r & 3) == 1 && r & 32};
	store_mark(me->t, k, &m, SIZE_MAX, NULL, NULL, out);
}

static void change(struct thread *me, uint32_t key, uint32_t r, struct shown *s)
{
	struct race *race = me->race;
	char name[32];
	struct store_key k = key_of(race->store, key, name);
	struct store_outcome out = {0};
	enum store_result result = STORE_NOT_STORED;
	k.not_kept = key % 16 == 2 && r >> 20 & 1;
	switch (r >> 27) {
	case 0:
		result = store_delete(me->t, &k, 0, &out);
		break;
	case 1:
	case 2:
		store_touch(me->t, &k, r & 1 ? 0 : atomic_load(&race->now) + (r >> 1 & 31), SIZE_MAX, NULL,
		    NULL, &out);
		break;
	case 3:
		if (store_fetch(race->store, me->t, &k, s) == STORE_OK)
			result = put_value(me, &k, key, r,
			    (struct store_put){
			        .mode = STORE_CAS, .compare = s->cas - (r & 1), .older_is_stale = r & 2},
			    &out);
		break;
	case 4:
	case 5:
		concat(me, &k, r, &out);
		break;
	case 6:
		mark(me, &k, r, &out);
		break;
	case 7:
	case 8:
	case 9:
		result = store_arith(me->t, &k,
		    &(struct store_arith){.delta = r & 0xffff, .decrement = r & 1, .vivify = r & 2}, &out);
		break;
	case 10:
		result = put_value(me, &k, key, r, (struct store_put){.mode = STORE_ADD}, &out);
		break;
	case 11:
		result = put_value(me, &k, key, r, (struct store_put){.mode = STORE_REPLACE}, &out);
		break;
	default:
		result = put_value(me, &k, key, r, (struct store_put){.mode = STORE_SET}, &out);
	}
	if (result == STORE_OK)
		at_least(&race->at[key], out.seq);
}

static void *work(void *arg)
{
	struct thread *me = arg;
	struct race *race = me->race;
	struct shown s = {0};
	for (unsigned i = 0; !atomic_load(&race->stop); i++) {
		uint32_t r = unit_random(&me->random), key = r >> 3 & 3 ? r % 64 : r % KEYS;
		pthread_rwlock_rdlock(&race->world);
		store_thread_set_now(me->t, atomic_load(&race->now));
		if (r >> 31)
			look(me, key, &s);
		else if (atomic_load(&race->seq) < CHANGES)
			change(me, key, unit_random(&me->random), &s);
		pthread_rwlock_unlock(&race->world);
	}
	shown_free(&s);
	return NULL;
}

/* ---- who looks after memory, and what else comes over all keys at once ---- */

static void drop_prefix(struct thread *me);

static void *upkeep(void *arg)
{
	struct thread *me = arg;
	struct race *race = me->race;
	for (unsigned i = 1; !atomic_load(&race->stop); i++) {
		struct store_stats st;
		struct store_outcome out;
		pthread_rwlock_rdlock(&race->world);
		store_thread_set_now(me->t, atomic_load(&race->now));
		if (!store_maintain(me->t))
			sched_yield();
		write_out(race);
		if (i % 256 == 0)
			atomic_fetch_add(&race->now, 1);
		if (i % 128 == 0)
			store_get_stats(race->store, &st);
		if (i % 512 == 0)
			store_set_memory(race->store, (3 + unit_random(&me->random) % 8) * MIB);
		if (i % 5000 == 0 && atomic_load(&race->seq) < CHANGES) {
			store_flush(me->t, 0, &out);
			at_least(&race->flushed, out.seq);
		}
		if (i % 1000 == 0 && atomic_load(&race->seq) < CHANGES)
			drop_prefix(me);
		pthread_rwlock_unlock(&race->world);
	}
	write_out(race);
	return NULL;
}

struct list {
	uint32_t key[KEYS];
	unsigned n;
};

static bool note_key(void *arg, const struct store_key_view *item)
{
	struct list *list = arg;
	MUST(list->n < KEYS);
	list->key[list->n++] = key_number(item->key, item->key_len);
	return true;
}

static void drop_prefix(struct thread *me)
{
	struct race *race = me->race;
	struct store_drop drop = {.prefix = "key-0003", .len = 8};
	struct list *list = malloc(sizeof(*list));
	MUST(list);
	store_drop_begin(me->t, &drop);
	for (uint32_t shard = 0, more = 1; more;) {
		bool again;
		char name[32];
		struct store_outcome out;
		list->n = 0;
		more = store_drop_list(me->t, &shard, note_key, list, &again);
		for (unsigned i = 0; i < list->n; i++) {
			struct store_key k = key_of(race->store, list->key[i], name);
			store_drop_key(me->t, &k, &out);
		}
	}
	store_drop_end(me->t);
	at_least(&race->dropped, drop.upto);
	free(list);
}

/* ---- scans, held against the log ---- */

static bool visit(void *arg, const struct store_scan_item *item)
{
	struct race *race = arg;
	uint32_t key = key_number(item->key, item->key_len);
	struct entry e = {.kind = STORE_CHANGE_SET,
	    .key = key,
	    .flags = item->flags,
	    .cas = item->cas,
	    .expiry = item->expiry};
	MUST(key < KEYS && item->seq > 0);
	if (item->state & ITEM_NOT_KEPT || item->seq <= race->seen_seq[key])
		return true;
	e.crc = crc_of(item->value, item->value_len, item->dict, &e.len);
	const struct entry *made = &race->log[item->seq];
	MUST(made->kind == STORE_CHANGE_SET && made->key == key && made->crc == e.crc && made->len == e.len);
	race->seen[key] = e;
	race->seen_seq[key] = item->seq;
	return true;
}

/* As a start does it. */
static void apply(struct race *race, uint64_t seq)
{
	const struct entry *e = &race->log[seq];
	uint64_t *of = e->key < KEYS ? &race->seen_seq[e->key] : NULL;
	switch (e->kind) {
	case STORE_CHANGE_SET:
		race->seen[e->key] = *e;
		*of = seq;
		break;
	case STORE_CHANGE_DELETE:
		*of = 0;
		break;
	case STORE_CHANGE_TOUCH:
		race->seen[e->key].expiry = e->expiry;
		break;
	case STORE_CHANGE_FLUSH:
		for (uint32_t key = 0; key < KEYS; key++)
			if (race->seen_seq[key] < seq)
				race->seen_seq[key] = 0;
		break;
	default:
		break;
	}
}

static void compare(struct thread *me, struct shown *s)
{
	struct race *race = me->race;
	int64_t now = atomic_load(&race->now);
	for (uint32_t key = 0; key < KEYS; key++) {
		char name[32];
		struct store_key k = key_of(race->store, key, name);
		const struct entry *e = &race->seen[key];
		bool loaded = race->seen_seq[key] && !store_expired(e->expiry, now);
		bool there = store_fetch(race->store, me->t, &k, s) == STORE_OK;
		if (there && race->log[s->seq].hidden) {
			MUST(!loaded);
		} else if (there) {
			MUST(loaded && race->seen_seq[key] == s->seq && e->expiry == s->expiry);
			MUST(e->flags == s->flags && s->cas == (e->cas ? e->cas : s->seq));
			must_be(race, key, s);
		} else {
			MUST(!loaded || !race->no_evict);
		}
	}
}

static void *scan(void *arg)
{
	struct thread *me = arg;
	struct race *race = me->race;
	struct shown s = {0};
	while (!atomic_load(&race->stop)) {
		memset(race->seen_seq, 0, KEYS * sizeof(*race->seen_seq));
		pthread_mutex_lock(&race->lock);
		uint64_t start = atomic_load(&race->seq);
		pthread_mutex_unlock(&race->lock);
		if (unit_random(&me->random) & 1)
			sched_yield();
		store_scan_begin(me->t, visit, race);
		int more;
		while ((more = store_scan_step(me->t)) > 0)
			if (unit_random(&me->random) & 1)
				sched_yield();
		MUST(more == 0);
		store_scan_end(me->t);
		pthread_rwlock_wrlock(&race->world);
		store_thread_set_now(me->t, atomic_load(&race->now));
		for (uint64_t seq = start + 1; seq <= atomic_load(&race->seq); seq++)
			apply(race, seq);
		compare(me, &s);
		pthread_rwlock_unlock(&race->world);
		atomic_fetch_add(&race->scans, 1);
	}
	shown_free(&s);
	return NULL;
}

/* ---- a race ---- */

static void open_race(struct race *race, const struct store_options *o)
{
	*race = (struct race){.store = store_open(o), .no_evict = o->no_evict, .now = NOW};
	race->log = calloc(CHANGES + OTHERS, sizeof(*race->log));
	race->seen = calloc(KEYS + 1, sizeof(*race->seen));
	race->seen_seq = calloc(KEYS + 1, sizeof(*race->seen_seq));
	assert_true(race->store && race->log && race->seen && race->seen_seq);
	pthread_rwlockattr_t prefers;
	pthread_rwlockattr_init(&prefers);
	pthread_rwlockattr_setkind_np(&prefers, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&race->world, &prefers);
	pthread_rwlockattr_destroy(&prefers);
	pthread_mutex_init(&race->lock, NULL);
	store_set_observer(race->store, observe);
}

static void close_race(struct race *race)
{
	store_close(&race->store);
	pthread_mutex_destroy(&race->lock);
	pthread_rwlock_destroy(&race->world);
	free(race->log);
	free(race->seen);
	free(race->seen_seq);
}

static void run(enum store_policy policy, bool no_evict)
{
	const struct store_options o = {.memory = 8 * MIB,
	    .most = 16 * MIB,
	    .item_max = 1 * MIB,
	    .threads = 2,
	    .policy = policy,
	    .no_evict = no_evict,
	    .keep_ttl = 3};
	struct race race;
	struct thread threads[WORKERS + 2];
	void *(*const does[])(void *) = {upkeep, scan};
	open_race(&race, &o);
	for (unsigned i = 0; i < WORKERS + 2; i++) {
		threads[i] = (struct thread){.race = &race, .random = 4711 + i};
		threads[i].t = store_thread_open(race.store, &threads[i]);
		assert_non_null(threads[i].t);
		store_thread_set_now(threads[i].t, NOW);
	}
	for (unsigned i = 0; i < WORKERS + 2; i++)
		assert_int_equal(pthread_create(&threads[i].thread, NULL,
		                     i < WORKERS ? work : does[i - WORKERS], &threads[i]),
		    0);
	for (int ms = 0; ms < RUN_MS && atomic_load(&race.seq) < CHANGES; ms++)
		nanosleep(&(struct timespec){0, 1000000}, NULL);
	atomic_store(&race.stop, true);
	for (unsigned i = 0; i < WORKERS + 2; i++)
		pthread_join(threads[i].thread, NULL);
	write_out(&race);
	struct store_stats st;
	store_get_stats(race.store, &st);
	assert_true(race.reads > 0 && race.scans > 0);
	struct store_outcome out;
	store_flush(threads[0].t, 0, &out);
	store_get_stats(race.store, &st);
	assert_int_equal(st.items, 0);
	assert_int_equal(st.bytes, st.large_bytes);
	for (unsigned i = 0; i < WORKERS + 2; i++)
		store_thread_close(&threads[i].t);
	close_race(&race);
}

static void scan_and_log_are_what_memory_holds(void **state)
{
	(void)state;
	run(STORE_S3FIFO, false);
}

static void scan_and_log_are_what_memory_holds_without_eviction(void **state)
{
	(void)state;
	run(STORE_S3FIFO, true);
}

static void scan_and_log_are_what_memory_holds_with_lru(void **state)
{
	(void)state;
	run(STORE_LRU, false);
}

/* Regions and large values go in other orders than those that a scan takes. */
static void scan_and_log_are_what_memory_holds_with_the_other_policies(void **state)
{
	(void)state;
	for (enum store_policy policy = STORE_LFU; policy < STORE_POLICIES; policy++)
		run(policy, false);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(scan_and_log_are_what_memory_holds),
    cmocka_unit_test(scan_and_log_are_what_memory_holds_without_eviction),
    cmocka_unit_test(scan_and_log_are_what_memory_holds_with_lru),
    cmocka_unit_test(scan_and_log_are_what_memory_holds_with_the_other_policies),
};
UNIT_MAIN(tests)
