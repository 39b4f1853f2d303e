/* SPDX-License-Identifier: BSD-3-Clause */
/* power: what is left at every moment of a life, by a kill (all that was written, the last write torn) and by a power cut
 * (T3: synced only, all, each change lost alone or in pairs, earlier ones lost and later ones kept, torn in sectors,
 * zeros, names lost or kept), over several lives one after the other; and recovery that is cut off itself (I12). */
#include "power.h"

#include <stdio.h>
#include <stdlib.h>

#define STEPS 25u

static bool changes_disk(const struct event *e)
{
	return e->kind != EVENT_BEGIN && e->kind != EVENT_ACK && e->kind != EVENT_MARK;
}

/* The last write has landed in part, to the byte. */
static void try_torn(struct history *h, const struct world *w, uint32_t at)
{
	struct event e = *memfs_event(h->stint.fs, at + 1);
	struct world torn;
	struct image im;
	if (e.kind != EVENT_WRITE || e.len < 2)
		return;
	world_copy(&torn, w);
	e.len = 1 + dice_below(&h->dice, (unsigned)e.len - 1);
	world_apply(&torn, &e, at + 1);
	image_of_cache(&im, &torn);
	struct trial t = history_trial(h, "killed in a write", at);
	struct outcome o;
	t.least = stint_least_kill(&h->stint, at);
	trial_boot(&t, &im, &o);
	outcome_free(&o);
	image_free(&im);
	world_free(&torn);
}

static void try_kill(struct history *h, const struct world *w, uint32_t at)
{
	struct image im;
	struct outcome o;
	struct trial t = history_trial(h, "killed", at);
	t.least = stint_least_kill(&h->stint, at);
	image_of_cache(&im, w);
	trial_boot(&t, &im, &o);
	outcome_free(&o);
	image_free(&im);
}

static void try_power(struct history *h, const struct world *w, uint32_t at, unsigned tries)
{
	struct unsynced *u;
	size_t n = image_unsynced(w, &u);
	struct choice *choice = must_alloc((n + 1) * sizeof(*choice));
	unsigned least = stint_least_power(&h->stint, at, w);
	for (unsigned i = 0; i < tries; i++) {
		unsigned kind = i < 2 ? i : dice_below(&h->dice, CHOICES);
		struct image im;
		struct outcome o;
		char name[32];
		if (!choose(&h->dice, kind, u, n, choice))
			continue;
		snprintf(name, sizeof(name), "power cut %u", kind);
		struct trial t = history_trial(h, name, at);
		t.least = least;
		t.other_boot = true;
		image_of_disk(&im, w, u, n, choice);
		trial_boot(&t, &im, &o);
		outcome_free(&o);
		image_free(&im);
	}
	free(u);
	free(choice);
}

/* Images of every moment at which the next event changes the disk; the moments in between leave the same. */
static void try_life(struct history *h, bool power)
{
	struct world w;
	uint32_t last = memfs_last(h->stint.fs);
	world_copy(&w, &h->stint.fs->start);
	for (uint32_t at = 0; at <= last; at++) {
		if (at > 0)
			world_apply(&w, memfs_event(h->stint.fs, at), at);
		if (at < last && !changes_disk(memfs_event(h->stint.fs, at + 1)))
			continue;
		if (power) {
			try_power(h, &w, at, 8);
		} else {
			try_kill(h, &w, at);
			for (unsigned i = 0; i < 3 && at < last; i++)
				try_torn(h, &w, at);
		}
	}
	world_free(&w);
}

static bool end_life(struct history *h, uint32_t last)
{
	unsigned how = dice_below(&h->dice, 6);
	uint32_t at = h->stint.served + dice_below(&h->dice, last - h->stint.served + 1);
	if (dice_one_in(&h->dice, 2))
		fake_pass(dice_below(&h->dice, 100)); /* downtime */
	if (how < 3)
		history_kill(h, dice_one_in(&h->dice, 2) ? last : at);
	else
		history_cut_power(h, at);
	return true;
}

