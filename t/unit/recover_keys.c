/* SPDX-License-Identifier: BSD-3-Clause */
/* recover_keys: what damage in the log costs. Blocks are damaged in every way that key blocks and seals are there for, and
 * what recovery shows is held, key by key, against what must be left: computed here from the blocks alone, by the rule of
 * hearth-log(5), for each hole between good blocks:
 *  - all its numbers described by good key blocks behind it, and no flush among them: its keys go;
 *  - else: all keys go;
 * and a key that went is there again, in its last state, if it was set behind the hole. Nothing else is missing, nothing
 * is stale. */
#include "history.h"
#include "base/bytes.h"
#include <hearth/keyblock.h>

#define MEMORY     (8 * MIB)
#define CHANGES    6000u
#define BLOCKS_MAX 8000u
#define ALL_KEYS   HISTORY_KEYS /* of a flush */

struct part {
	struct image_file *file;
	uint64_t offset, end; /* in it */
	uint64_t first;
	uint32_t count;
	bool keys; /* a key block or seal, for: */
	uint64_t keys_first, keys_last;
	bool bad;
};

struct scene {
	struct unit_scratch s;
	struct history h;
	struct image image;
	bool clean;
	uint64_t s0;
	struct part part[BLOCKS_MAX]; /* in the order of the log */
	unsigned n;
	uint32_t key[CHANGES + 1]; /* by number: which key; ALL_KEYS: a flush */
	bool set[CHANGES + 1];     /* and whether its state followed from it alone */
};

/* ---- what is in the log ---- */

static void note_record(struct scene *sc, struct part *p, const struct record *r)
{
	struct keyblock b;
	if (r->type == RECORD_KEY_BLOCK || r->type == RECORD_SEAL) {
		MUST(keyblock_decode(r->value, r->value_len, &b));
		p->keys = true;
		p->keys_first = b.first;
		p->keys_last = b.first + b.count - 1;
	} else if (record_takes_number(r->type)) {
		MUST(r->seq <= CHANGES);
		char name[32] = "";
		memcpy(name, r->key ? (const char *)r->key : "", r->key_len);
		sc->key[r->seq] = r->type == RECORD_FLUSH ? ALL_KEYS : (uint32_t)atoi(name + 4);
		sc->set[r->seq] = r->type == RECORD_SET || r->type == RECORD_DELETE;
	}
}

static void note_segment(struct scene *sc, struct image_file *f)
{
	struct segment_reader *r;
	struct segment_block b;
	struct record record;
	if (segment_open(&r, NULL, sc->s.fd, f->name, NULL, NULL) != HEARTH_OK)
		return; /* made ahead */
	while (segment_next(r, &b, NULL) == HEARTH_OK) {
		struct segment_records walk = segment_records(&b);
		MUST(sc->n < BLOCKS_MAX);
		struct part *p = &sc->part[sc->n++];
		*p = (struct part){.file = f,
		    .offset = b.offset,
		    .end = b.end,
		    .first = b.head.first,
		    .count = b.head.count};
		while (segment_next_record(&walk, &record) == HEARTH_OK)
			note_record(sc, p, &record);
	}
	segment_close(&r);
}

static void take_snapshot(struct engine *e)
{
	struct engine_stats st;
	enum hearth_status status = engine_snapshot(e, NULL, NULL);
	MUST(status == HEARTH_OK || status == HEARTH_BUSY); /* after damage one is begun by itself */
	do {
		pause_ms(1);
		engine_get_stats(e, &st);
	} while (st.snapshots == 0 || st.snapshot_running);
}

static uint64_t snapshot_start(const struct scene *sc, struct image_file *f)
{
	struct snapshot_reader *r;
	MUST(snapshot_open(&r, NULL, sc->s.fd, f->name, NULL, NULL) == HEARTH_OK);
	uint64_t start = snapshot_get_header(r)->start;
	snapshot_close(&r);
	return start;
}

struct how {
	unsigned n, batch, snapshot_at, rotate;
	bool clean, flushes;
};

