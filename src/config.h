/* SPDX-License-Identifier: BSD-3-Clause */
/* config: what a file, the environment and the command line say, each before the ones ahead of it. One table of options gives
 * the parsers, --help, --print-config, and whatever else shows options. The main thread's.
 *
 * A file has one option a line: `long-name = value`, or as memcached's own on Debian, `-m 64`; `#` begins a comment. In the
 * environment an option is HEARTH_ and its long name, capitals for small letters and _ for -. */
#ifndef CONFIG_H
#define CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include "engine/engine.h"
#include "server/server.h"

/* sysexits(3), as far as they are used, and what a shell says of TERM; hearthd(8) explains them. Rows: name, code, when. */
#define EXIT_TABLE(X) \
	X(DONE, 0, "stopped as asked") \
	X(USAGE, 64, "an option that is unknown, wrong, or not to be had") \
	X(DATA, 65, \
	    "damage under --strict, a clock refused by --clock-check, a directory that is newer or not " \
	    "Hearth's") \
	X(NOUSER, 67, "the user of -u does not exist") \
	X(UNAVAILABLE, 69, "an address is in use or not to be had") \
	X(OSERR, 71, "the system refuses memory, threads, or descriptors") \
	X(IOERR, 74, "reading or writing files failed, or took longer than --stop-timeout") \
	X(BUSY, 75, "another daemon has the directory") \
	X(CONFIG, 78, "the configuration file or the environment holds what makes no sense") \
	X(STOPPED, 143, "with -d: told to stop while it was loading; it does not run")

enum exit_code {
#define EXIT_CODE(name, code, when) HEARTH_EXIT_##name = code,
	EXIT_TABLE(EXIT_CODE)
#undef EXIT_CODE
};

#define CONFIG_OPTIONS_MAX 128
#define CONFIG_WHY_MAX     160

enum config_source { CONFIG_PRESET, CONFIG_FILE, CONFIG_ENVIRONMENT, CONFIG_ARGUMENT, CONFIG_LIVE };
enum config_action { CONFIG_SERVE, CONFIG_HELP, CONFIG_VERSION, CONFIG_LICENSE, CONFIG_CHECK, CONFIG_PRINT };

struct config {
	struct server_options server;
	struct engine_options engine;
	char *file;     /* --config; NULL = none */
	char *data_dir; /* as named; NULL = the default */
	char *user;
	char *pid_file;
	char *log_file; /* NULL = standard error */
	bool daemon, lock_memory, core_dumps;
	int json;             /* messages are JSON: place in text|json */
	int64_t stop_timeout; /* seconds */
	int verbosity;
	enum config_action action;
	unsigned char source[CONFIG_OPTIONS_MAX]; /* enum config_source, of each option */
	char without_effect[512];                 /* names of options that are accepted only */
};

/* file: instead of the one that the options name, of which the absolute path is kept in c; NULL = that one. True: go on.
 * False: done, with *ret_code; what was wrong has been told in one line. config_free(c) in any case. */
bool config_read(struct config *c, int argc, char **argv, const char *file, int *ret_code);
void config_free(struct config *c);
/* The data directory's absolute path, for the caller to free; "none" becomes NULL with *ret_none. NULL: no
 * memory. */
char *config_data_dir(const struct config *c, int port, bool *ret_none);

/* The table, for help, pages and their test: the i-th option as "-p", "--port", "NUM", default and text;
 * false past the end. Texts are constant. */
struct config_option {
	char letter; /* 0 = none */
	const char *name, *argument, *preset, *help;
};
bool config_option(size_t i, struct config_option *ret_option);
void config_help(FILE *out);

/* ---- of a daemon that runs ---- */

/* Whether the i-th option says the same in both, as far as it can say something. */
bool config_same(const struct config *a, const struct config *b, size_t i);
/* The i-th option, as --print-config shows it, for the caller to free; NULL: no memory. */
char *config_value(const struct config *c, size_t i);
/* Another one that says the same, for config_free. False: no memory, and there is nothing to free. */
bool config_copy(struct config *ret_c, const struct config *from);
/* One option by its long name; a text that is empty is not set any more, and an extended
 * option that is not named has its default. False: ret_why says why, and c is as it was. */
bool config_change(struct config *c, const char *name, const char *value, char ret_why[CONFIG_WHY_MAX]);

#endif
