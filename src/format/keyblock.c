/* SPDX-License-Identifier: BSD-3-Clause */
/* keyblock: the codec of key blocks and seals; keyblock.h has the layout. Pure; any thread. */
#include <hearth/keyblock.h>
#include "base/bytes.h"
#include "base/check.h"
#include "base/crc32c.h"

#define FIRST_SIZE 8u

uint32_t keyblock_fingerprint(const void *key, size_t len)
{
	uint32_t crc = crc32c(0, key, len);
	return crc > KEYBLOCK_ANY ? crc : crc + KEYBLOCK_ANY + 1;
}

static size_t body_size(uint32_t count)
{
	CHECK(count > 0 && count <= KEYBLOCK_COUNT_MAX);
	return FIRST_SIZE + 4 * (size_t)count;
}

size_t keyblock_record_size(uint32_t count)
{
	size_t body = body_size(count);
	return 1 + bytes_varint_size(body) + body;
}

size_t keyblock_encode_head(uint8_t type, uint64_t first, uint32_t count, uint8_t *out)
{
	struct bytes_writer w = bytes_writer(out, 16);
	bytes_put8(&w, type);
	bytes_put_varint(&w, body_size(count));
	bytes_put64(&w, first);
	CHECK(!w.bad);
	return (size_t)(w.at - out);
}

bool keyblock_decode(const void *body, size_t len, struct keyblock *ret_b)
{
	*ret_b = (struct keyblock){0};
	if (len < FIRST_SIZE + 4 || (len - FIRST_SIZE) % 4 != 0 ||
	    (len - FIRST_SIZE) / 4 > KEYBLOCK_COUNT_MAX)
		return false;
	ret_b->first = bytes_load64(body);
	ret_b->count = (uint32_t)((len - FIRST_SIZE) / 4);
	ret_b->fingerprints = (const uint8_t *)body + FIRST_SIZE;
	return ret_b->first > 0 && ret_b->first <= UINT64_MAX - ret_b->count;
}
