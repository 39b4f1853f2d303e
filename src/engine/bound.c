/* SPDX-License-Identifier: BSD-3-Clause */
/* bound: --max-disk while the daemon runs. The log tells that the bound is near (wal.h), the tick looks as well; the snapshot
 * thread looks for room, with jobs on the sync thread, which owns the files: an early snapshot, kept snapshots given up.
 * Only when neither helps changes are refused. The rule itself is persist/room.h. */
#include "engine/private.h"

#include "base/msg.h"
#include "persist/room.h"

struct plan {
	struct engine *engine;
	uint64_t snapshot; /* bytes that one would take */
	uint64_t room, freed;
	uint64_t used;
	bool fits;
	bool beyond; /* there is more than the bound leaves for the log to go on */
	bool helps;  /* a snapshot would change that */
	bool anew;   /* changes are refused: what is there is counted whatever the count before says */
};

/* A directory beyond its bound needs a manifest all the same, to become smaller; with a snapshot its bytes, and what is on the
 * way meanwhile. */
static void allow(struct engine *e, uint64_t limit, uint64_t snapshot)
{
	struct quota *q = e->files.quota;
	uint64_t more = snapshot ? snapshot + e->bound.slack + quota_kept_back(q) : 0;
	uint64_t less = e->bound.slack + quota_kept_back(q) + QUOTA_MANIFEST;
	quota_allow(q, more + QUOTA_MANIFEST, limit > less ? limit - less : 0);
}

static void give_up(struct engine *e, struct files *files)
{
	struct hearth_error err;
	size_t before = files->manifest.n_snapshots;
	files_give_up(files, &err);
	atomic_fetch_add(&e->bound.given_up, before - files->manifest.n_snapshots);
	quota_refresh(files->quota);
}

/* Makes a snapshot fit at the cost of kept ones. */
static enum hearth_status plan_job(void *arg, struct files *files)
{
	struct plan *p = arg;
	struct quota *q = files->quota;
	if (p->anew)
		quota_recount(q);
	else
		quota_refresh(q);
	for (size_t n = files->manifest.n_snapshots + 1; n > 0 && !room_fits(quota_room(q), p->snapshot); n--)
		give_up(p->engine, files);
	p->room = quota_room(q);
	p->fits = room_fits(p->room, p->snapshot);
	p->freed = files_superfluous(files);
	return HEARTH_OK;
}

/* Kept ones that would make the next snapshot due at once go, and what waits is told what became of it. */
static enum hearth_status done_job(void *arg, struct files *files)
{
	struct plan *p = arg;
	struct engine *e = p->engine;
	struct quota *q = files->quota;
	quota_refresh(q);
	for (size_t n = files->manifest.n_snapshots + 1;
	     n > 0 && room_cramped(quota_room(q), e->bound.slack, p->snapshot); n--)
		give_up(e, files);
	wal_room_done(e->wal);
	return HEARTH_OK;
}

/* What is beyond a bound that was moved: kept snapshots go, and one that would make it less may be written on top. */
static enum hearth_status shrink_job(void *arg, struct files *files)
{
	struct plan *p = arg;
	struct quota *q = files->quota;
	uint64_t slack = p->engine->bound.slack;
	quota_recount(q);
	for (size_t n = files->manifest.n_snapshots + 1; n > 0 && !quota_leaves(q, quota_used(q), slack); n--)
		give_up(p->engine, files);
	p->used = quota_used(q);
	p->freed = files_superfluous(files);
	p->beyond = !quota_leaves(q, p->used, slack);
	uint64_t left = p->freed < p->used ? p->used - p->freed : 0;
	p->helps =
	    p->beyond && room_helps(p->freed, p->snapshot) && quota_leaves(q, left + p->snapshot, slack);
	if (p->beyond)
		allow(p->engine, quota_limit(q), p->helps ? p->snapshot : 0);
	else
		quota_allow(q, 0, 0);
	p->room = quota_room(q);
	p->fits = p->helps;
	return HEARTH_OK;
}

