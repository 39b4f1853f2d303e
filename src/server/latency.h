/* SPDX-License-Identifier: BSD-3-Clause */
/* latency: how long requests take inside of the daemon, always on, from one turn of a connection in LATENCY_EVERY.
 *
 * What is measured: from when a read has brought a request's last bytes until the call that gives its answer to the kernel has
 * come back. So parsing, the store, the wait for room in the log and for the log itself are in it, and, of a pipeline that is
 * longer than -R allows, the turns of others; all requests that were read and are answered together are one measure, for each
 * kind that is among them.
 * What is not: the network; what waits before the read, in the kernel, be it that the worker is busy with others: where workers
 * have too much to do clients wait for longer than this tells; the time in which a request arrives in pieces; how long a client
 * takes to read what the kernel's buffer has no room for. Requests without an answer (noreply) are not timed, nor are those that
 * do nothing to items.
 *
 * Which turns: the first of each worker, then such at distances of 1 to 127, equally often, in an order that is fixed but keeps no
 * time with any load. A turn that is not timed costs a decrement and looks at conn.began; one that is, two looks at the clock and
 * at the counters.
 *
 * Threads: the worker's part is its thread's; any thread reads. What was there a while ago is under a lock that workers take
 * only when a client asks for it. */
#ifndef SERVER_LATENCY_H
#define SERVER_LATENCY_H

#include <stdbool.h>
#include <stdint.h>
#include "server/histogram.h"
#include "server/worker.h"

#define LATENCY_EVERY     64u /* on average */
#define LATENCY_WINDOW_US INT64_C(30000000)

/* get, gets and mg; and all that changes an item, be it its expiry alone (touch, gat) or that it is there (delete). */
enum latency_kind { LATENCY_GET, LATENCY_SET, LATENCY_KINDS };

struct latency; /* the server's */
struct latency_times {
	struct histogram kind[LATENCY_KINDS];
};

/* ---- the worker's ---- */
/* False: no memory. */
bool latency_open_worker(struct worker *w);
void latency_close_worker(struct worker *w);
/* A read has brought input: counts the turn, and says whether it is to be timed. Then latency_begin. */
static inline bool latency_due(struct worker *w)
{
	w->turns++;
	return __builtin_expect(--w->turns_left == 0, 0);
}
__attribute__((cold, noinline)) void latency_begin(struct conn *c);
/* Of a turn that is timed (conn.began): around the execution of its requests, what the worker has counted tells of which kinds
 * they were. */
void latency_before(const struct worker *w, uint64_t ret_counted[LATENCY_KINDS]);
void latency_ran(struct conn *c, const uint64_t counted[LATENCY_KINDS]);
/* Answers were given to the kernel; all: it has taken them all. */
__attribute__((cold, noinline)) void latency_answered(struct conn *c, bool all);

/* ---- the server's, any thread ---- */
/* NULL: no memory. */
struct latency *latency_open(int64_t now_us);
void latency_close(struct latency **latency);
/* Once a second; now: clock_mono_us. */
void latency_tick(struct server *s, int64_t now_us);
/* What is recent begins now. */
void latency_reset(struct server *s, int64_t now_us);
/* Of all workers since the start. */
void latency_collect(const struct server *s, struct latency_times *ret);
/* Of the last half minute to minute, or since the start or a reset that is less ago; *ret_seconds: how long that is. */
void latency_recent(struct server *s, int64_t now_us, struct latency_times *ret, double *ret_seconds);

#endif
