/* SPDX-License-Identifier: BSD-3-Clause */
/* snapshot: has the daemon that runs on a directory write a snapshot, waits for it and prints what it made.
 */
#include <stdio.h>
#include <string.h>
#include "base/msg.h"
#include "tool/client.h"
#include "tool/json.h"
#include "tool/options.h"
#include "tool/tool.h"

enum { ROW_JSON };
static const struct options_row ROWS[] = {[ROW_JSON] = {"json", NULL, "one JSON object"}};
static const struct options_spec SPEC = {"snapshot", "DIR",
    "Has the daemon on DIR write a snapshot, waits, prints its name, items and bytes.", ROWS, 1};

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

static int ask(struct client *client, const char *directory, bool as_json)
{
	const char *line = client_send(client, "snapshot") ? client_line(client) : NULL;
	if (!line)
		return TOOL_NO_DAEMON;
	char name[64];
	unsigned long long items, bytes;
	if (sscanf(line, "OK %63s %llu %llu", name, &items, &bytes) == 3)
		return print_answer(name, items, bytes, as_json) ? TOOL_OK : TOOL_IO;
	msg(MSG_ERROR, "%s: %s", directory, strncmp(line, "ERROR ", 6) == 0 ? line + 6 : line);
	return TOOL_IO;
}

int snapshot_main(int argc, char **argv)
{
	struct options o;
	const char *value;
	bool as_json = false;
	int row, n;
	options_init(&o, &SPEC, argc, argv);
	while ((row = options_next(&o, &value)) >= 0)
		as_json = true;
	if (row == OPTIONS_EXIT)
		return o.exit;
	char **args = options_arguments(&o, 1, 1, &n);
	if (!args)
		return TOOL_USAGE;
	struct client *client;
	int exit_code = client_open_admin(&client, args[0]);
	if (exit_code == TOOL_OK)
		exit_code = ask(client, args[0], as_json);
	client_close(&client);
	return exit_code;
}
