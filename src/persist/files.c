/* SPDX-License-Identifier: BSD-3-Clause */
/* files: see files.h. */
#include "persist/files.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include "base/check.h"
#include "base/clock.h"
#include "base/vfs.h"
#include "persist/room.h"

#define TEMPORARY ".tmp"
#define DAY_MS    INT64_C(86400000)

void files_temporary_name(enum datadir_kind kind, uint64_t number, char ret_name[FILES_NAME_SIZE])
{
	datadir_name(kind, number, ret_name);
	memcpy(ret_name + strlen(ret_name), TEMPORARY, sizeof(TEMPORARY));
}

static enum hearth_status invent(struct files *f, struct hearth_error *ret_err)
{
	f->fresh = true;
	f->manifest.generation = 1;
	f->manifest.next_segment = f->manifest.next_snapshot = 1;
	if (datadir_random_id(f->manifest.lineage) < 0)
		return hearth_fail(
		    ret_err, HEARTH_IO, DATADIR_MANIFEST, 0, "no random bytes for the lineage id");
	return HEARTH_OK;
}

enum hearth_status files_open(
    struct files *f, struct datadir *dir, unsigned keep, struct hearth_error *ret_err)
{
	*f = (struct files){.keep = keep ? keep : 1, .next_generation = 1};
	enum hearth_status status = datadir_read_manifest(dir, &f->manifest, &f->repaired, ret_err);
	if (status == HEARTH_END) {
		status = invent(f, ret_err);
	} else if (status == HEARTH_DAMAGED) {
		f->rebuilt = true;
		status = datadir_rebuild_manifest(dir, &f->manifest, ret_err);
	} else if (status == HEARTH_OK && f->manifest.features.read_only) {
		status = hearth_fail(ret_err, HEARTH_NEWER, DATADIR_MANIFEST, 24,
		    "a newer version says that this one must not write here");
	} else if (status == HEARTH_OK) {
		status = datadir_adopt_segments(dir, &f->manifest, ret_err);
	}
	if (status == HEARTH_OK)
		status = datadir_boot_id(datadir_vfs(dir), f->boot_id, ret_err);
	const struct manifest *m = &f->manifest;
	if (status == HEARTH_OK &&
	    (m->next_segment > RECORD_SEQ_MAX / 2 || m->next_snapshot > RECORD_SEQ_MAX / 2))
		status = hearth_fail(
		    ret_err, HEARTH_DAMAGED, DATADIR_MANIFEST, 0, "numbers of files are nearly used up");
	if (status != HEARTH_OK) {
		manifest_free(&f->manifest);
		return status;
	}
	f->dir = dir;
	f->generation = f->manifest.generation;
	f->marked = f->manifest.untrusted;
	return HEARTH_OK;
}

void files_close(struct files *f)
{
	manifest_free(&f->manifest);
	if (f->dir)
		datadir_close(&f->dir);
	if (f->quota)
		quota_close(&f->quota);
}

enum hearth_status files_limit(struct files *f, uint64_t bytes, struct hearth_error *ret_err)
{
	f->quota = quota_open(datadir_vfs(f->dir), datadir_fd(f->dir), bytes);
	if (!f->quota)
		return hearth_fail(ret_err, HEARTH_IO, ".", 0, "the directory's files cannot be counted");
	datadir_set_vfs(f->dir, quota_vfs(f->quota));
	return HEARTH_OK;
}

enum hearth_status files_write(struct files *f, struct hearth_error *ret_err)
{
	/* A write that fails may have reached the disk all the same. */
	if (!f->manifest.untrusted)
		f->marked = false;
	enum hearth_status status = datadir_write_manifest(f->dir, &f->manifest, ret_err);
	f->in_doubt = status != HEARTH_OK;
	if (!f->in_doubt)
		f->marked = f->manifest.untrusted;
	return status;
}

/* So many bytes for a file that has none yet; its size stays. File systems that cannot do that give no reserve. */
static int allocate(const struct vfs *vfs, int fd, uint64_t bytes)
{
	int ret = vfs->fallocate(vfs->ctx, fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)bytes);
	return ret < 0 && (errno == EOPNOTSUPP || errno == ENOSYS) ? 0 : ret;
}

