/* SPDX-License-Identifier: BSD-3-Clause */
/* meta: what mg, ms, md, ma and me do, over the same calls as the classic commands. Flags are answered in the order of the
 * line, and T changes what a later t shows, as in memcached. */
#include "server/session.h"

#include <string.h>
#include "base/check.h"
#include "proto/base64.h"
#include "proto/meta.h"

/* The longest line: VA and a length, each flag once, the key coded. */
_Static_assert(3 + 20 + REQUEST_META_WORDS * 23 + REQUEST_OPAQUE_MAX + BASE64_ENCODED(STORE_KEY_MAX) + 16 <=
                   SESSION_HEAD,
    "a meta line fits");

/* ---- lines ---- */

static uint8_t *put_number(uint8_t *at, char flag, uint64_t v)
{
	*at++ = ' ';
	*at++ = (uint8_t)flag;
	return at + reply_uint(at, v);
}

static uint8_t *put_ttl(uint8_t *at, int64_t expiry, int64_t now)
{
	if (expiry == 0)
		return reply_append(at, " t-1");
	return put_number(at, 't', expiry > now ? (uint64_t)(expiry - now) : 0);
}

static uint8_t *put_key(uint8_t *at, const struct store_key *key, bool binary)
{
	at = reply_append(at, " k");
	if (!binary) {
		memcpy(at, key->data, key->len);
		return at + key->len;
	}
	return reply_append(at + base64_encode(at, key->data, key->len), " b");
}

/* What every answer echoes. */
static uint8_t *put_echo(
    uint8_t *at, uint8_t flag, const struct request_meta *m, const struct store_key *key, bool binary)
{
	if (flag == 'k')
		return put_key(at, key, binary);
	if (flag == 'O') {
		*at++ = ' ';
		memcpy(at, m->opaque, m->opaque_len);
		at += m->opaque_len;
	}
	return at;
}

static void end_line(struct out *o, uint8_t *at)
{
	at = reply_append(at, "\r\n");
	o->copied.tail = (size_t)(at - o->copied.data);
}

/* "XX" and what every answer echoes. */
static void answer_plain(
    struct conn *c, const char *code, const struct request_meta *m, const struct store_key *key)
{
	uint8_t *at = reply_append(out_tail(&c->out), code);
	for (unsigned i = 0; i < m->n; i++)
		at = put_echo(at, m->flag[i], m, key, key->binary);
	end_line(&c->out, at);
}

/* ---- mg ---- */

struct fetch {
	struct session_emit base;
	const struct request_meta *m;
	const struct store_key *key;
	int64_t now, expiry, recache, vivified; /* of T, R and N, absolute */
	bool created;                           /* by this command: its client wins */
	bool marks;                             /* the item is being marked as won */
	bool other;                             /* it must be marked, or must not be after all */
};

/* Whether this client is the one that is to fill the item anew. */
static bool wins(const struct fetch *f, const struct store_view *view)
{
	const struct request_meta *m = f->m;
	int64_t expiry = view->expiry;
	bool won = view->stale;
	if (f->created)
		return true;
	if (view->win_sent)
		return false;
	for (unsigned i = 0; i < m->n; i++) {
		if (m->flag[i] == 'T')
			expiry = f->expiry;
		else if (m->flag[i] == 'R')
			won |= expiry != 0 && expiry < f->recache;
	}
	return won;
}

