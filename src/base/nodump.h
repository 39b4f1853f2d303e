/* SPDX-License-Identifier: BSD-3-Clause */
/* nodump: memory that holds clients' values stays out of core dumps: a dump is for those who look for a mistake in the
 * program, and it may be kept where such data may not be. Any thread. */
#ifndef BASE_NODUMP_H
#define BASE_NODUMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#define NODUMP_PAGE  ((uintptr_t)4096)
#define NODUMP_LEAST ((size_t)16384) /* the smallest block that nodump_alloc gives */

/* Of memory that is there. Whole pages, so what lies next to it within them stays out, too; what the allocator gets back and
 * hands out again may do so. Advice only: without it the dump is larger. */
static inline void nodump(void *memory, size_t size)
{
	uintptr_t from = (uintptr_t)memory & ~(NODUMP_PAGE - 1);
	uintptr_t to = ((uintptr_t)memory + size + NODUMP_PAGE - 1) & ~(NODUMP_PAGE - 1);
	if (memory)
		madvise((void *)from, to - from, MADV_DONTDUMP);
}

/* Memory of its own for such values; for small sizes that is a waste. Page-aligned, not zeroed. NULL: there is none. */
void *nodump_alloc(size_t size);
/* size: what was asked for. memory may be NULL. */
void nodump_free(void *memory, size_t size);

#endif
