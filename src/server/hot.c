/* SPDX-License-Identifier: BSD-3-Clause */
/* hot: see hot.h. */
#include "server/hot.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

void hot_clear(struct hot *h)
{
	h->total = 0;
	h->n = 0;
}

static bool is_key(const struct hot *h, unsigned i, uint64_t hash, const void *key, uint8_t len)
{
	return h->hash[i] == hash && h->key[i].len == len && memcmp(h->key[i].key, key, len) == 0;
}

void hot_add(struct hot *h, uint64_t hash, const void *key, uint8_t len)
{
	unsigned least = 0;
	h->total++;
	for (unsigned i = 0; i < h->n; i++) {
		if (is_key(h, i, hash, key, len)) {
			h->count[i] += h->count[i] < UINT32_MAX;
			return;
		}
		if (h->count[i] < h->count[least])
			least = i;
	}
	if (h->n < HOT_KEYS) {
		least = h->n++;
		h->count[least] = 0;
	}
	h->error[least] = h->count[least];
	h->count[least] += h->count[least] < UINT32_MAX;
	h->hash[least] = hash;
	h->key[least].len = len;
	memcpy(h->key[least].key, key, len);
}

/* What a key that is not in the table may have been added. */
static uint32_t unseen(const struct hot *h)
{
	uint32_t least = UINT32_MAX;
	if (h->n < HOT_KEYS)
		return 0;
	for (unsigned i = 0; i < h->n; i++)
		least = h->count[i] < least ? h->count[i] : least;
	return least;
}

static int by_key(const void *a, const void *b)
{
	const struct hot_row *x = a, *y = b;
	if (x->hash != y->hash)
		return x->hash < y->hash ? -1 : 1;
	if (x->key->len != y->key->len)
		return x->key->len < y->key->len ? -1 : 1;
	return memcmp(x->key->key, y->key->key, x->key->len);
}

static int by_count(const void *a, const void *b)
{
	const struct hot_row *x = a, *y = b;
	if (x->count != y->count)
		return x->count > y->count ? -1 : 1;
	if (x->error != y->error)
		return x->error < y->error ? -1 : 1;
	return by_key(a, b);
}

size_t hot_merge(const struct hot *const *tables, size_t n, struct hot_row *rows)
{
	size_t n_rows = 0, kept = 0;
	uint64_t missed = 0; /* by a key that is in no table */
	for (size_t t = 0; t < n; t++) {
		const struct hot *h = tables[t];
		uint32_t least = unseen(h);
		missed += least;
		/* What all tables may have missed is added below: those that have the key have not. */
		for (unsigned i = 0; i < h->n; i++)
			rows[n_rows++] = (struct hot_row){&h->key[i], h->hash[i],
			    (uint64_t)h->count[i] - least, (uint64_t)h->error[i] - least};
	}
	/* In a full table an error may be less than its least count: the difference is taken back with what is added, and the
	 * sums are modulo 2^64 until then. */
	qsort(rows, n_rows, sizeof(*rows), by_key);
	for (size_t i = 0; i < n_rows; i++) {
		if (kept > 0 && by_key(&rows[kept - 1], &rows[i]) == 0) {
			rows[kept - 1].count += rows[i].count;
			rows[kept - 1].error += rows[i].error;
		} else {
			rows[kept++] = rows[i];
		}
	}
	for (size_t i = 0; i < kept; i++) {
		rows[i].count += missed;
		rows[i].error += missed;
	}
	qsort(rows, kept, sizeof(*rows), by_count);
	return kept;
}
