/* SPDX-License-Identifier: BSD-3-Clause */
/* server: the server put together, see server.h. The main thread owns listeners, signals, the admin socket
 * and the tick; it never executes a client's command. */
#include "server/server.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include "base/check.h"
#include "base/clock.h"
#include "base/msg.h"
#include "base/notify.h"
#include "engine/engine.h"
#include "server/admin.h"
#include "server/alive.h"
#include "server/cluster.h"
#include "server/detail.h"
#include "server/http.h"
#include "server/internal.h"
#include "server/latency.h"
#include "server/listener.h"
#include "server/metrics.h"
#include "server/sample.h"
#include "server/stats.h"
#include "server/worker.h"

#define SPARE_FDS       128     /* files, admin clients, event bases beside the connections */
#define TELL_EVERY_US   2000000 /* progress of loading, where there is no terminal */
#define BAR_WIDTH       40
#define NOTIFY_EVERY_US 1000000 /* progress of loading, for a service manager */
#define LOAD_SECONDS    60      /* that a load may take until it says something again */

/* ---- the list of connections ---- */

void server_add_conn(struct server *s, struct conn *c)
{
	pthread_mutex_lock(&s->lock);
	TAILQ_INSERT_TAIL(&s->conns, c, all);
	pthread_mutex_unlock(&s->lock);
}

void server_remove_conn(struct server *s, struct conn *c)
{
	pthread_mutex_lock(&s->lock);
	TAILQ_REMOVE(&s->conns, c, all);
	pthread_mutex_unlock(&s->lock);
}

void server_count_close(struct server *s)
{
	__atomic_sub_fetch(&s->curr_conns, 1, __ATOMIC_RELAXED);
}

void server_silence_conns(struct server *s, struct worker *w)
{
	struct conn *c;
	pthread_mutex_lock(&s->lock);
	TAILQ_FOREACH(c, &s->conns, all)
	{
		if (c->worker == w)
			conn_silence(c);
	}
	pthread_mutex_unlock(&s->lock);
}

unsigned server_idle_conns(
    struct server *s, const struct worker *w, int64_t time, struct conn **ret_conns, unsigned n)
{
	struct conn *c;
	unsigned found = 0;
	pthread_mutex_lock(&s->lock);
	TAILQ_FOREACH(c, &s->conns, all)
	{
		if (found < n && c->worker == w && conn_idle_since(c, time))
			ret_conns[found++] = c;
	}
	pthread_mutex_unlock(&s->lock);
	return found;
}

void server_close_conns(struct server *s)
{
	while (!TAILQ_EMPTY(&s->conns))
		conn_close(TAILQ_FIRST(&s->conns));
}

/* ---- signals and time ---- */

void server_ask_stop(struct server *s)
{
	__atomic_store_n(&s->stop_asked, true, __ATOMIC_SEQ_CST);
	/* A signal to ourselves wakes the main thread, whose base nobody else may touch. */
	kill(getpid(), SIGTERM);
}

static void on_stop(evutil_socket_t sig, short what, void *arg)
{
	struct server *s = arg;
	(void)sig;
	(void)what;
	CHECK_MAGIC(s, SERVER_MAGIC);
	__atomic_store_n(&s->stop_asked, true, __ATOMIC_SEQ_CST);
	event_base_loopbreak(s->base);
}

static void on_snapshot(evutil_socket_t sig, short what, void *arg)
{
	struct server *s = arg;
	(void)sig;
	(void)what;
	if (!s->engine || __atomic_load_n(&s->loading, __ATOMIC_RELAXED))
		return;
	if (engine_snapshot(s->engine, NULL, NULL) == HEARTH_END)
		msg(MSG_WARN, "SIGUSR2: no snapshot without a data directory");
}

static void on_hangup(evutil_socket_t sig, short what, void *arg)
{
	struct server *s = arg;
	(void)sig;
	(void)what;
	/* A terminal that goes away is no reason to stop. */
	notify_reloading();
	cluster_reload(s->cluster);
	if (s->hooks.reload)
		s->hooks.reload(s->hooks.arg);
	notify_ready();
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct server *s = arg;
	(void)fd;
	(void)what;
	engine_tick(s->engine);
	sample_tick(s);
	latency_tick(s, clock_mono_us());
}

