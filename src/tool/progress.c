/* SPDX-License-Identifier: BSD-3-Clause */
/* progress: see progress.h. */
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>
#include "base/clock.h"
#include "tool/progress.h"

#define FIRST_US 1000000
#define EVERY_US 200000

void progress_begin(struct progress *p, const char *what, uint64_t all)
{
	*p = (struct progress){
	    .what = what, .all = all, .began_us = clock_mono_us(), .terminal = isatty(STDERR_FILENO) == 1};
}

void progress_add(struct progress *p, uint64_t bytes)
{
	p->done += bytes;
	if (!p->terminal)
		return;
	int64_t now = clock_mono_us();
	if (now - p->began_us < FIRST_US || now - p->shown_us < EVERY_US)
		return;
	p->shown_us = now;
	p->visible = true;
	double share = p->all > 0 && p->done < p->all ? 100.0 * (double)p->done / (double)p->all : 100.0;
	fprintf(stderr, "%s: %" PRIu64 " MiB", p->what, p->done >> 20);
	if (p->all > 0)
		fprintf(stderr, " of %" PRIu64 ", %.0f %%", p->all >> 20, share);
	/* The next message, or this line's next state, is written over it. */
	fputs("\033[K\r", stderr);
}

void progress_end(struct progress *p)
{
	if (p->visible)
		fputs("\033[K", stderr);
	p->visible = false;
}
