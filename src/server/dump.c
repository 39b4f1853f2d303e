/* SPDX-License-Identifier: BSD-3-Clause */
/* dump: all keys as lines, `lru_crawler metadump`, `mgdump` and `stats cachedump`. The keys come a part at a time; in between others are served,
 * and what the client does not read holds nothing up but its own connection. */
#include "server/session.h"

#include <string.h>
#include "proto/base64.h"
#include "proto/uri.h"

/* The longest line: a key in percent signs, and numbers. */
#define DUMP_LINE   (URI_ENCODED_MAX(STORE_KEY_MAX) + 200)
#define CLASSES_MAX 62 /* of memcached */

struct lines {
	struct out *out;
	struct dump *dump;
};

static uint8_t *put_item(uint8_t *at, const struct store_key_view *item)
{
	const struct store_view *v = item->view;
	at = uri_encode(reply_append(at, "key="), item->key, item->key_len);
	at = v->expiry ? reply_named(at, " exp=", (uint64_t)v->expiry) : reply_append(at, " exp=-1");
	at = reply_named(at, " la=", (uint64_t)v->access);
	at = reply_named(at, " cas=", v->cas);
	at = reply_append(at, v->fetched ? " fetch=yes" : " fetch=no");
	at = reply_named(reply_append(at, " cls=1"), " size=", session_item_size(item->key_len, v));
	at = reply_named(at, " flags=", v->flags);
	return reply_append(at, "\n");
}

static uint8_t *put_request(uint8_t *at, const struct store_key_view *item)
{
	at = reply_append(at, "mg ");
	if (item->view->binary)
		return reply_append(at + base64_encode(at, item->key, item->key_len), " b\r\n");
	memcpy(at, item->key, item->key_len);
	return reply_append(at + item->key_len, "\r\n");
}

/* The key as it is: one that is binary is left out, as in memcached. */
static uint8_t *put_short(uint8_t *at, const struct store_key_view *item)
{
	at = reply_append(at, "ITEM ");
	memcpy(at, item->key, item->key_len);
	at = reply_named(at + item->key_len, " [", item->view->value_len);
	return reply_append(reply_named(at, " b; ", (uint64_t)item->view->expiry), " s]\r\n");
}

/* Under a shard's lock. */
static bool visit(void *arg, const struct store_key_view *item)
{
	struct lines *l = arg;
	if (l->dump->left == 0 || (l->dump->kind == DUMP_ITEMS && item->view->binary))
		return true;
	if (buf_room(&l->out->copied) < DUMP_LINE)
		return false;
	uint8_t *at = out_tail(l->out);
	switch (l->dump->kind) {
	case DUMP_LINES:
		at = put_item(at, item);
		break;
	case DUMP_REQUESTS:
		at = put_request(at, item);
		break;
	case DUMP_ITEMS:
		at = put_short(at, item);
		break;
	}
	l->out->copied.tail = (size_t)(at - l->out->copied.data);
	l->dump->left--;
	return true;
}

static void begin(struct conn *c, enum dump_kind kind, uint64_t limit)
{
	c->session->dump = (struct dump){.active = true, .kind = kind, .left = limit, .want = CONN_CHUNK / 2};
}

enum step dump_begin(struct conn *c, const struct request *req, enum reply_id *ret_reply)
{
	const struct request_slice *k = req->keys;
	uint64_t v;
	*ret_reply = REPLY_NONE;
	if (SERVER_OPTION(c->worker->server, no_dump))
		*ret_reply = REPLY_NO_METADUMP;
	else if (!parse_is(&k[1], "all") && !parse_is(&k[1], "hash") && !parse_uint(&k[1], 255, &v))
		*ret_reply = REPLY_BAD_CLASS;
	if (*ret_reply != REPLY_NONE)
		return STEP_DONE;
	begin(c, parse_is(&k[0], "mgdump") ? DUMP_REQUESTS : DUMP_LINES, UINT64_MAX);
	*ret_reply = REPLY_OK;
	return STEP_BREAK;
}

/* Everything is in the class 1. */
enum step dump_begin_items(struct conn *c, const struct request *req, enum reply_id *ret_reply)
{
	uint64_t class, limit;
	if (SERVER_OPTION(c->worker->server, no_dump))
		*ret_reply = REPLY_NO_DUMP;
	else if (req->n_keys < 3)
		*ret_reply = REPLY_BAD_LINE;
	else if (!parse_uint(&req->keys[1], UINT32_MAX, &class) ||
	         !parse_uint(&req->keys[2], UINT32_MAX, &limit))
		*ret_reply = REPLY_BAD_FORMAT;
	else if (class > CLASSES_MAX)
		*ret_reply = REPLY_BAD_SLAB;
	else if (class != 1)
		*ret_reply = REPLY_END;
	else
		*ret_reply = REPLY_NONE;
	if (*ret_reply != REPLY_NONE)
		return STEP_DONE;
	begin(c, DUMP_ITEMS, limit ? limit : UINT64_MAX);
	return STEP_BREAK;
}

enum step dump_run(struct conn *c)
{
	struct dump *d = &c->session->dump;
	struct lines l = {.out = &c->out, .dump = d};
	bool again, more = true;
	while (more && !out_full(&c->out)) {
		if (!session_room(c, d->want))
			return STEP_CLOSE;
		size_t before = buf_len(&c->out.copied);
		uint64_t left = d->left;
		more = engine_walk(c->worker->engine, &d->at, visit, &l, &again);
		if (again) {
			c->out.copied.tail = c->out.copied.head + before;
			d->left = left;
			d->want *= 2;
		}
		more = more && d->left > 0;
	}
	if (more)
		return STEP_FULL;
	if (!session_room(c, SESSION_ROOM))
		return STEP_CLOSE;
	d->active = false;
	session_answer(c, d->kind == DUMP_REQUESTS ? REPLY_EN : REPLY_END);
	return STEP_DONE;
}
