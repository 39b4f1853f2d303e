/* SPDX-License-Identifier: BSD-3-Clause */
/* out: what a connection has yet to send: copied bytes in one buffer, and between them long values that are
 * sent from where they lie in the store, under a pin. Belongs to the thread of its worker. */
#ifndef SERVER_OUT_H
#define SERVER_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "store/types.h"

struct engine_worker;
struct out_part;

/* Beyond either, a connection executes nothing more before it has sent: readers that do not read stay cheap.
 */
#define OUT_PINNED_MAX ((size_t)256 * 1024)
#define OUT_COPIED_MAX ((size_t)256 * 1024)

struct out {
	struct buf copied;
	size_t base;   /* bytes of `copied` sent before, so that places of parts stay valid when the buffer
	                  moves */
	size_t pinned; /* unsent bytes under pins */
	struct out_part *parts; /* NULL until the first pin; kept while the connection lives */
	unsigned first, n;      /* the unsent ones */
};

static inline bool out_empty(const struct out *o)
{
	return o->copied.head == o->copied.tail && o->n == 0;
}

static inline bool out_full(const struct out *o)
{
	return o->pinned >= OUT_PINNED_MAX || buf_len(&o->copied) >= OUT_COPIED_MAX;
}

static inline uint8_t *out_tail(struct out *o)
{
	return o->copied.data + o->copied.tail;
}

/* Makes a pin possible; false when memory is short. Called before a store's lock is taken. */
bool out_prepare_pin(struct out *o);
/* Whether one more value may be pinned. */
bool out_can_pin(const struct out *o);
/* Sends value behind what has been copied so far. Takes the pin over. */
void out_pin(struct out *o, const struct store_view *view);

enum out_result { OUT_SENT, OUT_BLOCKED, OUT_FAILED };
/* One call of `write` or more: all that the socket takes. Pins go back as soon as their bytes are out. */
enum out_result out_send(struct out *o, int fd, struct engine_worker *engine, uint64_t *ret_bytes);
/* Forgets all that is unsent. */
void out_drop(struct out *o, struct engine_worker *engine);
void out_free(struct out *o, struct engine_worker *engine);

#endif
