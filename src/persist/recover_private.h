/* SPDX-License-Identifier: BSD-3-Clause */
/* recover_private: what the files of recovery share: recover.c leads, load.c reads the snapshot, replay.c the
 * log, apply.c turns records into items. Nobody else includes it. */
#ifndef PERSIST_RECOVER_PRIVATE_H
#define PERSIST_RECOVER_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <hearth/dict.h>
#include "persist/parallel.h"
#include "persist/recover.h"

/* A dictionary that values are packed with and that is nowhere. */
struct missing {
	uint32_t dict;
	uint64_t values, offset; /* of the first one, which is in this file */
	char file[DATADIR_NAME_SIZE];
};
#define MISSING_MAX 8u

struct recovery {
	const struct recover_options *options;
	struct recover_result *result;
	struct hearth_error *err;
	unsigned threads;
	struct store_thread *thread[PARALLEL_MAX];
	_Atomic uint64_t items_applied, dropped;
	uint64_t all_bytes;
	_Atomic uint64_t done_bytes;
	uint64_t s0, snapshot_end; /* of the snapshot that was loaded */
	struct life life;          /* Hearth times seen */
	uint64_t high_water;
	bool other_boot;            /* the log was last written under another boot of the kernel */
	pthread_mutex_t dicts_lock; /* taken to add one, and for what is missing; a leaf */
	struct missing missing[MISSING_MAX];
	unsigned n_missing;
};

void recover_progress(struct recovery *rec);
/* One more damaged place: counted, noted, its file to be set aside. */
void recover_damage(struct recovery *rec, const char *file, uint64_t offset, const char *what);
/* Adds a sentence to the note. */
void recover_note(struct recovery *rec, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void recover_set_aside(struct recovery *rec, const char *file);
void recover_forget(struct recovery *rec, uint64_t segment);

/* Applies one record by a loading thread: false when it could not be applied and its key was dropped instead.
 */
bool apply_record(const struct recovery *rec, struct store_thread *t, const struct store_key *key,
    const struct record *r, bool from_snapshot);
/* A dictionary was read. Any thread. HEARTH_OK; HEARTH_DAMAGED: it is none; HEARTH_NOMEM. */
enum hearth_status dicts_take(struct recovery *rec, const struct record *r);
/* A value that was read may be packed with one that is not there: then this is told in the end. Any thread. */
void dicts_need(struct recovery *rec, const struct record *r, const char *file, uint64_t offset);
/* Behind the last record, alone: tells what is missing, and drops what nothing uses. */
void dicts_settle(struct recovery *rec);

/* Under a cap every item gets the field that the cap will be written to. */
static inline void recover_cap(const struct recovery *rec, struct record *r)
{
	if (rec->options->ttl_cap && r->type == RECORD_SET && r->expiry == 0)
		r->expiry = INT64_MAX;
}

enum hearth_status load_snapshot(struct recovery *rec);
enum hearth_status replay_log(struct recovery *rec);

#endif
