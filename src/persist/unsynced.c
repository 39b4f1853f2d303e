/* SPDX-License-Identifier: BSD-3-Clause */
/* unsynced: see unsynced.h. */
#include "persist/unsynced.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include "base/vfs.h"

#define PIECE (UINT64_C(1) << 20)

void unsynced_tell(struct files *f)
{
	const struct vfs *vfs = datadir_vfs(f->dir);
	int fd = vfs_open(vfs, datadir_fd(f->dir), DATADIR_UNSYNCED, O_WRONLY | O_CREAT);
	if (fd >= 0)
		vfs->close(vfs->ctx, fd);
}

void unsynced_forget(struct files *f)
{
	const struct vfs *vfs = datadir_vfs(f->dir);
	vfs->unlinkat(vfs->ctx, datadir_fd(f->dir), DATADIR_UNSYNCED);
}

static bool is_told(struct files *f)
{
	const struct vfs *vfs = datadir_vfs(f->dir);
	int fd = vfs_open(vfs, datadir_fd(f->dir), DATADIR_UNSYNCED, O_RDONLY);
	if (fd >= 0)
		vfs->close(vfs->ctx, fd);
	return fd >= 0;
}

static bool copy_bytes(const struct vfs *vfs, int from, int to, uint8_t *piece)
{
	ssize_t n;
	for (uint64_t at = 0; (n = vfs_read_at(vfs, from, piece, PIECE, at)) > 0; at += (uint64_t)n)
		if (vfs_write_all(vfs, to, piece, (size_t)n) < 0)
			return false;
	return n == 0 && vfs->fdatasync(vfs->ctx, to) == 0;
}

static bool replace(struct files *f, uint64_t number, int from, uint8_t *piece)
{
	const struct vfs *vfs = datadir_vfs(f->dir);
	struct stat st;
	if (vfs->fstat(vfs->ctx, from, &st) < 0)
		return false;
	if (st.st_size == 0)
		return true; /* made ahead */
	int to = files_begin_replacement(f, number, (uint64_t)st.st_size);
	if (to < 0)
		return false;
	bool ok = copy_bytes(vfs, from, to, piece);
	int saved = errno;
	vfs->close(vfs->ctx, to);
	if (!ok)
		files_drop_temporary(f, DATADIR_LOG, number);
	errno = saved;
	return ok && files_replaced(f, number, NULL) == HEARTH_OK;
}

static bool write_anew(struct files *f, uint64_t number, uint8_t *piece)
{
	const struct vfs *vfs = datadir_vfs(f->dir);
	char name[DATADIR_NAME_SIZE];
	datadir_name(DATADIR_LOG, number, name);
	int from = vfs_open(vfs, datadir_fd(f->dir), name, O_RDONLY);
	if (from < 0)
		return errno == ENOENT; /* recovery has told of it */
	bool ok = replace(f, number, from, piece);
	int saved = errno;
	vfs->close(vfs->ctx, from);
	errno = saved;
	return ok;
}

enum hearth_status unsynced_write_anew(struct files *f, struct hearth_error *ret_err)
{
	if (!is_told(f))
		return HEARTH_OK;
	uint8_t *piece = malloc(PIECE);
	if (!piece)
		return hearth_fail(ret_err, HEARTH_NOMEM, "log", 0, "no memory to write it anew");
	for (size_t i = 0; i < f->manifest.n_segments; i++) {
		uint64_t number = f->manifest.segments[i].number;
		if (write_anew(f, number, piece))
			continue;
		char name[DATADIR_NAME_SIZE];
		datadir_name(DATADIR_LOG, number, name);
		free(piece);
		return hearth_fail(ret_err, HEARTH_IO, name, 0, "what was recovered cannot be made durable");
	}
	free(piece);
	unsynced_forget(f);
	return HEARTH_OK;
}
