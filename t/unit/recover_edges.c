/* SPDX-License-Identifier: BSD-3-Clause */
/* recover_edges: corners of recovery, a directory each that is written by hand: records that are too large and lie about
 * themselves, files that a newer version or somebody else wrote, segments that are missing where nothing else tells of
 * them, in this boot and in another. What is shown is what the log says up to where it ends for certain, or less. */
#include "written.h"
#include "persist/window.h"
#include <hearth/keyblock.h>

/* ---- writing ---- */

/* A block of one record whose value unpacks to more than a window: all its own, but small on disk. */
static void write_giant(struct written *w, uint32_t key, uint64_t seq, uint32_t count, uint16_t flags)
{
	char *value = calloc(1, WINDOW_SIZE + 4097);
	MUST(value);
	memset(value, 'g', WINDOW_SIZE + 4096);
	struct record r = set_record(key, value, 0);
	r.seq = seq;
	struct block_header b;
	uint8_t *raw = written_encode(&r, &b), *packed = malloc(ZSTD_compressBound(b.raw_len));
	MUST(packed);
	b.stored_len = (uint32_t)ZSTD_compress(packed, ZSTD_compressBound(b.raw_len), raw, b.raw_len, 1);
	b.flags = flags;
	b.count = count;
	written_block(w, b, packed);
	free(packed);
	free(raw);
	free(value);
}

/* The manifest does not name it any more. */
static void forget_segment(struct written *w, uint64_t number)
{
	for (size_t i = 0; i < w->m.n_segments; i++) {
		if (w->m.segments[i].number != number)
			continue;
		w->m.n_segments--;
		memmove(&w->m.segments[i], &w->m.segments[i + 1],
		    (w->m.n_segments - i) * sizeof(w->m.segments[0]));
		return;
	}
	MUST(!"there");
}

static void zero_header(struct written *w)
{
	static const uint8_t zeros[SEGMENT_HEADER_SIZE];
	MUST(pwrite(w->fd, zeros, sizeof(zeros), 0) == sizeof(zeros));
}

static void spoil_header(struct written *w)
{
	MUST(pwrite(w->fd, "spoilt", 6, 100) == 6);
}

static struct loaded load_and_end(struct written *w)
{
	written_manifest(w);
	struct loaded l = load_dir(w->s.path);
	written_end(w);
	return l;
}

/* ---- giants ---- */

struct lie {
	uint64_t seq;
	uint32_t count;
	uint16_t flags;
	enum hearth_status status;
	bool damaged;
};

static void a_giant_is_believed_when_it_agrees_with_its_block(void **state)
{
	(void)state;
	static const struct lie lies[] = {
	    {0, 1, BLOCK_ZSTD, HEARTH_OK, false},
	    {2, 1, BLOCK_ZSTD, HEARTH_OK, false},
	    {3, 1, BLOCK_ZSTD, HEARTH_OK, true},
	    {0, 2, BLOCK_ZSTD, HEARTH_OK, true},
	    {0, 1, 0, HEARTH_OK, true},
	    {0, 1, 0x80, HEARTH_NEWER, false},
	};
	for (size_t i = 0; i < sizeof(lies) / sizeof(*lies); i++) {
		struct written w = written_begin();
		written_segment(&w);
		written_set(&w, 1, "old", 0);
		write_giant(&w, 1, lies[i].seq, lies[i].count, lies[i].flags);
		written_set(&w, 2, "new", 0);
		struct loaded l = load_and_end(&w);
		assert_int_equal(l.status, lies[i].status);
		assert_int_equal(l.result->damaged > 0, lies[i].damaged);
		assert_true(l.status != HEARTH_OK || loaded_is(&l, 1, NULL));
		assert_true(l.status != HEARTH_OK || loaded_is(&l, 2, "new"));
		loaded_end(&l);
	}
}

/* What a snapshot holds already is not undone by the record before it. */
static void a_giant_below_the_snapshot_is_over(void **state)
{
	(void)state;
	struct written w = written_begin();
	struct record r = set_record(1, "later", 0);
	written_segment(&w);
	written_set(&w, 1, "x", 0);
	write_giant(&w, 1, 0, 1, BLOCK_ZSTD);
	written_set(&w, 1, "later", 0);
	r.seq = 3;
	written_snapshot(&w, &r, 1, 3, 3);
	written_set(&w, 2, "behind", 0);
	struct loaded l = load_and_end(&w);
	assert_int_equal(l.status, HEARTH_OK);
	assert_int_equal(l.result->damaged, 0);
	assert_true(loaded_is(&l, 1, "later"));
	assert_true(loaded_is(&l, 2, "behind"));
	loaded_end(&l);
}

