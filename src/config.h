/* SPDX-License-Identifier: BSD-3-Clause */
/* config: what the command line and the environment say. One table of options gives the parser, --help, and
 * whatever else shows options. Constant after config_read; the main thread's. */
#ifndef CONFIG_H
#define CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include "engine/engine.h"
#include "server/server.h"

/* sysexits(3), as far as they are used; hearthd(8) explains them. Rows: name, code, when. */
#define EXIT_TABLE(X) \
	X(DONE, 0, "stopped as asked") \
	X(USAGE, 64, "an option that is unknown, wrong, or not to be had") \
	X(DATA, 65, \
	    "damage under --strict, a clock refused by --clock-check, a directory that is newer or not " \
	    "Hearth's") \
	X(NOUSER, 67, "the user of -u does not exist") \
	X(UNAVAILABLE, 69, "an address is in use or not to be had") \
	X(OSERR, 71, "the system refuses memory, threads, or descriptors") \
	X(IOERR, 74, "reading or writing files failed") \
	X(BUSY, 75, "another daemon has the directory") \
	X(CONFIG, 78, "the environment holds a value that makes no sense")

enum exit_code {
#define EXIT_CODE(name, code, when) HEARTH_EXIT_##name = code,
	EXIT_TABLE(EXIT_CODE)
#undef EXIT_CODE
};

struct config {
	struct server_options server;
	struct engine_options engine;
	char *data_dir; /* as named; NULL = the default */
	char *user;
	char *pid_file;
	bool daemon, lock_memory, core_dumps;
	bool item_max_named;
	int verbosity;
	char without_effect[512]; /* names of options that are accepted only */
};

/* True: go on. False: done, with *ret_code; what was wrong has been told in one line. */
bool config_read(struct config *c, int argc, char **argv, int *ret_code);
void config_free(struct config *c);
/* The data directory's absolute path, for the caller to free; "none" becomes NULL with *ret_none. NULL: no
 * memory. */
char *config_data_dir(const struct config *c, int port, bool *ret_none);

/* The table, for help, pages and their test: the i-th option as "-p", "--port", "NUM", default and text;
 * false past the end. Texts are constant. */
struct config_option {
	char letter; /* 0 = none */
	const char *name, *argument, *preset, *help, *environment;
};
bool config_option(size_t i, struct config_option *ret_option);
void config_help(FILE *out);

#endif
