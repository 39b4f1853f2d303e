/* SPDX-License-Identifier: BSD-3-Clause */
/* dump: prints the records of segments, snapshots and data directories in their order, for people or one JSON
 * object a line. Damage is named on standard error and passed over. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <hearth/keyblock.h>
#include "base/msg.h"
#include "tool/dicts.h"
#include "tool/history.h"
#include "tool/json.h"
#include "tool/options.h"
#include "tool/progress.h"
#include "tool/report.h"
#include "tool/tool.h"
#include "tool/walk.h"

enum { ROW_JSON, ROW_VALUES, ROW_KEY, ROW_PREFIX, N_ROWS };
static const struct options_row ROWS[N_ROWS] = {
    [ROW_JSON] = {"json", NULL, "one JSON object a line"},
    [ROW_VALUES] = {"values", NULL, "print values, too"},
    [ROW_KEY] = {"key", "KEY", "only records of this key (\\xNN is a byte); of a directory, its history"},
    [ROW_PREFIX] = {"prefix", "PREFIX", "only records of keys that begin so"},
};
static const struct options_spec SPEC = {"dump", "FILE|DIR...",
    "Prints the records of log segments, snapshots or whole data directories, live or not.", ROWS, N_ROWS};

struct dump {
	struct out out;
	bool json, values;
	uint8_t *key; /* NULL = all */
	const char *prefix;
	size_t key_len, prefix_len;
	int exit;
	const struct source_file *file; /* that is being printed */
	bool ended;                     /* the log of this directory did, in an earlier segment */
	struct dicts dicts;
};

static void weigh(struct dump *d, int exit_code)
{
	d->exit = tool_worse(d->exit, exit_code);
}

/* Messages stand behind the records that came before them. */
static void complain(struct dump *d, const struct hearth_error *err)
{
	out_flush(&d->out);
	report_error(d->file->path, err);
	weigh(d, report_exit(err->status));
}

/* ---- a record ---- */

static bool is_wanted(const struct dump *d, const struct record *r)
{
	if (d->key && (r->key_len != d->key_len || memcmp(r->key, d->key, d->key_len) != 0))
		return false;
	return !d->prefix || (r->key_len >= d->prefix_len && memcmp(r->key, d->prefix, d->prefix_len) == 0);
}

struct bit_name {
	uint16_t bit;
	const char *name;
};

static const struct bit_name BITS[] = {
    {RECORD_STALE, "stale"},
    {RECORD_WIN_SENT, "win_sent"},
    {RECORD_FETCHED, "fetched"},
    {RECORD_BINARY_KEY, "binary_key"},
    {RECORD_MAIN_QUEUE, "main_queue"},
};
#define N_BITS (sizeof(BITS) / sizeof(BITS[0]))

static unsigned uses(const struct record *r)
{
	return r->bits >> RECORD_USE_SHIFT & 3;
}

static bool has_key(uint8_t type)
{
	return type == RECORD_SET || type == RECORD_DELETE || type == RECORD_TOUCH || type == RECORD_MARK;
}

static bool has_expiry(uint8_t type)
{
	return type == RECORD_SET || type == RECORD_TOUCH || type == RECORD_FLUSH_AT;
}

static bool has_numbers(uint8_t type)
{
	return type == RECORD_KEY_BLOCK || type == RECORD_SEAL;
}

/* The numbers that a key block or seal describes. */
static void find_numbers(const struct record *r, uint64_t *ret_first, uint64_t *ret_last)
{
	struct keyblock b;
	keyblock_decode(r->value, (size_t)r->value_len, &b); /* has held: the record was decoded */
	*ret_first = b.first;
	*ret_last = b.first + b.count - 1;
}

static void json_numbers(struct json *j, const struct record *r)
{
	uint64_t first, last;
	find_numbers(r, &first, &last);
	json_u64(j, "first", first);
	json_u64(j, "last", last);
}

