/* SPDX-License-Identifier: BSD-3-Clause */
/* engine_faults: a whole life of an engine (start, changes, rotation, snapshots, stop) on a directory with a past, with
 * its n-th call to the disk failing, for n = 1, 2, 3, until none is left: with EIO, on a full disk, by a short write; once,
 * twice, until the disk gets well, or for ever. Then the same with the n-th allocation. Whatever fails: what is in memory
 * is what the answers said; a disk that is well again is written to again; after a kill or a stop the next start finds a
 * prefix of it with all that was answered, or, where the files say that they are not to be trusted, nothing. Time runs
 * fifty times as fast (t/crash/fake.h), so that healing takes no seconds. A sample of all n, HEARTH_SEED draws it;
 * HEARTH_LONG takes them all, HEARTH_CASE one variant, HEARTH_CALL begins with that call, HEARTH_LOUD tells of each. */
#include <time.h>
#include "failing.h"
#include "history.h"
#include "../crash/fake.h"

#define WALL        1800000000
#define PAST_OPS    70
#define BATCH       3
#define DOWN        100 /* seconds between the past and the life */
#define TTL_CAP     3600
#define PATIENCE_US (30 * INT64_C(1000000)) /* of the fast clock */

struct stay {
	struct unit_scratch s;
	struct failing_vfs u;
	struct engine_options options;
	struct engine *e;
	struct history h;
	uint64_t state[512]; /* after each change of this life; 0: as found */
	unsigned n, acked, from;
	bool well; /* the disk gets well before the end */
	bool opened;
	struct hearth_error err;
	enum hearth_status status, stopped;
	_Atomic int snapshots, snapshots_failed, rotations, rotations_failed, pins, pins_failed;
};

enum strike { ONCE, TWICE, UNTIL_WELL, FOR_EVER, STRIKES };

struct variant {
	const char *name;
	bool memory, changes_only, syncs_only, partly;
	int error;
	enum strike strike;
};

static const struct variant variants[] = {
    {"EIO once", .error = EIO},
    {"EIO twice", .error = EIO, .strike = TWICE},
    {"full twice", .error = ENOSPC, .changes_only = true, .strike = TWICE},
    {"changes of all kinds twice", .changes_only = true, .strike = TWICE},
    {"EIO until well", .error = EIO, .strike = UNTIL_WELL},
    {"EIO for ever", .error = EIO, .strike = FOR_EVER},
    {"full once", .error = ENOSPC, .changes_only = true},
    {"full until well", .error = ENOSPC, .changes_only = true, .strike = UNTIL_WELL},
    {"short write", .error = ENOSPC, .changes_only = true, .partly = true, .strike = UNTIL_WELL},
    {"syncs of the log until well", .error = EIO, .syncs_only = true, .strike = UNTIL_WELL},
    {"syncs of the log for ever", .error = EIO, .syncs_only = true, .strike = FOR_EVER},
    {"no memory once", .memory = true},
    {"no memory for long", .memory = true, .strike = UNTIL_WELL},
};

/* Of a variant without an error of its own. */
static const int several[] = {EDQUOT, EFBIG, EMFILE, EOPNOTSUPP, ENFILE, EACCES, ENOSYS};

/* ---- what a state is: all but the numbers, as refused changes have none ---- */

static uint64_t shape(const struct fact *facts)
{
	uint64_t sum = 1;
	for (uint32_t i = 0; i < HISTORY_KEYS; i++) {
		struct fact f = facts[i];
		f.cas = 0;
		sum += fact_hash(i, &f);
	}
	return sum;
}

static uint64_t shape_of(struct engine *e, struct fact *ret_facts)
{
	struct fact facts[HISTORY_KEYS];
	facts_read(e->store, clock_now(e->clock), facts);
	uint64_t hash = shape(facts);
	if (ret_facts)
		memcpy(ret_facts, facts, sizeof(facts));
	else
		facts_free(facts);
	return hash;
}

/* ---- the past ---- */

static void snapshot_done(
    void *arg, enum hearth_status status, uint64_t number, uint64_t items, uint64_t bytes)
{
	struct stay *l = arg;
	(void)number;
	(void)items;
	(void)bytes;
	l->snapshots_failed += status != HEARTH_OK;
	l->snapshots++;
}

