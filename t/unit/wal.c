/* SPDX-License-Identifier: BSD-3-Clause */
/* wal: the log by itself, records straight into its ring, on a disk that fails where the test says: each state, how it is
 * reached and left, what is durable then; the bound on the directory; starts and stops that fail. Time runs fast
 * (t/crash/fake.h), so that the next try comes at once. */
#include <hearth/keyblock.h>
#include "failing.h"
#include "gate.h"
#include "persist/room.h"
#include "persist/wal_private.h"
#include "../crash/fake.h"

#define WALL  1800000000
#define SLACK (512 * KIB)

static _Atomic unsigned fail_thread; /* the n-th pthread_create from now on fails */

int __real_pthread_create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg);

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg)
{
	if (fail_thread > 0 && --fail_thread == 0)
		return EAGAIN;
	return __real_pthread_create(thread, attr, run, arg);
}

struct log {
	struct unit_scratch s;
	struct gate g;
	struct files f;
	struct clock *clock;
	struct wal *wal;
	struct ring_credit credit;
	struct wal_options options;
	_Atomic unsigned told, near, unpinned;
	unsigned pinned;
};

static void told(void *arg)
{
	((struct log *)arg)->told++;
}

static void near_bound(void *arg)
{
	((struct log *)arg)->near++;
}

static void unpin(void *arg, struct store_pin *pin)
{
	MUST(store_pinned(pin));
	((struct log *)arg)->unpinned++;
}

/* The directory and its manifest; no log yet. */
static void log_prepare(struct log *l, enum wal_fsync fsync, bool serve)
{
	struct datadir *dir;
	memset(l, 0, sizeof(*l));
	l->s = unit_scratch_begin();
	gate_init(&l->g);
	l->clock = clock_open(0);
	MUST(datadir_open(&dir, &l->g.vfs, l->s.path, true, true, NULL, NULL) == HEARTH_OK);
	MUST(files_open(&l->f, dir, 2, NULL) == HEARTH_OK);
	l->options = (struct wal_options){.fsync = fsync,
	    .serve = serve,
	    .ring_bytes = 4 * MIB,
	    .clock = l->clock,
	    .unpin = unpin,
	    .unpin_arg = l,
	    .near_bound = near_bound,
	    .near_bound_arg = l,
	    .slack = SLACK};
	alarm(60);
}

static void log_start(struct log *l)
{
	struct hearth_error err = {0};
	const struct wal_start start = {0};
	MUST(wal_open(&l->wal, &l->options, &l->f, &start, &err) == HEARTH_OK);
}

static void log_open(struct log *l, enum wal_fsync fsync, bool serve)
{
	log_prepare(l, fsync, serve);
	l->options.progress = told;
	l->options.progress_arg = l;
	log_start(l);
}

static void log_close(struct log *l)
{
	if (l->wal)
		wal_close(&l->wal);
	assert_int_equal(l->unpinned, l->pinned);
	files_close(&l->f);
	clock_close(&l->clock);
	unit_scratch_end(&l->s);
	alarm(0);
}

static uint64_t append(struct log *l, uint8_t type, size_t len)
{
	static uint8_t value[512 * KIB];
	struct store_pin pin = {NULL, len > STORE_COPY_MAX ? 7 : STORE_PIN_NONE};
	bool key = type == RECORD_SET || type == RECORD_DELETE;
	const struct record r = {.type = type,
	    .key = (const uint8_t *)"key",
	    .key_len = key ? 3 : 0,
	    .value = value,
	    .value_len = len,
	    .expiry = type == RECORD_FLUSH_AT ? FAR_FUTURE : 0};
	while (!ring_secure(wal_ring(l->wal), &l->credit, 3, len))
		usleep(1000);
	uint64_t seq = ring_append(wal_ring(l->wal), &l->credit, &r, &pin);
	ring_kick(wal_ring(l->wal));
	l->pinned += len > STORE_COPY_MAX;
	return seq;
}

#define AWAIT(expr) \
	do { \
		for (unsigned tries_ = 0; tries_ < 20000 && !(expr); tries_++) \
			usleep(1000); /* of real time */ \
		assert_true(expr); \
	} while (0)

static void put(struct log *l, size_t len)
{
	uint64_t seq = append(l, RECORD_SET, len);
	AWAIT(wal_published(l->wal) >= seq);
}

