/* SPDX-License-Identifier: BSD-3-Clause */
/* types: the values that pass between the store and those above it. Plain data, no behaviour but inline
 * helpers. Times are Hearth time in whole seconds since 1970; 0 means never. Lengths are bytes. */
#ifndef STORE_TYPES_H
#define STORE_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STORE_KEY_MAX 250

/* Up to this size a value is copied into replies, ring and snapshots under its shard's lock, and may be
 * overwritten in place. Above it the bytes never change once linked and everyone refers to them under a pin.
 */
#define STORE_COPY_MAX 4096

enum store_result {
	STORE_OK = 0,
	STORE_NOT_FOUND,
	STORE_NOT_STORED,
	STORE_EXISTS,     /* the compare value (CAS) is another */
	STORE_NOT_NUMBER, /* incr and decr */
	STORE_TOO_LARGE,  /* beyond -I */
	STORE_NO_MEMORY,  /* -M, or everything is pinned */
	STORE_WAIT, /* nothing has happened: park the connection, repeat the call after the progress callback
	             */
	STORE_MORE_ROOM, /* the emit callback wanted more room: make it and repeat the call */
	STORE_REFUSED,   /* the disk failed and changes are refused: SERVER_ERROR, memory is untouched */
	STORE_PACKED,    /* nothing has happened: the value must be unpacked first (store_unpack) */
	STORE_DROPPED, /* the item was to go and has gone, with its tombstone: repeat the call, it is a miss now */
};

enum store_mode { STORE_SET, STORE_ADD, STORE_REPLACE, STORE_APPEND, STORE_PREPEND, STORE_CAS };

/* A key with its hash: made once by engine_key(), used by every call on it. */
struct store_key {
	const uint8_t *data;
	uint64_t hash;
	uint8_t len;   /* 1 to 250 */
	bool binary;   /* came base64-coded: kept with the item */
	bool not_kept; /* its values do not go to disk */
};

struct store_large; /* a value with memory of its own, reference counted */

/* Keeps the bytes of a value above STORE_COPY_MAX where they are until store_unpin / engine_unpin. */
struct store_pin {
	struct store_large *large; /* either */
	uint32_t region;           /* or; STORE_PIN_NONE */
};
#define STORE_PIN_NONE UINT32_MAX

static inline bool store_pinned(const struct store_pin *pin)
{
	return pin->large != NULL || pin->region != STORE_PIN_NONE;
}

/* What a reader is shown of an item. */
struct store_view {
	const uint8_t *value; /* as it lies in memory: with dict it is packed */
	size_t value_len;     /* as clients know it, also of a packed one */
	uint32_t dict;        /* 0, or what it is packed with, to */
	size_t packed_len;    /* so many bytes */
	/* Set, by the engine, for a packed value: `value` is NULL. Whoever wants it leaves room for value_len bytes and says
	 * here where, and the bytes are there when the call that led to this returns STORE_OK. When it does not, what the
	 * callback has written is to be taken back. */
	uint8_t **into;
	uint32_t flags;
	uint64_t seq; /* number of its last change of value: a reply that shows it waits for this */
	uint64_t cas; /* what clients see as CAS */
	int64_t expiry;
	int64_t access; /* before this hit */
	bool fetched, stale, win_sent, binary;
	struct store_pin pin; /* set: the callback now owns it; not set: copy the bytes before it returns */
};

/* Called with the shard's lock held: it must not wait, allocate much, or call the store. It copies what it
 * needs into room that was secured before and returns true; false when that room is too small
 * (STORE_MORE_ROOM; a pin in the view is taken back by the store). */
typedef bool store_emit(void *arg, const struct store_view *view);

/* What a walk over keys shows of an item. */
struct store_key_view {
	const uint8_t *key;
	uint8_t key_len;
	const struct store_view *view; /* without a pin, and its bytes are not to be used */
};
/* Under a shard's lock. False: there is no room for it, the shard comes again. */
typedef bool store_visit_key(void *arg, const struct store_key_view *item);

struct store_put {
	enum store_mode mode;
	uint32_t flags;
	int64_t expiry;   /* absolute; 0 = never; a time not after now: stored and at once expired */
	uint64_t compare; /* STORE_CAS; append and prepend: 0 = any */
	uint64_t cas;     /* what its CAS is to be; 0 = the number of the change */
	/* STORE_CAS with a lower number than the item has: stored all the same, but stale; expiry and win stay the item's. */
	bool older_is_stale;
	bool vivify; /* append and prepend: a miss stores the value as it is, to expire at `expiry` */
	bool win;    /* the right to fill the item is given away with it */
	const uint8_t *value;
	size_t value_len;
	uint32_t dict;             /* the value is packed with this dictionary; 0 = it is not */
	struct store_large *large; /* instead of value: filled by the caller; the store takes it over on every
	                            * result but STORE_WAIT */
};

struct store_arith {
	uint64_t delta;
	bool decrement;
	uint64_t compare; /* 0 = any */
	uint64_t cas;     /* what its CAS is to be; 0 = the number of the change */
	bool vivify;      /* a miss stores `initial`, to expire at `initial_expiry` */
	uint64_t initial;
	int64_t initial_expiry;
	bool
	    expires; /* what was there gets `expiry`; not after now: it goes, and the answer says what it was */
	int64_t expiry;
};

/* What arithmetic came to. */
struct store_number {
	uint64_t value, cas;
	int64_t expiry; /* before it got another */
	bool created;   /* it is the initial one */
};

/* What a put came to: the item as it is now. */
struct store_stored {
	uint64_t cas;
	size_t value_len;
};

/* Changes of what an item is marked with; its value stays, or goes. */
struct store_mark {
	bool win;   /* the right to fill it is given away; its CAS stays */
	bool stale; /* invalidated: served with a warning, for one to win; a new CAS */
	bool empty; /* the value goes, the item stays with these flags */
	uint32_t flags;
	bool expires;
	int64_t expiry;   /* with expires */
	uint64_t compare; /* 0 = any */
	uint64_t
	    cas; /* what its CAS is to be; 0 = the number of the change when it is stale, else it stays */
	bool unlogged; /* win alone: no record of it, a restart may give it away again */
};

/* A flush slot or a key that is to be judged by time. */
static inline bool store_expired(int64_t expiry, int64_t now)
{
	return expiry != 0 && expiry <= now;
}

#endif
