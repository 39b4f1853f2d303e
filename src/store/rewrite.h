/* SPDX-License-Identifier: BSD-3-Clause */
/* rewrite: an item built anew from what it was, beside it and without its shard's lock: append, prepend, marks, a touch
 * that needs a field. Inside of the store only. */
#ifndef STORE_REWRITE_H
#define STORE_REWRITE_H

#include "store/change.h"

struct rewrite {
	const uint8_t *before, *after; /* of a value that grows */
	size_t before_len, after_len;
	bool same;  /* the value stays as it is */
	bool empty; /* the value goes, the client's flags are these */
	uint32_t flags;
	bool
	    touch; /* with same: only the expiry changes; the item keeps its number, the record has no value */
	const uint8_t *unpacked; /* the value, for a packed one; nothing else changes, and nobody is told */
	size_t unpacked_len;
	bool keep_cas; /* what clients see as CAS stays; else it is cas, or the new number */
	uint64_t cas;
	bool expires;
	int64_t expiry;
	uint16_t set, clear; /* bits of enum item_state */
	store_emit *emit;    /* shown the item as it was, as a hit; NULL = nobody looks */
	void *arg;
};

enum rewrite_result {
	REWRITE_NO_ROOM = -2, /* emit wants more room: nothing has happened */
	REWRITE_NO_MEMORY = -1,
	REWRITE_AGAIN = 0, /* the item is another by now */
	REWRITE_DONE = 1
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
/* Builds the new item beside the old one and links it if the old one is still what it was. */
enum rewrite_result rewrite_once(struct store_thread *t, const struct store_key *key,
    const struct rewrite *rw, const struct original *o, struct store_outcome *ret);

static inline enum store_result rewrite_answer(enum rewrite_result done)
{
	return done == REWRITE_DONE ? STORE_OK : done == REWRITE_NO_ROOM ? STORE_MORE_ROOM : STORE_NO_MEMORY;
}

#endif
