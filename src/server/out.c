/* SPDX-License-Identifier: BSD-3-Clause */
/* out: unsent output, see out.h. A part lies behind the copied byte at its place; places count from the first
 * byte ever copied since the output was last empty. */
#include "server/out.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include "base/check.h"
#include "engine/engine.h"
#include "server/io.h"

/* Pinned values are longer than STORE_COPY_MAX, so no more than this fit below OUT_PINNED_MAX; one more may
 * go over. */
#define PARTS_MAX (OUT_PINNED_MAX / STORE_COPY_MAX + 2)
#define IOV_COUNT 64

struct out_part {
	size_t at; /* place in the copied bytes before which it is sent */
	const uint8_t *data;
	size_t len;
	struct store_pin pin;
};

bool out_prepare_pin(struct out *o)
{
	if (!o->parts)
		o->parts = malloc(PARTS_MAX * sizeof *o->parts);
	return o->parts != NULL;
}

bool out_can_pin(const struct out *o)
{
	return o->parts && o->first + o->n < PARTS_MAX && o->pinned < OUT_PINNED_MAX;
}

void out_pin(struct out *o, const struct store_view *view)
{
	CHECK(out_can_pin(o));
	struct out_part *p = &o->parts[o->first + o->n++];
	p->at = o->base + buf_len(&o->copied);
	p->data = view->value;
	p->len = view->value_len;
	p->pin = view->pin;
	o->pinned += view->value_len;
}

/* Gathers from the front; returns the number of pieces. */
static int gather(const struct out *o, struct iovec iov[IOV_COUNT])
{
	const uint8_t *copied = o->copied.data + o->copied.head;
	size_t at = o->base, end = o->base + buf_len(&o->copied);
	int n = 0;

	for (unsigned i = o->first; i < o->first + o->n && n < IOV_COUNT - 2; i++) {
		const struct out_part *p = &o->parts[i];
		if (p->at > at) {
			iov[n++] = (struct iovec){(void *)(copied + (at - o->base)), p->at - at};
			at = p->at;
		}
		iov[n++] = (struct iovec){(void *)p->data, p->len};
		if (n >= IOV_COUNT - 2 && i + 1 < o->first + o->n)
			return n;
	}
	if (at < end)
		iov[n++] = (struct iovec){(void *)(copied + (at - o->base)), end - at};
	return n;
}

static void release(struct out *o, struct engine_worker *engine)
{
	struct out_part *p = &o->parts[o->first];
	engine_unpin(engine, &p->pin);
	o->first++;
	o->n--;
}

/* The first `sent` bytes are out. */
static void advance(struct out *o, size_t sent, struct engine_worker *engine)
{
	while (sent > 0) {
		size_t copied = buf_len(&o->copied);
		if (o->n > 0 && o->parts[o->first].at - o->base < copied)
			copied = o->parts[o->first].at - o->base;
		if (copied > 0) {
			size_t step = sent < copied ? sent : copied;
			buf_consume(&o->copied, step);
			o->base += step;
			sent -= step;
			continue;
		}
		CHECK(o->n > 0);
		struct out_part *p = &o->parts[o->first];
		size_t step = sent < p->len ? sent : p->len;
		p->data += step;
		p->len -= step;
		o->pinned -= step;
		sent -= step;
		if (p->len == 0)
			release(o, engine);
	}
}

static void rewind_empty(struct out *o)
{
	o->base = 0;
	o->first = 0;
	buf_clear(&o->copied);
}

enum out_result out_send(struct out *o, int fd, struct engine_worker *engine, uint64_t *ret_bytes)
{
	struct iovec iov[IOV_COUNT];

	*ret_bytes = 0;
	while (!out_empty(o)) {
		size_t all = 0;
		int n;
		if (o->n == 0) {
			iov[0] = (struct iovec){o->copied.data + o->copied.head, buf_len(&o->copied)};
			n = 1;
		} else {
			n = gather(o, iov);
		}
		for (int i = 0; i < n; i++)
			all += iov[i].iov_len;
		ssize_t sent = io_write(fd, iov, n);
		if (sent < 0)
			return errno == EAGAIN || errno == EWOULDBLOCK ? OUT_BLOCKED : OUT_FAILED;
		*ret_bytes += (uint64_t)sent;
		advance(o, (size_t)sent, engine);
		if ((size_t)sent < all)
			return OUT_BLOCKED;
	}
	rewind_empty(o);
	return OUT_SENT;
}

void out_drop(struct out *o, struct engine_worker *engine)
{
	while (o->n > 0)
		release(o, engine);
	o->pinned = 0;
	rewind_empty(o);
}

void out_free(struct out *o, struct engine_worker *engine)
{
	out_drop(o, engine);
	free(o->parts);
	o->parts = NULL;
	buf_free(&o->copied);
}
