/* SPDX-License-Identifier: BSD-3-Clause */
/* watch: the connections that asked to `watch`, and the lines they are told. What a watcher does not read in time is left
 * out and counted, so that it holds nobody up; when nobody watches, a request pays for one look at a flag.
 *
 * Threads: any. Its lock is the innermost of all: events may be told with a shard locked. */
#ifndef SERVER_WATCH_H
#define SERVER_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "server/conn.h"

struct watch;
struct worker;
struct engine;
struct store_key_view;

#define WATCH_MAX   20  /* watchers */
#define WATCH_ROOM  256 /* KiB that may wait for each, unless -o watcher_logbuf_size says otherwise */
#define WATCH_KINDS 7

enum watch_kind {
	WATCH_FETCHERS = 1,
	WATCH_MUTATIONS = 2,
	WATCH_EVICTIONS = 4,
	WATCH_CONNEVENTS = 8,
	WATCH_DELETIONS = 16,
	WATCH_SYSEVENTS = 32, /* slabs and crawlers, of which there are none: tells nothing */
	WATCH_RAWCMDS = 64,   /* nor does memcached */
};

struct watch_figures {
	uint64_t watchers, sent, skipped, written; /* now; lines */
};

/* room: bytes that may wait for each watcher. NULL: no memory. */
struct watch *watch_open(size_t room);
void watch_close(struct watch **watch);
/* Where evictions are asked for, and no more. Before anybody watches. */
void watch_set_engine(struct watch *w, struct engine *engine);
/* 0: there is no such kind. */
unsigned watch_kind_named(const uint8_t *text, size_t len);
/* False: there are WATCH_MAX, or no memory. */
bool watch_add(struct watch *w, struct conn *c, unsigned kinds);
void watch_remove(struct watch *w, struct conn *c);

/* Whether somebody wants one of these kinds; cheap. */
bool watch_wants(const struct watch *w, unsigned kinds);
/* One line, without time, number and line end. */
void watch_tell(struct watch *w, enum watch_kind kind, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Moves to c's output what waits for it, at most max bytes, in lines. *ret_more: there is more. False: no memory. */
bool watch_take(struct watch *w, struct conn *c, size_t max, bool *ret_more);
/* The watchers of this worker that are told something and have nothing to send; called by its thread. Returns how many. */
unsigned watch_due(struct watch *w, const struct worker *worker, struct conn *ret_conns[WATCH_MAX]);
void watch_get_figures(struct watch *w, struct watch_figures *ret);

#endif
