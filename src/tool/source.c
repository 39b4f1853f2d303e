/* SPDX-License-Identifier: BSD-3-Clause */
/* source: see source.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "base/msg.h"
#include "base/vfs.h"
#include "tool/progress.h"
#include "tool/report.h"
#include "tool/source.h"

/* How often a directory is looked at again when a file went away between manifest and open. */
#define TRIES 50

static void close_files(struct source *s)
{
	for (size_t i = 0; i < s->n_files; i++) {
		struct source_file *f = &s->files[i];
		segment_close(&f->segment);
		snapshot_close(&f->snapshot);
		free(f->name);
		free(f->path);
	}
	free(s->files);
	s->files = NULL;
	s->n_files = 0;
}

void source_close(struct source *s)
{
	close_files(s);
	manifest_free(&s->manifest);
	if (s->dir)
		datadir_close(&s->dir);
	else if (s->dirfd >= 0)
		close(s->dirfd);
	s->dirfd = -1;
}

static enum hearth_status no_memory(void)
{
	report_no_memory();
	return HEARTH_NOMEM;
}

/* ---- one file ---- */

static bool is_empty(const struct source_file *f)
{
	struct stat st;
	return fstatat(f->dirfd, f->name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_size == 0;
}

static void open_segment(struct source_file *f, const uint8_t *lineage)
{
	f->status = segment_open(&f->segment, &f->source->vfs, f->dirfd, f->name, lineage, &f->err);
	/* One that is made ahead is an empty file at first. */
	if (f->status == HEARTH_TORN && is_empty(f))
		f->status = HEARTH_END;
}

static bool is_zero_header(const struct source_file *f)
{
	uint8_t bytes[SEGMENT_HEADER_SIZE];
	ssize_t n = vfs_read_at(vfs_posix(), segment_get_fd(f->segment), bytes, sizeof(bytes), 0);
	for (ssize_t i = 0; i < n; i++)
		if (bytes[i] != 0)
			return false;
	return n == (ssize_t)sizeof(bytes);
}

/* Without a good header the manifest's salt still verifies the blocks. Which boot wrote it only the segment before can
 * tell; the first one counts as of another. */
static void open_headless(struct source_file *f, const struct source_file *before)
{
	const struct manifest_segment *named = f->named_segment;
	struct segment_header h = {0};
	struct stat st;
	if ((f->status != HEARTH_DAMAGED && f->status != HEARTH_FOREIGN) || !named ||
	    fstatat(f->dirfd, f->name, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_size < SEGMENT_HEADER_SIZE)
		return;
	h.number = named->number;
	h.first = named->first;
	h.generation = named->generation;
	memcpy(h.salt, named->salt, sizeof(h.salt));
	if (before && before->segment)
		memcpy(h.boot_id, segment_get_header(before->segment)->boot_id, sizeof(h.boot_id));
	f->headless =
	    segment_open_headless(&f->segment, &f->source->vfs, f->dirfd, f->name, &h, NULL) == HEARTH_OK;
	f->status = f->err.status = HEARTH_DAMAGED;
	f->zeros = f->headless && is_zero_header(f);
}

static void open_snapshot(struct source_file *f, const uint8_t *lineage)
{
	f->status = snapshot_open(&f->snapshot, &f->source->vfs, f->dirfd, f->name, lineage, &f->err);
}

/* Manifests begin much like segments, so that a damaged one would pass for the other. */
static bool is_manifest(const struct source_file *f)
{
	char magic[8] = "";
	int fd = openat(f->dirfd, f->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return false;
	ssize_t n = pread(fd, magic, sizeof(magic), 0);
	close(fd);
	return n == sizeof(magic) && memcmp(magic, "HEARTHMF", sizeof(magic)) == 0;
}

/* A file by itself is what its content says; where that says nothing, its name. */
static void open_by_content(struct source_file *f)
{
	if (is_manifest(f)) {
		f->status = hearth_fail(
		    &f->err, HEARTH_FOREIGN, f->name, 0, "a manifest: name its directory instead");
		return;
	}
	f->kind = DATADIR_LOG;
	bool ours = datadir_parse_name(f->name, &f->kind, &f->number);
	bool snapshot_first = ours && f->kind == DATADIR_SNAPSHOT;
	if (snapshot_first)
		open_snapshot(f, NULL);
	else
		open_segment(f, NULL);
	bool unclear = f->status == HEARTH_FOREIGN || (f->status == HEARTH_TORN && !f->snapshot);
	if (!unclear)
		return;
	struct source_file other = *f;
	if (snapshot_first)
		open_segment(&other, NULL);
	else
		open_snapshot(&other, NULL);
	if (other.segment || other.snapshot ||
	    (f->status == HEARTH_FOREIGN && other.status != HEARTH_FOREIGN)) {
		other.kind = snapshot_first ? DATADIR_LOG : DATADIR_SNAPSHOT;
		*f = other;
	}
	if (f->status == HEARTH_FOREIGN)
		f->err.what = "neither a Hearth log segment nor a snapshot";
}

static enum hearth_status open_file(struct source *s)
{
	/* Symbolic links on the way are followed here, because the library follows none. */
	char *path = realpath(s->path, NULL);
	char *copy = path ? strdup(path) : NULL;
	s->files = calloc(1, sizeof(*s->files));
	enum hearth_status status = HEARTH_IO;
	if (!path) {
		msg(MSG_ERROR, "%s: %s", s->path, strerror(errno));
		goto out;
	}
	s->dirfd = copy ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	if (copy && s->dirfd < 0) {
		msg(MSG_ERROR, "%s: %s", s->path, strerror(errno));
		goto out;
	}
	struct source_file *f = s->files;
	status = HEARTH_NOMEM;
	if (f) {
		s->n_files = 1;
		f->name = strdup(strrchr(path, '/') + 1);
		f->path = strdup(s->path);
	}
	if (!f || !copy || !f->name || !f->path) {
		no_memory();
		goto out;
	}
	f->source = s;
	f->dirfd = s->dirfd;
	f->last = true;
	open_by_content(f);
	status = HEARTH_OK;
out:
	free(path);
	free(copy);
	return status;
}

/* ---- a directory ---- */

static struct source_file *add_file(struct source *s, enum datadir_kind kind, uint64_t number)
{
	struct source_file *f = &s->files[s->n_files];
	char name[DATADIR_NAME_SIZE];
	datadir_name(kind, number, name);
	*f = (struct source_file){
	    .source = s, .kind = kind, .number = number, .dirfd = s->dirfd, .name = strdup(name)};
	if (asprintf(&f->path, "%s/%s", s->path, name) < 0)
		f->path = NULL;
	s->n_files++;
	return f->name && f->path ? f : NULL;
}

static void close_as(struct source_file *f, enum hearth_status status, const char *what)
{
	segment_close(&f->segment);
	snapshot_close(&f->snapshot);
	f->status = hearth_fail(&f->err, status, f->name, 0, what);
}

/* What verifies may still be another file than the one that belongs under this name. */
static void hold_against_manifest(struct source_file *f)
{
	if (f->segment) {
		const struct segment_header *h = segment_get_header(f->segment);
		if (h->number != f->number)
			close_as(f, HEARTH_DAMAGED, "its header has another number than its name");
		else if (f->named_segment && memcmp(h->salt, f->named_segment->salt, sizeof(h->salt)) != 0)
			close_as(
			    f, HEARTH_DAMAGED, "not the segment that the manifest means: the salts differ");
	} else if (f->snapshot && snapshot_get_header(f->snapshot)->number != f->number) {
		close_as(f, HEARTH_DAMAGED, "its header has another number than its name");
	}
}

/* Whether a write that was cut off may have left this much of a header: then the segment never began. */
static bool is_cut_header(const struct source_file *f)
{
	struct stat st;
	if (f->status == HEARTH_TORN)
		return true;
	return f->status == HEARTH_DAMAGED && fstatat(f->dirfd, f->name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       st.st_size <= SEGMENT_HEADER_SIZE;
}

/* 0 when nobody knows. */
static uint64_t generation_of(const struct source_file *f)
{
	if (f->segment && !f->headless)
		return segment_get_header(f->segment)->generation;
	return f->named_segment ? f->named_segment->generation : 0;
}

/* The segments before files[i]: which of them it goes on from, and which it leaves behind. */
static void link_segment(struct source *s, size_t i)
{
	struct source_file *f = &s->files[i];
	const struct segment_header *h = f->segment && !f->headless ? segment_get_header(f->segment) : NULL;
	for (size_t k = 0; k < i; k++) {
		struct source_file *g = &s->files[k];
		if (g->kind != DATADIR_LOG || g->status == HEARTH_END)
			continue;
		g->last = false;
		/* Where the numbers jump a start has begun the segment, which had not found what was in between. */
		if (h && h->generation == generation_of(g) && g->number > h->prev_number &&
		    h->first == h->prev_last + 1)
			g->left = true;
		if (h && h->prev_number == g->number)
			g->next = h;
	}
}

static void link_segments(struct source *s)
{
	for (size_t i = 0; i < s->n_files; i++) {
		struct source_file *f = &s->files[i];
		if (f->kind != DATADIR_LOG || f->status == HEARTH_END)
			continue;
		f->last = true;
		if (!is_cut_header(f))
			link_segment(s, i);
	}
}

static uint64_t durable_by_snapshots(const struct source *s)
{
	uint64_t upto = 0;
	for (size_t i = 0; i < s->n_files; i++) {
		const struct snapshot_reader *r = s->files[i].snapshot;
		const struct snapshot_footer *footer = r ? snapshot_get_footer(r) : NULL;
		if (footer && footer->end > upto &&
		    snapshot_get_header(r)->generation == s->manifest.generation)
			upto = footer->end;
	}
	return upto;
}

/* Opens all that the manifest names. *ret_missing: some are not there. */
static enum hearth_status open_named(struct source *s, bool *ret_missing)
{
	const struct manifest *m = &s->manifest;
	*ret_missing = false;
	s->files = calloc(m->n_snapshots + m->n_segments + 1, sizeof(*s->files));
	if (!s->files)
		return no_memory();
	for (size_t i = 0; i < m->n_snapshots; i++) {
		struct source_file *f = add_file(s, DATADIR_SNAPSHOT, m->snapshots[i].number);
		if (!f)
			return no_memory();
		f->named_snapshot = &m->snapshots[i];
		open_snapshot(f, m->lineage);
	}
	for (size_t i = 0; i < m->n_segments; i++) {
		struct source_file *f = add_file(s, DATADIR_LOG, m->segments[i].number);
		if (!f)
			return no_memory();
		f->named_segment = i < s->n_named ? &m->segments[i] : NULL;
		open_segment(f, m->lineage);
		/* Nothing is written to a segment before its header: zeros, however many, are no file made ahead. */
		if (f->status == HEARTH_END && !is_empty(f))
			f->status = hearth_fail(
			    &f->err, HEARTH_DAMAGED, f->name, 0, "zeros where the segment header should be");
		open_headless(f, i > 0 ? f - 1 : NULL);
	}
	for (size_t i = 0; i < s->n_files; i++) {
		struct source_file *f = &s->files[i];
		hold_against_manifest(f);
		if (f->status == HEARTH_IO && f->err.sys_errno == ENOENT) {
			f->missing = *ret_missing = true;
			f->status = hearth_fail(&f->err, HEARTH_DAMAGED, f->name, 0,
			    "the manifest names it, but it is not there");
		}
	}
	link_segments(s);
	s->durable = durable_by_snapshots(s);
	return HEARTH_OK;
}

static enum hearth_status read_manifest(struct source *s)
{
	struct hearth_error err = {0};
	manifest_free(&s->manifest);
	enum hearth_status status = datadir_read_manifest(s->dir, &s->manifest, &s->repaired, &err);
	s->manifest_status = status;
	s->manifest_err = err;
	s->n_named = s->manifest.n_segments;
	if (status == HEARTH_OK) {
		status = datadir_adopt_segments(s->dir, &s->manifest, &err);
		/* A file that cannot be read is reported when it is opened; what the manifest names is known
		 * already. */
		if (status == HEARTH_DAMAGED || status == HEARTH_TORN || status == HEARTH_FOREIGN)
			status = HEARTH_OK;
	} else if (status == HEARTH_DAMAGED) {
		status = datadir_rebuild_manifest(s->dir, &s->manifest, &err);
		s->n_named = 0;
	}
	if (status == HEARTH_OK || status == HEARTH_END)
		return HEARTH_OK;
	char path[4200];
	snprintf(path, sizeof(path), "%s/%s", s->path, err.file);
	report_error(err.file[0] && strcmp(err.file, s->path) != 0 ? path : s->path, &err);
	return status;
}

/* A running daemon may publish a snapshot and retire files between our look at the manifest and the opening.
 * Then there is a new manifest. */
static enum hearth_status open_directory(struct source *s)
{
	struct hearth_error err = {0};
	enum hearth_status status = datadir_open(&s->dir, NULL, s->path, false, false, NULL, &err);
	if (status != HEARTH_OK) {
		report_error(s->path, &err);
		return status;
	}
	s->dirfd = datadir_fd(s->dir);
	s->is_directory = true;
	for (unsigned try = 0;; try++) {
		struct stat before, after;
		bool missing, there = fstatat(s->dirfd, DATADIR_MANIFEST, &before, 0) == 0;
		close_files(s);
		status = read_manifest(s);
		if (status == HEARTH_OK)
			status = open_named(s, &missing);
		if (status != HEARTH_OK || !missing || try == TRIES)
			return status;
		if (there && fstatat(s->dirfd, DATADIR_MANIFEST, &after, 0) == 0 &&
		    before.st_ino == after.st_ino && before.st_ctim.tv_nsec == after.st_ctim.tv_nsec &&
		    before.st_ctim.tv_sec == after.st_ctim.tv_sec)
			return status;
		nanosleep(&(struct timespec){0, 5000000}, NULL);
	}
}

/* ---- what is read ---- */

static ssize_t read_and_count(void *ctx, int fd, void *data, size_t len, off_t at)
{
	struct source *s = ctx;
	ssize_t n = vfs_posix()->pread(vfs_posix()->ctx, fd, data, len, at);
	if (n > 0 && s->progress)
		progress_add(s->progress, (uint64_t)n);
	return n;
}

void source_watch(struct source *s, struct progress *progress, const char *what)
{
	uint64_t bytes = 0;
	for (size_t i = 0; i < s->n_files; i++) {
		const struct source_file *f = &s->files[i];
		bytes += f->segment ? segment_size(f->segment) : f->snapshot ? snapshot_size(f->snapshot) : 0;
	}
	progress_begin(progress, what, bytes);
	s->progress = progress;
}

void source_unwatch(struct source *s)
{
	progress_end(s->progress);
	s->progress = NULL;
}

enum hearth_status source_open(struct source *s, const char *path)
{
	struct rlimit limit;
	/* Many segments are many descriptors. */
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	memset(s, 0, sizeof(*s));
	s->vfs = *vfs_posix();
	s->vfs.ctx = s;
	s->vfs.pread = read_and_count;
	s->path = path;
	s->dirfd = -1;
	struct stat st;
	enum hearth_status status;
	if (stat(path, &st) < 0) {
		msg(MSG_ERROR, "%s: %s", path, strerror(errno));
		status = HEARTH_IO;
	} else {
		status = S_ISDIR(st.st_mode) ? open_directory(s) : open_file(s);
	}
	if (status != HEARTH_OK)
		source_close(s);
	return status;
}

/* ---- names ---- */

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void source_free_names(char **names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(names[i]);
	free(names);
}

int source_list(int dirfd, char ***ret_names, size_t *ret_n)
{
	*ret_names = NULL;
	*ret_n = 0;
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	for (struct dirent *e; (e = readdir(dir)) != NULL;) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		char **names = reallocarray(*ret_names, *ret_n + 1, sizeof(*names));
		char *name = names ? strdup(e->d_name) : NULL;
		if (names)
			*ret_names = names;
		if (!name) {
			source_free_names(*ret_names, *ret_n);
			closedir(dir);
			errno = ENOMEM;
			return -1;
		}
		names[(*ret_n)++] = name;
	}
	closedir(dir);
	if (*ret_n > 0)
		qsort(*ret_names, *ret_n, sizeof(**ret_names), compare_names);
	return 0;
}
