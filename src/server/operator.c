/* SPDX-License-Identifier: BSD-3-Clause */
/* operator: commands that come in words: flush_all, stats, version, verbosity, shutdown, tuning. */
#include "server/session.h"

#include <inttypes.h>
#include <string.h>
#include "base/check.h"
#include "base/msg.h"
#include "server/cluster.h"
#include "server/detail.h"
#include "server/sample.h"
#include "server/stats.h"

/* Words without the last one when that was noreply. */
static unsigned n_words(const struct request *req)
{
	return req->noreply ? req->n_keys - 1u : req->n_keys;
}

enum step operator_flush(struct conn *c, int64_t delay, enum reply_id *ret_reply)
{
	struct engine_worker *w = c->worker->engine;
	int64_t due = delay > 0 ? engine_expiry(w, delay) : 0;

	*ret_reply = REPLY_NO_FLUSH;
	if (!SERVER_OPTION(c->worker->server, no_flush)) {
		/* A time in the past is now. */
		enum store_result r = engine_flush(w, due > engine_now(w) ? due : 0);
		if (r == STORE_WAIT)
			return STEP_WAIT;
		*ret_reply = r == STORE_REFUSED ? REPLY_REFUSED : REPLY_OK;
	}
	session_count(c, COUNTER_cmd_flush);
	return STEP_DONE;
}

static enum step run_flush(struct conn *c, const struct request *req, enum reply_id *ret_reply)
{
	int64_t delay = 0;
	enum step s = STEP_DONE;

	if (n_words(req) > 0 && !SERVER_OPTION(c->worker->server, no_flush) &&
	    !parse_int(&req->keys[0], &delay)) {
		*ret_reply = REPLY_BAD_EXPTIME;
		session_count(c, COUNTER_cmd_flush);
	} else {
		s = operator_flush(c, delay, ret_reply);
	}
	return *ret_reply == REPLY_REFUSED && req->noreply ? STEP_CLOSE : s;
}

static enum reply_id run_verbosity(struct conn *c, const struct request *req)
{
	uint64_t v;
	if (n_words(req) < 1 || !parse_uint(&req->keys[0], UINT32_MAX, &v))
		return REPLY_BAD_FORMAT;
	stats_set_verbosity(c->worker->server, v > 3 ? 3 : (int)v);
	return REPLY_OK;
}

static enum reply_id run_memlimit(struct conn *c, const struct request *req)
{
	uint64_t mib;
	if (req->n_keys < 1 || !parse_uint(&req->keys[0], UINT32_MAX, &mib))
		return REPLY_ERROR;
	if (mib < 8)
		return REPLY_MEMLIMIT_SMALL;
	if (mib > 1000000000)
		return REPLY_MEMLIMIT_UNIT;
	if (!engine_set_memory(c->worker->server_engine, mib << 20))
		return REPLY_MEMLIMIT_FAILED;
	msg(MSG_INFO, "cache_memlimit: %" PRIu64 " MiB from here on", mib);
	return REPLY_OK;
}

static enum reply_id run_slabs(const struct request_slice *k, unsigned n)
{
	uint64_t v;
	if (parse_is(&k[0], "automove") && n >= 2)
		return !parse_uint(&k[1], UINT32_MAX, &v) ? REPLY_BAD_FORMAT
		       : v <= 2                           ? REPLY_OK
		                                          : REPLY_ERROR;
	if (!parse_is(&k[0], "reassign") || n != 3)
		return REPLY_ERROR;
	int64_t from, to;
	return parse_int(&k[1], &from) && parse_int(&k[2], &to) ? REPLY_OK : REPLY_BAD_FORMAT;
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
		return run_slabs(k, n);
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
	session_keep_need(c);
	engine_turn(c->worker->engine);
	return REPLY_OK;
}

