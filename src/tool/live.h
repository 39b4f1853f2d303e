/* SPDX-License-Identifier: BSD-3-Clause */
/* live: the items of a running server, Hearth or memcached: their names by `lru_crawler metadump all` on one connection, what
 * belongs to them by meta gets in batches on another, so that no list of keys is kept. A get here moves nothing to the front of
 * the server's queues and marks nothing as fetched, though it counts as a hit. The first to get what was invalidated is told
 * to make another value; as nobody does here, it is invalidated once more, which gives it a cas of its own. What changes
 * meanwhile may be met before or after. Messages are printed here. One thread. */
#ifndef TOOL_LIVE_H
#define TOOL_LIVE_H

#include "tool/client.h"
#include "tool/item.h"

/* TOOL_OK; TOOL_DAMAGE when there are items that no client can ask for (binary keys that in base64 are too long for a key);
 * or what ended it. Times are by this machine's clock. */
int live_each(const struct client_address *address, const struct item_wish *wish, item_take *take, void *arg);

#endif
