/* SPDX-License-Identifier: BSD-3-Clause */
/* latency: see latency.h. Workers only ever add. What is recent is what there is now without what there was: the main thread
 * keeps two copies, made LATENCY_WINDOW_US apart, and takes off the older one. */
#include "server/latency.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/check.h"
#include "server/internal.h"

#define LATENCY_MAGIC 0x4c41544eu

/* A worker's, on cache lines of its own. */
struct latency_worker {
	_Alignas(64) struct latency_times times;
	uint32_t state; /* of distance */
};

struct mark {
	int64_t at_us;
	struct latency_times times;
};

struct latency {
	uint32_t magic;
	pthread_mutex_t lock; /* guards the marks */
	struct mark older, newer;
};

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- the worker's ---- */

bool latency_open_worker(struct worker *w)
{
	struct latency_worker *l = aligned_alloc(_Alignof(struct latency_worker), sizeof(*l));
	if (!l)
		return false;
	memset(l, 0, sizeof(*l));
	w->latency = l;
	w->turns_left = 1; /* so that a daemon that has little to do has a figure, too */
	return true;
}

void latency_close_worker(struct worker *w)
{
	free(w->latency);
	w->latency = NULL;
}

/* To the next turn that is timed: LATENCY_EVERY on average. A linear congruence, whose period of 2^32 has nothing in common with
 * that of any load: each of connections that take turns has its share. */
static unsigned distance(struct latency_worker *l)
{
	l->state = l->state * 1664525u + 1013904223u;
	return 1 + (l->state >> 16) % (2 * LATENCY_EVERY - 1);
}

void latency_begin(struct conn *c)
{
	c->worker->turns_left = distance(c->worker->latency);
	c->kinds = 0;
	c->began = now_ns();
}

void latency_before(const struct worker *w, uint64_t ret[LATENCY_KINDS])
{
	static const enum counter changes[] = {COUNTER_cmd_set, COUNTER_cmd_flush, COUNTER_cmd_touch,
	    COUNTER_delete_hits, COUNTER_delete_misses, COUNTER_incr_hits, COUNTER_incr_misses,
	    COUNTER_decr_hits, COUNTER_decr_misses};
	ret[LATENCY_GET] = w->counters[COUNTER_cmd_get];
	ret[LATENCY_SET] = 0;
	for (unsigned i = 0; i < sizeof(changes) / sizeof(changes[0]); i++)
		ret[LATENCY_SET] += w->counters[changes[i]];
}

void latency_ran(struct conn *c, const uint64_t counted[LATENCY_KINDS])
{
	uint64_t now[LATENCY_KINDS];
	latency_before(c->worker, now);
	for (unsigned k = 0; k < LATENCY_KINDS; k++)
		c->kinds |= (uint8_t)((now[k] != counted[k]) << k);
	/* Nobody waits for anything. */
	if (out_empty(&c->out)) {
		c->kinds = 0;
		if (c->verdict == CONN_IDLE)
			c->began = 0;
	}
}

void latency_answered(struct conn *c, bool all)
{
	struct latency_worker *l = c->worker->latency;
	uint64_t ns = now_ns() - c->began;
	for (unsigned k = 0; k < LATENCY_KINDS; k++)
		if (c->kinds & 1u << k)
			histogram_add(&l->times.kind[k], ns);
	c->kinds = 0;
	/* Else there is more of what was read, which goes on waiting. Where the client does not read it is the client that is
	 * waited for from here on. */
	if (!all || c->verdict == CONN_IDLE)
		c->began = 0;
}

/* ---- the server's ---- */

struct latency *latency_open(int64_t now_us)
{
	struct latency *l = calloc(1, sizeof(*l));
	if (!l)
		return NULL;
	l->magic = LATENCY_MAGIC;
	l->older.at_us = l->newer.at_us = now_us;
	pthread_mutex_init(&l->lock, NULL);
	return l;
}

void latency_close(struct latency **latency)
{
	struct latency *l = *latency;
	*latency = NULL;
	if (!l)
		return;
	CHECK_MAGIC(l, LATENCY_MAGIC);
	pthread_mutex_destroy(&l->lock);
	l->magic = 0;
	free(l);
}

void latency_collect(const struct server *s, struct latency_times *ret)
{
	unsigned n = __atomic_load_n(&s->n_workers, __ATOMIC_ACQUIRE);
	memset(ret, 0, sizeof(*ret));
	for (unsigned i = 0; i < n; i++)
		for (unsigned k = 0; k < LATENCY_KINDS; k++)
			if (s->workers[i].latency)
				histogram_merge(&ret->kind[k], &s->workers[i].latency->times.kind[k]);
}

void latency_tick(struct server *s, int64_t now_us)
{
	struct latency *l = s->latency;
	CHECK_MAGIC(l, LATENCY_MAGIC);
	pthread_mutex_lock(&l->lock);
	if (now_us - l->newer.at_us >= LATENCY_WINDOW_US) {
		l->older = l->newer;
		l->newer.at_us = now_us;
		latency_collect(s, &l->newer.times);
	}
	pthread_mutex_unlock(&l->lock);
}

void latency_reset(struct server *s, int64_t now_us)
{
	struct latency *l = s->latency;
	CHECK_MAGIC(l, LATENCY_MAGIC);
	pthread_mutex_lock(&l->lock);
	l->newer.at_us = now_us;
	latency_collect(s, &l->newer.times);
	l->older = l->newer;
	pthread_mutex_unlock(&l->lock);
}

void latency_recent(struct server *s, int64_t now_us, struct latency_times *ret, double *ret_seconds)
{
	struct latency *l = s->latency;
	CHECK_MAGIC(l, LATENCY_MAGIC);
	pthread_mutex_lock(&l->lock);
	/* Under the lock, so that what is taken off is earlier. */
	latency_collect(s, ret);
	for (unsigned k = 0; k < LATENCY_KINDS; k++)
		histogram_subtract(&ret->kind[k], &l->older.times.kind[k]);
	*ret_seconds = now_us > l->older.at_us ? (double)(now_us - l->older.at_us) / 1e6 : 0;
	pthread_mutex_unlock(&l->lock);
}
