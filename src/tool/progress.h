/* SPDX-License-Identifier: BSD-3-Clause */
/* progress: one line that is overwritten, on a terminal only, for what takes over a second: a bar, how much of how much, how
 * fast, and how long it will take. One thread. */
#ifndef TOOL_PROGRESS_H
#define TOOL_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* No terminal that is used is narrower. */
#define PROGRESS_WIDTH 80

struct progress {
	const char *what;
	uint64_t done, all; /* all 0 = unknown */
	int64_t began_us, shown_us;
	bool items; /* are counted, not bytes */
	bool terminal, visible;
};

/* what: static text. */
void progress_begin(struct progress *p, const char *what, uint64_t all);
void progress_begin_items(struct progress *p, const char *what, uint64_t all);
/* Data goes to standard output meanwhile: were that the same terminal, nothing is shown. */
void progress_beside_output(struct progress *p);
void progress_add(struct progress *p, uint64_t more);
/* Takes the line away. */
void progress_end(struct progress *p);
/* The line as it stands so many microseconds after the beginning; for tests. */
void progress_line(const struct progress *p, int64_t us, char out[PROGRESS_WIDTH]);

#endif
