/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz: what the fuzz targets share. A target is one function over bytes: libFuzzer calls it (make fuzz), and so does
 * replay.c for each file of the corpus (make check). Checksums would keep a fuzzer out, so targets put right ones in;
 * whatever else the bytes say stays. One thread. */
#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "base/bytes.h"
#include "base/check.h"
#include "base/crc32c.h"
#include "base/vfs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* What a target allocates for a length that a file claims: beyond this it leaves the case alone. */
#define FUZZ_RAW_MAX (4u << 20)

/* One file in memory, as a vfs; every name opens it. */
struct fuzz_file {
	struct vfs vfs;
	const uint8_t *data;
	size_t len;
};

static inline int fuzz_openat(void *ctx, int dirfd, const char *name, int flags, mode_t mode)
{
	(void)ctx, (void)dirfd, (void)name, (void)flags, (void)mode;
	return 100;
}

static inline int fuzz_close(void *ctx, int fd)
{
	(void)ctx, (void)fd;
	return 0;
}

static inline ssize_t fuzz_pread(void *ctx, int fd, void *data, size_t len, off_t at)
{
	const struct fuzz_file *f = ctx;
	(void)fd;
	if ((uint64_t)at >= f->len)
		return 0;
	size_t n = f->len - (size_t)at < len ? f->len - (size_t)at : len;
	memcpy(data, f->data + at, n);
	return (ssize_t)n;
}

static inline int fuzz_fstat(void *ctx, int fd, struct stat *ret_st)
{
	const struct fuzz_file *f = ctx;
	(void)fd;
	*ret_st = (struct stat){.st_mode = S_IFREG | 0600, .st_size = (off_t)f->len};
	return 0;
}

/* The table's ctx is the file itself, so it must not be moved. */
static inline void fuzz_file_init(struct fuzz_file *f, const uint8_t *data, size_t len)
{
	*f = (struct fuzz_file){.vfs = {.ctx = f,
	                            .openat = fuzz_openat,
	                            .close = fuzz_close,
	                            .pread = fuzz_pread,
	                            .fstat = fuzz_fstat},
	    .data = data,
	    .len = len};
}

/* A copy that may be changed, allocated to the byte, so that a sanitizer sees one too many. */
static inline uint8_t *fuzz_copy(const uint8_t *data, size_t len)
{
	uint8_t *copy = calloc(1, len ? len : 1);
	CHECK(copy != NULL);
	if (len)
		memcpy(copy, data, len);
	return copy;
}

#endif
