/* SPDX-License-Identifier: BSD-3-Clause */
/* record: the record codec, and key blocks. What decodes encodes to something that decodes to the same. */
#include <hearth/keyblock.h>
#include <hearth/record.h>
#include "fuzz.h"

static void same(const struct record *a, const struct record *b)
{
	CHECK(a->type == b->type && a->bits == b->bits && a->key_len == b->key_len);
	CHECK(a->value_len == b->value_len && a->seq == b->seq && a->cas == b->cas);
	CHECK(a->expiry == b->expiry && a->access == b->access && a->flags == b->flags && a->dict == b->dict);
	CHECK(a->sizes == b->sizes);
	CHECK(a->key_len == 0 || memcmp(a->key, b->key, a->key_len) == 0);
	CHECK(a->value_len == 0 || memcmp(a->value, b->value, a->value_len) == 0);
}

static void encode_again(const struct record *r)
{
	struct record back;
	size_t size = record_size(r), len;
	uint8_t *out = malloc(size > RECORD_OVERHEAD_MAX ? size : RECORD_OVERHEAD_MAX);
	CHECK(out != NULL && record_encode(r, out) == size);
	CHECK(record_decode(out, size, &back, &len) == HEARTH_OK && len == size);
	same(r, &back);
	free(out);
}

/* The head alone says the same, but for the value. */
static void decode_head(const uint8_t *data, size_t len, const struct record *r)
{
	struct record head;
	size_t part = len < RECORD_OVERHEAD_MAX ? len : RECORD_OVERHEAD_MAX;
	CHECK(record_decode_head(data, part, len, &head) == HEARTH_OK);
	CHECK(head.value_len == r->value_len && head.value == NULL);
	head.value = r->value;
	same(r, &head);
}

/* What is no more than looked at ends there, and has the same key. */
static void skim(const uint8_t *data, size_t len, const struct record *r, size_t used)
{
	const uint8_t *key;
	uint8_t key_len;
	CHECK(record_skim(data, len, &key, &key_len) == used);
	CHECK(key_len == r->key_len && (key_len == 0 || key == r->key));
	struct record again;
	record_reread(data, &again);
	CHECK(again.type == r->type && again.key == r->key && again.value == r->value);
	same(r, &again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint8_t *copy = fuzz_copy(data, len);
	struct keyblock kb;
	struct record r;
	size_t at = 0, used;
	const uint8_t *key;
	uint8_t key_len;
	record_decode_head(copy, len, UINT64_C(1) << 29, &r);
	for (size_t from = 0; from < len; from++)
		CHECK(record_skim(copy + from, len - from, &key, &key_len) <= len - from);
	for (; record_decode(copy + at, len - at, &r, &used) == HEARTH_OK; at += used) {
		CHECK(used > 0 && used <= len - at);
		record_type_name(r.type);
		if ((r.type >= RECORD_SET && r.type <= RECORD_FLUSH_AT) || r.type == RECORD_DICT)
			encode_again(&r);
		if (r.type == RECORD_SET)
			decode_head(copy + at, used, &r);
		skim(copy + at, len - at, &r, used);
	}
	if (keyblock_decode(copy, len, &kb)) {
		for (uint32_t i = 0; i < kb.count; i++)
			keyblock_get(&kb, i);
	}
	free(copy);
	return 0;
}
