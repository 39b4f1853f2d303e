/* SPDX-License-Identifier: BSD-3-Clause */
/* table: see table.h. Open addressing with linear probing; a removal moves back what follows, so that there are no graves. */
#include <stdlib.h>
#include <string.h>
#include "base/msg.h"
#include "tool/report.h"
#include "tool/table.h"
#include "tool/tool.h"

#define SIZE_MIN 1024u
/* A file may claim any number of items; beyond this the table grows as they come. */
#define EXPECTED_MAX (UINT64_C(1) << 24)

static uint8_t *place(const struct table *t, size_t i)
{
	return t->places + i * t->stride;
}

static struct hash_wide hash_at(const struct table *t, size_t i)
{
	struct hash_wide hash;
	memcpy(&hash, place(t, i), sizeof(hash));
	return hash;
}

static bool is_free(struct hash_wide hash)
{
	return hash.low == 0 && hash.high == 0;
}

/* The hash's place, or the free one where it would go. */
static size_t place_of(const struct table *t, struct hash_wide hash)
{
	size_t at = (size_t)hash.low & (t->size - 1);
	for (;; at = (at + 1) & (t->size - 1)) {
		struct hash_wide other = hash_at(t, at);
		if (is_free(other) || (other.low == hash.low && other.high == hash.high))
			return at;
	}
}

/* No key has the hash of a free place. */
static struct hash_wide hash_of(const struct table *t, const void *key, size_t len)
{
	struct hash_wide hash = hash_wide(&t->key, key, len);
	hash.low |= is_free(hash);
	return hash;
}

int table_open(struct table *t, size_t stride, uint64_t expected)
{
	size_t size = SIZE_MIN;
	expected = expected < EXPECTED_MAX ? expected : EXPECTED_MAX;
	while (size - size / 4 <= expected)
		size *= 2;
	*t = (struct table){.stride = stride, .size = size};
	if (hash_key_init(&t->key) < 0) {
		msg(MSG_ERROR, "no random bytes for a hash");
		return TOOL_SYSTEM;
	}
	t->places = calloc(size, stride);
	return t->places ? TOOL_OK : report_no_memory();
}

void table_close(struct table *t)
{
	free(t->places);
	t->places = NULL;
	t->size = t->used = 0;
}

void *table_at(const struct table *t, size_t i)
{
	return is_free(hash_at(t, i)) ? NULL : place(t, i);
}

void *table_find(const struct table *t, const void *key, size_t len)
{
	return table_at(t, place_of(t, hash_of(t, key, len)));
}

static bool grow(struct table *t)
{
	struct table larger = *t;
	larger.size *= 2;
	larger.places = calloc(larger.size, larger.stride);
	if (!larger.places)
		return false;
	for (size_t i = 0; i < t->size; i++)
		if (table_at(t, i))
			memcpy(place(&larger, place_of(&larger, hash_at(t, i))), place(t, i), t->stride);
	free(t->places);
	*t = larger;
	return true;
}

void *table_put(struct table *t, const void *key, size_t len)
{
	struct hash_wide hash = hash_of(t, key, len);
	size_t at = place_of(t, hash);
	if (table_at(t, at))
		return place(t, at);
	if (t->used >= t->size - t->size / 4) {
		if (!grow(t))
			return NULL;
		at = place_of(t, hash);
	}
	memcpy(place(t, at), &hash, sizeof(hash));
	t->used++;
	return place(t, at);
}

void table_remove(struct table *t, void *entry)
{
	size_t mask = t->size - 1, hole = (size_t)((uint8_t *)entry - t->places) / t->stride;
	for (size_t at = (hole + 1) & mask; table_at(t, at); at = (at + 1) & mask) {
		size_t home = (size_t)hash_at(t, at).low & mask;
		/* It may move back unless its home lies behind the hole. */
		if (((at - home) & mask) < ((at - hole) & mask))
			continue;
		memcpy(place(t, hole), place(t, at), t->stride);
		hole = at;
	}
	memset(place(t, hole), 0, t->stride);
	t->used--;
}
