/* SPDX-License-Identifier: BSD-3-Clause */
/* snap: a snapshot while writes go on: the scan of the store encodes items into chunks, this thread
 * compresses and writes them. No fork, no pause: the scan holds a shard's lock for one item at a time. Called
 * from one thread. */
#ifndef PERSIST_SNAP_H
#define PERSIST_SNAP_H

#include <stdatomic.h>
#include <hearth/status.h>
#include "persist/wal.h"
#include "store/store.h"

struct snap_options {
	struct store *store;
	struct store_thread *thread; /* the calling thread's */
	struct wal *wal;
	const struct clock *clock;
	const struct dict_set *dicts; /* what values may be packed with */
	int level;                    /* zstd's */
	uint64_t rate;                /* bytes a second that are written at most, 0 = no limit */
	_Atomic bool *cancel;
	_Atomic int64_t *flush_due; /* the pending delayed flush */
	_Atomic uint64_t *written;  /* items so far, for who asks how far it is; NULL = nobody */
};

struct snap_result {
	uint64_t number, items, bytes;
};

/* Makes and publishes one. HEARTH_OK; HEARTH_BUSY when given up or cancelled; HEARTH_IO, HEARTH_NOMEM. */
enum hearth_status snap_run(
    const struct snap_options *options, struct snap_result *ret_result, struct hearth_error *ret_err);

/* Packs the segments that only older snapshots need; after a published snapshot, on the same thread. */
void snap_pack(const struct snap_options *options);

#endif
