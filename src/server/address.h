/* SPDX-License-Identifier: BSD-3-Clause */
/* address: addresses as options name them, and sockets that are bound to them. Any thread. */
#ifndef SERVER_ADDRESS_H
#define SERVER_ADDRESS_H

#include <stdbool.h>

#define ADDRESS_NAME_MAX 128
#define ADDRESS_WHY_MAX  (ADDRESS_NAME_MAX + 64)

/* "host", "host:port", "[v6]:port", "v6", "*": splits in place. The host is returned, without brackets; *port becomes what
 * follows, stays as it is when nothing does, and is -1 when that is no port. */
char *address_split(char *text, int *port);
/* The same where the port has to be there, and may be alone: "8080", ":8080". The host is empty then. */
char *address_split_port(char *text, int *port);
/* Whether these are what --listen and --http take, as far as their text says. False: told. */
bool address_check_listen(const char *list);
bool address_check_http(const char *text);
/* Stream sockets bound to all addresses of a host (NULL = any address), not blocking, closed on exec, for the caller to close;
 * an IPv6 one takes no IPv4. *port 0 becomes the port that was given out. How many, at most max; 0: the machine has none of
 * them; -1: one of them cannot be had, and none is bound. Below 1 errno is set and ret_why says which and why. */
int address_bind_host(const char *host, int *port, int *fds, unsigned max, char ret_why[ADDRESS_WHY_MAX]);
/* The same for 127.0.0.1 and, where the machine has it, ::1, on one port. -1 also when there is no 127.0.0.1. */
int address_bind_loopback(int *port, int *fds, unsigned max, char ret_why[ADDRESS_WHY_MAX]);
/* The port of a bound socket; 0 when it has none. */
int address_port(int fd);
/* "127.0.0.1 port 80", of a bound socket, for messages. */
void address_name(int fd, char ret_name[ADDRESS_NAME_MAX]);

#endif
