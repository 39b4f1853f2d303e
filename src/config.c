/* SPDX-License-Identifier: BSD-3-Clause */
/* config: the table of options, and the order in which their sources are read. */
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
#include "config_private.h"
#include "server/address.h"

#define LONG_ONLY    256 /* getopt's value of the first row */
#define DEFAULT_PORT 11211
#define MIB          ((int64_t)1 << 20)
#define PROTOCOL     "1.6.45"

#define AT(field) offsetof(struct config, field)
#define NO_TLS    "TLS is not there yet"

static const struct config_row rows[] = {
    {'p', "port", "NUM", INT, AT(server.port), -1, 65535, "11211", NULL,
        "TCP port; 0 = any free one, which is printed"},
    {'s', "unix-socket", "FILE", TEXT, AT(server.unix_path), 0, 0, NULL, NULL,
        "listen on this UNIX socket instead of TCP"},
    {'a', "unix-mask", "MASK", OCTAL, AT(server.unix_mask), 0, 0777, "700", NULL,
        "access mask of the UNIX socket, octal"},
    {'l', "listen", "ADDR", LIST, AT(server.listen), 0, 0, NULL, NULL,
        "addresses, comma separated, each with or without :port (default: 127.0.0.1 and ::1)"},
    {'U', "udp-port", "NUM", ACCEPTED, 0, 0, 0, NULL, "there is no UDP", NULL},
    {'A', "enable-shutdown", NULL, FLAG, AT(server.shutdown), 0, 0, NULL, NULL,
        "enable the shutdown command"},
    {'d', "daemon", NULL, FLAG, AT(daemon), 0, 0, NULL, NULL,
        "run in the background; returns when it serves"},
    {'r', "enable-coredumps", NULL, FLAG, AT(core_dumps), 0, 0, NULL, NULL, "raise the limit on core files"},
    {'u', "user", "USER", TEXT, AT(user), 0, 0, NULL, NULL, "become this user (when started as root)"},
    {'m', "memory-limit", "MB", MEBI, AT(engine.memory), 1, INT64_C(1) << 30, "64", NULL,
        "memory for items, index included, in MiB"},
    {'M', "disable-evictions", NULL, FLAG, AT(engine.no_evict), 0, 0, NULL, NULL,
        "answer an error when memory is full instead of evicting"},
    {'c', "conn-limit", "NUM", UINT, AT(server.max_conns), 1, 1 << 24, "1024", NULL, "connections at a time"},
    {'k', "lock-memory", NULL, FLAG, AT(lock_memory), 0, 0, NULL, NULL, "lock all memory"},
    {'v', "verbose", NULL, COUNT, AT(verbosity), 0, 9, NULL, NULL, "say more; may be given again"},
    {'h', "help", NULL, ONCE, AT(action), CONFIG_HELP, 0, NULL, NULL, "print this and exit"},
    {'i', "license", NULL, ONCE, AT(action), CONFIG_LICENSE, 0, NULL, NULL, "print the licence and exit"},
    {'V', "version", NULL, ONCE, AT(action), CONFIG_VERSION, 0, NULL, NULL, "print the version and exit"},
    {'P', "pidfile", "FILE", TEXT, AT(pid_file), 0, 0, NULL, NULL, "write the process id there"},
    {'t', "threads", "NUM", UINT, AT(server.workers), 1, 1024, "4", NULL, "worker threads"},
    {'R', "max-reqs-per-event", "NUM", UINT, AT(server.turn_requests), 1, INT_MAX, "20", NULL,
        "requests of one connection before others get their turn"},
    {'b', "listen-backlog", "NUM", UINT, AT(server.backlog), 1, INT_MAX, "1024", NULL,
        "connections the kernel may keep waiting"},
    {'I', "max-item-size", "SIZE", BYTES, AT(engine.item_max), 1024, 1024 * MIB, "1m", NULL,
        "largest item, 1k to 1024m, at most half of -m"},
    {'B', "protocol", "NAME", CHOICE, AT(server.protocol), 0, 0, "auto", "auto|ascii|binary",
        "what is spoken; auto: as the first byte of a connection says"},
    {'F', "disable-flush-all", NULL, FLAG, AT(server.no_flush), 0, 0, NULL, NULL, "refuse flush_all"},
    {'X', "disable-dumping", NULL, FLAG, AT(server.no_dump), 0, 0, NULL, NULL, "refuse stats cachedump"},
    {'W', "disable-watch", NULL, FLAG, AT(server.no_watch), 0, 0, NULL, NULL, "refuse watch"},
    {'o', "extended", "LIST", EXTENDED, 0, 0, 0, NULL, NULL,
        "memcached's extended options; most have no effect"},
    {'f', "slab-growth-factor", "NUM", ACCEPTED, 0, 0, 0, NULL, NULL, NULL},
    {'n', "slab-min-size", "NUM", ACCEPTED, 0, 0, 0, NULL, NULL, NULL},
    {'L', "enable-largepages", NULL, ACCEPTED, 0, 0, 0, NULL, NULL, NULL},
    {'C', "disable-cas", NULL, FLAG, AT(server.no_cas), 0, 0, NULL, NULL,
        "only shown, in stats settings: every item has its CAS"},
    {'D', NULL, "CHAR", CHAR, AT(server.detail), 0, 0, NULL, NULL,
        "what ends the prefix of a key for stats detail, which is then on (else ':')"},
    {'N', "napi-ids", "NUM", ACCEPTED, 0, 0, 0, NULL, NULL, NULL},
    {'S', "enable-sasl", NULL, REFUSED, 0, 0, 0, NULL, "authentication is not there yet", NULL},
    {'Y', "auth-file", "FILE", REFUSED, 0, 0, 0, NULL, "authentication is not there yet", NULL},
    {'Z', "enable-ssl", NULL, REFUSED, 0, 0, 0, NULL, NO_TLS, NULL},
    {'e', "memory-file", "FILE", REFUSED, 0, 0, 0, NULL, "items are kept in --data-dir instead", NULL},
    {0, "config", "FILE", TEXT, AT(file), 0, 0, NULL, NULL,
        "read options from there; the environment and the command line come after it"},
    {0, "check-config", NULL, ONCE, AT(action), CONFIG_CHECK, 0, NULL, NULL,
        "say whether all options make sense, and exit"},
    {0, "print-config", NULL, ONCE, AT(action), CONFIG_PRINT, 0, NULL, NULL,
        "print what all options come to, as a file for --config, and exit"},
    {0, "log-file", "FILE", TEXT, AT(log_file), 0, 0, NULL, NULL,
        "append messages there; SIGHUP opens it anew"},
    {0, "data-dir", "DIR", TEXT, AT(data_dir), 0, 0, NULL, NULL,
        "where items are kept; none keeps nothing (default: ./hearth-data-PORT)"},
    {0, "fsync", "WHEN", CHOICE, AT(engine.fsync), 0, 0, "everysec", "always|everysec|os",
        "when the log is synced: before each reply, each second, or as the system likes"},
    {0, "snapshot-interval", "SECONDS", LONG, AT(engine.snapshot_interval), 0, INT32_MAX, "3600", NULL,
        "between snapshots; 0 = off"},
    {0, "snapshot-log-ratio", "PERCENT", UINT, AT(engine.snapshot_ratio), 0, 1000000, "100", NULL,
        "snapshot when the log has grown by this much of what is in memory; 0 = off"},
    {0, "snapshot-rate", "MB", MEBI, AT(engine.snapshot_rate), 0, 1 << 20, "64", NULL,
        "MiB a second that a snapshot writes at most; 0 = no limit"},
    {0, "max-disk", "SIZE", BYTES, AT(engine.max_disk), 0, INT64_MAX, "0", NULL,
        "the data directory never takes more, with k, m or g; 0 = no bound"},
    {0, "keep", "NUM", UINT, AT(engine.keep), 1, 10000, "1", NULL, "snapshots that stay"},
    {0, "persist-min-ttl", "SECONDS", LONG, AT(engine.keep_ttl), 0, INT32_MAX, "0", NULL,
        "what is set with less time to live is not kept on disk; 0 = off"},
    {0, "no-persist-prefix", "PREFIX", LINES, AT(engine.no_keep_prefixes), 0, 0, NULL, NULL,
        "keys that begin so are not kept on disk; may be given again"},
    {0, "compress", NULL, FLAG, AT(engine.compress), 0, 0, NULL, NULL,
        "keep values of 64 bytes to 64 KiB compressed in memory, log and snapshots"},
    {0, "keep-days", "DAYS", UINT, AT(engine.keep_days), 0, 36500, "0", NULL,
        "younger snapshots stay, too; 0 = off"},
    {0, "max-downtime", "SECONDS", LONG, AT(engine.max_downtime), 0, INT32_MAX, "0", NULL,
        "start empty when it was down for longer; 0 = off"},
    {0, "restart-mode", "MODE", RESTART, AT(engine.restart), 0, 0, "fresh", NULL,
        "fresh, stale (meta clients are told so), or ttl-cap=SECONDS: it has no longer to live"},
    {0, "clock-check", "WHAT", CHOICE, AT(engine.clock_check), 0, 0, "warn", "warn|refuse",
        "what to do at start when the clock contradicts the data"},
    {0, "on-disk-error", "WHAT", CHOICE, AT(engine.on_disk_error), 0, 0, "refuse", "refuse|serve",
        "while the disk is full or fails: refuse changes, or keep them in memory alone"},
    {0, "scrub-interval", "SECONDS", LONG, AT(engine.scrub_interval), 0, INT32_MAX, "86400", NULL,
        "between two passes that read and verify sealed files; 0 = off"},
    {0, "eviction", "POLICY", CHOICE, AT(engine.policy), 0, 0, "s3fifo", "s3fifo|lru|lfu|ttl|random|mru",
        "which items go when memory is full"},
    {0, "cluster-file", "FILE", TEXT, AT(server.cluster_file), 0, 0, NULL, NULL,
        "what config get cluster answers: a version, a line of nodes host|ip|port"},
    {0, "log-format", "FORMAT", CHOICE, AT(json), 0, 0, "text", "text|json",
        "messages are lines of text, or a JSON object a line"},
    {0, "stop-timeout", "SECONDS", LONG, AT(stop_timeout), 1, INT32_MAX, "90", NULL,
        "how long a stop may wait for the disk before it leaves without"},
    {0, "http", "ADDR", TEXT, AT(server.http), 0, 0, NULL, NULL,
        "serve /metrics, /readyz and a page to look at there: PORT on loopback, or ADDR:PORT"},
    {0, "strict", NULL, FLAG, AT(engine.strict), 0, 0, NULL, NULL, "do not start on a damaged directory"},
    {0, "test-commands", NULL, FLAG, AT(server.test_commands), 0, 0, NULL, NULL,
        "enable debugtime, for tests"},
};
#define ROWS (sizeof rows / sizeof rows[0])

