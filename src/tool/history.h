/* SPDX-License-Identifier: BSD-3-Clause */
/* history: all that a data directory knows of one key, in the order of the numbers: its records in the log, flushes,
 * sightings in snapshots, damage in which a change of it may be lost; and what it comes to now. One thread. */
#ifndef TOOL_HISTORY_H
#define TOOL_HISTORY_H

#include "tool/out.h"
#include "tool/source.h"

struct history_options {
	const void *key;
	size_t key_len;
	bool json, values;
};

/* Prints it; returns the exit code: torn, damaged, unreadable are named on standard error, as dump does. */
int history_print(const struct source *source, const struct history_options *options, struct out *out);

#endif
