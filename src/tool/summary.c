/* SPDX-License-Identifier: BSD-3-Clause */
/* summary: see summary.h. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/clock.h"
#include "base/msg.h"
#include "proto/uri.h"
#include "tool/json.h"
#include "tool/report.h"
#include "tool/summary.h"
#include "tool/tool.h"

#define PREFIX_PLACES (2 * SUMMARY_PREFIXES_MAX)

/* What is left of a life: below so many seconds. */
static const struct {
	int64_t below;
	const char *name;
} TTLS[SUMMARY_TTLS] = {
    {1, "expired"},
    {60, "under a minute"},
    {600, "under 10 minutes"},
    {3600, "under an hour"},
    {86400, "under a day"},
    {7 * 86400, "under a week"},
    {30 * 86400, "under 30 days"},
    {INT64_MAX, "30 days or more"},
    {0, "never expires"},
};
#define NEVER (SUMMARY_TTLS - 1)

int summary_open(struct summary *s, const struct summary_options *options)
{
	*s = (struct summary){.options = *options, .now = clock_wall_ms() / 1000};
	if (hash_key_init(&s->hash_key) < 0) {
		msg(MSG_ERROR, "no random bytes for a hash");
		return TOOL_SYSTEM;
	}
	if (options->prefixes > 0)
		s->prefixes = calloc(PREFIX_PLACES, sizeof(*s->prefixes));
	if (options->top > 0)
		s->large = calloc((size_t)options->top, sizeof(*s->large));
	if ((options->prefixes == 0 || s->prefixes) && (options->top == 0 || s->large))
		return TOOL_OK;
	summary_close(s);
	return report_no_memory();
}

void summary_close(struct summary *s)
{
	for (size_t i = 0; s->prefixes && i < PREFIX_PLACES; i++)
		free(s->prefixes[i].text);
	free(s->prefixes);
	free(s->large);
	s->prefixes = NULL;
	s->large = NULL;
}

static void count(struct tally *t, uint64_t bytes)
{
	t->items++;
	t->bytes += bytes;
}

/* ---- prefixes ---- */

/* Up to the first delimiter, with it; 0 = it has none. */
static size_t prefix_of(const struct summary *s, const struct item *item)
{
	size_t len = strlen(s->options.delimiter);
	const uint8_t *at = memmem(item->key, item->key_len, s->options.delimiter, len);
	return at ? (size_t)(at - item->key) + len : 0;
}

static bool add_prefix(struct summary *s, const struct item *item, uint64_t bytes)
{
	size_t len = prefix_of(s, item);
	if (len == 0) {
		count(&s->without_prefix, bytes);
		return true;
	}
	uint64_t hash = hash_bytes(&s->hash_key, item->key, len);
	size_t at = (size_t)hash % PREFIX_PLACES;
	struct summary_prefix *p = &s->prefixes[at];
	for (; p->text && (p->hash != hash || p->len != len || memcmp(p->text, item->key, len) != 0);
	     p = &s->prefixes[at])
		at = (at + 1) % PREFIX_PLACES;
	if (!p->text && s->n_prefixes == SUMMARY_PREFIXES_MAX) {
		count(&s->others, bytes);
		return true;
	}
	if (!p->text) {
		uint8_t *text = malloc(len);
		if (!text)
			return false;
		memcpy(text, item->key, len);
		*p = (struct summary_prefix){.text = text, .len = len, .hash = hash};
		s->n_prefixes++;
	}
	count(&p->tally, bytes);
	return true;
}

/* ---- the largest ---- */

static void swap(struct summary_large *a, struct summary_large *b)
{
	struct summary_large c = *a;
	*a = *b;
	*b = c;
}

/* The place at the top may be too large for it. */
static void sink(struct summary_large *heap, size_t n)
{
	for (size_t at = 0, least;; at = least) {
		least = at;
		for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < n; child++)
			if (heap[child].bytes < heap[least].bytes)
				least = child;
		if (least == at)
			return;
		swap(&heap[at], &heap[least]);
	}
}

static void add_large(struct summary *s, const struct item *item, uint64_t bytes)
{
	struct summary_large *heap = s->large;
	bool full = s->n_large == s->options.top;
	if (full && bytes <= heap[0].bytes)
		return;
	size_t at = full ? 0 : s->n_large++;
	heap[at] = (struct summary_large){
	    .size = item->size, .bytes = bytes, .expiry = item->expiry, .key_len = (uint8_t)item->key_len};
	memcpy(heap[at].key, item->key, item->key_len);
	if (full)
		sink(heap, s->n_large);
	for (; at > 0 && heap[at].bytes < heap[(at - 1) / 2].bytes; at = (at - 1) / 2)
		swap(&heap[at], &heap[(at - 1) / 2]);
}

