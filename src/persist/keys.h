/* SPDX-License-Identifier: BSD-3-Clause */
/* keys: what the log thread remembers of the keys it has written, until a key block tells of them (hearth/keyblock.h).
 *
 * The log is cut into stretches of KEYS_STRETCH bytes. When a stretch is full its last block is closed, and the key block
 * of the stretch before is written: whatever takes a stretch, up to a block of 64 KiB or a sector on the edge of two, leaves
 * what describes it. Stretches go on over segments. Memory is fixed. The log thread alone calls it. */
#ifndef PERSIST_KEYS_H
#define PERSIST_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KEYS_STRETCH (64u * 1024)
/* The shortest record that counts bytes is a delete of a key of one byte. */
#define KEYS_STRETCH_MAX (KEYS_STRETCH / 3 + 2)

struct keys_stretch {
	uint64_t first; /* number */
	uint32_t n;
	uint32_t *fingerprints;
};

struct keys {
	struct keys_stretch open, full; /* full: its key block is due behind the open one. n = 0: none */
	uint64_t open_at;               /* position in the log where the open one began */
	bool news;                      /* there are numbers that no seal has described */
};

/* False: no memory. */
bool keys_init(struct keys *k);
void keys_destroy(struct keys *k);

/* A record was put into the log, at position `at` up to `end`; head is what record_encode_head has made, or more. True: the
 * stretch is full. Then the caller closes the block, writes the key block that is due, if any, and calls keys_turn. */
bool keys_note(struct keys *k, uint64_t seq, const uint8_t *head, size_t head_len, uint64_t at, uint64_t end);
void keys_turn(struct keys *k);
/* What was noted is not in the log: nothing is known any more. */
void keys_reset(struct keys *k);
/* Bytes of the record that is to be written: the key block that is due; or the seal, if there is anything new to
 * describe. 0: nothing. */
size_t keys_due(const struct keys *k);
size_t keys_seal_due(const struct keys *k);
/* Writes as many bytes as that. */
void keys_encode(const struct keys *k, uint8_t *out);
void keys_encode_seal(struct keys *k, uint8_t *out);

#endif