bool files_is_full(int error)
{
	return error == ENOSPC || error == EDQUOT || error == EFBIG;
}

/* For what must be said also on a full disk. */
static enum hearth_status write_at_any_price(struct files *f, struct hearth_error *ret_err)
{
	const struct vfs *vfs = datadir_vfs(f->dir);
	struct hearth_error err = {0};
	enum hearth_status status = files_write(f, &err);
	if (status == HEARTH_IO && files_is_full(err.sys_errno) &&
	    vfs->unlinkat(vfs->ctx, datadir_fd(f->dir), DATADIR_RESERVE) == 0) {
		f->spare = false;
		vfs->fsync(vfs->ctx, datadir_fd(f->dir)); /* some file systems free blocks only now */
		status = files_write(f, &err);
	}
	if (ret_err)
		*ret_err = err;
	return status;
}

enum hearth_status files_make_spare(struct files *f, struct hearth_error *ret_err)
{
	const struct vfs *vfs = datadir_vfs(f->dir);
	if (f->spare)
		return HEARTH_OK;
	int fd = vfs_open(vfs, datadir_fd(f->dir), DATADIR_RESERVE, O_WRONLY | O_CREAT);
	if (fd < 0)
		return hearth_fail(ret_err, HEARTH_IO, DATADIR_RESERVE, 0, "cannot create the file");
	/* Not synced: it is of use to this run alone. */
	bool ok = allocate(vfs, fd, ROOM_SPARE) == 0;
	enum hearth_status status = HEARTH_OK;
	if (!ok) {
		status = hearth_fail(ret_err, HEARTH_IO, DATADIR_RESERVE, 0, "cannot allocate the reserve");
		vfs->unlinkat(vfs->ctx, datadir_fd(f->dir), DATADIR_RESERVE);
	}
	vfs->close(vfs->ctx, fd);
	f->spare = ok;
	return status;
}

void files_free_spare(struct files *f)
{
	const struct vfs *vfs = datadir_vfs(f->dir);
	vfs->unlinkat(vfs->ctx, datadir_fd(f->dir), DATADIR_RESERVE);
	f->spare = false;
}

static bool is_empty(const struct vfs *vfs, int dirfd, const char *name)
{
	struct stat st;
	int fd = vfs_open(vfs, dirfd, name, O_RDONLY);
	bool empty = fd >= 0 && vfs->fstat(vfs->ctx, fd, &st) == 0 && st.st_size == 0;
	if (fd >= 0)
		vfs->close(vfs->ctx, fd);
	return empty;
}

/* Makes the file, from segment->number on. A daemon that was killed between making a segment and naming it in the
 * manifest leaves an empty file behind: that is made anew, since a sync of the directory that failed may have lost its
 * name, though it is seen. A number that holds anything is passed over. */
static int create_segment(struct files *f, struct manifest_segment *segment, char name[DATADIR_NAME_SIZE])
{
	const struct vfs *vfs = datadir_vfs(f->dir);
	for (;; segment->number++) {
		datadir_name(DATADIR_LOG, segment->number, name);
		int fd = vfs_open(vfs, datadir_fd(f->dir), name, O_WRONLY | O_CREAT | O_EXCL);
		bool exists = fd < 0 && errno == EEXIST;
		if (exists && is_empty(vfs, datadir_fd(f->dir), name) &&
		    vfs->unlinkat(vfs->ctx, datadir_fd(f->dir), name) == 0)
			fd = vfs_open(vfs, datadir_fd(f->dir), name, O_WRONLY | O_CREAT | O_EXCL);
		if (fd >= 0 || !exists)
			return fd;
	}
}

