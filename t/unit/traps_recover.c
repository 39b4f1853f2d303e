/* SPDX-License-Identifier: BSD-3-Clause */
/* traps_recover: the rules of recovery, one directory each that a test has written by hand: what came last wins, nothing
 * older comes back, times are judged once, marks and state survive. t/traps/rules takes each rule out. */
#include "written.h"
#include "store/item.h"

static int64_t wall(void)
{
	return clock_wall_ms() / 1000;
}

/* ---- time ---- */

static void trap03_no_expiry_is_judged_before_the_last_record(void **state)
{
	(void)state;
	struct written w = written_begin();
	written_segment(&w);
	written_set(&w, 1, "session", wall() - 100);
	written_set(&w, 2, "gone", wall() - 100);
	written_touch(&w, 1, wall() + 1000);
	written_set(&w, 3, "session", wall() - 100);
	written_segment(&w);
	written_touch(&w, 3, 0);
	written_manifest(&w);
	struct loaded l = load_dir(w.s.path);
	assert_int_equal(l.status, HEARTH_OK);
	assert_true(loaded_is(&l, 1, "session"));
	assert_true(loaded_is(&l, 2, NULL));
	assert_true(loaded_is(&l, 3, "session"));
	assert_int_equal(l.result->expired, 1);
	loaded_end(&l);
	written_end(&w);
}

static void trap04_an_expired_set_supersedes_what_came_before(void **state)
{
	(void)state;
	struct written w = written_begin();
	struct record old = set_record(2, "old", 0);
	old.seq = 1;
	w.next = 2;
	written_snapshot(&w, &old, 1, 1, 1);
	written_segment(&w);
	written_set(&w, 1, "old", 0);
	written_set(&w, 1, "new", wall() - 2);
	written_set(&w, 2, "new", wall() - 2);
	written_manifest(&w);
	struct loaded l = load_dir(w.s.path);
	assert_int_equal(l.status, HEARTH_OK);
	assert_int_equal(l.result->snapshot, 1);
	assert_true(loaded_is(&l, 1, NULL));
	assert_true(loaded_is(&l, 2, NULL));
	loaded_end(&l);
	written_end(&w);
}

static void trap05_a_touch_keeps_value_and_cas(void **state)
{
	(void)state;
	struct written w = written_begin();
	struct shown shown;
	written_segment(&w);
	written_set(&w, 1, "value", 0);
	written_set(&w, 2, "value", wall() + 50);
	written_touch(&w, 1, wall() + 500);
	written_touch(&w, 2, wall() + 500);
	written_touch(&w, 2, wall() + 600);
	written_manifest(&w);
	struct loaded l = load_dir(w.s.path);
	for (uint32_t key = 1; key <= 2; key++) {
		assert_true(loaded_find(&l, key, &shown));
		assert_int_equal(shown.cas, key);
		assert_int_equal(shown.len, 5);
		assert_in_range(shown.expiry, wall() + 400, wall() + 600);
		shown_free(&shown);
	}
	assert_true(loaded_is(&l, 2, "value"));
	loaded_end(&l);
	written_end(&w);
}

/* The wall clock stood an hour ahead when the log was written; then it was set back. */
static void trap22_a_clock_set_back_revives_nothing(void **state)
{
	(void)state;
	struct written w = written_begin();
	written_segment(&w);
	written_set(&w, 1, "short", wall() + 1800);
	written_set(&w, 2, "long", wall() + 7200);
	w.time_ms += 3600 * 1000;
	written_set(&w, 3, "x", 0);
	written_manifest(&w);
	struct loaded l = load_dir(w.s.path);
	assert_true(clock_ms(l.clock) >= w.time_ms);
	assert_true(loaded_is(&l, 1, NULL));
	assert_true(loaded_is(&l, 2, "long"));
	loaded_end(&l);
	written_end(&w);
}

