/* SPDX-License-Identifier: BSD-3-Clause */
/* drop_offline: drops keys in a directory that no daemon runs on: an engine loads it, drops, and ends in order, without a port
 * or a socket. A kill at any moment leaves what one of a daemon would: items that are there, or that are gone for good. */
#ifndef TOOL_DROP_OFFLINE_H
#define TOOL_DROP_OFFLINE_H

#include "engine/engine.h"

/* told: as engine_drop says, but the end comes in *ret_state, with a note if it was not the one that was hoped for. TOOL_OK, or an
 * exit code after a message. */
int drop_offline(const char *directory, const struct engine_drop_order *order, engine_told *told, void *arg,
    struct engine_dropped *ret_state);

#endif
