/* SPDX-License-Identifier: BSD-3-Clause */
/* summary: what a set of items looks like, in bounded memory: how many and how large by the beginning of their keys, by size
 * and by the time that is left to them, and which are the largest. Bytes are those of key and value. One thread. */
#ifndef TOOL_SUMMARY_H
#define TOOL_SUMMARY_H

#include "base/hash.h"
#include "tool/item.h"
#include "tool/out.h"

/* Prefixes that are told apart; keys of more count as others. */
#define SUMMARY_PREFIXES_MAX 65536u
#define SUMMARY_SIZES        33u /* 0, 1, 2-3, 4-7, ... */
#define SUMMARY_TTLS         9u

struct summary_options {
	uint64_t prefixes; /* how many to show, 0 = none */
	uint64_t top;      /* the same of the largest items */
	bool sizes, ttl;
	const char *delimiter; /* what ends a prefix */
};

struct tally {
	uint64_t items, bytes;
};

struct summary_prefix {
	uint8_t *text; /* NULL: the place is free */
	size_t len;
	uint64_t hash;
	struct tally tally;
};

/* One of the largest. */
struct summary_large {
	uint64_t size; /* of its value */
	uint64_t bytes;
	int64_t expiry;
	uint8_t key[ITEM_KEY_MAX];
	uint8_t key_len;
};

struct summary {
	struct summary_options options;
	int64_t now; /* seconds */
	struct hash_key hash_key;
	struct tally all, without_prefix, others;
	struct tally sizes[SUMMARY_SIZES], ttls[SUMMARY_TTLS];
	struct summary_prefix *prefixes; /* a table twice the largest number */
	size_t n_prefixes;
	struct summary_large *large; /* a heap: the least comes first */
	size_t n_large;
};

/* TOOL_OK or an exit code after a message. The delimiter must outlive it. */
int summary_open(struct summary *s, const struct summary_options *options);
void summary_close(struct summary *s);
/* False: no memory. */
bool summary_add(struct summary *s, const struct item *item);
/* Once, at the end: it puts in order what it prints. */
void summary_print(struct summary *s, struct out *out, bool json);

/* A key as lines of metadump have it: nothing but letters, digits, "-._~" and %XX. */
void summary_key(struct out *out, const void *key, size_t len);

#endif
