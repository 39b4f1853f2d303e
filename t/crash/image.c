/* SPDX-License-Identifier: BSD-3-Clause */
/* image: see image.h. */
#include "image.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "base/check.h"

#define SECTOR 512u

/* ---- from a world ---- */

static void add_file(
    struct image *im, const char *dir, const char *name, const struct bytes *bytes, int64_t mtime)
{
	if (im->n % 16 == 0)
		im->file = must_realloc(im->file, (im->n + 16) * sizeof(*im->file));
	struct image_file *f = &im->file[im->n++];
	memset(f, 0, sizeof(*f));
	CHECK(snprintf(f->name, sizeof(f->name), "%s%s", dir, name) < (int)sizeof(f->name));
	bytes_put(&f->bytes, 0, bytes->data, bytes->len);
	f->mtime = mtime;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct image_file *)a)->name, ((const struct image_file *)b)->name);
}

static void sort(struct image *im)
{
	if (im->n)
		qsort(im->file, im->n, sizeof(*im->file), by_name);
}

void image_of_cache(struct image *im, const struct world *w)
{
	*im = (struct image){0};
	const struct inode *root = &w->inode[0];
	for (size_t i = 0; i < root->n_cached; i++) {
		const struct inode *f = &w->inode[root->cached_names[i].inode];
		if (!f->dir)
			add_file(im, "", root->cached_names[i].name, &f->cached, f->mtime);
		for (size_t k = 0; f->dir && k < f->n_cached; k++)
			add_file(im, "set-aside/", f->cached_names[k].name,
			    &w->inode[f->cached_names[k].inode].cached,
			    w->inode[f->cached_names[k].inode].mtime);
	}
	sort(im);
}

size_t image_unsynced(const struct world *w, struct unsynced **ret)
{
	size_t n = 0, room = 16;
	*ret = must_alloc(room * sizeof(**ret));
	for (int i = 0; i < w->n; i++) {
		const struct inode *f = &w->inode[i];
		for (size_t k = 0; k < f->n_pending; k++) {
			const struct pending *p = &f->pending[k];
			if (p->lost)
				continue;
			if (n == room) {
				room *= 2;
				*ret = must_realloc(*ret, room * sizeof(**ret));
			}
			(*ret)[n++] = (struct unsynced){.inode = i,
			    .index = k,
			    .at = p->at,
			    .names = f->dir,
			    .first = f->dir ? 0 : p->event->at,
			    .len = f->dir ? 0 : p->event->len};
		}
	}
	return n;
}

/* Those sectors of a write that have landed; the file is at least as long as the last of them makes it. */
static void put_sectors(struct bytes *b, const struct event *e, uint64_t mask)
{
	size_t first = e->at / SECTOR;
	for (size_t s = first; s * SECTOR < e->at + e->len; s++) {
		size_t bit = s - first < 63 ? s - first : 63;
		size_t from = s * SECTOR < e->at ? e->at : s * SECTOR, to = (s + 1) * SECTOR;
		if (to > e->at + e->len)
			to = e->at + e->len;
		if (mask >> bit & 1)
			bytes_put(b, from, e->data + (from - e->at), to - from);
	}
}

static void land(struct bytes *b, const struct event *e, const struct choice *c)
{
	uint8_t *zeros;
	switch (c->fate) {
	case FATE_KEEP:
		bytes_put(b, e->at, e->data, e->len);
		break;
	case FATE_ZERO:
		zeros = must_alloc(e->len);
		bytes_put(b, e->at, zeros, e->len);
		free(zeros);
		break;
	case FATE_SECTORS:
		put_sectors(b, e, c->sectors);
		break;
	case FATE_DROP:
		break;
	}
}

/* Contents of one file after the cut. */
static struct bytes settle_file(
    const struct world *w, int inode, const struct unsynced *u, size_t n, const struct choice *choice)
{
	const struct inode *f = &w->inode[inode];
	struct bytes b = {0};
	bytes_put(&b, 0, f->synced.data, f->synced.len);
	for (size_t i = 0; i < n; i++)
		if (u[i].inode == inode)
			land(&b, f->pending[u[i].index].event, &choice[i]);
	return b;
}

