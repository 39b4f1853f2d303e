/* SPDX-License-Identifier: BSD-3-Clause */
/* offline: see offline.h. */
#include <errno.h>
#include <grp.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/msg.h"
#include "base/vfs.h"
#include "tool/offline.h"
#include "tool/report.h"
#include "tool/tool.h"
#include <hearth/datadir.h>

/* A file of root's would keep a daemon of another user from its next start. */
static bool become_owner(const struct datadir *dir)
{
	struct stat st;
	if (geteuid() != 0 || (fstat(datadir_fd(dir), &st) == 0 && st.st_uid == 0))
		return true;
	if (setgroups(0, NULL) == 0 && setgid(st.st_gid) == 0 && setuid(st.st_uid) == 0)
		return true;
	msg(MSG_ERROR, "%s: cannot become its owner, user %u: %s", datadir_path(dir), (unsigned)st.st_uid,
	    strerror(errno));
	return false;
}

static int read_manifest(struct datadir *dir, struct manifest *ret_manifest)
{
	struct hearth_error err;
	bool repaired;
	enum hearth_status status = datadir_read_manifest(dir, ret_manifest, &repaired, &err);
	if (status == HEARTH_OK && !repaired)
		return TOOL_OK;
	if (status == HEARTH_END)
		msg(MSG_ERROR, "%s: no data directory", datadir_path(dir));
	else if (status == HEARTH_OK || status == HEARTH_DAMAGED)
		msg(MSG_ERROR, "%s: the manifest is damaged: start the daemon first", datadir_path(dir));
	else
		report_error(datadir_path(dir), &err);
	return tool_worse(report_exit(status), TOOL_DATA);
}

int offline_open(struct datadir **ret_dir, struct manifest *ret_manifest, const char *directory)
{
	struct hearth_error err;
	int pid = 0;
	*ret_manifest = (struct manifest){0};
	enum hearth_status status = datadir_open(ret_dir, vfs_posix(), directory, false, true, &pid, &err);
	if (status == HEARTH_BUSY && pid > 0)
		msg(MSG_ERROR, "%s: in use by process %d", directory, pid);
	else if (status != HEARTH_OK)
		report_error(directory, &err);
	if (status != HEARTH_OK)
		return report_exit(status);
	int exit_code = become_owner(*ret_dir) ? read_manifest(*ret_dir, ret_manifest) : TOOL_IO;
	if (exit_code != TOOL_OK) {
		manifest_free(ret_manifest);
		datadir_close(ret_dir);
	}
	return exit_code;
}
