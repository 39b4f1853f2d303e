/* SPDX-License-Identifier: BSD-3-Clause */
/* gate: an engine in a directory of its own, behind a file system that a test can hold up or let fail, and one-line calls
 * of it. */
#ifndef UNIT_GATE_H
#define UNIT_GATE_H

#include "persist/quota.h"
#include "written.h"

/* ---- a file system with a gate ---- */

struct gate {
	struct vfs vfs;
	pthread_mutex_t lock;
	pthread_cond_t opened;
	bool shut;                              /* writes to the log wait; the lock is held */
	_Atomic bool waits;                     /* one does, or has */
	_Atomic bool fail_snapshots;            /* fsync of a snapshot's unfinished file fails */
	void (*_Atomic beside)(struct gate *g); /* called once a snapshot, while it is made */
	_Atomic bool besides;
	/* So many of these calls on a segment of the log fail with `error`; -1: all. */
	_Atomic int fail_writes, fail_syncs;
	_Atomic int pass_writes, pass_creates; /* so many go well before those that fail */
	_Atomic int fail_opens;                /* of segments, for reading */
	_Atomic int fail_allocations;          /* of any file */
	_Atomic int fail_creates;              /* of segments and of their replacements */
	_Atomic int fail_manifests;            /* of the manifest's next version */
	_Atomic int error;
	bool hold_syncs;                     /* syncs of the log wait; the lock is held */
	_Atomic bool sync_waits;             /* one does, or has */
	char failed[256];                    /* the file of the last sync that failed */
	_Atomic unsigned again, allocations; /* syncs of that file since; segments allocated ahead */
	struct engine *engine;               /* for what is to be compared when a snapshot is published */
	unsigned published, early;
};

/* The name that a descriptor was opened by. */
static inline void name_of(int fd, char out[256])
{
	char link[64];
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, out, 255);
	out[n < 0 ? 0 : n] = 0;
}

static inline bool gate_fails(struct gate *g, _Atomic int *left)
{
	pthread_mutex_lock(&g->lock);
	bool fails = *left != 0;
	*left -= *left > 0;
	pthread_mutex_unlock(&g->lock);
	if (fails)
		errno = g->error;
	return fails;
}

static inline bool gate_passes(struct gate *g, _Atomic int *left)
{
	pthread_mutex_lock(&g->lock);
	bool passes = *left > 0;
	*left -= passes;
	pthread_mutex_unlock(&g->lock);
	return passes;
}

static inline int gate_openat(void *ctx, int dirfd, const char *name, int flags, mode_t mode)
{
	struct gate *g = ctx;
	bool creates = flags & O_CREAT, log = strncmp(name, "log-", 4) == 0;
	if (log && creates && !gate_passes(g, &g->pass_creates) && gate_fails(g, &g->fail_creates))
		return -1;
	if (log && !creates && gate_fails(g, &g->fail_opens))
		return -1;
	if (flags & O_CREAT && strncmp(name, "MANIFEST", 8) == 0 && gate_fails(g, &g->fail_manifests))
		return -1;
	return vfs_posix()->openat(NULL, dirfd, name, flags, mode);
}

static inline int gate_fallocate(void *ctx, int fd, int mode, off_t at, off_t len)
{
	struct gate *g = ctx;
	char name[256];
	name_of(fd, name);
	if (gate_fails(g, &g->fail_allocations))
		return -1;
	g->allocations += strstr(name, "/log-") != NULL && len >= (off_t)MIB;
	return vfs_posix()->fallocate(NULL, fd, mode, at, len);
}

static inline int gate_fdatasync(void *ctx, int fd)
{
	struct gate *g = ctx;
	char name[256];
	name_of(fd, name);
	if (!strstr(name, "/log-"))
		return vfs_posix()->fdatasync(NULL, fd);
	pthread_mutex_lock(&g->lock);
	while (g->hold_syncs) {
		g->sync_waits = true;
		pthread_cond_wait(&g->opened, &g->lock);
	}
	g->again += strcmp(name, g->failed) == 0;
	pthread_mutex_unlock(&g->lock);
	if (!gate_fails(g, &g->fail_syncs))
		return vfs_posix()->fdatasync(NULL, fd);
	pthread_mutex_lock(&g->lock);
	memcpy(g->failed, name, sizeof(g->failed));
	pthread_mutex_unlock(&g->lock);
	errno = g->error;
	return -1;
}

static inline ssize_t gate_writev(void *ctx, int fd, const struct iovec *iov, int n)
{
	struct gate *g = ctx;
	char name[256];
	name_of(fd, name);
	pthread_mutex_lock(&g->lock);
	while (g->shut && strstr(name, "/log-")) {
		g->waits = true;
		pthread_cond_wait(&g->opened, &g->lock);
	}
	pthread_mutex_unlock(&g->lock);
	if (strstr(name, "/log-") && !gate_passes(g, &g->pass_writes) && gate_fails(g, &g->fail_writes))
		return -1;
	if (g->beside && !g->besides && strstr(name, "/snapshot-")) {
		g->besides = true;
		g->beside(g);
	}
	return vfs_posix()->writev(NULL, fd, iov, n);
}

static inline int gate_fsync(void *ctx, int fd)
{
	struct gate *g = ctx;
	char name[256];
	name_of(fd, name);
	if (g->fail_snapshots && strstr(name, "/snapshot-")) {
		errno = EIO;
		return -1;
	}
	return vfs_posix()->fsync(NULL, fd);
}

