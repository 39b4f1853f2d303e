/* SPDX-License-Identifier: BSD-3-Clause */
/* progress: one line that is overwritten, on a terminal only, for what takes over a second. One thread. */
#ifndef TOOL_PROGRESS_H
#define TOOL_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
	const char *what;
	uint64_t done, all; /* bytes; all 0 = unknown */
	int64_t began_us, shown_us;
	bool terminal, visible;
};

/* what: static text. */
void progress_begin(struct progress *p, const char *what, uint64_t all);
void progress_add(struct progress *p, uint64_t bytes);
/* Takes the line away. */
void progress_end(struct progress *p);

#endif
