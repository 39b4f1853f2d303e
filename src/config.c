/* SPDX-License-Identifier: BSD-3-Clause */
/* config: the table of options and its reader. All of memcached 1.6.45's letters and long names are known:
 * what tunes slabs or its LRU is accepted and told once, what Hearth cannot do is refused with the reason,
 * never ignored. */
#include "config.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/check.h"
#include "base/msg.h"

#define LONG_ONLY    256 /* getopt's value of the first row */
#define DEFAULT_PORT 11211
#define MIB          ((int64_t)1 << 20)
#define PROTOCOL     "1.6.45"

enum kind {
	FLAG,     /* bool */
	COUNT,    /* int, one more each time */
	INT,      /* int */
	UINT,     /* unsigned */
	LONG,     /* int64_t */
	OCTAL,    /* unsigned */
	BYTES,    /* uint64_t, with k, m or g */
	MEBI,     /* uint64_t, given in MiB */
	TEXT,     /* char *, ours */
	LIST,     /* char *, ours: further ones are appended with a comma */
	LINES,    /* char *, ours: further ones are appended with a newline */
	CHAR,     /* char */
	CHOICE,   /* int: place in `choices` */
	ACCEPTED, /* no effect: told once */
	REFUSED,  /* choices says why */
	RESTART,
	EXTENDED,
	HELP,
	VERSION,
	LICENSE,
};

struct row {
	char letter;
	const char *name;
	const char *argument; /* NULL = none */
	enum kind kind;
	size_t at; /* in struct config */
	int64_t min, max;
	const char *preset;  /* shown, and set before anything is read; NULL = off or none */
	const char *choices; /* "a|b|c"; for REFUSED the reason */
	const char *help;    /* NULL = said by the kind */
	const char *environment;
};

#define AT(field) offsetof(struct config, field)
#define NO_TLS    "TLS is not there yet"

