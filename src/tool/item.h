/* SPDX-License-Identifier: BSD-3-Clause */
/* item: a key and what belongs to it, on the way from files, a server or a text to whoever wants it. */
#ifndef TOOL_ITEM_H
#define TOOL_ITEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define ITEM_KEY_MAX 250

struct item {
	const uint8_t *key;
	size_t key_len;
	const uint8_t *value; /* NULL where nobody asked for it */
	uint64_t size;        /* bytes of the value, also without it */
	int64_t expiry;       /* seconds since 1970; 0 = never */
	int64_t access;       /* seconds since 1970; 0 = not known */
	uint64_t cas;         /* 0 = not known */
	uint32_t flags;       /* the client's */
	bool binary_key;      /* it was set with a key in base64 (meta flag b) */
	bool stale;           /* invalidated: a client is to make another value (meta flag I) */
	bool awaited;         /* and one is about to, of this or of one that has become old */
};

/* Whether its value is what a client meant it to be. Not one that was invalidated, and not the empty one that keeps a place
 * while a client makes the first (meta flag N): elsewhere nobody would see that it is. */
static inline bool item_is_valid(const struct item *item)
{
	return !item->stale && !(item->awaited && item->size == 0);
}

/* Which items are wanted, and what of them. */
struct item_wish {
	const char *prefix; /* only keys that begin so; NULL = all */
	size_t prefix_len;
	bool values;
	bool printed; /* they go to standard output as they come */
	bool expired; /* also those whose time has passed; a server has none */
};

/* Takes one; what it points to is the giver's and changes after the call. TOOL_OK, or an exit code that ends it all. */
typedef int item_take(void *arg, const struct item *item);

static inline bool item_is_wanted(const struct item_wish *wish, const void *key, size_t len)
{
	return !wish->prefix || (len >= wish->prefix_len && memcmp(key, wish->prefix, wish->prefix_len) == 0);
}

/* Whether a key can stand in a line of the text protocol as it is; one that cannot goes as base64 (meta flag b). */
static inline bool item_is_plain(const uint8_t *key, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (key[i] <= ' ' || key[i] == 0x7f)
			return false;
	return len > 0 && len <= ITEM_KEY_MAX;
}

#endif
