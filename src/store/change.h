/* SPDX-License-Identifier: BSD-3-Clause */
/* change: the steps that every operation on one key is made of: enter its shard, find what lives, note the
 * change, link or remove, leave. Inside of the store only. */
#ifndef STORE_CHANGE_H
#define STORE_CHANGE_H

#include "store/private.h"

/* One key's place, its shard locked between change_enter and change_leave. */
struct change_site {
	uint64_t hash;
	uint32_t shard, tag;
	struct index_cursor cursor;
	struct item *it; /* NULL: nothing lives under the key */
	bool expired;    /* it was found expired just now */
	bool locked;     /* not so where the shard is this thread's alone: load_gate */
	/* Of a put: what the new item will be, and whether it overwrites the one that is there. */
	unsigned layout;
	size_t bytes;
	bool in_place;
};

/* Locks the shard and finds the item; what is expired or flushed is removed on the way. */
void change_enter(struct store_thread *t, const struct store_key *key, struct change_site *site);
void change_leave(struct store *s, const struct change_site *site);
/* The number of this change, from the observer if there is one. */
uint64_t change_note(struct store_thread *t, const struct store_change *change);
/* Leaves a tombstone and removes what is there. Returns the tombstone's number. */
uint64_t change_remove(struct store_thread *t, const struct store_key *key, struct change_site *site);
/* Whether the item goes with a drop that has begun (drop.c): then nothing new may be made of it. */
bool change_dropped(const struct store *s, const struct item *it);
/* Deletes one that does, and counts it. Returns the tombstone's number. */
uint64_t change_drop(struct store_thread *t, const struct store_key *key, struct change_site *site);
/* What a reply that shows a miss has to wait for. */
uint64_t change_gone(const struct store *s, const struct change_site *site);
uint64_t change_cas(const struct item *it);
/* A pin on the bytes of the item's value. may_fail: not when too much is pinned already (nothing is set
 * then). */
struct store_pin change_pin(struct store *s, struct item *it, bool may_fail);
/* A set of this spec. */
struct store_change change_set(
    const struct store_key *key, const struct item_spec *spec, const uint8_t *value);
/* What the disk is told of an item that it does not keep: a tombstone for whatever it has of the key, once; as long as
 * that is the last it has, only the number is taken. */
void change_hide(struct store_change *c, const struct change_site *site);
/* Grows the key's shard if it wants to; before any lock is taken. */
void change_grow(struct store_thread *t, const struct store_key *key);

/* Secures room for `size` bytes and returns with the lane locked; false, not locked, when there is no memory.
 */
bool change_room(struct store_thread *t, size_t size);
/* The same from memory that is free; false when some has to be reclaimed first. */
bool change_room_free(struct store_thread *t, size_t size);
/* With the lane locked already: as it stands so many bytes fit into each queue, in items of whatever sizes. */
size_t change_left(const struct store_thread *t);
/* The same as change_room when that needs neither waiting nor another region, so that a shard may be locked already; false
 * otherwise. */
bool change_room_at_once(struct store_thread *t, size_t size);
/* The queue, or the other one where it has no room for so many bytes; behind change_room, with the lane locked. */
enum arena_queue change_queue_for(const struct store_thread *t, enum arena_queue q, size_t size);
/* An item of this spec in the thread's lane, header, key and fields written; the value is the caller's to
 * fill. */
struct item *change_make(struct store_thread *t, enum arena_queue q, const struct item_spec *spec);
/* Puts it in the place of what is there, or anew. False when the shard is full. */
bool change_link(struct store_thread *t, struct change_site *site, struct item *it);
/* Where a key's next item goes: the queue of the item there is, main for one that was dropped lately, else
 * small. */
enum arena_queue change_queue(
    struct store_thread *t, const struct store_key *key, const struct change_site *site);

#endif
