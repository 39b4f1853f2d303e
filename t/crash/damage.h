/* SPDX-License-Identifier: BSD-3-Clause */
/* damage: families of damaged directories; see damage.c. */
#ifndef CRASH_DAMAGE_H
#define CRASH_DAMAGE_H

#include "history.h"

void cut_piece(uint64_t seed);
void flip_piece(uint64_t seed);
void splice_piece(uint64_t seed);

#endif
