/* SPDX-License-Identifier: BSD-3-Clause */
/* inherited: listening sockets that a parent hands over, so that clients find somebody at the other end of their connection
 * also while the daemon is being restarted. The environment says how many there are: LISTEN_FDS from descriptor 3 on, for
 * the process LISTEN_PID, as sd_listen_fds(3) of systemd describes it. The main thread's. */
#ifndef SERVER_INHERITED_H
#define SERVER_INHERITED_H

#include <stdbool.h>

/* Around a fork, before inherited_count: whether they are for this process, and that they are for this one now. */
bool inherited_are_own(void);
void inherited_adopt(void);
/* How many there are: 0 = none, -1 = the environment makes no sense, which was told. The environment is cleared: what this
 * process starts does not have them. */
int inherited_count(unsigned max);
/* Makes the i-th ready: not blocking, closed on exec. -1: it is no stream socket, or does not listen, which was told. */
int inherited_take(unsigned i, bool *ret_unix);

#endif
