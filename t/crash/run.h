/* SPDX-License-Identifier: BSD-3-Clause */
/* run: the book-keeping of the crash harness: families of cases, how many were run, which images are new, what failed
 * and how it is repeated. Several processes share it; each runs the families in turn until time is up. A process that
 * dies is a failure of the case it was at. */
#ifndef CRASH_RUN_H
#define CRASH_RUN_H

#include "image.h"
#include "stint.h"

#define RUN_FAMILIES 16

/* A piece of work of less than a second; n counts up from 0, different in each process. */
struct family {
	const char *name, *what;
	void (*piece)(uint64_t seed);
	unsigned share; /* of the time, relative to the others' */
};
extern const struct family families[];

struct run_options {
	uint64_t seed;
	double seconds;
	unsigned jobs, every; /* of the distinct images each every-th is exported */
	const char *export, *keep;
	const char *family; /* only this one */
	bool one;           /* only the piece of this very seed */
	int64_t wall;       /* seconds at which histories begin */
};

/* What a boot of an image is held against. */
struct trial {
	const struct model *m; /* NULL: only that it starts */
	unsigned least, most;
	bool holes;      /* keys may be missing: the image was damaged */
	bool other_boot; /* than the one that wrote it */
	bool never;      /* do not export it */
	bool again;      /* boot it though it was booted before: something else has changed */
	uint64_t told;
	struct stint_options options;
	char name[96]; /* of the case, within its family */
};

/* What came of it. The life has no engine any more. */
struct outcome {
	enum hearth_status status;
	struct hearth_error err;
	struct engine_recovery recovery;
	struct found found;
	struct verdict verdict;
	bool skipped; /* the image is not new */
};

/* Boots the image unless it was booted before, reads it, judges it; a verdict that is not ok has been reported. The
 * outcome is to be freed with outcome_free. */
bool trial_boot(const struct trial *t, const struct image *im, struct outcome *ret);
void outcome_free(struct outcome *o);

/* The current family's: a case of it was run (trial_boot counts by itself). */
void run_count(void);
/* True when nobody has booted such an image; counts it. */
bool run_new_image(uint64_t hash);
/* Reports a failure of the current piece; im may be NULL. */
void run_failed(const struct trial *t, const struct image *im, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Names what is being done, for when it kills the process. */
void run_at(const struct trial *t, const struct image *im);

int64_t run_wall(void);
void run_prepare(const struct run_options *options);
/* All of it: TAP on standard output; the exit code. */
int run_all(void);
/* Ends a forked process: what it printed and counted (make cov) is written, and nothing else is done. */
_Noreturn void run_exit(int code);

/* The files of an exported image, its expectation beside them (see expect.c). False and errno. */
bool expect_write(const struct trial *t, const struct image *im, const char *path);
/* Boots such a directory, for repeating a failure: exit code. */
int expect_replay(const char *path);

#endif
