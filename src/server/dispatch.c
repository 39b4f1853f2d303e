/* SPDX-License-Identifier: BSD-3-Clause */
/* dispatch: see dispatch.h. Up to BATCH requests are parsed ahead and the buckets of their keys fetched; then
 * they are executed in order. What cannot happen now (no room in the log, output full) is forgotten again:
 * the parser returns to the point before it, and it is parsed anew when its time has come. */
#include "server/dispatch.h"

#include <stdlib.h>
#include <string.h>
#include "base/check.h"
#include "engine/engine.h"
#include "proto/parse.h"
#include "proto/reply.h"
#include "proto/request.h"
#include "server/counters.h"
#include "server/internal.h"
#include "server/stats.h"
#include "server/worker.h"

#define BATCH      16
#define REPLY_ROOM (STORE_COPY_MAX + 512) /* any answer but a long value that must be copied */

_Static_assert(REPLY_HEAD_MAX + 2 <= 512, "a VALUE line and its value's end fit beside a copied value");
_Static_assert(REQUEST_KEY_MAX == STORE_KEY_MAX, "one key limit");

/* A store whose value goes straight into its own memory while it arrives. */
struct upload {
	const struct command *command;
	struct store_large *large;
	struct store_put put;
	struct store_key key; /* its data is below */
	bool noreply;
	enum store_result failed; /* the put failed and took the value with it; what is left is to say so */
	uint8_t name[STORE_KEY_MAX];
};

struct session {
	struct parser parser;
	struct upload *upload;
};

struct item {
	struct parser before, after;
	const uint8_t *start; /* in the input buffer */
	size_t used;
	enum parse_result result;
	struct request req;
	struct store_key keys[REQUEST_KEYS];
};

struct batch {
	struct item items[BATCH];
};

enum step {
	STEP_DONE,
	STEP_BREAK, /* done, but what was parsed ahead must be parsed anew */
	STEP_FULL,  /* the output must leave first; nothing has happened, or a part that is accounted for */
	STEP_WAIT,  /* no room in the log: nothing has happened */
	STEP_INPUT, /* nothing whole is buffered */
	STEP_CLOSE,
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

static void drop_upload(struct conn *c)
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

void dispatch_close(struct conn *c)
{
	if (!c->session)
		return;
	drop_upload(c);
	free(c->session);
	c->session = NULL;
}

/* ---- answers ---- */

static bool reply_room(struct conn *c, size_t len)
{
	struct buf *b = &c->out.copied;
	if (!b->data && !worker_get_chunk(c->worker, b))
		return false;
	return buf_room(b) >= len || buf_reserve(b, len);
}

/* Room for it was made before the command was executed. */
static void answer(struct conn *c, enum reply_id id)
{
	c->out.copied.tail += reply_text(out_tail(&c->out), id);
}

static void answer_unless(struct conn *c, bool noreply, enum reply_id id)
{
	if (!noreply)
		answer(c, id);
}

static void count(struct conn *c, enum counter which)
{
	counter_add(c->worker->counters, which, 1);
}

/* What the turn changed or served must be in the log before its answers leave. */
static void keep_need(struct conn *c)
{
	uint64_t need = engine_need(c->worker->engine);
	if (need > c->need)
		c->need = need;
}

/* ---- get, gat ---- */

struct emit {
	struct conn *conn;
	const struct store_key *key;
	bool cas;
	size_t wanted; /* room, when it was too small */
	bool unready;  /* there was no place for a pin */
};

/* Under a shard's lock: copies, or keeps the pin of a long value. */
static bool emit_value(void *arg, const struct store_view *view)
{
	struct emit *e = arg;
	struct out *o = &e->conn->out;
	bool pin = store_pinned(&view->pin);
	size_t need = REPLY_HEAD_MAX + 2 + (pin ? 0 : view->value_len);

	e->unready = pin && !out_can_pin(o);
	e->wanted = need;
	if (e->unready || buf_room(&o->copied) < need)
		return false;
	uint8_t *at = out_tail(o);
	at += e->cas ? reply_value_cas(at, e->key->data, e->key->len, view->flags, view->value_len, view->cas)
	             : reply_value(at, e->key->data, e->key->len, view->flags, view->value_len);
	o->copied.tail = (size_t)(at - o->copied.data);
	if (pin) {
		out_pin(o, view);
	} else {
		memcpy(at, view->value, view->value_len);
		o->copied.tail += view->value_len;
	}
	memcpy(out_tail(o), "\r\n", 2);
	o->copied.tail += 2;
	return true;
}

static enum store_result fetch(struct conn *c, const struct request *req, const struct store_key *key)
{
	struct engine_worker *w = c->worker->engine;
	enum command_id id = req->command->id;
	bool touch = id == COMMAND_GAT || id == COMMAND_GATS;
	struct emit e = {.conn = c, .key = key, .cas = id == COMMAND_GETS || id == COMMAND_GATS};
	enum store_result r;

