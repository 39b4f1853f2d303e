/* SPDX-License-Identifier: BSD-3-Clause */
/* parse: the classic text parser. One line is looked at once it is whole; what follows the name is read as
 * its row in the table of commands says. Which mistakes are told under `noreply`, and which take the value
 * away with them, follows memcached 1.6.45. */
#include "proto/parse.h"

#include <limits.h>
#include <string.h>
#include "base/check.h"
#include "proto/meta.h"

#define SHORTEST  4 /* bytes of the shortest line that can be a command, its end included */
#define VALUE_MAX ((uint64_t)INT_MAX - 2)

bool parse_uint(const struct request_slice *s, uint64_t max, uint64_t *ret_v)
{
	uint64_t v = 0;
	if (s->len == 0)
		return false;
	for (size_t i = 0; i < s->len; i++) {
		unsigned digit = s->data[i] - (unsigned)'0';
		if (digit > 9 || __builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, digit, &v))
			return false;
	}
	*ret_v = v;
	return v <= max;
}

bool parse_int(const struct request_slice *s, int64_t *ret_v)
{
	struct request_slice digits = *s;
	bool negative = s->len > 0 && s->data[0] == '-';
	if (negative) {
		digits.data++;
		digits.len--;
	}
	uint64_t v;
	if (!parse_uint(&digits, INT64_MAX, &v))
		return false;
	*ret_v = negative ? -(int64_t)v : (int64_t)v;
	return true;
}

bool parse_is(const struct request_slice *s, const char *word)
{
	return s->len == strlen(word) && memcmp(s->data, word, s->len) == 0;
}

void parse_swallow(struct parser *p, uint64_t bytes)
{
	p->swallow = bytes;
}

void parse_at_key(struct parser *p, const struct request *req)
{
	CHECK(req->command->shape == COMMAND_KEYS || req->command->shape == COMMAND_TOUCH_KEYS);
	*p = (struct parser){.state = PARSE_AT_KEY, .command = req->command, .exptime = req->exptime};
}

/* A mistake that a client is told about even under noreply: the line is too broken to trust that word. */
static enum parse_result loud(struct request *req, enum reply_id error)
{
	req->error = error;
	return PARSE_ERROR;
}

static enum parse_result quiet(struct request *req, enum reply_id error)
{
	req->error = req->noreply ? REPLY_NONE : error;
	return PARSE_ERROR;
}

/* Fills req->keys with the words of the line. Those beyond the array are dropped, but a last word noreply
 * counts. */
static void read_words(struct request *req, struct words w)
{
	struct request_slice word = {NULL, 0};
	size_t n = 0;
	while (words_next(&w, &word)) {
		if (n < REQUEST_KEYS)
			req->keys[n] = word;
		n++;
	}
	req->n_keys = (uint8_t)(n < REQUEST_KEYS ? n : REQUEST_KEYS);
	req->noreply = req->command->noreply && n > 0 && parse_is(&word, "noreply");
}

/* One blank and a number of at most nine digits, which cannot overflow. Returns where it ends; NULL: something else is there. */
static const uint8_t *read_number(const uint8_t *at, const uint8_t *end, uint64_t *ret_v)
{
	uint64_t v = 0;
	if (end - at < 2 || *at++ != ' ')
		return NULL;
	const uint8_t *begin = at, *stop = end - at > 9 ? at + 9 : end;
	for (; at < stop && (unsigned)(*at - '0') <= 9; at++)
		v = v * 10 + (unsigned)(*at - '0');
	*ret_v = v;
	return at > begin ? at : NULL;
}

/* The line as clients write it: one blank before each word, three short numbers behind a key. False: it is another one, or not
 * right, and all of it is to be read anew. */
static bool read_plain_store(struct request *req, struct words w)
{
	uint64_t flags, exptime;
	const uint8_t *at = w.at;
	if (w.end - at < 2 || at[0] != ' ' || at[1] == ' ')
		return false;
	w.at++;
	words_next(&w, &req->keys[0]);
	if (req->keys[0].len > REQUEST_KEY_MAX || !(at = read_number(w.at, w.end, &flags)) ||
	    !(at = read_number(at, w.end, &exptime)) || read_number(at, w.end, &req->value_len) != w.end)
		return false;
	req->n_keys = 1;
	req->value = NULL;
	req->flags = (uint32_t)flags;
	req->exptime = (int64_t)exptime;
	return true;
}

