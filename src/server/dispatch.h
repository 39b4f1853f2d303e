/* SPDX-License-Identifier: BSD-3-Clause */
/* dispatch: commands meet the engine. With the files of session.h the only one that sees both: parses what a
 * connection has buffered, executes it, appends the answers to its output. Belongs to the thread of the
 * worker. */
#ifndef SERVER_DISPATCH_H
#define SERVER_DISPATCH_H

#include "server/conn.h"

struct batch; /* working memory of a worker */
struct batch *dispatch_new_batch(void);
void dispatch_free_batch(struct batch *b);

/* A connection's state of protocol. NULL when memory is short. */
struct session *dispatch_open(void);
void dispatch_close(struct conn *c);
/* Executes what is buffered, at most the connection's share of a round, and sets c->need. */
enum conn_verdict dispatch_run(struct conn *c);
/* The protocol level that clients are told, "1.6.45". */
const char *dispatch_protocol(void);

#endif
