/* SPDX-License-Identifier: BSD-3-Clause */
/* power: families of crashes; see power.c. */
#ifndef CRASH_POWER_H
#define CRASH_POWER_H

#include "history.h"

void kill_piece(uint64_t seed);
void power_piece(uint64_t seed);
void recovery_piece(uint64_t seed);

#endif
