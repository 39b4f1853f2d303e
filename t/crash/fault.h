/* SPDX-License-Identifier: BSD-3-Clause */
/* fault: families of failing calls; see fault.c. */
#ifndef CRASH_FAULT_H
#define CRASH_FAULT_H

#include "history.h"

void fault_piece(uint64_t seed);
void fault_start_piece(uint64_t seed);

#endif
