/* SPDX-License-Identifier: BSD-3-Clause */
/* ahead: see ahead.h. */
#include "store/ahead.h"

void ahead_read(const struct store *s, uint8_t *base, uint32_t *at, uint32_t end, struct ahead *ret)
{
	unsigned n = 0;
	for (; n < AHEAD_ITEMS && *at < end; n++) {
		struct item *it = (struct item *)(void *)(base + *at);
		ret->item[n] = it;
		ret->hash[n] = hash_bytes(&s->hash, it->body, it->key_len);
		index_prefetch_shard(&s->index, ret->hash[n]);
		*at += (uint32_t)item_size(it);
	}
	for (unsigned i = 0; i < n; i++)
		index_prefetch(&s->index, ret->hash[i]);
	ret->n = n;
}
