/* SPDX-License-Identifier: BSD-3-Clause */
/* clocks: T15: somebody sets the wall clock while a stint runs, and between two of them: by an hour or a year either way,
 * to 1970, behind 2038 and 2106. Hearth time judges what has expired: it never runs backwards while it serves, nothing that
 * was shown to have expired comes back, and what a recovery finds is a state judged at its own time. */
#include "clocks.h"

#include <inttypes.h>
#include <stdio.h>

static int64_t draw_wall(struct dice *d)
{
	int64_t now = fake_wall();
	const int64_t wall[] = {now + 1, now - 1, now + 3600, now - 3600, now + 31536000, now - 31536000, 100,
	    2147483647, 2147483700, 4294967295, 4294967400, now - 100000, now + 100000};
	return wall[dice_below(d, sizeof(wall) / sizeof(wall[0]))];
}

/* Hearth time of this moment. */
static int64_t hearth(struct stint *s)
{
	struct engine_worker *w = engine_get_worker(s->engine, 0);
	engine_turn(w);
	return engine_now(w);
}

static bool run(struct history *h)
{
	struct stint *s = &h->stint;
	for (unsigned i = 0; i < 4; i++) {
		int64_t before = hearth(s);
		fake_set_wall(draw_wall(&h->dice));
		stint_pass(s, 0);
		for (unsigned k = 0; k < 3 && !s->why[0]; k++)
			stint_step(s);
		if (hearth(s) < before)
			snprintf(s->why, sizeof(s->why), "Hearth time ran from %" PRId64 " back to %" PRId64,
			    before, hearth(s));
		if (s->why[0]) {
			struct trial t = {.options = h->options, .name = "the wall clock is set"};
			run_failed(&t, NULL, "%s", s->why);
			return false;
		}
	}
	return true;
}

/* What a kill leaves at some moments, started under other clocks. */
static void try_clocks(struct history *h)
{
	uint32_t last = memfs_last(h->stint.fs);
	int64_t wall = fake_wall();
	for (unsigned i = 0; i < 6; i++) {
		uint32_t at =
		    i == 0 ? last : h->stint.served + dice_below(&h->dice, last - h->stint.served + 1);
		struct world w;
		struct image im;
		stint_world(&h->stint, at, &w);
		image_of_cache(&im, &w);
		for (unsigned k = 0; k < 6; k++) {
			struct outcome o;
			char name[48];
			fake_set_wall(k == 0 ? wall : draw_wall(&h->dice));
			snprintf(name, sizeof(name), "started at %" PRId64, fake_wall());
			struct trial t = history_trial(h, name, at);
			t.least = stint_least_kill(&h->stint, at);
			t.other_boot = dice_one_in(&h->dice, 2);
			t.least = t.other_boot ? stint_least_power(&h->stint, at, &w) : t.least;
			t.again = t.never = true;
			trial_boot(&t, &im, &o);
			outcome_free(&o);
			fake_set_wall(wall);
		}
		image_free(&im);
		world_free(&w);
	}
}

void clocks_piece(uint64_t seed)
{
	struct history h;
	history_begin(&h, seed);
	for (unsigned i = 0; i < 3; i++) {
		if (!history_live(&h, 4) || !run(&h))
			break;
		uint32_t last = memfs_last(h.stint.fs);
		stint_abandon(&h.stint);
		try_clocks(&h);
		history_kill(&h, last);
	}
	history_end(&h);
}
