/* SPDX-License-Identifier: BSD-3-Clause */
/* recover_faults: recovery of a directory with its n-th call to the disk failing, for n = 1, 2, 3, until none is left:
 * once, and from there on; by a sick disk (EIO), and for want of descriptors (EMFILE); then with its n-th allocation. It
 * says that it was this, or what it shows is what the files say, or less: never anything else. Nothing on disk changes,
 * no descriptor is left open. The same while its consequences are settled. At last without threads. */
#include <dlfcn.h>
#include "failing.h"
#include "written.h"
#include "persist/window.h"

#define ITEM_MAX (2 * MIB) /* smaller than a window: what is larger than that is a giant */

/* ---- no thread ---- */

static bool no_threads;

#if FAILING_MEMORY
int pthread_create(pthread_t *ret, const pthread_attr_t *attributes, void *(*start)(void *arg), void *arg)
{
	int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
	if (no_threads)
		return EAGAIN;
	*(void **)&create = dlsym(RTLD_NEXT, "pthread_create");
	return create(ret, attributes, start, arg);
}
#endif

/* ---- directories ---- */

/* Bytes that no compressor makes smaller, as a string. */
static char *noise(size_t len, uint32_t seed)
{
	char *text = malloc(len + 1);
	assert_non_null(text);
	unit_fill(text, len, seed);
	for (size_t i = 0; i < len; i++)
		text[i] |= 1;
	text[len] = 0;
	return text;
}

static struct record numbered(uint32_t key, const char *value, uint64_t seq)
{
	struct record r = set_record(key, value, 0);
	r.seq = seq;
	return r;
}

/* A snapshot with blocks of all sizes, and a log with blocks of all kinds; nothing is wrong with it. */
static struct written sound(void)
{
	struct written w = written_begin();
	char *large = noise(MIB + MIB / 16, 1), *giant = noise(WINDOW_SIZE + 4096, 2);
	char *even = calloc(1, WINDOW_SIZE + 4096);
	assert_non_null(even);
	memset(even, 'e', WINDOW_SIZE + 4095);
	const struct record there[] = {numbered(1, "one", 1), numbered(2, "two", 2), numbered(3, large, 3),
	    numbered(4, giant + WINDOW_SIZE - 2 * MIB, 4), numbered(5, "five", 5)};
	w.next = 6;
	written_snapshot(&w, there, 5, 5, 6);
	written_segment(&w);
	written_set(&w, 6, "six", 0);
	written_packed(&w, set_record(7, "seven seven seven seven seven seven seven", 0));
	written_set(&w, 8, "eight", 0);
	written_record(&w, set_record(8, giant, 0));
	written_packed(&w, set_record(9, even, 0));
	written_touch(&w, 2, FAR_FUTURE);
	written_delete(&w, 1);
	written_segment(&w);
	for (uint32_t key = 10; key < 12; key++)
		written_set(&w, key, large, 0);
	written_set(&w, 12, "twelve", 0);
	written_segment(&w);
	written_set(&w, 13, "thirteen", 0);
	written_manifest(&w);
	free(large);
	free(giant);
	free(even);
	return w;
}

/* A flush in it, two holes, a header that is bad, one that lacks. */
static struct written damaged(void)
{
	struct written w = written_begin();
	const struct record there[] = {numbered(1, "one", 1), numbered(2, "two", 2)};
	uint8_t zeros[SEGMENT_HEADER_SIZE] = {0};
	w.next = 3;
	written_snapshot(&w, there, 2, 2, 3);
	written_segment(&w);
	written_set(&w, 3, "three", 0);
	written_record(&w, (struct record){.type = RECORD_FLUSH});
	written_set(&w, 4, "four", 0);
	written_set(&w, 5, "five", 0);
	written_damage(&w);
	written_set(&w, 6, "six", 0);
	written_segment(&w);
	written_set(&w, 7, "seven", 0);
	MUST(pwrite(w.fd, zeros, sizeof(zeros), 0) == sizeof(zeros));
	written_segment(&w);
	written_set(&w, 8, "eight", 0);
	written_set(&w, 9, "nine", 0);
	written_damage(&w);
	written_segment(&w);
	written_set(&w, 10, "ten", 0);
	MUST(pwrite(w.fd, "junk", 4, 20) == 4);
	written_segment(&w);
	written_set(&w, 11, "eleven", 0);
	written_manifest(&w);
	return w;
}

