/* SPDX-License-Identifier: BSD-3-Clause */
/* alive: see alive.h. */
#include "server/alive.h"

#include <stdlib.h>
#include "base/check.h"
#include "base/notify.h"
#include "server/internal.h"

/* So often within the time that the manager waits: a worker that is late once has another two or three. */
#define ASK_IN_ALL 8
#define ASK_US_MIN 10000

struct alive {
	struct server *server;
	struct event *timer;
};

static void on_time(evutil_socket_t fd, short what, void *arg)
{
	struct server *s = ((struct alive *)arg)->server;
	bool all = true;
	(void)fd;
	(void)what;
	CHECK_MAGIC(s, SERVER_MAGIC);
	for (unsigned i = 0; i < s->n_workers; i++)
		all = worker_has_answered(&s->workers[i]) && all;
	if (!all)
		return;
	notify_alive();
	for (unsigned i = 0; i < s->n_workers; i++)
		worker_ask(&s->workers[i]);
}

bool alive_start(struct alive **ret_alive, struct server *s)
{
	int64_t every = notify_watchdog_us() / ASK_IN_ALL;
	*ret_alive = NULL;
	if (notify_watchdog_us() == 0)
		return true;
	struct alive *a = calloc(1, sizeof *a);
	if (!a)
		return false;
	*ret_alive = a;
	if (every < ASK_US_MIN)
		every = ASK_US_MIN;
	struct timeval tv = {.tv_sec = every / 1000000, .tv_usec = every % 1000000};
	a->server = s;
	a->timer = event_new(s->base, -1, EV_PERSIST, on_time, a);
	return a->timer && event_add(a->timer, &tv) == 0;
}

void alive_stop(struct alive **alive)
{
	struct alive *a = *alive;
	*alive = NULL;
	if (a && a->timer)
		event_free(a->timer);
	free(a);
}
