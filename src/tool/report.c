/* SPDX-License-Identifier: BSD-3-Clause */
/* report: see report.h. */
#include <inttypes.h>
#include <string.h>
#include "base/msg.h"
#include "tool/report.h"
#include "tool/tool.h"

void report_error(const char *where, const struct hearth_error *err)
{
	const char *what = err->what ? err->what : hearth_status_text(err->status);
	if (err->status == HEARTH_IO && err->sys_errno != 0)
		msg(MSG_ERROR, "%s: %s: %s", where, what, strerror(err->sys_errno));
	else if (err->offset == 0)
		msg(MSG_ERROR, "%s: %s", where, what);
	else
		msg(MSG_ERROR, "%s: at offset %" PRIu64 ": %s", where, err->offset, what);
}

int report_exit(enum hearth_status status)
{
	switch (status) {
	case HEARTH_OK:
	case HEARTH_END:
		return TOOL_OK;
	case HEARTH_TORN:
		return TOOL_TORN;
	case HEARTH_DAMAGED:
		return TOOL_DAMAGE;
	case HEARTH_NEWER:
	case HEARTH_FOREIGN:
	case HEARTH_TOO_LARGE:
		return TOOL_DATA;
	case HEARTH_BUSY:
		return TOOL_BUSY;
	case HEARTH_NOMEM:
		return TOOL_SYSTEM;
	default:
		return TOOL_IO;
	}
}

int report_no_memory(void)
{
	msg(MSG_ERROR, "memory is short");
	return TOOL_SYSTEM;
}

void report_stale(uint64_t items)
{
	if (items > 0)
		msg(MSG_WARN,
		    "%" PRIu64
		    " items were invalidated or are being made, and are left out: --stale takes them",
		    items);
}
