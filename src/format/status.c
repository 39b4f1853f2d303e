/* SPDX-License-Identifier: BSD-3-Clause */
/* status: the texts of statuses, and the one place that fills in errors. No state; any thread. */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <hearth/status.h>

const char *hearth_status_text(enum hearth_status status)
{
	switch (status) {
	case HEARTH_OK:
		return "ok";
	case HEARTH_END:
		return "end";
	case HEARTH_TORN:
		return "torn";
	case HEARTH_DAMAGED:
		return "damaged";
	case HEARTH_NEWER:
		return "newer format";
	case HEARTH_FOREIGN:
		return "foreign";
	case HEARTH_BUSY:
		return "in use";
	case HEARTH_IO:
		return "input/output error";
	case HEARTH_NOMEM:
		return "out of memory";
	case HEARTH_TOO_LARGE:
		return "too large";
	}
	return "unknown";
}

enum hearth_status hearth_fail(struct hearth_error *ret_err, enum hearth_status status, const char *file,
    uint64_t offset, const char *what)
{
	if (ret_err == NULL)
		return status;
	int saved = status == HEARTH_IO ? errno : 0;
	size_t len = file ? strlen(file) : 0;
	if (len >= sizeof(ret_err->file))
		len = sizeof(ret_err->file) - 1;
	/* file may be ret_err->file itself: an error that is passed on with another text. */
	if (len > 0)
		memmove(ret_err->file, file, len);
	ret_err->file[len] = '\0';
	ret_err->status = status;
	ret_err->sys_errno = saved;
	ret_err->offset = offset;
	ret_err->what = what;
	return status;
}