/* ---- all ---- */

/* 0 by itself, then by powers of two. */
static size_t size_class(uint64_t size)
{
	size_t class = size == 0 ? 0 : 64 - (size_t)__builtin_clzll(size);
	return class < SUMMARY_SIZES ? class : SUMMARY_SIZES - 1;
}

static size_t ttl_class(const struct summary *s, int64_t expiry)
{
	size_t i = 0;
	if (expiry == 0)
		return NEVER;
	while (i < NEVER - 1 && expiry - s->now >= TTLS[i].below)
		i++;
	return i;
}

bool summary_add(struct summary *s, const struct item *item)
{
	uint64_t bytes = item->key_len + item->size;
	count(&s->all, bytes);
	count(&s->sizes[size_class(item->size)], bytes);
	count(&s->ttls[ttl_class(s, item->expiry)], bytes);
	if (s->large)
		add_large(s, item, bytes);
	return !s->prefixes || add_prefix(s, item, bytes);
}

/* ---- order ---- */

static int by_bytes(const void *a, const void *b)
{
	const struct summary_prefix *x = a, *y = b;
	if (!x->text != !y->text)
		return !x->text - !y->text;
	return (x->tally.bytes < y->tally.bytes) - (x->tally.bytes > y->tally.bytes);
}

static int by_size(const void *a, const void *b)
{
	const struct summary_large *x = a, *y = b;
	return (x->bytes < y->bytes) - (x->bytes > y->bytes);
}

/* The largest come first; what is not to be shown joins the others. Returns how many are left. */
static size_t order_prefixes(struct summary *s)
{
	qsort(s->prefixes, PREFIX_PLACES, sizeof(*s->prefixes), by_bytes);
	for (size_t i = (size_t)s->options.prefixes; i < s->n_prefixes; i++) {
		s->others.items += s->prefixes[i].tally.items;
		s->others.bytes += s->prefixes[i].tally.bytes;
	}
	return s->n_prefixes < s->options.prefixes ? s->n_prefixes : (size_t)s->options.prefixes;
}

/* ---- as JSON ---- */

static void json_tally(struct json *j, const struct tally *t)
{
	json_u64(j, "items", t->items);
	json_u64(j, "bytes", t->bytes);
}

static struct json open_row(struct json *j, bool *first)
{
	if (!*first)
		out_char(j->out, ',');
	*first = false;
	return json_begin(j->out);
}

static void json_prefixes(struct summary *s, struct json *j)
{
	size_t n = order_prefixes(s);
	bool first = true;
	json_name(j, "prefixes");
	out_char(j->out, '[');
	for (size_t i = 0; i < n; i++) {
		struct json row = open_row(j, &first);
		json_bytes(&row, "prefix", s->prefixes[i].text, s->prefixes[i].len);
		json_tally(&row, &s->prefixes[i].tally);
		out_char(j->out, '}');
	}
	out_char(j->out, ']');
	const struct tally *rest[] = {&s->without_prefix, &s->others};
	static const char *const names[] = {"without_prefix", "other_prefixes"};
	for (size_t i = 0; i < 2; i++) {
		json_name(j, names[i]);
		struct json row = json_begin(j->out);
		json_tally(&row, rest[i]);
		out_char(j->out, '}');
	}
}

static uint64_t least_of(size_t class)
{
	return class == 0 ? 0 : UINT64_C(1) << (class - 1);
}

static void json_sizes(const struct summary *s, struct json *j)
{
	bool first = true;
	json_name(j, "sizes");
	out_char(j->out, '[');
	for (size_t i = 0; i < SUMMARY_SIZES; i++) {
		if (s->sizes[i].items == 0)
			continue;
		struct json row = open_row(j, &first);
		json_u64(&row, "from", least_of(i));
		if (i + 1 < SUMMARY_SIZES)
			json_u64(&row, "to", i == 0 ? 0 : 2 * least_of(i) - 1);
		else
			json_null(&row, "to");
		json_tally(&row, &s->sizes[i]);
		out_char(j->out, '}');
	}
	out_char(j->out, ']');
}

static void json_ttls(const struct summary *s, struct json *j)
{
	bool first = true;
	json_name(j, "ttl");
	out_char(j->out, '[');
	for (size_t i = 0; i < SUMMARY_TTLS; i++) {
		if (s->ttls[i].items == 0)
			continue;
		struct json row = open_row(j, &first);
		json_text(&row, "left", TTLS[i].name);
		if (i + 2 < SUMMARY_TTLS)
			json_i64(&row, "below", TTLS[i].below);
		else
			json_null(&row, "below");
		json_tally(&row, &s->ttls[i]);
		out_char(j->out, '}');
	}
	out_char(j->out, ']');
}