_Static_assert(ROWS <= CONFIG_OPTIONS_MAX, "a source for each");

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

const struct config_row *config_rows(size_t *ret_n)
{
	*ret_n = ROWS;
	return rows;
}

const struct config_row *config_find(const char *name)
{
	for (size_t i = 0; i < ROWS; i++) {
		bool letter = rows[i].letter && name[0] == rows[i].letter && !name[1];
		if (letter || (rows[i].name && strcmp(rows[i].name, name) == 0))
			return &rows[i];
	}
	return NULL;
}

bool config_option(size_t i, struct config_option *ret_option)
{
	if (i >= ROWS)
		return false;
	const struct config_row *r = &rows[i];
	*ret_option = (struct config_option){r->letter, r->name, r->argument, r->preset, r->help};
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
		fputc('\n', out);
	}
	fprintf(out,
	    "\nAlso from a file (--config), as \"snapshot-interval = 600\", and from the environment, as "
	    "HEARTH_SNAPSHOT_INTERVAL.\n\nExit codes:\n");
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
		bool may = rows[i].kind == FLAG || rows[i].kind == COUNT; /* --compress=no, --verbose=2 */
		if (rows[i].letter) {
			*at++ = rows[i].letter;
			if (rows[i].argument)
				*at++ = ':';
		}
		if (rows[i].name)
			longs[n++] = (struct option){rows[i].name,
			    rows[i].argument ? required_argument
			    : may            ? optional_argument
			                     : no_argument,
			    NULL, LONG_ONLY + (int)i};
	}
	*at = 0;
	longs[n] = (struct option){0};
}

