/* SPDX-License-Identifier: BSD-3-Clause */
/* clocks: the family of clocks that are set; see clocks.c. */
#ifndef CRASH_CLOCKS_H
#define CRASH_CLOCKS_H

#include "history.h"

void clocks_piece(uint64_t seed);

#endif