static bool add_signals(struct server *s)
{
	static const struct {
		int number;
		event_callback_fn call;
	} all[] = {{SIGTERM, on_stop}, {SIGINT, on_stop}, {SIGUSR1, on_stop}, {SIGUSR2, on_snapshot},
	    {SIGHUP, on_hangup}};

	_Static_assert(
	    sizeof all / sizeof all[0] == sizeof s->signals / sizeof s->signals[0], "a place for each");
	for (unsigned i = 0; i < sizeof all / sizeof all[0]; i++) {
		s->signals[i] = evsignal_new(s->base, all[i].number, all[i].call, s);
		if (!s->signals[i] || event_add(s->signals[i], NULL) != 0)
			return false;
	}
	return true;
}

/* ---- up ---- */

static bool wants_http(const char *where)
{
	return where && strcmp(where, "none") != 0;
}

/* As many descriptors as connections need, and the server's own. */
static enum server_status raise_files(const struct server_options *o)
{
	struct rlimit rl;
	rlim_t want =
	    (rlim_t)o->max_conns + SPARE_FDS + 4 * (rlim_t)o->workers + (wants_http(o->http) ? HTTP_FDS : 0);

	if (getrlimit(RLIMIT_NOFILE, &rl) != 0)
		goto fail;
	if (rl.rlim_cur >= want)
		return SERVER_OK;
	rl.rlim_cur = want;
	if (rl.rlim_max < want)
		rl.rlim_max = want;
	if (setrlimit(RLIMIT_NOFILE, &rl) == 0)
		return SERVER_OK;
fail:
	msg(MSG_ERROR, "--conn-limit %u: cannot have %" PRIu64 " open files: %s", o->max_conns,
	    (uint64_t)want, strerror(errno));
	return SERVER_SYSTEM;
}

enum server_status server_bind(struct server **ret_server, const struct server_options *options)
{
	struct server *s = calloc(1, sizeof *s);
	enum server_status status = SERVER_SYSTEM;
	char why[SERVER_WHY_MAX];

	*ret_server = s;
	if (!s) {
		msg(MSG_ERROR, "no memory for the server");
		return SERVER_SYSTEM;
	}
	s->magic = SERVER_MAGIC;
	s->options = *options;
	/* These may change, and live in s->http and s->cluster. */
	s->options.http = s->options.cluster_file = NULL;
	s->dirfd = -1;
	s->verbosity = options->verbosity;
	s->start_us = clock_mono_us();
	TAILQ_INIT(&s->conns);
	pthread_mutex_init(&s->lock, NULL);
	signal(SIGPIPE, SIG_IGN);
	status = raise_files(options);
	if (status != SERVER_OK)
		return status;
	s->watch = watch_open((size_t)(options->watch_kib ? options->watch_kib : WATCH_ROOM) << 10);
	s->detail = detail_open(options->detail ? options->detail : ':');
	s->detail_on = s->observed = options->detail != 0;
	s->latency = latency_open(s->start_us);
	if (!s->watch || !s->detail || !s->latency) {
		msg(MSG_ERROR, "no memory for the server");
		return SERVER_SYSTEM;
	}
	if (!(s->cluster = cluster_open(options->cluster_file)))
		return SERVER_USAGE;
	s->base = event_base_new();
	if (!s->base || !add_signals(s)) {
		msg(MSG_ERROR, "no event base: %s", strerror(errno));
		return SERVER_SYSTEM;
	}
	if (wants_http(options->http) && (status = http_bind(&s->http, s, options->http, why)) != SERVER_OK) {
		msg(MSG_ERROR, "--http %s: %s", options->http, why);
		return status;
	}
	return listener_bind(&s->listener, s, &s->port);
}

void server_set_hooks(struct server *s, const struct server_hooks *hooks)
{
	s->hooks = *hooks;
}

/* Workers read these as they go. */
bool server_tune(struct server *s, const struct server_options *next)
{
	struct server_options *o = &s->options;
	if (raise_files(next) != SERVER_OK)
		return false;
	__atomic_store_n(&o->max_conns, next->max_conns, __ATOMIC_RELAXED);
	__atomic_store_n(&o->turn_requests, next->turn_requests, __ATOMIC_RELAXED);
	__atomic_store_n(&o->no_flush, next->no_flush, __ATOMIC_RELAXED);
	__atomic_store_n(&o->no_dump, next->no_dump, __ATOMIC_RELAXED);
	__atomic_store_n(&o->no_watch, next->no_watch, __ATOMIC_RELAXED);
	__atomic_store_n(&o->shutdown, next->shutdown, __ATOMIC_RELAXED);
	__atomic_store_n(&o->no_evict, next->no_evict, __ATOMIC_RELAXED);
	__atomic_store_n(&o->no_cas, next->no_cas, __ATOMIC_RELAXED);
	__atomic_store_n(&o->protocol, next->protocol, __ATOMIC_RELAXED);
	__atomic_store_n(&o->maxconns_fast, next->maxconns_fast, __ATOMIC_RELAXED);
	if (o->idle_timeout != next->idle_timeout) {
		__atomic_store_n(&o->idle_timeout, next->idle_timeout, __ATOMIC_RELAXED);
		for (unsigned i = 0; i < s->n_workers; i++)
			worker_tell(&s->workers[i]);
	}
	if (o->backlog != next->backlog) {
		__atomic_store_n(&o->backlog, next->backlog, __ATOMIC_RELAXED);
		listener_set_backlog(s->listener);
	}
	stats_set_verbosity(s, next->verbosity);
	return true;
}

