/* SPDX-License-Identifier: BSD-3-Clause */
/* verdict: see verdict.h. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include "base/msg.h"
#include "tool/dicts.h"
#include "tool/report.h"
#include "tool/tool.h"
#include "tool/verdict.h"
#include "tool/walk.h"

/* Heavier ones replace lighter ones. */
static void settle(struct verdict *v, const char *word, int exit_code)
{
	if (exit_code < v->exit || (exit_code == v->exit && v->word))
		return;
	v->exit = exit_code;
	v->word = word;
}

static void place(struct verdict *v, uint64_t offset, const char *what)
{
	if (v->places++ == 0) {
		v->offset = offset;
		v->what = what;
	}
}

void verdict_add(struct verdict *v, const struct source_file *file, uint64_t offset, const char *what)
{
	struct hearth_error err = {.status = HEARTH_DAMAGED, .offset = offset, .what = what};
	report_error(file->path, &err);
	place(v, offset, what);
	settle(v, "damaged", TOOL_DAMAGE);
}

/* A failure of the library's. */
static void add_error(struct verdict *v, const struct source_file *file, const struct hearth_error *err)
{
	int exit_code = report_exit(err->status);
	report_error(file->path, err);
	place(v, err->offset, err->what ? err->what : hearth_status_text(err->status));
	switch (err->status) {
	case HEARTH_TORN:
	case HEARTH_DAMAGED:
		settle(v, "damaged", TOOL_DAMAGE);
		break;
	case HEARTH_NEWER:
		settle(v, "newer", exit_code);
		break;
	case HEARTH_FOREIGN:
		/* In the place of a file that the manifest names it is damage: a start goes on without it. */
		if (file->named_snapshot || file->named_segment)
			settle(v, "damaged", TOOL_DAMAGE);
		else
			settle(v, "foreign", exit_code);
		break;
	default:
		settle(v, "unreadable", exit_code);
	}
}

/* Whether the value of a set can be shown. The first that cannot is told, the others are counted. */
static void judge_value(struct verdict *v, const struct source_file *file, struct dicts *dicts,
    uint64_t offset, const struct record *r)
{
	struct hearth_error err = {.status = HEARTH_DAMAGED, .what = "a dictionary is none"};
	size_t len;
	bool good = dicts_learn(dicts, r) == HEARTH_OK &&
	            (r->type != RECORD_SET || r->dict == 0 || dicts_value(dicts, r, &len, &err));
	if (good)
		return;
	if (v->unreadable++ == 0)
		verdict_add(v, file, offset, err.what);
	else
		place(v, offset, err.what);
}

/* ---- a segment ---- */

static void judge_block(
    struct verdict *v, const struct source_file *file, struct dicts *dicts, const struct segment_block *b)
{
	struct segment_records walk = segment_records(b);
	struct record r;
	uint64_t records = 0;
	enum hearth_status status;
	while ((status = segment_next_record(&walk, &r)) == HEARTH_OK) {
		judge_value(v, file, dicts, b->offset, &r);
		records++;
	}
	if (status == HEARTH_NEWER) {
		struct hearth_error err = {
		    .status = status, .offset = b->offset, .what = "record of an unknown type"};
		add_error(v, file, &err);
	} else if (status != HEARTH_END) {
		verdict_add(v, file, b->offset, "records of a block do not decode");
	}
	v->blocks++;
	v->records += records;
	if (b->head.count == 0)
		return;
	if (v->first == 0)
		v->first = b->head.first;
	v->last = b->head.first + b->head.count - 1;
}

static void judge_hole(struct verdict *v, const struct source_file *file, const struct walk_hole *hole)
{
	char lost[96] = "";
	if (hole->resumed > hole->next)
		snprintf(lost, sizeof(lost), ", numbers %" PRIu64 " to %" PRIu64 " are lost", hole->next,
		    hole->resumed - 1);
	msg(MSG_ERROR, "%s: at offset %" PRIu64 ": %s: %" PRIu64 " bytes bad%s", file->path, hole->from,
	    hole->what, hole->to - hole->from, lost);
	place(v, hole->from, hole->what);
	settle(v, "damaged", TOOL_DAMAGE);
}

static void judge_torn(struct verdict *v, const struct source_file *file, const struct walk_hole *hole)
{
	msg(MSG_WARN, "%s: at offset %" PRIu64 ": %s: the log ends here, %" PRIu64 " bytes are left over",
	    file->path, hole->from, hole->what, hole->to - hole->from);
	v->left_over = hole->to - hole->from;
	v->ends = true;
	place(v, hole->from, hole->what);
	settle(v, "torn", TOOL_TORN);
}

