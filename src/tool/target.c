/* SPDX-License-Identifier: BSD-3-Clause */
/* target: see target.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/crc32c.h"
#include "base/msg.h"
#include "base/vfs.h"
#include "tool/report.h"
#include "tool/source.h"
#include "tool/target.h"
#include "tool/tool.h"

#define TARGET_MAGIC 0x7a46e7u
#define TEMPORARY    ".tmp"
#define LEVEL        1 /* zstd's, as the daemon's */
/* Blocks are gathered up to this, so that small ones do not cost a system call each. */
#define GATHER (1024u * 1024)

struct target_file {
	char name[DATADIR_NAME_SIZE];
	bool renamed;
};

struct target {
	uint32_t magic;
	char *path;
	struct datadir *dir;
	bool made; /* the directory was */
	bool finished;
	struct manifest manifest;
	struct target_file *files;
	size_t n_files;
	uint64_t bytes;
	int fd; /* of the file being written, -1 = none */

	struct snapshot_writer *writer;
	struct manifest_snapshot snapshot;

	struct segment_header segment; /* the one being written */
	uint64_t offset;               /* in it */
	uint64_t last;                 /* number of the last record */
	uint32_t crc;                  /* of the last block */
	struct buf gathered;
};

static int fail(const struct target *t, const char *what)
{
	msg(MSG_ERROR, "%s: %s: %s", t->path, what, strerror(errno));
	return errno == ENOMEM ? TOOL_SYSTEM : TOOL_IO;
}

static int library_fail(const struct target *t, const struct hearth_error *err)
{
	report_error(t->path, err);
	return tool_worse(report_exit(err->status), TOOL_DATA);
}

/* ---- the directory ---- */

static int refuse(const char *path, const char *why)
{
	msg(MSG_ERROR, "%s: %s", path, why);
	return TOOL_CANNOT_CREATE;
}

static int look_at_names(int fd, const char *path)
{
	char **names;
	size_t n;
	if (source_list(fd, &names, &n) < 0)
		return refuse(path, strerror(errno));
	source_free_names(names, n);
	return n == 0 ? TOOL_OK : refuse(path, "is not empty");
}

int target_look(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? TOOL_OK : refuse(path, strerror(errno));
	int exit_code = look_at_names(fd, path);
	close(fd);
	return exit_code;
}

static int open_directory(struct target *t)
{
	struct hearth_error err;
	struct stat st;
	t->made = stat(t->path, &st) < 0 && errno == ENOENT;
	enum hearth_status status = datadir_open(&t->dir, NULL, t->path, true, true, NULL, &err);
	if (status == HEARTH_OK)
		return look_at_names(datadir_fd(t->dir), t->path);
	t->made = false;
	report_error(t->path, &err);
	return status == HEARTH_BUSY ? TOOL_BUSY
	       : status == HEARTH_IO ? TOOL_CANNOT_CREATE
	                             : report_exit(status);
}

int target_open(struct target **ret_target, const char *path, uint64_t high_water)
{
	struct target *t = calloc(1, sizeof(*t));
	*ret_target = NULL;
	if (!t)
		return report_no_memory();
	t->magic = TARGET_MAGIC;
	t->fd = -1;
	t->manifest.generation = t->manifest.next_segment = t->manifest.next_snapshot = 1;
	t->manifest.high_water = high_water;
	t->path = strdup(path);
	int exit_code = t->path ? open_directory(t) : report_no_memory();
	if (exit_code == TOOL_OK && datadir_random_id(t->manifest.lineage) < 0)
		exit_code = fail(t, "no random bytes for its id");
	if (exit_code == TOOL_OK)
		*ret_target = t;
	else
		target_close(&t);
	return exit_code;
}

static void temporary_name(const struct target_file *file, char out[DATADIR_NAME_SIZE + sizeof(TEMPORARY)])
{
	strcpy(out, file->name);
	strcat(out, TEMPORARY);
}

static void undo(struct target *t)
{
	for (size_t i = 0; i < t->n_files; i++) {
		char name[DATADIR_NAME_SIZE + sizeof(TEMPORARY)];
		temporary_name(&t->files[i], name);
		unlinkat(datadir_fd(t->dir), t->files[i].renamed ? t->files[i].name : name, 0);
	}
	/* What target_finish began and could not end; never somebody else's. */
	if (t->n_files > 0)
		unlinkat(datadir_fd(t->dir), DATADIR_MANIFEST TEMPORARY, 0);
	if (t->made)
		rmdir(t->path);
}