static const struct config_row *row_of(int value)
{
	const char letter[2] = {(char)value, 0};
	return value >= LONG_ONLY ? &rows[value - LONG_ONLY] : config_find(letter);
}

/* ---- the sources ---- */

static bool unknown(const char *where, int value, const char *word)
{
	char letter[4] = {'-', (char)optopt, 0};
	bool is_long = optopt == 0 || optopt >= LONG_ONLY;
	msg(MSG_ERROR, "%s%s: %s", where, is_long ? word : letter,
	    value == ':'          ? "needs an argument"
	    : optopt >= LONG_ONLY ? "takes no argument"
	                          : "unknown option");
	return false;
}

bool config_read_words(struct config *c, enum config_source source, const char *where, int argc, char **argv)
{
	char letters[2 * ROWS + 2], why[CONFIG_WHY_MAX], buf[CONFIG_CALLED_MAX];
	struct option longs[ROWS + 1];
	int value;

	make_getopt(letters, longs);
	optind = 0;
	opterr = 0;
	while ((value = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
		if (value == '?' || value == ':')
			return unknown(where, value, argv[optind - 1]);
		const struct config_row *row = row_of(value);
		if (!config_set(c, row, source, optarg, why)) {
			msg(MSG_ERROR, "%s%s %s: %s", where, config_called(row, buf), optarg ? optarg : "",
			    why);
			return false;
		}
	}
	if (optind < argc) {
		msg(MSG_ERROR, "%s%s: options only", where, argv[optind]);
		return false;
	}
	return true;
}

/* HEARTH_DATA_DIR of data-dir. */
static const char *variable(const struct config_row *row, char name[CONFIG_CALLED_MAX])
{
	size_t n = (size_t)snprintf(name, CONFIG_CALLED_MAX, "HEARTH_%s", row->name);
	for (size_t i = 0; i < n && i < CONFIG_CALLED_MAX - 1; i++)
		name[i] = name[i] == '-' ? '_' : (char)toupper((unsigned char)name[i]);
	return name;
}

/* Kubernetes sets HEARTH_PORT=tcp://10.0.0.1:11211 for a service that is called hearth: not meant for us. */
static bool foreign(const char *value)
{
	return strncmp(value, "tcp://", 6) == 0 || strncmp(value, "udp://", 6) == 0;
}

static bool read_environment(struct config *c)
{
	char name[CONFIG_CALLED_MAX], why[CONFIG_WHY_MAX];
	for (size_t i = 0; i < ROWS; i++) {
		bool once = rows[i].kind == ONCE || rows[i].at == AT(file);
		const char *value = rows[i].name && !once ? getenv(variable(&rows[i], name)) : NULL;
		if (!value || foreign(value))
			continue;
		if (*value == 0) {
			msg(MSG_ERROR, "%s is set but empty", name);
			return false;
		}
		/* Nothing stands alone there: HEARTH_COMPRESS=yes. */
		if (!config_set(c, &rows[i], CONFIG_ENVIRONMENT, value, why)) {
			msg(MSG_ERROR, "%s=%s: %s", name, value, why);
			return false;
		}
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
		if (c->source[config_find("max-item-size") - rows] != CONFIG_PRESET) {
			msg(MSG_ERROR, "-I: must not be more than half of -m");
			return false;
		}
		/* The default gives way to a small -m. */
		c->engine.item_max = c->engine.memory / 2;
	}
	if (c->server.listen && !address_check_listen(c->server.listen))
		return false;
	if (c->server.http && !address_check_http(c->server.http))
		return false;
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

/* What has to be known before anything is read: where the file is, and whether only a text is asked for. Errors come later,
 * in their turn. */
static const char *look_ahead(struct config *c, int argc, char **argv)
{
	const char *file = getenv("HEARTH_CONFIG");
	char letters[2 * ROWS + 2];
	struct option longs[ROWS + 1];
	int value;

	make_getopt(letters, longs);
	optind = 0;
	opterr = 0;
	while (c->action == CONFIG_SERVE && (value = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
		const struct config_row *row = value == '?' || value == ':' ? NULL : row_of(value);
		if (!row)
			break;
		if (row->kind == ONCE && row->min <= CONFIG_LICENSE)
			c->action = (enum config_action)row->min;
		if (row->at == AT(file) && row->kind == TEXT)
			file = optarg;
	}
	return file;
}

static void reset_extended(struct config *c)
{
	c->server.maxconns_fast = true;
	c->server.idle_timeout = c->server.watch_kib = c->server.buffers_mib = 0;
}

static void set_presets(struct config *c)
{
	char why[CONFIG_WHY_MAX];
	*c = (struct config){0};
	reset_extended(c);
	for (size_t i = 0; i < ROWS; i++) {
		if (rows[i].preset)
			CHECK(config_set(c, &rows[i], CONFIG_PRESET, rows[i].preset, why));
	}
}

/* Under a service manager the messages and the process are its own: what a file of memcached's says of them is left. */
static void leave_to_manager(struct config *c)
{
	if (!getenv("NOTIFY_SOCKET"))
		return;
	if (c->source[config_find("daemon") - rows] == CONFIG_FILE)
		c->daemon = false;
	if (c->source[config_find("log-file") - rows] == CONFIG_FILE) {
		free(c->log_file);
		c->log_file = NULL;
	}
}

/* In quotes where the file's reader would take it for something else. False: no line can say it, which was told. */
static bool print_line(const struct config_row *row, const char *value)
{
	size_t len = strlen(value);
	bool quote = strchr(value, '#') || *value == '"' || isblank((unsigned char)*value) ||
	             isspace((unsigned char)value[len - 1]);
	char *line = NULL, called[CONFIG_CALLED_MAX];
	int n = row->name
	            ? asprintf(&line, quote ? "%s = \"%s\"" : "%s = %s", row->name, value)
	            : asprintf(&line, "-%c%s", row->letter, value); /* joined: # would begin a comment */
	bool ok = n >= 0 && config_line_says(line, row, value);
	if (ok)
		puts(line);
	else
		msg(MSG_ERROR, "--print-config: %s %s: %s", config_called(row, called), value,
		    n < 0 ? "no memory" : "no line of a file can say this");
	if (n >= 0)
		free(line);
	return ok;
}

static bool print_all(const struct config *c)
{
	bool ok = true;
	for (size_t i = 0; i < ROWS; i++) {
		char *value = rows[i].at == AT(file) ? NULL : config_value(c, i), *rest = value;
		const char *ends = rows[i].kind == LINES ? "\n" : "";
		for (char *line; rest && *rest && (line = strsep(&rest, ends));)
			ok &= print_line(&rows[i], line);
		free(value);
	}
	return ok;
}

/* What is asked for instead of serving. */
static int act(const struct config *c)
{
	if (c->action == CONFIG_HELP)
		config_help(stdout);
	if (c->action == CONFIG_VERSION)
		print_version();
	if (c->action == CONFIG_LICENSE)
		print_license();
	if (c->action == CONFIG_PRINT && !print_all(c))
		return HEARTH_EXIT_USAGE;
	return fflush(stdout) == 0 ? HEARTH_EXIT_DONE : HEARTH_EXIT_IOERR;
}

/* -d leaves the folder, and the file is read again by and by. */
static bool keep_path(struct config *c, const char *file)
{
	char *path = realpath(file, NULL);
	if (!path)
		path = strdup(file);
	if (!path) {
		msg(MSG_ERROR, "no memory for the configuration");
		return false;
	}
	free(c->file);
	c->file = path;
	return true;
}

bool config_read(struct config *c, int argc, char **argv, const char *file, int *ret_code)
{
	set_presets(c);
	const char *named = look_ahead(c, argc, argv);
	if (!file)
		file = named;
	if (c->action != CONFIG_SERVE) {
		*ret_code = act(c);
		return false;
	}
	*ret_code = HEARTH_EXIT_CONFIG;
	if ((file && !config_read_file(c, file)) || !read_environment(c))
		return false;
	*ret_code = HEARTH_EXIT_USAGE;
	if (!config_read_words(c, CONFIG_ARGUMENT, "", argc, argv) || !check_whole(c))
		return false;
	leave_to_manager(c);
	if (file && !keep_path(c, file))
		return false;
	if (c->action == CONFIG_SERVE)
		return true;
	*ret_code = act(c);
	return false;
}

static bool owns_text(const struct config_row *row)
{
	return row->kind == TEXT || row->kind == LIST || row->kind == LINES;
}

static char **text_of(struct config *c, const struct config_row *row)
{
	return (char **)((char *)c + row->at);
}

bool config_same(const struct config *a, const struct config *b, size_t i)
{
	char *of_a = config_show(a, &rows[i]), *of_b = config_show(b, &rows[i]);
	bool same = of_a && of_b && strcmp(of_a, of_b) == 0;
	free(of_a);
	free(of_b);
	return same;
}

char *config_value(const struct config *c, size_t i)
{
	return config_show(c, &rows[i]);
}

bool config_change(struct config *c, const char *name, const char *value, char ret_why[CONFIG_WHY_MAX])
{
	const struct config_row *row = name[0] && name[1] ? config_find(name) : NULL;
	if (!row) {
		snprintf(ret_why, CONFIG_WHY_MAX, "no option is called so");
		return false;
	}
	if (row->kind == TEXT && !*value) {
		free(*text_of(c, row));
		*text_of(c, row) = NULL;
		c->source[row - rows] = CONFIG_LIVE;
		return true;
	}
	const struct server_options before = c->server;
	if (row->kind == EXTENDED)
		reset_extended(c);
	if (config_set(c, row, CONFIG_LIVE, value, ret_why))
		return true;
	if (row->kind == EXTENDED)
		c->server = before;
	return false;
}

bool config_copy(struct config *ret_c, const struct config *from)
{
	bool ok = true;
	*ret_c = *from;
	for (size_t i = 0; i < ROWS; i++) {
		char **at = owns_text(&rows[i]) ? text_of(ret_c, &rows[i]) : NULL;
		if (!at || !*at)
			continue;
		*at = ok ? strdup(*at) : NULL;
		ok = *at != NULL;
	}
	if (!ok)
		config_free(ret_c);
	return ok;
}

void config_free(struct config *c)
{
	for (size_t i = 0; i < ROWS; i++) {
		if (!owns_text(&rows[i]))
			continue;
		free(*text_of(c, &rows[i]));
		*text_of(c, &rows[i]) = NULL;
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
