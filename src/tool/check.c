/* SPDX-License-Identifier: BSD-3-Clause */
/* check: verifies segments, snapshots and data directories and prints a verdict a file; for a directory also
 * whether the manifest, the snapshots and the chain of segments fit together, what a start would lose, and a line that
 * sums it up. What is left can be repaired: written as a clean copy beside. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/msg.h"
#include "tool/copy.h"
#include "tool/forecast.h"
#include "tool/json.h"
#include "tool/options.h"
#include "tool/report.h"
#include "tool/tool.h"
#include "tool/verdict.h"

enum { ROW_JSON, ROW_REPAIR, ROW_TO, N_ROWS };
static const struct options_row ROWS[N_ROWS] = {
    [ROW_JSON] = {"json", NULL, "one JSON object a line"},
    [ROW_REPAIR] = {"repair", NULL, "then write what a start would load as a clean copy beside"},
    [ROW_TO] = {"to", "NEWDIR", "where to (DIR.repaired)"},
};
static const struct options_spec SPEC = {"check", "FILE|DIR...",
    "Verifies log segments, snapshots or whole data directories, live or not, and changes nothing.", ROWS,
    N_ROWS};

struct check {
	struct out out;
	bool json, repair;
	const char *to; /* of the repair, NULL = beside */
	int exit;
	struct dicts dicts; /* of the source being judged */
};

/* ---- printing ---- */

static const char *kind_name(enum datadir_kind kind)
{
	return kind == DATADIR_LOG ? "log" : "snapshot";
}

/* The numbers of a segment's first and last record; of a snapshot, between which numbers it was scanned. */
static void json_range(struct json *j, enum datadir_kind kind, const struct verdict *v)
{
	bool known = kind == DATADIR_LOG ? v->first > 0 : v->last > 0;
	const char *first = kind == DATADIR_LOG ? "first" : "start";
	const char *last = kind == DATADIR_LOG ? "last" : "end";
	if (known) {
		json_u64(j, first, v->first);
		json_u64(j, last, v->last);
	} else {
		json_null(j, first);
		json_null(j, last);
	}
}

static void print_json(struct out *out, const char *name, enum datadir_kind kind, const struct verdict *v)
{
	struct json j = json_begin(out);
	json_text(&j, "file", name);
	json_text(&j, "kind", kind_name(kind));
	json_text(&j, "verdict", v->word);
	json_u64(&j, "blocks", v->blocks);
	json_u64(&j, kind == DATADIR_LOG ? "records" : "items", v->records);
	json_range(&j, kind, v);
	json_u64(&j, "bytes", v->bytes);
	json_u64(&j, "left_over", v->left_over);
	json_u64(&j, "skipped", v->skipped);
	json_u64(&j, "places", v->places);
	if (v->what) {
		json_u64(&j, "offset", v->offset);
		json_text(&j, "what", v->what);
	}
	json_end(&j);
}

static void put_count(struct out *out, const char *before, uint64_t n, const char *behind)
{
	out_text(out, before);
	out_u64(out, n);
	out_text(out, behind);
}

static void put_name(struct out *out, const char *name, const char *word)
{
	size_t len = strlen(name);
	out_escaped(out, name, len);
	out_text(out, ": ");
	out_text(out, word);
}

static void print_text(struct out *out, const char *name, enum datadir_kind kind, const struct verdict *v)
{
	put_name(out, name, v->word);
	if (v->what) {
		put_count(out, " at offset ", v->offset, ": ");
		out_text(out, v->what);
		if (v->places > 1)
			put_count(out, " (and ", v->places - 1, " more)");
	}
	put_count(out, "; ", v->blocks, " blocks, ");
	put_count(out, "", v->records, kind == DATADIR_LOG ? " records" : " items");
	if (kind == DATADIR_LOG && v->first > 0) {
		put_count(out, ", numbers ", v->first, " to ");
		out_u64(out, v->last);
	} else if (kind == DATADIR_SNAPSHOT && v->last > 0) {
		put_count(out, ", as of ", v->first, " to ");
		out_u64(out, v->last);
	}
	put_count(out, ", ", v->bytes, " bytes");
	if (v->left_over > 0 && strcmp(v->word, "left") != 0)
		put_count(out, ", ", v->left_over, " of them behind the end");
	if (v->skipped > 0)
		put_count(out, ", ", v->skipped, " numbers skipped before it");
	out_char(out, '\n');
}

