/* SPDX-License-Identifier: BSD-3-Clause */
/* watch: see watch.h. */
#include "server/watch.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/check.h"
#include "base/clock.h"
#include "engine/engine.h"
#include "proto/uri.h"
#include "server/worker.h"

#define LINE_SIZE 1400 /* a key in percent signs, numbers, an address */

struct watcher {
	struct conn *conn;
	unsigned kinds;
	struct buf waits;
	uint64_t skipped; /* since the last line that it was told */
};

struct watch {
	_Atomic unsigned kinds; /* of all */
	pthread_mutex_t lock;   /* guards what follows */
	struct engine *engine;
	size_t room;
	struct watcher watcher[WATCH_MAX];
	unsigned n;
	uint64_t number; /* of the last event */
	uint64_t sent, skipped, written;
};

static const struct {
	const char *name;
	enum watch_kind kind;
} kinds[WATCH_KINDS] = {
    {"fetchers", WATCH_FETCHERS},
    {"mutations", WATCH_MUTATIONS},
    {"evictions", WATCH_EVICTIONS},
    {"connevents", WATCH_CONNEVENTS},
    {"deletions", WATCH_DELETIONS},
    {"sysevents", WATCH_SYSEVENTS},
    {"rawcmds", WATCH_RAWCMDS},
};

unsigned watch_kind_named(const uint8_t *text, size_t len)
{
	for (unsigned i = 0; i < WATCH_KINDS; i++) {
		if (strlen(kinds[i].name) == len && memcmp(kinds[i].name, text, len) == 0)
			return kinds[i].kind;
	}
	return 0;
}

struct watch *watch_open(size_t room)
{
	struct watch *w = calloc(1, sizeof *w);
	if (!w)
		return NULL;
	pthread_mutex_init(&w->lock, NULL);
	w->room = room;
	return w;
}

void watch_close(struct watch **watch)
{
	struct watch *w = *watch;
	*watch = NULL;
	if (!w)
		return;
	CHECK(w->n == 0);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

void watch_set_engine(struct watch *w, struct engine *engine)
{
	w->engine = engine;
}

bool watch_wants(const struct watch *w, unsigned wanted)
{
	return atomic_load_explicit(&w->kinds, memory_order_relaxed) & wanted;
}

/* Under a shard's lock. */
static void tell_eviction(void *arg, const struct store_key_view *item, int64_t now)
{
	struct watch *w = arg;
	const struct store_view *v = item->view;
	char key[URI_ENCODED_MAX(STORE_KEY_MAX) + 1];
	*uri_encode((uint8_t *)key, item->key, item->key_len) = 0;
	watch_tell(w, WATCH_EVICTIONS,
	    "type=eviction key=%s fetch=%s ttl=%" PRId64 " la=%" PRId64 " clsid=1 size=%zu", key,
	    v->fetched ? "yes" : "no", v->expiry ? v->expiry - now : -1, v->access ? now - v->access : 0,
	    v->value_len);
}

/* The lock is held. */
static void gather_kinds(struct watch *w)
{
	unsigned all = 0;
	for (unsigned i = 0; i < w->n; i++)
		all |= w->watcher[i].kinds;
	atomic_store_explicit(&w->kinds, all, memory_order_relaxed);
	if (w->engine)
		engine_watch_evictions(w->engine, all & WATCH_EVICTIONS ? tell_eviction : NULL, w);
}

bool watch_add(struct watch *w, struct conn *c, unsigned wanted)
{
	pthread_mutex_lock(&w->lock);
	bool added = w->n < WATCH_MAX;
	if (added) {
		w->watcher[w->n++] = (struct watcher){.conn = c, .kinds = wanted};
		gather_kinds(w);
	}
	pthread_mutex_unlock(&w->lock);
	return added;
}

static struct watcher *find(struct watch *w, const struct conn *c)
{
	for (unsigned i = 0; i < w->n; i++) {
		if (w->watcher[i].conn == c)
			return &w->watcher[i];
	}
	CHECK(!"a connection that watches");
	return NULL;
}

void watch_remove(struct watch *w, struct conn *c)
{
	pthread_mutex_lock(&w->lock);
	struct watcher *watcher = find(w, c);
	buf_clear(&watcher->waits);
	buf_free(&watcher->waits);
	*watcher = w->watcher[--w->n];
	gather_kinds(w);
	pthread_mutex_unlock(&w->lock);
}

/* Appends the line, behind the count of those that it was not told; too much is left out. True: it was empty before. */
static bool append(struct watch *w, struct watcher *to, const char *line, size_t len)
{
	char gap[40];
	int gap_len = 0;
	size_t before = buf_len(&to->waits);
	if (to->skipped)
		gap_len = snprintf(gap, sizeof gap, "skipped=%" PRIu64 "\n", to->skipped);
	if (before + len + (size_t)gap_len > w->room || !buf_append(&to->waits, gap, (size_t)gap_len) ||
	    !buf_append(&to->waits, line, len)) {
		to->skipped++;
		w->skipped++;
		return false;
	}
	to->skipped = 0;
	w->sent++;
	return before == 0;
}

void watch_tell(struct watch *w, enum watch_kind kind, const char *fmt, ...)
{
	char line[LINE_SIZE];
	int64_t us = clock_wall_ms() * 1000;
	va_list ap;

	pthread_mutex_lock(&w->lock);
	int n = snprintf(line, sizeof line, "ts=%" PRId64 ".%06" PRId64 " gid=%" PRIu64 " ", us / 1000000,
	    us % 1000000, ++w->number);
	va_start(ap, fmt);
	n += vsnprintf(line + n, sizeof line - (size_t)n - 1, fmt, ap);
	va_end(ap);
	if ((size_t)n > sizeof line - 2)
		n = sizeof line - 2;
	line[n++] = '\n';
	w->written++;
	for (unsigned i = 0; i < w->n; i++) {
		struct watcher *to = &w->watcher[i];
		if ((to->kinds & kind) && append(w, to, line, (size_t)n))
			worker_tell(to->conn->worker);
	}
	pthread_mutex_unlock(&w->lock);
}

bool watch_take(struct watch *w, struct conn *c, size_t max, bool *ret_more)
{
	pthread_mutex_lock(&w->lock);
	struct buf *b = &find(w, c)->waits;
	const uint8_t *from = b->data + b->head;
	size_t len = buf_len(b);
	if (len > max) {
		len = max;
		while (len > 0 && from[len - 1] != '\n')
			len--;
	}
	bool ok = len == 0 || buf_append(&c->out.copied, from, len);
	if (ok)
		buf_consume(b, len);
	*ret_more = buf_len(b) > 0;
	if (!*ret_more)
		buf_free(b);
	pthread_mutex_unlock(&w->lock);
	return ok;
}

unsigned watch_due(struct watch *w, const struct worker *worker, struct conn *ret_conns[WATCH_MAX])
{
	unsigned n = 0;
	pthread_mutex_lock(&w->lock);
	for (unsigned i = 0; i < w->n; i++) {
		struct watcher *to = &w->watcher[i];
		if (to->conn->worker == worker && to->conn->state == CONN_READING && buf_len(&to->waits) > 0)
			ret_conns[n++] = to->conn;
	}
	pthread_mutex_unlock(&w->lock);
	return n;
}

void watch_get_figures(struct watch *w, struct watch_figures *ret)
{
	pthread_mutex_lock(&w->lock);
	*ret = (struct watch_figures){w->n, w->sent, w->skipped, w->written};
	pthread_mutex_unlock(&w->lock);
}
