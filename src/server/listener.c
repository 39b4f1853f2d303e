/* SPDX-License-Identifier: BSD-3-Clause */
/* listener: listening sockets, see listener.h. When descriptors run out, accepting pauses for a moment
 * instead of spinning on a socket that stays readable. */
#include "server/listener.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <event2/event.h>
#include "base/check.h"
#include "base/clock.h"
#include "base/msg.h"
#include "proto/reply.h"
#include "server/address.h"
#include "server/inherited.h"
#include "server/internal.h"
#include "server/worker.h"

#define LISTENER_MAGIC 0x4c495354u
#define ACCEPT_AT_ONCE 64 /* a turn, so that signals get theirs */
#define PAUSE_US       10000

struct bound {
	int fd;
	bool is_unix;
	char name[ADDRESS_NAME_MAX];
	struct event *event;
};

struct listener {
	uint32_t magic;
	struct server *server;
	struct bound bound[LISTENER_MAX];
	unsigned n;
	bool inherited; /* the sockets: they are the parent's */
	unsigned next_worker;
	struct event *resume;
	int64_t paused_us;
	char unix_path[108];
};

static enum server_status status_of(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM ? SERVER_SYSTEM
	                                                                                 : SERVER_UNAVAILABLE;
}

static enum server_status told(const char *option, const char *what, int error)
{
	msg(MSG_ERROR, "%s %s: %s", option, what, strerror(error));
	return status_of(error);
}

static struct bound *add(struct listener *l, int fd, bool is_unix, const char *name)
{
	struct bound *b = &l->bound[l->n++];
	*b = (struct bound){.fd = fd, .is_unix = is_unix};
	snprintf(b->name, sizeof b->name, "%s", name);
	return b;
}

/* What address_bind_host or _loopback came to. */
static enum server_status add_all(struct listener *l, const int *fds, int n, const char *why)
{
	if (n <= 0) {
		int error = errno;
		msg(MSG_ERROR, "--listen %s", why);
		return status_of(error);
	}
	for (int i = 0; i < n; i++) {
		char name[ADDRESS_NAME_MAX];
		address_name(fds[i], name);
		add(l, fds[i], false, name);
	}
	return SERVER_OK;
}

static enum server_status bind_list(struct listener *l, const char *list, int *ret_port)
{
	char why[ADDRESS_WHY_MAX];
	int fds[LISTENER_MAX];
	enum server_status status = SERVER_OK;

	if (!address_check_listen(list))
		return SERVER_USAGE;
	char *copy = strdup(list), *rest = copy, *text;
	if (!copy)
		return told("--listen", list, ENOMEM);
	/* An empty one, as behind the last comma, is no address: above all it is not any address. */
	while (status == SERVER_OK && (text = strsep(&rest, ",")) != NULL) {
		int port = *ret_port;
		if (*text == 0)
			continue;
		const char *host = address_split(text, &port);
		const char *name = strcmp(host, "*") == 0 ? NULL : host;
		int n = address_bind_host(name, &port, fds, LISTENER_MAX - l->n, why);
		status = add_all(l, fds, n, why);
		if (*ret_port == 0)
			*ret_port = port;
	}
	free(copy);
	return status;
}

static enum server_status bind_loopback(struct listener *l, int *ret_port)
{
	int fds[LISTENER_MAX];
	char why[ADDRESS_WHY_MAX];
	return add_all(l, fds, address_bind_loopback(ret_port, fds, LISTENER_MAX, why), why);
}

static enum server_status bind_unix(struct listener *l, const char *path, unsigned mask)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct stat st;
	int on = 1;

	if (strlen(path) >= sizeof un.sun_path)
		return told("--unix-socket", path, ENAMETOOLONG);
	memcpy(un.sun_path, path, strlen(path) + 1);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return told("--unix-socket", path, errno);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	/* A socket left by a daemon that is gone is in the way; one that answers belongs to another. */
	if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode)) {
		if (connect(fd, (struct sockaddr *)&un, sizeof un) == 0 || errno == EAGAIN) {
			close(fd);
			return told("--unix-socket", path, EADDRINUSE);
		}
		unlink(path);
	}
	mode_t old = umask(~mask & 0777);
	int r = bind(fd, (struct sockaddr *)&un, sizeof un);
	int error = errno;
	umask(old);
	if (r != 0) {
		close(fd);
		return told("--unix-socket", path, error);
	}
	add(l, fd, true, path);
	memcpy(l->unix_path, path, strlen(path) + 1);
	return SERVER_OK;
}

/* Sockets of a parent take the place of all that the options name. */
static enum server_status take_inherited(struct listener *l, unsigned n, int *ret_port)
{
	*ret_port = 0;
	l->inherited = true;
	for (unsigned i = 0; i < n; i++) {
		char name[64];
		bool is_unix;
		int fd = inherited_take(i, &is_unix);
		if (fd < 0)
			return SERVER_UNAVAILABLE;
		snprintf(name, sizeof name, "LISTEN_FDS descriptor %d", fd);
		add(l, fd, is_unix, name);
		if (!is_unix && *ret_port == 0)
			*ret_port = address_port(fd);
	}
	return SERVER_OK;
}

enum server_status listener_bind(struct listener **ret_l, struct server *s, int *ret_port)
{
	const struct server_options *o = &s->options;
	struct listener *l = calloc(1, sizeof *l);
	enum server_status status;

