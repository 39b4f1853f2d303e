/* SPDX-License-Identifier: BSD-3-Clause */
/* dicts: see dicts.h. */
#include "tool/dicts.h"

#include <stdlib.h>
#include "base/packed.h"

bool dicts_open(struct dicts *d)
{
	*d = (struct dicts){.set = dict_set_new(DICTS_MAX),
	    .context = dict_context_new(false),
	    .value = malloc(PACKED_RAW_MAX)};
	if (d->set && d->context && d->value)
		return true;
	dicts_close(d);
	return false;
}

void dicts_close(struct dicts *d)
{
	dict_set_free(&d->set);
	dict_context_free(&d->context);
	free(d->value);
	d->value = NULL;
}

enum hearth_status dicts_learn(struct dicts *d, const struct record *r)
{
	const struct dict *dict;
	if (r->type != RECORD_DICT)
		return HEARTH_OK;
	enum hearth_status status =
	    dict_add(d->set, r->dict, r->sizes, r->value, (size_t)r->value_len, &dict);
	return status == HEARTH_TOO_LARGE ? HEARTH_OK : status;
}

bool dicts_take_snapshot(struct dicts *d, const struct snapshot_reader *reader)
{
	uint8_t *buf = NULL;
	size_t size = 0;
	enum hearth_status taken = HEARTH_OK;
	for (size_t i = 0; i < snapshot_blocks(reader) && taken != HEARTH_NOMEM; i++) {
		const struct snapshot_block b = snapshot_get_block(reader, i);
		const uint8_t *records;
		size_t len;
		struct record r;
		if (!snapshot_has_dicts(&b))
			continue;
		enum hearth_status status = snapshot_load(reader, i, &buf, &size, &records, &len, NULL);
		struct snapshot_records walk = snapshot_records(records, len);
		while (status == HEARTH_OK && taken != HEARTH_NOMEM &&
		       (status = snapshot_next_record(&walk, &r)) == HEARTH_OK)
			taken = dicts_learn(d, &r);
	}
	free(buf);
	return taken != HEARTH_NOMEM;
}

const uint8_t *dicts_value(
    struct dicts *d, const struct record *r, size_t *ret_len, struct hearth_error *ret_err)
{
	*ret_len = (size_t)r->value_len;
	if (r->dict == 0)
		return r->value;
	const struct dict *dict = dict_find(d->set, r->dict);
	*ret_len = packed_raw_len(r->value, (size_t)r->value_len);
	*ret_err = (struct hearth_error){.status = HEARTH_DAMAGED,
	    .what = dict ? "a packed value does not unpack"
	                 : "a value is packed with a dictionary that is not there"};
	bool whole = dict && dict_unpack(d->context, dict, r->value, (size_t)r->value_len, d->value,
	                         *ret_len) == HEARTH_OK;
	return whole ? d->value : NULL;
}

uint64_t dicts_length(const struct record *r)
{
	return r->dict ? packed_raw_len(r->value, (size_t)r->value_len) : r->value_len;
}