/* A start found an hour gone, served without a change, and was killed; then the wall clock was set back. */
static void trap22_what_a_start_took_for_expired_stays_so(void **state)
{
	(void)state;
	struct written w = written_begin();
	written_segment(&w);
	written_set(&w, 1, "short", wall() + 1800);
	written_set(&w, 2, "long", wall() + 7200);
	w.time_ms += 3600 * 1000;
	written_segment(&w);
	written_manifest(&w);
	struct loaded l = load_dir(w.s.path);
	assert_true(clock_ms(l.clock) >= w.time_ms);
	assert_true(loaded_is(&l, 1, NULL));
	assert_true(loaded_is(&l, 2, "long"));
	loaded_end(&l);
	written_end(&w);
}

/* ---- flush_all ---- */

static void trap06_a_flush_kills_what_came_before(void **state)
{
	(void)state;
	struct written w = written_begin();
	struct record there[2] = {set_record(1, "before", 0), set_record(2, "behind", 0)};
	there[0].seq = 1;
	there[1].seq = 4;
	w.next = 3;
	written_snapshot(&w, there, 2, 2, 4);
	written_segment(&w);
	written_record(&w, (struct record){.type = RECORD_FLUSH});
	written_set(&w, 2, "behind", 0);
	written_manifest(&w);
	struct loaded l = load_dir(w.s.path);
	assert_int_equal(l.result->snapshot, 1);
	assert_true(loaded_is(&l, 1, NULL));
	assert_true(loaded_is(&l, 2, "behind"));
	loaded_end(&l);
	written_end(&w);
}

static int64_t flush_due_of(struct written *w)
{
	written_manifest(w);
	struct loaded l = load_dir(w->s.path);
	int64_t due = l.result->start.flush_due;
	assert_int_equal(l.status, HEARTH_OK);
	loaded_end(&l);
	written_end(w);
	return due;
}

static void trap06_a_pending_flush_is_found_in_a_segment_header(void **state)
{
	(void)state;
	struct written w = written_begin();
	w.flush_due = FAR_FUTURE;
	written_segment(&w);
	assert_int_equal(flush_due_of(&w), FAR_FUTURE);
}

static void trap06_a_pending_flush_is_found_in_a_block_header(void **state)
{
	(void)state;
	struct written w = written_begin();
	written_segment(&w);
	w.flush_due = FAR_FUTURE;
	written_set(&w, 1, "x", 0);
	assert_int_equal(flush_due_of(&w), FAR_FUTURE);
	/* And that it is pending no more. */
	w = written_begin();
	w.flush_due = FAR_FUTURE;
	written_segment(&w);
	written_set(&w, 1, "x", 0);
	w.flush_due = 0;
	written_set(&w, 1, "x", 0);
	assert_int_equal(flush_due_of(&w), 0);
}

/* The log behind the snapshot is gone, with its segments' headers. */
static void trap06_a_pending_flush_is_found_in_a_snapshot(void **state)
{
	(void)state;
	for (unsigned cut = 0; cut < 2; cut++) {
		struct written w = written_begin();
		struct record r = set_record(1, "x", 0);
		r.seq = 1;
		w.flush_due = FAR_FUTURE;
		written_snapshot(&w, &r, 1, 1, 1);
		if (cut) { /* the footer is not there: the header has it as of the scan's start */
			size_t len;
			uint8_t *data = unit_read_file(w.s.fd, "snapshot-0000000001", &len);
			unit_write_file(w.s.fd, "snapshot-0000000001", data, len - 20);
			free(data);
		}
		assert_int_equal(flush_due_of(&w), FAR_FUTURE);
	}
}

/* ---- numbers ---- */