	for (;;) {
		if (touch)
			r = engine_touch(w, key, engine_expiry(w, req->exptime), emit_value, &e);
		else
			r = engine_get(w, key, emit_value, &e);
		if (r != STORE_MORE_ROOM)
			return r;
		if ((e.unready && !out_prepare_pin(&c->out)) || !reply_room(c, e.wanted))
			return STORE_NO_MEMORY;
	}
}

static void count_fetch(struct conn *c, const struct request *req, bool hit)
{
	if (req->command->count == COMMAND_COUNTS_TOUCH) {
		count(c, COUNTER_cmd_touch);
		count(c, hit ? COUNTER_touch_hits : COUNTER_touch_misses);
	} else {
		count(c, COUNTER_cmd_get);
		count(c, hit ? COUNTER_get_hits : COUNTER_get_misses);
	}
}

/* Returns to this key of the line: what was answered before it stays. */
static void rewind_to_key(struct item *it, unsigned i)
{
	parse_at_key(&it->before, &it->req);
	it->start = it->req.keys[i].data;
}

static enum step run_get(struct conn *c, struct item *it)
{
	for (unsigned i = 0; i < it->req.n_keys; i++) {
		if (out_full(&c->out)) {
			rewind_to_key(it, i);
			return STEP_FULL;
		}
		if (!reply_room(c, REPLY_ROOM))
			return STEP_CLOSE;
		enum store_result r = fetch(c, &it->req, &it->keys[i]);
		switch (r) {
		case STORE_OK:
		case STORE_NOT_FOUND:
			count_fetch(c, &it->req, r == STORE_OK);
			break;
		case STORE_WAIT:
			rewind_to_key(it, i);
			return STEP_WAIT;
		default:
			/* No END: the line breaks off with its error, as when memcached runs out of memory.
			 */
			answer(c, r == STORE_REFUSED ? REPLY_REFUSED : REPLY_NO_MEMORY_GET);
			if (it->req.more)
				it->after.state = PARSE_IN_WASTE;
			return STEP_BREAK;
		}
	}
	if (!it->req.more) {
		if (!reply_room(c, REPLY_ROOM))
			return STEP_CLOSE;
		answer(c, REPLY_END);
	}
	return STEP_DONE;
}

/* ---- set and its kin ---- */

/* A change was refused and nobody reads the answer: without one the old value would go on being served for new. It goes,
 * as a key may at any time. Where not even that is certain the connection ends. */
static enum step refused_silently(struct conn *c, const struct store_key *key)
{
	enum store_result r = engine_delete(c->worker->engine, key, 0);
	return r == STORE_WAIT ? STEP_WAIT : r == STORE_REFUSED ? STEP_CLOSE : STEP_DONE;
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
		CHECK(command->id == COMMAND_SET);
		return STORE_SET;
	}
}

/* The value cannot be stored. A set that fails takes the old value with it, so that nobody is served what the
 * client meant to replace. False: no room in the log for that. */
static bool store_failed(struct conn *c, enum store_mode mode, const struct store_key *key,
    enum store_result why, enum reply_id *ret_reply)
{
	if (mode == STORE_SET) {
		enum store_result r = engine_delete(c->worker->engine, key, 0);
		if (r == STORE_WAIT)
			return false;
		if (r == STORE_REFUSED) {
			*ret_reply = REPLY_REFUSED;
			return true;
		}
	}
	count(c, why == STORE_TOO_LARGE ? COUNTER_store_too_large : COUNTER_store_no_memory);
	*ret_reply = why == STORE_TOO_LARGE ? REPLY_TOO_LARGE : REPLY_NO_MEMORY;
	return true;
}

