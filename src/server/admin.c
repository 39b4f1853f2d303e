/* SPDX-License-Identifier: BSD-3-Clause */
/* admin: the admin socket, see admin.h. A client that waits for a snapshot, a rotation or a drop is answered from the
 * main thread, which the thread that does it wakes: results wait in a list under a lock. A client that went
 * away in between is not found then. */
#include "server/admin.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <event2/event.h>
#include "base/buf.h"
#include "base/check.h"
#include "base/msg.h"
#include "engine/engine.h"
#include "server/dispatch.h"
#include "server/internal.h"
#include "server/sample.h"
#include "server/stats.h"

#define ADMIN_MAGIC  0x41444d4eu
#define LINE_LEN     640 /* a key in hexadecimal digits, and words */
#define CLIENTS_MAX  64
#define NAME_IN_PROC 64

struct client {
	struct admin *admin;
	uint64_t id; /* never used twice */
	int fd;
	bool waits; /* for a snapshot, a rotation or a drop */
	struct buf in, out;
	struct event *read_event, *write_event;
	TAILQ_ENTRY(client) list;
};

enum result_kind { RESULT_SNAPSHOT, RESULT_PIN, RESULT_ROTATION, RESULT_DROP };

/* The end of a snapshot, a pin, a rotation or a drop, on its way to the client that asked; of a drop how far it is, too. */
struct result {
	struct admin *admin;
	uint64_t client;
	enum result_kind kind;
	struct engine_dropped dropped;
	enum hearth_status status;
	uint64_t number, items, bytes; /* of a snapshot */
	uint64_t last;                 /* of a rotation; number is the segment's */
	STAILQ_ENTRY(result) list;
};

struct admin {
	uint32_t magic;
	struct server *server;
	int fd, dirfd, wake_fd;
	struct event *arrival, *wake;
	TAILQ_HEAD(, client) clients;
	unsigned n_clients;
	uint64_t next_id;
	pthread_mutex_t lock; /* guards results */
	STAILQ_HEAD(, result) results;
};

static void drop(struct client *c)
{
	TAILQ_REMOVE(&c->admin->clients, c, list);
	c->admin->n_clients--;
	event_free(c->read_event);
	event_free(c->write_event);
	buf_free(&c->in);
	buf_free(&c->out);
	close(c->fd);
	free(c);
}

static void say(struct client *c, const char *text)
{
	buf_append(&c->out, text, strlen(text));
}

/* False: the client is gone. */
static bool flush(struct client *c)
{
	while (buf_len(&c->out) > 0) {
		ssize_t n =
		    send(c->fd, c->out.data + c->out.head, buf_len(&c->out), MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
			event_add(c->write_event, NULL);
			return true;
		}
		if (n < 0) {
			drop(c);
			return false;
		}
		buf_consume(&c->out, (size_t)n);
	}
	buf_clear(&c->out);
	return true;
}

/* From whichever thread has it. */
static void deliver(struct result *r)
{
	struct admin *a = r->admin;
	uint64_t one = 1;

	pthread_mutex_lock(&a->lock);
	STAILQ_INSERT_TAIL(&a->results, r, list);
	ssize_t n = write(a->wake_fd, &one, sizeof one);
	pthread_mutex_unlock(&a->lock);
	(void)n;
}

/* From the snapshot's thread. */
static void snapshot_done(
    void *arg, enum hearth_status status, uint64_t number, uint64_t items, uint64_t bytes)
{
	struct result *r = arg;

	r->status = status;
	r->number = number;
	r->items = items;
	r->bytes = bytes;
	deliver(r);
}

static void tell_snapshot(struct client *c, const struct result *r)
{
	char text[160], name[DATADIR_NAME_SIZE];
	if (r->status == HEARTH_OK) {
		snprintf(name, sizeof name, "snapshot-%010" PRIu64, r->number);
		snprintf(text, sizeof text, "OK %s %" PRIu64 " %" PRIu64 "\n", name, r->items, r->bytes);
	} else {
		snprintf(text, sizeof text, "ERROR snapshot failed: %s\n", hearth_status_text(r->status));
	}
	say(c, text);
}