static struct scene *scene_make(struct how how)
{
	struct scene *sc = calloc(1, sizeof(*sc));
	MUST(sc && how.n <= CHANGES);
	sc->s = unit_scratch_begin();
	sc->h = (struct history){.random = 815, .flushes = how.flushes};
	sc->clean = how.clean;
	struct engine_options o = engine_defaults();
	struct engine *e = engine_at(sc->s.path, &o, NULL);
	unsigned step = how.rotate ? how.rotate : how.snapshot_at ? how.snapshot_at : how.n;
	for (unsigned done = 0; done < how.n;) {
		unsigned more = how.n - done < step ? how.n - done : step;
		history_run(&sc->h, e, more, how.batch);
		done += more;
		if (done == how.snapshot_at)
			take_snapshot(e);
		if (how.rotate && done < how.n)
			wal_rotate(e->wal);
	}
	if (how.clean)
		MUST(engine_stop(e, NULL) == HEARTH_OK);
	sc->image = image_take(sc->s.fd);
	engine_close(&e);
	image_put(&sc->image, sc->s.fd);
	for (unsigned i = 0; image_find(&sc->image, "log-", i); i++)
		note_segment(sc, image_find(&sc->image, "log-", i));
	struct image_file *snapshot = image_find(&sc->image, "snapshot-", 0);
	sc->s0 = snapshot ? snapshot_start(sc, snapshot) : 0;
	return sc;
}

static void scene_end(struct scene **sc)
{
	facts_free((*sc)->h.fact);
	image_free(&(*sc)->image);
	unit_scratch_end(&(*sc)->s);
	free(*sc);
	*sc = NULL;
}

/* ---- what must be left ---- */

static bool is_described(const struct scene *sc, uint64_t number, unsigned behind)
{
	for (unsigned i = behind; i < sc->n; i++)
		if (!sc->part[i].bad && sc->part[i].keys && sc->part[i].keys_first <= number &&
		    number <= sc->part[i].keys_last)
			return true;
	return false;
}

/* The hole of the bad blocks from..to-1: raises lost[key] to its end for each key that goes. */
static void add_hole(const struct scene *sc, unsigned from, unsigned to, uint64_t *lost)
{
	uint64_t first = sc->part[from].first, end = sc->part[to - 1].first + sc->part[to - 1].count;
	bool all = false, here[HISTORY_KEYS + 1] = {false};
	first = first > sc->s0 ? first : sc->s0 + 1;
	for (uint64_t n = first; n < end; n++) {
		here[sc->key[n]] = true;
		all = all || sc->key[n] == ALL_KEYS || !is_described(sc, n, to);
	}
	for (uint32_t k = 0; first < end && k < HISTORY_KEYS; k++)
		if (all || here[k])
			lost[k] = to == sc->n ? UINT64_MAX : end;
}

/* Also how many keys the damage costs. */
static unsigned expect(const struct scene *sc, bool gone[HISTORY_KEYS])
{
	uint64_t lost[HISTORY_KEYS] = {0};
	unsigned cost = 0;
	for (unsigned i = 0, to; i < sc->n; i = to) {
		for (to = i; to < sc->n && sc->part[to].bad; to++)
			;
		if (to > i)
			add_hole(sc, i, to, lost);
		to += to == i;
	}
	for (uint32_t k = 0; k < HISTORY_KEYS; k++) {
		gone[k] = lost[k] > 0;
		for (uint64_t n = lost[k]; gone[k] && n <= sc->h.n; n++)
			gone[k] = !(sc->set[n] && sc->key[n] == k);
		cost += gone[k] && sc->h.fact[k].live;
	}
	return cost;
}

static void assert_left(const struct scene *sc, const struct fact *facts, const char *what)
{
	bool gone[HISTORY_KEYS];
	expect(sc, gone);
	for (uint32_t k = 0; k < HISTORY_KEYS; k++) {
		uint64_t wanted = gone[k] ? 0 : fact_hash(k, &sc->h.fact[k]);
		if (fact_hash(k, &facts[k]) != wanted)
			print_error("%s: key %u %s\n", what, k,
			    !facts[k].live ? "is missing"
			    : gone[k]      ? "should be gone"
			                   : "is stale");
		assert_true(fact_hash(k, &facts[k]) == wanted);
	}
}

/* ---- damage ---- */

static bool is_tail(const struct scene *sc, unsigned i)
{
	for (; i < sc->n; i++)
		if (!sc->part[i].bad)
			return false;
	return true;
}

