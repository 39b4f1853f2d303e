/* SPDX-License-Identifier: BSD-3-Clause */
/* reader_csv: RFC 4180: a head with the names of the columns, then a record an item; a field in quotes may hold commas, line
 * ends and, doubled, quotes. Columns come in any order; those that are not known are passed over. */
#include "base/clock.h"
#include "tool/reader_private.h"

static bool put_byte(struct reader *r, uint8_t byte)
{
	return buf_append(&r->fields, &byte, 1);
}

static bool end_field(struct reader *r)
{
	if (r->n_fields == READER_COLUMNS)
		return false;
	r->begins[++r->n_fields] = buf_len(&r->fields);
	return true;
}

/* 0 to 255, or -1 at the end. */
static int next_byte(struct reader *r)
{
	if (!reader_have(r, 1))
		return -1;
	int byte = r->in.data[r->in.head++];
	r->lines += byte == '\n';
	return byte;
}

static int peek_byte(struct reader *r)
{
	return reader_have(r, 1) ? r->in.data[r->in.head] : -1;
}

/* The rest of a record that is bad. */
static void skip_line(struct reader *r)
{
	int byte;
	do
		byte = next_byte(r);
	while (byte >= 0 && byte != '\n');
}

/* Behind the first quote, up to and with the last one. */
static enum reader_event take_quoted(struct reader *r)
{
	for (;;) {
		int byte = next_byte(r);
		if (byte < 0)
			return r->why[0] ? READER_FAILED : reader_failed(r, "a quote is not closed");
		if (byte == '"' && peek_byte(r) != '"')
			return READER_ITEM;
		if (byte == '"')
			next_byte(r);
		if (!put_byte(r, (uint8_t)byte))
			return reader_failed(r, "memory is short");
		if (buf_len(&r->fields) > READER_LINE_MAX)
			return reader_failed(r, "the record is longer than 2 GiB");
	}
}

/* All fields up to the record's end. */
static enum reader_event take_record(struct reader *r)
{
	enum reader_event event;
	for (bool begins = true;;) {
		int byte = next_byte(r);
		if (byte == '\r' && peek_byte(r) == '\n')
			byte = next_byte(r);
		if (byte < 0 && r->why[0])
			return READER_FAILED;
		if (byte < 0 || byte == '\n' || byte == ',') {
			if (!end_field(r)) {
				if (byte == ',')
					skip_line(r);
				return reader_bad(r, "there are more than %u fields", READER_COLUMNS);
			}
			if (byte != ',')
				return READER_ITEM;
			begins = true;
		} else if (byte == '"' && begins) {
			if ((event = take_quoted(r)) != READER_ITEM)
				return event;
			int next = peek_byte(r);
			begins = false;
			bool ends = next == '\n' ||
			            (next == '\r' && reader_have(r, 2) && r->in.data[r->in.head + 1] == '\n');
			if (next >= 0 && next != ',' && !ends) {
				skip_line(r);
				return reader_bad(r, "behind a closing quote comes no comma");
			}
		} else if (byte == '"') {
			skip_line(r);
			return reader_bad(r, "a quote inside a field that has none around it");
		} else {
			begins = false;
			if (!put_byte(r, (uint8_t)byte))
				return reader_failed(r, "memory is short");
		}
	}
}

/* The next record that is no empty line. */
static enum reader_event next_record(struct reader *r)
{
	int byte;
	while ((byte = peek_byte(r)) == '\n' || byte == '\r')
		next_byte(r);
	r->line = r->lines + 1;
	if (byte < 0)
		return r->why[0] ? READER_FAILED : READER_END;
	buf_clear(&r->fields);
	r->n_fields = 0;
	r->begins[0] = 0;
	return take_record(r);
}

