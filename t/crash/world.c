/* SPDX-License-Identifier: BSD-3-Clause */
/* world: see world.h. */
#include "world.h"

#include <stdlib.h>
#include <string.h>
#include "base/check.h"

void *(*must_calloc)(size_t n, size_t size) = calloc;
void *(*must_reallocate)(void *p, size_t size) = realloc;

void *must_alloc(size_t size)
{
	void *p = must_calloc(1, size ? size : 1);
	CHECK(p);
	return p;
}

void *must_realloc(void *p, size_t size)
{
	p = must_reallocate(p, size ? size : 1);
	CHECK(p);
	return p;
}

/* ---- parts ---- */

void bytes_put(struct bytes *b, size_t at, const void *data, size_t len)
{
	size_t end = at + len;
	if (len == 0)
		return;
	if (end > b->room) {
		b->room = end + end / 2 + 256;
		b->data = must_realloc(b->data, b->room);
	}
	if (at > b->len)
		memset(b->data + b->len, 0, at - b->len);
	memcpy(b->data + at, data, len);
	if (end > b->len)
		b->len = end;
}

static void bytes_copy(struct bytes *to, const struct bytes *from)
{
	*to = (struct bytes){0};
	bytes_put(to, 0, from->data, from->len);
}

int names_find(const struct name *names, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(names[i].name, name) == 0)
			return names[i].inode;
	return -1;
}

void names_drop(struct name *names, size_t *n, const char *name)
{
	for (size_t i = 0; i < *n; i++)
		if (strcmp(names[i].name, name) == 0) {
			names[i] = names[--*n];
			return;
		}
}

void names_set(struct name **names, size_t *n, size_t *room, const char *name, int inode)
{
	for (size_t i = 0; i < *n; i++)
		if (strcmp((*names)[i].name, name) == 0) {
			(*names)[i].inode = inode;
			return;
		}
	if (*n == *room) {
		*room = *room ? *room * 2 : 16;
		*names = must_realloc(*names, *room * sizeof(**names));
	}
	struct name *entry = &(*names)[(*n)++];
	memset(entry, 0, sizeof(*entry));
	memcpy(entry->name, name, strlen(name) + 1);
	entry->inode = inode;
}

void names_change(struct name **names, size_t *n, size_t *room, const struct event *e, int inode)
{
	switch (e->kind) {
	case EVENT_UNLINK:
		names_drop(*names, n, e->name);
		break;
	case EVENT_RENAME:
		names_drop(*names, n, e->name);
		names_set(names, n, room, e->name2, inode);
		break;
	default:
		names_set(names, n, room, e->name, inode);
	}
}

/* ---- worlds ---- */

static int add_inode(struct world *w, bool dir)
{
	if (w->n == w->room) {
		w->room = w->room ? w->room * 2 : 16;
		w->inode = must_realloc(w->inode, (size_t)w->room * sizeof(*w->inode));
	}
	w->inode[w->n] = (struct inode){.dir = dir};
	return w->n++;
}

void world_init(struct world *w)
{
	*w = (struct world){0};
	add_inode(w, true);
	add_inode(w, true);
}

void world_free(struct world *w)
{
	for (int i = 0; i < w->n; i++) {
		struct inode *f = &w->inode[i];
		free(f->synced.data);
		free(f->cached.data);
		free(f->synced_names);
		free(f->cached_names);
		free(f->pending);
	}
	free(w->inode);
	*w = (struct world){0};
}

static struct name *copy_names(const struct name *names, size_t n)
{
	struct name *copy = must_alloc(n * sizeof(*copy));
	if (n)
		memcpy(copy, names, n * sizeof(*copy));
	return copy;
}

void world_copy(struct world *to, const struct world *from)
{
	*to = (struct world){.n = from->n, .room = from->n};
	to->inode = must_alloc((size_t)from->n * sizeof(*to->inode));
	for (int i = 0; i < from->n; i++) {
		const struct inode *f = &from->inode[i];
		struct inode *t = &to->inode[i];
		*t = *f;
		bytes_copy(&t->synced, &f->synced);
		bytes_copy(&t->cached, &f->cached);
		t->synced_names = copy_names(f->synced_names, f->n_synced);
		t->cached_names = copy_names(f->cached_names, f->n_cached);
		t->room_synced = f->n_synced;
		t->room_cached = f->n_cached;
		t->pending = must_alloc(f->n_pending * sizeof(*t->pending));
		t->room_pending = f->n_pending;
		if (f->n_pending)
			memcpy(t->pending, f->pending, f->n_pending * sizeof(*t->pending));
	}
}

int world_find(const struct world *w, int dir, const char *name)
{
	return names_find(w->inode[dir].cached_names, w->inode[dir].n_cached, name);
}

static void add_pending(struct inode *f, const struct event *e, uint32_t at, int inode)
{
	if (f->n_pending == f->room_pending) {
		f->room_pending = f->room_pending ? f->room_pending * 2 : 8;
		f->pending = must_realloc(f->pending, f->room_pending * sizeof(*f->pending));
	}
	f->pending[f->n_pending++] = (struct pending){.event = e, .at = at, .inode = inode};
}

/* What lies before event `since` becomes durable, but for what an earlier fsync has lost. */
static void sync(struct inode *f, uint32_t since)
{
	size_t left = 0;
	for (size_t i = 0; i < f->n_pending; i++) {
		struct pending *p = &f->pending[i];
		if (p->at >= since || p->lost)
			f->pending[left++] = *p;
		else if (f->dir)
			names_change(&f->synced_names, &f->n_synced, &f->room_synced, p->event, p->inode);
		else
			bytes_put(&f->synced, p->event->at, p->event->data, p->event->len);
	}
	f->n_pending = left;
}

static void change_names(struct world *w, const struct event *e, uint32_t at)
{
	int inode = e->inode;
	if (e->kind == EVENT_CREATE || e->kind == EVENT_MKDIR)
		inode = add_inode(w, e->kind == EVENT_MKDIR);
	if (e->kind == EVENT_CREATE && strncmp(e->name, "log-", 4) == 0)
		w->inode[inode].is_log = true;
	if (e->kind == EVENT_CREATE)
		w->inode[inode].mtime = e->wall;
	if (e->kind == EVENT_RENAME)
		inode = world_find(w, e->dir, e->name);
	struct inode *d = &w->inode[e->dir];
	names_change(&d->cached_names, &d->n_cached, &d->room_cached, e, inode);
	add_pending(d, e, at, inode);
}

void world_apply(struct world *w, const struct event *e, uint32_t at)
{
	struct inode *f = &w->inode[e->inode];
	switch (e->kind) {
	case EVENT_WRITE:
		bytes_put(&f->cached, e->at, e->data, e->len);
		f->mtime = e->wall;
		add_pending(f, e, at, -1);
		break;
	case EVENT_SYNC:
		sync(f, e->since);
		break;
	case EVENT_SYNC_FAILED:
		for (size_t i = 0; i < f->n_pending; i++)
			f->pending[i].lost |= f->pending[i].at < e->since;
		break;
	case EVENT_BEGIN:
	case EVENT_ACK:
	case EVENT_MARK:
		break;
	default:
		change_names(w, e, at);
	}
}

bool world_log_unsynced(const struct world *w, uint32_t at)
{
	for (int i = 0; i < w->n; i++) {
		const struct inode *f = &w->inode[i];
		for (size_t k = 0; f->is_log && k < f->n_pending; k++)
			if (f->pending[k].at < at)
				return true;
	}
	return false;
}
