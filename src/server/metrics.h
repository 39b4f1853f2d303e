/* SPDX-License-Identifier: BSD-3-Clause */
/* metrics: what GET /metrics answers, in the text format of Prometheus, version 0.0.4: the names, types, labels and help of
 * memcached_exporter, so that its dashboards and alerts go on working, and Hearth's own. While data is loaded the engine is
 * not asked: only how far it is, and what is known of the process. The HTTP server's thread's. */
#ifndef SERVER_METRICS_H
#define SERVER_METRICS_H

#include <stdbool.h>
#include <stdint.h>

struct evbuffer;
struct metrics;
struct server;

enum metrics_phase { METRICS_LOADING, METRICS_SERVING, METRICS_STOPPING };

/* How far loading is. left: seconds that it still takes, as far as that can be told; below 0 = it cannot yet. */
struct metrics_load {
	uint64_t done_bytes, all_bytes, items;
	double ratio, seconds, left;
	bool settling; /* all is loaded; what the start has decided is being written */
};

/* dirfd: the data directory, whose file system is looked at; stays the caller's; -1 = none. NULL: no memory. */
struct metrics *metrics_open(struct server *s, int dirfd);
void metrics_close(struct metrics **metrics);
enum metrics_phase metrics_phase(const struct server *s);
void metrics_get_load(const struct server *s, struct metrics_load *ret_load);
/* The state of the log, and why when that is not "healthy"; "" without a data directory. Valid until the next call. */
const char *metrics_state(struct metrics *m, const char **ret_reason);
/* Appends all of it. False: memory was short. */
bool metrics_print(struct metrics *m, struct evbuffer *out);

#endif
