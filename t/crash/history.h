/* SPDX-License-Identifier: BSD-3-Clause */
/* history: lives one after the other on one directory: each begins with what the one before left, in order, killed, or
 * after a power cut. The model goes through all of them. */
#ifndef CRASH_HISTORY_H
#define CRASH_HISTORY_H

#include "run.h"

#define HISTORY_LIVES 6

struct history {
	struct model m;
	struct dice dice;
	struct stint_options options;
	struct stint stint;
	bool alive;                        /* a life is open, or its file system still there */
	struct memfs *past[HISTORY_LIVES]; /* pending changes point into their events */
	unsigned n_past;
	struct world start; /* of the next life */
	bool started;
	uint64_t told;
	unsigned least, most; /* what the next life must find */
	bool other_boot;
	char end[64]; /* how the last life ended */
};

/* A new directory; clocks and random bytes from the seed. */
void history_begin(struct history *h, uint64_t seed);
void history_end(struct history *h);
/* Opens a life on what there is and checks what it finds; then `steps` steps. False when something was wrong: it has
 * been reported. */
bool history_live(struct history *h, unsigned steps);
/* It ends in order. */
bool history_stop(struct history *h);
/* It is over at event `at`: the next life finds what a kill left, unsynced as before... */
void history_kill(struct history *h, uint32_t at);
/* ...or what a power cut left of it. */
void history_cut_power(struct history *h, uint32_t at);

/* A trial of images of the life that is over (its engine closed, not yet ended by one of the three above). */
struct trial history_trial(struct history *h, const char *name, uint32_t at);

/* Draws what becomes of unsynced changes; kind 0 .. CHOICES-1. False: this kind has nothing to say here. */
#define CHOICES 12u
bool choose(struct dice *d, unsigned kind, const struct unsynced *u, size_t n, struct choice *choice);

#endif
