/* SPDX-License-Identifier: BSD-3-Clause */
/* stop: see stop.h. */
#include "stop.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/msg.h"
#include "base/notify.h"
#include "config.h"
#include "engine/engine.h"
#include "server/server.h"

#define LOOK_MS       500
#define TELL_EVERY_US ((int64_t)3 * 1000000)
#define PATIENCE      10   /* seconds that a service manager is asked for, again and again */
#define LAST_WORDS_MS 2000 /* that they may take once the time is over */

/* Two threads: the teller has the messages, which may wait for a disk, too; the keeper waits for nothing but the time. */
struct stop {
	pthread_t teller, keeper;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool done, over, told_over, ended; /* under the lock; ended: the teller has */
	const struct engine *engine;
	const char *pid_file;
	int64_t seconds, began_us, told_us;
};

/* *ret_told: the log tells it as well, and better. */
static const char *waits_for(const struct stop *s, bool *ret_told)
{
	const char *what = s->engine ? engine_stop_waits(s->engine) : "what is being loaded";
	*ret_told = what && !*what;
	return !what ? "replies that wait for the log" : *what ? what : "the log";
}

static void tell(struct stop *s, int64_t now)
{
	bool told;
	const char *what = waits_for(s, &told);
	if (now - s->told_us < TELL_EVERY_US)
		return;
	s->told_us = now;
	notify_extend(PATIENCE);
	notify_status("stopping: waiting for %s", what);
	if (!told)
		msg(MSG_WARN, "stopping for %" PRId64 " seconds: waiting for %s",
		    (now - s->began_us) / 1000000, what);
}

static void tell_over(const struct stop *s)
{
	bool told;
	const char *what = waits_for(s, &told);
	msg(MSG_ERROR, "--stop-timeout: no end of %s within %" PRId64 " seconds: leaving without it", what,
	    s->seconds);
	if (s->pid_file[0])
		unlink(s->pid_file);
}

static void *teller_main(void *arg)
{
	struct stop *s = arg;
	pthread_setname_np(pthread_self(), "stop");
	pthread_mutex_lock(&s->lock);
	for (bool over = false; !over; over = s->over) {
		struct timespec until = clock_deadline(LOOK_MS);
		pthread_cond_timedwait(&s->wake, &s->lock, &until);
		if (s->done)
			break;
		pthread_mutex_unlock(&s->lock);
		tell(s, clock_mono_us());
		pthread_mutex_lock(&s->lock);
	}
	if (!s->done) {
		pthread_mutex_unlock(&s->lock);
		tell_over(s);
		pthread_mutex_lock(&s->lock);
		s->told_over = true;
		pthread_cond_broadcast(&s->wake);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

/* The time is over for the main thread and, a moment later, for the teller. */
static void *keeper_main(void *arg)
{
	struct stop *s = arg;
	int64_t end_us = s->began_us + s->seconds * 1000000;
	pthread_setname_np(pthread_self(), "stop-time");
	pthread_mutex_lock(&s->lock);
	while (!s->ended && clock_mono_us() < end_us) {
		struct timespec until = clock_deadline(LOOK_MS);
		pthread_cond_timedwait(&s->wake, &s->lock, &until);
	}
	s->over = true;
	pthread_cond_broadcast(&s->wake);
	struct timespec until = clock_deadline(LAST_WORDS_MS);
	while (!s->ended && !s->told_over && pthread_cond_timedwait(&s->wake, &s->lock, &until) != ETIMEDOUT)
		;
	if (!s->ended)
		_exit(HEARTH_EXIT_IOERR);
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

static void set(struct stop *s, bool *what)
{
	pthread_mutex_lock(&s->lock);
	*what = true;
	pthread_cond_broadcast(&s->wake);
	pthread_mutex_unlock(&s->lock);
}

static void destroy(struct stop *s)
{
	pthread_mutex_destroy(&s->lock);
	pthread_cond_destroy(&s->wake);
	free(s);
}

/* With all signals blocked, which are the main thread's. */
static bool start(struct stop *s)
{
	if (pthread_create(&s->teller, NULL, teller_main, s) != 0)
		return false;
	if (pthread_create(&s->keeper, NULL, keeper_main, s) == 0)
		return true;
	set(s, &s->done);
	pthread_join(s->teller, NULL);
	return false;
}

struct stop *stop_begin(const struct engine *engine, int64_t seconds, const char *pid_file)
{
	struct stop *s = calloc(1, sizeof *s);
	sigset_t all, old;
	int64_t now = clock_mono_us();

	notify_stopping();
	if (!s)
		return NULL;
	pthread_mutex_init(&s->lock, NULL);
	clock_init_cond(&s->wake);
	s->engine = engine;
	s->seconds = seconds;
	s->pid_file = pid_file;
	s->began_us = s->told_us = now;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	bool started = start(s);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (started)
		return s;
	destroy(s);
	return NULL;
}

void stop_end(struct stop **stop)
{
	struct stop *s = *stop;
	*stop = NULL;
	if (!s)
		return;
	set(s, &s->done);
	pthread_join(s->teller, NULL);
	set(s, &s->ended);
	pthread_join(s->keeper, NULL);
	destroy(s);
}

/* ---- while data is loaded ---- */

/* Wakes the thread, which blocks all signals, for the end of the load: clients must not wait for the next time it looks. */
#define SIGNAL_END SIGURG

struct stop_load {
	pthread_t thread;
	sigset_t signals, old;
	struct server *server;
	int64_t seconds;
	const char *pid_file;
	atomic_bool done;
	struct stop *stop; /* the thread's, then stop_load_end's */
};

static void *load_main(void *arg)
{
	struct stop_load *l = arg;
	sigset_t awaited = l->signals;
	sigaddset(&awaited, SIGNAL_END);
	pthread_setname_np(pthread_self(), "stop-load");
	while (!atomic_load(&l->done) && !l->stop) {
		int number = sigwaitinfo(&awaited, NULL);
		if (number < 0 || number == SIGNAL_END)
			continue;
		server_ask_stop(l->server);
		l->stop = stop_begin(NULL, l->seconds, l->pid_file);
		if (!l->stop)
			break;
	}
	return NULL;
}

struct stop_load *stop_load_begin(struct server *server, int64_t seconds, const char *pid_file)
{
	struct stop_load *l = calloc(1, sizeof *l);
	sigset_t all;
	if (!l)
		return NULL;
	l->server = server;
	l->seconds = seconds;
	l->pid_file = pid_file;
	sigemptyset(&l->signals);
	sigaddset(&l->signals, SIGTERM);
	sigaddset(&l->signals, SIGINT);
	sigaddset(&l->signals, SIGUSR1);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &l->old);
	int r = pthread_create(&l->thread, NULL, load_main, l);
	pthread_sigmask(SIG_SETMASK, &l->old, NULL);
	if (r != 0) {
		free(l);
		return NULL;
	}
	pthread_sigmask(SIG_BLOCK, &l->signals, NULL);
	return l;
}

/* A signal that has come since waits for the main thread's loop. */
void stop_load_end(struct stop_load **load)
{
	struct stop_load *l = *load;
	*load = NULL;
	if (!l)
		return;
	atomic_store(&l->done, true);
	pthread_kill(l->thread, SIGNAL_END);
	pthread_join(l->thread, NULL);
	stop_end(&l->stop);
	pthread_sigmask(SIG_SETMASK, &l->old, NULL);
	free(l);
}
