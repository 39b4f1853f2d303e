/* SPDX-License-Identifier: BSD-3-Clause */
/* contents: see contents.h. Both readings are one walk over the same records in the same order; what is done with a record
 * is what differs. */
#include <inttypes.h>
#include <stdlib.h>
#include "base/check.h"
#include "base/clock.h"
#include "base/msg.h"
#include "tool/contents.h"
#include "tool/dicts.h"
#include "tool/moment.h"
#include "tool/plan.h"
#include "tool/progress.h"
#include "tool/report.h"
#include "tool/table.h"
#include "tool/tool.h"
#include "tool/walk.h"

#define CONTENTS_MAGIC 0xc0937e57u
/* The last that is known of a key. */
struct newest {
	struct hash_wide hash;
	uint64_t number; /* of the set that made it what it is, with the marks below */
	int64_t expiry;  /* as the last touch left it */
};

/* In newest.number, above all numbers: the last record stands in the snapshot, not in the log; and it has been handed
 * out in this walk. */
#define IN_SNAPSHOT (UINT64_C(1) << 62)
#define HANDED_OUT  (UINT64_C(1) << 63)
#define NUMBER      (IN_SNAPSHOT - 1)

struct contents {
	uint32_t magic;
	struct source source;
	struct plan plan;
	const struct source_file *segment; /* it is this one alone */
	struct dicts dicts;
	struct table newest;
	struct progress progress;
	int64_t flush_due; /* behind what was read; 0 = none is pending */
	bool
	    flushed; /* it has fallen due since: nothing is left, but for those who ask for what has expired, too */
	bool damaged; /* something could not be read */
};

/* One walk over all records. */
struct reading {
	struct contents *c;
	bool first; /* to learn which are the last; otherwise these are handed out */
	const struct item_wish *wish;
	int64_t now; /* seconds */
	item_take *take;
	void *arg;
	const struct source_file *file;
	uint64_t offset; /* of the block */
	bool in_snapshot;
	uint64_t records;
};

/* ---- the first reading ---- */

static struct newest *find(const struct contents *c, const struct record *r)
{
	return table_find(&c->newest, r->key, r->key_len);
}

static int learn_set(struct reading *rd, const struct record *r)
{
	struct newest *e = table_put(&rd->c->newest, r->key, r->key_len);
	if (!e)
		return report_no_memory();
	/* A scan may meet a key twice; the log is in order. */
	if (rd->in_snapshot && (e->number & NUMBER) > r->seq)
		return TOOL_OK;
	e->number = r->seq | (rd->in_snapshot ? IN_SNAPSHOT : 0);
	e->expiry = r->expiry;
	return TOOL_OK;
}

/* Everything with a lower number goes. */
static void flush(struct contents *c, uint64_t number)
{
	for (size_t i = 0; i < c->newest.size;) {
		struct newest *e = table_at(&c->newest, i);
		/* What a removal moves here is looked at, too. */
		if (e && (e->number & NUMBER) < number)
			table_remove(&c->newest, e);
		else
			i++;
	}
}

static int learn(struct reading *rd, const struct record *r)
{
	struct contents *c = rd->c;
	struct newest *e;
	switch (r->type) {
	case RECORD_SET:
		return learn_set(rd, r);
	case RECORD_DELETE:
		if ((e = find(c, r)) != NULL)
			table_remove(&c->newest, e);
		break;
	case RECORD_TOUCH:
		if ((e = find(c, r)) != NULL)
			e->expiry = r->expiry;
		break;
	case RECORD_FLUSH:
		flush(c, r->seq);
		c->flush_due = 0;
		break;
	case RECORD_FLUSH_AT:
		c->flush_due = r->expiry;
		break;
	}
	return TOOL_OK;
}

/* ---- the other ones ---- */

