/* SPDX-License-Identifier: BSD-3-Clause */
/* reach: which moments of a data directory can be restored. A moment is a number of the log; it can be reached when a
 * snapshot that ended at or before it is there, of its generation, and all of the log from that snapshot's S0 up to
 * it. Times are those of the blocks: Hearth time when a block was written, with the changes of the few milliseconds
 * before. One thread. */
#ifndef TOOL_REACH_H
#define TOOL_REACH_H

#include "tool/source.h"

/* A stretch of the log in which no number is missing. */
struct reach_run {
	uint64_t generation;
	uint64_t first; /* numbers; numbers that nobody got are not missing */
	uint64_t last;  /* first - 1: it holds none yet */
	int64_t last_ms;
	bool begins;   /* the history begins here, with nothing */
	bool damaged;  /* behind damage: without a snapshot in the run, only what is newer than the damage */
	uint64_t from; /* the lowest number at which all of the state is known; above last: there is none */
	int64_t from_ms;
};

struct reach_query {
	bool by_time; /* as of time_ms; else behind number */
	uint64_t number;
	int64_t time_ms;
};

/* What a plan is made for. */
struct reach_goal {
	uint64_t number;
	int64_t time_ms; /* asked for, or that of the number's block */
	uint64_t generation;
	const struct source_file
	    *snapshot; /* to begin with; NULL = the log's beginning, or what is behind damage */
};

/* TOOL_OK, or after messages that name what can be restored TOOL_DATA; also what reading may end with. */
int reach_find(const struct source *source, const struct reach_query *query, struct reach_goal *ret_goal);

#endif
