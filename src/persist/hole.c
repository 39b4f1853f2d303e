/* SPDX-License-Identifier: BSD-3-Clause */
/* hole: where the log does not go on, is that its end, or damage? In the boot that wrote it the page cache is
 * whole: only the last write can be torn, so anything good behind the hole proves damage. In another boot a
 * later block may have reached the disk first: only one that says the hole was durable proves damage, or a
 * snapshot that was published above it, or a whole block from earlier in the log in the hole's place. A cache may
 * forget; it may not lie: what the lost numbers may have changed goes (lost.c).
 */
#include "persist/replay.h"

#include <fcntl.h>
#include <string.h>
#include "base/vfs.h"

struct evidence {
	bool found;      /* something good lies behind the hole */
	bool durable;    /* and says that the hole was durable */
	bool misplaced;  /* the hole itself is a good block, from earlier in the log: no crash leaves that */
	bool here;       /* in this segment: */
	uint64_t offset; /* there */
	uint64_t first;  /* first number behind the hole */
	/* What could not be read may be what proves it: nothing is concluded then. */
	enum hearth_status failed;
	struct hearth_error err;
};

/* True: the search for more cannot go on. What is bad or ends is no failure of it. */
static bool fails(struct evidence *ev, enum hearth_status status, const char *name, uint64_t offset)
{
	if (status != HEARTH_IO && status != HEARTH_NOMEM)
		return false;
	ev->failed =
	    hearth_fail(&ev->err, status, name, offset, "cannot search the segment behind a bad place");
	return true;
}

/* Something else than the log says that it went on here. */
static bool is_told(const struct replay *rp)
{
	const struct manifest *m = &rp->rec->options->files->manifest;
	return rp->rec->snapshot_end >= rp->expected || (m->clean && m->last_seq >= rp->expected);
}

/* Whether what should be at the hole had been there for certain. */
static bool is_damage(const struct replay *rp, const struct evidence *ev)
{
	const struct replay_head *head = &rp->heads[rp->at];
	/* A bad header says nothing of the boot; the one before it does. Headers are written whole, so in the same boot a bad
	 * one with something behind it was not torn. */
	bool unreadable = head->status != HEARTH_OK && head->size > SEGMENT_HEADER_SIZE;
	/* It fits into a sector: a power cut leaves it whole, or zeros. */
	bool broken = unreadable && !head->zeros;
	bool sure = is_told(rp) || broken || ev->misplaced;
	return sure || (ev->found && ev->durable) || (!rp->other_boot && (ev->found || unreadable));
}

/* More need not be looked at: it is damage, and where the log goes on is known; or nobody can look. */
static bool is_settled(const struct replay *rp, const struct evidence *ev)
{
	return ev->failed != HEARTH_OK || (ev->found && is_damage(rp, ev));
}

/* Also behind where the successor says that the segment ends: what a block there says was durable was. */
static bool good_block(struct replay *rp, uint64_t offset, struct block_header *ret_h)
{
	return window_verify(&rp->window, offset, rp->len, rp->salt, ret_h) == HEARTH_OK &&
	       ret_h->first >= rp->expected;
}

/* The next offset in the segment at which a block verifies and belongs behind the hole. The search reads each byte once,
 * whatever a client has put into its values. */
static bool next_block(
    struct replay *rp, uint64_t offset, struct evidence *ev, uint64_t *ret_offset, struct block_header *ret_h)
{
	const struct window *w = &rp->window;
	const char *name = rp->heads[rp->at].name;
	bool found = good_block(rp, offset, ret_h);
	enum hearth_status status = HEARTH_OK;
	while (!found && !atomic_load(&w->failed) && status == HEARTH_OK) {
		status = segment_find(w->vfs, w->fd, rp->salt, offset, rp->len, &offset);
		found = status == HEARTH_OK && good_block(rp, offset, ret_h);
		offset += !found;
	}
	*ret_offset = offset;
	return !fails(ev, atomic_load(&w->failed) ? HEARTH_IO : status, name, offset) && found;
}

static void look_here(struct replay *rp, uint64_t offset, struct evidence *ev)
{
	struct block_header h;
	/* What does not follow may be whole itself; but looked at twice it is what is bad. */
	bool again = rp->hole_at == rp->at && rp->hole_offset == offset;
	uint64_t at = offset - !again;
	rp->hole_at = rp->at;
	rp->hole_offset = offset;
	ev->misplaced =
	    window_verify(&rp->window, offset, rp->end, rp->salt, &h) == HEARTH_OK && h.first < rp->expected;
	while (!is_settled(rp, ev) && next_block(rp, at + 1, ev, &at, &h)) {
		uint64_t behind = at + BLOCK_HEADER_SIZE + h.stored_len;
		if (!ev->here && behind <= rp->end) {
			ev->here = ev->found = true;
			ev->offset = at;
			ev->first = h.first;
		}
		ev->durable |= h.durable >= rp->expected;
		at = behind - 1;
	}
}

/* A later segment whose header is bad: blocks that verify by the manifest's salt are evidence all the same. */
static void look_unreadable(const struct replay *rp, const struct replay_head *head, struct evidence *ev)
{
	struct datadir *dir = rp->rec->options->files->dir;
	const struct vfs *vfs = datadir_vfs(dir);
	uint64_t offset = 0;
	int fd = vfs_open(vfs, datadir_fd(dir), head->name, O_RDONLY);
	enum hearth_status status = HEARTH_IO;
	if (fd >= 0)
		status = segment_find(vfs, fd, head->entry->salt, SEGMENT_HEADER_SIZE, head->size, &offset);
	fails(ev, status, head->name, offset);
	ev->found |= status == HEARTH_OK;
	if (fd >= 0)
		vfs->close(vfs->ctx, fd);
}

