/* SPDX-License-Identifier: BSD-3-Clause */
/* touch: an item gets another expiry, in place where it has the field. */
#include "store/rewrite.h"

enum store_result store_touch(struct store_thread *t, const struct store_key *key, int64_t expiry,
    size_t secured, store_emit *emit, void *arg, struct store_outcome *ret)
{
	struct store *s = t->store;
	for (;;) {
		struct change_site site;
		struct original o;
		*ret = (struct store_outcome){0};
		change_enter(t, key, &site);
		bool past = store_expired(expiry, t->now);
		if (!site.it) {
			ret->seq = past ? change_remove(t, key, &site) : change_gone(s, &site);
			ret->expired = site.expired && !past;
			change_leave(s, &site);
			return STORE_NOT_FOUND;
		}
		bool has_field = item_state(site.it) & ITEM_HAS_EXPIRY;
		bool hidden = item_state(site.it) & ITEM_NOT_KEPT;
		bool keep = hidden && !past && !store_not_kept(s, key, expiry, t->now);
		if (keep && change_dropped(s, site.it)) {
			ret->seq = change_drop(t, key, &site);
			change_leave(s, &site);
			return STORE_DROPPED;
		}
		bool in_place = past || ((has_field || expiry == 0) && !keep);
		if (keep && item_value_len(site.it) > secured) {
			ret->needed = item_value_len(site.it);
			change_leave(s, &site);
			return STORE_MORE_ROOM;
		}
		if (!in_place) {
			rewrite_learn(s, &site, &o);
			change_leave(s, &site);
			const struct rewrite rw = {.same = true,
			    .touch = !keep,
			    .keep_cas = keep,
			    .expires = true,
			    .expiry = expiry,
			    .clear = keep ? ITEM_NOT_KEPT : 0,
			    .set = ITEM_FETCHED,
			    .emit = emit,
			    .arg = arg};
			enum rewrite_result done = rewrite_once(t, key, &rw, &o, ret);
			store_unpin(s, &o.pin);
			if (done == REWRITE_AGAIN)
				continue;
			ret->seq = ret->seq > o.spec.seq ? ret->seq : o.spec.seq;
			return rewrite_answer(done);
		}
		enum store_result result = STORE_OK;
		uint64_t served = item_seq(site.it);
		if (emit)
			result = store_emit_item(s, site.it, emit, arg) ? STORE_OK : STORE_MORE_ROOM;
		if (result == STORE_OK && past) {
			ret->seq = change_remove(t, key, &site);
		} else if (result == STORE_OK) {
			struct store_change change = {.kind = STORE_CHANGE_TOUCH,
			    .key = key,
			    .expiry = expiry,
			    .pin = {NULL, STORE_PIN_NONE}};
			if (!hidden)
				ret->seq = change_note(t, &change);
			if (has_field) {
				item_set_expiry(site.it, expiry);
				store_note_expiry(s, site.it, expiry);
			}
			store_note_hit(t, site.it, site.cursor.slot);
		}
		ret->seq = ret->seq > served ? ret->seq : served;
		change_leave(s, &site);
		return result;
	}
}