/* ---- a flush ---- */

/* One thread applies what lies in a window with a flush: the same records, by the same rules. */
static void a_flush_lies_among_records_of_all_kinds(void **state)
{
	(void)state;
	uint8_t keys[32] = {0};
	uint32_t len = (uint32_t)keyblock_encode_head(RECORD_KEY_BLOCK, 1, 1, keys) + 4;
	for (unsigned flush = 0; flush < 2; flush++) {
		struct written w = written_begin();
		struct record there = set_record(2, "two", 0), packed = set_record(5, "packed", 0);
		written_segment(&w);
		written_set(&w, 1, "superseded", 0);
		written_set(&w, 2, "two", 0);
		there.seq = 2;
		packed.dict = 9;
		written_snapshot(&w, &there, 1, 2, 2);
		written_record(&w, (struct record){.type = flush ? RECORD_FLUSH : RECORD_PASS});
		written_set(&w, 5, "old", 0);
		written_record(&w, (struct record){.type = RECORD_PASS});
		written_block(&w, (struct block_header){.stored_len = len, .raw_len = len}, keys);
		written_record(&w, packed);
		written_set(&w, 6, "six", 0);
		struct loaded l = load_and_end(&w);
		assert_int_equal(l.status, HEARTH_OK);
		assert_int_equal(l.result->damaged, 1); /* the dictionary */
		assert_int_equal(l.result->dropped, 1);
		assert_int_equal(l.result->start.last_seq, 7);
		assert_true(loaded_is(&l, 1, NULL));
		assert_true(loaded_is(&l, 2, flush ? NULL : "two"));
		assert_true(loaded_is(&l, 5, NULL));
		assert_true(loaded_is(&l, 6, "six"));
		loaded_end(&l);
	}
}

/* As many threads as there may be, whatever is asked for. */
static void any_number_of_threads_will_do(void **state)
{
	(void)state;
	for (unsigned threads = 0; threads <= 200; threads += 100) {
		struct written w = written_begin();
		written_segment(&w);
		for (uint32_t key = 0; key < HISTORY_KEYS; key++)
			written_set(&w, key, "value", 0);
		written_manifest(&w);
		struct loaded l = load_with(w.s.path,
		    &(struct store_options){.memory = 64 * MIB, .item_max = MIB, .threads = threads});
		assert_int_equal(l.status, HEARTH_OK);
		for (uint32_t key = 0; key < HISTORY_KEYS; key++)
			assert_true(loaded_is(&l, key, "value"));
		loaded_end(&l);
		written_end(&w);
	}
}

/* ---- not for this version, not of this directory ---- */

static void a_file_that_may_only_be_read_refuses_the_start(void **state)
{
	(void)state;
	for (unsigned kind = 0; kind < 2; kind++) {
		struct written w = written_begin();
		struct record r = set_record(1, "x", 0);
		r.seq = 1;
		w.next = 2;
		w.read_only = kind == 0;
		written_snapshot(&w, &r, 1, 1, 1);
		w.read_only = kind == 1;
		written_segment(&w);
		written_set(&w, 2, "y", 0);
		struct loaded l = load_and_end(&w);
		assert_int_equal(l.status, HEARTH_NEWER);
		assert_string_equal(l.err.file, kind ? "log-0000000001" : "snapshot-0000000001");
		loaded_end(&l);
	}
}

static void a_snapshot_that_is_another_than_named_is_left_out(void **state)
{
	(void)state;
	for (unsigned kind = 0; kind < 2; kind++) {
		struct written w = written_begin();
		struct record r = set_record(1, "x", 0);
		r.seq = 1;
		w.next = 2;
		written_snapshot(&w, &r, 1, 1, 1);
		if (kind)
			w.m.snapshots[0].start = 0;
		else
			MUST(renameat(w.s.fd, "snapshot-0000000001", w.s.fd, "snapshot-0000000007") == 0);
		w.m.snapshots[0].number = kind ? 1 : 7;
		written_segment(&w);
		written_set(&w, 2, "y", 0);
		struct loaded l = load_and_end(&w);
		assert_int_equal(l.status, HEARTH_OK);
		assert_true(l.result->damaged > 0);
		assert_int_equal(l.result->snapshot, 0);
		assert_true(loaded_is(&l, 1, NULL));
		loaded_end(&l);
	}
}

