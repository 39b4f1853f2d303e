/* SPDX-License-Identifier: BSD-3-Clause */
/* diff: what two snapshots, or directories, hold differently: keys of one alone, and keys whose value, flags or expiry
 * changed. Of the first one a digest of each item is kept in memory, the second one is read against it; then the first one is
 * read again for the keys that were not met. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/msg.h"
#include "tool/contents.h"
#include "tool/json.h"
#include "tool/options.h"
#include "tool/report.h"
#include "tool/summary.h"
#include "tool/table.h"
#include "tool/tool.h"

enum { ROW_PREFIX, ROW_SUMMARY, ROW_JSON, N_ROWS };
static const struct options_row ROWS[N_ROWS] = {
    [ROW_PREFIX] = {"prefix", "PREFIX", "only keys that begin so"},
    [ROW_SUMMARY] = {"summary", NULL, "only the counts"},
    [ROW_JSON] = {"json", NULL, "one JSON object for each difference, and one for the counts"},
};
static const struct options_spec SPEC = {"diff", "A B",
    "Tells what two snapshots or data directories hold differently; exits with 1 if anything.", ROWS, N_ROWS};

/* What it takes to tell one item of a key from another: 48 bytes. */
struct digest {
	struct hash_wide key;
	uint64_t value; /* half of its hash: that of two values is the same by chance once in 2^64 */
	int64_t expiry;
	uint64_t size; /* of the value */
	uint32_t flags;
};

enum { VALUE = 1, FLAGS = 2, EXPIRY = 4 };

struct diff {
	const char *path[2];
	struct contents *contents[2];
	struct item_wish wish;
	bool summary, json;
	struct table digests; /* of the first one's items */
	struct out out;
	struct tally all[2], only[2], same;
	uint64_t changed, values, flags, expiries; /* changed */
	uint64_t before, after;                    /* bytes of those that changed */
};

static void count(struct tally *t, uint64_t bytes)
{
	t->items++;
	t->bytes += bytes;
}

static uint64_t bytes_of(const struct item *item)
{
	return item->key_len + item->size;
}

static int out_status(const struct diff *d)
{
	return d->out.error == 0 ? TOOL_OK : TOOL_IO;
}

/* ---- a difference ---- */

/* "- KEY", "+ KEY" */
static void print_alone(struct diff *d, bool first, const struct item *item)
{
	if (d->summary)
		return;
	if (d->json) {
		struct json j = json_begin(&d->out);
		json_text(&j, "op", first ? "removed" : "added");
		json_bytes(&j, "key", item->key, item->key_len);
		json_u64(&j, "size", item->size);
		json_u64(&j, "flags", item->flags);
		json_i64(&j, "exp", item->expiry);
		json_end(&j);
		return;
	}
	out_text(&d->out, first ? "- " : "+ ");
	summary_key(&d->out, item->key, item->key_len);
	out_char(&d->out, '\n');
}

/* "! KEY value flags expiry" */
static void print_changed(struct diff *d, const struct digest *old, const struct item *item, unsigned what)
{
	static const char *const names[] = {"value", "flags", "exp"};
	if (d->summary)
		return;
	if (!d->json) {
		out_text(&d->out, "! ");
		summary_key(&d->out, item->key, item->key_len);
		for (unsigned i = 0; i < 3; i++) {
			if (what & 1u << i) {
				out_char(&d->out, ' ');
				out_text(&d->out, names[i]);
			}
		}
		out_char(&d->out, '\n');
		return;
	}
	struct json j = json_begin(&d->out);
	json_text(&j, "op", "changed");
	json_bytes(&j, "key", item->key, item->key_len);
	json_bool(&j, "value", what & VALUE);
	json_u64(&j, "size_before", old->size);
	json_u64(&j, "size", item->size);
	json_u64(&j, "flags_before", old->flags);
	json_u64(&j, "flags", item->flags);
	json_i64(&j, "exp_before", old->expiry);
	json_i64(&j, "exp", item->expiry);
	json_end(&j);
}

/* ---- the three readings ---- */

static uint64_t digest_value(const struct diff *d, const struct item *item)
{
	return hash_wide(&d->digests.key, item->value, (size_t)item->size).low;
}

static unsigned compare_item(const struct diff *d, const struct digest *old, const struct item *item)
{
	bool value = old->size == item->size && old->value == digest_value(d, item);
	return (value ? 0 : VALUE) | (old->flags == item->flags ? 0 : FLAGS) |
	       (old->expiry == item->expiry ? 0 : EXPIRY);
}

static int take_first(void *arg, const struct item *item)
{
	struct diff *d = arg;
	count(&d->all[0], bytes_of(item));
	struct digest *e = table_put(&d->digests, item->key, item->key_len);
	if (!e)
		return report_no_memory();
	e->value = digest_value(d, item);
	e->expiry = item->expiry;
	e->size = item->size;
	e->flags = item->flags;
	return TOOL_OK;
}

static int take_second(void *arg, const struct item *item)
{
	struct diff *d = arg;
	uint64_t bytes = bytes_of(item);
	count(&d->all[1], bytes);
	struct digest *old = table_find(&d->digests, item->key, item->key_len);
	if (!old) {
		count(&d->only[1], bytes);
		print_alone(d, false, item);
		return out_status(d);
	}
	unsigned what = compare_item(d, old, item);
	if (what == 0) {
		count(&d->same, bytes);
	} else {
		d->changed++;
		d->values += (what & VALUE) != 0;
		d->flags += (what & FLAGS) != 0;
		d->expiries += (what & EXPIRY) != 0;
		d->before += item->key_len + old->size;
		d->after += bytes;
		print_changed(d, old, item, what);
	}
	table_remove(&d->digests, old);
	return out_status(d);
}