static void gate_fail(struct log *l, int writes, int creates, int manifests)
{
	pthread_mutex_lock(&l->g.lock);
	l->g.fail_writes = writes;
	l->g.fail_creates = creates;
	l->g.fail_manifests = manifests;
	pthread_mutex_unlock(&l->g.lock);
}

static void await_state(struct log *l, enum wal_state state)
{
	AWAIT(wal_state(l->wal) == state);
}

static struct wal_stats stats(struct log *l)
{
	struct wal_stats st;
	wal_get_stats(l->wal, &st);
	return st;
}

/* ---- jobs of the sync thread ---- */

static enum hearth_status publish_job(void *arg, struct files *f)
{
	struct manifest_snapshot entry = {.start = 1, .end = 2, .generation = f->generation};
	int fd;
	(void)arg;
	enum hearth_status status = files_add_snapshot(f, &entry.number, &fd, NULL);
	if (status != HEARTH_OK)
		return status;
	close(fd);
	return files_publish(f, &entry, NULL);
}

static enum hearth_status room_job(void *arg, struct files *f)
{
	(void)f;
	wal_room_done(((struct log *)arg)->wal);
	return HEARTH_OK;
}

static void run(struct log *l, enum hearth_status (*job)(void *, struct files *))
{
	assert_int_equal(wal_run(l->wal, job, l), HEARTH_OK);
}

/* Records of all segments that the manifest names, of its generation. */
static unsigned records_on_disk(struct log *l)
{
	struct manifest m;
	bool repaired;
	unsigned n = 0;
	MUST(datadir_read_manifest(l->f.dir, &m, &repaired, NULL) == HEARTH_OK);
	for (size_t i = 0; i < m.n_segments; i++) {
		struct segment_reader *reader;
		struct segment_block block;
		char name[DATADIR_NAME_SIZE];
		datadir_name(DATADIR_LOG, m.segments[i].number, name);
		if (segment_open(&reader, NULL, l->s.fd, name, NULL, NULL) != HEARTH_OK)
			continue;
		while (segment_next(reader, &block, NULL) == HEARTH_OK)
			n += block.head.count;
		segment_close(&reader);
	}
	manifest_free(&m);
	return n;
}

/* ---- the states ---- */

static void a_log_that_cannot_go_on_stops_where_it_is_whole(void **state)
{
	(void)state;
	struct log l;
	struct hearth_error err = {0};
	log_open(&l, WAL_ALWAYS, false);
	put(&l, 100);
	gate_fail(&l, -1, -1, 0);
	append(&l, RECORD_SET, 100);
	await_state(&l, WAL_STOPPED);
	/* However often it is tried; the record waits. */
	append(&l, RECORD_SET, 100);
	int64_t until = clock_mono_us() + 130 * 1000000;
	AWAIT(clock_mono_us() > until);
	assert_int_equal(wal_state(l.wal), WAL_STOPPED);
	assert_true(wal_refuses(l.wal) && !wal_logs(l.wal));
	assert_int_equal(wal_durable(l.wal), 1);
	assert_int_equal(wal_epoch(l.wal), 1);
	assert_int_equal(wal_lost_from(l.wal), 1);
	assert_int_equal(wal_sync(l.wal, 2), HEARTH_IO);
	assert_int_equal(records_on_disk(&l), 1);
	gate_fail(&l, 0, 0, 0);
	await_state(&l, WAL_HEALTHY);
	AWAIT(wal_published(l.wal) == 3);
	assert_int_equal(stats(&l).heals, 1);
	assert_true(wal_wants_snapshot(l.wal) && !wal_wants_snapshot(l.wal));
	assert_true(l.told > 0);
	assert_int_equal(wal_stop(l.wal, &err), HEARTH_OK);
	assert_int_equal(records_on_disk(&l), 3);
	log_close(&l);
}

