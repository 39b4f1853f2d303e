/* SPDX-License-Identifier: BSD-3-Clause */
/* storage: set and its kin. A short value is taken from the input buffer; a long one is read into memory of its own while
 * it arrives. */
#include "server/session.h"

#include <stdlib.h>
#include <string.h>
#include "base/check.h"

void storage_drop_upload(struct conn *c)
{
	struct upload *up = c->session->upload;
	if (!up)
		return;
	if (up->large)
		engine_large_drop(c->worker->engine, &up->large);
	free(up);
	c->session->upload = NULL;
	c->into.at = NULL;
	c->into.left = 0;
}

static enum store_mode store_mode(const struct command *command)
{
	switch (command->id) {
	case COMMAND_ADD:
		return STORE_ADD;
	case COMMAND_REPLACE:
		return STORE_REPLACE;
	case COMMAND_APPEND:
		return STORE_APPEND;
	case COMMAND_PREPEND:
		return STORE_PREPEND;
	case COMMAND_CAS:
		return STORE_CAS;
	default:
		CHECK(command->id == COMMAND_SET || command->id == COMMAND_MS);
		return STORE_SET;
	}
}

/* A put that fails takes the old value with it, so that nobody is served what the client meant to replace. */
static bool replaces(const struct command *command)
{
	return command->id == COMMAND_SET || command->id == COMMAND_MS;
}

bool storage_failed(struct conn *c, const struct command *command, const struct store_key *key,
    enum store_result why, enum reply_id *ret_reply)
{
	if (replaces(command)) {
		enum store_result r = engine_delete(c->worker->engine, key, 0);
		if (r == STORE_WAIT)
			return false;
		if (r == STORE_REFUSED) {
			*ret_reply = REPLY_REFUSED;
			return true;
		}
	}
	session_count(c, why == STORE_TOO_LARGE ? COUNTER_store_too_large : COUNTER_store_no_memory);
	*ret_reply = why == STORE_TOO_LARGE ? REPLY_TOO_LARGE : REPLY_NO_MEMORY;
	return true;
}

static void count_cas(struct conn *c, enum store_result r)
{
	if (r == STORE_OK)
		session_count(c, COUNTER_cas_hits);
	else if (r == STORE_EXISTS)
		session_count(c, COUNTER_cas_badval);
	else if (r == STORE_NOT_FOUND)
		session_count(c, COUNTER_cas_misses);
}

void storage_count(struct conn *c, enum store_mode mode, enum store_result r)
{
	session_count(c, COUNTER_cmd_set);
	if (mode == STORE_CAS)
		count_cas(c, r);
}

/* One put and whom it is answered to. */
struct order {
	const struct command *command;
	const struct request_meta *meta; /* of ms */
	const struct store_key *key;
	const struct store_put *put;
	bool noreply;
};

static void answer_put(
    struct conn *c, const struct order *o, enum store_result r, const struct store_stored *stored)
{
	storage_count(c, o->put->mode, r);
	if (o->command->id == COMMAND_MS) {
		/* Of what was not stored the length is told that was sent. */
		const struct store_stored not = {0, o->put->value_len};
		meta_answer_put(c, o->meta, o->key, r, r == STORE_OK ? stored : &not );
		return;
	}
	session_answer_unless(c, o->noreply,
	    r == STORE_OK                                       ? REPLY_STORED
	    : r == STORE_EXISTS                                 ? REPLY_EXISTS
	    : r == STORE_NOT_FOUND && o->put->mode == STORE_CAS ? REPLY_NOT_FOUND
	                                                        : REPLY_NOT_STORED);
}

/* failed keeps, over a wait, that the put itself is done and has failed. */
static enum step put(struct conn *c, const struct order *o, enum store_result *failed)
{
	struct store_stored stored = {0};
	enum store_result r = *failed;
	enum reply_id reply = REPLY_NONE;
	struct observed_item before = observed_before(c, o->key);
	if (r == STORE_OK)
		r = engine_put(c->worker->engine, o->key, o->put, &stored);
	if (before.told && r != STORE_WAIT && *failed == STORE_OK)
		observed_put(c, o->command->name, o->key, o->put, &before, r);
	switch (r) {
	case STORE_WAIT:
		return STEP_WAIT;
	case STORE_OK:
	case STORE_NOT_STORED:
	case STORE_EXISTS:
	case STORE_NOT_FOUND:
		answer_put(c, o, r, &stored);
		return STEP_DONE;
	case STORE_REFUSED:
		*failed = r;
		if (o->noreply && o->put->mode != STORE_ADD)
			return session_refused_silently(c, o->key);
		session_answer_unless(c, o->noreply, REPLY_REFUSED);
		return STEP_DONE;
	default:
		*failed = r;
		if (!storage_failed(c, o->command, o->key, r, &reply))
			return STEP_WAIT;
		return session_answer_failed(c, o->noreply, reply);
	}
}