static void put_file(const struct scene *sc, const struct image_file *f)
{
	unit_write_file(sc->s.fd, f->name, f->data, f->len);
}

/* Spoils bad blocks, or mends them again. */
static void flip_bad(struct scene *sc)
{
	for (unsigned i = 0; i < sc->n; i++) {
		struct part *p = &sc->part[i];
		if (!p->bad)
			continue;
		p->file->data[p->offset + 8 + (p->end - p->offset) / 2] ^= 16;
		if (i + 1 == sc->n || !sc->part[i + 1].bad || sc->part[i + 1].file != p->file)
			put_file(sc, p->file);
	}
}

/* Recovers from files with the bad blocks spoilt, judges, mends them. Returns what it costs. */
static unsigned try(struct scene *sc, unsigned threads, const char *what)
{
	bool some = false, gone[HISTORY_KEYS];
	for (unsigned i = 0; i < sc->n; i++)
		some = some || sc->part[i].bad;
	flip_bad(sc);
	struct recovered rec = recover_dir(sc->s.path, MEMORY, threads, false);
	assert_int_equal(rec.status, HEARTH_OK);
	assert_left(sc, rec.fact, what);
	assert_true(!some || rec.result->damaged + rec.result->left_out_bytes > 0);
	recovered_free(&rec);
	unsigned cost = expect(sc, gone);
	flip_bad(sc);
	for (unsigned i = 0; i < sc->n; i++)
		sc->part[i].bad = false;
	return cost;
}

static void each_block_costs_its_own_keys(struct how how, unsigned every, unsigned ret_cost[2])
{
	struct scene *sc = scene_make(how);
	char what[96];
	ret_cost[0] = ret_cost[1] = 0;
	for (unsigned i = 0; i < sc->n; i += every) {
		sc->part[i].bad = true;
		if (!sc->clean && is_tail(sc, i)) {
			sc->part[i].bad = false; /* a write that was cut off */
			continue;
		}
		uint64_t end = sc->part[i].first + sc->part[i].count;
		snprintf(what, sizeof(what), "block %u of %u, numbers %llu to %llu", i, sc->n,
		    (unsigned long long)sc->part[i].first, (unsigned long long)end - 1);
		unsigned cost = try(sc, 1 + i % 3, what);
		ret_cost[0] += cost;
		ret_cost[1] += 1;
		/* One record a block, and all are described: then no more than one key. */
		if (how.clean && how.batch == 1 && !how.flushes && i + 2 < sc->n)
			assert_true(cost <= 1);
	}
	assert_true(ret_cost[1] > 20);
	scene_end(&sc);
}

static void a_block_costs_its_own_keys(void **state)
{
	unsigned cost[2];
	(void)state;
	each_block_costs_its_own_keys((struct how){.n = 300, .batch = 1, .clean = true}, 2, cost);
	each_block_costs_its_own_keys(
	    (struct how){.n = 300, .batch = 7, .clean = true, .flushes = true}, 1, cost);
	each_block_costs_its_own_keys(
	    (struct how){.n = 300, .batch = 1, .rotate = 40, .clean = true}, 3, cost);
	each_block_costs_its_own_keys(
	    (struct how){.n = 300, .batch = 2, .snapshot_at = 100, .clean = true, .flushes = true}, 3, cost);
	each_block_costs_its_own_keys(
	    (struct how){.n = 300, .batch = 3, .snapshot_at = 100, .rotate = 50, .clean = true}, 2, cost);
}

static void without_seal_the_last_stretches_cost_all(void **state)
{
	unsigned cost[2];
	(void)state;
	each_block_costs_its_own_keys((struct how){.n = 300, .batch = 1}, 7, cost);
	assert_true(cost[0] > 5 * cost[1]);
}

static void a_long_log_has_key_blocks(void **state)
{
	unsigned cost[2];
	(void)state;
	each_block_costs_its_own_keys((struct how){.n = CHANGES, .batch = 1, .rotate = 1500}, 61, cost);
	each_block_costs_its_own_keys((struct how){.n = CHANGES, .batch = 40, .clean = true}, 5, cost);
}