static void tell_pin(struct client *c, const struct result *r)
{
	say(c, r->status == HEARTH_OK     ? "OK\n"
	       : r->status == HEARTH_END  ? "ERROR no such snapshot\n"
	       : r->status == HEARTH_BUSY ? "ERROR stopping\n"
	                                  : "ERROR the manifest cannot be written\n");
}

static void tell_rotation(struct client *c, const struct result *r)
{
	char text[160];
	if (r->status == HEARTH_OK)
		snprintf(text, sizeof text, "OK log-%010" PRIu64 " %" PRIu64 "\n", r->number, r->last);
	else
		snprintf(text, sizeof text, "ERROR %s\n",
		    r->status == HEARTH_BUSY ? "stopping" : "the log cannot begin a new segment");
	say(c, text);
}

/* A result to be, for this client; NULL after an answer that says why not. */
static struct result *promise(struct client *c)
{
	struct result *r = NULL;

	if (__atomic_load_n(&c->admin->server->loading, __ATOMIC_RELAXED)) {
		say(c, "ERROR loading\n");
		return NULL;
	}
	r = calloc(1, sizeof *r);
	if (!r) {
		say(c, "ERROR out of memory\n");
		return NULL;
	}
	r->admin = c->admin;
	r->client = c->id;
	return r;
}

/* From the rotation's thread. */
static void rotation_done(void *arg, enum hearth_status status, uint64_t segment, uint64_t last)
{
	struct result *r = arg;

	r->status = status;
	r->number = segment;
	r->last = last;
	deliver(r);
}

static void ask_rotation(struct client *c)
{
	struct result *r = promise(c);

	if (!r)
		return;
	r->kind = RESULT_ROTATION;
	enum hearth_status status = engine_rotate(c->admin->server->engine, rotation_done, r);
	if (status == HEARTH_OK) {
		c->waits = true;
		return;
	}
	free(r);
	say(c, status == HEARTH_BUSY  ? "ERROR a rotation is under way\n"
	       : status == HEARTH_END ? "ERROR no data directory\n"
	                              : "ERROR no thread for it\n");
}

/* From the drop's thread. What the client waits for was made when it asked; a line in between is left out without memory. */
static void drop_told(void *arg, const struct engine_dropped *state)
{
	struct result *r = arg;

	if (!state->ended) {
		struct result *end = r;
		if (!(r = malloc(sizeof *r)))
			return;
		*r = *end;
	}
	r->dropped = *state;
	deliver(r);
}

static void tell_drop(struct client *c, const struct result *r)
{
	const struct engine_dropped *d = &r->dropped;
	char text[400], name[DATADIR_NAME_SIZE] = "-";

	if (d->snapshot)
		datadir_name(DATADIR_SNAPSHOT, d->snapshot, name);
	if (!d->ended)
		snprintf(text, sizeof text, "PROGRESS %u %" PRIu64 " %s\n", d->permille, d->items,
		    d->writing ? "snapshot" : "keys");
	else if (d->note[0])
		snprintf(text, sizeof text, "ERROR %s (%" PRIu64 " items deleted)\n", d->note, d->items);
	else
		snprintf(text, sizeof text, "OK %" PRIu64 " %" PRIu64 " %s\n", d->items, d->bytes, name);
	say(c, text);
}

/* "PREFIX [dry | purge]", the prefix in hexadecimal digits. */
static bool parse_drop(const char *text, uint8_t prefix[STORE_KEY_MAX], struct engine_drop_order *ret)
{
	size_t digits = strspn(text, "0123456789abcdef");
	unsigned byte;

	*ret = (struct engine_drop_order){.prefix = prefix, .len = digits / 2};
	if (digits == 0 || digits % 2 || digits / 2 > STORE_KEY_MAX)
		return false;
	for (size_t i = 0; i < ret->len; i++) {
		if (sscanf(text + 2 * i, "%2x", &byte) != 1)
			return false;
		prefix[i] = (uint8_t)byte;
	}
	text += digits;
	ret->dry = strcmp(text, " dry") == 0;
	ret->purge = strcmp(text, " purge") == 0;
	return !*text || ret->dry || ret->purge;
}

