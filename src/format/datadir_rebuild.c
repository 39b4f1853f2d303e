/* SPDX-License-Identifier: BSD-3-Clause */
/* datadir_rebuild: what the headers of the files say, for when the manifest says nothing or too little. Names
 * only lead to files: a file counts by its header, and only when name and header agree. Writes nothing. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "base/check.h"
#include "base/vfs.h"
#include "format/datadir_dir.h"
#include <hearth/snapshot.h>

/* A file whose header verifies; or a segment that holds more than a header, which does not. */
struct found {
	enum datadir_kind kind;
	uint64_t number;
	uint64_t generation;
	uint64_t first; /* sequence number at which it begins: a segment's first, a snapshot's start + 1 */
	uint8_t lineage[HEARTH_ID_SIZE];
	struct segment_header segment;
	struct manifest_snapshot snapshot;
	uint64_t high_water;
	uint64_t term;
	bool taken;
	bool headless;
};

struct finds {
	struct found *list;
	size_t n;
	size_t whole;     /* the first so many have a header that verifies */
	uint64_t last[2]; /* highest number in a name, by kind, whether the file verifies or not */
};

static enum hearth_status look_at_segment(
    const struct datadir *dir, const char *name, struct found *f, struct hearth_error *ret_err)
{
	struct segment_reader *reader;
	enum hearth_status status =
	    segment_open(&reader, datadir_vfs(dir), datadir_fd(dir), name, NULL, ret_err);
	if (status != HEARTH_OK)
		return status;
	f->segment = *segment_get_header(reader);
	f->generation = f->segment.generation;
	f->first = f->segment.first;
	f->high_water = f->segment.high_water;
	f->term = f->segment.term;
	memcpy(f->lineage, f->segment.lineage, sizeof(f->lineage));
	if (f->segment.number != f->number)
		status = HEARTH_DAMAGED;
	segment_close(&reader);
	return status;
}

static enum hearth_status look_at_snapshot(
    const struct datadir *dir, const char *name, struct found *f, struct hearth_error *ret_err)
{
	struct snapshot_reader *reader;
	enum hearth_status status =
	    snapshot_open(&reader, datadir_vfs(dir), datadir_fd(dir), name, NULL, ret_err);
	if (reader == NULL)
		return status;
	const struct snapshot_header *header = snapshot_get_header(reader);
	const struct snapshot_footer *footer = snapshot_get_footer(reader);
	status = header->number == f->number ? HEARTH_OK : HEARTH_DAMAGED;
	f->generation = header->generation;
	f->first = header->start + 1;
	f->term = header->term;
	f->high_water = header->high_water;
	if (footer != NULL && footer->high_water > f->high_water)
		f->high_water = footer->high_water;
	memcpy(f->lineage, header->lineage, sizeof(f->lineage));
	f->snapshot = (struct manifest_snapshot){.number = f->number,
	    .start = header->start,
	    .end = footer ? footer->end : header->start,
	    .generation = header->generation,
	    .wall_ms = header->wall_ms};
	f->snapshot.bytes = snapshot_size(reader);
	snapshot_close(&reader);
	return status;
}

/* Whether this failure is the file's own: the name belongs to no file of ours, or the disk has lost it, which is damage.
 * Any other (no descriptors, no rights) says nothing of the file, and it is not to be left out silently. */
static bool is_its_own(int error)
{
	return error == EINVAL || error == ELOOP || error == ENOENT || error == EIO;
}