/* A record that is no set, and one that nobody can unpack, among those of a snapshot. */
static void a_snapshot_holds_sets_that_can_be_applied(void **state)
{
	(void)state;
	struct written w = written_begin();
	struct record there[4] = {set_record(1, "", 0), set_record(2, "packed", 0), set_record(3, "x", 0),
	    set_record(4, "no number", 0)};
	there[0].type = RECORD_DELETE;
	there[1].dict = 9;
	for (unsigned i = 0; i < 3; i++)
		there[i].seq = i + 1;
	w.next = 4;
	written_snapshot(&w, there, 4, 3, 3);
	struct loaded l = load_and_end(&w);
	assert_int_equal(l.status, HEARTH_OK);
	assert_true(loaded_is(&l, 1, NULL));
	assert_true(loaded_is(&l, 2, NULL));
	assert_true(loaded_is(&l, 3, "x"));
	assert_true(loaded_is(&l, 4, NULL));
	assert_int_equal(l.result->dropped, 1);
	/* What is no set, what has no number, and the dictionary. */
	assert_int_equal(l.result->damaged, 3);
	loaded_end(&l);
}

/* ---- a segment that nothing tells of ---- */

struct missing {
	bool other_boot, durable, clean, snapshot;
	bool damage; /* else the log ends before it */
};

/* The second of three segments is gone, from the manifest, too. */
static void a_gap_ends_the_log_only_where_a_power_cut_can_have(void **state)
{
	(void)state;
	static const struct missing cases[] = {
	    {.other_boot = true},
	    {.other_boot = true, .durable = true, .damage = true},
	    {.other_boot = true, .clean = true, .damage = true},
	    {.other_boot = true, .snapshot = true, .damage = true},
	    {.damage = true},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const struct missing *c = &cases[i];
		struct written w = written_begin();
		struct record r = set_record(9, "nine", 0);
		r.seq = 1;
		w.other_boot = c->other_boot;
		if (c->snapshot) {
			w.next = 2;
			written_snapshot(&w, &r, 1, 1, 4);
		}
		written_segment(&w);
		written_set(&w, 1, "old", 0);
		written_set(&w, 2, "old", 0);
		written_segment(&w);
		written_delete(&w, 1);
		written_segment(&w);
		w.durable = c->durable ? w.next - 1 : 0;
		written_set(&w, 3, "new", 0);
		forget_segment(&w, 2);
		MUST(unlinkat(w.s.fd, "log-0000000002", 0) == 0);
		w.m.clean = c->clean;
		w.m.last_seq = c->clean ? w.next - 1 : 0;
		struct loaded l = load_and_end(&w);
		assert_int_equal(l.status, HEARTH_OK);
		assert_int_equal(l.result->damaged > 0, c->damage);
		assert_true(loaded_is(&l, 1, c->damage ? NULL : "old"));
		assert_true(loaded_is(&l, 3, c->damage ? "new" : NULL));
		assert_int_equal(l.result->left_out_bytes > 0, !c->damage);
		loaded_end(&l);
	}
}

/* The last block of a segment and the header of the next did not reach the disk. */
static void zeros_for_a_header_end_the_log_in_another_boot(void **state)
{
	(void)state;
	for (unsigned durable = 0; durable < 2; durable++) {
		struct written w = written_begin();
		w.other_boot = true;
		written_segment(&w);
		written_set(&w, 1, "old", 0);
		written_delete(&w, 1);
		MUST(ftruncate(w.fd, (off_t)w.block) == 0);
		written_segment(&w);
		written_set(&w, 2, "x", 0);
		zero_header(&w);
		written_segment(&w);
		w.durable = durable ? w.next - 1 : 0;
		written_set(&w, 3, "new", 0);
		struct loaded l = load_and_end(&w);
		assert_int_equal(l.status, HEARTH_OK);
		assert_true(loaded_is(&l, 1, durable ? NULL : "old"));
		assert_true(loaded_is(&l, 3, durable ? "new" : NULL));
		loaded_end(&l);
	}
}

