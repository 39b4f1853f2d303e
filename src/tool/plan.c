/* SPDX-License-Identifier: BSD-3-Clause */
/* plan: see plan.h. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "base/msg.h"
#include "tool/plan.h"
#include "tool/report.h"
#include "tool/tool.h"
#include "tool/walk.h"

struct planner {
	struct plan *plan;
	const struct source *source;
	uint64_t generation;              /* whose log it is */
	size_t file;                      /* being walked */
	uint64_t have;                    /* everything up to this number is in the plan, or was looked at */
	const struct source_file *before; /* the segment walked last */
	bool due_known;                   /* plan->flush_due is */
	bool begun;                       /* a segment was met, readable or not */
	bool ended;                       /* the log did */
};

static uint64_t count_of_generation(const struct source *s)
{
	uint64_t n = 0;
	for (size_t i = 0; i < s->n_files; i++)
		n += s->files[i].snapshot &&
		     snapshot_get_header(s->files[i].snapshot)->generation == s->manifest.generation;
	return n;
}

/* The newest that is whole; if none is, the newest that can be read at all. A snapshot of an older generation
 * is never taken: between it and the log lies a hole. */
static const struct source_file *choose_snapshot(const struct source *s)
{
	const struct source_file *some = NULL;
	bool several = count_of_generation(s) > 1;
	for (size_t i = s->n_files; i-- > 0;) {
		const struct source_file *f = &s->files[i];
		if (f->kind != DATADIR_SNAPSHOT)
			continue;
		if (!f->snapshot) {
			report_error(f->path, &f->err);
			continue;
		}
		if (snapshot_get_header(f->snapshot)->generation != s->manifest.generation)
			continue;
		struct hearth_error err = f->err;
		bool whole = f->status == HEARTH_OK;
		if (whole && several)
			whole = snapshot_verify(f->snapshot, &err) == HEARTH_OK;
		if (whole)
			return f;
		report_error(f->path, &err);
		if (!some)
			some = f;
	}
	return some;
}

/* From here on the plan begins anew: what came before may be outdated by what is lost. */
static void cut(
    struct planner *p, const char *path, uint64_t offset, const char *what, uint64_t from, uint64_t to)
{
	struct plan *plan = p->plan;
	char lost[96] = "changes without number";
	if (to >= from && from > 0)
		snprintf(lost, sizeof(lost), "changes %" PRIu64 " to %" PRIu64, from, to);
	else if (to == 0)
		snprintf(lost, sizeof(lost), "changes from %" PRIu64 " on", from);
	bool older = plan->snapshot || plan->has_log;
	msg(MSG_ERROR, "%s: at offset %" PRIu64 ": %s: %s are lost%s", path, offset, what, lost,
	    older ? "; everything older is left out, as it may be outdated" : "");
	plan->holes++;
	plan->dropped += plan->records;
	plan->snapshot_dropped = plan->snapshot_dropped || plan->snapshot;
	plan->snapshot = NULL;
	plan->upto = 0;
	plan->has_log = false;
	plan->records = 0;
	p->due_known = false;
}

static const struct source_file *file_of(const struct planner *p)
{
	return &p->source->files[p->file];
}

/* TOOL_OK, or an exit code when its records are of a newer format. */
static int take_block(struct planner *p, const struct segment_block *b)
{
	struct plan *plan = p->plan;
	const struct source_file *f = file_of(p);
	struct segment_records walk = segment_records(b);
	struct record r;
	uint64_t kept = 0, last = b->head.count ? b->head.first + b->head.count - 1 : 0;
	enum hearth_status status;
	while ((status = segment_next_record(&walk, &r)) == HEARTH_OK)
		kept += r.seq > plan->upto && r.seq <= plan->limit;
	if (status == HEARTH_NEWER) {
		msg(MSG_ERROR, "%s: at offset %" PRIu64 ": record of a newer format", f->path, b->offset);
		return TOOL_DATA;
	}
	if (status != HEARTH_END && last > plan->upto) {
		cut(p, f->path, b->offset, "records of a block do not decode", b->head.first, last);
		p->have = last;
		return TOOL_OK;
	}
	p->have = last > p->have ? last : p->have;
	plan->last = last > plan->last ? last : plan->last;
	if (!plan->has_log && kept > 0) {
		plan->has_log = true;
		plan->from_file = p->file;
		plan->from_offset = b->offset;
		/* Behind damage only the slot as this block leaves it is known. */
		if (!p->due_known)
			plan->flush_due = b->head.flush_due;
	}
	if (!plan->has_log && !plan->snapshot) {
		plan->flush_due = b->head.flush_due;
		p->due_known = true;
	}
	if (plan->has_log) {
		plan->to_file = p->file;
		plan->to_offset = b->end;
		plan->records += kept;
	}
	return TOOL_OK;
}

static void take_hole(struct planner *p, const struct walk_hole *hole)
{
	const struct source_file *f = file_of(p);
	bool covered = hole->resumed > 0 && hole->resumed - 1 <= p->plan->upto;
	if (hole->whole || covered) {
		msg(MSG_WARN, "%s: at offset %" PRIu64 ": %s: nothing is lost by it", f->path, hole->from,
		    hole->what);
		return;
	}
	cut(p, f->path, hole->from, hole->what, hole->next, hole->resumed > 0 ? hole->resumed - 1 : 0);
	if (hole->resumed > 0)
		p->have = hole->resumed - 1;
}

