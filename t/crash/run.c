/* SPDX-License-Identifier: BSD-3-Clause */
/* run: see run.h. */
#include "run.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "base/check.h"

#define TABLE     (1u << 24) /* hashes of images */
#define SAVED_MAX (2u << 20) /* bytes of an image that a dead process leaves */
#define HANG      120        /* seconds that one boot may take, also under a sanitizer on a busy machine */
#define FAILURES  20         /* that are told of */

struct count {
	_Atomic uint64_t cases, images, failures, micros;
};

/* What a process is at, so that the one that leads can tell when it dies. */
struct place {
	char text[256];
	_Atomic int family;
	_Atomic uint64_t seed;
};

struct shared {
	struct count count[RUN_FAMILIES];
	_Atomic uint64_t exported, told;
	_Atomic bool full;
	struct place place[16];
	_Atomic uint64_t table[TABLE];
};

static struct shared *shared;
static struct run_options run;
static unsigned job;
static int family;
static uint64_t piece_seed;

static double seconds_now(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC_RAW, &ts); /* not one of those that the harness has taken over */
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* ---- counting ---- */

void run_count(void)
{
	atomic_fetch_add(&shared->count[family].cases, 1);
}

bool run_new_image(uint64_t hash)
{
	for (uint32_t i = 0, at = (uint32_t)hash & (TABLE - 1); i < 64; i++, at = (at + 1) & (TABLE - 1)) {
		uint64_t empty = 0;
		if (atomic_compare_exchange_strong(&shared->table[at], &empty, hash)) {
			atomic_fetch_add(&shared->count[family].images, 1);
			return true;
		}
		if (empty == hash)
			return false;
	}
	atomic_store(&shared->full, true); /* booted, but not counted */
	return true;
}

void run_at(const struct trial *t, const struct image *im)
{
	struct place *p = &shared->place[job];
	snprintf(p->text, sizeof(p->text), "%s, %u files, ops %u..%u", t ? t->name : "", im ? im->n : 0,
	    t ? t->least : 0, t ? t->most : 0);
	alarm(HANG);
}

/* ---- failures ---- */

static void print_repeat(const char *name, uint64_t seed)
{
	printf("#   repeat: build/crash/images --family %s --piece %" PRIu64 "\n", name, seed);
}

static void keep(const struct trial *t, const struct image *im, uint64_t number)
{
	char path[400];
	if (!run.keep || !t || !t->m || !im)
		return;
	mkdir(run.keep, 0700);
	snprintf(path, sizeof(path), "%s/%s-%" PRIu64 "-%" PRIu64, run.keep, families[family].name,
	    piece_seed, number);
	if (expect_write(t, im, path))
		printf("#   kept; boot it again: build/crash/images --replay %s\n", path);
	else
		printf("#   cannot be kept: %s: %s\n", path, strerror(errno));
}

void run_failed(const struct trial *t, const struct image *im, const char *fmt, ...)
{
	char why[512];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	for (char *p = why; *p; p++)
		if (*p < ' ' || *p > '~')
			*p = '?';
	atomic_fetch_add(&shared->count[family].failures, 1);
	uint64_t number = atomic_fetch_add(&shared->told, 1);
	if (number >= FAILURES)
		return;
	printf("# FAILED %s: %s: %s\n", families[family].name, t ? t->name : "", why);
	print_repeat(families[family].name, piece_seed);
	keep(t, im, number);
	fflush(stdout);
}

/* ---- booting ---- */

static void export(const struct trial *t, const struct image *im)
{
	char path[400], tmp[420];
	/* The real daemon runs in this machine's boot: after a kill that is the log's, after a power cut none that the log
	 * has seen. */
	bool machine = t->options.boot == 0;
	if (!run.export || t->never || !t->m || t->options.left_machine || t->other_boot == machine)
		return;
	uint64_t number = atomic_fetch_add(&shared->exported, 1);
	if (number % run.every)
		return;
	snprintf(path, sizeof(path), "%s/%08" PRIu64, run.export, number);
	snprintf(tmp, sizeof(tmp), "%s.tmp", path);
	CHECK(expect_write(t, im, tmp) && rename(tmp, path) == 0);
}

