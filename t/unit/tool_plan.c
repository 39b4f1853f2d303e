/* SPDX-License-Identifier: BSD-3-Clause */
/* tool_plan: the rules for the log's end, as check judges and restore follows them: torn or damaged, in the boot that
 * wrote it and after a power cut, across segments; and that nothing older than damage is kept. */
#include "unit.h"
#include "base/crc32c.h"
#include "tool/plan.h"
#include "tool/tool.h"
#include "tool/verdict.h"

#define RECORDS 3 /* in each block */

/* A data directory in the making. */
struct builder {
	struct unit_scratch scratch;
	struct datadir *dir;
	struct manifest m;
	struct segment_header h; /* of the last segment */
	uint64_t seq, offset;
	int64_t ms; /* Hearth time, a second more each block */
	uint32_t crc;
	uint64_t block_at[16]; /* offsets of its blocks */
	unsigned n_blocks;
};

static struct builder b;

static int begin(void **state)
{
	(void)state;
	memset(&b, 0, sizeof(b));
	b.scratch = unit_scratch_begin();
	b.m.generation = b.m.next_segment = b.m.next_snapshot = 1;
	b.m.high_water = 1000000;
	datadir_random_id(b.m.lineage);
	return datadir_open(&b.dir, NULL, b.scratch.path, false, false, NULL, NULL) == HEARTH_OK ? 0 : -1;
}

static int end(void **state)
{
	(void)state;
	datadir_close(&b.dir);
	manifest_free(&b.m);
	unit_scratch_end(&b.scratch);
	return 0;
}

