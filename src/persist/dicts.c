/* SPDX-License-Identifier: BSD-3-Clause */
/* dicts: dictionaries during recovery. Each segment has those that its records need before these, each snapshot all that its
 * items need; an id is a checksum, so whatever was read under it is the right one, wherever it was. What needs one that is
 * nowhere cannot be applied: its key goes, and the start says which dictionary it was, and where. */
#include "persist/recover_private.h"

#include <stdio.h>
#include <string.h>

enum hearth_status dicts_take(struct recovery *rec, const struct record *r)
{
	const struct dict *dict;
	if (!rec->options->dicts)
		return HEARTH_OK;
	pthread_mutex_lock(&rec->dicts_lock);
	enum hearth_status status =
	    dict_add(rec->options->dicts, r->dict, r->sizes, r->value, (size_t)r->value_len, &dict);
	pthread_mutex_unlock(&rec->dicts_lock);
	/* One too many costs the values that need it. */
	return status == HEARTH_TOO_LARGE ? HEARTH_OK : status;
}

static struct missing *missing_of(struct recovery *rec, uint32_t dict)
{
	for (unsigned i = 0; i < rec->n_missing; i++)
		if (rec->missing[i].dict == dict)
			return &rec->missing[i];
	return NULL;
}

void dicts_need(struct recovery *rec, const struct record *r, const char *file, uint64_t offset)
{
	const struct dict_set *set = rec->options->dicts;
	if (r->dict == 0 || (set && dict_find(set, r->dict)))
		return;
	pthread_mutex_lock(&rec->dicts_lock);
	struct missing *m = missing_of(rec, r->dict);
	if (!m && rec->n_missing < MISSING_MAX) {
		m = &rec->missing[rec->n_missing++];
		*m = (struct missing){.dict = r->dict, .offset = offset};
		snprintf(m->file, sizeof(m->file), "%s", file);
	}
	if (m)
		m->values++;
	pthread_mutex_unlock(&rec->dicts_lock);
}

void dicts_settle(struct recovery *rec)
{
	for (unsigned i = 0; i < rec->n_missing; i++) {
		const struct missing *m = &rec->missing[i];
		recover_damage(
		    rec, m->file, m->offset, "a value is packed with a dictionary that is not there");
		recover_note(rec, "dictionary %u is not there, and %llu values that need it are left out;",
		    (unsigned)m->dict, (unsigned long long)m->values);
	}
	if (rec->options->dicts)
		dict_drop_unused(rec->options->dicts);
}
