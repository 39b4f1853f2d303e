/* SPDX-License-Identifier: BSD-3-Clause */
/* scrub: sealed files that rot under a running engine are found, set aside and named once; a pass that is told to end ends,
 * whatever it waits for; what was retired meanwhile is nobody's. */
#include "failing.h"
#include "gate.h"
#include "persist/scrub.h"

struct pass {
	struct place p;
	struct gate g;
	_Atomic bool cancel;
	_Atomic uint64_t bytes;
	uint64_t rate;
	unsigned bad;
	char name[DATADIR_NAME_SIZE], aside[96];
	/* When the scrub asks about this file (log-N), something happens. */
	uint64_t at;
	enum { NOTHING, CANCEL, FORGET, REPORTED } happens;
};

static void note_bad(void *arg, enum datadir_kind kind, uint64_t number, const char *name, const char *aside)
{
	struct pass *s = arg;
	char expected[DATADIR_NAME_SIZE];
	datadir_name(kind, number, expected);
	assert_string_equal(name, expected);
	snprintf(s->name, sizeof(s->name), "%s", name);
	snprintf(s->aside, sizeof(s->aside), "%s", aside);
	s->bad++;
}

static enum hearth_status forget_job(void *arg, struct files *f)
{
	files_forget_segment(f, *(uint64_t *)arg);
	return HEARTH_OK;
}

static bool is_known(void *arg, enum datadir_kind kind, uint64_t number)
{
	struct pass *s = arg;
	if (kind != DATADIR_LOG || number != s->at)
		return false;
	s->cancel = s->happens == CANCEL;
	if (s->happens == FORGET)
		assert_int_equal(wal_run(s->p.e->wal, forget_job, &number), HEARTH_OK);
	return s->happens == REPORTED;
}

static enum hearth_status scrub(struct pass *s)
{
	const struct scrub_options o = {.wal = s->p.e->wal,
	    .rate = s->rate,
	    .cancel = &s->cancel,
	    .bad = note_bad,
	    .known = is_known,
	    .arg = s,
	    .bytes = &s->bytes};
	s->bad = 0;
	s->bytes = 0;
	s->cancel = false;
	return scrub_run(&o);
}

static _Atomic int snapshots;

static void snapshot_done(
    void *arg, enum hearth_status status, uint64_t number, uint64_t items, uint64_t bytes)
{
	(void)arg, (void)number, (void)items, (void)bytes;
	snapshots += status == HEARTH_OK;
}

/* Segments 1 to 3, the last of them being written, and a snapshot that needs them. */
static void pass_begin(struct pass *s)
{
	memset(s, 0, sizeof(*s));
	struct engine_options o = engine_defaults();
	s->p = place_behind(&s->g, &o);
	s->rate = 1000 * MIB;
	int before = snapshots;
	assert_int_equal(engine_snapshot(s->p.e, snapshot_done, s), HEARTH_OK);
	for (unsigned i = 0; i < 2000 && snapshots == before; i++)
		pause_ms(5);
	assert_true(snapshots > before);
	for (unsigned n = 2; n <= 3; n++) {
		struct wal_stats st = {0};
		for (uint32_t i = 0; i < 20; i++)
			set(&s->p, i, 0);
		wal_rotate(s->p.e->wal);
		for (unsigned i = 0; i < 2000 && st.segments < n + 1; i++) {
			wal_get_stats(s->p.e->wal, &st);
			pause_ms(5);
		}
		assert_true(st.segments >= n);
	}
}

/* The oldest segment that the manifest names. */
static uint64_t oldest(struct pass *s)
{
	struct manifest m;
	bool repaired;
	struct datadir *dir = s->p.e->files.dir;
	assert_int_equal(datadir_read_manifest(dir, &m, &repaired, NULL), HEARTH_OK);
	uint64_t number = m.segments[0].number;
	manifest_free(&m);
	return number;
}

static void pass_end(struct pass *s)
{
	place_end(&s->p);
}

static int open_log(struct pass *s, uint64_t number)
{
	char name[DATADIR_NAME_SIZE];
	datadir_name(DATADIR_LOG, number, name);
	return openat(s->p.s.fd, name, O_RDWR | O_CLOEXEC);
}

static void flip(struct pass *s, uint64_t number, off_t at)
{
	uint8_t byte;
	int fd = open_log(s, number);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte ^= 4;
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	close(fd);
}

static void clean_files_are_clean(void **state)
{
	(void)state;
	struct pass s;
	pass_begin(&s);
	assert_int_equal(scrub(&s), HEARTH_OK);
	assert_int_equal(s.bad, 0);
	assert_true(s.bytes > SEGMENT_HEADER_SIZE);
	pass_end(&s);
}

static void what_rots_is_found_named_and_set_aside(void **state)
{
	(void)state;
	struct pass s;
	pass_begin(&s);
	uint64_t number = oldest(&s);
	char name[DATADIR_NAME_SIZE];
	datadir_name(DATADIR_LOG, number, name);
	flip(&s, number, SEGMENT_HEADER_SIZE + BLOCK_HEADER_SIZE + 3);
	assert_int_equal(scrub(&s), HEARTH_OK);
	assert_int_equal(s.bad, 1);
	assert_string_equal(s.name, name);
	assert_true(strstr(s.aside, name) != NULL);
	assert_true(unit_exists(s.p.s.fd, s.aside));
	s.at = number;
	s.happens = REPORTED;
	assert_int_equal(scrub(&s), HEARTH_OK);
	assert_int_equal(s.bad, 0);
	pass_end(&s);
}

