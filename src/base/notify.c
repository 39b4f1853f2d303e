/* SPDX-License-Identifier: BSD-3-Clause */
/* notify: see notify.h. The address is kept, not a connection: a manager that was restarted is told again. */
#include "base/notify.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/msg.h"

#define TEXT_MAX     512
#define PATIENCE     5 /* seconds that a message which must arrive waits for a manager that does not read */
#define ALIVE_IN_ALL 4

static int fd = -1;
static struct sockaddr_un address;
static socklen_t address_len;
static int64_t watchdog_us;
static _Atomic int64_t told_alive_us;
static atomic_bool started;

/* Whole decimal numbers above 0; otherwise 0. */
static int64_t number(const char *text)
{
	char *end;
	if (!text || text[0] < '0' || text[0] > '9')
		return 0;
	errno = 0;
	long long v = strtoll(text, &end, 10);
	return *end || errno ? 0 : v;
}

/* A path, or '@' and a name of the abstract space. */
static bool read_address(const char *name)
{
	size_t len = strlen(name);
	if ((name[0] != '/' && name[0] != '@') || len < 2 || len >= sizeof address.sun_path) {
		msg(MSG_WARN, "NOTIFY_SOCKET %s: must be a path or @name, of at most %zu bytes", name,
		    sizeof address.sun_path - 1);
		return false;
	}
	address.sun_family = AF_UNIX;
	memcpy(address.sun_path, name, len);
	if (name[0] == '@')
		address.sun_path[0] = 0;
	/* The zero behind a path belongs to it, behind an abstract name it would be part of the name. */
	address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (name[0] == '/'));
	return true;
}

void notify_open(void)
{
	const char *name = getenv("NOTIFY_SOCKET"), *pid = getenv("WATCHDOG_PID");
	if (name && read_address(name)) {
		struct timeval patience = {.tv_sec = PATIENCE};
		fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		if (fd < 0)
			msg(MSG_WARN, "NOTIFY_SOCKET: %s", strerror(errno));
		else
			setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
	}
	if (fd >= 0 && (!pid || number(pid) == (int64_t)getpid()))
		watchdog_us = number(getenv("WATCHDOG_USEC"));
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_PID");
	unsetenv("WATCHDOG_USEC");
}

void notify_close(void)
{
	if (fd >= 0)
		close(fd);
	fd = -1;
	watchdog_us = 0;
	atomic_store(&started, false);
}

static void tell(const char *text, int flags)
{
	ssize_t n = sendto(
	    fd, text, strlen(text), flags | MSG_NOSIGNAL, (const struct sockaddr *)&address, address_len);
	(void)n; /* nobody there: its own timeouts decide */
}

/* A status is one line: what would end it or begin another one becomes a blank. */
static void flatten(char *text)
{
	for (; *text; text++) {
		if ((unsigned char)*text < 0x20)
			*text = ' ';
	}
}

static void tell_status(const char *before, const char *fmt, va_list args, int flags)
{
	char text[TEXT_MAX], status[TEXT_MAX - 128];
	vsnprintf(status, sizeof status, fmt, args);
	flatten(status);
	snprintf(text, sizeof text, "%sSTATUS=%s\n", before, status);
	tell(text, flags);
}

void notify_started(const char *fmt, ...)
{
	char before[64];
	va_list args;
	if (fd < 0)
		return;
	atomic_store(&started, true);
	snprintf(before, sizeof before, "READY=1\nMAINPID=%ld\n", (long)getpid());
	va_start(args, fmt);
	tell_status(before, fmt, args, 0);
	va_end(args);
}

void notify_status(const char *fmt, ...)
{
	va_list args;
	if (fd < 0)
		return;
	va_start(args, fmt);
	tell_status("", fmt, args, MSG_DONTWAIT);
	va_end(args);
}

void notify_extend(unsigned seconds)
{
	char text[64];
	if (fd < 0)
		return;
	snprintf(text, sizeof text, "EXTEND_TIMEOUT_USEC=%" PRIu64 "\n", (uint64_t)seconds * 1000000);
	tell(text, MSG_DONTWAIT);
}

void notify_reloading(void)
{
	char text[64];
	if (fd < 0 || !atomic_load(&started))
		return;
	snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%" PRId64 "\n", clock_mono_us());
	tell(text, 0);
}

void notify_ready(void)
{
	if (fd >= 0 && atomic_load(&started))
		tell("READY=1\n", 0);
}

void notify_stopping(void)
{
	if (fd >= 0)
		tell("STOPPING=1\nSTATUS=stopping\n", 0);
}

int64_t notify_watchdog_us(void)
{
	return watchdog_us;
}

void notify_alive(void)
{
	int64_t now = clock_mono_us();
	if (watchdog_us <= 0 || now - atomic_load(&told_alive_us) < watchdog_us / ALIVE_IN_ALL)
		return;
	atomic_store(&told_alive_us, now);
	tell("WATCHDOG=1\n", MSG_DONTWAIT);
}