static bool patience(int64_t end_us)
{
	sched_yield();
	pause_ms(5);
	return clock_mono_us() < end_us;
}

static void snapshot(struct stay *l)
{
	int want = l->snapshots + 1;
	int64_t end = clock_mono_us() + 10 * PATIENCE_US;
	enum hearth_status status = engine_snapshot(l->e, snapshot_done, l);
	if (status != HEARTH_OK && status != HEARTH_BUSY) {
		assert_int_equal(status, HEARTH_NOMEM);
		return;
	}
	while (l->snapshots < want)
		MUST(patience(end));
}

static struct engine_options options_of(unsigned n)
{
	struct engine_options o = engine_defaults();
	o.memory = 4 * MIB;
	o.item_max = MIB;
	o.workers = 1;
	o.segment_bytes = 2 * KIB;
	o.keep = 1 + n % 2;
	o.fsync = n / 2 % 3 == 0 ? ENGINE_FSYNC_EVERYSEC : ENGINE_FSYNC_ALWAYS;
	o.on_disk_error = n / 3 % 2 ? ENGINE_SERVE : ENGINE_REFUSE;
	o.scrub_interval = n % 5 == 0;
	o.max_downtime = n % 7 == 1 ? DOWN / 2 : 0;
	o.restart.ttl_cap = n % 7 == 3 ? TTL_CAP : 0;
	o.no_keep_prefixes = n % 3 == 1 ? "nobody's\nelse" : NULL;
	return o;
}

/* A directory as a kill leaves it: two snapshots, segments, changes behind them. */
static struct image make_past(void)
{
	static struct stay l;
	l = (struct stay){.s = unit_scratch_begin(), .options = options_of(2), .h.random = 1};
	l.e = engine_at(l.s.path, &l.options, NULL);
	for (unsigned i = 0; i < 4; i++) {
		history_run(&l.h, l.e, PAST_OPS / 5, BATCH);
		if (i % 2 == 0)
			snapshot(&l);
	}
	history_run(&l.h, l.e, PAST_OPS / 5, BATCH);
	engine_close(&l.e);
	struct image im = image_take(l.s.fd);
	facts_free(l.h.fact);
	unit_scratch_end(&l.s);
	return im;
}

static void remember(struct stay *l)
{
	MUST(l->n < 511);
	l->state[l->n] = shape(l->h.fact);
}

static void recall_past(struct stay *l)
{
	l->h.random = 1;
	for (unsigned i = 0; i < PAST_OPS; i++) {
		struct op op = history_next(&l->h);
		model_apply(&l->h, &op);
	}
	l->n = l->acked = 0;
	fake_pass(DOWN);
	for (unsigned i = 0; i < HISTORY_KEYS; i++) {
		struct fact *f = &l->h.fact[i];
		if (l->options.max_downtime)
			fact_clear(f);
		if (l->options.restart.ttl_cap && f->live)
			f->expiry = fake_wall() + TTL_CAP;
	}
	remember(l);
}

/* ---- changes ---- */

static enum store_result one(
    struct engine_worker *w, const struct op *op, const struct store_key *k, uint8_t *value, size_t len)
{
	const struct store_put put = {.mode = op->kind == OP_SET ? STORE_SET : STORE_APPEND,
	    .value = value,
	    .value_len = len,
	    .flags = op->flags,
	    .expiry = op->expiry};
	struct store_number number;
	switch (op->kind) {
	case OP_SET:
	case OP_APPEND:
		return engine_put(w, k, &put, NULL);
	case OP_DELETE:
		/* What expires at once is a removal too. */
		if (op->number % 3 == 0)
			return engine_put(
			    w, k, &(struct store_put){.value = value, .value_len = len, .expiry = 1}, NULL);
		return engine_delete(w, k, 0);
	case OP_TOUCH:
		return engine_touch(w, k, op->expiry, NULL, NULL);
	case OP_INCR:
		return engine_arith(w, k, &(struct store_arith){.delta = 5}, &number);
	default:
		return engine_flush(w, 0);
	}
}