static struct scene *long_scene(bool clean)
{
	struct scene *sc = scene_make((struct how){.n = CHANGES, .batch = 3, .rotate = 2500, .clean = clean});
	unsigned keys = 0;
	for (unsigned i = 0; i < sc->n; i++)
		keys += sc->part[i].keys;
	assert_true(keys >= 8);
	return sc;
}

/* Bytes of the log before a block, over all segments. */
static uint64_t position(const struct scene *sc, unsigned i)
{
	uint64_t at = sc->part[i].offset;
	for (unsigned k = 1; k <= i; k++)
		if (sc->part[k].file != sc->part[k - 1].file)
			at += sc->part[k - 1].end;
	return at;
}

/* A key block lies a stretch behind the last block that it describes, and shares none with records. */
static void key_blocks_keep_their_distance(void **state)
{
	(void)state;
	struct scene *sc = long_scene(false);
	unsigned tried = 0;
	for (unsigned i = 0; i < sc->n; i++) {
		unsigned last = 0;
		if (!sc->part[i].keys)
			continue;
		assert_int_equal(sc->part[i].count, 0);
		for (unsigned k = 0; k < i; k++)
			if (sc->part[k].count && sc->part[k].first <= sc->part[i].keys_last)
				last = k;
		uint64_t end = position(sc, last) + sc->part[last].end - sc->part[last].offset;
		assert_true(position(sc, i) - end >= 60 * KIB);
		tried++;
	}
	assert_true(tried >= 8);
	scene_end(&sc);
}

static void key_blocks_alone_cost_nothing(void **state)
{
	(void)state;
	struct scene *sc = long_scene(true);
	for (unsigned i = 0; i < sc->n; i++) {
		if (!sc->part[i].keys)
			continue;
		sc->part[i].bad = true;
		assert_int_equal(try(sc, 2, "a key block"), 0);
	}
	for (unsigned i = 0; i < sc->n; i++)
		sc->part[i].bad = sc->part[i].keys;
	assert_int_equal(try(sc, 2, "all key blocks"), 0);
	scene_end(&sc);
}

/* Several holes, with and without what describes them. */
static void several_holes(void **state)
{
	(void)state;
	struct scene *sc = long_scene(true);
	uint32_t random = 99;
	char what[64];
	for (unsigned round = 0; round < 40; round++) {
		unsigned holes = 2 + round % 4;
		for (unsigned k = 0; k < holes; k++) {
			unsigned at = unit_random(&random) % sc->n, len = 1 + unit_random(&random) % 4;
			for (unsigned i = at; i < at + len && i < sc->n; i++)
				sc->part[i].bad = true;
		}
		/* And in every third round one key block more. */
		for (unsigned i = unit_random(&random) % sc->n; round % 3 == 0 && i < sc->n; i++)
			if (sc->part[i].keys) {
				sc->part[i].bad = true;
				break;
			}
		snprintf(what, sizeof(what), "round %u", round);
		try(sc, 1 + round % 4, what);
	}
	scene_end(&sc);
}

/* The second of two holes takes the key block of the first. */
static void a_hole_that_takes_the_key_block_of_another(void **state)
{
	(void)state;
	struct scene *sc = long_scene(false);
	unsigned tried = 0;
	for (unsigned i = 0; i < sc->n && tried < 5; i++) {
		const struct part *keys = &sc->part[i];
		if (!keys->keys)
			continue;
		for (unsigned k = 0; k < i; k++)
			if (sc->part[k].count && sc->part[k].first == keys->keys_first)
				sc->part[k].bad = true;
		unsigned with = try(sc, 2, "with its key block");
		for (unsigned k = 0; k < i; k++)
			if (sc->part[k].count && sc->part[k].first == keys->keys_first)
				sc->part[k].bad = sc->part[i].bad = true;
		unsigned without = try(sc, 2, "without its key block");
		assert_true(with <= without);
		tried++;
	}
	assert_int_equal(tried, 5);
	scene_end(&sc);
}

