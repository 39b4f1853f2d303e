/* SPDX-License-Identifier: BSD-3-Clause */
/* recover_damage: what recovery makes of directories that were cut, flipped, zeroed, mixed and bereft. The rule held
 * throughout: it opens; what it shows is the state after some prefix of the changes where a tail was cut, and else
 * for each key the last state or nothing; --strict refuses and changes nothing. */
#include "history.h"

#define MEMORY (8 * MIB)

struct scene {
	struct unit_scratch s;
	struct history h;
	struct image image;
	uint64_t *hash; /* of the state after each change */
	uint64_t n;
};

/* n changes in a new directory, `snapshot_at` of them before a snapshot (0 = none), a new segment
 * after each `rotate` of them; the image is what a kill would leave. */
static struct scene scene_make(unsigned n, unsigned snapshot_at, unsigned rotate, bool clean)
{
	struct scene sc = {.s = unit_scratch_begin(), .h = {.random = 4711, .flushes = true}, .n = n};
	struct engine_options o = engine_defaults();
	struct engine *e = engine_at(sc.s.path, &o, NULL);
	sc.hash = calloc(n + 1, sizeof(*sc.hash));
	for (unsigned i = 1; i <= n; i++) {
		history_run(&sc.h, e, 1, 1);
		sc.hash[i] = facts_hash(sc.h.fact);
		if (i == snapshot_at) {
			struct engine_stats st;
			MUST(engine_snapshot(e, NULL, NULL) == HEARTH_OK);
			do {
				pause_ms(1);
				engine_get_stats(e, &st);
			} while (st.snapshots == 0 || st.snapshot_running);
		}
		if (rotate && i % rotate == 0)
			wal_rotate(e->wal);
	}
	if (clean)
		MUST(engine_stop(e, NULL) == HEARTH_OK);
	sc.image = image_take(sc.s.fd);
	engine_close(&e);
	image_put(&sc.image, sc.s.fd);
	return sc;
}

static void scene_end(struct scene *sc)
{
	facts_free(sc->h.fact);
	image_free(&sc->image);
	free(sc->hash);
	unit_scratch_end(&sc->s);
}

/* The number of changes after which the state was this; the highest; -1 = never. */
static int64_t prefix_of(const struct scene *sc, const struct fact *facts)
{
	uint64_t hash = facts_hash(facts);
	for (uint64_t i = sc->n + 1; i-- > 0;)
		if (sc->hash[i] == hash)
			return (int64_t)i;
	return -1;
}

/* Each key is in its last state or gone. */
static bool nothing_stale(const struct scene *sc, const struct fact *facts)
{
	for (uint32_t i = 0; i < HISTORY_KEYS; i++)
		if (facts[i].live && fact_hash(i, &facts[i]) != fact_hash(i, &sc->h.fact[i]))
			return false;
	return true;
}

static bool empty(const struct fact *facts)
{
	return facts_hash(facts) == 0;
}

static void as_it_is(struct scene *sc)
{
	for (unsigned threads = 1; threads <= 5; threads += 2) {
		struct recovered rec = recover_dir(sc->s.path, MEMORY, threads, true);
		assert_int_equal(rec.status, HEARTH_OK);
		assert_int_equal(rec.result->damaged, 0);
		assert_int_equal(rec.result->left_out_bytes, 0);
		assert_int_equal(prefix_of(sc, rec.fact), sc->n);
		assert_int_equal(rec.result->start.last_seq, sc->n);
		recovered_free(&rec);
	}
}

static void undamaged_it_is_all_there(void **state)
{
	(void)state;
	struct scene sc = scene_make(400, 0, 0, false);
	as_it_is(&sc);
	scene_end(&sc);
	sc = scene_make(400, 200, 0, false);
	as_it_is(&sc);
	scene_end(&sc);
	sc = scene_make(400, 100, 90, true);
	as_it_is(&sc);
	scene_end(&sc);
}

static struct image_file *last_log(struct scene *sc)
{
	struct image_file *f = NULL, *next;
	for (unsigned i = 0; (next = image_find(&sc->image, "log-", i)); i++)
		if (next->len)
			f = next;
	return f;
}

