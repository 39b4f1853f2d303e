/* SPDX-License-Identifier: BSD-3-Clause */
/* history: see history.h. */
#include "history.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/check.h"

void history_begin(struct history *h, uint64_t seed)
{
	memset(h, 0, sizeof(*h));
	h->dice = dice_make(seed);
	fake_begin(run_wall(), seed);
	h->options = stint_draw_options(&h->dice);
}

static void bury(struct history *h)
{
	if (!h->alive)
		return;
	stint_abandon(&h->stint);
	CHECK(h->n_past < HISTORY_LIVES);
	h->past[h->n_past++] = h->stint.fs;
	h->alive = false;
}

void history_end(struct history *h)
{
	bury(h);
	for (unsigned i = 0; i < h->n_past; i++)
		memfs_close(&h->past[i]);
	if (h->started)
		world_free(&h->start);
	model_free(&h->m);
}

static bool failed(struct history *h, const char *why, const char *more)
{
	struct trial t = {.m = NULL, .options = h->options};
	snprintf(t.name, sizeof(t.name), "life %u, after: %s", h->n_past, h->n_past ? h->end : "nothing");
	run_failed(&t, NULL, "%s; %s", why, more);
	return false;
}

/* What the life found is a state of the model; it goes on from there. */
static bool find(struct history *h)
{
	struct found found;
	struct stint *stint = &h->stint;
	stint_read(stint, &found);
	found_turn_back(&found, stint->recovery.clock_back);
	struct verdict v = model_judge(&h->m, &found, h->least, h->most, false);
	found_free(&found);
	if (!v.ok)
		return failed(h, v.why, stint->recovery.note);
	stint->told = h->told;
	stint_adopt(stint, v.n, h->least);
	/* All times have moved, those of the model have not: here the history ends. */
	return stint->recovery.clock_back == 0;
}

bool history_live(struct history *h, unsigned steps)
{
	struct stint_options o = h->options;
	run_count();
	/* The same machine may have more cores now; the same boot has the same id. */
	o.cores = 1 + dice_below(&h->dice, 2);
	if (h->other_boot) {
		o.left_machine = h->options.left_machine |= h->options.boot == 0;
		o.boot = h->options.boot = 2 + dice_below(&h->dice, 1000000);
	}
	h->alive = true;
	enum hearth_status status =
	    stint_open(&h->stint, h->started ? &h->start : NULL, &o, &h->m, dice_next(&h->dice));
	if (status != HEARTH_OK)
		return failed(h, hearth_status_text(status), h->stint.err.what ? h->stint.err.what : "");
	if (!find(h))
		return false;
	for (unsigned i = 0; i < steps && h->stint.why[0] == 0; i++)
		stint_step(&h->stint);
	if (h->stint.why[0])
		return failed(h, h->stint.why, "while it ran");
	return true;
}

static void next_start(struct history *h, const char *end)
{
	if (h->started)
		world_free(&h->start);
	h->started = true;
	snprintf(h->end, sizeof(h->end), "%s", end);
}

bool history_stop(struct history *h)
{
	enum hearth_status status = h->stint.engine ? stint_stop(&h->stint) : h->stint.stopped;
	for (unsigned i = h->stint.first; i <= h->m.n; i++)
		if (!h->m.op[i].acked && !h->m.op[i].lost)
			return failed(h, "a reply had not left at a stop in order", "");
	if (status != HEARTH_OK)
		return failed(h, "does not stop in order", h->stint.err.what ? h->stint.err.what : "");
	uint32_t at = memfs_last(h->stint.fs);
	h->told = stint_told(&h->stint, at);
	next_start(h, "a stop in order");
	stint_world(&h->stint, at, &h->start);
	h->least = h->most = h->m.n;
	h->other_boot = dice_one_in(&h->dice, 2);
	bury(h);
	if (h->other_boot) {
		struct image im;
		image_of_cache(&im, &h->start);
		world_free(&h->start);
		image_world(&im, &h->start);
		image_free(&im);
	}
	return true;
}

void history_kill(struct history *h, uint32_t at)
{
	struct world w;
	stint_world(&h->stint, at, &w);
	h->least = stint_least_kill(&h->stint, at);
	h->most = stint_most(&h->stint, at);
	h->told = stint_told(&h->stint, at);
	model_truncate(&h->m, h->most);
	bury(h);
	next_start(h, "a kill");
	h->start = w;
	/* What was not synced in that life is not synced in the next one. */
	for (int i = 0; i < w.n; i++)
		for (size_t k = 0; k < w.inode[i].n_pending; k++)
			w.inode[i].pending[k].at = 0;
	h->other_boot = false;
}

