/* SPDX-License-Identifier: BSD-3-Clause */
/* rewrite: an item built anew from what it was, beside it and without its shard's lock: append, prepend, a touch that needs
 * a field. Inside of the store only. */
#ifndef STORE_REWRITE_H
#define STORE_REWRITE_H

#include "store/change.h"

struct rewrite {
	const uint8_t *before, *after;
	size_t before_len, after_len;
	bool touch; /* sets the expiry and keeps the number */
	bool keep;  /* a touch that makes the item one that goes to disk: a new number, the CAS stays */
	int64_t expiry;
};

/* What the first look learned, so that the second can tell whether it still holds. */
struct original {
	struct item_spec spec;
	struct store_pin pin;
	const uint8_t *value;
	uint64_t place;
	enum arena_queue queue;
	uint8_t copy[STORE_COPY_MAX];
};

/* The shard's lock is held. o->pin is the caller's to unpin. */
void rewrite_learn(struct store *s, const struct change_site *site, struct original *o);
/* Builds the new item beside the old one and links it if the old one is still what it was: 1 done, 0 again,
 * -1 no memory. */
int rewrite_once(struct store_thread *t, const struct store_key *key, const struct rewrite *rw,
    const struct original *o, struct store_outcome *ret);

#endif
