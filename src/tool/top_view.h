/* SPDX-License-Identifier: BSD-3-Clause */
/* top_view: what two answers of a daemon come to: rates, ratios, and the lines that are shown of them. Pure; ASCII alone, so
 * that no terminal obeys a key. */
#ifndef TOOL_TOP_VIEW_H
#define TOOL_TOP_VIEW_H

#include "tool/json.h"
#include "tool/top_stats.h"

#define TOP_LINES   72u
#define TOP_COLUMNS 200u

struct top_view {
	double seconds;   /* that rates are taken over */
	bool since_start; /* of the daemon: there is no answer before this one, or it was another daemon's */
	/* A second. */
	double gets, sets, deletes, touches, counts, metas, all; /* metas are among the others, too */
	double in, out, evictions, expirations, log, syncs, refused;
	double hits, hits_ever; /* shares; negative: no gets */
};

enum top_sort { TOP_BY_SURE, TOP_BY_COUNT, TOP_BY_KEY, TOP_SORTS };

/* before: NULL = none. */
void top_view_make(struct top_view *v, const struct top_stats *before, const struct top_stats *now);

struct top_text {
	unsigned n, warning; /* lines, and which one says that something is wrong; 0 = none does */
	char line[TOP_LINES][TOP_COLUMNS + 1];
};

/* keys: at most so many hot keys. */
void top_view_lines(struct top_text *t, const struct top_view *v, const struct top_stats *now,
    const char *name, enum top_sort sort, unsigned keys);
/* One object, on a line. */
void top_view_json(struct out *out, const struct top_view *v, const struct top_stats *now, const char *name);

#endif
