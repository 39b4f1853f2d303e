/* SPDX-License-Identifier: BSD-3-Clause */
/* drop: has the daemon that runs on a directory, or an engine of its own where none does, delete all items whose keys begin with
 * a prefix, shows how far it is, and prints how many there were. */
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/msg.h"
#include "tool/client.h"
#include "tool/drop_offline.h"
#include "tool/json.h"
#include "tool/options.h"
#include "tool/tool.h"
#include <hearth/datadir.h>
#include <hearth/record.h>

enum { ROW_PREFIX, ROW_PURGE, ROW_DRY, ROW_JSON, N_ROWS };
static const struct options_row ROWS[] = {
    [ROW_PREFIX] = {"prefix", "PREFIX", "what the keys begin with (\\xNN is a byte)"},
    [ROW_PURGE] = {"purge", NULL, "then take a snapshot and remove older ones, with their log"},
    [ROW_DRY] = {"dry-run", NULL, "delete nothing: count them"},
    [ROW_JSON] = {"json", NULL, "one JSON object"},
};
static const struct options_spec SPEC = {"drop", "DIR",
    "Deletes all items of DIR whose keys begin with a prefix, whether a daemon runs on it or not.", ROWS,
    N_ROWS};

struct drop {
	const char *directory;
	uint8_t *prefix;
	size_t len;
	bool given[N_ROWS];
	bool terminal;
	int64_t began_us;
};

static void show_deleting(unsigned permille, uint64_t items, double seconds)
{
	fprintf(stderr, "looked at %u.%u %% of the keys, %" PRIu64 " items, %.0f a second", permille / 10,
	    permille % 10, items, seconds > 0 ? (double)items / seconds : 0);
	if (permille > 0)
		fprintf(stderr, ", %.0f s left", seconds * (1000 - permille) / permille);
}

static void show(void *arg, const struct engine_dropped *state)
{
	const struct drop *d = arg;
	if (!d->terminal)
		return;
	if (state->writing)
		fprintf(stderr, "%" PRIu64 " items deleted, a snapshot is being written", state->items);
	else
		show_deleting(state->permille, state->items, (double)(clock_mono_us() - d->began_us) / 1e6);
	/* The next message, or this line's next state, is written over it. */
	fputs("\033[K\r", stderr);
}

static void show_line(struct drop *d, const char *line)
{
	struct engine_dropped state = {0};
	char word[16];
	if (sscanf(line, "PROGRESS %u %" SCNu64 " %15s", &state.permille, &state.items, word) != 3 ||
	    state.permille > 1000)
		return;
	state.writing = strcmp(word, "snapshot") == 0;
	show(d, &state);
}

static void show_end(const struct drop *d)
{
	if (d->terminal)
		fputs("\033[K", stderr);
}

static bool print_answer(const struct drop *d, uint64_t items, uint64_t bytes, const char *snapshot)
{
	bool dry = d->given[ROW_DRY], purged = d->given[ROW_PURGE];
	struct out out;
	if (!out_open(&out, 1))
		return false;
	if (d->given[ROW_JSON]) {
		struct json j = json_begin(&out);
		json_bytes(&j, "prefix", d->prefix, d->len);
		json_u64(&j, "items", items);
		json_u64(&j, "bytes", bytes);
		json_bool(&j, "deleted", !dry);
		json_bool(&j, "purged", purged);
		if (*snapshot == '-')
			json_null(&j, "snapshot");
		else
			json_text(&j, "snapshot", snapshot);
		json_end(&j);
		return out_close(&out);
	}
	out_escaped(&out, d->prefix, d->len);
	out_text(&out, ": ");
	out_u64(&out, items);
	out_text(&out, items == 1 ? " item, " : " items, ");
	out_u64(&out, bytes);
	out_text(&out, dry ? " bytes would be deleted" : " bytes deleted");
	if (purged)
		out_text(&out, "; older snapshots and their log are removed");
	out_char(&out, '\n');
	return out_close(&out);
}

/* What a recovery put aside is for a person to look at, and to remove. */
static void warn_of_copies(const struct drop *d)
{
	char path[4096];
	snprintf(path, sizeof(path), "%s/" DATADIR_SET_ASIDE, d->directory);
	DIR *dir = opendir(path);
	const struct dirent *e;
	while (dir && (e = readdir(dir)) != NULL) {
		if (e->d_name[0] != '.')
			msg(MSG_WARN, "%s/%s was set aside as damaged and may hold what is purged", path,
			    e->d_name);
	}
	if (dir)
		closedir(dir);
}

