/* SPDX-License-Identifier: BSD-3-Clause */
/* snapshots: see snapshots.h. */
#include <string.h>
#include "base/msg.h"
#include "base/vfs.h"
#include "tool/json.h"
#include "tool/moment.h"
#include "tool/report.h"
#include "tool/snapshots.h"
#include "tool/tool.h"
#include <hearth/datadir.h>
#include <hearth/snapshot.h>

struct row {
	const struct manifest_snapshot *entry;
	char name[DATADIR_NAME_SIZE], time[MOMENT_SIZE];
	uint64_t items;
	bool counted; /* the file is there and its footer verifies */
};

static struct row look(struct datadir *dir, const struct manifest *m, const struct manifest_snapshot *s)
{
	struct row row = {.entry = s};
	struct snapshot_reader *reader;
	datadir_name(DATADIR_SNAPSHOT, s->number, row.name);
	moment_text(s->wall_ms, row.time);
	snapshot_open(&reader, vfs_posix(), datadir_fd(dir), row.name, m->lineage, NULL);
	const struct snapshot_footer *footer = reader ? snapshot_get_footer(reader) : NULL;
	row.counted = footer != NULL;
	row.items = footer ? footer->items : 0;
	if (reader)
		snapshot_close(&reader);
	return row;
}

static void print_json(struct out *out, const struct row *row)
{
	const struct manifest_snapshot *s = row->entry;
	struct json j = json_begin(out);
	json_text(&j, "file", row->name);
	json_u64(&j, "number", s->number);
	json_text(&j, "time", row->time);
	json_u64(&j, "start", s->start);
	json_u64(&j, "end", s->end);
	if (row->counted)
		json_u64(&j, "items", row->items);
	else
		json_null(&j, "items");
	json_u64(&j, "bytes", s->bytes);
	json_u64(&j, "generation", s->generation);
	json_bool(&j, "pinned", s->pinned);
	json_end(&j);
}

static void print_text(struct out *out, const struct row *row)
{
	const struct manifest_snapshot *s = row->entry;
	out_text(out, row->name);
	out_text(out, "  ");
	out_text(out, row->time);
	out_text(out, "  numbers ");
	out_u64(out, s->start);
	out_text(out, " to ");
	out_u64(out, s->end);
	out_text(out, ", ");
	if (row->counted)
		out_u64(out, row->items);
	else
		out_text(out, "unknown");
	out_text(out, " items, ");
	out_u64(out, s->bytes);
	out_text(out, " bytes, generation ");
	out_u64(out, s->generation);
	out_text(out, s->pinned ? ", pinned\n" : "\n");
}

int snapshots_list(const char *directory, bool as_json)
{
	struct hearth_error err = {0};
	struct datadir *dir;
	struct manifest m = {0};
	struct out out;
	bool repaired;
	enum hearth_status status = datadir_open(&dir, vfs_posix(), directory, false, false, NULL, &err);
	if (status == HEARTH_OK)
		status = datadir_read_manifest(dir, &m, &repaired, &err);
	if (status == HEARTH_DAMAGED)
		status = datadir_rebuild_manifest(dir, &m, &err);
	int exit_code = report_exit(status);
	if (status != HEARTH_OK && status != HEARTH_END)
		report_error(directory, &err);
	else if (!out_open(&out, 1))
		exit_code = TOOL_SYSTEM;
	else {
		for (size_t i = 0; i < m.n_snapshots; i++) {
			struct row row = look(dir, &m, &m.snapshots[i]);
			if (as_json)
				print_json(&out, &row);
			else
				print_text(&out, &row);
		}
		exit_code = out_close(&out) ? TOOL_OK : TOOL_IO;
	}
	manifest_free(&m);
	datadir_close(&dir);
	return exit_code;
}
