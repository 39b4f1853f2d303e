/* SPDX-License-Identifier: BSD-3-Clause */
/* moment: a point in time as operators write and read it; milliseconds since 1970-01-01 UTC. Pure but for the time
 * zone; any thread. */
#ifndef TOOL_MOMENT_H
#define TOOL_MOMENT_H

#include <stdbool.h>
#include <stdint.h>

#define MOMENT_SIZE 40

/* What moment_parse takes, for messages. */
#define MOMENT_FORMS \
	"\"2026-11-21T14:30:00Z\" (or +01:00), \"2026-11-21 14:30:00\" (local time), \"@1795271400\" or " \
	"\"10 minutes ago\""

/* False when the text is none of these or no such time exists. now_ms: what "ago" counts from. */
bool moment_parse(const char *text, int64_t now_ms, int64_t *ret_ms);
/* RFC 3339 in UTC, with milliseconds; "@N" (seconds) beyond the years that it can write. */
void moment_text(int64_t ms, char out[MOMENT_SIZE]);

#endif
