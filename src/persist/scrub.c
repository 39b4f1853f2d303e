/* SPDX-License-Identifier: BSD-3-Clause */
/* scrub: see scrub.h. */
#include "persist/scrub.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/msg.h"
#include "base/vfs.h"
#include "persist/rate.h"

#define SLICE_US INT64_C(100000) /* a wait looks this often whether it is to end */

struct sealed {
	enum datadir_kind kind;
	uint64_t number;
	uint64_t next; /* the segment behind it, 0 = none */
};

struct scrub {
	const struct scrub_options *options;
	struct rate rate;
	const struct vfs *real;
	struct vfs vfs; /* reads at that rate */
	int dirfd;
	uint8_t lineage[HEARTH_ID_SIZE];
	struct sealed *files;
	size_t n;
	/* One file's verdict, on its way to the sync thread. */
	const struct sealed *at;
	char name[DATADIR_NAME_SIZE], aside[96];
	bool named;
};

/* ---- reading slowly ---- */

static ssize_t slow_pread(void *ctx, int fd, void *data, size_t len, off_t at)
{
	struct scrub *s = ctx;
	int64_t us = rate_take(&s->rate, len, clock_mono_us());
	for (; us > 0 && !atomic_load(s->options->cancel); us -= SLICE_US) {
		struct timespec slice = {0, (long)(us < SLICE_US ? us : SLICE_US) * 1000};
		nanosleep(&slice, NULL);
	}
	if (atomic_load(s->options->cancel)) {
		errno = ECANCELED;
		return -1;
	}
	ssize_t n = s->real->pread(s->real->ctx, fd, data, len, at);
	if (n > 0)
		atomic_fetch_add_explicit(s->options->bytes, (uint64_t)n, memory_order_relaxed);
	return n;
}

static int slow_openat(void *ctx, int dirfd, const char *name, int flags, mode_t mode)
{
	struct scrub *s = ctx;
	return s->real->openat(s->real->ctx, dirfd, name, flags, mode);
}

static int slow_close(void *ctx, int fd)
{
	struct scrub *s = ctx;
	return s->real->close(s->real->ctx, fd);
}

static int slow_fstat(void *ctx, int fd, struct stat *st)
{
	struct scrub *s = ctx;
	return s->real->fstat(s->real->ctx, fd, st);
}

/* What is read is to come from the disk, not from the page cache. */
static void drop_cache(struct scrub *s)
{
	int fd = vfs_open(s->real, s->dirfd, s->name, O_RDONLY);
	if (fd < 0)
		return;
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	s->real->close(s->real->ctx, fd);
}

/* ---- one file ---- */

static enum hearth_status check_snapshot(struct scrub *s, struct hearth_error *ret_err)
{
	struct snapshot_reader *reader;
	enum hearth_status status = snapshot_open(&reader, &s->vfs, s->dirfd, s->name, s->lineage, ret_err);
	if (status == HEARTH_OK)
		status = snapshot_verify(reader, ret_err);
	if (reader)
		snapshot_close(&reader);
	return status;
}

/* Where the segment ends by its successor's header; false when nobody says so. */
static bool segment_end(struct scrub *s, uint64_t *ret_end)
{
	struct segment_reader *next;
	char name[DATADIR_NAME_SIZE];
	datadir_name(DATADIR_LOG, s->at->next, name);
	if (!s->at->next || segment_open(&next, s->real, s->dirfd, name, s->lineage, NULL) != HEARTH_OK)
		return false;
	const struct segment_header *h = segment_get_header(next);
	bool ours = h->prev_number == s->at->number;
	*ret_end = h->prev_end;
	segment_close(&next);
	return ours;
}

static enum hearth_status check_blocks(
    struct segment_reader *reader, uint64_t end, struct hearth_error *ret_err)
{
	const struct segment_header *h = segment_get_header(reader);
	bool packed = h->features.compatible & SEGMENT_PACKED;
	uint32_t prev_crc = h->crc;
	struct segment_block block;
	enum hearth_status status = HEARTH_OK;
	/* Packed, it is another file than the one whose end its successor knows. */
	while (packed || segment_offset(reader) < end) {
		status = segment_next(reader, &block, ret_err);
		if (status != HEARTH_OK)
			break;
		if (!packed && block.head.prev_crc != prev_crc)
			return hearth_fail(ret_err, HEARTH_DAMAGED, "", block.offset, "broken chain");
		prev_crc = block.head.crc;
	}
	if (status == HEARTH_END && !packed)
		return hearth_fail(
		    ret_err, HEARTH_DAMAGED, "", segment_offset(reader), "the file is too short");
	return status == HEARTH_END ? HEARTH_OK : status;
}

