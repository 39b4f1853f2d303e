/* SPDX-License-Identifier: BSD-3-Clause */
/* vfs: what vfs_open refuses, and that the loops over short and interrupted calls lose nothing. */
#include <limits.h>
#include "unit.h"

static void opens_regular_files_only(void **state)
{
	(void)state;
	struct unit_scratch s = unit_scratch_begin();
	const struct vfs *vfs = vfs_posix();
	unit_write_file(s.fd, "file", "x", 1);
	assert_int_equal(symlinkat("file", s.fd, "link"), 0);
	assert_int_equal(mkdirat(s.fd, "dir", 0700), 0);
	assert_int_equal(mkfifoat(s.fd, "fifo", 0600), 0);
	int fd = vfs_open(vfs, s.fd, "file", O_RDONLY);
	assert_true(fd >= 0);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	vfs->close(vfs->ctx, fd);
	errno = 0;
	assert_int_equal(vfs_open(vfs, s.fd, "link", O_RDONLY), -1);
	assert_int_equal(errno, ELOOP);
	assert_int_equal(vfs_open(vfs, s.fd, "dir", O_RDONLY), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(vfs_open(vfs, s.fd, "fifo", O_RDONLY), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(vfs_open(vfs, s.fd, "missing", O_RDONLY), -1);
	assert_int_equal(errno, ENOENT);
	unit_scratch_end(&s);
}

static void new_files_are_private(void **state)
{
	(void)state;
	struct unit_scratch s = unit_scratch_begin();
	mode_t old = umask(0);
	int fd = vfs_open(vfs_posix(), s.fd, "new", O_WRONLY | O_CREAT | O_EXCL);
	umask(old);
	struct stat st;
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	close(fd);
	assert_int_equal(vfs_open(vfs_posix(), s.fd, "new", O_WRONLY | O_CREAT | O_EXCL), -1);
	assert_int_equal(errno, EEXIST);
	unit_scratch_end(&s);
}

static void writes_all_in_small_bites(void **state)
{
	(void)state;
	struct unit_scratch s = unit_scratch_begin();
	uint8_t bytes[5000];
	unit_fill(bytes, sizeof(bytes), 5);
	for (size_t bite = 1; bite < 5003; bite = bite * 3 + 1) {
		struct unit_vfs u;
		unit_vfs_init(&u);
		u.short_write = bite;
		u.interrupts = 3;
		int fd = vfs_open(&u.vfs, s.fd, "f", O_WRONLY | O_CREAT | O_TRUNC);
		struct iovec iov[6] = {{bytes, 0}, {bytes, 1}, {bytes + 1, 0}, {bytes + 1, 2999},
		    {bytes + 3000, 2000}, {bytes, 0}};
		assert_int_equal(vfs_writev_all(&u.vfs, fd, iov, 6), 0);
		close(fd);
		size_t len;
		uint8_t *back = unit_read_file(s.fd, "f", &len);
		assert_int_equal(len, sizeof(bytes));
		assert_memory_equal(back, bytes, len);
		free(back);
	}
	unit_scratch_end(&s);
}

static void writes_more_pieces_than_one_call_takes(void **state)
{
	(void)state;
	struct unit_scratch s = unit_scratch_begin();
	enum { PIECES = 3 * IOV_MAX + 7 };
	uint8_t *bytes = malloc(PIECES * 3);
	struct iovec *iov = calloc(PIECES, sizeof(*iov));
	unit_fill(bytes, PIECES * 3, 6);
	for (size_t i = 0; i < PIECES; i++)
		iov[i] = (struct iovec){bytes + 3 * i, 3};
	int fd = vfs_open(vfs_posix(), s.fd, "f", O_WRONLY | O_CREAT);
	assert_int_equal(vfs_writev_all(vfs_posix(), fd, iov, PIECES), 0);
	close(fd);
	size_t len;
	uint8_t *back = unit_read_file(s.fd, "f", &len);
	assert_int_equal(len, PIECES * 3);
	assert_memory_equal(back, bytes, len);
	free(back);
	free(iov);
	free(bytes);
	unit_scratch_end(&s);
}

static ssize_t take_nothing(void *ctx, int fd, const struct iovec *iov, int n)
{
	(void)ctx;
	(void)fd;
	(void)iov;
	(void)n;
	return 0;
}

static void failures_are_told(void **state)
{
	(void)state;
	struct unit_scratch s = unit_scratch_begin();
	struct unit_vfs u;
	unit_vfs_init(&u);
	int fd = vfs_open(&u.vfs, s.fd, "f", O_WRONLY | O_CREAT);
	u.short_write = 10;
	u.fail_at = 4; /* the open, two bites, then no more */
	u.error = ENOSPC;
	assert_int_equal(vfs_write_all(&u.vfs, fd, "0123456789012345678901234567890123456789", 40), -1);
	assert_int_equal(errno, ENOSPC);
	u.vfs.writev = take_nothing;
	assert_int_equal(vfs_write_all(&u.vfs, fd, "x", 1), -1);
	assert_int_equal(vfs_write_all(&u.vfs, fd, "", 0), 0);
	close(fd);
	size_t len;
	uint8_t *back = unit_read_file(s.fd, "f", &len);
	assert_int_equal(len, 20);
	free(back);
	unit_scratch_end(&s);
}

static void reads_up_to_the_end(void **state)
{
	(void)state;
	struct unit_scratch s = unit_scratch_begin();
	struct unit_vfs u;
	unit_vfs_init(&u);
	u.interrupts = 2;
	unit_write_file(s.fd, "f", "0123456789", 10);
	int fd = vfs_open(&u.vfs, s.fd, "f", O_RDONLY);
	char out[20] = {0};
	assert_int_equal(vfs_read_at(&u.vfs, fd, out, 4, 3), 4);
	assert_memory_equal(out, "3456", 4);
	assert_int_equal(vfs_read_at(&u.vfs, fd, out, 20, 5), 5);
	assert_memory_equal(out, "56789", 5);
	assert_int_equal(vfs_read_at(&u.vfs, fd, out, 5, 10), 0);
	assert_int_equal(vfs_read_at(&u.vfs, fd, out, 5, UINT64_C(1) << 40), 0);
	assert_int_equal(vfs_read_at(&u.vfs, fd, out, 5, UINT64_MAX), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(vfs_read_at(&u.vfs, fd, out, 5, INT64_MAX), -1);
	close(fd);
	assert_int_equal(vfs_read_at(&u.vfs, fd, out, 5, 0), -1);
	assert_int_equal(errno, EBADF);
	unit_scratch_end(&s);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(opens_regular_files_only),
    cmocka_unit_test(new_files_are_private),
    cmocka_unit_test(writes_all_in_small_bites),
    cmocka_unit_test(writes_more_pieces_than_one_call_takes),
    cmocka_unit_test(failures_are_told),
    cmocka_unit_test(reads_up_to_the_end),
};
UNIT_MAIN(tests)
