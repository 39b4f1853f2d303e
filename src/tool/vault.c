/* SPDX-License-Identifier: BSD-3-Clause */
/* vault: see vault.h. A copy is synced and read back before it counts. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "base/check.h"
#include "base/crc32c.h"
#include "base/msg.h"
#include "base/vfs.h"
#include "tool/report.h"
#include "tool/tar.h"
#include "tool/target.h"
#include "tool/tool.h"
#include "tool/vault.h"

#define VAULT_MAGIC 0x7a017u
#define COPY_SIZE   (1024u * 1024)

struct vault {
	uint32_t magic;
	const char *path;
	bool stream;
	struct datadir *dir;
	bool made, finished;
	struct progress *progress;
	struct vault_counts counts;
	uint8_t *buf;
	/* What is there, to be undone. */
	char (*names)[DATADIR_NAME_SIZE];
	size_t n_names;
};

static const struct vfs *vfs(void)
{
	return vfs_posix();
}

static int fail(const struct vault *v, const char *what)
{
	msg(MSG_ERROR, "%s: %s: %s", v->stream ? "standard output" : v->path, what, strerror(errno));
	return errno == ENOMEM ? TOOL_SYSTEM : TOOL_IO;
}

/* ---- opening and closing ---- */

static int open_directory(struct vault *v)
{
	struct hearth_error err;
	struct stat st;
	int exit_code = target_look(v->path);
	if (exit_code != TOOL_OK)
		return exit_code;
	v->made = stat(v->path, &st) < 0 && errno == ENOENT;
	enum hearth_status status = datadir_open(&v->dir, NULL, v->path, true, true, NULL, &err);
	if (status == HEARTH_OK)
		return target_look(v->path); /* now that nobody else makes one there */
	v->made = false;
	report_error(v->path, &err);
	return status == HEARTH_BUSY ? TOOL_BUSY
	       : status == HEARTH_IO ? TOOL_CANNOT_CREATE
	                             : report_exit(status);
}

int vault_open(struct vault **ret_vault, const char *path, struct progress *progress)
{
	struct vault *v = calloc(1, sizeof(*v));
	*ret_vault = NULL;
	if (!v)
		return report_no_memory();
	*v = (struct vault){
	    .magic = VAULT_MAGIC, .path = path, .stream = strcmp(path, "-") == 0, .progress = progress};
	v->buf = malloc(COPY_SIZE);
	int exit_code = v->buf ? TOOL_OK : report_no_memory();
	if (exit_code == TOOL_OK && !v->stream)
		exit_code = open_directory(v);
	if (exit_code == TOOL_OK)
		*ret_vault = v;
	else
		vault_close(&v);
	return exit_code;
}

static void undo(struct vault *v)
{
	int fd = datadir_fd(v->dir);
	/* It was empty when we came. */
	if (v->n_names > 0) {
		unlinkat(fd, DATADIR_MANIFEST, 0);
		unlinkat(fd, DATADIR_MANIFEST ".tmp", 0);
	}
	/* The text that makes it no backup goes last. */
	for (size_t i = v->n_names; i-- > 0;)
		unlinkat(fd, v->names[i], 0);
	if (v->made)
		rmdir(v->path);
}

void vault_close(struct vault **vault)
{
	struct vault *v = *vault;
	if (!v)
		return;
	CHECK_MAGIC(v, VAULT_MAGIC);
	if (v->dir && !v->finished)
		undo(v);
	datadir_close(&v->dir);
	free(v->names);
	free(v->buf);
	v->magic = 0;
	free(v);
	*vault = NULL;
}

static int remember(struct vault *v, const char *name)
{
	CHECK(strlen(name) < DATADIR_NAME_SIZE);
	void *names = reallocarray(v->names, v->n_names + 1, sizeof(*v->names));
	if (!names)
		return report_no_memory();
	v->names = names;
	strcpy(v->names[v->n_names++], name);
	return TOOL_OK;
}

/* ---- a stream ---- */

static int put_stream(const struct vault *v, const void *data, size_t len)
{
	return vfs_write_all(vfs(), STDOUT_FILENO, data, len) == 0 ? TOOL_OK : fail(v, "write");
}

static int put_header(const struct vault *v, const char *name, uint64_t size)
{
	uint8_t header[TAR_HEADER_MAX];
	return put_stream(v, header, tar_header(name, size, time(NULL), header));
}

static int put_padding(const struct vault *v, uint64_t size)
{
	static const uint8_t zeros[TAR_BLOCK];
	return put_stream(v, zeros, tar_padding(size));
}

/* ---- copying ---- */

/* The next bytes of a file that must have them. Their number, 0 and a message when they are not there. */
static size_t read_some(struct vault *v, const char *name, int fd, uint64_t at, uint64_t size)
{
	size_t want = size - at < COPY_SIZE ? (size_t)(size - at) : COPY_SIZE;
	ssize_t n = vfs_read_at(vfs(), fd, v->buf, want, at);
	if (n == (ssize_t)want)
		return want;
	msg(MSG_ERROR, "%s: cannot be read: %s", name, n < 0 ? strerror(errno) : "it has become shorter");
	return 0;
}

/* To a file or the stream; *ret_crc: of what was read. */
static int copy_bytes(struct vault *v, const char *name, int from, int to, uint64_t size, uint32_t *ret_crc)
{
	*ret_crc = 0;
	for (uint64_t at = 0; at < size;) {
		size_t n = read_some(v, name, from, at, size);
		if (n == 0)
			return TOOL_IO;
		*ret_crc = crc32c(*ret_crc, v->buf, n);
		if (vfs_write_all(vfs(), to, v->buf, n) < 0)
			return fail(v, name);
		at += n;
		progress_add(v->progress, n);
	}
	return TOOL_OK;
}

