/* SPDX-License-Identifier: BSD-3-Clause */
/* contents: the items that a data directory, a snapshot or a segment of the log holds, each once, as a daemon would have them
 * after a start: the newest snapshot and the log behind it, less what damage makes doubtful (plan.h). A segment by itself
 * holds what it set last. The files are read twice when they are opened, to verify them and to learn which record of a key is
 * its last, and once for each walk. Whether a daemon runs on them does not matter. Messages are printed here. One thread. */
#ifndef TOOL_CONTENTS_H
#define TOOL_CONTENTS_H

#include "tool/item.h"

struct contents;

/* TOOL_OK, or an exit code after a message: then there is nothing to close. */
int contents_open(struct contents **ret_contents, const char *path);
void contents_close(struct contents **contents);
/* Items, expired ones among them. */
uint64_t contents_count(const struct contents *contents);
/* Hands each item that is wanted to take, in no particular order. TOOL_OK; TOOL_DAMAGE when something that may have been an
 * item could not be read, here or before; or what ended it. */
int contents_each(struct contents *contents, const struct item_wish *wish, item_take *take, void *arg);

#endif