/* Whole by its own checksum, but it does not follow the block before it. */
static void a_chain_that_is_broken_is_damage(void **state)
{
	(void)state;
	struct pass s;
	struct segment_header h;
	struct block_header b;
	uint8_t head[SEGMENT_HEADER_SIZE], raw[BLOCK_HEADER_SIZE];
	pass_begin(&s);
	uint64_t number = oldest(&s);
	int fd = open_log(&s, number);
	assert_int_equal(pread(fd, head, sizeof(head), 0), sizeof(head));
	assert_int_equal(segment_decode_header(head, sizeof(head), &h), HEARTH_OK);
	assert_int_equal(pread(fd, raw, sizeof(raw), sizeof(head)), sizeof(raw));
	assert_int_equal(block_decode_header(raw, UINT64_MAX, &b), HEARTH_OK);
	uint8_t *payload = malloc(b.stored_len);
	assert_int_equal(pread(fd, payload, b.stored_len, sizeof(head) + sizeof(raw)), b.stored_len);
	b.prev_crc++;
	block_encode_header(&b, h.salt, crc32c(0, payload, b.stored_len), raw);
	assert_int_equal(pwrite(fd, raw, sizeof(raw), sizeof(head)), sizeof(raw));
	free(payload);
	close(fd);
	assert_int_equal(scrub(&s), HEARTH_OK);
	assert_int_equal(s.bad, 1);
	pass_end(&s);
}

static void a_file_that_is_too_short_or_gone_is_damage(void **state)
{
	(void)state;
	for (unsigned gone = 0; gone < 2; gone++) {
		struct pass s;
		char name[DATADIR_NAME_SIZE];
		pass_begin(&s);
		uint64_t number = oldest(&s);
		int fd = open_log(&s, number);
		assert_int_equal(ftruncate(fd, SEGMENT_HEADER_SIZE), 0);
		close(fd);
		datadir_name(DATADIR_LOG, number, name);
		if (gone)
			assert_int_equal(unlinkat(s.p.s.fd, name, 0), 0);
		assert_int_equal(scrub(&s), HEARTH_OK);
		assert_int_equal(s.bad, 1);
		assert_int_equal(s.aside[0] == 0, gone);
		pass_end(&s);
	}
}

/* Where a segment ends is not known without its successor's header: that one is bad, and told of by itself. */
static void without_its_successor_a_segment_is_not_judged(void **state)
{
	(void)state;
	struct pass s;
	pass_begin(&s);
	uint64_t number = oldest(&s);
	flip(&s, number, SEGMENT_HEADER_SIZE + BLOCK_HEADER_SIZE + 3);
	flip(&s, number + 1, 20);
	assert_int_equal(scrub(&s), HEARTH_OK);
	char name[DATADIR_NAME_SIZE];
	datadir_name(DATADIR_LOG, number, name);
	assert_true(strcmp(s.name, name) != 0);
	pass_end(&s);
}

static void what_was_retired_meanwhile_is_nobodys(void **state)
{
	(void)state;
	struct pass s;
	pass_begin(&s);
	s.at = oldest(&s);
	s.happens = FORGET;
	flip(&s, s.at, SEGMENT_HEADER_SIZE + BLOCK_HEADER_SIZE + 3);
	assert_int_equal(scrub(&s), HEARTH_OK);
	assert_int_equal(s.bad, 0);
	pass_end(&s);
}

static void *cancel_soon(void *arg)
{
	struct pass *s = arg;
	pause_ms(300);
	s->cancel = true;
	return NULL;
}

static void a_pass_ends_when_it_is_told_to(void **state)
{
	(void)state;
	struct pass s;
	pthread_t thread;
	pass_begin(&s);
	s.at = oldest(&s);
	s.happens = CANCEL;
	assert_int_equal(scrub(&s), HEARTH_BUSY);
	/* Also while it waits for its rate. */
	s.happens = NOTHING;
	s.rate = 1;
	MUST(pthread_create(&thread, NULL, cancel_soon, &s) == 0);
	assert_int_equal(scrub(&s), HEARTH_BUSY);
	MUST(pthread_join(thread, NULL) == 0);
	assert_int_equal(s.bad, 0);
	/* Slow, but not for ever. */
	s.rate = 50 * KIB;
	assert_int_equal(scrub(&s), HEARTH_OK);
	assert_int_equal(s.bad, 0);
#if FAILING_MEMORY
	s.rate = 1000 * MIB;
	bool passed = false;
	for (unsigned at = 1; at < 100 && !passed; at++) {
		failing_memory = (struct failing){.at = at};
		enum hearth_status status = scrub(&s);
		passed = !failing_memory.hit;
		failing_memory = (struct failing){0};
		assert_true(status == HEARTH_OK || (!passed && status == HEARTH_NOMEM));
		assert_int_equal(s.bad, 0);
	}
	assert_true(passed);
#endif
	assert_int_equal(wal_stop(s.p.e->wal, NULL), HEARTH_OK);
	assert_int_equal(scrub(&s), HEARTH_BUSY);
	pass_end(&s);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(clean_files_are_clean),
    cmocka_unit_test(what_rots_is_found_named_and_set_aside),
    cmocka_unit_test(a_chain_that_is_broken_is_damage),
    cmocka_unit_test(a_file_that_is_too_short_or_gone_is_damage),
    cmocka_unit_test(without_its_successor_a_segment_is_not_judged),
    cmocka_unit_test(what_was_retired_meanwhile_is_nobodys),
    cmocka_unit_test(a_pass_ends_when_it_is_told_to),
};
UNIT_MAIN(tests)
