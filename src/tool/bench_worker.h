/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_worker: a thread of the load with its share of the connections, which it serves from one epoll set.
 */
#ifndef TOOL_BENCH_WORKER_H
#define TOOL_BENCH_WORKER_H

#include <pthread.h>
#include <stdatomic.h>
#include "tool/bench_conn.h"
#include "tool/client.h"

struct bench_worker {
	struct bench_shared shared;
	unsigned index;
	struct bench_conn **conns;
	unsigned n_conns;
	struct bench_conn **idle; /* with a rate: those that wait for requests to be due */
	unsigned n_idle;
	int epoll;
	pthread_t thread;
	atomic_uint_fast64_t done, gets, hits; /* answered, for whoever shows progress */
	atomic_bool ended;
};

/* Connects n times. A phase ends when `stop` can be read: bench_stop.h. False after a message. */
bool bench_worker_open(
    struct bench_worker *w, unsigned index, const struct client_address *address, unsigned n, int stop);
void bench_worker_close(struct bench_worker *w);
/* Runs one phase on a thread of its own; results add up in shared.result. False after a message. */
bool bench_worker_start(struct bench_worker *w, unsigned batch, uint64_t deadline);
/* Waits for the end of it; false when that has not come by then (bench_conn_now(), UINT64_MAX = never). */
bool bench_worker_join(struct bench_worker *w, uint64_t until);

#endif