/* The value behind a line that is right. */
static enum parse_result read_value(struct request *req, const uint8_t *value, size_t len, size_t *ret_used)
{
	if (len < req->value_len + 2)
		return PARSE_VALUE;
	*ret_used += req->value_len + 2;
	if (value[req->value_len] != '\r' || value[req->value_len + 1] != '\n')
		return quiet(req, REPLY_BAD_CHUNK);
	req->value = value;
	return PARSE_DONE;
}

/* The value is `swallow`ed when the line is refused but its length can be read, so that the stream stays
 * usable. */
static enum parse_result read_store(
    struct parser *p, struct request *req, const uint8_t *value, size_t len, size_t *ret_used)
{
	const struct request_slice *k = req->keys;
	bool cas = req->command->shape == COMMAND_STORE_CAS;
	uint64_t flags;

	req->value = NULL;
	if (req->n_keys < 4 || !parse_uint(&k[3], VALUE_MAX, &req->value_len))
		return loud(req, REPLY_BAD_FORMAT);
	if (k[0].len > REQUEST_KEY_MAX || !parse_uint(&k[1], UINT32_MAX, &flags) ||
	    !parse_int(&k[2], &req->exptime) ||
	    (cas && (req->n_keys < 5 || !parse_uint(&k[4], UINT64_MAX, &req->cas)))) {
		parse_swallow(p, req->value_len + 2);
		return quiet(req, REPLY_BAD_FORMAT);
	}
	req->flags = (uint32_t)flags;
	return read_value(req, value, len, ret_used);
}

/* The word that is the key of a meta command, and its flags. `before`: words until then, the command's name among them. */
static enum reply_id read_meta(struct request *req, struct words w, unsigned before)
{
	if (req->keys[0].len > REQUEST_KEY_MAX)
		return REPLY_BAD_FORMAT;
	enum reply_id error = meta_read(w, before, &req->keys[0], &req->meta);
	req->n_keys = 1;
	if (error == REPLY_NONE && req->meta.key_len)
		req->keys[0] = (struct request_slice){req->meta.key, req->meta.key_len};
	return error;
}

static enum parse_result read_meta_line(struct request *req, struct words w)
{
	if (!words_next(&w, &req->keys[0]))
		return loud(req, REPLY_BAD_FORMAT);
	enum reply_id error = read_meta(req, w, 2);
	if (error == REPLY_NONE)
		return PARSE_DONE;
	/* memcached tells of ma's flags no more than that, but for the opaque. */
	bool told = error == REPLY_BAD_FORMAT || error == REPLY_MANY_FLAGS || error == REPLY_LONG_OPAQUE;
	return loud(req, req->command->id == COMMAND_MA && !told ? REPLY_BAD_FLAGS : error);
}

static enum parse_result read_meta_store(
    struct parser *p, struct request *req, struct words w, const uint8_t *value, size_t len, size_t *ret_used)
{
	struct request_slice bytes;
	req->value = NULL;
	if (!words_next(&w, &req->keys[0]) || !words_next(&w, &bytes) ||
	    !parse_uint(&bytes, VALUE_MAX, &req->value_len))
		return loud(req, REPLY_BAD_FORMAT);
	enum reply_id error = read_meta(req, w, 3);
	if (error == REPLY_NONE && req->meta.mode && !memchr("EAPRS", req->meta.mode, 5))
		error = REPLY_BAD_MODE_MS;
	if (error != REPLY_NONE) {
		parse_swallow(p, req->value_len + 2);
		return loud(req, error);
	}
	req->flags = req->meta.client_flags;
	return read_value(req, value, len, ret_used);
}

/* memcached 1.6.45 takes what stands behind the key for nothing; older ones, and the tests of libmemcached, do not. */
#define DELETE_WORDS 4

static enum parse_result read_key(struct request *req)
{
	const struct request_slice *k = req->keys;
	unsigned shape = req->command->shape;