enum hearth_status files_add_segment(struct files *f, uint64_t generation, uint64_t first, uint64_t bytes,
    int *ret_fd, struct manifest_segment *ret_segment, struct hearth_error *ret_err)
{
	const struct vfs *vfs = datadir_vfs(f->dir);
	struct hearth_error err = {0};
	struct manifest_segment segment = {
	    .number = f->manifest.next_segment, .first = first, .generation = generation};
	char name[DATADIR_NAME_SIZE];
	if (datadir_random_id(segment.salt) < 0)
		return hearth_fail(ret_err, HEARTH_IO, DATADIR_MANIFEST, 0, "no random bytes for the salt");
	int fd = create_segment(f, &segment, name);
	if (fd < 0)
		return hearth_fail(ret_err, HEARTH_IO, name, 0, "cannot create the segment");
	if (allocate(vfs, fd, bytes) < 0) {
		hearth_fail(&err, HEARTH_IO, name, 0, "cannot allocate the segment");
		goto fail;
	}
	/* The name is durable before the manifest has it: a file that is named and missing is damage. */
	if (vfs->fsync(vfs->ctx, fd) < 0 || vfs->fsync(vfs->ctx, datadir_fd(f->dir)) < 0) {
		hearth_fail(&err, HEARTH_IO, name, 0, "fsync failed");
		goto fail;
	}
	if (!manifest_add_segment(&f->manifest, &segment)) {
		hearth_fail(&err, HEARTH_NOMEM, name, 0, "no memory for the manifest");
		goto fail;
	}
	f->manifest.next_segment = segment.number + 1;
	if (files_write(f, &err) != HEARTH_OK) {
		/* The manifest on disk may name the file already: it stays, empty. */
		f->manifest.n_segments--;
		vfs->close(vfs->ctx, fd);
		goto out;
	}
	*ret_fd = fd;
	*ret_segment = segment;
	return HEARTH_OK;
fail:
	vfs->close(vfs->ctx, fd);
	vfs->unlinkat(vfs->ctx, datadir_fd(f->dir), name);
out:
	if (ret_err)
		*ret_err = err;
	return err.status;
}

int files_begin_replacement(struct files *f, uint64_t number, uint64_t bytes)
{
	const struct vfs *vfs = datadir_vfs(f->dir);
	char name[FILES_NAME_SIZE];
	files_temporary_name(DATADIR_LOG, number, name);
	if (vfs->unlinkat(vfs->ctx, datadir_fd(f->dir), name) < 0 && errno != ENOENT)
		return -1;
	int fd = vfs_open(vfs, datadir_fd(f->dir), name, O_WRONLY | O_CREAT | O_EXCL);
	if (fd < 0 || allocate(vfs, fd, bytes) == 0)
		return fd;
	int saved = errno;
	vfs->close(vfs->ctx, fd);
	vfs->unlinkat(vfs->ctx, datadir_fd(f->dir), name);
	errno = saved;
	return -1;
}

/* "log-N.tmp" or "snapshot-N.tmp" to its place, durably. */
static enum hearth_status put_in_place(
    struct files *f, enum datadir_kind kind, uint64_t number, struct hearth_error *ret_err)
{
	const struct vfs *vfs = datadir_vfs(f->dir);
	char from[FILES_NAME_SIZE], to[DATADIR_NAME_SIZE];
	files_temporary_name(kind, number, from);
	datadir_name(kind, number, to);
	if (vfs->renameat(vfs->ctx, datadir_fd(f->dir), from, to) < 0)
		return hearth_fail(ret_err, HEARTH_IO, from, 0, "cannot rename the file");
	if (vfs->fsync(vfs->ctx, datadir_fd(f->dir)) < 0)
		return hearth_fail(ret_err, HEARTH_IO, ".", 0, "fsync of the directory failed");
	return HEARTH_OK;
}

void files_drop_temporary(struct files *f, enum datadir_kind kind, uint64_t number)
{
	const struct vfs *vfs = datadir_vfs(f->dir);
	char name[FILES_NAME_SIZE];
	files_temporary_name(kind, number, name);
	vfs->unlinkat(vfs->ctx, datadir_fd(f->dir), name);
}

enum hearth_status files_replaced(struct files *f, uint64_t number, struct hearth_error *ret_err)
{
	return put_in_place(f, DATADIR_LOG, number, ret_err);
}

