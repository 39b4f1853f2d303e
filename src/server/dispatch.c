/* SPDX-License-Identifier: BSD-3-Clause */
/* dispatch: see dispatch.h. Up to BATCH requests are parsed ahead and what their lookups will read is fetched; then
 * they are executed in order. What cannot happen now (no room in the log, output full) is forgotten again:
 * the parser returns to the point before it, and it is parsed anew when its time has come. */
#include "server/dispatch.h"

#include <stdlib.h>
#include <string.h>
#include "base/check.h"
#include "server/sample.h"
#include "server/session.h"

#define BATCH 16

struct batch {
	struct item items[BATCH];
};

const char *dispatch_protocol(void)
{
	return REPLY_PROTOCOL;
}

struct batch *dispatch_new_batch(void)
{
	return calloc(1, sizeof(struct batch));
}

void dispatch_free_batch(struct batch *b)
{
	free(b);
}

struct session *dispatch_open(void)
{
	return calloc(1, sizeof(struct session));
}

void dispatch_close(struct conn *c)
{
	if (!c->session)
		return;
	storage_drop_upload(c);
	watcher_end(c);
	free(c->session);
	c->session = NULL;
}

static bool wants_keys(const struct command *command)
{
	return command->shape == COMMAND_KEYS || command->shape == COMMAND_TOUCH_KEYS;
}

static enum step run_command(struct conn *c, struct item *it)
{
	if (!session_permits(c, it->req.command)) {
		session_answer_unless(c, it->req.noreply, REPLY_DENIED);
		return STEP_DONE;
	}
	if (!wants_keys(it->req.command) && !session_may_answer(c, 1))
		return STEP_CLOSE;
	switch ((enum command_shape)it->req.command->shape) {
	case COMMAND_KEYS:
	case COMMAND_TOUCH_KEYS:
		return retrieval_run(c, it);
	case COMMAND_STORE:
	case COMMAND_STORE_CAS:
		return storage_run(c, it);
	case COMMAND_META_STORE:
		return storage_run(c, it);
	case COMMAND_META:
		return meta_run(c, it);
	case COMMAND_KEY:
		return update_delete(c, it);
	case COMMAND_KEY_DELTA:
		return update_arith(c, it);
	case COMMAND_KEY_TIME:
		return update_touch(c, it);
	case COMMAND_WORDS:
		return operator_run(c, it);
	}
	CHECK(!"a shape of the table");
	return STEP_CLOSE;
}

static enum step run_error(struct conn *c, struct item *it)
{
	/* As in memcached: a get that breaks off takes the answers along that are stacked up before it. */
	if (it->req.drop_stack)
		out_drop(&c->out, c->worker->engine);
	session_answer(c, it->req.error);
	return STEP_DONE;
}

static enum step run_item(struct conn *c, struct item *it)
{
	if (out_full(&c->out))
		return STEP_FULL;
	if (!session_room(c, SESSION_ROOM))
		return STEP_CLOSE;
	switch (it->result) {
	case PARSE_DONE:
		return run_command(c, it);
	case PARSE_VALUE:
		return storage_run_value(c, it);
	case PARSE_ERROR:
		return run_error(c, it);
	case PARSE_CLOSE:
		c->leaving = CONN_ERROR;
		return STEP_CLOSE;
	case PARSE_MORE:
		break;
	}
	CHECK(!"what parse_next returns");
	return STEP_CLOSE;
}

/* ---- batches ---- */

/* Hashes the keys and starts the fetch of their shards. */
static void prepare(struct conn *c, struct item *it)
{
	const struct request *req = &it->req;
	it->n_keys = 0;
	if ((it->result != PARSE_DONE && it->result != PARSE_VALUE) || req->command->shape == COMMAND_WORDS)
		return;
	it->n_keys = wants_keys(req->command) ? req->n_keys : 1;
	for (unsigned i = 0; i < it->n_keys; i++)
		it->keys[i] = engine_key(c->worker->engine, req->keys[i].data, (uint8_t)req->keys[i].len);
	bool meta = req->command->shape == COMMAND_META || req->command->shape == COMMAND_META_STORE;
	if (meta && req->meta.key_len)
		it->keys[0].binary = true;
	struct sampler *sampler = sample_on(c->worker);
	if (sampler)
		sample_keys(sampler, it->keys, it->n_keys);
}

/* The lookups of a batch stand still for memory three times each: shard, bucket, item. Fetched for all keys at once, each
 * of the three is one wait a batch instead of one a key. */