static void each_invalidation_ends_a_log_that_stopped(void **state)
{
	(void)state;
	static const uint8_t types[] = {RECORD_DELETE, RECORD_FLUSH, RECORD_FLUSH_AT};
	for (unsigned i = 0; i < 6; i++) {
		struct log l;
		bool lost = i >= 3;
		log_open(&l, WAL_ALWAYS, false);
		put(&l, 100);
		gate_fail(&l, -1, -1, 0);
		append(&l, RECORD_SET, 100);
		await_state(&l, WAL_STOPPED);
		gate_fail(&l, -1, -1, lost ? -1 : 0);
		uint64_t seq = append(&l, types[i % 3], 0);
		await_state(&l, lost ? WAL_LOST : WAL_UNTRUSTED);
		if (lost) {
			assert_true(wal_published(l.wal) < seq);
			gate_fail(&l, -1, -1, 0);
			await_state(&l, WAL_UNTRUSTED);
		}
		AWAIT(wal_published(l.wal) >= seq);
		assert_true(l.f.marked);
		/* Without a log there is nothing to rotate or to sync. */
		wal_rotate(l.wal);
		assert_int_equal(stats(&l).segments, 1);
		gate_fail(&l, 0, 0, 0);
		await_state(&l, WAL_HEALING);
		assert_true(stats(&l).generation > 1); /* a try in between uses one up */
		assert_true(wal_refuses(l.wal));
		seq = append(&l, RECORD_SET, 10);
		AWAIT(wal_durable(l.wal) >= seq);
		run(&l, publish_job);
		await_state(&l, WAL_HEALTHY);
		assert_false(l.f.manifest.untrusted);
		log_close(&l);
	}
}

/* The segment of the new generation cannot be filled, and once it is, fails as the old one did. */
static void a_new_generation_that_fails_is_left_too(void **state)
{
	(void)state;
	struct log l;
	struct hearth_error err = {0};
	log_open(&l, WAL_OS, true);
	put(&l, 100);
	gate_fail(&l, -1, -1, 0);
	append(&l, RECORD_SET, 100);
	await_state(&l, WAL_UNTRUSTED);
	assert_false(wal_refuses(l.wal)); /* served from memory */
	gate_fail(&l, -1, 0, 0);
	uint64_t seq = append(&l, RECORD_FLUSH_AT, 0);
	AWAIT(wal_published(l.wal) >= seq);
	uint64_t next = stats(&l).generation;
	int64_t until = clock_mono_us() + 20 * 1000000;
	AWAIT(clock_mono_us() > until);
	assert_int_equal(wal_state(l.wal), WAL_UNTRUSTED);
	assert_int_equal(stats(&l).generation, next);
	gate_fail(&l, 0, 0, 0);
	await_state(&l, WAL_HEALING);
	seq = append(&l, RECORD_SET, 10);
	AWAIT(wal_published(l.wal) >= seq);
	uint64_t epoch = wal_epoch(l.wal);
	gate_fail(&l, -1, -1, 0);
	seq = append(&l, RECORD_SET, 10);
	await_state(&l, WAL_UNTRUSTED);
	/* The mark stood all the time: nothing that was said was a lie. */
	assert_int_equal(wal_epoch(l.wal), epoch);
	AWAIT(wal_published(l.wal) >= seq);
	gate_fail(&l, 0, 0, 0);
	await_state(&l, WAL_HEALING);
	/* No snapshot comes about: another one is asked for, again and again. */
	for (unsigned i = 0; i < 3; i++) {
		bool wanted = false;
		AWAIT(wanted || (wanted = wal_wants_snapshot(l.wal)));
	}
	run(&l, publish_job);
	await_state(&l, WAL_HEALTHY);
	seq = append(&l, RECORD_SET, 10);
	AWAIT(wal_published(l.wal) >= seq);
	assert_int_equal(wal_stop(l.wal, &err), HEARTH_OK);
	struct manifest m;
	bool repaired;
	assert_int_equal(datadir_read_manifest(l.f.dir, &m, &repaired, NULL), HEARTH_OK);
	assert_true(m.clean && !m.untrusted);
	manifest_free(&m);
	log_close(&l);
}

/* A log that is whole, but has no reserve any more: with --on-disk-error serve memory goes on alone, under the mark. */
static void a_reserve_that_cannot_be_made(void **state)
{
	(void)state;
	for (unsigned serve = 0; serve < 2; serve++) {
		struct log l;
		log_open(&l, WAL_EVERYSEC, serve);
		l.g.error = ENOSPC;
		gate_fail(&l, 0, -1, 0);
		for (unsigned i = 0; i < 8; i++)
			put(&l, 60 * KIB);
		await_state(&l, serve ? WAL_UNTRUSTED : WAL_RESERVE);
		assert_int_equal(wal_refuses(l.wal), !serve);
		uint64_t seq = append(&l, RECORD_DELETE, 0);
		AWAIT(wal_published(l.wal) >= seq);
		assert_int_equal(l.f.marked, serve);
		if (!serve)
			assert_true(strstr(stats(&l).reason, strerror(ENOSPC)) != NULL);
		gate_fail(&l, 0, 0, 0);
		await_state(&l, serve ? WAL_HEALING : WAL_HEALTHY);
		if (serve)
			run(&l, publish_job);
		await_state(&l, WAL_HEALTHY);
		log_close(&l);
	}
}

