/* SPDX-License-Identifier: BSD-3-Clause */
/* replay: state of reading the log during recovery, shared by replay.c, hole.c and lost.c. */
#ifndef PERSIST_REPLAY_H
#define PERSIST_REPLAY_H

#include <string.h>
#include <hearth/keyset.h>
#include "format/magic.h"
#include "persist/recover_private.h"
#include "persist/window.h"

#define REPLAY_AHEAD 16u /* records whose buckets are fetched ahead, together */
/* Of one window: with these its memory has a bound, whatever the headers claim. */
#define REPLAY_SPANS   16384u
#define REPLAY_RECORDS (256u * 1024)

/* A segment of the manifest, as its file looks. */
struct replay_head {
	const struct manifest_segment *entry;
	char name[DATADIR_NAME_SIZE];
	bool present, superseded;
	uint64_t size;
	enum hearth_status status; /* of the header; HEARTH_END = never begun */
	bool other;                /* a good header, but not of this file: what was here is not known */
	bool zeros; /* in the place of the header, with something behind: a power cut may have done that */
	struct segment_header h;
};

struct replay_span {
	uint64_t offset;
	struct block_header h;
	enum hearth_status status; /* HEARTH_END = not looked at */
	const uint8_t *payload;
	uint8_t *unpacked;
};

/* The record of a block that is larger than anything that can be applied: all but its value. */
struct replay_giant {
	bool here;
	struct record r;
	uint8_t head[RECORD_OVERHEAD_MAX];
};

struct replay_entry {
	uint64_t hash;
	const uint8_t *at;
	uint32_t len;
	uint32_t span;
	uint64_t seq;
};

struct replay_bin {
	struct replay_entry *entries;
	size_t n, size;
};

struct replay {
	struct recovery *rec;
	struct replay_head *heads;
	size_t n, at;           /* segments; the one being read */
	const uint8_t *boot_id; /* of struct files: zeros when the kernel has none */
	/* The segment, a window of it in memory. */
	struct window window;
	uint64_t len, end; /* of the file; of the part that belongs to the log */
	uint8_t salt[BLOCK_SALT_SIZE];
	uint64_t block_max;        /* no block that can be applied is larger, stored or raw */
	struct replay_span *spans; /* REPLAY_SPANS of them */
	size_t n_spans;
	struct replay_giant giant;
	struct replay_bin **bins; /* [decoding thread][applying thread] */
	_Atomic bool has_flush;
	/* Where the log stands. */
	uint64_t expected; /* next number */
	uint32_t prev_crc;
	bool chained;    /* prev_crc is known */
	bool counts;     /* the times in this segment do */
	bool boot_seen;  /* a good header was written under this boot of the kernel */
	bool other_boot; /* the segment being read was written under another one */
	size_t hole_at;  /* segment and offset of the hole decided last */
	uint64_t hole_offset;
	bool reset_all;     /* all was dropped, with nothing known to follow */
	size_t apply_spans; /* the first so many are good */
	bool ended;
	struct keyset *lost; /* keys that lost numbers touched */
};

/* It is there, with a good header. */
static inline bool replay_readable(const struct replay_head *head)
{
	return head->present && head->status == HEARTH_OK;
}

/* Its good header was written under this boot of the kernel. So do all count where nobody knows which one this is: what is
 * missing is damage then, which costs more, but shows nothing old. */
static inline bool replay_in_this_boot(const struct replay *rp, const struct replay_head *head)
{
	return bytes_all_zero(rp->boot_id, HEARTH_ID_SIZE) ||
	       memcmp(head->h.boot_id, rp->boot_id, HEARTH_ID_SIZE) == 0;
}

/* At *offset of the segment being read the log does not go on as it should. Decides between the end of the
 * log (rp->ended) and damage (what is older goes, *offset moves to the next good block or to the end). next:
 * the successor's header. HEARTH_OK; HEARTH_IO or HEARTH_NOMEM when what decides that cannot be read. */
enum hearth_status hole_decide(struct replay *rp, const struct replay_head *next, uint64_t *offset);
/* The header of the next segment that has begun, if it names segment i as its predecessor. */
const struct replay_head *replay_successor(const struct replay *rp, size_t i);
/* The numbers from rp->expected up to `end` (not included) were not read; the log goes on at this offset of segment i.
 * Their keys are noted, to be dropped, where key blocks tell of all of them; else all that is older goes. */
void lost_numbers(struct replay *rp, uint64_t end, size_t i, uint64_t offset);
/* After the last record: drops the keys that were noted, but for what was set behind the holes. */
void lost_drop(struct replay *rp);
/* The numbers below `first` that were not read may have superseded anything older: it goes. */
void hole_reset(struct replay *rp, uint64_t first);
/* Numbers are missing before segment i, which is good itself. rp->ended: a power cut took them before they were durable, and
 * the log ended there. Else it is damage. HEARTH_OK; HEARTH_IO or HEARTH_NOMEM when what decides that cannot be read. */
enum hearth_status hole_ends_before(struct replay *rp, size_t i);

#endif
