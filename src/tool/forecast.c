/* SPDX-License-Identifier: BSD-3-Clause */
/* forecast: see forecast.h. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "tool/forecast.h"
#include "tool/json.h"
#include "tool/tool.h"

static const char *word_of(const struct forecast *f)
{
	const char *word = f->items > 0 ? "items" : "nothing";
	bool keys = false;
	/* Nothing there and nothing wrong: a directory without changes yet. */
	if (f->exit != TOOL_OK)
		return f->untrusted || f->plan.losses.n > 0 ? "everything" : "nothing";
	for (size_t i = 0; i < f->plan.losses.n; i++) {
		enum loss_kind kind = f->plan.losses.list[i].kind;
		if (kind == LOSS_OLDER || kind == LOSS_CHANGES)
			return "changes";
		keys = keys || kind == LOSS_KEYS;
		if (kind == LOSS_SNAPSHOT && f->plan.snapshot &&
		    f->plan.losses.list[i].path == f->plan.snapshot->path)
			word = "items";
		else if (kind == LOSS_TAIL && strcmp(word, "nothing") == 0)
			word = "tail";
	}
	return keys ? "keys" : word;
}

void forecast_make(struct forecast *f, const struct source *source, const uint64_t *items_lost)
{
	*f = (struct forecast){.untrusted = source->manifest.untrusted};
	f->exit = plan_make(&f->plan, source, NULL, PLAN_AS_START);
	if (f->exit == TOOL_OK && f->plan.snapshot)
		f->items = items_lost[f->plan.snapshot - source->files];
	f->word = word_of(f);
}

static void print_json(const struct loss *l, struct out *out)
{
	char text[LOSS_TEXT_SIZE];
	struct json j = json_begin(out);
	loss_text(l, text);
	json_text(&j, "loss", loss_word(l->kind));
	json_bytes(&j, "path", l->path, strlen(l->path));
	json_u64(&j, "offset", l->offset);
	json_u64(&j, "length", l->length);
	if (l->from > 0)
		json_u64(&j, "from", l->from);
	else
		json_null(&j, "from");
	if (l->to > 0)
		json_u64(&j, "to", l->to);
	else
		json_null(&j, "to");
	if (l->kind == LOSS_KEYS)
		json_u64(&j, "keys", l->keys);
	else
		json_null(&j, "keys");
	json_text(&j, "what", l->what);
	json_text(&j, "text", text);
	json_end(&j);
}

static void print_text(const struct loss *l, struct out *out)
{
	char text[LOSS_TEXT_SIZE], place[80];
	loss_text(l, text);
	snprintf(place, sizeof(place), " at offset %" PRIu64 ", %" PRIu64 " bytes: ", l->offset, l->length);
	out_text(out, "a start: ");
	out_escaped(out, l->path, strlen(l->path));
	out_text(out, place);
	out_text(out, text);
	out_char(out, '\n');
}

void forecast_print(const struct forecast *f, struct out *out, bool json)
{
	for (size_t i = 0; i < f->plan.losses.n; i++) {
		if (json)
			print_json(&f->plan.losses.list[i], out);
		else
			print_text(&f->plan.losses.list[i], out);
	}
}

void forecast_free(struct forecast *f)
{
	plan_free(&f->plan);
}
