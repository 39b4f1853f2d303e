/* SPDX-License-Identifier: BSD-3-Clause */
/* keyset: the keys that lost sequence numbers touched, found in the key blocks and seals behind them. What a reader of a
 * damaged log drops: each key in the set, unless its last change has a number of `below` or more.
 *
 *   keyset_begin(set, first, end)         numbers first .. end - 1 are lost
 *   keyset_search(set, reader, limit)     in the rest of the segment, and in those behind it
 *   keyset_end(set)                       were all of them found?
 *
 * again for the next hole; then keyset_seal, and keyset_below for as many keys as one likes. A number counts as found when a
 * verified key block behind it names it; nothing is concluded from part of a hole.
 * One thread at a time; after keyset_seal any number of threads may ask. */
#ifndef HEARTH_KEYSET_H
#define HEARTH_KEYSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <hearth/keyblock.h>
#include <hearth/segment.h>
#include <hearth/status.h>

/* A hole of more numbers is never looked into: by how key blocks are placed hardly more than a stretch is ever found. */
#define KEYSET_HOLE_MAX (1u << 20)

enum keyset_verdict {
	KEYSET_FOUND,   /* the keys of all lost numbers are in the set now */
	KEYSET_FLUSHED, /* one of the numbers was a flush: any key may be meant */
	KEYSET_UNKNOWN, /* of some of them no key block tells */
};

struct keyset;

/* NULL: no memory. */
struct keyset *keyset_new(void);
void keyset_free(struct keyset **set);

/* Numbers first to end - 1 are lost; first < end. When they are too many or memory is short, keyset_end says
 * KEYSET_UNKNOWN. */
void keyset_begin(struct keyset *set, uint64_t first, uint64_t end);
/* Reads blocks from the reader's position up to `limit`, across damage. True: there is no need to search on, everything is
 * found, or by the numbers met none can follow. */
bool keyset_search(struct keyset *set, struct segment_reader *reader, uint64_t limit);
/* What one key block says of the hole. */
void keyset_add(struct keyset *set, const struct keyblock *b);
enum keyset_verdict keyset_end(struct keyset *set);

/* Entries so far; before keyset_seal a key counts once for each of its records. */
size_t keyset_size(const struct keyset *set);
/* No hole is added any more. */
void keyset_seal(struct keyset *set);
/* 0: the key is not in it. Else it is to be dropped unless its last change has this number or a higher one. */
uint64_t keyset_below(const struct keyset *set, const void *key, size_t len);

#endif
