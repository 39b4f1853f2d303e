/* SPDX-License-Identifier: BSD-3-Clause */
/* stats: prints the counters of the daemon that runs on a directory, or what can be set there, one `name value` a line or one
 * JSON object. */
#include <ctype.h>
#include <string.h>
#include "base/msg.h"
#include "tool/client.h"
#include "tool/json.h"
#include "tool/options.h"
#include "tool/stats.h"
#include "tool/tool.h"

enum { ROW_JSON, N_ROWS };
static const struct options_row ROWS[] = {[ROW_JSON] = {"json", NULL, "one JSON object"}};
static const struct options_spec SPEC = {
    "stats", "DIR", "Prints the counters of the daemon on DIR, one name and value a line.", ROWS, N_ROWS};

/* What JSON takes for a number: no leading zeros or plus, digits on both sides of a point. */
static bool is_number(const char *s)
{
	s += *s == '-';
	if (!isdigit((unsigned char)*s) || (*s == '0' && isdigit((unsigned char)s[1])))
		return false;
	while (isdigit((unsigned char)*s))
		s++;
	if (*s == '.') {
		if (!isdigit((unsigned char)*++s))
			return false;
		while (isdigit((unsigned char)*s))
			s++;
	}
	return *s == '\0';
}

static void print_row(struct out *out, struct json *j, char *name)
{
	char *value = strchr(name, ' ');
	if (value)
		*value++ = '\0';
	else
		value = name + strlen(name);
	if (!j) {
		out_escaped(out, name, strlen(name));
		out_char(out, ' ');
		out_escaped(out, value, strlen(value));
		out_char(out, '\n');
		return;
	}
	/* Names come from the daemon: letters, digits, '_', ':' and '.'; anything else would break the
	 * object. */
	for (char *c = name; *c; c++)
		*c = isalnum((unsigned char)*c) || strchr("_:.-", *c) ? *c : '_';
	if (is_number(value))
		json_raw(j, name, value);
	else
		json_text(j, name, value);
}

int stats_ask(struct client *client, const char *directory, const char *command, bool as_json)
{
	struct out out;
	if (!client_send(client, command))
		return TOOL_NO_DAEMON;
	if (!out_open(&out, 1)) {
		msg(MSG_ERROR, "memory is short");
		return TOOL_SYSTEM;
	}
	struct json j;
	if (as_json)
		j = json_begin(&out);
	char *line;
	while ((line = client_line(client)) != NULL && strncmp(line, "STAT ", 5) == 0)
		print_row(&out, as_json ? &j : NULL, line + 5);
	if (as_json)
		json_end(&j);
	if (!out_close(&out))
		return TOOL_IO;
	if (!line)
		return TOOL_NO_DAEMON;
	if (strcmp(line, "END") == 0)
		return TOOL_OK;
	msg(MSG_ERROR, "%s: %s", directory, client_refusal(line));
	return TOOL_IO;
}

int stats_main(int argc, char **argv)
{
	struct options o;
	bool given[N_ROWS] = {false};
	int n;
	if (!options_read(&o, &SPEC, argc, argv, options_take_flag, given))
		return o.exit;
	char **args = options_arguments(&o, 1, 1, &n);
	if (!args)
		return TOOL_USAGE;
	struct client *client;
	int exit_code = client_open_admin(&client, args[0]);
	if (exit_code == TOOL_OK)
		exit_code = stats_ask(client, args[0], "stats", given[ROW_JSON]);
	client_close(&client);
	return exit_code;
}
