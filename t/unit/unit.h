/* SPDX-License-Identifier: BSD-3-Clause */
/* unit: what the C unit tests share: cmocka with TAP output, a scratch directory, whole files, and a vfs that
 * fails on demand. Included by one test program each; one thread unless a test says otherwise. */
#ifndef UNIT_UNIT_H
#define UNIT_UNIT_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/vfs.h"

/* A test's name as argument (with * and ?) runs only that. */
#define UNIT_MAIN(tests) \
	int main(int argc, char **argv) \
	{ \
		cmocka_set_message_output(CM_OUTPUT_TAP); \
		if (argc > 1) \
			cmocka_set_test_filter(argv[1]); \
		return cmocka_run_group_tests(tests, NULL, NULL); \
	}

/* A directory below TMPDIR that unit_scratch_end removes with all that is in it. */
struct unit_scratch {
	char path[256];
	int fd;
};

static inline struct unit_scratch unit_scratch_begin(void)
{
	struct unit_scratch s;
	const char *base = getenv("TMPDIR");
	snprintf(s.path, sizeof(s.path), "%s/hearth-unit-XXXXXX", base ? base : "/tmp");
	assert_non_null(mkdtemp(s.path));
	s.fd = open(s.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(s.fd >= 0);
	return s;
}

static inline void unit_empty(int fd)
{
	int own = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fdopendir(own);
	assert_non_null(dir);
	struct dirent *e;
	while ((e = readdir(dir)) != NULL) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if (unlinkat(fd, e->d_name, 0) == 0)
			continue;
		int sub = openat(fd, e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_true(sub >= 0);
		unit_empty(sub);
		close(sub);
		assert_int_equal(unlinkat(fd, e->d_name, AT_REMOVEDIR), 0);
	}
	closedir(dir);
}

static inline void unit_scratch_end(struct unit_scratch *s)
{
	unit_empty(s->fd);
	close(s->fd);
	assert_int_equal(rmdir(s->path), 0);
}

static inline void unit_write_file(int dirfd, const char *name, const void *data, size_t len)
{
	int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(vfs_write_all(vfs_posix(), fd, data, len), 0);
	close(fd);
}

/* malloc'ed to the byte, so that a sanitizer sees one byte too many. */
static inline uint8_t *unit_read_file(int dirfd, const char *name, size_t *ret_len)
{
	struct stat st;
	int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	uint8_t *data = malloc((size_t)st.st_size ? (size_t)st.st_size : 1);
	assert_non_null(data);
	assert_int_equal(vfs_read_at(vfs_posix(), fd, data, (size_t)st.st_size, 0), st.st_size);
	close(fd);
	*ret_len = (size_t)st.st_size;
	return data;
}

static inline bool unit_exists(int dirfd, const char *name)
{
	return faccessat(dirfd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Bytes that look random and are the same in each run. */
static inline uint32_t unit_random(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

static inline void unit_fill(void *out, size_t len, uint32_t seed)
{
	uint8_t *p = out;
	uint32_t state = seed * 2654435761u + 1;
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(unit_random(&state) >> 11);
}

/* "0aff..." of bytes, for comparing with golden text: a difference is printed whole. */
static inline char *unit_hex(const void *data, size_t len)
{
	const uint8_t *p = data;
	char *text = malloc(2 * len + 1);
	assert_non_null(text);
	for (size_t i = 0; i < len; i++)
		snprintf(text + 2 * i, 3, "%02x", p[i]);
	text[2 * len] = '\0';
	return text;
}

static inline void unit_assert_hex(const void *data, size_t len, const char *expected)
{
	char *text = unit_hex(data, len);
	assert_string_equal(text, expected);
	free(text);
}

/* ---- a vfs that counts, and fails ---- */

struct unit_vfs {
	struct vfs vfs;
	unsigned changes;    /* calls so far that change the disk */
	unsigned fail_at;    /* the n-th of these fails, and all that follow; 0 = none */
	bool fail_once;      /* only the n-th */
	int error;           /* with this errno */
	size_t short_write;  /* a write takes no more than this; 0 = all */
	unsigned interrupts; /* so many reads and writes fail with EINTR first */
	bool no_links;       /* linkat says EPERM */
	uint64_t bytes_read;
};

static inline bool unit_vfs_fails(struct unit_vfs *u)
{
	u->changes++;
	if (u->fail_at == 0 || u->changes < u->fail_at || (u->fail_once && u->changes > u->fail_at))
		return false;
	errno = u->error;
	return true;
}

static inline bool unit_vfs_interrupts(struct unit_vfs *u)
{
	if (u->interrupts == 0)
		return false;
	u->interrupts--;
	errno = EINTR;
	return true;
}

static inline int unit_openat(void *ctx, int dirfd, const char *name, int flags, mode_t mode)
{
	if ((flags & O_CREAT) && unit_vfs_fails(ctx))
		return -1;
	return vfs_posix()->openat(NULL, dirfd, name, flags, mode);
}

static inline ssize_t unit_pread(void *ctx, int fd, void *data, size_t len, off_t at)
{
	struct unit_vfs *u = ctx;
	if (unit_vfs_interrupts(u))
		return -1;
	ssize_t n = vfs_posix()->pread(NULL, fd, data, len, at);
	u->bytes_read += n > 0 ? (uint64_t)n : 0;
	return n;
}

static inline ssize_t unit_writev(void *ctx, int fd, const struct iovec *iov, int n)
{
	struct unit_vfs *u = ctx;
	if (unit_vfs_interrupts(u) || unit_vfs_fails(u))
		return -1;
	if (u->short_write == 0)
		return vfs_posix()->writev(NULL, fd, iov, n);
	struct iovec one = {.iov_base = iov[0].iov_base, .iov_len = iov[0].iov_len};
	if (one.iov_len > u->short_write)
		one.iov_len = u->short_write;
	return vfs_posix()->writev(NULL, fd, &one, 1);
}

static inline int unit_fsync(void *ctx, int fd)
{
	return unit_vfs_fails(ctx) ? -1 : vfs_posix()->fsync(NULL, fd);
}

static inline int unit_renameat(void *ctx, int dirfd, const char *from, const char *to)
{
	return unit_vfs_fails(ctx) ? -1 : vfs_posix()->renameat(NULL, dirfd, from, to);
}

static inline int unit_linkat(void *ctx, int olddir, const char *from, int newdir, const char *to)
{
	struct unit_vfs *u = ctx;
	if (u->no_links) {
		errno = EPERM;
		return -1;
	}
	return unit_vfs_fails(u) ? -1 : vfs_posix()->linkat(NULL, olddir, from, newdir, to);
}

static inline int unit_unlinkat(void *ctx, int dirfd, const char *name)
{
	return unit_vfs_fails(ctx) ? -1 : vfs_posix()->unlinkat(NULL, dirfd, name);
}

static inline void unit_vfs_init(struct unit_vfs *u)
{
	memset(u, 0, sizeof(*u));
	u->vfs = *vfs_posix();
	u->vfs.ctx = u;
	u->vfs.openat = unit_openat;
	u->vfs.pread = unit_pread;
	u->vfs.writev = unit_writev;
	u->vfs.fsync = unit_fsync;
	u->vfs.renameat = unit_renameat;
	u->vfs.linkat = unit_linkat;
	u->vfs.unlinkat = unit_unlinkat;
}

#endif