static void judge_segment(struct verdict *v, const struct source_file *file, struct dicts *dicts)
{
	const struct segment_header *h = segment_get_header(file->segment);
	struct walk w;
	enum walk_event event;
	/* Zeros in its place are no damage by themselves where the log ends with them, or a start took that for its end. */
	bool may_be_cut = walk_may_be_cut(file);
	if (file->headless && !may_be_cut)
		add_error(v, file, &file->err);
	walk_begin(&w, file);
	do {
		struct segment_block b;
		struct walk_hole hole;
		struct hearth_error err;
		event = walk_next(&w, &b, &hole, &err);
		if (event == WALK_BLOCK)
			judge_block(v, file, dicts, &b);
		else if (event == WALK_BAD)
			judge_hole(v, file, &hole);
		else if (event == WALK_TORN)
			judge_torn(v, file, &hole);
		else if (event == WALK_FAILED)
			add_error(v, file, &err);
	} while (event == WALK_BLOCK || event == WALK_BAD);
	if (may_be_cut && !v->ends && walk_limit(file) > SEGMENT_HEADER_SIZE)
		add_error(v, file, &file->err);
	v->bytes = segment_size(file->segment);
	if (v->bytes > walk_limit(file))
		v->left_over = v->bytes - walk_limit(file);
	if (h->prev_number != 0 && h->first > h->prev_last + 1)
		v->skipped = h->first - h->prev_last - 1;
}

/* ---- a snapshot ---- */

/* Block by block, when the file as a whole does not verify, or when its values are to be looked at, too. Returns how many are
 * bad. */
static uint64_t judge_blocks(struct verdict *v, const struct source_file *file, struct dicts *dicts)
{
	uint8_t *buf = NULL;
	size_t buf_size = 0, n = snapshot_blocks(file->snapshot);
	uint64_t bad = 0;
	for (size_t i = 0; i < n; i++) {
		const uint8_t *records;
		size_t len;
		struct record r;
		struct hearth_error err = {0};
		uint64_t items = 0;
		enum hearth_status status =
		    snapshot_load(file->snapshot, i, &buf, &buf_size, &records, &len, &err);
		struct snapshot_records walk = snapshot_records(records, len);
		uint64_t offset = snapshot_get_block(file->snapshot, i).offset, before = v->unreadable;
		while (status == HEARTH_OK && (status = snapshot_next_record(&walk, &r)) == HEARTH_OK) {
			judge_value(v, file, dicts, offset, &r);
			items += r.type == RECORD_SET;
		}
		v->items_lost += v->unreadable - before;
		if (status == HEARTH_END) {
			v->blocks++;
			v->records += items;
			continue;
		}
		bad++;
		v->items_lost += snapshot_get_block(file->snapshot, i).items;
		if (records)
			hearth_fail(&err, status, file->name, snapshot_get_block(file->snapshot, i).offset,
			    "records of a block do not decode");
		add_error(v, file, &err);
	}
	free(buf);
	return bad;
}

static bool has_dicts(const struct source_file *file)
{
	for (size_t i = snapshot_blocks(file->snapshot); i-- > 0;) {
		struct snapshot_block block = snapshot_get_block(file->snapshot, i);
		if (snapshot_has_dicts(&block))
			return true;
	}
	return false;
}

static void judge_snapshot(struct verdict *v, const struct source_file *file, struct dicts *dicts)
{
	const struct snapshot_header *h = snapshot_get_header(file->snapshot);
	const struct snapshot_footer *footer = snapshot_get_footer(file->snapshot);
	struct hearth_error err = {.status = HEARTH_NOMEM, .what = "no memory for dictionaries"};
	if (!dicts_take_snapshot(dicts, file->snapshot))
		add_error(v, file, &err);
	v->bytes = snapshot_size(file->snapshot);
	v->first = h->start;
	v->last = footer ? footer->end : 0;
	bool open = file->status == HEARTH_OK;
	if (!open)
		add_error(v, file, &file->err);
	bool whole = open && snapshot_verify(file->snapshot, &err) == HEARTH_OK;
	if (whole && !has_dicts(file)) {
		v->blocks = footer->blocks;
		v->records = footer->items;
	} else if (judge_blocks(v, file, dicts) == 0 && open && !whole) {
		add_error(v, file, &err);
	}
	const struct manifest_snapshot *named = file->named_snapshot;
	if (named && (named->start != h->start || named->generation != h->generation ||
	                 named->bytes != v->bytes || (footer && named->end != footer->end)))
		verdict_add(
		    v, file, 0, "not the snapshot that the manifest means: its numbers or size differ");
}

/* ---- a file ---- */

static uint64_t size_of(const struct source_file *file)
{
	struct stat st;
	return fstatat(file->dirfd, file->name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? (uint64_t)st.st_size : 0;
}

void verdict_judge(struct verdict *v, const struct source_file *file, bool ended, struct dicts *dicts)
{
	*v = (struct verdict){0};
	if (file->missing) {
		add_error(v, file, &file->err);
		v->word = "missing";
	} else if (file->status == HEARTH_END) {
		settle(v, "unused", TOOL_OK);
		v->bytes = size_of(file);
	} else if (file->left || (ended && file->kind == DATADIR_LOG)) {
		settle(v, "left", TOOL_OK);
		v->bytes = v->left_over = size_of(file);
	} else if (file->segment) {
		judge_segment(v, file, dicts);
	} else if (file->snapshot) {
		judge_snapshot(v, file, dicts);
	} else if (file->kind == DATADIR_LOG && file->status == HEARTH_TORN && file->last) {
		v->bytes = size_of(file);
		struct walk_hole hole = {.to = v->bytes, .what = file->err.what};
		judge_torn(v, file, &hole);
	} else {
		v->bytes = size_of(file);
		add_error(v, file, &file->err);
	}
	settle(v, "ok", TOOL_OK);
}
