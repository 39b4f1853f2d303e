/* SPDX-License-Identifier: BSD-3-Clause */
/* replay: state of reading the log during recovery, shared by replay.c, hole.c and lost.c. */
#ifndef PERSIST_REPLAY_H
#define PERSIST_REPLAY_H

#include <string.h>
#include <hearth/keyset.h>
#include "format/magic.h"
#include "persist/recover_private.h"
#include "persist/window.h"

/* Of a stretch of the log in memory: with these what it takes has a bound, whatever the headers claim. */
#define REPLAY_SPANS   2048u
#define REPLAY_RECORDS (32u * 1024)

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

/* Bytes of the segment in memory, and the blocks in them. */
struct replay_stretch {
	const uint8_t *data;
	uint64_t at; /* offset in the segment */
	size_t len;
	struct replay_span *spans; /* REPLAY_SPANS of them */
	size_t n_spans;
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
	uint64_t block_max;            /* no block that can be applied is larger, stored or raw */
	struct replay_stretch stretch; /* of it, where blocks are looked at one by one */
	struct replay_giant giant;
	/* Where the log stands. */
	uint64_t expected; /* next number */
	uint32_t prev_crc;
	bool chained;    /* prev_crc is known */
	bool counts;     /* the times in this segment do */
	bool boot_seen;  /* a good header was written under this boot of the kernel */
	bool other_boot; /* the segment being read was written under another one */
	size_t hole_at;  /* segment and offset of the hole decided last */
	uint64_t hole_offset;
	bool reset_all; /* all was dropped, with nothing known to follow */
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

/* Finds the blocks of a stretch by their lengths alone, as many as are whole in it and unpack to no more than so many bytes. The
 * first one may be larger: then it is alone. Returns where that stops. */
uint64_t replay_walk(const struct replay *rp, struct replay_stretch *s, uint64_t raw_max);
/* Verifies a block that is whole in memory, header first. HEARTH_OK: where it is not packed *span has its payload; HEARTH_DAMAGED,
 * HEARTH_NEWER. */
enum hearth_status replay_verify(const struct replay *rp, struct replay_span *span, const uint8_t *head);
/* Whether there is anything in the block that the snapshot does not hold. */
bool replay_is_behind(const struct replay *rp, const struct replay_span *span);
/* All records of a block that was verified and unpacked. */
struct segment_records replay_records(const struct replay_span *span);
/* The next record of a block that changes something, and where it lies: not of those that the snapshot holds. Dictionaries are
 * taken on the way. HEARTH_OK; HEARTH_END; else the block is bad. */
enum hearth_status replay_record(
    struct recovery *rec, struct segment_records *records, const uint8_t **ret_at, struct record *ret_r);
/* How many spans of the stretch, from the first on, are good and follow on what was read before. */
size_t replay_good(const struct replay *rp, const struct replay_stretch *s);
/* The first n spans are what was read last; they end at this offset. */
void replay_adopt(struct replay *rp, const struct replay_stretch *s, size_t n, uint64_t offset);
/* A record of the log, and what does not stand in it. */
struct replay_change {
	struct record *r;
	uint64_t hash;   /* of its key */
	int64_t access;  /* seconds, Hearth time, where nothing better is known */
	uint64_t offset; /* of its block */
};
/* Any thread that may load the key. */
void replay_apply(struct replay *rp, struct store_thread *t, const struct replay_change *change);
/* Reads and applies what is good from this offset of the segment on, by all threads. Returns where that ends: at something that
 * is to be looked at more closely, whatever it is, or at the end. */
uint64_t stream_run(struct replay *rp, uint64_t offset);
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
