/* SPDX-License-Identifier: BSD-3-Clause */
/* recover_matrix: three segments of three changes each, with every damage to one or two places of them, in this boot of the
 * kernel, in others, and across them; with and without a snapshot, durable numbers, and a stop in order. Whatever it is: what
 * is shown is one state of the history, less keys that damage took, and what is not told was not lost. */
#include "written.h"

#define SEGMENTS 3
#define BLOCKS   3
#define CHANGES  (SEGMENTS * BLOCKS)
#define KEYS     4

/* 0: the key is deleted. */
static const struct {
	uint32_t key;
	const char *value;
} changes[CHANGES] = {
    {0, "v1"}, {1, "v2"}, {2, "v3"}, {0, NULL}, {1, "v5"}, {3, "v6"}, {0, "v7"}, {2, NULL}, {1, "v9"}};

enum harm { NONE, FLIP, CUT, SPOIL, ZERO, GONE, EMPTY };

struct damage {
	enum harm harm;
	unsigned segment, block;
};

struct scene {
	uint8_t boots[SEGMENTS];
	struct damage damage[2];
	bool durable, clean;
	uint64_t snapshot; /* taken behind this change; 0: none */
};

/* ---- the history ---- */

/* What the key holds behind change n. */
static const char *value_at(uint64_t n, uint32_t key)
{
	const char *value = NULL;
	for (uint64_t i = 0; i < n; i++)
		if (changes[i].key == key)
			value = changes[i].value;
	return value;
}

static uint64_t number_at(uint64_t n, uint32_t key)
{
	uint64_t number = 0;
	for (uint64_t i = 0; i < n; i++)
		if (changes[i].key == key)
			number = i + 1;
	return number;
}

static void write_snapshot(struct written *w, uint64_t n)
{
	struct record records[KEYS];
	unsigned count = 0;
	for (uint32_t key = 0; key < KEYS; key++) {
		if (!value_at(n, key))
			continue;
		records[count] = set_record(key, value_at(n, key), 0);
		records[count++].seq = number_at(n, key);
	}
	written_snapshot(w, records, count, n, n);
}

static uint64_t block_at[SEGMENTS][BLOCKS];

static void write_history(struct written *w, const struct scene *s)
{
	for (unsigned i = 0; i < CHANGES; i++) {
		if (i % BLOCKS == 0) {
			w->other_boot = s->boots[i / BLOCKS];
			written_segment(w);
		}
		w->durable = s->durable ? i : 0;
		if (changes[i].value)
			written_set(w, changes[i].key, changes[i].value, 0);
		else
			written_delete(w, changes[i].key);
		block_at[i / BLOCKS][i % BLOCKS] = w->block;
		if (i + 1 == s->snapshot)
			write_snapshot(w, s->snapshot);
	}
	w->m.clean = s->clean;
	w->m.last_seq = s->clean ? CHANGES : 0;
}

/* ---- damage ---- */

static void harm(struct written *w, const struct damage *d)
{
	static const uint8_t zeros[SEGMENT_HEADER_SIZE];
	char name[DATADIR_NAME_SIZE];
	uint8_t byte;
	datadir_name(DATADIR_LOG, d->segment + 1, name);
	int fd = openat(w->s.fd, name, O_RDWR | O_CLOEXEC);
	if (d->harm == NONE || fd < 0)
		goto out;
	off_t at = (off_t)block_at[d->segment][d->block] + (d->harm == CUT ? 0 : BLOCK_HEADER_SIZE);
	if (d->harm == FLIP && pread(fd, &byte, 1, at) == 1) {
		byte ^= 16;
		MUST(pwrite(fd, &byte, 1, at) == 1);
	}
	if (d->harm == SPOIL || d->harm == ZERO)
		MUST(pwrite(fd, d->harm == ZERO ? (const void *)zeros : "spoilt",
		         d->harm == ZERO ? sizeof(zeros) : 6, d->harm == ZERO ? 0 : 100) > 0);
	struct stat st;
	MUST(fstat(fd, &st) == 0);
	if (d->harm == CUT && st.st_size > at)
		MUST(ftruncate(fd, at) == 0);
	if (d->harm == EMPTY)
		MUST(ftruncate(fd, 0) == 0);
	if (d->harm == GONE)
		MUST(unlinkat(w->s.fd, name, 0) == 0);
out:
	if (fd >= 0)
		close(fd);
}

static bool hits(const struct scene *s, unsigned segment, unsigned block)
{
	for (unsigned i = 0; i < 2; i++) {
		const struct damage *d = &s->damage[i];
		if (d->harm == NONE || d->segment != segment)
			continue;
		if (d->harm > CUT || (d->harm == FLIP && d->block == block) ||
		    (d->harm == CUT && d->block <= block))
			return true;
	}
	return false;
}

/* ---- what must be there, or told ---- */

