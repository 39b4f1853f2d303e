/* SPDX-License-Identifier: BSD-3-Clause */
/* listener: the sockets on which clients arrive. Bound at once, so that a bad port fails before anything
 * else; they listen when the data is loaded. Arrivals are handed to the workers in turn. The main thread's.
 */
#ifndef SERVER_LISTENER_H
#define SERVER_LISTENER_H

#include <sys/types.h>
#include "server/server.h"

struct listener;

/* Binds what the server's options name; the port is left in *ret_port. Failures are told. */
enum server_status listener_bind(struct listener **ret_l, struct server *s, int *ret_port);
enum server_status listener_listen(struct listener *l);
/* As many may wait as the server's options say now, if it listens. */
void listener_set_backlog(struct listener *l);
void listener_chown(struct listener *l, uid_t uid, gid_t gid);
/* The sockets, for stats conns: constant while the server serves, any thread. */
#define LISTENER_MAX 64
unsigned listener_fds(const struct listener *l, int *fds, unsigned max);
/* Takes nobody any more. */
void listener_stop(struct listener *l);
void listener_close(struct listener **l);

#endif