/* Where nobody reads that a removal could not be made sure, the connection ends. */
static enum step answer_failed(struct conn *c, bool noreply, enum reply_id reply)
{
	answer_unless(c, noreply, reply);
	return noreply && reply == REPLY_REFUSED ? STEP_CLOSE : STEP_DONE;
}

static void count_cas(struct conn *c, enum store_result r)
{
	if (r == STORE_OK)
		count(c, COUNTER_cas_hits);
	else if (r == STORE_EXISTS)
		count(c, COUNTER_cas_badval);
	else if (r == STORE_NOT_FOUND)
		count(c, COUNTER_cas_misses);
}

/* failed keeps, over a wait, that the put itself is done and has failed. */
static enum step put(struct conn *c, const struct store_key *key, const struct store_put *put, bool noreply,
    enum store_result *failed)
{
	enum store_result r = *failed != STORE_OK ? *failed : engine_put(c->worker->engine, key, put, NULL);
	enum reply_id reply = REPLY_STORED;

	switch (r) {
	case STORE_WAIT:
		return STEP_WAIT;
	case STORE_OK:
		break;
	case STORE_NOT_STORED:
		reply = REPLY_NOT_STORED;
		break;
	case STORE_EXISTS:
		reply = REPLY_EXISTS;
		break;
	case STORE_NOT_FOUND:
		reply = put->mode == STORE_CAS ? REPLY_NOT_FOUND : REPLY_NOT_STORED;
		break;
	case STORE_REFUSED:
		*failed = r;
		if (noreply && put->mode != STORE_ADD)
			return refused_silently(c, key);
		answer_unless(c, noreply, REPLY_REFUSED);
		return STEP_DONE;
	default:
		*failed = r;
		if (!store_failed(c, put->mode, key, r, &reply))
			return STEP_WAIT;
		return answer_failed(c, noreply, reply);
	}
	count(c, COUNTER_cmd_set);
	if (put->mode == STORE_CAS)
		count_cas(c, r);
	answer_unless(c, noreply, reply);
	return STEP_DONE;
}

static void fill_put(const struct conn *c, const struct request *req, struct store_put *ret_put)
{
	*ret_put = (struct store_put){
	    .mode = store_mode(req->command),
	    .flags = req->flags,
	    .expiry = engine_expiry(c->worker->engine, req->exptime),
	    .compare = req->cas,
	    .value = req->value,
	    .value_len = req->value_len,
	};
}

static enum step run_store(struct conn *c, struct item *it)
{
	struct store_put p;
	enum store_result failed = STORE_OK;
	fill_put(c, &it->req, &p);
	return put(c, &it->keys[0], &p, it->req.noreply, &failed);
}

/* The value has memory of its own: what is buffered of it goes there, the rest is read there. */
static enum step begin_upload(struct conn *c, struct item *it, struct store_large *large)
{
	struct upload *up = calloc(1, sizeof *up);
	size_t have = buf_len(&c->in) - it->used;

	if (!up) {
		engine_large_drop(c->worker->engine, &large);
		return STEP_CLOSE;
	}
	up->command = it->req.command;
	up->noreply = it->req.noreply;
	up->large = large;
	up->key = it->keys[0];
	memcpy(up->name, up->key.data, up->key.len);
	up->key.data = up->name;
	fill_put(c, &it->req, &up->put);
	buf_consume(&c->in, it->used);
	if (have > it->req.value_len)
		have = it->req.value_len;
	memcpy(engine_large_data(large), c->in.data + c->in.head, have);
	buf_consume(&c->in, have);
	c->into.at = engine_large_data(large) + have;
	c->into.left = it->req.value_len - have;
	c->session->upload = up;
	return STEP_INPUT;
}

static enum step end_upload(struct conn *c)
{
	struct upload *up = c->session->upload;
	const uint8_t *end = c->in.data + c->in.head;
	enum step s = STEP_DONE;

