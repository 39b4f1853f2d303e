/* SPDX-License-Identifier: BSD-3-Clause */
/* drop_offline: see drop_offline.h. What a start of the daemon would have to decide, about damage or a clock that contradicts the
 * data, is not decided here, where its options are not known: it is refused. */
#include <inttypes.h>
#include <pthread.h>
#include <unistd.h>
#include "base/msg.h"
#include "tool/contents.h"
#include "tool/drop_offline.h"
#include "tool/offline.h"
#include "tool/progress.h"
#include "tool/report.h"
#include "tool/tool.h"
#include <hearth/record.h>

#define MEMORY_LEAST (UINT64_C(64) << 20)

struct offline {
	const char *directory;
	struct engine *engine;
	struct progress progress;
	engine_told *told;
	void *arg;
	pthread_mutex_t lock; /* guards state */
	pthread_cond_t wake;
	struct engine_dropped state;
};

static int failed(const struct offline *o, enum hearth_status status, const struct hearth_error *err)
{
	report_error(o->directory, err);
	return status == HEARTH_DAMAGED ? TOOL_DATA : report_exit(status);
}

/* ---- loading ---- */

static void on_loading(void *arg, uint64_t done_bytes, uint64_t all_bytes, uint64_t items)
{
	struct offline *o = arg;
	(void)items;
	o->progress.all = all_bytes;
	if (done_bytes > o->progress.done)
		progress_add(&o->progress, done_bytes - o->progress.done);
}

/* Room for all that this machine could hold, as nobody says how large the daemon is; only what is used is taken. Where the
 * system promises no more than it has, it may be less. */
static enum hearth_status open_engine(struct offline *o, struct datadir *dir, struct hearth_error *ret_err)
{
	uint64_t memory = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
	struct engine_options options = {.no_evict = true,
	    .memory_fixed = true,
	    .workers = 1,
	    .fsync = ENGINE_FSYNC_EVERYSEC,
	    .keep = UINT32_MAX, /* what is kept is the daemon's to say */
	    .clock_check = ENGINE_CLOCK_REFUSE,
	    .strict = true,
	    .loading = on_loading,
	    .loading_arg = o};
	enum hearth_status status;
	do {
		options.memory = memory > MEMORY_LEAST ? memory : MEMORY_LEAST;
		options.item_max =
		    options.memory / 2 < RECORD_VALUE_MAX ? options.memory / 2 : RECORD_VALUE_MAX;
		status = engine_open(&o->engine, &options, dir, ret_err);
		memory /= 2;
	} while (status == HEARTH_NOMEM && memory >= MEMORY_LEAST);
	return status;
}

static int load(struct offline *o)
{
	struct hearth_error err = {0};
	struct engine_recovery recovery;
	struct datadir *dir;
	struct manifest m;
	int exit_code = offline_open(&dir, &m, o->directory);
	if (exit_code != TOOL_OK)
		return exit_code;
	manifest_free(&m);
	enum hearth_status status = open_engine(o, dir, &err);
	if (status != HEARTH_OK) {
		datadir_close(&dir);
		return failed(o, status, &err);
	}
	progress_begin(&o->progress, "loading", 0);
	status = engine_recover(o->engine, &recovery, &err);
	progress_end(&o->progress);
	if (status != HEARTH_OK)
		return failed(o, status, &err);
	if (recovery.dropped == 0)
		return TOOL_OK;
	msg(MSG_ERROR, "%s: memory is short: %" PRIu64 " items could not be loaded; nothing is dropped",
	    o->directory, recovery.dropped);
	return TOOL_SYSTEM;
}

/* ---- dropping ---- */

/* From the drop's thread. */
static void on_told(void *arg, const struct engine_dropped *state)
{
	struct offline *o = arg;
	if (!state->ended)
		o->told(o->arg, state);
	pthread_mutex_lock(&o->lock);
	o->state = *state;
	pthread_cond_signal(&o->wake);
	pthread_mutex_unlock(&o->lock);
}

static int run(struct offline *o, const struct engine_drop_order *order)
{
	enum hearth_status status = engine_drop(o->engine, order, on_told, o);
	if (status == HEARTH_NOMEM)
		return report_no_memory();
	if (status != HEARTH_OK) {
		msg(MSG_ERROR, "%s: nothing is dropped: the disk fails or is full", o->directory);
		return TOOL_IO;
	}
	pthread_mutex_lock(&o->lock);
	while (!o->state.ended)
		pthread_cond_wait(&o->wake, &o->lock);
	pthread_mutex_unlock(&o->lock);
	return TOOL_OK;
}

/* ---- counting alone: it changes nothing, not even the directory's last sign of life ---- */

static int count(void *arg, const struct item *item)
{
	struct engine_dropped *state = arg;
	state->items++;
	state->bytes += item->key_len + item->size;
	return TOOL_OK;
}

static int count_only(
    const char *directory, const struct engine_drop_order *order, struct engine_dropped *ret_state)
{
	const struct item_wish wish = {.prefix = order->prefix, .prefix_len = order->len};
	struct contents *contents;
	*ret_state = (struct engine_dropped){.ended = true};
	int exit_code = contents_open(&contents, directory);
	if (exit_code != TOOL_OK)
		return exit_code;
	exit_code = contents_each(contents, &wish, count, ret_state);
	contents_close(&contents);
	return exit_code;
}

int drop_offline(const char *directory, const struct engine_drop_order *order, engine_told *told, void *arg,
    struct engine_dropped *ret_state)
{
	struct hearth_error err = {0};
	struct offline o = {.directory = directory,
	    .told = told,
	    .arg = arg,
	    .lock = PTHREAD_MUTEX_INITIALIZER,
	    .wake = PTHREAD_COND_INITIALIZER};
	/* What a daemon tells its log is told by the result. */
	msg_set_verbosity(-1);
	if (order->dry)
		return count_only(directory, order, ret_state);
	int exit_code = load(&o);
	if (exit_code == TOOL_OK)
		exit_code = run(&o, order);
	if (exit_code == TOOL_OK) {
		enum hearth_status status = engine_stop(o.engine, &err);
		if (status != HEARTH_OK)
			exit_code = failed(&o, status, &err);
	}
	engine_close(&o.engine);
	*ret_state = o.state;
	return exit_code;
}
