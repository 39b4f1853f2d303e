/* SPDX-License-Identifier: BSD-3-Clause */
/* inherited: see inherited.h. */
#include "server/inherited.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/msg.h"

#define FIRST 3

/* Whole decimal numbers; -1: it is none. */
static long number(const char *text)
{
	char *end;
	if (!text || text[0] < '0' || text[0] > '9')
		return -1;
	errno = 0;
	long v = strtol(text, &end, 10);
	return *end || errno ? -1 : v;
}

bool inherited_are_own(void)
{
	const char *pid = getenv("LISTEN_PID");
	return pid && getenv("LISTEN_FDS") && number(pid) == (long)getpid();
}

void inherited_adopt(void)
{
	char pid[24];
	snprintf(pid, sizeof pid, "%ld", (long)getpid());
	setenv("LISTEN_PID", pid, 1);
}

int inherited_count(unsigned max)
{
	const char *fds = getenv("LISTEN_FDS");
	long n = inherited_are_own() ? number(fds) : 0;
	if (n < 0 || n > (long)max) {
		msg(MSG_ERROR, "LISTEN_FDS %s: must be 0 to %u", fds, max);
		return -1;
	}
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	return (int)n;
}

/* A flag that cannot be set is one of a descriptor that is not there. */
static bool prepare(int fd)
{
	int flags = fcntl(fd, F_GETFL);
	return flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0 &&
	       fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
}

int inherited_take(unsigned i, bool *ret_unix)
{
	int fd = FIRST + (int)i, type = 0, listens = 0, on = 1;
	struct sockaddr_storage ss = {0};
	socklen_t type_len = sizeof type, listens_len = sizeof listens, ss_len = sizeof ss;
	bool ok = prepare(fd) && getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_len) == 0 &&
	          getsockname(fd, (struct sockaddr *)&ss, &ss_len) == 0;
	bool inet = ss.ss_family == AF_INET || ss.ss_family == AF_INET6;
	if (!ok || type != SOCK_STREAM || (!inet && ss.ss_family != AF_UNIX)) {
		msg(MSG_ERROR, "LISTEN_FDS: descriptor %d: %s", fd,
		    ok ? "is no stream socket of IPv4, IPv6 or Unix" : strerror(errno));
		return -1;
	}
	/* One that is bound to nothing would be served on any free port, and a connection never. */
	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &listens_len) != 0 || !listens) {
		msg(MSG_ERROR, "LISTEN_FDS: descriptor %d: does not listen", fd);
		return -1;
	}
	/* Accepted sockets inherit it. */
	if (inet)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	*ret_unix = !inet;
	return fd;
}
