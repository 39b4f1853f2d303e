/* SPDX-License-Identifier: BSD-3-Clause */
/* datadir_lock: reads /proc. All of it is for messages and for knowing whether the kernel has been restarted:
 * what is not there or looks odd counts as unknown. No state; any thread. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "base/vfs.h"
#include <hearth/datadir.h>
#include "format/datadir_lock.h"

#define PROC_MAX (1u << 20)
#define BOOT_ID  "/proc/sys/kernel/random/boot_id"

/* The text of a file in /proc, with a zero behind it; the size that fstat tells there is 0. */
static bool read_proc(const struct vfs *vfs, const char *path, struct buf *out)
{
	int fd = vfs_open(vfs, AT_FDCWD, path, O_RDONLY);
	if (fd < 0)
		return false;
	ssize_t n = 1;
	while (n > 0 && buf_len(out) < PROC_MAX && buf_reserve(out, 4097)) {
		n = vfs_read_at(vfs, fd, out->data + out->tail, 4096, buf_len(out));
		if (n > 0)
			out->tail += (size_t)n;
	}
	int saved = errno;
	vfs->close(vfs->ctx, fd);
	errno = saved;
	return n == 0 && buf_append(out, "", 1);
}

/* A line is "12: FLOCK  ADVISORY  WRITE 4711 fe:01:131073 0 EOF": the process, then device and inode. */
static int holder_in_line(char *line, uint64_t inode)
{
	char *rest = NULL, *field[6] = {0};
	for (unsigned i = 0; i < 6; i++) {
		field[i] = strtok_r(i == 0 ? line : NULL, " ", &rest);
		if (field[i] == NULL)
			return 0;
	}
	char *colon = strrchr(field[5], ':');
	if (strcmp(field[1], "FLOCK") != 0 || colon == NULL || strtoull(colon + 1, NULL, 10) != inode)
		return 0;
	long pid = strtol(field[4], NULL, 10);
	return pid > 0 && pid <= INT32_MAX ? (int)pid : 0;
}

int datadir_lock_holder(const struct vfs *vfs, int fd)
{
	struct stat st;
	struct buf text = {0};
	int pid = 0;
	if (vfs->fstat(vfs->ctx, fd, &st) != 0)
		return 0;
	if (read_proc(vfs, "/proc/locks", &text)) {
		char *rest = NULL;
		char *line = strtok_r((char *)text.data, "\n", &rest);
		for (; line != NULL && pid == 0; line = strtok_r(NULL, "\n", &rest))
			pid = holder_in_line(line, st.st_ino);
	}
	buf_free(&text);
	return pid;
}

static int hex_value(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

enum hearth_status datadir_boot_id(
    const struct vfs *vfs, uint8_t ret_id[HEARTH_ID_SIZE], struct hearth_error *ret_err)
{
	struct buf text = {0};
	size_t digits = 0;
	memset(ret_id, 0, HEARTH_ID_SIZE);
	errno = 0;
	bool read = read_proc(vfs ? vfs : vfs_posix(), BOOT_ID, &text);
	enum hearth_status status = HEARTH_OK;
	if (!read && errno != ENOENT && errno != EACCES)
		status = hearth_fail(ret_err, HEARTH_IO, BOOT_ID, 0, "the boot of the kernel cannot be read");
	if (read) {
		for (size_t i = 0; i < buf_len(&text) && digits < 2 * HEARTH_ID_SIZE; i++) {
			int v = hex_value(text.data[i]);
			if (v >= 0) {
				ret_id[digits / 2] = (uint8_t)(ret_id[digits / 2] << 4 | v);
				digits++;
			}
		}
	}
	if (digits != 2 * HEARTH_ID_SIZE)
		memset(ret_id, 0, HEARTH_ID_SIZE);
	buf_free(&text);
	return status;
}