static void judge(const struct trial *t, const struct image *im, struct stint *stint, struct outcome *ret)
{
	stint_read(stint, &ret->found);
	found_turn_back(&ret->found, ret->recovery.clock_back);
	ret->found.number = stint_number(stint);
	ret->verdict = model_judge(t->m, &ret->found, t->least, t->most, t->holes);
	if (!ret->verdict.ok)
		run_failed(t, im, "%s; %s", ret->verdict.why, ret->recovery.note);
	else if (ret->found.number <= t->told)
		run_failed(t, im, "number %" PRIu64 " is given out again, a client knows up to %" PRIu64,
		    ret->found.number, t->told);
}

/* The state that an image of this piece came to: the same one may later have to hold more. */
static struct {
	uint64_t hash, piece;
	unsigned n;
} known[1 << 14];

static void remember(uint64_t hash, unsigned n)
{
	known[hash & ((1 << 14) - 1)].hash = hash;
	known[hash & ((1 << 14) - 1)].piece = piece_seed;
	known[hash & ((1 << 14) - 1)].n = n;
}

static bool booted_before(const struct trial *t, const struct image *im, uint64_t hash)
{
	unsigned i = hash & ((1 << 14) - 1);
	if (known[i].hash != hash || known[i].piece != piece_seed || known[i].n >= t->least)
		return true;
	run_failed(t, im, "lost: state %u, wanted %u..%u", known[i].n, t->least, t->most);
	return false;
}

bool trial_boot(const struct trial *t, const struct image *im, struct outcome *ret)
{
	struct world w;
	struct stint stint;
	*ret = (struct outcome){0};
	run_count();
	run_at(t, im);
	uint64_t hash = image_hash(im) ^ (t->other_boot ? UINT64_C(0x5555555555555555) : 0);
	ret->skipped = !run_new_image(hash) && !t->again;
	if (ret->skipped)
		return booted_before(t, im, hash);
	export(t, im);
	struct stint_options o = t->options;
	o.record = false;
	if (t->other_boot)
		o.boot = UINT64_C(0xfffffffffff);
	image_world(im, &w);
	ret->status = stint_open(&stint, &w, &o, NULL, 1);
	world_free(&w);
	ret->err = stint.err;
	ret->recovery = stint.recovery;
	if (ret->status == HEARTH_OK && t->m) {
		judge(t, im, &stint, ret);
	} else if (ret->status != HEARTH_OK) {
		run_failed(t, im, "does not start: %s: %s: %s", hearth_status_text(ret->status),
		    stint.err.file, stint.err.what ? stint.err.what : "");
	}
	stint_free(&stint);
	remember(hash, ret->verdict.n);
	return ret->status == HEARTH_OK && ret->verdict.ok;
}

void outcome_free(struct outcome *o)
{
	found_free(&o->found);
}

/* ---- leading ---- */

static bool wanted(int i)
{
	return !run.family || strcmp(run.family, families[i].name) == 0;
}

static void run_piece(int i, uint64_t seed)
{
	family = i;
	piece_seed = seed;
	atomic_store(&shared->place[job].family, i);
	atomic_store(&shared->place[job].seed, seed);
	double began = seconds_now();
	families[i].piece(seed);
	atomic_fetch_add(&shared->count[i].micros, (uint64_t)((seconds_now() - began) * 1e6) + 1);
}

void __gcov_dump(void) __attribute__((weak)); /* in a build that counts what is executed */

_Noreturn void run_exit(int code)
{
	fflush(stdout);
	if (__gcov_dump)
		__gcov_dump();
	_exit(code);
}