static int hand_out(struct reading *rd, const struct record *r)
{
	struct contents *c = rd->c;
	if (r->type != RECORD_SET || !item_is_wanted(rd->wish, r->key, r->key_len))
		return TOOL_OK;
	struct newest *e = find(c, r);
	if (!e || e->number != (r->seq | (rd->in_snapshot ? IN_SNAPSHOT : 0)))
		return TOOL_OK;
	e->number |= HANDED_OUT;
	if (!rd->wish->expired && e->expiry != 0 && e->expiry <= rd->now)
		return TOOL_OK;
	struct item item = {.key = r->key,
	    .key_len = r->key_len,
	    .size = dicts_length(r),
	    .expiry = e->expiry,
	    .access = r->access,
	    .cas = r->cas ? r->cas : r->seq,
	    .flags = r->flags,
	    .binary_key = r->bits & RECORD_BINARY_KEY,
	    .stale = r->bits & RECORD_STALE,
	    .awaited = r->bits & RECORD_WIN_SENT};
	if (rd->wish->values) {
		struct hearth_error err;
		size_t len;
		item.value = dicts_value(&c->dicts, r, &len, &err);
		item.size = len;
		if (!item.value) {
			err.offset = rd->offset;
			report_error(rd->file->path, &err);
			c->damaged = true;
			return TOOL_OK;
		}
	}
	return rd->take(rd->arg, &item);
}

/* ---- any of them ---- */

static bool is_outdated(const struct contents *c, const struct record *r)
{
	return c->plan.lost && r->type == RECORD_SET &&
	       r->seq < keyset_below(c->plan.lost, r->key, r->key_len);
}

static int take_record(struct reading *rd, const struct record *r)
{
	if (is_outdated(rd->c, r))
		return TOOL_OK;
	return rd->first ? learn(rd, r) : hand_out(rd, r);
}

/* A block of the snapshot that cannot be read costs its items. */
static int lose_block(struct reading *rd, const struct snapshot_block *b, const struct hearth_error *err)
{
	if (err->status != HEARTH_DAMAGED && err->status != HEARTH_TORN) {
		report_error(rd->file->path, err);
		return tool_worse(report_exit(err->status), TOOL_DATA);
	}
	if (rd->first) {
		report_error(rd->file->path, err);
		msg(MSG_WARN, "%s: at offset %" PRIu64 ": %" PRIu32 " items are lost with this block",
		    rd->file->path, b->offset, b->items);
	}
	rd->c->damaged = true;
	return TOOL_OK;
}

static int read_snapshot_block(struct reading *rd, size_t i, uint8_t **buf, size_t *buf_size)
{
	const struct snapshot_block b = snapshot_get_block(rd->file->snapshot, i);
	struct hearth_error err = {.offset = b.offset, .what = "records of a block do not decode"};
	const uint8_t *records;
	size_t len;
	struct record r;
	int exit_code = TOOL_OK;
	rd->offset = b.offset;
	enum hearth_status status = snapshot_load(rd->file->snapshot, i, buf, buf_size, &records, &len, &err);
	if (status != HEARTH_OK)
		return lose_block(rd, &b, &err);
	struct snapshot_records walk = snapshot_records(records, len);
	while (exit_code == TOOL_OK && (status = snapshot_next_record(&walk, &r)) == HEARTH_OK)
		exit_code = r.type == RECORD_SET ? take_record(rd, &r) : TOOL_OK;
	err.status = status;
	return exit_code == TOOL_OK && status != HEARTH_END ? lose_block(rd, &b, &err) : exit_code;
}

static int read_snapshot(struct reading *rd)
{
	const struct source_file *f = rd->c->plan.snapshot;
	uint8_t *buf = NULL;
	size_t buf_size = 0;
	int exit_code = TOOL_OK;
	rd->file = f;
	rd->in_snapshot = true;
	for (size_t i = 0; i < snapshot_blocks(f->snapshot) && exit_code == TOOL_OK; i++)
		exit_code = read_snapshot_block(rd, i, &buf, &buf_size);
	free(buf);
	rd->in_snapshot = false;
	return exit_code;
}