/* One with a good header is evidence itself; a block in it may say that the hole was durable. */
static void look_readable(const struct replay *rp, const struct replay_head *head, struct evidence *ev)
{
	struct datadir *dir = rp->rec->options->files->dir;
	struct segment_reader *reader;
	struct segment_block block;
	if (!ev->found)
		ev->first = head->h.first;
	ev->found = true;
	enum hearth_status status =
	    segment_open(&reader, datadir_vfs(dir), datadir_fd(dir), head->name, NULL, NULL);
	while (status == HEARTH_OK && !ev->durable) {
		status = segment_skim(reader, &block, NULL);
		ev->durable |= status == HEARTH_OK && block.head.durable >= rp->expected;
	}
	fails(ev, status, head->name, 0);
	segment_close(&reader);
}

static void look_later(struct replay *rp, struct evidence *ev)
{
	for (size_t i = rp->at + 1; i < rp->n && !is_settled(rp, ev); i++) {
		const struct replay_head *head = &rp->heads[i];
		if (replay_readable(head))
			look_readable(rp, head, ev);
		else if (head->present && head->size > SEGMENT_HEADER_SIZE)
			look_unreadable(rp, head, ev);
	}
}

void hole_reset(struct replay *rp, uint64_t first)
{
	struct recovery *rec = rp->rec;
	if (first && first - 1 <= rec->s0)
		return; /* the snapshot holds what came of them */
	struct store_stats st;
	rp->reset_all = first == 0;
	store_get_stats(rec->options->store, &st);
	store_load_reset(rec->thread[0]);
	atomic_fetch_add(&rec->dropped, st.items);
	recover_note(rec, "%llu items older than the damage were dropped;", (unsigned long long)st.items);
}

static void end_here(struct replay *rp, uint64_t offset)
{
	struct recovery *rec = rp->rec;
	uint64_t left = rp->len - offset;
	rp->ended = true;
	for (size_t i = rp->at + 1; i < rp->n; i++) {
		if (!rp->heads[i].present)
			continue;
		left += rp->heads[i].size;
		if (rp->heads[i].size)
			recover_set_aside(rec, rp->heads[i].name);
		recover_forget(rec, rp->heads[i].entry->number);
	}
	rec->result->left_out_bytes += left;
	if (left)
		recover_note(rec, "%llu bytes behind offset %llu of %s were left out: the write was cut off;",
		    (unsigned long long)left, (unsigned long long)offset, rp->heads[rp->at].name);
}

/* A segment of a later boot was begun by a recovery, which had read and synced all that is before it. Its header says where
 * that ended; where a header in between is missing nothing does. */
static bool read_before(const struct replay *rp, size_t i)
{
	const struct replay_head *head = &rp->heads[i], *next;
	while (head->status == HEARTH_OK && (next = replay_successor(rp, (size_t)(head - rp->heads)))) {
		if (memcmp(next->h.boot_id, head->h.boot_id, HEARTH_ID_SIZE) != 0)
			return true;
		head = next;
	}
	return false;
}

enum hearth_status hole_ends_before(struct replay *rp, size_t i)
{
	struct evidence ev = {0};
	size_t at = rp->at;
	if (replay_in_this_boot(rp, &rp->heads[i]) || read_before(rp, i - 1))
		return HEARTH_OK;
	rp->at = i - 1;
	rp->len = rp->heads[i - 1].size;
	look_later(rp, &ev);
	if (ev.failed != HEARTH_OK)
		*rp->rec->err = ev.err;
	else if (!is_told(rp) && !ev.durable)
		end_here(rp, rp->len);
	rp->at = at;
	return ev.failed;
}

/* What the hole takes: the numbers up to where the log is known to go on. */
static void lose(struct replay *rp, const struct replay_head *next, const struct evidence *ev)
{
	if (ev->here)
		lost_numbers(rp, ev->first, rp->at, ev->offset);
	else if (ev->found && next)
		lost_numbers(rp, next->h.prev_last + 1, rp->at + 1, SEGMENT_HEADER_SIZE);
	else if (ev->found && ev->first >= rp->expected)
		lost_numbers(rp, ev->first, rp->at + 1, SEGMENT_HEADER_SIZE);
	else
		hole_reset(rp, ev->found ? ev->first : 0);
}

enum hearth_status hole_decide(struct replay *rp, const struct replay_head *next, uint64_t *offset)
{
	struct recovery *rec = rp->rec;
	const struct replay_head *head = &rp->heads[rp->at];
	struct evidence ev = {0};
	look_here(rp, *offset, &ev);
	look_later(rp, &ev);
	if (ev.failed != HEARTH_OK) {
		*rec->err = ev.err;
		return ev.failed;
	}
	if (!read_before(rp, rp->at) && !is_damage(rp, &ev)) {
		end_here(rp, *offset);
		return HEARTH_OK;
	}
	recover_damage(rec, head->name, *offset, "a block does not verify");
	uint64_t first = ev.here ? ev.first : next && next->h.first ? next->h.first : ev.first;
	rec->result->left_out_bytes +=
	    (ev.here ? ev.offset : rp->end) - (*offset < rp->end ? *offset : rp->end);
	lose(rp, next, &ev);
	*offset = ev.here ? ev.offset : rp->end;
	if (first > rp->expected)
		rp->expected = first;
	rp->chained = false;
	/* Without a block here the rest of the log, if any, begins with the next segment. */
	if (!ev.here)
		rp->end = *offset;
	if (!ev.here && next && next->h.prev_last >= rp->expected)
		rp->expected = next->h.prev_last + 1;
	return HEARTH_OK;
}