int server_port(const struct server *s)
{
	return s->port;
}

void server_chown(struct server *s, uid_t uid, gid_t gid)
{
	listener_chown(s->listener, uid, gid);
}

void server_set_engine(struct server *s, struct engine *engine)
{
	s->engine = engine;
	s->load_start_us = s->load_told_us = clock_mono_us(); /* a short load says nothing but its end */
	watch_set_engine(s->watch, engine);
	__atomic_store_n(&s->loading, true, __ATOMIC_RELAXED);
}

enum server_status server_admin(struct server *s, int dirfd, const char *path)
{
	return admin_open(&s->admin, s, dirfd, path);
}

enum server_status server_http(struct server *s, int dirfd)
{
	char why[SERVER_WHY_MAX];
	s->dirfd = dirfd;
	enum server_status status = s->http ? http_start(s->http, dirfd, why) : SERVER_OK;
	if (status != SERVER_OK)
		msg(MSG_ERROR, "--http: %s", why);
	return status;
}

bool server_move_cluster(struct server *s, const struct server_options *next, char *ret_why)
{
	return cluster_move(s->cluster, next->cluster_file, ret_why);
}

bool server_move_http(struct server *s, const struct server_options *next, char *ret_why)
{
	if (!wants_http(next->http)) {
		http_close(&s->http);
		return true;
	}
	if (raise_files(next) != SERVER_OK) {
		snprintf(ret_why, SERVER_WHY_MAX, "no descriptors for it");
		return false;
	}
	return http_move(&s->http, s, next->http, s->dirfd, ret_why) == SERVER_OK;
}

void server_end_http(struct server *s)
{
	if (s)
		http_close(&s->http);
}

void server_progress(void *arg)
{
	struct server *s = arg;
	unsigned n = __atomic_load_n(&s->n_workers, __ATOMIC_ACQUIRE);
	for (unsigned i = 0; i < n; i++)
		worker_progress(&s->workers[i]);
}

static void draw_bar(unsigned percent, uint64_t items, bool end)
{
	char bar[BAR_WIDTH + 1];
	memset(bar, '.', BAR_WIDTH);
	memset(bar, '#', percent * BAR_WIDTH / 100);
	bar[BAR_WIDTH] = 0;
	fprintf(stderr, "\rloading [%s] %3u%% %" PRIu64 " items%s", bar, percent, items, end ? "\n" : "");
}

static void tell_loading(struct server *s)
{
	struct metrics_load load;
	int64_t now = clock_mono_us();

	metrics_get_load(s, &load);
	unsigned percent = (unsigned)(100 * load.ratio);
	uint64_t items = load.items, left = load.left > 0 ? (uint64_t)load.left + 1 : 0;
	if (isatty(STDERR_FILENO) && !msg_is_json()) {
		draw_bar(percent, items, load.done_bytes >= load.all_bytes);
	} else if (now - s->load_told_us >= TELL_EVERY_US) {
		s->load_told_us = now;
		msg(MSG_INFO, "loading: %u%%, %" PRIu64 " items, %" PRIu64 " s left", percent, items, left);
	}
	notify_alive();
	if (now - s->load_notified_us >= NOTIFY_EVERY_US) {
		s->load_notified_us = now;
		notify_status("loading %u %%, %" PRIu64 " s left", percent, left);
		notify_extend(LOAD_SECONDS);
	}
}

/* Signals and the admin socket. Until it serves nothing is written that a kill would spoil, so there is nothing to finish. */
static void let_others(struct server *s)
{
	event_base_loop(s->base, EVLOOP_NONBLOCK);
	if (!__atomic_load_n(&s->stop_asked, __ATOMIC_SEQ_CST))
		return;
	notify_stopping();
	msg(MSG_INFO, "stopped while loading");
	http_close(&s->http);
	admin_close(&s->admin);
	listener_close(&s->listener);
	exit(s->hooks.abandoned ? s->hooks.abandoned(s->hooks.arg) : 0);
}

