/* SPDX-License-Identifier: BSD-3-Clause */
/* datadir_aside: puts a file that a person may want to look at into set-aside/, by hard link, or by copy
 * where the file system has no links. The name in the directory stays; who retires it later takes away one of
 * two. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include "format/datadir_dir.h"

#define COPY_SIZE (256u * 1024)
#define TRIES_MAX 10000u

/* "<prefix><name>.<n>"; false when it does not fit. */
static bool make_name(char *out, size_t size, const char *prefix, const char *name, unsigned n)
{
	char digits[12];
	size_t at = sizeof(digits);
	digits[--at] = '\0';
	do {
		digits[--at] = (char)('0' + n % 10);
		n /= 10;
	} while (n > 0);
	digits[--at] = '.';
	size_t prefix_len = strlen(prefix), name_len = strlen(name), digits_len = sizeof(digits) - at;
	if (prefix_len + name_len + digits_len > size)
		return false;
	memcpy(out, prefix, prefix_len);
	memcpy(out + prefix_len, name, name_len);
	memcpy(out + prefix_len + name_len, digits + at, digits_len);
	return true;
}

static int copy_bytes(const struct vfs *vfs, int from, int to)
{
	uint8_t *bytes = malloc(COPY_SIZE);
	if (bytes == NULL) {
		errno = ENOMEM;
		return -1;
	}
	uint64_t at = 0;
	ssize_t n;
	int ret = 0;
	while (ret == 0 && (n = vfs_read_at(vfs, from, bytes, COPY_SIZE, at)) != 0) {
		ret = n < 0 ? -1 : vfs_write_all(vfs, to, bytes, (size_t)n);
		at += ret == 0 ? (uint64_t)n : 0;
	}
	if (ret == 0)
		ret = vfs->fsync(vfs->ctx, to);
	int saved = errno;
	free(bytes);
	errno = saved;
	return ret;
}

/* A copy under a name that is free; EEXIST when it is not. A copy that fails is taken away again. */
static int copy_file(const struct vfs *vfs, int from, int subdir, const char *to)
{
	int fd = vfs_open(vfs, subdir, to, O_WRONLY | O_CREAT | O_EXCL);
	if (fd < 0)
		return -1;
	int ret = copy_bytes(vfs, from, fd);
	int saved = errno;
	vfs->close(vfs->ctx, fd);
	if (ret != 0)
		vfs->unlinkat(vfs->ctx, subdir, to);
	errno = saved;
	return ret;
}

static bool has_no_links(int error)
{
	return error == EPERM || error == EOPNOTSUPP || error == ENOSYS || error == EMLINK || error == EXDEV;
}

static int open_subdir(const struct datadir *dir)
{
	const struct vfs *vfs = datadir_vfs(dir);
	if (vfs->mkdirat(vfs->ctx, datadir_fd(dir), DATADIR_SET_ASIDE, 0700) != 0 && errno != EEXIST)
		return -1;
	return datadir_open_below(dir, DATADIR_SET_ASIDE);
}

/* Under the first free name. *ret_n: its number; 0 or -1 with errno. */
static int put_aside(const struct datadir *dir, const char *name, int from, int subdir, unsigned *ret_n)
{
	const struct vfs *vfs = datadir_vfs(dir);
	char to[DATADIR_NAME_SIZE + 64];
	for (unsigned n = 1; n <= TRIES_MAX; n++) {
		if (!make_name(to, sizeof(to), "", name, n)) {
			errno = ENAMETOOLONG;
			return -1;
		}
		int ret = vfs->linkat(vfs->ctx, datadir_fd(dir), name, subdir, to);
		if (ret != 0 && has_no_links(errno))
			ret = copy_file(vfs, from, subdir, to);
		if (ret == 0 || errno != EEXIST) {
			*ret_n = n;
			return ret;
		}
	}
	errno = EEXIST;
	return -1;
}

enum hearth_status datadir_set_aside(
    struct datadir *dir, const char *name, char *ret_name, size_t size, struct hearth_error *ret_err)
{
	const struct vfs *vfs = datadir_vfs(dir);
	int subdir = -1;
	unsigned n = 0;
	enum hearth_status status = HEARTH_OK;
	if (size > 0)
		ret_name[0] = '\0';
	int from = vfs_open(vfs, datadir_fd(dir), name, O_RDONLY);
	if (from < 0) {
		status = hearth_fail(ret_err, HEARTH_IO, name, 0, "cannot open the file to set aside");
		goto out;
	}
	subdir = open_subdir(dir);
	if (subdir < 0) {
		status = hearth_fail(ret_err, HEARTH_IO, DATADIR_SET_ASIDE, 0, "cannot make set-aside/");
		goto out;
	}
	if (put_aside(dir, name, from, subdir, &n) != 0 || datadir_sync(vfs, subdir) != 0 ||
	    datadir_sync(vfs, datadir_fd(dir)) != 0) {
		status = hearth_fail(ret_err, HEARTH_IO, name, 0, "cannot set the file aside");
		goto out;
	}
	if (!make_name(ret_name, size, DATADIR_SET_ASIDE "/", name, n))
		status = hearth_fail(ret_err, HEARTH_TOO_LARGE, name, 0, "no room for the new name");
out:
	if (subdir >= 0)
		vfs->close(vfs->ctx, subdir);
	if (from >= 0)
		vfs->close(vfs->ctx, from);
	return status;
}
