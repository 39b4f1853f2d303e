/* SPDX-License-Identifier: BSD-3-Clause */
/* block_zstd: see block_zstd.h. A context belongs to the thread that took it out of its slot until it is put
 * back. */
#include <stdatomic.h>
#include <stdlib.h>
#include <zstd.h>
#include <zstd_errors.h>
#include "base/check.h"
#include "format/block_zstd.h"

#define POOL_MAGIC 0x5a504f4fu
#define POOL_SLOTS 16
/* As the format of zstd has it. */
#define FRAME_BLOCK_MAX (128u * 1024)
/* The levels that Hearth packs at use no larger windows. */
#define WINDOW_LOG_MAX 23

struct block_pool {
	uint32_t magic;
	_Atomic(ZSTD_DCtx *) slots[POOL_SLOTS];
};

struct block_pool *block_pool_open(void)
{
	struct block_pool *pool = calloc(1, sizeof(*pool));
	if (pool == NULL)
		return NULL;
	pool->magic = POOL_MAGIC;
	for (unsigned i = 0; i < POOL_SLOTS; i++)
		atomic_init(&pool->slots[i], NULL);
	return pool;
}

void block_pool_close(struct block_pool **pool)
{
	if (*pool == NULL)
		return;
	CHECK_MAGIC(*pool, POOL_MAGIC);
	for (unsigned i = 0; i < POOL_SLOTS; i++)
		ZSTD_freeDCtx(atomic_load(&(*pool)->slots[i]));
	(*pool)->magic = 0;
	free(*pool);
	*pool = NULL;
}

static ZSTD_DCtx *take_context(struct block_pool *pool)
{
	for (unsigned i = 0; pool != NULL && i < POOL_SLOTS; i++) {
		ZSTD_DCtx *context = atomic_exchange(&pool->slots[i], NULL);
		if (context != NULL)
			return context;
	}
	return ZSTD_createDCtx();
}

static void put_context(struct block_pool *pool, ZSTD_DCtx *context)
{
	for (unsigned i = 0; pool != NULL && i < POOL_SLOTS; i++) {
		ZSTD_DCtx *expected = NULL;
		if (atomic_compare_exchange_strong(&pool->slots[i], &expected, context))
			return;
	}
	ZSTD_freeDCtx(context);
}

enum hearth_status block_unpack_frame(
    struct block_pool *pool, const void *data, size_t len, void *out, size_t raw_len)
{
	/* Skippable frames and a second frame behind the first would be taken silently: only one data frame
	 * is ours. */
	static const uint8_t frame_magic[4] = {0x28, 0xb5, 0x2f, 0xfd};
	const uint8_t *bytes = data;
	if (len < sizeof(frame_magic) || ZSTD_findFrameCompressedSize(data, len) != len)
		return HEARTH_DAMAGED;
	for (size_t i = 0; i < sizeof(frame_magic); i++) {
		if (bytes[i] != frame_magic[i])
			return HEARTH_DAMAGED;
	}
	ZSTD_DCtx *context = take_context(pool);
	if (context == NULL)
		return HEARTH_NOMEM;
	size_t n = ZSTD_decompressDCtx(context, out, raw_len, data, len);
	put_context(pool, context);
	return !ZSTD_isError(n) && n == raw_len ? HEARTH_OK : HEARTH_DAMAGED;
}

bool block_frame_holds(const void *data, size_t len, size_t raw_len)
{
	/* No block of a frame takes less than 4 bytes or unpacks to more than this. */
	return ZSTD_getFrameContentSize(data, len) == raw_len && raw_len / FRAME_BLOCK_MAX <= len / 4;
}

enum hearth_status block_unpack_head(const void *data, size_t len, void *out, size_t want)
{
	ZSTD_DCtx *context = ZSTD_createDCtx();
	if (context == NULL)
		return HEARTH_NOMEM;
	ZSTD_inBuffer in = {.src = data, .size = len};
	ZSTD_outBuffer to = {.dst = out, .size = want};
	size_t left = ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, WINDOW_LOG_MAX);
	while (!ZSTD_isError(left) && to.pos < to.size) {
		size_t before = in.pos + to.pos;
		left = ZSTD_decompressStream(context, &to, &in);
		if (left == 0 || in.pos + to.pos == before)
			break;
	}
	ZSTD_freeDCtx(context);
	if (ZSTD_isError(left) && ZSTD_getErrorCode(left) == ZSTD_error_memory_allocation)
		return HEARTH_NOMEM;
	return !ZSTD_isError(left) && to.pos == want ? HEARTH_OK : HEARTH_DAMAGED;
}
