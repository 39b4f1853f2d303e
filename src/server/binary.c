/* SPDX-License-Identifier: BSD-3-Clause */
/* binary: requests of the binary protocol, executed one after the other with the calls and steps of text commands: what
 * cannot happen now is parsed anew when its time has come. What concerns items is in binary_items. */
#include "server/session.h"

#include <string.h>
#include "base/check.h"
#include "server/stats.h"

void binary_reply(struct conn *c, const struct binary_tag *tag, enum binary_status status)
{
	c->out.copied.tail += binary_answer(out_tail(&c->out), tag, status, 0);
}

void binary_reply_done(struct conn *c, const struct binary_tag *tag, uint64_t cas)
{
	if (!tag->quiet)
		c->out.copied.tail += binary_answer(out_tail(&c->out), tag, BINARY_OK, cas);
}

static enum step run_version(struct conn *c, const struct binary_request *req)
{
	size_t len = sizeof REPLY_PROTOCOL - 1;
	uint8_t *at = out_tail(&c->out);
	at += binary_head(at, &req->tag, BINARY_OK, 0, 0, (uint32_t)len, 0);
	memcpy(at, REPLY_PROTOCOL, len);
	c->out.copied.tail += BINARY_HEAD + len;
	return STEP_DONE;
}

static enum step run_flush(struct conn *c, const struct binary_request *req)
{
	enum reply_id reply;
	enum step s = operator_flush(c, req->exptime, &reply);
	if (s != STEP_DONE)
		return s;
	if (reply == REPLY_OK)
		binary_reply_done(c, &req->tag, 0);
	else
		binary_reply(c, &req->tag, reply == REPLY_NO_FLUSH ? BINARY_DENIED : BINARY_REFUSED);
	return STEP_DONE;
}

static enum step run_verbosity(struct conn *c, const struct binary_request *req)
{
	stats_set_verbosity(c->worker->server, req->level > 3 ? 3 : (int)req->level);
	binary_reply_done(c, &req->tag, 0);
	return STEP_DONE;
}

/* ---- stat: an answer a figure, and an empty one behind the last ---- */

static bool answer_figure(struct conn *c, const struct binary_tag *tag, const char *name, size_t name_len,
    const char *value, size_t value_len)
{
	size_t body = name_len + value_len;
	if (!session_room(c, BINARY_HEAD + body))
		return false;
	uint8_t *at = out_tail(&c->out);
	at += binary_head(at, tag, BINARY_OK, 0, (uint16_t)name_len, (uint32_t)body, 0);
	memcpy(at, name, name_len);
	memcpy(at + name_len, value, value_len);
	c->out.copied.tail += BINARY_HEAD + body;
	return true;
}

/* The lines of text, "STAT name value", each as an answer. */
static bool answer_lines(struct conn *c, const struct binary_tag *tag, const struct buf *text)
{
	const char *at = (const char *)text->data + text->head;
	const char *end = (const char *)text->data + text->tail;
	while (at < end) {
		const char *name = at + sizeof "STAT " - 1;
		const char *line_end = memchr(at, '\r', (size_t)(end - at));
		CHECK(line_end != NULL && name < line_end);
		const char *space = memchr(name, ' ', (size_t)(line_end - name));
		CHECK(space != NULL);
		if (!answer_figure(
		        c, tag, name, (size_t)(space - name), space + 1, (size_t)(line_end - space - 1)))
			return false;
		at = line_end + 2;
	}
	return true;
}

static bool answer_part(struct conn *c, const struct binary_tag *tag, enum stats_part part)
{
	struct buf text = {0};
	bool ok = stats_print(c->worker->server, part, c, &text) && answer_lines(c, tag, &text);
	buf_free(&text);
	return ok;
}

static enum step run_stats(struct conn *c, const struct binary_request *req)
{
	char word[16] = "";
	enum stats_part part;
	bool ok = true;

	if (parse_is(&req->key, "reset")) {
		stats_reset(c->worker->server);
	} else if (parse_is(&req->key, "detail dump")) {
		ok = answer_figure(c, &req->tag, "detailed", 8, "END\r\n", 5);
	} else if (!parse_is(&req->key, "detail on") && !parse_is(&req->key, "detail off")) {
		bool fits = req->key.len < sizeof word && !memchr(req->key.data, 0, req->key.len);
		if (fits)
			memcpy(word, req->key.data, req->key.len);
		if (!fits || !stats_find(word, &part)) {
			binary_reply(c, &req->tag, BINARY_NOT_FOUND);
			return STEP_DONE;
		}
		ok = answer_part(c, &req->tag, part);
	}
	return ok && answer_figure(c, &req->tag, "", 0, "", 0) ? STEP_DONE : STEP_CLOSE;
}

/* ---- requests ---- */

static enum step run_command(struct conn *c, const struct binary_request *req)
{
	switch ((enum command_id)req->command->id) {
	case COMMAND_GET:
	case COMMAND_GAT:
	case COMMAND_TOUCH:
		return binary_items_get(c, req);
	case COMMAND_SET:
	case COMMAND_ADD:
	case COMMAND_REPLACE:
	case COMMAND_APPEND:
	case COMMAND_PREPEND:
		return binary_items_store(c, req);
	case COMMAND_DELETE:
		return binary_items_delete(c, req);
	case COMMAND_INCR:
	case COMMAND_DECR:
		return binary_items_arith(c, req);
	case COMMAND_MN:
		binary_reply_done(c, &req->tag, 0);
		return STEP_DONE;
	case COMMAND_VERSION:
		return run_version(c, req);
	case COMMAND_FLUSH_ALL:
		return run_flush(c, req);
	case COMMAND_STATS:
		return run_stats(c, req);
	case COMMAND_VERBOSITY:
		return run_verbosity(c, req);
	case COMMAND_QUIT:
		binary_reply_done(c, &req->tag, 0);
		return STEP_CLOSE;
	default:
		CHECK(!"a command of the table of opcodes");
		return STEP_CLOSE;
	}
}

static enum step run_request(
    struct conn *c, enum parse_result result, const struct binary_request *req, size_t used)
{
	if (result == PARSE_CLOSE)
		return STEP_CLOSE;
	if (out_full(&c->out))
		return STEP_FULL;
	if (!session_room(c, SESSION_ROOM))
		return STEP_CLOSE;
	if (result == PARSE_ERROR) {
		binary_reply(c, &req->tag, req->error);
		return req->close ? STEP_CLOSE : STEP_DONE;
	}
	if (!session_permits(c, req->command)) {
		binary_reply(c, &req->tag, BINARY_DENIED);
		binary_swallow(&c->session->binary, result == PARSE_VALUE ? req->value_len : 0);
		return STEP_DONE;
	}
	return result == PARSE_VALUE ? binary_items_store_value(c, req, used) : run_command(c, req);
}

enum step binary_run(struct conn *c)
{
	struct binary_parser *p = &c->session->binary;
	struct binary_parser before = *p;
	struct binary_request req;
	size_t used;

	if (c->session->upload)
		return binary_items_end_upload(c);
	enum parse_result result = binary_next(p, c->in.data + c->in.head, buf_len(&c->in), &req, &used);
	enum step s = STEP_INPUT;
	if (result != PARSE_MORE)
		s = run_request(c, result, &req, used);
	if (c->session->upload)
		return s; /* which has consumed what it needs */
	if (s == STEP_DONE || result == PARSE_MORE)
		buf_consume(&c->in, used);
	else
		*p = before;
	return s;
}