/* The value of a set; NULL when it cannot be shown, which is told behind the record. */
static const uint8_t *find_value(struct dump *d, uint64_t offset, const struct record *r, size_t *ret_len)
{
	struct hearth_error err;
	const uint8_t *value = dicts_value(&d->dicts, r, ret_len, &err);
	if (!value) {
		err.offset = offset;
		complain(d, &err);
	}
	return value;
}

static void json_value(struct dump *d, struct json *j, uint64_t offset, const struct record *r)
{
	size_t len;
	const uint8_t *value = find_value(d, offset, r, &len);
	if (value)
		json_bytes(j, "value", value, len);
	else
		json_null(j, "value");
}

/* Fields that a type does not have are null, so that each object has the same; those of few types are left out. */
static void print_json(struct dump *d, uint64_t offset, const struct record *r)
{
	struct json j = json_begin(&d->out);
	bool set = r->type == RECORD_SET;
	json_u64(&j, "seq", r->seq);
	json_text(&j, "op", record_type_name(r->type));
	if (has_key(r->type))
		json_bytes(&j, "key", r->key, r->key_len);
	else
		json_null(&j, "key");
	if (set)
		json_u64(&j, "flags", r->flags);
	else
		json_null(&j, "flags");
	if (has_expiry(r->type))
		json_i64(&j, "exp", r->expiry);
	else
		json_null(&j, "exp");
	if (set) {
		json_u64(&j, "size", dicts_length(r));
		json_u64(&j, "cas", r->cas ? r->cas : r->seq);
	} else {
		json_null(&j, "size");
		json_null(&j, "cas");
	}
	json_text(&j, "file", d->file->name);
	json_u64(&j, "offset", offset);
	for (size_t i = 0; set && i < N_BITS; i++) {
		if (r->bits & BITS[i].bit)
			json_bool(&j, BITS[i].name, true);
	}
	if (set && uses(r))
		json_u64(&j, "uses", uses(r));
	if (set && r->access)
		json_i64(&j, "access", r->access);
	if (r->dict)
		json_u64(&j, "dict", r->dict);
	if (set && r->dict)
		json_u64(&j, "packed", r->value_len);
	if (set && d->values)
		json_value(d, &j, offset, r);
	if (r->type == RECORD_DICT) {
		json_u64(&j, "sizes", UINT64_C(1) << (r->sizes & 63));
		json_u64(&j, "bytes", r->value_len);
	}
	if (has_numbers(r->type))
		json_numbers(&j, r);
	json_end(&j);
}

static void print_number(struct out *out, const char *name, uint64_t n)
{
	out_text(out, name);
	out_u64(out, n);
}

static void print_set(struct dump *d, uint64_t offset, const struct record *r)
{
	struct out *out = &d->out;
	print_number(out, " flags=", r->flags);
	out_text(out, " exp=");
	out_i64(out, r->expiry);
	print_number(out, " size=", dicts_length(r));
	if (r->cas && r->cas != r->seq)
		print_number(out, " cas=", r->cas);
	for (size_t i = 0; i < N_BITS; i++) {
		if (r->bits & BITS[i].bit) {
			out_char(out, ' ');
			out_text(out, BITS[i].name);
		}
	}
	if (uses(r))
		print_number(out, " uses=", uses(r));
	if (r->access) {
		out_text(out, " access=");
		out_i64(out, r->access);
	}
	if (r->dict) {
		print_number(out, " dict=", r->dict);
		print_number(out, " packed=", r->value_len);
	}
	size_t len;
	const uint8_t *value = d->values ? find_value(d, offset, r, &len) : NULL;
	if (value) {
		out_text(out, " value=");
		out_escaped(out, value, len);
	}
}