static int take_rest(void *arg, const struct item *item)
{
	struct diff *d = arg;
	if (!table_find(&d->digests, item->key, item->key_len))
		return TOOL_OK;
	count(&d->only[0], bytes_of(item));
	print_alone(d, true, item);
	return out_status(d);
}

/* ---- the counts ---- */

static void json_tally(struct json *j, const char *name, const struct tally *t)
{
	json_name(j, name);
	struct json inner = json_begin(j->out);
	json_u64(&inner, "items", t->items);
	json_u64(&inner, "bytes", t->bytes);
	out_char(j->out, '}');
}

static void print_json(struct diff *d)
{
	struct json j = json_begin(&d->out);
	json_text(&j, "op", "summary");
	json_tally(&j, "a", &d->all[0]);
	json_tally(&j, "b", &d->all[1]);
	json_tally(&j, "removed", &d->only[0]);
	json_tally(&j, "added", &d->only[1]);
	json_tally(&j, "same", &d->same);
	json_u64(&j, "changed", d->changed);
	json_u64(&j, "changed_value", d->values);
	json_u64(&j, "changed_flags", d->flags);
	json_u64(&j, "changed_exp", d->expiries);
	json_u64(&j, "changed_bytes_before", d->before);
	json_u64(&j, "changed_bytes", d->after);
	json_end(&j);
}

static void print_line(
    struct diff *d, const char *mark, const struct tally *t, const char *what, const char *path)
{
	char line[100];
	snprintf(
	    line, sizeof(line), "%s%" PRIu64 " items, %" PRIu64 " bytes %s", mark, t->items, t->bytes, what);
	out_text(&d->out, line);
	if (path)
		out_escaped(&d->out, path, strlen(path));
	out_char(&d->out, '\n');
}

static void print_text(struct diff *d)
{
	char line[200];
	const struct tally changed = {d->changed, d->after};
	print_line(d, "- ", &d->only[0], "only in ", d->path[0]);
	print_line(d, "+ ", &d->only[1], "only in ", d->path[1]);
	print_line(d, "! ", &changed, "changed", NULL);
	snprintf(line, sizeof(line),
	    "  %" PRIu64 " values, %" PRIu64 " flags, %" PRIu64 " expiries; %" PRIu64 " bytes before\n",
	    d->values, d->flags, d->expiries, d->before);
	out_text(&d->out, line);
	print_line(d, "  ", &d->same, "the same", NULL);
}

/* ---- all ---- */

static int compare(struct diff *d)
{
	const struct item_wish keys = {.prefix = d->wish.prefix,
	    .prefix_len = d->wish.prefix_len,
	    .printed = d->wish.printed,
	    .expired = true};
	int exit_code = contents_each(d->contents[0], &d->wish, take_first, d);
	if (exit_code <= TOOL_DAMAGE)
		exit_code = tool_worse(exit_code, contents_each(d->contents[1], &d->wish, take_second, d));
	if (exit_code <= TOOL_DAMAGE && d->digests.used > 0)
		exit_code = tool_worse(exit_code, contents_each(d->contents[0], &keys, take_rest, d));
	if (exit_code > TOOL_DAMAGE)
		return exit_code;
	if (d->json)
		print_json(d);
	else
		print_text(d);
	bool differ = d->changed > 0 || d->only[0].items > 0 || d->only[1].items > 0;
	return tool_worse(exit_code, differ ? TOOL_DIFFERENT : TOOL_OK);
}

static int run(struct diff *d)
{
	int exit_code = TOOL_OK;
	for (int i = 0; i < 2 && exit_code == TOOL_OK; i++)
		exit_code = contents_open(&d->contents[i], d->path[i]);
	if (exit_code == TOOL_OK)
		exit_code = table_open(&d->digests, sizeof(struct digest), contents_count(d->contents[0]));
	if (exit_code == TOOL_OK && !out_open(&d->out, 1))
		exit_code = report_no_memory();
	if (exit_code == TOOL_OK) {
		exit_code = compare(d);
		if (!out_close(&d->out))
			exit_code = TOOL_IO;
	}
	table_close(&d->digests);
	contents_close(&d->contents[0]);
	contents_close(&d->contents[1]);
	return exit_code;
}

static bool take_option(void *arg, int row, const char *value)
{
	struct diff *d = arg;
	switch (row) {
	case ROW_PREFIX:
		d->wish.prefix = value;
		d->wish.prefix_len = strlen(value);
		return true;
	case ROW_SUMMARY:
		return d->summary = true;
	default:
		return d->json = true;
	}
}

int diff_main(int argc, char **argv)
{
	struct options o;
	struct diff d = {.wish = {.values = true, .expired = true}};
	int n;
	if (!options_read(&o, &SPEC, argc, argv, take_option, &d))
		return o.exit;
	char **args = options_arguments(&o, 2, 2, &n);
	if (!args)
		return TOOL_USAGE;
	d.wish.printed = !d.summary;
	d.path[0] = args[0];
	d.path[1] = args[1];
	return run(&d);
}
