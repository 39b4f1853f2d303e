/* SPDX-License-Identifier: BSD-3-Clause */
/* config_value: an option's value as text, read into its field and shown again. All of memcached 1.6.45's letters, long names and
 * extended options are known: what tunes slabs or its LRU is accepted and told once, what Hearth cannot do is refused with
 * the reason, never ignored. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include "base/check.h"
#include "config_private.h"

#define MIB    ((int64_t)1 << 20)
#define NO_TLS "TLS is not there yet"

/* -o: keys of memcached. */
enum extended_kind { X_NOTHING, X_FAST, X_NO_FAST, X_REFUSED, X_IDLE, X_WATCH, X_BUFFERS };
static const struct {
	const char *name; /* a trailing '*' matches any rest */
	enum extended_kind kind;
	const char *why; /* refused; or what its number is */
} extended[] = {
    {"maxconns_fast", X_FAST, NULL},
    {"no_maxconns_fast", X_NO_FAST, NULL},
    {"idle_timeout", X_IDLE, "seconds"},
    {"watcher_logbuf_size", X_WATCH, "KiB"},
    {"read_buf_mem_limit", X_BUFFERS, "MiB"},
    {"resp_obj_mem_limit", X_BUFFERS, "MiB"},
    {"ext_*", X_REFUSED, "there is no external storage"},
    {"ssl_*", X_REFUSED, NO_TLS},
    {"proxy_*", X_REFUSED, "there is no proxy"},
    {"modern", X_NOTHING, NULL},
    {"no_modern", X_NOTHING, NULL},
    {"hashpower", X_NOTHING, NULL},
    {"hash_algorithm", X_NOTHING, NULL},
    {"no_hashexpand", X_NOTHING, NULL},
    {"tail_repair_time", X_NOTHING, NULL},
    {"slab_reassign", X_NOTHING, NULL},
    {"no_slab_reassign", X_NOTHING, NULL},
    {"slab_automove*", X_NOTHING, NULL},
    {"no_slab_automove", X_NOTHING, NULL},
    {"slab_chunk_max", X_NOTHING, NULL},
    {"no_chunked_items", X_NOTHING, NULL},
    {"lru_crawler*", X_NOTHING, NULL},
    {"no_lru_crawler", X_NOTHING, NULL},
    {"lru_maintainer", X_NOTHING, NULL},
    {"no_lru_maintainer", X_NOTHING, NULL},
    {"hot_lru_pct", X_NOTHING, NULL},
    {"warm_lru_pct", X_NOTHING, NULL},
    {"hot_max_factor", X_NOTHING, NULL},
    {"warm_max_factor", X_NOTHING, NULL},
    {"temporary_ttl", X_NOTHING, NULL},
    {"worker_logbuf_size", X_NOTHING, NULL},
    {"track_sizes", X_NOTHING, NULL},
    {"expirezero_does_not_evict", X_NOTHING, NULL},
    {"inline_ascii_resp", X_NOTHING, NULL},
    {"no_inline_ascii_resp", X_NOTHING, NULL},
    {"meta_response_old", X_NOTHING, NULL},
    {"relaxed_privileges", X_NOTHING, NULL},
    {"slab_sizes", X_NOTHING, NULL},
    {"drop_privileges", X_NOTHING, NULL},
    {"no_drop_privileges", X_NOTHING, NULL},
    {"sock_cookie_id", X_NOTHING, NULL},
};

const char *config_called(const struct config_row *row, char buf[CONFIG_CALLED_MAX])
{
	char letter[4] = "";
	if (row->letter)
		snprintf(letter, sizeof letter, "-%c%s", row->letter, row->name ? "/" : "");
	snprintf(buf, CONFIG_CALLED_MAX, "%s%s%s", letter, row->name ? "--" : "", row->name ? row->name : "");
	return buf;
}

__attribute__((format(printf, 2, 3))) static bool wrong(char why[CONFIG_WHY_MAX], const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vsnprintf(why, CONFIG_WHY_MAX, format, args);
	va_end(args);
	return false;
}

