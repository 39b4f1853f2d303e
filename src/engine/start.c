/* SPDX-License-Identifier: BSD-3-Clause */
/* start: a start that does not take over the data as it lies there says so on disk before the port opens. Otherwise the
 * start after the next kill would find the old data again: ghosts. Called by engine_recover, with the log open and the
 * background threads running. */
#include "engine/private.h"

#include <errno.h>

#define TELL_MS 250 /* so often the caller hears that the start goes on */

struct waiter {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool done;
	enum hearth_status status;
};

static void snapshot_done(
    void *arg, enum hearth_status status, uint64_t number, uint64_t items, uint64_t bytes)
{
	struct waiter *w = arg;
	(void)number;
	(void)items;
	(void)bytes;
	pthread_mutex_lock(&w->lock);
	w->status = status;
	w->done = true;
	pthread_cond_signal(&w->wake);
	pthread_mutex_unlock(&w->lock);
}

/* Expiries or marks in memory are others than those on disk: a snapshot has them, and no older one is used again. */
static enum hearth_status snapshot_first(struct engine *e)
{
	struct waiter w = {.lock = PTHREAD_MUTEX_INITIALIZER};
	clock_init_cond(&w.wake);
	enum hearth_status status = engine_snapshot(e, snapshot_done, &w);
	if (status != HEARTH_OK && status != HEARTH_BUSY)
		goto out;
	pthread_mutex_lock(&w.lock);
	while (!w.done) {
		struct timespec until = clock_deadline(TELL_MS);
		if (pthread_cond_timedwait(&w.wake, &w.lock, &until) != ETIMEDOUT)
			continue;
		pthread_mutex_unlock(&w.lock);
		if (e->options.settling)
			e->options.settling(e->options.loading_arg);
		pthread_mutex_lock(&w.lock);
	}
	pthread_mutex_unlock(&w.lock);
	status = w.status;
out:
	pthread_cond_destroy(&w.wake);
	return status;
}

/* A flush kills what the files hold; one that was pending is pending still. */
static enum hearth_status flush_first(struct engine *e)
{
	struct engine_worker *w = engine_own(e);
	int64_t due = atomic_load(&e->flush_due);
	pthread_mutex_lock(&e->own_lock);
	engine_turn(w);
	enum store_result result = engine_flush(w, 0);
	if (result == STORE_OK && due)
		result = engine_flush(w, due);
	uint64_t seq = engine_need(w);
	engine_turn_end(w);
	pthread_mutex_unlock(&e->own_lock);
	return result == STORE_OK ? wal_sync(e->wal, seq) : HEARTH_IO;
}

enum hearth_status start_settle(struct engine *e, struct hearth_error *ret_err)
{
	const struct recover_result *r = e->recovered;
	if (r->empty && flush_first(e) != HEARTH_OK)
		return hearth_fail(
		    ret_err, HEARTH_IO, "log", 0, "that it begins empty could not be written to the log");
	if (r->changed && !r->empty && snapshot_first(e) != HEARTH_OK)
		return hearth_fail(ret_err, HEARTH_IO, "snapshot", 0,
		    "the changed expiry times and marks could not be written");
	return HEARTH_OK;
}
