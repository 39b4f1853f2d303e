/* SPDX-License-Identifier: BSD-3-Clause */
/* pin: marks a snapshot as one to keep, or as one like the others. A running daemon is asked; without one the manifest is
 * rewritten here, under the directory's lock. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/msg.h"
#include "tool/client.h"
#include "tool/json.h"
#include "tool/offline.h"
#include "tool/options.h"
#include "tool/report.h"
#include "tool/snapshots.h"
#include "tool/tool.h"
#include <hearth/datadir.h>

enum { ROW_JSON, N_ROWS };
static const struct options_row ROWS[] = {
    [ROW_JSON] = {"json", NULL, "say what it is now, as one JSON object"}};
static const struct options_spec SPECS[] = {
    {"unpin", "DIR NUMBER", "Lets a pinned snapshot go with the others, at the next snapshot.", ROWS, N_ROWS},
    {"pin", "DIR NUMBER", "Keeps a snapshot, and the log behind it, until it is unpinned.", ROWS, N_ROWS},
};

int pin_ask(struct client *client, const char *directory, uint64_t number, bool pin)
{
	char line[64];
	snprintf(line, sizeof(line), "%s %" PRIu64, SPECS[pin].command, number);
	const char *reply = client_send(client, line) ? client_line(client) : NULL;
	if (!reply)
		return TOOL_NO_DAEMON;
	if (strcmp(reply, "OK") == 0)
		return TOOL_OK;
	msg(MSG_ERROR, "%s: %s", directory, client_refusal(reply));
	return strstr(reply, "no such snapshot") ? TOOL_USAGE : TOOL_IO;
}

static int failed(const char *where, const struct hearth_error *err)
{
	report_error(where, err);
	return report_exit(err->status);
}

static int mark(struct manifest *m, struct datadir *dir, uint64_t number, bool pin)
{
	struct hearth_error err;
	for (size_t i = 0; i < m->n_snapshots; i++) {
		if (m->snapshots[i].number != number)
			continue;
		m->snapshots[i].pinned = pin;
		enum hearth_status status = datadir_write_manifest(dir, m, &err);
		return status == HEARTH_OK ? TOOL_OK : failed(datadir_path(dir), &err);
	}
	msg(MSG_ERROR, "%s: no such snapshot", datadir_path(dir));
	return TOOL_USAGE;
}

/* Nobody runs on it. */
static int rewrite(const char *directory, uint64_t number, bool pin)
{
	struct datadir *dir;
	struct manifest m;
	int exit_code = offline_open(&dir, &m, directory);
	if (exit_code != TOOL_OK)
		return exit_code;
	exit_code = mark(&m, dir, number, pin);
	manifest_free(&m);
	datadir_close(&dir);
	return exit_code;
}

static bool print_json(uint64_t number, bool pinned)
{
	char name[DATADIR_NAME_SIZE];
	struct out out;
	if (!out_open(&out, 1))
		return false;
	datadir_name(DATADIR_SNAPSHOT, number, name);
	struct json j = json_begin(&out);
	json_text(&j, "file", name);
	json_u64(&j, "number", number);
	json_bool(&j, "pinned", pinned);
	json_end(&j);
	return out_close(&out);
}

static int run(int argc, char **argv, bool pin)
{
	struct options o;
	uint64_t number;
	char *end;
	bool given[N_ROWS] = {false};
	int n;
	if (!options_read(&o, &SPECS[pin], argc, argv, options_take_flag, given))
		return o.exit;
	char **args = options_arguments(&o, 2, 2, &n);
	if (!args)
		return TOOL_USAGE;
	number = strtoull(args[1], &end, 10);
	if (args[1][0] < '0' || args[1][0] > '9' || *end || number == 0)
		return options_usage(&SPECS[pin], "not the number of a snapshot: %s", args[1]);
	struct client *client;
	int exit_code = client_try_admin(&client, args[0]);
	if (exit_code == TOOL_OK)
		exit_code = client ? pin_ask(client, args[0], number, pin) : rewrite(args[0], number, pin);
	client_close(&client);
	if (exit_code == TOOL_OK && given[ROW_JSON] && !print_json(number, pin))
		exit_code = TOOL_IO;
	return exit_code;
}

int pin_main(int argc, char **argv)
{
	return run(argc, argv, true);
}

int unpin_main(int argc, char **argv)
{
	return run(argc, argv, false);
}