static uint8_t *put_flags(uint8_t *at, const struct fetch *f, const struct store_view *view)
{
	const struct request_meta *m = f->m;
	int64_t expiry = f->created ? 0 : view->expiry;
	for (unsigned i = 0; i < m->n; i++) {
		switch (m->flag[i]) {
		case 'N':
			expiry = f->created ? f->vivified : expiry;
			break;
		case 'T':
			expiry = f->expiry;
			break;
		case 's':
			at = put_number(at, 's', view->value_len);
			break;
		case 't':
			at = put_ttl(at, expiry, f->now);
			break;
		case 'c':
			at = put_number(at, 'c', view->cas);
			break;
		case 'f':
			at = put_number(at, 'f', view->flags);
			break;
		case 'l':
			at = put_number(
			    at, 'l', f->now > view->access ? (uint64_t)(f->now - view->access) : 0);
			break;
		case 'h':
			at = put_number(at, 'h', view->fetched);
			break;
		default:
			at = put_echo(at, m->flag[i], m, f->key, view->binary);
			break;
		}
	}
	return at;
}

static void answer_fetch(struct fetch *f, const struct store_view *view, bool won)
{
	struct conn *c = f->base.conn;
	/* A client that has this value already is not sent it again. */
	bool same = meta_has(f->m, 'C') && f->m->compare == view->cas;
	bool value = meta_has(f->m, 'v') && !same;
	uint8_t *at = out_tail(&c->out);
	if (value)
		at += reply_uint(reply_append(at, "VA "), view->value_len) + 3;
	else
		at = reply_append(at, "HD");
	at = put_flags(at, f, view);
	if (view->win_sent)
		at = reply_append(at, " Z");
	if (view->stale)
		at = reply_append(at, " X");
	if (won)
		at = reply_append(at, " W");
	end_line(&c->out, at);
	if (value) {
		session_put_line(&c->out, view);
	} else if (store_pinned(&view->pin)) {
		struct store_pin pin = view->pin;
		engine_unpin(c->worker->engine, &pin);
	}
}

/* Under a shard's lock. */
static bool emit_fetch(void *arg, const struct store_view *view)
{
	struct fetch *f = arg;
	bool won = wins(f, view);
	f->other = won != f->marks;
	if (f->other || !session_fits(&f->base, view))
		return false;
	answer_fetch(f, view, won);
	return true;
}

/* One try, with the call that does what is needed. */
static enum store_result fetch_once(struct conn *c, struct fetch *f)
{
	struct engine_worker *w = c->worker->engine;
	bool touch = meta_has(f->m, 'T');
	const struct store_mark mark = {.win = true, .expires = touch, .expiry = f->expiry};
	if (f->marks)
		return engine_mark(w, f->key, &mark, emit_fetch, f);
	if (touch)
		return engine_touch(w, f->key, f->expiry, emit_fetch, f);
	if (meta_has(f->m, 'u'))
		return engine_peek(w, f->key, emit_fetch, f);
	return engine_get(w, f->key, emit_fetch, f);
}

/* Of an item that a command makes: of N and T the later one on the line has the last word. */
static int64_t new_expiry(const struct request_meta *m, int64_t vivified, int64_t touched)
{
	for (unsigned i = m->n; i-- > 0;) {
		if (m->flag[i] == 'T')
			return touched;
		if (m->flag[i] == 'N')
			break;
	}
	return vivified;
}

/* A miss makes an empty item, and its client is the one to fill it. STORE_NOT_STORED: somebody else was faster. */
static enum store_result vivify(struct conn *c, struct fetch *f)
{
	struct engine_worker *w = c->worker->engine;
	struct store_stored stored;
	int64_t expiry = new_expiry(f->m, f->vivified, f->expiry);
	const struct store_put put = {
	    .mode = STORE_ADD, .expiry = expiry, .cas = f->m->cas, .value = (const uint8_t *)"", .win = true};
	enum store_result r = engine_put(w, f->key, &put, &stored);
	if (r != STORE_OK)
		return r;
	const struct store_view view = {.value = put.value,
	    .cas = stored.cas,
	    .expiry = expiry,
	    .access = f->now,
	    .binary = f->key->binary,
	    .pin = {NULL, STORE_PIN_NONE}};
	f->created = true;
	answer_fetch(f, &view, true);
	return STORE_OK;
}

