/* SPDX-License-Identifier: BSD-3-Clause */
/* sample: see sample.h. Two windows: the one that fills is left after WINDOW_US for the other, so that what is shown is of
 * the last half minute to a minute. */
#include "server/sample.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/clock.h"
#include "proto/uri.h"
#include "server/hot.h"
#include "server/internal.h"

#define WINDOW_US INT64_C(30000000)
#define SHOWN     50u /* keys */

_Static_assert(HOT_KEY_MAX == STORE_KEY_MAX, "one key limit");

struct window {
	int64_t began_us; /* 0 = nothing yet */
	struct hot hot;
};

struct sampler {
	pthread_mutex_t lock; /* guards the windows */
	unsigned now;         /* the one that fills */
	struct window window[2];
	/* The worker's alone. */
	uint64_t random;
	unsigned keys_left;
};

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* How many to the next one: SAMPLE_EVERY on average, so that no rhythm of requests hides. */
static unsigned draw(struct sampler *s)
{
	s->random ^= s->random << 13;
	s->random ^= s->random >> 7;
	s->random ^= s->random << 17;
	return 1 + (unsigned)(s->random >> 33) % (2 * SAMPLE_EVERY - 1);
}

/* The window to add to. The lock is held. */
static struct window *fresh(struct sampler *s)
{
	int64_t now = clock_mono_us();
	struct window *w = &s->window[s->now];
	if (w->began_us && now - w->began_us < WINDOW_US)
		return w;
	if (w->began_us)
		w = &s->window[s->now ^= 1];
	hot_clear(&w->hot);
	w->began_us = now;
	return w;
}

static void add_key(struct sampler *s, const struct store_key *key)
{
	pthread_mutex_lock(&s->lock);
	hot_add(&fresh(s)->hot, key->hash, key->data, key->len);
	pthread_mutex_unlock(&s->lock);
}

void sample_keys(struct sampler *s, const struct store_key *keys, unsigned n)
{
	while (n >= s->keys_left) {
		keys += s->keys_left;
		n -= s->keys_left;
		s->keys_left = draw(s);
		add_key(s, &keys[-1]);
	}
	s->keys_left -= n;
}

/* ---- switching: the server's lock is held ---- */

static bool make(struct worker *w)
{
	struct sampler *s = w->sampler;
	if (!s) {
		s = calloc(1, sizeof(*s));
		if (!s)
			return false;
		pthread_mutex_init(&s->lock, NULL);
		s->random = now_ns() ^ (uint64_t)(w->index + 1) << 40 ^ 0x9e3779b97f4a7c15u;
		s->keys_left = 1;
		w->sampler = s;
	}
	pthread_mutex_lock(&s->lock);
	s->window[0].began_us = s->window[1].began_us = 0;
	pthread_mutex_unlock(&s->lock);
	return true;
}

static void set_all(struct server *s, bool on)
{
	for (unsigned i = 0; i < s->n_workers; i++)
		__atomic_store_n(
		    &s->workers[i].sampling, on ? s->workers[i].sampler : NULL, __ATOMIC_RELEASE);
}

bool sample_switch(struct server *s, unsigned seconds)
{
	bool ok = true;
	pthread_mutex_lock(&s->lock);
	bool was_on = s->sample_until_us != 0;
	for (unsigned i = 0; seconds > 0 && !was_on && ok && i < s->n_workers; i++)
		ok = make(&s->workers[i]);
	if (ok) {
		s->sample_until_us = seconds ? clock_mono_us() + (int64_t)seconds * 1000000 : 0;
		set_all(s, seconds > 0);
	}
	pthread_mutex_unlock(&s->lock);
	return ok;
}

void sample_tick(struct server *s)
{
	pthread_mutex_lock(&s->lock);
	if (s->sample_until_us && clock_mono_us() >= s->sample_until_us) {
		s->sample_until_us = 0;
		set_all(s, false);
	}
	pthread_mutex_unlock(&s->lock);
}

void sample_free(struct worker *w)
{
	if (!w->sampler)
		return;
	pthread_mutex_destroy(&w->sampler->lock);
	free(w->sampler);
	w->sampler = w->sampling = NULL;
}

/* ---- printing ---- */

struct sum {
	int64_t began_us;
	uint64_t keys;
	size_t n;
	struct hot tables[]; /* copies, two a worker */
};

static void add_window(struct sum *sum, const struct window *w, int64_t now)
{
	if (!w->began_us || now - w->began_us > 2 * WINDOW_US)
		return;
	sum->began_us = w->began_us < sum->began_us ? w->began_us : sum->began_us;
	sum->keys += w->hot.total;
	sum->tables[sum->n++] = w->hot;
}

/* Of all workers. The server's lock is held. */
static struct sum *collect(struct server *s)
{
	struct sum *sum = calloc(1, sizeof(*sum) + 2 * s->n_workers * sizeof(struct hot));
	int64_t now = clock_mono_us();
	if (!sum)
		return NULL;
	sum->began_us = now;
	for (unsigned i = 0; i < s->n_workers; i++) {
		struct sampler *p = s->workers[i].sampler;
		if (!p)
			continue;
		pthread_mutex_lock(&p->lock);
		add_window(sum, &p->window[0], now);
		add_window(sum, &p->window[1], now);
		pthread_mutex_unlock(&p->lock);
	}
	return sum;
}

static bool print_rows(const struct sum *sum, struct buf *out)
{
	const struct hot **tables = calloc(sum->n + 1, sizeof(*tables));
	struct hot_row *rows = calloc(sum->n * HOT_KEYS + 1, sizeof(*rows));
	bool ok = tables && rows;
	size_t n = 0;
	for (size_t i = 0; ok && i < sum->n; i++)
		tables[i] = &sum->tables[i];
	if (ok)
		n = hot_merge(tables, sum->n, rows);
	for (size_t i = 0; ok && i < n && i < SHOWN; i++) {
		char key[URI_ENCODED_MAX(STORE_KEY_MAX) + 1], text[sizeof(key) + 100];
		*uri_encode((uint8_t *)key, rows[i].key->key, rows[i].key->len) = 0;
		int len = snprintf(text, sizeof(text), "STAT hotkey:%zu %s %" PRIu64 " %" PRIu64 "\r\n",
		    i + 1, key, rows[i].count, rows[i].error);
		ok = buf_append(out, text, (size_t)len);
	}
	free(tables);
	free(rows);
	return ok;
}

bool sample_print(struct server *s, struct buf *out)
{
	char text[300];
	pthread_mutex_lock(&s->lock);
	struct sum *sum = collect(s);
	int64_t until = s->sample_until_us, now = clock_mono_us();
	pthread_mutex_unlock(&s->lock);
	if (!sum)
		return false;
	int len = snprintf(text, sizeof(text),
	    "STAT hotkeys_on %s\r\nSTAT hotkeys_seconds_left %" PRId64 "\r\nSTAT hotkeys_every %u\r\n"
	    "STAT hotkeys_seconds %.1f\r\nSTAT hotkeys_sampled %" PRIu64 "\r\n",
	    until ? "yes" : "no", until > now ? (until - now + 999999) / 1000000 : 0, SAMPLE_EVERY,
	    (double)(now - sum->began_us) / 1e6, sum->keys);
	bool ok = buf_append(out, text, (size_t)len) && print_rows(sum, out);
	free(sum);
	return ok;
}
