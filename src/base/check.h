/* SPDX-License-Identifier: BSD-3-Clause */
/* check: assertions that stay on in release builds. A failed CHECK is a bug in Hearth, never bad input and
 * never a failing disk: it writes one line to standard error and aborts. Any thread; no lock. */
#ifndef BASE_CHECK_H
#define BASE_CHECK_H

_Noreturn void check_failed(const char *expr, const char *file, int line);

#define CHECK(expr) \
	do { \
		if (__builtin_expect(!(expr), 0)) \
			check_failed(#expr, __FILE__, __LINE__); \
	} while (0)

/* Every long-lived struct begins with `uint32_t magic`; CHECK_MAGIC at the entry of a module finds stale and
 * foreign pointers early (a habit of Varnish's miniobj). */
#define CHECK_MAGIC(obj, value) CHECK((obj) != NULL && (obj)->magic == (value))

#endif