static enum store_result fetch(struct conn *c, struct fetch *f)
{
	for (;;) {
		f->other = false;
		enum store_result r = fetch_once(c, f);
		session_settle(&f->base, r);
		if (r == STORE_NOT_FOUND && meta_has(f->m, 'N'))
			r = vivify(c, f);
		if (r == STORE_NOT_STORED)
			continue;
		if (r != STORE_MORE_ROOM)
			return r;
		if (f->other)
			f->marks = !f->marks;
		else if (!session_make_fit(&f->base))
			return STORE_NO_MEMORY;
	}
}

static void count_fetch(struct conn *c, const struct request_meta *m, bool hit)
{
	if (meta_has(m, 'T')) {
		session_count(c, COUNTER_cmd_touch);
		session_count(c, hit ? COUNTER_touch_hits : COUNTER_touch_misses);
	} else {
		session_count(c, COUNTER_cmd_get);
		session_count(c, hit ? COUNTER_get_hits : COUNTER_get_misses);
	}
}

static enum step run_get(struct conn *c, struct item *it)
{
	struct engine_worker *w = c->worker->engine;
	const struct request_meta *m = &it->req.meta;
	struct fetch f = {.base.conn = c,
	    .m = m,
	    .key = &it->keys[0],
	    .now = engine_now(w),
	    .expiry = engine_expiry(w, m->ttl),
	    .recache = engine_expiry(w, m->recache_ttl),
	    .vivified = engine_expiry(w, m->vivify_ttl)};
	enum store_result r = fetch(c, &f);
	if (r == STORE_WAIT)
		return STEP_WAIT;
	if (r == STORE_OK || r == STORE_NOT_FOUND)
		count_fetch(c, m, r == STORE_OK && !f.created);
	if (observed(c))
		observed_get(c, f.key, r == STORE_OK && !f.created, f.base.value_len);
	if (r == STORE_NOT_FOUND && !meta_has(m, 'q'))
		answer_plain(c, "EN", m, f.key);
	else if (r == STORE_REFUSED)
		session_answer(c, REPLY_REFUSED);
	else if (r != STORE_OK && r != STORE_NOT_FOUND)
		session_answer(c, REPLY_NO_MEMORY_GET);
	return STEP_DONE;
}

/* ---- ms ---- */

void meta_fill_put(const struct conn *c, const struct request_meta *m, struct store_put *put)
{
	const struct engine_worker *w = c->worker->engine;
	bool compares = meta_has(m, 'C');
	put->expiry = engine_expiry(w, m->ttl);
	put->compare = compares ? m->compare : 0;
	put->cas = m->cas;
	switch (m->mode) {
	case 'E':
		put->mode = STORE_ADD;
		break;
	case 'A':
	case 'P':
		put->mode = m->mode == 'A' ? STORE_APPEND : STORE_PREPEND;
		put->vivify = meta_has(m, 'N');
		if (put->vivify)
			put->expiry = engine_expiry(w, m->vivify_ttl);
		break;
	default:
		put->mode = compares ? STORE_CAS : m->mode == 'R' ? STORE_REPLACE : STORE_SET;
		put->older_is_stale = compares && meta_has(m, 'I');
		break;
	}
}

void meta_answer_put(struct conn *c, const struct request_meta *m, const struct store_key *key,
    enum store_result r, const struct store_stored *stored)
{
	session_count(c, COUNTER_cmd_meta);
	if (r == STORE_OK && meta_has(m, 'q'))
		return;
	uint8_t *at = reply_append(out_tail(&c->out), r == STORE_OK          ? "HD"
	                                              : r == STORE_EXISTS    ? "EX"
	                                              : r == STORE_NOT_FOUND ? "NF"
	                                                                     : "NS");
	for (unsigned i = 0; i < m->n; i++) {
		if (m->flag[i] == 'c')
			at = put_number(at, 'c', stored->cas);
		else if (m->flag[i] == 's')
			at = put_number(at, 's', stored->value_len);
		else
			at = put_echo(at, m->flag[i], m, key, key->binary);
	}
	end_line(&c->out, at);
}

