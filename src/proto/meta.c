/* SPDX-License-Identifier: BSD-3-Clause */
/* meta: see meta.h. All flags are looked at before a mistake is told, but for one that is unknown or there twice. */
#include "proto/meta.h"

#include "proto/base64.h"
#include "proto/parse.h"

/* What stands behind the letter. */
static struct request_slice token_of(const struct request_slice *word)
{
	return (struct request_slice){word->data + 1, word->len - 1};
}

static enum reply_id read_time(const struct request_slice *token, int64_t *ret_ttl)
{
	return parse_int(token, ret_ttl) ? REPLY_NONE : REPLY_BAD_TOKEN;
}

static enum reply_id read_number(
    const struct request_slice *token, enum reply_id otherwise, uint64_t *ret_number)
{
	return parse_uint(token, UINT64_MAX, ret_number) ? REPLY_NONE : otherwise;
}

static enum reply_id read_client_flags(const struct request_slice *token, struct request_meta *m)
{
	uint64_t flags;
	if (!parse_uint(token, UINT32_MAX, &flags))
		return REPLY_BAD_CLIENT_FLAGS;
	m->client_flags = (uint32_t)flags;
	return REPLY_NONE;
}

static enum reply_id read_opaque(const struct request_slice *word, struct request_meta *m)
{
	if (word->len > REQUEST_OPAQUE_MAX)
		return REPLY_LONG_OPAQUE;
	memcpy(m->opaque, word->data, word->len);
	m->opaque_len = (uint8_t)word->len;
	return REPLY_NONE;
}

static enum reply_id read_key(const struct request_slice *key, struct request_meta *m)
{
	m->key_len = (uint8_t)base64_decode(m->key, key->data, key->len);
	return m->key_len ? REPLY_NONE : REPLY_BAD_KEY64;
}

static enum reply_id read_flag(
    const struct request_slice *word, const struct request_slice *key, struct request_meta *m)
{
	const struct request_slice token = token_of(word);
	switch (word->data[0]) {
	case 'b':
		return read_key(key, m);
	case 'T':
		return read_time(&token, &m->ttl);
	case 'N':
		return read_time(&token, &m->vivify_ttl);
	case 'R':
		return read_time(&token, &m->recache_ttl);
	case 'C':
		return read_number(&token, REPLY_BAD_TOKEN, &m->compare);
	case 'E':
		return read_number(&token, REPLY_BAD_TOKEN, &m->cas);
	case 'J':
		return read_number(&token, REPLY_BAD_INITIAL, &m->initial);
	case 'D':
		return read_number(&token, REPLY_BAD_META_DELTA, &m->delta);
	case 'F':
		return read_client_flags(&token, m);
	case 'O':
		return read_opaque(word, m);
	case 'M':
		m->mode = token.len ? token.data[0] : ' ';
		return REPLY_NONE;
	default: /* P and L are for proxies, the others say all by being there */
		return memchr("PLksctfvhluqxI", word->data[0], 14) ? REPLY_NONE : REPLY_BAD_FLAG;
	}
}

static bool too_many(struct words w, unsigned n)
{
	struct request_slice word;
	while (n <= REQUEST_META_WORDS && words_next(&w, &word))
		n++;
	return n > REQUEST_META_WORDS;
}

enum reply_id meta_read(
    struct words w, unsigned before, const struct request_slice *key, struct request_meta *ret_meta)
{
	struct request_meta *m = ret_meta;
	struct request_slice word;
	enum reply_id last = REPLY_NONE;
	memset(m, 0, offsetof(struct request_meta, flag));
	m->delta = 1;
	if (too_many(w, before))
		return REPLY_MANY_FLAGS;
	while (words_next(&w, &word)) {
		uint8_t c = word.data[0];
		if (c < 'A' || c > 'z')
			return c >= '0' && c <= '9' ? REPLY_BAD_FLAG : REPLY_BAD_FORMAT;
		if (meta_has(m, (char)c))
			return REPLY_TWICE;
		m->has |= UINT64_C(1) << (c - 'A');
		m->flag[m->n++] = c;
		enum reply_id error = read_flag(&word, key, m);
		if (error == REPLY_BAD_FLAG)
			return error;
		if (error != REPLY_NONE)
			last = error; /* as in memcached the last mistake is told */
	}
	return last;
}
