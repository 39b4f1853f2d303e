/* SPDX-License-Identifier: BSD-3-Clause */
/* reader_ndjson: one JSON object a line, read with libjansson. Fields that are not known are passed over. */
#include <jansson.h>
#include "base/clock.h"
#include "tool/reader_private.h"

#define SPACE    " \t\r\n"
#define REAL_MAX 9007199254740992.0 /* 2^53 */

static bool is_blank(const uint8_t *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!strchr(SPACE, text[i]) || text[i] == '\0')
			return false;
	return true;
}

static enum reader_event take_string(
    struct reader *r, const char *name, const json_t *v, const uint8_t **ret_text, size_t *ret_len)
{
	if (!json_is_string(v))
		return reader_bad(r, "\"%s\" is no string", name);
	if (*ret_text)
		return reader_bad(r, "\"%s\" and what it stands for are both there", name);
	*ret_text = (const uint8_t *)json_string_value(v);
	*ret_len = json_string_length(v);
	return READER_ITEM;
}

static enum reader_event take_base64(struct reader *r, const char *name, const json_t *v, struct buf *buf,
    const uint8_t **ret_text, size_t *ret_len)
{
	enum reader_event event = take_string(r, name, v, ret_text, ret_len);
	if (event != READER_ITEM)
		return event;
	if (!reader_base64(buf, *ret_text, *ret_len))
		return reader_bad(r, "\"%s\" is no base64", name);
	*ret_text = buf->data + buf->head;
	*ret_len = buf_len(buf);
	return READER_ITEM;
}

/* Also one that is whole as a real, as far as reals tell whole numbers apart. */
static bool whole_number(const json_t *v, int64_t *ret_n)
{
	double real = json_number_value(v);
	if (json_is_integer(v)) {
		*ret_n = json_integer_value(v);
		return true;
	}
	if (!json_is_real(v) || real < -REAL_MAX || real > REAL_MAX)
		return false;
	*ret_n = (int64_t)real;
	return (double)*ret_n == real;
}

static enum reader_event take_number(
    struct reader *r, const char *name, const json_t *v, int64_t min, int64_t max, int64_t *ret_n)
{
	*ret_n = 0;
	if (json_is_null(v))
		return READER_ITEM;
	if (!whole_number(v, ret_n))
		return reader_bad(r, "\"%s\" is no whole number", name);
	if (*ret_n < min || *ret_n > max)
		return reader_bad(r, "\"%s\" is out of range", name);
	return READER_ITEM;
}

static enum reader_event take_field(struct reader *r, const char *name, const json_t *v, struct item *item)
{
	enum reader_event event = READER_ITEM;
	size_t size = 0;
	int64_t n;
	switch (reader_field(name, strlen(name))) {
	case FIELD_KEY:
		return take_string(r, name, v, &item->key, &item->key_len);
	case FIELD_KEY64:
		return take_base64(r, name, v, &r->key, &item->key, &item->key_len);
	case FIELD_VALUE:
		event = take_string(r, name, v, &item->value, &size);
		item->size = size;
		return event;
	case FIELD_VALUE64:
		event = take_base64(r, name, v, &r->value, &item->value, &size);
		item->size = size;
		return event;
	case FIELD_FLAGS:
		event = take_number(r, name, v, 0, UINT32_MAX, &n);
		item->flags = (uint32_t)n;
		return event;
	case FIELD_EXPIRY:
		event = take_number(r, name, v, INT64_MIN, INT64_MAX, &n);
		item->expiry = json_is_null(v) ? item->expiry : n; /* where a ttl may be */
		return event;
	case FIELD_TTL:
		event = take_number(r, name, v, 0, INT32_MAX, &n);
		item->expiry = n > 0 ? clock_wall_ms() / 1000 + n : item->expiry;
		return event;
	case FIELD_BINARY:
		item->binary_key = json_is_true(v);
		return json_is_boolean(v) ? event : reader_bad(r, "\"%s\" is neither true nor false", name);
	case N_FIELDS:
		break;
	}
	return event;
}

static enum reader_event take_object(struct reader *r, struct item *item)
{
	enum reader_event event = READER_ITEM;
	const char *name;
	json_t *v;
	if (!json_is_object((json_t *)r->json))
		return reader_bad(r, "the line is no object");
	json_object_foreach((json_t *)r->json, name, v)
	{
		if (event == READER_ITEM)
			event = take_field(r, name, v, item);
	}
	return event;
}

/* A number beyond 63 bits, as a cas may be, costs no item: then all of them are read as reals. */
static json_t *parse(const uint8_t *text, size_t len, json_error_t *ret_err)
{
	const size_t flags = JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES;
	json_t *json = json_loadb((const char *)text, len, flags, ret_err);
	if (!json && json_error_code(ret_err) == json_error_numeric_overflow)
		json = json_loadb((const char *)text, len, flags | JSON_DECODE_INT_AS_REAL, ret_err);
	return json;
}

enum reader_event reader_ndjson(struct reader *r, struct item *ret_item)
{
	uint8_t *text;
	size_t len;
	json_error_t err;
	enum reader_event event;
	json_decref(r->json);
	r->json = NULL;
	do
		event = reader_line(r, &text, &len);
	while (event == READER_ITEM && is_blank(text, len));
	if (event != READER_ITEM)
		return event;
	r->json = parse(text, len, &err);
	if (!r->json)
		return reader_bad(r, "no JSON: %s (column %d)", err.text, err.column);
	return take_object(r, ret_item);
}