static struct loaded numbers(bool other_boot, uint64_t manifest_mark, uint64_t segment_mark, bool clean)
{
	struct written w = written_begin();
	w.other_boot = other_boot;
	w.high_water = segment_mark;
	w.m.high_water = manifest_mark;
	w.m.clean = clean;
	written_segment(&w);
	written_set(&w, 1, "x", 0);
	w.m.last_seq = w.next - 1;
	written_manifest(&w);
	struct loaded l = load_dir(w.s.path);
	assert_int_equal(l.status, HEARTH_OK);
	written_end(&w);
	return l;
}

/* A power cut took records whose numbers somebody has seen. */
static void trap07_after_a_power_cut_numbers_go_on_behind_the_mark(void **state)
{
	(void)state;
	const uint64_t mark = UINT64_C(1) << 26;
	struct loaded l = numbers(true, mark, 0, false);
	assert_int_equal(l.result->start.last_seq, mark);
	loaded_end(&l);
	l = numbers(true, 0, mark, false);
	assert_int_equal(l.result->start.last_seq, mark);
	loaded_end(&l);
	/* In the same boot, and after a stop in order, nothing was lost. */
	l = numbers(false, mark, mark, false);
	assert_int_equal(l.result->start.last_seq, 1);
	loaded_end(&l);
	l = numbers(true, mark, mark, true);
	assert_int_equal(l.result->start.last_seq, 1);
	loaded_end(&l);
}

static void trap07_numbers_fit_53_bits(void **state)
{
	(void)state;
	struct loaded l = numbers(true, UINT64_C(1) << 40, 0, false);
	assert_true(l.result->start.last_seq < UINT64_C(1) << 53);
	assert_true(l.result->start.last_seq >> 40 == 1);
	loaded_end(&l);
}

static void trap07_a_cas_of_its_own_is_not_the_number(void **state)
{
	(void)state;
	struct written w = written_begin();
	struct record r = set_record(1, "forced", 0);
	struct shown shown;
	r.cas = UINT64_C(1) << 60;
	written_segment(&w);
	written_record(&w, r);
	r = set_record(2, "forced", 0);
	r.cas = UINT64_C(1) << 60;
	written_record(&w, (struct record){.type = RECORD_FLUSH});
	written_record(&w, r);
	written_manifest(&w);
	struct loaded l = load_dir(w.s.path);
	assert_true(loaded_is(&l, 1, NULL));
	assert_true(loaded_find(&l, 2, &shown));
	assert_true(shown.cas == UINT64_C(1) << 60);
	assert_int_equal(shown.seq, 3);
	shown_free(&shown);
	loaded_end(&l);
	written_end(&w);
}

/* ---- state ---- */

static struct store_scan_item scanned;

static bool note_item(void *arg, const struct store_scan_item *item)
{
	(void)arg;
	scanned = *item;
	return true;
}

/* The one item that there is. */
static void scan_one(struct loaded *l)
{
	scanned = (struct store_scan_item){0};
	store_scan_begin(l->thread, note_item, NULL);
	while (store_scan_step(l->thread) > 0)
		;
	store_scan_end(l->thread);
}

#define STATES (ITEM_STALE | ITEM_WIN_SENT | ITEM_FETCHED | ITEM_BINARY)

static struct record full_record(void)
{
	struct record r = set_record(1, "value", FAR_FUTURE);
	r.bits = RECORD_STATE_BITS | 2u << RECORD_USE_SHIFT | RECORD_MAIN_QUEUE;
	r.flags = 0xfedcba98;
	r.cas = 12345;
	r.access = 1600000000;
	r.seq = 1;
	return r;
}

static void expect_full(struct loaded *l, bool from_snapshot)
{
	scan_one(l);
	assert_int_equal(scanned.flags, 0xfedcba98);
	assert_int_equal(scanned.expiry, FAR_FUTURE);
	assert_int_equal(scanned.cas, 12345);
	assert_int_equal(scanned.access, 1600000000);
	assert_int_equal(scanned.state & STATES, STATES);
	assert_int_equal(scanned.seq, 1);
	assert_int_equal(scanned.use, 2);
	assert_true(!from_snapshot || scanned.main_queue);
}

