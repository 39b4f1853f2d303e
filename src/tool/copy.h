/* SPDX-License-Identifier: BSD-3-Clause */
/* copy: carries out a plan: what it keeps of a source goes into a target, decoded and verified on the way. Shared by
 * restore and by check's repair. One thread. */
#ifndef TOOL_COPY_H
#define TOOL_COPY_H

#include "base/buf.h"
#include "tool/dicts.h"
#include "tool/out.h"
#include "tool/plan.h"
#include "tool/progress.h"
#include "tool/target.h"

struct copy {
	const struct source *source;
	const struct plan *plan;
	struct target *target;
	int64_t shift; /* seconds added to each expiry and to the pending flush; 0 = they stay */
	struct progress progress;
	uint64_t items, records;
	uint64_t items_lost, blocks_lost; /* of the snapshot */
	uint64_t outdated;                /* sets of keys that lost changes may have changed later */
	/* Behind what was copied so far. */
	int64_t flush_due, time_ms;
	size_t loss; /* of the plan: the next one that may lie before what is copied */
	struct buf written_anew;
	struct dicts dicts; /* met so far */
};

/* Snapshot, log and the end: the target is finished, or an exit code says why not. TOOL_OK is also the answer when the
 * plan left something out. */
int copy_run(struct copy *c);
/* The highest number that may have been given out: none of them may come a second time. */
uint64_t copy_high_water(const struct source *source, const struct plan *plan);
/* What is in the new directory and what is not, as one line or one object; out is the caller's. */
void copy_print(
    const struct copy *c, struct out *out, const char *to, const struct reach_goal *goal, bool json);

#endif
