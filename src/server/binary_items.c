/* SPDX-License-Identifier: BSD-3-Clause */
/* binary_items: what binary requests do to items, by the engine's calls that text commands use. A refused change is
 * always answered, also under a quiet opcode: no reader can miss it. */
#include "server/session.h"

#include <string.h>
#include "server/sample.h"

static struct store_key make_key(struct conn *c, const struct binary_request *req)
{
	struct store_key key = engine_key(c->worker->engine, req->key.data, (uint8_t)req->key.len);
	struct sampler *sampler = sample_on(c->worker);
	if (sampler)
		sample_keys(sampler, &key, 1);
	return key;
}

/* ---- get, gat, touch ---- */

struct emit {
	struct session_emit base;
	const struct binary_request *req;
	struct store_pin pin; /* of a value that nobody asked for */
};

/* Flags, key when asked for, value. Under a shard's lock: copies, or keeps the pin of a long value. */
static bool emit_value(void *arg, const struct store_view *view)
{
	struct emit *e = arg;
	struct out *o = &e->base.conn->out;
	size_t key_len = e->req->wants_key ? e->req->key.len : 0;

	if (!session_fits(&e->base, view))
		return false;
	uint8_t *at = out_tail(o);
	at += binary_head(at, &e->req->tag, BINARY_OK, sizeof view->flags, (uint16_t)key_len,
	    (uint32_t)(sizeof view->flags + key_len + view->value_len), view->cas);
	at += binary_put32(at, view->flags);
	memcpy(at, e->req->key.data, key_len);
	o->copied.tail += BINARY_HEAD + sizeof view->flags + key_len;
	session_put_value(o, view);
	return true;
}

/* For touch: room for this is always there. */
static bool emit_flags(void *arg, const struct store_view *view)
{
	struct emit *e = arg;
	struct out *o = &e->base.conn->out;
	uint8_t *at = out_tail(o);
	at += binary_head(at, &e->req->tag, BINARY_OK, sizeof view->flags, 0, sizeof view->flags, view->cas);
	binary_put32(at, view->flags);
	o->copied.tail += BINARY_HEAD + sizeof view->flags;
	e->pin = view->pin;
	return true;
}

static enum store_result fetch(
    struct conn *c, const struct binary_request *req, const struct store_key *key, size_t *ret_len)
{
	struct engine_worker *w = c->worker->engine;
	struct emit e = {.base.conn = c, .req = req, .pin = {NULL, STORE_PIN_NONE}};
	store_emit *emit = req->command->id == COMMAND_TOUCH ? emit_flags : emit_value;
	enum store_result r;

	for (;;) {
		if (req->command->id == COMMAND_GET)
			r = engine_get(w, key, emit, &e);
		else
			r = engine_touch(w, key, engine_expiry(w, req->exptime), emit, &e);
		session_settle(&e.base, r);
		if (r != STORE_MORE_ROOM)
			break;
		if (!session_make_fit(&e.base))
			return STORE_NO_MEMORY;
	}
	if (store_pinned(&e.pin))
		engine_unpin(w, &e.pin);
	*ret_len = e.base.value_len;
	return r;
}

static void count_fetch(struct conn *c, const struct binary_request *req, bool hit)
{
	bool get = req->command->id == COMMAND_GET;
	session_count(c, get ? COUNTER_cmd_get : COUNTER_cmd_touch);
	session_count(c, get ? (hit ? COUNTER_get_hits : COUNTER_get_misses)
	                     : (hit ? COUNTER_touch_hits : COUNTER_touch_misses));
}

/* Who asks for the key is told it, but no text, also of a miss. */
static void answer_miss(struct conn *c, const struct binary_request *req)
{
	size_t len = req->key.len;
	if (req->tag.quiet)
		return;
	if (!req->wants_key) {
		binary_reply(c, &req->tag, BINARY_NOT_FOUND);
		return;
	}
	uint8_t *at = out_tail(&c->out);
	at += binary_head(at, &req->tag, BINARY_NOT_FOUND, 0, (uint16_t)len, (uint32_t)len, 0);
	memcpy(at, req->key.data, len);
	c->out.copied.tail += BINARY_HEAD + len;
}