static void a_log_that_was_cut_is_a_prefix(void **state)
{
	(void)state;
	struct scene sc = scene_make(300, 100, 0, false);
	struct image_file *log = last_log(&sc);
	int64_t last = -1;
	for (size_t len = 0; len <= log->len; len += len < 400 || len + 400 > log->len ? 1 : 37) {
		unit_write_file(sc.s.fd, log->name, log->data, len);
		struct recovered rec = recover_dir(sc.s.path, MEMORY, 2, true);
		assert_int_equal(rec.status, HEARTH_OK);
		int64_t at = prefix_of(&sc, rec.fact);
		assert_true(at >= last && at >= 100);
		last = at;
		recovered_free(&rec);
	}
	assert_int_equal(last, sc.n);
	scene_end(&sc);
}

/* A zero-filled tail is a cut. */
static void a_zero_filled_tail_is_a_cut(void **state)
{
	(void)state;
	struct scene sc = scene_make(300, 100, 0, false);
	struct image_file *log = last_log(&sc);
	uint8_t *data = calloc(1, log->len + 8192);
	for (size_t len = SEGMENT_HEADER_SIZE; len <= log->len; len += len + 200 > log->len ? 1 : 97) {
		memcpy(data, log->data, len);
		memset(data + len, 0, log->len + 8192 - len);
		unit_write_file(sc.s.fd, log->name, data, len + 512 + (len * 13) % 7000);
		struct recovered rec = recover_dir(sc.s.path, MEMORY, 2, true);
		assert_int_equal(rec.status, HEARTH_OK);
		assert_true(prefix_of(&sc, rec.fact) >= 100);
		assert_true(rec.result->left_out_bytes > 0);
		recovered_free(&rec);
	}
	free(data);
	scene_end(&sc);
}

/* One bit of one file. Returns whether recovery showed all. */
static void flip(struct scene *sc, struct image_file *f, size_t at, unsigned bit, bool may_cut)
{
	f->data[at] ^= (uint8_t)(1u << bit);
	unit_write_file(sc->s.fd, f->name, f->data, f->len);
	struct recovered rec = recover_dir(sc->s.path, MEMORY, 1 + bit % 2, false);
	if (rec.status != HEARTH_OK)
		print_error("%s: byte %zu bit %u: status %d\n", f->name, at, bit, rec.status);
	assert_int_equal(rec.status, HEARTH_OK);
	bool fine = nothing_stale(sc, rec.fact) || (may_cut && prefix_of(sc, rec.fact) >= (int64_t)sc->n - 1);
	if (!fine)
		print_error(
		    "%s: byte %zu of %zu, bit %u: stale; %s\n", f->name, at, f->len, bit, rec.result->note);
	assert_true(fine);
	bool all = facts_hash(rec.fact) == sc->hash[sc->n];
	bool told = rec.result->damaged + rec.result->left_out_bytes > 0;
	if (!all && !told)
		print_error("%s: byte %zu bit %u: silent\n", f->name, at, bit);
	assert_true(all || told);
	recovered_free(&rec);
	f->data[at] ^= (uint8_t)(1u << bit);
}

static void flip_all(struct scene *sc, struct image_file *f, unsigned samples)
{
	/* The last change of the log may be taken for a write that was cut off. */
	size_t step = f->len * 8 / samples + 1, tail = strncmp(f->name, "log-", 4) == 0 ? 500 : 0;
	for (size_t bit = 0; bit < f->len * 8; bit += step)
		flip(sc, f, bit / 8, bit % 8, bit / 8 + tail >= f->len);
	for (size_t at = 0; at < f->len && at < SEGMENT_HEADER_SIZE + 2 * BLOCK_HEADER_SIZE; at++)
		flip(sc, f, at, at % 8, at + tail >= f->len);
	unit_write_file(sc->s.fd, f->name, f->data, f->len);
}

static void a_flipped_bit_shows_nothing_stale(void **state)
{
	(void)state;
	struct scene sc = scene_make(250, 100, 80, false);
	for (unsigned i = 0; i < sc.image.n; i++)
		if (sc.image.file[i].len)
			flip_all(&sc, &sc.image.file[i], 400);
	scene_end(&sc);
}

