/* SPDX-License-Identifier: BSD-3-Clause */
/* reach: see reach.h. The log is walked once, by the same walk as everywhere; where numbers are missing, or another
 * generation begins, a new run does. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/msg.h"
#include "tool/moment.h"
#include "tool/reach.h"
#include "tool/report.h"
#include "tool/tool.h"
#include "tool/walk.h"

/* No more runs than that are listed. */
#define LISTED_MAX 16u

struct search {
	const struct source *source;
	const struct reach_query *query;
	struct reach_run *runs;
	size_t n;
	bool no_memory;
	const struct source_file *before; /* the segment walked last */
	uint64_t torn_in;                 /* the generation whose log ended in a torn write; 0 = none */
	/* The answer so far. */
	bool found;
	size_t run;
	uint64_t number;
	int64_t time_ms;
};

static struct reach_run *current(struct search *x)
{
	return &x->runs[x->n - 1];
}

static bool begin_run(struct search *x, uint64_t generation, uint64_t first, int64_t ms)
{
	struct reach_run *runs = reallocarray(x->runs, x->n + 1, sizeof(*runs));
	if (!runs) {
		x->no_memory = true;
		return false;
	}
	x->runs = runs;
	runs[x->n++] = (struct reach_run){
	    .generation = generation, .first = first, .last = first - 1, .last_ms = ms, .from_ms = ms};
	return true;
}

/* The log has everything up to this number at this time. */
static void take_point(struct search *x, uint64_t number, int64_t ms)
{
	struct reach_run *run = current(x);
	run->last = number > run->last ? number : run->last;
	run->last_ms = ms > run->last_ms ? ms : run->last_ms;
	const struct reach_query *q = x->query;
	if (q->by_time && ms <= q->time_ms) {
		x->found = true;
		x->run = x->n - 1;
		x->number = run->last;
		x->time_ms = q->time_ms;
	} else if (!q->by_time && !x->found && q->number + !run->damaged >= run->first &&
	           q->number <= run->last) {
		x->found = true;
		x->run = x->n - 1;
		x->number = q->number;
		x->time_ms = run->last_ms;
	}
}

/* ---- walking ---- */

static bool take_hole(struct search *x, const struct walk_hole *hole)
{
	if (hole->whole || hole->resumed == 0)
		return true;
	struct reach_run last = *current(x);
	if (!begin_run(x, last.generation, hole->resumed, last.last_ms))
		return false;
	current(x)->damaged = true;
	return true;
}

static int walk_segment(struct search *x, const struct source_file *f)
{
	struct walk w;
	walk_begin(&w, f);
	for (;;) {
		struct segment_block b;
		struct walk_hole hole;
		struct hearth_error err;
		switch (walk_next(&w, &b, &hole, &err)) {
		case WALK_BLOCK:
			take_point(x, b.head.first + b.head.count - 1, b.head.time_ms);
			break;
		case WALK_BAD:
			if (!take_hole(x, &hole))
				return report_no_memory();
			break;
		case WALK_TORN:
			x->torn_in = current(x)->generation;
			return TOOL_OK;
		case WALK_END:
			return TOOL_OK;
		case WALK_FAILED:
			report_error(f->path, &err);
			return tool_worse(report_exit(err.status), TOOL_DATA);
		}
	}
}

/* The first number that a segment without one before it may hold. */
static uint64_t first_of(const struct source_file *f, const struct segment_header *h)
{
	if (h->prev_number != 0)
		return h->prev_last + 1;
	return f->named_segment && f->named_segment->first < h->first ? f->named_segment->first : h->first;
}

