/* SPDX-License-Identifier: BSD-3-Clause */
/* hash: see hash.h. No state of its own; any thread. */
#include <errno.h>
#include <sys/random.h>
#include "base/hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

_Static_assert(HASH_SECRET_SIZE >= XXH3_SECRET_SIZE_MIN, "XXH3 wants a secret of this size at least");

int hash_key_init(struct hash_key *key)
{
	size_t got = 0;
	while (got < sizeof(key->secret)) {
		ssize_t n = getrandom(key->secret + got, sizeof(key->secret) - got, 0);
		if (n < 0 && errno != EINTR)
			return -1;
		if (n > 0)
			got += (size_t)n;
	}
	return 0;
}

uint64_t hash_bytes(const struct hash_key *key, const void *data, size_t len)
{
	return XXH3_64bits_withSecret(data, len, key->secret, sizeof(key->secret));
}

struct hash_wide hash_wide(const struct hash_key *key, const void *data, size_t len)
{
	XXH128_hash_t h = XXH3_128bits_withSecret(data, len, key->secret, sizeof(key->secret));
	return (struct hash_wide){h.low64, h.high64};
}
