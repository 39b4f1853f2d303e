/* SPDX-License-Identifier: BSD-3-Clause */
/* http: --http: a page to look at, metrics, and whether the daemon lives and serves, over HTTP on a thread of its own, also
 * while data is loaded. It reads only. What a stranger can cost is bounded: connections, the time of each, what a request
 * may hold; the thread goes behind those that serve.
 *
 * Threads: all calls from the main thread. */
#ifndef SERVER_HTTP_H
#define SERVER_HTTP_H

#include "server/server.h"

struct http;

#define HTTP_CONNS 32 /* at a time; others wait in the kernel's queue */
#define HTTP_FDS   48 /* what the server may have open, so that connections of clients are not short of it */

/* Binds what --http names: ADDR:PORT, [V6]:PORT, or a port alone on the loopback addresses. USAGE, UNAVAILABLE, SYSTEM, and
 * why, of SERVER_WHY_MAX bytes; *ret_http is NULL then. */
enum server_status http_bind(struct http **ret_http, struct server *s, const char *where, char *ret_why);
/* Starts the thread. dirfd: the data directory; -1 = none; stays the caller's. Not before the server knows its engine. */
enum server_status http_start(struct http *h, int dirfd, char *ret_why);
/* Both at another place, or for the first time when *http is NULL. When that fails, the one that was there goes on. */
enum server_status http_move(
    struct http **http, struct server *s, const char *where, int dirfd, char *ret_why);
/* Ends the thread and closes everything; before the engine is closed. */
void http_close(struct http **http);

#endif