void target_close(struct target **target)
{
	struct target *t = *target;
	if (!t)
		return;
	CHECK_MAGIC(t, TARGET_MAGIC);
	snapshot_writer_close(&t->writer);
	if (t->fd >= 0)
		close(t->fd);
	if (t->dir && !t->finished)
		undo(t);
	datadir_close(&t->dir);
	manifest_free(&t->manifest);
	buf_free(&t->gathered);
	free(t->files);
	free(t->path);
	t->magic = 0;
	free(t);
	*target = NULL;
}

/* ---- files ---- */

static int begin_file(struct target *t, enum datadir_kind kind, uint64_t number)
{
	CHECK(t->fd < 0);
	struct target_file *files = reallocarray(t->files, t->n_files + 1, sizeof(*files));
	if (!files)
		return report_no_memory();
	t->files = files;
	struct target_file *file = &files[t->n_files];
	char name[DATADIR_NAME_SIZE + sizeof(TEMPORARY)];
	*file = (struct target_file){.renamed = false};
	datadir_name(kind, number, file->name);
	temporary_name(file, name);
	t->fd = vfs_open(vfs_posix(), datadir_fd(t->dir), name, O_WRONLY | O_CREAT | O_EXCL);
	if (t->fd < 0)
		return fail(t, name);
	t->n_files++;
	return TOOL_OK;
}

static int end_file(struct target *t)
{
	struct target_file *file = &t->files[t->n_files - 1];
	int fd = t->fd;
	int ret = fsync(fd);
	int saved = errno;
	t->fd = -1;
	if (close(fd) < 0 && ret == 0)
		return fail(t, file->name);
	errno = saved;
	return ret == 0 ? TOOL_OK : fail(t, file->name);
}

/* ---- the snapshot ---- */

int target_snapshot_begin(struct target *t, const struct snapshot_header *header)
{
	CHECK_MAGIC(t, TARGET_MAGIC);
	struct snapshot_header h = *header;
	struct hearth_error err;
	memset(&h.features, 0, sizeof(h.features));
	memcpy(h.lineage, t->manifest.lineage, sizeof(h.lineage));
	h.generation = t->manifest.generation;
	h.term = 0;
	h.number = t->manifest.next_snapshot++;
	h.high_water = t->manifest.high_water;
	if (datadir_random_id(h.salt) < 0)
		return fail(t, "no random bytes for a salt");
	t->snapshot = (struct manifest_snapshot){
	    .number = h.number, .start = h.start, .generation = h.generation, .wall_ms = h.wall_ms};
	int exit_code = begin_file(t, DATADIR_SNAPSHOT, h.number);
	if (exit_code == TOOL_OK &&
	    snapshot_writer_open(&t->writer, NULL, t->fd, &h, LEVEL, &err) != HEARTH_OK)
		exit_code = library_fail(t, &err);
	return exit_code;
}

int target_snapshot_block(struct target *t, const void *records, size_t len, uint32_t items, uint64_t upto)
{
	struct hearth_error err;
	if (snapshot_writer_block(t->writer, records, len, items, upto, &err) == HEARTH_OK)
		return TOOL_OK;
	return library_fail(t, &err);
}

int target_snapshot_end(struct target *t, const struct snapshot_footer *footer)
{
	struct snapshot_footer f = *footer;
	struct hearth_error err;
	if (t->manifest.high_water < f.end)
		t->manifest.high_water = f.end;
	f.high_water = t->manifest.high_water;
	if (snapshot_writer_finish(t->writer, &f, &err) != HEARTH_OK)
		return library_fail(t, &err);
	t->snapshot.end = f.end;
	t->snapshot.bytes = snapshot_writer_bytes(t->writer);
	t->bytes += t->snapshot.bytes;
	snapshot_writer_close(&t->writer);
	if (!manifest_add_snapshot(&t->manifest, &t->snapshot))
		return report_no_memory();
	return end_file(t);
}

/* ---- segments ---- */

static int flush(struct target *t)
{
	int ret =
	    vfs_write_all(vfs_posix(), t->fd, t->gathered.data + t->gathered.head, buf_len(&t->gathered));
	buf_clear(&t->gathered);
	return ret == 0 ? TOOL_OK : fail(t, t->files[t->n_files - 1].name);
}