/* Descriptors that are short for a while are no state of the disk. */
static void short_descriptors_refuse_nothing(void **state)
{
	(void)state;
	static const int errors[] = {EMFILE, ENFILE, ENOMEM};
	for (unsigned i = 0; i < 3; i++) {
		struct log l;
		log_open(&l, WAL_EVERYSEC, false);
		l.g.error = errors[i];
		gate_fail(&l, 0, -1, 0);
		for (unsigned n = 0; n < 8; n++)
			put(&l, 60 * KIB);
		AWAIT(stats(&l).reserve_bytes < 2 * MIB);
		assert_int_equal(wal_state(l.wal), WAL_HEALTHY);
		assert_false(wal_refuses(l.wal));
		gate_fail(&l, 0, 0, 0);
		AWAIT(l.g.allocations == 2);
		log_close(&l);
	}
}

/* ---- batches that fail in the middle ---- */

static void batch(size_t len, unsigned n, size_t last, int pass)
{
	struct log l;
	uint64_t seq = 0;
	log_open(&l, WAL_OS, false);
	put(&l, 100);
	gate_set(&l.g, true);
	append(&l, RECORD_SET, 10); /* the log thread waits with this one */
	AWAIT(l.g.waits);
	for (unsigned i = 0; i < n; i++)
		seq = append(&l, RECORD_SET, len);
	if (last)
		seq = append(&l, RECORD_SET, last);
	l.g.pass_writes = pass;
	gate_fail(&l, 1, 0, 0);
	gate_set(&l.g, false);
	AWAIT(wal_published(l.wal) >= seq);
	assert_int_equal(l.g.fail_writes, 0);
	await_state(&l, WAL_HEALTHY);
	assert_int_equal(wal_stop(l.wal, NULL), HEARTH_OK);
	/* At least once, whatever the segment that failed holds besides. */
	assert_true(records_on_disk(&l) >= seq);
	assert_int_equal(l.f.manifest.last_seq, seq);
	log_close(&l);
}

static size_t size_with(size_t len)
{
	const struct record r = {.type = RECORD_SET, .key_len = 3, .value_len = len};
	return BLOCK_HEADER_SIZE + record_size(&r);
}

/* Records as large as a stretch, so that a key block follows each; the last one leaves no room for its own. */
static void a_key_block_that_does_not_fit_is_sent_after_the_rest(void **state)
{
	(void)state;
	enum { RECORDS = 14 };
	const size_t len = KEYS_STRETCH, key_block = BLOCK_HEADER_SIZE + keyblock_record_size(1);
	for (int pass = 1; pass < 3; pass++) {
		struct log l;
		log_open(&l, WAL_OS, false);
		put(&l, 100);
		gate_set(&l.g, true);
		append(&l, RECORD_SET, 10);
		AWAIT(l.g.waits);
		size_t left = WAL_OUT - (BLOCK_HEADER_SIZE + keyblock_record_size(3));
		for (unsigned i = 0; i < RECORDS; i++) {
			append(&l, RECORD_SET, len);
			left -= size_with(len) + (i > 1 ? key_block : 0);
		}
		uint64_t seq = append(&l, RECORD_SET, left - size_with(0) - key_block / 2);
		l.g.pass_writes = pass;
		gate_fail(&l, 1, 0, 0);
		gate_set(&l.g, false);
		AWAIT(wal_published(l.wal) >= seq);
		assert_int_equal(l.g.fail_writes, 0);
		await_state(&l, WAL_HEALTHY);
		assert_int_equal(wal_stop(l.wal, NULL), HEARTH_OK);
		assert_true(records_on_disk(&l) >= seq);
		log_close(&l);
	}
}

/* The write that fails is the first, or a later one of the same batch: of many records, or of large ones alone. */
static void a_batch_is_written_again_from_where_it_was_published(void **state)
{
	(void)state;
	for (int pass = 0; pass < 3; pass++) {
		batch(4000, 600, 0, pass);
		batch(300 * KIB, 6, 0, pass);
	}
	/* A large one sends what was gathered before it. */
	batch(100, 20, 300 * KIB, 1);
}

