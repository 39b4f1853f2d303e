/* SPDX-License-Identifier: BSD-3-Clause */
/* alive: a service manager that watches is told that the daemon is alive for as long as it is true: the main thread goes
 * round, and so has every worker since it was asked last. A disk that stands still is no reason to be silent: workers do not
 * wait for it, and another start would not find a better one. The main thread's. */
#ifndef SERVER_ALIVE_H
#define SERVER_ALIVE_H

#include <stdbool.h>

struct alive;
struct server;

/* With the workers running. *ret_alive is NULL when nobody watches. False: no memory. */
bool alive_start(struct alive **ret_alive, struct server *s);
void alive_stop(struct alive **alive);

#endif
