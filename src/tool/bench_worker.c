/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_worker: see bench_worker.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <unistd.h>
#include "base/msg.h"
#include "tool/bench_stop.h"
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
    struct bench_worker *w, unsigned index, const struct client_address *address, unsigned n, int stop)
{
	struct epoll_event stopping = {.events = EPOLLIN};
	w->index = index;
	w->n_conns = 0;
	w->n_idle = 0;
	w->conns = calloc(n, sizeof(struct bench_conn *));
	w->idle = calloc(n, sizeof(struct bench_conn *));
	w->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (!w->conns || !w->idle || w->epoll < 0 ||
	    epoll_ctl(w->epoll, EPOLL_CTL_ADD, stop, &stopping) != 0) {
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
	free(w->idle);
	if (w->epoll > 0)
		close(w->epoll);
}

struct turn {
	unsigned active; /* connections that wait for something */
	bool writing;    /* some connection waited for room to write once */
};

static void forget(struct bench_conn **list, unsigned *n, const struct bench_conn *c)
{
	for (unsigned i = 0; i < *n; i++) {
		if (list[i] == c)
			list[i] = list[--*n];
	}
}

static void drop(struct bench_worker *w, struct bench_conn *c)
{
	w->shared.result.lost++;
	epoll_ctl(w->epoll, EPOLL_CTL_DEL, bench_conn_fd(c), NULL);
	forget(w->conns, &w->n_conns, c);
	forget(w->idle, &w->n_idle, c);
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
		return;
	}
	if (state == BENCH_IDLE && was_active)
		w->idle[w->n_idle++] = c;
	if (want || t->writing) {
		/* Rare: only batches larger than the socket's buffers come here. */
		struct epoll_event event = {.events = EPOLLIN | (want ? EPOLLOUT : 0u), .data.ptr = c};
		epoll_ctl(w->epoll, EPOLL_CTL_MOD, bench_conn_fd(c), &event);
		t->writing = true;
	}
}

/* Hands what is due to idle connections. The time of the next request that is to come, UINT64_MAX = none. */
static uint64_t hand_out(struct bench_worker *w, struct turn *t)
{
	while (w->n_idle > 0) {
		uint64_t due = bench_load_next_due(w->shared.load), now = bench_conn_now();
		if (due >= w->shared.deadline || now >= w->shared.deadline)
			return UINT64_MAX;
		if (due > now)
			return due;
		struct bench_conn *c = w->idle[w->n_idle - 1];
		step(w, t, c, bench_conn_start);
		/* It is still idle when another thread was faster, and no longer there when it was lost. */
		if (w->n_idle > 0 && w->idle[w->n_idle - 1] == c && bench_conn_state(c) != BENCH_IDLE)
			w->n_idle--;
	}
	return UINT64_MAX;
}

/* Waits for sockets, or until a request is due. */
static int wait_events(struct bench_worker *w, uint64_t due, struct epoll_event *events)
{
	if (due == UINT64_MAX)
		return epoll_wait(w->epoll, events, EVENTS, -1);
	uint64_t now = bench_conn_now(), ns = due > now ? due - now : 0;
	struct timespec timeout = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
	return epoll_pwait2(w->epoll, events, EVENTS, &timeout, NULL);
}

/* The load ends now. Without a signal those that still wait do so for a server that has had its time. */
static void give_up(struct bench_worker *w)
{
	static const char why[] = "no answer long after the time was up";
	for (unsigned i = w->n_conns; i-- > 0 && !bench_stop_signalled();) {
		if (bench_conn_state(w->conns[i]) == BENCH_IDLE)
			continue;
		bench_conn_remember(&w->shared.result, why, "", 0);
		drop(w, w->conns[i]);
	}
}

/* Whether the load goes on behind these events. */
static bool take(struct bench_worker *w, struct turn *t, const struct epoll_event *events, int n)
{
	for (int i = 0; i < n; i++) {
		if (!events[i].data.ptr) {
			give_up(w);
			return false;
		}
		step(w, t, events[i].data.ptr, bench_conn_turn);
	}
	return true;
}

static void publish(struct bench_worker *w)
{
	const struct bench_result *r = &w->shared.result;
	atomic_store_explicit(&w->done, r->gets + r->sets, memory_order_relaxed);
	atomic_store_explicit(&w->gets, r->gets, memory_order_relaxed);
	atomic_store_explicit(&w->hits, r->hits, memory_order_relaxed);
}

static void *run(void *arg)
{
	struct bench_worker *w = arg;
	struct epoll_event events[EVENTS];
	struct turn t = {0, false};
	bool paced = bench_load_paced(w->shared.load);
	if (paced)
		prctl(
		    PR_SET_TIMERSLACK, 1); /* nanosecond: waits end when a request is due, not 50 us later */
	w->n_idle = 0;
	for (unsigned i = w->n_conns; i-- > 0;) {
		if (paced)
			w->idle[w->n_idle++] = w->conns[i];
		else
			step(w, &t, w->conns[i], bench_conn_start);
	}
	for (bool on = true; on;) {
		uint64_t due = paced ? hand_out(w, &t) : UINT64_MAX;
		if (t.active == 0 && due == UINT64_MAX)
			break;
		int n = wait_events(w, due, events);
		on = take(w, &t, events, n);
		publish(w);
	}
	atomic_store(&w->ended, true);
	return NULL;
}

bool bench_worker_start(struct bench_worker *w, unsigned batch, uint64_t deadline)
{
	w->shared.batch = batch;
	w->shared.deadline = deadline;
	publish(w);
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

bool bench_worker_join(struct bench_worker *w, uint64_t until)
{
	if (until == UINT64_MAX)
		return pthread_join(w->thread, NULL) == 0;
	const struct timespec at = {(time_t)(until / 1000000000u), (long)(until % 1000000000u)};
	return pthread_clockjoin_np(w->thread, NULL, CLOCK_MONOTONIC, &at) == 0;
}