/* The tail cannot be read, or there is no memory to copy it: that is no damage. Synced where it is, the log is whole. */
static void a_tail_that_cannot_be_copied_is_whole_where_it_is(void **state)
{
	(void)state;
	for (unsigned memory = 0; memory <= FAILING_MEMORY; memory++) {
		struct log l;
		struct hearth_error err = {0};
		log_open(&l, WAL_OS, false);
		for (unsigned i = 0; i < 8; i++)
			put(&l, 60 * KIB);
		AWAIT(stats(&l).reserve_bytes >= MIB && l.g.allocations == 2);
		l.g.fail_opens = memory ? 0 : 1;
		gate_fail(&l, 1, 0, 0);
		failing_memory = (struct failing){.at = memory};
		uint64_t seq = append(&l, RECORD_SET, 10);
		AWAIT(wal_published(l.wal) >= seq);
		await_state(&l, WAL_HEALTHY);
		assert_true(!memory || failing_memory.hit);
		failing_memory = (struct failing){0};
		assert_int_equal(wal_stop(l.wal, &err), HEARTH_OK);
		assert_int_equal(records_on_disk(&l), seq);
		log_close(&l);
	}
}

#if FAILING_MEMORY
/* The segment goes on growing. */
static void a_segment_that_cannot_be_left_without_memory(void **state)
{
	(void)state;
	struct log l;
	log_open(&l, WAL_ALWAYS, false);
	for (unsigned i = 0; i < 8; i++)
		put(&l, 60 * KIB);
	AWAIT(l.g.allocations == 2);
	failing_memory = (struct failing){.at = 1, .on = true};
	wal_rotate(l.wal);
	AWAIT(failing_memory.hit);
	assert_int_equal(stats(&l).segments, 1);
	put(&l, 10);
	failing_memory = (struct failing){0};
	wal_rotate(l.wal);
	AWAIT(stats(&l).segments == 2);
	put(&l, 10);
	assert_int_equal(wal_stop(l.wal, NULL), HEARTH_OK);
	assert_int_equal(records_on_disk(&l), 10);
	log_close(&l);
}
#endif

/* The log goes on where it stopped, and once more there is no reserve behind it. */
static void a_log_goes_on_before_it_is_well(void **state)
{
	(void)state;
	struct log l;
	log_open(&l, WAL_ALWAYS, false);
	put(&l, 100);
	gate_fail(&l, -1, -1, 0);
	uint64_t seq = append(&l, RECORD_SET, 100);
	await_state(&l, WAL_STOPPED);
	l.g.pass_creates = 1;
	gate_fail(&l, 0, -1, 0);
	await_state(&l, WAL_RESERVE);
	AWAIT(wal_published(l.wal) >= seq);
	assert_int_equal(stats(&l).heals, 0);
	gate_fail(&l, 0, 0, 0);
	await_state(&l, WAL_HEALTHY);
	log_close(&l);
}

/* A manifest of which nobody knows whether it is there is written again before all is well. */
static void a_manifest_in_doubt_is_written_before_all_is_well(void **state)
{
	(void)state;
	struct log l;
	log_open(&l, WAL_ALWAYS, false);
	for (unsigned i = 0; i < 8; i++)
		put(&l, 60 * KIB);
	AWAIT(l.g.allocations == 2 && unit_exists(l.s.fd, DATADIR_RESERVE));
	l.g.error = ENOSPC;
	l.g.fail_allocations = -1;
	gate_fail(&l, 0, 0, -1);
	assert_int_equal(wal_run(l.wal, publish_job, &l), HEARTH_IO);
	await_state(&l, WAL_RESERVE);
	l.g.fail_allocations = 0;
	int64_t until = clock_mono_us() + 20 * 1000000;
	AWAIT(clock_mono_us() > until);
	assert_int_equal(wal_state(l.wal), WAL_RESERVE);
	gate_fail(&l, 0, 0, 0);
	await_state(&l, WAL_HEALTHY);
	struct manifest m;
	bool repaired;
	assert_int_equal(datadir_read_manifest(l.f.dir, &m, &repaired, NULL), HEARTH_OK);
	assert_int_equal(m.n_snapshots, 1);
	manifest_free(&m);
	log_close(&l);
}

/* ---- a disk that stands still ---- */

