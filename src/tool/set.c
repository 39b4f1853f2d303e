/* SPDX-License-Identifier: BSD-3-Clause */
/* set: changes an option of the daemon that runs on a directory, until it ends or reads its configuration again; or lists
 * what can be changed. */
#include <stdio.h>
#include <string.h>
#include "base/msg.h"
#include "tool/client.h"
#include "tool/json.h"
#include "tool/options.h"
#include "tool/stats.h"
#include "tool/tool.h"

enum { ROW_JSON, N_ROWS };
static const struct options_row ROWS[] = {
    [ROW_JSON] = {"json", NULL, "one JSON object: what is changed, or the list"}};
static const struct options_spec SPEC = {"set", "DIR [NAME VALUE]",
    "Changes an option of the daemon on DIR while it runs; without a name, lists what can be changed.", ROWS,
    N_ROWS};

#define LINE_LEN 256 /* as the daemon takes it */

static bool print_json(const char *name, const char *value)
{
	struct out out;
	if (!out_open(&out, 1))
		return false;
	struct json j = json_begin(&out);
	json_text(&j, "name", name);
	json_text(&j, "value", value);
	json_end(&j);
	return out_close(&out);
}

static int change(
    struct client *client, const char *directory, const char *name, const char *value, bool as_json)
{
	char line[LINE_LEN];
	int n = snprintf(line, sizeof(line), "set %s %s", name, value);
	if (n < 0 || (size_t)n >= sizeof(line) || strpbrk(line, "\r\n") || strchr(name, ' '))
		return options_usage(&SPEC, "no name and value of an option: %s %s", name, value);
	const char *reply = client_send(client, line) ? client_line(client) : NULL;
	if (!reply)
		return TOOL_NO_DAEMON;
	if (strcmp(reply, "OK") == 0)
		return !as_json || print_json(name, value) ? TOOL_OK : TOOL_IO;
	msg(MSG_ERROR, "%s: %s", directory, client_refusal(reply));
	return TOOL_USAGE;
}

int set_main(int argc, char **argv)
{
	struct options o;
	bool given[N_ROWS] = {false};
	int n;
	if (!options_read(&o, &SPEC, argc, argv, options_take_flag, given))
		return o.exit;
	char **args = options_arguments(&o, 1, 3, &n);
	if (!args)
		return TOOL_USAGE;
	if (n == 2)
		return options_usage(&SPEC, "%s: its value is missing", args[1]);
	struct client *client;
	int exit_code = client_open_admin(&client, args[0]);
	if (exit_code == TOOL_OK)
		exit_code = n == 1 ? stats_ask(client, args[0], "set", given[ROW_JSON])
		                   : change(client, args[0], args[1], args[2], given[ROW_JSON]);
	client_close(&client);
	return exit_code;
}