struct names {
	struct name *name;
	size_t n, room;
};

static struct names settle_names(
    const struct world *w, int inode, const struct unsynced *u, size_t n, const struct choice *choice)
{
	const struct inode *d = &w->inode[inode];
	struct names names = {0};
	for (size_t i = 0; i < d->n_synced; i++)
		names_set(
		    &names.name, &names.n, &names.room, d->synced_names[i].name, d->synced_names[i].inode);
	for (size_t i = 0; i < n; i++)
		if (u[i].inode == inode && choice[i].fate == FATE_KEEP) {
			const struct pending *p = &d->pending[u[i].index];
			names_change(&names.name, &names.n, &names.room, p->event, p->inode);
		}
	return names;
}

static void settle_dir(struct image *im, const struct world *w, int inode, const char *prefix,
    const struct unsynced *u, size_t n, const struct choice *choice)
{
	struct names names = settle_names(w, inode, u, n, choice);
	for (size_t i = 0; i < names.n; i++) {
		int file = names.name[i].inode;
		if (w->inode[file].dir) {
			settle_dir(im, w, file, "set-aside/", u, n, choice);
			continue;
		}
		struct bytes b = settle_file(w, file, u, n, choice);
		add_file(im, prefix, names.name[i].name, &b, w->inode[file].mtime);
		free(b.data);
	}
	free(names.name);
}

void image_of_disk(
    struct image *im, const struct world *w, const struct unsynced *u, size_t n, const struct choice *choice)
{
	*im = (struct image){0};
	settle_dir(im, w, 0, "", u, n, choice);
	sort(im);
}

/* ---- as a value ---- */

void image_copy(struct image *to, const struct image *from)
{
	*to = (struct image){0};
	for (unsigned i = 0; i < from->n; i++)
		add_file(to, "", from->file[i].name, &from->file[i].bytes, from->file[i].mtime);
}

void image_free(struct image *im)
{
	for (unsigned i = 0; i < im->n; i++)
		free(im->file[i].bytes.data);
	free(im->file);
	*im = (struct image){0};
}

struct image_file *image_find(struct image *im, const char *name)
{
	for (unsigned i = 0; i < im->n; i++)
		if (strcmp(im->file[i].name, name) == 0)
			return &im->file[i];
	return NULL;
}

unsigned image_list(struct image *im, const char *prefix, struct image_file **ret, unsigned max)
{
	unsigned n = 0;
	for (unsigned i = 0; i < im->n && n < max; i++)
		if (strncmp(im->file[i].name, prefix, strlen(prefix)) == 0)
			ret[n++] = &im->file[i];
	return n;
}

static uint64_t mix(uint64_t h, const void *data, size_t len)
{
	const uint8_t *at = data;
	while (len >= 8) {
		uint64_t word;
		memcpy(&word, at, 8);
		h = (h ^ word) * UINT64_C(0x9fb21c651e98df25);
		h ^= h >> 32;
		at += 8;
		len -= 8;
	}
	for (; len > 0; len--)
		h = (h ^ *at++) * UINT64_C(0x100000001b3);
	return h ^ h >> 29;
}

uint64_t image_hash(const struct image *im)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);
	for (unsigned i = 0; i < im->n; i++) {
		const struct image_file *f = &im->file[i];
		h = mix(h, f->name, strlen(f->name) + 1);
		h = mix(h, &f->bytes.len, sizeof(f->bytes.len));
		h = mix(h, f->bytes.data, f->bytes.len);
	}
	return h ? h : 1;
}

bool image_same(const struct image *a, const struct image *b)
{
	bool same = a->n == b->n;
	for (unsigned i = 0; same && i < a->n; i++)
		same = strcmp(a->file[i].name, b->file[i].name) == 0 &&
		       a->file[i].bytes.len == b->file[i].bytes.len &&
		       (a->file[i].bytes.len == 0 ||
		           memcmp(a->file[i].bytes.data, b->file[i].bytes.data, a->file[i].bytes.len) == 0);
	return same;
}