/* Verdicts stand behind the messages that belong to them. */
static void print_verdict(struct check *c, const char *name, enum datadir_kind kind, const struct verdict *v)
{
	if (c->json)
		print_json(&c->out, name, kind, v);
	else
		print_text(&c->out, name, kind, v);
	out_flush(&c->out);
	c->exit = tool_worse(c->exit, v->exit);
}

/* A file of which there is no more to say than that it is there. */
static void print_other(struct check *c, const char *directory, const char *name, const char *word)
{
	char path[512];
	snprintf(path, sizeof(path), "%s%s%s", directory, directory[0] ? "/" : "", name);
	if (c->json) {
		struct json j = json_begin(&c->out);
		json_text(&j, "file", path);
		json_text(&j, "verdict", word);
		json_end(&j);
	} else {
		put_name(&c->out, path, word);
		out_char(&c->out, '\n');
	}
}

/* ---- a directory ---- */

static const char *judge_manifest(struct check *c, const struct source *s)
{
	const struct manifest *m = &s->manifest;
	if (s->manifest_status == HEARTH_DAMAGED) {
		msg(MSG_ERROR, "%s/%s: %s; what it said is taken from the headers of the files", s->path,
		    DATADIR_MANIFEST, s->manifest_err.what);
		c->exit = tool_worse(c->exit, TOOL_DAMAGE);
		return "damaged";
	}
	if (s->repaired)
		msg(MSG_ERROR, "%s/%s: one of its two copies is damaged", s->path, DATADIR_MANIFEST);
	if (m->untrusted)
		msg(MSG_ERROR, "%s/%s: generation %" PRIu64 " is marked as one with a hole", s->path,
		    DATADIR_MANIFEST, m->generation);
	if (s->repaired || m->untrusted)
		c->exit = tool_worse(c->exit, TOOL_DAMAGE);
	return s->repaired ? "damaged" : m->untrusted ? "untrusted" : "ok";
}

static void print_manifest(struct check *c, const struct source *s)
{
	const struct manifest *m = &s->manifest;
	const char *word = judge_manifest(c, s);
	if (c->json) {
		struct json j = json_begin(&c->out);
		json_text(&j, "file", DATADIR_MANIFEST);
		json_text(&j, "kind", "manifest");
		json_text(&j, "verdict", word);
		json_u64(&j, "generation", m->generation);
		json_u64(&j, "snapshots", m->n_snapshots);
		json_u64(&j, "segments", m->n_segments);
		json_u64(&j, "high_water", m->high_water);
		json_bool(&j, "clean", m->clean);
		json_end(&j);
		return;
	}
	put_name(&c->out, DATADIR_MANIFEST, word);
	put_count(&c->out, "; generation ", m->generation, ", ");
	put_count(&c->out, "", m->n_snapshots, m->n_snapshots == 1 ? " snapshot, " : " snapshots, ");
	put_count(&c->out, "", m->n_segments, m->n_segments == 1 ? " segment" : " segments");
	put_count(&c->out, ", no number above ", m->high_water, " given out");
	out_text(&c->out, m->clean ? ", stopped in order\n" : "\n");
}

/* The number up to which a good snapshot of this generation has everything; 0 = there is none. */
static uint64_t covered(const struct source *s, const struct verdict *verdicts)
{
	uint64_t upto = 0;
	for (size_t i = 0; i < s->n_files; i++) {
		const struct source_file *f = &s->files[i];
		if (f->snapshot && verdicts[i].exit == TOOL_OK && verdicts[i].first > upto &&
		    snapshot_get_header(f->snapshot)->generation == s->manifest.generation)
			upto = verdicts[i].first;
	}
	return upto;
}

static const struct source_file *find_segment(const struct source *s, uint64_t number, size_t *ret_index)
{
	for (size_t i = 0; i < s->n_files; i++) {
		if (s->files[i].kind == DATADIR_LOG && s->files[i].number == number) {
			*ret_index = i;
			return &s->files[i];
		}
	}
	return NULL;
}

