/* SPDX-License-Identifier: BSD-3-Clause */
/* history: see history.h. Events are gathered file by file, then put in order; a state follows them. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <hearth/keyset.h>
#include "base/clock.h"
#include "base/msg.h"
#include "tool/dicts.h"
#include "tool/history.h"
#include "tool/json.h"
#include "tool/moment.h"
#include "tool/report.h"
#include "tool/tool.h"
#include "tool/walk.h"

enum event_kind {
	EVENT_SET,
	EVENT_TOUCH,
	EVENT_DELETE,
	EVENT_FLUSH,
	EVENT_FLUSH_AT,
	EVENT_HELD,   /* a snapshot has it, as of a number */
	EVENT_ABSENT, /* a snapshot does not */
	EVENT_LOST,   /* changes are lost, and this key's may be among them */
	EVENT_SPARED, /* changes are lost, none of this key */
};

struct event {
	enum event_kind kind;
	uint64_t number; /* by which it is put in order */
	uint64_t last;   /* of what is lost */
	const struct source_file *file;
	uint64_t offset;
	int64_t ms; /* 0 = not known */
	/* Of the item. */
	uint64_t seq, cas, size;
	int64_t expiry;
	uint32_t flags;
	uint8_t *value; /* with --values */
};

struct history {
	const struct source *source;
	const struct history_options *options;
	struct event *events;
	size_t n;
	bool begins; /* the log is there from its beginning */
	bool no_memory;
	int exit;
	struct dicts dicts;
};

static void add(struct history *h, const struct event *e)
{
	struct event *events = reallocarray(h->events, h->n + 1, sizeof(*events));
	h->no_memory = h->no_memory || !events;
	if (!events)
		return;
	h->events = events;
	events[h->n++] = *e;
}

static bool is_ours(const struct history *h, const struct record *r)
{
	return r->key_len == h->options->key_len && memcmp(r->key, h->options->key, r->key_len) == 0;
}

static void fill(struct history *h, struct event *e, const struct record *r)
{
	e->seq = r->seq;
	e->cas = r->cas ? r->cas : r->seq;
	e->size = dicts_length(r);
	e->expiry = r->expiry;
	e->flags = r->flags;
	if (!h->options->values || r->type != RECORD_SET)
		return;
	size_t len;
	struct hearth_error err;
	const uint8_t *value = dicts_value(&h->dicts, r, &len, &err);
	if (!value) {
		err.offset = e->offset;
		report_error(e->file->path, &err);
		h->exit = tool_worse(h->exit, TOOL_DAMAGE);
		return;
	}
	e->value = malloc(len + 1);
	h->no_memory = h->no_memory || !e->value;
	if (e->value && len > 0)
		memcpy(e->value, value, len);
}

/* ---- the log ---- */

static void take_record(struct history *h, struct event *e, const struct record *r)
{
	h->no_memory = h->no_memory || dicts_learn(&h->dicts, r) == HEARTH_NOMEM;
	switch (r->type) {
	case RECORD_SET:
		e->kind = EVENT_SET;
		break;
	case RECORD_TOUCH:
		e->kind = EVENT_TOUCH;
		break;
	case RECORD_DELETE:
		e->kind = EVENT_DELETE;
		break;
	case RECORD_FLUSH:
		e->kind = EVENT_FLUSH;
		break;
	case RECORD_FLUSH_AT:
		e->kind = EVENT_FLUSH_AT;
		break;
	default:
		return;
	}
	if (r->type != RECORD_FLUSH && r->type != RECORD_FLUSH_AT && !is_ours(h, r))
		return;
	e->number = r->seq;
	fill(h, e, r);
	add(h, e);
}

static void take_block(struct history *h, const struct source_file *f, const struct segment_block *b)
{
	struct segment_records walk = segment_records(b);
	struct record r;
	for (;;) {
		struct event e = {.file = f, .offset = b->offset, .ms = b->head.time_ms};
		if (b->head.flags == 0)
			e.offset += BLOCK_HEADER_SIZE + (uint64_t)(walk.at - b->payload);
		if (segment_next_record(&walk, &r) != HEARTH_OK)
			return;
		take_record(h, &e, &r);
	}
}

