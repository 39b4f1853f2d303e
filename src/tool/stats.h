/* SPDX-License-Identifier: BSD-3-Clause */
/* stats: prints what a daemon answers with STAT lines. */
#ifndef TOOL_STATS_H
#define TOOL_STATS_H

#include <stdbool.h>

struct client;

/* Sends the command and prints the rows of its answer; an exit code, after a message. directory is for messages. */
int stats_ask(struct client *client, const char *directory, const char *command, bool as_json);

#endif