/* From the disk, as far as the system lets us have it from there. */
static int read_back(struct vault *v, const char *name, int fd, uint64_t size, uint32_t wanted)
{
	uint32_t crc = 0;
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	for (uint64_t at = 0; at < size;) {
		size_t n = read_some(v, name, fd, at, size);
		if (n == 0)
			return TOOL_IO;
		crc = crc32c(crc, v->buf, n);
		at += n;
	}
	if (crc == wanted)
		return TOOL_OK;
	msg(MSG_ERROR, "%s/%s: what was written does not read back", v->path, name);
	return TOOL_IO;
}

static int create(struct vault *v, const char *name, int *ret_fd)
{
	int exit_code = remember(v, name);
	*ret_fd = -1;
	if (exit_code != TOOL_OK)
		return exit_code;
	*ret_fd = vfs_open(vfs(), datadir_fd(v->dir), name, O_RDWR | O_CREAT | O_EXCL);
	if (*ret_fd >= 0)
		return TOOL_OK;
	v->n_names--;
	return fail(v, name);
}

static int finish_file(struct vault *v, const char *name, int fd, int exit_code)
{
	if (exit_code == TOOL_OK && fsync(fd) < 0)
		exit_code = fail(v, name);
	return exit_code;
}

static int copy_file(struct vault *v, const char *name, int from, uint64_t size)
{
	uint32_t crc;
	int to, exit_code = create(v, name, &to);
	if (exit_code != TOOL_OK)
		return exit_code;
	exit_code = finish_file(v, name, to, copy_bytes(v, name, from, to, size, &crc));
	if (exit_code == TOOL_OK)
		exit_code = read_back(v, name, to, size, crc);
	if (close(to) < 0 && exit_code == TOOL_OK)
		exit_code = fail(v, name);
	v->counts.copied++;
	return exit_code;
}

/* ---- linking ---- */

static bool same_file(int fd, int dirfd, const char *name)
{
	struct stat a, b;
	return fstat(fd, &a) == 0 && fstatat(dirfd, name, &b, AT_SYMLINK_NOFOLLOW) == 0 &&
	       a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* False where there are no links, or not to this file any more: the name went, or is another's by now. */
static bool link_file(struct vault *v, int dirfd, const char *name, int fd)
{
	int to = datadir_fd(v->dir);
	if (linkat(dirfd, name, to, name, 0) < 0)
		return false;
	if (same_file(fd, to, name))
		return true;
	unlinkat(to, name, 0);
	return false;
}

int vault_put_file(struct vault *v, int dirfd, const char *name, int fd, uint64_t size, bool whole)
{
	uint32_t crc;
	int exit_code;
	CHECK_MAGIC(v, VAULT_MAGIC);
	v->counts.files++;
	v->counts.bytes += size;
	if (v->stream) {
		exit_code = put_header(v, name, size);
		if (exit_code == TOOL_OK)
			exit_code = copy_bytes(v, name, fd, STDOUT_FILENO, size, &crc);
		return exit_code == TOOL_OK ? put_padding(v, size) : exit_code;
	}
	if (!whole || !link_file(v, dirfd, name, fd))
		return copy_file(v, name, fd, size);
	v->counts.linked++;
	progress_add(v->progress, size);
	exit_code = remember(v, name);
	if (exit_code != TOOL_OK) {
		unlinkat(datadir_fd(v->dir), name, 0);
		return exit_code;
	}
	/* Sealed is not synced yet: whoever wrote it may still be at it. */
	return finish_file(v, name, fd, TOOL_OK);
}

int vault_put_bytes(struct vault *v, const char *name, const void *data, size_t len)
{
	int to, exit_code;
	CHECK_MAGIC(v, VAULT_MAGIC);
	v->counts.files++;
	v->counts.bytes += len;
	if (v->stream) {
		exit_code = put_header(v, name, len);
		if (exit_code == TOOL_OK)
			exit_code = put_stream(v, data, len);
		return exit_code == TOOL_OK ? put_padding(v, len) : exit_code;
	}
	exit_code = create(v, name, &to);
	if (exit_code != TOOL_OK)
		return exit_code;
	exit_code = vfs_write_all(vfs(), to, data, len) == 0 ? TOOL_OK : fail(v, name);
	exit_code = finish_file(v, name, to, exit_code);
	if (close(to) < 0 && exit_code == TOOL_OK)
		exit_code = fail(v, name);
	return exit_code;
}

/* ---- the end ---- */

static int finish_stream(struct vault *v, const struct manifest *m)
{
	static const uint8_t zeros[TAR_END];
	size_t len;
	uint8_t *image = datadir_manifest_image(m, &len);
	if (!image)
		return report_no_memory();
	int exit_code = vault_put_bytes(v, DATADIR_MANIFEST, image, len);
	free(image);
	return exit_code == TOOL_OK ? put_stream(v, zeros, sizeof(zeros)) : exit_code;
}

int vault_finish(struct vault *v, const struct manifest *m)
{
	struct hearth_error err;
	CHECK_MAGIC(v, VAULT_MAGIC);
	if (v->stream)
		return finish_stream(v, m);
	if (fsync(datadir_fd(v->dir)) < 0)
		return fail(v, "directory");
	if (datadir_write_manifest(v->dir, m, &err) != HEARTH_OK) {
		report_error(v->path, &err);
		return tool_worse(report_exit(err.status), TOOL_DATA);
	}
	v->counts.files++;
	v->finished = true;
	return TOOL_OK;
}

struct vault_counts vault_get_counts(const struct vault *v)
{
	return v->counts;
}
