/* SPDX-License-Identifier: BSD-3-Clause */
/* session: the answers that all commands share, see session.h. */
#include "server/session.h"

#include <string.h>

bool session_make_room(struct conn *c, size_t len)
{
	struct buf *b = &c->out.copied;
	if (!b->data && !worker_get_chunk(c->worker, b))
		return false;
	return buf_room(b) >= len || buf_reserve(b, len);
}

bool session_drop_stack(struct conn *c)
{
	session_count(c, COUNTER_response_obj_oom);
	out_drop(&c->out, c->worker->engine);
	return false;
}

/* Room for it was made before the command was executed. */
void session_answer(struct conn *c, enum reply_id id)
{
	c->out.copied.tail += reply_text(out_tail(&c->out), id);
}

void session_answer_unless(struct conn *c, bool noreply, enum reply_id id)
{
	if (!noreply)
		session_answer(c, id);
}

/* What the turn changed or served must be in the log before its answers leave. */
void session_keep_need(struct conn *c)
{
	uint64_t need = engine_need(c->worker->engine);
	if (need > c->need)
		c->need = need;
}

enum step session_answer_failed(struct conn *c, bool noreply, enum reply_id reply)
{
	session_answer_unless(c, noreply, reply);
	return noreply && reply == REPLY_REFUSED ? STEP_CLOSE : STEP_DONE;
}

enum step session_refused_silently(struct conn *c, const struct store_key *key)
{
	enum store_result r = engine_delete(c->worker->engine, key, 0);
	return r == STORE_WAIT ? STEP_WAIT : r == STORE_REFUSED ? STEP_CLOSE : STEP_DONE;
}

bool session_fits(struct session_emit *e, const struct store_view *view)
{
	struct out *o = &e->conn->out;
	bool pin = store_pinned(&view->pin);
	e->value_len = view->value_len;
	e->late = view->into;
	e->mark = o->copied.tail;
	e->unready = pin && !out_can_pin(o);
	e->wanted = SESSION_HEAD + 2 + (pin ? 0 : view->value_len);
	return !e->unready && buf_room(&o->copied) >= e->wanted;
}

void session_put_value(struct out *o, const struct store_view *view)
{
	if (store_pinned(&view->pin)) {
		out_pin(o, view);
	} else if (view->into) {
		*view->into = out_tail(o);
		o->copied.tail += view->value_len;
	} else {
		memcpy(out_tail(o), view->value, view->value_len);
		o->copied.tail += view->value_len;
	}
}

void session_put_line(struct out *o, const struct store_view *view)
{
	session_put_value(o, view);
	memcpy(out_tail(o), "\r\n", 2);
	o->copied.tail += 2;
}

void session_settle(struct session_emit *e, enum store_result result)
{
	if (e->late && result == STORE_NOT_FOUND)
		e->conn->out.copied.tail = e->mark;
	e->late = false;
}

bool session_make_fit(struct session_emit *e)
{
	return (!e->unready || out_prepare_pin(&e->conn->out)) && session_room(e->conn, e->wanted);
}
