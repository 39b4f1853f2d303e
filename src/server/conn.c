/* SPDX-License-Identifier: BSD-3-Clause */
/* conn: connections, see conn.h. One read a turn, then all that is buffered is executed, then one write. The
 * buffers come from the worker's pool and go back as soon as they are empty, so an idle connection holds
 * none. */
#include "server/conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/check.h"
#include "engine/engine.h"
#include "server/counters.h"
#include "server/dispatch.h"
#include "server/internal.h"
#include "server/io.h"
#include "server/latency.h"
#include "server/worker.h"

static void listen_on(struct conn *c)
{
	if (!c->listening && !__atomic_load_n(&c->worker->stopping, __ATOMIC_RELAXED) &&
	    event_add(&c->read_event, NULL) == 0)
		c->listening = true;
}

void conn_silence(struct conn *c)
{
	if (c->listening)
		event_del(&c->read_event);
	c->listening = false;
}

static struct conn_queue *queue_of(struct conn *c)
{
	switch (c->state) {
	case CONN_READY:
		return &c->worker->ready;
	case CONN_PARKED:
		return &c->worker->parked;
	case CONN_WAITING:
		return &c->worker->waiting;
	default:
		return NULL;
	}
}

static void set_state(struct conn *c, enum conn_state state)
{
	if (c->state == state && queue_of(c))
		return;
	if (queue_of(c))
		TAILQ_REMOVE(queue_of(c), c, queue);
	if (c->state == CONN_SENDING)
		event_del(&c->write_event);
	__atomic_store_n(&c->state, (uint8_t)state, __ATOMIC_RELAXED);
	if (queue_of(c))
		TAILQ_INSERT_TAIL(queue_of(c), c, queue);
	if (state == CONN_SENDING)
		event_add(&c->write_event, NULL);
	if (state == CONN_READING)
		listen_on(c);
}

/* Room behind the tail. A full buffer grows: dispatch bounds what may collect in it. */
static bool make_room(struct conn *c)
{
	if (!c->in.data)
		return worker_get_chunk(c->worker, &c->in);
	if (buf_len(&c->in) == 0)
		buf_clear(&c->in);
	return buf_room(&c->in) >= CONN_READ_ROOM || buf_reserve(&c->in, CONN_READ_ROOM);
}

/* False: the connection is gone or broken. */
static bool fill(struct conn *c)
{
	struct iovec iov[2];
	int n = 0;

	if (!make_room(c))
		return false;
	if (c->into.left > 0)
		iov[n++] = (struct iovec){c->into.at, c->into.left};
	iov[n++] = (struct iovec){c->in.data + c->in.tail, buf_room(&c->in)};
	ssize_t got = io_read(c->fd, iov, n);
	if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return true;
	if (got < 0)
		c->leaving = CONN_ERROR;
	if (got <= 0)
		return false;
	counter_add(c->worker->counters, COUNTER_bytes_read, (uint64_t)got);
	size_t direct = (size_t)got < c->into.left ? (size_t)got : c->into.left;
	if (c->into.left > 0) {
		c->into.at += direct;
		c->into.left -= direct;
	}
	c->in.tail += (size_t)got - direct;
	return true;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = arg;
	(void)fd;
	(void)what;
	CHECK_MAGIC(c, CONN_MAGIC);
	/* Input while replies wait, which is rare: only then is the event taken off, and put back afterwards.
	 */
	if (c->state != CONN_READING) {
		conn_silence(c);
		return;
	}
	if (!fill(c)) {
		conn_close(c);
		return;
	}
	if (latency_due(c->worker))
		latency_begin(c);
	conn_run(c);
}

/* All output has left: on as the last verdict says. */
static void settle(struct conn *c)
{
	c->need = 0;
	worker_put_chunk(c->worker, &c->out.copied);
	switch ((enum conn_verdict)c->verdict) {
	case CONN_IDLE:
		__atomic_store_n(&c->partial, buf_len(&c->in) > 0 || c->into.left > 0, __ATOMIC_RELAXED);
		if (buf_len(&c->in) == 0)
			worker_put_chunk(c->worker, &c->in);
		set_state(c, CONN_READING);
		break;
	case CONN_AGAIN:
		set_state(c, CONN_READY);
		break;
	case CONN_WAIT:
		set_state(c, CONN_WAITING);
		break;
	case CONN_CLOSE:
		conn_close(c);
		break;
	}
}

static void send_out(struct conn *c)
{
	uint64_t bytes;
	enum out_result r = out_send(&c->out, c->fd, c->worker->engine, &bytes);
	counter_add(c->worker->counters, COUNTER_bytes_written, bytes);
	if (c->began && r != OUT_FAILED)
		latency_answered(c, r == OUT_SENT);
	if (r == OUT_SENT)
		settle(c);
	else if (r == OUT_BLOCKED)
		set_state(c, CONN_SENDING);
	else
		conn_close(c);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = arg;
	(void)fd;
	(void)what;
	CHECK_MAGIC(c, CONN_MAGIC);
	CHECK(c->state == CONN_SENDING);
	send_out(c);
}

static bool may_leave(const struct conn *c)
{
	return engine_ready(c->worker->server_engine, c->need);
}