static struct event name_event(enum event_kind kind, int dir, const char *name)
{
	struct event e = {.kind = kind, .dir = dir};
	memcpy(e.name, name, strlen(name) + 1);
	return e;
}

void image_world(const struct image *im, struct world *ret)
{
	world_init(ret);
	for (unsigned i = 0; i < im->n; i++) {
		const char *name = im->file[i].name, *slash = strchr(name, '/');
		int dir = 0;
		/* Pending until the root is synced, below. */
		const struct event made = name_event(EVENT_MKDIR, 0, "set-aside");
		if (slash) {
			if (world_find(ret, 0, "set-aside") < 0)
				world_apply(ret, &made, 0);
			dir = world_find(ret, 0, "set-aside");
			name = slash + 1;
		}
		struct event e = name_event(EVENT_CREATE, dir, name);
		world_apply(ret, &e, 0);
		struct inode *f = &ret->inode[ret->n - 1];
		f->mtime = im->file[i].mtime;
		bytes_put(&f->cached, 0, im->file[i].bytes.data, im->file[i].bytes.len);
		bytes_put(&f->synced, 0, im->file[i].bytes.data, im->file[i].bytes.len);
		struct event sync_parent = {.kind = EVENT_SYNC, .inode = dir, .since = 1};
		world_apply(ret, &sync_parent, 0);
		struct event sync_root = {.kind = EVENT_SYNC, .inode = 0, .since = 1};
		world_apply(ret, &sync_root, 0);
	}
}

/* ---- as files ---- */

bool image_write(const struct image *im, const char *path)
{
	char file[512];
	bool ok = mkdir(path, 0700) == 0;
	for (unsigned i = 0; ok && i < im->n; i++) {
		if (strchr(im->file[i].name, '/')) {
			snprintf(file, sizeof(file), "%s/set-aside", path);
			if (mkdir(file, 0700) != 0 && errno != EEXIST)
				return false;
		}
		snprintf(file, sizeof(file), "%s/%s", path, im->file[i].name);
		FILE *f = fopen(file, "we");
		ok =
		    f && fwrite(im->file[i].bytes.data, 1, im->file[i].bytes.len, f) == im->file[i].bytes.len;
		const struct timespec times[2] = {
		    {.tv_sec = im->file[i].mtime}, {.tv_sec = im->file[i].mtime}};
		ok = f && fchmod(fileno(f), 0600) == 0 && fflush(f) == 0 && ok;
		ok = f && futimens(fileno(f), times) == 0 && fclose(f) == 0 && ok;
	}
	return ok;
}

static bool read_file(struct image *im, const char *dir, const char *prefix, const char *name)
{
	char path[512];
	struct bytes b = {0};
	uint8_t buf[4096];
	size_t n;
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	FILE *f = fopen(path, "re");
	if (!f)
		return false;
	while ((n = fread(buf, 1, sizeof(buf), f)) > 0)
		bytes_put(&b, b.len, buf, n);
	struct stat st = {0};
	fstat(fileno(f), &st);
	fclose(f);
	add_file(im, prefix, name, &b, st.st_mtim.tv_sec);
	free(b.data);
	return true;
}

static bool read_dir(struct image *im, const char *path, const char *prefix)
{
	DIR *dir = opendir(path);
	struct dirent *d;
	bool ok = dir != NULL;
	while (ok && (d = readdir(dir)) != NULL) {
		char sub[512];
		if (d->d_name[0] == '.')
			continue;
		if (d->d_type != DT_DIR) {
			ok = read_file(im, path, prefix, d->d_name);
			continue;
		}
		snprintf(sub, sizeof(sub), "%s/%s", path, d->d_name);
		ok = read_dir(im, sub, "set-aside/");
	}
	if (dir)
		closedir(dir);
	return ok;
}

bool image_read(struct image *im, const char *path)
{
	*im = (struct image){0};
	bool ok = read_dir(im, path, "");
	sort(im);
	return ok;
}