/* How files[i] goes on from the segment before it. That one's end was held against this header by the walk.
 */
static void judge_link(const struct source *s, struct verdict *verdicts, size_t i, uint64_t upto, bool begun)
{
	const struct source_file *f = &s->files[i];
	const struct segment_header *h = segment_get_header(f->segment);
	struct verdict *v = &verdicts[i];
	size_t k;
	if (h->prev_number == 0) {
		if (begun)
			verdict_add(v, f, 0,
			    "its header says that the log begins here, but there are segments before it");
		return;
	}
	if (h->first <= h->prev_last)
		verdict_add(v, f, 0, "its numbers begin before those of the segment before it end");
	if (!find_segment(s, h->prev_number, &k)) {
		if (begun)
			verdict_add(v, f, 0, "the segment that it goes on from is not the one before it");
		else if (h->prev_last > upto)
			verdict_add(
			    v, f, 0, "numbers before its first are in no segment and no good snapshot");
		return;
	}
	const struct verdict *before = &verdicts[k];
	if (before->exit == TOOL_OK && before->last != 0 && before->last != h->prev_last)
		verdict_add(v, f, 0, "the segment before it ends with another number than its header says");
}

static void judge_chain(const struct source *s, struct verdict *verdicts)
{
	uint64_t upto = covered(s, verdicts);
	bool begun = false;
	for (size_t i = 0; i < s->n_files; i++) {
		const struct source_file *f = &s->files[i];
		if (f->kind != DATADIR_LOG || f->status == HEARTH_END ||
		    strcmp(verdicts[i].word, "left") == 0)
			continue;
		if (f->segment && !f->headless)
			judge_link(s, verdicts, i, upto, begun);
		begun = true;
	}
}

/* Up to where the log goes: its last record, or the number before the first that a segment may hold. */
static uint64_t end_of_log(const struct source *s, const struct verdict *verdicts)
{
	uint64_t last = 0;
	for (size_t i = 0; i < s->n_files; i++) {
		const struct source_file *f = &s->files[i];
		if (!f->segment || strcmp(verdicts[i].word, "left") == 0)
			continue;
		uint64_t first = segment_get_header(f->segment)->first;
		uint64_t here = verdicts[i].last < first ? first - 1 : verdicts[i].last;
		last = here > last ? here : last;
	}
	return last;
}

/* A snapshot was published when the log was durable up to its end, and after a stop in order the manifest knows the
 * last number. */
static void judge_end(struct check *c, const struct source *s, struct verdict *verdicts)
{
	uint64_t last = end_of_log(s, verdicts);
	for (size_t i = 0; i < s->n_files; i++) {
		const struct source_file *f = &s->files[i];
		const struct verdict *v = &verdicts[i];
		if (f->snapshot && snapshot_get_header(f->snapshot)->generation == s->manifest.generation &&
		    v->last > last && v->last > v->first)
			verdict_add(&verdicts[i], f, 0, "the log ends before this snapshot does");
	}
	if (!s->manifest.clean || s->manifest_status != HEARTH_OK || last >= s->manifest.last_seq)
		return;
	msg(MSG_WARN, "%s: the log was written up to number %" PRIu64 ", but ends with %" PRIu64, s->path,
	    s->manifest.last_seq, last);
	c->exit = tool_worse(c->exit, TOOL_DAMAGE);
}

static bool is_named(const struct source *s, const char *name)
{
	for (size_t i = 0; i < s->n_files; i++) {
		if (strcmp(s->files[i].name, name) == 0)
			return true;
	}
	return strcmp(name, DATADIR_MANIFEST) == 0 || strcmp(name, DATADIR_ADMIN) == 0 ||
	       strcmp(name, DATADIR_RESERVE) == 0 || strcmp(name, DATADIR_UNSYNCED) == 0 ||
	       strcmp(name, DATADIR_SET_ASIDE) == 0;
}

static bool is_retired(const struct source *s, const char *name)
{
	enum datadir_kind kind;
	uint64_t number;
	if (!datadir_parse_name(name, &kind, &number))
		return false;
	for (size_t i = 0; i < s->manifest.n_unlinks; i++) {
		if (s->manifest.unlinks[i].kind == kind && s->manifest.unlinks[i].number == number)
			return true;
	}
	return false;
}