	if (c->into.left > 0 || buf_len(&c->in) < 2)
		return STEP_INPUT;
	if (out_full(&c->out))
		return STEP_FULL;
	if (!reply_room(c, REPLY_ROOM))
		return STEP_CLOSE;
	if (end[0] != '\r' || end[1] != '\n') {
		answer_unless(c, up->noreply, REPLY_BAD_CHUNK);
	} else {
		/* Memory that failed once is not asked for again: the put took the large value over. */
		up->put.large = up->large;
		s = put(c, &up->key, &up->put, up->noreply, &up->failed);
		if (s == STEP_WAIT) {
			if (up->failed != STORE_OK)
				up->large = NULL;
			return s;
		}
		up->large = NULL;
	}
	buf_consume(&c->in, 2);
	drop_upload(c);
	return s;
}

/* The line of a store is there, its value is not. Short ones are waited for; for others memory is asked for
 * first. */
static enum step run_value(struct conn *c, struct item *it)
{
	struct store_large *large = NULL;
	enum reply_id reply = REPLY_NONE;
	uint64_t whole = it->used + it->req.value_len + 2;

	/* Memory for a long value is taken when a good part of it has come: a client that announces much and
	 * sends little holds what it sent. */
	bool hopeless = it->req.value_len > c->worker->server->options.item_max;
	if (!hopeless && (whole <= CONN_CHUNK || buf_len(&c->in) < CONN_CHUNK - CONN_READ_ROOM))
		return STEP_INPUT;
	enum store_result r = engine_room(c->worker->engine, &it->keys[0], it->req.value_len, &large);
	if (r == STORE_WAIT)
		return STEP_WAIT;
	if (r == STORE_OK)
		return large ? begin_upload(c, it, large) : STEP_INPUT;
	if (!store_failed(c, store_mode(it->req.command), &it->keys[0], r, &reply))
		return STEP_WAIT;
	parse_swallow(&it->after, it->req.value_len + 2);
	return answer_failed(c, it->req.noreply, reply);
}

/* ---- delete, incr, touch ---- */

static enum step run_delete(struct conn *c, struct item *it)
{
	enum store_result r = engine_delete(c->worker->engine, &it->keys[0], 0);
	if (r == STORE_WAIT)
		return STEP_WAIT;
	if (r != STORE_REFUSED)
		count(c, r == STORE_OK ? COUNTER_delete_hits : COUNTER_delete_misses);
	return answer_failed(c, it->req.noreply,
	    r == STORE_OK          ? REPLY_DELETED
	    : r == STORE_NOT_FOUND ? REPLY_NOT_FOUND
	                           : REPLY_REFUSED);
}

static enum step run_arith(struct conn *c, struct item *it)
{
	bool down = it->req.command->id == COMMAND_DECR;
	struct store_arith a = {.delta = it->req.delta, .decrement = down};
	uint64_t value = 0;
	enum reply_id reply = REPLY_NONE;

	switch (engine_arith(c->worker->engine, &it->keys[0], &a, &value, NULL)) {
	case STORE_WAIT:
		return STEP_WAIT;
	case STORE_OK:
		count(c, down ? COUNTER_decr_hits : COUNTER_incr_hits);
		if (!it->req.noreply)
			c->out.copied.tail += reply_number(out_tail(&c->out), value);
		return STEP_DONE;
	case STORE_NOT_FOUND:
		count(c, down ? COUNTER_decr_misses : COUNTER_incr_misses);
		reply = REPLY_NOT_FOUND;
		break;
	case STORE_NOT_NUMBER:
		reply = REPLY_NOT_NUMBER;
		break;
	case STORE_REFUSED:
		if (it->req.noreply)
			return refused_silently(c, &it->keys[0]);
		reply = REPLY_REFUSED;
		break;
	default:
		reply = REPLY_NO_MEMORY_ARITH;
		break;
	}
	answer_unless(c, it->req.noreply, reply);
	return STEP_DONE;
}

