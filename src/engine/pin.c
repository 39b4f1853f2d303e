/* SPDX-License-Identifier: BSD-3-Clause */
/* pin: keeps a snapshot, with the log behind it, whatever --keep and --keep-days say. The snapshot thread asks the sync
 * thread, which owns the manifest; whoever wants it waits for neither. */
#include "engine/private.h"

#include <stdlib.h>

static enum hearth_status run_pin(void *arg, struct files *files)
{
	const struct snapshot_request *r = arg;
	return files_pin(files, r->number, r->pin, NULL);
}

void pin_requests(struct engine *e, struct snapshot_request *r, bool stopping)
{
	while (r) {
		struct snapshot_request *next = r->next;
		r->done(r->arg, stopping ? HEARTH_BUSY : wal_run(e->wal, run_pin, r), r->number, 0, 0);
		free(r);
		r = next;
	}
}

enum hearth_status engine_pin(struct engine *e, uint64_t number, bool pin,
    void (*done)(void *arg, enum hearth_status status, uint64_t number, uint64_t items, uint64_t bytes),
    void *arg)
{
	CHECK_MAGIC(e, ENGINE_MAGIC);
	if (!e->wal)
		return HEARTH_END;
	struct snapshot_request *r = calloc(1, sizeof(*r));
	if (!r)
		return HEARTH_NOMEM;
	*r = (struct snapshot_request){.done = done, .arg = arg, .number = number, .pin = pin};
	pthread_mutex_lock(&e->lock);
	r->next = e->pins;
	e->pins = r;
	pthread_cond_signal(&e->wake_snapshots);
	pthread_mutex_unlock(&e->lock);
	return HEARTH_OK;
}