static enum reader_event take_head(struct reader *r)
{
	enum reader_event event = next_record(r);
	bool key = false, value = false;
	if (event != READER_ITEM)
		return event == READER_BAD ? READER_FAILED : event;
	for (size_t i = 0; i < r->n_fields; i++) {
		const char *name = (const char *)r->fields.data + r->fields.head + r->begins[i];
		enum reader_field field = reader_field(name, r->begins[i + 1] - r->begins[i]);
		for (size_t k = 0; k < i && field != N_FIELDS; k++)
			if (r->columns[k] == field)
				return reader_failed(
				    r, "column %zu has the same name as column %zu", i + 1, k + 1);
		r->columns[i] = field;
		key = key || field == FIELD_KEY || field == FIELD_KEY64;
		value = value || field == FIELD_VALUE || field == FIELD_VALUE64;
	}
	r->n_columns = r->n_fields;
	if (!key || !value)
		return reader_failed(
		    r, "the first line does not name the columns, \"key\" and \"value\" among them");
	return READER_ITEM;
}

static enum reader_event take_number(
    struct reader *r, size_t column, const char *text, size_t len, int64_t min, int64_t max, int64_t *ret_n)
{
	*ret_n = 0;
	if (len == 0 || reader_number(text, len, min, max, ret_n))
		return READER_ITEM;
	return reader_bad(r, "field %zu is no whole number, or out of range", column + 1);
}

/* An empty field is no field, but for values: where neither of the two says something the value is empty. */
static enum reader_event take_field(struct reader *r, size_t column, struct item *item)
{
	const uint8_t *text = r->fields.data + r->fields.head + r->begins[column];
	size_t len = r->begins[column + 1] - r->begins[column];
	enum reader_field field = r->columns[column];
	struct buf *buf = field == FIELD_KEY64 ? &r->key : &r->value;
	bool coded = field == FIELD_KEY64 || field == FIELD_VALUE64;
	enum reader_event event = READER_ITEM;
	int64_t n;
	if (coded && len > 0) {
		if (!reader_base64(buf, text, len))
			return reader_bad(r, "field %zu is no base64", column + 1);
		text = buf->data + buf->head;
		len = buf_len(buf);
	}
	switch (field) {
	case FIELD_KEY:
	case FIELD_KEY64:
		if (len > 0 && item->key_len > 0)
			return reader_bad(r, "the key is there twice");
		item->key = len > 0 ? text : item->key;
		item->key_len += len;
		return READER_ITEM;
	case FIELD_VALUE:
	case FIELD_VALUE64:
		if (len > 0 && item->size > 0)
			return reader_bad(r, "the value is there twice");
		item->value = len > 0 || !item->value ? text : item->value;
		item->size += len;
		return READER_ITEM;
	case FIELD_FLAGS:
		event = take_number(r, column, (const char *)text, len, 0, UINT32_MAX, &n);
		item->flags = (uint32_t)n;
		return event;
	case FIELD_EXPIRY:
		event = take_number(r, column, (const char *)text, len, INT64_MIN, INT64_MAX, &n);
		item->expiry = len > 0 ? n : item->expiry;
		return event;
	case FIELD_TTL:
		event = take_number(r, column, (const char *)text, len, 0, INT32_MAX, &n);
		item->expiry = n > 0 ? clock_wall_ms() / 1000 + n : item->expiry;
		return event;
	case FIELD_BINARY:
		event = take_number(r, column, (const char *)text, len, 0, 1, &n);
		item->binary_key = n == 1;
		return event;
	case N_FIELDS:
		break;
	}
	return event;
}

enum reader_event reader_csv(struct reader *r, struct item *ret_item)
{
	enum reader_event event = r->n_columns == 0 ? take_head(r) : READER_ITEM;
	if (event == READER_ITEM)
		event = next_record(r);
	if (event != READER_ITEM)
		return event;
	if (r->n_fields != r->n_columns)
		return reader_bad(r, "%zu fields, and the first line names %zu", r->n_fields, r->n_columns);
	for (size_t i = 0; i < r->n_fields && event == READER_ITEM; i++)
		event = take_field(r, i, ret_item);
	return event;
}
