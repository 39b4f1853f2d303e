/* SPDX-License-Identifier: BSD-3-Clause */
/* export: the items of files or of a running server, on standard output, in a form that import and others read. */
#include <inttypes.h>
#include "base/clock.h"
#include "base/msg.h"
#include "tool/options.h"
#include "tool/origin.h"
#include "tool/report.h"
#include "tool/tool.h"
#include "tool/writer.h"

enum { ROW_FORMAT, ROW_JSON, ROW_SERVER, ROW_PREFIX, ROW_EXPIRED, ROW_RELATIVE, ROW_STALE, N_ROWS };
static const struct options_row ROWS[N_ROWS] = {
    [ROW_FORMAT] = {"format", "ndjson|csv|text", "what to write: text is commands to replay (ndjson)"},
    [ROW_JSON] = {"json", NULL, "the same as --format ndjson"},
    [ROW_SERVER] = {"server", "HOST:PORT|PATH", "from a running server, or its unix socket"},
    [ROW_PREFIX] = {"prefix", "PREFIX", "only items whose keys begin so"},
    [ROW_EXPIRED] = {"expired", NULL, "of files, also what has expired"},
    [ROW_RELATIVE] = {"relative", NULL, "in text, times as seconds from now where the protocol can"},
    [ROW_STALE] = {"stale", NULL, "also what was invalidated or is being made, as if it were not"},
};
static const struct options_spec SPEC = {"export", "FILE|DIR",
    "Prints the items of a data directory, a snapshot, a log segment or a running server.", ROWS, N_ROWS};

struct export
{
	struct origin origin;
	struct item_wish wish;
	struct writer writer;
	struct out out;
	bool stale;
	uint64_t invalid; /* items that are left out as stale */
};

static int take(void *arg, const struct item *item)
{
	struct export *x = arg;
	if (!x->stale && !item_is_valid(item)) {
		x->invalid++;
		return TOOL_OK;
	}
	writer_put(&x->writer, item);
	return x->out.error == 0 ? TOOL_OK : TOOL_IO;
}

static int run(struct export *x)
{
	if (!out_open(&x->out, 1))
		return report_no_memory();
	x->writer.out = &x->out;
	writer_begin(&x->writer);
	int exit_code = origin_each(&x->origin, &x->wish, take, x);
	if (!out_close(&x->out))
		return TOOL_IO;
	report_stale(x->invalid);
	if (x->writer.left_out > 0) {
		msg(MSG_WARN, "%" PRIu64 " keys cannot stand in a command, and are left out",
		    x->writer.left_out);
		exit_code = tool_worse(exit_code, TOOL_DAMAGE);
	}
	return exit_code;
}

static bool take_option(void *arg, int row, const char *value)
{
	struct export *x = arg;
	switch (row) {
	case ROW_FORMAT:
		if (format_parse(value, &x->writer.format))
			return true;
		options_usage(&SPEC, "--format takes ndjson, csv or text, not \"%s\"", value);
		return false;
	case ROW_JSON:
		x->writer.format = FORMAT_NDJSON;
		return true;
	case ROW_SERVER:
		x->origin.server = value;
		return true;
	case ROW_PREFIX:
		x->wish.prefix = value;
		x->wish.prefix_len = strlen(value);
		return true;
	case ROW_EXPIRED:
		return x->wish.expired = true;
	case ROW_STALE:
		return x->stale = true;
	default:
		x->writer.relative_to = clock_wall_ms() / 1000;
		return true;
	}
}

int export_main(int argc, char **argv)
{
	struct options o;
	struct export x = {.wish = {.values = true, .printed = true}};
	int n;
	if (!options_read(&o, &SPEC, argc, argv, take_option, &x))
		return o.exit;
	char **args = options_arguments(&o, x.origin.server ? 0 : 1, x.origin.server ? 0 : 1, &n);
	if (!args)
		return TOOL_USAGE;
	if (x.origin.server && x.wish.expired)
		return options_usage(&SPEC, "a server has nothing that has expired: --expired is for files");
	if (x.writer.relative_to != 0 && x.writer.format != FORMAT_TEXT)
		return options_usage(&SPEC, "--relative needs --format text");
	x.origin.path = args[0];
	return run(&x);
}
