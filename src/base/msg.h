/* SPDX-License-Identifier: BSD-3-Clause */
/* msg: one-line messages on standard error, prefixed with the program's name. Control bytes in arguments are
 * escaped, secrets are never handed in. Any thread. Not part of libhearth.a, which never prints. */
#ifndef BASE_MSG_H
#define BASE_MSG_H

enum msg_level { MSG_ERROR, MSG_WARN, MSG_INFO, MSG_DEBUG };

/* verbosity: 0 shows errors, warnings and infos; 1 and more shows MSG_DEBUG too (-v). */
void msg_init(const char *program, int verbosity);
void msg_set_verbosity(int verbosity);
void msg(enum msg_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