/* The family that is furthest behind its share; which one begins, the seed says, so that short runs try all in turn. */
static int next_family(void)
{
	int best = -1, n = 0;
	double least = 0;
	while (families[n].name)
		n++;
	for (int k = 0; k < n; k++) {
		int i = (int)((run.seed + (unsigned)k) % (unsigned)n);
		double used = (double)atomic_load(&shared->count[i].micros) / families[i].share;
		if (wanted(i) && (best < 0 || used < least)) {
			best = i;
			least = used;
		}
	}
	return best;
}

static _Noreturn void work(double end, uint64_t seed)
{
	int devnull = -1;
	if (!getenv("HEARTH_LOUD") && (devnull = fileno(fopen("/dev/null", "we"))) >= 0)
		dup2(devnull, STDERR_FILENO); /* what the daemon would say of damage */
	for (uint64_t n = 0; seconds_now() < end; n++)
		run_piece(next_family(), seed + n);
	run_exit(0);
}

/* What a process that died was at. */
static void obituary(unsigned j, int status)
{
	const struct place *p = &shared->place[j];
	int i = atomic_load(&p->family);
	atomic_fetch_add(&shared->count[i].failures, 1);
	printf("# FAILED %s: %s: the process ended with %s %d%s\n", families[i].name, p->text,
	    WIFSIGNALED(status) ? "signal" : "code",
	    WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
	    WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? " (it hung)" : "");
	print_repeat(families[i].name, atomic_load(&p->seed));
	fflush(stdout);
}

static void lead(double end)
{
	pid_t pid[16];
	uint64_t begun = 0;
	for (unsigned j = 0; j < run.jobs; j++)
		pid[j] = 0;
	for (unsigned alive = run.jobs, deaths = 0; alive > 0;) {
		for (unsigned j = 0; j < run.jobs; j++) {
			if (pid[j] != 0)
				continue;
			fflush(stdout);
			job = j;
			pid[j] = fork();
			CHECK(pid[j] >= 0);
			if (pid[j] == 0)
				work(end, run.seed * 1000003 + begun * 1000000007);
			begun++;
		}
		int status;
		pid_t dead = waitpid(-1, &status, 0);
		for (unsigned j = 0; j < run.jobs; j++) {
			if (pid[j] != dead)
				continue;
			bool bad = status != 0;
			if (bad)
				obituary(j, status);
			pid[j] = bad && ++deaths < FAILURES && seconds_now() < end ? 0 : -1;
			alive -= pid[j] == -1;
		}
	}
}

static int report(void)
{
	uint64_t cases = 0, images = 0, failures = 0, micros = 0;
	unsigned n = 0;
	for (int i = 0; families[i].name; i++) {
		struct count *c = &shared->count[i];
		if (!wanted(i))
			continue;
		printf("%s %u - %s (%s): %" PRIu64 " cases, %" PRIu64 " distinct images, %" PRIu64
		       " failures\n",
		    c->failures ? "not ok" : "ok", ++n, families[i].name, families[i].what, c->cases,
		    c->images, c->failures);
		cases += c->cases;
		images += c->images;
		failures += c->failures;
		micros += c->micros;
	}
	printf("1..%u\n", n);
	printf("# %" PRIu64 " cases, %" PRIu64 " distinct images, %" PRIu64 " failures, seed %" PRIu64
	       ", %.0f images a second and core%s\n",
	    cases, images, failures, run.seed, (double)images / ((double)micros / 1e6 + 1e-9),
	    atomic_load(&shared->full) ? " (the table of images is full: some were not counted)" : "");
	return failures ? 1 : 0;
}

int64_t run_wall(void)
{
	return run.wall;
}

void run_prepare(const struct run_options *options)
{
	run = *options;
	shared = mmap(
	    NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	CHECK(shared != MAP_FAILED);
}

int run_all(void)
{
	if (run.one) {
		for (int i = 0; families[i].name; i++)
			if (wanted(i))
				run_piece(i, run.seed);
	} else {
		printf("# seed %" PRIu64 "\n", run.seed);
		lead(seconds_now() + run.seconds);
	}
	return report();
}