void files_drop_segment(struct files *f, uint64_t number)
{
	files_forget_segment(f, number);
	/* Without memory for it the file stays until a person removes it. */
	manifest_add_unlink(&f->manifest, DATADIR_LOG, number);
}

enum hearth_status files_mark_untrusted(struct files *f, uint64_t high, struct hearth_error *ret_err)
{
	struct manifest *m = &f->manifest;
	const struct manifest before = *m;
	m->untrusted = true;
	m->clean = false;
	m->high_water = m->high_water > high ? m->high_water : high;
	enum hearth_status status = write_at_any_price(f, ret_err);
	if (status != HEARTH_OK) {
		m->untrusted = before.untrusted;
		m->clean = before.clean;
		m->high_water = before.high_water;
	}
	return status;
}

uint64_t files_new_generation(struct files *f)
{
	const struct manifest *m = &f->manifest;
	uint64_t most = m->generation;
	for (size_t i = 0; i < m->n_segments; i++)
		most = m->segments[i].generation > most ? m->segments[i].generation : most;
	for (size_t i = 0; i < m->n_snapshots; i++)
		most = m->snapshots[i].generation > most ? m->snapshots[i].generation : most;
	if (f->next_generation <= most)
		f->next_generation = most + 1;
	return f->next_generation++;
}

void files_begin_segment(struct files *f, uint64_t number, uint64_t first)
{
	for (size_t i = 0; i < f->manifest.n_segments; i++) {
		struct manifest_segment *segment = &f->manifest.segments[i];
		if (segment->number == number) {
			segment->first = first;
			segment->begun = true;
		}
	}
	if (number > f->begun)
		f->begun = number;
}

void files_begin_generation(struct files *f)
{
	struct manifest *m = &f->manifest;
	if (!m->untrusted)
		return;
	f->generation = m->generation = files_new_generation(f);
	m->untrusted = false;
}

enum hearth_status files_add_snapshot(
    struct files *f, uint64_t *ret_number, int *ret_fd, struct hearth_error *ret_err)
{
	const struct vfs *vfs = datadir_vfs(f->dir);
	char name[FILES_NAME_SIZE];
	uint64_t number = f->manifest.next_snapshot;
	files_temporary_name(DATADIR_SNAPSHOT, number, name);
	/* One that was made and could not be opened would be in the way of all that come. */
	vfs->unlinkat(vfs->ctx, datadir_fd(f->dir), name);
	int fd = vfs_open(vfs, datadir_fd(f->dir), name, O_WRONLY | O_CREAT | O_EXCL);
	if (fd < 0)
		return hearth_fail(ret_err, HEARTH_IO, name, 0, "cannot create the snapshot");
	f->manifest.next_snapshot++;
	*ret_number = number;
	*ret_fd = fd;
	return HEARTH_OK;
}

static uint64_t segment_bytes(const struct files *f, uint64_t number)
{
	const struct vfs *vfs = datadir_vfs(f->dir);
	char name[DATADIR_NAME_SIZE];
	struct stat st = {0};
	datadir_name(DATADIR_LOG, number, name);
	int fd = vfs_open(vfs, datadir_fd(f->dir), name, O_RDONLY);
	if (fd < 0)
		return 0;
	uint64_t bytes = vfs->fstat(vfs->ctx, fd, &st) == 0 ? (uint64_t)st.st_size : 0;
	vfs->close(vfs->ctx, fd);
	return bytes;
}

static bool retire_snapshot(struct manifest *m, size_t i)
{
	if (!manifest_add_unlink(m, DATADIR_SNAPSHOT, m->snapshots[i].number))
		return false;
	memmove(m->snapshots + i, m->snapshots + i + 1, (--m->n_snapshots - i) * sizeof(*m->snapshots));
	return true;
}

/* All of a segment's numbers lie below the first one of any that has begun behind it. Where nobody has told that a segment
 * has begun, its first is only a lower bound, and numbers above that may lie in the segment before it. */
static bool is_before(const struct manifest *m, size_t i, uint64_t start)
{
	while (++i < m->n_segments)
		if (m->segments[i].begun && m->segments[i].first <= start + 1)
			return true;
	return false;
}

