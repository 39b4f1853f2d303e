/* SPDX-License-Identifier: BSD-3-Clause */
/* keys: see keys.h. */
#include "persist/keys.h"

#include <stdlib.h>
#include <hearth/keyblock.h>
#include <hearth/record.h>
#include "base/bytes.h"
#include "base/check.h"

_Static_assert(2 * KEYS_STRETCH_MAX <= KEYBLOCK_COUNT_MAX, "a seal holds two stretches");

bool keys_init(struct keys *k)
{
	*k = (struct keys){0};
	k->open.fingerprints = malloc(KEYS_STRETCH_MAX * sizeof(uint32_t));
	k->full.fingerprints = malloc(KEYS_STRETCH_MAX * sizeof(uint32_t));
	if (k->open.fingerprints && k->full.fingerprints)
		return true;
	keys_destroy(k);
	return false;
}

void keys_destroy(struct keys *k)
{
	free(k->open.fingerprints);
	free(k->full.fingerprints);
	*k = (struct keys){0};
}

static uint32_t fingerprint_of(const uint8_t *head, size_t len)
{
	const uint8_t *key;
	uint8_t key_len;
	if (record_find_key(head, len, &key, &key_len))
		return keyblock_fingerprint(key, key_len);
	bool none = head[0] == RECORD_FLUSH_AT || head[0] == RECORD_PASS;
	return none ? KEYBLOCK_NO_KEY : KEYBLOCK_ANY;
}

bool keys_note(struct keys *k, uint64_t seq, const uint8_t *head, size_t head_len, uint64_t at, uint64_t end)
{
	struct keys_stretch *open = &k->open;
	uint64_t next = open->n ? open->first + open->n : k->full.first + k->full.n;
	/* Numbers that do not follow, or more than fit: what is known so far is given up, and those numbers are
	 * described by nothing. Never the wrong ones. */
	if ((open->n || k->full.n) && (seq != next || open->n == KEYS_STRETCH_MAX))
		open->n = k->full.n = 0;
	if (open->n == 0) {
		open->first = seq;
		k->open_at = at;
	}
	open->fingerprints[open->n++] = fingerprint_of(head, head_len);
	k->news = true;
	return end - k->open_at >= KEYS_STRETCH;
}

void keys_turn(struct keys *k)
{
	struct keys_stretch full = k->full;
	k->full = k->open;
	k->open = full;
	k->open.n = 0;
}

void keys_reset(struct keys *k)
{
	k->open.n = k->full.n = 0;
	k->news = false;
}

size_t keys_due(const struct keys *k)
{
	return k->full.n ? keyblock_record_size(k->full.n) : 0;
}

size_t keys_seal_due(const struct keys *k)
{
	return k->news && k->full.n + k->open.n ? keyblock_record_size(k->full.n + k->open.n) : 0;
}

static uint8_t *put(uint8_t *out, const struct keys_stretch *s)
{
	for (uint32_t i = 0; i < s->n; i++, out += 4)
		bytes_store32(out, s->fingerprints[i]);
	return out;
}

void keys_encode(const struct keys *k, uint8_t *out)
{
	CHECK(k->full.n > 0);
	put(out + keyblock_encode_head(RECORD_KEY_BLOCK, k->full.first, k->full.n, out), &k->full);
}

void keys_encode_seal(struct keys *k, uint8_t *out)
{
	uint64_t first = k->full.n ? k->full.first : k->open.first;
	out += keyblock_encode_head(RECORD_SEAL, first, k->full.n + k->open.n, out);
	put(put(out, &k->full), &k->open);
	k->news = false;
}
