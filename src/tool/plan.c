/* SPDX-License-Identifier: BSD-3-Clause */
/* plan: see plan.h. */
#include <inttypes.h>
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
	bool rest_lost;                   /* it ended in damage, nobody knows how much of it */
	bool no_memory;
};

static void add_loss(struct planner *p, const struct loss *loss)
{
	p->no_memory = !losses_add(&p->plan->losses, loss) || p->no_memory;
}

static void add_error(
    struct planner *p, enum loss_kind kind, const struct source_file *f, const struct hearth_error *err)
{
	add_loss(p, &(struct loss){.kind = kind,
	                .path = f->path,
	                .offset = err->offset,
	                .what = err->what ? err->what : hearth_status_text(err->status)});
}

/* Whether the segments reach back to its S0. */
static bool covered(const struct source *s, const struct source_file *f)
{
	const struct manifest *m = &s->manifest;
	return m->n_segments == 0 || m->segments[0].first <= snapshot_get_header(f->snapshot)->start + 1;
}

/* The newest that can be read, older than `before` (NULL = the newest of all), as a start chooses it: one of an older
 * generation never, between it and the log lies a hole. */
static const struct source_file *choose_snapshot(const struct source *s, const struct source_file *before)
{
	size_t n = before ? (size_t)(before - s->files) : s->n_files;
	for (size_t i = n; i-- > 0;) {
		const struct source_file *f = &s->files[i];
		if (f->snapshot && snapshot_get_header(f->snapshot)->generation == s->manifest.generation &&
		    covered(s, f))
			return f;
	}
	return NULL;
}

static bool is_whole(const struct source_file *f, struct hearth_error *ret_err)
{
	*ret_err = f->err;
	return f->status == HEARTH_OK && snapshot_verify(f->snapshot, ret_err) == HEARTH_OK;
}

/* From here on the plan begins anew: what came before may be outdated by what is lost. */
static void cut(struct planner *p, const struct loss *where)
{
	struct plan *plan = p->plan;
	struct loss loss = *where;
	loss.kind = plan->snapshot || plan->has_log ? LOSS_OLDER : LOSS_CHANGES;
	add_loss(p, &loss);
	plan->holes++;
	plan->dropped += plan->records;
	plan->snapshot_dropped = plan->snapshot_dropped || plan->snapshot;
	plan->snapshot = NULL;
	plan->upto = 0;
	plan->has_log = false;
	plan->records = 0;
	plan->first_loss = plan->losses.n;
	p->due_known = false;
}

static const struct source_file *file_of(const struct planner *p)
{
	return &p->source->files[p->file];
}

/* From an offset of a file on, as recovery searches (persist/lost.c). */
static void search_keys(const struct planner *p, struct keyset *set, size_t file, uint64_t offset)
{
	bool done = false;
	for (size_t i = file; i < p->source->n_files && !done; i++, offset = SEGMENT_HEADER_SIZE) {
		const struct source_file *f = &p->source->files[i];
		if (f->kind != DATADIR_LOG || f->left || !f->segment)
			continue;
		uint64_t at = segment_offset(f->segment);
		segment_seek(f->segment, offset);
		done = keyset_search(set, f->segment, walk_limit(f));
		segment_seek(f->segment, at);
	}
}

/* Numbers from .. to are lost: their keys into the set, if key blocks tell of all of them. */
static enum keyset_verdict find_keys(
    const struct planner *p, struct keyset *set, const struct loss *loss, size_t file, uint64_t offset)
{
	keyset_begin(set, loss->from, loss->to + 1);
	search_keys(p, set, file, offset);
	return keyset_end(set);
}

static uint64_t count_keys(
    struct planner *p, const struct loss *loss, size_t file, uint64_t offset, enum keyset_verdict *ret)
{
	struct keyset *set = keyset_new();
	if (!set) {
		p->no_memory = true;
		return 0;
	}
	*ret = find_keys(p, set, loss, file, offset);
	keyset_seal(set);
	uint64_t n = keyset_size(set);
	keyset_free(&set);
	return n;
}

