/* SPDX-License-Identifier: BSD-3-Clause */
/* import: warms a running server with items from a file, from standard input or from another server. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/msg.h"
#include "tool/filler.h"
#include "tool/json.h"
#include "tool/live.h"
#include "tool/options.h"
#include "tool/progress.h"
#include "tool/reader.h"
#include "tool/report.h"
#include "tool/tool.h"

/* So many bad lines are told one by one. */
#define TOLD_MAX 20u
#define RATE_MAX UINT64_C(1000000000000)

enum {
	ROW_SERVER,
	ROW_FORMAT,
	ROW_FROM,
	ROW_SKIP,
	ROW_PREFIX,
	ROW_RATE,
	ROW_BYTE_RATE,
	ROW_STALE,
	ROW_JSON,
	N_ROWS
};
static const struct options_row ROWS[N_ROWS] = {
    [ROW_SERVER] = {"server", "HOST:PORT|PATH", "the server to fill, or its unix socket"},
    [ROW_FORMAT] = {"format", "ndjson|csv|text", "what FILE is: text is storage commands (ndjson)"},
    [ROW_FROM] = {"from", "HOST:PORT|PATH", "take the items of a running server instead of a file"},
    [ROW_SKIP] = {"skip-existing", NULL, "what the server has already stays as it is"},
    [ROW_PREFIX] = {"prefix", "PREFIX", "only items whose keys begin so"},
    [ROW_RATE] = {"rate", "N", "at most so many items a second"},
    [ROW_BYTE_RATE] = {"byte-rate", "N", "at most so many bytes of keys and values a second"},
    [ROW_STALE] = {"stale", NULL,
        "of a server, also what was invalidated or is being made, as if it were not"},
    [ROW_JSON] = {"json", NULL, "the summary as one JSON object"},
};
static const struct options_spec SPEC = {"import", "[FILE|-]",
    "Puts items from what export writes, or from a running server, into a running server.", ROWS, N_ROWS};

struct import {
	const char *server, *from, *path;
	struct item_wish wish;
	struct filler_options options;
	struct client_address address, from_address;
	enum format format;
	bool format_given, json;
	struct filler *filler;
	struct reader reader;
	struct filler_place place;
	bool stale;
	uint64_t invalid, stale_ones; /* what is no item; items that are left out as stale */
	struct progress progress;
};

/* ---- from a server ---- */

static int take(void *arg, const struct item *item)
{
	struct import *x = arg;
	if (!x->stale && !item_is_valid(item)) {
		x->stale_ones++;
		return TOOL_OK;
	}
	return filler_put(x->filler, item, &x->place);
}

static int fill_from_server(struct import *x)
{
	x->place.file = x->from;
	x->wish.values = true;
	int exit_code = live_each(&x->from_address, &x->wish, take, x);
	report_stale(x->stale_ones);
	return exit_code;
}

/* ---- from a file ---- */

static void complain(struct import *x)
{
	if (++x->invalid > TOLD_MAX)
		return;
	msg(MSG_ERROR, "%s, line %" PRIu64 ": %s", x->place.file, x->reader.line, x->reader.why);
	if (x->invalid == TOLD_MAX)
		msg(MSG_WARN, "%s: no more of what is no item is named", x->place.file);
}

/* The bytes of the text that were taken since the last call. */
static void show(struct import *x, uint64_t *taken)
{
	uint64_t now = reader_taken(&x->reader);
	progress_add(&x->progress, now - *taken);
	*taken = now;
}

static int fill_from_reader(struct import *x)
{
	uint64_t taken = 0;
	for (int exit_code;;) {
		struct item item;
		switch (reader_next(&x->reader, &item)) {
		case READER_ITEM:
			x->place.line = x->reader.line;
			if (item_is_wanted(&x->wish, item.key, item.key_len) &&
			    (exit_code = filler_put(x->filler, &item, &x->place)) != TOOL_OK)
				return exit_code;
			break;
		case READER_BAD:
			complain(x);
			break;
		case READER_FAILED:
			complain(x);
			return x->reader.error ? TOOL_IO : TOOL_DATA;
		case READER_END:
			return x->invalid > 0 ? TOOL_DATA : TOOL_OK;
		}
		show(x, &taken);
	}
}

