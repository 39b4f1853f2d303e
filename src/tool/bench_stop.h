/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_stop: what ends a load before its end: Ctrl-C and SIGTERM, or whoever waits for a server that does not answer.
 * Threads of the load see it as a descriptor that becomes readable and stays so. */
#ifndef TOOL_BENCH_STOP_H
#define TOOL_BENCH_STOP_H

#include <stdbool.h>

/* The descriptor, for the life of the process; -1 with errno. */
int bench_stop_open(void);
/* From now on the first signal stops, a second one kills; those that the caller ignores stay ignored. */
void bench_stop_catch(void);
/* As a signal does. Any thread. */
void bench_stop_now(void);
/* Whether either was there, and whether it was a signal. Any thread. */
bool bench_stopped(void);
bool bench_stop_signalled(void);
/* Ends the process by the signal that came, so that a shell's loop ends, too; returns when there was none. */
void bench_stop_pass_on(void);

#endif
