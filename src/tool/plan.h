/* SPDX-License-Identifier: BSD-3-Clause */
/* plan: what of a data directory can be restored: a snapshot and a stretch of the log behind it. Where changes are lost in
 * between, the keys that they may have changed are left out, as a start drops them; if no key blocks tell which, all that is
 * older, because keys whose later history is lost would come back with old values. Reads and verifies all of it, names what
 * is lost on standard error, writes nothing. */
#ifndef TOOL_PLAN_H
#define TOOL_PLAN_H

#include <hearth/keyset.h>
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
	size_t first_loss;    /* of those, the first that lies in what is kept */
	struct keyset *lost;  /* what is kept of these keys is newer than what is lost; NULL = none went */
};

enum plan_how {
	PLAN_BEST,    /* as much as can be had; what is lost is reported on standard error */
	PLAN_ANY,     /* the same, and a directory in which nothing was ever kept is no failure */
	PLAN_AS_START /* what a start would load, to the letter; nothing is reported */
};

/* goal NULL: all of it. TOOL_OK, or an exit code: then there is nothing that can be restored. To be freed in either
 * case. */
int plan_make(
    struct plan *ret_plan, const struct source *source, const struct reach_goal *goal, enum plan_how how);
void plan_free(struct plan *plan);

#endif
