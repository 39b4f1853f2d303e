/* SPDX-License-Identifier: BSD-3-Clause */
/* client: see client.h. */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <hearth/datadir.h>
#include "base/buf.h"
#include "base/check.h"
#include "base/msg.h"
#include "tool/client.h"
#include "tool/tool.h"

#define CLIENT_MAGIC 0x7c11e47u
/* No line of the admin protocol, nor of memcached's answers, comes near it. */
#define LINE_MAX_BYTES (64u * 1024)
#define PATIENCE_S     60
/* A large value is read in pieces of this size. */
#define PIECE (256u * 1024)

struct client {
	uint32_t magic;
	int fd;
	char name[256];
	struct buf in;
	size_t taken; /* length of what was handed out last; of a line with its newline */
};

static bool unix_address(const char *path, struct client_address *ret_address)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(un.sun_path)) {
		msg(MSG_ERROR, "%s: too long for the path of a socket", path);
		return false;
	}
	strcpy(un.sun_path, path);
	memcpy(&ret_address->addr, &un, sizeof(un));
	ret_address->len = sizeof(un);
	return true;
}

bool client_resolve(const char *text, struct client_address *ret_address)
{
	memset(ret_address, 0, sizeof(*ret_address));
	snprintf(ret_address->text, sizeof(ret_address->text), "%s", text);
	if (strchr(text, '/'))
		return unix_address(text, ret_address);

	char host[256];
	const char *colon = strrchr(text, ':');
	if (!colon || colon[1] == '\0' || (size_t)(colon - text) >= sizeof(host)) {
		msg(MSG_ERROR, "%s: not HOST:PORT, nor the path of a socket", text);
		return false;
	}
	size_t len = (size_t)(colon - text);
	bool bracketed = len >= 2 && text[0] == '[' && text[len - 1] == ']';
	snprintf(host, sizeof(host), "%.*s", (int)(bracketed ? len - 2 : len), text + bracketed);
	struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	struct addrinfo *found = NULL;
	/* Of one that is too large getaddrinfo would take the lower 16 bits. */
	if (strspn(colon + 1, "0123456789") == strlen(colon + 1) &&
	    strtoul(colon + 1, NULL, 10) > UINT16_MAX) {
		msg(MSG_ERROR, "%s: a port is at most %u", text, (unsigned)UINT16_MAX);
		return false;
	}
	int err = getaddrinfo(host[0] ? host : "127.0.0.1", colon + 1, &hints, &found);
	if (err != 0) {
		msg(MSG_ERROR, "%s: %s", text, gai_strerror(err));
		return false;
	}
	memcpy(&ret_address->addr, found->ai_addr, found->ai_addrlen);
	ret_address->len = found->ai_addrlen;
	freeaddrinfo(found);
	return true;
}

int client_connect(const struct client_address *address)
{
	int family = address->addr.ss_family;
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	int one = 1;
	int ret = connect(fd, (const struct sockaddr *)&address->addr, address->len);
	if (ret == 0 && family != AF_UNIX)
		ret = setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (ret == 0)
		ret = fcntl(fd, F_SETFL, O_NONBLOCK);
	if (ret == 0)
		return fd;
	int saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

/* A path of any length fits a socket's address by way of a descriptor of its directory. */
int client_connect_admin(const char *directory)
{
	int dir = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return -1;
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	snprintf(un.sun_path, sizeof(un.sun_path), "/proc/self/fd/%d/" DATADIR_ADMIN, dir);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (const struct sockaddr *)&un, sizeof(un)) < 0) {
		int saved = errno;
		close(fd);
		errno = saved;
		fd = -1;
	}
	int saved = errno;
	close(dir);
	errno = saved;
	return fd;
}

static int take_socket(struct client **ret_client, int fd)
{
	struct client *c = calloc(1, sizeof(*c));
	if (!c) {
		close(fd);
		msg(MSG_ERROR, "memory is short");
		return TOOL_SYSTEM;
	}
	c->magic = CLIENT_MAGIC;
	c->fd = fd;
	*ret_client = c;
	return TOOL_OK;
}

int client_open_server(struct client **ret_client, const struct client_address *address)
{
	const struct timeval patience = {.tv_sec = PATIENCE_S};
	*ret_client = NULL;
	int fd = client_connect(address);
	if (fd < 0) {
		msg(MSG_ERROR, "%s: %s", address->text, strerror(errno));
		return TOOL_NO_DAEMON;
	}
	int exit_code = take_socket(ret_client, fd);
	if (exit_code != TOOL_OK)
		return exit_code;
	snprintf((*ret_client)->name, sizeof((*ret_client)->name), "%s", address->text);
	if (fcntl(fd, F_SETFL, 0) == 0 &&
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) == 0 &&
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) == 0)
		return TOOL_OK;
	msg(MSG_ERROR, "%s: %s", address->text, strerror(errno));
	client_close(ret_client);
	return TOOL_IO;
}

