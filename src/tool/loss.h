/* SPDX-License-Identifier: BSD-3-Clause */
/* loss: what a bad place of a directory costs at a start, by recovery's rule; this is the one place of the tool that
 * knows it. A plan collects them, restore reports them, check predicts with them. One thread. */
#ifndef TOOL_LOSS_H
#define TOOL_LOSS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum loss_kind {
	LOSS_NOTHING,  /* bytes that do not belong there, or what a snapshot has anyhow */
	LOSS_TAIL,     /* a write that was cut off: the log ends before it */
	LOSS_KEYS,     /* changes; key blocks tell which keys they changed, and these go */
	LOSS_OLDER,    /* changes; what is older may be outdated by them and is left out */
	LOSS_CHANGES,  /* changes, but nothing older was there */
	LOSS_SNAPSHOT, /* a snapshot cannot be used, or not all of it */
};

struct loss {
	enum loss_kind kind;
	const char *path;        /* the source's */
	uint64_t offset, length; /* length 0: nothing is there, or no one knows how much */
	uint64_t from, to;       /* numbers; from 0 = none have one, to 0 = from there on */
	uint64_t keys;    /* LOSS_KEYS: so many at most; some may have been set again, or were not there */
	const char *what; /* is wrong there */
	const char *why;  /* LOSS_OLDER: it is not known which keys were changed; NULL = that was not asked */
};

#define LOSS_TEXT_SIZE 256

/* "block checksum does not match: changes 7 to 9 are lost; ..." */
void loss_text(const struct loss *loss, char out[LOSS_TEXT_SIZE]);
/* One word for programs. */
const char *loss_word(enum loss_kind kind);
/* As a message on standard error, as grave as it is. */
void loss_report(const struct loss *loss);

struct losses {
	struct loss *list;
	size_t n;
};

/* False when memory is short. */
bool losses_add(struct losses *losses, const struct loss *loss);
void losses_free(struct losses *losses);

#endif
