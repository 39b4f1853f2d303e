/* SPDX-License-Identifier: BSD-3-Clause */
/* memfs: see memfs.h. */
#include "memfs.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include "base/check.h"
#include "fake.h"

#define FD_BASE 100000
#define BOOT_ID (-1)

static struct memfs *enter(void *ctx)
{
	struct memfs *fs = ctx;
	pthread_mutex_lock(&fs->lock);
	return fs;
}

static int leave(struct memfs *fs, int ret, int error)
{
	pthread_mutex_unlock(&fs->lock);
	if (ret < 0)
		errno = error;
	return ret;
}

/* Whether the fault strikes this call. */
static bool strikes(struct memfs *fs, enum memfs_op kind)
{
	const struct memfs_fault *f = &fs->fault;
	fs->calls += (kind & (MEMFS_WRITE | MEMFS_SYNC | MEMFS_NAME)) != 0;
	if (!(f->kinds & kind))
		return false;
	fs->counted++;
	bool now = f->nth && (fs->counted == f->nth || (f->forever && fs->counted > f->nth));
	fs->struck += now;
	return now;
}

/* ---- events ---- */

/* The event stays where it is and what it is; the array of chunks moves when another one begins. */
const struct event *memfs_event(struct memfs *fs, uint32_t number)
{
	enter(fs);
	CHECK(number >= 1 && number <= fs->n_events);
	const struct event *e = &fs->chunk[(number - 1) / MEMFS_CHUNK][(number - 1) % MEMFS_CHUNK];
	leave(fs, 0, 0);
	return e;
}

/* The event happens. Without recording only what reads see is kept. */
static void happen(struct memfs *fs, const struct event *e)
{
	if (!fs->record) {
		struct event timed = *e;
		timed.wall = fake_wall();
		world_apply(&fs->now, &timed, 0);
		/* Nobody asks what a power cut would leave: nothing stays pending. */
		for (int i = 0; i < fs->now.n; i++)
			fs->now.inode[i].n_pending = 0;
		return;
	}
	if (fs->n_events % MEMFS_CHUNK == 0) {
		size_t chunks = fs->n_events / MEMFS_CHUNK + 1;
		fs->chunk = must_realloc(fs->chunk, chunks * sizeof(*fs->chunk));
		fs->chunk[chunks - 1] = must_alloc(MEMFS_CHUNK * sizeof(**fs->chunk));
	}
	struct event *kept = &fs->chunk[fs->n_events / MEMFS_CHUNK][fs->n_events % MEMFS_CHUNK];
	*kept = *e;
	kept->wall = fake_wall();
	if (e->data) {
		kept->data = must_alloc(e->len);
		memcpy(kept->data, e->data, e->len);
	}
	fs->n_events++;
	world_apply(&fs->now, kept, fs->n_events);
}

uint32_t memfs_last(struct memfs *fs)
{
	enter(fs);
	uint32_t n = fs->n_events;
	leave(fs, 0, 0);
	return n;
}

uint32_t memfs_note(struct memfs *fs, enum event_kind kind, size_t at)
{
	struct event e = {.kind = kind, .at = at};
	enter(fs);
	happen(fs, &e);
	uint32_t n = fs->n_events;
	leave(fs, 0, 0);
	return n;
}

static struct event name_event(enum event_kind kind, int dir, const char *name, const char *name2, int inode)
{
	struct event e = {.kind = kind, .dir = dir, .inode = inode};
	CHECK(strlen(name) < WORLD_NAME && strlen(name2) < WORLD_NAME);
	memcpy(e.name, name, strlen(name) + 1);
	memcpy(e.name2, name2, strlen(name2) + 1);
	return e;
}

/* ---- descriptors ---- */

static int give_fd(struct memfs *fs, int inode, int flags)
{
	for (int i = 0; i < MEMFS_FDS; i++) {
		if (fs->fd[i].used)
			continue;
		fs->fd[i] = (struct memfs_fd){.used = true,
		    .append = flags & O_APPEND,
		    .writable = (flags & O_ACCMODE) != O_RDONLY,
		    .dir = inode >= 0 && fs->now.inode[inode].dir,
		    .inode = inode};
		return FD_BASE + i;
	}
	return -EMFILE;
}

