/* SPDX-License-Identifier: BSD-3-Clause */
/* address: addresses and bound sockets, see address.h. */
#include "server/address.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/msg.h"

#define TRIES 8 /* for a port that is free on both loopback addresses */

static int bind_one(const struct addrinfo *ai)
{
	int on = 1;
	int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, ai->ai_protocol);
	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
	/* Accepted sockets inherit it. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	if (ai->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
	if (bind(fd, ai->ai_addr, ai->ai_addrlen) == 0)
		return fd;
	int error = errno;
	close(fd);
	errno = error;
	return -1;
}

static void close_all(int *fds, unsigned n)
{
	int error = errno;
	while (n > 0)
		close(fds[--n]);
	errno = error;
}

/* Keeps errno. */
static void say(char ret_why[ADDRESS_WHY_MAX], const char *host, int port, const char *what)
{
	int error = errno;
	snprintf(ret_why, ADDRESS_WHY_MAX, "%.100s port %d: %.60s", host ? host : "*", port, what);
	errno = error;
}

/* What getaddrinfo says when it is no errno. */
static int no_such_host(int r, const char *host, int port, char ret_why[ADDRESS_WHY_MAX])
{
	if (r == EAI_MEMORY)
		errno = ENOMEM;
	else if (r != EAI_SYSTEM)
		errno = EADDRNOTAVAIL;
	say(ret_why, host, port, r == EAI_SYSTEM ? strerror(errno) : gai_strerror(r));
	return r == EAI_SYSTEM || r == EAI_MEMORY ? -1 : 0;
}

int address_bind_host(const char *host, int *port, int *fds, unsigned max, char ret_why[ADDRESS_WHY_MAX])
{
	struct addrinfo hints = {.ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM};
	struct addrinfo *all, *ai;
	char service[16];
	unsigned n = 0;
	int asked = *port, error = 0;

	if (max == 0) {
		errno = EMFILE;
		say(ret_why, host, asked, "too many addresses");
		return -1;
	}
	snprintf(service, sizeof service, "%d", asked);
	int r = getaddrinfo(host, service, &hints, &all);
	if (r != 0)
		return no_such_host(r, host, asked, ret_why);
	for (ai = all; ai && n < max; ai = ai->ai_next) {
		int fd = bind_one(ai);
		if (fd >= 0) {
			fds[n++] = fd;
			if (*port == 0)
				*port = address_port(fd);
			continue;
		}
		error = errno;
		/* A family or address that the machine does not have is passed over when there is another. */
		if (error != EAFNOSUPPORT && error != EADDRNOTAVAIL)
			break;
	}
	bool failed = ai && n < max;
	freeaddrinfo(all);
	if (n > 0 && !failed)
		return (int)n;
	close_all(fds, n);
	*port = asked;
	errno = error;
	say(ret_why, host, asked, strerror(error));
	return failed ? -1 : 0;
}

int address_bind_loopback(int *port, int *fds, unsigned max, char ret_why[ADDRESS_WHY_MAX])
{
	int asked = *port;
	for (int i = 0; i < TRIES; i++) {
		*port = asked;
		int v4 = address_bind_host("127.0.0.1", port, fds, max, ret_why);
		if (v4 <= 0)
			return -1;
		int v6 = address_bind_host("::1", port, fds + v4, max - (unsigned)v4, ret_why);
		if (v6 >= 0)
			return v4 + v6;
		close_all(fds, (unsigned)v4);
		if (asked != 0)
			break;
	}
	*port = asked;
	return -1;
}

void address_name(int fd, char ret_name[ADDRESS_NAME_MAX])
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof ss;
	char host[ADDRESS_NAME_MAX - 16], service[8];
	bool ok = getsockname(fd, (struct sockaddr *)&ss, &len) == 0 &&
	          getnameinfo((struct sockaddr *)&ss, len, host, sizeof host, service, sizeof service,
	              NI_NUMERICHOST | NI_NUMERICSERV) == 0;
	snprintf(ret_name, ADDRESS_NAME_MAX, "%s port %s", ok ? host : "?", ok ? service : "?");
}

int address_port(int fd)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof ss;
	if (getsockname(fd, (struct sockaddr *)&ss, &len) != 0)
		return 0;
	if (ss.ss_family == AF_INET6)
		return ntohs(((struct sockaddr_in6 *)&ss)->sin6_port);
	return ntohs(((struct sockaddr_in *)&ss)->sin_port);
}

/* Digits alone; -1: no port. */
static int read_port(const char *text)
{
	size_t n = strspn(text, "0123456789");
	long v = n > 0 && n < 6 && text[n] == 0 ? strtol(text, NULL, 10) : -1;
	return v <= 65535 ? (int)v : -1;
}

char *address_split(char *text, int *port)
{
	char *colon = strrchr(text, ':'), *end;
	char *host = text;
	if (text[0] == '[' && (end = strchr(text, ']')) != NULL) {
		*end = 0;
		host = text + 1;
		colon = end[1] == ':' ? end + 1 : NULL;
		if (end[1] != 0 && !colon)
			*port = -1;
	} else if (colon && strchr(text, ':') != colon) {
		colon = NULL; /* a bare IPv6 address */
	}
	if (colon) {
		*port = read_port(colon + 1);
		*colon = 0;
	}
	return host;
}

char *address_split_port(char *text, int *port)
{
	*port = -1;
	if (!*text || text[strspn(text, "0123456789")] != 0)
		return address_split(text, port);
	*port = read_port(text);
	return text + strlen(text);
}

static bool wrong(const char *option, const char *text, const char *why)
{
	msg(MSG_ERROR, "--%s %s: %s", option, text, why);
	return false;
}

bool address_check_listen(const char *list)
{
	char *copy = strdup(list), *rest = copy, *text;
	unsigned n = 0;
	bool ok = copy || wrong("listen", list, strerror(ENOMEM));
	while (ok && (text = strsep(&rest, ",")) != NULL) {
		int port = 0;
		if (*text == 0)
			continue;
		n++;
		if (*address_split(text, &port) == 0)
			ok = wrong("listen", list, "no address before a port (* is any)");
		else if (port < 0)
			ok = wrong("listen", list, "no port");
	}
	free(copy);
	return ok && (n > 0 || wrong("listen", list, "no address"));
}

bool address_check_http(const char *text)
{
	if (strcmp(text, "none") == 0)
		return true;
	char *copy = strdup(text);
	int port;
	if (!copy)
		return wrong("http", text, strerror(ENOMEM));
	address_split_port(copy, &port);
	free(copy);
	return port >= 0 || wrong("http", text, "no port (ADDR:PORT, [ADDR]:PORT or PORT)");
}