static int put(struct target *t, const void *data, size_t len)
{
	if (!buf_append(&t->gathered, data, len))
		return report_no_memory();
	t->offset += len;
	t->bytes += len;
	return buf_len(&t->gathered) >= GATHER ? flush(t) : TOOL_OK;
}

int target_segment_begin(struct target *t, const struct segment_header *header)
{
	CHECK_MAGIC(t, TARGET_MAGIC);
	struct segment_header h = {
	    .generation = t->manifest.generation,
	    .number = t->manifest.next_segment++,
	    .first = header->first,
	    .prev_number = t->segment.number,
	    .prev_end = t->segment.number ? t->offset : 0,
	    .prev_last = t->segment.number ? t->last : 0,
	    .prev_crc = t->segment.number ? t->crc : 0,
	    .wall_ms = clock_wall_ms(),
	    .hearth_ms = header->hearth_ms,
	    .flush_due = header->flush_due,
	    .high_water = t->manifest.high_water,
	};
	uint8_t out[SEGMENT_HEADER_SIZE];
	memcpy(h.lineage, t->manifest.lineage, sizeof(h.lineage));
	if (datadir_boot_id(NULL, h.boot_id, NULL) != HEARTH_OK)
		return fail(t, "the boot of the kernel cannot be read");
	if (datadir_random_id(h.salt) < 0)
		return fail(t, "no random bytes for a salt");
	struct manifest_segment named = {.number = h.number, .first = h.first, .generation = h.generation};
	memcpy(named.salt, h.salt, sizeof(named.salt));
	/* The manifest's number joins the log to the snapshot, across numbers that nobody got. */
	if (t->manifest.n_segments == 0 && t->manifest.n_snapshots > 0)
		named.first = t->snapshot.start + 1;
	if (!manifest_add_segment(&t->manifest, &named))
		return report_no_memory();
	segment_encode_header(&h, out);
	t->segment = h;
	t->crc = h.crc;
	t->last = h.first - 1;
	t->offset = 0;
	int exit_code = begin_file(t, DATADIR_LOG, h.number);
	return exit_code == TOOL_OK ? put(t, out, sizeof(out)) : exit_code;
}

int target_segment_block(
    struct target *t, const struct block_header *head, const uint8_t *payload, size_t len)
{
	struct block_header h = *head;
	uint8_t out[BLOCK_HEADER_SIZE];
	h.stored_len = h.raw_len = (uint32_t)len;
	h.flags = 0;
	/* All of it is durable before the manifest names it. */
	h.durable = h.first - 1;
	h.prev_crc = t->crc;
	block_encode_header(&h, t->segment.salt, crc32c(0, payload, len), out);
	t->crc = h.crc;
	if (h.count > 0)
		t->last = h.first + h.count - 1;
	int exit_code = put(t, out, sizeof(out));
	return exit_code == TOOL_OK ? put(t, payload, len) : exit_code;
}

int target_segment_end(struct target *t)
{
	int exit_code = flush(t);
	return exit_code == TOOL_OK ? end_file(t) : exit_code;
}

/* ---- the end ---- */

static int add_mark(struct target *t, int64_t flush_due, int64_t hearth_ms)
{
	if (t->manifest.high_water < t->last)
		t->manifest.high_water = t->last;
	struct segment_header h = {
	    .first = t->manifest.high_water + 1, .flush_due = flush_due, .hearth_ms = hearth_ms};
	int exit_code = target_segment_begin(t, &h);
	return exit_code == TOOL_OK ? target_segment_end(t) : exit_code;
}

int target_finish(struct target *t, int64_t flush_due, int64_t hearth_ms)
{
	CHECK_MAGIC(t, TARGET_MAGIC);
	int exit_code = add_mark(t, flush_due, hearth_ms);
	if (exit_code != TOOL_OK)
		return exit_code;
	int fd = datadir_fd(t->dir);
	for (size_t i = 0; i < t->n_files; i++) {
		char name[DATADIR_NAME_SIZE + sizeof(TEMPORARY)];
		temporary_name(&t->files[i], name);
		if (renameat(fd, name, fd, t->files[i].name) < 0)
			return fail(t, name);
		t->files[i].renamed = true;
	}
	if (fsync(fd) < 0)
		return fail(t, "directory");
	struct hearth_error err;
	if (datadir_write_manifest(t->dir, &t->manifest, &err) != HEARTH_OK)
		return library_fail(t, &err);
	t->finished = true;
	return TOOL_OK;
}

uint64_t target_bytes(const struct target *t)
{
	return t->bytes;
}