/* What the dictionaries take in a snapshot. */
static uint64_t dicts_bytes(const struct engine *e)
{
	uint64_t bytes = 0;
	for (size_t i = 0; i < dict_count(e->dicts); i++) {
		size_t len;
		dict_bytes(dict_get(e->dicts, i), &len);
		bytes += len + len / 64 + 128;
	}
	return bytes;
}

static uint64_t estimate(struct engine *e)
{
	struct store_stats st;
	store_get_stats(e->store, &st);
	pthread_mutex_lock(&e->lock);
	uint64_t bytes = room_snapshot(st.bytes, e->bound.last, e->bound.last_bytes);
	pthread_mutex_unlock(&e->lock);
	return bytes + dicts_bytes(e);
}

/* Whether a snapshot of this size is not known to fail. */
static bool may_try(struct engine *e, const struct plan *p)
{
	pthread_mutex_lock(&e->lock);
	bool ok = p->fits && (!e->bound.failed || p->room > e->bound.failed + ROOM_GAIN);
	pthread_mutex_unlock(&e->lock);
	return ok;
}

bool bound_admit(struct engine *e)
{
	struct plan p = {.engine = e};
	struct quota *q = files_bound(&e->files);
	if (!q)
		return true;
	p.snapshot = estimate(e);
	if (wal_run(e->wal, plan_job, &p) != HEARTH_OK)
		return false;
	bool ok = may_try(e, &p);
	if (!ok && !atomic_exchange(&e->bound.told, true))
		msg(MSG_WARN,
		    "--max-disk %llu: no room for a snapshot of about %llu bytes beside what is kept: %llu "
		    "are left",
		    (unsigned long long)quota_limit(q), (unsigned long long)p.snapshot,
		    (unsigned long long)p.room);
	if (!ok)
		atomic_fetch_add(&e->bound.skipped, 1);
	pthread_mutex_lock(&e->lock);
	e->bound.before = p.room;
	pthread_mutex_unlock(&e->lock);
	if (ok)
		quota_promise(q, p.snapshot);
	return ok;
}

void bound_taken(struct engine *e, enum hearth_status status, const struct snap_result *result)
{
	struct store_stats st;
	struct plan p = {.engine = e};
	if (e->files.quota)
		quota_promise(e->files.quota, 0);
	if (!files_bound(&e->files))
		return;
	store_get_stats(e->store, &st);
	pthread_mutex_lock(&e->lock);
	if (status == HEARTH_OK) {
		e->bound.last = result->bytes;
		e->bound.last_bytes = st.bytes;
		e->bound.failed = 0;
	} else if (status == HEARTH_IO) {
		/* It may have been larger than was thought. */
		e->bound.last_bytes = 0;
		e->bound.failed = e->bound.before;
	}
	pthread_mutex_unlock(&e->lock);
	if (status == HEARTH_OK)
		atomic_store(&e->bound.told, false);
	p.snapshot = estimate(e);
	wal_set_snapshot_bytes(e->wal, p.snapshot);
	wal_run(e->wal, done_job, &p);
}

/* Once for each time that the bound was moved. */
static void tell_shrink(struct engine *e, const struct plan *p)
{
	if (atomic_exchange(&e->bound.told_shrink, true))
		return;
	if (p->helps)
		msg(MSG_WARN,
		    "--max-disk %llu: %llu bytes are there: a snapshot of about %llu is written beside "
		    "them, so that they can go; changes may wait for it",
		    (unsigned long long)quota_limit(e->files.quota), (unsigned long long)p->used,
		    (unsigned long long)p->snapshot);
	else
		msg(MSG_WARN,
		    "--max-disk %llu: %llu bytes are there, and no snapshot would make them fit: changes are "
		    "refused until there is room",
		    (unsigned long long)quota_limit(e->files.quota), (unsigned long long)p->used);
}

