/* SPDX-License-Identifier: BSD-3-Clause */
/* snapshot: has the daemon that runs on a directory write a snapshot, waits for it and prints what it made.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "base/msg.h"
#include "tool/client.h"
#include "tool/json.h"
#include "tool/options.h"
#include "tool/progress.h"
#include "tool/snapshots.h"
#include "tool/tool.h"
#include <hearth/datadir.h>

#define LOOK_MS 200

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

/* ---- how far it is ---- */

struct watch {
	struct client *client; /* beside the one that waits; NULL = nobody looks */
	struct progress progress;
};

static struct watch watch_begin(const char *directory)
{
	struct watch w = {NULL};
	progress_begin_items(&w.progress, "snapshot", 0);
	if (w.progress.terminal)
		client_try_admin(&w.client, directory);
	return w;
}

/* Of the snapshot that is being written. One that was already is not the one that was asked for: that begins when it ends. */
static void look(struct watch *w)
{
	uint64_t written = 0, all = 0;
	const char *line = client_send(w->client, "stats") ? client_line(w->client) : NULL;
	for (; line && strncmp(line, "STAT ", 5) == 0; line = client_line(w->client)) {
		sscanf(line, "STAT snapshot_written_items %" SCNu64, &written);
		sscanf(line, "STAT curr_items %" SCNu64, &all);
	}
	if (!line) {
		client_close(&w->client);
		return;
	}
	if (written < w->progress.done) {
		progress_end(&w->progress);
		progress_begin_items(&w->progress, "snapshot", all);
	}
	w->progress.all = all;
	progress_add(&w->progress, written - w->progress.done);
}

static void watch_end(struct watch *w)
{
	progress_end(&w->progress);
	client_close(&w->client);
}

static const char *wait_for_answer(struct client *client, const char *directory)
{
	if (!client_send(client, "snapshot"))
		return NULL;
	struct watch w = watch_begin(directory);
	while (w.client && !client_awaits(client, LOOK_MS))
		look(&w);
	watch_end(&w);
	return client_line(client);
}

/* ---- the answer ---- */

static int ask(struct client *client, const char *directory, bool as_json, bool pin)
{
	const char *line = wait_for_answer(client, directory);
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