static void trap08_an_items_state_comes_back_from_a_snapshot(void **state)
{
	(void)state;
	struct written w = written_begin();
	struct record r = full_record();
	written_snapshot(&w, &r, 1, 1, 1);
	written_manifest(&w);
	struct loaded l = load_dir(w.s.path);
	assert_int_equal(l.status, HEARTH_OK);
	expect_full(&l, true);
	loaded_end(&l);
	written_end(&w);
}

static void trap08_an_items_state_comes_back_from_the_log(void **state)
{
	(void)state;
	struct written w = written_begin();
	struct record r = full_record();
	r.seq = 0;
	written_segment(&w);
	written_record(&w, r);
	written_manifest(&w);
	struct loaded l = load_dir(w.s.path);
	expect_full(&l, false);
	loaded_end(&l);
	written_end(&w);
}

/* ---- what cannot be applied ---- */

static void trap09_too_large_for_today_deletes_the_key(void **state)
{
	(void)state;
	static char value[20001];
	struct written w = written_begin();
	memset(value, 'v', sizeof(value) - 1);
	written_segment(&w);
	written_set(&w, 1, "old", 0);
	written_set(&w, 2, "old", 0);
	written_set(&w, 1, value, 0);
	written_manifest(&w);
	struct loaded l =
	    load_with(w.s.path, &(struct store_options){.memory = 64 * MIB, .item_max = 10000, .threads = 2});
	assert_int_equal(l.status, HEARTH_OK);
	assert_true(loaded_is(&l, 1, NULL));
	assert_true(loaded_is(&l, 2, "old"));
	assert_int_equal(l.result->dropped, 1);
	loaded_end(&l);
	written_end(&w);
}

static void trap09_an_unknown_dictionary_deletes_the_key(void **state)
{
	(void)state;
	struct written w = written_begin();
	struct record r = set_record(1, "compressed", 0);
	r.dict = 7;
	written_segment(&w);
	written_set(&w, 1, "old", 0);
	written_record(&w, r);
	written_manifest(&w);
	struct loaded l = load_dir(w.s.path);
	assert_true(loaded_is(&l, 1, NULL));
	assert_int_equal(l.result->dropped, 1);
	loaded_end(&l);
	written_end(&w);
}

/* Memory is full and nothing may be evicted: a value that grows and a touch that adds a field find no room. */
static void trap09_no_memory_deletes_the_key(void **state)
{
	(void)state;
	struct store *s = store_make(2 * MIB, 1, true);
	struct store_thread *t = store_thread_open(s, NULL);
	struct shown shown = {0};
	static uint8_t value[4000];
	char name[32];
	unsigned n = 0;
	store_load_begin(s);
	for (struct store_load load = {.value = value, .value_len = 1000, .seq = 1};; load.seq++, n++) {
		struct store_key k = key_of(s, n, name);
		if (!store_load_set(t, &k, &load))
			break;
	}
	assert_true(n > 100);
	struct store_load larger = {.value = value, .value_len = 4000, .seq = 1000000};
	struct store_key k = key_of(s, 7, name);
	assert_int_equal(store_fetch(s, t, &k, &shown), STORE_OK);
	assert_false(store_load_set(t, &k, &larger));
	assert_int_equal(store_fetch(s, t, &k, &shown), STORE_NOT_FOUND);
	unsigned lost = 0;
	for (unsigned i = 10; i < n; i++) {
		k = key_of(s, i, name);
		if (store_load_touch(t, &k, FAR_FUTURE))
			continue;
		lost++;
		assert_int_equal(store_fetch(s, t, &k, &shown), STORE_NOT_FOUND);
	}
	assert_true(lost > 0);
	shown_free(&shown);
	store_thread_close(&t);
	store_close(&s);
}

/* ---- loading ---- */

