/* SPDX-License-Identifier: BSD-3-Clause */
/* mark: an item is invalidated, emptied, or the right to fill it given away. It is logged as a set of the whole item, so
 * that no record depends on what was logged before it and a hole in the log costs what it always costs. */
#include "store/rewrite.h"

/* The lock is held. There is nothing to write: the item is as it is to be, or nobody is to know. */
static bool in_place(const struct change_site *site, const struct store_mark *mark)
{
	if (mark->stale || mark->empty || mark->expires)
		return false;
	return mark->unlogged || item_state(site->it) & ITEM_WIN_SENT;
}

static enum store_result show(struct store_thread *t, struct change_site *site, const struct store_mark *mark,
    store_emit *emit, void *arg)
{
	if (emit && !store_emit_item(t->store, site->it, emit, arg))
		return STORE_MORE_ROOM;
	if (mark->win)
		item_set_state(site->it, item_state(site->it) | ITEM_WIN_SENT);
	if (emit)
		store_note_hit(t, site->it, site->cursor.slot);
	return STORE_OK;
}

static struct rewrite rewrite_for(struct store_thread *t, const struct store_key *key,
    const struct store_mark *mark, store_emit *emit, void *arg)
{
	struct rewrite rw = {.same = !mark->empty,
	    .empty = mark->empty,
	    .flags = mark->flags,
	    .keep_cas = !mark->stale && !mark->cas,
	    .cas = mark->cas,
	    .expires = mark->expires,
	    .expiry = mark->expiry,
	    .emit = emit,
	    .arg = arg};
	if (mark->empty)
		rw.clear |= ITEM_STALE | ITEM_WIN_SENT | ITEM_FETCHED;
	if (mark->win)
		rw.set |= ITEM_WIN_SENT;
	if (mark->stale) {
		rw.set |= ITEM_STALE;
		rw.clear |= ITEM_WIN_SENT;
	}
	if (mark->expires && !store_not_kept(t->store, key, mark->expiry, t->now))
		rw.clear |= ITEM_NOT_KEPT;
	return rw;
}

/* What there is to say without a rewrite; STORE_WAIT: it needs one, and o has been learned. The lock is held. */
static enum store_result first_look(struct store_thread *t, const struct store_key *key,
    const struct store_mark *mark, size_t secured, store_emit *emit, void *arg, struct change_site *site,
    struct original *o, struct store_outcome *ret)
{
	bool invalidates = mark->stale || mark->empty;
	if (!site->it) {
		ret->seq = invalidates ? change_remove(t, key, site) : change_gone(t->store, site);
		ret->expired = site->expired && !invalidates;
		return STORE_NOT_FOUND;
	}
	if (!mark->unlogged && change_dropped(t->store, site->it)) {
		ret->seq = change_drop(t, key, site);
		return STORE_DROPPED;
	}
	ret->seq = item_seq(site->it);
	ret->cas = change_cas(site->it);
	if (mark->compare && ret->cas != mark->compare)
		return STORE_EXISTS;
	if (mark->expires && store_expired(mark->expiry, t->now)) {
		if (emit && !store_emit_item(t->store, site->it, emit, arg))
			return STORE_MORE_ROOM;
		ret->seq = change_remove(t, key, site);
		return STORE_OK;
	}
	if (in_place(site, mark))
		return show(t, site, mark, emit, arg);
	size_t logged = mark->empty ? 0 : item_value_len(site->it);
	if (logged > secured) {
		ret->needed = logged;
		return STORE_MORE_ROOM;
	}
	rewrite_learn(t->store, site, o);
	return STORE_WAIT;
}

enum store_result store_mark(struct store_thread *t, const struct store_key *key,
    const struct store_mark *mark, size_t secured, store_emit *emit, void *arg, struct store_outcome *ret)
{
	const struct rewrite rw = rewrite_for(t, key, mark, emit, arg);
	for (;;) {
		struct change_site site;
		struct original o;
		*ret = (struct store_outcome){0};
		change_enter(t, key, &site);
		enum store_result result = first_look(t, key, mark, secured, emit, arg, &site, &o, ret);
		change_leave(t->store, &site);
		if (result != STORE_WAIT)
			return result;
		enum rewrite_result done = rewrite_once(t, key, &rw, &o, ret);
		store_unpin(t->store, &o.pin);
		if (done != REWRITE_AGAIN)
			return rewrite_answer(done);
	}
}