/* After a stop in order the manifest knows the last number: there is no tail that may be missing, but for the seal. */
static void after_a_clean_stop_a_cut_is_damage(void **state)
{
	(void)state;
	struct scene sc = scene_make(250, 100, 0, true);
	struct image_file *log = last_log(&sc);
	for (size_t len = 0; len < log->len; len += len < 400 ? 50 : 211) {
		unit_write_file(sc.s.fd, log->name, log->data, len);
		struct recovered rec = recover_dir(sc.s.path, MEMORY, 2, false);
		assert_int_equal(rec.status, HEARTH_OK);
		assert_true(nothing_stale(&sc, rec.fact));
		assert_true(rec.result->damaged > 0 || facts_hash(rec.fact) == sc.hash[sc.n]);
		recovered_free(&rec);
	}
	scene_end(&sc);
}

static void refuses_strictly(struct scene *sc)
{
	struct engine_options o = engine_defaults();
	struct engine *e;
	struct hearth_error err;
	struct image before = image_take(sc->s.fd);
	o.strict = true;
	assert_int_equal(engine_try(&e, sc->s.path, &o, NULL, &err), HEARTH_DAMAGED);
	struct image after = image_take(sc->s.fd);
	assert_int_equal(after.n, before.n);
	for (unsigned i = 0; i < before.n; i++) {
		assert_string_equal(after.file[i].name, before.file[i].name);
		assert_int_equal(after.file[i].len, before.file[i].len);
		assert_memory_equal(after.file[i].data, before.file[i].data, before.file[i].len);
	}
	image_free(&before);
	image_free(&after);
}

static void strict_refuses_and_changes_nothing(void **state)
{
	(void)state;
	struct scene sc = scene_make(250, 100, 80, false);
	struct image_file *log = image_find(&sc.image, "log-", 0);
	log->data[log->len / 2] ^= 4;
	unit_write_file(sc.s.fd, log->name, log->data, log->len);
	refuses_strictly(&sc);
	/* Without it the daemon starts, and the second start finds what the first one left. */
	struct engine_options o = engine_defaults();
	struct engine_recovery r;
	struct engine *e = engine_at(sc.s.path, &o, &r);
	assert_true(r.damaged > 0);
	assert_true(r.note[0] != 0);
	uint64_t hash = engine_hash(e);
	engine_close(&e);
	e = engine_at(sc.s.path, &o, &r);
	assert_true(engine_hash(e) == hash);
	engine_close(&e);
	scene_end(&sc);
}

/* ---- files that are missing, zeroed, swapped, foreign ---- */

static void expect_nothing_stale(struct scene *sc)
{
	struct recovered rec = recover_dir(sc->s.path, MEMORY, 2, false);
	assert_int_equal(rec.status, HEARTH_OK);
	if (!nothing_stale(sc, rec.fact))
		print_error("stale: %s\n", rec.result->note);
	assert_true(nothing_stale(sc, rec.fact));
	assert_true(facts_hash(rec.fact) == sc->hash[sc->n] || rec.result->damaged > 0);
	recovered_free(&rec);
}

static void a_missing_segment(unsigned n, unsigned snapshot_at, unsigned rotate)
{
	struct scene sc = scene_make(n, snapshot_at, rotate, false);
	for (unsigned i = 0; image_find(&sc.image, "log-", i); i++) {
		struct image_file *f = image_find(&sc.image, "log-", i);
		if (f->len == 0)
			continue;
		assert_int_equal(unlinkat(sc.s.fd, f->name, 0), 0);
		expect_nothing_stale(&sc);
		unit_write_file(sc.s.fd, f->name, f->data, f->len);
	}
	scene_end(&sc);
}

static void a_missing_segment_shows_nothing_stale(void **state)
{
	(void)state;
	a_missing_segment(300, 0, 70);
	a_missing_segment(300, 200, 0);
	a_missing_segment(300, 100, 60);
}

