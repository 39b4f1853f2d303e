/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_report: what a phase of a benchmark measured, as text for people or one JSON object. */
#ifndef TOOL_BENCH_REPORT_H
#define TOOL_BENCH_REPORT_H

#include <stdbool.h>
#include "tool/bench_conn.h"

struct bench_report {
	const char *phase; /* "fill", "warm-up", "mix", "trace" */
	struct bench_result result;
	double seconds;
	double scale; /* what a trace's sizes were multiplied by, 0 = as they are */
	double rate;  /* requests a second that were asked for, 0 = as fast as answers come */
	bool cpu_known;
	double cpu, cpu_user, cpu_system; /* seconds of the server */
};

/* The exit code that the phase's failures ask for, after a message about them. */
int bench_report_exit(const struct bench_report *report);
/* False, after a message, when standard output does not take it. */
bool bench_report_print(const struct bench_report *report, bool as_json);

#endif