/* ---- one recovery ---- */

enum kind { SICK_ONCE, SICK, WANT_ONCE, WANT, MEMORY_ONCE, MEMORY, KINDS };

struct tried {
	bool hit;
	enum hearth_status status;
	struct hearth_error err;
	uint64_t damaged;
	struct fact fact[HISTORY_KEYS];
};

static void arm(struct failing_vfs *u, enum kind kind, unsigned n)
{
	struct failing f = {.at = n, .on = kind & 1};
	*(kind >= MEMORY_ONCE ? &failing_memory : &u->failing) = f;
	u->error = kind >= WANT_ONCE ? EMFILE : EIO;
}

static bool disarm(struct failing_vfs *u, enum kind kind)
{
	bool hit = kind >= MEMORY_ONCE ? failing_memory.hit : u->failing.hit;
	failing_memory.at = u->failing.at = 0;
	return hit;
}

/* n = 0: nothing fails. settle: fail there, not before. */
static struct tried try_with(
    const struct written *w, unsigned threads, enum kind kind, unsigned n, bool settle)
{
	static struct recover_result result;
	struct tried t = {0};
	struct failing_vfs u;
	struct files files;
	struct datadir *dir;
	struct store *s =
	    store_open(&(struct store_options){.memory = 64 * MIB, .item_max = ITEM_MAX, .threads = threads});
	struct clock *clock = clock_open(0);
	failing_vfs_init(&u);
	MUST(s && clock);
	MUST(datadir_open(&dir, &u.vfs, w->s.path, false, settle, NULL, &t.err) == HEARTH_OK);
	MUST(files_open(&files, dir, 1, &t.err) == HEARTH_OK);
	const struct recover_options o = {
	    .store = s, .files = &files, .clock = clock, .threads = threads, .ttl_cap = n % 2};
	unsigned open_files = failing_open_files();
	if (!settle)
		arm(&u, kind, n);
	t.status = recover_run(&o, &result, &t.err);
	if (settle) {
		MUST(t.status == HEARTH_OK);
		arm(&u, kind, n);
		t.status = recover_settle(&files, &result, &t.err);
	}
	t.hit = disarm(&u, kind);
	/* libc's opendir wants memory too. */
	if (kind >= MEMORY_ONCE && t.status == HEARTH_IO && t.err.sys_errno == ENOMEM)
		t.status = t.err.status = HEARTH_NOMEM;
	assert_int_equal(failing_open_files(), open_files);
	t.damaged = result.damaged;
	files_close(&files);
	if (t.status == HEARTH_OK)
		facts_read(s, clock_now(clock), t.fact);
	clock_close(&clock);
	store_close(&s);
	return t;
}

/* Each key has the value that the files say, or none. */
static bool nothing_else(const struct fact *is, const struct fact *said)
{
	for (unsigned i = 0; i < HISTORY_KEYS; i++)
		if (is[i].live && (!said[i].live || is[i].len != said[i].len ||
		                      memcmp(is[i].value, said[i].value, is[i].len) != 0))
			return false;
	return true;
}

static unsigned living(const struct fact *f)
{
	unsigned n = 0;
	for (unsigned i = 0; i < HISTORY_KEYS; i++)
		n += f[i].live;
	return n;
}

static void judge(const struct tried *t, const struct tried *said, enum kind kind, unsigned n)
{
	bool ok = t->status == HEARTH_OK;
	if (t->hit && !ok) {
		enum hearth_status want = kind >= MEMORY_ONCE ? HEARTH_NOMEM : HEARTH_IO;
		if (t->status != want || !t->err.what)
			print_error("kind %u, call %u: %s, %s: %s\n", kind, n, hearth_status_text(t->status),
			    t->err.file, t->err.what ? t->err.what : "?");
		assert_int_equal(t->status, want);
		assert_int_equal(t->err.status, want);
		assert_non_null(t->err.what);
		return;
	}
	assert_true(ok);
	if (!nothing_else(t->fact, said->fact))
		print_error("kind %u, call %u: it shows what is not there\n", kind, n);
	assert_true(nothing_else(t->fact, said->fact));
	/* What was lost was said, but for a key that another one's fingerprint costs. */
	if (living(t->fact) < living(said->fact) && kind < MEMORY_ONCE)
		assert_true(t->damaged > 0);
	if (!t->hit)
		assert_int_equal(living(t->fact), living(said->fact));
}

