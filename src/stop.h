/* SPDX-License-Identifier: BSD-3-Clause */
/* stop: a stop ends. While the main thread waits for what is on its way to the disk, a thread of its own says what that is
 * and asks the service manager for patience, and another one ends the process when the time of --stop-timeout is over: a disk
 * that does not answer would hold it for ever, and whoever writes a log file on it. By then nobody is served any more, and all that was acknowledged has been given to the kernel. */
#ifndef STOP_H
#define STOP_H

#include <stdbool.h>
#include <stdint.h>

struct engine;
struct stop;

/* Begins to watch. pid_file: removed if the time is over; may be empty; it and the engine are the caller's until
 * stop_end. NULL: no threads to be had, then the stop takes as long as it takes. */
struct stop *stop_begin(const struct engine *engine, int64_t seconds, const char *pid_file);
/* All is written; before engine_close. */
void stop_end(struct stop **stop);

#endif