static void json_large(const struct summary *s, struct json *j)
{
	bool first = true;
	json_name(j, "largest");
	out_char(j->out, '[');
	for (size_t i = 0; i < s->n_large; i++) {
		struct json row = open_row(j, &first);
		json_bytes(&row, "key", s->large[i].key, s->large[i].key_len);
		json_u64(&row, "size", s->large[i].size);
		json_u64(&row, "bytes", s->large[i].bytes);
		json_i64(&row, "exp", s->large[i].expiry);
		out_char(j->out, '}');
	}
	out_char(j->out, ']');
}

static void print_json(struct summary *s, struct out *out)
{
	struct json j = json_begin(out);
	json_tally(&j, &s->all);
	if (s->prefixes)
		json_prefixes(s, &j);
	if (s->options.sizes)
		json_sizes(s, &j);
	if (s->options.ttl)
		json_ttls(s, &j);
	if (s->large)
		json_large(s, &j);
	json_end(&j);
}

/* ---- for people ---- */

void summary_key(struct out *out, const void *key, size_t len)
{
	uint8_t *at = out_room(out, URI_ENCODED_MAX(ITEM_KEY_MAX));
	out->len += (size_t)(uri_encode(at, key, len) - at);
}

/* "items bytes share", and what follows on the line. */
static void put_tally(const struct summary *s, struct out *out, const struct tally *t)
{
	char line[100];
	double share = s->all.bytes > 0 ? 100 * (double)t->bytes / (double)s->all.bytes : 0;
	snprintf(line, sizeof(line), "%12" PRIu64 " %15" PRIu64 " %6.2f  ", t->items, t->bytes, share);
	out_text(out, line);
}

static void put_heading(struct out *out, const char *what)
{
	char line[100];
	snprintf(line, sizeof(line), "\n%12s %15s %6s  %s\n", "items", "bytes", "%", what);
	out_text(out, line);
}

static void put_prefixes(struct summary *s, struct out *out)
{
	size_t n = order_prefixes(s);
	put_heading(out, "prefix");
	for (size_t i = 0; i < n; i++) {
		put_tally(s, out, &s->prefixes[i].tally);
		out_escaped(out, s->prefixes[i].text, s->prefixes[i].len);
		out_char(out, '\n');
	}
	if (s->without_prefix.items > 0) {
		put_tally(s, out, &s->without_prefix);
		out_text(out, "(keys without one)\n");
	}
	if (s->others.items > 0) {
		put_tally(s, out, &s->others);
		out_text(out, "(others)\n");
	}
}

static void put_sizes(const struct summary *s, struct out *out)
{
	char line[64];
	put_heading(out, "bytes of the value");
	for (size_t i = 0; i < SUMMARY_SIZES; i++) {
		if (s->sizes[i].items == 0)
			continue;
		uint64_t from = least_of(i);
		put_tally(s, out, &s->sizes[i]);
		if (i < 2)
			snprintf(line, sizeof(line), "%" PRIu64 "\n", from);
		else if (i + 1 < SUMMARY_SIZES)
			snprintf(line, sizeof(line), "%" PRIu64 " to %" PRIu64 "\n", from, 2 * from - 1);
		else
			snprintf(line, sizeof(line), "%" PRIu64 " or more\n", from);
		out_text(out, line);
	}
}

static void put_ttls(const struct summary *s, struct out *out)
{
	put_heading(out, "time left");
	for (size_t i = 0; i < SUMMARY_TTLS; i++) {
		if (s->ttls[i].items == 0)
			continue;
		put_tally(s, out, &s->ttls[i]);
		out_text(out, TTLS[i].name);
		out_char(out, '\n');
	}
}

static void put_large(const struct summary *s, struct out *out)
{
	char line[64];
	snprintf(line, sizeof(line), "\n%15s  key\n", "value bytes");
	out_text(out, line);
	for (size_t i = 0; i < s->n_large; i++) {
		snprintf(line, sizeof(line), "%15" PRIu64 "  ", s->large[i].size);
		out_text(out, line);
		summary_key(out, s->large[i].key, s->large[i].key_len);
		out_char(out, '\n');
	}
}

void summary_print(struct summary *s, struct out *out, bool json)
{
	if (s->large)
		qsort(s->large, s->n_large, sizeof(*s->large), by_size);
	if (json) {
		print_json(s, out);
		return;
	}
	out_u64(out, s->all.items);
	out_text(out, " items, ");
	out_u64(out, s->all.bytes);
	out_text(out, " bytes of keys and values\n");
	if (s->prefixes)
		put_prefixes(s, out);
	if (s->options.sizes)
		put_sizes(s, out);
	if (s->options.ttl)
		put_ttls(s, out);
	if (s->large)
		put_large(s, out);
}