/* The page cache was whole: only the last write can be torn, or the file end early. */
static uint64_t least_in_this_boot(const struct scene *s)
{
	for (unsigned i = 0; i < 2; i++)
		if (s->damage[i].harm > CUT)
			return 0; /* no crash: other rules */
	for (unsigned i = 0; i < SEGMENTS; i++)
		if (s->boots[i])
			return 0;
	uint64_t least = CHANGES;
	while (least > CHANGES - BLOCKS && hits(s, SEGMENTS - 1, (unsigned)(least - 1) % BLOCKS))
		least--;
	return least;
}

static uint64_t least_durable(const struct scene *s)
{
	uint64_t least = s->snapshot;
	for (unsigned i = 0; s->durable && i < CHANGES; i++)
		if (!hits(s, i / BLOCKS, i % BLOCKS))
			least = i;
	return least > s->snapshot ? least : s->snapshot;
}

static uint64_t least_untold(const struct scene *s)
{
	uint64_t here = least_in_this_boot(s), durable = least_durable(s);
	return s->clean ? CHANGES : here > durable ? here : durable;
}

/* Whether it is state n; with holes: less some keys. */
static bool is_state(struct loaded *l, uint64_t n, bool holes)
{
	for (uint32_t key = 0; key < KEYS; key++)
		if (!loaded_is(l, key, value_at(n, key)) && !(holes && loaded_is(l, key, NULL)))
			return false;
	return true;
}

static bool as_it_should(struct loaded *l, const struct scene *s)
{
	bool harmed = s->damage[0].harm || s->damage[1].harm;
	if (l->status != HEARTH_OK)
		return false;
	if (!harmed)
		return l->result->damaged == 0 && is_state(l, CHANGES, false);
	bool told = l->result->damaged > 0;
	for (uint64_t n = told ? 0 : least_untold(s); n <= CHANGES; n++)
		if (is_state(l, n, told))
			return true;
	return false;
}

static void try(const struct scene *s)
{
	struct written w = written_begin();
	write_history(&w, s);
	written_manifest(&w);
	harm(&w, &s->damage[0]);
	harm(&w, &s->damage[1]);
	struct loaded l = load_with(
	    w.s.path, &(struct store_options){.memory = 2 * MIB, .item_max = MIB / 2, .threads = 1});
	bool ok = as_it_should(&l, s);
	if (!ok)
		print_error("boots %u%u%u, harm %u at %u.%u and %u at %u.%u, durable %d, clean %d, snapshot "
		            "%u: status %d, "
		            "%u damaged, %s\n",
		    s->boots[0], s->boots[1], s->boots[2], s->damage[0].harm, s->damage[0].segment,
		    s->damage[0].block, s->damage[1].harm, s->damage[1].segment, s->damage[1].block,
		    s->durable, s->clean, (unsigned)s->snapshot, l.status, (unsigned)l.result->damaged,
		    l.result->note);
	assert_true(ok);
	loaded_end(&l);
	written_end(&w);
}

/* ---- the matrix ---- */

#define DAMAGES 31u

static struct damage damage_of(unsigned n)
{
	if (n == 0)
		return (struct damage){NONE, 0, 0};
	n--;
	if (n < 2 * CHANGES)
		return (struct damage){n % 2 ? CUT : FLIP, n / 2 / BLOCKS, n / 2 % BLOCKS};
	n -= 2 * CHANGES;
	return (struct damage){SPOIL + n % 4, n / 4, 0};
}

static void try_boots(uint8_t first, uint8_t second, uint8_t third)
{
	static const uint64_t snapshots[] = {0, 4, 6};
	struct scene s = {.boots = {first, second, third}};
	/* Pairs: each with those that a step of 13 comes to. */
	for (unsigned one = 0; one < DAMAGES; one++) {
		for (unsigned two = 0; two < DAMAGES; two += one ? 13 : DAMAGES) {
			s.damage[0] = damage_of(one);
			s.damage[1] = damage_of(two ? (one + two) % DAMAGES : 0);
			for (unsigned rest = 0; rest < 12; rest++) {
				s.durable = rest & 1;
				s.clean = rest & 2;
				s.snapshot = snapshots[rest / 4];
				try(&s);
			}
		}
	}
}

static void in_this_boot(void **state)
{
	(void)state;
	try_boots(0, 0, 0);
}

static void in_another_boot(void **state)
{
	(void)state;
	try_boots(1, 1, 1);
}

static void two_boots_ago(void **state)
{
	(void)state;
	try_boots(2, 1, 1);
}

static void across_boots(void **state)
{
	(void)state;
	try_boots(1, 1, 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(in_this_boot),
    cmocka_unit_test(in_another_boot),
    cmocka_unit_test(two_boots_ago),
    cmocka_unit_test(across_boots),
};

int main(void)
{
	cmocka_set_message_output(CM_OUTPUT_TAP);
	if (access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 0); /* thousands of directories */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
