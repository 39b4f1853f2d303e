/* SPDX-License-Identifier: BSD-3-Clause */
/* process: what makes a program a daemon: background, user, limits, pid file. The main thread's, before any
 * other thread runs. Failures are told in one line. */
#ifndef PROCESS_H
#define PROCESS_H

#include <stdbool.h>
#include "config.h"
#include "server/server.h"

struct process {
	int ready_fd; /* to the parent that waits in the foreground; -1 = none */
	bool become;  /* another user is to be taken on */
	unsigned uid, gid;
	char pid_file[4096]; /* written by us; empty = none */
	char log_file[4096]; /* absolute; empty = none */
	int told_fd;         /* where messages went before the log file; -1 = nowhere else */
};

/* Looks the user up and sets the limits. 0 or an exit code. */
int process_init(struct process *p, const struct config *c);
/* --log-file: messages go there from here on. 0 or an exit code. */
int process_open_log(struct process *p, const struct config *c);
/* After its file was moved away; a failure is told, where messages went before. */
void process_reopen_log(struct process *p);
/* --log-file names another one. False: ret_why says why, of CONFIG_WHY_MAX bytes, and messages go where they went. */
bool process_move_log(struct process *p, const struct config *c, char *ret_why);
/* -d: returns in the child; the parent waits and leaves with the child's code. 0 or an exit code. */
int process_background(struct process *p, const struct config *c);
/* Gives the data directory, when it is new, and a UNIX socket to the user, and becomes that user. 0 or an
 * exit code. */
int process_become_user(struct process *p, const struct config *c, struct server *s, int dirfd, bool fresh);
/* The start succeeded: pid file, port file, and the parent may go. */
void process_ready(struct process *p, const struct config *c, int port);
/* Told to stop before it serves: who waits for the start of -d is told that there is none. Returns the exit code. */
int process_abandoned(struct process *p);
/* At the end; code goes to a parent that still waits. */
void process_end(struct process *p, int code);

#endif
