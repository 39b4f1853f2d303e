/* SPDX-License-Identifier: BSD-3-Clause */
/* worker: threads that serve, see worker.h. How no wake-up is lost: the worker exchanges `listens` for true, then looks
 * once more whether replies may leave; whoever made progress publishes it, then exchanges `listens` for false. Of the
 * two exchanges one is the later: either it finds true and wakes, or the worker's sees what was published. */
#include "server/worker.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>
#include "base/check.h"
#include "base/clock.h"
#include "base/msg.h"
#include "base/nodump.h"
#include "base/schedule.h"
#include "engine/engine.h"
#include "server/dispatch.h"
#include "server/internal.h"
#include "server/latency.h"
#include "server/sample.h"

/* Turns of connections that the log may be woken for together. */
#define HELD_TURNS 64u
#define DRAIN_US   ((int64_t)5 * 1000000) /* how long replies may still wait for the log after TERM */

static void wake(struct worker *w)
{
	uint64_t one = 1;
	ssize_t n = write(w->wake_fd, &one, sizeof one);
	(void)n; /* a full counter wakes as well */
}

void worker_progress(struct worker *w)
{
	if (__atomic_exchange_n(&w->listens, false, __ATOMIC_ACQ_REL))
		wake(w);
}

void worker_tell(struct worker *w)
{
	wake(w);
}

void worker_ask(struct worker *w)
{
	__atomic_add_fetch(&w->asked, 1, __ATOMIC_RELAXED);
	wake(w);
}

bool worker_has_answered(const struct worker *w)
{
	return __atomic_load_n(&w->answered, __ATOMIC_RELAXED) ==
	       __atomic_load_n(&w->asked, __ATOMIC_RELAXED);
}

/* A line that is written only when somebody asks. */
static void answer(struct worker *w)
{
	unsigned asked = __atomic_load_n(&w->asked, __ATOMIC_RELAXED);
	if (asked != w->answered)
		__atomic_store_n(&w->answered, asked, __ATOMIC_RELAXED);
}

bool worker_get_chunk(struct worker *w, struct buf *b)
{
	CHECK(b->data == NULL);
	if (w->pooled > 0 && w->chunks_left > 0)
		*b = (struct buf){.data = w->pool[--w->pooled], .size = CONN_CHUNK};
	else if (w->chunks_left == 0 || !buf_open(b, CONN_CHUNK)) {
		counter_add(w->counters, COUNTER_read_buf_oom, 1);
		return false;
	}
	w->chunks_left--;
	counter_add(w->counters, COUNTER_read_buf_count, 1);
	return true;
}

void worker_put_chunk(struct worker *w, struct buf *b)
{
	if (!b->data)
		return;
	CHECK(buf_len(b) == 0);
	if (b->size == CONN_CHUNK && w->pooled < WORKER_POOL) {
		w->pool[w->pooled++] = b->data;
		*b = (struct buf){0};
	} else {
		buf_free(b);
	}
	w->chunks_left++;
	counter_add(w->counters, COUNTER_read_buf_count, (uint64_t)-1);
}

void worker_hand_over(struct worker *w, int fd, bool is_unix)
{
	bool taken = false;
	pthread_mutex_lock(&w->lock);
	if (w->n_arrivals == w->size_arrivals) {
		size_t size = w->size_arrivals ? 2 * w->size_arrivals : 16;
		struct worker_arrival *a = realloc(w->arrivals, size * sizeof *a);
		if (a) {
			w->arrivals = a;
			w->size_arrivals = size;
		}
	}
	if (w->n_arrivals < w->size_arrivals) {
		w->arrivals[w->n_arrivals++] = (struct worker_arrival){fd, is_unix};
		__atomic_store_n(&w->arrived, true, __ATOMIC_RELEASE);
		taken = true;
	}
	pthread_mutex_unlock(&w->lock);
	if (taken) {
		wake(w);
	} else {
		close(fd);
		server_count_close(w->server);
	}
}

static void take_arrivals(struct worker *w)
{
	struct worker_arrival *arrivals;
	size_t n;

	/* Most wake-ups are the log's. */
	if (!__atomic_load_n(&w->arrived, __ATOMIC_ACQUIRE))
		return;
	pthread_mutex_lock(&w->lock);
	__atomic_store_n(&w->arrived, false, __ATOMIC_RELAXED);
	arrivals = w->arrivals;
	n = w->n_arrivals;
	w->arrivals = NULL;
	w->n_arrivals = w->size_arrivals = 0;
	pthread_mutex_unlock(&w->lock);
	for (size_t i = 0; i < n; i++) {
		struct conn *c = conn_open(w, arrivals[i].fd, arrivals[i].is_unix);
		if (c) {
			server_add_conn(w->server, c);
			conn_tell(c, "conn_new", NULL);
		} else
			server_count_close(w->server);
	}
	free(arrivals);
}

