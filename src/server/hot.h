/* SPDX-License-Identifier: BSD-3-Clause */
/* hot: which keys come most often in a stream, in little memory: Space-Saving (Metwally, Agrawal, El Abbadi: "Efficient
 * computation of frequent and top-k elements in data streams", 2005). A key that is counted replaces the one with the lowest
 * count and takes that over, as what it may have missed. So a count is never too low, and too high by no more than `error`; a
 * key that makes more than 1 in HOT_KEYS of the stream is in the table. Pure; one thread at a time. */
#ifndef SERVER_HOT_H
#define SERVER_HOT_H

#include <stddef.h>
#include <stdint.h>

#define HOT_KEYS    128u
#define HOT_KEY_MAX 250

struct hot_key {
	uint8_t len;
	uint8_t key[HOT_KEY_MAX];
};

struct hot {
	uint64_t total; /* keys that were added */
	unsigned n;
	/* Side by side, as each key that comes looks at all hashes and counts. */
	uint64_t hash[HOT_KEYS];
	uint32_t count[HOT_KEYS], error[HOT_KEYS];
	struct hot_key key[HOT_KEYS];
};

void hot_clear(struct hot *h);
/* len: 1 to HOT_KEY_MAX. The hash decides first. */
void hot_add(struct hot *h, uint64_t hash, const void *key, uint8_t len);

/* One of the merged. */
struct hot_row {
	const struct hot_key *key; /* in one of the tables */
	uint64_t hash, count, error;
};
/* The keys of several tables that share a hash function, most frequent first: up to n * HOT_KEYS of them in ret_rows. Returns
 * how many. A full table that has not got a key may have had it as often as its least one: that is counted, as error. */
size_t hot_merge(const struct hot *const *tables, size_t n, struct hot_row *ret_rows);

#endif
