/* SPDX-License-Identifier: BSD-3-Clause */
/* sample: which keys are asked for most, from one in SAMPLE_EVERY keys, drawn at random. Off unless somebody asks
 * (`stats hotkeys`), and off again after so many seconds. Off it costs a look at worker.sampling, NULL, for each request.
 *
 * Threads: a sampler is its worker's, which adds to it under its lock, for a sample alone; any thread switches and prints. */
#ifndef SERVER_SAMPLE_H
#define SERVER_SAMPLE_H

#include <stdbool.h>
#include <stdint.h>
#include "base/buf.h"
#include "server/worker.h"
#include "store/types.h"

#define SAMPLE_EVERY       64u
#define SAMPLE_SECONDS_MAX 3600

struct sampler;
struct server;

/* NULL: nobody asks. */
static inline struct sampler *sample_on(const struct worker *w)
{
	return __atomic_load_n(&w->sampling, __ATOMIC_ACQUIRE);
}

/* ---- the worker's ---- */
/* The keys of a request. */
void sample_keys(struct sampler *s, const struct store_key *keys, unsigned n);

/* ---- any thread's ---- */
/* For so many seconds from now; 0: no more. False: no memory. */
bool sample_switch(struct server *s, unsigned seconds);
/* Off, when its time has come. */
void sample_tick(struct server *s);
/* Lines for `stats hotkeys`, without END. False: no memory. */
bool sample_print(struct server *s, struct buf *out);
/* No worker runs any more. */
void sample_free(struct worker *w);

#endif
