/* SPDX-License-Identifier: BSD-3-Clause */
/* dicts: the dictionaries met in files, and the values that are packed with them. One thread. */
#ifndef TOOL_DICTS_H
#define TOOL_DICTS_H

#include <hearth/dict.h>
#include <hearth/record.h>
#include <hearth/snapshot.h>

/* Files of a directory that is kept for years have no more between them; what is beyond is as if it were missing. */
#define DICTS_MAX 128u

struct dicts {
	struct dict_set *set;
	struct dict_context *context;
	uint8_t *value; /* the last one that was unpacked */
};

/* False: no memory; there is nothing to close then. */
bool dicts_open(struct dicts *d);
void dicts_close(struct dicts *d);
/* Takes a RECORD_DICT; passes over any other record. HEARTH_OK; HEARTH_DAMAGED: it is none; HEARTH_NOMEM. */
enum hearth_status dicts_learn(struct dicts *d, const struct record *r);
/* Takes those of a snapshot, before its items are read. Blocks that are bad are passed over: whoever reads the items tells
 * of them. False: no memory. */
bool dicts_take_snapshot(struct dicts *d, const struct snapshot_reader *reader);
/* The value of a set as clients know it, valid until the next one; NULL and why not. */
const uint8_t *dicts_value(
    struct dicts *d, const struct record *r, size_t *ret_len, struct hearth_error *ret_err);
/* How long it is, also where it cannot be unpacked. */
uint64_t dicts_length(const struct record *r);

#endif
