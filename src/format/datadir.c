/* SPDX-License-Identifier: BSD-3-Clause */
/* datadir: the directory itself: opening and locking it, MANIFEST as a file, and where files go that are set
 * aside. A struct datadir owns the descriptor, to which the lock belongs; one thread at a time. Nothing is
 * changed by opening and reading. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include "base/check.h"
#include "format/datadir_dir.h"
#include "format/datadir_lock.h"

#define DIR_MAGIC 0x44444952u

struct datadir {
	uint32_t magic;
	const struct vfs *vfs;
	int fd;
	char *path;
};

int datadir_sync(const struct vfs *vfs, int fd)
{
	return vfs->fsync(vfs->ctx, fd);
}

/* The entry of a directory just made, in the one above it. */
static int sync_parent(const struct vfs *vfs, int fd)
{
	int parent = vfs->openat(vfs->ctx, fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (parent < 0)
		return errno == EACCES ? 0 : -1; /* one may not look there: then one cannot sync it either */
	int ret = datadir_sync(vfs, parent);
	int saved = errno;
	vfs->close(vfs->ctx, parent);
	errno = saved;
	return ret;
}

static int open_path(const struct vfs *vfs, const char *path, bool create)
{
	int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
	int fd = vfs->openat(vfs->ctx, AT_FDCWD, path, flags, 0);
	if (fd >= 0 || errno != ENOENT || !create)
		return fd;
	if (vfs->mkdirat(vfs->ctx, AT_FDCWD, path, 0700) != 0 && errno != EEXIST)
		return -1;
	fd = vfs->openat(vfs->ctx, AT_FDCWD, path, flags, 0);
	if (fd >= 0 && sync_parent(vfs, fd) != 0) {
		int saved = errno;
		vfs->close(vfs->ctx, fd);
		errno = saved;
		return -1;
	}
	return fd;
}

enum hearth_status datadir_open(struct datadir **ret_dir, const struct vfs *vfs, const char *path,
    bool create, bool lock, int *ret_pid, struct hearth_error *ret_err)
{
	*ret_dir = NULL;
	if (ret_pid != NULL)
		*ret_pid = 0;
	struct datadir *dir = calloc(1, sizeof(*dir));
	if (dir == NULL)
		return hearth_fail(ret_err, HEARTH_NOMEM, path, 0, "no memory for the data directory");
	enum hearth_status status = HEARTH_OK;
	dir->magic = DIR_MAGIC;
	dir->vfs = vfs ? vfs : vfs_posix();
	dir->fd = -1;
	dir->path = strdup(path);
	if (dir->path == NULL) {
		status = hearth_fail(ret_err, HEARTH_NOMEM, path, 0, "no memory for the data directory");
		goto out;
	}
	dir->fd = open_path(dir->vfs, path, create);
	if (dir->fd < 0) {
		status = hearth_fail(ret_err, HEARTH_IO, path, 0, "cannot open the data directory");
		goto out;
	}
	if (lock && dir->vfs->flock(dir->vfs->ctx, dir->fd, LOCK_EX | LOCK_NB) != 0) {
		status = errno == EWOULDBLOCK ? HEARTH_BUSY : HEARTH_IO;
		hearth_fail(ret_err, status, path, 0,
		    status == HEARTH_BUSY ? "another process holds the data directory"
		                          : "cannot lock the data directory");
		if (status == HEARTH_BUSY && ret_pid != NULL)
			*ret_pid = datadir_lock_holder(dir->vfs, dir->fd);
	}
out:
	if (status == HEARTH_OK)
		*ret_dir = dir;
	else
		datadir_close(&dir);
	return status;
}

void datadir_close(struct datadir **dir)
{
	if (*dir == NULL)
		return;
	CHECK_MAGIC(*dir, DIR_MAGIC);
	if ((*dir)->fd >= 0)
		(*dir)->vfs->close((*dir)->vfs->ctx, (*dir)->fd);
	free((*dir)->path);
	(*dir)->magic = 0;
	free(*dir);
	*dir = NULL;
}

int datadir_fd(const struct datadir *dir)
{
	CHECK_MAGIC(dir, DIR_MAGIC);
	return dir->fd;
}

const struct vfs *datadir_vfs(const struct datadir *dir)
{
	CHECK_MAGIC(dir, DIR_MAGIC);
	return dir->vfs;
}

void datadir_set_vfs(struct datadir *dir, const struct vfs *vfs)
{
	CHECK_MAGIC(dir, DIR_MAGIC);
	dir->vfs = vfs;
}

const char *datadir_path(const struct datadir *dir)
{
	CHECK_MAGIC(dir, DIR_MAGIC);
	return dir->path;
}

int datadir_open_below(const struct datadir *dir, const char *name)
{
	CHECK_MAGIC(dir, DIR_MAGIC);
	return dir->vfs->openat(
	    dir->vfs->ctx, dir->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
}

/* ---- MANIFEST ---- */

/* The first segment is made before the first MANIFEST names it: a start that was killed in between leaves it empty. */
static bool is_empty_log(const struct datadir *dir, const char *name, enum datadir_kind kind)
{
	struct stat st;
	int fd = kind == DATADIR_LOG ? vfs_open(dir->vfs, dir->fd, name, O_RDONLY) : -1;
	if (fd < 0)
		return false;
	bool empty = dir->vfs->fstat(dir->vfs->ctx, fd, &st) == 0 && st.st_size == 0;
	dir->vfs->close(dir->vfs->ctx, fd);
	return empty;
}

/* What a directory without MANIFEST is: new, ours with the manifest lost, or somebody else's. A backup's manifest comes
 * last: without it not all of its files need be there. */
static enum hearth_status judge_names(
    const struct datadir *dir, const struct datadir_names *names, bool have_manifest)
{
	enum hearth_status status = HEARTH_END;
	for (size_t i = 0; i < names->n && !have_manifest; i++)
		if (strcmp(names->names[i], DATADIR_BACKUP) == 0)
			return HEARTH_FOREIGN;
	for (size_t i = 0; i < names->n; i++) {
		const char *name = names->names[i];
		enum datadir_kind kind;
		uint64_t number;
		bool data = datadir_parse_name(name, &kind, &number);
		if (data && (have_manifest || !is_empty_log(dir, name, kind)))
			return HEARTH_DAMAGED;
		bool ours = data || datadir_is_temporary(name) || strcmp(name, DATADIR_SET_ASIDE) == 0 ||
		            strcmp(name, DATADIR_ADMIN) == 0 || strcmp(name, DATADIR_RESERVE) == 0 ||
		            strcmp(name, DATADIR_UNSYNCED) == 0;
		/* A mount point has lost+found, a home directory its hidden files: no data of anybody. */
		if (!ours && name[0] != '.' && strcmp(name, "lost+found") != 0 &&
		    strcmp(name, DATADIR_MANIFEST) != 0)
			status = HEARTH_FOREIGN;
	}
	return status;
}

/* have_manifest: there is a MANIFEST, but it is not one that we wrote. */
static enum hearth_status judge_directory(
    const struct datadir *dir, bool have_manifest, struct hearth_error *ret_err)
{
	struct datadir_names names;
	enum hearth_status status = datadir_list(dir->vfs, dir->fd, &names);
	if (status != HEARTH_OK)
		return hearth_fail(ret_err, status, dir->path, 0, "cannot list the data directory");
	status = judge_names(dir, &names, have_manifest);
	datadir_free_names(&names);
	if (have_manifest && status == HEARTH_END)
		status = HEARTH_FOREIGN;
	if (status == HEARTH_DAMAGED)
		return hearth_fail(
		    ret_err, status, DATADIR_MANIFEST, 0, "files, but no manifest that verifies");
	if (status == HEARTH_FOREIGN)
		return hearth_fail(ret_err, status, dir->path, 0,
		    "not a Hearth data directory (or a backup that was not finished), and not empty");
	return status;
}

/* The whole of an open file. */
static enum hearth_status read_whole(
    const struct vfs *vfs, int fd, struct buf *out, struct hearth_error *ret_err)
{
	struct stat st;
	if (vfs->fstat(vfs->ctx, fd, &st) != 0)
		return hearth_fail(ret_err, HEARTH_IO, DATADIR_MANIFEST, 0, "cannot read the manifest");
	if (st.st_size > MANIFEST_SIZE_MAX)
		return hearth_fail(
		    ret_err, HEARTH_DAMAGED, DATADIR_MANIFEST, 0, "manifest is impossibly large");
	if (!buf_reserve(out, (size_t)st.st_size + 1))
		return hearth_fail(ret_err, HEARTH_NOMEM, DATADIR_MANIFEST, 0, "no memory for the manifest");
	ssize_t n = vfs_read_at(vfs, fd, out->data, (size_t)st.st_size, 0);
	if (n < 0)
		return hearth_fail(ret_err, HEARTH_IO, DATADIR_MANIFEST, 0, "cannot read the manifest");
	out->tail = (size_t)n;
	return HEARTH_OK;
}

enum hearth_status datadir_read_manifest(
    struct datadir *dir, struct manifest *ret_m, bool *ret_repaired, struct hearth_error *ret_err)
{
	CHECK_MAGIC(dir, DIR_MAGIC);
	*ret_m = (struct manifest){0};
	*ret_repaired = false;
	int fd = vfs_open(dir->vfs, dir->fd, DATADIR_MANIFEST, O_RDONLY);
	if (fd < 0 && errno == ENOENT)
		return judge_directory(dir, false, ret_err);
	if (fd < 0)
		return hearth_fail(ret_err, HEARTH_IO, DATADIR_MANIFEST, 0, "cannot open the manifest");
	struct buf content = {0};
	enum hearth_status status = read_whole(dir->vfs, fd, &content, ret_err);
	if (status != HEARTH_OK)
		goto out;
	status = manifest_decode(content.data, buf_len(&content), ret_m, ret_repaired);
	if (status == HEARTH_FOREIGN)
		status = judge_directory(dir, true, ret_err);
	else if (status == HEARTH_NEWER)
		hearth_fail(ret_err, status, DATADIR_MANIFEST, 8, "data directory has a newer format");
	else if (status != HEARTH_OK)
		hearth_fail(ret_err, status, DATADIR_MANIFEST, 0, "manifest does not verify");
out:
	buf_free(&content);
	dir->vfs->close(dir->vfs->ctx, fd);
	return status;
}

static int write_temporary(const struct datadir *dir, const struct buf *content)
{
	const struct vfs *vfs = dir->vfs;
	if (vfs->unlinkat(vfs->ctx, dir->fd, DATADIR_MANIFEST_TEMPORARY) != 0 && errno != ENOENT)
		return -1;
	int fd = vfs_open(vfs, dir->fd, DATADIR_MANIFEST_TEMPORARY, O_WRONLY | O_CREAT | O_EXCL);
	if (fd < 0)
		return -1;
	int ret = vfs_write_all(vfs, fd, content->data + content->head, buf_len(content));
	if (ret == 0)
		ret = vfs->fsync(vfs->ctx, fd);
	int saved = errno;
	if (vfs->close(vfs->ctx, fd) != 0 && ret == 0)
		return -1;
	errno = saved;
	return ret;
}

enum hearth_status datadir_write_manifest(
    struct datadir *dir, const struct manifest *m, struct hearth_error *ret_err)
{
	CHECK_MAGIC(dir, DIR_MAGIC);
	struct buf content = {0};
	enum hearth_status status = manifest_encode(m, &content);
	if (status != HEARTH_OK) {
		hearth_fail(
		    ret_err, status, DATADIR_MANIFEST, 0, "manifest is too large for memory or format");
		goto out;
	}
	/* A temporary file that is left here is swept at the next start, or replaced by the next try. */
	if (write_temporary(dir, &content) != 0)
		status = hearth_fail(
		    ret_err, HEARTH_IO, DATADIR_MANIFEST_TEMPORARY, 0, "cannot write the manifest");
	else if (dir->vfs->renameat(dir->vfs->ctx, dir->fd, DATADIR_MANIFEST_TEMPORARY, DATADIR_MANIFEST) !=
	         0)
		status = hearth_fail(ret_err, HEARTH_IO, DATADIR_MANIFEST, 0, "cannot replace the manifest");
	else if (datadir_sync(dir->vfs, dir->fd) != 0)
		status = hearth_fail(ret_err, HEARTH_IO, dir->path, 0, "cannot sync the data directory");
out:
	buf_free(&content);
	return status;
}

uint8_t *datadir_manifest_image(const struct manifest *m, size_t *ret_len)
{
	struct buf content = {0};
	if (manifest_encode(m, &content) != HEARTH_OK) {
		buf_free(&content);
		return NULL;
	}
	*ret_len = buf_len(&content);
	return content.data; /* a new buffer begins at its front */
}

/* ---- small things ---- */

static enum hearth_status sweep(const struct datadir *dir, int fd, struct hearth_error *ret_err)
{
	struct datadir_names names;
	enum hearth_status status = datadir_list(dir->vfs, fd, &names);
	if (status != HEARTH_OK)
		return hearth_fail(ret_err, status, dir->path, 0, "cannot list the data directory");
	for (size_t i = 0; i < names.n; i++) {
		if (!datadir_is_temporary(names.names[i]))
			continue;
		if (dir->vfs->unlinkat(dir->vfs->ctx, fd, names.names[i]) != 0 && errno != ENOENT)
			status = hearth_fail(
			    ret_err, HEARTH_IO, names.names[i], 0, "cannot remove a temporary file");
	}
	datadir_free_names(&names);
	return status;
}

enum hearth_status datadir_sweep_temporary(struct datadir *dir, struct hearth_error *ret_err)
{
	CHECK_MAGIC(dir, DIR_MAGIC);
	return sweep(dir, dir->fd, ret_err);
}

int datadir_random_id(uint8_t ret_id[HEARTH_ID_SIZE])
{
	size_t got = 0;
	while (got < HEARTH_ID_SIZE) {
		ssize_t n = getrandom(ret_id + got, HEARTH_ID_SIZE - got, 0);
		if (n < 0 && errno != EINTR)
			return -1;
		if (n > 0)
			got += (size_t)n;
	}
	return 0;
}
