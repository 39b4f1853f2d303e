/* SPDX-License-Identifier: BSD-3-Clause */
/* floor: the least that a server of these bytes costs: one thread, epoll, a turn of one read(2) and one write(2). Requests
 * are known by their first letter and length, nothing is parsed or stored; a get is answered with its own key and a value
 * that is the same for all. make bench shows what it costs beside the servers that do the work.
 *
 *   floor -p PORT [-l ADDRESS] [-k KEY_SIZE] [-v VALUE_SIZE] [-u USER]
 *
 * -l and -u are there so that it can be started as memcached is; -u does nothing. Text protocol, get and set alone. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define EVENTS    256
#define IN_SIZE   (64u * 1024)
#define VALUE_MAX (16u * 1024) /* of a value: a request fits the input, many answers the output */
#define KEY_MAX   250u

static const char VERSION[] = "VERSION floor\r\n", STORED[] = "STORED\r\n";

/* Bytes of a request and of its answer. */
static struct {
	size_t key, get, set;
	char *hit; /* VALUE <key> 0 <size>\r\n<value>\r\nEND\r\n */
	size_t hit_len;
} shape;

/* What has been read and is no whole request yet waits here. */
struct conn {
	int fd;
	size_t n;
	char in[IN_SIZE];
};

static char *out;
static size_t out_size;

static void *must(void *p)
{
	if (!p) {
		fputs("floor: memory is short\n", stderr);
		exit(1);
	}
	return p;
}

static void fail(const char *what)
{
	fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void shape_of(size_t key, size_t value)
{
	char head[64];
	int digits = snprintf(head, sizeof(head), " 0 %zu\r\n", value);
	shape.key = key;
	shape.get = 4 + key + 2;
	shape.set = 4 + key + 2 + (size_t)digits + value + 2;
	shape.hit_len = 6 + key + (size_t)digits + value + 7;
	shape.hit = must(malloc(shape.hit_len));
	memcpy(shape.hit, "VALUE ", 6);
	memcpy(shape.hit + 6 + key, head, (size_t)digits);
	memset(shape.hit + 6 + key + digits, 'v', value);
	memcpy(shape.hit + shape.hit_len - 7, "\r\nEND\r\n", 7);
	/* As many answers as the shortest requests that one read brings. */
	out_size = IN_SIZE / shape.get * shape.hit_len + sizeof(VERSION);
	out = must(malloc(out_size));
}

/* One request of [at, end) and its answer: its length, 0 = not whole yet. */
static size_t answer(const char *at, const char *end, char **to)
{
	size_t left = (size_t)(end - at), len = *at == 'g' ? shape.get : shape.set;
	if (*at == 'v') {
		memcpy(*to, VERSION, sizeof(VERSION) - 1);
		*to += sizeof(VERSION) - 1;
		return left;
	}
	if (left < len)
		return 0;
	if (*at == 'g') {
		memcpy(*to, shape.hit, shape.hit_len);
		memcpy(*to + 6, at + 4, shape.key);
		*to += shape.hit_len;
	} else {
		memcpy(*to, STORED, sizeof(STORED) - 1);
		*to += sizeof(STORED) - 1;
	}
	return len;
}

static void close_conn(struct conn *c)
{
	close(c->fd);
	free(c);
}

/* A turn: what is there is read, answered and written. The load waits for all answers before it sends more, so they fit
 * the socket; whoever sends more than it reads is let go. */
static void turn(struct conn *c)
{
	ssize_t n = read(c->fd, c->in + c->n, IN_SIZE - c->n);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		close_conn(c);
		return;
	}
	char *at = c->in, *end = c->in + c->n + (size_t)n, *to = out;
	for (size_t len; at < end && (len = answer(at, end, &to)) > 0;)
		at += len;
	c->n = (size_t)(end - at);
	if (c->n > 0 && at > c->in)
		memmove(c->in, at, c->n);
	if (to > out && write(c->fd, out, (size_t)(to - out)) != to - out)
		close_conn(c);
}

static int listen_on(const char *address, unsigned port)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
	if (inet_pton(AF_INET, address, &in.sin_addr) != 1) {
		fprintf(stderr, "floor: %s: no address\n", address);
		exit(64);
	}
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
	    bind(fd, (struct sockaddr *)&in, sizeof(in)) != 0 || listen(fd, 1024) != 0)
		fail(address);
	return fd;
}

static void take(int epoll, int listener)
{
	int fd, one = 1;
	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct conn *c = must(calloc(1, sizeof(*c)));
		struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
		c->fd = fd;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0)
			fail("epoll");
	}
}

static void serve(int listener)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event events[EVENTS], event = {.events = EPOLLIN, .data.ptr = NULL};
	if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) != 0)
		fail("epoll");
	for (;;) {
		int n = epoll_wait(epoll, events, EVENTS, -1);
		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr)
				turn(events[i].data.ptr);
			else
				take(epoll, listener);
		}
	}
}

/* An option's number from least to most. */
static unsigned number(const char *text, unsigned least, unsigned most)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);
	if (*text == '\0' || *end != '\0' || n < least || n > most) {
		fprintf(stderr, "floor: %s: not a number from %u to %u\n", text, least, most);
		exit(64);
	}
	return (unsigned)n;
}

int main(int argc, char **argv)
{
	const char *address = "127.0.0.1";
	unsigned port = 0, key = 20, value = 100;
	int c;
	while ((c = getopt(argc, argv, "l:p:k:v:u:")) != -1) {
		if (c == 'l')
			address = optarg;
		else if (c == 'p')
			port = number(optarg, 1, 65535);
		else if (c == 'k')
			key = number(optarg, 1, KEY_MAX);
		else if (c == 'v')
			value = number(optarg, 0, VALUE_MAX);
		else if (c != 'u')
			return 64;
	}
	if (port == 0 || optind < argc) {
		fputs("usage: floor -p PORT [-l ADDRESS] [-k KEY_SIZE] [-v VALUE_SIZE]\n", stderr);
		return 64;
	}
	signal(SIGPIPE, SIG_IGN);
	shape_of(key, value);
	serve(listen_on(address, port));
}
