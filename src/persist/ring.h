/* SPDX-License-Identifier: BSD-3-Clause */
/* ring: the queue between the workers and the log thread. Sequence number and place are one reservation, made
 * under the ring's lock inside the shard's lock, so that sequence order is file order over all shards. Room
 * is secured before any shard lock is taken, through a credit of each worker; so appending never waits.
 *
 * Many appenders, one consumer. Values above STORE_COPY_MAX are referred to under a pin instead of copied. */
#ifndef PERSIST_RING_H
#define PERSIST_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <hearth/record.h>
#include "store/types.h"

struct ring;

/* A worker's share of the room, given out ahead. */
struct ring_credit {
	uint64_t left;
};

/* One record as the consumer sees it. */
struct ring_entry {
	const uint8_t *head; /* encoded record, up to the value where that is referred to */
	size_t head_len;
	const uint8_t *value; /* NULL when it is part of head */
	size_t value_len;
	uint64_t seq;
	uint64_t charge;
};

/* capacity: bytes that may wait; unpin is called for each value referred to once it is released. NULL: no
 * memory. */
struct ring *ring_open(
    size_t capacity, uint64_t last_seq, void (*unpin)(void *arg, struct store_pin *pin), void *arg);
void ring_close(struct ring **ring);

/* ---- appenders ---- */
/* Secures room for one record of this key and value length; false: the ring is full now (ring_wanted is then
 * true for the consumer, who tells when there is room). */
bool ring_secure(struct ring *ring, struct ring_credit *credit, size_t key_len, size_t value_len);
/* Under the shard's lock, after ring_secure. Takes over the pin. Returns the number. */
uint64_t ring_append(
    struct ring *ring, struct ring_credit *credit, const struct record *r, struct store_pin *pin);
/* Gives back what a command secured and did not use, beyond a small stock, so that no credit starves the
 * others. */
void ring_settle(struct ring *ring, struct ring_credit *credit);
/* Wakes the consumer if it sleeps. */
void ring_kick(struct ring *ring);
/* Last number given out. */
uint64_t ring_last(struct ring *ring);

/* ---- the consumer ---- */
/* Waits until there is something to read, or ring_poke, or the timeout. True when there is something. */
bool ring_wait(struct ring *ring, int timeout_ms);
/* The next record behind those already read; false at the end. */
bool ring_next(struct ring *ring, struct ring_entry *ret_entry);
/* Everything read so far has been written: frees its room and its pins. True if an appender was refused
 * meanwhile. */
bool ring_release(struct ring *ring);
/* What was read and not released comes again: it could not be written where it was to go. */
void ring_rewind(struct ring *ring);
/* Makes ring_wait return. Any thread. */
void ring_poke(struct ring *ring);

#endif