/* Numbers are lost; the log goes on at this offset of a file. */
static void lose(struct planner *p, const struct loss *where, size_t file, uint64_t offset)
{
	struct plan *plan = p->plan;
	struct loss loss = *where;
	loss.from = loss.from > plan->upto ? loss.from : plan->upto + 1;
	if (loss.to < loss.from) {
		cut(p, where);
		return;
	}
	enum keyset_verdict verdict = KEYSET_UNKNOWN;
	loss.kind = LOSS_KEYS;
	loss.keys = count_keys(p, &loss, file, offset, &verdict);
	if (!plan->lost && !(plan->lost = keyset_new()))
		p->no_memory = true;
	if (p->no_memory)
		return;
	if (verdict == KEYSET_FOUND && find_keys(p, plan->lost, &loss, file, offset) == KEYSET_FOUND) {
		add_loss(p, &loss);
		plan->holes++;
		return;
	}
	loss.why =
	    verdict == KEYSET_FLUSHED ? "a flush was among them" : "no key blocks tell what they changed";
	cut(p, &loss);
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
		cut(p, &(struct loss){.path = f->path,
		           .offset = b->offset,
		           .length = b->end - b->offset,
		           .from = b->head.first,
		           .to = last,
		           .what = "records of a block do not decode"});
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
	struct loss loss = {.path = file_of(p)->path,
	    .offset = hole->from,
	    .length = hole->to - hole->from,
	    .from = hole->next,
	    .to = hole->resumed > 0 ? hole->resumed - 1 : 0,
	    .what = hole->what};
	bool covered = hole->resumed > 0 && hole->resumed - 1 <= p->plan->upto;
	/* Also when the number that was due comes next: what is bad held no record. */
	if (hole->whole || covered || hole->resumed == hole->next) {
		add_loss(p, &loss);
		return;
	}
	if (hole->resumed == 0) {
		p->rest_lost = true;
		cut(p, &loss);
	} else if (hole->here) {
		lose(p, &loss, p->file, hole->to);
	} else {
		lose(p, &loss, p->file + 1, SEGMENT_HEADER_SIZE);
	}
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
	add_loss(p, &(struct loss){.kind = LOSS_TAIL,
	                .path = path,
	                .offset = hole->from,
	                .length = plan->torn,
	                .what = hole->what});
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

/* A segment that cannot be opened: the blocks of the next one tell which numbers it had. Of one that is missing only the next
 * one's header does, or that the snapshot covers them; else it may have changed anything. */
static void take_unopened(struct planner *p)
{
	const struct source_file *f = file_of(p);
	struct walk_hole hole = {.what = f->err.what};
	uint64_t behind = walk_begins_behind(f);
	bool covered = p->plan->snapshot && behind > 0 && behind <= p->plan->upto + 1;
	bool told = !f->last && (!f->missing || f->next || covered);
	if (f->status == HEARTH_TORN && f->last)
		take_torn(p, f->path, &hole);
	else if (told)
		add_error(p, LOSS_NOTHING, f, &f->err);
	else
		cut(p, &(struct loss){.path = f->path,
		           .from = p->have + 1,
		           .to = behind > 0 ? behind - 1 : 0,
		           .what = f->err.what});
	p->rest_lost = p->rest_lost || (!told && behind == 0);
	p->before = NULL;
	p->begun = true;
}

/* Whether a segment goes on where the plan is; if not, what lies between is lost. */
static void join(struct planner *p, const struct segment_header *h)
{
	const struct source_file *f = file_of(p);
	uint64_t numbers_before = h->prev_number == 0 ? 0 : h->prev_last;
	if (p->before && p->before->next == h)
		return; /* the walk held one against the other */
	struct loss loss = {.path = f->path, .from = p->have + 1};
	if (p->begun && h->prev_number == 0) {
		loss.to = h->first - 1;
		loss.what = "the log begins anew here";
		cut(p, &loss);
	} else if (numbers_before > p->have && p->begun && walk_ends_before(f, p->before, p->have + 1)) {
		struct walk_hole hole = {.to = segment_size(f->segment),
		    .what = "what the log had before this segment is not there"};
		take_torn(p, f->path, &hole);
	} else if (numbers_before > p->have) {
		loss.to = numbers_before;
		loss.what = "what the log had before this segment is not there";
		lose(p, &loss, p->file, SEGMENT_HEADER_SIZE);
	} else if (p->before) {
		loss.what = "what the log had just before this segment is not there";
		add_loss(p, &loss);
	}
}

/* The same without a header: of it only the first number is known, and that as a lower bound. */
static void join_headless(struct planner *p, const struct segment_header *h)
{
	const struct source_file *f = file_of(p);
	struct loss loss = {.path = f->path, .from = p->have + 1, .to = h->first - 1, .what = f->err.what};
	struct walk_hole hole = {.to = segment_size(f->segment), .what = f->err.what};
	bool unsaid = p->begun && h->first > p->have + 1, may_be_cut = walk_may_be_cut(f);
	if (unsaid && may_be_cut && walk_ends_before(f, p->before, p->have + 1))
		take_torn(p, f->path, &hole);
	else if (unsaid)
		lose(p, &loss, p->file, SEGMENT_HEADER_SIZE);
	else if (!may_be_cut)
		add_error(p, LOSS_NOTHING, f, &f->err); /* its blocks tell what is lost */
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
		take_unopened(p);
		return TOOL_OK;
	}
	const struct segment_header *h = segment_get_header(f->segment);
	if (h->generation != p->generation)
		return TOOL_OK;
	if (f->headless)
		join_headless(p, h);
	else
		join(p, h);
	if (p->ended)
		return TOOL_OK;
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

/* A snapshot was scanned while the log went on: without that part of the log it is no state at all. After a stop in
 * order the manifest knows the last number. */
static void judge_end(struct planner *p, bool all)
{
	const struct source *s = p->source;
	uint64_t scanned = p->plan->snapshot ? end_of_scan(p->plan->snapshot) : 0;
	struct loss loss = {.path = s->path, .from = p->have + 1};
	if (p->rest_lost)
		return;
	if (p->have < scanned) {
		loss.to = scanned;
		loss.what = "the log ends before the snapshot does";
		cut(p, &loss);
	} else if (all && s->manifest.clean && s->manifest.n_segments > 0 && p->have < s->manifest.last_seq) {
		loss.to = s->manifest.last_seq;
		loss.what = "the log ends before the last stop in order did";
		cut(p, &loss);
	}
}

/* What is wrong with the snapshots that count. */
static void judge_snapshots(struct planner *p)
{
	const struct source *s = p->source;
	struct hearth_error err;
	for (size_t i = 0; i < s->n_files; i++) {
		const struct source_file *f = &s->files[i];
		if (f->kind != DATADIR_SNAPSHOT)
			continue;
		if (!f->snapshot)
			add_error(p, LOSS_SNAPSHOT, f, &f->err);
		else if (f == p->plan->snapshot && !is_whole(f, &err))
			add_error(p, LOSS_SNAPSHOT, f, &err);
	}
}

static int attempt(struct plan *plan, const struct source *source, const struct reach_goal *goal,
    const struct source_file *snapshot)
{
	struct planner p = {.plan = plan, .source = source};
	*plan = (struct plan){.snapshot = snapshot, .limit = goal ? goal->number : UINT64_MAX};
	p.generation = goal ? goal->generation : source->manifest.generation;
	if (!goal)
		judge_snapshots(&p);
	if (snapshot) {
		const struct snapshot_header *h = snapshot_get_header(snapshot->snapshot);
		plan->upto = plan->last = p.have = h->start;
		plan->flush_due = h->flush_due;
		p.due_known = true;
	}
	int exit_code = TOOL_OK;
	for (p.file = 0; p.file < source->n_files && exit_code == TOOL_OK && !p.ended; p.file++)
		exit_code = p.have < plan->limit ? take_file(&p) : TOOL_OK;
	if (exit_code == TOOL_OK)
		judge_end(&p, goal == NULL);
	if (exit_code == TOOL_OK && p.no_memory)
		exit_code = report_no_memory();
	if (plan->lost)
		keyset_seal(plan->lost);
	return exit_code == TOOL_OK && !plan->snapshot && !plan->has_log ? TOOL_DATA : exit_code;
}

/* A damaged snapshot costs what was in its bad blocks; an older one that is whole costs nothing if all of the log behind
 * it is there. */
static int try_older(struct plan *plan, const struct source *source, int exit_code)
{
	const struct source_file *f = plan->snapshot;
	struct hearth_error err;
	if (!f || is_whole(f, &err))
		return exit_code;
	while ((f = choose_snapshot(source, f)) != NULL) {
		struct plan other;
		if (!is_whole(f, &err))
			continue;
		if (attempt(&other, source, NULL, f) == TOOL_OK && other.holes == 0) {
			plan_free(plan);
			*plan = other;
			return TOOL_OK;
		}
		plan_free(&other);
	}
	return exit_code;
}

int plan_make(
    struct plan *plan, const struct source *source, const struct reach_goal *goal, enum plan_how how)
{
	*plan = (struct plan){0};
	if (!goal && source->manifest.untrusted) {
		if (how != PLAN_AS_START)
			msg(MSG_ERROR,
			    "%s: its files are marked as ones with a hole: old values could come back; "
			    "restore "
			    "an earlier moment with --at or --seq, or a snapshot by name",
			    source->path);
		return TOOL_DATA;
	}
	int exit_code = attempt(plan, source, goal, goal ? goal->snapshot : choose_snapshot(source, NULL));
	if (how == PLAN_AS_START)
		return exit_code;
	if (!goal)
		exit_code = try_older(plan, source, exit_code);
	for (size_t i = 0; i < plan->losses.n; i++)
		loss_report(&plan->losses.list[i]);
	if (exit_code == TOOL_DATA && how == PLAN_ANY && plan->losses.n == 0)
		return TOOL_OK;
	if (exit_code == TOOL_DATA)
		msg(MSG_ERROR, "%s: holds nothing that can be restored", source->path);
	return exit_code;
}

void plan_free(struct plan *plan)
{
	losses_free(&plan->losses);
	keyset_free(&plan->lost);
}