int client_try_admin(struct client **ret_client, const char *directory)
{
	*ret_client = NULL;
	int fd = client_connect_admin(directory);
	if (fd < 0) {
		int err = errno;
		struct stat st;
		bool there = stat(directory, &st) == 0;
		if (there && (err == ENOENT || err == ECONNREFUSED))
			return TOOL_OK;
		msg(MSG_ERROR, "%s/%s: %s", directory, DATADIR_ADMIN, strerror(err));
		return TOOL_IO;
	}
	int exit_code = take_socket(ret_client, fd);
	if (exit_code == TOOL_OK)
		snprintf((*ret_client)->name, sizeof((*ret_client)->name), "%s/%s", directory, DATADIR_ADMIN);
	return exit_code;
}

int client_open_admin(struct client **ret_client, const char *directory)
{
	int exit_code = client_try_admin(ret_client, directory);
	if (exit_code != TOOL_OK || *ret_client)
		return exit_code;
	msg(MSG_ERROR, "%s: no daemon runs on this directory", directory);
	return TOOL_NO_DAEMON;
}

void client_close(struct client **client)
{
	struct client *c = *client;
	if (!c)
		return;
	CHECK_MAGIC(c, CLIENT_MAGIC);
	close(c->fd);
	buf_free(&c->in);
	c->magic = 0;
	free(c);
	*client = NULL;
}

static const char *failure(void)
{
	return errno == EAGAIN || errno == EWOULDBLOCK ? "no answer for a minute" : strerror(errno);
}

static bool send_all(struct client *c, const uint8_t *data, size_t len)
{
	while (len > 0) {
		ssize_t n = send(c->fd, data, len, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			msg(MSG_ERROR, "%s: %s", c->name, failure());
			return false;
		}
		data += n;
		len -= (size_t)n;
	}
	return true;
}

bool client_send(struct client *c, const char *line)
{
	CHECK_MAGIC(c, CLIENT_MAGIC);
	return send_all(c, (const uint8_t *)line, strlen(line)) && send_all(c, (const uint8_t *)"\n", 1);
}

bool client_send_bytes(struct client *c, const void *data, size_t len)
{
	CHECK_MAGIC(c, CLIENT_MAGIC);
	return send_all(c, data, len);
}

/* More bytes behind what is there. */
static bool receive(struct client *c)
{
	if (!buf_reserve(&c->in, PIECE)) {
		msg(MSG_ERROR, "memory is short");
		return false;
	}
	ssize_t n;
	do
		n = recv(c->fd, c->in.data + c->in.tail, buf_room(&c->in), 0);
	while (n < 0 && errno == EINTR);
	if (n <= 0) {
		msg(MSG_ERROR, "%s: %s", c->name,
		    n < 0 ? failure() : "the connection was closed from the other side");
		return false;
	}
	c->in.tail += (size_t)n;
	return true;
}

char *client_line(struct client *c)
{
	CHECK_MAGIC(c, CLIENT_MAGIC);
	buf_consume(&c->in, c->taken);
	c->taken = 0;
	for (;;) {
		char *line = (char *)c->in.data + c->in.head;
		char *end = buf_len(&c->in) > 0 ? memchr(line, '\n', buf_len(&c->in)) : NULL;
		if (!end && buf_len(&c->in) >= LINE_MAX_BYTES) {
			msg(MSG_ERROR, "%s: a line without end", c->name);
			return NULL;
		}
		if (!end) {
			if (!receive(c))
				return NULL;
			continue;
		}
		c->taken = (size_t)(end - line) + 1;
		*end = '\0';
		if (end > line && end[-1] == '\r')
			end[-1] = '\0';
		return line;
	}
}

bool client_awaits(struct client *c, int ms)
{
	CHECK_MAGIC(c, CLIENT_MAGIC);
	struct pollfd p = {.fd = c->fd, .events = POLLIN};
	return buf_len(&c->in) > c->taken || poll(&p, 1, ms) != 0;
}

uint8_t *client_bytes(struct client *c, size_t len)
{
	CHECK_MAGIC(c, CLIENT_MAGIC);
	buf_consume(&c->in, c->taken);
	c->taken = 0;
	while (buf_len(&c->in) < len)
		if (!receive(c))
			return NULL;
	c->taken = len;
	return c->in.data + c->in.head;
}

const char *client_refusal(const char *line)
{
	static const char word[] = "ERROR ";
	return strncmp(line, word, sizeof(word) - 1) == 0 ? line + sizeof(word) - 1 : line;
}
