/* SPDX-License-Identifier: BSD-3-Clause */
/* forecast: what a start on a directory would lose, said before it is tried. A plan is made by recovery's rule, and each
 * of its losses is printed. One thread. */
#ifndef TOOL_FORECAST_H
#define TOOL_FORECAST_H

#include "tool/out.h"
#include "tool/plan.h"

struct forecast {
	struct plan plan;
	int exit;       /* of plan_make */
	bool untrusted; /* the directory is marked as one with a hole */
	/* "nothing"; "tail" of the log; "items" of a damaged snapshot; "keys" that lost changes may have changed; "changes",
	 * with what is older; "everything" */
	const char *word;
	uint64_t items; /* in damaged blocks of the snapshot that a start would read */
};

/* items_lost: in the blocks of each source file that are bad. */
void forecast_make(struct forecast *ret_forecast, const struct source *source, const uint64_t *items_lost);
/* The losses, a line each. */
void forecast_print(const struct forecast *f, struct out *out, bool json);
void forecast_free(struct forecast *f);

#endif