static void *open_gate(void *arg)
{
	struct log *l = arg;
	usleep(100000); /* twenty seconds of the fast clock */
	pthread_mutex_lock(&l->g.lock);
	l->g.shut = l->g.hold_syncs = false;
	pthread_cond_broadcast(&l->g.opened);
	pthread_mutex_unlock(&l->g.lock);
	return NULL;
}

static void a_stop_waits_for_the_disk(void **state)
{
	(void)state;
	for (unsigned syncs = 0; syncs < 2; syncs++) {
		struct log l;
		pthread_t thread;
		log_open(&l, WAL_EVERYSEC, false);
		put(&l, 10);
		pthread_mutex_lock(&l.g.lock);
		l.g.shut = !syncs;
		l.g.hold_syncs = syncs;
		pthread_mutex_unlock(&l.g.lock);
		uint64_t seq = append(&l, RECORD_SET, 10);
		MUST(pthread_create(&thread, NULL, open_gate, &l) == 0);
		assert_int_equal(wal_stop(l.wal, NULL), HEARTH_OK);
		MUST(pthread_join(thread, NULL) == 0);
		assert_int_equal(wal_durable(l.wal), seq);
		log_close(&l);
	}
}

/* Seconds of changes that are not durable hold back what comes. */
static void everysec_that_falls_behind_holds_changes_back(void **state)
{
	(void)state;
	struct log l;
	log_open(&l, WAL_EVERYSEC, false);
	put(&l, 10);
	pthread_mutex_lock(&l.g.lock);
	l.g.hold_syncs = true;
	pthread_mutex_unlock(&l.g.lock);
	for (unsigned i = 0; i < 20000 && !wal_held(l.wal); i++) {
		put(&l, 10);
		usleep(1000);
	}
	assert_true(wal_held(l.wal));
	open_gate(&l);
	AWAIT(!wal_held(l.wal));
	AWAIT(wal_durable(l.wal) == wal_written(l.wal));
	log_close(&l);
}

/* ---- under a bound ---- */