static int fill_from_file(struct import *x)
{
	struct stat st;
	bool standard = strcmp(x->path, "-") == 0;
	int fd = standard ? STDIN_FILENO : open(x->path, O_RDONLY | O_CLOEXEC);
	x->place.file = standard ? "standard input" : x->path;
	if (fd < 0 || fstat(fd, &st) < 0) {
		msg(MSG_ERROR, "%s: %s", x->place.file, strerror(errno));
		return TOOL_IO;
	}
	reader_open(&x->reader, fd, x->format);
	progress_begin(&x->progress, "importing", S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0);
	int exit_code = fill_from_reader(x);
	progress_end(&x->progress);
	reader_close(&x->reader);
	if (!standard)
		close(fd);
	return exit_code;
}

/* ---- both ---- */

static bool print_summary(const struct import *x, double seconds)
{
	const struct filler_counts *c = filler_get_counts(x->filler);
	struct out out;
	char line[200];
	if (!out_open(&out, 1))
		return false;
	if (x->json) {
		struct json j = json_begin(&out);
		json_u64(&j, "stored", c->stored);
		json_u64(&j, "bytes", c->bytes);
		json_u64(&j, "skipped", c->skipped);
		json_u64(&j, "expired", c->expired);
		json_u64(&j, "refused", c->refused);
		json_u64(&j, "invalid", x->invalid);
		json_double(&j, "seconds", seconds);
		json_end(&j);
	} else {
		snprintf(line, sizeof(line),
		    "%" PRIu64 " stored (%" PRIu64 " bytes), %" PRIu64 " skipped, %" PRIu64
		    " expired, %" PRIu64 " refused, %" PRIu64 " invalid, in %.1f s\n",
		    c->stored, c->bytes, c->skipped, c->expired, c->refused, x->invalid, seconds);
		out_text(&out, line);
	}
	return out_close(&out);
}

static int run(struct import *x)
{
	if (!client_resolve(x->server, &x->address) ||
	    (x->from && !client_resolve(x->from, &x->from_address)))
		return TOOL_USAGE;
	int64_t began = clock_mono_us();
	int exit_code = filler_open(&x->filler, &x->address, &x->options);
	if (exit_code != TOOL_OK)
		return exit_code;
	exit_code = x->from ? fill_from_server(x) : fill_from_file(x);
	/* What is on its way is stored or not, whatever ended the reading; unless this connection did. */
	exit_code = tool_worse(exit_code, filler_finish(x->filler));
	if (filler_get_counts(x->filler)->refused > 0)
		exit_code = tool_worse(exit_code, TOOL_DAMAGE);
	if (!print_summary(x, (double)(clock_mono_us() - began) / 1e6))
		exit_code = tool_worse(exit_code, TOOL_IO);
	filler_close(&x->filler);
	return exit_code;
}

static bool take_option(void *arg, int row, const char *value)
{
	struct import *x = arg;
	switch (row) {
	case ROW_SERVER:
		x->server = value;
		return true;
	case ROW_FORMAT:
		x->format_given = true;
		if (format_parse(value, &x->format))
			return true;
		options_usage(&SPEC, "--format takes ndjson, csv or text, not \"%s\"", value);
		return false;
	case ROW_FROM:
		x->from = value;
		return true;
	case ROW_SKIP:
		return x->options.keep = true;
	case ROW_PREFIX:
		x->wish.prefix = value;
		x->wish.prefix_len = strlen(value);
		return true;
	case ROW_RATE:
		return options_number(&SPEC, row, value, 1, RATE_MAX, &x->options.rate);
	case ROW_BYTE_RATE:
		return options_number(&SPEC, row, value, 1, RATE_MAX, &x->options.byte_rate);
	case ROW_STALE:
		return x->stale = true;
	default:
		return x->json = true;
	}
}

int import_main(int argc, char **argv)
{
	struct options o;
	struct import x = {.format = FORMAT_NDJSON};
	int n;
	if (!options_read(&o, &SPEC, argc, argv, take_option, &x))
		return o.exit;
	char **args = options_arguments(&o, 0, x.from ? 0 : 1, &n);
	if (!args)
		return TOOL_USAGE;
	if (!x.server)
		return options_usage(&SPEC, "--server is missing");
	if (x.from && x.format_given)
		return options_usage(&SPEC, "--format is for files, and --from names a server");
	if (x.stale && !x.from)
		return options_usage(&SPEC, "--stale needs --from: a file does not say what is");
	x.path = n == 1 ? args[0] : "-";
	return run(&x);
}
