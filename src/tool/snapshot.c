/* SPDX-License-Identifier: BSD-3-Clause */
/* snapshot: has the daemon that runs on a directory write a snapshot, waits for it and prints what it made.
 */
#include <stdio.h>
#include <string.h>
#include "base/msg.h"
#include "tool/client.h"
#include "tool/json.h"
#include "tool/options.h"
#include "tool/snapshots.h"
#include "tool/tool.h"
#include <hearth/datadir.h>

enum { ROW_JSON, ROW_PIN, ROW_LIST, N_ROWS };
static const struct options_row ROWS[] = {
    [ROW_JSON] = {"json", NULL, "one JSON object for each"},
    [ROW_PIN] = {"pin", NULL, "pin the new snapshot: it stays until it is unpinned"},
    [ROW_LIST] = {"list", NULL, "make none: list those there are, daemon or not"},
};
static const struct options_spec SPEC = {"snapshot", "DIR",
    "Has the daemon on DIR write a snapshot, waits, prints its name, items and bytes.", ROWS, N_ROWS};

static bool print_answer(const char *name, unsigned long long items, unsigned long long bytes, bool as_json)
{
	struct out out;
	if (!out_open(&out, 1))
		return false;
	if (as_json) {
		struct json j = json_begin(&out);
		json_text(&j, "file", name);
		json_u64(&j, "items", items);
		json_u64(&j, "bytes", bytes);
		json_end(&j);
	} else {
		out_escaped(&out, name, strlen(name));
		out_text(&out, ": ");
		out_u64(&out, items);
		out_text(&out, " items, ");
		out_u64(&out, bytes);
		out_text(&out, " bytes\n");
	}
	return out_close(&out);
}

static int ask(struct client *client, const char *directory, bool as_json, bool pin)
{
	const char *line = client_send(client, "snapshot") ? client_line(client) : NULL;
	if (!line)
		return TOOL_NO_DAEMON;
	char name[64];
	unsigned long long items, bytes;
	if (sscanf(line, "OK %63s %llu %llu", name, &items, &bytes) == 3) {
		enum datadir_kind kind;
		uint64_t number;
		int exit_code = TOOL_OK;
		if (pin && datadir_parse_name(name, &kind, &number))
			exit_code = pin_ask(client, directory, number, true);
		return print_answer(name, items, bytes, as_json) ? exit_code : TOOL_IO;
	}
	msg(MSG_ERROR, "%s: %s", directory, client_refusal(line));
	return TOOL_IO;
}

int snapshot_main(int argc, char **argv)
{
	struct options o;
	bool given[N_ROWS] = {false};
	int n;
	if (!options_read(&o, &SPEC, argc, argv, options_take_flag, given))
		return o.exit;
	char **args = options_arguments(&o, 1, 1, &n);
	if (!args)
		return TOOL_USAGE;
	if (given[ROW_LIST] && given[ROW_PIN])
		return options_usage(&SPEC, "--list makes no snapshot that could be pinned");
	if (given[ROW_LIST])
		return snapshots_list(args[0], given[ROW_JSON]);
	struct client *client;
	int exit_code = client_open_admin(&client, args[0]);
	if (exit_code == TOOL_OK)
		exit_code = ask(client, args[0], given[ROW_JSON], given[ROW_PIN]);
	client_close(&client);
	return exit_code;
}
