/* SPDX-License-Identifier: BSD-3-Clause */
/* recover: a child works on a directory and is killed; what the parent recovers is the state that was acknowledged,
 * or a later one that was on its way; through snapshots, evictions, time, large values, and other options. */
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include "history.h"

/* What the child has told before it died. */
struct shared {
	_Atomic uint64_t acked;
	_Atomic bool ready;
	_Atomic uint64_t cas;
};

struct job {
	const char *path;
	struct shared *shared;
	struct engine_options options;
	void (*work)(struct job *job, struct engine *e);
	uint32_t random;
	unsigned n;
	size_t large;
};

static struct shared *share(void)
{
	void *p =
	    mmap(NULL, sizeof(struct shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(p != MAP_FAILED);
	memset(p, 0, sizeof(struct shared));
	return p;
}

/* The child ends by SIGKILL of its own when the work is done, or earlier by ours: after_ms >= 0. */
static void run_and_kill(struct job *job, long after_ms)
{
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		signal(SIGSEGV, SIG_DFL); /* cmocka's handler would go on with the tests */
		signal(SIGBUS, SIG_DFL);
		struct engine *e = engine_at(job->path, &job->options, NULL);
		job->work(job, e);
		atomic_store(&job->shared->ready, true);
		kill(getpid(), SIGKILL);
	}
	if (after_ms >= 0) {
		pause_ms(after_ms);
		kill(pid, SIGKILL);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static struct job job_make(const struct unit_scratch *s, void (*work)(struct job *, struct engine *))
{
	struct job job = {.path = s->path, .shared = share(), .work = work, .random = 99, .n = 1000};
	job.options = engine_defaults();
	return job;
}

static void job_end(struct job *job)
{
	munmap(job->shared, sizeof(*job->shared));
}

/* ---- the state is there ---- */

static void work_history(struct job *job, struct engine *e)
{
	struct history h = {.random = job->random, .flushes = true, .large = job->large};
	struct engine_worker *w = engine_get_worker(e, 0);
	for (unsigned i = 0; i < job->n; i++) {
		struct op op = history_next(&h);
		uint64_t need = op_run(w, &op);
		model_apply(&h, &op);
		if (i == job->n / 2)
			engine_snapshot(e, NULL, NULL);
		if (i % 16 == 0 || i + 1 == job->n) {
			engine_await(e, need);
			atomic_store(&job->shared->acked, i + 1);
		}
	}
}

/* Recovers and finds a state that is no older than what was acknowledged, twice the same. */
static void expect_history(struct job *job, bool whole)
{
	struct engine_recovery r;
	struct engine *e = engine_at(job->path, &job->options, &r);
	uint64_t hash = engine_hash(e), acked = atomic_load(&job->shared->acked);
	struct history h = {.random = job->random, .flushes = true, .large = job->large};
	bool found = hash == 0 && acked == 0;
	for (unsigned i = 0; i < job->n && !found; i++) {
		struct op op = history_next(&h);
		model_apply(&h, &op);
		found = i + 1 >= acked && facts_hash(h.fact) == hash;
	}
	if (!found)
		print_error("acked %llu: %s\n", (unsigned long long)acked, r.note);
	assert_true(found);
	assert_true(!whole || h.n == job->n);
	assert_int_equal(r.damaged, 0);
	facts_free(h.fact);
	engine_close(&e);
	job->options.workers = 5;
	e = engine_at(job->path, &job->options, &r);
	assert_true(engine_hash(e) == hash);
	assert_int_equal(engine_stop(e, NULL), HEARTH_OK);
	engine_close(&e);
	e = engine_at(job->path, &job->options, &r);
	assert_true(engine_hash(e) == hash);
	assert_int_equal(r.left_out_bytes, 0);
	engine_close(&e);
}

static void a_kill_loses_nothing_acknowledged(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 12; round++) {
		struct unit_scratch s = unit_scratch_begin();
		struct job job = job_make(&s, work_history);
		job.random = 7 + round;
		job.n = 3000;
		job.large = round % 4 == 3 ? 3 * MIB : 0;
		job.options.fsync = round % 3;
		run_and_kill(&job, round < 2 ? -1 : (int)(10 + round * 17));
		expect_history(&job, round < 2);
		job_end(&job);
		unit_scratch_end(&s);
	}
}

/* ---- a snapshot while writers go on ---- */

#define SNAP_KEYS 40000u

static void set_all(struct engine *e, struct engine_worker *w, uint32_t version, size_t len)
{
	uint8_t value[1024];
	char name[32];
	uint64_t need = 0;
	for (uint32_t i = 0; i < SNAP_KEYS; i++) {
		engine_turn(w);
		struct store_key k = engine_key(w, name, key_name(name, i));
		value_make(value, len, i, version);
		struct store_put put = {.mode = STORE_SET, .value = value, .value_len = len};
		MUST(engine_put_bytes(w, &k, put) == STORE_OK);
		need = engine_need(w);
		engine_turn_end(w);
	}
	engine_await(e, need);
}

static void snapshot_done(
    void *arg, enum hearth_status status, uint64_t number, uint64_t items, uint64_t bytes)
{
	(void)number;
	(void)items;
	(void)bytes;
	MUST(status == HEARTH_OK);
	atomic_store((_Atomic bool *)arg, true);
}

/* By the key: 0 is left alone, 1 touched for the first time, 2 deleted, 3 overwritten, all while snapshots run. */
static uint64_t change_beside(struct engine_worker *w, uint32_t key)
{
	uint8_t value[300];
	char name[32];
	enum store_result r;
	engine_turn(w);
	struct store_key k = engine_key(w, name, key_name(name, key));
	struct store_put put = {.mode = STORE_SET, .value = value, .value_len = 200 + key % 100};
	value_make(value, put.value_len, key, 2);
	do {
		r = key % 4 == 1   ? engine_touch(w, &k, FAR_FUTURE, NULL, NULL)
		    : key % 4 == 2 ? engine_delete(w, &k, 0)
		    : key % 4 == 3 ? engine_put_bytes(w, &k, put)
		                   : STORE_OK;
	} while (r == STORE_WAIT);
	MUST(r == STORE_OK);
	uint64_t need = engine_need(w);
	engine_turn_end(w);
	return need;
}

static void work_beside_snapshots(struct job *job, struct engine *e)
{
	struct engine_worker *w = engine_get_worker(e, 0);
	uint32_t key = 0;
	uint64_t need = 0;
	(void)job;
	set_all(e, w, 1, 300);
	while (key < SNAP_KEYS) {
		_Atomic bool done = false;
		MUST(engine_snapshot(e, snapshot_done, &done) == HEARTH_OK);
		while (!atomic_load(&done)) {
			uint64_t now = key < SNAP_KEYS ? change_beside(w, (key * 7919) % SNAP_KEYS) : 0;
			need = now > need ? now : need;
			if (key++ % 8 == 0)
				nanosleep(&(struct timespec){0, 1000}, NULL);
		}
	}
	engine_await(e, need);
}

static void trap13_a_snapshot_loses_nothing_that_is_touched(void **state)
{
	(void)state;
	struct unit_scratch s = unit_scratch_begin();
	struct job job = job_make(&s, work_beside_snapshots);
	struct engine_recovery r;
	run_and_kill(&job, -1);
	struct engine *e = engine_at(s.path, &job.options, &r);
	assert_true(r.snapshot > 0);
	struct store_thread *t = store_thread_open(e->store, NULL);
	struct shown shown = {0};
	unsigned lost[4] = {0};
	for (uint32_t i = 0; i < SNAP_KEYS; i++) {
		char name[32];
		uint32_t version = 0;
		struct store_key k = key_of(e->store, i, name);
		bool there = store_fetch(e->store, t, &k, &shown) == STORE_OK;
		assert_true(!there || value_verify(shown.data, shown.len, i, &version));
		lost[i % 4] += i % 4 == 2 ? there : !there || version != (i % 4 == 3 ? 2 : 1);
		assert_true(!there || shown.expiry == (i % 4 == 1 ? FAR_FUTURE : 0));
	}
	assert_int_equal(lost[0], 0);
	assert_int_equal(lost[1], 0);
	assert_int_equal(lost[2], 0);
	assert_int_equal(lost[3], 0);
	shown_free(&shown);
	store_thread_close(&t);
	engine_close(&e);
	job_end(&job);
	unit_scratch_end(&s);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_kill_loses_nothing_acknowledged),
    cmocka_unit_test(trap13_a_snapshot_loses_nothing_that_is_touched),
};
UNIT_MAIN(tests)