static void list_directory(struct check *c, const struct source *s, int fd, const char *below)
{
	char **names;
	size_t n;
	if (source_list(fd, &names, &n) < 0) {
		msg(MSG_ERROR, "%s/%s: %s", s->path, below, strerror(errno));
		c->exit = tool_worse(c->exit, TOOL_IO);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		size_t len = strlen(names[i]);
		bool temporary = len > 4 && strcmp(names[i] + len - 4, ".tmp") == 0;
		if (below[0])
			print_other(c, below, names[i], "set aside");
		else if (!is_named(s, names[i]))
			print_other(c, below, names[i],
			    is_retired(s, names[i]) ? "retired"
			    : temporary             ? "temporary"
			                            : "unnamed");
	}
	source_free_names(names, n);
}

static void list_others(struct check *c, const struct source *s)
{
	list_directory(c, s, s->dirfd, "");
	int fd = openat(s->dirfd, DATADIR_SET_ASIDE, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return;
	list_directory(c, s, fd, DATADIR_SET_ASIDE);
	close(fd);
}

static void sum_up(struct check *c, const struct source *s, const struct verdict *verdicts,
    const struct forecast *f, int exit_code)
{
	uint64_t items = 0, records = 0, bytes = 0, places = 0;
	for (size_t i = 0; i < s->n_files; i++) {
		const struct verdict *v = &verdicts[i];
		if (s->files[i].kind == DATADIR_LOG)
			records += v->records;
		else
			items = v->records; /* the newest comes last */
		bytes += v->bytes;
		places += v->exit == TOOL_OK ? 0 : v->places;
	}
	const char *word = exit_code == TOOL_OK ? "ok" : exit_code == TOOL_TORN ? "torn" : "damaged";
	if (c->json) {
		struct json j = json_begin(&c->out);
		json_text(&j, "directory", s->path);
		json_text(&j, "verdict", word);
		json_u64(&j, "items", items);
		json_u64(&j, "records", records);
		json_u64(&j, "bytes", bytes);
		json_u64(&j, "places", places);
		json_text(&j, "start_loses", f->word);
		json_u64(&j, "items_lost", f->items);
		json_u64(&j, "records_left_out", f->plan.dropped);
		json_bool(&j, "snapshot_left_out", f->plan.snapshot_dropped);
		json_end(&j);
		return;
	}
	put_name(&c->out, s->path, word);
	put_count(&c->out, "; ", items, " items in the newest snapshot, ");
	put_count(&c->out, "", records, " records in the log, ");
	put_count(&c->out, "", bytes, " bytes");
	if (places > 0)
		put_count(&c->out, ", ", places, places == 1 ? " place is bad" : " places are bad");
	out_text(&c->out, "; a start loses ");
	out_text(&c->out, f->word);
	if (f->items > 0)
		put_count(&c->out, ", ", f->items, " items of the snapshot");
	if (f->plan.dropped > 0 || f->plan.snapshot_dropped)
		put_count(&c->out, ", ", f->plan.dropped, " older records");
	out_text(&c->out, f->plan.snapshot_dropped ? " and the snapshot\n" : "\n");
}

/* Beside, never in place. The exit code is check's where the copy was made. */
static void repair(struct check *c, struct source *s)
{
	struct plan plan;
	struct copy copy = {.source = s, .plan = &plan};
	struct progress progress;
	source_watch(s, &progress, "verifying");
	int exit_code = plan_make(&plan, s, NULL, PLAN_BEST);
	source_unwatch(s);
	char *beside = NULL;
	size_t len = strlen(s->path);
	while (len > 1 && s->path[len - 1] == '/')
		len--;
	const char *to = c->to;
	if (!to && asprintf(&beside, "%.*s.repaired", (int)len, s->path) > 0)
		to = beside;
	if (exit_code == TOOL_OK)
		exit_code = to ? target_look(to) : report_no_memory();
	if (exit_code == TOOL_OK)
		exit_code = target_open(&copy.target, to, copy_high_water(s, &plan));
	if (exit_code == TOOL_OK)
		exit_code = copy_run(&copy);
	if (exit_code == TOOL_OK)
		copy_print(&copy, &c->out, to, NULL, c->json);
	target_close(&copy.target);
	plan_free(&plan);
	free(beside);
	c->exit = tool_worse(c->exit, exit_code);
}

static void tell_start(struct check *c, struct source *s, const struct verdict *verdicts)
{
	struct forecast f;
	uint64_t *items = calloc(s->n_files + 1, sizeof(*items));
	if (!items) {
		c->exit = tool_worse(c->exit, report_no_memory());
		return;
	}
	for (size_t i = 0; i < s->n_files; i++)
		items[i] = verdicts[i].items_lost;
	struct progress progress;
	source_watch(s, &progress, "judging a start");
	forecast_make(&f, s, items);
	source_unwatch(s);
	forecast_print(&f, &c->out, c->json);
	sum_up(c, s, verdicts, &f, c->exit);
	out_flush(&c->out);
	if (c->repair)
		repair(c, s);
	forecast_free(&f);
	free(items);
}

static void check_directory(struct check *c, struct source *s, struct verdict *verdicts)
{
	int before = c->exit;
	c->exit = TOOL_OK;
	if (s->manifest_status == HEARTH_END)
		msg(MSG_WARN, "%s: holds no data", s->path);
	else
		print_manifest(c, s);
	out_flush(&c->out);
	bool ended = false;
	struct progress progress;
	source_watch(s, &progress, "checking");
	for (size_t i = 0; i < s->n_files; i++) {
		verdict_judge(&verdicts[i], &s->files[i], ended, &c->dicts);
		ended = ended || verdicts[i].ends;
	}
	source_unwatch(s);
	judge_chain(s, verdicts);
	judge_end(c, s, verdicts);
	for (size_t i = 0; i < s->n_files; i++)
		print_verdict(c, s->files[i].name, s->files[i].kind, &verdicts[i]);
	list_others(c, s);
	tell_start(c, s, verdicts);
	out_flush(&c->out);
	c->exit = tool_worse(before, c->exit);
}

static void check_source(struct check *c, const char *path)
{
	struct source s;
	enum hearth_status status = source_open(&s, path);
	if (status != HEARTH_OK) {
		/* A directory of which nothing can be opened is beyond use. */
		struct stat st;
		bool beyond = status == HEARTH_DAMAGED && stat(path, &st) == 0 && S_ISDIR(st.st_mode);
		c->exit = tool_worse(c->exit, beyond ? TOOL_DATA : report_exit(status));
		return;
	}
	struct verdict *verdicts = calloc(s.n_files + 1, sizeof(*verdicts));
	if (!verdicts || !dicts_open(&c->dicts)) {
		c->exit = tool_worse(c->exit, report_no_memory());
	} else if (s.is_directory) {
		check_directory(c, &s, verdicts);
	} else {
		struct progress progress;
		source_watch(&s, &progress, "checking");
		verdict_judge(verdicts, s.files, false, &c->dicts);
		source_unwatch(&s);
		print_verdict(c, path, s.files->kind, verdicts);
	}
	dicts_close(&c->dicts);
	free(verdicts);
	source_close(&s);
}

static bool take_option(void *arg, int row, const char *value)
{
	struct check *c = arg;
	switch (row) {
	case ROW_REPAIR:
		return c->repair = true;
	case ROW_TO:
		c->to = value;
		return true;
	default:
		return c->json = true;
	}
}

int check_main(int argc, char **argv)
{
	struct options o;
	struct check c = {.exit = TOOL_OK};
	int n;
	if (!options_read(&o, &SPEC, argc, argv, take_option, &c))
		return o.exit;
	char **args = options_arguments(&o, 1, argc, &n);
	if (!args)
		return TOOL_USAGE;
	struct stat st;
	if (c.to && !c.repair)
		return options_usage(&SPEC, "--to is for --repair");
	if (c.repair && (n != 1 || (stat(args[0], &st) == 0 && !S_ISDIR(st.st_mode))))
		return options_usage(&SPEC, "--repair is for one data directory");
	if (!out_open(&c.out, 1))
		return report_no_memory();
	for (int i = 0; i < n; i++)
		check_source(&c, args[i]);
	return out_close(&c.out) ? c.exit : TOOL_IO;
}
