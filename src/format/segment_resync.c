/* SPDX-License-Identifier: BSD-3-Clause */
/* segment_resync: the search for the next whole block behind damage. Whatever looks like a block header may
 * be one, or bytes of a value that a client made up: headers that claim a gigabyte each would, tried one by
 * one, have the file read thousands of times. So the file is read once, from front to back, under a running
 * CRC. What a candidate's payload is worth follows from the running CRC where the payload begins and where it
 * ends. Candidates wait in a heap, the one that ends first on top. One thread; memory is 32 bytes for each
 * candidate that is waiting, and of those there is a limit: whoever fills a file with headers makes us forget the ones
 * that claim to end last. */
#include <stdlib.h>
#include <string.h>
#include "base/bytes.h"
#include "base/check.h"
#include "base/crc32c.h"
#include "base/vfs.h"
#include "format/block_crc.h"
#include <hearth/segment.h>

#define WINDOW_SIZE (256u * 1024)
#define WAITING_MAX 65536u

struct candidate {
	uint64_t end;
	uint64_t offset;
	uint32_t want;   /* the CRC its header states */
	uint32_t begun;  /* CRC over salt and header */
	uint32_t before; /* running CRC up to its payload */
};

struct search {
	const uint8_t *salt;
	uint8_t *window;
	uint64_t window_at; /* offset of its first byte */
	size_t window_len;
	uint64_t done; /* the running CRC covers [from, done) */
	uint32_t crc;
	struct candidate *heap;
	size_t count, room;
	bool found;
	uint64_t found_at;
};

static int by_end(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;
	return x->end < y->end ? -1 : x->end > y->end;
}

static bool heap_push(struct search *s, struct candidate c)
{
	if (s->count == WAITING_MAX) {
		qsort(s->heap, s->count, sizeof(*s->heap), by_end); /* sorted it is a heap still */
		s->count /= 2;
	}
	if (s->count == s->room) {
		size_t room = s->room ? 2 * s->room : 64;
		struct candidate *heap = reallocarray(s->heap, room, sizeof(*heap));
		if (heap == NULL)
			return false;
		s->heap = heap;
		s->room = room;
	}
	size_t i = s->count++;
	for (; i > 0 && s->heap[(i - 1) / 2].end > c.end; i = (i - 1) / 2)
		s->heap[i] = s->heap[(i - 1) / 2];
	s->heap[i] = c;
	return true;
}

static struct candidate heap_pop(struct search *s)
{
	struct candidate top = s->heap[0], last = s->heap[--s->count];
	size_t i = 0;
	for (size_t child = 1; child < s->count; child = 2 * i + 1) {
		if (child + 1 < s->count && s->heap[child + 1].end < s->heap[child].end)
			child++;
		if (s->heap[child].end >= last.end)
			break;
		s->heap[i] = s->heap[child];
		i = child;
	}
	s->heap[i] = last;
	return top;
}

static void run_crc_to(struct search *s, uint64_t offset)
{
	CHECK(offset >= s->done && offset <= s->window_at + s->window_len);
	s->crc = crc32c(s->crc, s->window + (s->done - s->window_at), (size_t)(offset - s->done));
	s->done = offset;
}

static bool holds(const struct search *s, const struct candidate *c)
{
	/* crc(before payload) is known at both its ends: what is left of the difference is the payload's own.
	 */
	uint32_t payload = s->crc ^ crc32c_combine(c->before, 0, c->end - (c->offset + BLOCK_HEADER_SIZE));
	return block_crc_end(c->begun, payload) == c->want;
}

/* Moves the running CRC to `offset` and judges the candidates that end on the way. */
static void advance(struct search *s, uint64_t offset)
{
	while (!s->found && s->count > 0 && s->heap[0].end <= offset) {
		run_crc_to(s, s->heap[0].end);
		struct candidate c = heap_pop(s);
		if (holds(s, &c)) {
			s->found = true;
			s->found_at = c.offset;
		}
	}
	if (!s->found)
		run_crc_to(s, offset);
}

static enum hearth_status consider(struct search *s, const uint8_t *header, uint64_t offset, uint64_t size)
{
	struct block_header h;
	if (block_decode_header(header, size - offset, &h) != HEARTH_OK)
		return HEARTH_OK;
	advance(s, offset + BLOCK_HEADER_SIZE);
	struct candidate c = {.end = offset + BLOCK_HEADER_SIZE + h.stored_len,
	    .offset = offset,
	    .want = h.crc,
	    .begun = block_crc_begin(header, s->salt),
	    .before = s->crc};
	return s->found || heap_push(s, c) ? HEARTH_OK : HEARTH_NOMEM;
}

/* All candidates whose header lies whole in the window, from *scan on. */
static enum hearth_status scan_window(struct search *s, uint64_t *scan, uint64_t size)
{
	const uint8_t *end = s->window + s->window_len;
	const uint8_t *p = s->window + (*scan - s->window_at);
	while (!s->found && end - p >= BLOCK_HEADER_SIZE) {
		p = memmem(p, (size_t)(end - p), "HBK1", 4);
		if (p == NULL || end - p < BLOCK_HEADER_SIZE)
			break;
		enum hearth_status status = consider(s, p, s->window_at + (uint64_t)(p - s->window), size);
		if (status != HEARTH_OK)
			return status;
		p++;
	}
	if (s->window_len >= BLOCK_HEADER_SIZE) {
		/* Headers that begin in the last 63 bytes are looked at again with the next window. */
		uint64_t next = s->window_at + s->window_len - (BLOCK_HEADER_SIZE - 1);
		*scan = *scan > next ? *scan : next;
	}
	return HEARTH_OK;
}

enum hearth_status segment_find(const struct vfs *vfs, int fd, const uint8_t salt[BLOCK_SALT_SIZE],
    uint64_t from, uint64_t size, uint64_t *ret_offset)
{
	struct search s = {.salt = salt, .window_at = from, .done = from};
	enum hearth_status status = HEARTH_OK;
	uint64_t scan = from, end = from;
	s.window = malloc(WINDOW_SIZE);
	if (s.window == NULL)
		return HEARTH_NOMEM;
	while (!s.found && end < size) {
		/* Keep what the scan has not finished with, read on behind it. */
		size_t keep = (size_t)(end - scan);
		memmove(s.window, s.window + (scan - s.window_at), keep);
		s.window_at = scan;
		size_t want = WINDOW_SIZE - keep;
		if (want > size - end)
			want = (size_t)(size - end);
		ssize_t n = vfs_read_at(vfs, fd, s.window + keep, want, end);
		status = n < 0 ? HEARTH_IO : HEARTH_OK;
		if (n <= 0)
			break;
		s.window_len = keep + (size_t)n;
		end += (size_t)n;
		status = scan_window(&s, &scan, size);
		if (status != HEARTH_OK)
			break;
		if (!s.found)
			advance(&s, end);
	}
	if (status == HEARTH_OK) {
		*ret_offset = s.found_at;
		status = s.found ? HEARTH_OK : HEARTH_END;
	}
	free(s.heap);
	free(s.window);
	return status;
}
