/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_conn: one connection of the load. It sends a batch of requests, reads their answers in order, checks
 * that each is of the kind that its request can have, then sends the next batch. What a miss or a hit asks to be
 * set (--miss-set, --overwrite) goes first in the next batch. Belongs to one thread; nothing is allocated once it is open. */
#ifndef TOOL_BENCH_CONN_H
#define TOOL_BENCH_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "tool/bench_hist.h"
#include "tool/bench_load.h"

/* What a thread has counted. */
struct bench_result {
	uint64_t gets, hits, sets;
	uint64_t errors; /* answers that say that a request failed */
	uint64_t wrong;  /* values that are not what was stored */
	uint64_t lost;   /* connections that ended, or answered what no request asked for */
	uint64_t bytes_in, bytes_out;
	char first_error[160]; /* the first of either, for the message */
	struct bench_hist get_ns, set_ns;
};

/* What the connections of a thread share. */
struct bench_shared {
	struct bench_load *load;
	struct bench_source source;
	unsigned batch; /* --pipeline */
	bool miss_set;
	uint64_t deadline; /* no batch begins later; bench_conn_now() */
	struct bench_result result;
};

enum bench_state {
	BENCH_IDLE,  /* no request is left for it, or none is due */
	BENCH_READ,  /* waits for answers */
	BENCH_WRITE, /* the socket takes no more: waits for room, too */
	BENCH_LOST
};

struct bench_conn;

/* Takes over a connected socket. NULL when memory is short. */
struct bench_conn *bench_conn_open(int fd, struct bench_shared *shared);
void bench_conn_close(struct bench_conn **conn);
int bench_conn_fd(const struct bench_conn *conn);
/* A new phase may bring larger batches. */
bool bench_conn_room(struct bench_conn *conn, unsigned batch);

/* As the last call left it. */
enum bench_state bench_conn_state(const struct bench_conn *conn);
/* Begins a batch of a phase; the connection is idle. */
enum bench_state bench_conn_start(struct bench_conn *conn);
/* The socket can be read or written. */
enum bench_state bench_conn_turn(struct bench_conn *conn);

/* Keeps what went wrong, if nothing did before. */
void bench_conn_remember(struct bench_result *r, const char *what, const char *text, size_t len);

/* Monotonic nanoseconds. */
uint64_t bench_conn_now(void);

#endif
