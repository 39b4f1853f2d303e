/* SPDX-License-Identifier: BSD-3-Clause */
/* dump: all keys as lines, `lru_crawler metadump` and `mgdump`. The keys come a part at a time; in between others are served,
 * and what the client does not read holds nothing up but its own connection. */
#include "server/session.h"

#include <string.h>
#include "proto/base64.h"

/* The longest line: a key in percent signs, and numbers. */
#define DUMP_LINE (3 * STORE_KEY_MAX + 200)

struct lines {
	struct out *out;
	bool meta;
};

/* As in a URI, RFC 3986: letters, digits and four marks stay. */
static uint8_t *put_uri(uint8_t *at, const uint8_t *key, size_t len)
{
	static const char hex[] = "0123456789ABCDEF";
	for (size_t i = 0; i < len; i++) {
		uint8_t k = key[i];
		bool plain = (k >= 'a' && k <= 'z') || (k >= 'A' && k <= 'Z') || (k >= '0' && k <= '9') ||
		             (k && strchr("-._~", k));
		if (plain) {
			*at++ = k;
		} else {
			*at++ = '%';
			*at++ = (uint8_t)hex[k >> 4];
			*at++ = (uint8_t)hex[k & 15];
		}
	}
	return at;
}

static uint8_t *put_item(uint8_t *at, const struct store_key_view *item)
{
	const struct store_view *v = item->view;
	at = put_uri(reply_append(at, "key="), item->key, item->key_len);
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

/* Under a shard's lock. */
static bool visit(void *arg, const struct store_key_view *item)
{
	struct lines *l = arg;
	if (buf_room(&l->out->copied) < DUMP_LINE)
		return false;
	uint8_t *at = out_tail(l->out);
	at = l->meta ? put_request(at, item) : put_item(at, item);
	l->out->copied.tail = (size_t)(at - l->out->copied.data);
	return true;
}

enum step dump_begin(struct conn *c, const struct request *req, enum reply_id *ret_reply)
{
	const struct request_slice *k = req->keys;
	uint64_t v;
	*ret_reply = REPLY_NONE;
	if (c->worker->server->options.no_dump)
		*ret_reply = REPLY_NO_METADUMP;
	else if (!parse_is(&k[1], "all") && !parse_is(&k[1], "hash") && !parse_uint(&k[1], 255, &v))
		*ret_reply = REPLY_BAD_CLASS;
	if (*ret_reply != REPLY_NONE)
		return STEP_DONE;
	c->session->dump =
	    (struct dump){.active = true, .meta = parse_is(&k[0], "mgdump"), .want = CONN_CHUNK / 2};
	*ret_reply = REPLY_OK;
	return STEP_BREAK;
}

enum step dump_run(struct conn *c)
{
	struct dump *d = &c->session->dump;
	struct lines l = {.out = &c->out, .meta = d->meta};
	bool again, more = true;
	while (more && !out_full(&c->out)) {
		if (!session_room(c, d->want))
			return STEP_CLOSE;
		size_t before = buf_len(&c->out.copied);
		more = engine_walk(c->worker->engine, &d->at, visit, &l, &again);
		if (again) {
			c->out.copied.tail = c->out.copied.head + before;
			d->want *= 2;
		}
	}
	if (more)
		return STEP_FULL;
	if (!session_room(c, SESSION_ROOM))
		return STEP_CLOSE;
	d->active = false;
	session_answer(c, d->meta ? REPLY_EN : REPLY_END);
	return STEP_DONE;
}