	if (req->n_keys < (shape == COMMAND_KEY ? 1 : 2))
		return loud(req, REPLY_BAD_FORMAT);
	if (shape == COMMAND_KEY && req->n_keys > DELETE_WORDS)
		return loud(req, REPLY_BAD_DELETE);
	if (k[0].len > REQUEST_KEY_MAX)
		return quiet(req, REPLY_BAD_FORMAT);
	if (shape == COMMAND_KEY_DELTA && !parse_uint(&k[1], UINT64_MAX, &req->delta))
		return quiet(req, REPLY_BAD_DELTA);
	if (shape == COMMAND_KEY_TIME && !parse_int(&k[1], &req->exptime))
		return quiet(req, REPLY_BAD_EXPTIME);
	return PARSE_DONE;
}

static enum parse_result refuse_key(struct parser *p, struct request *req)
{
	p->state = PARSE_IN_WASTE;
	req->drop_stack = true;
	return loud(req, REPLY_BAD_FORMAT);
}

/* Hands out up to REQUEST_KEYS keys from data on. Without a line end in sight (end NULL) a last word may go
 * on in bytes to come, so it stays. */
static enum parse_result read_keys(struct parser *p, const uint8_t *data, size_t len, const uint8_t *end,
    struct request *req, size_t *ret_used)
{
	const uint8_t *stop = end ? end : data + len;
	if (end && end > data && end[-1] == '\r')
		stop--;
	struct words w = {data, stop};
	struct request_slice key;
	bool last = false;

	req->command = p->command;
	req->exptime = p->exptime;
	req->noreply = false;
	req->n_keys = 0;
	while (req->n_keys < REQUEST_KEYS) {
		const uint8_t *before = w.at;
		if (!words_next(&w, &key)) {
			last = end != NULL;
			break;
		}
		if (key.len > REQUEST_KEY_MAX &&
		    !(end == NULL && w.at == stop && key.len == REQUEST_KEY_MAX + 1)) {
			w.at = before;
			if (req->n_keys > 0)
				break;
			*ret_used = (size_t)(w.at - data);
			return refuse_key(p, req);
		}
		if (end == NULL && w.at == stop) {
			w.at = before;
			break;
		}
		req->keys[req->n_keys++] = key;
	}
	req->more = !last;
	*ret_used = (size_t)(last ? end + 1 - data : w.at - data);
	if (last)
		p->state = PARSE_AT_LINE;
	if (req->n_keys > 0)
		p->keyless = false;
	else if (!last)
		return PARSE_MORE;
	return p->keyless ? loud(req, REPLY_BAD_FORMAT) : PARSE_DONE;
}

/* The first words of a get; the keys follow. */
static enum parse_result begin_keys(struct parser *p, const uint8_t *data, size_t len, const uint8_t *end,
    const uint8_t *args, struct request *req, size_t *ret_used)
{
	struct words w = {args, end ? (end > data && end[-1] == '\r' ? end - 1 : end) : data + len};
	struct request_slice word;
	size_t head = (size_t)(args - data);

	*ret_used = end ? (size_t)(end + 1 - data) : head;
	if (p->command->shape == COMMAND_TOUCH_KEYS) {
		if (!words_next(&w, &word))
			return loud(req, REPLY_BAD_FORMAT);
		head = (size_t)(w.at - data);
		if (!words_more(&w))
			return loud(req, REPLY_BAD_FORMAT);
		if (!parse_int(&word, &p->exptime))
			return loud(req, REPLY_BAD_EXPTIME);
	} else if (end) {
		if (!words_more(&w))
			return loud(req, REPLY_BAD_FORMAT);
	}
	p->state = PARSE_AT_KEY;
	p->keyless = end == NULL;
	enum parse_result r = read_keys(p, data + head, len - head, end, req, ret_used);
	*ret_used += head;
	return r;
}

