/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_worker: see bench_worker.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include "base/msg.h"
#include "tool/bench_worker.h"

#define EVENTS 256

static bool connect_one(struct bench_worker *w, const struct client_address *address)
{
	int fd = client_connect(address);
	if (fd < 0) {
		msg(MSG_ERROR, "%s: %s", address->text, strerror(errno));
		return false;
	}
	struct bench_conn *c = bench_conn_open(fd, &w->shared);
	if (!c) {
		close(fd);
		msg(MSG_ERROR, "memory is short");
		return false;
	}
	w->conns[w->n_conns++] = c;
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
	if (epoll_ctl(w->epoll, EPOLL_CTL_ADD, fd, &event) == 0)
		return true;
	msg(MSG_ERROR, "epoll: %s", strerror(errno));
	return false;
}

bool bench_worker_open(
    struct bench_worker *w, unsigned index, const struct client_address *address, unsigned n)
{
	w->index = index;
	w->n_conns = 0;
	w->conns = calloc(n, sizeof(struct bench_conn *));
	w->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (!w->conns || w->epoll < 0) {
		msg(MSG_ERROR, "a thread cannot be set up: %s", strerror(errno));
		return false;
	}
	for (unsigned i = 0; i < n; i++) {
		if (!connect_one(w, address))
			return false;
	}
	return true;
}

void bench_worker_close(struct bench_worker *w)
{
	for (unsigned i = 0; i < w->n_conns; i++)
		bench_conn_close(&w->conns[i]);
	free(w->conns);
	if (w->epoll > 0)
		close(w->epoll);
}

struct turn {
	unsigned active; /* connections that wait for something */
	bool writing;    /* some connection waited for room to write once */
};

static void drop(struct bench_worker *w, struct bench_conn *c)
{
	w->shared.result.lost++;
	epoll_ctl(w->epoll, EPOLL_CTL_DEL, bench_conn_fd(c), NULL);
	for (unsigned i = 0; i < w->n_conns; i++) {
		if (w->conns[i] == c)
			w->conns[i] = w->conns[--w->n_conns];
	}
	bench_conn_close(&c);
}

/* Goes on with a connection and follows its state. */
static void step(
    struct bench_worker *w, struct turn *t, struct bench_conn *c, enum bench_state go(struct bench_conn *))
{
	bool was_active = bench_conn_state(c) != BENCH_IDLE;
	enum bench_state state = go(c);
	bool want = state == BENCH_WRITE;
	t->active += (state == BENCH_READ || want) - was_active;
	if (state == BENCH_LOST) {
		drop(w, c);
	} else if (want || t->writing) {
		/* Rare: only batches larger than the socket's buffers come here. */
		struct epoll_event event = {.events = EPOLLIN | (want ? EPOLLOUT : 0u), .data.ptr = c};
		epoll_ctl(w->epoll, EPOLL_CTL_MOD, bench_conn_fd(c), &event);
		t->writing = true;
	}
}

static void *run(void *arg)
{
	struct bench_worker *w = arg;
	struct epoll_event events[EVENTS];
	const struct bench_result *r = &w->shared.result;
	struct turn t = {0, false};
	for (unsigned i = w->n_conns; i-- > 0;)
		step(w, &t, w->conns[i], bench_conn_start);
	while (t.active > 0) {
		int n = epoll_wait(w->epoll, events, EVENTS, -1);
		for (int i = 0; i < n; i++)
			step(w, &t, events[i].data.ptr, bench_conn_turn);
		atomic_store_explicit(&w->done, r->gets + r->sets, memory_order_relaxed);
	}
	atomic_store(&w->ended, true);
	return NULL;
}

bool bench_worker_start(struct bench_worker *w, unsigned batch, uint64_t deadline)
{
	w->shared.batch = batch;
	w->shared.deadline = deadline;
	atomic_store(&w->ended, false);
	bench_source_init(&w->shared.source, w->shared.load, w->index);
	for (unsigned i = 0; i < w->n_conns; i++) {
		if (!bench_conn_room(w->conns[i], batch)) {
			msg(MSG_ERROR, "memory is short");
			return false;
		}
	}
	int err = pthread_create(&w->thread, NULL, run, w);
	if (err != 0)
		msg(MSG_ERROR, "a thread cannot be made: %s", strerror(err));
	return err == 0;
}

void bench_worker_join(struct bench_worker *w)
{
	pthread_join(w->thread, NULL);
}