static void take_hole(struct history *h, const struct source_file *f, const struct walk_hole *hole)
{
	h->exit = tool_worse(h->exit, TOOL_DAMAGE);
	if (hole->whole || (hole->resumed > 0 && hole->resumed <= hole->next))
		return;
	add(h, &(struct event){.kind = EVENT_LOST,
	           .number = hole->next,
	           .last = hole->resumed > 0 ? hole->resumed - 1 : 0,
	           .file = f,
	           .offset = hole->from});
}

static bool take_segment(struct history *h, const struct source_file *f)
{
	struct walk w;
	const struct segment_header *header = segment_get_header(f->segment);
	h->begins = h->begins || (!f->headless && header->prev_number == 0 && header->first == 1);
	walk_begin(&w, f);
	for (;;) {
		struct segment_block b;
		struct walk_hole hole;
		struct hearth_error err;
		switch (walk_next(&w, &b, &hole, &err)) {
		case WALK_BLOCK:
			take_block(h, f, &b);
			break;
		case WALK_BAD:
			take_hole(h, f, &hole);
			break;
		case WALK_TORN:
			h->exit = tool_worse(h->exit, TOOL_TORN);
			return false;
		case WALK_FAILED:
			report_error(f->path, &err);
			h->exit = tool_worse(h->exit, report_exit(err.status));
			return true;
		case WALK_END:
			return true;
		}
	}
}

/* ---- damage ---- */

/* Whether the key blocks behind it say that no change of this key was lost. */
static bool is_spared(const struct history *h, const struct event *e)
{
	const struct source *s = h->source;
	struct keyset *set = e->last >= e->number ? keyset_new() : NULL;
	if (!set)
		return false;
	keyset_begin(set, e->number, e->last + 1);
	bool done = false;
	for (const struct source_file *f = e->file; f < s->files + s->n_files && !done; f++) {
		if (f->kind != DATADIR_LOG || !f->segment || f->left)
			continue;
		segment_seek(f->segment, f == e->file ? e->offset : SEGMENT_HEADER_SIZE);
		done = keyset_search(set, f->segment, walk_limit(f));
	}
	bool found = keyset_end(set) == KEYSET_FOUND;
	keyset_seal(set);
	bool spared = found && keyset_below(set, h->options->key, h->options->key_len) == 0;
	keyset_free(&set);
	return spared;
}

/* ---- snapshots ---- */

/* False: a block of it is bad. */
static bool search_block(
    struct history *h, const struct source_file *f, size_t i, uint8_t **buf, size_t *size, bool *ret_found)
{
	const struct snapshot_block b = snapshot_get_block(f->snapshot, i);
	const uint8_t *records;
	size_t len;
	struct record r;
	struct hearth_error err;
	if (snapshot_load(f->snapshot, i, buf, size, &records, &len, &err) != HEARTH_OK) {
		report_error(f->path, &err);
		return false;
	}
	struct snapshot_records walk = snapshot_records(records, len);
	while (snapshot_next_record(&walk, &r) == HEARTH_OK) {
		if (r.type != RECORD_SET || !is_ours(h, &r))
			continue;
		struct event e = {.kind = EVENT_HELD, .number = b.upto, .file = f, .offset = b.offset};
		e.ms = snapshot_get_header(f->snapshot)->hearth_ms;
		fill(h, &e, &r);
		add(h, &e);
		*ret_found = true;
	}
	return true;
}

static void take_snapshot(struct history *h, const struct source_file *f)
{
	uint8_t *buf = NULL;
	size_t size = 0;
	bool found = false, good = f->status == HEARTH_OK;
	h->no_memory = h->no_memory || !dicts_take_snapshot(&h->dicts, f->snapshot);
	for (size_t i = 0; i < snapshot_blocks(f->snapshot); i++)
		good = search_block(h, f, i, &buf, &size, &found) && good;
	free(buf);
	const struct snapshot_footer *footer = snapshot_get_footer(f->snapshot);
	if (!good)
		h->exit = tool_worse(h->exit, TOOL_DAMAGE);
	else if (!found && footer)
		add(h, &(struct event){
		           .kind = EVENT_ABSENT, .number = footer->end, .file = f, .ms = footer->hearth_ms});
}

/* ---- order ---- */

/* What a number did comes before what a snapshot saw of it. */
static int compare(const void *a, const void *b)
{
	const struct event *x = a, *y = b;
	if (x->number != y->number)
		return x->number < y->number ? -1 : 1;
	bool sx = x->kind == EVENT_HELD || x->kind == EVENT_ABSENT;
	bool sy = y->kind == EVENT_HELD || y->kind == EVENT_ABSENT;
	return sx - sy;
}