void history_cut_power(struct history *h, uint32_t at)
{
	struct world w;
	struct unsynced *u;
	struct image im;
	stint_world(&h->stint, at, &w);
	size_t n = image_unsynced(&w, &u);
	struct choice *choice = must_alloc((n + 1) * sizeof(*choice));
	while (!choose(&h->dice, dice_below(&h->dice, CHOICES), u, n, choice))
		;
	image_of_disk(&im, &w, u, n, choice);
	h->least = stint_least_power(&h->stint, at, &w);
	h->most = stint_most(&h->stint, at);
	h->told = stint_told(&h->stint, at);
	model_truncate(&h->m, h->most);
	bury(h);
	next_start(h, "a power cut");
	image_world(&im, &h->start);
	h->other_boot = true;
	image_free(&im);
	world_free(&w);
	free(u);
	free(choice);
}

struct trial history_trial(struct history *h, const char *name, uint32_t at)
{
	struct trial t = {.m = &h->m, .options = h->options, .most = stint_most(&h->stint, at)};
	t.told = stint_told(&h->stint, at);
	t.options.cores = 1 + dice_below(&h->dice, 2);
	snprintf(t.name, sizeof(t.name), "life %u, event %u, %s", h->n_past, at, name);
	return t;
}

/* ---- what becomes of unsynced changes ---- */

static void all(struct choice *choice, size_t n, enum fate fate)
{
	for (size_t i = 0; i < n; i++)
		choice[i] = (struct choice){.fate = fate};
}

static size_t draw_write(struct dice *d, const struct unsynced *u, size_t n)
{
	for (unsigned i = 0; i < 8 && n; i++) {
		size_t at =
		    i < 4 ? n - 1 - dice_below(d, n < 4 ? (unsigned)n : 4) : dice_below(d, (unsigned)n);
		if (!u[at].names)
			return at;
	}
	return SIZE_MAX;
}

static void names(const struct unsynced *u, size_t n, struct choice *choice, struct dice *d, unsigned one_in)
{
	for (size_t i = 0; i < n; i++)
		if (u[i].names)
			choice[i].fate = one_in && dice_one_in(d, one_in) ? FATE_KEEP : FATE_DROP;
}

/* Of the last writes of all files. */
static void tear(struct dice *d, const struct unsynced *u, size_t n, struct choice *choice, bool prefix)
{
	size_t at = draw_write(d, u, n);
	if (at == SIZE_MAX)
		return;
	choice[at] = (struct choice){FATE_SECTORS, dice_next(d)};
	if (prefix)
		choice[at].sectors = (UINT64_C(1) << dice_below(d, (unsigned)(u[at].len / 512 + 2) % 63)) - 1;
	for (size_t i = at + 1; i < n; i++)
		if (u[i].inode == u[at].inode)
			choice[i].fate = FATE_DROP;
}

bool choose(struct dice *d, unsigned kind, const struct unsynced *u, size_t n, struct choice *choice)
{
	size_t at = n ? dice_below(d, (unsigned)n) : 0, at2 = n ? dice_below(d, (unsigned)n) : 0;
	all(choice, n, kind == 0 || kind == 5 ? FATE_DROP : FATE_KEEP);
	if (n == 0)
		return kind < 2;
	switch (kind) {
	case 0: /* synced only, strict names */
	case 1: /* all */
		return true;
	case 2: /* each alone dropped */
		choice[at].fate = FATE_DROP;
		return true;
	case 3: /* an earlier one lost, and another */
		choice[at].fate = choice[at2].fate = FATE_DROP;
		return true;
	case 4: /* in order, up to here */
		for (size_t i = at; i < n; i++)
			choice[i].fate = FATE_DROP;
		return true;
	case 5: /* one alone has landed */
		choice[at].fate = FATE_KEEP;
		return true;
	case 6:
		tear(d, u, n, choice, true);
		return true;
	case 7:
		tear(d, u, n, choice, false);
		return true;
	case 8: /* zeros from here on */
		for (size_t i = at; i < n; i++)
			if (!u[i].names)
				choice[i].fate = FATE_ZERO;
		return true;
	case 9: /* no names */
		names(u, n, choice, d, 0);
		return true;
	case 10: /* some names */
		names(u, n, choice, d, 2);
		return true;
	default: /* anything */
		for (size_t i = 0; i < n; i++) {
			choice[i].fate = (enum fate)dice_below(d, u[i].names ? 2 : 4);
			choice[i].sectors = dice_next(d);
		}
		return true;
	}
}