/* Whether the segment goes on where the run is; else a new run begins with it. */
static bool join(struct search *x, const struct source_file *f, const struct segment_header *h)
{
	const struct source_file *before = x->before;
	x->before = f;
	bool same = x->n > 0 && current(x)->generation == h->generation;
	bool joined = same && ((before && before->next == h) ||
	                          (h->prev_number != 0 && h->prev_last <= current(x)->last));
	if (joined && (!before || before->next != h || current(x)->last >= h->prev_last))
		return true;
	/* The segment before ended too early: the walk has said so, and could not say where it goes on. */
	if (!begin_run(x, h->generation, first_of(f, h), h->hearth_ms))
		return false;
	current(x)->damaged = same;
	current(x)->begins = x->n == 1 && h->prev_number == 0 && current(x)->first == 1;
	return true;
}

static int take_file(struct search *x, const struct source_file *f)
{
	if (f->kind != DATADIR_LOG || f->left || f->status == HEARTH_END)
		return TOOL_OK;
	if (f->status == HEARTH_NEWER || f->status == HEARTH_IO || f->status == HEARTH_NOMEM) {
		report_error(f->path, &f->err);
		return report_exit(f->status);
	}
	if (!f->segment) {
		x->before = NULL;
		return TOOL_OK;
	}
	const struct segment_header *h = segment_get_header(f->segment);
	if (x->torn_in == h->generation)
		return TOOL_OK;
	if (f->headless && x->n > 0 && current(x)->generation == h->generation) {
		x->before = f;
		return walk_segment(x, f);
	}
	if (!join(x, f, h))
		return report_no_memory();
	take_point(x, h->first - 1, h->hearth_ms);
	return walk_segment(x, f);
}

/* ---- snapshots ---- */

struct base {
	uint64_t start, end;
	int64_t ms;
	uint64_t generation;
};

static bool read_base(const struct source_file *f, struct base *ret)
{
	if (!f->snapshot)
		return false;
	const struct snapshot_header *h = snapshot_get_header(f->snapshot);
	const struct snapshot_footer *footer = snapshot_get_footer(f->snapshot);
	if (!footer && !f->named_snapshot)
		return false;
	*ret = (struct base){.start = h->start,
	    .end = footer ? footer->end : f->named_snapshot->end,
	    .ms = footer ? footer->hearth_ms : h->hearth_ms,
	    .generation = h->generation};
	return true;
}

/* A snapshot that no log belongs to any more is a moment by itself if nothing changed while it was made. */
static bool take_lonely(struct search *x, const struct base *b)
{
	bool known = b->start != b->end;
	for (size_t i = 0; i < x->n; i++)
		known = known || (x->runs[i].generation == b->generation &&
		                     x->runs[i].first <= b->start + 1 && x->runs[i].last >= b->end);
	if (known)
		return true;
	if (!begin_run(x, b->generation, b->start + 1, b->ms))
		return false;
	if (!x->query->by_time)
		take_point(x, b->end, b->ms);
	return true;
}

static bool take_snapshots(struct search *x)
{
	const struct source *s = x->source;
	struct base b;
	for (size_t i = 0; i < s->n_files; i++)
		if (read_base(&s->files[i], &b) && !take_lonely(x, &b))
			return false;
	for (size_t k = 0; k < x->n; k++) {
		struct reach_run *run = &x->runs[k];
		run->from = run->begins ? run->first : UINT64_MAX;
		for (size_t i = 0; i < s->n_files; i++) {
			if (!read_base(&s->files[i], &b) || b.generation != run->generation ||
			    b.start + 1 < run->first || b.end > run->last || b.end >= run->from)
				continue;
			run->from = b.end;
			run->from_ms = b.ms;
		}
	}
	return true;
}

/* The newest that is whole; else the newest that can be read. */
static const struct source_file *choose(const struct search *x, const struct reach_run *run)
{
	const struct source *s = x->source;
	const struct source_file *some = NULL;
	struct base b;
	for (size_t i = s->n_files; i-- > 0;) {
		const struct source_file *f = &s->files[i];
		if (!read_base(f, &b) || b.generation != run->generation || b.end > x->number ||
		    (b.start + 1 < run->first && !run->damaged))
			continue;
		struct hearth_error err = f->err;
		if (f->status == HEARTH_OK && snapshot_verify(f->snapshot, &err) == HEARTH_OK)
			return f;
		report_error(f->path, &err);
		some = some ? some : f;
	}
	return some;
}