enum step binary_items_get(struct conn *c, const struct binary_request *req)
{
	struct store_key key = make_key(c, req);
	size_t len;
	enum store_result r = fetch(c, req, &key, &len);
	switch (r) {
	case STORE_OK:
	case STORE_NOT_FOUND:
		count_fetch(c, req, r == STORE_OK);
		if (observed(c))
			observed_get(c, &key, r == STORE_OK, len);
		if (r == STORE_NOT_FOUND)
			answer_miss(c, req);
		return STEP_DONE;
	case STORE_WAIT:
		return STEP_WAIT;
	case STORE_REFUSED:
		binary_reply(c, &req->tag, BINARY_REFUSED);
		return STEP_DONE;
	default:
		binary_reply(c, &req->tag, BINARY_NO_MEMORY);
		return STEP_DONE;
	}
}

/* ---- set, add, replace, append, prepend ---- */

static void fill_put(struct conn *c, const struct binary_request *req, struct store_put *ret_put)
{
	static const enum store_mode modes[] = {
	    [COMMAND_SET] = STORE_SET,
	    [COMMAND_ADD] = STORE_ADD,
	    [COMMAND_REPLACE] = STORE_REPLACE,
	    [COMMAND_APPEND] = STORE_APPEND,
	    [COMMAND_PREPEND] = STORE_PREPEND,
	};
	enum store_mode mode = modes[req->command->id];
	bool concat = mode == STORE_APPEND || mode == STORE_PREPEND;
	*ret_put = (struct store_put){
	    .mode = req->cas != 0 && !concat ? STORE_CAS : mode,
	    .flags = req->flags,
	    .expiry = engine_expiry(c->worker->engine, req->exptime),
	    .compare = req->cas,
	    .value = req->value,
	    .value_len = req->value_len,
	};
}

/* What became of a put that was decided. */
static enum binary_status put_status(enum store_mode mode, enum store_result r)
{
	switch (r) {
	case STORE_OK:
		return BINARY_OK;
	case STORE_EXISTS:
		return BINARY_EXISTS;
	case STORE_NOT_FOUND:
		return BINARY_NOT_FOUND;
	default:
		return mode == STORE_ADD       ? BINARY_EXISTS
		       : mode == STORE_REPLACE ? BINARY_NOT_FOUND
		                               : BINARY_NOT_STORED;
	}
}

/* Of a value that could not be stored. */
static enum binary_status failed_status(enum reply_id reply)
{
	return reply == REPLY_TOO_LARGE ? BINARY_TOO_LARGE
	       : reply == REPLY_REFUSED ? BINARY_REFUSED
	                                : BINARY_NO_MEMORY;
}

/* failed keeps, over a wait, that the put itself is done and has failed. */
static enum step put(struct conn *c, const struct command *command, const struct store_key *key,
    const struct store_put *put, const struct binary_tag *tag, enum store_result *failed)
{
	struct store_stored stored = {0};
	enum reply_id reply;
	struct observed_item before = observed_before(c, key);
	enum store_result r =
	    *failed != STORE_OK ? *failed : engine_put(c->worker->engine, key, put, &stored);
	if (before.told && r != STORE_WAIT && *failed == STORE_OK)
		observed_put(c, command->name, key, put, &before, r);

	switch (r) {
	case STORE_WAIT:
		return STEP_WAIT;
	case STORE_REFUSED:
		binary_reply(c, tag, BINARY_REFUSED);
		return STEP_DONE;
	case STORE_TOO_LARGE:
	case STORE_NO_MEMORY:
		*failed = r;
		if (!storage_failed(c, command, key, r, &reply))
			return STEP_WAIT;
		binary_reply(c, tag, failed_status(reply));
		return STEP_DONE;
	default:
		storage_count(c, put->mode, r);
		if (r == STORE_OK)
			binary_reply_done(c, tag, stored.cas);
		else
			binary_reply(c, tag, put_status(put->mode, r));
		return STEP_DONE;
	}
}

enum step binary_items_store(struct conn *c, const struct binary_request *req)
{
	struct store_key key = make_key(c, req);
	struct store_put p;
	enum store_result failed = STORE_OK;
	fill_put(c, req, &p);
	return put(c, req->command, &key, &p, &req->tag, &failed);
}

