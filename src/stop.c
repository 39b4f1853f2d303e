/* SPDX-License-Identifier: BSD-3-Clause */
/* stop: see stop.h. */
#include "stop.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/msg.h"
#include "base/notify.h"
#include "config.h"
#include "engine/engine.h"

#define LOOK_MS       500
#define TELL_EVERY_US ((int64_t)3 * 1000000)
#define PATIENCE      10 /* seconds that a service manager is asked for, again and again */

struct stop {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool done; /* under the lock */
	const struct engine *engine;
	const char *pid_file;
	int64_t seconds, began_us, told_us;
};

/* *ret_told: the log tells it as well, and better. */
static const char *waits_for(const struct stop *s, bool *ret_told)
{
	const char *what = engine_stop_waits(s->engine);
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

static void give_up(const struct stop *s)
{
	bool told;
	const char *what = waits_for(s, &told);
	msg(MSG_ERROR, "--stop-timeout: no end of %s within %" PRId64 " seconds: leaving without it", what,
	    s->seconds);
	if (s->pid_file[0])
		unlink(s->pid_file);
	_exit(HEARTH_EXIT_IOERR);
}

static void *stop_main(void *arg)
{
	struct stop *s = arg;
	pthread_setname_np(pthread_self(), "stop");
	pthread_mutex_lock(&s->lock);
	while (!s->done) {
		struct timespec until = clock_deadline(LOOK_MS);
		pthread_cond_timedwait(&s->wake, &s->lock, &until);
		int64_t now = clock_mono_us();
		if (s->done)
			break;
		tell(s, now);
		if (now - s->began_us >= s->seconds * 1000000)
			give_up(s);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
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
	int r = pthread_create(&s->thread, NULL, stop_main, s);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r != 0) {
		pthread_mutex_destroy(&s->lock);
		pthread_cond_destroy(&s->wake);
		free(s);
		return NULL;
	}
	return s;
}

void stop_end(struct stop **stop)
{
	struct stop *s = *stop;
	*stop = NULL;
	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	s->done = true;
	pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->thread, NULL);
	pthread_mutex_destroy(&s->lock);
	pthread_cond_destroy(&s->wake);
	free(s);
}