/* The log ends here; later segments, if any, are no part of it. */
static void take_torn(struct planner *p, const char *path, const struct walk_hole *hole)
{
	struct plan *plan = p->plan;
	p->ended = true;
	plan->torn = hole->to - hole->from;
	for (size_t i = p->file + 1; i < p->source->n_files; i++) {
		const struct source_file *f = &p->source->files[i];
		plan->torn += f->segment && !f->left ? segment_size(f->segment) : 0;
	}
	msg(MSG_WARN, "%s: at offset %" PRIu64 ": %s: the log ends here, %" PRIu64 " bytes are left out",
	    path, hole->from, hole->what, plan->torn);
}

static int take_segment(struct planner *p)
{
	struct walk w;
	int exit_code = TOOL_OK;
	walk_begin(&w, file_of(p));
	while (exit_code == TOOL_OK && p->have < p->plan->limit) {
		struct segment_block b;
		struct walk_hole hole;
		struct hearth_error err;
		switch (walk_next(&w, &b, &hole, &err)) {
		case WALK_BLOCK:
			exit_code = take_block(p, &b);
			break;
		case WALK_BAD:
			take_hole(p, &hole);
			break;
		case WALK_TORN:
			take_torn(p, file_of(p)->path, &hole);
			return TOOL_OK;
		case WALK_FAILED:
			report_error(file_of(p)->path, &err);
			return tool_worse(report_exit(err.status), TOOL_DATA);
		case WALK_END:
			return TOOL_OK;
		}
	}
	return exit_code;
}

/* Whether a segment goes on where the plan is; if not, what lies between is lost. */
static void join(struct planner *p, const struct segment_header *h)
{
	const struct source_file *f = file_of(p);
	uint64_t numbers_before = h->prev_number == 0 ? 0 : h->prev_last;
	if (p->before && p->before->next == h)
		return; /* the walk held one against the other */
	if (p->begun && h->prev_number == 0)
		cut(p, f->path, 0, "the log begins anew here", p->have + 1, h->first - 1);
	else if (numbers_before > p->have)
		cut(p, f->path, 0, "what the log had before this segment is not there", p->have + 1,
		    numbers_before);
	else if (p->before)
		msg(MSG_WARN,
		    "%s: what the log had just before this segment is not there: nothing is lost by it",
		    f->path);
}

static int take_file(struct planner *p)
{
	const struct source_file *f = file_of(p);
	if (f->kind != DATADIR_LOG || f->status == HEARTH_END || f->left)
		return TOOL_OK;
	if (f->status == HEARTH_NEWER || f->status == HEARTH_IO || f->status == HEARTH_NOMEM) {
		report_error(f->path, &f->err);
		return report_exit(f->status);
	}
	if (!f->segment) {
		struct walk_hole hole = {.what = f->err.what};
		if (f->status == HEARTH_TORN && f->last)
			take_torn(p, f->path, &hole);
		else if (f->last)
			cut(p, f->path, 0, f->err.what, p->have + 1, 0);
		else
			report_error(f->path, &f->err); /* the next one tells which numbers it had */
		p->before = NULL;
		p->begun = true;
		return TOOL_OK;
	}
	const struct segment_header *h = segment_get_header(f->segment);
	if (h->generation != p->generation)
		return TOOL_OK;
	join(p, h);
	if (!p->plan->snapshot && !p->plan->has_log) {
		p->plan->flush_due = h->flush_due;
		p->due_known = true;
	}
	p->begun = true;
	/* Numbers that were skipped have no records. */
	p->have = h->first > p->have + 1 ? h->first - 1 : p->have;
	int exit_code = take_segment(p);
	p->before = f;
	return exit_code;
}

static uint64_t end_of_scan(const struct source_file *snapshot)
{
	const struct snapshot_footer *footer = snapshot_get_footer(snapshot->snapshot);
	if (footer)
		return footer->end;
	return snapshot->named_snapshot ? snapshot->named_snapshot->end : 0;
}

static bool choose(struct planner *p, const struct reach_goal *goal)
{
	const struct source *s = p->source;
	p->plan->limit = goal ? goal->number : UINT64_MAX;
	p->generation = goal ? goal->generation : s->manifest.generation;
	if (goal) {
		p->plan->snapshot = goal->snapshot;
		return true;
	}
	if (s->manifest.untrusted) {
		msg(MSG_ERROR,
		    "%s: its files are marked as ones with a hole: old values could come back; restore an "
		    "earlier moment with --at or --seq, or a snapshot by name",
		    s->path);
		return false;
	}
	p->plan->snapshot = choose_snapshot(s);
	return true;
}

int plan_make(struct plan *plan, const struct source *source, const struct reach_goal *goal)
{
	struct planner p = {.plan = plan, .source = source};
	*plan = (struct plan){0};
	if (!choose(&p, goal))
		return TOOL_DATA;
	if (plan->snapshot) {
		const struct snapshot_header *h = snapshot_get_header(plan->snapshot->snapshot);
		plan->upto = plan->last = p.have = h->start;
		plan->flush_due = h->flush_due;
		p.due_known = true;
	}
	int exit_code = TOOL_OK;
	for (p.file = 0; p.file < source->n_files && exit_code == TOOL_OK && !p.ended; p.file++)
		exit_code = p.have < plan->limit ? take_file(&p) : TOOL_OK;
	/* A snapshot was scanned while the log went on: without that part of the log it is no state at all. */
	uint64_t scanned = plan->snapshot ? end_of_scan(plan->snapshot) : 0;
	if (exit_code == TOOL_OK && p.have < scanned)
		cut(&p, source->path, 0, "the log ends before the snapshot does", p.have + 1, scanned);
	if (exit_code == TOOL_OK && !plan->snapshot && !plan->has_log) {
		msg(MSG_ERROR, "%s: holds nothing that can be restored", source->path);
		exit_code = TOOL_DATA;
	}
	return exit_code;
}