/* A snapshot is published: the log must be durable up to its end by now. */
static inline int gate_renameat(void *ctx, int dirfd, const char *from, const char *to)
{
	struct gate *g = ctx;
	struct snapshot_reader *reader;
	if (g->engine && strncmp(to, "snapshot-", 9) == 0) {
		MUST(snapshot_open(&reader, NULL, dirfd, from, NULL, NULL) == HEARTH_OK);
		g->published++;
		g->besides = false;
		g->early += wal_durable(g->engine->wal) < snapshot_get_footer(reader)->end;
		snapshot_close(&reader);
	}
	return vfs_posix()->renameat(NULL, dirfd, from, to);
}

static inline void gate_set(struct gate *g, bool shut)
{
	pthread_mutex_lock(&g->lock);
	g->shut = shut;
	pthread_cond_broadcast(&g->opened);
	pthread_mutex_unlock(&g->lock);
}

static inline void gate_init(struct gate *g)
{
	*g = (struct gate){
	    .vfs = *vfs_posix(), .lock = PTHREAD_MUTEX_INITIALIZER, .opened = PTHREAD_COND_INITIALIZER};
	g->vfs.ctx = g;
	g->vfs.writev = gate_writev;
	g->vfs.fsync = gate_fsync;
	g->vfs.openat = gate_openat;
	g->vfs.fdatasync = gate_fdatasync;
	g->vfs.fallocate = gate_fallocate;
	g->error = EIO;
	g->vfs.renameat = gate_renameat;
}

static inline struct engine *engine_behind(struct gate *g, const char *path, const struct engine_options *o)
{
	struct datadir *dir;
	struct hearth_error err = {0};
	gate_init(g);
	MUST(datadir_open(&dir, &g->vfs, path, true, true, NULL, &err) == HEARTH_OK);
	MUST(engine_open(&g->engine, o, dir, &err) == HEARTH_OK);
	MUST(engine_recover(g->engine, NULL, &err) == HEARTH_OK);
	return g->engine;
}

/* ---- one engine in its directory ---- */

struct place {
	struct unit_scratch s;
	struct engine_options options;
	struct engine *e;
	struct engine_worker *w;
};

static inline struct place place_make(void)
{
	struct place p = {.s = unit_scratch_begin(), .options = engine_defaults()};
	p.e = engine_at(p.s.path, &p.options, NULL);
	p.w = engine_get_worker(p.e, 0);
	alarm(60); /* a test that waits for ever fails */
	return p;
}

static inline struct place place_behind(struct gate *g, const struct engine_options *options)
{
	struct place p = {.s = unit_scratch_begin(), .options = *options};
	p.e = engine_behind(g, p.s.path, &p.options);
	p.w = engine_get_worker(p.e, 0);
	alarm(60);
	return p;
}

/* As after a kill: nothing says that it ended in order. */
static inline void place_again(struct place *p)
{
	engine_close(&p->e);
	p->e = engine_at(p->s.path, &p->options, NULL);
	p->w = engine_get_worker(p->e, 0);
}

/* With --max-disk: a file of no use grows until there is no more room than that. */
static inline void fill(struct place *p, uint64_t room)
{
	static const uint8_t data[16 * KIB] = {1};
	const struct vfs *vfs = quota_vfs(p->e->files.quota);
	int fd = vfs_open(vfs, p->s.fd, "ballast", O_WRONLY | O_CREAT);
	assert_true(fd >= 0);
	while (quota_room(p->e->files.quota) > room)
		assert_int_equal(vfs_write_all(vfs, fd, data, sizeof(data)), 0);
	vfs->close(vfs->ctx, fd);
}

static inline void place_end(struct place *p)
{
	engine_close(&p->e);
	unit_scratch_end(&p->s);
	alarm(0);
}

static inline struct store_key key_at(struct engine_worker *w, uint32_t key, char name[32])
{
	return engine_key(w, name, key_name(name, key));
}

static inline enum store_result put_len(
    struct engine_worker *w, enum store_mode mode, uint32_t key, size_t len, int64_t expiry)
{
	static uint8_t value[64 * KIB];
	char name[32];
	struct store_key k = key_at(w, key, name);
	struct store_put put = {.mode = mode, .value = value, .value_len = len, .expiry = expiry};
	return engine_put(w, &k, &put, NULL);
}

/* One turn with one set; waits until a kill cannot take it back. */
static inline void set(struct place *p, uint32_t key, int64_t expiry)
{
	engine_turn(p->w);
	assert_int_equal(put_len(p->w, STORE_SET, key, 10, expiry), STORE_OK);
	uint64_t need = engine_need(p->w);
	engine_turn_end(p->w);
	engine_await(p->e, need);
}

static inline bool shown_any(void *arg, const struct store_view *view)
{
	(void)arg;
	(void)view;
	return true;
}

static inline bool there(struct place *p, uint32_t key)
{
	char name[32];
	engine_turn(p->w);
	struct store_key k = key_at(p->w, key, name);
	enum store_result r = engine_get(p->w, &k, shown_any, NULL);
	uint64_t need = engine_need(p->w);
	engine_turn_end(p->w);
	engine_await(p->e, need);
	return r == STORE_OK;
}

static inline void flush(struct place *p, int64_t due)
{
	engine_turn(p->w);
	assert_int_equal(engine_flush(p->w, due), STORE_OK);
	uint64_t need = engine_need(p->w);
	engine_turn_end(p->w);
	engine_await(p->e, need);
}

static inline int64_t pending(struct place *p)
{
	struct engine_stats st;
	engine_get_stats(p->e, &st);
	return st.flush_due;
}

#endif
