/* SPDX-License-Identifier: BSD-3-Clause */
/* detail: `stats detail`: how often keys of each prefix are read, stored and deleted. The prefix is what stands before the
 * first delimiter; keys without one are not counted. Off unless somebody asks: it costs a lock a request.
 *
 * Threads: any, but detail_open and detail_close. */
#ifndef SERVER_DETAIL_H
#define SERVER_DETAIL_H

#include <stdbool.h>
#include <stdint.h>
#include "base/buf.h"

/* What a client can make it hold at most: further prefixes are not counted. */
#define DETAIL_PREFIXES 10000

enum detail_event { DETAIL_MISS, DETAIL_HIT, DETAIL_SET, DETAIL_DELETE };

struct detail;

/* NULL: no memory. */
struct detail *detail_open(char delimiter);
void detail_close(struct detail **detail);
void detail_count(struct detail *d, enum detail_event event, const uint8_t *key, size_t len);
/* A line a prefix, without END, in no order. False: no memory. */
bool detail_print(struct detail *d, struct buf *out);
void detail_reset(struct detail *d);

#endif
