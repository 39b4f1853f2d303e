/* SPDX-License-Identifier: BSD-3-Clause */
/* recover: leads recovery, and settles its consequences in the directory afterwards; see recover.h. */
#include "persist/recover_private.h"
#include "persist/unsynced.h"

#include <stdio.h>
#include <string.h>

struct sweep {
	struct recovery *rec;
	_Atomic uint64_t expired;
	int64_t latest; /* nothing expires later; 0 = no cap */
};

/* Rounded so that nothing lives longer than it had left. */
static int64_t back_seconds(const struct recover_result *r)
{
	return (r->life.back_ms + 999) / 1000;
}

static void sweep_part(void *arg, unsigned i)
{
	struct sweep *sweep = arg;
	struct recovery *rec = sweep->rec;
	const struct recover_result *r = rec->result;
	atomic_fetch_add(&sweep->expired, store_sweep(rec->thread[i], i, rec->threads));
	const struct store_retime retime = {
	    .back = back_seconds(r), .latest = sweep->latest, .stale = rec->options->stale};
	if (r->changed)
		store_load_retime(rec->thread[i], i, rec->threads, &retime);
	store_load_fit(rec->thread[i], i, rec->threads);
}

/* One judgement for all, after the last record: by the wall clock, but never before the latest time on disk; life.h has
 * the rule. */
static void sweep_expired(struct recovery *rec)
{
	const struct recover_options *o = rec->options;
	struct recover_result *r = rec->result;
	struct sweep sweep = {.rec = rec};
	clock_raise(o->clock, r->life.start_ms);
	r->changed = r->life.back_ms > 0 || o->ttl_cap > 0 || o->stale;
	if (o->ttl_cap)
		sweep.latest = clock_now(o->clock) + o->ttl_cap;
	int64_t now = r->life.back_ms > 0 ? r->life.judge_ms / 1000 : clock_now(o->clock);
	for (unsigned i = 0; i < rec->threads; i++)
		store_thread_set_now(rec->thread[i], now);
	parallel_run(rec->threads, sweep_part, &sweep);
	/* Room for what comes is made while it counts as loading: nobody's item is evicted by the start itself. */
	while (store_maintain(rec->thread[0]))
		;
	store_load_done(o->store);
	r->expired = atomic_load(&sweep.expired);
	if (r->life.back_ms > 0 && r->start.flush_due) {
		int64_t due = r->start.flush_due - back_seconds(r);
		r->start.flush_due = due > 0 ? due : 1;
	}
}

/* Down for too long: nothing of it is worth having. It is dropped here; whoever opens the log says so in it. */
static void drop_all(struct recovery *rec)
{
	struct store_stats st;
	store_get_stats(rec->options->store, &st);
	store_load_reset(rec->thread[0]);
	atomic_fetch_add(&rec->dropped, st.items);
	rec->result->empty = true;
}

/* What the times on disk mean for this start. */
static enum hearth_status judge_times(struct recovery *rec)
{
	const struct recover_options *o = rec->options;
	struct life_verdict *v = &rec->result->life;
	*v = life_judge(&rec->life, clock_boot_ms());
	if (v->odd && o->refuse_clock)
		return hearth_fail(rec->err, HEARTH_DAMAGED, NULL, 0, v->what);
	if (o->max_downtime && v->down_ms > o->max_downtime * 1000)
		drop_all(rec);
	return HEARTH_OK;
}

static bool open_threads(struct recovery *rec)
{
	unsigned n = rec->options->threads;
	rec->threads = n < 1 ? 1 : n > PARALLEL_MAX ? PARALLEL_MAX : n;
	for (unsigned i = 0; i < rec->threads; i++) {
		rec->thread[i] = store_thread_open(rec->options->store, NULL);
		if (!rec->thread[i])
			return false;
		store_thread_set_now(rec->thread[i], 0); /* nothing has expired yet */
	}
	return true;
}

/* Numbers go on behind everything that can have been given out: after a power cut or damage that is the durable
 * mark. A write that a kill cut off was never answered, so its numbers may come again. */
static enum hearth_status continue_numbers(struct recovery *rec)
{
	const struct manifest *m = &rec->options->files->manifest;
	struct wal_start *start = &rec->result->start;
	uint64_t high = m->high_water > rec->high_water ? m->high_water : rec->high_water;
	uint64_t newest = store_newest(rec->options->store);
	if (m->clean && m->last_seq > start->last_seq)
		start->last_seq = m->last_seq;
	/* A snapshot may hold items beyond what it says is its end. Whoever is shown one waits for its number. */
	if (newest > start->last_seq)
		start->last_seq = newest;
	bool lost = rec->other_boot || rec->result->damaged > 0;
	if (!rec->options->files->fresh && !m->clean && lost && high > start->last_seq)
		start->last_seq = high;
	if (start->last_seq <= RECORD_SEQ_MAX / 2)
		return HEARTH_OK;
	return hearth_fail(rec->err, HEARTH_DAMAGED, "log", 0, "its numbers are nearly used up");
}