static void trap21_loading_moves_no_counter(void **state)
{
	(void)state;
	static char value[60001];
	struct written w = written_begin();
	memset(value, 'v', sizeof(value) - 1);
	written_segment(&w);
	for (unsigned i = 0; i < 256; i++)
		written_set(&w, i % HISTORY_KEYS, value, 0);
	written_manifest(&w);
	struct loaded l =
	    load_with(w.s.path, &(struct store_options){.memory = 2 * MIB, .item_max = MIB, .threads = 1});
	struct store_stats st;
	assert_int_equal(l.status, HEARTH_OK);
	store_get_stats(l.store, &st);
	assert_in_range(st.items, 1, HISTORY_KEYS - 1);
	assert_true(st.load_evictions > 0);
	assert_int_equal(st.evictions, 0);
	assert_int_equal(st.evicted_unfetched, 0);
	assert_int_equal(st.total_items, 0);
	loaded_end(&l);
	written_end(&w);
}

/* ---- the end of the log ---- */

/* Three changes of two keys; the second block is damaged. The third says that the log was durable up to `durable`. */
static struct loaded damaged_middle(bool other_boot, uint64_t durable)
{
	struct written w = written_begin();
	w.other_boot = other_boot;
	written_segment(&w);
	written_set(&w, 1, "one", 0);
	written_delete(&w, 1);
	written_damage(&w);
	w.durable = durable;
	written_set(&w, 2, "two", 0);
	written_manifest(&w);
	struct loaded l = load_dir(w.s.path);
	assert_int_equal(l.status, HEARTH_OK);
	written_end(&w);
	return l;
}

/* The page cache was whole: only the last write can be torn, so the log does not end here. */
static void trap23_in_the_same_boot_what_lies_behind_proves_damage(void **state)
{
	(void)state;
	struct loaded l = damaged_middle(false, 0);
	assert_int_equal(l.result->damaged, 1);
	assert_true(loaded_is(&l, 1, NULL));
	assert_true(loaded_is(&l, 2, "two"));
	loaded_end(&l);
}

static int no_proc(void *ctx, int dirfd, const char *name, int flags, mode_t mode)
{
	if (strncmp(name, "/proc/", 6) != 0)
		return vfs_posix()->openat(NULL, dirfd, name, flags, mode);
	errno = *(const int *)ctx;
	return -1;
}

/* Three changes, the second damaged, where /proc cannot be read. */
static struct loaded without_proc(int error, struct written *w)
{
	struct vfs vfs = *vfs_posix();
	vfs.openat = no_proc;
	vfs.ctx = &error;
	*w = written_begin();
	written_segment(w);
	written_set(w, 1, "one", 0);
	written_delete(w, 1);
	written_damage(w);
	written_set(w, 2, "two", 0);
	written_manifest(w);
	return load_on(
	    &vfs, w->s.path, &(struct store_options){.memory = 32 * MIB, .item_max = MIB, .threads = 1});
}

/* Then what lies behind a bad block proves damage, as in the boot that wrote it. */
static void trap23_where_the_kernel_has_no_boot_the_log_does_not_end_early(void **state)
{
	(void)state;
	struct written w;
	struct loaded l = without_proc(ENOENT, &w);
	assert_int_equal(l.status, HEARTH_OK);
	assert_int_equal(l.result->damaged, 1);
	assert_true(loaded_is(&l, 1, NULL));
	assert_true(loaded_is(&l, 2, "two"));
	loaded_end(&l);
	written_end(&w);
}

/* Otherwise a moment without descriptors would cost what a power cut has left. */
static void trap23_a_boot_that_cannot_be_read_is_not_guessed(void **state)
{
	(void)state;
	struct written w;
	struct loaded l = without_proc(EMFILE, &w);
	assert_int_equal(l.status, HEARTH_IO);
	loaded_end(&l);
	written_end(&w);
}