static void no_effect(struct config *c, const char *name)
{
	size_t len = strlen(c->without_effect);
	if (len + strlen(name) + 3 < sizeof c->without_effect)
		snprintf(
		    c->without_effect + len, sizeof c->without_effect - len, "%s%s", len ? ", " : "", name);
}

/* Base 8 or 10; with suffix: k, m, g. False when it is no number or out of the row's range. */
static bool read_number(const struct config_row *row, const char *value, int base, bool suffix,
    int64_t *ret_v, char why[CONFIG_WHY_MAX])
{
	char *end;
	errno = 0;
	long long v = strtoll(value, &end, base);
	int shift = 0;
	if (end == value || errno != 0 || isspace((unsigned char)*value))
		return wrong(why, "not a number");
	if (suffix && *end) {
		int s = tolower((unsigned char)*end++);
		shift = s == 'k' ? 10 : s == 'm' ? 20 : s == 'g' ? 30 : -1;
	}
	if (*end || shift < 0)
		return wrong(why, "%s", suffix ? "not a size (k, m or g may follow)" : "not a number");
	if (v > (INT64_MAX >> shift))
		return wrong(why, "too large");
	if (v > 0)
		v <<= shift;
	if (v < row->min || v > row->max)
		return wrong(why, "must be %lld to %lld", (long long)row->min, (long long)row->max);
	*ret_v = v;
	return true;
}

static bool read_choice(const struct config_row *row, const char *value, int *ret_v, char why[CONFIG_WHY_MAX])
{
	const char *at = row->choices;
	size_t len = strlen(value);

	for (int i = 0; at; i++) {
		const char *bar = strchr(at, '|');
		size_t n = bar ? (size_t)(bar - at) : strlen(at);
		if (n == len && memcmp(at, value, len) == 0) {
			*ret_v = i;
			return true;
		}
		at = bar ? bar + 1 : NULL;
	}
	return wrong(why, "must be one of %s", row->choices);
}

static bool read_text(
    const struct config_row *row, const char *value, bool fresh, char **at, char why[CONFIG_WHY_MAX])
{
	char *text;
	if (*value == 0)
		return wrong(why, "is empty");
	if (row->kind == LINES && strchr(value, '\n'))
		return wrong(why, "has a line end");
	if (row->kind != TEXT && *at && !fresh) {
		if (asprintf(&text, "%s%c%s", *at, row->kind == LIST ? ',' : '\n', value) < 0)
			text = NULL;
	} else {
		text = strdup(value);
	}
	if (!text)
		return wrong(why, "no memory");
	free(*at);
	*at = text;
	return true;
}

/* "fresh", "stale" or "ttl-cap=N". */
static bool read_restart(const struct config_row *row, const char *value, struct engine_restart *ret_restart,
    char why[CONFIG_WHY_MAX])
{
	static const char cap[] = "ttl-cap=";
	const struct config_row number = {.name = row->name, .min = 1, .max = INT32_MAX};
	*ret_restart = (struct engine_restart){.stale = strcmp(value, "stale") == 0};
	if (ret_restart->stale || strcmp(value, "fresh") == 0)
		return true;
	if (strncmp(value, cap, sizeof cap - 1) == 0)
		return read_number(&number, value + sizeof cap - 1, 10, false, &ret_restart->ttl_cap, why);
	return wrong(why, "must be fresh, stale or ttl-cap=SECONDS");
}

struct text {
	char *data; /* NULL once memory ran out */
	size_t len;
};

