/* SPDX-License-Identifier: BSD-3-Clause */
/* recover_dicts: packed values over a start: dictionaries of snapshots and of the log, and what a missing one costs and how
 * it is told. */
#include "written.h"
#include "base/packed.h"
#include "json.h"

#define BYTES (8u << 10)

/* A dictionary, and values that it packs. */
struct packing {
	struct dict_set *set;
	struct dict_context *context;
	const struct dict *dict;
	char value[4][JSON_ROOM(4)];
	uint8_t packed[4][JSON_ROOM(4)];
	size_t len[4];
};

static struct packing *packing_begin(enum json_shape shape)
{
	struct packing *p = calloc(1, sizeof(*p));
	uint8_t *samples = malloc(1000 * JSON_ROOM(4)), bytes[BYTES];
	size_t sizes[1000], at = 0;
	MUST(p && samples);
	for (uint32_t i = 0; i < 1000; i++)
		at += sizes[i] = json_make(samples + at, shape, i, 1, 4);
	size_t len = dict_train(samples, sizes, 1000, bytes, sizeof(bytes));
	p->set = dict_set_new(1);
	p->context = dict_context_new(true);
	MUST(len && p->set && p->context);
	MUST(dict_add(p->set, dict_id_of(bytes, len), 9, bytes, len, &p->dict) == HEARTH_OK);
	MUST(dict_prepare(p->dict));
	for (uint32_t i = 0; i < 4; i++) {
		const uint8_t *packed;
		size_t raw = json_make((uint8_t *)p->value[i], shape, 2000 + i, 2, 4);
		p->len[i] = dict_pack(p->context, p->dict, (uint8_t *)p->value[i], raw, raw, &packed);
		MUST(p->len[i]);
		memcpy(p->packed[i], packed, p->len[i]);
	}
	free(samples);
	return p;
}

static void packing_end(struct packing *p)
{
	dict_context_free(&p->context);
	dict_set_free(&p->set);
	free(p);
}

static struct record packed_record(const struct packing *p, uint32_t key, uint64_t seq)
{
	struct record r = set_record(key, "", 0);
	r.value = p->packed[key % 4];
	r.value_len = p->len[key % 4];
	r.dict = dict_id(p->dict);
	r.seq = seq;
	return r;
}

static struct loaded load(struct written *w, unsigned threads)
{
	written_manifest(w);
	struct loaded l = load_with(
	    w->s.path, &(struct store_options){.memory = 32 * MIB, .item_max = 8 * MIB, .threads = threads});
	assert_int_equal(l.status, HEARTH_OK);
	return l;
}

static void the_log_has_them_before_what_needs_them(void **state)
{
	(void)state;
	struct packing *p = packing_begin(JSON_PROFILE);
	for (unsigned flush = 0; flush < 2; flush++) {
		struct written w = written_begin();
		written_segment(&w);
		written_record(&w, dict_record(p->dict));
		written_record(&w, packed_record(p, 0, 0));
		written_packed(&w, packed_record(p, 1, 0));
		written_set(&w, 2, "plain", 0);
		if (flush)
			written_record(&w, (struct record){.type = RECORD_FLUSH});
		written_record(&w, packed_record(p, 3, 0));
		written_touch(&w, 3, w.time_ms / 1000 + 1000);
		struct loaded l = load(&w, 2);
		assert_int_equal(l.result->damaged, 0);
		assert_int_equal(l.result->dropped, 0);
		assert_string_equal(l.result->note, "");
		assert_true(loaded_is(&l, 0, flush ? NULL : p->value[0]));
		assert_true(loaded_is(&l, 1, flush ? NULL : p->value[1]));
		assert_true(loaded_is(&l, 2, flush ? NULL : "plain"));
		assert_true(loaded_is(&l, 3, p->value[3]));
		assert_int_equal(dict_count(l.dicts), 1);
		loaded_end(&l);
		written_end(&w);
	}
	packing_end(p);
}

/* Wherever they lie in it, and however many threads read the blocks. */
static void a_snapshot_has_them_for_all_of_it(void **state)
{
	(void)state;
	struct packing *p = packing_begin(JSON_PROFILE), *q = packing_begin(JSON_ORDER);
	for (unsigned threads = 1; threads < 6; threads++) {
		struct written w = written_begin();
		const struct record there[] = {dict_record(p->dict), packed_record(p, 0, 1),
		    packed_record(q, 1, 2), packed_record(p, 2, 3), packed_record(q, 3, 4),
		    dict_record(q->dict)};
		w.next = 5;
		written_snapshot(&w, there, 6, 4, 4);
		written_segment(&w);
		/* Those behind it know of none, and need none. */
		written_record(&w, packed_record(q, 5, 0));
		struct loaded l = load(&w, threads);
		assert_int_equal(l.result->damaged, 0);
		assert_int_equal(l.result->dropped, 0);
		for (uint32_t i = 0; i < 4; i++)
			assert_true(loaded_is(&l, i, (i % 2 ? q : p)->value[i]));
		assert_true(loaded_is(&l, 5, q->value[1]));
		assert_int_equal(dict_count(l.dicts), 2);
		loaded_end(&l);
		written_end(&w);
	}
	packing_end(p);
	packing_end(q);
}

