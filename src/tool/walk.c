/* SPDX-License-Identifier: BSD-3-Clause */
/* walk: see walk.h. A block belongs to the log when it verifies under the segment's salt, carries the CRC of
 * the block before it and begins with the number that is due. Behind a hole the first block that verifies and
 * does not go back in numbers is taken. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include "tool/walk.h"

/* A file written to this recently may belong to a daemon in the middle of a write. */
#define FRESH_SECONDS 2

void walk_begin(struct walk *w, const struct source_file *file)
{
	const struct segment_header *h = segment_get_header(file->segment);
	*w = (struct walk){.file = file,
	    .next = h->first,
	    .crc = h->crc,
	    .linked = !file->headless,
	    .end = SEGMENT_HEADER_SIZE};
	segment_seek(file->segment, SEGMENT_HEADER_SIZE);
}

/* A packed segment ends where its file does; what the successor says of its end speaks of the file before. */
static bool is_packed(const struct source_file *file)
{
	return (segment_get_header(file->segment)->features.compatible & SEGMENT_PACKED) != 0;
}

uint64_t walk_limit(const struct source_file *file)
{
	return file->next && !is_packed(file) ? file->next->prev_end : UINT64_MAX;
}

static bool is_fatal(enum hearth_status status)
{
	return status == HEARTH_IO || status == HEARTH_NOMEM || status == HEARTH_NEWER ||
	       status == HEARTH_FOREIGN;
}

static bool follows(const struct walk *w, const struct segment_block *b)
{
	return b->head.first == w->next && (!w->linked || b->head.prev_crc == w->crc);
}

static enum walk_event deliver(struct walk *w, const struct segment_block *b)
{
	w->next = b->head.first + b->head.count;
	w->crc = b->head.crc;
	w->linked = true;
	w->end = b->end;
	return WALK_BLOCK;
}

/* From the position on (a block that is none, or one that must not be here), the next block that may follow.
 * HEARTH_OK with the position at it, HEARTH_END. */
static enum hearth_status find_next(
    struct walk *w, struct segment_block *ret_block, struct hearth_error *ret_err)
{
	struct segment_reader *r = w->file->segment;
	for (;;) {
		enum hearth_status status = segment_resync(r, ret_err);
		if (status != HEARTH_OK)
			return status;
		uint64_t at = segment_offset(r);
		if (at >= walk_limit(w->file))
			return HEARTH_END;
		status = segment_next(r, ret_block, ret_err);
		if (is_fatal(status))
			return status;
		segment_seek(r, at);
		if (status == HEARTH_OK && ret_block->head.first >= w->next &&
		    ret_block->end <= walk_limit(w->file))
			return HEARTH_OK;
	}
}

/* As a start has it, where the kernel does not say which boot this is nothing was lost with another one. */
static bool is_of_this_boot(const struct segment_header *h)
{
	uint8_t now[HEARTH_ID_SIZE], none[HEARTH_ID_SIZE] = {0};
	datadir_boot_id(NULL, now, NULL);
	return memcmp(now, h->boot_id, sizeof(now)) == 0 || memcmp(now, none, sizeof(now)) == 0;
}

/* Whether this kernel, still running, wrote the segment: then all that was written is there but for the last write. A bad
 * header does not say; so it may have, if it wrote any. */
static bool same_boot(const struct source_file *file)
{
	const struct source *s = file->source;
	if (!file->headless)
		return is_of_this_boot(segment_get_header(file->segment));
	for (const struct source_file *f = s->files; f < s->files + s->n_files; f++)
		if (f->kind == DATADIR_LOG && f->segment && !f->headless && !f->left &&
		    is_of_this_boot(segment_get_header(f->segment)))
			return true;
	return false;
}

bool walk_may_be_cut(const struct source_file *file)
{
	return file->zeros && (walk_limit(file) <= SEGMENT_HEADER_SIZE || !same_boot(file));
}

/* What speaks for damage when the log does not go on somewhere. */
struct evidence {
	bool found;   /* something good lies behind the hole */
	bool durable; /* and something says that what is missing was on the disk for good */
};

/* Looks for a block from the position on that was written when all before `next` was durable already. */
static enum hearth_status look_on(struct segment_reader *r, uint64_t next, struct evidence *ev)
{
	struct hearth_error err;
	enum hearth_status status = HEARTH_OK;
	uint64_t at = segment_offset(r);
	while (!ev->durable && (status == HEARTH_OK || status == HEARTH_DAMAGED || status == HEARTH_TORN)) {
		struct segment_block b;
		status = segment_next(r, &b, &err);
		if (status == HEARTH_OK)
			ev->durable = b.head.durable >= next;
		else if (status == HEARTH_DAMAGED || status == HEARTH_TORN)
			status = segment_resync(r, &err);
	}
	segment_seek(r, at);
	return status == HEARTH_IO || status == HEARTH_NOMEM ? status : HEARTH_OK;
}