static enum step run_touch(struct conn *c, struct item *it)
{
	struct engine_worker *w = c->worker->engine;
	int64_t expiry = engine_expiry(w, it->req.exptime);
	enum store_result r = engine_touch(w, &it->keys[0], expiry, NULL, NULL);
	if (r == STORE_WAIT)
		return STEP_WAIT;
	if (r == STORE_REFUSED && store_expired(expiry, engine_now(w)))
		return answer_failed(c, it->req.noreply, REPLY_REFUSED);
	count(c, COUNTER_cmd_touch);
	if (r != STORE_REFUSED)
		count(c, r == STORE_OK ? COUNTER_touch_hits : COUNTER_touch_misses);
	answer_unless(c, it->req.noreply,
	    r == STORE_OK          ? REPLY_TOUCHED
	    : r == STORE_NOT_FOUND ? REPLY_NOT_FOUND
	                           : REPLY_REFUSED);
	return STEP_DONE;
}

/* ---- the rest ---- */

/* Words without the last one when that was noreply. */
static unsigned n_words(const struct request *req)
{
	return req->noreply ? req->n_keys - 1u : req->n_keys;
}

static enum step run_flush(struct conn *c, const struct request *req, enum reply_id *ret_reply)
{
	struct engine_worker *w = c->worker->engine;
	int64_t delay = 0, due = 0;

	*ret_reply = REPLY_OK;
	if (c->worker->server->options.no_flush)
		*ret_reply = REPLY_NO_FLUSH;
	else if (n_words(req) > 0 && (!parse_int(&req->keys[0], &delay)))
		*ret_reply = REPLY_BAD_EXPTIME;
	if (*ret_reply == REPLY_OK) {
		if (delay > 0)
			due = engine_expiry(w, delay);
		/* A time in the past is now. */
		enum store_result r = engine_flush(w, due > engine_now(w) ? due : 0);
		if (r == STORE_WAIT)
			return STEP_WAIT;
		if (r == STORE_REFUSED)
			*ret_reply = REPLY_REFUSED;
	}
	count(c, COUNTER_cmd_flush);
	return *ret_reply == REPLY_REFUSED && req->noreply ? STEP_CLOSE : STEP_DONE;
}

static enum reply_id run_verbosity(struct conn *c, const struct request *req)
{
	uint64_t v;
	if (n_words(req) < 1 || !parse_uint(&req->keys[0], UINT32_MAX, &v))
		return REPLY_BAD_FORMAT;
	stats_set_verbosity(c->worker->server, v > 3 ? 3 : (int)v);
	return REPLY_OK;
}

static enum reply_id run_memlimit(const struct request *req)
{
	uint64_t mib;
	if (req->n_keys < 1 || !parse_uint(&req->keys[0], UINT32_MAX, &mib))
		return REPLY_ERROR;
	return mib < 8            ? REPLY_MEMLIMIT_SMALL
	       : mib > 1000000000 ? REPLY_MEMLIMIT_UNIT
	                          : REPLY_MEMLIMIT_FAILED;
}

/* There are no slab classes and no LRU lists to tune: what is well-formed is answered OK and does nothing. */
static enum reply_id run_tuning(const struct request *req)
{
	const struct request_slice *k = req->keys;
	unsigned n = n_words(req);
	uint64_t v;

	if (n < 1)
		return REPLY_ERROR;
	switch (req->command->id) {
	case COMMAND_SLABS:
		return (parse_is(&k[0], "reassign") && n == 3) || (parse_is(&k[0], "automove") && n >= 2)
		           ? REPLY_OK
		           : REPLY_ERROR;
	case COMMAND_LRU:
		if (parse_is(&k[0], "mode") && n >= 2)
			return parse_is(&k[1], "flat") || parse_is(&k[1], "segmented") ? REPLY_OK
			                                                               : REPLY_ERROR;
		return (parse_is(&k[0], "tune") && n >= 5) || (parse_is(&k[0], "temp_ttl") && n >= 2)
		           ? REPLY_OK
		           : REPLY_ERROR;
	default:
		if (n == 1)
			return parse_is(&k[0], "enable") || parse_is(&k[0], "disable") ? REPLY_OK
			                                                               : REPLY_ERROR;
		if (n != 2)
			return REPLY_ERROR;
		if (parse_is(&k[0], "crawl"))
			return REPLY_OK;
		if (!parse_is(&k[0], "sleep") && !parse_is(&k[0], "tocrawl"))
			return REPLY_ERROR;
		if (!parse_uint(&k[1], UINT32_MAX, &v))
			return REPLY_BAD_FORMAT;
		return parse_is(&k[0], "sleep") && v > 1000000 ? REPLY_BAD_SLEEP : REPLY_OK;
	}
}

