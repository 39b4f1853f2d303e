/* SPDX-License-Identifier: BSD-3-Clause */
/* dict: the dictionaries that values are packed with, each known by its id, the CRC-32C of its bytes: so one that is not
 * the right one is found out before it unpacks anything. A packed value is described in base/packed.h.
 *
 * A set only grows while it is in use: one thread adds at a time, any thread finds, and what was found stays valid until the
 * set is freed. Contexts belong to one thread at a time. */
#ifndef HEARTH_DICT_H
#define HEARTH_DICT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <hearth/record.h>
#include <hearth/status.h>

#define DICT_COUNT_MAX 32u           /* that a daemon has at a time */
#define DICT_BYTES_MAX (64u * 1024u) /* that one may have; larger ones are refused */

struct dict;
struct dict_set;
struct dict_context;

/* For no more than `most`. NULL: no memory. */
struct dict_set *dict_set_new(size_t most);
void dict_set_free(struct dict_set **set);
/* The id of these bytes; never 0. */
uint32_t dict_id_of(const void *bytes, size_t len);
/* Copies the bytes. `sizes`: what lengths it was made for, as the log keeps it. HEARTH_OK, also when it is there already;
 * HEARTH_DAMAGED: no dictionary, or not the one of this id; HEARTH_TOO_LARGE: it is, or the set is full; HEARTH_NOMEM. */
enum hearth_status dict_add(struct dict_set *set, uint32_t id, uint8_t sizes, const void *bytes, size_t len,
    const struct dict **ret_dict);
/* NULL: there is none. */
const struct dict *dict_find(const struct dict_set *set, uint32_t id);
/* In the order in which they came; those below a count stay where they are. */
size_t dict_count(const struct dict_set *set);
const struct dict *dict_get(const struct dict_set *set, size_t i);
/* Something uses it; any thread. Then, with nobody else at the set, those that nothing uses go. */
void dict_use(const struct dict *dict);
void dict_drop_unused(struct dict_set *set);

uint32_t dict_id(const struct dict *dict);
uint8_t dict_sizes(const struct dict *dict);
const uint8_t *dict_bytes(const struct dict *dict, size_t *ret_len);
/* The record that log and snapshots keep it in; it refers to the bytes. */
struct record dict_record(const struct dict *dict);

/* ---- packing and unpacking: one thread a context ---- */
/* packs: it is for packing, too. NULL: no memory. */
struct dict_context *dict_context_new(bool packs);
void dict_context_free(struct dict_context **context);
/* Before anybody packs with it; one thread. False: no memory. */
bool dict_prepare(const struct dict *dict);
/* The packed value, which is the context's until it packs again, and its length; 0: packed it would take more than `room`
 * bytes. The value has PACKED_RAW_MIN to PACKED_RAW_MAX bytes. */
size_t dict_pack(struct dict_context *context, const struct dict *dict, const uint8_t *value, size_t len,
    size_t room, const uint8_t **ret_packed);
/* Where a packed value of PACKED_RAW_MAX bytes or less may be put, to be unpacked without another copy. */
uint8_t *dict_room(struct dict_context *context);
/* out has raw_len bytes, as packed_raw_len() has told. HEARTH_OK; HEARTH_DAMAGED: it does not unpack to so many. */
enum hearth_status dict_unpack(struct dict_context *context, const struct dict *dict, const uint8_t *packed,
    size_t len, uint8_t *out, size_t raw_len);

/* ---- training ---- */
/* Makes a dictionary of `room` bytes at most from n samples that lie one behind the other. Takes a second or so. Returns
 * its length; 0: they are too few, or have nothing in common. */
size_t dict_train(const uint8_t *samples, const size_t *sizes, unsigned n, uint8_t *out, size_t room);

#endif