/* The oldest. */
static bool retire_segment(struct manifest *m)
{
	if (!manifest_add_unlink(m, DATADIR_LOG, m->segments[0].number))
		return false;
	memmove(m->segments, m->segments + 1, --m->n_segments * sizeof(*m->segments));
	return true;
}

/* What lies before all snapshots. */
static bool retire_segments(struct files *f)
{
	struct manifest *m = &f->manifest;
	while (m->n_snapshots > 0 && is_before(m, 0, m->snapshots[0].start)) {
		if (!retire_segment(m))
			return false;
	}
	return true;
}

/* Moves what the kept snapshots do not need from the manifest's lists to its list of files to unlink. */
static bool retire(struct files *f)
{
	struct manifest *m = &f->manifest;
	unsigned days = atomic_load(&f->keep_days), keep = atomic_load(&f->keep);
	int64_t young = days ? clock_wall_ms() - days * DAY_MS : INT64_MAX;
	size_t unpinned = 0;
	for (size_t i = 0; i < m->n_snapshots; i++)
		unpinned += !m->snapshots[i].pinned;
	for (size_t i = 0; i < m->n_snapshots && unpinned > keep;) {
		if (m->snapshots[i].pinned || m->snapshots[i].wall_ms >= young) {
			i++;
			continue;
		}
		if (!retire_snapshot(m, i))
			return false;
		unpinned--;
	}
	return retire_segments(f);
}

/* Of the manifest's own generation; a new one may have begun. */
static bool has_segments(const struct manifest *m)
{
	return m->n_segments > 0 && m->segments[0].generation == m->generation;
}

static bool retire_log(struct manifest *m)
{
	while (has_segments(m)) {
		if (!retire_segment(m))
			return false;
	}
	return true;
}

enum hearth_status files_give_up(struct files *f, struct hearth_error *ret_err)
{
	struct manifest *m = &f->manifest;
	/* No start uses a generation that is marked. */
	bool useless = m->untrusted && f->marked;
	size_t i = 0;
	while (i < m->n_snapshots && m->snapshots[i].pinned)
		i++;
	bool found = i + (useless ? 0 : 1) < m->n_snapshots;
	if (!found && !(useless && m->n_snapshots == 0 && has_segments(m)))
		return HEARTH_END;
	if (!(found ? retire_snapshot(m, i) && retire_segments(f) : retire_log(m)))
		return hearth_fail(ret_err, HEARTH_NOMEM, DATADIR_MANIFEST, 0, "no memory for the manifest");
	enum hearth_status status = write_at_any_price(f, ret_err);
	return status == HEARTH_OK ? files_sweep(f, ret_err) : status;
}

enum hearth_status files_purge(struct files *f, uint64_t number, struct hearth_error *ret_err)
{
	struct manifest *m = &f->manifest;
	bool ok = true;
	for (size_t i = 0; ok && i < m->n_snapshots;) {
		if (m->snapshots[i].pinned || m->snapshots[i].number >= number)
			i++;
		else
			ok = retire_snapshot(m, i);
	}
	if (!ok || !retire_segments(f))
		return hearth_fail(ret_err, HEARTH_NOMEM, DATADIR_MANIFEST, 0, "no memory for the manifest");
	enum hearth_status status = write_at_any_price(f, ret_err);
	return status == HEARTH_OK ? files_sweep(f, ret_err) : status;
}

uint64_t files_superfluous(struct files *f)
{
	const struct manifest *m = &f->manifest;
	uint64_t bytes = 0, start = RECORD_SEQ_MAX;
	for (size_t i = m->n_snapshots; i-- > 0;) {
		if (m->snapshots[i].pinned)
			start = m->snapshots[i].start;
		else
			bytes += m->snapshots[i].bytes;
	}
	if (start == RECORD_SEQ_MAX)
		return bytes + files_log_bytes(f);
	for (size_t i = 0; is_before(m, i, start); i++)
		bytes += segment_bytes(f, m->segments[i].number);
	return bytes;
}

