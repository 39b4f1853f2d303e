/* SPDX-License-Identifier: BSD-3-Clause */
/* copy: see copy.h. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/msg.h"
#include "tool/copy.h"
#include "tool/json.h"
#include "tool/moment.h"
#include "tool/report.h"
#include "tool/tool.h"
#include "tool/walk.h"

/* Numbers in one block of records that change nothing. */
#define FILLED_MAX 65536u

static uint64_t largest(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* ---- records that change on the way ---- */

/* 0 is never, and never becomes it. */
static int64_t shift_time(const struct copy *c, int64_t at)
{
	int64_t moved;
	if (at == 0 || c->shift == 0)
		return at;
	if (__builtin_add_overflow(at, c->shift, &moved))
		return INT64_MAX;
	return moved == 0 ? 1 : moved;
}

static bool put_record(struct copy *c, const struct record *r)
{
	size_t size = record_size(r);
	if (!buf_reserve(&c->written_anew, size + RECORD_OVERHEAD_MAX))
		return false;
	c->written_anew.tail += record_encode(r, c->written_anew.data + c->written_anew.tail);
	return true;
}

static bool is_outdated(const struct copy *c, const struct record *r, uint64_t seq)
{
	return c->plan->lost && r->type == RECORD_SET &&
	       seq < keyset_below(c->plan->lost, r->key, r->key_len);
}

/* Records as they go into the target: their expiries moved, outdated ones left out. In the log a number goes on being
 * taken (first: that of the first record), in a snapshot (first 0) the record is not there any more. Where nothing changes
 * they stay where they lie. Verified records decode. */
static bool write_anew(
    struct copy *c, uint64_t first, const uint8_t **records, size_t *len, uint32_t *ret_outdated)
{
	const uint8_t *at = *records;
	size_t left = *len, used;
	struct record r;
	*ret_outdated = 0;
	if (c->shift == 0 && !c->plan->lost)
		return true;
	buf_clear(&c->written_anew);
	for (uint64_t next = first; record_decode(at, left, &r, &used) == HEARTH_OK;
	     at += used, left -= used) {
		bool timed = r.type == RECORD_SET || r.type == RECORD_TOUCH || r.type == RECORD_FLUSH_AT;
		bool numbered = record_takes_number(r.type);
		const struct record pass = {.type = RECORD_PASS};
		struct record anew = r;
		bool outdated = is_outdated(c, &r, first > 0 ? next : r.seq);
		anew.expiry = shift_time(c, r.expiry);
		bool ok = true;
		if (outdated)
			ok = first == 0 || put_record(c, &pass);
		else if (timed && c->shift != 0)
			ok = put_record(c, &anew);
		else
			ok = buf_append(&c->written_anew, at, used);
		if (!ok)
			return false;
		*ret_outdated += outdated;
		next += numbered;
	}
	*records = c->written_anew.data + c->written_anew.head;
	*len = buf_len(&c->written_anew);
	return true;
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

static int copy_block(struct copy *c, const struct source_file *f, size_t i, uint8_t **buf, size_t *buf_size,
    struct snapshot_footer *footer)
{
	const struct snapshot_block b = snapshot_get_block(f->snapshot, i);
	const uint8_t *records;
	size_t len;
	uint32_t items;
	uint64_t last;
	struct hearth_error err = {.offset = b.offset, .what = "records of a block do not decode"};
	enum hearth_status status = snapshot_load(f->snapshot, i, buf, buf_size, &records, &len, &err);
	progress_add(&c->progress, b.stored_len);
	if (status == HEARTH_OK)
		err.status = status = count_items(records, len, &items, &last);
	if (status == HEARTH_OK) {
		c->items += items;
		footer->end = largest(footer->end, largest(last, b.upto));
		uint32_t outdated;
		if (!write_anew(c, 0, &records, &len, &outdated))
			return report_no_memory();
		c->items -= outdated;
		c->outdated += outdated;
		if (outdated > 0 && outdated == items)
			return TOOL_OK;
		return target_snapshot_block(c->target, records, len, items - outdated, b.upto);
	}
	report_error(f->path, &err);
	if (status != HEARTH_DAMAGED && status != HEARTH_TORN)
		return tool_worse(report_exit(status), TOOL_DATA);
	msg(MSG_WARN, "%s: at offset %" PRIu64 ": %" PRIu32 " items are lost with this block", f->path,
	    b.offset, b.items);
	c->items_lost += b.items;
	c->blocks_lost++;
	return TOOL_OK;
}

/* alone: no log follows, so the history of the new directory begins where the scan of this one ended. */
static int copy_snapshot(struct copy *c, const struct source_file *f, bool alone)
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
	c->flush_due = h.flush_due;
	c->time_ms = footer.hearth_ms > h.hearth_ms ? footer.hearth_ms : h.hearth_ms;
	h.flush_due = shift_time(c, h.flush_due);
	footer.flush_due = shift_time(c, footer.flush_due);
	int exit_code = target_snapshot_begin(c->target, &h);
	for (size_t i = 0; i < n && exit_code == TOOL_OK; i++)
		exit_code = copy_block(c, f, i, &buf, &buf_size, &footer);
	free(buf);
	return exit_code == TOOL_OK ? target_snapshot_end(c->target, &footer) : exit_code;
}

/* ---- the log ---- */

struct stretch {
	struct copy *copy;
	bool open;                           /* a segment of the target is */
	uint64_t next;                       /* number due in it */
	const struct segment_header *header; /* of the segment being read */
};

/* What the plan keeps of a block. */
struct part {
	const uint8_t *from, *to;
	uint64_t kept;
	struct block_header head; /* that of a block with these records alone */
};

static struct part part_of(const struct copy *c, const struct segment_block *b)
{
	const struct plan *plan = c->plan;
	struct part p = {.from = b->payload, .to = b->payload + b->payload_len, .head = b->head};
	struct segment_records walk = segment_records(b);
	struct record r;
	uint64_t first = 0, last = 0;
	int64_t due = c->flush_due;
	for (const uint8_t *at = walk.at; segment_next_record(&walk, &r) == HEARTH_OK; at = walk.at) {
		if (r.seq > plan->limit) {
			/* Behind a record that is left out, the block's own word on the slot is too late. */
			p.to = at;
			p.head.flush_due = due;
			break;
		}
		due = r.type == RECORD_FLUSH ? 0 : r.type == RECORD_FLUSH_AT ? r.expiry : due;
		if (r.seq <= plan->upto)
			p.from = walk.at;
		else if (p.kept++ == 0)
			p.from = at;
		last = r.seq;
		first = first ? first : r.seq;
	}
	if (b->head.first <= plan->upto)
		p.head.first = plan->upto + 1;
	uint64_t behind = b->head.first + b->head.count;
	if (behind > plan->limit)
		behind = largest(last + 1, p.head.first);
	p.head.count = behind > p.head.first ? (uint32_t)(behind - p.head.first) : 0;
	return p;
}

/* Each segment has what its records need: what was met in the source so far, also in what the plan leaves out. */
static int put_dicts(struct copy *c, uint64_t first)
{
	int exit_code = TOOL_OK;
	for (size_t i = 0; i < dict_count(c->dicts.set) && exit_code == TOOL_OK; i++) {
		const struct record r = dict_record(dict_get(c->dicts.set, i));
		const struct block_header head = {
		    .first = first, .time_ms = c->time_ms, .flush_due = shift_time(c, c->flush_due)};
		buf_clear(&c->written_anew);
		if (!put_record(c, &r))
			return report_no_memory();
		exit_code = target_segment_block(
		    c->target, &head, c->written_anew.data + c->written_anew.head, buf_len(&c->written_anew));
	}
	return exit_code;
}

static bool take_dicts(struct copy *c, const struct segment_block *b)
{
	struct segment_records walk = segment_records(b);
	struct record r;
	while (segment_next_record(&walk, &r) == HEARTH_OK)
		if (r.type == RECORD_DICT && dicts_learn(&c->dicts, &r) == HEARTH_NOMEM)
			return false;
	return true;
}

static int begin_stretch(struct stretch *s, uint64_t first)
{
	struct segment_header h = *s->header;
	h.first = first;
	h.flush_due = shift_time(s->copy, s->copy->flush_due);
	s->open = true;
	s->next = first;
	int exit_code = target_segment_begin(s->copy->target, &h);
	return exit_code == TOOL_OK ? put_dicts(s->copy, first) : exit_code;
}

static int end_stretch(struct stretch *s)
{
	bool open = s->open;
	s->open = false;
	return open ? target_segment_end(s->copy->target) : TOOL_OK;
}

/* Numbers that are lost are taken by records that change nothing, so that the log of the target has no hole. */
static int fill(struct stretch *s, uint64_t from, uint64_t to)
{
	struct copy *c = s->copy;
	int exit_code = s->open && s->next != from ? end_stretch(s) : TOOL_OK;
	if (exit_code == TOOL_OK && !s->open)
		exit_code = begin_stretch(s, from);
	while (exit_code == TOOL_OK && from <= to) {
		uint32_t n = to - from < FILLED_MAX ? (uint32_t)(to - from) + 1 : FILLED_MAX;
		const struct block_header head = {.first = from,
		    .count = n,
		    .time_ms = c->time_ms,
		    .flush_due = shift_time(c, c->flush_due)};
		buf_clear(&c->written_anew);
		for (uint32_t i = 0; i < n; i++)
			if (!put_record(c, &(struct record){.type = RECORD_PASS}))
				return report_no_memory();
		exit_code = target_segment_block(
		    c->target, &head, c->written_anew.data + c->written_anew.head, buf_len(&c->written_anew));
		from += n;
	}
	s->next = to + 1;
	return exit_code;
}

/* What is lost before this number. */
static int fill_before(struct stretch *s, uint64_t first)
{
	struct copy *c = s->copy;
	const struct losses *losses = &c->plan->losses;
	int exit_code = TOOL_OK;
	for (; c->loss < losses->n && exit_code == TOOL_OK; c->loss++) {
		const struct loss *l = &losses->list[c->loss];
		if (l->kind != LOSS_KEYS)
			continue;
		if (l->to >= first)
			break;
		exit_code = fill(s, l->from, l->to);
	}
	return exit_code;
}

static int copy_log_block(struct stretch *s, const struct segment_block *b)
{
	struct copy *c = s->copy;
	if (b->head.first > c->plan->limit)
		return TOOL_OK;
	struct part p = part_of(c, b);
	if (b->head.first <= c->plan->upto && p.kept == 0)
		return TOOL_OK;
	int exit_code = fill_before(s, p.head.first);
	if (exit_code == TOOL_OK && s->open && s->next < p.head.first)
		exit_code = end_stretch(s); /* numbers that nobody got: a header may jump */
	if (exit_code == TOOL_OK && !s->open)
		exit_code = begin_stretch(s, p.head.first);
	c->records += p.kept;
	c->flush_due = p.head.flush_due;
	c->time_ms = p.head.time_ms > c->time_ms ? p.head.time_ms : c->time_ms;
	p.head.flush_due = shift_time(c, p.head.flush_due);
	size_t len = (size_t)(p.to - p.from);
	uint32_t outdated = 0;
	if (exit_code == TOOL_OK && !write_anew(c, p.head.first, &p.from, &len, &outdated))
		exit_code = report_no_memory();
	c->outdated += outdated;
	if (exit_code == TOOL_OK)
		exit_code = target_segment_block(c->target, &p.head, p.from, len);
	s->next = p.head.first + p.head.count;
	return exit_code;
}

/* The blocks of one segment between two offsets, by the same walk as when the plan was made. */
static int copy_segment(struct stretch *s, const struct source_file *f, uint64_t from, uint64_t to)
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
			progress_add(&s->copy->progress, b.end - b.offset);
			if (!take_dicts(s->copy, &b))
				return report_no_memory();
			if (b.offset >= from)
				exit_code = copy_log_block(s, &b);
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

static int copy_log(struct copy *c)
{
	const struct plan *plan = c->plan;
	struct stretch s = {.copy = c};
	int exit_code = TOOL_OK;
	c->flush_due = plan->flush_due;
	c->loss = plan->first_loss;
	for (size_t i = plan->from_file; i <= plan->to_file && exit_code == TOOL_OK; i++) {
		const struct source_file *f = &c->source->files[i];
		if (!f->segment || f->left)
			continue;
		s.header = segment_get_header(f->segment);
		exit_code = copy_segment(&s, f, i == plan->from_file ? plan->from_offset : 0,
		    i == plan->to_file ? plan->to_offset : UINT64_MAX);
		if (exit_code == TOOL_OK)
			exit_code = end_stretch(&s);
	}
	if (exit_code == TOOL_OK && c->records != plan->records) {
		msg(MSG_ERROR, "%s: its log changed while it was read", c->source->path);
		exit_code = TOOL_IO;
	}
	return exit_code;
}

/* ---- both ---- */

uint64_t copy_high_water(const struct source *source, const struct plan *plan)
{
	uint64_t high = largest(source->manifest.high_water, plan->last);
	for (size_t i = 0; i < source->n_files; i++) {
		const struct source_file *f = &source->files[i];
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
			high = largest(high, snapshot_get_block(f->snapshot, k).upto);
	}
	return high;
}

static uint64_t bytes_to_read(const struct copy *c)
{
	const struct plan *plan = c->plan;
	uint64_t bytes = plan->snapshot ? snapshot_size(plan->snapshot->snapshot) : 0;
	for (size_t i = plan->from_file; plan->has_log && i <= plan->to_file; i++)
		if (c->source->files[i].segment)
			bytes += segment_size(c->source->files[i].segment);
	return bytes;
}

static void warn_of_flush(const struct copy *c)
{
	char due[MOMENT_SIZE];
	if (c->flush_due == 0 || shift_time(c, c->flush_due) > clock_wall_ms() / 1000)
		return;
	moment_text(c->flush_due * 1000, due);
	msg(MSG_WARN,
	    "%s: a flush_all was pending, due at %s: it has fallen due since, and a start will apply it",
	    c->source->path, due);
}

int copy_run(struct copy *c)
{
	const struct plan *plan = c->plan;
	int exit_code = TOOL_OK;
	if (!dicts_open(&c->dicts))
		return report_no_memory();
	if (plan->snapshot && !dicts_take_snapshot(&c->dicts, plan->snapshot->snapshot))
		exit_code = report_no_memory();
	progress_begin(&c->progress, "copying", bytes_to_read(c));
	if (plan->snapshot && exit_code == TOOL_OK)
		exit_code = copy_snapshot(c, plan->snapshot, !c->source->is_directory);
	if (exit_code == TOOL_OK && plan->has_log)
		exit_code = copy_log(c);
	progress_end(&c->progress);
	if (exit_code == TOOL_OK)
		warn_of_flush(c);
	if (exit_code == TOOL_OK)
		exit_code = target_finish(c->target, shift_time(c, c->flush_due), c->time_ms);
	buf_free(&c->written_anew);
	dicts_close(&c->dicts);
	return exit_code;
}

/* ---- telling ---- */

struct left {
	uint64_t n;
	const char *name, *what;
};
#define LEFT_KINDS 5

static void left_out(const struct copy *c, struct left left[LEFT_KINDS])
{
	const struct plan *plan = c->plan;
	left[0] = (struct left){plan->torn, "torn_bytes", " bytes at the torn end of the log"};
	left[1] = (struct left){c->items_lost, "items_lost", " items in damaged blocks of the snapshot"};
	left[2] = (struct left){plan->snapshot_dropped, "snapshots_dropped",
	    " snapshot and the log behind it, older than damage"};
	left[3] = (struct left){plan->dropped, "records_dropped", " records older than damage"};
	left[4] = (struct left){c->outdated, "outdated", " values that lost changes may have changed"};
}

static void print_json(const struct copy *c, struct out *out, const char *to, const struct reach_goal *goal)
{
	struct left left[LEFT_KINDS];
	struct json j = json_begin(out);
	left_out(c, left);
	json_bytes(&j, "directory", to, strlen(to));
	if (goal) {
		char time[MOMENT_SIZE];
		moment_text(goal->time_ms, time);
		json_u64(&j, "seq", goal->number);
		json_text(&j, "time", time);
		json_u64(&j, "generation", goal->generation);
	}
	json_u64(&j, "items", c->items);
	json_u64(&j, "records", c->records);
	json_u64(&j, "bytes", target_bytes(c->target));
	for (size_t i = 0; i < LEFT_KINDS; i++)
		json_u64(&j, left[i].name, left[i].n);
	json_end(&j);
}

static void print_text(const struct copy *c, struct out *out, const char *to, const struct reach_goal *goal)
{
	struct left left[LEFT_KINDS];
	const char *comma = "; left out: ";
	left_out(c, left);
	out_escaped(out, to, strlen(to));
	out_text(out, ": ");
	if (goal) {
		char time[MOMENT_SIZE];
		moment_text(goal->time_ms, time);
		out_text(out, "as of number ");
		out_u64(out, goal->number);
		out_text(out, ", ");
		out_text(out, time);
		out_text(out, ": ");
	}
	out_u64(out, c->items);
	out_text(out, " items from a snapshot, ");
	out_u64(out, c->records);
	out_text(out, " records of the log, ");
	out_u64(out, target_bytes(c->target));
	out_text(out, " bytes");
	for (size_t i = 0; i < LEFT_KINDS; i++) {
		if (left[i].n == 0)
			continue;
		out_text(out, comma);
		out_u64(out, left[i].n);
		out_text(out, left[i].what);
		comma = ", ";
	}
	out_char(out, '\n');
}

void copy_print(
    const struct copy *c, struct out *out, const char *to, const struct reach_goal *goal, bool json)
{
	if (json)
		print_json(c, out, to, goal);
	else
		print_text(c, out, to, goal);
}
