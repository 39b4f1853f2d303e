/* SPDX-License-Identifier: BSD-3-Clause */
/* keep: what need not be kept on disk: --persist-min-ttl and --no-persist-prefix. Whether an item is kept is decided when
 * it is set and remembered with it (ITEM_NOT_KEPT):
 *
 *   set, not to be kept   over nothing, or over an item that is kept: a tombstone; over one that is not: a number
 *   set, to be kept       a SET, as always
 *   append, incr          as the item they change
 *   touch                 nothing, as long as it is not to be kept; else a SET, with the CAS it had
 *   delete, a miss        a tombstone, as always
 *
 * So the last the disk has of a key that is not kept is a tombstone or nothing: nothing older comes back. Snapshots leave
 * such items out. The store decides (store_not_kept, put.c); here are the prefixes. */
#include "engine/private.h"

#include <stdlib.h>
#include <string.h>

struct keep_prefix {
	const char *text; /* the options' */
	size_t len;
};

bool keep_open(struct engine *e)
{
	const char *at = e->options.no_keep_prefixes;
	size_t n = at && *at ? 1 : 0;
	for (const char *p = at; p && *p; p++)
		n += *p == '\n';
	e->prefixes = calloc(n + 1, sizeof(*e->prefixes));
	if (!e->prefixes)
		return false;
	for (; e->n_prefixes < n; e->n_prefixes++) {
		size_t len = strcspn(at, "\n");
		e->prefixes[e->n_prefixes] = (struct keep_prefix){at, len};
		at += len + 1;
	}
	return true;
}

void keep_close(struct engine *e)
{
	free(e->prefixes);
	e->prefixes = NULL;
	e->n_prefixes = 0;
}

bool keep_not(const struct engine *e, const void *key, size_t len)
{
	for (size_t i = 0; i < e->n_prefixes; i++) {
		const struct keep_prefix *p = &e->prefixes[i];
		if (len >= p->len && memcmp(key, p->text, p->len) == 0)
			return true;
	}
	return false;
}
