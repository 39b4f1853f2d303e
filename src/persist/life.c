/* SPDX-License-Identifier: BSD-3-Clause */
/* life: see life.h. */
#include "persist/life.h"

void life_note(struct life *l, int64_t ms)
{
	if (ms <= 0)
		return;
	if (ms > l->latest_ms)
		l->latest_ms = ms;
	if (ms <= l->wall_ms)
		l->sane_ms = ms > l->sane_ms ? ms : l->sane_ms;
	else if (l->beyond_ms == 0)
		l->beyond_ms = ms;
}

/* Whether a lies more than `by` behind b; both are any number a file may hold. */
static bool far(int64_t a, int64_t b, int64_t by)
{
	return a > 0 && b > 0 && a > b && a - b > by;
}

void life_header(struct life *l, const struct segment_header *h, bool same_boot)
{
	l->head_wall_ms = h->wall_ms;
	l->head_hearth_ms = h->hearth_ms;
	l->head_boot_ms = h->boot_ms;
	l->same_boot = same_boot && h->boot_ms > 0;
	if (far(h->hearth_ms, h->wall_ms, LIFE_FAR_MS) && h->wall_ms <= l->wall_ms)
		l->dragged = true;
	life_note(l, h->hearth_ms);
}

/* What a clock showed at the last sign, if it showed `then` when the last header was written. */
static int64_t at_last(const struct life *l, int64_t then)
{
	return then + (l->latest_ms > l->head_hearth_ms ? l->latest_ms - l->head_hearth_ms : 0);
}

/* In the boot that wrote the log the boot clock knows, whatever was done to the wall clock. */
static int64_t downtime(const struct life *l, int64_t boot_ms)
{
	int64_t last = l->head_wall_ms ? at_last(l, l->head_wall_ms) : l->latest_ms;
	if (l->same_boot && boot_ms >= at_last(l, l->head_boot_ms))
		return boot_ms - at_last(l, l->head_boot_ms);
	return l->latest_ms && l->wall_ms > last ? l->wall_ms - last : 0;
}

/* Whether the wall clock was stepped, in this boot, since the last header. */
static bool stepped(const struct life *l, int64_t boot_ms)
{
	if (!l->same_boot || boot_ms < l->head_boot_ms || l->head_wall_ms <= 0)
		return false;
	int64_t expected = l->head_wall_ms + (boot_ms - l->head_boot_ms);
	return far(l->wall_ms, expected, LIFE_FAR_MS);
}

struct life_verdict life_judge(const struct life *l, int64_t boot_ms)
{
	struct life_verdict v = {
	    .down_ms = downtime(l, boot_ms), .judge_ms = l->wall_ms, .start_ms = l->wall_ms};
	if (l->latest_ms <= l->wall_ms) {
		v.odd = stepped(l, boot_ms) || far(l->wall_ms, l->latest_ms, LIFE_YEAR_MS);
		v.what = stepped(l, boot_ms)
		             ? "the clock was set ahead by more than a day since the last start"
		             : "the clock is more than a year ahead of the latest time in the data";
		return v;
	}
	v.judge_ms = v.start_ms = l->latest_ms;
	if (l->latest_ms - l->wall_ms <= LIFE_FAR_MS)
		return v;
	v.odd = true;
	bool gap = l->sane_ms > 0 && far(l->beyond_ms, l->sane_ms, LIFE_FAR_MS);
	if (gap || l->dragged) {
		v.start_ms = l->wall_ms;
		v.back_ms = v.judge_ms - v.start_ms;
		v.what = "the latest time in the data is more than a day ahead of the clock and of other "
		         "times in it";
	} else {
		v.what = "the clock is more than a day behind the latest time in the data";
	}
	return v;
}