/* No line end yet. Long lines are for gets only. */
static enum parse_result partial_line(
    struct parser *p, const uint8_t *data, size_t len, struct request *req, size_t *ret_used)
{
	*ret_used = 0;
	if (len <= PARSE_LINE_MAX)
		return PARSE_MORE;
	if (memcmp(data, "get ", 4) == 0)
		p->command = command_row(COMMAND_GET);
	else if (memcmp(data, "gets ", 5) == 0)
		p->command = command_row(COMMAND_GETS);
	else
		return PARSE_CLOSE;
	return begin_keys(p, data, len, NULL, data + p->command->name_len, req, ret_used);
}

/* Unknown: a web browser, or a page that makes one send requests for it, gets no second try. */
static enum parse_result unknown(struct request *req, struct words w)
{
	struct request_slice word = {NULL, 0};
	bool args = false;
	while (words_next(&w, &word))
		args = true;
	if (args && word.len >= 5 && memcmp(word.data, "HTTP/", 5) == 0)
		return PARSE_CLOSE;
	return loud(req, REPLY_ERROR);
}

static enum parse_result read_line(struct parser *p, const uint8_t *data, size_t len, const uint8_t *end,
    struct request *req, size_t *ret_used)
{
	const uint8_t *stop = end > data && end[-1] == '\r' ? end - 1 : end;
	*ret_used = (size_t)(end + 1 - data);
	req->noreply = false;
	if (*ret_used < SHORTEST)
		return loud(req, REPLY_BAD_FORMAT);

	const uint8_t *space = memchr(data, ' ', (size_t)(stop - data));
	const uint8_t *args = space ? space : stop;
	req->command = command_find(data, (size_t)(args - data));
	if (!req->command)
		return unknown(req, (struct words){args, stop});
	p->command = req->command;
	p->exptime = 0;
	switch (req->command->shape) {
	case COMMAND_KEYS:
	case COMMAND_TOUCH_KEYS:
		return begin_keys(p, data, len, end, args, req, ret_used);
	case COMMAND_STORE:
		if (read_plain_store(req, (struct words){args, stop}))
			return read_value(req, end + 1, len - *ret_used, ret_used);
		/* fallthrough */
	case COMMAND_STORE_CAS:
		read_words(req, (struct words){args, stop});
		return read_store(p, req, end + 1, len - *ret_used, ret_used);
	case COMMAND_META:
		return read_meta_line(req, (struct words){args, stop});
	case COMMAND_META_STORE:
		return read_meta_store(
		    p, req, (struct words){args, stop}, end + 1, len - *ret_used, ret_used);
	case COMMAND_WORDS:
		read_words(req, (struct words){args, stop});
		return PARSE_DONE;
	default:
		read_words(req, (struct words){args, stop});
		return read_key(req);
	}
}

/* Throws away what was refused. True when the parser stands at something to read. */
static bool swallow(struct parser *p, const uint8_t *data, size_t len, size_t *ret_skip)
{
	size_t skip = p->swallow < len ? (size_t)p->swallow : len;
	p->swallow -= skip;
	if (p->state == PARSE_IN_WASTE) {
		const uint8_t *end = len > skip ? memchr(data + skip, '\n', len - skip) : NULL;
		skip = end ? (size_t)(end + 1 - data) : len;
		if (end)
			p->state = PARSE_AT_LINE;
	}
	*ret_skip = skip;
	return skip < len;
}

enum parse_result parse_next(
    struct parser *p, const uint8_t *data, size_t len, struct request *req, size_t *ret_used)
{
	size_t skip = 0;
	enum parse_result r;

	*ret_used = 0;
	if ((p->swallow > 0 || p->state == PARSE_IN_WASTE) && !swallow(p, data, len, &skip)) {
		*ret_used = skip;
		return PARSE_MORE;
	}
	data += skip;
	len -= skip;
	if (len == 0)
		return PARSE_MORE;
	req->command = NULL;
	req->error = REPLY_NONE;
	req->more = req->drop_stack = false;
	req->n_keys = 0;
	const uint8_t *end = memchr(data, '\n', len);
	if (p->state == PARSE_AT_KEY)
		r = read_keys(p, data, len, end, req, ret_used);
	else if (!end)
		r = partial_line(p, data, len, req, ret_used);
	else
		r = read_line(p, data, len, end, req, ret_used);
	*ret_used += skip;
	return r;
}