static void gather(struct history *h)
{
	const struct source *s = h->source;
	bool ended = false;
	for (size_t i = 0; i < s->n_files && !h->no_memory; i++) {
		const struct source_file *f = &s->files[i];
		if (f->left || f->status == HEARTH_END || (ended && f->kind == DATADIR_LOG))
			continue;
		if (f->status != HEARTH_OK) {
			report_error(f->path, &f->err);
			h->exit = tool_worse(h->exit, report_exit(f->status));
		}
		if (f->snapshot)
			take_snapshot(h, f);
		else if (f->segment)
			ended = !take_segment(h, f);
	}
	for (size_t i = 0; i < h->n; i++)
		if (h->events[i].kind == EVENT_LOST && is_spared(h, &h->events[i]))
			h->events[i].kind = EVENT_SPARED;
	if (h->n > 0)
		qsort(h->events, h->n, sizeof(*h->events), compare);
}

/* ---- the state ---- */

enum state { UNKNOWN, LIVE, GONE };

struct now {
	enum state state;
	const char *why; /* of GONE and UNKNOWN */
	uint64_t by;     /* number that took it away */
	struct event item;
};

static void gone(struct now *now, const char *why, uint64_t by)
{
	if (now->state != GONE)
		*now = (struct now){.state = GONE, .why = why, .by = by};
}

static void follow(struct now *now, const struct event *e)
{
	switch (e->kind) {
	case EVENT_SET:
		*now = (struct now){.state = LIVE, .item = *e};
		break;
	case EVENT_HELD:
		if (now->state != LIVE)
			*now = (struct now){.state = LIVE, .item = *e};
		break;
	case EVENT_TOUCH:
		if (now->state == LIVE)
			now->item.expiry = e->expiry;
		break;
	case EVENT_DELETE:
		*now = (struct now){
		    .state = GONE, .why = "it was deleted, or a change of it failed", .by = e->number};
		break;
	case EVENT_FLUSH:
		gone(now, "a flush took it", e->number);
		break;
	case EVENT_ABSENT:
		if (now->state == UNKNOWN)
			gone(now, "it was not there", e->number);
		break;
	case EVENT_LOST:
		*now = (struct now){
		    .state = UNKNOWN, .why = "a change of it may be lost in damage", .by = e->number};
		break;
	case EVENT_FLUSH_AT:
	case EVENT_SPARED:
		break;
	}
}

/* ---- printing ---- */

static const char *const names[] = {[EVENT_SET] = "set",
    [EVENT_TOUCH] = "touch",
    [EVENT_DELETE] = "delete",
    [EVENT_FLUSH] = "flush",
    [EVENT_FLUSH_AT] = "flush_at",
    [EVENT_HELD] = "held",
    [EVENT_ABSENT] = "absent",
    [EVENT_LOST] = "lost",
    [EVENT_SPARED] = "spared"};

static bool is_item(const struct event *e)
{
	return e->kind == EVENT_SET || e->kind == EVENT_HELD;
}

static bool has_expiry(const struct event *e)
{
	return is_item(e) || e->kind == EVENT_TOUCH || e->kind == EVENT_FLUSH_AT;
}

static bool is_lost(const struct event *e)
{
	return e->kind == EVENT_LOST || e->kind == EVENT_SPARED;
}

static void print_event_json(const struct history *h, const struct event *e, struct out *out)
{
	struct json j = json_begin(out);
	json_u64(&j, "seq", is_item(e) ? e->seq : e->number);
	json_text(&j, "op", names[e->kind]);
	json_bytes(&j, "key", h->options->key, h->options->key_len);
	if (is_item(e)) {
		json_u64(&j, "flags", e->flags);
		json_u64(&j, "size", e->size);
		json_u64(&j, "cas", e->cas);
	}
	if (has_expiry(e))
		json_i64(&j, "exp", e->expiry);
	if (e->kind == EVENT_HELD)
		json_u64(&j, "as_of", e->number);
	if (is_lost(e) && e->last > 0)
		json_u64(&j, "last", e->last);
	if (e->ms != 0)
		json_i64(&j, "time_ms", e->ms);
	json_text(&j, "file", e->file->name);
	json_u64(&j, "offset", e->offset);
	if (e->value)
		json_bytes(&j, "value", e->value, (size_t)e->size);
	json_end(&j);
}