static void ask_drop(struct client *c, const char *text)
{
	uint8_t prefix[STORE_KEY_MAX];
	struct engine_drop_order order;
	struct result *r;

	if (!parse_drop(text, prefix, &order)) {
		say(c, "ERROR not a prefix of 1 to 250 bytes\n");
		return;
	}
	if (!(r = promise(c)))
		return;
	r->kind = RESULT_DROP;
	enum hearth_status status = engine_drop(c->admin->server->engine, &order, drop_told, r);
	if (status == HEARTH_OK) {
		c->waits = true;
		return;
	}
	free(r);
	say(c, status == HEARTH_BUSY  ? "ERROR a drop is under way\n"
	       : status == HEARTH_END ? "ERROR no data directory\n"
	       : status == HEARTH_IO
	           ? "ERROR nothing is dropped: the disk fails or is full, and no deletion would last\n"
	           : "ERROR no thread for it\n");
}

static void ask_snapshot(struct client *c)
{
	struct server *s = c->admin->server;
	struct result *r = promise(c);

	if (!r)
		return;
	enum hearth_status status = engine_snapshot(s->engine, snapshot_done, r);
	/* BUSY: one runs; ours is queued behind it and its end is told as well. */
	if (status == HEARTH_OK || status == HEARTH_BUSY) {
		c->waits = true;
		return;
	}
	free(r);
	say(c, status == HEARTH_END ? "ERROR no data directory\n" : "ERROR snapshot could not start\n");
}

static void ask_pin(struct client *c, const char *number, bool pin)
{
	char *end;
	unsigned long long n = strtoull(number, &end, 10);
	struct result *r;

	if (*number < '0' || *number > '9' || *end || n == 0) {
		say(c, "ERROR not the number of a snapshot\n");
		return;
	}
	if (!(r = promise(c)))
		return;
	r->kind = RESULT_PIN;
	c->waits = engine_pin(c->admin->server->engine, n, pin, snapshot_done, r) == HEARTH_OK;
	if (!c->waits) {
		free(r);
		say(c, "ERROR out of memory\n");
	}
}

/* "set NAME VALUE"; alone it lists what can be set. */
static void change(struct client *c, char *words)
{
	const struct server_hooks *h = &c->admin->server->hooks;
	char why[SERVER_WHY_MAX], *value = strchr(words, ' ');
	if (!*words) {
		char *list = h->changeable ? h->changeable(h->arg) : NULL;
		say(c, list ? list : "ERROR out of memory\n");
		say(c, list ? "END\r\n" : "");
		free(list);
		return;
	}
	if (value)
		*value++ = 0;
	if (value && h->change && h->change(h->arg, words, value, why)) {
		say(c, "OK\n");
		return;
	}
	say(c, "ERROR ");
	say(c, !value ? "a name and a value are wanted" : why);
	say(c, "\n");
}

static void show_hotkeys(struct client *c, const char *seconds)
{
	struct server *s = c->admin->server;
	char *end;
	unsigned long n = strtoul(seconds, &end, 10);

	if (__atomic_load_n(&s->loading, __ATOMIC_RELAXED))
		say(c, "ERROR loading\n");
	else if (*seconds < '0' || *seconds > '9' || *end || n > SAMPLE_SECONDS_MAX)
		say(c, "ERROR not a number of seconds\n");
	else if (!sample_switch(s, (unsigned)n) || !sample_print(s, &c->out))
		say(c, "ERROR out of memory\n");
	else
		say(c, "END\r\n");
}

