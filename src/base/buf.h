/* SPDX-License-Identifier: BSD-3-Clause */
/* buf: a growable byte buffer with a consumed front: data[head .. tail) is what it holds. Owned by one thread
 * at a time. Growth doubles; allocation failure is returned, never fatal. Core dumps leave out what a large one holds. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
	uint8_t *data;
	size_t head, tail, size;
};

static inline size_t buf_len(const struct buf *b)
{
	return b->tail - b->head;
}

static inline size_t buf_room(const struct buf *b)
{
	return b->size - b->tail;
}

/* Memory of just that size for one that has none. False when memory is short. */
bool buf_open(struct buf *b, size_t size);
/* Makes room for len more bytes behind the tail (moving the content to the front where that is enough
 * and at least a fifth of the bytes before the tail are consumed).
 * False when memory is short: the content is untouched. */
bool buf_reserve(struct buf *b, size_t len);
/* Appends; false when memory is short. */
bool buf_append(struct buf *b, const void *data, size_t len);
void buf_consume(struct buf *b, size_t len);
void buf_clear(struct buf *b);
/* Frees the memory, which nobody else can, and zeroes the struct. */
void buf_free(struct buf *b);

#endif
