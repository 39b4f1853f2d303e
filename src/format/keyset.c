/* SPDX-License-Identifier: BSD-3-Clause */
/* keyset: see keyset.h. The numbers of a hole are a row of fingerprints, 0 = not known yet. Those of all holes become one
 * sorted list with a filter in front: most keys of a store are in no hole, and are told so by one bit. Sorted, not hashed,
 * so that nobody can make up keys that make it slow. */
#include <hearth/keyset.h>

#include <stdlib.h>
#include <string.h>
#include "base/check.h"

#define KEYSET_MAGIC 0x4b455953u

struct entry {
	uint32_t fingerprint;
	uint64_t below;
};

struct keyset {
	uint32_t magic;
	struct entry *entries; /* of the holes that ended well */
	size_t n, size;
	/* The hole being looked into. */
	uint64_t first, end;
	uint32_t *row; /* NULL: it cannot be looked into */
	uint64_t known;
	bool contradicted;
	/* Once sealed. */
	bool sealed;
	uint64_t *filter; /* NULL: none, all is searched for in the list */
	uint32_t filter_mask;
};

struct keyset *keyset_new(void)
{
	struct keyset *s = calloc(1, sizeof(*s));
	if (s)
		s->magic = KEYSET_MAGIC;
	return s;
}

void keyset_free(struct keyset **ref)
{
	struct keyset *s = *ref;
	*ref = NULL;
	if (!s)
		return;
	CHECK_MAGIC(s, KEYSET_MAGIC);
	free(s->entries);
	free(s->row);
	free(s->filter);
	s->magic = 0;
	free(s);
}

/* ---- a hole ---- */

void keyset_begin(struct keyset *s, uint64_t first, uint64_t end)
{
	CHECK_MAGIC(s, KEYSET_MAGIC);
	CHECK(!s->row && !s->sealed && first < end);
	s->first = first;
	s->end = end;
	s->known = 0;
	s->contradicted = false;
	if (end - first <= KEYSET_HOLE_MAX)
		s->row = calloc((size_t)(end - first), sizeof(*s->row));
}

static bool is_found(const struct keyset *s)
{
	return s->known == s->end - s->first;
}

void keyset_add(struct keyset *s, const struct keyblock *b)
{
	if (!s->row)
		return;
	uint64_t from = b->first > s->first ? b->first : s->first;
	uint64_t to = b->first + b->count < s->end ? b->first + b->count : s->end;
	for (uint64_t n = from; n < to; n++) {
		uint32_t fingerprint = keyblock_get(b, (uint32_t)(n - b->first));
		uint32_t *known = &s->row[n - s->first];
		if (*known == fingerprint)
			continue;
		/* Two that do not agree: then neither is to be believed. */
		s->contradicted = s->contradicted || *known != 0;
		s->known += *known == 0;
		*known = fingerprint;
	}
}

/* The key blocks of one block. True: what comes behind them tells nothing about the hole any more. */
static bool take_block(struct keyset *s, const struct segment_block *block)
{
	struct segment_records walk = segment_records(block);
	struct record r;
	bool beyond = false;
	while (segment_next_record(&walk, &r) == HEARTH_OK) {
		struct keyblock b;
		if (r.type != RECORD_KEY_BLOCK && r.type != RECORD_SEAL)
			continue;
		/* It speaks of what lies before it, or it is none of ours. */
		if (!keyblock_decode(r.value, (size_t)r.value_len, &b) || b.first + b.count > r.seq)
			continue;
		keyset_add(s, &b);
		/* They come in the order of the stretches. */
		beyond = beyond || (r.type == RECORD_KEY_BLOCK && b.first >= s->end);
	}
	return beyond || is_found(s);
}

/* The next block, if it may hold a key block: larger ones are passed over unread, so that a file that claims much costs
 * no memory. HEARTH_OK with payload NULL for those. */
static enum hearth_status next_block(struct segment_reader *reader, struct segment_block *ret_b)
{
	uint64_t at = segment_offset(reader);
	enum hearth_status status = segment_skim(reader, ret_b, NULL);
	if (status == HEARTH_OK &&
	    (ret_b->head.stored_len > BLOCK_PAYLOAD_MAX || ret_b->head.raw_len > BLOCK_PAYLOAD_MAX))
		return HEARTH_OK;
	segment_seek(reader, at);
	return status == HEARTH_OK ? segment_next(reader, ret_b, NULL) : status;
}