/* The damage is the last block of its segment; what lies behind is a segment whose own header is bad, or one that does not
 * name it. */
static void what_proves_damage_need_not_say_where_the_log_goes_on(void **state)
{
	(void)state;
	for (unsigned kind = 0; kind < 3; kind++) {
		struct written w = written_begin();
		written_segment(&w);
		written_set(&w, 1, "old", 0);
		written_delete(&w, 1);
		written_damage(&w);
		written_segment(&w);
		written_set(&w, 2, "x", 0);
		if (kind == 0)
			spoil_header(&w);
		if (kind == 1) { /* it is missing, and named */
			written_segment(&w);
			written_set(&w, 3, "behind", 0);
			MUST(unlinkat(w.s.fd, "log-0000000002", 0) == 0);
		}
		if (kind == 2) { /* missing, and what is behind has no header either */
			written_segment(&w);
			written_set(&w, 3, "behind", 0);
			spoil_header(&w);
			MUST(unlinkat(w.s.fd, "log-0000000002", 0) == 0);
		}
		struct loaded l = load_and_end(&w);
		assert_int_equal(l.status, HEARTH_OK);
		assert_true(l.result->damaged > 0);
		assert_true(loaded_is(&l, 1, NULL));
		assert_true(kind == 0 ? loaded_is(&l, 2, "x") : loaded_is(&l, 3, "behind"));
		loaded_end(&l);
	}
}

/* The stop in order said how far the log goes. */
static void a_log_shorter_than_the_last_stop_said_is_damaged(void **state)
{
	(void)state;
	for (unsigned segments = 1; segments <= 2; segments++) {
		struct written w = written_begin();
		w.other_boot = segments == 2;
		written_segment(&w);
		written_set(&w, 1, "old", 0);
		if (segments == 2)
			written_segment(&w);
		written_delete(&w, 1);
		MUST(ftruncate(w.fd, (off_t)w.block) == 0);
		w.m.clean = true;
		w.m.last_seq = w.next - 1;
		struct loaded l = load_and_end(&w);
		assert_int_equal(l.status, HEARTH_OK);
		assert_true(l.result->damaged > 0);
		assert_true(loaded_is(&l, 1, NULL));
		assert_int_equal(l.result->start.last_seq, 2);
		loaded_end(&l);
	}
}

/* With neither a manifest nor its own header nothing but its name tells of the last segment, which may have changed
 * anything. */
static void a_last_segment_without_header_and_manifest_is_damage(void **state)
{
	(void)state;
	struct written w = written_begin();
	written_segment(&w);
	written_set(&w, 1, "old", 0);
	written_segment(&w);
	written_set(&w, 1, "new", 0);
	spoil_header(&w);
	struct loaded l = load_dir(w.s.path);
	assert_int_equal(l.status, HEARTH_OK);
	assert_true(l.result->damaged > 1);
	assert_true(loaded_is(&l, 1, NULL));
	loaded_end(&l);
	written_end(&w);
}

/* In another boot only what says that a hole was durable proves that it is damage: wherever that lies, be it behind the place
 * at which the next segment says that this one ended. */
static void what_lies_behind_the_end_proves_damage_too(void **state)
{
	(void)state;
	struct written w = written_begin();
	w.other_boot = 1;
	written_segment(&w);
	written_set(&w, 1, "old", 0);
	written_set(&w, 1, "new", 0);
	written_damage(&w);
	w.durable = 2;
	written_set(&w, 2, "behind", 0);
	w.offset--;
	written_segment(&w);
	struct loaded l = load_and_end(&w);
	assert_int_equal(l.status, HEARTH_OK);
	assert_true(l.result->damaged > 0);
	assert_true(loaded_is(&l, 1, NULL));
	loaded_end(&l);
}

/* A kill leaves a manifest that has but a lower bound of where the last segment begins: what the one before it holds above
 * that is no less needed by the snapshot behind which it lies. */