/* All dictionaries are taken, records only from this offset on. */
static int read_log_block(struct reading *rd, const struct segment_block *b, uint64_t from)
{
	const struct plan *plan = &rd->c->plan;
	struct segment_records walk = segment_records(b);
	struct record r;
	int exit_code = TOOL_OK;
	enum hearth_status status;
	rd->offset = b->offset;
	while (exit_code == TOOL_OK && (status = segment_next_record(&walk, &r)) == HEARTH_OK) {
		if (r.type == RECORD_DICT && dicts_learn(&rd->c->dicts, &r) == HEARTH_NOMEM)
			return report_no_memory();
		if (b->offset < from || r.seq <= plan->upto || r.seq > plan->limit)
			continue;
		rd->records++;
		exit_code = take_record(rd, &r);
	}
	/* In a directory the plan has told of it. */
	if (exit_code == TOOL_OK && status != HEARTH_END && rd->c->segment && rd->first) {
		const struct hearth_error err = {
		    .status = status, .offset = b->offset, .what = "record does not decode"};
		report_error(rd->file->path, &err);
		rd->c->damaged = true;
		return status == HEARTH_NEWER ? TOOL_DATA : TOOL_OK;
	}
	return exit_code;
}

/* Of a segment by itself; of a directory the plan has told. */
static void complain_hole(const struct reading *rd, const struct walk_hole *hole, bool torn)
{
	if (!rd->c->segment || !rd->first)
		return;
	msg(torn ? MSG_WARN : MSG_ERROR, "%s: at offset %" PRIu64 ": %s: %" PRIu64 " bytes are passed over",
	    rd->file->path, hole->from, hole->what, hole->to - hole->from);
	rd->c->damaged = rd->c->damaged || !torn;
}

static int read_segment(struct reading *rd, uint64_t from, uint64_t to)
{
	struct walk w;
	int exit_code = TOOL_OK;
	walk_begin(&w, rd->file);
	while (exit_code == TOOL_OK && w.end < to) {
		struct segment_block b;
		struct walk_hole hole;
		struct hearth_error err;
		switch (walk_next(&w, &b, &hole, &err)) {
		case WALK_BLOCK:
			exit_code = read_log_block(rd, &b, from);
			break;
		case WALK_BAD:
			complain_hole(rd, &hole, false);
			break;
		case WALK_TORN:
			complain_hole(rd, &hole, true);
			return TOOL_OK;
		case WALK_FAILED:
			report_error(rd->file->path, &err);
			return tool_worse(report_exit(err.status), TOOL_DATA);
		case WALK_END:
			return TOOL_OK;
		}
	}
	return exit_code;
}

static int read_log(struct reading *rd)
{
	const struct contents *c = rd->c;
	const struct plan *plan = &c->plan;
	int exit_code = TOOL_OK;
	for (size_t i = plan->from_file; i <= plan->to_file && exit_code == TOOL_OK; i++) {
		rd->file = &c->source.files[i];
		if (rd->file->segment && !rd->file->left)
			exit_code = read_segment(rd, i == plan->from_file ? plan->from_offset : 0,
			    i == plan->to_file ? plan->to_offset : UINT64_MAX);
	}
	return exit_code;
}

static int read_all(struct reading *rd, const char *what)
{
	struct contents *c = rd->c;
	int exit_code = TOOL_OK;
	source_watch(&c->source, &c->progress, what);
	if (rd->wish && rd->wish->printed)
		progress_beside_output(&c->progress);
	if (c->plan.snapshot)
		exit_code = read_snapshot(rd);
	if (exit_code == TOOL_OK && c->plan.has_log)
		exit_code = read_log(rd);
	source_unwatch(&c->source);
	return exit_code;
}

/* ---- opening ---- */

/* Of a file by itself there is nothing to choose. */
static int take_file(struct contents *c)
{
	struct source_file *f = c->source.files;
	struct plan *plan = &c->plan;
	if (f->status != HEARTH_OK && f->status != HEARTH_END)
		report_error(f->path, &f->err);
	plan->limit = UINT64_MAX;
	if (f->snapshot) {
		const struct snapshot_footer *footer = snapshot_get_footer(f->snapshot);
		plan->snapshot = f;
		plan->flush_due = footer ? footer->flush_due : snapshot_get_header(f->snapshot)->flush_due;
	} else if (f->segment) {
		c->segment = f;
		plan->has_log = true;
		plan->to_offset = UINT64_MAX;
		plan->flush_due = segment_get_header(f->segment)->flush_due;
	} else if (f->status != HEARTH_END) {
		return tool_worse(report_exit(f->status), TOOL_DATA);
	}
	c->damaged = f->status == HEARTH_DAMAGED || f->status == HEARTH_TORN;
	return TOOL_OK;
}