static const char *state_name(struct engine *e)
{
	struct engine_stats st;
	engine_get_stats(e, &st);
	return st.state ? st.state : "";
}

/* One turn with one change; the model changes when memory has. Returns its need. */
static uint64_t change(struct stay *l)
{
	struct engine_worker *w = engine_get_worker(l->e, 0);
	struct op op = history_next(&l->h);
	uint8_t *value;
	char name[32];
	failing_spared = true;
	size_t len = op_value(&op, &value);
	failing_spared = false;
	enum store_result r;
	for (int64_t end = clock_mono_us() + PATIENCE_US;;) {
		engine_turn(w);
		struct store_key k = engine_key(w, name, key_name(name, op.key));
		r = one(w, &op, &k, value, len);
		if (r != STORE_WAIT)
			break;
		engine_turn_end(w);
		MUST(patience(end));
	}
	uint64_t need = engine_need(w);
	engine_turn_end(w);
	failing_spared = true;
	free(value);
	bool removal = op.kind == OP_DELETE || op.kind == OP_FLUSH;
	MUST(r == STORE_OK || r == STORE_REFUSED || (r == STORE_NO_MEMORY && !removal) ||
	     (r == STORE_NOT_FOUND && !l->h.fact[op.key].live));
	/* Removals are done in memory in any case; it is no success when nothing on disk can say so. */
	if (r == STORE_REFUSED && removal)
		MUST(strcmp(state_name(l->e), "lost") == 0);
	if (r == STORE_REFUSED || r == STORE_NO_MEMORY)
		need = 0;
	if (r == STORE_OK || r == STORE_NOT_FOUND || removal) {
		model_apply(&l->h, &op);
		l->n++;
		remember(l);
	}
	failing_spared = false;
	return need;
}

/* Each third reply is waited for; those of a log that failed never come. */
static void changes(struct stay *l, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		uint64_t need = change(l);
		int64_t end = clock_mono_us() + PATIENCE_US / 10;
		if ((!need && l->e->wal) || i % BATCH)
			continue;
		while (!engine_ready(l->e, need) && !engine_lost(l->e, need) && patience(end))
			;
		if (engine_ready(l->e, need))
			l->acked = l->n;
	}
}

/* ---- a life ---- */

static enum hearth_status open_life(struct stay *l, struct engine_recovery *ret)
{
	struct datadir *dir;
	enum hearth_status status = datadir_open(&dir, &l->u.vfs, l->s.path, true, true, NULL, &l->err);
	if (status != HEARTH_OK)
		return status;
	status = engine_open(&l->e, &l->options, dir, &l->err);
	if (status != HEARTH_OK) {
		datadir_close(&dir);
		return status;
	}
	status = engine_recover(l->e, ret, &l->err);
	if (status != HEARTH_OK)
		engine_close(&l->e);
	return status;
}

/* Damage costs keys, but shows nothing that was not there. */
static void found_with_damage(struct stay *l)
{
	struct fact facts[HISTORY_KEYS];
	shape_of(l->e, facts);
	for (uint32_t i = 0; i < HISTORY_KEYS; i++) {
		facts[i].cas = l->h.fact[i].cas;
		MUST(!facts[i].live || fact_hash(i, &facts[i]) == fact_hash(i, &l->h.fact[i]));
	}
	facts_free(l->h.fact);
	memcpy(l->h.fact, facts, sizeof(facts));
	remember(l);
}

static void rotated(void *arg, enum hearth_status status, uint64_t segment, uint64_t last)
{
	struct stay *l = arg;
	struct engine_stats st;
	engine_get_stats(l->e, &st);
	/* What is sealed is durable. */
	MUST(status != HEARTH_OK || (segment > 0 && last <= st.durable_seq));
	l->rotations_failed += status != HEARTH_OK;
	l->rotations++;
}

static void pinned(void *arg, enum hearth_status status, uint64_t number, uint64_t items, uint64_t bytes)
{
	struct stay *l = arg;
	(void)number;
	(void)items;
	(void)bytes;
	l->pins_failed += status != HEARTH_OK;
	l->pins++;
}

