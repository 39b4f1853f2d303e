/* SPDX-License-Identifier: BSD-3-Clause */
/* msg: one-line messages on standard error, prefixed with the program's name. Control bytes in arguments are
 * escaped, secrets are never handed in. Any thread. Not part of libhearth.a, which never prints. */
#ifndef BASE_MSG_H
#define BASE_MSG_H

#include <stdbool.h>

enum msg_level { MSG_ERROR, MSG_WARN, MSG_INFO, MSG_DEBUG };

/* First of all, before anything is opened: standard streams that are closed are held open, and fail when they are used.
 * verbosity: 0 shows errors, warnings and infos; 1 and more shows MSG_DEBUG too (-v); below 0 infos are left out. */
void msg_init(const char *program, int verbosity);
void msg_set_verbosity(int verbosity);
/* From here on lines are those of a log: with a time in front, or JSON, an object a line. Where standard error is the
 * journal's ($JOURNAL_STREAM) a priority is in front ("<4>") instead of the time. Again when one of these changes. From here
 * on, too, nobody waits for longer than a second for whoever reads them: what does not fit is dropped, and the next line that
 * does says how many. */
void msg_begin_log(bool json);
bool msg_is_json(void);
/* Static text that is written before each message, as what takes an unfinished line off a terminal; NULL = nothing. For
 * programs of one thread. */
void msg_set_before(const char *text);
void msg(enum msg_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