	*ret_l = l;
	if (!l)
		return told("--listen", "memory", ENOMEM);
	l->magic = LISTENER_MAGIC;
	l->server = s;
	*ret_port = o->port;
	int inherited = inherited_count(LISTENER_MAX);
	if (inherited < 0)
		return SERVER_UNAVAILABLE;
	if (inherited > 0) {
		status = take_inherited(l, (unsigned)inherited, ret_port);
	} else if (o->unix_path) {
		*ret_port = 0;
		status = bind_unix(l, o->unix_path, o->unix_mask);
	} else if (o->listen) {
		status = bind_list(l, o->listen, ret_port);
	} else {
		status = bind_loopback(l, ret_port);
	}
	return status;
}

void listener_chown(struct listener *l, uid_t uid, gid_t gid)
{
	if (l->unix_path[0] && lchown(l->unix_path, uid, gid) != 0)
		msg(MSG_WARN, "--unix-socket %s: %s", l->unix_path, strerror(errno));
}

static void refuse(int fd)
{
	uint8_t text[REPLY_TEXT_MAX];
	size_t len = reply_text(text, REPLY_TOO_MANY);
	ssize_t n = send(fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	(void)n;
	close(fd);
}

static void set_accepting(struct listener *l, bool on)
{
	for (unsigned i = 0; i < l->n; i++) {
		if (l->bound[i].event && on)
			event_add(l->bound[i].event, NULL);
		else if (l->bound[i].event)
			event_del(l->bound[i].event);
	}
	__atomic_store_n(&l->server->accepting, on, __ATOMIC_RELAXED);
}

static void count(uint64_t *v, uint64_t n)
{
	__atomic_add_fetch(v, n, __ATOMIC_RELAXED);
}

/* No descriptors, or (without maxconns_fast) no place: nobody is accepted for a moment. */
static void pause_accepting(struct listener *l)
{
	struct timeval tv = {.tv_usec = PAUSE_US};
	set_accepting(l, false);
	count(&l->server->listen_disabled, 1);
	l->paused_us = clock_mono_us();
	event_add(l->resume, &tv);
}

static void on_resume(evutil_socket_t fd, short what, void *arg)
{
	struct listener *l = arg;
	(void)fd;
	(void)what;
	count(&l->server->listen_disabled_us, (uint64_t)(clock_mono_us() - l->paused_us));
	set_accepting(l, true);
}

static void admit(struct listener *l, int fd, bool is_unix)
{
	struct server *s = l->server;
	count(&s->total_conns, 1);
	__atomic_add_fetch(&s->curr_conns, 1, __ATOMIC_RELAXED);
	worker_hand_over(&s->workers[l->next_worker], fd, is_unix);
	l->next_worker = (l->next_worker + 1) % s->n_workers;
}

static void on_arrival(evutil_socket_t listen_fd, short what, void *arg)
{
	struct listener *l = arg;
	struct server *s = l->server;
	bool is_unix = false;

	(void)what;
	CHECK_MAGIC(l, LISTENER_MAGIC);
	for (unsigned i = 0; i < l->n; i++)
		is_unix |= l->bound[i].fd == listen_fd && l->bound[i].is_unix;
	for (int i = 0; i < ACCEPT_AT_ONCE; i++) {
		bool full = __atomic_load_n(&s->curr_conns, __ATOMIC_RELAXED) >= s->options.max_conns;
		if (full && !s->options.maxconns_fast) {
			pause_accepting(l);
			return;
		}
		int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0) {
			if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
				pause_accepting(l);
			if (errno == EINTR || errno == ECONNABORTED)
				continue;
			return;
		}
		if (full) {
			count(&s->rejected_conns, 1);
			refuse(fd);
		} else {
			admit(l, fd, is_unix);
		}
	}
}

enum server_status listener_listen(struct listener *l)
{
	struct server *s = l->server;

	CHECK_MAGIC(l, LISTENER_MAGIC);
	l->resume = evtimer_new(s->base, on_resume, l);
	if (!l->resume)
		return told("--listen", "events", ENOMEM);
	for (unsigned i = 0; i < l->n; i++) {
		struct bound *b = &l->bound[i];
		if (listen(b->fd, (int)s->options.backlog) != 0)
			return told(b->is_unix ? "--unix-socket" : "--listen", b->name, errno);
		b->event = event_new(s->base, b->fd, EV_READ | EV_PERSIST, on_arrival, l);
		if (!b->event)
			return told("--listen", "events", ENOMEM);
	}
	set_accepting(l, true);
	return SERVER_OK;
}

void listener_set_backlog(struct listener *l)
{
	for (unsigned i = 0; i < l->n; i++) {
		struct bound *b = &l->bound[i];
		if (b->event && listen(b->fd, (int)l->server->options.backlog) != 0)
			msg(MSG_WARN, "--listen-backlog: %s: %s", b->name, strerror(errno));
	}
}

unsigned listener_fds(const struct listener *l, int *fds, unsigned max)
{
	unsigned n = 0;
	for (; n < l->n && n < max; n++)
		fds[n] = l->bound[n].fd;
	return n;
}

void listener_stop(struct listener *l)
{
	set_accepting(l, false);
	if (l->resume)
		event_del(l->resume);
	/* Who comes now is refused at once, while the last changes are still on their way to the disk. With a parent's sockets
	 * he waits for the next daemon. */
	for (unsigned i = 0; !l->inherited && i < l->n; i++)
		shutdown(l->bound[i].fd, SHUT_RDWR);
}

void listener_close(struct listener **listener)
{
	struct listener *l = *listener;
	*listener = NULL;
	if (!l)
		return;
	CHECK_MAGIC(l, LISTENER_MAGIC);
	for (unsigned i = 0; i < l->n; i++) {
		if (l->bound[i].event)
			event_free(l->bound[i].event);
		close(l->bound[i].fd);
	}
	if (l->resume)
		event_free(l->resume);
	if (l->unix_path[0])
		unlink(l->unix_path);
	l->magic = 0;
	free(l);
}