static struct memfs_fd *fd_of(struct memfs *fs, int fd)
{
	CHECK(fd >= FD_BASE && fd < FD_BASE + MEMFS_FDS && fs->fd[fd - FD_BASE].used);
	return &fs->fd[fd - FD_BASE];
}

/* The inode, or -errno. */
static int lookup(struct memfs *fs, int dirfd, const char *name, int flags)
{
	if (dirfd == AT_FDCWD) {
		if (strcmp(name, MEMFS_PATH) == 0)
			return 0;
		return strcmp(name, "/proc/sys/kernel/random/boot_id") == 0 ? BOOT_ID : -ENOENT;
	}
	int dir = fd_of(fs, dirfd)->inode;
	if (strcmp(name, "..") == 0)
		return 1;
	int inode = world_find(&fs->now, dir, name);
	if (inode >= 0 && (flags & O_CREAT) && (flags & O_EXCL))
		return -EEXIST;
	if (inode >= 0)
		return inode;
	if (!(flags & O_CREAT))
		return -ENOENT;
	if (strikes(fs, MEMFS_NAME))
		return -fs->fault.error;
	struct event e = name_event(EVENT_CREATE, dir, name, "", 0);
	happen(fs, &e);
	return world_find(&fs->now, dir, name);
}

static int mem_openat(void *ctx, int dirfd, const char *name, int flags, mode_t mode)
{
	struct memfs *fs = enter(ctx);
	(void)mode;
	if (strikes(fs, MEMFS_OPEN))
		return leave(fs, -1, fs->fault.error);
	int inode = lookup(fs, dirfd, name, flags);
	if (inode < BOOT_ID)
		return leave(fs, -1, -inode);
	if (inode == BOOT_ID && dirfd != AT_FDCWD)
		return leave(fs, -1, EPERM);
	if (inode >= 0 && (flags & O_DIRECTORY) && !fs->now.inode[inode].dir)
		return leave(fs, -1, ENOTDIR);
	int fd = give_fd(fs, inode, flags);
	return leave(fs, fd < 0 ? -1 : fd, -fd);
}

static int mem_close(void *ctx, int fd)
{
	struct memfs *fs = enter(ctx);
	fd_of(fs, fd)->used = false;
	if (fs->locked == fd)
		fs->locked = -1;
	return leave(fs, 0, 0);
}

static ssize_t mem_pread(void *ctx, int fd, void *data, size_t len, off_t at)
{
	struct memfs *fs = enter(ctx);
	struct memfs_fd *d = fd_of(fs, fd);
	if (strikes(fs, MEMFS_READ))
		return leave(fs, -1, fs->fault.error);
	const uint8_t *from = (const uint8_t *)fs->boot_id;
	size_t size = strlen(fs->boot_id);
	if (d->inode >= 0) {
		from = fs->now.inode[d->inode].cached.data;
		size = fs->now.inode[d->inode].cached.len;
	}
	size_t left = (size_t)at < size ? size - (size_t)at : 0;
	size_t n = len < left ? len : left;
	if (n)
		memcpy(data, from + at, n);
	leave(fs, 0, 0);
	return (ssize_t)n;
}

static void write_at(struct memfs *fs, struct memfs_fd *d, const void *data, size_t len)
{
	struct event e = {.kind = EVENT_WRITE,
	    .inode = d->inode,
	    .at = d->append ? fs->now.inode[d->inode].cached.len : d->pos,
	    .len = len,
	    .data = (uint8_t *)(uintptr_t)data};
	if (len == 0)
		return;
	happen(fs, &e);
	d->pos = e.at + len;
}

static ssize_t mem_writev(void *ctx, int fd, const struct iovec *iov, int n)
{
	struct bytes all = {0};
	struct memfs *fs = enter(ctx);
	struct memfs_fd *d = fd_of(fs, fd);
	bool fails = strikes(fs, MEMFS_WRITE);
	for (int i = 0; i < n; i++)
		bytes_put(&all, all.len, iov[i].iov_base, iov[i].iov_len);
	size_t len = !fails ? all.len : fs->fault.partly ? all.len / 2 : 0;
	int error = d->writable ? fs->fault.error : EBADF;
	fails = fails || !d->writable;
	if (d->writable)
		write_at(fs, d, all.data, len);
	free(all.data);
	leave(fs, 0, 0);
	if (fails && len == 0) {
		errno = error;
		return -1;
	}
	return (ssize_t)len;
}

