/* SPDX-License-Identifier: BSD-3-Clause */
/* nodump: see nodump.h. A block is a power of two, and a mapping of its own, which the kernel joins with its neighbours. Some
 * that were given back are kept for the next, as a mapping costs what a hundred small requests cost. */
#include "base/nodump.h"
#include <pthread.h>
#include <stdlib.h>
#include "base/check.h"

#define CLASSES  11 /* 16 KiB to 16 MiB; what is larger is not kept */
#define KEPT_MAX ((size_t)8 << 20)

/* An address sanitizer looks after what malloc gives, and keeps nothing of it in a dump either. */
#ifdef __SANITIZE_ADDRESS__

void *nodump_alloc(size_t size)
{
	return malloc(size);
}

void nodump_free(void *memory, size_t size)
{
	(void)size;
	free(memory);
}

#else

struct block {
	struct block *next;
};

static struct {
	pthread_mutex_t lock;
	struct block *first[CLASSES];
	size_t bytes;
} kept = {.lock = PTHREAD_MUTEX_INITIALIZER};

static unsigned class_of(size_t size)
{
	unsigned k = 0;
	while (k < CLASSES && NODUMP_LEAST << k < size)
		k++;
	return k;
}

static size_t whole(size_t size, unsigned k)
{
	return k < CLASSES ? NODUMP_LEAST << k : (size + NODUMP_PAGE - 1) & ~(NODUMP_PAGE - 1);
}

static struct block *take(unsigned k)
{
	struct block *block = NULL;
	pthread_mutex_lock(&kept.lock);
	if (k < CLASSES && (block = kept.first[k]) != NULL) {
		kept.first[k] = block->next;
		kept.bytes -= NODUMP_LEAST << k;
	}
	pthread_mutex_unlock(&kept.lock);
	return block;
}

/* False: it is one too many. */
static bool keep(struct block *block, unsigned k, size_t most)
{
	bool room = false;
	pthread_mutex_lock(&kept.lock);
	if (k < CLASSES && kept.bytes + (NODUMP_LEAST << k) <= most) {
		block->next = kept.first[k];
		kept.first[k] = block;
		kept.bytes += NODUMP_LEAST << k;
		room = true;
	}
	pthread_mutex_unlock(&kept.lock);
	return room;
}

void *nodump_alloc(size_t size)
{
	unsigned k = class_of(size);
	void *block = size > SIZE_MAX / 2 ? NULL : take(k);
	if (block || size > SIZE_MAX / 2)
		return block;
	block = mmap(NULL, whole(size, k), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (block == MAP_FAILED)
		return NULL;
	nodump(block, whole(size, k));
	return block;
}

void nodump_free(void *memory, size_t size)
{
	unsigned k = class_of(size);
	if (!memory || keep(memory, k, KEPT_MAX))
		return;
	/* Between neighbours that stay it takes one more mapping, of which a process may have so many and no more. */
	if (munmap(memory, whole(size, k)) != 0) {
		CHECK(madvise(memory, whole(size, k), MADV_DONTNEED) == 0);
		keep(memory, k, SIZE_MAX);
	}
}

#endif