static unsigned fail_each(const struct written *w, unsigned threads)
{
	struct tried said = try_with(w, threads, SICK_ONCE, 0, false);
	unsigned cases = 0;
	assert_int_equal(said.status, HEARTH_OK);
	for (enum kind kind = 0; kind < (FAILING_MEMORY ? KINDS : MEMORY_ONCE); kind++) {
		bool more = true;
		for (unsigned n = 1; more; n += kind & 1 ? 3 : 1, cases++) {
			struct tried t = try_with(w, threads, kind, n, false);
			judge(&t, &said, kind, n);
			facts_free(t.fact);
			more = t.hit;
		}
	}
	facts_free(said.fact);
	return cases;
}

static void each_failure_is_told_or_costs_what_it_hit(void **state)
{
	(void)state;
	unsigned cases = 0;
	for (unsigned bad = 0; bad < 2; bad++) {
		struct written w = bad ? damaged() : sound();
		struct image before = image_take(w.s.fd), after;
		cases += fail_each(&w, bad ? 1 : 3);
		after = image_take(w.s.fd);
		assert_int_equal(after.n, before.n);
		for (unsigned i = 0; i < before.n; i++)
			assert_true(before.file[i].len == after.file[i].len &&
			            memcmp(before.file[i].data, after.file[i].data, before.file[i].len) == 0);
		image_free(&before);
		image_free(&after);
		written_end(&w);
	}
	print_message("# %u failures\n", cases);
	assert_true(cases > 300);
}

/* Files are set aside and forgotten in part: the next start shows no more than this one did. */
static void a_settling_that_fails_shows_nothing_else(void **state)
{
	(void)state;
	struct written w = damaged();
	struct image image = image_take(w.s.fd);
	struct tried said = try_with(&w, 2, SICK_ONCE, 0, false);
	unsigned cases = 0;
	assert_int_equal(said.status, HEARTH_OK);
	assert_true(said.damaged > 0);
	for (enum kind kind = 0; kind < (FAILING_MEMORY ? KINDS : MEMORY_ONCE); kind++) {
		bool more = true;
		for (unsigned n = 1; more; n++, cases++) {
			image_put(&image, w.s.fd);
			struct tried t = try_with(&w, 2, kind, n, true);
			more = t.hit;
			assert_true(t.hit || t.status == HEARTH_OK);
			if (t.status != HEARTH_OK)
				assert_int_equal(t.status, kind >= MEMORY_ONCE ? HEARTH_NOMEM : HEARTH_IO);
			facts_free(t.fact);
			t = try_with(&w, 2, kind, 0, false);
			assert_int_equal(t.status, HEARTH_OK);
			assert_true(nothing_else(t.fact, said.fact));
			facts_free(t.fact);
		}
	}
	print_message("# %u failures\n", cases);
	assert_true(cases > 20);
	facts_free(said.fact);
	image_free(&image);
	written_end(&w);
}

/* No thread can be started: one does it all. */
static void without_threads_it_is_the_same(void **state)
{
	(void)state;
	for (unsigned bad = 0; bad < 2; bad++) {
		struct written w = bad ? damaged() : sound();
		struct tried said = try_with(&w, 3, SICK_ONCE, 0, false);
		no_threads = FAILING_MEMORY;
		struct tried t = try_with(&w, 5, SICK_ONCE, 0, false);
		no_threads = false;
		assert_int_equal(t.status, HEARTH_OK);
		assert_int_equal(t.damaged, said.damaged);
		assert_true(facts_hash(t.fact) == facts_hash(said.fact));
		assert_int_equal(living(t.fact), bad ? living(said.fact) : 9);
		facts_free(said.fact);
		facts_free(t.fact);
		written_end(&w);
	}
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(each_failure_is_told_or_costs_what_it_hit),
    cmocka_unit_test(a_settling_that_fails_shows_nothing_else),
    cmocka_unit_test(without_threads_it_is_the_same),
};
UNIT_MAIN(tests)
