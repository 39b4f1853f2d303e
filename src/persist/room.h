/* SPDX-License-Identifier: BSD-3-Clause */
/* room: when a directory under --max-disk is near its bound, and what helps. Pure: sizes in, verdicts out.
 *
 *   slack     what the log may have to take in after changes were told to wait: the ring, large values by reference, and one
 *             more segment
 *   snapshot  what one that begins now may take
 *   log       bytes of the log behind the last snapshot
 *   room      what the log may still take
 *
 * A snapshot is due early once the log behind the last one is larger than what would be left beside the next one: half of
 * what there is for the log, so that the other half takes what comes while it is written. It helps when what it makes
 * superfluous is more than itself. Changes wait when there is no more room than the slack. */
#ifndef PERSIST_ROOM_H
#define PERSIST_ROOM_H

#include <stdbool.h>
#include <stdint.h>

/* Less gain than this is not worth a snapshot. */
#define ROOM_GAIN (UINT64_C(1) << 20)

/* The file that is given up for a manifest on a full disk; bytes. */
#define ROOM_SPARE (UINT64_C(128) << 10)

/* The log's ring for so much memory and so many workers; bytes. */
uint64_t room_ring(uint64_t memory, unsigned workers);
/* What is allocated for a segment ahead of its records; bytes. */
uint64_t room_reserve(uint64_t ring);
uint64_t room_slack(uint64_t ring, uint64_t item_max);
/* The least bound that a daemon can work under, and the one from which on memory full of values that do not compress is
 * kept without changes ever being refused. */
uint64_t room_least(uint64_t memory, uint64_t item_max, unsigned workers);
uint64_t room_enough(uint64_t memory, uint64_t item_max, unsigned workers);
/* The most that a snapshot of so many bytes in memory takes; last: what the last one took of so many, 0 = none yet. */
uint64_t room_snapshot(uint64_t bytes, uint64_t last, uint64_t last_bytes);
bool room_early(uint64_t room, uint64_t slack, uint64_t snapshot, uint64_t log);
/* Kept snapshots stand in the way: beside them the log would have too little. */
bool room_cramped(uint64_t room, uint64_t slack, uint64_t snapshot);
bool room_fits(uint64_t room, uint64_t snapshot);
bool room_helps(uint64_t freed, uint64_t snapshot);

#endif
