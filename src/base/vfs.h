/* SPDX-License-Identifier: BSD-3-Clause */
/* vfs: all file I/O behind one small op table, so that tests inject short writes, ENOSPC, lost fsyncs and
 * recorders (the idea is SQLite's). Each op is the system call of its name: -1 and errno on failure. A test's
 * table may carry state behind `ctx`. Ops may be called from any thread. */
#ifndef BASE_VFS_H
#define BASE_VFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

struct vfs {
	void *ctx;
	int (*openat)(void *ctx, int dirfd, const char *name, int flags, mode_t mode);
	int (*close)(void *ctx, int fd);
	ssize_t (*pread)(void *ctx, int fd, void *data, size_t len, off_t at);
	ssize_t (*writev)(void *ctx, int fd, const struct iovec *iov, int n);
	int (*fsync)(void *ctx, int fd);
	int (*fdatasync)(void *ctx, int fd);
	int (*fallocate)(void *ctx, int fd, int mode, off_t at, off_t len);
	int (*fstat)(void *ctx, int fd, struct stat *ret_st);
	int (*renameat)(void *ctx, int dirfd, const char *from, const char *to);
	int (*linkat)(void *ctx, int olddir, const char *from, int newdir, const char *to);
	int (*unlinkat)(void *ctx, int dirfd, const char *name);
	int (*mkdirat)(void *ctx, int dirfd, const char *name, mode_t mode);
	int (*flock)(void *ctx, int fd, int how);
	/* readdir: each name in the directory but "." and "..", in no order, until the callback says false. */
	int (*list)(void *ctx, int dirfd, bool (*each)(void *arg, const char *name), void *arg);
};

/* The real one: straight system calls, EINTR retried. */
const struct vfs *vfs_posix(void);

/* Opens a regular file relative to a directory with O_CLOEXEC and O_NOFOLLOW added; a file that is no regular
 * file is refused (EINVAL). New files are 0600. -1 and errno. */
int vfs_open(const struct vfs *vfs, int dirfd, const char *name, int flags);
/* Write all bytes, continuing after short writes. 0, or -1 and errno. */
int vfs_write_all(const struct vfs *vfs, int fd, const void *data, size_t len);
int vfs_writev_all(const struct vfs *vfs, int fd, struct iovec *iov, int n); /* iov is consumed */
/* Reads exactly len bytes unless the file ends before: the count read, or -1 and errno. */
ssize_t vfs_read_at(const struct vfs *vfs, int fd, void *data, size_t len, uint64_t at);

#endif
