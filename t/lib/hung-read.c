/* SPDX-License-Identifier: BSD-3-Clause */
/* hung-read: a library to be loaded before a program: while the file HEARTH_HANG is there, reads at a place of a file (pread) do
 * not come back, as those of a disk that does not answer. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

typedef ssize_t pread_call(int fd, void *data, size_t len, off_t offset);

static ssize_t wait_and_read(const char *name, int fd, void *data, size_t len, off_t offset)
{
	const char *path = getenv("HEARTH_HANG");
	pread_call *next = (pread_call *)dlsym(RTLD_NEXT, name);
	while (path && access(path, F_OK) == 0)
		usleep(10000);
	return next(fd, data, len, offset);
}

ssize_t pread(int fd, void *data, size_t len, off_t offset)
{
	return wait_and_read("pread", fd, data, len, offset);
}

ssize_t pread64(int fd, void *data, size_t len, off_t offset)
{
	return wait_and_read("pread64", fd, data, len, offset);
}