static enum reply_id run_debugtime(struct conn *c, const struct request *req)
{
	int64_t seconds;
	if (!c->worker->server->options.test_commands)
		return REPLY_ERROR;
	if (n_words(req) < 1 || !parse_int(&req->keys[0], &seconds) || seconds > INT32_MAX ||
	    seconds < -INT32_MAX)
		return REPLY_BAD_FORMAT;
	engine_jump(c->worker->server_engine, seconds);
	/* A turn of its own, so that what follows in this batch sees the new time. */
	keep_need(c);
	engine_turn(c->worker->engine);
	return REPLY_OK;
}

static enum step run_shutdown(struct conn *c, const struct request *req, enum reply_id *ret_reply)
{
	if (!c->worker->server->options.shutdown) {
		*ret_reply = REPLY_NO_SHUTDOWN;
		return STEP_DONE;
	}
	if (req->n_keys > 1 || (req->n_keys == 1 && !parse_is(&req->keys[0], "graceful"))) {
		*ret_reply = REPLY_BAD_SHUTDOWN;
		return STEP_DONE;
	}
	server_ask_stop(c->worker->server);
	return STEP_CLOSE;
}

/* `stats` and its sub-commands, matched whole. */
static enum step run_stats(struct conn *c, const struct request *req, enum reply_id *ret_reply)
{
	char word[16] = "";
	enum stats_part part;

	if (req->n_keys > 0) {
		if (req->keys[0].len >= sizeof word || memchr(req->keys[0].data, 0, req->keys[0].len)) {
			*ret_reply = REPLY_ERROR;
			return STEP_DONE;
		}
		memcpy(word, req->keys[0].data, req->keys[0].len);
	}
	*ret_reply = REPLY_ERROR;
	if (strcmp(word, "reset") == 0) {
		stats_reset(c->worker->server);
		*ret_reply = REPLY_RESET;
	} else if (strcmp(word, "detail") == 0) {
		const struct request_slice *arg = &req->keys[1];
		*ret_reply = REPLY_BAD_DETAIL;
		if (req->n_keys > 1 && (parse_is(arg, "on") || parse_is(arg, "off")))
			*ret_reply = REPLY_OK;
		else if (req->n_keys > 1 && parse_is(arg, "dump"))
			*ret_reply = REPLY_END;
	} else if (strcmp(word, "cachedump") == 0) {
		uint64_t v;
		*ret_reply =
		    c->worker->server->options.no_dump ? REPLY_NO_DUMP
		    : req->n_keys < 3                  ? REPLY_BAD_LINE
		    : !parse_uint(&req->keys[1], UINT32_MAX, &v) || !parse_uint(&req->keys[2], UINT32_MAX, &v)
		        ? REPLY_BAD_FORMAT
		        : REPLY_END;
	} else if (stats_find(word, &part)) {
		*ret_reply = REPLY_END;
		if (!stats_print(c->worker->server, part, &c->out.copied) || !reply_room(c, REPLY_ROOM))
			return STEP_CLOSE;
	}
	return STEP_DONE;
}

static enum step run_words(struct conn *c, struct item *it)
{
	const struct request *req = &it->req;
	enum reply_id reply = REPLY_ERROR;
	enum step s = STEP_DONE;

	switch ((enum command_id)req->command->id) {
	case COMMAND_MN:
		reply = REPLY_MN;
		break;
	case COMMAND_VERSION:
		reply = REPLY_VERSION;
		break;
	case COMMAND_FLUSH_ALL:
		s = run_flush(c, req, &reply);
		break;
	case COMMAND_STATS:
		s = run_stats(c, req, &reply);
		break;
	case COMMAND_VERBOSITY:
		reply = run_verbosity(c, req);
		break;
	case COMMAND_QUIT:
		return STEP_CLOSE;
	case COMMAND_SHUTDOWN:
		s = run_shutdown(c, req, &reply);
		break;
	case COMMAND_CACHE_MEMLIMIT:
		reply = run_memlimit(req);
		break;
	case COMMAND_SLABS:
	case COMMAND_LRU:
	case COMMAND_LRU_CRAWLER:
		reply = run_tuning(req);
		break;
	case COMMAND_REFRESH_CERTS:
		reply = REPLY_NO_TLS;
		break;
	case COMMAND_DEBUGTIME:
		reply = run_debugtime(c, req);
		break;
	default:
		CHECK(!"a command of words");
	}
	if (s == STEP_DONE)
		answer_unless(c, req->noreply, reply);
	return s;
}