static const struct row rows[] = {
    {'p', "port", "NUM", INT, AT(server.port), -1, 65535, "11211", NULL,
        "TCP port; 0 = any free one, which is printed", NULL},
    {'s', "unix-socket", "FILE", TEXT, AT(server.unix_path), 0, 0, NULL, NULL,
        "listen on this UNIX socket instead of TCP", NULL},
    {'a', "unix-mask", "MASK", OCTAL, AT(server.unix_mask), 0, 0777, "700", NULL,
        "access mask of the UNIX socket, octal", NULL},
    {'l', "listen", "ADDR", LIST, AT(server.listen), 0, 0, NULL, NULL,
        "addresses, comma separated, each with or without :port (default: 127.0.0.1 and ::1)", NULL},
    {'U', "udp-port", "NUM", ACCEPTED, 0, 0, 0, NULL, "there is no UDP", NULL, NULL},
    {'A', "enable-shutdown", NULL, FLAG, AT(server.shutdown), 0, 0, NULL, NULL, "enable the shutdown command",
        NULL},
    {'d', "daemon", NULL, FLAG, AT(daemon), 0, 0, NULL, NULL, "run in the background; returns when it serves",
        NULL},
    {'r', "enable-coredumps", NULL, FLAG, AT(core_dumps), 0, 0, NULL, NULL, "raise the limit on core files",
        NULL},
    {'u', "user", "USER", TEXT, AT(user), 0, 0, NULL, NULL, "become this user (when started as root)", NULL},
    {'m', "memory-limit", "MB", MEBI, AT(engine.memory), 1, INT64_C(1) << 30, "64", NULL,
        "memory for items, index included, in MiB", NULL},
    {'M', "disable-evictions", NULL, FLAG, AT(engine.no_evict), 0, 0, NULL, NULL,
        "answer an error when memory is full instead of evicting", NULL},
    {'c', "conn-limit", "NUM", UINT, AT(server.max_conns), 1, 1 << 24, "1024", NULL, "connections at a time",
        NULL},
    {'k', "lock-memory", NULL, FLAG, AT(lock_memory), 0, 0, NULL, NULL, "lock all memory", NULL},
    {'v', "verbose", NULL, COUNT, AT(verbosity), 0, 0, NULL, NULL, "say more; may be given again", NULL},
    {'h', "help", NULL, HELP, 0, 0, 0, NULL, NULL, "print this and exit", NULL},
    {'i', "license", NULL, LICENSE, 0, 0, 0, NULL, NULL, "print the licence and exit", NULL},
    {'V', "version", NULL, VERSION, 0, 0, 0, NULL, NULL, "print the version and exit", NULL},
    {'P', "pidfile", "FILE", TEXT, AT(pid_file), 0, 0, NULL, NULL, "write the process id there", NULL},
    {'t', "threads", "NUM", UINT, AT(server.workers), 1, 1024, "4", NULL, "worker threads", NULL},
    {'R', "max-reqs-per-event", "NUM", UINT, AT(server.turn_requests), 1, INT_MAX, "20", NULL,
        "requests of one connection before others get their turn", NULL},
    {'b', "listen-backlog", "NUM", UINT, AT(server.backlog), 1, INT_MAX, "1024", NULL,
        "connections the kernel may keep waiting", NULL},
    {'I', "max-item-size", "SIZE", BYTES, AT(engine.item_max), 1024, 1024 * MIB, "1m", NULL,
        "largest item, 1k to 1024m, at most half of -m", NULL},
    {'B', "protocol", "NAME", CHOICE, AT(server.protocol), 0, 0, "auto", "auto|ascii|binary",
        "what is spoken; auto: as the first byte of a connection says", NULL},
    {'F', "disable-flush-all", NULL, FLAG, AT(server.no_flush), 0, 0, NULL, NULL, "refuse flush_all", NULL},
    {'X', "disable-dumping", NULL, FLAG, AT(server.no_dump), 0, 0, NULL, NULL, "refuse stats cachedump",
        NULL},
    {'W', "disable-watch", NULL, FLAG, AT(server.no_watch), 0, 0, NULL, NULL, "refuse watch", NULL},
    {'o', "extended", "LIST", EXTENDED, 0, 0, 0, NULL, NULL,
        "memcached's extended options; most have no effect", NULL},
    {'f', "slab-growth-factor", "NUM", ACCEPTED, 0, 0, 0, NULL, NULL, NULL, NULL},
    {'n', "slab-min-size", "NUM", ACCEPTED, 0, 0, 0, NULL, NULL, NULL, NULL},
    {'L', "enable-largepages", NULL, ACCEPTED, 0, 0, 0, NULL, NULL, NULL, NULL},
    {'C', "disable-cas", NULL, FLAG, AT(server.no_cas), 0, 0, NULL, NULL,
        "only shown, in stats settings: every item has its CAS", NULL},
    {'D', NULL, "CHAR", CHAR, AT(server.detail), 0, 0, NULL, NULL,
        "what ends the prefix of a key for stats detail, which is then on (else ':')", NULL},
    {'N', "napi-ids", "NUM", ACCEPTED, 0, 0, 0, NULL, NULL, NULL, NULL},
    {'S', "enable-sasl", NULL, REFUSED, 0, 0, 0, NULL, "authentication is not there yet", NULL, NULL},
    {'Y', "auth-file", "FILE", REFUSED, 0, 0, 0, NULL, "authentication is not there yet", NULL, NULL},
    {'Z', "enable-ssl", NULL, REFUSED, 0, 0, 0, NULL, NO_TLS, NULL, NULL},
    {'e', "memory-file", "FILE", REFUSED, 0, 0, 0, NULL, "items are kept in --data-dir instead", NULL, NULL},
    {0, "data-dir", "DIR", TEXT, AT(data_dir), 0, 0, NULL, NULL,
        "where items are kept; none keeps nothing (default: ./hearth-data-PORT)", "HEARTH_DATA_DIR"},
    {0, "fsync", "WHEN", CHOICE, AT(engine.fsync), 0, 0, "everysec", "always|everysec|os",
        "when the log is synced: before each reply, each second, or as the system likes", NULL},
    {0, "snapshot-interval", "SECONDS", LONG, AT(engine.snapshot_interval), 0, INT32_MAX, "3600", NULL,
        "between snapshots; 0 = off", NULL},
    {0, "snapshot-log-ratio", "PERCENT", UINT, AT(engine.snapshot_ratio), 0, 1000000, "100", NULL,
        "snapshot when the log has grown by this much of what is in memory; 0 = off", NULL},
    {0, "snapshot-rate", "MB", MEBI, AT(engine.snapshot_rate), 0, 1 << 20, "64", NULL,
        "MiB a second that a snapshot writes at most; 0 = no limit", NULL},
    {0, "max-disk", "SIZE", BYTES, AT(engine.max_disk), 0, INT64_MAX, "0", NULL,
        "the data directory never takes more, with k, m or g; 0 = no bound", NULL},
    {0, "keep", "NUM", UINT, AT(engine.keep), 1, 10000, "1", NULL, "snapshots that stay", NULL},
    {0, "persist-min-ttl", "SECONDS", LONG, AT(engine.keep_ttl), 0, INT32_MAX, "0", NULL,
        "what is set with less time to live is not kept on disk; 0 = off", NULL},
    {0, "no-persist-prefix", "PREFIX", LINES, AT(engine.no_keep_prefixes), 0, 0, NULL, NULL,
        "keys that begin so are not kept on disk; may be given again", NULL},
    {0, "compress", NULL, FLAG, AT(engine.compress), 0, 0, NULL, NULL,
        "keep values of 64 bytes to 64 KiB compressed in memory, log and snapshots", NULL},
    {0, "keep-days", "DAYS", UINT, AT(engine.keep_days), 0, 36500, "0", NULL,
        "younger snapshots stay, too; 0 = off", NULL},
    {0, "max-downtime", "SECONDS", LONG, AT(engine.max_downtime), 0, INT32_MAX, "0", NULL,
        "start empty when it was down for longer; 0 = off", NULL},
    {0, "restart-mode", "MODE", RESTART, AT(engine.restart), 0, 0, "fresh", NULL,
        "fresh, stale (meta clients are told so), or ttl-cap=SECONDS: it has no longer to live", NULL},
    {0, "clock-check", "WHAT", CHOICE, AT(engine.clock_check), 0, 0, "warn", "warn|refuse",
        "what to do at start when the clock contradicts the data", NULL},
    {0, "on-disk-error", "WHAT", CHOICE, AT(engine.on_disk_error), 0, 0, "refuse", "refuse|serve",
        "while the disk is full or fails: refuse changes, or keep them in memory alone", NULL},
    {0, "scrub-interval", "SECONDS", LONG, AT(engine.scrub_interval), 0, INT32_MAX, "86400", NULL,
        "between two passes that read and verify sealed files; 0 = off", NULL},
    {0, "eviction", "POLICY", CHOICE, AT(engine.policy), 0, 0, "s3fifo", "s3fifo|lru|lfu|ttl|random|mru",
        "which items go when memory is full", NULL},
    {0, "cluster-file", "FILE", TEXT, AT(server.cluster_file), 0, 0, NULL, NULL,
        "what config get cluster answers: a version, a line of nodes host|ip|port", NULL},
    {0, "strict", NULL, FLAG, AT(engine.strict), 0, 0, NULL, NULL, "do not start on a damaged directory",
        NULL},
    {0, "test-commands", NULL, FLAG, AT(server.test_commands), 0, 0, NULL, NULL,
        "enable debugtime, for tests", NULL},
};
#define ROWS (sizeof rows / sizeof rows[0])

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

