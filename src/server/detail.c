/* SPDX-License-Identifier: BSD-3-Clause */
/* detail: see detail.h. */
#include "server/detail.h"

#include <inttypes.h>
#include <pthread.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/check.h"

struct prefix {
	struct prefix *next;
	uint64_t gets, hits, sets, deletes;
	size_t len;
	uint8_t text[];
};

struct detail {
	pthread_mutex_t lock;
	char delimiter;
	void *tree;           /* tsearch's */
	struct prefix *first; /* the same ones, to walk */
	size_t n;
};

static int compare(const void *a, const void *b)
{
	const struct prefix *p = a, *q = b;
	return p->len != q->len ? (p->len < q->len ? -1 : 1) : memcmp(p->text, q->text, p->len);
}

struct detail *detail_open(char delimiter)
{
	struct detail *d = calloc(1, sizeof *d);
	if (!d)
		return NULL;
	pthread_mutex_init(&d->lock, NULL);
	d->delimiter = delimiter;
	return d;
}

/* The lock is held, or nobody else is there. */
static void forget(struct detail *d)
{
	while (d->first) {
		struct prefix *p = d->first;
		d->first = p->next;
		tdelete(p, &d->tree, compare);
		free(p);
	}
	CHECK(d->tree == NULL);
	d->n = 0;
}

void detail_close(struct detail **detail)
{
	struct detail *d = *detail;
	*detail = NULL;
	if (!d)
		return;
	forget(d);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

/* The one that is there, or a new one; NULL: no memory, or too many. */
static struct prefix *find(struct detail *d, const uint8_t *text, size_t len)
{
	struct prefix *p = malloc(sizeof *p + len);
	if (!p)
		return NULL;
	*p = (struct prefix){.len = len};
	memcpy(p->text, text, len);
	void *there = tfind(p, &d->tree, compare);
	if (!there && d->n < DETAIL_PREFIXES) {
		there = tsearch(p, &d->tree, compare);
		if (there) {
			p->next = d->first;
			d->first = p;
			d->n++;
			return p;
		}
	}
	free(p);
	return there ? *(struct prefix **)there : NULL;
}

void detail_count(struct detail *d, enum detail_event event, const uint8_t *key, size_t len)
{
	const uint8_t *end = memchr(key, d->delimiter, len);
	if (!end)
		return;
	pthread_mutex_lock(&d->lock);
	struct prefix *p = find(d, key, (size_t)(end - key));
	if (p) {
		p->gets += event == DETAIL_MISS || event == DETAIL_HIT;
		p->hits += event == DETAIL_HIT;
		p->sets += event == DETAIL_SET;
		p->deletes += event == DETAIL_DELETE;
	}
	pthread_mutex_unlock(&d->lock);
}

bool detail_print(struct detail *d, struct buf *out)
{
	bool ok = true;
	pthread_mutex_lock(&d->lock);
	for (const struct prefix *p = d->first; p && ok; p = p->next) {
		char numbers[160];
		int n = snprintf(numbers, sizeof numbers,
		    " get %" PRIu64 " hit %" PRIu64 " set %" PRIu64 " del %" PRIu64 "\r\n", p->gets, p->hits,
		    p->sets, p->deletes);
		ok = buf_append(out, "PREFIX ", 7) && buf_append(out, p->text, p->len) &&
		     buf_append(out, numbers, (size_t)n);
	}
	pthread_mutex_unlock(&d->lock);
	return ok;
}

void detail_reset(struct detail *d)
{
	pthread_mutex_lock(&d->lock);
	forget(d);
	pthread_mutex_unlock(&d->lock);
}