/* Sectors of zeros, the one with the segment's header among them. */
static void zeroed_sectors(void **state)
{
	(void)state;
	struct scene *sc = long_scene(true);
	char what[96];
	for (unsigned f = 0; image_find(&sc->image, "log-", f); f++) {
		struct image_file *file = image_find(&sc->image, "log-", f);
		for (size_t at = 0; at < file->len; at += at == 0 ? 4096 : 32768) {
			uint8_t saved[4096];
			size_t len = file->len - at < sizeof(saved) ? file->len - at : sizeof(saved);
			memcpy(saved, file->data + at, len);
			memset(file->data + at, 0, len);
			put_file(sc, file);
			for (unsigned i = 0; i < sc->n; i++)
				sc->part[i].bad = sc->part[i].file == file && sc->part[i].offset < at + len &&
				                  sc->part[i].end > at;
			struct recovered rec = recover_dir(sc->s.path, MEMORY, 2, false);
			assert_int_equal(rec.status, HEARTH_OK);
			snprintf(what, sizeof(what), "%s, sector at %zu", file->name, at);
			assert_left(sc, rec.fact, what);
			recovered_free(&rec);
			memcpy(file->data + at, saved, len);
		}
		put_file(sc, file);
	}
	scene_end(&sc);
}

/* A whole segment, when what it held is described behind it: short ones are. */
static void missing_segments(void **state)
{
	(void)state;
	for (unsigned rotate = 40; rotate <= 400; rotate += 360) {
		struct scene *sc =
		    scene_make((struct how){.n = 1600, .batch = 2, .rotate = rotate, .clean = true});
		for (unsigned f = 0; image_find(&sc->image, "log-", f + 1); f++) {
			struct image_file *file = image_find(&sc->image, "log-", f);
			assert_int_equal(unlinkat(sc->s.fd, file->name, 0), 0);
			for (unsigned i = 0; i < sc->n; i++)
				sc->part[i].bad = sc->part[i].file == file;
			struct recovered rec = recover_dir(sc->s.path, MEMORY, 2, false);
			assert_int_equal(rec.status, HEARTH_OK);
			assert_left(sc, rec.fact, file->name);
			assert_true(rec.result->damaged > 0);
			recovered_free(&rec);
			put_file(sc, file);
		}
		scene_end(&sc);
	}
}

/* Starts decide the same, whatever is written between them, until a snapshot has retired what was bad. */
static void later_starts_decide_the_same(void **state)
{
	(void)state;
	struct scene *sc = long_scene(false);
	struct engine_options o = engine_defaults();
	for (unsigned at = 300; at < sc->n; at += 700) {
		struct fact facts[HISTORY_KEYS];
		uint64_t hash = 0;
		sc->part[at].bad = true;
		struct part *p = &sc->part[at];
		p->file->data[p->end - 1] ^= 1;
		image_put(&sc->image, sc->s.fd);
		for (unsigned start = 0; start < 4; start++) {
			struct engine_recovery r;
			struct engine *e = engine_at(sc->s.path, &o, &r);
			assert_true(start > 0 || r.damaged > 0);
			facts_read(e->store, clock_now(e->clock), facts);
			if (start == 0)
				assert_left(sc, facts, "first start");
			else
				assert_true(facts_hash(facts) == hash);
			/* What is set now must stay. */
			if (start == 0) {
				struct op op = {
				    .kind = OP_SET, .key = sc->key[p->first], .number = 77, .len = 50};
				engine_await(e, op_run(engine_get_worker(e, 0), &op));
			}
			hash = engine_hash(e);
			if (start == 2)
				take_snapshot(e);
			if (start == 1)
				MUST(engine_stop(e, NULL) == HEARTH_OK);
			facts_free(facts);
			engine_close(&e);
		}
		p->file->data[p->end - 1] ^= 1;
		p->bad = false;
	}
	scene_end(&sc);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_block_costs_its_own_keys),
    cmocka_unit_test(without_seal_the_last_stretches_cost_all),
    cmocka_unit_test(a_long_log_has_key_blocks),
    cmocka_unit_test(key_blocks_keep_their_distance),
    cmocka_unit_test(key_blocks_alone_cost_nothing),
    cmocka_unit_test(several_holes),
    cmocka_unit_test(a_hole_that_takes_the_key_block_of_another),
    cmocka_unit_test(zeroed_sectors),
    cmocka_unit_test(missing_segments),
    cmocka_unit_test(later_starts_decide_the_same),
};
UNIT_MAIN(tests)
