/* SPDX-License-Identifier: BSD-3-Clause */
/* bucket: eight slots of the index in a cache line, of which a question is put to all at once: which one it will be nobody
 * can guess, so nothing branches on them one by one. index.h has what a slot holds. Under the shard's lock. */
#ifndef STORE_BUCKET_H
#define STORE_BUCKET_H

#include <stdint.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#define INDEX_SLOTS      8u
#define INDEX_PLACE_BITS 38
#define INDEX_PLACE_MASK ((UINT64_C(1) << INDEX_PLACE_BITS) - 1)
#define INDEX_OVERFLOW   (UINT64_C(1) << INDEX_PLACE_BITS)
#define INDEX_USE_SHIFT  (INDEX_PLACE_BITS + 1)
#define INDEX_USE_MAX    3u
#define INDEX_TAG_BITS   23
#define INDEX_TAG_SHIFT  (64 - INDEX_TAG_BITS)

struct index_bucket {
	uint64_t slot[INDEX_SLOTS];
} __attribute__((aligned(64)));

static inline uint64_t slot_place(uint64_t slot)
{
	return slot & INDEX_PLACE_MASK;
}

static inline unsigned slot_use(uint64_t slot)
{
	return (unsigned)(slot >> INDEX_USE_SHIFT) & INDEX_USE_MAX;
}

static inline uint64_t slot_with_use(uint64_t slot, unsigned use)
{
	return (slot & ~((uint64_t)INDEX_USE_MAX << INDEX_USE_SHIFT)) | (uint64_t)use << INDEX_USE_SHIFT;
}

static inline uint64_t slot_with_place(uint64_t slot, uint64_t place)
{
	return (slot & ~INDEX_PLACE_MASK) | place;
}

/* Each of these answers with a bit a slot, the lowest for the first. Inlined also where a caller is kept from the sanitizers. */
#define BUCKET_INLINE static inline __attribute__((always_inline))

#if defined(__SSE2__)
#define BUCKET_WORDS(b, i) _mm_castsi128_ps(_mm_load_si128((const __m128i *)(const void *)&(b)->slot[i]))
/* The upper or lower halves of four slots. */
#define BUCKET_UPPER(b, i) \
	_mm_castps_si128( \
	    _mm_shuffle_ps(BUCKET_WORDS(b, i), BUCKET_WORDS(b, (i) + 2), _MM_SHUFFLE(3, 1, 3, 1)))
#define BUCKET_LOWER(b, i) \
	_mm_castps_si128( \
	    _mm_shuffle_ps(BUCKET_WORDS(b, i), BUCKET_WORDS(b, (i) + 2), _MM_SHUFFLE(2, 0, 2, 0)))

/* The highest bits of eight words. */
BUCKET_INLINE unsigned bucket_mask(__m128i first, __m128i second)
{
	return (unsigned)(_mm_movemask_ps(_mm_castsi128_ps(first)) | _mm_movemask_ps(_mm_castsi128_ps(second))
	                                                                 << 4);
}

/* Those that have the tag; an empty one may have it, too. */
BUCKET_INLINE unsigned bucket_tagged(const struct index_bucket *b, uint32_t tag)
{
	__m128i wanted = _mm_set1_epi32((int)tag);
	return bucket_mask(_mm_cmpeq_epi32(_mm_srli_epi32(BUCKET_UPPER(b, 0), INDEX_TAG_SHIFT - 32), wanted),
	    _mm_cmpeq_epi32(_mm_srli_epi32(BUCKET_UPPER(b, 4), INDEX_TAG_SHIFT - 32), wanted));
}

/* The overflow bits: together the count of items that passed this bucket. */
BUCKET_INLINE unsigned bucket_overflow(const struct index_bucket *b)
{
	return bucket_mask(_mm_slli_epi32(BUCKET_UPPER(b, 0), 63 - INDEX_PLACE_BITS),
	    _mm_slli_epi32(BUCKET_UPPER(b, 4), 63 - INDEX_PLACE_BITS));
}

/* Those without a place. */
BUCKET_INLINE unsigned bucket_free(const struct index_bucket *b)
{
	__m128i none = _mm_setzero_si128(), rest = _mm_set1_epi32((int)(INDEX_PLACE_MASK >> 32));
	__m128i first = _mm_or_si128(BUCKET_LOWER(b, 0), _mm_and_si128(BUCKET_UPPER(b, 0), rest));
	__m128i second = _mm_or_si128(BUCKET_LOWER(b, 4), _mm_and_si128(BUCKET_UPPER(b, 4), rest));
	return bucket_mask(_mm_cmpeq_epi32(first, none), _mm_cmpeq_epi32(second, none));
}
#else
BUCKET_INLINE unsigned bucket_tagged(const struct index_bucket *b, uint32_t tag)
{
	unsigned mask = 0;
	for (unsigned i = 0; i < INDEX_SLOTS; i++)
		mask |= (unsigned)(b->slot[i] >> INDEX_TAG_SHIFT == tag) << i;
	return mask;
}

BUCKET_INLINE unsigned bucket_overflow(const struct index_bucket *b)
{
	unsigned mask = 0;
	for (unsigned i = 0; i < INDEX_SLOTS; i++)
		mask |= (unsigned)(b->slot[i] >> INDEX_PLACE_BITS & 1) << i;
	return mask;
}

BUCKET_INLINE unsigned bucket_free(const struct index_bucket *b)
{
	unsigned mask = 0;
	for (unsigned i = 0; i < INDEX_SLOTS; i++)
		mask |= (unsigned)(slot_place(b->slot[i]) == 0) << i;
	return mask;
}
#endif

#endif
