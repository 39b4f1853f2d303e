/* SPDX-License-Identifier: BSD-3-Clause */
/* compress: --compress: values are packed before they are stored, with a dictionary that was trained on values of about the
 * same length, set before. Inside of the engine only.
 *
 * Lengths fall into classes, one for each power of two from 64 bytes to 64 KiB. The workers put copies of what is set into
 * a class's samples while it wants some; a niced thread trains a dictionary when they are enough, tries it on a part that
 * it was not trained on, and publishes it if that is worth it: into the engine's set first, from where the log thread takes
 * it into the log, then to the workers. It trains anew when what is set now packs notably worse than what came first.
 * Dictionaries are never freed while the engine is open. */
#ifndef ENGINE_COMPRESS_H
#define ENGINE_COMPRESS_H

#include <stdatomic.h>
#include <hearth/dict.h>
#include "store/types.h"

#define COMPRESS_CLASSES 11u

struct engine;
struct compress;

/* What a worker packed of a class: written by it alone, read by any thread. */
struct compress_counts {
	_Atomic uint64_t seen, kept;  /* bytes of what was set, and of what was stored for it */
	_Atomic uint64_t values;      /* that were packed */
	_Atomic uint64_t raw, packed; /* their bytes */
	_Atomic uint64_t refused;     /* that did not get smaller by enough */
	unsigned pause, pauses;       /* values that are not tried next; how many the next time */
};

/* A worker's, when values may be packed: with the option, or because some of those that a start found are. */
struct compress_worker {
	struct dict_context *context;
	uint8_t *value; /* PACKED_RAW_MAX bytes, for one that is unpacked to be changed */
	unsigned turn;
	_Atomic uint64_t unpacked, errors;
	struct compress_counts counts[COMPRESS_CLASSES];
};

/* One thread writes a counter, any may read it. */
static inline void compress_count(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_store_explicit(
	    counter, atomic_load_explicit(counter, memory_order_relaxed) + n, memory_order_relaxed);
}

/* NULL: no memory. packs: values will be packed. */
struct compress_worker *compress_worker_new(bool packs);
void compress_worker_free(struct compress_worker **cw);

/* Goes on with the dictionaries of the set. NULL with errno: no memory, or no thread. */
struct compress *compress_start(struct engine *e);
/* No worker packs any more. */
void compress_stop(struct compress **c);
/* Packs the value of a put, if that is worth it: it then refers to the worker's memory, until the next one. */
void compress_put(struct compress *c, struct compress_worker *cw, struct store_put *put);
uint64_t compress_trainings(const struct compress *c);
/* Tests only: values of all lengths are packed with this one, of the engine's set. False: no memory. */
bool compress_use(struct compress *c, const struct dict *dict);

#endif
