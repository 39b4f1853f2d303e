/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_progress: one line on a terminal, once a second while threads run: how fast, how many hits, how much longer.
 * Belongs to the thread that waits for them. */
#ifndef TOOL_BENCH_PROGRESS_H
#define TOOL_BENCH_PROGRESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bench_progress {
	const char *name;         /* of the phase */
	uint64_t begun, deadline; /* bench_conn_now(); UINT64_MAX = none */
	uint64_t first, stock;    /* numbers of its requests */
	const atomic_uint_fast64_t *claimed;
	uint64_t done, gets, hits;                             /* the caller's, before each call */
	uint64_t shown_at, shown_done, shown_gets, shown_hits; /* when the line was last shown */
	bool visible;
};

/* Whether standard error is a terminal. */
bool bench_progress_wanted(void);
/* Waits a moment, and shows the line when a second has passed since it was last shown. */
void bench_progress_show(struct bench_progress *p);
void bench_progress_end(struct bench_progress *p);
/* The line of this moment, without control characters. Rate and hit ratio are those since it was last made. */
void bench_progress_line(struct bench_progress *p, uint64_t now, char *text, size_t size);

#endif