void worker_forget(struct worker *w, struct conn *c)
{
	server_remove_conn(w->server, c);
	server_count_close(w->server);
}

/* -o idle_timeout. Many at once are closed a part a second: each part looks at all connections. */
static void on_second(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = arg;
	struct conn *idle[256];
	(void)fd;
	(void)what;
	engine_turn(w->engine);
	unsigned timeout = SERVER_OPTION(w->server, idle_timeout);
	if (!timeout)
		return;
	int64_t since = engine_now(w->engine) - timeout;
	unsigned n = server_idle_conns(w->server, w, since, idle, sizeof idle / sizeof idle[0]);
	for (unsigned i = 0; i < n; i++) {
		idle[i]->leaving = CONN_IDLE_TIMEOUT;
		conn_close(idle[i]);
	}
	counter_add(w->counters, COUNTER_idle_kicks, n);
}

/* The timer for it goes while there is a timeout, which may change. False with errno. */
static bool keep_second(struct worker *w)
{
	struct timeval second = {.tv_sec = 1};
	bool wanted = SERVER_OPTION(w->server, idle_timeout) != 0;
	if (wanted == (w->second != NULL))
		return true;
	if (!wanted) {
		event_free(w->second);
		w->second = NULL;
		return true;
	}
	w->second = event_new(w->base, -1, EV_PERSIST, on_second, w);
	return w->second && event_add(w->second, &second) == 0;
}

/* Edge-triggered, so that the counter need not be read: each write is an event of its own. */
static void on_wake(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	take_arrivals(arg);
	if (!keep_second(arg))
		msg(MSG_WARN, "-o idle_timeout: no timer: %s", strerror(errno));
}

/* Each once: those that put themselves back wait for the next round. */
static void run_ready(struct worker *w)
{
	struct conn *last = TAILQ_LAST(&w->ready, conn_queue);
	for (bool end = last == NULL; !end;) {
		struct conn *c = TAILQ_FIRST(&w->ready);
		end = c == last;
		conn_run(c); /* may close it, or queue it up again */
	}
}

/* Commands that found no room in the log are tried again, until one finds none again: it keeps its place. */
static bool run_waiting(struct worker *w)
{
	struct conn *c;
	bool ran = false;
	while ((c = TAILQ_FIRST(&w->waiting)) != NULL) {
		conn_run(c);
		ran = true;
		if (TAILQ_LAST(&w->waiting, conn_queue) == c) {
			TAILQ_REMOVE(&w->waiting, c, queue);
			TAILQ_INSERT_HEAD(&w->waiting, c, queue);
			break;
		}
	}
	return ran;
}

/* Parked replies leave in the order in which they came: numbers grow, so that a later one hardly waits for
 * less. */
static void run_parked(struct worker *w)
{
	struct conn *c;

	if (TAILQ_EMPTY(&w->parked) && TAILQ_EMPTY(&w->waiting))
		return;
	(void)__atomic_exchange_n(&w->listens, true, __ATOMIC_ACQ_REL);
	while ((c = TAILQ_FIRST(&w->parked)) != NULL && conn_retry(c))
		;
	if (!TAILQ_EMPTY(&w->waiting) && !__atomic_load_n(&w->stopping, __ATOMIC_RELAXED) && run_waiting(w))
		engine_turn_end(w->engine);
}

/* They are sent what they are told, if they read. */
static void run_watchers(struct worker *w)
{
	struct conn *due[WATCH_MAX];
	unsigned n = watch_due(w->server->watch, w, due);
	for (unsigned i = 0; i < n; i++)
		conn_run(due[i]);
}

