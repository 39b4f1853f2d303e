/* SPDX-License-Identifier: BSD-3-Clause */
/* failing: the n-th allocation of the program fails (glibc lets a program bring its own malloc), or the n-th call through
 * a vfs, whatever it is; once, or from there on. Any thread; included by one file of a program. Under a sanitizer, which
 * brings its own, allocations do not fail. */
#ifndef UNIT_FAILING_H
#define UNIT_FAILING_H

#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include "unit.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define FAILING_MEMORY 0
#else
#define FAILING_MEMORY 1
#endif

struct failing {
	_Atomic unsigned calls, at; /* the at-th fails; 0 = none */
	unsigned again;             /* and this one too; 0 = none */
	bool on;                    /* and all that follow */
	_Atomic bool hit;
};

static inline bool failing_now(struct failing *f)
{
	unsigned at = f->at, n = at ? ++f->calls : 0;
	if (at == 0 || n < at || (!f->on && n > at && n != f->again))
		return false;
	f->hit = true;
	return true;
}

/* ---- memory ---- */

static struct failing failing_memory __attribute__((unused));
/* What this thread allocates does not fail, and does not count: it is the test's own. */
static _Thread_local bool failing_spared __attribute__((unused));

#if FAILING_MEMORY
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);
void *__libc_memalign(size_t align, size_t size);

static inline bool failing_memory_now(void)
{
	if (failing_spared || !failing_now(&failing_memory))
		return false;
	errno = ENOMEM;
	return true;
}

void *malloc(size_t size)
{
	return failing_memory_now() ? NULL : __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
	return failing_memory_now() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t size)
{
	return failing_memory_now() ? NULL : __libc_realloc(p, size);
}

/* nodump_alloc's, and the store's large areas. */
void *mmap(void *at, size_t len, int protection, int flags, int fd, off_t from)
{
	if (fd < 0 && failing_memory_now())
		return MAP_FAILED;
	return (void *)syscall(SYS_mmap, at, len, protection, flags, fd, from);
}

void *aligned_alloc(size_t align, size_t size)
{
	return failing_memory_now() ? NULL : __libc_memalign(align, size);
}

void *reallocarray(void *p, size_t n, size_t size)
{
	size_t bytes;
	if (__builtin_mul_overflow(n, size, &bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	return realloc(p, bytes);
}
#endif

/* ---- files ---- */

struct failing_vfs {
	struct vfs vfs;
	struct failing failing;
	int error;
	bool no_links;     /* linkat says EPERM */
	bool changes_only; /* calls that only read do not fail, and do not count */
	bool syncs_only;   /* only fdatasync fails and counts */
	bool partly;       /* the first write to fail takes half, and says so */
};

static inline bool failing_strikes(struct failing_vfs *u)
{
	if (!failing_now(&u->failing))
		return false;
	errno = u->error;
	return true;
}

static inline bool failing_vfs_now(void *ctx)
{
	struct failing_vfs *u = ctx;
	return !u->syncs_only && failing_strikes(u);
}

static inline bool failing_read_now(void *ctx)
{
	struct failing_vfs *u = ctx;
	return !u->changes_only && failing_vfs_now(ctx);
}

static inline int failing_openat(void *ctx, int dirfd, const char *name, int flags, mode_t mode)
{
	return (flags & O_CREAT ? failing_vfs_now(ctx) : failing_read_now(ctx))
	           ? -1
	           : vfs_posix()->openat(NULL, dirfd, name, flags, mode);
}

/* The descriptor is gone all the same. */
static inline int failing_close(void *ctx, int fd)
{
	int ret = vfs_posix()->close(NULL, fd);
	return failing_read_now(ctx) ? -1 : ret;
}

static inline ssize_t failing_pread(void *ctx, int fd, void *data, size_t len, off_t at)
{
	return failing_read_now(ctx) ? -1 : vfs_posix()->pread(NULL, fd, data, len, at);
}

static inline ssize_t failing_writev(void *ctx, int fd, const struct iovec *iov, int n)
{
	struct failing_vfs *u = ctx;
	if (!failing_vfs_now(ctx))
		return vfs_posix()->writev(NULL, fd, iov, n);
	if (!u->partly || u->failing.calls > u->failing.at || iov[0].iov_len < 2)
		return -1;
	struct iovec half = {iov[0].iov_base, iov[0].iov_len / 2};
	return vfs_posix()->writev(NULL, fd, &half, 1);
}

static inline int failing_fsync(void *ctx, int fd)
{
	return failing_vfs_now(ctx) ? -1 : vfs_posix()->fsync(NULL, fd);
}

static inline int failing_fdatasync(void *ctx, int fd)
{
	return failing_strikes(ctx) ? -1 : vfs_posix()->fdatasync(NULL, fd);
}

static inline int failing_fallocate(void *ctx, int fd, int mode, off_t at, off_t len)
{
	return failing_vfs_now(ctx) ? -1 : vfs_posix()->fallocate(NULL, fd, mode, at, len);
}

static inline int failing_fstat(void *ctx, int fd, struct stat *ret_st)
{
	return failing_read_now(ctx) ? -1 : vfs_posix()->fstat(NULL, fd, ret_st);
}

static inline int failing_renameat(void *ctx, int dirfd, const char *from, const char *to)
{
	return failing_vfs_now(ctx) ? -1 : vfs_posix()->renameat(NULL, dirfd, from, to);
}

static inline int failing_linkat(void *ctx, int olddir, const char *from, int newdir, const char *to)
{
	struct failing_vfs *u = ctx;
	if (failing_vfs_now(ctx))
		return -1;
	if (u->no_links) {
		errno = EPERM;
		return -1;
	}
	return vfs_posix()->linkat(NULL, olddir, from, newdir, to);
}

static inline int failing_unlinkat(void *ctx, int dirfd, const char *name)
{
	return failing_vfs_now(ctx) ? -1 : vfs_posix()->unlinkat(NULL, dirfd, name);
}

static inline int failing_mkdirat(void *ctx, int dirfd, const char *name, mode_t mode)
{
	return failing_vfs_now(ctx) ? -1 : vfs_posix()->mkdirat(NULL, dirfd, name, mode);
}

static inline int failing_flock(void *ctx, int fd, int how)
{
	return failing_read_now(ctx) ? -1 : vfs_posix()->flock(NULL, fd, how);
}

static inline int failing_list(void *ctx, int dirfd, bool (*each)(void *arg, const char *name), void *arg)
{
	return failing_read_now(ctx) ? -1 : vfs_posix()->list(NULL, dirfd, each, arg);
}

static inline void failing_vfs_init(struct failing_vfs *u)
{
	*u = (struct failing_vfs){.error = EIO};
	u->vfs = (struct vfs){u, failing_openat, failing_close, failing_pread, failing_writev, failing_fsync,
	    failing_fdatasync, failing_fallocate, failing_fstat, failing_renameat, failing_linkat,
	    failing_unlinkat, failing_mkdirat, failing_flock, failing_list};
}

static inline unsigned failing_open_files(void)
{
	unsigned n = 0;
	DIR *dir = opendir("/proc/self/fd");
	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

#endif
