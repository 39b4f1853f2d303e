/* SPDX-License-Identifier: BSD-3-Clause */
/* datadir_dir: what the files of the datadir module share. Floor 1 only. */
#ifndef FORMAT_DATADIR_DIR_H
#define FORMAT_DATADIR_DIR_H

#include <stddef.h>
#include <stdint.h>
#include <hearth/datadir.h>
#include "base/buf.h"
#include "base/vfs.h"

#define DATADIR_MANIFEST_TEMPORARY DATADIR_MANIFEST ".tmp"
#define DATADIR_TEMPORARY_SUFFIX   ".tmp"
/* No directory of ours comes near this; a listing beyond it is refused. */
#define DATADIR_NAMES_MAX (1u << 17)

/* Names in a directory, copied out: the listing is not held open while files come and go. */
struct datadir_names {
	char **names;
	size_t n, room;
};

/* All names but "." and "..", in no order. HEARTH_OK, HEARTH_IO, HEARTH_NOMEM, HEARTH_TOO_LARGE. */
enum hearth_status datadir_list(const struct vfs *vfs, int fd, struct datadir_names *ret_names);
void datadir_free_names(struct datadir_names *names);
/* Whether a name is a temporary one that we make: of the manifest, a segment or a snapshot. */
bool datadir_is_temporary(const char *name);
/* A directory below the data directory; -1 and errno. */
int datadir_open_below(const struct datadir *dir, const char *name);
/* 0, or -1 with errno. */
int datadir_sync(const struct vfs *vfs, int fd);

/* ---- manifest.c ---- */
/* Both copies, appended to out; HEARTH_OK, HEARTH_NOMEM, HEARTH_TOO_LARGE. */
enum hearth_status manifest_encode(const struct manifest *m, struct buf *out);
/* Reads a manifest out of a whole file. HEARTH_OK; HEARTH_NEWER; HEARTH_DAMAGED when no copy verifies, or two
 * that differ; HEARTH_FOREIGN when there is no trace of one; HEARTH_NOMEM. */
enum hearth_status manifest_decode(const void *data, size_t len, struct manifest *ret_m, bool *ret_repaired);
/* Beyond this no manifest is read or written: 100,000 segments. */
#define MANIFEST_SIZE_MAX (8u << 20)

#endif