enum hearth_status files_publish(
    struct files *f, const struct manifest_snapshot *snapshot, struct hearth_error *ret_err)
{
	struct manifest *m = &f->manifest;
	if (snapshot->generation != f->generation || (m->untrusted && snapshot->generation == m->generation))
		return hearth_fail(ret_err, HEARTH_BUSY, DATADIR_MANIFEST, 0,
		    "the log that the snapshot belongs to was given up");
	enum hearth_status status = put_in_place(f, DATADIR_SNAPSHOT, snapshot->number, ret_err);
	if (status != HEARTH_OK)
		return status;
	if (!manifest_add_snapshot(m, snapshot))
		return hearth_fail(ret_err, HEARTH_NOMEM, DATADIR_MANIFEST, 0, "no memory for the manifest");
	const struct manifest before = *m;
	m->generation = snapshot->generation;
	m->untrusted = false;
	/* Short of memory fewer files are retired; the next snapshot makes up for it. */
	retire(f);
	status = write_at_any_price(f, ret_err);
	if (status != HEARTH_OK) {
		/* Nobody knows which of the two is on the disk: both are true, and what retire did can be
		 * written with the next. */
		m->generation = before.generation;
		m->untrusted = before.untrusted;
		return status;
	}
	/* A file that cannot be unlinked now is tried again with the next snapshot. */
	files_sweep(f, NULL);
	return HEARTH_OK;
}

enum hearth_status files_pin(struct files *f, uint64_t number, bool pin, struct hearth_error *ret_err)
{
	struct manifest *m = &f->manifest;
	for (size_t i = 0; i < m->n_snapshots; i++) {
		if (m->snapshots[i].number != number)
			continue;
		bool before = m->snapshots[i].pinned;
		m->snapshots[i].pinned = pin;
		enum hearth_status status = before == pin ? HEARTH_OK : files_write(f, ret_err);
		if (status != HEARTH_OK)
			m->snapshots[i].pinned = before;
		return status;
	}
	return hearth_fail(ret_err, HEARTH_END, DATADIR_MANIFEST, 0, "no such snapshot");
}

enum hearth_status files_sweep(struct files *f, struct hearth_error *ret_err)
{
	const struct vfs *vfs = datadir_vfs(f->dir);
	struct manifest *m = &f->manifest;
	if (m->n_unlinks == 0)
		return HEARTH_OK;
	for (size_t i = 0; i < m->n_unlinks; i++) {
		char name[DATADIR_NAME_SIZE];
		datadir_name(m->unlinks[i].kind, m->unlinks[i].number, name);
		if (vfs->unlinkat(vfs->ctx, datadir_fd(f->dir), name) < 0 && errno != ENOENT)
			return hearth_fail(ret_err, HEARTH_IO, name, 0, "cannot unlink a retired file");
	}
	if (vfs->fsync(vfs->ctx, datadir_fd(f->dir)) < 0)
		return hearth_fail(ret_err, HEARTH_IO, ".", 0, "fsync of the directory failed");
	m->n_unlinks = 0;
	return files_write(f, ret_err);
}

/* The header of a segment file; false when it cannot be read. */
static bool read_header(struct files *f, uint64_t number, struct segment_header *ret_h)
{
	const struct vfs *vfs = datadir_vfs(f->dir);
	char name[DATADIR_NAME_SIZE];
	uint8_t raw[SEGMENT_HEADER_SIZE];
	datadir_name(DATADIR_LOG, number, name);
	int fd = vfs_open(vfs, datadir_fd(f->dir), name, O_RDONLY);
	if (fd < 0)
		return false;
	ssize_t n = vfs_read_at(vfs, fd, raw, sizeof(raw), 0);
	vfs->close(vfs->ctx, fd);
	return n == (ssize_t)sizeof(raw) && segment_decode_header(raw, sizeof(raw), ret_h) == HEARTH_OK;
}

