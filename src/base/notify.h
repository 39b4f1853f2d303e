/* SPDX-License-Identifier: BSD-3-Clause */
/* notify: tells a service manager how the daemon is: a datagram of lines to the socket that $NOTIFY_SOCKET names, as
 * sd_notify(3) describes it. Without that variable all calls do nothing. Nothing here fails: who is not told goes by its own
 * timeouts. Any thread, but notify_open and notify_close. */
#ifndef BASE_NOTIFY_H
#define BASE_NOTIFY_H

#include <stdint.h>

/* Reads the environment, and clears it there: what this process starts is not to speak for it. In the process that the
 * manager has started, before it has threads; a child of it may go on with all of this. */
void notify_open(void);
void notify_close(void);

/* It serves; the text is what it says of itself. Also tells its process number, which with -d is not the one that was started. */
void notify_started(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* One line on what it does just now. Waits for nobody. */
void notify_status(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* A start or a stop goes on: it is not to be ended for so many seconds. Waits for nobody. */
void notify_extend(unsigned seconds);
/* The configuration is being read anew, and has been. Before notify_started both do nothing. */
void notify_reloading(void);
void notify_ready(void);
void notify_stopping(void);

/* Microseconds within which the manager wants to hear notify_alive again; 0 = it does not ask. */
int64_t notify_watchdog_us(void);
/* Call it as often as you like: it is sent four times in that time at most. Waits for nobody. */
void notify_alive(void);

#endif