static void fetch_batch(const struct conn *c, unsigned n)
{
	const struct item *items = c->worker->batch->items;
	struct engine_worker *w = c->worker->engine;
	if (n == 0 || (n == 1 && items[0].n_keys < 2))
		return;
	for (unsigned i = 0; i < n; i++)
		for (unsigned k = 0; k < items[i].n_keys; k++)
			engine_prefetch(w, &items[i].keys[k]);
	for (unsigned i = 0; i < n; i++)
		for (unsigned k = 0; k < items[i].n_keys; k++)
			engine_prefetch_item(w, &items[i].keys[k]);
}

/* Parses ahead, at most `max` requests. What needs the buffer to itself, or ends the connection, comes last.
 */
static unsigned parse_batch(struct conn *c, unsigned max)
{
	struct item *items = c->worker->batch->items;
	struct parser p = c->session->parser;
	const uint8_t *at = c->in.data + c->in.head, *end = c->in.data + c->in.tail;
	unsigned n = 0;

	while (n < max && at < end) {
		struct item *it = &items[n];
		it->before = p;
		it->start = at;
		it->result = parse_next(&p, at, (size_t)(end - at), &it->req, &it->used);
		it->after = p;
		if (it->result == PARSE_MORE) {
			/* Swallowed bytes go at once when nothing is before them. */
			if (n == 0) {
				c->session->parser = p;
				buf_consume(&c->in, it->used);
			}
			break;
		}
		prepare(c, it);
		at += it->used;
		n++;
		if (it->result == PARSE_VALUE || it->result == PARSE_CLOSE)
			break;
	}
	return n;
}

/* Takes over where the parser stands behind the item, or before it when it did not happen. */
static void commit(struct conn *c, const struct item *it, enum step s)
{
	bool done = s == STEP_DONE || s == STEP_BREAK || s == STEP_FLUSH;
	const uint8_t *at = done ? it->start + it->used : it->start;
	c->session->parser = done ? it->after : it->before;
	c->in.head = (size_t)(at - c->in.data);
}

static enum step run_batch(struct conn *c, unsigned *budget)
{
	unsigned n = parse_batch(c, *budget < BATCH ? *budget : BATCH);
	enum step s = STEP_INPUT;

	fetch_batch(c, n);
	for (unsigned i = 0; i < n; i++) {
		struct item *it = &c->worker->batch->items[i];
		s = run_item(c, it);
		if (c->session->upload) {
			c->session->parser = it->after;
			return s;
		}
		commit(c, it, s);
		if (s != STEP_DONE)
			return s == STEP_BREAK ? STEP_DONE : s;
		if (!it->req.more)
			--*budget;
	}
	return s;
}

/* Tells text and binary apart, by the first byte or by -B. */
static void choose_protocol(struct conn *c)
{
	enum server_protocol allowed = SERVER_OPTION(c->worker->server, protocol);
	if (c->session->protocol != SESSION_UNDECIDED || buf_len(&c->in) == 0)
		return;
	bool binary = allowed == SERVER_ANY_PROTOCOL ? c->in.data[c->in.head] == BINARY_MAGIC
	                                             : allowed == SERVER_BINARY;
	c->session->protocol = binary ? SESSION_BINARY : SESSION_TEXT;
}

enum conn_verdict dispatch_run(struct conn *c)
{
	struct worker *w = c->worker;
	unsigned budget = SERVER_OPTION(w->server, turn_requests);
	enum step s = STEP_DONE;

	engine_turn(w->engine);
	w->answers_left = w->answers_most;
	choose_protocol(c);
	while (s == STEP_DONE && budget > 0) {
		if (c->session->protocol == SESSION_BINARY) {
			s = session_may_answer(c, 1) ? binary_run(c) : STEP_CLOSE;
			budget--;
		} else if (c->session->watches) {
			s = watcher_run(c);
		} else if (c->session->dump.active) {
			s = dump_run(c);
			budget--;
		} else if (c->session->upload) {
			s = storage_end_upload(c);
			budget--;
		} else {
			s = run_batch(c, &budget);
		}
	}
	session_keep_need(c);
	switch (s) {
	case STEP_DONE:
	case STEP_BREAK:
		if (buf_len(&c->in) == 0)
			return CONN_IDLE;
		session_count(c, COUNTER_conn_yields);
		return CONN_AGAIN;
	case STEP_FLUSH:
		return buf_len(&c->in) == 0 ? CONN_IDLE : CONN_AGAIN;
	case STEP_FULL:
		return CONN_AGAIN;
	case STEP_WAIT:
		return CONN_WAIT;
	case STEP_INPUT:
		return CONN_IDLE;
	default:
		return CONN_CLOSE;
	}
}
