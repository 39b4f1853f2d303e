/* SPDX-License-Identifier: BSD-3-Clause */
/* stop: a stop ends. While the main thread waits for what is on its way to the disk, a thread of its own says what that is
 * and asks the service manager for patience, and another one ends the process when the time of --stop-timeout is over: a disk
 * that does not answer would hold it for ever, and whoever writes a log file on it. By then nobody is served any more, and all
 * that was acknowledged has been given to the kernel. */
#ifndef STOP_H
#define STOP_H

#include <stdbool.h>
#include <stdint.h>

struct engine;
struct server;
struct stop;
struct stop_load;

/* Begins to watch. engine: NULL while data is loaded. pid_file: removed if the time is over; may be empty; it and the engine
 * are the caller's until stop_end. NULL: no threads to be had, then the stop takes as long as it takes. */
struct stop *stop_begin(const struct engine *engine, int64_t seconds, const char *pid_file);
/* All is written; before engine_close. */
void stop_end(struct stop **stop);

/* While the main thread loads it may wait for a disk, and sees no signal then. From here to stop_load_end a thread of its own
 * takes those that stop: it asks the server to, which the main thread looks at between two reads, and begins to watch. NULL:
 * no thread to be had, then the main thread takes them as ever. */
struct stop_load *stop_load_begin(struct server *server, int64_t seconds, const char *pid_file);
void stop_load_end(struct stop_load **load);

#endif