static int mem_fsync(void *ctx, int fd)
{
	struct memfs *fs = enter(ctx);
	struct event e = {.kind = EVENT_SYNC, .inode = fd_of(fs, fd)->inode, .since = fs->n_events + 1};
	bool fails = strikes(fs, MEMFS_SYNC);
	struct dice dice = {fs->lag_state++};
	if (fs->lag && dice_one_in(&dice, fs->lag)) {
		leave(fs, 0, 0);
		for (unsigned i = dice_below(&dice, 20); i > 0; i--)
			sched_yield();
		enter(fs);
	}
	if (fails)
		e.kind = EVENT_SYNC_FAILED;
	happen(fs, &e);
	return leave(fs, fails ? -1 : 0, fs->fault.error);
}

static int mem_fallocate(void *ctx, int fd, int mode, off_t at, off_t len)
{
	struct memfs *fs = enter(ctx);
	struct memfs_fd *d = fd_of(fs, fd);
	if (strikes(fs, MEMFS_WRITE))
		return leave(fs, -1, fs->fault.error);
	size_t size = fs->now.inode[d->inode].cached.len, end = (size_t)at + (size_t)len;
	if (!(mode & FALLOC_FL_KEEP_SIZE) && end > size) {
		struct memfs_fd whole = {.inode = d->inode, .pos = size};
		uint8_t *zeros = must_alloc(end - size);
		write_at(fs, &whole, zeros, end - size);
		free(zeros);
	}
	return leave(fs, 0, 0);
}

static int mem_fstat(void *ctx, int fd, struct stat *ret_st)
{
	struct memfs *fs = enter(ctx);
	struct memfs_fd *d = fd_of(fs, fd);
	if (strikes(fs, MEMFS_STAT))
		return leave(fs, -1, fs->fault.error);
	*ret_st = (struct stat){.st_mode = (d->dir ? S_IFDIR | 0700 : S_IFREG | 0600),
	    .st_ino = (ino_t)(d->inode + 2),
	    .st_nlink = 1,
	    .st_size = d->inode < 0 ? 0 : (off_t)fs->now.inode[d->inode].cached.len,
	    .st_mtim = {.tv_sec = d->inode < 0 ? fake_wall() : fs->now.inode[d->inode].mtime}};
	return leave(fs, 0, 0);
}

/* ---- names ---- */

static int change(struct memfs *fs, struct event *e)
{
	if (strikes(fs, MEMFS_NAME))
		return leave(fs, -1, fs->fault.error);
	happen(fs, e);
	return leave(fs, 0, 0);
}

static int mem_renameat(void *ctx, int dirfd, const char *from, const char *to)
{
	struct memfs *fs = enter(ctx);
	int dir = fd_of(fs, dirfd)->inode;
	struct event e = name_event(EVENT_RENAME, dir, from, to, 0);
	return world_find(&fs->now, dir, from) < 0 ? leave(fs, -1, ENOENT) : change(fs, &e);
}

static int mem_linkat(void *ctx, int olddir, const char *from, int newdir, const char *to)
{
	struct memfs *fs = enter(ctx);
	int inode = world_find(&fs->now, fd_of(fs, olddir)->inode, from), dir = fd_of(fs, newdir)->inode;
	struct event e = name_event(EVENT_LINK, dir, to, "", inode);
	if (inode < 0)
		return leave(fs, -1, ENOENT);
	return world_find(&fs->now, dir, to) >= 0 ? leave(fs, -1, EEXIST) : change(fs, &e);
}

static int mem_unlinkat(void *ctx, int dirfd, const char *name)
{
	struct memfs *fs = enter(ctx);
	int dir = fd_of(fs, dirfd)->inode;
	struct event e = name_event(EVENT_UNLINK, dir, name, "", 0);
	return world_find(&fs->now, dir, name) < 0 ? leave(fs, -1, ENOENT) : change(fs, &e);
}