/* As for a backup: the log is sealed, and a snapshot kept for it. */
static void seal_and_pin(struct stay *l)
{
	int want = l->rotations + (engine_rotate(l->e, rotated, l) == HEARTH_OK), pins = l->pins;
	int64_t end = clock_mono_us() + 100 * PATIENCE_US;
	while (l->rotations < want)
		MUST(patience(end));
	struct engine_stats st;
	engine_get_stats(l->e, &st);
	pins += engine_pin(l->e, st.last_snapshot, true, pinned, l) == HEARTH_OK;
	while (l->pins < pins)
		MUST(patience(end));
}

static void gets_well(struct stay *l)
{
	l->u.failing.at = 0;
	failing_memory.at = 0;
	int64_t end = clock_mono_us() + 100 * PATIENCE_US;
	while (strcmp(state_name(l->e), "healthy") != 0) {
		engine_tick(l->e);
		MUST(patience(end));
	}
}

/* What failed at the last moment is told of late, but a disk that is well is soon written to again. */
static void last_changes(struct stay *l, const struct variant *v)
{
	for (unsigned i = 0;; i++) {
		unsigned before = l->n;
		changes(l, 6);
		if (v->strike == FOR_EVER || l->n == before + 6)
			return;
		MUST(i < 20);
		gets_well(l);
	}
}

static void live(struct stay *l, const struct variant *v)
{
	struct engine_recovery recovery = {0};
	l->status = open_life(l, &recovery);
	if (l->status != HEARTH_OK)
		return;
	l->opened = true;
	failing_spared = true;
	/* Short of memory a start leaves out what it has no room for. */
	if (recovery.damaged || (v->memory && shape_of(l->e, NULL) != l->state[0]))
		found_with_damage(l);
	MUST(shape_of(l->e, NULL) == l->state[0]);
	failing_spared = false;
	changes(l, 12);
	engine_tick(l->e);
	snapshot(l);
	changes(l, 6);
	seal_and_pin(l);
	changes(l, 6);
	if (v->strike != FOR_EVER)
		gets_well(l);
	fake_pass(1);
	engine_tick(l->e);
	last_changes(l, v);
	failing_spared = true;
	MUST(shape_of(l->e, NULL) == l->state[l->n]);
	failing_spared = false;
	/* Also a kill is an end. */
	l->stopped = HEARTH_BUSY;
	if (l->from % 4)
		l->stopped = engine_stop(l->e, &l->err);
	engine_close(&l->e);
}

static unsigned emptied; /* starts that were empty, as the files said so */

static void judge(struct stay *l, const struct variant *v, unsigned n)
{
	struct engine_recovery r;
	struct engine_options o = l->options;
	o.scrub_interval = 0;
	if (l->opened)
		o.restart.ttl_cap = 0;
	struct engine *e = engine_at(l->s.path, &o, &r);
	uint64_t found = shape_of(e, NULL);
	unsigned least = l->stopped == HEARTH_OK ? l->n : l->acked;
	bool ok = false;
	for (unsigned i = least; i <= l->n && !ok; i++)
		ok = found == l->state[i];
	if (!ok && r.items == 0 && strstr(r.note, "not to be trusted") && l->stopped != HEARTH_OK) {
		emptied++;
		ok = true;
	}
	if (!ok)
		print_error(
		    "%s, call %u: the next start finds %llu items (%s), none of states %u..%u; stopped: %s\n",
		    v->name, n, (unsigned long long)r.items, r.note, least, l->n,
		    hearth_status_text(l->stopped));
	assert_true(ok);
	engine_close(&e);
}