void files_look_at_others(struct files *f)
{
	const struct manifest *m = &f->manifest;
	for (size_t i = 0; i < m->n_segments; i++) {
		const struct manifest_segment *s = &m->segments[i];
		struct segment_header h;
		if (!s->begun && read_header(f, s->number, &h) && h.number == s->number &&
		    h.generation == s->generation && memcmp(h.lineage, m->lineage, HEARTH_ID_SIZE) == 0)
			files_begin_segment(f, s->number, h.first);
	}
}

bool files_reach_back(struct files *f, const struct manifest_snapshot *snapshot)
{
	const struct manifest *m = &f->manifest;
	struct segment_header h;
	size_t i = 0;
	while (i < m->n_segments && m->segments[i].generation != m->generation)
		i++;
	if (!f->rebuilt || i == m->n_segments || m->segments[i].first <= snapshot->start + 1)
		return true;
	/* After a power cut numbers jump: then its header says that nothing came before. */
	return read_header(f, m->segments[i].number, &h) && h.prev_last <= snapshot->start;
}

bool files_next_to_pack(struct files *f, uint64_t after, uint64_t *ret_number, uint64_t *ret_end)
{
	const struct manifest *m = &f->manifest;
	if (m->n_snapshots < 2)
		return false;
	uint64_t start = m->snapshots[m->n_snapshots - 1].start;
	for (size_t i = 0; i + 1 < m->n_segments && m->segments[i + 1].first <= start + 1; i++) {
		struct segment_header h, next;
		if (m->segments[i].number <= after || !read_header(f, m->segments[i].number, &h) ||
		    (h.features.compatible & SEGMENT_PACKED) ||
		    !read_header(f, m->segments[i + 1].number, &next) || next.prev_number != h.number)
			continue;
		*ret_number = h.number;
		*ret_end = next.prev_end;
		return true;
	}
	return false;
}

enum hearth_status files_packed(struct files *f, uint64_t number, struct hearth_error *ret_err)
{
	const struct manifest *m = &f->manifest;
	for (size_t i = 0; i < m->n_segments; i++)
		if (m->segments[i].number == number)
			return put_in_place(f, DATADIR_LOG, number, ret_err);
	/* A purge does not wait for who packs; a name must not come back. */
	files_drop_temporary(f, DATADIR_LOG, number);
	return hearth_fail(ret_err, HEARTH_END, DATADIR_MANIFEST, 0, "no such segment");
}

enum hearth_status files_raise_high_water(struct files *f, uint64_t high, struct hearth_error *ret_err)
{
	uint64_t old = f->manifest.high_water;
	if (old >= high)
		return HEARTH_OK;
	f->manifest.high_water = high;
	enum hearth_status status = files_write(f, ret_err);
	if (status != HEARTH_OK)
		f->manifest.high_water = old;
	return status;
}

void files_forget_segment(struct files *f, uint64_t number)
{
	struct manifest *m = &f->manifest;
	for (size_t i = 0; i < m->n_segments; i++) {
		if (m->segments[i].number != number)
			continue;
		memmove(m->segments + i, m->segments + i + 1, (--m->n_segments - i) * sizeof(*m->segments));
		return;
	}
}

uint64_t files_log_bytes(struct files *f)
{
	uint64_t bytes = 0;
	for (size_t i = 0; i < f->manifest.n_segments; i++)
		bytes += segment_bytes(f, f->manifest.segments[i].number);
	return bytes;
}

enum hearth_status files_sync_segments(struct files *f, struct hearth_error *ret_err)
{
	const struct vfs *vfs = datadir_vfs(f->dir);
	for (size_t i = 0; i < f->manifest.n_segments; i++) {
		char name[DATADIR_NAME_SIZE];
		datadir_name(DATADIR_LOG, f->manifest.segments[i].number, name);
		int fd = vfs_open(vfs, datadir_fd(f->dir), name, O_RDONLY);
		if (fd < 0)
			continue; /* missing: recovery has told of it */
		int ret = vfs->fdatasync(vfs->ctx, fd);
		int saved = errno;
		vfs->close(vfs->ctx, fd);
		errno = saved;
		if (ret < 0)
			return hearth_fail(
			    ret_err, HEARTH_IO, name, 0, "what was recovered cannot be made durable");
	}
	return HEARTH_OK;
}
