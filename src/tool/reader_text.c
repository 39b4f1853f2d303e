/* SPDX-License-Identifier: BSD-3-Clause */
/* reader_text: commands of memcached's text protocol that store: set, add and replace, and ms, each with its value. Behind a line
 * that is none of these nobody knows where the next one begins, so that is the end. */
#include <stdio.h>
#include <hearth/record.h>
#include "tool/reader_private.h"

#define LINE_LENGTH 2048u
#define WORDS       24u

struct words {
	char text[LINE_LENGTH];
	const char *word[WORDS];
	size_t n;
};

static enum reader_event no_command(struct reader *r)
{
	return reader_failed(r, "neither set, add, replace nor ms with all that belongs to it");
}

static enum reader_event split(struct reader *r, const uint8_t *line, size_t len, struct words *w)
{
	char *rest;
	while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == '\r'))
		len--;
	w->n = 0;
	if (len >= sizeof(w->text) || memchr(line, '\0', len))
		return no_command(r);
	memcpy(w->text, line, len);
	w->text[len] = '\0';
	for (char *word = strtok_r(w->text, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
		if (w->n == WORDS)
			return no_command(r);
		w->word[w->n++] = word;
	}
	return READER_ITEM;
}

static bool number(const char *word, int64_t min, int64_t max, int64_t *ret_n)
{
	return reader_number(word, strlen(word), min, max, ret_n);
}

/* The words go with the line. */
static bool keep_key(struct reader *r, const char *key, struct item *item)
{
	buf_clear(&r->key);
	if (!buf_append(&r->key, key, strlen(key)))
		return false;
	item->key = r->key.data + r->key.head;
	item->key_len = buf_len(&r->key);
	return true;
}

/* set KEY FLAGS TIME LENGTH [noreply] */
static bool take_set(struct reader *r, const struct words *w, struct item *item)
{
	int64_t flags, time, size;
	if (w->n < 5 || w->n > 6 || (w->n == 6 && strcmp(w->word[5], "noreply") != 0) ||
	    !number(w->word[2], 0, UINT32_MAX, &flags) || !number(w->word[3], INT64_MIN, INT64_MAX, &time) ||
	    !number(w->word[4], 0, RECORD_VALUE_MAX, &size))
		return false;
	item->flags = (uint32_t)flags;
	item->expiry = reader_time(time);
	item->size = (uint64_t)size;
	return keep_key(r, w->word[1], item);
}

static bool take_flag(const char *word, struct item *item)
{
	int64_t n;
	switch (word[0]) {
	case 'b':
		return item->binary_key = true;
	case 'F':
		if (!number(word + 1, 0, UINT32_MAX, &n))
			return false;
		item->flags = (uint32_t)n;
		return true;
	case 'T':
		if (!number(word + 1, INT64_MIN, INT64_MAX, &n))
			return false;
		item->expiry = reader_time(n);
		return true;
	case 'M': /* set, add, replace */
		return word[1] != '\0' && strchr("SsEeRr", word[1]);
	default: /* they change what is answered, not what is stored */
		return strchr("Oqkcs", word[0]) != NULL;
	}
}

/* ms KEY LENGTH [flag...] */
static bool take_ms(struct reader *r, const struct words *w, struct item *item)
{
	int64_t size;
	if (w->n < 3 || !number(w->word[2], 0, RECORD_VALUE_MAX, &size))
		return false;
	item->size = (uint64_t)size;
	for (size_t i = 3; i < w->n; i++)
		if (!take_flag(w->word[i], item))
			return false;
	if (!item->binary_key)
		return keep_key(r, w->word[1], item);
	if (!reader_base64(&r->key, (const uint8_t *)w->word[1], strlen(w->word[1])))
		return false;
	item->key = r->key.data + r->key.head;
	item->key_len = buf_len(&r->key);
	return true;
}

/* The value and the end of its line. */
static enum reader_event take_value(struct reader *r, struct item *item)
{
	size_t size = (size_t)item->size;
	bool there = reader_have(r, size + 1);
	const uint8_t *text = r->in.data + r->in.head;
	size_t end = 1;
	if (there && text[size] == '\r') {
		there = reader_have(r, size + 2);
		text = r->in.data + r->in.head;
		end = 2;
	}
	if (r->why[0])
		return READER_FAILED;
	if (!there)
		return reader_failed(r, "the text ends inside the value");
	if (text[size + end - 1] != '\n')
		return reader_failed(r, "the value is longer than the %zu bytes that its line names", size);
	for (const uint8_t *at = text; (at = memchr(at, '\n', (size_t)(text + size - at))) != NULL; at++)
		r->lines++;
	r->lines++;
	item->value = text;
	r->in.head += size + end;
	return READER_ITEM;
}

enum reader_event reader_text(struct reader *r, struct item *ret_item)
{
	struct words w;
	uint8_t *line;
	size_t len;
	do {
		enum reader_event event = reader_line(r, &line, &len);
		if (event == READER_ITEM)
			event = split(r, line, len, &w);
		if (event != READER_ITEM)
			return event;
	} while (w.n == 0);
	const char *command = w.word[0];
	bool classic =
	    strcmp(command, "set") == 0 || strcmp(command, "add") == 0 || strcmp(command, "replace") == 0;
	bool taken =
	    classic ? take_set(r, &w, ret_item) : strcmp(command, "ms") == 0 && take_ms(r, &w, ret_item);
	return taken ? take_value(r, ret_item) : no_command(r);
}