static enum step run_shutdown(struct conn *c, const struct request *req, enum reply_id *ret_reply)
{
	if (!SERVER_OPTION(c->worker->server, shutdown)) {
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

static enum step run_detail(struct conn *c, const struct request *req, enum reply_id *ret_reply)
{
	struct server *s = c->worker->server;
	const struct request_slice *arg = &req->keys[1];
	*ret_reply = REPLY_BAD_DETAIL;
	if (req->n_keys < 2)
		return STEP_DONE;
	if (parse_is(arg, "on") || parse_is(arg, "off")) {
		__atomic_store_n(&s->detail_on, parse_is(arg, "on"), __ATOMIC_RELAXED);
		observed_update(s);
		*ret_reply = REPLY_OK;
	} else if (parse_is(arg, "dump")) {
		*ret_reply = REPLY_END;
		if (!detail_print(s->detail, &c->out.copied) || !session_room(c, SESSION_ROOM))
			return STEP_CLOSE;
	}
	return STEP_DONE;
}

static enum step run_config(struct conn *c, const struct request *req, enum reply_id *ret_reply)
{
	bool any;
	*ret_reply = REPLY_ERROR;
	if (req->n_keys != 2 || !parse_is(&req->keys[0], "get") || !parse_is(&req->keys[1], "cluster"))
		return STEP_DONE;
	if (!cluster_print(c->worker->server->cluster, &c->out.copied, &any) ||
	    !session_room(c, SESSION_ROOM))
		return STEP_CLOSE;
	*ret_reply = any ? REPLY_NONE : REPLY_ERROR;
	return STEP_DONE;
}

/* With a number it is on for so many seconds, and shows what there is either way. */
static enum step run_hotkeys(struct conn *c, const struct request *req, enum reply_id *ret_reply)
{
	struct server *s = c->worker->server;
	uint64_t seconds;
	*ret_reply = REPLY_BAD_FORMAT;
	if (req->n_keys > 2 || (req->n_keys == 2 && !parse_uint(&req->keys[1], SAMPLE_SECONDS_MAX, &seconds)))
		return STEP_DONE;
	*ret_reply = REPLY_END;
	if (req->n_keys == 2 && !sample_switch(s, (unsigned)seconds))
		return STEP_CLOSE;
	return sample_print(s, &c->out.copied) && session_room(c, SESSION_ROOM) ? STEP_DONE : STEP_CLOSE;
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
		return run_detail(c, req, ret_reply);
	} else if (strcmp(word, "hotkeys") == 0) {
		return run_hotkeys(c, req, ret_reply);
	} else if (strcmp(word, "cachedump") == 0) {
		return dump_begin_items(c, req, ret_reply);
	} else if (stats_find(word, &part)) {
		*ret_reply = REPLY_END;
		if (!stats_print(c->worker->server, part, c, &c->out.copied) ||
		    !session_room(c, SESSION_ROOM))
			return STEP_CLOSE;
	}
	return STEP_DONE;
}

enum step operator_run(struct conn *c, struct item *it)
{
	const struct request *req = &it->req;
	enum reply_id reply = REPLY_ERROR;
	enum step s = STEP_DONE;

	switch ((enum command_id)req->command->id) {
	case COMMAND_MN:
		session_answer(c, REPLY_MN);
		return STEP_FLUSH;
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
		reply = run_memlimit(c, req);
		break;
	case COMMAND_LRU_CRAWLER:
		if (n_words(req) == 2 &&
		    (parse_is(&req->keys[0], "metadump") || parse_is(&req->keys[0], "mgdump")))
			s = dump_begin(c, req, &reply);
		else
			reply = run_tuning(req);
		break;
	case COMMAND_CONFIG:
		s = run_config(c, req, &reply);
		break;
	case COMMAND_WATCH:
		s = watcher_begin(c, req, &reply);
		break;
	case COMMAND_SLABS:
	case COMMAND_LRU:
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
	if (s == STEP_DONE || s == STEP_BREAK)
		session_answer_unless(c, req->noreply, reply);
	return s;
}
