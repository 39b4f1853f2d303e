/* SPDX-License-Identifier: BSD-3-Clause */
/* report: what recovery tells: how far it is, what it left out, which files are to be set aside or forgotten. Called with
 * nobody else at it, or under the lock of the caller's part. */
#include "persist/recover_private.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void recover_progress(struct recovery *rec)
{
	const struct recover_options *o = rec->options;
	if (o->progress)
		o->progress(o->progress_arg, atomic_load(&rec->done_bytes), rec->all_bytes,
		    atomic_load(&rec->items_applied));
}

void recover_note(struct recovery *rec, const char *fmt, ...)
{
	char *note = rec->result->note;
	size_t size = sizeof(rec->result->note), len = strlen(note);
	va_list ap;
	if (len && len + 1 < size) {
		note[len++] = ' ';
		note[len] = 0;
	}
	va_start(ap, fmt);
	vsnprintf(note + len, size - len, fmt, ap);
	va_end(ap);
}

void recover_set_aside(struct recovery *rec, const char *file)
{
	struct recover_result *r = rec->result;
	for (unsigned i = 0; i < r->n_aside; i++)
		if (strcmp(r->aside[i], file) == 0)
			return;
	if (r->n_aside < RECOVER_ASIDE_MAX)
		snprintf(r->aside[r->n_aside++], DATADIR_NAME_SIZE, "%s", file);
}

void recover_forget(struct recovery *rec, uint64_t segment)
{
	struct recover_result *r = rec->result;
	if (r->n_forget < RECOVER_ASIDE_MAX)
		r->forget[r->n_forget++] = segment;
}

void recover_damage(struct recovery *rec, const char *file, uint64_t offset, const char *what)
{
	if (rec->result->damaged++ < 3)
		recover_note(rec, "%s at offset %llu: %s;", file, (unsigned long long)offset, what);
	recover_set_aside(rec, file);
	if (rec->err->status == HEARTH_OK)
		hearth_fail(rec->err, HEARTH_DAMAGED, file, offset, what);
}
