/* SPDX-License-Identifier: BSD-3-Clause */
/* apply: a record becomes an item. The one place that maps record bits to item state, for recovery and for a
 * follower. */
#include "persist/recover_private.h"
#include "base/packed.h"
#include "store/item.h"

static uint16_t item_state_of(uint16_t bits)
{
	return (uint16_t)((bits & RECORD_STALE ? ITEM_STALE : 0) |
	                  (bits & RECORD_WIN_SENT ? ITEM_WIN_SENT : 0) |
	                  (bits & RECORD_FETCHED ? ITEM_FETCHED : 0) |
	                  (bits & RECORD_BINARY_KEY ? ITEM_BINARY : 0));
}

/* Whether the value can be read: where it is packed, its dictionary is there. */
static bool is_readable(const struct recovery *rec, const struct record *r)
{
	if (r->dict == 0)
		return true;
	const struct dict_set *dicts = rec->options->dicts;
	const struct dict *dict = dicts ? dict_find(dicts, r->dict) : NULL;
	if (!dict || !r->value || r->value_len > PACKED_RAW_MAX ||
	    packed_raw_len(r->value, (size_t)r->value_len) == 0)
		return false;
	dict_use(dict);
	return true;
}

bool apply_record(const struct recovery *rec, struct store_thread *t, const struct store_key *key,
    const struct record *r, bool from_snapshot)
{
	struct store_load load = {
	    .value = r->value,
	    .value_len = r->value_len,
	    .seq = r->seq,
	    .cas = r->cas,
	    .expiry = r->expiry,
	    .access = r->access,
	    .flags = r->flags,
	    .dict = r->dict,
	    .state = item_state_of(r->bits),
	    .use = (uint8_t)(r->bits >> RECORD_USE_SHIFT & 3),
	    .main_queue = r->bits & RECORD_MAIN_QUEUE,
	    .keep_newer = from_snapshot,
	};
	switch (r->type) {
	case RECORD_SET:
		/* Packed with a dictionary that nobody has: it cannot be applied, so its key goes. */
		if (is_readable(rec, r))
			return store_load_set(t, key, &load);
		store_load_delete(t, key);
		return false;
	case RECORD_DELETE:
		store_load_delete(t, key);
		return true;
	case RECORD_TOUCH:
		return store_load_touch(t, key, r->expiry);
	default:
		return true;
	}
}
