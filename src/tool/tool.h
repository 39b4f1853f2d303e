/* SPDX-License-Identifier: BSD-3-Clause */
/* tool: what the subcommands of `hearth` share: their entry points and the exit codes. Each entry point takes
 * its own argc and argv (argv[0] is the subcommand), prints data on standard output and messages on standard
 * error, and returns the exit code. One thread, but for bench. */
#ifndef TOOL_TOOL_H
#define TOOL_TOOL_H

#include <hearth/status.h>

/* From here help, manual page and tests are made; the numbers above 63 are those of sysexits(3). Ordered by
 * weight: a command that meets several ends with the highest. */
#define TOOL_EXITS(X) \
	X(TOOL_OK, 0, "done, nothing wrong") \
	X(TOOL_TORN, 1, "dump, check: the end of the log is torn; diff: there are differences") \
	X(TOOL_DAMAGE, 2, "damage; export, import: an item that could not be written or was refused") \
	X(TOOL_USAGE, 64, "wrong usage") \
	X(TOOL_DATA, 65, \
	    "damage beyond use, a foreign file, a newer format, a moment out of reach; bench: a wrong " \
	    "value; import: a line that is no item") \
	X(TOOL_NO_DAEMON, 69, "no daemon answers") \
	X(TOOL_SYSTEM, 71, "memory or another resource is short") \
	X(TOOL_CANNOT_CREATE, 73, "what is to be written cannot be made, or is not empty") \
	X(TOOL_IO, 74, "reading, writing or a connection failed") \
	X(TOOL_BUSY, 75, "the directory is in use")

#define TOOL_EXIT_ENUM(name, code, text) name = code,
enum tool_exit { TOOL_EXITS(TOOL_EXIT_ENUM) };
#undef TOOL_EXIT_ENUM
/* diff has no other use for a torn end. */
#define TOOL_DIFFERENT TOOL_TORN

int dump_main(int argc, char **argv);
int check_main(int argc, char **argv);
int restore_main(int argc, char **argv);
int backup_main(int argc, char **argv);
int drop_main(int argc, char **argv);
int pin_main(int argc, char **argv);
int unpin_main(int argc, char **argv);
int snapshot_main(int argc, char **argv);
int stats_main(int argc, char **argv);
int set_main(int argc, char **argv);
int top_main(int argc, char **argv);
int bench_main(int argc, char **argv);
int keys_main(int argc, char **argv);
int export_main(int argc, char **argv);
int import_main(int argc, char **argv);
int diff_main(int argc, char **argv);

/* The heavier of two exit codes. */
static inline int tool_worse(int a, int b)
{
	return a > b ? a : b;
}

#endif
