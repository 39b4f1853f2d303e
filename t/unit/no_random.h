/* SPDX-License-Identifier: BSD-3-Clause */
/* no_random: a program's own getrandom, which fails while no_random says so; else its bytes are the same each time. Included
 * by one file of a program. */
#ifndef UNIT_NO_RANDOM_H
#define UNIT_NO_RANDOM_H

#include <sys/random.h>
#include "unit.h"

static bool no_random;

/* The program's own: the kernel's never fails. */
ssize_t getrandom(void *data, size_t len, unsigned flags)
{
	static uint32_t state = 1;
	(void)flags;
	if (no_random) {
		errno = ENOSYS;
		return -1;
	}
	unit_fill(data, len, state++);
	return (ssize_t)len;
}

#endif
