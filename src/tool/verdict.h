/* SPDX-License-Identifier: BSD-3-Clause */
/* verdict: what check finds out about one file. All of it is read and verified; each bad place is named on
 * standard error as it is met. One thread. */
#ifndef TOOL_VERDICT_H
#define TOOL_VERDICT_H

#include "tool/dicts.h"
#include "tool/source.h"

struct verdict {
	const char *
	    word; /* "ok", "torn", "damaged", "unused", "left", "newer", "foreign", "missing", "unreadable" */
	int exit; /* the exit code it asks for */
	uint64_t blocks, records; /* good ones */
	uint64_t first, last;     /* numbers in a segment (first 0: none); S0 and end of a snapshot */
	uint64_t bytes;           /* of the file */
	uint64_t left_over;       /* bytes behind the end of the log in it */
	uint64_t skipped;         /* numbers that were never given out before its first */
	uint64_t items_lost;      /* in bad blocks of a snapshot, or packed with what is not there */
	uint64_t unreadable;      /* values that do not unpack */
	uint64_t places;          /* where something is wrong */
	uint64_t offset;          /* of the first such place */
	const char *what;         /* is wrong there; NULL = nothing */
	bool ends;                /* the log ends in this segment, whatever comes behind it */
};

/* ended: the log ended in an earlier segment. dicts: those of the files before it; gets its own. */
void verdict_judge(
    struct verdict *ret_verdict, const struct source_file *file, bool ended, struct dicts *dicts);
/* One place more that is wrong, found by comparing files. */
void verdict_add(struct verdict *v, const struct source_file *file, uint64_t offset, const char *what);

#endif
