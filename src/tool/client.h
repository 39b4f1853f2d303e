/* SPDX-License-Identifier: BSD-3-Clause */
/* client: connections of the tool: to a memcached port or socket, and to the admin socket of a running
 * daemon, which speaks lines. Messages about failures are printed here. One thread a connection. */
#ifndef TOOL_CLIENT_H
#define TOOL_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* Where a server listens. */
struct client_address {
	struct sockaddr_storage addr;
	socklen_t len;
	char text[256]; /* for messages */
};

/* "HOST:PORT", "[V6]:PORT", ":PORT" (this machine) or, with a slash in it, the path of a unix socket. False,
 * after a message, when it is none of these or has no address. */
bool client_resolve(const char *text, struct client_address *ret_address);
/* A connected, non-blocking socket with Nagle's delay off; -1 and errno. */
int client_connect(const struct client_address *address);

/* The socket of the admin protocol of the daemon on a directory; -1 and errno. */
int client_connect_admin(const char *directory);

struct client; /* a line-speaking connection, blocking */

/* A server at its memcached port or socket, to talk to in lines and values: TOOL_OK, or after a message TOOL_NO_DAEMON. Who
 * does not answer for a minute has failed. */
int client_open_server(struct client **ret_client, const struct client_address *address);

/* The admin socket of the daemon on a directory: TOOL_OK, or after a message TOOL_NO_DAEMON or TOOL_IO. */
int client_open_admin(struct client **ret_client, const char *directory);
/* The same, but without a daemon *ret_client is NULL, nothing is said, and the answer is TOOL_OK. */
int client_try_admin(struct client **ret_client, const char *directory);
void client_close(struct client **client);
/* Sends a line (without its newline). False after a message. */
bool client_send(struct client *client, const char *line);
/* Sends bytes as they are. False after a message. */
bool client_send_bytes(struct client *client, const void *data, size_t len);
/* The next line, without its newline, in a buffer that is the client's until the next call; NULL, after a
 * message, when the connection ended before it or failed. */
char *client_line(struct client *client);
/* Whether there is something to take, or an end to be told of, within so many milliseconds. */
bool client_awaits(struct client *client, int ms);
/* Of an answer of the admin socket that is not what was hoped for: what it says, without the word before it. */
const char *client_refusal(const char *line);
/* The same for so many bytes. */
uint8_t *client_bytes(struct client *client, size_t len);

#endif
