/* SPDX-License-Identifier: BSD-3-Clause */
/* check: what a failed CHECK does. Part of libhearth.a, so it formats by hand: no stdio, no lock, no
 * allocation, safe in a signal handler and with a broken heap. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/check.h"

static size_t add_text(char *line, size_t used, size_t size, const char *text)
{
	size_t len = strlen(text);
	if (len > size - used)
		len = size - used;
	memcpy(line + used, text, len);
	return used + len;
}

static size_t add_number(char *line, size_t used, size_t size, unsigned v)
{
	char digits[12];
	size_t at = sizeof(digits);
	digits[--at] = '\0';
	do {
		digits[--at] = (char)('0' + v % 10);
		v /= 10;
	} while (v > 0);
	return add_text(line, used, size, digits + at);
}

_Noreturn void check_failed(const char *expr, const char *file, int line)
{
	char text[512];
	size_t room = sizeof(text) - 1, used = 0;
	used = add_text(text, used, room, "bug: ");
	used = add_text(text, used, room, file);
	used = add_text(text, used, room, ":");
	used = add_number(text, used, room, line > 0 ? (unsigned)line : 0);
	used = add_text(text, used, room, ": check failed: ");
	used = add_text(text, used, room, expr);
	text[used++] = '\n';
	/* Nothing can be done about a failing write here. */
	ssize_t n = write(STDERR_FILENO, text, used);
	(void)n;
	abort();
}
