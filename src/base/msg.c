/* SPDX-License-Identifier: BSD-3-Clause */
/* msg: see msg.h. The program's name is set once before threads start; the verbosity may change at any time.
 * A message is built on the stack and leaves in one write(2), so that lines of several threads do not mix. */
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/msg.h"

#define TEXT_MAX 1024
/* A byte becomes four at most ("\x1b"). */
#define LINE_MAX_BYTES (64 + 4 * TEXT_MAX)

static const char *program_name = "hearth";
static atomic_int verbosity_now;

void msg_init(const char *program, int verbosity)
{
	program_name = program;
	msg_set_verbosity(verbosity);
}

void msg_set_verbosity(int verbosity)
{
	atomic_store_explicit(&verbosity_now, verbosity, memory_order_relaxed);
}

/* Length of the well-formed UTF-8 sequence of more than one byte at s, 0 if there is none. C1 controls
 * (U+0080 to U+009F) do not count as text: terminals obey them. */
static size_t utf8_length(const unsigned char *s)
{
	size_t len = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
	if (s[0] < 0xc2 || s[0] > 0xf4)
		return 0;
	for (size_t i = 1; i < len; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	}
	bool control = s[0] == 0xc2 && s[1] < 0xa0;
	bool overlong = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xf0 && s[1] < 0x90);
	bool outside = (s[0] == 0xed && s[1] >= 0xa0) || (s[0] == 0xf4 && s[1] >= 0x90);
	return control || overlong || outside ? 0 : len;
}

static size_t escape(char *out, const char *text)
{
	static const char hex[] = "0123456789abcdef";
	const unsigned char *s = (const unsigned char *)text;
	size_t used = 0;
	while (*s != '\0') {
		size_t len = *s < 0x80 ? (*s >= 0x20 && *s != 0x7f) : utf8_length(s);
		if (len > 0) {
			memcpy(out + used, s, len);
			used += len;
			s += len;
			continue;
		}
		out[used++] = '\\';
		out[used++] = 'x';
		out[used++] = hex[*s >> 4];
		out[used++] = hex[*s & 15];
		s++;
	}
	return used;
}

void msg(enum msg_level level, const char *fmt, ...)
{
	static const char *const prefix[] = {
	    [MSG_ERROR] = "error: ", [MSG_WARN] = "warning: ", [MSG_INFO] = "", [MSG_DEBUG] = ""};
	if (level == MSG_DEBUG && atomic_load_explicit(&verbosity_now, memory_order_relaxed) < 1)
		return;
	/* Zeros behind the text's end, so that a sequence cut off there is not read on into old bytes. */
	char text[TEXT_MAX + 4];
	va_list args;
	va_start(args, fmt);
	int n = vsnprintf(text, TEXT_MAX, fmt, args);
	va_end(args);
	if (n < 0)
		return;
	memset(text + strlen(text), 0, 4);

	char line[LINE_MAX_BYTES];
	int head = snprintf(line, 60, "%.40s: %s", program_name, prefix[level]);
	size_t used = (size_t)head + escape(line + head, text);
	line[used++] = '\n';
	ssize_t written = write(STDERR_FILENO, line, used);
	(void)written; /* nowhere to complain to */
}
