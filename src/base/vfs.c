/* SPDX-License-Identifier: BSD-3-Clause */
/* vfs: the real op table, and the few loops over it that all callers need. No state; any thread. An
 * interrupted call is repeated, but never an fsync or close that failed in another way: what such a call left
 * behind is unknown. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h> /* renameat, and nothing else */
#include <string.h>
#include <sys/file.h>
#include <unistd.h>
#include "base/check.h"
#include "base/vfs.h"

/* Linux moves no more than this in one call. */
#define CALL_MAX 0x7ffff000u

#define RETRY(ret, call) \
	do { \
		ret = (call); \
	} while (ret < 0 && errno == EINTR)

static int posix_openat(void *ctx, int dirfd, const char *name, int flags, mode_t mode)
{
	int fd;
	(void)ctx;
	RETRY(fd, openat(dirfd, name, flags, mode));
	return fd;
}

static int posix_close(void *ctx, int fd)
{
	(void)ctx;
	/* The descriptor is gone after EINTR too: repeating would close somebody else's. */
	int ret = close(fd);
	return ret < 0 && errno == EINTR ? 0 : ret;
}

static ssize_t posix_pread(void *ctx, int fd, void *data, size_t len, off_t at)
{
	ssize_t n;
	(void)ctx;
	RETRY(n, pread(fd, data, len, at));
	return n;
}

static ssize_t posix_writev(void *ctx, int fd, const struct iovec *iov, int count)
{
	ssize_t n;
	(void)ctx;
	RETRY(n, writev(fd, iov, count));
	return n;
}

static int posix_fsync(void *ctx, int fd)
{
	int ret;
	(void)ctx;
	RETRY(ret, fsync(fd));
	return ret;
}

static int posix_fdatasync(void *ctx, int fd)
{
	int ret;
	(void)ctx;
	RETRY(ret, fdatasync(fd));
	return ret;
}

static int posix_fallocate_op(void *ctx, int fd, int mode, off_t at, off_t len)
{
	int ret;
	(void)ctx;
	RETRY(ret, fallocate(fd, mode, at, len));
	return ret;
}

static int posix_fstat(void *ctx, int fd, struct stat *ret_st)
{
	(void)ctx;
	return fstat(fd, ret_st);
}

static int posix_renameat(void *ctx, int dirfd, const char *from, const char *to)
{
	int ret;
	(void)ctx;
	RETRY(ret, renameat(dirfd, from, dirfd, to));
	return ret;
}

static int posix_linkat(void *ctx, int olddir, const char *from, int newdir, const char *to)
{
	int ret;
	(void)ctx;
	RETRY(ret, linkat(olddir, from, newdir, to, 0));
	return ret;
}

static int posix_unlinkat(void *ctx, int dirfd, const char *name)
{
	int ret;
	(void)ctx;
	RETRY(ret, unlinkat(dirfd, name, 0));
	return ret;
}

static int posix_mkdirat(void *ctx, int dirfd, const char *name, mode_t mode)
{
	int ret;
	(void)ctx;
	RETRY(ret, mkdirat(dirfd, name, mode));
	return ret;
}

static int posix_flock(void *ctx, int fd, int how)
{
	int ret;
	(void)ctx;
	RETRY(ret, flock(fd, how));
	return ret;
}

static int posix_list(void *ctx, int dirfd, bool (*each)(void *arg, const char *name), void *arg)
{
	(void)ctx;
	/* A descriptor of its own: one made with dup would share its position with every other listing. */
	int own = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = own >= 0 ? fdopendir(own) : NULL;
	if (!dir) {
		int saved = errno;
		if (own >= 0)
			close(own);
		errno = saved;
		return -1;
	}
	struct dirent *entry;
	bool more = true;
	while (more && (errno = 0, entry = readdir(dir)) != NULL)
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			more = each(arg, entry->d_name);
	int saved = more ? errno : 0;
	closedir(dir);
	errno = saved;
	return saved ? -1 : 0;
}

static const struct vfs posix_table = {
    .openat = posix_openat,
    .close = posix_close,
    .pread = posix_pread,
    .writev = posix_writev,
    .fsync = posix_fsync,
    .fdatasync = posix_fdatasync,
    .fallocate = posix_fallocate_op,
    .fstat = posix_fstat,
    .renameat = posix_renameat,
    .linkat = posix_linkat,
    .unlinkat = posix_unlinkat,
    .mkdirat = posix_mkdirat,
    .flock = posix_flock,
    .list = posix_list,
};

const struct vfs *vfs_posix(void)
{
	return &posix_table;
}

int vfs_open(const struct vfs *vfs, int dirfd, const char *name, int flags)
{
	/* O_NONBLOCK: opening a FIFO somebody put there must not wait for its writer. It means nothing to
	 * files. */
	int fd =
	    vfs->openat(vfs->ctx, dirfd, name, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0600);
	if (fd < 0)
		return -1;
	struct stat st;
	int saved = EINVAL;
	if (vfs->fstat(vfs->ctx, fd, &st) != 0)
		saved = errno;
	else if (S_ISREG(st.st_mode))
		return fd;
	vfs->close(vfs->ctx, fd);
	errno = saved;
	return -1;
}

int vfs_write_all(const struct vfs *vfs, int fd, const void *data, size_t len)
{
	struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = len};
	return vfs_writev_all(vfs, fd, &iov, 1);
}

/* Takes n bytes off the front of the array. */
static void iov_advance(struct iovec **iov, int *count, size_t n)
{
	while (*count > 0 && n >= (*iov)->iov_len) {
		n -= (*iov)->iov_len;
		(*iov)++;
		(*count)--;
	}
	if (n == 0)
		return;
	CHECK(*count > 0);
	(*iov)->iov_base = (uint8_t *)(*iov)->iov_base + n;
	(*iov)->iov_len -= n;
}

int vfs_writev_all(const struct vfs *vfs, int fd, struct iovec *iov, int n)
{
	iov_advance(&iov, &n, 0);
	while (n > 0) {
		ssize_t done = vfs->writev(vfs->ctx, fd, iov, n < IOV_MAX ? n : IOV_MAX);
		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -1;
		if (done == 0) {
			errno = EIO; /* a file that takes nothing and says nothing: do not spin */
			return -1;
		}
		iov_advance(&iov, &n, (size_t)done);
	}
	return 0;
}

ssize_t vfs_read_at(const struct vfs *vfs, int fd, void *data, size_t len, uint64_t at)
{
	size_t got = 0;
	if (len > SSIZE_MAX || at > INT64_MAX - (uint64_t)len) {
		errno = EINVAL;
		return -1;
	}
	while (got < len) {
		size_t want = len - got < CALL_MAX ? len - got : CALL_MAX;
		ssize_t n = vfs->pread(vfs->ctx, fd, (uint8_t *)data + got, want, (off_t)(at + got));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		if (n == 0)
			break;
		got += (size_t)n;
	}
	return (ssize_t)got;
}
