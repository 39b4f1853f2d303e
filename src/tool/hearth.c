/* SPDX-License-Identifier: BSD-3-Clause */
/* hearth: the command-line tool. What is read is a positional argument, --to names what is written, a live
 * daemon is named by its directory. This file knows the subcommands and nothing of what they do. */
#include <stdio.h>
#include <string.h>
#include "base/msg.h"
#include "tool/tool.h"

struct command {
	const char *name;
	int (*main)(int argc, char **argv);
	const char *summary;
};

static const struct command COMMANDS[] = {
    {"dump", dump_main, "print the records of a log, a snapshot or a whole data directory"},
    {"check", check_main, "verify a log, a snapshot or a whole data directory"},
    {"restore", restore_main, "make a new data directory from a snapshot or a data directory"},
    {"backup", backup_main, "copy a data directory, whose daemon may be running"},
    {"snapshot", snapshot_main, "have a running daemon write a snapshot"},
    {"drop", drop_main, "delete all items whose keys begin with a prefix"},
    {"pin", pin_main, "keep a snapshot until it is unpinned"},
    {"unpin", unpin_main, "let a pinned snapshot go with the others"},
    {"stats", stats_main, "print the counters of a running daemon"},
    {"set", set_main, "change an option of a running daemon"},
    {"keys", keys_main, "list the keys of files or of a server, or sum them up"},
    {"export", export_main, "print the items of files or of a server as NDJSON, CSV or commands"},
    {"import", import_main, "fill a server from what export writes, or from another server"},
    {"diff", diff_main, "tell what two snapshots or data directories hold differently"},
    {"top", top_main, "show live what a daemon does"},
    {"bench", bench_main, "load a server and measure it"},
};
#define N_COMMANDS (sizeof(COMMANDS) / sizeof(COMMANDS[0]))

struct exit_text {
	int code;
	const char *text;
};

#define EXIT_ROW(name, code, text) {code, text},
static const struct exit_text EXITS[] = {TOOL_EXITS(EXIT_ROW)};
#define N_EXITS (sizeof(EXITS) / sizeof(EXITS[0]))

static int print_help(void)
{
	puts("usage: hearth COMMAND [OPTION...] ARGUMENT...\n\ncommands:");
	for (size_t i = 0; i < N_COMMANDS; i++)
		printf("  %-10s %s\n", COMMANDS[i].name, COMMANDS[i].summary);
	puts("\noptions:\n  --help     print this and exit\n  --version  print the version and exit\n\nexit "
	     "codes:");
	for (size_t i = 0; i < N_EXITS; i++)
		printf("  %-10d %s\n", EXITS[i].code, EXITS[i].text);
	puts("\nhearth COMMAND --help lists the options of a command; hearth-COMMAND(1) explains them.");
	return fflush(stdout) == 0 ? TOOL_OK : TOOL_IO;
}

static int usage(const char *what, const char *word)
{
	msg(MSG_ERROR, "%s%s (see hearth --help)", what, word);
	return TOOL_USAGE;
}

int main(int argc, char **argv)
{
	msg_init("hearth", 0);
	if (argc < 2)
		return usage("a command is missing", "");
	const char *word = argv[1];
	for (size_t i = 0; i < N_COMMANDS; i++) {
		if (strcmp(word, COMMANDS[i].name) == 0)
			return COMMANDS[i].main(argc - 1, argv + 1);
	}
	if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0)
		return print_help();
	if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0) {
		puts("hearth " HEARTH_VERSION);
		return fflush(stdout) == 0 ? TOOL_OK : TOOL_IO;
	}
	return usage(word[0] == '-' ? "unknown option " : "unknown command ", word);
}
