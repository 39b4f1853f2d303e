/* SPDX-License-Identifier: BSD-3-Clause */
/* snapshots: the list of a directory's snapshots, from its manifest and the files' own footers. Reads only, takes no lock. */
#ifndef TOOL_SNAPSHOTS_H
#define TOOL_SNAPSHOTS_H

#include <stdbool.h>
#include <stdint.h>

struct client;

/* Prints a line, or a JSON object, for each, oldest first. An exit code. */
int snapshots_list(const char *directory, bool as_json);
/* Has the daemon behind this client pin or unpin a snapshot. An exit code, after a message. */
int pin_ask(struct client *client, const char *directory, uint64_t number, bool pin);

#endif
