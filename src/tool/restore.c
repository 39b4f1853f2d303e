/* SPDX-License-Identifier: BSD-3-Clause */
/* restore: makes a new data directory, of a lineage of its own, from a snapshot or from another data
 * directory, whose daemon may be running: as it is, or as it was at a moment that its files reach. What is copied is
 * decoded and verified on the way; what cannot be kept is named. */
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/msg.h"
#include "tool/copy.h"
#include "tool/moment.h"
#include "tool/options.h"
#include "tool/report.h"
#include "tool/tool.h"

enum { ROW_TO, ROW_AT, ROW_SEQ, ROW_SHIFT_TTL, ROW_JSON, N_ROWS };
static const struct options_row ROWS[N_ROWS] = {
    [ROW_TO] = {"to", "NEWDIR", "the directory to make; must be empty"},
    [ROW_AT] = {"at", "TIME",
        "as it was then: RFC 3339, \"2026-11-21 14:30\" (local), @N, \"N minutes ago\""},
    [ROW_SEQ] = {"seq", "N", "as it was behind change number N"},
    [ROW_SHIFT_TTL] = {"shift-ttl", NULL, "items live on for what was left to them at that moment"},
    [ROW_JSON] = {"json", NULL, "the summary as one JSON object"},
};
static const struct options_spec SPEC = {"restore", "SNAPSHOT|DIR",
    "Makes a new data directory from a snapshot or another data directory.", ROWS, N_ROWS};

struct restore {
	struct source source;
	struct plan plan;
	struct reach_query query;
	struct reach_goal goal;
	bool asked; /* for a moment */
	bool shift_ttl, json;
	const char *to;
	struct copy copy;
};

static int make_plan(struct restore *x)
{
	const struct source_file *f = x->source.files;
	if (x->source.is_directory) {
		struct progress progress;
		source_watch(&x->source, &progress, "verifying");
		int exit_code = x->asked ? reach_find(&x->source, &x->query, &x->goal) : TOOL_OK;
		if (exit_code == TOOL_OK)
			exit_code = plan_make(&x->plan, &x->source, x->asked ? &x->goal : NULL, PLAN_BEST);
		source_unwatch(&x->source);
		return exit_code;
	}
	if (f->kind == DATADIR_LOG && (f->segment || f->status != HEARTH_FOREIGN))
		return options_usage(&SPEC, "%s is a segment of the log: name its directory", f->path);
	if (x->asked)
		return options_usage(&SPEC, "--at and --seq need a data directory, and %s is none", f->path);
	if (f->status != HEARTH_OK)
		report_error(f->path, &f->err);
	if (!f->snapshot)
		return tool_worse(report_exit(f->status), TOOL_DATA);
	x->plan.snapshot = f;
	x->plan.limit = UINT64_MAX;
	return TOOL_OK;
}

/* From the moment that is restored to now, by the clock that knows more. */
static int64_t seconds_since(int64_t moment_ms)
{
	int64_t now = clock_wall_ms();
	return now > moment_ms ? (now - moment_ms) / 1000 : 0;
}

static bool print_summary(const struct restore *x)
{
	struct out out;
	if (!out_open(&out, 1))
		return false;
	copy_print(&x->copy, &out, x->to, x->asked ? &x->goal : NULL, x->json);
	return out_close(&out);
}

static int run(struct restore *x)
{
	int exit_code = make_plan(x);
	x->copy.source = &x->source;
	x->copy.plan = &x->plan;
	if (x->shift_ttl)
		x->copy.shift = seconds_since(x->goal.time_ms);
	if (exit_code == TOOL_OK)
		exit_code = target_open(&x->copy.target, x->to, copy_high_water(&x->source, &x->plan));
	if (exit_code == TOOL_OK)
		exit_code = copy_run(&x->copy);
	if (exit_code == TOOL_OK && !print_summary(x))
		exit_code = TOOL_IO;
	target_close(&x->copy.target);
	plan_free(&x->plan);
	return exit_code;
}

static bool take_option(void *arg, int row, const char *value)
{
	struct restore *x = arg;
	switch (row) {
	case ROW_TO:
		x->to = value;
		return true;
	case ROW_AT:
	case ROW_SEQ:
		if (x->asked) {
			options_usage(&SPEC, "--at and --seq are given once, and one of them");
			return false;
		}
		x->asked = true;
		x->query.by_time = row == ROW_AT;
		if (row == ROW_SEQ)
			return options_number(&SPEC, row, value, 1, INT64_MAX, &x->query.number);
		if (moment_parse(value, clock_wall_ms(), &x->query.time_ms))
			return true;
		options_usage(&SPEC, "--at takes " MOMENT_FORMS ", not \"%s\"", value);
		return false;
	case ROW_SHIFT_TTL:
		return x->shift_ttl = true;
	default:
		return x->json = true;
	}
}

int restore_main(int argc, char **argv)
{
	struct options o;
	struct restore x = {.to = NULL};
	int n;
	if (!options_read(&o, &SPEC, argc, argv, take_option, &x))
		return o.exit;
	char **args = options_arguments(&o, 1, 1, &n);
	if (!args)
		return TOOL_USAGE;
	if (!x.to)
		return options_usage(&SPEC, "--to is missing");
	if (x.shift_ttl && !x.asked)
		return options_usage(&SPEC, "--shift-ttl needs --at or --seq");
	int exit_code = target_look(x.to);
	if (exit_code != TOOL_OK)
		return exit_code;
	enum hearth_status status = source_open(&x.source, args[0]);
	if (status != HEARTH_OK)
		return tool_worse(report_exit(status), TOOL_DATA);
	exit_code = run(&x);
	source_close(&x.source);
	return exit_code;
}