static void append(const void *data, size_t len)
{
	char name[DATADIR_NAME_SIZE];
	datadir_name(DATADIR_LOG, b.h.number, name);
	int fd = openat(b.scratch.fd, name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(vfs_write_all(vfs_posix(), fd, data, len), 0);
	close(fd);
	b.offset += len;
}

/* skipped: numbers that nobody gets. */
static void add_segment(bool this_boot, uint64_t skipped)
{
	uint64_t before = b.h.number;
	struct segment_header h = {.generation = b.m.generation,
	    .hearth_ms = b.ms,
	    .number = b.m.next_segment++,
	    .first = b.seq + 1 + skipped,
	    .prev_number = before,
	    .prev_end = before ? b.offset : 0,
	    .prev_last = b.seq,
	    .prev_crc = b.crc};
	uint8_t bytes[SEGMENT_HEADER_SIZE];
	memcpy(h.lineage, b.m.lineage, sizeof(h.lineage));
	datadir_random_id(h.salt);
	datadir_boot_id(NULL, h.boot_id, NULL);
	h.boot_id[0] ^= !this_boot;
	segment_encode_header(&h, bytes);
	b.h = h;
	b.seq += skipped;
	b.crc = h.crc;
	b.offset = 0;
	b.n_blocks = 0;
	append(bytes, sizeof(bytes));
	struct manifest_segment named = {.number = h.number, .first = h.first, .generation = h.generation};
	memcpy(named.salt, h.salt, sizeof(named.salt));
	assert_true(manifest_add_segment(&b.m, &named));
}

/* A block that says all before it was durable, or nothing. */
static void add_block(bool durable)
{
	uint8_t bytes[BLOCK_HEADER_SIZE + RECORDS * 64];
	size_t len = 0;
	struct block_header h = {
	    .first = b.seq + 1, .count = RECORDS, .durable = durable ? b.seq : 0, .prev_crc = b.crc};
	h.time_ms = b.ms += 1000;
	for (unsigned i = 0; i < RECORDS; i++) {
		struct record r = {.type = RECORD_SET,
		    .key = (const uint8_t *)"key",
		    .key_len = 3,
		    .value = (const uint8_t *)"v",
		    .value_len = 1};
		len += record_encode(&r, bytes + BLOCK_HEADER_SIZE + len);
		b.seq++;
	}
	h.stored_len = h.raw_len = (uint32_t)len;
	block_encode_header(&h, b.h.salt, crc32c(0, bytes + BLOCK_HEADER_SIZE, len), bytes);
	b.crc = h.crc;
	b.block_at[b.n_blocks++] = b.offset;
	append(bytes, BLOCK_HEADER_SIZE + len);
}

static void add_blocks(unsigned n, bool durable)
{
	while (n-- > 0)
		add_block(durable);
}

/* A snapshot of one key, named in the manifest. */
static void add_snapshot(uint64_t start, uint64_t end_of_scan)
{
	char name[DATADIR_NAME_SIZE];
	uint8_t record[64];
	struct snapshot_writer *w;
	struct snapshot_header h = {
	    .generation = b.m.generation, .number = b.m.next_snapshot++, .start = start, .hearth_ms = b.ms};
	struct snapshot_footer f = {.end = end_of_scan, .hearth_ms = b.ms};
	const struct record r = {.type = RECORD_SET,
	    .key = (const uint8_t *)"key",
	    .key_len = 3,
	    .value = (const uint8_t *)"v",
	    .value_len = 1,
	    .seq = start};
	memcpy(h.lineage, b.m.lineage, sizeof(h.lineage));
	datadir_random_id(h.salt);
	datadir_name(DATADIR_SNAPSHOT, h.number, name);
	int fd = openat(b.scratch.fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(snapshot_writer_open(&w, NULL, fd, &h, 1, NULL), HEARTH_OK);
	assert_int_equal(
	    snapshot_writer_block(w, record, record_encode(&r, record), 1, end_of_scan, NULL), HEARTH_OK);
	assert_int_equal(snapshot_writer_finish(w, &f, NULL), HEARTH_OK);
	struct manifest_snapshot named = {.number = h.number,
	    .start = start,
	    .end = end_of_scan,
	    .generation = h.generation,
	    .bytes = snapshot_writer_bytes(w)};
	snapshot_writer_close(&w);
	close(fd);
	assert_true(manifest_add_snapshot(&b.m, &named));
}

static void publish(void)
{
	assert_int_equal(datadir_write_manifest(b.dir, &b.m, NULL), HEARTH_OK);
}

static void damage(unsigned segment, uint64_t offset)
{
	char name[DATADIR_NAME_SIZE], byte;
	datadir_name(DATADIR_LOG, segment, name);
	int fd = openat(b.scratch.fd, name, O_RDWR | O_CLOEXEC);
	assert_int_equal(pread(fd, &byte, 1, (off_t)offset), 1);
	byte ^= 4;
	assert_int_equal(pwrite(fd, &byte, 1, (off_t)offset), 1);
	close(fd);
}

/* What restore would keep, and check's exit code for each segment in turn, the heaviest one. */
static int judge(struct plan *ret_plan, int *ret_check)
{
	struct source s;
	assert_int_equal(source_open(&s, b.scratch.path), HEARTH_OK);
	int exit_code = plan_make(ret_plan, &s, NULL, PLAN_BEST);
	bool ended = false;
	struct dicts dicts;
	assert_true(dicts_open(&dicts));
	*ret_check = TOOL_OK;
	for (size_t i = 0; i < s.n_files; i++) {
		struct verdict v;
		verdict_judge(&v, &s.files[i], ended, &dicts);
		ended = ended || v.ends;
		*ret_check = tool_worse(*ret_check, v.exit);
	}
	dicts_close(&dicts);
	plan_free(ret_plan);
	source_close(&s);
	return exit_code;
}

static void assert_kept(uint64_t records, uint64_t holes, int check)
{
	struct plan plan;
	int checked;
	assert_int_equal(judge(&plan, &checked), TOOL_OK);
	assert_int_equal(plan.records, records);
	assert_int_equal(plan.holes, holes);
	assert_int_equal(checked, check);
}

static void all_is_kept(void **state)
{
	(void)state;
	add_segment(true, 0);
	add_blocks(3, true);
	add_segment(false, 100);
	add_blocks(3, false);
	add_segment(true, 0);
	publish();
	assert_kept(6 * RECORDS, 0, TOOL_OK);
}

static void a_torn_end_costs_itself(void **state)
{
	(void)state;
	for (unsigned this_boot = 0; this_boot < 2; this_boot++) {
		add_segment(this_boot, 0);
		add_blocks(4, true);
		publish();
		damage((unsigned)b.h.number, b.block_at[3] + 70);
		assert_kept(3 * RECORDS, 0, TOOL_TORN);
		end(NULL);
		assert_int_equal(begin(NULL), 0);
	}
}

static void in_this_boot_a_hole_is_damage(void **state)
{
	(void)state;
	add_segment(true, 0);
	add_blocks(5, false);
	publish();
	damage(1, b.block_at[1] + 70);
	assert_kept(3 * RECORDS, 1, TOOL_DAMAGE);
}

static void after_a_power_cut_a_hole_is_the_end(void **state)
{
	(void)state;
	add_segment(false, 0);
	add_blocks(5, false);
	publish();
	damage(1, b.block_at[1] + 70);
	assert_kept(1 * RECORDS, 0, TOOL_TORN);
}

static void unless_it_was_durable(void **state)
{
	(void)state;
	add_segment(false, 0);
	add_blocks(4, false);
	add_block(true);
	publish();
	damage(1, b.block_at[1] + 70);
	assert_kept(3 * RECORDS, 1, TOOL_DAMAGE);
}

/* The later segment reached the disk, the end of the one before did not. */
static void the_end_may_lie_segments_before(void **state)
{
	(void)state;
	for (unsigned durable = 0; durable < 2; durable++) {
		add_segment(false, 0);
		add_blocks(3, false);
		uint64_t hole = b.block_at[2];
		add_segment(false, 0);
		add_blocks(2, durable);
		publish();
		damage(1, hole + 70);
		if (durable)
			assert_kept(2 * RECORDS, 1, TOOL_DAMAGE);
		else
			assert_kept(2 * RECORDS, 0, TOOL_TORN);
		end(NULL);
		assert_int_equal(begin(NULL), 0);
	}
}

/* A block that came twice in the file is passed over: the chain holds across it. */
static void what_does_not_belong_costs_nothing(void **state)
{
	(void)state;
	size_t len;
	add_segment(true, 0);
	add_blocks(2, true);
	uint8_t *file = unit_read_file(b.scratch.fd, "log-0000000001", &len);
	append(file + b.block_at[0], len - b.block_at[0]);
	free(file);
	add_blocks(2, true);
	publish();
	assert_kept(4 * RECORDS, 0, TOOL_DAMAGE);
}

static void leftovers_are_not_read(void **state)
{
	(void)state;
	add_segment(true, 0);
	add_blocks(2, true);
	struct builder kept = b;
	add_blocks(2, true); /* written, but given up: the next segment goes on before them */
	b.seq = kept.seq;
	b.offset = kept.offset;
	b.crc = kept.crc;
	add_segment(true, 0);
	add_blocks(1, true);
	publish();
	assert_kept(3 * RECORDS, 0, TOOL_OK);
}

static void a_missing_segment_is_damage(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		add_segment(true, 0);
		add_blocks(2, true);
	}
	publish();
	assert_int_equal(unlinkat(b.scratch.fd, "log-0000000002", 0), 0);
	assert_kept(2 * RECORDS, 1, TOOL_DAMAGE);
}

static void a_segment_of_another_salt_is_not_ours(void **state)
{
	(void)state;
	add_segment(true, 0);
	add_blocks(2, true);
	b.m.segments[0].salt[0] ^= 1;
	add_segment(true, 0);
	add_blocks(1, true);
	publish();
	assert_kept(1 * RECORDS, 1, TOOL_DAMAGE);
}

static void a_directory_with_a_hole_is_refused(void **state)
{
	(void)state;
	struct plan plan;
	int check;
	add_segment(true, 0);
	add_blocks(2, true);
	b.m.untrusted = true;
	publish();
	assert_int_equal(judge(&plan, &check), TOOL_DATA);
}

/* ---- moments ---- */

#define NO_SNAPSHOT 0

/* What is planned for a moment: from which snapshot, how many records of the log behind it. */
static void assert_reached(struct reach_query query, uint64_t number, uint64_t snapshot, uint64_t records)
{
	struct source s;
	struct reach_goal goal;
	struct plan plan;
	assert_int_equal(source_open(&s, b.scratch.path), HEARTH_OK);
	assert_int_equal(reach_find(&s, &query, &goal), TOOL_OK);
	assert_int_equal(goal.number, number);
	assert_int_equal(goal.snapshot ? goal.snapshot->number : NO_SNAPSHOT, snapshot);
	assert_int_equal(plan_make(&plan, &s, &goal, PLAN_BEST), TOOL_OK);
	assert_int_equal(plan.snapshot ? plan.snapshot->number : NO_SNAPSHOT, snapshot);
	assert_int_equal(plan.records, records);
	assert_int_equal(plan.holes, 0);
	plan_free(&plan);
	source_close(&s);
}

static void assert_out_of_reach(struct reach_query query)
{
	struct source s;
	struct reach_goal goal;
	assert_int_equal(source_open(&s, b.scratch.path), HEARTH_OK);
	assert_int_equal(reach_find(&s, &query, &goal), TOOL_DATA);
	source_close(&s);
}

static struct reach_query seq(uint64_t number)
{
	return (struct reach_query){.number = number};
}

static struct reach_query at(int64_t ms)
{
	return (struct reach_query){.by_time = true, .time_ms = ms};
}

static void a_moment_needs_all_of_a_snapshot(void **state)
{
	(void)state;
	b.ms = 100000;
	add_segment(true, 0);
	add_blocks(2, true); /* 1 to 6, at 101 and 102 s */
	add_snapshot(4, 5);  /* published at 102 s */
	add_blocks(2, true); /* 7 to 12, at 103 and 104 s */
	publish();
	assert_reached(seq(1), 1, NO_SNAPSHOT, 1);
	assert_reached(seq(4), 4, NO_SNAPSHOT, 4);
	assert_reached(seq(5), 5, 1, 1);
	assert_reached(seq(8), 8, 1, 4);
	assert_reached(seq(12), 12, 1, 8);
	assert_out_of_reach(seq(13));
	assert_reached(at(101000), 3, NO_SNAPSHOT, 3);
	assert_reached(at(101999), 3, NO_SNAPSHOT, 3);
	assert_reached(at(103000), 9, 1, 5);
	assert_reached(at(INT64_MAX), 12, 1, 8);
	assert_out_of_reach(at(99999));
}

static void without_its_beginning_the_log_needs_one(void **state)
{
	(void)state;
	add_segment(true, 0);
	add_blocks(2, true); /* 1 to 6 */
	add_segment(true, 10);
	add_snapshot(16, 18);
	add_blocks(2, true); /* 17 to 22 */
	memmove(b.m.segments, b.m.segments + 1, sizeof(b.m.segments[0]));
	b.m.n_segments = 1;
	assert_int_equal(unlinkat(b.scratch.fd, "log-0000000001", 0), 0);
	publish();
	assert_out_of_reach(seq(6));
	assert_out_of_reach(seq(17));
	assert_reached(seq(18), 18, 1, 2);
	assert_reached(seq(22), 22, 1, 6);
}

static void a_moment_in_a_hole_is_none(void **state)
{
	(void)state;
	add_segment(true, 0);
	add_blocks(3, true); /* 1 to 9 */
	publish();
	damage(1, b.block_at[1] + 70);
	assert_reached(seq(3), 3, NO_SNAPSHOT, 3);
	for (uint64_t n = 4; n <= 6; n++)
		assert_out_of_reach(seq(n));
	assert_out_of_reach(at(2500));
}

static void an_older_generation_ends_in_a_hole(void **state)
{
	(void)state;
	b.ms = 100000;
	add_segment(true, 0);
	add_blocks(2, true); /* 1 to 6, at 101 and 102 s */
	b.m.generation = 2;
	b.ms = 200000;
	add_snapshot(20, 20);
	add_segment(true, 14);
	add_blocks(1, true); /* 21 to 23, at 201 s */
	publish();
	assert_reached(seq(5), 5, NO_SNAPSHOT, 5);
	assert_reached(seq(6), 6, NO_SNAPSHOT, 6);
	assert_reached(at(102000), 6, NO_SNAPSHOT, 6);
	assert_out_of_reach(seq(7));
	assert_out_of_reach(seq(19));
	assert_out_of_reach(at(150000));
	assert_reached(seq(20), 20, 1, 0);
	assert_reached(seq(22), 22, 1, 2);
	assert_reached(at(200000), 20, 1, 0);
	/* And when nothing may be loaded by itself. */
	b.m.untrusted = true;
	publish();
	assert_reached(seq(23), 23, 1, 3);
}

static void an_older_snapshot_may_be_all_there_is(void **state)
{
	(void)state;
	add_snapshot(10, 10);
	add_snapshot(12, 14); /* its log is gone */
	b.m.generation = 2;
	b.seq = 20;
	add_snapshot(20, 20);
	add_segment(true, 0);
	publish();
	assert_reached(seq(10), 10, 1, 0);
	assert_out_of_reach(seq(11));
	assert_out_of_reach(seq(14));
	assert_reached(seq(20), 20, 3, 0);
}

static void a_lost_manifest_is_rebuilt(void **state)
{
	(void)state;
	struct source s;
	add_segment(true, 0);
	add_blocks(2, true);
	add_segment(true, 0);
	add_blocks(2, true);
	assert_int_equal(source_open(&s, b.scratch.path), HEARTH_OK);
	assert_int_equal(s.manifest_status, HEARTH_DAMAGED);
	assert_int_equal(s.n_files, 2);
	source_close(&s);
	assert_kept(4 * RECORDS, 0, TOOL_OK);
}

static void zero(const char *name, size_t len)
{
	static const uint8_t zeros[4096];
	int fd = openat(b.scratch.fd, name, O_WRONLY | O_CLOEXEC);
	assert_true(len <= sizeof(zeros));
	assert_int_equal(pwrite(fd, zeros, len, 0), len);
	close(fd);
}

/* With the next one's header, of which the manifest knows the first number, it may take the last block of a segment. */
static void a_power_cut_may_take_a_header(void **state)
{
	(void)state;
	for (unsigned kind = 0; kind < 3; kind++) {
		bool this_boot = kind == 1, durable = kind == 2;
		add_segment(this_boot, 0);
		add_blocks(3, false);
		uint64_t cut = b.block_at[2];
		add_segment(this_boot, 0);
		add_blocks(1, false);
		zero("log-0000000002", b.offset);
		add_segment(this_boot, 0);
		add_blocks(1, durable);
		publish();
		int fd = openat(b.scratch.fd, "log-0000000001", O_WRONLY | O_CLOEXEC);
		assert_int_equal(ftruncate(fd, (off_t)cut), 0);
		close(fd);
		if (kind == 0)
			assert_kept(2 * RECORDS, 0, TOOL_TORN);
		else
			assert_kept(RECORDS, 2, TOOL_DAMAGE);
		end(NULL);
		assert_int_equal(begin(NULL), 0);
	}
}

/* Zeros for a header, which the next segment says was all that there was: a start has taken them for the end. */
static void what_a_power_cut_left_stays_no_damage(void **state)
{
	(void)state;
	for (unsigned this_boot = 0; this_boot < 2; this_boot++) {
		add_segment(false, 0);
		add_blocks(2, false);
		add_segment(false, 0);
		zero("log-0000000002", 4096);
		add_segment(this_boot, 0);
		add_blocks(1, false);
		publish();
		assert_kept(3 * RECORDS, 0, TOOL_OK);
		end(NULL);
		assert_int_equal(begin(NULL), 0);
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)
static const struct CMUnitTest TESTS[] = {
    TEST(all_is_kept),
    TEST(a_torn_end_costs_itself),
    TEST(in_this_boot_a_hole_is_damage),
    TEST(after_a_power_cut_a_hole_is_the_end),
    TEST(unless_it_was_durable),
    TEST(the_end_may_lie_segments_before),
    TEST(what_does_not_belong_costs_nothing),
    TEST(leftovers_are_not_read),
    TEST(a_missing_segment_is_damage),
    TEST(a_segment_of_another_salt_is_not_ours),
    TEST(a_directory_with_a_hole_is_refused),
    TEST(a_moment_needs_all_of_a_snapshot),
    TEST(without_its_beginning_the_log_needs_one),
    TEST(a_moment_in_a_hole_is_none),
    TEST(an_older_generation_ends_in_a_hole),
    TEST(an_older_snapshot_may_be_all_there_is),
    TEST(a_lost_manifest_is_rebuilt),
    TEST(a_power_cut_may_take_a_header),
    TEST(what_a_power_cut_left_stays_no_damage),
};

UNIT_MAIN(TESTS)
