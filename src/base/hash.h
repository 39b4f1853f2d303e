/* SPDX-License-Identifier: BSD-3-Clause */
/* hash: XXH3 (libxxhash, header only) keyed with 192 secret bytes from getrandom, so that a client cannot
 * choose keys that fall into one bucket. The key never leaves the process. Any thread. */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#define HASH_SECRET_SIZE 192

struct hash_key {
	uint8_t secret[HASH_SECRET_SIZE];
};

/* 0, or -1 with errno when the system gives no random bytes. */
int hash_key_init(struct hash_key *key);
uint64_t hash_bytes(const struct hash_key *key, const void *data, size_t len);

/* Wide enough that two of billions of keys are not taken for one. */
struct hash_wide {
	uint64_t low, high;
};
struct hash_wide hash_wide(const struct hash_key *key, const void *data, size_t len);

#endif