/* FILE:OFFSET SEQ OP [KEY] ... */
static void print_text(struct dump *d, uint64_t offset, const struct record *r)
{
	struct out *out = &d->out;
	out_text(out, d->file->name);
	print_number(out, ":", offset);
	print_number(out, " ", r->seq);
	out_char(out, ' ');
	out_text(out, record_type_name(r->type));
	if (has_key(r->type)) {
		out_char(out, ' ');
		out_escaped(out, r->key, r->key_len);
	}
	if (r->type == RECORD_SET) {
		print_set(d, offset, r);
	} else if (has_expiry(r->type)) {
		out_text(out, " exp=");
		out_i64(out, r->expiry);
	} else if (has_numbers(r->type)) {
		uint64_t first, last;
		find_numbers(r, &first, &last);
		print_number(out, " first=", first);
		print_number(out, " last=", last);
	} else if (r->type == RECORD_DICT) {
		print_number(out, " dict=", r->dict);
		print_number(out, " sizes=", UINT64_C(1) << (r->sizes & 63));
		print_number(out, " bytes=", r->value_len);
	}
	out_char(out, '\n');
}

static void take_dict(struct dump *d, uint64_t offset, const struct record *r)
{
	enum hearth_status status = dicts_learn(&d->dicts, r);
	struct hearth_error err = {.status = status, .offset = offset, .what = "a dictionary is none"};
	if (status != HEARTH_OK)
		complain(d, &err);
}

static void print_record(struct dump *d, uint64_t offset, const struct record *r)
{
	take_dict(d, offset, r);
	if ((d->key || d->prefix) && !is_wanted(d, r))
		return;
	if (d->json)
		print_json(d, offset, r);
	else
		print_text(d, offset, r);
}

/* ---- a segment ---- */

static void print_block(struct dump *d, const struct segment_block *b)
{
	struct segment_records walk = segment_records(b);
	struct record r;
	for (;;) {
		/* A packed block's records have no place of their own in the file. */
		uint64_t at = b->offset;
		if (b->head.flags == 0)
			at += BLOCK_HEADER_SIZE + (uint64_t)(walk.at - b->payload);
		enum hearth_status status = segment_next_record(&walk, &r);
		if (status == HEARTH_END)
			return;
		if (status != HEARTH_OK) {
			struct hearth_error err = {
			    .status = status, .offset = at, .what = "record does not decode"};
			complain(d, &err);
			return;
		}
		print_record(d, at, &r);
	}
}

static void complain_hole(struct dump *d, const struct walk_hole *hole, bool torn)
{
	out_flush(&d->out);
	if (torn)
		msg(MSG_WARN,
		    "%s: at offset %" PRIu64 ": %s: the log ends here, %" PRIu64 " bytes are left over",
		    d->file->path, hole->from, hole->what, hole->to - hole->from);
	else
		msg(MSG_ERROR, "%s: at offset %" PRIu64 ": %s: %" PRIu64 " bytes are passed over",
		    d->file->path, hole->from, hole->what, hole->to - hole->from);
	weigh(d, torn ? TOOL_TORN : TOOL_DAMAGE);
}

static void dump_segment(struct dump *d)
{
	struct walk w;
	walk_begin(&w, d->file);
	while (d->out.error == 0) {
		struct segment_block b;
		struct walk_hole hole;
		struct hearth_error err;
		switch (walk_next(&w, &b, &hole, &err)) {
		case WALK_BLOCK:
			print_block(d, &b);
			break;
		case WALK_BAD:
			complain_hole(d, &hole, false);
			break;
		case WALK_TORN:
			complain_hole(d, &hole, true);
			d->ended = true;
			return;
		case WALK_FAILED:
			complain(d, &err);
			return;
		case WALK_END:
			return;
		}
	}
}

/* ---- a snapshot ---- */

static bool print_snapshot_block(struct dump *d, size_t i, uint8_t **buf, size_t *buf_size)
{
	const struct snapshot_block b = snapshot_get_block(d->file->snapshot, i);
	const uint8_t *records;
	size_t len;
	struct hearth_error err;
	enum hearth_status status = snapshot_load(d->file->snapshot, i, buf, buf_size, &records, &len, &err);
	struct snapshot_records walk = snapshot_records(records, len);
	struct record r;
	while (status == HEARTH_OK && (status = snapshot_next_record(&walk, &r)) == HEARTH_OK)
		print_record(d, b.offset, &r);
	if (status == HEARTH_END)
		return true;
	if (records)
		err = (struct hearth_error){
		    .status = status, .offset = b.offset, .what = "record does not decode"};
	complain(d, &err);
	return status == HEARTH_DAMAGED || status == HEARTH_TORN;
}

