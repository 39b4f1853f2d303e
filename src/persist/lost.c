/* SPDX-License-Identifier: BSD-3-Clause */
/* lost: what lost numbers cost. Key blocks behind a hole name the key of each number in it (hearth/keyblock.h). When they
 * name all of them, and none was a flush, these keys go and no others: each may have been changed in the hole, so what is
 * older must not be shown, while what was set behind the hole holds. Else all that is older goes (hole_reset).
 *
 * The keys are dropped once, after the last record, whatever the number of holes: an item that was in the store at the hole
 * and was not set, deleted or flushed since is still there with its old number, which is below the hole's end; a touch
 * keeps the number. Items of the snapshot with numbers behind the hole are newer than all that is lost. */
#include "persist/replay.h"

#include <string.h>

struct drop {
	struct replay *rp;
	_Atomic uint64_t dropped;
};

/* True: there is no need to search on. */
static bool search_segment(struct replay *rp, size_t i, uint64_t offset)
{
	const struct replay_head *head = &rp->heads[i], *next = replay_successor(rp, i);
	struct files *files = rp->rec->options->files;
	const struct vfs *vfs = datadir_vfs(files->dir);
	struct segment_reader *reader;
	enum hearth_status status;
	if (!head->present || head->other || head->size <= SEGMENT_HEADER_SIZE)
		return false;
	if (head->status == HEARTH_OK) {
		status = segment_open(
		    &reader, vfs, datadir_fd(files->dir), head->name, files->manifest.lineage, NULL);
	} else {
		struct segment_header assumed = {0};
		memcpy(assumed.salt, head->entry->salt, sizeof(assumed.salt));
		status =
		    segment_open_headless(&reader, vfs, datadir_fd(files->dir), head->name, &assumed, NULL);
	}
	if (status != HEARTH_OK)
		return false;
	segment_seek(reader, offset);
	bool done = keyset_search(rp->lost, reader, next ? next->h.prev_end : UINT64_MAX);
	segment_close(&reader);
	return done;
}

void lost_numbers(struct replay *rp, uint64_t end, size_t i, uint64_t offset)
{
	struct recovery *rec = rp->rec;
	/* The snapshot holds what came of those up to its start. */
	uint64_t from = rp->expected > rec->s0 ? rp->expected : rec->s0 + 1;
	if (end <= from)
		return;
	keyset_begin(rp->lost, from, end);
	for (bool done = false; !done && i < rp->n; i++, offset = SEGMENT_HEADER_SIZE)
		done = search_segment(rp, i, offset);
	if (keyset_end(rp->lost) == KEYSET_FOUND)
		recover_note(rec, "changes %llu to %llu are lost, their keys are known;",
		    (unsigned long long)from, (unsigned long long)end - 1);
	else
		hole_reset(rp, end);
}

static uint64_t below(void *arg, const void *key, size_t len)
{
	return keyset_below(arg, key, len);
}

static void drop_part(void *arg, unsigned i)
{
	struct drop *d = arg;
	struct recovery *rec = d->rp->rec;
	uint64_t n = store_load_drop(rec->thread[i], i, rec->threads, below, d->rp->lost);
	atomic_fetch_add(&d->dropped, n);
}

void lost_drop(struct replay *rp)
{
	struct recovery *rec = rp->rec;
	struct drop d = {.rp = rp};
	if (keyset_size(rp->lost) == 0)
		return;
	keyset_seal(rp->lost);
	parallel_run(rec->threads, drop_part, &d);
	uint64_t dropped = atomic_load(&d.dropped);
	atomic_fetch_add(&rec->dropped, dropped);
	recover_note(rec, "%llu items that they may have changed were dropped;", (unsigned long long)dropped);
}
