/* SPDX-License-Identifier: BSD-3-Clause */
/* malloc: T13: the nth allocation fails, once or from there on, n = 1, 2, 3 ... until none is struck any more, while an
 * engine opens a directory, recovers, takes ops and a snapshot, and stops. Each case is a process of its own. Nothing
 * crashes or hangs, what is refused says so, and what was acknowledged is there when memory is. Prints TAP. The linker puts
 * malloc and its kin from here in the place of the C library's; the harness itself always has memory. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "base/check.h"
#include "history.h"

#define HANG 60 /* seconds for one case */

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__real_aligned_alloc(size_t align, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size);
void *__real_reallocarray(void *p, size_t n, size_t size);
void *__wrap_reallocarray(void *p, size_t n, size_t size);
void *__real_nodump_alloc(size_t size);
void *__wrap_nodump_alloc(size_t size);
char *__real_strdup(const char *s);
char *__wrap_strdup(const char *s);

/* No family of run.c: cases here are processes. */
const struct family families[] = {{0}};

static _Atomic bool armed;
static _Atomic uint64_t calls;
static uint64_t strike_at;
static bool for_ever;

static bool strikes(void)
{
	if (!atomic_load(&armed))
		return false;
	uint64_t n = atomic_fetch_add(&calls, 1) + 1;
	bool now = n == strike_at || (for_ever && n > strike_at);
	if (now)
		errno = ENOMEM;
	return now;
}

void *__wrap_malloc(size_t size)
{
	return strikes() ? NULL : __real_malloc(size);
}

void *__wrap_nodump_alloc(size_t size)
{
	return strikes() ? NULL : __real_nodump_alloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return strikes() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
	return strikes() ? NULL : __real_realloc(p, size);
}

void *__wrap_aligned_alloc(size_t align, size_t size)
{
	return strikes() ? NULL : __real_aligned_alloc(align, size);
}

void *__wrap_reallocarray(void *p, size_t n, size_t size)
{
	return strikes() ? NULL : __real_reallocarray(p, n, size);
}

char *__wrap_strdup(const char *s)
{
	return strikes() ? NULL : __real_strdup(s);
}

/* ---- one case: in a process of its own ---- */

struct shared {
	char why[400];
	uint64_t calls; /* allocations while it was armed */
	bool struck;
};

static _Noreturn void over(struct shared *shared, const char *why, const char *more)
{
	atomic_store(&armed, false);
	shared->calls = atomic_load(&calls);
	shared->struck = shared->calls >= strike_at;
	snprintf(shared->why, sizeof(shared->why), "%s%s%s", why, *more ? ": " : "", more);
	run_exit(*why ? 1 : 0);
}

/* What the next start finds, with memory again. */
static void look_again(struct history *h, struct shared *shared, unsigned least, unsigned most)
{
	struct world w;
	struct stint again;
	struct found found;
	uint32_t last = memfs_last(h->stint.fs);
	stint_abandon(&h->stint);
	atomic_store(&armed, false);
	stint_world(&h->stint, last, &w);
	if (stint_open(&again, &w, &h->options, NULL, 9) != HEARTH_OK)
		over(shared, "the next start fails", again.err.what ? again.err.what : "");
	stint_read(&again, &found);
	/* A record that could not be applied for want of memory has lost its key, as an eviction would. */
	bool holes = again.recovery.damaged > 0 || h->stint.recovery.dropped > 0;
	struct verdict v = model_judge(&h->m, &found, least, most, holes);
	if (!v.ok)
		over(shared, v.why, again.recovery.note);
	found_free(&found);
	stint_free(&again);
	world_free(&w);
}

static _Noreturn void one_case(uint64_t seed, struct shared *shared)
{
	struct history h;
	history_begin(&h, seed);
	h.options.large = dice_one_in(&h.dice, 2) ? 9000 : 0;
	/* Something to recover: a life with snapshots, killed. */
	if (!history_live(&h, 12))
		over(shared, "the life before failed", "");
	stint_snapshot(&h.stint);
	stint_await_snapshots(&h.stint);
	stint_settle(&h.stint);
	uint32_t last = memfs_last(h.stint.fs);
	stint_abandon(&h.stint);
	history_kill(&h, last);
	struct stint *s = &h.stint;
	h.alive = true;
	atomic_store(&armed, true);
	enum hearth_status status = stint_open(s, &h.start, &h.options, &h.m, seed);
	if (status != HEARTH_OK && status != HEARTH_NOMEM && status != HEARTH_IO)
		over(shared, "opening ends with", hearth_status_text(status));
	if (status != HEARTH_OK) {
		look_again(&h, shared, h.least, h.most);
		over(shared, "", "");
	}
	if (s->recovery.dropped) {
		look_again(&h, shared, h.least, h.most);
		over(shared, "", "");
	}
	stint_adopt(s, h.m.n, h.m.n);
	s->disk_fails = true; /* what is not done may be refused */
	for (unsigned i = 0; i < 8 && !s->why[0]; i++)
		stint_step(s);
	stint_snapshot(s);
	if (!s->why[0])
		stint_await_snapshots(s);
	if (!s->why[0])
		stint_settle(s);
	if (s->why[0])
		over(shared, s->why, "");
	if (seed % 2)
		stint_stop(s);
	last = memfs_last(s->fs);
	look_again(&h, shared, stint_least_kill(s, last), h.m.n);
	over(shared, "", "");
}