/* Apart, so that other turns pay for nothing of it but the question. */
__attribute__((cold, noinline)) static void run_timed(struct conn *c)
{
	uint64_t counted[LATENCY_KINDS];
	latency_before(c->worker, counted);
	c->verdict = (uint8_t)dispatch_run(c);
	latency_ran(c, counted);
}

void conn_run(struct conn *c)
{
	CHECK_MAGIC(c, CONN_MAGIC);
	CHECK(out_empty(&c->out));
	if (c->state != CONN_READING)
		set_state(c, CONN_READING);
	if (c->began)
		run_timed(c);
	else
		c->verdict = (uint8_t)dispatch_run(c);
	__atomic_store_n(&c->last_command, engine_now(c->worker->engine), __ATOMIC_RELAXED);
	if (out_empty(&c->out)) {
		settle(c);
	} else if (may_leave(c)) {
		send_out(c);
	} else {
		counter_add(c->worker->counters, COUNTER_conns_parked, 1);
		set_state(c, CONN_PARKED);
	}
}

bool conn_idle_since(const struct conn *c, int64_t time)
{
	return __atomic_load_n(&c->state, __ATOMIC_RELAXED) == CONN_READING &&
	       __atomic_load_n(&c->last_command, __ATOMIC_RELAXED) <= time;
}

bool conn_retry(struct conn *c)
{
	CHECK_MAGIC(c, CONN_MAGIC);
	CHECK(c->state == CONN_PARKED);
	/* The log failed below what these replies say: they are thrown away, which is always honest. */
	if (engine_lost(c->worker->server_engine, c->need)) {
		conn_close(c);
		return true;
	}
	if (may_leave(c)) {
		send_out(c);
		return true;
	}
	/* What the replies say was never written: a closed connection says nothing false. */
	if (engine_lost(c->worker->server_engine, c->need)) {
		conn_close(c);
		return true;
	}
	return false;
}

struct conn *conn_open(struct worker *w, int fd, bool is_unix)
{
	struct conn *c = calloc(1, sizeof *c);
	if (!c)
		goto fail;
	c->magic = CONN_MAGIC;
	c->fd = fd;
	c->worker = w;
	c->identity = CONN_ANONYMOUS;
	c->is_unix = is_unix;
	engine_turn(w->engine); /* a worker that slept has an old time */
	c->last_command = engine_now(w->engine);
	c->state = CONN_READY;
	c->session = dispatch_open();
	if (!c->session)
		goto fail;
	if (event_assign(&c->read_event, w->base, fd, EV_READ | EV_PERSIST, on_readable, c) != 0 ||
	    event_assign(&c->write_event, w->base, fd, EV_WRITE | EV_PERSIST, on_writable, c) != 0)
		goto fail;
	c->state = CONN_READING;
	listen_on(c);
	if (!c->listening)
		goto fail;
	return c;
fail:
	if (c) {
		dispatch_close(c);
		free(c);
	}
	close(fd);
	return NULL;
}

bool conn_address(const struct sockaddr_storage *ss, char ret_ip[INET6_ADDRSTRLEN], unsigned *ret_port)
{
	const struct sockaddr_in *in = (const void *)ss;
	const struct sockaddr_in6 *in6 = (const void *)ss;
	if (ss->ss_family != AF_INET && ss->ss_family != AF_INET6)
		return false;
	bool six = ss->ss_family == AF_INET6;
	const void *ip = six ? (const void *)&in6->sin6_addr : (const void *)&in->sin_addr;
	*ret_port = ntohs(six ? in6->sin6_port : in->sin_port);
	return inet_ntop(ss->ss_family, ip, ret_ip, INET6_ADDRSTRLEN) != NULL;
}

void conn_tell(const struct conn *c, const char *event, const char *why)
{
	struct watch *w = c->worker->server->watch;
	struct sockaddr_storage ss = {0};
	socklen_t len = sizeof ss;
	char ip[INET6_ADDRSTRLEN];
	unsigned port = 0;
	if (!watch_wants(w, WATCH_CONNEVENTS))
		return;
	getpeername(c->fd, (struct sockaddr *)&ss, &len);
	if (!conn_address(&ss, ip, &port))
		snprintf(ip, sizeof ip, "unix");
	watch_tell(w, WATCH_CONNEVENTS, "type=%s rip=%s rport=%u transport=%s%s%s cfd=%d", event, ip, port,
	    c->is_unix ? "local" : "tcp", why ? " reason=" : "", why ? why : "", c->fd);
}

void conn_close(struct conn *c)
{
	static const char *const why[] = {"normal", "error", "idle_timeout", "shutdown"};
	CHECK_MAGIC(c, CONN_MAGIC);
	conn_tell(c, "conn_close", why[c->leaving]);
	set_state(c, CONN_READING);
	conn_silence(c);
	worker_forget(c->worker, c);
	dispatch_close(c);
	out_drop(&c->out, c->worker->engine);
	worker_put_chunk(c->worker, &c->out.copied);
	out_free(&c->out, c->worker->engine);
	buf_clear(&c->in);
	worker_put_chunk(c->worker, &c->in);
	close(c->fd);
	c->magic = 0;
	free(c);
}
