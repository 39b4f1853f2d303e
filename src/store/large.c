/* SPDX-License-Identifier: BSD-3-Clause */
/* large: see large.h. */
#include "store/large.h"

#include <stdlib.h>
#include "base/check.h"

#define LARGE_MAGIC 0x4c415247u

struct store_large {
	uint32_t magic;
	_Atomic uint32_t refs;
	size_t len;
	_Atomic uint64_t *counter;
	uint8_t data[];
};

struct store_large *large_make(size_t len, _Atomic uint64_t *counter)
{
	struct store_large *large = malloc(sizeof(*large) + len);
	if (!large)
		return NULL;
	large->magic = LARGE_MAGIC;
	atomic_init(&large->refs, 1);
	large->len = len;
	large->counter = counter;
	atomic_fetch_add_explicit(counter, large_cost(large), memory_order_relaxed);
	return large;
}

struct store_large *large_ref(struct store_large *large)
{
	CHECK_MAGIC(large, LARGE_MAGIC);
	atomic_fetch_add_explicit(&large->refs, 1, memory_order_relaxed);
	return large;
}

void large_unref(struct store_large **ref)
{
	struct store_large *large = *ref;
	CHECK_MAGIC(large, LARGE_MAGIC);
	*ref = NULL;
	if (atomic_fetch_sub_explicit(&large->refs, 1, memory_order_acq_rel) > 1)
		return;
	atomic_fetch_sub_explicit(large->counter, large_cost(large), memory_order_relaxed);
	large->magic = 0;
	free(large);
}

uint8_t *large_data(struct store_large *large)
{
	return large->data;
}

size_t large_len(const struct store_large *large)
{
	return large->len;
}

size_t large_cost(const struct store_large *large)
{
	return sizeof(*large) + large->len + 16; /* the allocator's own */
}
