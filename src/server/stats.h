/* SPDX-License-Identifier: BSD-3-Clause */
/* stats: what `stats` shows, as lines of three words: memcached's names for clients, Hearth's own under
 * persist. Any thread; figures of workers are read while they run and may be a moment apart. */
#ifndef SERVER_STATS_H
#define SERVER_STATS_H

#include <stdbool.h>
#include "base/buf.h"
#include "server/counters.h"

struct conn;
struct engine_stats;
struct server;

enum stats_part {
	STATS_GENERAL,
	STATS_SETTINGS,
	STATS_ITEMS,
	STATS_SLABS,
	STATS_SIZES,
	STATS_CONNS,
	STATS_PERSIST,
	STATS_COMPRESS,
	STATS_LATENCY,
};

/* The figures behind it: of the workers since the last `stats reset`, and the engine's. Not while data is loaded. */
void stats_collect(struct server *s, uint64_t ret_counters[COUNTERS], struct engine_stats *ret_engine);
/* "" is the general part. */
bool stats_find(const char *word, enum stats_part *ret_part);
/* Appends the lines, without END. asker: the connection that is answered; NULL for one of no worker. False when memory is
 * short. */
bool stats_print(struct server *s, enum stats_part part, const struct conn *asker, struct buf *out);
void stats_reset(struct server *s);
void stats_set_verbosity(struct server *s, int verbosity);

#endif
