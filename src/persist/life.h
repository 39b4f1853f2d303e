/* SPDX-License-Identifier: BSD-3-Clause */
/* life: the signs of life that recovery finds on disk, and what follows from them: how long nobody was there, and
 * where Hearth time begins. Pure: clocks are handed in. One thread.
 *
 * The rule. D is the latest Hearth time on disk, W the wall clock at the start.
 * - W at or behind D: Hearth time begins at W.
 * - W before D by a day or less: it begins at D, so that a clock that was set back revives nothing.
 * - W before D by more: then either W is wrong, or a clock that was ahead wrote D. D is taken for wrong when W lies in a
 *   gap of more than a day between two signs that follow each other, or when a header says that Hearth time was more
 *   than a day ahead of the wall clock already. Then everything is judged at D first, so that nothing revives; what is
 *   left keeps the time it had left at D, and Hearth time begins at W. Otherwise it begins at D.
 * Signs from before the snapshot that was loaded do not count: they were judged when it was made.
 *
 * A header alone says what time it was when a start took the data over, and what had expired by then was served so. It is
 * no sign of life from which downtime counts: a start that was cut off before it had written more has not served. */
#ifndef PERSIST_LIFE_H
#define PERSIST_LIFE_H

#include <stdbool.h>
#include <stdint.h>
#include <hearth/segment.h>

#define LIFE_FAR_MS  INT64_C(86400000)         /* a day */
#define LIFE_YEAR_MS (INT64_C(365) * 86400000) /* a clock this far ahead of the data is suspicious, too */

struct life_head {
	int64_t wall_ms, hearth_ms, boot_ms;
	bool same_boot; /* it was written under this boot of the kernel */
};

struct life {
	int64_t wall_ms;                  /* at the start: set before anything is noted */
	int64_t latest_ms, sane_ms;       /* of all; of those that the wall clock has reached. 0 = none */
	int64_t beyond_ms;                /* the first that it has not */
	int64_t alive_ms;                 /* the last that is a sign of life, and the header above it */
	struct life_head head, next_head; /* the latter: of the last header, once a block follows */
	bool dragged;                     /* one said that Hearth time was far ahead of the wall clock */
};

struct life_verdict {
	int64_t down_ms;  /* since the last sign, 0 when there is none */
	int64_t judge_ms; /* expiry is judged at this time */
	int64_t start_ms; /* Hearth time begins here */
	int64_t back_ms;  /* what is left expires so much earlier: judge - start, or 0 */
	bool odd;         /* clock and data contradict each other */
	const char *what; /* static text, with odd */
};

/* Hearth time in a block or a snapshot, in the order of the log: a sign of life. */
void life_note(struct life *l, int64_t hearth_ms);
/* A segment's header, before its blocks. */
void life_header(struct life *l, const struct segment_header *h, bool same_boot);
/* boot_ms: CLOCK_BOOTTIME now. */
struct life_verdict life_judge(const struct life *l, int64_t boot_ms);

#endif
