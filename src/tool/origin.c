/* SPDX-License-Identifier: BSD-3-Clause */
/* origin: see origin.h. */
#include "tool/origin.h"
#include "tool/tool.h"

int origin_each(const struct origin *origin, const struct item_wish *wish, item_take *take, void *arg)
{
	if (origin->server) {
		struct client_address address;
		return client_resolve(origin->server, &address) ? live_each(&address, wish, take, arg)
		                                                : TOOL_USAGE;
	}
	struct contents *contents;
	int exit_code = contents_open(&contents, origin->path);
	if (exit_code == TOOL_OK)
		exit_code = contents_each(contents, wish, take, arg);
	contents_close(&contents);
	return exit_code;
}