static int answer(const struct drop *d, uint64_t items, uint64_t bytes, const char *snapshot)
{
	if (d->given[ROW_PURGE])
		warn_of_copies(d);
	return print_answer(d, items, bytes, snapshot) ? TOOL_OK : TOOL_IO;
}

static int refused(const struct drop *d, const char *line)
{
	msg(MSG_ERROR, "%s: %s", d->directory, client_refusal(line));
	bool busy = strstr(line, "under way") || strstr(line, "pinned") || strstr(line, "ERROR loading");
	return busy ? TOOL_BUSY : TOOL_IO;
}

static int ask(struct client *client, struct drop *d)
{
	char line[2 * RECORD_KEY_MAX + 32] = "drop ", snapshot[DATADIR_NAME_SIZE];
	size_t at = strlen(line);
	for (size_t i = 0; i < d->len; i++, at += 2)
		snprintf(line + at, sizeof(line) - at, "%02x", d->prefix[i]);
	snprintf(line + at, sizeof(line) - at, "%s",
	    d->given[ROW_DRY]     ? " dry"
	    : d->given[ROW_PURGE] ? " purge"
	                          : "");
	const char *reply = client_send(client, line) ? client_line(client) : NULL;
	while (reply && strncmp(reply, "PROGRESS ", 9) == 0) {
		show_line(d, reply);
		reply = client_line(client);
	}
	show_end(d);
	if (!reply)
		return TOOL_NO_DAEMON;
	uint64_t items, bytes;
	_Static_assert(DATADIR_NAME_SIZE >= 24, "the width below");
	if (sscanf(reply, "OK %" SCNu64 " %" SCNu64 " %23s", &items, &bytes, snapshot) != 3)
		return refused(d, reply);
	return answer(d, items, bytes, snapshot);
}

/* Nobody runs on it. */
static int drop_here(struct drop *d)
{
	const struct engine_drop_order order = {
	    .prefix = d->prefix, .len = d->len, .dry = d->given[ROW_DRY], .purge = d->given[ROW_PURGE]};
	struct engine_dropped end;
	char snapshot[DATADIR_NAME_SIZE] = "-";
	int exit_code = drop_offline(d->directory, &order, show, d, &end);
	show_end(d);
	/* What could not be read is told, and not counted. */
	if (exit_code != TOOL_OK && !(order.dry && exit_code == TOOL_DAMAGE))
		return exit_code;
	if (end.note[0]) {
		msg(MSG_ERROR, "%s: %s (%" PRIu64 " items deleted)", d->directory, end.note, end.items);
		return end.status == HEARTH_TOO_LARGE ? TOOL_BUSY : TOOL_IO;
	}
	if (end.snapshot)
		datadir_name(DATADIR_SNAPSHOT, end.snapshot, snapshot);
	return tool_worse(exit_code, answer(d, end.items, end.bytes, snapshot));
}

static bool take_option(void *arg, int row, const char *value)
{
	struct drop *d = arg;
	if (row == ROW_PREFIX) {
		d->prefix = (uint8_t *)value; /* the argument's own bytes; never longer */
		d->len = options_bytes(d->prefix, value);
	}
	return d->given[row] = true;
}

static int check_usage(const struct drop *d)
{
	if (!d->given[ROW_PREFIX])
		return options_usage(&SPEC, "--prefix is missing");
	if (d->len == 0)
		return options_usage(&SPEC, "an empty prefix is one of all keys: flush_all drops them");
	if (d->len > RECORD_KEY_MAX)
		return options_usage(
		    &SPEC, "the prefix has %zu bytes: no key has more than %d", d->len, RECORD_KEY_MAX);
	if (d->given[ROW_DRY] && d->given[ROW_PURGE])
		return options_usage(&SPEC, "--dry-run deletes nothing that could be purged");
	return TOOL_OK;
}

int drop_main(int argc, char **argv)
{
	struct options o;
	struct drop d = {0};
	int n;
	if (!options_read(&o, &SPEC, argc, argv, take_option, &d))
		return o.exit;
	int exit_code = check_usage(&d);
	if (exit_code != TOOL_OK)
		return exit_code;
	char **args = options_arguments(&o, 1, 1, &n);
	if (!args)
		return TOOL_USAGE;
	d.directory = args[0];
	d.terminal = isatty(STDERR_FILENO) == 1;
	d.began_us = clock_mono_us();
	struct client *client;
	exit_code = client_try_admin(&client, d.directory);
	if (exit_code == TOOL_OK)
		exit_code = client ? ask(client, &d) : drop_here(&d);
	client_close(&client);
	return exit_code;
}
