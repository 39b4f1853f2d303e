/* SPDX-License-Identifier: BSD-3-Clause */
/* plan: what of a data directory can be restored: a snapshot and a stretch of the log behind it in which
 * nothing is missing. What is older than damage in the log is left out whole, because keys whose later
 * history is lost would come back with old values. Reads and verifies all of it, names what is lost on
 * standard error, writes nothing. */
#ifndef TOOL_PLAN_H
#define TOOL_PLAN_H

#include "tool/loss.h"
#include "tool/reach.h"
#include "tool/source.h"

struct plan {
	const struct source_file *snapshot; /* NULL = none */
	uint64_t upto;                      /* what the snapshot has; the log is kept behind this number */
	uint64_t limit;                     /* and up to this one */
	/* The stretch: from a block's offset in files[from_file] to an end in files[to_file]. */
	bool has_log;
	size_t from_file, to_file;
	uint64_t from_offset, to_offset;
	int64_t flush_due; /* pending before it */
	uint64_t records;  /* to be kept */
	uint64_t last;     /* highest number met */
	uint64_t torn;     /* bytes left out at the log's end */
	uint64_t dropped;  /* records left out because damage lies behind them */
	uint64_t holes;    /* places of damage that cost something */
	bool snapshot_dropped;
	struct losses losses; /* in the order in which they were met */
};

enum plan_how {
	PLAN_BEST, /* as much as can be had; what is lost is reported on standard error */
	/* What a start would load, to the letter; nothing is reported. Only a start drops single keys (LOSS_KEYS): a plan is
	 * a stretch of the log as it was written, so the others leave out all that is older. */
	PLAN_AS_START
};

/* goal NULL: all of it. TOOL_OK, or an exit code: then there is nothing that can be restored. To be freed in either
 * case. */
int plan_make(
    struct plan *ret_plan, const struct source *source, const struct reach_goal *goal, enum plan_how how);
void plan_free(struct plan *plan);

#endif