/* Everybody may do everything so far; users with rights come with authentication. */
static bool permitted(const struct conn *c, const struct command *command)
{
	return c->identity == CONN_ANONYMOUS && command->access <= COMMAND_ADMINISTERS;
}

static enum step run_command(struct conn *c, struct item *it)
{
	if (!permitted(c, it->req.command)) {
		answer_unless(c, it->req.noreply, REPLY_DENIED);
		return STEP_DONE;
	}
	switch ((enum command_shape)it->req.command->shape) {
	case COMMAND_KEYS:
	case COMMAND_TOUCH_KEYS:
		return run_get(c, it);
	case COMMAND_STORE:
	case COMMAND_STORE_CAS:
		return run_store(c, it);
	case COMMAND_KEY:
		return run_delete(c, it);
	case COMMAND_KEY_DELTA:
		return run_arith(c, it);
	case COMMAND_KEY_TIME:
		return run_touch(c, it);
	case COMMAND_WORDS:
		return run_words(c, it);
	}
	CHECK(!"a shape of the table");
	return STEP_CLOSE;
}

static enum step run_error(struct conn *c, struct item *it)
{
	/* As in memcached: a get that breaks off takes the answers along that are stacked up before it. */
	if (it->req.drop_stack)
		out_drop(&c->out, c->worker->engine);
	answer(c, it->req.error);
	return STEP_DONE;
}

static enum step run_item(struct conn *c, struct item *it)
{
	if (out_full(&c->out))
		return STEP_FULL;
	if (!reply_room(c, REPLY_ROOM))
		return STEP_CLOSE;
	switch (it->result) {
	case PARSE_DONE:
		return run_command(c, it);
	case PARSE_VALUE:
		return run_value(c, it);
	case PARSE_ERROR:
		return run_error(c, it);
	case PARSE_CLOSE:
		return STEP_CLOSE;
	case PARSE_MORE:
		break;
	}
	CHECK(!"what parse_next returns");
	return STEP_CLOSE;
}

/* ---- batches ---- */

/* Hashes the keys and starts the fetch of their buckets. */
static void prepare(struct conn *c, struct item *it)
{
	const struct request *req = &it->req;
	if ((it->result != PARSE_DONE && it->result != PARSE_VALUE) || req->command->shape == COMMAND_WORDS)
		return;
	bool many = req->command->shape == COMMAND_KEYS || req->command->shape == COMMAND_TOUCH_KEYS;
	unsigned n = many ? req->n_keys : 1;
	for (unsigned i = 0; i < n; i++)
		it->keys[i] = engine_key(c->worker->engine, req->keys[i].data, (uint8_t)req->keys[i].len);
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
	bool done = s == STEP_DONE || s == STEP_BREAK;
	const uint8_t *at = done ? it->start + it->used : it->start;
	c->session->parser = done ? it->after : it->before;
	c->in.head = (size_t)(at - c->in.data);
}

static enum step run_batch(struct conn *c, unsigned *budget)
{
	unsigned n = parse_batch(c, *budget < BATCH ? *budget : BATCH);
	enum step s = STEP_INPUT;

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

enum conn_verdict dispatch_run(struct conn *c)
{
	struct worker *w = c->worker;
	unsigned budget = w->server->options.turn_requests;
	enum step s = STEP_DONE;

	engine_turn(w->engine);
	while (s == STEP_DONE && budget > 0) {
		if (c->session->upload) {
			s = end_upload(c);
			budget--;
		} else {
			s = run_batch(c, &budget);
		}
	}
	keep_need(c);
	switch (s) {
	case STEP_DONE:
	case STEP_BREAK:
		if (buf_len(&c->in) == 0)
			return CONN_IDLE;
		count(c, COUNTER_conn_yields);
		return CONN_AGAIN;
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
