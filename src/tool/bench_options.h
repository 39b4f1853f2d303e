/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_options: the command line of bench. Used by one thread, once a process. */
#ifndef TOOL_BENCH_OPTIONS_H
#define TOOL_BENCH_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include "tool/bench_load.h"

struct bench_options {
	const char *server, *trace;
	uint64_t connections, threads, pipeline, pid;
	uint64_t requests, seconds; /* seconds 0 = no limit */
	bool requests_given, fill, miss_set, json;
	uint64_t warm_up, warm_up_seconds;
	double scale;                 /* of a trace's values; 0 = not given */
	double scale_share, scale_to; /* or: this share of its footprint is so many bytes */
	struct bench_load load;
};

/* True when there is something to run; otherwise *ret_exit is what to exit with, after help or a message. */
bool bench_options_parse(struct bench_options *o, int argc, char **argv, int *ret_exit);

#endif
