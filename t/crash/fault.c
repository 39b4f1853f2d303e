/* SPDX-License-Identifier: BSD-3-Clause */
/* fault: calls that fail (T7, T8, T10 in one process): the nth write, sync, rename, open or read, once or from there on,
 * with EIO, ENOSPC or EDQUOT, a write perhaps after its first half; while it runs, rotates, takes snapshots, stops and
 * recovers. A failed sync loses what it covered, though reads still show it. The promises, not the means:
 * - what was acknowledged survives a kill at any moment, and under `always` a power cut, too; the exception is a
 *   directory whose manifest says that it is not to be trusted: that one starts empty, and says so;
 * - changes may be refused, invalidations are not;
 * - when the disk allows, it heals by itself, takes changes again, and stops in order with all of it on disk. */
#include "fault.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/check.h"
#include <hearth/datadir.h>

#define HEAL_TICKS 400 /* seconds of the harness's time */

static struct memfs_fault draw_fault(struct dice *d)
{
	static const unsigned kinds[] = {MEMFS_WRITE, MEMFS_SYNC, MEMFS_WRITE | MEMFS_SYNC, MEMFS_NAME,
	    MEMFS_WRITE | MEMFS_NAME, MEMFS_OPEN, MEMFS_WRITE | MEMFS_SYNC | MEMFS_NAME, MEMFS_STAT,
	    MEMFS_READ};
	static const int errors[] = {EIO, ENOSPC, EDQUOT};
	return (struct memfs_fault){
	    .kinds = kinds[dice_below(d, 9)],
	    .nth = 1 + dice_below(d, dice_one_in(d, 2) ? 6 : 40),
	    .forever = dice_one_in(d, 2),
	    .error = errors[dice_below(d, 3)],
	    .partly = dice_one_in(d, 2),
	};
}

static void name_fault(const struct memfs_fault *f, char *out, size_t size)
{
	snprintf(out, size, "call %u of kinds %u fails%s%s: %s", f->nth, f->kinds,
	    f->forever ? " for ever" : "", f->partly ? ", partly" : "",
	    f->error == EIO      ? "EIO"
	    : f->error == ENOSPC ? "ENOSPC"
	                         : "EDQUOT");
}

/* Whether the manifest of the image says that what lies there has a hole. */
static bool untrusted(const struct image *im)
{
	struct world w;
	struct datadir *dir;
	struct manifest m;
	bool repaired, marked = false;
	image_world(im, &w);
	struct memfs *fs = memfs_open(&w, false);
	if (datadir_open(&dir, &fs->vfs, MEMFS_PATH, false, false, NULL, NULL) == HEARTH_OK) {
		if (datadir_read_manifest(dir, &m, &repaired, NULL) == HEARTH_OK) {
			marked = m.untrusted;
			manifest_free(&m);
		}
		datadir_close(&dir);
	}
	memfs_close(&fs);
	world_free(&w);
	return marked;
}

/* Boots an image of a stint in which calls failed. */
static void try(
    struct history *h, struct image *im, uint32_t at, unsigned least, bool other_boot, const char *what)
{
	struct outcome o;
	char name[96];
	bool empty = untrusted(im);
	snprintf(name, sizeof(name), "%s%s", what, empty ? ", untrusted" : "");
	struct trial t = history_trial(h, name, at);
	t.other_boot = other_boot;
	/* A directory that is not to be trusted starts empty: state 0, if need be with everything missing. */
	t.least = empty ? 0 : least;
	t.most = empty ? 0 : t.most;
	t.never = empty;
	if (trial_boot(&t, im, &o) && !o.skipped && empty && o.recovery.note[0] == 0 && h->m.n > 0)
		run_failed(&t, im, "not to be trusted, and nothing is said");
	outcome_free(&o);
}

/* Moments of the stint, after a kill and after a power cut. */
static void try_moments(struct history *h, unsigned moments, const char *what)
{
	uint32_t last = memfs_last(h->stint.fs);
	for (unsigned i = 0; i < moments; i++) {
		uint32_t at =
		    i == 0 ? last : h->stint.served + dice_below(&h->dice, last - h->stint.served + 1);
		struct world w;
		struct image im;
		struct unsynced *u;
		stint_world(&h->stint, at, &w);
		image_of_cache(&im, &w);
		try(h, &im, at, stint_least_kill(&h->stint, at), false, what);
		image_free(&im);
		size_t n = image_unsynced(&w, &u);
		struct choice *choice = must_alloc((n + 1) * sizeof(*choice));
		if (choose(&h->dice, i == 0 ? 0 : dice_below(&h->dice, CHOICES), u, n, choice)) {
			image_of_disk(&im, &w, u, n, choice);
			try(h, &im, at, stint_least_power(&h->stint, at, &w), true, what);
			image_free(&im);
		}
		free(choice);
		free(u);
		world_free(&w);
	}
}