/* In a block without a number of its own, which a snapshot's start seems to cover. */
static void one_below_the_snapshot_counts_for_what_lies_behind(void **state)
{
	(void)state;
	struct packing *p = packing_begin(JSON_PROFILE);
	struct written w = written_begin();
	struct record there = set_record(1, "one", 0);
	there.seq = 1;
	written_segment(&w);
	written_set(&w, 1, "one", 0);
	written_record(&w, dict_record(p->dict));
	written_set(&w, 2, "two", 0);
	written_snapshot(&w, &there, 1, 2, 2);
	written_record(&w, packed_record(p, 3, 0));
	struct loaded l = load(&w, 2);
	assert_int_equal(l.result->damaged, 0);
	assert_true(loaded_is(&l, 3, p->value[3]));
	loaded_end(&l);
	written_end(&w);
	packing_end(p);
}

static void assert_told(const struct loaded *l, const struct packing *p, unsigned values, const char *file)
{
	char text[64];
	snprintf(text, sizeof(text), "dictionary %u is not there", dict_id(p->dict));
	assert_non_null(strstr(l->result->note, text));
	snprintf(text, sizeof(text), "and %u values that need it", values);
	assert_non_null(strstr(l->result->note, text));
	snprintf(text, sizeof(text), "%s at offset ", file);
	assert_non_null(strstr(l->result->note, text));
	assert_int_equal(l->err.status, HEARTH_DAMAGED);
}

/* The block of a snapshot with one of two dictionaries is bad: the keys that need it go, and nothing else. */
static void a_damaged_one_costs_what_needs_it(void **state)
{
	(void)state;
	struct packing *p = packing_begin(JSON_PROFILE), *q = packing_begin(JSON_ORDER);
	struct written w = written_begin();
	const struct record there[] = {packed_record(p, 0, 1), packed_record(q, 1, 2),
	    set_record(2, "plain", 0), dict_record(q->dict), dict_record(p->dict)};
	struct record all[5];
	memcpy(all, there, sizeof(all));
	all[2].seq = 3;
	w.next = 4;
	written_snapshot(&w, all, 5, 3, 3);
	/* The last block lies before index and footer: found by its place in the index. */
	struct snapshot_reader *reader;
	char name[DATADIR_NAME_SIZE];
	datadir_name(DATADIR_SNAPSHOT, 1, name);
	MUST(snapshot_open(&reader, NULL, w.s.fd, name, NULL, NULL) == HEARTH_OK);
	off_t at = (off_t)snapshot_get_block(reader, 4).offset + 100;
	snapshot_close(&reader);
	int fd = openat(w.s.fd, name, O_RDWR | O_CLOEXEC);
	uint8_t byte;
	MUST(pread(fd, &byte, 1, at) == 1);
	byte ^= 4;
	MUST(pwrite(fd, &byte, 1, at) == 1);
	close(fd);
	struct loaded l = load(&w, 2);
	assert_int_equal(l.result->damaged, 2);
	assert_int_equal(l.result->dropped, 1);
	assert_told(&l, p, 1, name);
	assert_true(loaded_is(&l, 0, NULL));
	assert_true(loaded_is(&l, 1, q->value[1]));
	assert_true(loaded_is(&l, 2, "plain"));
	assert_ptr_equal(dict_find(l.dicts, dict_id(p->dict)), NULL);
	loaded_end(&l);
	written_end(&w);
	packing_end(p);
	packing_end(q);
}

/* A hole in the log that has only the dictionary in it costs no number, but what needs it; what was set over it is whole. */
static void a_hole_that_swallows_one_is_named(void **state)
{
	(void)state;
	struct packing *p = packing_begin(JSON_PROFILE);
	struct written w = written_begin();
	written_segment(&w);
	written_set(&w, 0, "old", 0);
	written_set(&w, 1, "old", 0);
	written_record(&w, dict_record(p->dict));
	written_damage(&w);
	written_record(&w, packed_record(p, 0, 0));
	written_record(&w, packed_record(p, 1, 0));
	written_set(&w, 1, "new", 0);
	struct loaded l = load(&w, 2);
	assert_true(l.result->damaged >= 2);
	assert_int_equal(l.result->dropped, 2);
	assert_told(&l, p, 2, "log-0000000001");
	assert_true(loaded_is(&l, 0, NULL));
	assert_true(loaded_is(&l, 1, "new"));
	assert_int_equal(dict_count(l.dicts), 0);
	loaded_end(&l);
	written_end(&w);
	packing_end(p);
}