/* ---- md ---- */

static enum store_result invalidate(struct conn *c, const struct request_meta *m, const struct store_key *key)
{
	struct engine_worker *w = c->worker->engine;
	/* No item has the CAS 0. */
	uint64_t compare = !meta_has(m, 'C') ? 0 : m->compare ? m->compare : UINT64_MAX;
	const struct store_mark mark = {.stale = meta_has(m, 'I'),
	    .empty = meta_has(m, 'x'),
	    .flags = m->client_flags,
	    .expires = meta_has(m, 'T') || meta_has(m, 'x'),
	    .expiry = engine_expiry(w, m->ttl),
	    .compare = compare,
	    .cas = m->cas};
	if (!mark.stale && !mark.empty)
		return engine_delete(w, key, compare);
	return engine_mark(w, key, &mark, NULL, NULL);
}

static enum step run_delete(struct conn *c, struct item *it)
{
	const struct request_meta *m = &it->req.meta;
	struct observed_item before = observed_before(c, &it->keys[0]);
	enum store_result r = invalidate(c, m, &it->keys[0]);
	if (r == STORE_WAIT)
		return STEP_WAIT;
	if (before.told)
		observed_delete(c, "md", &it->keys[0], &before, r);
	if (r == STORE_REFUSED || r == STORE_NO_MEMORY) {
		session_answer(c, r == STORE_REFUSED ? REPLY_REFUSED : REPLY_NO_MEMORY_ARITH);
		return STEP_DONE;
	}
	session_count(c, r == STORE_OK ? COUNTER_delete_hits : COUNTER_delete_misses);
	if (r != STORE_OK || !meta_has(m, 'q'))
		answer_plain(c, r == STORE_OK ? "HD" : r == STORE_EXISTS ? "EX" : "NF", m, &it->keys[0]);
	return STEP_DONE;
}

/* ---- ma ---- */

static void answer_number(struct conn *c, const struct request_meta *m, const struct store_key *key,
    const struct store_number *n, int64_t vivified, int64_t touched)
{
	int64_t now = engine_now(c->worker->engine), expiry = n->expiry;
	uint8_t digits[REPLY_UINT_MAX];
	size_t len = reply_uint(digits, n->value);
	uint8_t *at = out_tail(&c->out);
	bool value = meta_has(m, 'v');
	if (value)
		at += reply_uint(reply_append(at, "VA "), len) + 3;
	else
		at = reply_append(at, "HD");
	for (unsigned i = 0; i < m->n; i++) {
		switch (m->flag[i]) {
		case 'N':
			expiry = n->created ? vivified : expiry;
			break;
		case 'T':
			expiry = touched;
			break;
		case 't':
			at = put_ttl(at, expiry, now);
			break;
		case 'c':
			at = put_number(at, 'c', n->cas);
			break;
		default:
			at = put_echo(at, m->flag[i], m, key, key->binary);
			break;
		}
	}
	at = reply_append(at, "\r\n");
	if (value) {
		memcpy(at, digits, len);
		at = reply_append(at + len, "\r\n");
	}
	c->out.copied.tail = (size_t)(at - c->out.copied.data);
}

static enum reply_id arith_error(enum store_result r)
{
	return r == STORE_NOT_NUMBER ? REPLY_NOT_NUMBER
	       : r == STORE_REFUSED  ? REPLY_REFUSED
	                             : REPLY_NO_MEMORY_ARITH;
}