static void piece(uint64_t seed, bool power)
{
	struct history h;
	history_begin(&h, seed);
	unsigned lives = 1 + dice_below(&h.dice, HISTORY_LIVES - 1);
	for (unsigned i = 0; i < lives; i++) {
		if (!history_live(&h, 5 + dice_below(&h.dice, STEPS)))
			break;
		if (dice_one_in(&h.dice, 4)) {
			/* In order: its images are those of stopping, too. */
			bool stopped = stint_stop(&h.stint) == HEARTH_OK;
			try_life(&h, power);
			if (!stopped || !history_stop(&h))
				break;
			continue;
		}
		uint32_t last = memfs_last(h.stint.fs);
		stint_abandon(&h.stint);
		try_life(&h, power);
		if (!end_life(&h, last))
			break;
	}
	history_end(&h);
}

void kill_piece(uint64_t seed)
{
	piece(seed, false);
}

void power_piece(uint64_t seed)
{
	piece(seed, true);
}

/* ---- recovery, cut off ---- */

/* One look at what recovery comes to, all its events recorded. */
static bool record_recovery(
    struct stint *stint, const struct world *start, struct trial *t, struct found *ret)
{
	struct stint_options o = t->options;
	o.record = true;
	if (t->other_boot)
		o.boot = 77;
	if (stint_open(stint, start, &o, NULL, 7) != HEARTH_OK)
		return false;
	stint_read(stint, ret);
	stint_abandon(stint);
	return true;
}

static void try_again(struct trial *t, const struct image *im, const struct found *first)
{
	struct outcome o;
	if (trial_boot(t, im, &o) && !o.skipped && !found_same(&o.found, first))
		run_failed(t, im, "recovery after a recovery that was cut off finds another state");
	outcome_free(&o);
}

/* Every moment of a recovery: the next one must come to the same. */
static void try_recovery(struct history *h, const struct world *start, struct trial *t)
{
	struct stint stint;
	struct found first;
	struct world w;
	bool power = t->other_boot;
	if (!record_recovery(&stint, start, t, &first)) {
		run_failed(t, NULL, "does not start: %s", hearth_status_text(stint.status));
		stint_free(&stint);
		return;
	}
	world_copy(&w, &stint.fs->start);
	for (uint32_t at = 0; at <= memfs_last(stint.fs); at++) {
		if (at > 0)
			world_apply(&w, memfs_event(stint.fs, at), at);
		struct unsynced *u;
		struct image im;
		size_t n = image_unsynced(&w, &u);
		struct choice *choice = must_alloc((n + 1) * sizeof(*choice));
		snprintf(t->name, sizeof(t->name), "recovery cut off at its event %u", at);
		for (unsigned kind = 0; kind < 4; kind++) {
			if (kind == 0)
				image_of_cache(&im, &w);
			else if (choose(&h->dice, kind == 3 ? dice_below(&h->dice, CHOICES) : kind - 1, u, n,
			             choice))
				image_of_disk(&im, &w, u, n, choice);
			else
				continue;
			/* Killed in the boot of the files, or in another one: the power cut came before. */
			t->other_boot = power || kind > 0;
			if (power || kind == 0)
				try_again(t, &im, &first);
			image_free(&im);
		}
		free(u);
		free(choice);
	}
	world_free(&w);
	found_free(&first);
	stint_free(&stint);
}

void recovery_piece(uint64_t seed)
{
	struct history h;
	history_begin(&h, seed);
	if (history_live(&h, 10 + dice_below(&h.dice, STEPS))) {
		uint32_t last = memfs_last(h.stint.fs);
		stint_abandon(&h.stint);
		for (unsigned i = 0; i < 3; i++) {
			uint32_t at = h.stint.served + dice_below(&h.dice, last - h.stint.served + 1);
			struct world w, start;
			struct image im;
			struct unsynced *u;
			stint_world(&h.stint, at, &w);
			size_t n = image_unsynced(&w, &u);
			struct choice *choice = must_alloc((n + 1) * sizeof(*choice));
			struct trial t = history_trial(&h, "", at);
			t.never = true;
			t.other_boot = i > 0 && choose(&h.dice, dice_below(&h.dice, CHOICES), u, n, choice);
			if (t.other_boot)
				image_of_disk(&im, &w, u, n, choice);
			else
				image_of_cache(&im, &w);
			t.least = t.other_boot ? stint_least_power(&h.stint, at, &w)
			                       : stint_least_kill(&h.stint, at);
			image_world(&im, &start);
			try_recovery(&h, &start, &t);
			world_free(&start);
			world_free(&w);
			image_free(&im);
			free(u);
			free(choice);
		}
	}
	history_end(&h);
}
