/* SPDX-License-Identifier: BSD-3-Clause */
/* parallel: one function on several threads at once, for recovery. */
#ifndef PERSIST_PARALLEL_H
#define PERSIST_PARALLEL_H

#define PARALLEL_MAX 64u

/* Runs run(arg, 0) on the calling thread and run(arg, 1 .. n-1) on threads of their own, and waits for all; n is 1 to
 * PARALLEL_MAX. Where a thread cannot be started its part runs on the calling thread. */
void parallel_run(unsigned n, void (*run)(void *arg, unsigned i), void *arg);

#endif