static bool has_block(struct segment_reader *r)
{
	struct segment_block b;
	struct hearth_error err;
	bool has = segment_next(r, &b, &err) == HEARTH_OK || segment_resync(r, &err) == HEARTH_OK;
	segment_seek(r, SEGMENT_HEADER_SIZE);
	return has;
}

/* In the segments behind this one; their positions do not matter, a walk begins at the front. */
static enum hearth_status look_later(const struct walk *w, struct evidence *ev)
{
	const struct source *s = w->file->source;
	enum hearth_status status = HEARTH_OK;
	for (const struct source_file *f = w->file + 1; f < s->files + s->n_files && status == HEARTH_OK;
	     f++) {
		if (f->kind != DATADIR_LOG || f->left || !f->segment)
			continue;
		segment_seek(f->segment, SEGMENT_HEADER_SIZE);
		/* Of one without a header only its blocks prove that it is ours. */
		ev->found = ev->found || !f->headless || has_block(f->segment);
		status = look_on(f->segment, w->next, ev);
	}
	return status;
}

/* A segment of a later boot was begun by a recovery, which had read and synced all that is before it. Its header says where
 * that ended; where a header in between is missing nothing does. */
static bool read_before(const struct source_file *file)
{
	const struct source *s = file->source;
	const struct source_file *at = file->headless ? NULL : file;
	for (const struct source_file *f = file + 1; at && f < s->files + s->n_files; f++) {
		if (f->kind != DATADIR_LOG || f->left || f->status == HEARTH_END)
			continue;
		if (!f->segment || f->headless || at->next != segment_get_header(f->segment))
			return false;
		if (memcmp(at->next->boot_id, segment_get_header(at->segment)->boot_id, HEARTH_ID_SIZE) != 0)
			return true;
		at = f;
	}
	return false;
}

/* Is this hole damage, or the end of the log? Where the kernel that wrote it still runs, only the very last write can
 * be torn: anything good behind the hole proves damage. After a power cut later blocks may have reached the disk
 * first: only one that calls the missing part durable proves damage. So does a snapshot published above it, and a
 * stop in order that wrote more, and a whole block from earlier in the log. A header fits into a sector: bad over something,
 * and no zeros, it was not cut off. */
static enum hearth_status is_damage(struct walk *w, bool found_here, bool *ret_damage)
{
	struct evidence ev = {.found = found_here};
	enum hearth_status status = HEARTH_OK;
	if (found_here)
		status = look_on(w->file->segment, w->next, &ev);
	if (status == HEARTH_OK)
		status = look_later(w, &ev);
	const struct source *s = w->file->source;
	bool stopped = s->manifest.clean && s->manifest.last_seq >= w->next;
	bool unreadable = w->file->headless && segment_size(w->file->segment) > SEGMENT_HEADER_SIZE;
	bool broken = unreadable && !w->file->zeros;
	*ret_damage = read_before(w->file) || s->durable >= w->next || stopped || broken || w->misplaced ||
	              (ev.found && ev.durable) || (same_boot(w->file) && (ev.found || unreadable));
	return status;
}

bool walk_ends_before(const struct source_file *file, const struct source_file *before, uint64_t next)
{
	const struct source *s = file->source;
	struct walk w;
	struct evidence ev = {.found = true};
	walk_begin(&w, file);
	w.next = next;
	if ((before && read_before(before)) || same_boot(file) || s->durable >= next ||
	    (s->manifest.clean && s->manifest.last_seq >= next))
		return false;
	segment_seek(file->segment, SEGMENT_HEADER_SIZE);
	/* One without a header has no say in what lies before it, as a start has it. */
	bool looked = file->headless || look_on(file->segment, next, &ev) == HEARTH_OK;
	return looked && look_later(&w, &ev) == HEARTH_OK && !ev.durable;
}

static enum walk_event torn(struct walk *w, uint64_t from, const char *what, struct walk_hole *ret_hole)
{
	w->over = w->checked_end = true;
	*ret_hole = (struct walk_hole){
	    .from = from, .to = segment_size(w->file->segment), .next = w->next, .what = what};
	return WALK_TORN;
}

uint64_t walk_begins_behind(const struct source_file *file)
{
	const struct source *s = file->source;
	for (const struct source_file *f = file + 1; f < s->files + s->n_files; f++)
		if (f->kind == DATADIR_LOG && !f->left && f->segment && !f->headless)
			return segment_get_header(f->segment)->first;
	return 0;
}

/* The number with which the log goes on behind this segment, 0 = nobody knows. */
static uint64_t resumes(const struct walk *w)
{
	return w->file->next ? w->file->next->prev_last + 1 : walk_begins_behind(w->file);
}

/* Nothing good is left in this segment, but there was more. */
static enum walk_event lost_rest(struct walk *w, uint64_t from, const char *what, struct walk_hole *ret_hole)
{
	uint64_t size = segment_size(w->file->segment);
	w->over = w->checked_end = true;
	w->linked = false;
	*ret_hole = (struct walk_hole){.from = from,
	    .to = walk_limit(w->file) < size ? walk_limit(w->file) : size,
	    .next = w->next,
	    .resumed = resumes(w),
	    .what = what};
	return WALK_BAD;
}

