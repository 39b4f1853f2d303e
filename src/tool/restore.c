/* SPDX-License-Identifier: BSD-3-Clause */
/* restore: makes a new data directory, of a lineage of its own, from a snapshot or from another data
 * directory, whose daemon may be running. What is copied is decoded and verified on the way; what cannot be
 * kept is named. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "base/msg.h"
#include "tool/options.h"
#include "tool/out.h"
#include "tool/plan.h"
#include "tool/report.h"
#include "tool/target.h"
#include "tool/tool.h"
#include "tool/walk.h"

enum { ROW_TO, N_ROWS };
static const struct options_row ROWS[N_ROWS] = {
    [ROW_TO] = {"to", "NEWDIR", "the directory to make; must be empty"}};
static const struct options_spec SPEC = {"restore", "SNAPSHOT|DIR",
    "Makes a new data directory from a snapshot or another data directory.", ROWS, N_ROWS};

struct restore {
	struct source source;
	struct plan plan;
	struct target *target;
	uint64_t items, records;
	uint64_t items_lost, blocks_lost; /* of the snapshot */
	/* Behind what was copied so far. */
	int64_t flush_due, time_ms;
};

static uint64_t largest(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* ---- the snapshot ---- */

/* A block's items, decoded one by one; *ret_last: the highest number among them. */
static enum hearth_status count_items(
    const uint8_t *records, size_t len, uint32_t *ret_items, uint64_t *ret_last)
{
	struct snapshot_records walk = snapshot_records(records, len);
	struct record r;
	enum hearth_status status;
	*ret_items = 0;
	*ret_last = 0;
	while ((status = snapshot_next_record(&walk, &r)) == HEARTH_OK) {
		*ret_items += r.type == RECORD_SET;
		*ret_last = largest(*ret_last, r.type == RECORD_SET ? r.seq : 0);
	}
	return status == HEARTH_END ? HEARTH_OK : status;
}

static int copy_block(struct restore *x, const struct source_file *f, size_t i, uint8_t **buf,
    size_t *buf_size, struct snapshot_footer *footer)
{
	const struct snapshot_block *b = snapshot_get_block(f->snapshot, i);
	const uint8_t *records;
	size_t len;
	uint32_t items;
	uint64_t last;
	struct hearth_error err = {.offset = b->offset, .what = "records of a block do not decode"};
	enum hearth_status status = snapshot_load(f->snapshot, i, buf, buf_size, &records, &len, &err);
	if (status == HEARTH_OK)
		err.status = status = count_items(records, len, &items, &last);
	if (status == HEARTH_OK) {
		x->items += items;
		footer->end = largest(footer->end, largest(last, b->upto));
		return target_snapshot_block(x->target, records, len, items, b->upto);
	}
	report_error(f->path, &err);
	if (status != HEARTH_DAMAGED && status != HEARTH_TORN)
		return tool_worse(report_exit(status), TOOL_DATA);
	msg(MSG_WARN, "%s: at offset %" PRIu64 ": %" PRIu32 " items are lost with this block", f->path,
	    b->offset, b->items);
	x->items_lost += b->items;
	x->blocks_lost++;
	return TOOL_OK;
}

/* alone: no log follows, so the history of the new directory begins where the scan of this one ended. */
static int copy_snapshot(struct restore *x, const struct source_file *f, bool alone)
{
	struct snapshot_header h = *snapshot_get_header(f->snapshot);
	const struct snapshot_footer *old = snapshot_get_footer(f->snapshot);
	struct snapshot_footer footer = {
	    .end = old ? old->end : h.start, .flush_due = h.flush_due, .hearth_ms = h.hearth_ms};
	uint8_t *buf = NULL;
	size_t buf_size = 0, n = snapshot_blocks(f->snapshot);
	if (old) {
		footer.flush_due = old->flush_due;
		footer.hearth_ms = old->hearth_ms;
	}
	if (alone) {
		h.start = footer.end;
		h.flush_due = footer.flush_due;
	}
	x->flush_due = h.flush_due;
	x->time_ms = footer.hearth_ms > h.hearth_ms ? footer.hearth_ms : h.hearth_ms;
	int exit_code = target_snapshot_begin(x->target, &h);
	for (size_t i = 0; i < n && exit_code == TOOL_OK; i++)
		exit_code = copy_block(x, f, i, &buf, &buf_size, &footer);
	free(buf);
	return exit_code == TOOL_OK ? target_snapshot_end(x->target, &footer) : exit_code;
}

/* ---- the log ---- */

struct copier {
	struct restore *restore;
	bool open;                           /* a segment of the target is */
	const struct segment_header *header; /* of the segment being read */
};

/* The records of a block behind `upto`, as a block of their own. */
static int copy_log_block(struct copier *c, const struct segment_block *b)
{
	struct restore *x = c->restore;
	struct block_header head = b->head;
	const uint8_t *from = b->payload;
	struct segment_records walk = segment_records(b);
	struct record r;
	uint64_t kept = 0;
	for (const uint8_t *at = walk.at; segment_next_record(&walk, &r) == HEARTH_OK; at = walk.at) {
		if (r.seq <= x->plan.upto)
			from = walk.at;
		else if (kept++ == 0)
			from = at;
	}
	if (head.first <= x->plan.upto) {
		uint64_t last = head.first + head.count - 1;
		if (kept == 0)
			return TOOL_OK;
		head.first = x->plan.upto + 1;
		head.count = (uint32_t)(last - x->plan.upto);
	}
	int exit_code = TOOL_OK;
	if (!c->open) {
		struct segment_header h = *c->header;
		h.first = head.first;
		h.flush_due = x->flush_due;
		exit_code = target_segment_begin(x->target, &h);
		c->open = true;
	}
	if (exit_code == TOOL_OK)
		exit_code = target_segment_block(
		    x->target, &head, from, (size_t)(b->payload + b->payload_len - from));
	x->records += kept;
	x->flush_due = head.flush_due;
	x->time_ms = head.time_ms > x->time_ms ? head.time_ms : x->time_ms;
	return exit_code;
}

/* The blocks of one segment between two offsets, by the same walk as when the plan was made. */
static int copy_segment(struct copier *c, const struct source_file *f, uint64_t from, uint64_t to)
{
	struct walk w;
	int exit_code = TOOL_OK;
	walk_begin(&w, f);
	while (exit_code == TOOL_OK && w.end < to) {
		struct segment_block b;
		struct walk_hole hole;
		struct hearth_error err;
		switch (walk_next(&w, &b, &hole, &err)) {
		case WALK_BLOCK:
			if (b.offset >= from)
				exit_code = copy_log_block(c, &b);
			break;
		case WALK_BAD:
			break; /* known; what it costs was left out by the plan */
		case WALK_FAILED:
			report_error(f->path, &err);
			return tool_worse(report_exit(err.status), TOOL_DATA);
		case WALK_TORN:
		case WALK_END:
			return TOOL_OK;
		}
	}
	return exit_code;
}

static int copy_log(struct restore *x)
{
	const struct plan *plan = &x->plan;
	struct copier c = {.restore = x};
	int exit_code = TOOL_OK;
	x->flush_due = plan->flush_due;
	for (size_t i = plan->from_file; i <= plan->to_file && exit_code == TOOL_OK; i++) {
		const struct source_file *f = &x->source.files[i];
		if (!f->segment || f->left)
			continue;
		c.header = segment_get_header(f->segment);
		exit_code = copy_segment(&c, f, i == plan->from_file ? plan->from_offset : 0,
		    i == plan->to_file ? plan->to_offset : UINT64_MAX);
		if (exit_code == TOOL_OK && c.open)
			exit_code = target_segment_end(x->target);
		c.open = false;
	}
	if (exit_code == TOOL_OK && x->records != plan->records) {
		msg(MSG_ERROR, "%s: its log changed while it was read", x->source.path);
		exit_code = TOOL_IO;
	}
	return exit_code;
}

/* ---- both ---- */

/* The highest number that may have been given out: none of them may come a second time. */
static uint64_t high_water(const struct restore *x)
{
	uint64_t high = largest(x->source.manifest.high_water, x->plan.last);
	for (size_t i = 0; i < x->source.n_files; i++) {
		const struct source_file *f = &x->source.files[i];
		if (f->segment)
			high = largest(high, segment_get_header(f->segment)->high_water);
		if (!f->snapshot)
			continue;
		const struct snapshot_header *h = snapshot_get_header(f->snapshot);
		const struct snapshot_footer *footer = snapshot_get_footer(f->snapshot);
		high = largest(high, largest(h->high_water, h->start));
		if (footer)
			high = largest(high, largest(footer->high_water, footer->end));
		/* Without footer the blocks tell how far the scan came. */
		for (size_t k = 0; !footer && k < snapshot_blocks(f->snapshot); k++)
			high = largest(high, snapshot_get_block(f->snapshot, k)->upto);
	}
	return high;
}

/* What is in the new directory and what is not, in one line. */
static bool print_summary(const struct restore *x, const char *to)
{
	const struct plan *plan = &x->plan;
	struct out out;
	if (!out_open(&out, 1))
		return false;
	out_escaped(&out, to, strlen(to));
	out_text(&out, ": ");
	out_u64(&out, x->items);
	out_text(&out, " items from a snapshot, ");
	out_u64(&out, x->records);
	out_text(&out, " records of the log, ");
	out_u64(&out, target_bytes(x->target));
	out_text(&out, " bytes");
	const char *comma = "; left out: ";
	struct left {
		uint64_t n;
		const char *what;
	} left[] = {
	    {plan->torn, " bytes at the torn end of the log"},
	    {x->items_lost, " items in damaged blocks of the snapshot"},
	    {plan->snapshot_dropped, " snapshot and the log behind it, older than damage"},
	    {plan->dropped, " records older than damage"},
	};
	for (size_t i = 0; i < sizeof(left) / sizeof(left[0]); i++) {
		if (left[i].n == 0)
			continue;
		out_text(&out, comma);
		out_u64(&out, left[i].n);
		out_text(&out, left[i].what);
		comma = ", ";
	}
	out_char(&out, '\n');
	return out_close(&out);
}

static int make_plan(struct restore *x)
{
	const struct source_file *f = x->source.files;
	if (x->source.is_directory)
		return plan_make(&x->plan, &x->source);
	if (f->kind == DATADIR_LOG && (f->segment || f->status != HEARTH_FOREIGN))
		return options_usage(&SPEC, "%s is a segment of the log: name its directory", f->path);
	if (f->status != HEARTH_OK)
		report_error(f->path, &f->err);
	if (!f->snapshot)
		return tool_worse(report_exit(f->status), TOOL_DATA);
	x->plan.snapshot = f;
	return TOOL_OK;
}

static int run(struct restore *x, const char *to)
{
	int exit_code = make_plan(x);
	if (exit_code == TOOL_OK)
		exit_code = target_open(&x->target, to, high_water(x));
	if (exit_code == TOOL_OK && x->plan.snapshot)
		exit_code = copy_snapshot(x, x->plan.snapshot, !x->source.is_directory);
	if (exit_code == TOOL_OK && x->plan.has_log)
		exit_code = copy_log(x);
	if (exit_code == TOOL_OK)
		exit_code = target_finish(x->target, x->flush_due, x->time_ms);
	if (exit_code == TOOL_OK && !print_summary(x, to))
		exit_code = TOOL_IO;
	target_close(&x->target);
	return exit_code;
}

int restore_main(int argc, char **argv)
{
	struct options o;
	const char *value, *to = NULL;
	int row, n;
	options_init(&o, &SPEC, argc, argv);
	while ((row = options_next(&o, &value)) >= 0)
		to = value;
	if (row == OPTIONS_EXIT)
		return o.exit;
	char **args = options_arguments(&o, 1, 1, &n);
	if (!args)
		return TOOL_USAGE;
	if (!to)
		return options_usage(&SPEC, "--to is missing");
	int exit_code = target_look(to);
	if (exit_code != TOOL_OK)
		return exit_code;
	struct restore x = {.target = NULL};
	enum hearth_status status = source_open(&x.source, args[0]);
	if (status != HEARTH_OK)
		return tool_worse(report_exit(status), TOOL_DATA);
	exit_code = run(&x, to);
	source_close(&x.source);
	return exit_code;
}