static int mem_mkdirat(void *ctx, int dirfd, const char *name, mode_t mode)
{
	struct memfs *fs = enter(ctx);
	(void)mode;
	int dir = fd_of(fs, dirfd)->inode;
	struct event e = name_event(EVENT_MKDIR, dir, name, "", 0);
	return world_find(&fs->now, dir, name) >= 0 ? leave(fs, -1, EEXIST) : change(fs, &e);
}

static int mem_flock(void *ctx, int fd, int how)
{
	struct memfs *fs = enter(ctx);
	if (strikes(fs, MEMFS_STAT))
		return leave(fs, -1, fs->fault.error);
	if ((how & LOCK_UN) && fs->locked == fd)
		fs->locked = -1;
	else if (!(how & LOCK_UN) && fs->locked >= 0 && fs->locked != fd)
		return leave(fs, -1, EWOULDBLOCK);
	else if (!(how & LOCK_UN))
		fs->locked = fd;
	return leave(fs, 0, 0);
}

static int mem_list(void *ctx, int dirfd, bool (*each)(void *arg, const char *name), void *arg)
{
	struct memfs *fs = enter(ctx);
	const struct inode *d = &fs->now.inode[fd_of(fs, dirfd)->inode];
	if (strikes(fs, MEMFS_STAT))
		return leave(fs, -1, fs->fault.error);
	for (size_t i = 0; i < d->n_cached; i++)
		if (!each(arg, d->cached_names[i].name))
			break;
	return leave(fs, 0, 0);
}

/* ---- the file system ---- */

static const struct vfs table = {
    .openat = mem_openat,
    .close = mem_close,
    .pread = mem_pread,
    .writev = mem_writev,
    .fsync = mem_fsync,
    .fdatasync = mem_fsync,
    .fallocate = mem_fallocate,
    .fstat = mem_fstat,
    .renameat = mem_renameat,
    .linkat = mem_linkat,
    .unlinkat = mem_unlinkat,
    .mkdirat = mem_mkdirat,
    .flock = mem_flock,
    .list = mem_list,
};

struct memfs *memfs_open(const struct world *start, bool record)
{
	struct memfs *fs = must_alloc(sizeof(*fs));
	fs->vfs = table;
	fs->vfs.ctx = fs;
	fs->record = record;
	fs->locked = -1;
	/* Who lists a directory may open what it is told of. */
	pthread_mutexattr_t again;
	pthread_mutexattr_init(&again);
	pthread_mutexattr_settype(&again, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&fs->lock, &again);
	pthread_mutexattr_destroy(&again);
	if (start)
		world_copy(&fs->now, start);
	else
		world_init(&fs->now);
	if (record)
		world_copy(&fs->start, &fs->now);
	memfs_set_boot(fs, 1);
	return fs;
}

void memfs_close(struct memfs **ref)
{
	struct memfs *fs = *ref;
	if (!fs)
		return;
	*ref = NULL;
	for (uint32_t i = 0; i < fs->n_events; i++)
		free(fs->chunk[i / MEMFS_CHUNK][i % MEMFS_CHUNK].data);
	for (uint32_t i = 0; i < fs->n_events; i += MEMFS_CHUNK)
		free(fs->chunk[i / MEMFS_CHUNK]);
	free(fs->chunk);
	world_free(&fs->now);
	world_free(&fs->start);
	pthread_mutex_destroy(&fs->lock);
	free(fs);
}

static bool machine_boot(char *out, size_t size)
{
	FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
	bool ok = f && fgets(out, (int)size, f) && strlen(out) >= 36;
	if (f)
		fclose(f);
	return ok;
}

void memfs_set_boot(struct memfs *fs, uint64_t boot)
{
	if (boot == 0 && machine_boot(fs->boot_id, sizeof(fs->boot_id)))
		return;
	snprintf(fs->boot_id, sizeof(fs->boot_id), "%08x-0000-4000-8000-%012llx\n", 0x600dcafe,
	    (unsigned long long)boot & 0xffffffffffffULL);
}

void memfs_set_fault(struct memfs *fs, const struct memfs_fault *fault)
{
	enter(fs);
	fs->fault = fault ? *fault : (struct memfs_fault){0};
	fs->struck = fs->counted = 0;
	leave(fs, 0, 0);
}