static void a_zeroed_stretch_shows_nothing_stale(void **state)
{
	(void)state;
	struct scene sc = scene_make(300, 100, 70, false);
	for (unsigned i = 0; i < sc.image.n; i++) {
		struct image_file *f = &sc.image.file[i];
		for (size_t at = 0; at + 512 < f->len; at += 512) {
			uint8_t *data = malloc(f->len);
			memcpy(data, f->data, f->len);
			memset(data + at, 0, 512);
			unit_write_file(sc.s.fd, f->name, data, f->len);
			free(data);
			expect_nothing_stale(&sc);
		}
		unit_write_file(sc.s.fd, f->name, f->data, f->len);
	}
	scene_end(&sc);
}

static void swapped_and_doubled_segments_show_nothing_stale(void **state)
{
	(void)state;
	struct scene sc = scene_make(300, 0, 150, false);
	struct image_file *a = image_find(&sc.image, "log-", 0), *b = image_find(&sc.image, "log-", 1);
	assert_true(a && b && a->len && b->len);
	unit_write_file(sc.s.fd, a->name, b->data, b->len);
	expect_nothing_stale(&sc);
	unit_write_file(sc.s.fd, b->name, a->data, a->len);
	expect_nothing_stale(&sc);
	unit_write_file(sc.s.fd, a->name, a->data, a->len);
	expect_nothing_stale(&sc);
	/* Blocks of the segment once more behind its end. */
	uint8_t *twice = malloc(b->len * 2);
	memcpy(twice, b->data, b->len);
	memcpy(twice + b->len, b->data + SEGMENT_HEADER_SIZE, b->len - SEGMENT_HEADER_SIZE);
	unit_write_file(sc.s.fd, b->name, twice, b->len * 2 - SEGMENT_HEADER_SIZE);
	expect_nothing_stale(&sc);
	free(twice);
	scene_end(&sc);
}

/* traps 24 and 25: a file of another directory counts for nothing. */
static void trap25_spliced_files_of_another_directory_count_for_nothing(void **state)
{
	(void)state;
	struct scene sc = scene_make(300, 100, 0, false), other = scene_make(290, 90, 0, false);
	for (unsigned i = 0; i < sc.image.n; i++) {
		struct image_file *f = &sc.image.file[i], *g = NULL;
		for (unsigned k = 0; k < other.image.n; k++)
			if (strcmp(other.image.file[k].name, f->name) == 0)
				g = &other.image.file[k];
		if (i == 0 || !g || g->len == 0)
			continue;
		unit_write_file(sc.s.fd, f->name, g->data, g->len);
		expect_nothing_stale(&sc);
		/* Its blocks behind our own header. */
		if (strncmp(f->name, "log-", 4) == 0) {
			uint8_t *mixed = malloc(g->len);
			memcpy(mixed, g->data, g->len);
			memcpy(mixed, f->data, SEGMENT_HEADER_SIZE);
			unit_write_file(sc.s.fd, f->name, mixed, g->len);
			free(mixed);
			struct recovered rec = recover_dir(sc.s.path, MEMORY, 2, false);
			assert_true(empty(rec.fact) || prefix_of(&sc, rec.fact) >= 100);
			recovered_free(&rec);
		}
		unit_write_file(sc.s.fd, f->name, f->data, f->len);
	}
	scene_end(&sc);
	scene_end(&other);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(undamaged_it_is_all_there),
    cmocka_unit_test(a_log_that_was_cut_is_a_prefix),
    cmocka_unit_test(a_zero_filled_tail_is_a_cut),
    cmocka_unit_test(a_flipped_bit_shows_nothing_stale),
    cmocka_unit_test(after_a_clean_stop_a_cut_is_damage),
    cmocka_unit_test(strict_refuses_and_changes_nothing),
    cmocka_unit_test(a_missing_segment_shows_nothing_stale),
    cmocka_unit_test(a_zeroed_stretch_shows_nothing_stale),
    cmocka_unit_test(swapped_and_doubled_segments_show_nothing_stale),
    cmocka_unit_test(trap25_spliced_files_of_another_directory_count_for_nothing),
};
UNIT_MAIN(tests)
