/* SPDX-License-Identifier: BSD-3-Clause */
/* admin: the socket in the data directory through which `hearth` talks to a running daemon. Lines in, lines
 * out, on the main thread: stats, snapshot, rotate, pin, set, version. Whoever may enter the directory (0700) may use it. */
#ifndef SERVER_ADMIN_H
#define SERVER_ADMIN_H

#include "server/server.h"

struct admin;

/* The lock on the directory is held, so a socket that lies there is nobody's any more. */
enum server_status admin_open(struct admin **ret_admin, struct server *s, int dirfd, const char *path);
void admin_close(struct admin **admin);

#endif