enum step binary_items_store_value(struct conn *c, const struct binary_request *req, size_t used)
{
	struct store_key key = make_key(c, req);
	struct upload *up;
	enum store_result why;
	enum reply_id reply;

	enum step s = storage_receive(c, used, 0, req->value_len, &key, &up, &why);
	if (up) {
		up->command = req->command;
		up->tag = req->tag;
		fill_put(c, req, &up->put);
	}
	if (s != STEP_DONE)
		return s;
	if (!storage_failed(c, req->command, &key, why, &reply))
		return STEP_WAIT;
	binary_swallow(&c->session->binary, req->value_len);
	binary_reply(c, &req->tag, failed_status(reply));
	return STEP_DONE;
}

enum step binary_items_end_upload(struct conn *c)
{
	struct upload *up = c->session->upload;

	if (c->into.left > 0)
		return STEP_INPUT;
	if (out_full(&c->out))
		return STEP_FULL;
	if (!session_room(c, SESSION_ROOM))
		return STEP_CLOSE;
	/* Memory that failed once is not asked for again: the put took the large value over. */
	up->put.large = up->large;
	enum step s = put(c, up->command, &up->key, &up->put, &up->tag, &up->failed);
	if (s != STEP_WAIT || up->failed != STORE_OK)
		up->large = NULL;
	if (s != STEP_WAIT)
		storage_drop_upload(c);
	return s;
}

/* ---- delete, incr, decr ---- */

enum step binary_items_delete(struct conn *c, const struct binary_request *req)
{
	struct store_key key = make_key(c, req);
	struct observed_item before = observed_before(c, &key);
	enum store_result r = engine_delete(c->worker->engine, &key, req->cas);
	if (r == STORE_WAIT)
		return STEP_WAIT;
	if (before.told)
		observed_delete(c, "delete", &key, &before, r);
	if (r == STORE_OK || r == STORE_NOT_FOUND)
		session_count(c, r == STORE_OK ? COUNTER_delete_hits : COUNTER_delete_misses);
	if (r == STORE_OK)
		binary_reply_done(c, &req->tag, 0);
	else
		binary_reply(c, &req->tag,
		    r == STORE_NOT_FOUND ? BINARY_NOT_FOUND
		    : r == STORE_EXISTS  ? BINARY_EXISTS
		                         : BINARY_REFUSED);
	return STEP_DONE;
}

static void answer_number(struct conn *c, const struct binary_tag *tag, const struct store_number *number)
{
	uint8_t *at = out_tail(&c->out);
	if (tag->quiet)
		return;
	at += binary_head(at, tag, BINARY_OK, 0, 0, sizeof number->value, number->cas);
	binary_put64(at, number->value);
	c->out.copied.tail += BINARY_HEAD + sizeof number->value;
}

enum step binary_items_arith(struct conn *c, const struct binary_request *req)
{
	struct engine_worker *w = c->worker->engine;
	struct store_key key = make_key(c, req);
	bool down = req->command->id == COMMAND_DECR;
	struct store_arith a = {.delta = req->delta,
	    .decrement = down,
	    .compare = req->cas,
	    .vivify = req->creates,
	    .initial = req->initial,
	    .initial_expiry = req->creates ? engine_expiry(w, req->exptime) : 0};
	struct store_number number = {0};

	switch (engine_arith(w, &key, &a, &number)) {
	case STORE_WAIT:
		return STEP_WAIT;
	case STORE_OK:
		if (!number.created)
			session_count(c, down ? COUNTER_decr_hits : COUNTER_incr_hits);
		answer_number(c, &req->tag, &number);
		break;
	case STORE_NOT_FOUND:
		session_count(c, down ? COUNTER_decr_misses : COUNTER_incr_misses);
		binary_reply(c, &req->tag, BINARY_NOT_FOUND);
		break;
	case STORE_NOT_NUMBER:
		binary_reply(c, &req->tag, BINARY_NOT_NUMBER);
		break;
	case STORE_EXISTS:
		binary_reply(c, &req->tag, BINARY_EXISTS);
		break;
	case STORE_REFUSED:
		binary_reply(c, &req->tag, BINARY_REFUSED);
		break;
	default:
		binary_reply(c, &req->tag, BINARY_NO_MEMORY);
		break;
	}
	return STEP_DONE;
}