/* False: the life took fewer calls than n. */
static bool live_with(const struct image *past, const struct variant *v, unsigned n)
{
	static struct stay l;
	l = (struct stay){.s = unit_scratch_begin(), .options = options_of(n), .from = n};
	image_put(past, l.s.fd);
	recall_past(&l);
	failing_vfs_init(&l.u);
	l.u.error = v->error ? v->error : several[n % (sizeof(several) / sizeof(several[0]))];
	l.u.changes_only = v->changes_only;
	l.u.syncs_only = v->syncs_only;
	l.u.partly = v->partly;
	unsigned files = failing_open_files();
	struct failing f = {.at = n, .on = v->strike >= UNTIL_WELL};
	if (v->strike == TWICE)
		f.again = n + 1 + n * 7 % 13;
	alarm(120); /* who waits for ever fails */
	if (getenv("HEARTH_LOUD"))
		fprintf(stderr, "%s, call %u\n", v->name, n);
	*(v->memory ? &failing_memory : &l.u.failing) = f;
	l.stopped = HEARTH_BUSY;
	live(&l, v);
	bool hit = v->memory ? failing_memory.hit : l.u.failing.hit;
	failing_memory.at = l.u.failing.at = 0;
	assert_int_equal(failing_open_files(), files);
	if (l.status != HEARTH_OK)
		assert_true(hit && l.err.what);
	if (!hit)
		assert_true(l.opened && l.snapshots_failed == 0 && l.rotations_failed + l.pins_failed == 0 &&
		            l.stopped != HEARTH_IO);
	judge(&l, v, n);
	alarm(0);
	facts_free(l.h.fact);
	unit_scratch_end(&l.s);
	return hit;
}

static void each_call_fails(void **state)
{
	(void)state;
	uint32_t seed = getenv("HEARTH_SEED") ? (uint32_t)atoi(getenv("HEARTH_SEED")) : (uint32_t)time(NULL);
	bool all = getenv("HEARTH_LONG") != NULL;
	const char *only = getenv("HEARTH_CASE"), *first = getenv("HEARTH_CALL");
	struct image past = make_past();
	unsigned cases = 0;
	print_message("# seed %u\n", seed);
	seed |= 1;
	for (size_t i = 0; i < sizeof(variants) / sizeof(variants[0]); i++) {
		const struct variant *v = &variants[i];
		unsigned began = cases, n = first ? (unsigned)atoi(first) : 1;
		if ((v->memory && !FAILING_MEMORY) || (only && strcmp(only, v->name) != 0))
			continue;
		for (; live_with(&past, v, n); cases++)
			n += all ? 1 : 1 + unit_random(&seed) % (v->syncs_only ? 4 : 20);
		print_message("# %s: %u lives, up to call %u\n", v->name, cases - began, n);
		assert_true(n > (v->syncs_only ? 10 : 50));
	}
	print_message("# %u lives, %u of them left files that are not to be trusted\n", cases, emptied);
	image_free(&past);
}

/* What the daemon would say of the disk, thousands of times. stderr itself still speaks. */
static void quiet(void)
{
	int kept = dup(STDERR_FILENO), null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (getenv("HEARTH_LOUD") || kept < 0 || null < 0)
		return;
	dup2(null, STDERR_FILENO);
	stderr = fdopen(kept, "w");
	setvbuf(stderr, NULL, _IONBF, 0);
}

static void without_a_directory_nothing_is_logged(void **state)
{
	(void)state;
	static struct stay l;
	l = (struct stay){.options = options_of(0), .h.random = 1};
	assert_int_equal(engine_open(&l.e, &l.options, NULL, &l.err), HEARTH_OK);
	assert_int_equal(engine_recover(l.e, NULL, &l.err), HEARTH_OK);
	changes(&l, 60);
	assert_int_equal(l.acked, 58); /* the last that was waited for */
	assert_true(shape_of(l.e, NULL) == l.state[l.n]);
	assert_int_equal(engine_snapshot(l.e, snapshot_done, &l), HEARTH_END);
	assert_int_equal(engine_rotate(l.e, rotated, &l), HEARTH_END);
	assert_int_equal(engine_pin(l.e, 1, true, pinned, &l), HEARTH_END);
	engine_tick(l.e);
	engine_jump(l.e, 5);
	assert_int_equal(engine_stop(l.e, &l.err), HEARTH_OK);
	engine_close(&l.e);
	assert_int_equal(l.snapshots + l.rotations + l.pins, 0);
	facts_free(l.h.fact);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(without_a_directory_nothing_is_logged), cmocka_unit_test(each_call_fails)};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	if (access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 0); /* thousands of syncs */
	fake_begin(WALL, 1);
	quiet();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