static void run_line(struct client *c, char *text)
{
	struct server *s = c->admin->server;
	if (strcmp(text, "stats") == 0) {
		if (!stats_print(s, STATS_PERSIST, NULL, &c->out) ||
		    !stats_print(s, STATS_GENERAL, NULL, &c->out) ||
		    !stats_print(s, STATS_LATENCY, NULL, &c->out))
			say(c, "ERROR out of memory\n");
		else
			say(c, "END\r\n");
	} else if (strncmp(text, "hotkeys ", 8) == 0) {
		show_hotkeys(c, text + 8);
	} else if (strcmp(text, "snapshot") == 0) {
		ask_snapshot(c);
	} else if (strcmp(text, "rotate") == 0) {
		ask_rotation(c);
	} else if (strncmp(text, "drop ", 5) == 0) {
		ask_drop(c, text + 5);
	} else if (strncmp(text, "pin ", 4) == 0) {
		ask_pin(c, text + 4, true);
	} else if (strncmp(text, "unpin ", 6) == 0) {
		ask_pin(c, text + 6, false);
	} else if (strcmp(text, "set") == 0) {
		change(c, text + 3);
	} else if (strncmp(text, "set ", 4) == 0) {
		change(c, text + 4);
	} else if (strcmp(text, "version") == 0) {
		say(c, "VERSION " HEARTH_VERSION " ");
		say(c, dispatch_protocol());
		say(c, "\n");
	} else {
		say(c, "ERROR unknown command\n");
	}
}

/* Whole lines, one after the other; a client that waits gets its answer before its next line is looked at. */
static bool run_lines(struct client *c)
{
	while (!c->waits) {
		char *start = (char *)c->in.data + c->in.head;
		char *end = buf_len(&c->in) > 0 ? memchr(start, '\n', buf_len(&c->in)) : NULL;
		char text[LINE_LEN];
		if (!end)
			break;
		size_t len = (size_t)(end - start), used = len + 1;
		if (len > 0 && start[len - 1] == '\r')
			len--;
		if (len >= sizeof text)
			break;
		memcpy(text, start, len);
		text[len] = 0;
		buf_consume(&c->in, used);
		run_line(c, text);
	}
	if (buf_len(&c->in) >= LINE_LEN) {
		drop(c);
		return false;
	}
	return flush(c);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct client *c = arg;
	(void)what;
	CHECK_MAGIC(c->admin, ADMIN_MAGIC);
	if (!buf_reserve(&c->in, LINE_LEN)) {
		drop(c);
		return;
	}
	ssize_t n = read(fd, c->in.data + c->in.tail, LINE_LEN);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		drop(c);
		return;
	}
	c->in.tail += (size_t)n;
	run_lines(c);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	flush(arg);
}

static void tell_result(struct client *c, const struct result *r)
{
	c->waits = r->kind == RESULT_DROP && !r->dropped.ended;
	switch (r->kind) {
	case RESULT_SNAPSHOT:
		tell_snapshot(c, r);
		break;
	case RESULT_PIN:
		tell_pin(c, r);
		break;
	case RESULT_ROTATION:
		tell_rotation(c, r);
		break;
	case RESULT_DROP:
		tell_drop(c, r);
		break;
	}
	run_lines(c);
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
	struct admin *a = arg;
	struct client *c;
	struct result *r;
	uint64_t count;

	(void)what;
	ssize_t n = read(fd, &count, sizeof count);
	(void)n;
	for (;;) {
		pthread_mutex_lock(&a->lock);
		r = STAILQ_FIRST(&a->results);
		if (r)
			STAILQ_REMOVE_HEAD(&a->results, list);
		pthread_mutex_unlock(&a->lock);
		if (!r)
			return;
		TAILQ_FOREACH(c, &a->clients, list)
		{
			if (c->id == r->client) {
				tell_result(c, r);
				break;
			}
		}
		free(r);
	}
}

