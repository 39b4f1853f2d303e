/* SPDX-License-Identifier: BSD-3-Clause */
/* magic: how files are told apart. A file whose first bytes are nearly right is a damaged one of ours,
 * anything else is foreign: one flipped bit must not make the daemon disown its own log. Floor 1 only; pure.
 */
#ifndef FORMAT_MAGIC_H
#define FORMAT_MAGIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MAGIC_SIZE 8

/* At most two of the eight bytes differ. */
static inline bool magic_resembles(const uint8_t *in, const uint8_t magic[MAGIC_SIZE])
{
	unsigned same = 0;
	for (unsigned i = 0; i < MAGIC_SIZE; i++)
		same += in[i] == magic[i];
	return same >= MAGIC_SIZE - 2;
}

static inline bool bytes_all_zero(const uint8_t *in, size_t len)
{
	return len == 0 || (in[0] == 0 && memcmp(in, in + 1, len - 1) == 0);
}

#endif
