/* SPDX-License-Identifier: BSD-3-Clause */
/* life: see life.h. */
#include "persist/life.h"

static void note_time(struct life *l, int64_t ms)
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

void life_note(struct life *l, int64_t ms)
{
	note_time(l, ms);
	l->head = l->next_head;
	if (ms > l->alive_ms)
		l->alive_ms = ms;
}

/* Whether a lies more than `by` behind b; both are any number a file may hold. */
static bool far(int64_t a, int64_t b, int64_t by)
{
	return a > 0 && b > 0 && a > b && a - b > by;
}

void life_header(struct life *l, const struct segment_header *h, bool same_boot)
{
	l->next_head = (struct life_head){h->wall_ms, h->hearth_ms, h->boot_ms, same_boot && h->boot_ms > 0};
	if (far(h->hearth_ms, h->wall_ms, LIFE_FAR_MS) && h->wall_ms <= l->wall_ms)
		l->dragged = true;
	note_time(l, h->hearth_ms);
}

/* What a clock showed at the last sign of life, if it showed `then` when the header above it was written. */
static int64_t at_last(const struct life *l, int64_t then)
{
	bool later = l->head.hearth_ms > 0 && l->alive_ms > l->head.hearth_ms;
	return then + (later ? l->alive_ms - l->head.hearth_ms : 0);
}

/* In the boot that wrote the log the boot clock knows, whatever was done to the wall clock. */
static int64_t downtime(const struct life *l, int64_t boot_ms)
{
	int64_t last = l->head.wall_ms ? at_last(l, l->head.wall_ms) : l->alive_ms;
	if (l->head.same_boot && boot_ms >= at_last(l, l->head.boot_ms))
		return boot_ms - at_last(l, l->head.boot_ms);
	return l->alive_ms && l->wall_ms > last ? l->wall_ms - last : 0;
}

/* Whether the wall clock was stepped, in this boot, since the last header. */
static bool stepped(const struct life *l, int64_t boot_ms)
{
	const struct life_head *h = &l->next_head;
	if (!h->same_boot || boot_ms < h->boot_ms || h->wall_ms <= 0)
		return false;
	return far(l->wall_ms, h->wall_ms + (boot_ms - h->boot_ms), LIFE_FAR_MS);
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
