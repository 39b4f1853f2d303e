/* SPDX-License-Identifier: BSD-3-Clause */
/* update: delete, incr, decr and touch. */
#include "server/session.h"

enum step update_delete(struct conn *c, struct item *it)
{
	struct observed_item before = observed_before(c, &it->keys[0]);
	enum store_result r = engine_delete(c->worker->engine, &it->keys[0], 0);
	if (r == STORE_WAIT)
		return STEP_WAIT;
	if (before.told)
		observed_delete(c, "delete", &it->keys[0], &before, r);
	if (r != STORE_REFUSED)
		session_count(c, r == STORE_OK ? COUNTER_delete_hits : COUNTER_delete_misses);
	return session_answer_failed(c, it->req.noreply,
	    r == STORE_OK          ? REPLY_DELETED
	    : r == STORE_NOT_FOUND ? REPLY_NOT_FOUND
	                           : REPLY_REFUSED);
}

enum step update_arith(struct conn *c, struct item *it)
{
	bool down = it->req.command->id == COMMAND_DECR;
	struct store_arith a = {.delta = it->req.delta, .decrement = down};
	struct store_number number = {0};
	enum reply_id reply = REPLY_NONE;

	switch (engine_arith(c->worker->engine, &it->keys[0], &a, &number)) {
	case STORE_WAIT:
		return STEP_WAIT;
	case STORE_OK:
		session_count(c, down ? COUNTER_decr_hits : COUNTER_incr_hits);
		if (!it->req.noreply)
			c->out.copied.tail += reply_number(out_tail(&c->out), number.value);
		return STEP_DONE;
	case STORE_NOT_FOUND:
		session_count(c, down ? COUNTER_decr_misses : COUNTER_incr_misses);
		reply = REPLY_NOT_FOUND;
		break;
	case STORE_NOT_NUMBER:
		reply = REPLY_NOT_NUMBER;
		break;
	case STORE_REFUSED:
		if (it->req.noreply)
			return session_refused_silently(c, &it->keys[0]);
		reply = REPLY_REFUSED;
		break;
	default:
		reply = REPLY_NO_MEMORY_ARITH;
		break;
	}
	session_answer_unless(c, it->req.noreply, reply);
	return STEP_DONE;
}

enum step update_touch(struct conn *c, struct item *it)
{
	struct engine_worker *w = c->worker->engine;
	int64_t expiry = engine_expiry(w, it->req.exptime);
	enum store_result r = engine_touch(w, &it->keys[0], expiry, NULL, NULL);
	if (r == STORE_WAIT)
		return STEP_WAIT;
	if (r == STORE_REFUSED && store_expired(expiry, engine_now(w)))
		return session_answer_failed(c, it->req.noreply, REPLY_REFUSED);
	session_count(c, COUNTER_cmd_touch);
	if (r != STORE_REFUSED)
		session_count(c, r == STORE_OK ? COUNTER_touch_hits : COUNTER_touch_misses);
	session_answer_unless(c, it->req.noreply,
	    r == STORE_OK          ? REPLY_TOUCHED
	    : r == STORE_NOT_FOUND ? REPLY_NOT_FOUND
	                           : REPLY_REFUSED);
	return STEP_DONE;
}
