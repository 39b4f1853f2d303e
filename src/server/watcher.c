/* SPDX-License-Identifier: BSD-3-Clause */
/* watcher: a connection that asked to `watch`: from then on it is told, and not listened to. */
#include "server/session.h"

#define WATCHER_ROUND (64 * 1024) /* bytes it is sent at a time */

enum step watcher_begin(struct conn *c, const struct request *req, enum reply_id *ret_reply)
{
	unsigned kinds = req->n_keys == 0 ? WATCH_FETCHERS : 0;
	*ret_reply = REPLY_ERROR;
	for (unsigned i = 0; i < req->n_keys; i++) {
		unsigned kind = watch_kind_named(req->keys[i].data, req->keys[i].len);
		if (kind == 0)
			return STEP_DONE;
		kinds |= kind;
	}
	if (SERVER_OPTION(c->worker->server, no_watch))
		*ret_reply = REPLY_NO_WATCH;
	else if (!out_empty(&c->out))
		*ret_reply = REPLY_PIPELINED_WATCH;
	else if (!watch_add(c->worker->server->watch, c, kinds))
		*ret_reply = REPLY_TOO_MANY_WATCHERS;
	else
		*ret_reply = REPLY_OK;
	if (*ret_reply != REPLY_OK)
		return STEP_DONE;
	c->session->watches = true;
	c->worker->watchers++;
	observed_update(c->worker->server);
	return STEP_BREAK;
}

void watcher_end(struct conn *c)
{
	if (!c->session->watches)
		return;
	c->session->watches = false;
	c->worker->watchers--;
	watch_remove(c->worker->server->watch, c);
	observed_update(c->worker->server);
}

enum step watcher_run(struct conn *c)
{
	bool more;
	buf_consume(&c->in, buf_len(&c->in));
	if (out_full(&c->out))
		return STEP_FULL;
	if (!session_room(c, SESSION_ROOM) || !watch_take(c->worker->server->watch, c, WATCHER_ROUND, &more))
		return STEP_CLOSE;
	return more ? STEP_FULL : STEP_INPUT;
}