static enum hearth_status check_segment(struct scrub *s, struct hearth_error *ret_err)
{
	struct segment_reader *reader;
	uint64_t end;
	if (!segment_end(s, &end))
		return HEARTH_OK;
	enum hearth_status status = segment_open(&reader, &s->vfs, s->dirfd, s->name, s->lineage, ret_err);
	if (status != HEARTH_OK)
		return status;
	status = check_blocks(reader, end, ret_err);
	segment_close(&reader);
	return status;
}

/* ---- jobs for the sync thread ---- */

static enum hearth_status list_job(void *arg, struct files *files)
{
	struct scrub *s = arg;
	const struct manifest *m = &files->manifest;
	s->real = datadir_vfs(files->dir);
	s->dirfd = datadir_fd(files->dir);
	memcpy(s->lineage, m->lineage, sizeof(s->lineage));
	s->files = calloc(m->n_snapshots + m->n_segments + 1, sizeof(*s->files));
	if (!s->files)
		return HEARTH_NOMEM;
	for (size_t i = 0; i < m->n_snapshots; i++)
		s->files[s->n++] =
		    (struct sealed){.kind = DATADIR_SNAPSHOT, .number = m->snapshots[i].number};
	/* The one that is written, and the one made ahead, are not sealed. */
	for (size_t i = 0; i + 1 < m->n_segments && m->segments[i].number < files->begun; i++)
		s->files[s->n++] = (struct sealed){
		    .kind = DATADIR_LOG, .number = m->segments[i].number, .next = m->segments[i + 1].number};
	return HEARTH_OK;
}

/* A file that was retired meanwhile is nobody's any more. What is bad stays where a person can look at it. */
static enum hearth_status aside_job(void *arg, struct files *files)
{
	struct scrub *s = arg;
	const struct manifest *m = &files->manifest;
	struct hearth_error err;
	for (size_t i = 0; i < m->n_snapshots; i++)
		s->named |= s->at->kind == DATADIR_SNAPSHOT && m->snapshots[i].number == s->at->number;
	for (size_t i = 0; i < m->n_segments; i++)
		s->named |= s->at->kind == DATADIR_LOG && m->segments[i].number == s->at->number;
	if (s->named && datadir_set_aside(files->dir, s->name, s->aside, sizeof(s->aside), &err) != HEARTH_OK)
		s->aside[0] = 0; /* missing, or no room: the message names it all the same */
	return HEARTH_OK;
}

/* ---- the pass ---- */

static enum hearth_status check_file(struct scrub *s)
{
	const struct scrub_options *o = s->options;
	struct hearth_error err = {0};
	datadir_name(s->at->kind, s->at->number, s->name);
	if (o->known(o->arg, s->at->kind, s->at->number))
		return HEARTH_OK;
	drop_cache(s);
	enum hearth_status status =
	    s->at->kind == DATADIR_LOG ? check_segment(s, &err) : check_snapshot(s, &err);
	if (status == HEARTH_OK || status == HEARTH_NOMEM)
		return status;
	if (atomic_load(o->cancel))
		return HEARTH_BUSY;
	s->named = false;
	s->aside[0] = 0;
	status = wal_run(o->wal, aside_job, s);
	if (status != HEARTH_OK || !s->named)
		return status;
	msg(MSG_ERROR, "scrub: %s at offset %llu: %s%s%s; a fresh snapshot takes its place", s->name,
	    (unsigned long long)err.offset, err.what ? err.what : hearth_status_text(err.status),
	    s->aside[0] ? "; kept as " : "", s->aside);
	o->bad(o->arg, s->at->kind, s->at->number, s->name, s->aside);
	return HEARTH_OK;
}

enum hearth_status scrub_run(const struct scrub_options *options)
{
	struct scrub s = {.options = options, .rate = {.per_second = options->rate}};
	enum hearth_status status = wal_run(options->wal, list_job, &s);
	if (status == HEARTH_OK) {
		s.vfs = *s.real;
		s.vfs.ctx = &s;
		s.vfs.openat = slow_openat;
		s.vfs.close = slow_close;
		s.vfs.fstat = slow_fstat;
		s.vfs.pread = slow_pread;
	}
	for (size_t i = 0; status == HEARTH_OK && i < s.n; i++) {
		s.at = &s.files[i];
		status = atomic_load(options->cancel) ? HEARTH_BUSY : check_file(&s);
	}
	free(s.files);
	return status;
}
