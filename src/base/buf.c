/* SPDX-License-Identifier: BSD-3-Clause */
/* buf: see buf.h. One thread at a time; memory that cannot be had is reported, never fatal. */
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "base/check.h"
#include "base/nodump.h"

#define FIRST_SIZE 256

/* What is so large holds values. */
static bool is_large(size_t size)
{
	return size >= NODUMP_LEAST;
}

static void release(struct buf *b)
{
	if (is_large(b->size))
		nodump_free(b->data, b->size);
	else
		free(b->data);
}

bool buf_open(struct buf *b, size_t size)
{
	CHECK(b->data == NULL);
	uint8_t *data = is_large(size) ? nodump_alloc(size) : malloc(size);
	if (data)
		*b = (struct buf){.data = data, .size = size};
	return data != NULL;
}

bool buf_reserve(struct buf *b, size_t len)
{
	CHECK(b->head <= b->tail && b->tail <= b->size);
	if (buf_room(b) >= len)
		return true;
	size_t used = buf_len(b);
	if (len > SIZE_MAX / 2 || used > SIZE_MAX / 2 - len)
		return false;
	/* Sliding must free a fair part of what it moves; otherwise a long queue that is consumed in small
	 * bites would be copied whole each time. */
	if (b->size - used >= len && b->head >= used / 4) {
		memmove(b->data, b->data + b->head, used);
		b->head = 0;
		b->tail = used;
		return true;
	}
	size_t size = b->size < FIRST_SIZE ? FIRST_SIZE : b->size;
	while (size < used + len)
		size *= 2;
	struct buf larger = {0};
	if (!buf_open(&larger, size))
		return false;
	if (used > 0)
		memcpy(larger.data, b->data + b->head, used);
	larger.tail = used;
	release(b);
	*b = larger;
	return true;
}

bool buf_append(struct buf *b, const void *data, size_t len)
{
	if (!buf_reserve(b, len))
		return false;
	if (len > 0)
		memcpy(b->data + b->tail, data, len);
	b->tail += len;
	return true;
}

void buf_consume(struct buf *b, size_t len)
{
	CHECK(len <= buf_len(b));
	b->head += len;
	if (b->head == b->tail)
		b->head = b->tail = 0;
}

void buf_clear(struct buf *b)
{
	b->head = b->tail = 0;
}

void buf_free(struct buf *b)
{
	release(b);
	*b = (struct buf){0};
}
