/* SPDX-License-Identifier: BSD-3-Clause */
/* recover: files to store. The newest snapshot, its blocks on all cores; then the log behind its S0, read and
 * verified in parallel, applied in order (each key by one thread). No expiry is judged before the last
 * record; then one sweep. What is damaged, torn or foreign is left out, named, and kept for people to look
 * at; what is older than damage in the log goes, because its later history may lie in the damaged part. Reads
 * only: files are changed by recover_settle. */
#ifndef PERSIST_RECOVER_H
#define PERSIST_RECOVER_H

#include <stdbool.h>
#include <stdint.h>
#include "base/clock.h"
#include "persist/files.h"
#include "persist/life.h"
#include "persist/wal.h"
#include "store/store.h"

/* Files that recovery leaves out at most; more than that stay named in the manifest and are left out again.
 */
#define RECOVER_ASIDE_MAX 1024

struct recover_options {
	struct store *store;
	struct files *files;
	struct clock *clock;
	struct dict_set
	    *dicts; /* gets those that are found and used; NULL = whatever is packed cannot be applied */
	unsigned threads;
	bool strict;
	int64_t max_downtime; /* seconds; after a longer one nothing is loaded; 0 = off */
	int64_t ttl_cap;      /* seconds that anything has left to live at most; 0 = no cap */
	bool stale;           /* what is loaded is marked as stale */
	bool refuse_clock;    /* a clock that contradicts the data: do not start */
	void (*progress)(void *arg, uint64_t done_bytes, uint64_t all_bytes, uint64_t items);
	void *progress_arg;
};

struct recover_result {
	uint64_t snapshot; /* number loaded, 0 = none */
	uint64_t log_records;
	uint64_t expired, dropped;
	uint64_t left_out_bytes, damaged;
	char note[512];
	struct wal_start start; /* where the log goes on */
	struct life_verdict life;
	bool empty; /* everything was dropped: it had been down for too long */
	bool
	    changed; /* expiries or marks differ from those on disk: a snapshot must say so before anybody is served */
	/* For recover_settle. */
	char aside[RECOVER_ASIDE_MAX][DATADIR_NAME_SIZE];
	unsigned n_aside;
	uint64_t forget[RECOVER_ASIDE_MAX]; /* segments that are not part of the log any more */
	unsigned n_forget;
};

/* HEARTH_OK, HEARTH_DAMAGED (strict), HEARTH_NEWER, HEARTH_IO, HEARTH_NOMEM. */
enum hearth_status recover_run(
    const struct recover_options *options, struct recover_result *ret, struct hearth_error *ret_err);
/* Sets damaged files aside, forgets segments that were left out, removes unfinished temporary files. */
enum hearth_status recover_settle(
    struct files *files, struct recover_result *result, struct hearth_error *ret_err);

#endif