/* Whether a snapshot is to be written because there is more than the bound, since it was moved or since the start. */
static bool shrinks(struct engine *e)
{
	struct plan p = {.engine = e, .snapshot = estimate(e)};
	if (!atomic_load(&e->bound.shrinks))
		return false;
	bool wanted =
	    wal_run(e->wal, shrink_job, &p) == HEARTH_OK && p.helps && wal_logs(e->wal) && may_try(e, &p);
	if (p.beyond)
		tell_shrink(e, &p);
	else
		atomic_store(&e->bound.shrinks, false);
	return wanted;
}

bool bound_wants_snapshot(struct engine *e)
{
	if (shrinks(e))
		return true;
	struct plan p = {.engine = e, .snapshot = estimate(e), .anew = wal_state(e->wal) != WAL_HEALTHY};
	bool logs = wal_logs(e->wal);
	/* Without a log there is to be room for that of a new generation as well, see heal.c. */
	if (!logs)
		p.snapshot += 2 * e->bound.slack;
	if (wal_run(e->wal, plan_job, &p) != HEARTH_OK)
		return false;
	if (logs && room_early(p.room, e->bound.slack, p.snapshot, wal_bytes_since_mark(e->wal)) &&
	    may_try(e, &p) && room_helps(p.freed, p.snapshot)) {
		atomic_fetch_add(&e->bound.early, 1);
		return true;
	}
	wal_run(e->wal, done_job, &p);
	return false;
}

void bound_near(void *arg)
{
	struct engine *e = arg;
	pthread_mutex_lock(&e->lock);
	e->room_wanted = true;
	pthread_cond_signal(&e->wake_snapshots);
	pthread_mutex_unlock(&e->lock);
}

void bound_tick(struct engine *e)
{
	const struct quota *q = files_bound(&e->files);
	if (!q)
		return;
	uint64_t snapshot = estimate(e), room = quota_room(q);
	wal_set_snapshot_bytes(e->wal, snapshot);
	if (wal_tight(e->wal) || wal_state(e->wal) != WAL_HEALTHY || atomic_load(&e->bound.shrinks) ||
	    room_early(room, e->bound.slack, snapshot, wal_bytes_since_mark(e->wal))) {
		wal_expect_snapshot(e->wal);
		bound_near(e);
	}
}

enum hearth_status bound_open(struct engine *e, uint64_t ring, struct hearth_error *ret_err)
{
	const struct engine_options *o = &e->options;
	e->bound.slack = room_slack(ring, o->item_max);
	return files_limit(&e->files, o->max_disk, ret_err);
}

void bound_move(struct engine *e, uint64_t bytes)
{
	struct quota *q = e->files.quota;
	uint64_t snapshot = estimate(e);
	/* First what makes it less is allowed: the log is not to find the directory full. shrink_job looks more closely. */
	allow(e, bytes, snapshot);
	quota_set_limit(q, bytes);
	bool beyond = !quota_leaves(q, quota_used(q), e->bound.slack);
	if (!beyond)
		quota_allow(q, 0, 0);
	wal_set_snapshot_bytes(e->wal, snapshot);
	pthread_mutex_lock(&e->lock);
	e->bound.failed = 0;
	pthread_mutex_unlock(&e->lock);
	atomic_store(&e->bound.told, false);
	atomic_store(&e->bound.told_shrink, false);
	atomic_store(&e->bound.shrinks, beyond);
	bound_near(e);
}

void bound_settle(struct engine *e)
{
	const struct quota *q = files_bound(&e->files);
	if (q && quota_used(q) > quota_limit(q))
		bound_move(e, quota_limit(q));
}

uint64_t engine_least_disk(const struct engine_options *o)
{
	return room_least(o->memory, o->item_max, o->workers);
}

uint64_t engine_enough_disk(const struct engine_options *o)
{
	return room_enough(o->memory, o->item_max, o->workers);
}