/* Later blocks may have reached the disk first. */
static void trap23_after_another_boot_the_log_may_end_before_later_blocks(void **state)
{
	(void)state;
	struct loaded l = damaged_middle(true, 1);
	assert_int_equal(l.result->damaged, 0);
	assert_true(loaded_is(&l, 1, "one"));
	assert_true(loaded_is(&l, 2, NULL));
	loaded_end(&l);
}

static void trap23_after_another_boot_a_durable_hole_is_damage(void **state)
{
	(void)state;
	struct loaded l = damaged_middle(true, 2);
	assert_int_equal(l.result->damaged, 1);
	assert_true(loaded_is(&l, 1, NULL));
	assert_true(loaded_is(&l, 2, "two"));
	loaded_end(&l);
}

/* The snapshot was published when the log was durable up to its end. */
/* Writes that a power cut took leave nothing, or a part of themselves: not the block before them. */
static void trap23_after_another_boot_a_block_in_the_wrong_place_is_damage(void **state)
{
	(void)state;
	uint8_t block[256];
	struct written w = written_begin();
	w.other_boot = true;
	written_segment(&w);
	written_set(&w, 1, "one", 0);
	size_t len = (size_t)(w.offset - w.block);
	MUST(len <= sizeof(block) && pread(w.fd, block, len, (off_t)w.block) == (ssize_t)len);
	written_bytes(&w, block, len);
	written_set(&w, 2, "two", 0);
	written_manifest(&w);
	struct loaded l = load_dir(w.s.path);
	assert_int_equal(l.status, HEARTH_OK);
	assert_int_equal(l.result->damaged, 1);
	assert_true(loaded_is(&l, 1, "one"));
	assert_true(loaded_is(&l, 2, "two"));
	loaded_end(&l);
	written_end(&w);
}

static void trap23_a_log_that_ends_before_its_snapshot_is_damaged(void **state)
{
	(void)state;
	struct written w = written_begin();
	struct record r = set_record(1, "deleted behind the scan", 0);
	r.seq = 1;
	w.other_boot = true;
	w.next = 2;
	written_snapshot(&w, &r, 1, 1, 3);
	written_segment(&w);
	written_set(&w, 2, "x", 0);
	written_delete(&w, 1);
	written_damage(&w);
	written_manifest(&w);
	struct loaded l = load_dir(w.s.path);
	assert_true(l.result->damaged > 0);
	assert_true(loaded_is(&l, 1, NULL));
	loaded_end(&l);
	written_end(&w);
}

/* ---- order and ownership ---- */

static void set_mtime(struct written *w, const char *name, time_t t)
{
	struct timespec times[2] = {{.tv_sec = t}, {.tv_sec = t}};
	assert_int_equal(utimensat(w->s.fd, name, times, 0), 0);
}

/* Times say the opposite, and the manifest is gone: the chain of the headers counts. */
static void trap24_order_is_neither_time_nor_name(void **state)
{
	(void)state;
	for (unsigned manifest = 0; manifest < 2; manifest++) {
		struct written w = written_begin();
		w.m.next_segment = 9;
		written_segment(&w);
		written_set(&w, 1, "old", 0);
		written_set(&w, 2, "old", 0);
		written_set(&w, 3, "kept", 0);
		/* The later segment has the lower number, as nothing says that numbers must grow. */
		w.m.next_segment = 3;
		written_segment(&w);
		written_set(&w, 1, "new", 0);
		written_delete(&w, 2);
		w.m.next_segment = 10;
		written_manifest(&w);
		set_mtime(&w, "log-0000000009", 1700000000);
		set_mtime(&w, "log-0000000003", 1600000000);
		if (!manifest)
			assert_int_equal(unlinkat(w.s.fd, DATADIR_MANIFEST, 0), 0);
		struct loaded l = load_dir(w.s.path);
		assert_int_equal(l.status, HEARTH_OK);
		assert_true(loaded_is(&l, 1, "new"));
		assert_true(loaded_is(&l, 2, NULL));
		assert_true(loaded_is(&l, 3, "kept"));
		loaded_end(&l);
		written_end(&w);
	}
}

