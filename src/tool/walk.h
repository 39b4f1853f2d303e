/* SPDX-License-Identifier: BSD-3-Clause */
/* walk: one log segment from its header to its end, across damage, by the rules for the log's end. What dump
 * prints, check judges and restore copies is what this walk delivers. One thread. */
#ifndef TOOL_WALK_H
#define TOOL_WALK_H

#include "tool/source.h"

enum walk_event {
	WALK_BLOCK, /* a verified block that follows what came before */
	WALK_BAD,   /* damage; the walk goes on behind it */
	WALK_TORN, /* a write was cut off here: the log ends, what follows is no part of it, nor are later segments */
	WALK_END,   /* the segment's end, in order */
	WALK_FAILED /* reading failed, or a format that is too new. The walk is over */
};

/* For WALK_BAD and WALK_TORN. */
struct walk_hole {
	uint64_t from, to; /* bytes; equal when two blocks do not fit together */
	uint64_t next;     /* the number that was due here */
	uint64_t resumed;  /* the number with which it goes on, 0 = not in this segment */
	bool here;         /* in this segment, where the bytes end */
	bool whole; /* bytes that do not belong there, but nothing is missing: the chain holds across them */
	const char *what;
};

struct walk {
	const struct source_file *file;
	uint64_t next; /* number due next */
	uint32_t crc;  /* of the block (or header) before */
	bool linked;   /* crc is known: no hole lies between */
	bool over;
	bool checked_end;
	bool
	    misplaced; /* what is in the way is a whole block from earlier in the log: no crash leaves that */
	uint64_t end;  /* offset behind the last block delivered */
	uint64_t settled; /* offset at which the end of a live file was waited for */
};

/* Where the log ends in this file, as the next segment's header says; UINT64_MAX where nothing says so. What was packed
 * since has other offsets: then the numbers alone tell. The file must have a segment reader. */
uint64_t walk_limit(const struct source_file *file);

/* Numbers from `next` on are missing before this segment: did the log end there? After a power cut it did, unless
 * something says that they were durable; the segment is no part of it then. before: the one walked before it, or NULL. */
bool walk_ends_before(const struct source_file *file, const struct source_file *before, uint64_t next);
/* The first number of the next segment whose header can be read; 0: there is none. */
uint64_t walk_begins_behind(const struct source_file *file);
/* Zeros where the header should be, and nothing says that this boot of the kernel wrote the segment, or the next one says that
 * it held nothing: a power cut may have left them, and they are no damage by themselves. */
bool walk_may_be_cut(const struct source_file *file);
/* The file must have a segment reader. */
void walk_begin(struct walk *w, const struct source_file *file);
enum walk_event walk_next(struct walk *w, struct segment_block *ret_block, struct walk_hole *ret_hole,
    struct hearth_error *ret_err);

#endif