static bool complain(struct history *h, const char *what, const char *why)
{
	struct trial t = {.options = h->options};
	snprintf(t.name, sizeof(t.name), "%.90s", what);
	run_failed(&t, NULL, "%s", why);
	return false;
}

static void sleep_second(void)
{
	nanosleep(&(struct timespec){1, 0}, NULL); /* of the harness's time */
}

/* The disk is well again: so must the log be. */
static bool heals(struct history *h, const char *what)
{
	struct engine_stats stats;
	char why[200];
	memfs_set_fault(h->stint.fs, NULL);
	/* A call that has just failed is noticed a moment later. */
	for (unsigned i = 0, well = 0; i < HEAL_TICKS; i++) {
		engine_get_stats(h->stint.engine, &stats);
		well = stats.degraded ? 0 : well + 1;
		if (well == 5)
			return true;
		stint_pass(&h->stint, 0);
		sleep_second();
	}
	snprintf(why, sizeof(why), "does not heal: %s, %s", stats.state, stats.state_reason);
	return complain(h, what, why);
}

/* Everything is taken again, and is there after a stop in order. */
static bool works_again(struct history *h, const char *what)
{
	struct stint *s = &h->stint;
	s->disk_fails = false;
	for (unsigned i = 0; i < 4 && !s->why[0]; i++)
		stint_step(s);
	if (s->why[0] || !stint_await_snapshots(s) || !stint_settle(s))
		return complain(h, what, s->why);
	return true;
}

void fault_piece(uint64_t seed)
{
	struct history h;
	history_begin(&h, seed);
	struct memfs_fault f = draw_fault(&h.dice);
	char what[96];
	name_fault(&f, what, sizeof(what));
	if (!history_live(&h, 3 + dice_below(&h.dice, 8)))
		goto out;
	struct stint *s = &h.stint;
	s->disk_fails = true;
	memfs_set_fault(s->fs, &f);
	for (unsigned i = 5 + dice_below(&h.dice, 10); i > 0 && !s->why[0]; i--)
		stint_step(s);
	if (s->why[0]) {
		complain(&h, what, s->why);
		goto out;
	}
	bool stops = dice_one_in(&h.dice, 4);
	if (stops) {
		/* The disk fails still: what is said about the end must be true. */
		stint_await_snapshots(s);
		s->stopped = stint_stop(s);
		try_moments(&h, 4, what);
		goto out;
	}
	if (dice_one_in(&h.dice, 3)) {
		stint_abandon(s);
		try_moments(&h, 6, what);
		goto out;
	}
	if (heals(&h, what) && works_again(&h, what)) {
		bool stopped = stint_stop(s) == HEARTH_OK;
		try_moments(&h, 6, what);
		if (!stopped)
			complain(&h, what, s->err.what ? s->err.what : "healed, and does not stop in order");
		else if (history_stop(&h))
			history_live(&h, 0);
	}
out:
	history_end(&h);
}

/* ---- while it starts ---- */

/* The start fails or not; the next one, on what is left, must find what there was. */
static void start_once(struct history *h, const struct memfs_fault *f)
{
	struct stint_options o = h->options;
	struct stint stint;
	struct trial t = {.m = &h->m, .options = o, .least = h->least, .most = h->most, .told = h->told};
	t.other_boot = h->other_boot;
	t.never = true;
	name_fault(f, t.name, sizeof(t.name));
	run_count();
	run_at(&t, NULL);
	if (h->other_boot)
		o.boot = 77;
	struct memfs *fs = memfs_open(&h->start, true);
	memfs_set_fault(fs, f);
	enum hearth_status status = stint_open_on(&stint, fs, &o, NULL, 5);
	if (status == HEARTH_OK && dice_one_in(&h->dice, 2))
		engine_stop(stint.engine, NULL);
	stint_abandon(&stint);
	if (status != HEARTH_OK && status != HEARTH_IO && status != HEARTH_DAMAGED)
		run_failed(&t, NULL, "a start ends with: %s", hearth_status_text(status));
	struct image im;
	struct outcome out;
	image_of_cache(&im, &fs->now);
	if (untrusted(&im)) {
		t.least = t.most = 0;
		t.holes = true;
	}
	trial_boot(&t, &im, &out);
	outcome_free(&out);
	image_free(&im);
	stint_free(&stint);
}

void fault_start_piece(uint64_t seed)
{
	struct history h;
	history_begin(&h, seed);
	if (history_live(&h, 5 + dice_below(&h.dice, 15))) {
		uint32_t last = memfs_last(h.stint.fs);
		stint_await_snapshots(&h.stint);
		if (dice_one_in(&h.dice, 2))
			history_kill(&h, last);
		else
			history_cut_power(&h, last);
		struct memfs_fault f = draw_fault(&h.dice);
		for (f.nth = 1; f.nth < 60; f.nth += 1 + dice_below(&h.dice, 3))
			start_once(&h, &f);
	}
	history_end(&h);
}