/* A flush that has fallen due since is what a start would apply first. */
static void judge_flush(struct contents *c)
{
	char due[MOMENT_SIZE];
	c->flushed = c->flush_due != 0 && c->flush_due <= clock_wall_ms() / 1000;
	if (!c->flushed)
		return;
	moment_text(c->flush_due * 1000, due);
	msg(MSG_WARN,
	    "%s: a flush_all was pending, due at %s: it has fallen due since, and takes all that was there",
	    c->source.path, due);
}

static int prepare(struct contents *c)
{
	int exit_code;
	if (c->source.is_directory) {
		source_watch(&c->source, &c->progress, "verifying");
		exit_code = plan_make(&c->plan, &c->source, NULL, PLAN_ANY);
		source_unwatch(&c->source);
	} else {
		exit_code = take_file(c);
	}
	if (exit_code != TOOL_OK)
		return exit_code;
	struct snapshot_reader *snapshot = c->plan.snapshot ? c->plan.snapshot->snapshot : NULL;
	const struct snapshot_footer *footer = snapshot ? snapshot_get_footer(snapshot) : NULL;
	c->damaged = c->damaged || c->plan.holes > 0 || c->plan.snapshot_dropped;
	c->flush_due = c->plan.flush_due;
	if (!dicts_open(&c->dicts) || (snapshot && !dicts_take_snapshot(&c->dicts, snapshot)))
		return report_no_memory();
	exit_code = table_open(&c->newest, sizeof(struct newest), footer ? footer->items : 0);
	struct reading rd = {.c = c, .first = true};
	if (exit_code == TOOL_OK)
		exit_code = read_all(&rd, "reading");
	if (exit_code == TOOL_OK && !c->segment && rd.records != c->plan.records) {
		msg(MSG_ERROR, "%s: its log changed while it was read", c->source.path);
		return TOOL_IO;
	}
	if (exit_code == TOOL_OK)
		judge_flush(c);
	return exit_code;
}

int contents_open(struct contents **ret_contents, const char *path)
{
	*ret_contents = NULL;
	struct contents *c = calloc(1, sizeof(*c));
	if (!c)
		return report_no_memory();
	enum hearth_status status = source_open(&c->source, path);
	if (status != HEARTH_OK) {
		free(c);
		return tool_worse(report_exit(status), TOOL_DATA);
	}
	c->magic = CONTENTS_MAGIC;
	int exit_code = prepare(c);
	*ret_contents = c;
	if (exit_code != TOOL_OK)
		contents_close(ret_contents);
	return exit_code;
}

void contents_close(struct contents **contents)
{
	struct contents *c = *contents;
	if (!c)
		return;
	CHECK_MAGIC(c, CONTENTS_MAGIC);
	table_close(&c->newest);
	dicts_close(&c->dicts);
	plan_free(&c->plan);
	source_close(&c->source);
	c->magic = 0;
	free(c);
	*contents = NULL;
}

uint64_t contents_count(const struct contents *c)
{
	return c->newest.used;
}

int contents_each(struct contents *c, const struct item_wish *wish, item_take *take, void *arg)
{
	CHECK_MAGIC(c, CONTENTS_MAGIC);
	struct reading rd = {.c = c, .wish = wish, .now = clock_wall_ms() / 1000, .take = take, .arg = arg};
	for (size_t i = 0; i < c->newest.size; i++) {
		struct newest *e = table_at(&c->newest, i);
		if (e)
			e->number &= ~HANDED_OUT;
	}
	bool none = c->flushed && !wish->expired;
	int exit_code = none ? TOOL_OK : read_all(&rd, "writing");
	return exit_code == TOOL_OK && c->damaged ? TOOL_DAMAGE : exit_code;
}