static void dump_snapshot(struct dump *d)
{
	uint8_t *buf = NULL;
	size_t buf_size = 0;
	size_t n = snapshot_blocks(d->file->snapshot);
	if (!dicts_take_snapshot(&d->dicts, d->file->snapshot))
		weigh(d, report_no_memory());
	for (size_t i = 0; i < n && d->out.error == 0 && print_snapshot_block(d, i, &buf, &buf_size); i++)
		;
	free(buf);
}

/* ---- files and directories ---- */

static void dump_file(struct dump *d, const struct source_file *file)
{
	d->file = file;
	bool log = file->kind == DATADIR_LOG;
	if (file->status == HEARTH_END || file->left || (log && d->ended))
		return;
	if (file->status != HEARTH_OK)
		complain(d, &file->err);
	/* Only the end of the log may be torn. */
	if (file->status == HEARTH_TORN && !(log && file->last))
		weigh(d, TOOL_DAMAGE);
	if (file->segment)
		dump_segment(d);
	else if (file->snapshot)
		dump_snapshot(d);
}

static void dump_source(struct dump *d, const char *path)
{
	struct source s;
	struct progress progress;
	enum hearth_status status = source_open(&s, path);
	if (status != HEARTH_OK) {
		weigh(d, report_exit(status));
		return;
	}
	if (s.manifest_status == HEARTH_DAMAGED) {
		msg(MSG_ERROR, "%s/%s: %s; it was rebuilt from the headers of the files", path,
		    DATADIR_MANIFEST, s.manifest_err.what);
		weigh(d, TOOL_DAMAGE);
	} else if (s.repaired) {
		msg(MSG_ERROR, "%s/%s: one of its two copies is damaged", path, DATADIR_MANIFEST);
		weigh(d, TOOL_DAMAGE);
	}
	d->ended = false;
	source_watch(&s, &progress, "dumping");
	progress_beside_output(&progress);
	const struct history_options history = {
	    .key = d->key, .key_len = d->key_len, .json = d->json, .values = d->values};
	if (d->key && s.is_directory)
		weigh(d, history_print(&s, &history, &d->out));
	for (size_t i = 0; i < s.n_files && d->out.error == 0 && !(d->key && s.is_directory); i++)
		dump_file(d, &s.files[i]);
	source_unwatch(&s);
	source_close(&s);
}

static bool take_option(void *arg, int row, const char *value)
{
	struct dump *d = arg;
	switch (row) {
	case ROW_JSON:
		return d->json = true;
	case ROW_VALUES:
		return d->values = true;
	case ROW_KEY:
		d->key = (uint8_t *)value; /* the argument's own bytes; never longer */
		d->key_len = options_bytes(d->key, value);
		return true;
	default:
		d->prefix = value;
		d->prefix_len = strlen(value);
		return true;
	}
}

int dump_main(int argc, char **argv)
{
	struct options o;
	struct dump d = {.exit = TOOL_OK};
	int n;
	if (!options_read(&o, &SPEC, argc, argv, take_option, &d))
		return o.exit;
	char **args = options_arguments(&o, 1, argc, &n);
	if (!args)
		return TOOL_USAGE;
	if (!dicts_open(&d.dicts))
		return report_no_memory();
	if (!out_open(&d.out, 1)) {
		dicts_close(&d.dicts);
		return report_no_memory();
	}
	for (int i = 0; i < n && d.out.error == 0; i++)
		dump_source(&d, args[i]);
	dicts_close(&d.dicts);
	return out_close(&d.out) ? d.exit : TOOL_IO;
}
