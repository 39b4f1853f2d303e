/* SPDX-License-Identifier: BSD-3-Clause */
/* worker: a thread with an event base and the connections that were handed to it. Each round: events,
 * connections with more to do, the end of the engine's turn, connections whose replies may leave by now.
 *
 * Threads: worker_open, worker_start, worker_join, worker_close from the main thread; worker_hand_over,
 * worker_stop and worker_progress from any; the rest belongs to the worker's own. */
#ifndef SERVER_WORKER_H
#define SERVER_WORKER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <event2/event.h>
#include "base/buf.h"
#include "server/conn.h"
#include "server/counters.h"

struct batch;
struct engine;
struct sampler;
struct engine_worker;
struct latency_worker;
struct server;

#define WORKER_MAGIC  0x574f524bu
#define WORKER_POOL   64   /* spare buffers that are kept */
#define WORKER_ANSWER 1024 /* bytes that an answer counts for -o read_buf_mem_limit, as in memcached */

struct worker_arrival {
	int fd;
	bool is_unix;
};

struct worker {
	uint32_t magic;
	unsigned index;
	struct server *server;
	struct engine *server_engine;
	struct engine_worker *engine;
	struct sampler
	    *sampling; /* atomic: NULL, or sampler, while somebody asks (sample.h); read with each request */
	struct event_base *base;
	struct event *wake_event;
	struct event *second; /* NULL without -o idle_timeout */
	struct batch *batch;  /* dispatch's working memory */
	struct conn_queue ready, parked, waiting;
	struct sampler *sampler; /* once somebody has asked */
	unsigned watchers;       /* of its connections */
	unsigned turns_left;     /* of its connections, to the one that is timed (latency.h) */
	unsigned turns;          /* of its connections in this round of the loop */
	struct latency_worker *latency;
	uint64_t counters[COUNTERS];
	uint8_t *pool[WORKER_POOL];
	unsigned pooled;
	unsigned chunks_left;  /* that its connections may take; UINT_MAX without -o read_buf_mem_limit */
	unsigned answers_most; /* in one turn of a connection; likewise */
	unsigned answers_left; /* of that turn */
	int wake_fd;
	pthread_t thread;
	bool running;
	bool listens; /* atomic: set while connections wait for progress: only then does progress cost a write
	               */
	bool stopping;        /* atomic */
	bool arrived;         /* atomic: there are arrivals */
	unsigned asked;       /* atomic: so often it was asked whether it goes round; the main thread's */
	unsigned answered;    /* atomic: what it saw of that last */
	pthread_mutex_t lock; /* guards the arrivals */
	struct worker_arrival *arrivals;
	size_t n_arrivals, size_arrivals;
};

/* 0, or -1 with errno. */
int worker_open(struct worker *w, struct server *server, struct engine *engine, unsigned index);
int worker_start(struct worker *w);
/* Gives an accepted socket to the worker, which closes it when it cannot take it. */
void worker_hand_over(struct worker *w, int fd, bool is_unix);
/* The log got on: wakes the worker if somebody there waits for it. */
void worker_progress(struct worker *w);
/* A watcher of its is told something, or an option of its has changed. */
void worker_tell(struct worker *w);
/* Asks it whether it goes round, and whether it has since. */
void worker_ask(struct worker *w);
bool worker_has_answered(const struct worker *w);
/* Asks it to end: nothing more is read, what is acknowledged leaves. */
void worker_stop(struct worker *w);
void worker_join(struct worker *w);
void worker_close(struct worker *w);

/* Buffers of CONN_CHUNK bytes; the buffer must be empty (get: have no memory). Larger ones are freed. False: no memory, or
 * none that -o read_buf_mem_limit leaves. */
bool worker_get_chunk(struct worker *w, struct buf *b);
void worker_put_chunk(struct worker *w, struct buf *b);
/* A connection closes. */
void worker_forget(struct worker *w, struct conn *c);

#endif
