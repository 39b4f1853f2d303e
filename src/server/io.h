/* SPDX-License-Identifier: BSD-3-Clause */
/* io: the two calls through which connections read and write. Plain sockets today; TLS takes their place here
 * and nowhere else. Interrupted calls are repeated. -1 and errno on failure. */
#ifndef SERVER_IO_H
#define SERVER_IO_H

#include <errno.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static inline ssize_t io_read(int fd, struct iovec *iov, int n)
{
	ssize_t got;
	do {
		got = n == 1 ? read(fd, iov[0].iov_base, iov[0].iov_len) : readv(fd, iov, n);
	} while (got < 0 && errno == EINTR);
	return got;
}

static inline ssize_t io_write(int fd, struct iovec *iov, int n)
{
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = (size_t)n};
	ssize_t sent;
	do {
		/* A lone piece needs no list to be copied into the kernel. */
		sent = n == 1 ? send(fd, iov[0].iov_base, iov[0].iov_len, MSG_NOSIGNAL)
		              : sendmsg(fd, &msg, MSG_NOSIGNAL);
	} while (sent < 0 && errno == EINTR);
	return sent;
}

#endif