static void a_bound_that_a_kill_left_retires_nothing(void **state)
{
	(void)state;
	struct written w = written_begin();
	struct engine_options o = engine_defaults();
	struct engine_recovery r;
	struct engine_stats st;
	o.keep = 2;
	written_segment(&w);
	written_set(&w, 1, "old", 0);
	written_snapshot(&w, NULL, 0, 1, 1);
	written_set(&w, 2, "behind the snapshot", 0);
	written_segment(&w);
	written_set(&w, 3, "behind that", 0);
	w.m.segments[1].first = 2;
	written_manifest(&w);
	struct engine *e = engine_at(w.s.path, &o, &r);
	assert_int_equal(r.damaged, 0);
	MUST(engine_snapshot(e, NULL, NULL) == HEARTH_OK);
	do {
		pause_ms(1);
		engine_get_stats(e, &st);
	} while (st.snapshots == 0);
	assert_true(unit_exists(w.s.fd, "snapshot-0000000001"));
	assert_true(unit_exists(w.s.fd, "log-0000000001"));
	engine_close(&e);
	written_end(&w);
}

/* Nor does a generation that is not read any more keep its log for ever: behind a pinned snapshot of it only what that needs. */
static void a_generation_that_is_left_is_retired_as_any_other(void **state)
{
	(void)state;
	struct written w = written_begin();
	struct engine_options o = engine_defaults();
	struct engine_recovery r;
	struct engine_stats st;
	o.keep = 1;
	written_segment(&w);
	written_set(&w, 1, "old", 0);
	written_snapshot(&w, NULL, 0, 0, 1);
	written_segment(&w);
	written_set(&w, 2, "behind that", 0);
	written_snapshot(&w, NULL, 0, 1, 2);
	w.m.snapshots[1].pinned = true;
	w.m.untrusted = true;
	w.m.high_water = 100;
	written_manifest(&w);
	struct engine *e = engine_at(w.s.path, &o, &r);
	MUST(engine_snapshot(e, NULL, NULL) != HEARTH_IO);
	do {
		pause_ms(1);
		engine_get_stats(e, &st);
	} while (st.snapshots == 0);
	assert_false(unit_exists(w.s.fd, "snapshot-0000000001"));
	assert_false(unit_exists(w.s.fd, "log-0000000001"));
	assert_true(unit_exists(w.s.fd, "snapshot-0000000002"));
	assert_true(unit_exists(w.s.fd, "log-0000000002"));
	engine_close(&e);
	written_end(&w);
}

/* A start took zeros for the end of the log, as a power cut leaves them, and began the next segment: that is no damage to the
 * next start either, in whatever boot. */
static void what_a_power_cut_left_stays_no_damage(void **state)
{
	(void)state;
	for (unsigned boot = 0; boot < 3; boot++) {
		struct written w = written_begin();
		w.other_boot = 1;
		written_segment(&w);
		written_set(&w, 1, "old", 0);
		written_segment(&w);
		zero_header(&w);
		MUST(ftruncate(w.fd, 4096) == 0);
		w.other_boot = boot;
		written_segment(&w);
		written_set(&w, 2, "new", 0);
		struct loaded l = load_and_end(&w);
		assert_int_equal(l.status, HEARTH_OK);
		assert_int_equal(l.result->damaged, 0);
		assert_true(loaded_is(&l, 1, "old") && loaded_is(&l, 2, "new"));
		loaded_end(&l);
	}
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_giant_is_believed_when_it_agrees_with_its_block),
    cmocka_unit_test(a_giant_below_the_snapshot_is_over),
    cmocka_unit_test(a_flush_lies_among_records_of_all_kinds),
    cmocka_unit_test(any_number_of_threads_will_do),
    cmocka_unit_test(a_file_that_may_only_be_read_refuses_the_start),
    cmocka_unit_test(a_snapshot_that_is_another_than_named_is_left_out),
    cmocka_unit_test(a_snapshot_holds_sets_that_can_be_applied),
    cmocka_unit_test(a_gap_ends_the_log_only_where_a_power_cut_can_have),
    cmocka_unit_test(zeros_for_a_header_end_the_log_in_another_boot),
    cmocka_unit_test(what_proves_damage_need_not_say_where_the_log_goes_on),
    cmocka_unit_test(a_log_shorter_than_the_last_stop_said_is_damaged),
    cmocka_unit_test(a_last_segment_without_header_and_manifest_is_damage),
    cmocka_unit_test(what_lies_behind_the_end_proves_damage_too),
    cmocka_unit_test(what_a_power_cut_left_stays_no_damage),
    cmocka_unit_test(a_bound_that_a_kill_left_retires_nothing),
    cmocka_unit_test(a_generation_that_is_left_is_retired_as_any_other),
};
UNIT_MAIN(tests)
