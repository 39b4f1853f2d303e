/* SPDX-License-Identifier: BSD-3-Clause */
/* origin: where items come from: files, or a running server. One thread. */
#ifndef TOOL_ORIGIN_H
#define TOOL_ORIGIN_H

#include "tool/contents.h"
#include "tool/live.h"

/* Of these one is set. */
struct origin {
	const char *path;
	const char *server;
};

/* As contents_each and live_each. */
int origin_each(const struct origin *origin, const struct item_wish *wish, item_take *take, void *arg);

#endif