/* After TERM: nothing is read any more; replies that wait for the log get a while. */
static void drain(struct worker *w)
{
	int64_t until = clock_mono_us() + DRAIN_US;
	while (!TAILQ_EMPTY(&w->parked) && clock_mono_us() < until) {
		struct timeval pause = {.tv_usec = 50000};
		engine_turn_end(w->engine);
		run_parked(w);
		if (TAILQ_EMPTY(&w->parked))
			break;
		event_base_loopexit(w->base, &pause);
		event_base_loop(w->base, EVLOOP_ONCE);
	}
	engine_turn_end(w->engine);
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	char name[16];

	CHECK_MAGIC(w, WORKER_MAGIC);
	snprintf(name, sizeof name, "worker-%u", w->index);
	prctl(PR_SET_NAME, name);
	schedule_promptly();
	/* Where many connections are served a round of the log costs as much as some of them: what comes meanwhile is served
	 * before it is woken, up to so many turns. */
	unsigned held = 0;
	while (!__atomic_load_n(&w->stopping, __ATOMIC_ACQUIRE)) {
		bool waits = TAILQ_EMPTY(&w->ready) && held == 0;
		event_base_loop(w->base, EVLOOP_ONCE | (waits ? 0 : EVLOOP_NONBLOCK));
		if (!TAILQ_EMPTY(&w->ready))
			run_ready(w);
		if (w->watchers > 0)
			run_watchers(w);
		held += w->turns;
		bool more = w->turns > 1 && held < HELD_TURNS && engine_appended(w->engine);
		w->turns = 0;
		if (more)
			continue;
		held = 0;
		engine_turn_end(w->engine);
		run_parked(w);
		answer(w);
	}
	server_silence_conns(w->server, w);
	drain(w);
	return NULL;
}

/* -o read_buf_mem_limit: this worker's share. A connection needs one buffer to read and one to answer. */
static void bound_buffers(struct worker *w)
{
	const struct server_options *o = &w->server->options;
	uint64_t share = ((uint64_t)o->buffers_mib << 20) / o->workers;
	bool bounded = o->buffers_mib > 0;
	w->chunks_left = !bounded ? UINT_MAX : share < 2 * CONN_CHUNK ? 2 : (unsigned)(share / CONN_CHUNK);
	w->answers_most = !bounded ? UINT_MAX : share < WORKER_ANSWER ? 1 : (unsigned)(share / WORKER_ANSWER);
}

int worker_open(struct worker *w, struct server *server, struct engine *engine, unsigned index)
{
	struct event_config *cfg = event_config_new();

	*w =
	    (struct worker){.magic = WORKER_MAGIC, .index = index, .server = server, .server_engine = engine};
	bound_buffers(w);
	TAILQ_INIT(&w->ready);
	TAILQ_INIT(&w->parked);
	TAILQ_INIT(&w->waiting);
	pthread_mutex_init(&w->lock, NULL);
	w->engine = engine_get_worker(engine, index);
	w->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (cfg) {
		/* One thread uses a base; other threads wake it through the eventfd. */
		event_config_set_flag(cfg, EVENT_BASE_FLAG_NOLOCK);
		w->base = event_base_new_with_config(cfg);
		event_config_free(cfg);
	}
	w->batch = dispatch_new_batch();
	if (w->wake_fd < 0 || !w->base || !w->batch || !latency_open_worker(w))
		return -1;
	w->wake_event = event_new(w->base, w->wake_fd, EV_READ | EV_PERSIST | EV_ET, on_wake, w);
	return w->wake_event && event_add(w->wake_event, NULL) == 0 && keep_second(w) ? 0 : -1;
}

int worker_start(struct worker *w)
{
	sigset_t all, old;
	/* Signals are the main thread's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int r = pthread_create(&w->thread, NULL, worker_main, w);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	w->running = r == 0;
	errno = r;
	return r == 0 ? 0 : -1;
}

void worker_stop(struct worker *w)
{
	__atomic_store_n(&w->stopping, true, __ATOMIC_RELEASE);
	wake(w);
}

void worker_join(struct worker *w)
{
	if (w->running)
		pthread_join(w->thread, NULL);
	w->running = false;
}

void worker_close(struct worker *w)
{
	CHECK(!w->running);
	for (size_t i = 0; i < w->n_arrivals; i++)
		close(w->arrivals[i].fd);
	free(w->arrivals);
	while (w->pooled > 0)
		nodump_free(w->pool[--w->pooled], CONN_CHUNK);
	if (w->second)
		event_free(w->second);
	if (w->wake_event)
		event_free(w->wake_event);
	if (w->base)
		event_base_free(w->base);
	if (w->wake_fd >= 0)
		close(w->wake_fd);
	dispatch_free_batch(w->batch);
	sample_free(w);
	latency_close_worker(w);
	pthread_mutex_destroy(&w->lock);
	w->magic = 0;
}
