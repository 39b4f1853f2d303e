/* SPDX-License-Identifier: BSD-3-Clause */
/* tar: the headers of a tar stream (POSIX ustar, with a pax header before a file of 8 GiB or more). Regular files of
 * mode 0600 with names of at most 99 bytes are all that a backup has. Written here because that is less than what
 * binding a library takes: libarchive would bring a dozen others into a tool that is to run on a broken machine.
 * Pure. */
#ifndef TOOL_TAR_H
#define TOOL_TAR_H

#include <stddef.h>
#include <stdint.h>

#define TAR_BLOCK 512u
/* The most that tar_header writes: a pax header, its body, the header. */
#define TAR_HEADER_MAX (3 * TAR_BLOCK)
/* A stream ends with so many zeros. */
#define TAR_END (2 * TAR_BLOCK)

/* The header of a file; returns its length. */
size_t tar_header(const char *name, uint64_t size, int64_t mtime, uint8_t out[TAR_HEADER_MAX]);

/* Zeros behind a file's content. */
static inline size_t tar_padding(uint64_t size)
{
	return (size_t)((TAR_BLOCK - size % TAR_BLOCK) % TAR_BLOCK);
}

#endif