static void add(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(struct text *t, const char *format, ...)
{
	char *more, *both;
	va_list args;
	va_start(args, format);
	int n = vasprintf(&more, format, args);
	va_end(args);
	if (n < 0)
		more = NULL;
	both = more && t->data ? realloc(t->data, t->len + (size_t)n + 1) : NULL;
	if (both) {
		memcpy(both + t->len, more, (size_t)n + 1);
		t->len += (size_t)n;
	} else {
		free(t->data);
	}
	t->data = both;
	free(more);
}

/* ---- -o ---- */

/* value: what stood behind '=', or NULL. */
static bool read_extended_key(struct config *c, const char *key, const char *value, char why[CONFIG_WHY_MAX])
{
	struct config_row number = {.min = 0, .max = 1 << 20};
	char reason[CONFIG_WHY_MAX], name[80];
	unsigned *field = NULL;
	int64_t v;
	size_t i = 0;
	for (; i < sizeof extended / sizeof extended[0]; i++) {
		size_t len = strlen(extended[i].name);
		bool rest = extended[i].name[len - 1] == '*';
		if (strncmp(key, extended[i].name, rest ? len - 1 : len + 1) == 0)
			break;
	}
	if (i == sizeof extended / sizeof extended[0])
		return wrong(why, "%.60s: unknown", key);
	switch (extended[i].kind) {
	case X_FAST:
	case X_NO_FAST:
		c->server.maxconns_fast = extended[i].kind == X_FAST;
		return true;
	case X_NOTHING:
		snprintf(name, sizeof name, "-o %.60s", key);
		no_effect(c, name);
		return true;
	case X_REFUSED:
		return wrong(why, "%.60s: %s", key, extended[i].why);
	case X_IDLE:
		field = &c->server.idle_timeout;
		number.max = INT32_MAX;
		break;
	case X_WATCH:
		field = &c->server.watch_kib;
		break;
	case X_BUFFERS:
		field = &c->server.buffers_mib;
		break;
	}
	if (!value)
		return wrong(why, "%s: needs %s", key, extended[i].why);
	if (!read_number(&number, value, 10, false, &v, reason))
		return wrong(why, "%s: %.80s", key, reason);
	*field = (unsigned)v;
	return true;
}

static bool read_extended(struct config *c, const char *value, char why[CONFIG_WHY_MAX])
{
	char *copy = strdup(value), *rest = copy, *key;
	bool ok = copy != NULL || wrong(why, "no memory");
	while (ok && (key = strsep(&rest, ",")) != NULL) {
		char *equals = strchr(key, '=');
		if (equals)
			*equals = 0;
		if (*key)
			ok = read_extended_key(c, key, equals ? equals + 1 : NULL, why);
	}
	free(copy);
	return ok;
}

static void show_extended(const struct config *c, struct text *t)
{
	add(t, "%s", c->server.maxconns_fast ? "maxconns_fast" : "no_maxconns_fast");
	if (c->server.idle_timeout)
		add(t, ",idle_timeout=%u", c->server.idle_timeout);
	if (c->server.watch_kib)
		add(t, ",watcher_logbuf_size=%u", c->server.watch_kib);
	if (c->server.buffers_mib)
		add(t, ",read_buf_mem_limit=%u", c->server.buffers_mib);
}

/* ---- any option ---- */

static bool read_flag(const char *value, bool *ret_v, char why[CONFIG_WHY_MAX])
{
	static const char *const words[] = {"no", "yes", "off", "on", "false", "true", "0", "1"};
	for (unsigned i = 0; i < sizeof words / sizeof words[0]; i++) {
		if (strcasecmp(value, words[i]) == 0) {
			*ret_v = i % 2;
			return true;
		}
	}
	return wrong(why, "must be yes or no");
}

static bool read_count(
    const struct config_row *row, const char *value, bool fresh, int *at, char why[CONFIG_WHY_MAX])
{
	int64_t v = (fresh ? 0 : *at) + 1;
	if (value && !read_number(row, value, 10, false, &v, why))
		return false;
	*at = (int)v;
	return true;
}

static bool set_number(const struct config_row *row, void *at, const char *value, char why[CONFIG_WHY_MAX])
{
	bool suffix = row->kind == BYTES;
	int64_t v = 0;
	if (!read_number(row, value, row->kind == OCTAL ? 8 : 10, suffix, &v, why))
		return false;
	if (row->kind == INT)
		*(int *)at = (int)v;
	else if (row->kind == LONG)
		*(int64_t *)at = v;
	else if (row->kind == BYTES || row->kind == MEBI)
		*(uint64_t *)at = (uint64_t)v * (row->kind == MEBI ? (uint64_t)MIB : 1);
	else
		*(unsigned *)at = (unsigned)v;
	return true;
}

/* fresh: what is there comes from another source. */
static bool set_field(
    struct config *c, const struct config_row *row, const char *value, bool fresh, char why[CONFIG_WHY_MAX])
{
	void *at = (char *)c + row->at;
	char buf[CONFIG_CALLED_MAX];

	switch (row->kind) {
	case FLAG:
		*(bool *)at = true;
		return !value || read_flag(value, at, why);
	case COUNT:
		return read_count(row, value, fresh, at, why);
	case INT:
	case UINT:
	case OCTAL:
	case LONG:
	case BYTES:
	case MEBI:
		return set_number(row, at, value, why);
	case TEXT:
	case LIST:
	case LINES:
		return read_text(row, value, fresh, at, why);
	case CHAR:
		if (!value[0] || value[1])
			return wrong(why, "must be one character");
		*(char *)at = value[0];
		return true;
	case CHOICE:
		return read_choice(row, value, at, why);
	case ACCEPTED:
		no_effect(c, config_called(row, buf));
		return true;
	case REFUSED:
		return wrong(why, "%s", row->choices);
	case RESTART:
		return read_restart(row, value, at, why);
	case EXTENDED:
		return read_extended(c, value, why);
	case ONCE:
		*(int *)at = (int)row->min;
		return true;
	}
	CHECK(!"a kind of option");
	return false;
}

bool config_set(struct config *c, const struct config_row *row, enum config_source source, const char *value,
    char ret_why[CONFIG_WHY_MAX])
{
	size_t n, i = (size_t)(row - config_rows(&n));
	bool once = row->kind == ONCE || row->at == offsetof(struct config, file);

	if (source != CONFIG_ARGUMENT && once)
		return wrong(ret_why, "only on the command line");
	if (!value && row->argument)
		return wrong(ret_why, "needs an argument");
	if (value && !row->argument && row->kind != FLAG && row->kind != COUNT)
		return wrong(ret_why, "takes no argument");
	/* What a source says replaces what the ones before it said; within one it adds up. */
	if (!set_field(c, row, value, c->source[i] != source, ret_why))
		return false;
	c->source[i] = (unsigned char)source;
	return true;
}

/* The i-th of "a|b|c". */
static void show_choice(const struct config_row *row, int i, struct text *t)
{
	const char *at = row->choices;
	while (i-- > 0)
		at = strchr(at, '|') + 1;
	add(t, "%.*s", (int)strcspn(at, "|"), at);
}

static void show_restart(const struct engine_restart *restart, struct text *t)
{
	if (restart->ttl_cap)
		add(t, "ttl-cap=%" PRId64, restart->ttl_cap);
	else
		add(t, "%s", restart->stale ? "stale" : "fresh");
}

static void show(const struct config *c, const struct config_row *row, struct text *t)
{
	const void *at = (const char *)c + row->at;
	switch (row->kind) {
	case FLAG:
		add(t, "%s", *(const bool *)at ? "yes" : "no");
		return;
	case COUNT:
	case INT:
		add(t, "%d", *(const int *)at);
		return;
	case UINT:
		add(t, "%u", *(const unsigned *)at);
		return;
	case OCTAL:
		add(t, "%o", *(const unsigned *)at);
		return;
	case LONG:
		add(t, "%" PRId64, *(const int64_t *)at);
		return;
	case BYTES:
	case MEBI:
		add(t, "%" PRIu64, *(const uint64_t *)at / (row->kind == MEBI ? (uint64_t)MIB : 1));
		return;
	case TEXT:
	case LIST:
	case LINES:
		add(t, "%s", *(char *const *)at ? *(char *const *)at : "");
		return;
	case CHAR:
		add(t, "%.1s", (const char *)at);
		return;
	case CHOICE:
		show_choice(row, *(const int *)at, t);
		return;
	case RESTART:
		show_restart(at, t);
		return;
	case EXTENDED:
		show_extended(c, t);
		return;
	case ACCEPTED:
	case REFUSED:
	case ONCE:
		return;
	}
}

char *config_show(const struct config *c, const struct config_row *row)
{
	struct text t = {.data = strdup("")};
	show(c, row, &t);
	return t.data;
}
