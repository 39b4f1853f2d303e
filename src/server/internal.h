/* SPDX-License-Identifier: BSD-3-Clause */
/* internal: what the files of the server share about the server itself; nobody outside this folder includes
 * it. The options and pointers are set before the workers start and constant from then on. */
#ifndef SERVER_INTERNAL_H
#define SERVER_INTERNAL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <event2/event.h>
#include "server/conn.h"
#include "server/server.h"
#include "server/watch.h"
#include "server/worker.h"

struct admin;
struct alive;
struct cluster;
struct detail;
struct http;
struct latency;
struct listener;

#define SERVER_MAGIC 0x53525652u

/* What a start says of itself between loading and serving. */
#define SERVER_SETTLING "loaded; writing the changed expiry times and marks"

/* An option that server_tune may change, read by any thread. */
#define SERVER_OPTION(s, field) __atomic_load_n(&(s)->options.field, __ATOMIC_RELAXED)

struct server {
	uint32_t magic;
	struct server_options options;
	struct engine *engine;
	struct event_base *base; /* the main thread's */
	struct listener *listener;
	struct admin *admin;
	struct http *http; /* NULL without --http */
	int dirfd;         /* of the data directory, for that; -1 = none */
	struct watch *watch;
	struct detail *detail;
	struct latency *latency;
	struct cluster *cluster;
	bool detail_on; /* atomic */
	bool observed;  /* atomic: somebody is told what requests do to keys; written under the lock */
	struct event *signals[5];
	struct server_hooks hooks;
	struct event *tick;
	struct alive *alive; /* NULL when no service manager watches */
	struct worker *workers;
	unsigned n_workers;
	int port;
	int64_t start_us;
	pthread_mutex_t lock; /* guards conns */
	struct conn_queue conns;
	int verbosity; /* atomic from here on */
	unsigned curr_conns;
	uint64_t total_conns, rejected_conns;
	uint64_t listen_disabled, listen_disabled_us;
	bool accepting;
	bool loading;  /* atomic: cleared with release when the engine may be asked by any thread */
	bool settling; /* atomic: all is loaded, and what the start has decided is being written */
	int64_t load_start_us;
	uint64_t load_done, load_all, load_items;
	int64_t load_told_us, load_notified_us; /* the main thread's */
	uint64_t reset_counters[COUNTERS];      /* atomic: what was counted before `stats reset` */
	bool stop_asked;                        /* atomic */
	int64_t sample_until_us;                /* 0 = nobody asks for samples; under the lock */
};

static inline bool detail_is_on(const struct server *s)
{
	return __atomic_load_n(&s->detail_on, __ATOMIC_RELAXED);
}

/* The list that stats conns walks. */
void server_add_conn(struct server *s, struct conn *c);
void server_remove_conn(struct server *s, struct conn *c);
void server_count_close(struct server *s);
/* Up to n connections of the worker that are idle since before that time; called by its thread. Returns how many. */
unsigned server_idle_conns(
    struct server *s, const struct worker *w, int64_t time, struct conn **ret_conns, unsigned n);
/* Takes the worker's connections off its event base; called by its thread when it ends. */
void server_silence_conns(struct server *s, struct worker *w);
/* Closes them all, when no worker runs any more. */
void server_close_conns(struct server *s);

#endif