static void on_arrival(evutil_socket_t listen_fd, short what, void *arg)
{
	struct admin *a = arg;
	int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct client *c;

	(void)what;
	if (fd < 0)
		return;
	c = a->n_clients < CLIENTS_MAX ? calloc(1, sizeof *c) : NULL;
	if (c) {
		c->read_event = event_new(a->server->base, fd, EV_READ | EV_PERSIST, on_readable, c);
		c->write_event = event_new(a->server->base, fd, EV_WRITE, on_writable, c);
	}
	if (!c || !c->read_event || !c->write_event) {
		if (c && c->read_event)
			event_free(c->read_event);
		if (c && c->write_event)
			event_free(c->write_event);
		free(c);
		close(fd);
		return;
	}
	c->admin = a;
	c->fd = fd;
	c->id = ++a->next_id;
	TAILQ_INSERT_TAIL(&a->clients, c, list);
	a->n_clients++;
	event_add(c->read_event, NULL);
}

/* Bound by way of /proc, as the path of a directory may be longer than an address holds. */
static int bind_in(int dirfd)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	char path[NAME_IN_PROC];
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	if (unlinkat(dirfd, DATADIR_ADMIN, 0) != 0 && errno != ENOENT)
		goto fail;
	snprintf(path, sizeof path, "/proc/self/fd/%d/%s", dirfd, DATADIR_ADMIN);
	memcpy(un.sun_path, path, strlen(path) + 1);
	mode_t old = umask(0177);
	int r = bind(fd, (struct sockaddr *)&un, sizeof un);
	int error = errno;
	umask(old);
	errno = error;
	if (r == 0 && listen(fd, CLIENTS_MAX) == 0)
		return fd;
fail:
	error = errno;
	close(fd);
	errno = error;
	return -1;
}

enum server_status admin_open(struct admin **ret_admin, struct server *s, int dirfd, const char *path)
{
	struct admin *a = calloc(1, sizeof *a);

	*ret_admin = a;
	if (!a)
		goto fail;
	*a = (struct admin){.magic = ADMIN_MAGIC, .server = s, .fd = -1, .wake_fd = -1};
	TAILQ_INIT(&a->clients);
	STAILQ_INIT(&a->results);
	pthread_mutex_init(&a->lock, NULL);
	a->dirfd = fcntl(dirfd, F_DUPFD_CLOEXEC, 0);
	if (a->dirfd < 0)
		goto fail;
	a->fd = bind_in(a->dirfd);
	a->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (a->fd < 0 || a->wake_fd < 0)
		goto fail;
	a->arrival = event_new(s->base, a->fd, EV_READ | EV_PERSIST, on_arrival, a);
	a->wake = event_new(s->base, a->wake_fd, EV_READ | EV_PERSIST, on_wake, a);
	if (!a->arrival || !a->wake || event_add(a->arrival, NULL) != 0 || event_add(a->wake, NULL) != 0)
		goto fail;
	return SERVER_OK;
fail:
	msg(MSG_ERROR, "%s/%s: %s", path, DATADIR_ADMIN, strerror(errno));
	return SERVER_IO;
}

void admin_close(struct admin **admin)
{
	struct admin *a = *admin;
	struct result *r;

	*admin = NULL;
	if (!a)
		return;
	CHECK_MAGIC(a, ADMIN_MAGIC);
	while (!TAILQ_EMPTY(&a->clients))
		drop(TAILQ_FIRST(&a->clients));
	while ((r = STAILQ_FIRST(&a->results)) != NULL) {
		STAILQ_REMOVE_HEAD(&a->results, list);
		free(r);
	}
	if (a->arrival)
		event_free(a->arrival);
	if (a->wake)
		event_free(a->wake);
	if (a->fd >= 0) {
		unlinkat(a->dirfd, DATADIR_ADMIN, 0);
		close(a->fd);
	}
	if (a->wake_fd >= 0)
		close(a->wake_fd);
	if (a->dirfd >= 0)
		close(a->dirfd);
	pthread_mutex_destroy(&a->lock);
	a->magic = 0;
	free(a);
}