/* ---- the answer ---- */

static void list_run(const struct source *s, const struct reach_run *run)
{
	char from[MOMENT_SIZE], to[MOMENT_SIZE], generation[64] = "";
	moment_text(run->from_ms, from);
	moment_text(run->last_ms, to);
	if (run->generation != s->manifest.generation)
		snprintf(
		    generation, sizeof(generation), ", of the former generation %" PRIu64, run->generation);
	if (run->from <= run->last)
		msg(MSG_INFO, "%s: can be restored: numbers %" PRIu64 " to %" PRIu64 ", %s to %s%s", s->path,
		    run->from, run->last, from, to, generation);
	if (run->damaged && run->from > run->first && run->last >= run->first)
		msg(MSG_INFO,
		    "%s: in part: numbers %" PRIu64 " to %" PRIu64
		    ", without what the damage before them may have changed%s",
		    s->path, run->first, run->from <= run->last ? run->from - 1 : run->last, generation);
}

static int refuse(const struct search *x, const char *why)
{
	const struct reach_query *q = x->query;
	char wanted[MOMENT_SIZE + 16];
	if (q->by_time)
		moment_text(q->time_ms, wanted);
	else
		snprintf(wanted, sizeof(wanted), "number %" PRIu64, q->number);
	msg(MSG_ERROR, "%s: %s cannot be restored: %s", x->source->path, wanted, why);
	for (size_t i = x->n > LISTED_MAX ? x->n - LISTED_MAX : 0; i < x->n; i++)
		list_run(x->source, &x->runs[i]);
	return TOOL_DATA;
}

static int answer(const struct search *x, struct reach_goal *ret)
{
	const struct reach_query *q = x->query;
	uint64_t highest = 0;
	for (size_t i = 0; i < x->n; i++)
		highest = x->runs[i].last > highest ? x->runs[i].last : highest;
	if (!x->found && !q->by_time && q->number > highest)
		return refuse(x, "the log does not go that far");
	if (!x->found && !q->by_time && x->n > 0 && q->number >= x->runs[0].first)
		return refuse(x, "it lies in a hole of the log");
	if (!x->found)
		return refuse(x, "it is older than what is kept");
	const struct reach_run *run = &x->runs[x->run];
	if (q->by_time && x->run + 1 < x->n && run->last < highest && q->time_ms > run->last_ms)
		return refuse(x, "it lies in a hole of the log");
	*ret = (struct reach_goal){.number = x->number,
	    .time_ms = x->time_ms,
	    .generation = run->generation,
	    .snapshot = choose(x, run)};
	if (!ret->snapshot && !run->begins && !run->damaged)
		return refuse(x, "no snapshot of before it is kept with the log behind it");
	if (run->generation != x->source->manifest.generation)
		msg(MSG_WARN,
		    "%s: this moment belongs to generation %" PRIu64 ", which ended in a hole; the directory "
		    "is at %" PRIu64,
		    x->source->path, run->generation, x->source->manifest.generation);
	if (q->by_time && x->number == highest && q->time_ms > run->last_ms)
		msg(MSG_INFO, "%s: nothing was changed behind number %" PRIu64 ": all of it is restored",
		    x->source->path, highest);
	return TOOL_OK;
}

int reach_find(const struct source *source, const struct reach_query *query, struct reach_goal *ret_goal)
{
	struct search x = {.source = source, .query = query};
	int exit_code = TOOL_OK;
	for (size_t i = 0; i < source->n_files && exit_code == TOOL_OK; i++)
		exit_code = take_file(&x, &source->files[i]);
	if (exit_code == TOOL_OK && !take_snapshots(&x))
		exit_code = report_no_memory();
	if (exit_code == TOOL_OK)
		exit_code = answer(&x, ret_goal);
	free(x.runs);
	return exit_code;
}