/* FILE:OFFSET NUMBER TIME OP ... */
static void print_event_text(const struct event *e, struct out *out)
{
	char time[MOMENT_SIZE] = "-", line[200];
	if (e->ms != 0)
		moment_text(e->ms, time);
	out_text(out, e->file->name);
	snprintf(
	    line, sizeof(line), ":%" PRIu64 " %" PRIu64 " %s %s", e->offset, e->number, time, names[e->kind]);
	out_text(out, line);
	if (is_item(e)) {
		snprintf(line, sizeof(line), " seq=%" PRIu64 " flags=%" PRIu32 " size=%" PRIu64, e->seq,
		    e->flags, e->size);
		out_text(out, line);
	}
	if (has_expiry(e)) {
		snprintf(line, sizeof(line), " exp=%" PRId64, e->expiry);
		out_text(out, line);
	}
	if (is_lost(e) && e->last > 0)
		snprintf(line, sizeof(line), " numbers %" PRIu64 " to %" PRIu64 " are lost%s", e->number,
		    e->last,
		    e->kind == EVENT_SPARED ? ", none of this key" : "; one of this key may be among them");
	else
		snprintf(line, sizeof(line), " numbers from %" PRIu64 " on are lost", e->number);
	if (is_lost(e))
		out_text(out, line);
	if (e->value) {
		out_text(out, " value=");
		out_escaped(out, e->value, (size_t)e->size);
	}
	out_char(out, '\n');
}

static void print_now_json(const struct history *h, const struct now *now, struct out *out)
{
	static const char *const states[] = {[UNKNOWN] = "unknown", [LIVE] = "live", [GONE] = "gone"};
	struct json j = json_begin(out);
	json_text(&j, "op", "now");
	json_bytes(&j, "key", h->options->key, h->options->key_len);
	json_text(&j, "state", states[now->state]);
	if (now->state == LIVE) {
		json_u64(&j, "seq", now->item.seq);
		json_u64(&j, "size", now->item.size);
		json_i64(&j, "exp", now->item.expiry);
	} else {
		json_text(&j, "why", now->why);
		json_u64(&j, "by", now->by);
	}
	json_end(&j);
}

static void print_now_text(const struct now *now, struct out *out)
{
	char line[200], time[MOMENT_SIZE];
	moment_text(now->item.expiry * 1000, time);
	if (now->state == LIVE && now->item.expiry == 0)
		snprintf(line, sizeof(line),
		    "now: a value of %" PRIu64 " bytes, number %" PRIu64 ", expires never\n", now->item.size,
		    now->item.seq);
	else if (now->state == LIVE)
		snprintf(line, sizeof(line),
		    "now: a value of %" PRIu64 " bytes, number %" PRIu64 ", expires %s\n", now->item.size,
		    now->item.seq, time);
	else if (now->by > 0)
		snprintf(line, sizeof(line), "now: %s: %s, number %" PRIu64 "\n",
		    now->state == GONE ? "gone" : "not known", now->why, now->by);
	else
		snprintf(
		    line, sizeof(line), "now: %s: %s\n", now->state == GONE ? "gone" : "not known", now->why);
	out_text(out, line);
}

static void judge_expiry(struct now *now)
{
	int64_t expiry = now->item.expiry;
	if (now->state == LIVE && expiry != 0 && expiry <= clock_wall_ms() / 1000)
		gone(now, "it has expired", now->item.seq);
}

int history_print(const struct source *source, const struct history_options *options, struct out *out)
{
	struct history h = {.source = source, .options = options, .exit = TOOL_OK};
	struct now now = {.why = "nothing that is kept tells of it"};
	if (!dicts_open(&h.dicts))
		return report_no_memory();
	gather(&h);
	if (h.begins)
		now = (struct now){.state = GONE, .why = "it was never there"};
	for (size_t i = 0; i < h.n && out->error == 0; i++) {
		follow(&now, &h.events[i]);
		if (options->json)
			print_event_json(&h, &h.events[i], out);
		else
			print_event_text(&h.events[i], out);
	}
	judge_expiry(&now);
	if (options->json)
		print_now_json(&h, &now, out);
	else
		print_now_text(&now, out);
	for (size_t i = 0; i < h.n; i++)
		free(h.events[i].value);
	free(h.events);
	dicts_close(&h.dicts);
	return h.no_memory ? report_no_memory() : h.exit;
}
