/* SPDX-License-Identifier: BSD-3-Clause */
/* room: see room.h. */
#include "persist/room.h"

#define MIB UINT64_C(1048576)

/* An eighth of the memory, but enough to take a burst and not so much that a stuck disk holds all of it. */
uint64_t room_ring(uint64_t memory, unsigned workers)
{
	uint64_t ring = memory / 8;
	ring = ring < 2 * MIB ? 2 * MIB : ring > 16 * MIB ? 16 * MIB : ring;
	return ring + (uint64_t)workers * (32u << 10);
}

uint64_t room_reserve(uint64_t ring)
{
	return MIB + ring / 8;
}

/* The ring counts of a value no more than a quarter of itself; block headers and key blocks come on top. The log may go on
 * in its next segment meanwhile, and then needs another one ahead of it. */
uint64_t room_slack(uint64_t ring, uint64_t item_max)
{
	return ring + ring / 4 + 4 * item_max + room_reserve(ring) + ROOM_SPARE;
}

/* The slack, five segments with their reserves (three of them for a start behind a kill), and the rest of 7 MiB for the
 * manifest, the spare files and small things. */
uint64_t room_least(uint64_t memory, uint64_t item_max, unsigned workers)
{
	return 2 * room_ring(memory, workers) + 4 * item_max + 7 * MIB;
}

/* Two snapshots, and a quarter of one for the log between them. */
uint64_t room_enough(uint64_t memory, uint64_t item_max, unsigned workers)
{
	return 2 * memory + memory / 4 + room_least(memory, item_max, workers);
}

uint64_t room_snapshot(uint64_t bytes, uint64_t last, uint64_t last_bytes)
{
	uint64_t most = bytes + bytes / 16;
	if (last_bytes) {
		double share = (double)last / (double)last_bytes * 9 / 8;
		most = share * (double)bytes < (double)most ? (uint64_t)(share * (double)bytes) : most;
	}
	return most + (64u << 10);
}

bool room_early(uint64_t room, uint64_t slack, uint64_t snapshot, uint64_t log)
{
	return log >= ROOM_GAIN && room < slack + snapshot + log;
}

bool room_cramped(uint64_t room, uint64_t slack, uint64_t snapshot)
{
	return room < slack + snapshot + snapshot / 4 + ROOM_GAIN;
}

bool room_fits(uint64_t room, uint64_t snapshot)
{
	return room >= snapshot;
}

bool room_helps(uint64_t freed, uint64_t snapshot)
{
	return freed >= snapshot + ROOM_GAIN;
}