/* ---- all of them ---- */

struct total {
	uint64_t cases, failures, most;
	bool complete;
};

/* Runs it; false when it failed. */
static bool run_case(uint64_t seed, uint64_t n, bool always, struct shared *shared)
{
	memset(shared, 0, sizeof(*shared));
	strike_at = n;
	for_ever = always;
	fflush(stdout);
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		alarm(HANG);
		if (!getenv("HEARTH_LOUD") && !freopen("/dev/null", "we", stderr))
			_exit(2);
		one_case(seed, shared);
	}
	int status;
	CHECK(waitpid(pid, &status, 0) == pid);
	if (status == 0)
		return true;
	printf("# FAILED: allocation %" PRIu64 " fails %s, seed %" PRIu64
	       ": %s%s\n#   repeat: build/crash/malloc --case %" PRIu64 " %d --seed %" PRIu64 "\n",
	    n, always ? "and all behind it" : "once", seed,
	    shared->why[0]        ? shared->why
	    : WIFSIGNALED(status) ? strsignal(WTERMSIG(status))
	                          : "ended",
	    WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? " (it hung)" : "", n, always, seed);
	return false;
}

static double seconds_now(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC_RAW, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* n = 1, 2, 3 ... until it is not struck any more; within the time, every so manieth only. */
static struct total run_mode(uint64_t seed, bool always, double end, uint64_t stride, struct shared *shared)
{
	struct total t = {0};
	unsigned clean = 0;
	for (uint64_t n = 1 + seed % stride; t.failures < 10; n += stride) {
		if (seconds_now() > end)
			return t;
		t.cases++;
		t.most = n;
		t.failures += !run_case(seed, n, always, shared);
		/* Threads take turns differently each time: a few clean ones in a row are the end. */
		clean = shared->struck || shared->why[0] ? 0 : clean + 1;
		t.complete = clean >= 3;
		if (t.complete)
			return t;
	}
	return t;
}

int main(int argc, char **argv)
{
	double seconds = 10;
	uint64_t seed = (uint64_t)time(NULL), n = 0;
	bool always = false;
	must_calloc = __real_calloc;
	must_reallocate = __real_realloc;
	if (getenv("HEARTH_SEED"))
		seed = strtoull(getenv("HEARTH_SEED"), NULL, 10);
	for (int i = 1; i + 1 < argc; i++) {
		if (strcmp(argv[i], "--seconds") == 0)
			seconds = atof(argv[i + 1]);
		else if (strcmp(argv[i], "--seed") == 0)
			seed = strtoull(argv[i + 1], NULL, 10);
		else if (strcmp(argv[i], "--speed") == 0)
			fake_set_speed((unsigned)atoi(argv[i + 1]));
		else if (strcmp(argv[i], "--case") == 0 && i + 2 < argc) {
			n = strtoull(argv[i + 1], NULL, 10);
			always = atoi(argv[i + 2]) != 0;
		}
	}
	const struct run_options run = {.wall = 1800000000, .jobs = 1, .every = 1};
	run_prepare(&run);
	struct shared *shared =
	    mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(shared != MAP_FAILED);
	if (n)
		return run_case(seed, n, always, shared) ? 0 : 1;
	double began = seconds_now();
	/* Coarse first, then every one, of one seed after the other. */
	struct total all[2] = {{0}};
	bool more = true;
	for (uint64_t round = 0; more; round++) {
		uint64_t stride = round < 4 ? 7 : 1;
		for (int mode = 0; mode < 2; mode++) {
			struct total t = run_mode(seed + round, mode == 1, began + seconds, stride, shared);
			all[mode].cases += t.cases;
			all[mode].failures += t.failures;
			all[mode].most = t.most > all[mode].most ? t.most : all[mode].most;
			more = more && t.complete && t.failures == 0;
		}
	}
	for (int mode = 0; mode < 2; mode++)
		printf("%s %d - %s: %" PRIu64 " cases, allocations up to number %" PRIu64 ", %" PRIu64
		       " failures\n",
		    all[mode].failures ? "not ok" : "ok", mode + 1,
		    mode ? "an allocation and all behind it fail" : "one allocation fails", all[mode].cases,
		    all[mode].most, all[mode].failures);
	printf("1..2\n# seed %" PRIu64 "\n", seed);
	return all[0].failures + all[1].failures ? 1 : 0;
}
