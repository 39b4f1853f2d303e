/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_progress: see bench_progress.h. */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
#include "tool/bench_conn.h"
#include "tool/bench_progress.h"

#define EVERY_NS 1000000000u

bool bench_progress_wanted(void)
{
	return isatty(STDERR_FILENO) == 1;
}

/* Seconds until the stock is used up or time is, whichever comes first; below 0 = not known. */
static double left(const struct bench_progress *p, uint64_t now)
{
	double by_time = -1, by_stock = -1;
	uint64_t claimed = atomic_load_explicit(p->claimed, memory_order_relaxed);
	if (p->deadline != UINT64_MAX)
		by_time = p->deadline > now ? (double)(p->deadline - now) / 1e9 : 0;
	if (p->stock < INT64_MAX && claimed > p->first && now > p->begun)
		by_stock = (double)(p->stock - claimed) * (double)(now - p->begun) / 1e9 /
		           (double)(claimed - p->first);
	return by_time < 0 || (by_stock >= 0 && by_stock < by_time) ? by_stock : by_time;
}

void bench_progress_line(struct bench_progress *p, uint64_t now, char *text, size_t size)
{
	uint64_t since = p->shown_at > 0 ? p->shown_at : p->begun;
	double seconds = now > since ? (double)(now - since) / 1e9 : 1;
	int n = snprintf(text, size, "%s: %" PRIu64 " requests, %.0f a second", p->name, p->done,
	    (double)(p->done - p->shown_done) / seconds);
	uint64_t gets = p->gets - p->shown_gets;
	if (gets > 0 && n >= 0 && (size_t)n < size)
		n += snprintf(text + n, size - (size_t)n, ", hit ratio %.4f",
		    (double)(p->hits - p->shown_hits) / (double)gets);
	double to_come = left(p, now);
	if (to_come >= 0 && n >= 0 && (size_t)n < size)
		snprintf(text + n, size - (size_t)n, ", %.0f s left", to_come);
	p->shown_at = now;
	p->shown_done = p->done;
	p->shown_gets = p->gets;
	p->shown_hits = p->hits;
}

void bench_progress_show(struct bench_progress *p)
{
	char text[160];
	uint64_t now = bench_conn_now(), since = p->shown_at > 0 ? p->shown_at : p->begun;
	if (now - since >= EVERY_NS) {
		bench_progress_line(p, now, text, sizeof(text));
		fprintf(stderr, "%s\033[K\r", text);
		p->visible = true;
	}
	nanosleep(&(struct timespec){0, 20000000}, NULL);
}

void bench_progress_end(struct bench_progress *p)
{
	if (p->visible)
		fputs("\033[K", stderr);
	p->visible = false;
}
