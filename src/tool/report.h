/* SPDX-License-Identifier: BSD-3-Clause */
/* report: what the library's failures are to a person: a line on standard error and an exit code. */
#ifndef TOOL_REPORT_H
#define TOOL_REPORT_H

#include <stdint.h>
#include <hearth/status.h>

/* "WHERE: at offset N: what: reason". where: the file's path as the user can open it. */
void report_error(const char *where, const struct hearth_error *err);
/* For readers: torn, damage, foreign and newer, input and output, ... */
int report_exit(enum hearth_status status);
int report_no_memory(void);
/* So many items were left out because their values are not valid (item_is_valid); of none nothing is said. */
void report_stale(uint64_t items);

#endif