static enum step run_arith(struct conn *c, struct item *it)
{
	struct engine_worker *w = c->worker->engine;
	const struct request_meta *m = &it->req.meta;
	bool down = m->mode == 'D' || m->mode == '-';
	if (m->mode && !down && m->mode != 'I' && m->mode != '+') {
		session_answer(c, REPLY_BAD_MODE_MA);
		return STEP_DONE;
	}
	int64_t vivified = engine_expiry(w, m->vivify_ttl), touched = engine_expiry(w, m->ttl);
	const struct store_arith a = {.delta = m->delta,
	    .decrement = down,
	    .compare = m->compare,
	    .cas = m->cas,
	    .vivify = meta_has(m, 'N'),
	    .initial = m->initial,
	    .initial_expiry = new_expiry(m, vivified, touched),
	    .expires = meta_has(m, 'T'),
	    .expiry = touched};
	struct store_number n = {0};
	enum store_result r = engine_arith(w, &it->keys[0], &a, &n);
	switch (r) {
	case STORE_WAIT:
		return STEP_WAIT;
	case STORE_OK:
		session_count(c, down ? COUNTER_decr_hits : COUNTER_incr_hits);
		if (!meta_has(m, 'q'))
			answer_number(c, m, &it->keys[0], &n, vivified, touched);
		break;
	case STORE_NOT_FOUND:
		session_count(c, down ? COUNTER_decr_misses : COUNTER_incr_misses);
		answer_plain(c, "NF", m, &it->keys[0]);
		break;
	case STORE_EXISTS:
		answer_plain(c, "EX", m, &it->keys[0]);
		break;
	default:
		session_answer(c, arith_error(r));
		break;
	}
	return STEP_DONE;
}

/* ---- me ---- */

struct debug {
	struct session_emit base;
	const struct store_key *key;
	int64_t now;
};

/* Under a shard's lock. */
static bool emit_debug(void *arg, const struct store_view *view)
{
	struct debug *d = arg;
	struct conn *c = d->base.conn;
	if (!session_fits(&d->base, view))
		return false;
	uint8_t *at = reply_append(out_tail(&c->out), "ME ");
	if (view->binary) {
		at += base64_encode(at, d->key->data, d->key->len);
	} else {
		memcpy(at, d->key->data, d->key->len);
		at += d->key->len;
	}
	at = reply_append(at, " exp=");
	if (view->expiry == 0)
		at = reply_append(at, "-1");
	else
		at += reply_uint(at, view->expiry > d->now ? (uint64_t)(view->expiry - d->now) : 0);
	at = reply_named(at, " la=", d->now > view->access ? (uint64_t)(d->now - view->access) : 0);
	at = reply_named(at, " cas=", view->cas);
	at = reply_append(at, view->fetched ? " fetch=yes" : " fetch=no");
	at = reply_named(reply_append(at, " cls=1"), " size=", session_item_size(d->key->len, view));
	end_line(&c->out, at);
	if (store_pinned(&view->pin)) {
		struct store_pin pin = view->pin;
		engine_unpin(c->worker->engine, &pin);
	}
	return true;
}

static enum step run_debug(struct conn *c, struct item *it)
{
	struct debug d = {.base.conn = c, .key = &it->keys[0], .now = engine_now(c->worker->engine)};
	enum store_result r;
	while ((r = engine_peek(c->worker->engine, d.key, emit_debug, &d)) == STORE_MORE_ROOM)
		if (!session_make_fit(&d.base))
			return STEP_CLOSE;
	if (r != STORE_OK)
		end_line(&c->out, reply_append(out_tail(&c->out), "EN"));
	return STEP_DONE;
}

enum step meta_run(struct conn *c, struct item *it)
{
	enum step s;
	switch ((enum command_id)it->req.command->id) {
	case COMMAND_MG:
		s = run_get(c, it);
		break;
	case COMMAND_MD:
		s = run_delete(c, it);
		break;
	case COMMAND_MA:
		s = run_arith(c, it);
		break;
	default:
		CHECK(it->req.command->id == COMMAND_ME);
		s = run_debug(c, it);
		break;
	}
	if (s == STEP_DONE)
		session_count(c, COUNTER_cmd_meta);
	return s;
}