#define CALLED_MAX 48

/* "-p/--port" or "--data-dir", for messages. */
static const char *called(const struct row *row, char buf[CALLED_MAX])
{
	char letter[4] = "";
	if (row->letter)
		snprintf(letter, sizeof letter, "-%c%s", row->letter, row->name ? "/" : "");
	snprintf(buf, CALLED_MAX, "%s%s%s", letter, row->name ? "--" : "", row->name ? row->name : "");
	return buf;
}

static bool wrong(const struct row *row, const char *value, const char *why)
{
	char buf[CALLED_MAX];
	msg(MSG_ERROR, "%s %s: %s", called(row, buf), value ? value : "", why);
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
static bool read_number(const struct row *row, const char *value, int base, bool suffix, int64_t *ret_v)
{
	char *end;
	errno = 0;
	long long v = strtoll(value, &end, base);
	int shift = 0;
	if (end == value || errno != 0 || isspace((unsigned char)*value))
		return wrong(row, value, "not a number");
	if (suffix && *end) {
		int s = tolower((unsigned char)*end++);
		shift = s == 'k' ? 10 : s == 'm' ? 20 : s == 'g' ? 30 : -1;
	}
	if (*end || shift < 0)
		return wrong(row, value, suffix ? "not a size (k, m or g may follow)" : "not a number");
	if (v > (INT64_MAX >> shift))
		return wrong(row, value, "too large");
	if (v > 0)
		v <<= shift;
	if (v < row->min || v > row->max) {
		char why[96];
		snprintf(why, sizeof why, "must be %lld to %lld", (long long)row->min, (long long)row->max);
		return wrong(row, value, why);
	}
	*ret_v = v;
	return true;
}

static bool read_choice(const struct row *row, const char *value, int *ret_v)
{
	const char *at = row->choices;
	size_t len = strlen(value);
	char why[96];

	for (int i = 0; at; i++) {
		const char *bar = strchr(at, '|');
		size_t n = bar ? (size_t)(bar - at) : strlen(at);
		if (n == len && memcmp(at, value, len) == 0) {
			*ret_v = i;
			return true;
		}
		at = bar ? bar + 1 : NULL;
	}
	snprintf(why, sizeof why, "must be one of %s", row->choices);
	return wrong(row, value, why);
}

static bool read_text(const struct row *row, const char *value, char **at)
{
	char *text;
	if (*value == 0)
		return wrong(row, value, "is empty");
	if (row->kind != TEXT && *at) {
		if (asprintf(&text, "%s%c%s", *at, row->kind == LIST ? ',' : '\n', value) < 0)
			text = NULL;
	} else {
		text = strdup(value);
	}
	if (!text)
		return wrong(row, value, "no memory");
	free(*at);
	*at = text;
	return true;
}

/* "fresh", "stale" or "ttl-cap=N". */
static bool read_restart(const struct row *row, const char *value, struct engine_restart *ret_restart)
{
	static const char cap[] = "ttl-cap=";
	const struct row number = {.name = row->name, .min = 1, .max = INT32_MAX};
	*ret_restart = (struct engine_restart){.stale = strcmp(value, "stale") == 0};
	if (ret_restart->stale || strcmp(value, "fresh") == 0)
		return true;
	if (strncmp(value, cap, sizeof cap - 1) == 0)
		return read_number(&number, value + sizeof cap - 1, 10, false, &ret_restart->ttl_cap);
	return wrong(row, value, "must be fresh, stale or ttl-cap=SECONDS");
}

static bool read_extended_number(
    const char *key, const char *value, int64_t max, const char *what, unsigned *ret_v)
{
	char name[64];
	const struct row number = {.name = name, .min = 0, .max = max};
	int64_t v;
	snprintf(name, sizeof name, "extended=%.40s", key);
	if (!value) {
		msg(MSG_ERROR, "-o %s: needs %s", key, what);
		return false;
	}
	if (!read_number(&number, value, 10, false, &v))
		return false;
	*ret_v = (unsigned)v;
	return true;
}

/* value: what stood behind '=', or NULL. */
static bool read_extended_key(struct config *c, const struct row *row, const char *key, const char *value)
{
	char why[96];
	for (size_t i = 0; i < sizeof extended / sizeof extended[0]; i++) {
		const char *name = extended[i].name;
		size_t len = strlen(name);
		bool match = name[len - 1] == '*' ? strncmp(key, name, len - 1) == 0 : strcmp(key, name) == 0;
		if (!match)
			continue;
		switch (extended[i].kind) {
		case X_FAST:
		case X_NO_FAST:
			c->server.maxconns_fast = extended[i].kind == X_FAST;
			return true;
		case X_IDLE:
			return read_extended_number(
			    key, value, INT32_MAX, extended[i].why, &c->server.idle_timeout);
		case X_WATCH:
			return read_extended_number(
			    key, value, 1 << 20, extended[i].why, &c->server.watch_kib);
		case X_BUFFERS:
			return read_extended_number(
			    key, value, 1 << 20, extended[i].why, &c->server.buffers_mib);
		case X_NOTHING:
			snprintf(why, sizeof why, "-o %.60s", key);
			no_effect(c, why);
			return true;
		case X_REFUSED:
			return wrong(row, key, extended[i].why);
		}
	}
	return wrong(row, key, "unknown");
}

static bool read_extended(struct config *c, const struct row *row, const char *value)
{
	char *copy = strdup(value), *rest = copy, *key;
	bool ok = copy != NULL;
	while (ok && (key = strsep(&rest, ",")) != NULL) {
		char *equals = strchr(key, '=');
		if (equals)
			*equals = 0;
		if (*key)
			ok = read_extended_key(c, row, key, equals ? equals + 1 : NULL);
	}
	free(copy);
	return ok;
}

static void print_version(void)
{
	printf("hearthd %s (memcached protocol %s)\n", HEARTH_VERSION, PROTOCOL);
}

static void print_license(void)
{
	printf("hearthd %s\nCopyright The Hearth authors. BSD 3-clause licence; the file LICENSE in its "
	       "source has the text.\n"
	       "It uses libevent (BSD 3-clause), zstd (BSD 3-clause) and xxHash (BSD 2-clause).\n",
	    HEARTH_VERSION);
}

/* One value into its field. False: told. *ret_stop: printed what was asked for. */
static bool set(struct config *c, const struct row *row, const char *value, bool *ret_stop)
{
	void *at = (char *)c + row->at;
	char buf[CALLED_MAX];
	int64_t v = 0;

	switch (row->kind) {
	case FLAG:
		*(bool *)at = true;
		return true;
	case COUNT:
		++*(int *)at;
		return true;
	case INT:
		if (!read_number(row, value, 10, false, &v))
			return false;
		*(int *)at = (int)v;
		return true;
	case UINT:
	case OCTAL:
		if (!read_number(row, value, row->kind == OCTAL ? 8 : 10, false, &v))
			return false;
		*(unsigned *)at = (unsigned)v;
		return true;
	case LONG:
		return read_number(row, value, 10, false, (int64_t *)at);
	case BYTES:
	case MEBI:
		if (!read_number(row, value, 10, row->kind == BYTES, &v))
			return false;
		*(uint64_t *)at = (uint64_t)v * (row->kind == MEBI ? (uint64_t)MIB : 1);
		return true;
	case TEXT:
	case LIST:
	case LINES:
		return read_text(row, value, at);
	case CHAR:
		if (!value[0] || value[1])
			return wrong(row, value, "must be one character");
		*(char *)at = value[0];
		return true;
	case CHOICE:
		return read_choice(row, value, at);
	case ACCEPTED:
		no_effect(c, called(row, buf));
		return true;
	case REFUSED:
		return wrong(row, value, row->choices);
	case RESTART:
		return read_restart(row, value, at);
	case EXTENDED:
		return read_extended(c, row, value);
	case HELP:
		config_help(stdout);
		*ret_stop = true;
		return true;
	case VERSION:
		print_version();
		*ret_stop = true;
		return true;
	case LICENSE:
		print_license();
		*ret_stop = true;
		return true;
	}
	CHECK(!"a kind of option");
	return false;
}

bool config_option(size_t i, struct config_option *ret_option)
{
	if (i >= ROWS)
		return false;
	const struct row *r = &rows[i];
	*ret_option =
	    (struct config_option){r->letter, r->name, r->argument, r->preset, r->help, r->environment};
	if (r->kind == ACCEPTED)
		ret_option->help = "accepted; has no effect here";
	if (r->kind == REFUSED)
		ret_option->help = "refused";
	return true;
}

void config_help(FILE *out)
{
	struct config_option o;
	fprintf(out, "usage: hearthd [option]...\nA persistent memcached. Numbers may be given as -p 1 or "
	             "--port=1.\n\n");
	for (size_t i = 0; config_option(i, &o); i++) {
		char name[64], letter[8] = "   ";
		if (o.letter)
			snprintf(letter, sizeof letter, "-%c%c", o.letter, o.name ? ',' : ' ');
		snprintf(name, sizeof name, "%s%s%s%s", o.name ? "--" : "", o.name ? o.name : "",
		    o.argument ? (o.name ? "=" : "") : "", o.argument ? o.argument : "");
		fprintf(out, "  %s %-30s %s", letter, name, o.help);
		if (o.preset)
			fprintf(out, " (default: %s)", o.preset);
		if (o.environment)
			fprintf(out, " [%s]", o.environment);
		fputc('\n', out);
	}
	fprintf(out, "\nExit codes:\n");
#define EXIT_LINE(name, code, when) fprintf(out, "  %2d  %s\n", code, when);
	EXIT_TABLE(EXIT_LINE)
#undef EXIT_LINE
}

/* What getopt needs, from the table: letters, and long options whose value is the row's number. */
static void make_getopt(char letters[2 * ROWS + 2], struct option longs[ROWS + 1])
{
	size_t n = 0;
	char *at = letters;
	*at++ = ':'; /* a missing argument is told apart */
	for (size_t i = 0; i < ROWS; i++) {
		if (rows[i].letter) {
			*at++ = rows[i].letter;
			if (rows[i].argument)
				*at++ = ':';
		}
		if (rows[i].name)
			longs[n++] = (struct option){rows[i].name,
			    rows[i].argument ? required_argument : no_argument, NULL, LONG_ONLY + (int)i};
	}
	*at = 0;
	longs[n] = (struct option){0};
}

static const struct row *row_of(int value)
{
	if (value >= LONG_ONLY)
		return &rows[value - LONG_ONLY];
	for (size_t i = 0; i < ROWS; i++) {
		if (rows[i].letter == value)
			return &rows[i];
	}
	return NULL;
}

static bool read_environment(struct config *c)
{
	bool stop = false;
	for (size_t i = 0; i < ROWS; i++) {
		const char *value = rows[i].environment ? getenv(rows[i].environment) : NULL;
		if (!value)
			continue;
		if (*value == 0) {
			msg(MSG_ERROR, "%s is set but empty", rows[i].environment);
			return false;
		}
		if (!set(c, &rows[i], value, &stop))
			return false;
	}
	return true;
}

/* Whether a daemon can work under --max-disk; warns when all of -m may not fit. */
static bool check_disk(const struct config *c)
{
	const struct engine_options *o = &c->engine;
	if (!o->max_disk || (c->data_dir && strcmp(c->data_dir, "none") == 0))
		return true;
	uint64_t least = engine_least_disk(o), enough = engine_enough_disk(o);
	if (o->max_disk < least) {
		msg(MSG_ERROR,
		    "--max-disk: %" PRIu64 " bytes are too few: with this -m, -I and -t it must be %" PRIu64
		    " or more",
		    o->max_disk, least);
		return false;
	}
	if (o->max_disk < enough)
		msg(MSG_WARN,
		    "--max-disk %" PRIu64 " is less than the %" PRIu64 " that a full -m %" PRIu64
		    " may take: changes may be refused",
		    o->max_disk, enough, o->memory >> 20);
	return true;
}

/* What one option alone cannot tell. */
static bool check_whole(struct config *c)
{
	if (c->engine.item_max > c->engine.memory / 2) {
		if (c->item_max_named) {
			msg(MSG_ERROR, "-I: must not be more than half of -m");
			return false;
		}
		/* The default gives way to a small -m. */
		c->engine.item_max = c->engine.memory / 2;
	}
	if (c->server.port < 0)
		c->server.port = 0; /* memcached's tests ask for a free port so */
	c->engine.workers = c->server.workers;
	c->engine.memory_fixed = c->lock_memory;
	c->server.item_max = c->engine.item_max;
	c->server.no_evict = c->engine.no_evict;
	c->server.verbosity = c->verbosity;
	if (c->without_effect[0])
		msg(MSG_INFO, "without effect here: %s", c->without_effect);
	return check_disk(c);
}

static bool read_arguments(struct config *c, int argc, char **argv, bool *ret_stop)
{
	char letters[2 * ROWS + 2];
	struct option longs[ROWS + 1];
	int value;

	make_getopt(letters, longs);
	optind = 0;
	opterr = 0;
	while (!*ret_stop && (value = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
		if (value == '?' || value == ':') {
			char letter[4] = {'-', (char)optopt, 0};
			bool is_long = optopt == 0 || optopt >= LONG_ONLY;
			msg(MSG_ERROR, "%s: %s", is_long ? argv[optind - 1] : letter,
			    value == ':'          ? "needs an argument"
			    : optopt >= LONG_ONLY ? "takes no argument"
			                          : "unknown option");
			return false;
		}
		const struct row *row = row_of(value);
		if (row->at == AT(engine.item_max) && row->kind == BYTES)
			c->item_max_named = true;
		if (!set(c, row, optarg, ret_stop))
			return false;
	}
	if (!*ret_stop && optind < argc) {
		msg(MSG_ERROR, "%s: options only", argv[optind]);
		return false;
	}
	return true;
}

bool config_read(struct config *c, int argc, char **argv, int *ret_code)
{
	bool stop = false;

	*c = (struct config){.server.maxconns_fast = true};
	*ret_code = HEARTH_EXIT_USAGE;
	for (size_t i = 0; i < ROWS; i++) {
		if (rows[i].preset)
			CHECK(set(c, &rows[i], rows[i].preset, &stop));
	}
	if (!read_environment(c)) {
		*ret_code = HEARTH_EXIT_CONFIG;
		return false;
	}
	if (!read_arguments(c, argc, argv, &stop))
		return false;
	if (stop) {
		*ret_code = fflush(stdout) == 0 ? HEARTH_EXIT_DONE : HEARTH_EXIT_IOERR;
		return false;
	}
	return check_whole(c);
}

void config_free(struct config *c)
{
	for (size_t i = 0; i < ROWS; i++) {
		if (rows[i].kind == TEXT || rows[i].kind == LIST || rows[i].kind == LINES) {
			char **at = (char **)((char *)c + rows[i].at);
			free(*at);
			*at = NULL;
		}
	}
}

char *config_data_dir(const struct config *c, int port, bool *ret_none)
{
	char name[64], *path = NULL;
	const char *dir = c->data_dir;

	*ret_none = dir && strcmp(dir, "none") == 0;
	if (*ret_none)
		return NULL;
	if (!dir) {
		snprintf(name, sizeof name, "hearth-data-%d", port ? port : c->server.port);
		dir = name;
	}
	if (dir[0] == '/')
		return strdup(dir);
	char *here = getcwd(NULL, 0);
	if (here && asprintf(&path, "%s/%s", here, dir) < 0)
		path = NULL;
	free(here);
	return path;
}