static void make_filler(struct log *l, size_t bytes)
{
	static uint8_t piece[64 * KIB];
	int fd = openat(l->s.fd, "filler", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	for (size_t at = 0; at < bytes; at += sizeof(piece))
		assert_int_equal(write(fd, piece, sizeof(piece)), sizeof(piece));
	close(fd);
}

static void drop_filler(struct log *l)
{
	const struct vfs *vfs = quota_vfs(l->f.quota);
	assert_int_equal(vfs->unlinkat(vfs->ctx, l->s.fd, "filler"), 0);
}

static void the_bound_is_told_once_then_changes_wait(void **state)
{
	(void)state;
	for (unsigned serve = 0; serve < 2; serve++) {
		struct log l;
		log_prepare(&l, WAL_EVERYSEC, serve);
		make_filler(&l, 8 * MIB);
		assert_int_equal(files_limit(&l.f, 22 * MIB, NULL), HEARTH_OK);
		log_start(&l);
		wal_set_snapshot_bytes(l.wal, 256 * KIB);
		while (l.near == 0)
			put(&l, 60 * KIB);
		assert_false(wal_tight(l.wal));
		assert_true(wal_bytes_since_mark(l.wal) >= MIB);
		assert_int_equal(wal_state(l.wal), WAL_HEALTHY);
		/* Somebody looked, and there is room yet. */
		run(&l, room_job);
		assert_int_equal(wal_state(l.wal), WAL_HEALTHY);
		uint64_t before = wal_position(l.wal);
		while (l.near == 1)
			put(&l, 60 * KIB);
		/* It is not asked again for every write. */
		assert_in_range(wal_position(l.wal) - before, ROOM_GAIN - 180 * KIB, ROOM_GAIN + 180 * KIB);
		assert_false(wal_tight(l.wal));
		/* A snapshot that has its room already is not counted twice; one that is to come is. */
		quota_promise(l.f.quota, 256 * KIB);
		uint64_t promised = quota_room(l.f.quota);
		put(&l, 60 * KIB);
		assert_false(wal_tight(l.wal));
		quota_promise(l.f.quota, 0);
		while (!wal_tight(l.wal))
			put(&l, 60 * KIB);
		assert_true(promised > SLACK);
		assert_in_range(quota_room(l.f.quota), SLACK + 256 * KIB - 128 * KIB, SLACK + 256 * KIB);
		assert_int_equal(l.near, 2);
		/* Room for it, but nobody takes one: it goes on up to the slack. */
		run(&l, room_job);
		assert_int_equal(wal_state(l.wal), WAL_HEALTHY);
		while (quota_room(l.f.quota) >= SLACK || !wal_tight(l.wal)) {
			if (wal_tight(l.wal))
				run(&l, room_job);
			put(&l, 60 * KIB);
		}
		assert_true(quota_used(l.f.quota) <= 22 * MIB);
		run(&l, room_job);
		assert_false(wal_tight(l.wal));
		await_state(&l, serve ? WAL_UNTRUSTED : WAL_RESERVE);
		assert_true(strstr(stats(&l).reason, "--max-disk is reached") != NULL);
		int64_t until = clock_mono_us() + 10 * 1000000;
		AWAIT(clock_mono_us() > until);
		run(&l, room_job); /* nothing has gone */
		assert_int_equal(wal_state(l.wal), serve ? WAL_UNTRUSTED : WAL_RESERVE);
		drop_filler(&l);
		run(&l, room_job);
		await_state(&l, serve ? WAL_HEALING : WAL_HEALTHY);
		if (serve)
			run(&l, publish_job);
		await_state(&l, WAL_HEALTHY);
		assert_true(wal_wants_snapshot(l.wal));
		log_close(&l);
	}
}

/* It was not the bound that made changes be refused, and is not what is told. */
static void a_bound_beside_a_disk_that_failed(void **state)
{
	(void)state;
	struct log l;
	log_prepare(&l, WAL_ALWAYS, false);
	make_filler(&l, 8 * MIB);
	assert_int_equal(files_limit(&l.f, 22 * MIB, NULL), HEARTH_OK);
	log_start(&l);
	while (!wal_tight(l.wal))
		put(&l, 60 * KIB);
	gate_fail(&l, 1, 0, 0);
	uint64_t seq = append(&l, RECORD_DELETE, 0);
	AWAIT(wal_published(l.wal) >= seq);
	await_state(&l, WAL_RESERVE);
	run(&l, room_job);
	assert_true(strstr(stats(&l).reason, "cannot write to the log") != NULL);
	drop_filler(&l);
	run(&l, room_job);
	await_state(&l, WAL_HEALTHY);
	log_close(&l);
}

static void a_start_beyond_the_bound_is_one_all_the_same(void **state)
{
	(void)state;
	struct log l;
	log_prepare(&l, WAL_ALWAYS, false);
	make_filler(&l, 8 * MIB);
	assert_int_equal(files_limit(&l.f, 4 * MIB, NULL), HEARTH_OK);
	log_start(&l);
	uint64_t seq = append(&l, RECORD_DELETE, 0);
	AWAIT(wal_published(l.wal) >= seq);
	AWAIT(wal_tight(l.wal));
	run(&l, room_job);
	assert_true(wal_refuses(l.wal));
	seq = append(&l, RECORD_DELETE, 0);
	AWAIT(wal_published(l.wal) >= seq);
	assert_int_equal(wal_stop(l.wal, NULL), HEARTH_IO);
	log_close(&l);
}

/* ---- starting and stopping ---- */

#if FAILING_MEMORY
static void a_start_without_memory_fails_and_leaves_nothing_open(void **state)
{
	(void)state;
	for (unsigned at = 1; at < 100; at++) {
		struct log l;
		struct hearth_error err = {0};
		const struct wal_start start = {0};
		log_prepare(&l, WAL_OS, false);
		unsigned before = failing_open_files();
		failing_memory = (struct failing){.at = at};
		enum hearth_status status = wal_open(&l.wal, &l.options, &l.f, &start, at % 2 ? &err : NULL);
		bool hit = failing_memory.hit;
		failing_memory = (struct failing){0};
		if (status != HEARTH_OK) {
			assert_int_equal(status, HEARTH_NOMEM);
			assert_null(l.wal);
			assert_int_equal(failing_open_files(), before);
			log_start(&l); /* with memory it goes */
		}
		put(&l, 10);
		log_close(&l);
		if (!hit)
			return;
	}
	fail();
}
#endif

static void a_start_without_threads_fails(void **state)
{
	(void)state;
	for (unsigned n = 1; n <= 2; n++) {
		struct log l;
		struct hearth_error err = {0};
		const struct wal_start start = {0};
		log_prepare(&l, WAL_OS, false);
		fail_thread = n;
		assert_int_equal(wal_open(&l.wal, &l.options, &l.f, &start, &err), HEARTH_NOMEM);
		assert_string_equal(err.what, "cannot start the log's threads");
		assert_null(l.wal);
		fail_thread = 0;
		log_start(&l);
		put(&l, 10);
		log_close(&l);
	}
}

struct turn {
	struct log *l;
	struct manifest_segment second;
};

/* The log goes on in the segment made ahead while the sync thread is busy, which then makes another. */
static enum hearth_status make_another(void *arg, struct files *f)
{
	struct turn *turn = arg;
	uint64_t begun = stats(turn->l).segments;
	while (stats(turn->l).segments == begun) {
		append(turn->l, RECORD_SET, 1000);
		usleep(1000);
	}
	enum hearth_status status = sync_make_next(turn->l->wal, NULL);
	turn->second = f->manifest.segments[f->manifest.n_segments - 2];
	return status;
}

/* Also what began and ended between two looks of the sync thread is known of: a snapshot would retire too much else. */
static void where_a_segment_began_is_noted_before_another_is_made(void **state)
{
	(void)state;
	struct log l;
	log_prepare(&l, WAL_OS, false);
	l.options.segment_bytes = 8 * KIB;
	log_start(&l);
	append(&l, RECORD_SET, 4000);
	AWAIT(stats(&l).reserve_bytes == 8 * KIB);
	struct turn turn = {.l = &l};
	assert_int_equal(wal_run(l.wal, make_another, &turn), HEARTH_OK);
	struct segment_reader *reader;
	char name[DATADIR_NAME_SIZE];
	datadir_name(DATADIR_LOG, turn.second.number, name);
	MUST(segment_open(&reader, NULL, l.s.fd, name, NULL, NULL) == HEARTH_OK);
	assert_int_equal(turn.second.first, segment_get_header(reader)->first);
	assert_true(turn.second.begun && turn.second.first > 1);
	segment_close(&reader);
	log_close(&l);
}

static void a_stopped_log_takes_no_jobs(void **state)
{
	(void)state;
	struct log l;
	struct hearth_error err = {0};
	log_open(&l, WAL_OS, false);
	put(&l, 10);
	gate_fail(&l, 0, 0, -1);
	assert_int_equal(wal_stop(l.wal, &err), HEARTH_IO);
	assert_string_equal(err.file, "MANIFEST.tmp");
	assert_int_equal(wal_durable(l.wal), 1);
	assert_int_equal(wal_run(l.wal, publish_job, &l), HEARTH_BUSY);
	assert_int_equal(wal_sync(l.wal, 2), HEARTH_IO);
	wal_rotate(l.wal);
	log_close(&l);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_log_that_cannot_go_on_stops_where_it_is_whole),
    cmocka_unit_test(each_invalidation_ends_a_log_that_stopped),
    cmocka_unit_test(a_new_generation_that_fails_is_left_too),
    cmocka_unit_test(a_reserve_that_cannot_be_made),
    cmocka_unit_test(short_descriptors_refuse_nothing),
    cmocka_unit_test(a_batch_is_written_again_from_where_it_was_published),
    cmocka_unit_test(a_key_block_that_does_not_fit_is_sent_after_the_rest),
    cmocka_unit_test(a_tail_that_cannot_be_copied_is_whole_where_it_is),
#if FAILING_MEMORY
    cmocka_unit_test(a_segment_that_cannot_be_left_without_memory),
#endif
    cmocka_unit_test(a_log_goes_on_before_it_is_well),
    cmocka_unit_test(a_manifest_in_doubt_is_written_before_all_is_well),
    cmocka_unit_test(a_stop_waits_for_the_disk),
    cmocka_unit_test(everysec_that_falls_behind_holds_changes_back),
    cmocka_unit_test(a_bound_beside_a_disk_that_failed),
    cmocka_unit_test(the_bound_is_told_once_then_changes_wait),
    cmocka_unit_test(a_start_beyond_the_bound_is_one_all_the_same),
#if FAILING_MEMORY
    cmocka_unit_test(a_start_without_memory_fails_and_leaves_nothing_open),
#endif
    cmocka_unit_test(a_start_without_threads_fails),
    cmocka_unit_test(where_a_segment_began_is_noted_before_another_is_made),
    cmocka_unit_test(a_stopped_log_takes_no_jobs),
};

int main(int argc, char **argv)
{
	cmocka_set_message_output(CM_OUTPUT_TAP);
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	if (access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 0);
	fake_begin(WALL, 1);
	fake_set_speed(200);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