/* Two directories with the same numbers; one file of each kind comes from the other. */
static void trap25_a_file_of_another_lineage_is_refused(void **state)
{
	(void)state;
	for (unsigned kind = 0; kind < 2; kind++) {
		struct written w[2];
		for (unsigned i = 0; i < 2; i++) {
			struct record r = set_record(1, i ? "foreign" : "own", 0);
			r.seq = 1;
			w[i] = written_begin();
			w[i].next = 2;
			written_snapshot(&w[i], &r, 1, 1, 1);
			written_segment(&w[i]);
			written_set(&w[i], 2, i ? "foreign" : "own", 0);
			written_manifest(&w[i]);
		}
		const char *name = kind ? "snapshot-0000000001" : "log-0000000001";
		size_t len;
		uint8_t *data = unit_read_file(w[1].s.fd, name, &len);
		unit_write_file(w[0].s.fd, name, data, len);
		free(data);
		struct loaded l = load_dir(w[0].s.path);
		assert_int_equal(l.status, HEARTH_OK);
		assert_true(l.result->damaged > 0);
		assert_non_null(strstr(l.result->note, name));
		assert_false(loaded_is(&l, 1, "foreign"));
		assert_false(loaded_is(&l, 2, "foreign"));
		loaded_end(&l);
		written_end(&w[0]);
		written_end(&w[1]);
	}
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(trap03_no_expiry_is_judged_before_the_last_record),
    cmocka_unit_test(trap04_an_expired_set_supersedes_what_came_before),
    cmocka_unit_test(trap05_a_touch_keeps_value_and_cas),
    cmocka_unit_test(trap06_a_flush_kills_what_came_before),
    cmocka_unit_test(trap06_a_pending_flush_is_found_in_a_segment_header),
    cmocka_unit_test(trap06_a_pending_flush_is_found_in_a_block_header),
    cmocka_unit_test(trap06_a_pending_flush_is_found_in_a_snapshot),
    cmocka_unit_test(trap07_after_a_power_cut_numbers_go_on_behind_the_mark),
    cmocka_unit_test(trap07_numbers_fit_53_bits),
    cmocka_unit_test(trap07_a_cas_of_its_own_is_not_the_number),
    cmocka_unit_test(trap08_an_items_state_comes_back_from_a_snapshot),
    cmocka_unit_test(trap08_an_items_state_comes_back_from_the_log),
    cmocka_unit_test(trap09_too_large_for_today_deletes_the_key),
    cmocka_unit_test(trap09_an_unknown_dictionary_deletes_the_key),
    cmocka_unit_test(trap09_no_memory_deletes_the_key),
    cmocka_unit_test(trap21_loading_moves_no_counter),
    cmocka_unit_test(trap22_a_clock_set_back_revives_nothing),
    cmocka_unit_test(trap22_what_a_start_took_for_expired_stays_so),
    cmocka_unit_test(trap23_in_the_same_boot_what_lies_behind_proves_damage),
    cmocka_unit_test(trap23_where_the_kernel_has_no_boot_the_log_does_not_end_early),
    cmocka_unit_test(trap23_a_boot_that_cannot_be_read_is_not_guessed),
    cmocka_unit_test(trap23_after_another_boot_the_log_may_end_before_later_blocks),
    cmocka_unit_test(trap23_after_another_boot_a_durable_hole_is_damage),
    cmocka_unit_test(trap23_after_another_boot_a_block_in_the_wrong_place_is_damage),
    cmocka_unit_test(trap23_a_log_that_ends_before_its_snapshot_is_damaged),
    cmocka_unit_test(trap24_order_is_neither_time_nor_name),
    cmocka_unit_test(trap25_a_file_of_another_lineage_is_refused),
};
UNIT_MAIN(tests)
