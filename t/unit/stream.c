/* SPDX-License-Identifier: BSD-3-Clause */
/* stream: a log of many stretches, read by one thread and by several, shows what its records say one after the other: blocks of
 * one record and of many, packed and not, larger than a stretch, and than what is read at once at all; flushes between them; and
 * up to the place where something is bad. */
#include "written.h"
#include <hearth/keyblock.h>

#define KEYS   20000u
#define LARGE  (3u << 20)
#define BLOCKS 1500u

/* What is expected of a key: the number of the record that set it, from which its value follows; 0: it is not there. */
static uint64_t expected[KEYS];
static size_t expected_len[KEYS];
static uint8_t bytes[LARGE + 256];

static const uint8_t *value_of(uint64_t seq)
{
	return bytes + seq % 251;
}

static uint32_t draw(uint64_t *state, uint32_t n)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(*state >> 33) % n;
}

struct raw {
	uint8_t *data;
	size_t len, size;
	uint32_t count;
};

static void add(struct raw *raw, const struct record *r)
{
	size_t need = raw->len + record_size(r);
	if (need > raw->size) {
		raw->size = 2 * need;
		raw->data = realloc(raw->data, raw->size);
		MUST(raw->data);
	}
	raw->len += record_encode(r, raw->data + raw->len);
	raw->count += record_takes_number(r->type);
}

/* Large ones have a block to themselves. */
static size_t some_size(uint64_t *random, bool alone)
{
	uint32_t n = draw(random, alone ? 100 : 1000);
	if (!alone)
		return 1 + draw(random, n < 10 ? 4000 : 300);
	return n == 0 ? LARGE : n < 5 ? 600u << 10 : n < 30 ? 90u << 10 : 1 + draw(random, 300);
}

/* A record of the block, whose first number the log is at. */
static void add_some(struct written *w, struct raw *raw, uint64_t *random, bool alone)
{
	uint64_t seq = w->next + raw->count;
	uint32_t k = draw(random, KEYS), kind = draw(random, 100);
	char name[32];
	struct record r = {.type = kind < 85   ? RECORD_SET
	                           : kind < 92 ? RECORD_DELETE
	                           : kind < 97 ? RECORD_TOUCH
	                                       : RECORD_PASS};
	if (r.type != RECORD_PASS) {
		r.key = (const uint8_t *)name;
		r.key_len = (uint8_t)snprintf(name, sizeof(name), "key-%u", k);
	}
	if (r.type == RECORD_TOUCH)
		r.expiry = 4000000000;
	if (r.type == RECORD_SET) {
		r.value = value_of(seq);
		r.value_len = some_size(random, alone);
		expected_len[k] = r.value_len;
	}
	if (r.type == RECORD_SET || r.type == RECORD_DELETE)
		expected[k] = r.type == RECORD_SET ? seq : 0;
	add(raw, &r);
}

static void end_block(struct written *w, struct raw *raw, bool packs)
{
	struct block_header b = {
	    .stored_len = (uint32_t)raw->len, .raw_len = (uint32_t)raw->len, .count = raw->count};
	uint8_t *packed = malloc(ZSTD_compressBound(raw->len));
	MUST(packed);
	if (packs) {
		b.stored_len =
		    (uint32_t)ZSTD_compress(packed, ZSTD_compressBound(raw->len), raw->data, raw->len, 1);
		b.flags = BLOCK_ZSTD;
	}
	written_block(w, b, packs ? packed : raw->data);
	free(packed);
	raw->len = raw->count = 0;
}

static void write_flush(struct written *w)
{
	written_record(w, (struct record){.type = RECORD_FLUSH});
	memset(expected, 0, sizeof(expected));
}

/* So many blocks, in segments of some. */
static struct written write_log(uint64_t random, bool flushes)
{
	struct written w = written_begin();
	struct raw raw = {0};
	memset(expected, 0, sizeof(expected));
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 2654435761u >> 24);
	for (unsigned n = 0; n < BLOCKS; n++) {
		if (n % 700 == 0)
			written_segment(&w);
		if (flushes && draw(&random, 400) == 0)
			write_flush(&w);
		bool alone = draw(&random, 8) == 0;
		for (uint32_t left = alone ? 1 : 1 + draw(&random, 60); left > 0; left--)
			add_some(&w, &raw, &random, alone);
		end_block(&w, &raw, draw(&random, 3) == 0);
	}
	free(raw.data);
	return w;
}

static struct store_options options(unsigned threads)
{
	return (struct store_options){.memory = 512 * MIB, .item_max = 8 * MIB, .threads = threads};
}

struct found {
	struct store *store;
	const uint8_t *value;
	size_t len;
	bool same;
};

static bool compare(void *arg, const struct store_view *view)
{
	struct found *f = arg;
	f->same = view->value_len == f->len && memcmp(view->value, f->value, f->len) == 0;
	struct store_pin pin = view->pin;
	if (store_pinned(&pin))
		store_unpin(f->store, &pin);
	return true;
}

static void assert_is_expected(struct loaded *l)
{
	unsigned wrong = 0;
	for (uint32_t k = 0; k < KEYS; k++) {
		char name[32];
		struct store_outcome out = {0};
		struct store_key key =
		    store_key(l->store, name, (uint8_t)snprintf(name, sizeof(name), "key-%u", k));
		struct found f = {.store = l->store, .value = value_of(expected[k]), .len = expected_len[k]};
		enum store_result result = store_look(l->thread, &key, false, compare, &f, &out);
		wrong += expected[k] ? result != STORE_OK || !f.same : result == STORE_OK;
	}
	assert_int_equal(wrong, 0);
}

static void load_and_compare(struct written *w, unsigned threads, uint64_t last)
{
	const struct store_options o = options(threads);
	struct loaded l = load_with(w->s.path, &o);
	assert_int_equal(l.status, HEARTH_OK);
	assert_int_equal(l.result->start.last_seq, last);
	assert_int_equal(l.result->log_records, last);
	assert_int_equal(l.result->damaged, 0);
	assert_is_expected(&l);
	loaded_end(&l);
}

static void shows_what_its_records_say(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 2; seed++) {
		struct written w = write_log(seed, seed == 2);
		written_manifest(&w);
		for (unsigned threads = 1; threads <= 5; threads += 1 + (threads > 1))
			load_and_compare(&w, threads, w.next - 1);
		written_end(&w);
	}
}

/* In the boot that wrote it a last block that is bad was cut off: what is before it stays, all of it. */
static void goes_up_to_what_is_bad(void **state)
{
	(void)state;
	struct written w = write_log(3, false);
	uint64_t last = w.next - 1;
	struct record r = {.type = RECORD_SET,
	    .key = (const uint8_t *)"key-1",
	    .key_len = 5,
	    .value = bytes,
	    .value_len = 100};
	written_record(&w, r);
	written_damage(&w);
	written_manifest(&w);
	for (unsigned threads = 1; threads <= 4; threads++)
		load_and_compare(&w, threads, last);
	written_end(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(shows_what_its_records_say),
	    cmocka_unit_test(goes_up_to_what_is_bad),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