/* No block at `from`, or none that may be there. */
static enum walk_event hole(
    struct walk *w, uint64_t from, const char *what, struct walk_hole *ret_hole, struct hearth_error *ret_err)
{
	struct segment_block b;
	bool damage = true;
	enum hearth_status status = find_next(w, &b, ret_err);
	bool found = status == HEARTH_OK;
	/* Bytes were put in between, nothing is missing: then the chain still holds. */
	bool whole = found && w->linked && b.head.first == w->next && b.head.prev_crc == w->crc;
	if (!is_fatal(status) && !whole) {
		status = is_damage(w, found, &damage);
		if (is_fatal(status))
			hearth_fail(ret_err, status, w->file->name, from, "cannot search the segment");
	}
	if (is_fatal(status)) {
		w->over = true;
		return WALK_FAILED;
	}
	if (!damage)
		return torn(w, from, what, ret_hole);
	if (!found)
		return lost_rest(w, from, what, ret_hole);
	*ret_hole = (struct walk_hole){.from = from,
	    .to = b.offset,
	    .next = w->next,
	    .resumed = b.head.first,
	    .here = true,
	    .whole = whole,
	    .what = what};
	w->linked = whole;
	w->next = b.head.first;
	return WALK_BAD;
}

/* Two verified blocks that are not neighbours. */
static enum walk_event gap(struct walk *w, const struct segment_block *b, struct walk_hole *ret_hole)
{
	*ret_hole = (struct walk_hole){.from = b->offset,
	    .to = b->offset,
	    .next = w->next,
	    .resumed = b->head.first,
	    .here = true,
	    .what = b->head.first > w->next ? "numbers are missing between two blocks"
	                                    : "block does not follow the one before"};
	segment_seek(w->file->segment, b->offset);
	w->linked = false;
	w->next = b->head.first;
	return WALK_BAD;
}

/* Whether the last block is the one that the next segment's header names. */
static enum walk_event end(struct walk *w, struct walk_hole *ret_hole)
{
	const struct segment_header *next = w->file->next;
	bool fits = !next || w->checked_end || !w->linked ||
	            (is_packed(w->file) ? w->next == next->prev_last + 1 : w->crc == next->prev_crc);
	w->over = w->checked_end = true;
	if (fits)
		return WALK_END;
	*ret_hole = (struct walk_hole){.from = w->end,
	    .to = w->end,
	    .next = w->next,
	    .resumed = next->prev_last + 1,
	    .what = "last block is not the one that the next segment names"};
	return WALK_BAD;
}

/* A daemon may be writing this very block: give it a moment. */
static bool settle(struct walk *w, uint64_t at)
{
	struct stat st;
	if (!w->file->last || w->settled == at || fstatat(w->file->dirfd, w->file->name, &st, 0) < 0 ||
	    time(NULL) - st.st_mtime > FRESH_SECONDS)
		return false;
	w->settled = at;
	nanosleep(&(struct timespec){0, 50000000}, NULL);
	return true;
}

/* The file ends, but the next segment's header knows of more. */
static bool misses_end(const struct walk *w, uint64_t at)
{
	const struct segment_header *next = w->file->next;
	return next && (is_packed(w->file) ? w->next <= next->prev_last : at < next->prev_end);
}

enum walk_event walk_next(
    struct walk *w, struct segment_block *ret_block, struct walk_hole *ret_hole, struct hearth_error *ret_err)
{
	struct segment_reader *r = w->file->segment;
	uint64_t at = segment_offset(r);
	w->misplaced = false;
	if (w->over || at >= walk_limit(w->file))
		return end(w, ret_hole);
	enum hearth_status status = segment_next(r, ret_block, ret_err);
	if ((status == HEARTH_TORN || status == HEARTH_DAMAGED) && settle(w, at))
		status = segment_next(r, ret_block, ret_err);
	if (status == HEARTH_END && misses_end(w, at))
		return hole(
		    w, at, "file ends before the place that the next segment names", ret_hole, ret_err);
	if (status == HEARTH_END)
		return end(w, ret_hole);
	if (is_fatal(status)) {
		w->over = true;
		return WALK_FAILED;
	}
	if (status != HEARTH_OK)
		return hole(w, at, ret_err->what, ret_hole, ret_err);
	if (follows(w, ret_block) && ret_block->end <= walk_limit(w->file))
		return deliver(w, ret_block);
	if (ret_block->head.first >= w->next && ret_block->end <= walk_limit(w->file))
		return gap(w, ret_block, ret_hole);
	segment_seek(r, at);
	w->misplaced = ret_block->end <= walk_limit(w->file);
	return hole(w, at,
	    ret_block->end > walk_limit(w->file) ? "block goes beyond the segment's end"
	                                         : "block from earlier in the log",
	    ret_hole, ret_err);
}