void server_loading(void *arg, uint64_t done_bytes, uint64_t all_bytes, uint64_t items)
{
	struct server *s = arg;
	CHECK_MAGIC(s, SERVER_MAGIC);
	__atomic_store_n(&s->load_done, done_bytes, __ATOMIC_RELAXED);
	__atomic_store_n(&s->load_all, all_bytes, __ATOMIC_RELAXED);
	__atomic_store_n(&s->load_items, items, __ATOMIC_RELAXED);
	tell_loading(s);
	let_others(s);
}

void server_settling(void *arg)
{
	struct server *s = arg;
	int64_t now = clock_mono_us();
	CHECK_MAGIC(s, SERVER_MAGIC);
	__atomic_store_n(&s->settling, true, __ATOMIC_RELAXED);
	notify_alive();
	if (now - s->load_notified_us >= NOTIFY_EVERY_US) {
		s->load_notified_us = now;
		notify_status("%s", SERVER_SETTLING);
		notify_extend(LOAD_SECONDS);
	}
	let_others(s);
}

static enum server_status start_workers(struct server *s)
{
	unsigned n = s->options.workers;

	s->workers = calloc(n, sizeof *s->workers);
	if (!s->workers)
		goto fail;
	for (unsigned i = 0; i < n; i++) {
		int r = worker_open(&s->workers[i], s, s->engine, i);
		__atomic_store_n(&s->n_workers, i + 1, __ATOMIC_RELEASE);
		if (r != 0)
			goto fail;
	}
	for (unsigned i = 0; i < n; i++) {
		if (worker_start(&s->workers[i]) != 0)
			goto fail;
	}
	return SERVER_OK;
fail:
	msg(MSG_ERROR, "--threads %u: %s", n, strerror(errno));
	return SERVER_SYSTEM;
}

static void stop_workers(struct server *s)
{
	for (unsigned i = 0; i < s->n_workers; i++) {
		if (s->workers[i].running)
			worker_stop(&s->workers[i]);
	}
	for (unsigned i = 0; i < s->n_workers; i++)
		worker_join(&s->workers[i]);
	server_close_conns(s);
}

enum server_status server_listen(struct server *s)
{
	struct timeval second = {.tv_sec = 1};
	enum server_status status = start_workers(s);

	if (status == SERVER_OK)
		status = listener_listen(s->listener);
	s->tick = event_new(s->base, -1, EV_PERSIST, on_tick, s);
	bool timers = s->tick && event_add(s->tick, &second) == 0 && alive_start(&s->alive, s);
	if (status == SERVER_OK && !timers) {
		msg(MSG_ERROR, "no timer: %s", strerror(errno));
		status = SERVER_SYSTEM;
	}
	if (status != SERVER_OK) {
		stop_workers(s);
		return status;
	}
	__atomic_store_n(&s->loading, false, __ATOMIC_RELEASE);
	if (s->options.unix_path)
		msg(MSG_INFO, "serving on %s", s->options.unix_path);
	else
		msg(MSG_INFO, "serving on port %d", s->port);
	return SERVER_OK;
}

void server_serve(struct server *s)
{
	CHECK_MAGIC(s, SERVER_MAGIC);
	while (!__atomic_load_n(&s->stop_asked, __ATOMIC_SEQ_CST))
		event_base_loop(s->base, EVLOOP_ONCE);
}

void server_stop(struct server *s)
{
	CHECK_MAGIC(s, SERVER_MAGIC);
	alive_stop(&s->alive);
	listener_stop(s->listener);
	stop_workers(s);
}

void server_close(struct server **server)
{
	struct server *s = *server;
	*server = NULL;
	if (!s)
		return;
	CHECK_MAGIC(s, SERVER_MAGIC);
	alive_stop(&s->alive);
	http_close(&s->http);
	admin_close(&s->admin);
	listener_close(&s->listener);
	unsigned n = s->n_workers;
	__atomic_store_n(&s->n_workers, 0, __ATOMIC_RELEASE);
	for (unsigned i = 0; i < n; i++)
		worker_close(&s->workers[i]);
	free(s->workers);
	for (unsigned i = 0; i < sizeof s->signals / sizeof s->signals[0]; i++) {
		if (s->signals[i])
			event_free(s->signals[i]);
	}
	if (s->tick)
		event_free(s->tick);
	if (s->base)
		event_base_free(s->base);
	watch_close(&s->watch);
	detail_close(&s->detail);
	latency_close(&s->latency);
	cluster_close(&s->cluster);
	pthread_mutex_destroy(&s->lock);
	s->magic = 0;
	free(s);
}
