/* SPDX-License-Identifier: BSD-3-Clause */
/* table: entries of one size by the hash of a key, which alone stands for it: with 128 bits two of billions of keys are not
 * taken for one. At most three quarters full, half as full after it has grown. One thread. */
#ifndef TOOL_TABLE_H
#define TOOL_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/hash.h"

struct table {
	uint8_t *places;
	size_t stride;     /* bytes of an entry, which begins with its hash_wide; zeros = the place is free */
	size_t size, used; /* size: a power of two */
	struct hash_key key;
};

/* Room for `expected` entries of `stride` bytes; it grows. TOOL_OK or an exit code after a message. */
int table_open(struct table *t, size_t stride, uint64_t expected);
void table_close(struct table *t);
/* NULL: it is not there. */
void *table_find(const struct table *t, const void *key, size_t len);
/* The key's entry, new (zeros but for its hash) or not, valid until the next change; NULL: no memory. */
void *table_put(struct table *t, const void *key, size_t len);
/* Moves other entries. */
void table_remove(struct table *t, void *entry);
/* Entry i of table.size; NULL where the place is free. After a removal from place i another may be there. */
void *table_at(const struct table *t, size_t i);

#endif
