/* SPDX-License-Identifier: BSD-3-Clause */
/* reload: options of a daemon that runs: read again on SIGHUP, or changed one at a time by `hearth set`. What cannot be
 * changed while it runs is named and left as it is. The main thread's. */
#ifndef RELOAD_H
#define RELOAD_H

#include "config.h"
#include "process.h"

struct engine;

struct reload {
	struct config *config; /* what is in force; changed along */
	struct process *process;
	struct server *server;
	struct engine *engine; /* NULL = not yet there */
	int argc;
	char **argv; /* what the daemon was started with: it counts again */
};

/* Has the server call back on SIGHUP and for `set`. r must live as long as the server. */
void reload_hook(struct reload *r);

#endif
