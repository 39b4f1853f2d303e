/* SPDX-License-Identifier: BSD-3-Clause */
/* session: the answers that all commands share, see session.h. */
#include "server/session.h"

bool session_make_room(struct conn *c, size_t len)
{
	struct buf *b = &c->out.copied;
	if (!b->data && !worker_get_chunk(c->worker, b))
		return false;
	return buf_room(b) >= len || buf_reserve(b, len);
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
