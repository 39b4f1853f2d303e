/* SPDX-License-Identifier: BSD-3-Clause */
/* retrieval: get and its kin. Short values are copied into the output under their shard's lock, long ones are pinned and
 * sent from where they lie. */
#include "server/session.h"

struct emit {
	struct session_emit base;
	const struct store_key *key;
	bool cas;
};

/* Under a shard's lock: copies, or keeps the pin of a long value. */
static bool emit_value(void *arg, const struct store_view *view)
{
	struct emit *e = arg;
	struct out *o = &e->base.conn->out;
	if (!session_fits(&e->base, view))
		return false;
	uint8_t *at = out_tail(o);
	at += e->cas ? reply_value_cas(at, e->key->data, e->key->len, view->flags, view->value_len, view->cas)
	             : reply_value(at, e->key->data, e->key->len, view->flags, view->value_len);
	o->copied.tail = (size_t)(at - o->copied.data);
	session_put_line(o, view);
	return true;
}

static enum store_result fetch(
    struct conn *c, const struct request *req, const struct store_key *key, size_t *ret_len)
{
	struct engine_worker *w = c->worker->engine;
	enum command_id id = req->command->id;
	bool touch = id == COMMAND_GAT || id == COMMAND_GATS;
	struct emit e = {.base.conn = c, .key = key, .cas = id == COMMAND_GETS || id == COMMAND_GATS};
	enum store_result r;

	for (;;) {
		if (touch)
			r = engine_touch(w, key, engine_expiry(w, req->exptime), emit_value, &e);
		else
			r = engine_get(w, key, emit_value, &e);
		*ret_len = e.base.value_len;
		session_settle(&e.base, r);
		if (r != STORE_MORE_ROOM)
			return r;
		if (!session_make_fit(&e.base))
			return STORE_NO_MEMORY;
	}
}

static void count_fetch(struct conn *c, const struct request *req, bool hit)
{
	if (req->command->count == COMMAND_COUNTS_TOUCH) {
		session_count(c, COUNTER_cmd_touch);
		session_count(c, hit ? COUNTER_touch_hits : COUNTER_touch_misses);
	} else {
		session_count(c, COUNTER_cmd_get);
		session_count(c, hit ? COUNTER_get_hits : COUNTER_get_misses);
	}
}

/* Returns to this key of the line: what was answered before it stays. */
static void rewind_to_key(struct item *it, unsigned i)
{
	parse_at_key(&it->before, &it->req);
	it->start = it->req.keys[i].data;
}

/* No END: the line breaks off with its error, as when memcached runs out of memory. */
static enum step break_off(struct conn *c, struct item *it, enum reply_id why)
{
	session_answer(c, why);
	if (it->req.more)
		it->after.state = PARSE_IN_WASTE;
	return STEP_BREAK;
}

enum step retrieval_run(struct conn *c, struct item *it)
{
	if (!session_may_answer(c, it->req.n_keys))
		return break_off(c, it, REPLY_NO_MEMORY_GET);
	for (unsigned i = 0; i < it->req.n_keys; i++) {
		if (out_full(&c->out)) {
			rewind_to_key(it, i);
			return STEP_FULL;
		}
		if (!session_room(c, SESSION_ROOM))
			return STEP_CLOSE;
		size_t len;
		enum store_result r = fetch(c, &it->req, &it->keys[i], &len);
		switch (r) {
		case STORE_OK:
		case STORE_NOT_FOUND:
			count_fetch(c, &it->req, r == STORE_OK);
			if (observed(c))
				observed_get(c, &it->keys[i], r == STORE_OK, len);
			break;
		case STORE_WAIT:
			rewind_to_key(it, i);
			return STEP_WAIT;
		default:
			return break_off(c, it, r == STORE_REFUSED ? REPLY_REFUSED : REPLY_NO_MEMORY_GET);
		}
	}
	if (!it->req.more) {
		if (!session_room(c, SESSION_ROOM))
			return STEP_CLOSE;
		session_answer(c, REPLY_END);
	}
	return STEP_DONE;
}