static void fill_put(const struct conn *c, const struct request *req, struct store_put *ret_put)
{
	*ret_put = (struct store_put){
	    .mode = store_mode(req->command),
	    .flags = req->flags,
	    .expiry = engine_expiry(c->worker->engine, req->exptime),
	    .compare = req->command->shape == COMMAND_STORE_CAS ? req->cas : 0,
	    .value = req->value,
	    .value_len = req->value_len,
	};
	if (req->command->id == COMMAND_MS)
		meta_fill_put(c, &req->meta, ret_put);
}

enum step storage_run(struct conn *c, struct item *it)
{
	struct store_put p;
	enum store_result failed = STORE_OK;
	fill_put(c, &it->req, &p);
	const struct order o = {it->req.command, &it->req.meta, &it->keys[0], &p, it->req.noreply};
	return put(c, &o, &failed);
}

/* The value has memory of its own: what is buffered of it goes there, the rest is read there. */
static enum step begin_upload(
    struct conn *c, size_t used, uint64_t value_len, const struct store_key *key, struct store_large *large)
{
	struct upload *up = calloc(1, sizeof *up);
	size_t have = buf_len(&c->in) - used;

	if (!up) {
		engine_large_drop(c->worker->engine, &large);
		return STEP_CLOSE;
	}
	up->large = large;
	up->key = *key;
	memcpy(up->name, up->key.data, up->key.len);
	up->key.data = up->name;
	buf_consume(&c->in, used);
	if (have > value_len)
		have = value_len;
	memcpy(engine_large_data(large), c->in.data + c->in.head, have);
	buf_consume(&c->in, have);
	c->into.at = engine_large_data(large) + have;
	c->into.left = value_len - have;
	c->session->upload = up;
	return STEP_INPUT;
}

enum step storage_end_upload(struct conn *c)
{
	struct upload *up = c->session->upload;
	const uint8_t *end = c->in.data + c->in.head;
	enum step s = STEP_DONE;

	if (c->into.left > 0 || buf_len(&c->in) < 2)
		return STEP_INPUT;
	if (out_full(&c->out))
		return STEP_FULL;
	if (!session_room(c, SESSION_ROOM))
		return STEP_CLOSE;
	if (end[0] != '\r' || end[1] != '\n') {
		session_answer_unless(c, up->noreply, REPLY_BAD_CHUNK);
	} else {
		/* Memory that failed once is not asked for again: the put took the large value over. */
		up->put.large = up->large;
		const struct order o = {up->command, &up->meta, &up->key, &up->put, up->noreply};
		s = put(c, &o, &up->failed);
		if (s == STEP_WAIT) {
			if (up->failed != STORE_OK)
				up->large = NULL;
			return s;
		}
		up->large = NULL;
	}
	buf_consume(&c->in, 2);
	storage_drop_upload(c);
	return s;
}

/* Short ones are waited for; for others memory is asked for first. */
enum step storage_receive(struct conn *c, size_t used, unsigned tail, uint64_t value_len,
    const struct store_key *key, struct upload **ret_upload, enum store_result *ret_why)
{
	struct store_large *large = NULL;
	uint64_t whole = used + value_len + tail;

	*ret_upload = NULL;
	*ret_why = STORE_OK;
	/* Memory for a long value is taken when a good part of it has come: a client that announces much and
	 * sends little holds what it sent. */
	bool hopeless = value_len > c->worker->server->options.item_max;
	if (!hopeless && (whole <= CONN_CHUNK || buf_len(&c->in) < CONN_CHUNK - CONN_READ_ROOM))
		return STEP_INPUT;
	*ret_why = engine_room(c->worker->engine, key, value_len, &large);
	if (*ret_why == STORE_WAIT)
		return STEP_WAIT;
	if (*ret_why != STORE_OK)
		return STEP_DONE;
	if (!large)
		return STEP_INPUT;
	enum step s = begin_upload(c, used, value_len, key, large);
	*ret_upload = c->session->upload;
	return s;
}

/* The line of a store is there, its value is not. */
enum step storage_run_value(struct conn *c, struct item *it)
{
	struct upload *up;
	enum store_result why;
	enum reply_id reply = REPLY_NONE;

	enum step s = storage_receive(c, it->used, 2, it->req.value_len, &it->keys[0], &up, &why);
	if (up) {
		up->command = it->req.command;
		up->noreply = it->req.noreply;
		if (up->command->id == COMMAND_MS)
			up->meta = it->req.meta;
		fill_put(c, &it->req, &up->put);
	}
	if (s != STEP_DONE)
		return s;
	if (!storage_failed(c, it->req.command, &it->keys[0], why, &reply))
		return STEP_WAIT;
	parse_swallow(&it->after, it->req.value_len + 2);
	return session_answer_failed(c, it->req.noreply, reply);
}
