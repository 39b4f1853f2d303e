/* SPDX-License-Identifier: BSD-3-Clause */
/* rotate: seals what the log has, for a backup: a new segment begins, everything before it is durable and its files
 * are written to no more. That may sleep as long as the disk takes, so it has a thread, one at a time. */
#include "engine/private.h"

#include <stdlib.h>

/* What is known of the segment that is being written. */
struct begun {
	uint64_t number, first;
};

/* On the sync thread, which owns the manifest: it is written, so that who reads it now finds the segment. */
static enum hearth_status look(void *arg, struct files *files)
{
	struct begun *b = arg;
	const struct manifest *m = &files->manifest;
	b->number = files->begun;
	b->first = 0;
	for (size_t i = 0; i < m->n_segments; i++)
		if (m->segments[i].number == files->begun)
			b->first = m->segments[i].first;
	return files_write(files, NULL);
}

static enum hearth_status rotate(struct engine *e, struct begun *ret_now)
{
	struct begun before;
	enum hearth_status status = wal_run(e->wal, look, &before);
	if (status != HEARTH_OK)
		return status;
	wal_rotate(e->wal);
	status = wal_run(e->wal, look, ret_now);
	if (status == HEARTH_OK && (ret_now->number <= before.number || ret_now->first == 0))
		return HEARTH_IO;
	return status == HEARTH_OK && ret_now->first > 1 ? wal_sync(e->wal, ret_now->first - 1) : status;
}

static void *rotate_main(void *arg)
{
	struct engine *e = arg;
	struct begun now = {.first = 1};
	enum hearth_status status = rotate(e, &now);
	/* Who asks for the next one waits for this thread first. */
	atomic_store(&e->rotating, false);
	e->rotation_done(e->rotation_arg, status, now.number, now.first - 1);
	return NULL;
}

void rotate_wait(struct engine *e)
{
	if (e->rotator_started)
		pthread_join(e->rotator, NULL);
	e->rotator_started = false;
}

enum hearth_status engine_rotate(struct engine *e,
    void (*done)(void *arg, enum hearth_status status, uint64_t segment, uint64_t last), void *arg)
{
	CHECK_MAGIC(e, ENGINE_MAGIC);
	if (!e->wal)
		return HEARTH_END;
	if (atomic_load(&e->rotating))
		return HEARTH_BUSY;
	rotate_wait(e);
	e->rotation_done = done;
	e->rotation_arg = arg;
	atomic_store(&e->rotating, true);
	e->rotator_started = pthread_create(&e->rotator, NULL, rotate_main, e) == 0;
	if (e->rotator_started)
		return HEARTH_OK;
	atomic_store(&e->rotating, false);
	return HEARTH_NOMEM;
}
