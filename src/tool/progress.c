/* SPDX-License-Identifier: BSD-3-Clause */
/* progress: see progress.h. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/msg.h"
#include "tool/progress.h"

#define FIRST_US 1000000
#define EVERY_US 200000
#define BAR      20u
/* The rest of the line. */
#define CLEAR "\033[K"
#define DAY_S 86400.0
/* Bytes that are better told in KiB. */
#define SMALL (8u << 20)

void progress_begin(struct progress *p, const char *what, uint64_t all)
{
	*p = (struct progress){
	    .what = what, .all = all, .began_us = clock_mono_us(), .terminal = isatty(STDERR_FILENO) == 1};
}

void progress_begin_items(struct progress *p, const char *what, uint64_t all)
{
	progress_begin(p, what, all);
	p->items = true;
}

void progress_beside_output(struct progress *p)
{
	p->terminal = p->terminal && isatty(STDOUT_FILENO) != 1;
}

/* "48 s", "3 min", "2 h" */
static void put_time(double seconds, char *out, size_t size)
{
	if (seconds < 100)
		snprintf(out, size, "%.0f s", seconds);
	else if (seconds < 6000)
		snprintf(out, size, "%.0f min", seconds / 60);
	else if (seconds < 4 * DAY_S)
		snprintf(out, size, "%.0f h", seconds / 3600);
	else
		snprintf(out, size, "days");
}

void progress_line(const struct progress *p, int64_t us, char out[PROGRESS_WIDTH])
{
	bool small = (p->all > 0 ? p->all : p->done) < SMALL;
	const char *unit = p->items ? "items" : small ? "KiB" : "MiB";
	unsigned shift = p->items ? 0 : small ? 10 : 20;
	double seconds = us > 0 ? (double)us / 1e6 : 1e-6;
	double rate = (double)(p->done >> shift) / seconds;
	if (p->all == 0) {
		snprintf(out, PROGRESS_WIDTH, "%s: %" PRIu64 " %s, %.0f %s/s", p->what, p->done >> shift,
		    unit, rate, unit);
		return;
	}
	/* What was to be done was an estimate: it may turn out to be more. */
	uint64_t done = p->done < p->all ? p->done : p->all;
	double share = (double)done / (double)p->all;
	char bar[BAR + 1], left[16] = "?";
	memset(bar, '-', BAR);
	memset(bar, '#', (size_t)(share * BAR));
	bar[BAR] = '\0';
	if (done > 0)
		put_time(seconds * (1 - share) / share, left, sizeof(left));
	snprintf(out, PROGRESS_WIDTH, "%s [%s] %.0f %%, %" PRIu64 " %s, %.0f %s/s, %s left", p->what, bar,
	    100 * share, p->done >> shift, unit, rate, unit, left);
}

void progress_add(struct progress *p, uint64_t more)
{
	char line[PROGRESS_WIDTH];
	p->done += more;
	if (!p->terminal)
		return;
	int64_t now = clock_mono_us();
	if (now - p->began_us < FIRST_US || now - p->shown_us < EVERY_US)
		return;
	p->shown_us = now;
	if (!p->visible)
		msg_set_before(CLEAR);
	p->visible = true;
	progress_line(p, now - p->began_us, line);
	/* The next message, or this line's next state, is written over it. */
	fprintf(stderr, "%s" CLEAR "\r", line);
}

void progress_end(struct progress *p)
{
	if (p->visible) {
		fputs(CLEAR, stderr);
		msg_set_before(NULL);
	}
	p->visible = false;
}