/* Whether a segment with a bad header can hold changes. */
static bool holds_more(const struct datadir *dir, const char *name)
{
	const struct vfs *vfs = datadir_vfs(dir);
	struct stat st;
	int fd = vfs_open(vfs, datadir_fd(dir), name, O_RDONLY);
	if (fd < 0)
		return errno == EIO;
	bool more =
	    vfs->fstat(vfs->ctx, fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > SEGMENT_HEADER_SIZE;
	vfs->close(vfs->ctx, fd);
	return more;
}

/* Whether a is newer than b: numbers of changes never run backwards, generations break ties, then the files'
 * own. Where there is no header nobody knows, but for the file's number. */
static bool is_newer(const struct found *a, const struct found *b)
{
	if (a->headless != b->headless)
		return a->headless;
	if (a->first != b->first)
		return a->first > b->first;
	if (a->generation != b->generation)
		return a->generation > b->generation;
	if (a->kind != b->kind)
		return a->kind == DATADIR_LOG;
	return a->number > b->number;
}

static int by_age(const void *a, const void *b)
{
	return is_newer(a, b) ? 1 : is_newer(b, a) ? -1 : 0;
}

/* All files with a name of ours; those whose header verifies go into the list, oldest first, then segments without one. */
static enum hearth_status look_at_files(
    const struct datadir *dir, struct finds *finds, struct hearth_error *ret_err)
{
	struct datadir_names names;
	enum hearth_status status = datadir_list(datadir_vfs(dir), datadir_fd(dir), &names);
	if (status != HEARTH_OK)
		return hearth_fail(ret_err, status, datadir_path(dir), 0, "cannot list the data directory");
	finds->list = calloc(names.n + 1, sizeof(*finds->list));
	if (finds->list == NULL)
		status = hearth_fail(
		    ret_err, HEARTH_NOMEM, datadir_path(dir), 0, "no memory for the list of files");
	for (size_t i = 0; status == HEARTH_OK && i < names.n; i++) {
		struct found f = {0};
		struct hearth_error err = {0};
		if (!datadir_parse_name(names.names[i], &f.kind, &f.number) || f.number > RECORD_SEQ_MAX)
			continue;
		if (f.number > finds->last[f.kind])
			finds->last[f.kind] = f.number;
		enum hearth_status looked = f.kind == DATADIR_LOG
		                                ? look_at_segment(dir, names.names[i], &f, &err)
		                                : look_at_snapshot(dir, names.names[i], &f, &err);
		bool bad = looked != HEARTH_OK && looked != HEARTH_NEWER && looked != HEARTH_NOMEM;
		/* What a header says that belongs to another name counts for nothing. */
		if (bad && f.kind == DATADIR_LOG)
			f = (struct found){
			    .kind = f.kind, .number = f.number, .headless = holds_more(dir, names.names[i])};
		if (looked == HEARTH_OK || f.headless)
			finds->list[finds->n++] = f;
		finds->whole += looked == HEARTH_OK;
		/* A file of a later format is not to be left out silently: that program knows what it holds.
		 */
		bool unread = looked == HEARTH_IO && !is_its_own(err.sys_errno);
		if (looked == HEARTH_NEWER || looked == HEARTH_NOMEM || unread) {
			status = looked;
			if (ret_err)
				*ret_err = err;
		}
	}
	datadir_free_names(&names);
	if (status == HEARTH_OK)
		qsort(finds->list, finds->n, sizeof(*finds->list), by_age);
	return status;
}

static struct manifest_segment segment_entry(const struct found *f)
{
	struct manifest_segment s = {.number = f->number, .first = f->first, .generation = f->generation};
	memcpy(s.salt, f->segment.salt, sizeof(s.salt));
	return s;
}

static void raise_to(uint64_t *at, uint64_t value)
{
	if (*at < value)
		*at = value;
}

static void learn(struct manifest *m, const struct found *f)
{
	raise_to(&m->generation, f->generation);
	raise_to(&m->term, f->term);
	raise_to(&m->high_water, f->high_water);
}

/* Segments behind the last good one may have changed anything: with a header, or named by a manifest, they would be read.
 * They are named for that, as what cannot be. */
static bool collect_headless(const struct finds *finds, struct manifest *m)
{
	bool ok = true;
	for (size_t i = finds->whole; ok && i < finds->n; i++) {
		const struct manifest_segment *last = m->n_segments ? &m->segments[m->n_segments - 1] : NULL;
		const struct manifest_segment s = {.number = finds->list[i].number,
		    .first = last ? last->first : 1,
		    .generation = m->generation};
		if (!last || last->number < s.number)
			ok = manifest_add_segment(m, &s);
	}
	return ok;
}

/* Fills in the lists, oldest first, from a list in that order. */
static enum hearth_status collect(struct finds *finds, struct manifest *m)
{
	bool ok = true;
	for (size_t i = 0; ok && i < finds->whole; i++) {
		const struct found *f = &finds->list[i];
		struct manifest_segment s = segment_entry(f);
		if (memcmp(f->lineage, m->lineage, HEARTH_ID_SIZE) != 0)
			continue;
		learn(m, f);
		ok = f->kind == DATADIR_LOG ? manifest_add_segment(m, &s)
		                            : manifest_add_snapshot(m, &f->snapshot);
	}
	return ok && collect_headless(finds, m) ? HEARTH_OK : HEARTH_NOMEM;
}

enum hearth_status datadir_rebuild_manifest(
    struct datadir *dir, struct manifest *ret_m, struct hearth_error *ret_err)
{
	struct finds finds = {0};
	*ret_m = (struct manifest){0};
	enum hearth_status status = look_at_files(dir, &finds, ret_err);
	if (status != HEARTH_OK)
		goto out;
	const struct found *newest = finds.whole > 0 ? &finds.list[finds.whole - 1] : NULL;
	if (newest == NULL) {
		status = hearth_fail(
		    ret_err, HEARTH_DAMAGED, DATADIR_MANIFEST, 0, "no file has a header that verifies");
		goto out;
	}
	memcpy(ret_m->lineage, newest->lineage, sizeof(ret_m->lineage));
	ret_m->next_segment = finds.last[DATADIR_LOG] + 1;
	ret_m->next_snapshot = finds.last[DATADIR_SNAPSHOT] + 1;
	status = collect(&finds, ret_m);
	if (status != HEARTH_OK)
		hearth_fail(ret_err, status, DATADIR_MANIFEST, 0, "no memory for the manifest");
out:
	if (status != HEARTH_OK)
		manifest_free(ret_m);
	free(finds.list);
	return status;
}

static bool is_listed(const struct manifest *m, uint64_t number)
{
	for (size_t i = 0; i < m->n_segments; i++) {
		if (m->segments[i].number == number)
			return true;
	}
	for (size_t i = 0; i < m->n_unlinks; i++) {
		if (m->unlinks[i].kind == DATADIR_LOG && m->unlinks[i].number == number)
			return true;
	}
	return false;
}

/* Whether f is a segment that begins where the manifest's last one ends. */
static bool chains(const struct manifest *m, const struct found *f)
{
	const struct manifest_segment *last = &m->segments[m->n_segments - 1];
	return f->kind == DATADIR_LOG && !f->headless && !f->taken &&
	       f->segment.prev_number == last->number && f->first >= last->first &&
	       f->generation == m->generation && memcmp(f->lineage, m->lineage, HEARTH_ID_SIZE) == 0 &&
	       !is_listed(m, f->number);
}

static enum hearth_status adopt(struct manifest *m, const struct found *f, struct hearth_error *ret_err)
{
	struct manifest_segment s = segment_entry(f);
	learn(m, f);
	raise_to(&m->next_segment, s.number + 1);
	if (manifest_add_segment(m, &s))
		return HEARTH_OK;
	return hearth_fail(ret_err, HEARTH_NOMEM, DATADIR_MANIFEST, 0, "no memory for the manifest");
}

enum hearth_status datadir_adopt_segments(
    struct datadir *dir, struct manifest *m, struct hearth_error *ret_err)
{
	struct finds finds = {0};
	if (m->n_segments == 0)
		return HEARTH_OK;
	enum hearth_status status = look_at_files(dir, &finds, ret_err);
	/* Oldest first, so once is enough but for segments without a record, whose order numbers alone do not tell. */
	for (bool more = true; status == HEARTH_OK && more;) {
		more = false;
		for (size_t i = 0; status == HEARTH_OK && i < finds.n; i++) {
			if (!chains(m, &finds.list[i]))
				continue;
			more = finds.list[i].taken = true;
			status = adopt(m, &finds.list[i], ret_err);
		}
	}
	free(finds.list);
	return status;
}
