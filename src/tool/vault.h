/* SPDX-License-Identifier: BSD-3-Clause */
/* vault: where a backup goes: a directory, into which files are linked where the file system allows it, or a tar
 * stream on standard output. Files keep their names; the manifest comes last, and a text that tells what it is comes
 * first: what has that and no manifest is no backup. One thread. Failures are reported here. */
#ifndef TOOL_VAULT_H
#define TOOL_VAULT_H

#include <hearth/datadir.h>
#include "tool/progress.h"

struct vault;

/* An empty or missing directory, or "-". TOOL_OK, TOOL_CANNOT_CREATE, TOOL_BUSY, ... */
int vault_open(struct vault **ret_vault, const char *path, struct progress *progress);
/* Undoes all of it unless vault_finish succeeded; from a stream nothing can be taken back. */
void vault_close(struct vault **vault);

/* The first `size` bytes of fd, whose name below dirfd is `name` if nobody has taken it away. whole: the file holds no
 * more than these, and nobody will write to it: it may be linked. */
int vault_put_file(struct vault *v, int dirfd, const char *name, int fd, uint64_t size, bool whole);
int vault_put_bytes(struct vault *v, const char *name, const void *data, size_t len);
int vault_finish(struct vault *v, const struct manifest *m);

struct vault_counts {
	uint64_t files, bytes, linked, copied; /* bytes: of all files */
};
struct vault_counts vault_get_counts(const struct vault *v);

#endif
