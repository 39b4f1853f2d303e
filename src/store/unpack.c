/* SPDX-License-Identifier: BSD-3-Clause */
/* unpack: a packed value is kept as it is from here on, for who is going to change a part of it. The item keeps its number
 * and everything else; what the log has of it is the packed value, which says the same. */
#include "store/rewrite.h"

enum store_result store_unpack(
    struct store_thread *t, const struct store_key *key, store_unpacker *unpack, void *arg)
{
	for (;;) {
		struct change_site site;
		struct original o;
		struct store_outcome out = {0};
		struct rewrite rw = {0};
		uint8_t *value;
		change_enter(t, key, &site);
		bool packed = site.it && item_state(site.it) & ITEM_HAS_DICT;
		if (packed)
			rewrite_learn(t->store, &site, &o);
		change_leave(t->store, &site);
		if (!packed)
			return STORE_OK;
		rw.unpacked_len = item_shown_len(&o.spec, o.value);
		enum rewrite_result done = REWRITE_NO_MEMORY;
		bool whole = unpack(arg, o.spec.dict, o.value, o.spec.value_len, &value);
		rw.unpacked = value;
		if (whole)
			done = rewrite_once(t, key, &rw, &o, &out);
		store_unpin(t->store, &o.pin);
		if (!whole)
			return STORE_NOT_STORED;
		if (done != REWRITE_AGAIN)
			return rewrite_answer(done);
	}
}