static void count_files(struct recovery *rec)
{
	const struct manifest *m = &rec->options->files->manifest;
	if (m->n_snapshots)
		rec->all_bytes += m->snapshots[m->n_snapshots - 1].bytes;
}

/* A daemon whose disk failed has said so: what is on it has a hole, and old values could come back through it. Nothing
 * is used, nothing removed before a snapshot takes its place. */
static void begin_empty(struct recovery *rec)
{
	const struct manifest *m = &rec->options->files->manifest;
	rec->result->damaged++;
	rec->result->start.last_seq = m->high_water;
	recover_note(rec,
	    "generation %llu is marked as not to be trusted, as its disk failed: the start is empty; "
	    "hearth restore can still read its snapshots;",
	    (unsigned long long)m->generation);
	hearth_fail(rec->err, HEARTH_DAMAGED, DATADIR_MANIFEST, 0,
	    "the files are marked as not to be trusted: their disk failed");
}

enum hearth_status recover_run(
    const struct recover_options *options, struct recover_result *ret, struct hearth_error *ret_err)
{
	struct hearth_error err = {0};
	struct recovery rec = {.options = options, .result = ret, .err = &err};
	*ret = (struct recover_result){0};
	rec.life.wall_ms = clock_wall_ms();
	pthread_mutex_init(&rec.dicts_lock, NULL);
	enum hearth_status status = HEARTH_NOMEM;
	if (!open_threads(&rec)) {
		hearth_fail(&err, HEARTH_NOMEM, NULL, 0, "no memory for recovery");
		goto out;
	}
	if (options->files->repaired || options->files->rebuilt)
		recover_damage(&rec, DATADIR_MANIFEST, 0,
		    options->files->rebuilt ? "rebuilt from the files there are"
		                            : "one of its two copies was bad");
	store_load_begin(options->store);
	count_files(&rec);
	if (options->files->manifest.untrusted) {
		begin_empty(&rec);
		status = HEARTH_OK;
	} else {
		status = load_snapshot(&rec);
		if (status == HEARTH_OK)
			status = replay_log(&rec);
		if (status == HEARTH_OK)
			dicts_settle(&rec);
	}
	if (status != HEARTH_OK)
		goto out;
	status = judge_times(&rec);
	if (status != HEARTH_OK)
		goto out;
	sweep_expired(&rec);
	ret->dropped = atomic_load(&rec.dropped);
	status = continue_numbers(&rec);
	if (ret->damaged && options->strict)
		status = HEARTH_DAMAGED;
out:
	pthread_mutex_destroy(&rec.dicts_lock);
	for (unsigned i = 0; i < rec.threads; i++)
		if (rec.thread[i])
			store_thread_close(&rec.thread[i]);
	if (ret_err)
		*ret_err = err;
	return status;
}

/* Whether the file was to be set aside and could not be. */
static bool still_needed(const struct recover_result *r, const bool *kept, uint64_t segment)
{
	char name[DATADIR_NAME_SIZE];
	datadir_name(DATADIR_LOG, segment, name);
	for (unsigned i = 0; i < r->n_aside; i++)
		if (strcmp(r->aside[i], name) == 0)
			return !kept[i];
	return false;
}

enum hearth_status recover_settle(
    struct files *files, struct recover_result *result, struct hearth_error *ret_err)
{
	struct recovery rec = {.result = result};
	bool kept[RECOVER_ASIDE_MAX] = {false};
	enum hearth_status status = unsynced_write_anew(files, ret_err);
	if (status == HEARTH_OK)
		status = files_sync_segments(files, ret_err);
	if (status == HEARTH_OK)
		status = datadir_sweep_temporary(files->dir, ret_err);
	files_look_at_others(files);
	files_begin_generation(files);
	for (unsigned i = 0; i < result->n_aside && status == HEARTH_OK; i++) {
		char aside[96];
		struct hearth_error err;
		/* A file that is missing cannot be set aside; the note names it. */
		kept[i] =
		    datadir_set_aside(files->dir, result->aside[i], aside, sizeof(aside), &err) == HEARTH_OK;
		if (kept[i])
			recover_note(&rec, "%s is kept as %s;", result->aside[i], aside);
	}
	for (unsigned i = 0; i < result->n_forget && status == HEARTH_OK; i++) {
		files_forget_segment(files, result->forget[i]);
		if (still_needed(result, kept, result->forget[i]))
			continue;
		if (!manifest_add_unlink(&files->manifest, DATADIR_LOG, result->forget[i]))
			status = hearth_fail(
			    ret_err, HEARTH_NOMEM, DATADIR_MANIFEST, 0, "no memory for the manifest");
	}
	return status;
}
