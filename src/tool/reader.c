/* SPDX-License-Identifier: BSD-3-Clause */
/* reader: see reader.h. Here is what all forms share; reader_ndjson.c, reader_csv.c and reader_text.c have one each. */
#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>
#include <hearth/record.h>
#include "base/clock.h"
#include "proto/base64.h"
#include "tool/reader_private.h"

#define PIECE (256u * 1024)

void reader_open(struct reader *r, int fd, enum format format)
{
	*r = (struct reader){.fd = fd, .format = format};
}

void reader_close(struct reader *r)
{
	json_decref(r->json);
	r->json = NULL;
	buf_free(&r->in);
	buf_free(&r->key);
	buf_free(&r->value);
	buf_free(&r->fields);
}

enum reader_event reader_bad(struct reader *r, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	vsnprintf(r->why, sizeof(r->why), fmt, args);
	va_end(args);
	return READER_BAD;
}

enum reader_event reader_failed(struct reader *r, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	vsnprintf(r->why, sizeof(r->why), fmt, args);
	va_end(args);
	return READER_FAILED;
}

/* More bytes behind what is there; false at the end, or after a failure, which why tells. */
static bool fill(struct reader *r)
{
	if (r->ended)
		return false;
	r->ended = true;
	if (!buf_reserve(&r->in, PIECE)) {
		r->error = ENOMEM;
		reader_failed(r, "memory is short");
		return false;
	}
	ssize_t n;
	do
		n = read(r->fd, r->in.data + r->in.tail, buf_room(&r->in));
	while (n < 0 && errno == EINTR);
	if (n < 0) {
		r->error = errno;
		reader_failed(r, "%s", strerror(r->error));
	}
	if (n <= 0)
		return false;
	r->ended = false;
	r->in.tail += (size_t)n;
	r->bytes += (uint64_t)n;
	return true;
}

bool reader_have(struct reader *r, size_t len)
{
	while (buf_len(&r->in) < len)
		if (!fill(r))
			return false;
	return true;
}

enum reader_event reader_line(struct reader *r, uint8_t **ret_text, size_t *ret_len)
{
	size_t looked = 0;
	for (;;) {
		uint8_t *text = r->in.data + r->in.head;
		size_t len = buf_len(&r->in);
		uint8_t *end = len > looked ? memchr(text + looked, '\n', len - looked) : NULL;
		looked = len;
		if (!end && len > READER_LINE_MAX)
			return reader_failed(r, "the line is longer than 2 GiB");
		if (!end && fill(r))
			continue;
		text = r->in.data + r->in.head; /* room for more may have moved it */
		if (r->why[0] != '\0')
			return READER_FAILED;
		if (!end && len == 0)
			return READER_END;
		*ret_text = text;
		*ret_len = end ? (size_t)(end - text) + 1 : len;
		r->in.head += *ret_len;
		r->line = ++r->lines;
		return READER_ITEM;
	}
}

enum reader_field reader_field(const char *name, size_t len)
{
	static const char *const names[N_FIELDS] = {[FIELD_KEY] = "key",
	    [FIELD_KEY64] = "key_b64",
	    [FIELD_VALUE] = "value",
	    [FIELD_VALUE64] = "value_b64",
	    [FIELD_FLAGS] = "flags",
	    [FIELD_EXPIRY] = "exp",
	    [FIELD_TTL] = "ttl",
	    [FIELD_BINARY] = "binary_key"};
	for (int i = 0; i < N_FIELDS; i++)
		if (strlen(names[i]) == len && memcmp(names[i], name, len) == 0)
			return (enum reader_field)i;
	return N_FIELDS;
}

bool reader_base64(struct buf *buf, const uint8_t *text, size_t len)
{
	buf_clear(buf);
	if (!buf_reserve(buf, BASE64_DECODED_MAX(len) + 1))
		return false;
	size_t n = base64_decode(buf->data + buf->tail, text, len);
	buf->tail += n;
	return n > 0 || len == 0;
}

bool reader_number(const char *text, size_t len, int64_t min, int64_t max, int64_t *ret_n)
{
	bool negative = len > 0 && text[0] == '-';
	int64_t n = 0;
	if (len <= negative)
		return false;
	for (size_t i = negative; i < len; i++) {
		if (text[i] < '0' || text[i] > '9' || __builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, text[i] - '0', &n))
			return false;
	}
	*ret_n = negative ? -n : n;
	return *ret_n >= min && *ret_n <= max;
}

int64_t reader_time(int64_t time)
{
	int64_t now = clock_wall_ms() / 1000;
	if (time == 0 || time > FORMAT_RELATIVE_MAX)
		return time;
	return time > 0 ? now + time : 1;
}

/* What holds for an item of any form. */
static enum reader_event judge(struct reader *r, const struct item *item)
{
	if (item->key_len == 0)
		return reader_bad(r, "the key is missing or empty");
	if (item->key_len > ITEM_KEY_MAX)
		return reader_bad(r, "the key has %zu bytes, more than 250", item->key_len);
	if (!item->value)
		return reader_bad(r, "the value is missing");
	if (item->size > RECORD_VALUE_MAX)
		return reader_bad(r, "the value has more than 1 GiB");
	return READER_ITEM;
}

/* Spreadsheets mark a text as UTF-8 so. In commands it would be part of a word. */
static void skip_mark(struct reader *r)
{
	static const char mark[] = "\xef\xbb\xbf";
	const size_t len = sizeof(mark) - 1;
	if (r->format != FORMAT_TEXT && reader_have(r, len) &&
	    memcmp(r->in.data + r->in.head, mark, len) == 0)
		r->in.head += len;
}

enum reader_event reader_next(struct reader *r, struct item *ret_item)
{
	enum reader_event event = READER_END;
	*ret_item = (struct item){0};
	r->why[0] = '\0';
	/* So that there is a place to point to, also into nothing. */
	if (!buf_reserve(&r->in, 1) || !buf_reserve(&r->fields, 1)) {
		r->error = ENOMEM;
		return reader_failed(r, "memory is short");
	}
	if (r->bytes == 0)
		skip_mark(r);
	switch (r->format) {
	case FORMAT_NDJSON:
		event = reader_ndjson(r, ret_item);
		break;
	case FORMAT_CSV:
		event = reader_csv(r, ret_item);
		break;
	case FORMAT_TEXT:
		event = reader_text(r, ret_item);
		break;
	case N_FORMATS:
		break;
	}
	return event == READER_ITEM ? judge(r, ret_item) : event;
}