bool keyset_search(struct keyset *s, struct segment_reader *reader, uint64_t limit)
{
	while (s->row && segment_offset(reader) < limit) {
		struct segment_block block;
		enum hearth_status status = next_block(reader, &block);
		if (status == HEARTH_DAMAGED || status == HEARTH_TORN) {
			status = segment_resync(reader, NULL);
			if (status == HEARTH_OK)
				continue;
		}
		if (status != HEARTH_OK || block.end > limit)
			return status != HEARTH_END && status != HEARTH_OK;
		if (!block.payload)
			continue;
		/* A stretch is described behind the next one. */
		bool far =
		    block.head.first > s->end && block.head.first - s->end > 2 * (uint64_t)KEYBLOCK_COUNT_MAX;
		if (take_block(s, &block) || far)
			return true;
	}
	return !s->row;
}

static bool push(struct keyset *s, uint32_t fingerprint)
{
	if (s->n == s->size) {
		size_t size = s->size ? 2 * s->size : 1024;
		struct entry *entries = reallocarray(s->entries, size, sizeof(*entries));
		if (!entries)
			return false;
		s->entries = entries;
		s->size = size;
	}
	s->entries[s->n++] = (struct entry){fingerprint, s->end};
	return true;
}

enum keyset_verdict keyset_end(struct keyset *s)
{
	CHECK_MAGIC(s, KEYSET_MAGIC);
	enum keyset_verdict verdict =
	    s->row && is_found(s) && !s->contradicted ? KEYSET_FOUND : KEYSET_UNKNOWN;
	size_t before = s->n;
	for (uint64_t i = 0; verdict == KEYSET_FOUND && i < s->end - s->first; i++) {
		if (s->row[i] == KEYBLOCK_ANY)
			verdict = KEYSET_FLUSHED;
		else if (s->row[i] != KEYBLOCK_NO_KEY && !push(s, s->row[i]))
			verdict = KEYSET_UNKNOWN;
	}
	if (verdict != KEYSET_FOUND)
		s->n = before;
	free(s->row);
	s->row = NULL;
	return verdict;
}

/* ---- all holes ---- */

size_t keyset_size(const struct keyset *s)
{
	return s->n;
}

/* The same key from several holes: the last of them first. */
static int compare(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	if (x->fingerprint != y->fingerprint)
		return x->fingerprint < y->fingerprint ? -1 : 1;
	return x->below > y->below ? -1 : x->below < y->below;
}

static uint32_t filter_bit(const struct keyset *s, uint32_t fingerprint)
{
	return (fingerprint * 0x9e3779b1u) & s->filter_mask;
}

void keyset_seal(struct keyset *s)
{
	CHECK_MAGIC(s, KEYSET_MAGIC);
	size_t n = 0;
	if (s->n)
		qsort(s->entries, s->n, sizeof(*s->entries), compare);
	for (size_t i = 0; i < s->n; i++)
		if (n == 0 || s->entries[n - 1].fingerprint != s->entries[i].fingerprint)
			s->entries[n++] = s->entries[i];
	s->n = n;
	s->sealed = true;
	uint64_t bits = 1u << 16;
	while (bits < 64 * (uint64_t)n && bits < 1u << 30)
		bits *= 2;
	s->filter = calloc(bits / 64, sizeof(*s->filter));
	s->filter_mask = (uint32_t)(bits - 1);
	for (size_t i = 0; s->filter && i < n; i++) {
		uint32_t bit = filter_bit(s, s->entries[i].fingerprint);
		s->filter[bit / 64] |= UINT64_C(1) << bit % 64;
	}
}

uint64_t keyset_below(const struct keyset *s, const void *key, size_t len)
{
	CHECK(s->sealed);
	uint32_t fingerprint = keyblock_fingerprint(key, len), bit = filter_bit(s, fingerprint);
	if (s->filter && !(s->filter[bit / 64] >> bit % 64 & 1))
		return 0;
	size_t low = 0, high = s->n;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (s->entries[middle].fingerprint < fingerprint)
			low = middle + 1;
		else
			high = middle;
	}
	return low < s->n && s->entries[low].fingerprint == fingerprint ? s->entries[low].below : 0;
}