/* Bytes under another id than theirs are none, though their block verifies. */
static void one_under_another_id_is_damage(void **state)
{
	(void)state;
	struct packing *p = packing_begin(JSON_PROFILE);
	struct written w = written_begin();
	struct record wrong = dict_record(p->dict), needs = packed_record(p, 0, 0);
	wrong.dict++;
	needs.dict++;
	written_segment(&w);
	written_record(&w, wrong);
	written_record(&w, needs);
	written_set(&w, 1, "plain", 0);
	struct loaded l = load(&w, 2);
	assert_true(l.result->damaged > 0);
	assert_true(loaded_is(&l, 0, NULL));
	assert_true(loaded_is(&l, 1, "plain"));
	loaded_end(&l);
	written_end(&w);
	packing_end(p);
}

static void what_nothing_uses_is_dropped(void **state)
{
	(void)state;
	struct packing *p = packing_begin(JSON_PROFILE), *q = packing_begin(JSON_ORDER);
	struct written w = written_begin();
	written_segment(&w);
	written_record(&w, dict_record(p->dict));
	written_record(&w, dict_record(q->dict));
	written_record(&w, packed_record(q, 1, 0));
	struct loaded l = load(&w, 2);
	assert_int_equal(dict_count(l.dicts), 1);
	assert_non_null(dict_find(l.dicts, dict_id(q->dict)));
	assert_true(loaded_is(&l, 1, q->value[1]));
	loaded_end(&l);
	written_end(&w);
	packing_end(p);
	packing_end(q);
}

/* -I is what clients know: a value that is longer than it may be now goes, however small it is packed. */
static void a_value_is_as_long_as_clients_know_it(void **state)
{
	(void)state;
	struct packing *p = packing_begin(JSON_PROFILE);
	struct written w = written_begin();
	written_segment(&w);
	written_record(&w, dict_record(p->dict));
	written_set(&w, 0, "old", 0);
	written_record(&w, packed_record(p, 0, 0));
	written_manifest(&w);
	size_t raw = strlen(p->value[0]);
	for (unsigned more = 0; more < 2; more++) {
		char name[32];
		size_t item = 16 + key_name(name, 0) + raw - 1 + more;
		struct loaded l = load_with(
		    w.s.path, &(struct store_options){.memory = 32 * MIB, .item_max = item, .threads = 1});
		assert_int_equal(l.status, HEARTH_OK);
		assert_int_equal(l.result->damaged, 0);
		assert_true(loaded_is(&l, 0, more ? p->value[0] : NULL));
		loaded_end(&l);
	}
	written_end(&w);
	packing_end(p);
}

/* Bytes that say no length, or more than a packed value may take: the key goes. */
static void what_cannot_be_a_packed_value_goes(void **state)
{
	(void)state;
	struct packing *p = packing_begin(JSON_PROFILE);
	struct written w = written_begin();
	static uint8_t long_one[PACKED_RAW_MAX + 1] = {PACKED_LENGTH_2, 0, 1};
	struct record r = packed_record(p, 0, 0);
	written_segment(&w);
	written_record(&w, dict_record(p->dict));
	written_set(&w, 0, "old", 0);
	written_set(&w, 1, "old", 0);
	r.value = (const uint8_t *)"plain";
	r.value_len = 5;
	written_record(&w, r);
	r = packed_record(p, 1, 0);
	r.value = long_one;
	r.value_len = sizeof(long_one);
	written_record(&w, r);
	struct loaded l = load(&w, 2);
	assert_int_equal(l.result->dropped, 2);
	assert_true(loaded_is(&l, 0, NULL));
	assert_true(loaded_is(&l, 1, NULL));
	loaded_end(&l);
	written_end(&w);
	packing_end(p);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_log_has_them_before_what_needs_them),
    cmocka_unit_test(a_snapshot_has_them_for_all_of_it),
    cmocka_unit_test(one_below_the_snapshot_counts_for_what_lies_behind),
    cmocka_unit_test(a_damaged_one_costs_what_needs_it),
    cmocka_unit_test(a_hole_that_swallows_one_is_named),
    cmocka_unit_test(one_under_another_id_is_damage),
    cmocka_unit_test(what_nothing_uses_is_dropped),
    cmocka_unit_test(a_value_is_as_long_as_clients_know_it),
    cmocka_unit_test(what_cannot_be_a_packed_value_goes),
};
UNIT_MAIN(tests)
