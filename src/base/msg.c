/* SPDX-License-Identifier: BSD-3-Clause */
/* msg: see msg.h. The program's name is set before threads start; verbosity and form may change at any
 * time. A message is built on the stack and leaves in one write(2), so that lines of several threads do not mix. What is
 * at the other end of standard error may have stopped reading: a daemon drops messages rather than wait for it. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>
#include "base/msg.h"

#define TEXT_MAX 1024
/* A byte becomes four at most ("\x1b"), and five in JSON ("\\x1b"). */
#define ESCAPED_MAX    (4 * TEXT_MAX)
#define HEAD_MAX       192
#define LINE_MAX_BYTES (HEAD_MAX + 5 * TEXT_MAX + 4)
#define PATIENCE_MS    1000 /* in a log, once: as long as nobody reads after that, messages do not wait */

enum form { PLAIN, TIMED, JSON };

/* Priorities are syslog's. */
static const struct {
	const char *prefix, *name;
	int priority;
} levels[] = {[MSG_ERROR] = {"error: ", "error", 3},
    [MSG_WARN] = {"warning: ", "warning", 4},
    [MSG_INFO] = {"", "info", 6},
    [MSG_DEBUG] = {"", "debug", 7}};

static const char *program_name = "hearth";
static atomic_int verbosity_now;
static atomic_int form_now; /* enum form */
static atomic_bool to_journal;
static const char *before_each;
static atomic_uint unread; /* messages that were dropped since the last one that was not */

/* In place of a standard stream that is closed stands one that fails. What is opened next would be taken for it: messages
 * would be written to a file of the data directory, or to a client. */
static void hold_streams(void)
{
	static const int modes[] = {O_WRONLY, O_RDONLY, O_RDONLY};
	for (int fd = 0; fd < 3; fd++) {
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", modes[fd]) != fd)
			_exit(EX_OSERR);
	}
}

void msg_init(const char *program, int verbosity)
{
	hold_streams();
	program_name = program;
	msg_set_verbosity(verbosity);
}

void msg_set_before(const char *text)
{
	before_each = text;
}

void msg_set_verbosity(int verbosity)
{
	atomic_store_explicit(&verbosity_now, verbosity, memory_order_relaxed);
}

/* Whether standard error is the stream that the service manager connected with the journal. */
static bool is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	char own[64];
	struct stat st;
	if (!stream || fstat(STDERR_FILENO, &st) != 0)
		return false;
	snprintf(own, sizeof own, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	return strcmp(own, stream) == 0;
}

void msg_begin_log(bool json)
{
	atomic_store_explicit(&form_now, json ? JSON : TIMED, memory_order_relaxed);
	atomic_store_explicit(&to_journal, is_journal(), memory_order_relaxed);
}

static enum form form_is(void)
{
	return (enum form)atomic_load_explicit(&form_now, memory_order_relaxed);
}

bool msg_is_json(void)
{
	return form_is() == JSON;
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

/* What escape() made, within the quotes of JSON. */
static size_t quote(char *out, const char *text, size_t len)
{
	size_t used = 0;
	for (size_t i = 0; i < len; i++) {
		if (text[i] == '"' || text[i] == '\\')
			out[used++] = '\\';
		out[used++] = text[i];
	}
	return used;
}

/* Universal time, to the millisecond. */
static void stamp(char *out, size_t size)
{
	struct timespec now;
	struct tm tm;
	clock_gettime(CLOCK_REALTIME, &now);
	if (!gmtime_r(&now.tv_sec, &tm))
		memset(&tm, 0, sizeof tm);
	size_t used = strftime(out, size, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(out + used, size - used, ".%03ldZ", now.tv_nsec / 1000000);
}

/* What stands before the text. The journal knows the time and the program. */
static size_t head(char out[HEAD_MAX], enum form form, enum msg_level level)
{
	char time[48] = "", priority[8] = "";
	int n;
	if (form != PLAIN)
		stamp(time, sizeof time);
	bool journal = atomic_load_explicit(&to_journal, memory_order_relaxed);
	if (journal)
		snprintf(priority, sizeof priority, "<%d>", levels[level].priority);
	if (form == JSON)
		n = snprintf(out, HEAD_MAX,
		    "%s{\"time\":\"%s\",\"level\":\"%s\",\"program\":\"%.40s\",\"pid\":%ld,\"message\":\"",
		    priority, time, levels[level].name, program_name, (long)getpid());
	else if (journal)
		n = snprintf(out, HEAD_MAX, "%s%s", priority, levels[level].prefix);
	else
		n = snprintf(out, HEAD_MAX, "%s%s%.40s: %s", time, form == TIMED ? " " : "", program_name,
		    levels[level].prefix);
	return (size_t)n;
}

/* Whether a write would not wait. An error is one of the write, too. */
static bool is_taken(void)
{
	struct pollfd error = {.fd = STDERR_FILENO, .events = POLLOUT};
	int n;
	do
		n = poll(&error, 1, atomic_load(&unread) > 0 ? 0 : PATIENCE_MS);
	while (n < 0 && errno == EINTR);
	return n != 0;
}

static void tell_unread(void)
{
	unsigned n = atomic_load(&unread) > 0 && is_taken() ? atomic_exchange(&unread, 0) : 0;
	if (n > 0)
		msg(MSG_WARN, "%u messages before this one are lost: nobody read standard error", n);
}

void msg(enum msg_level level, const char *fmt, ...)
{
	int shown = atomic_load_explicit(&verbosity_now, memory_order_relaxed);
	if ((level == MSG_DEBUG && shown < 1) || (level == MSG_INFO && shown < 0))
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

	if (before_each && write(STDERR_FILENO, before_each, strlen(before_each)) < 0)
		return;
	char escaped[ESCAPED_MAX], line[LINE_MAX_BYTES];
	enum form form = form_is(); /* once: it may change meanwhile */
	size_t len = escape(escaped, text), used = head(line, form, level);
	if (form == JSON) {
		used += quote(line + used, escaped, len);
		line[used++] = '"';
		line[used++] = '}';
	} else {
		memcpy(line + used, escaped, len);
		used += len;
	}
	line[used++] = '\n';
	if (form != PLAIN) {
		tell_unread();
		if (!is_taken()) {
			atomic_fetch_add(&unread, 1);
			return;
		}
	}
	ssize_t written = write(STDERR_FILENO, line, used);
	(void)written; /* nowhere to complain to */
}
