/* SPDX-License-Identifier: BSD-3-Clause */
/* address: addresses as options name them, and sockets that are bound to them. Any thread. */
#ifndef SERVER_ADDRESS_H
#define SERVER_ADDRESS_H

#include <netdb.h>

/* "host", "host:port", "[v6]:port", "v6", "*": splits in place. The host is returned, without brackets; *port becomes what
 * follows, stays as it is when nothing does, and is -1 when that is no port. */
char *address_split(char *text, int *port);
/* A stream socket bound there, not blocking, closed on exec; an IPv6 one takes no IPv4. -1 and errno. */
int address_bind(const struct addrinfo *ai);
/* The port of a bound socket; 0 when it has none. */
int address_port(int fd);

#endif
