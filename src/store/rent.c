/* SPDX-License-Identifier: BSD-3-Clause */
/* rent: see rent.h. */
#include "store/rent.h"

#include "store/index.h"

/* From so many items on all that were seen count half. */
#define SEEN_MOST (UINT64_C(1) << 17)
/* Parts of a use that are told apart. */
#define PARTS      256u
#define PARTS_MOST (PARTS * INDEX_USE_MAX)

void rent_note(struct rent *rent, size_t bytes)
{
	rent->items++;
	rent->bytes += bytes;
	if (rent->items >= SEEN_MOST) {
		rent->items /= 2;
		rent->bytes /= 2;
	}
}

unsigned rent_of(const struct rent *rent, size_t bytes, uint64_t hash, uint64_t round)
{
	uint64_t parts = rent->bytes ? bytes * rent->items * PARTS / rent->bytes : PARTS;
	/* No item pays less than one of average size: small ones that were used once would hold out so long that a cache whose
	 * sizes change keeps what nobody asks for. */
	if (parts < PARTS)
		parts = PARTS;
	if (parts > PARTS_MOST)
		parts = PARTS_MOST;
	/* Multiples of the golden section are spread evenly over the rounds, whatever the hash begins with. */
	uint64_t chance = (hash + round * UINT64_C(0x9e3779b97f4a7c15)) >> 56;
	return (unsigned)((parts + chance) / PARTS);
}
