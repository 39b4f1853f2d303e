/* SPDX-License-Identifier: BSD-3-Clause */
/* status: what libhearth's calls return. The library never prints, exits, starts a thread or keeps global
 * state; it returns a status, and where a file is concerned an error that says where. */
#ifndef HEARTH_STATUS_H
#define HEARTH_STATUS_H

#include <stdint.h>

enum hearth_status {
	HEARTH_OK = 0,
	HEARTH_END = 1,       /* nothing more (yet); not an error */
	HEARTH_TORN = 2,      /* the file ends inside something: a write that was cut off */
	HEARTH_DAMAGED = -1,  /* bytes that no Hearth wrote so: bad CRC, impossible length, broken chain */
	HEARTH_NEWER = -2,    /* a format version or feature this program does not know */
	HEARTH_FOREIGN = -3,  /* not a Hearth file, or one of another lineage */
	HEARTH_BUSY = -4,     /* another daemon holds the directory */
	HEARTH_IO = -5,       /* a system call failed: see sys_errno */
	HEARTH_NOMEM = -6,    /* memory is short */
	HEARTH_TOO_LARGE = -7 /* the caller's buffer, or a stated limit, is too small for it */
};

struct hearth_error {
	enum hearth_status status;
	int sys_errno;    /* with HEARTH_IO */
	uint64_t offset;  /* in the file, bytes */
	char file[80];    /* name inside the data directory, or as the caller named it */
	const char *what; /* static text: "block checksum does not match", ... */
};

/* Static text for a status: "damaged", ... */
const char *hearth_status_text(enum hearth_status status);

/* Fills ret_err (may be NULL) and returns status, so that a failing call is one line. sys_errno is taken from
 * errno for HEARTH_IO and is 0 otherwise. */
enum hearth_status hearth_fail(struct hearth_error *ret_err, enum hearth_status status, const char *file,
    uint64_t offset, const char *what);

#endif
