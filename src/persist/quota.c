/* SPDX-License-Identifier: BSD-3-Clause */
/* quota: see quota.h. Each file that is open for writing has a row that says up to where its bytes are counted. */
#include "persist/quota.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <hearth/datadir.h>
#include "base/check.h"

#define QUOTA_MAGIC 0x51554f54u
#define BLOCK       UINT64_C(4096)

enum kind { LOG, SNAPSHOT, MANIFEST };

struct row {
	int fd;
	enum kind kind;
	uint64_t end;     /* where the next write goes */
	uint64_t charged; /* bytes of the file that are counted */
	dev_t dev;
	ino_t ino;
};

struct quota {
	uint32_t magic;
	struct vfs vfs;
	const struct vfs *below;
	int dirfd;
	_Atomic uint64_t limit; /* 0 = none */
	_Atomic uint64_t used, margin, promise, allowed, allowed_below;
	_Atomic bool promised; /* also when the snapshot has taken all of it */
	pthread_mutex_t lock;  /* of what follows, and of changes of the above */
	bool stale;            /* a file has gone, or one has less than was counted */
	struct row *rows;
	size_t n, size;
};

/* ---- counting ---- */

static uint64_t round_up(uint64_t bytes)
{
	return (bytes + BLOCK - 1) / BLOCK * BLOCK;
}

static uint64_t most(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

struct inode {
	dev_t dev;
	ino_t ino;
};

struct count {
	struct quota *q;
	int dirfd;
	uint64_t bytes;
	struct inode *linked; /* those with several names */
	size_t n, size;
	bool failed;
};

/* Whether another name of this file was counted. Short of memory it counts twice: too much is no harm. */
static bool seen(struct count *c, const struct stat *st)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->linked[i].dev == st->st_dev && c->linked[i].ino == st->st_ino)
			return true;
	if (c->n == c->size) {
		size_t size = c->size ? c->size * 2 : 16;
		struct inode *more = realloc(c->linked, size * sizeof(*more));
		if (!more)
			return false;
		c->linked = more;
		c->size = size;
	}
	c->linked[c->n++] = (struct inode){st->st_dev, st->st_ino};
	return false;
}

static uint64_t bytes_of(const struct quota *q, const struct stat *st)
{
	uint64_t bytes = most((uint64_t)st->st_blocks * 512, round_up((uint64_t)st->st_size));
	for (size_t i = 0; i < q->n; i++)
		if (q->rows[i].dev == st->st_dev && q->rows[i].ino == st->st_ino)
			bytes = most(bytes, q->rows[i].charged);
	return bytes;
}

/* What is no regular file, or has gone meanwhile, takes nothing. */
static bool count_file(void *arg, const char *name)
{
	struct count *c = arg;
	const struct vfs *vfs = c->q->below;
	struct stat st;
	int fd = vfs_open(vfs, c->dirfd, name, O_RDONLY | O_NONBLOCK);
	if (fd < 0) {
		c->failed |= errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == EIO;
		return !c->failed;
	}
	if (vfs->fstat(vfs->ctx, fd, &st) < 0)
		c->failed = true;
	else if (st.st_nlink < 2 || !seen(c, &st))
		c->bytes += bytes_of(c->q, &st);
	vfs->close(vfs->ctx, fd);
	return !c->failed;
}

static void count_directory(struct count *c, int dirfd)
{
	const struct vfs *vfs = c->q->below;
	struct stat st;
	c->dirfd = dirfd;
	if (vfs->fstat(vfs->ctx, dirfd, &st) < 0 || vfs->list(vfs->ctx, dirfd, count_file, c) < 0)
		c->failed = true;
	else
		c->bytes += (uint64_t)st.st_blocks * 512;
}

/* The lock is held. When it cannot be counted the count before stays: it is no lower. */
static void count(struct quota *q)
{
	struct count c = {.q = q};
	const struct vfs *vfs = q->below;
	count_directory(&c, q->dirfd);
	int aside = vfs->openat(
	    vfs->ctx, q->dirfd, DATADIR_SET_ASIDE, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
	if (aside >= 0) {
		count_directory(&c, aside);
		vfs->close(vfs->ctx, aside);
	} else if (errno != ENOENT) {
		c.failed = true;
	}
	free(c.linked);
	if (c.failed)
		return;
	atomic_store(&q->used, c.bytes);
	q->stale = false;
	if (c.bytes < atomic_load(&q->allowed_below))
		atomic_store(&q->allowed, 0);
}

/* ---- the bound ---- */

static uint64_t bound(const struct quota *q, enum kind kind)
{
	uint64_t limit = atomic_load(&q->limit);
	if (!limit)
		return UINT64_MAX;
	limit = most(limit, atomic_load(&q->allowed));
	uint64_t kept = kind == MANIFEST ? 0 : QUOTA_MANIFEST + atomic_load(&q->margin);
	if (kind == LOG)
		kept += atomic_load(&q->promise);
	return limit > kept ? limit - kept : 0;
}

/* The lock is held. */
static bool fits(const struct quota *q, enum kind kind, uint64_t bytes)
{
	uint64_t most_of_it = bound(q, kind), used = atomic_load(&q->used);
	return used <= most_of_it && bytes <= most_of_it - used;
}

/* The file may have `end` bytes: 0, or -1 with EDQUOT. The lock is held. */
static int charge(struct quota *q, struct row *row, uint64_t end)
{
	uint64_t want = round_up(end);
	if (want <= row->charged)
		return 0;
	uint64_t more = want - row->charged;
	if (!fits(q, row->kind, more) && q->stale)
		count(q);
	if (!fits(q, row->kind, more)) {
		errno = EDQUOT;
		return -1;
	}
	atomic_store(&q->used, atomic_load(&q->used) + more);
	row->charged = want;
	if (row->kind == SNAPSHOT) {
		uint64_t promise = atomic_load(&q->promise);
		atomic_store(&q->promise, promise > more ? promise - more : 0);
	}
	return 0;
}

/* ---- files that are open for writing; the lock is held ---- */

static struct row *find(struct quota *q, int fd)
{
	for (size_t i = 0; i < q->n; i++)
		if (q->rows[i].fd == fd)
			return &q->rows[i];
	return NULL;
}

static bool grow(struct quota *q)
{
	if (q->n < q->size)
		return true;
	size_t size = q->size ? q->size * 2 : 8;
	struct row *more = realloc(q->rows, size * sizeof(*more));
	if (!more)
		return false;
	q->rows = more;
	q->size = size;
	return true;
}

static enum kind kind_of(const char *name)
{
	static const char manifest[] = DATADIR_MANIFEST, snapshot[] = "snapshot-";
	if (strncmp(name, manifest, sizeof(manifest) - 1) == 0)
		return MANIFEST;
	return strncmp(name, snapshot, sizeof(snapshot) - 1) == 0 ? SNAPSHOT : LOG;
}

/* ---- the op table ---- */

static int quota_openat(void *ctx, int dirfd, const char *name, int flags, mode_t mode)
{
	struct quota *q = ctx;
	const struct vfs *vfs = q->below;
	struct stat st;
	if ((flags & O_ACCMODE) == O_RDONLY)
		return vfs->openat(vfs->ctx, dirfd, name, flags, mode);
	pthread_mutex_lock(&q->lock);
	int fd = -1;
	errno = ENOMEM;
	if (grow(q))
		fd = vfs->openat(vfs->ctx, dirfd, name, flags, mode);
	if (fd >= 0 && vfs->fstat(vfs->ctx, fd, &st) < 0) {
		int saved = errno;
		vfs->close(vfs->ctx, fd);
		errno = saved;
		fd = -1;
	}
	if (fd >= 0) {
		const struct row row = {.fd = fd,
		    .kind = kind_of(name),
		    .charged = bytes_of(q, &st),
		    .dev = st.st_dev,
		    .ino = st.st_ino};
		q->rows[q->n++] = row;
	}
	int saved = errno;
	pthread_mutex_unlock(&q->lock);
	errno = saved;
	return fd;
}

/* Its last bytes may be fewer than were charged: a write that failed, a file system that packs. */
static int quota_close_file(void *ctx, int fd)
{
	struct quota *q = ctx;
	pthread_mutex_lock(&q->lock);
	struct row *row = find(q, fd);
	if (row) {
		*row = q->rows[--q->n];
		q->stale = true;
	}
	pthread_mutex_unlock(&q->lock);
	return q->below->close(q->below->ctx, fd);
}

static ssize_t quota_pread(void *ctx, int fd, void *data, size_t len, off_t at)
{
	const struct vfs *vfs = ((struct quota *)ctx)->below;
	return vfs->pread(vfs->ctx, fd, data, len, at);
}

/* All of it or nothing: half a block in the log would be of use to nobody. */
static ssize_t quota_writev(void *ctx, int fd, const struct iovec *iov, int n)
{
	struct quota *q = ctx;
	uint64_t len = 0;
	for (int i = 0; i < n; i++)
		len += iov[i].iov_len;
	pthread_mutex_lock(&q->lock);
	struct row *row = find(q, fd);
	CHECK(row);
	int ret = charge(q, row, row->end + len);
	pthread_mutex_unlock(&q->lock);
	if (ret < 0)
		return -1;
	ssize_t done = q->below->writev(q->below->ctx, fd, iov, n);
	if (done > 0) {
		pthread_mutex_lock(&q->lock);
		row = find(q, fd);
		CHECK(row);
		row->end += (uint64_t)done;
		pthread_mutex_unlock(&q->lock);
	}
	return done;
}

static int quota_fallocate(void *ctx, int fd, int mode, off_t at, off_t len)
{
	struct quota *q = ctx;
	const struct vfs *vfs = q->below;
	pthread_mutex_lock(&q->lock);
	struct row *row = find(q, fd);
	CHECK(row);
	int ret = charge(q, row, (uint64_t)at + (uint64_t)len);
	pthread_mutex_unlock(&q->lock);
	return ret < 0 ? -1 : vfs->fallocate(vfs->ctx, fd, mode, at, len);
}

static int quota_fsync(void *ctx, int fd)
{
	const struct vfs *vfs = ((struct quota *)ctx)->below;
	return vfs->fsync(vfs->ctx, fd);
}

static int quota_fdatasync(void *ctx, int fd)
{
	const struct vfs *vfs = ((struct quota *)ctx)->below;
	return vfs->fdatasync(vfs->ctx, fd);
}

static int quota_fstat(void *ctx, int fd, struct stat *ret_st)
{
	const struct vfs *vfs = ((struct quota *)ctx)->below;
	return vfs->fstat(vfs->ctx, fd, ret_st);
}

/* What may have given bytes back. */
static int gave_back(struct quota *q, int ret)
{
	int saved = errno;
	pthread_mutex_lock(&q->lock);
	q->stale = true;
	pthread_mutex_unlock(&q->lock);
	errno = saved;
	return ret;
}

static int quota_renameat(void *ctx, int dirfd, const char *from, const char *to)
{
	struct quota *q = ctx;
	return gave_back(q, q->below->renameat(q->below->ctx, dirfd, from, to));
}

static int quota_linkat(void *ctx, int olddir, const char *from, int newdir, const char *to)
{
	const struct vfs *vfs = ((struct quota *)ctx)->below;
	return vfs->linkat(vfs->ctx, olddir, from, newdir, to);
}

static int quota_unlinkat(void *ctx, int dirfd, const char *name)
{
	struct quota *q = ctx;
	return gave_back(q, q->below->unlinkat(q->below->ctx, dirfd, name));
}

static int quota_mkdirat(void *ctx, int dirfd, const char *name, mode_t mode)
{
	const struct vfs *vfs = ((struct quota *)ctx)->below;
	return vfs->mkdirat(vfs->ctx, dirfd, name, mode);
}

static int quota_flock(void *ctx, int fd, int how)
{
	const struct vfs *vfs = ((struct quota *)ctx)->below;
	return vfs->flock(vfs->ctx, fd, how);
}

static int quota_list(void *ctx, int dirfd, bool (*each)(void *arg, const char *name), void *arg)
{
	const struct vfs *vfs = ((struct quota *)ctx)->below;
	return vfs->list(vfs->ctx, dirfd, each, arg);
}

/* ---- its owner ---- */

struct quota *quota_open(const struct vfs *below, int dirfd, uint64_t limit)
{
	struct quota *q = calloc(1, sizeof(*q));
	if (!q)
		return NULL;
	q->magic = QUOTA_MAGIC;
	q->below = below;
	q->dirfd = dirfd;
	atomic_init(&q->limit, limit);
	q->vfs = (struct vfs){q, quota_openat, quota_close_file, quota_pread, quota_writev, quota_fsync,
	    quota_fdatasync, quota_fallocate, quota_fstat, quota_renameat, quota_linkat, quota_unlinkat,
	    quota_mkdirat, quota_flock, quota_list};
	pthread_mutex_init(&q->lock, NULL);
	q->stale = true;
	count(q);
	if (q->stale && !limit) {
		/* Too much rather than too little, until somebody sets a limit and it can be counted. */
		atomic_store(&q->used, UINT64_MAX / 4);
	} else if (q->stale) {
		int saved = errno;
		quota_close(&q);
		errno = saved;
	}
	return q;
}

void quota_close(struct quota **ref)
{
	struct quota *q = *ref;
	CHECK_MAGIC(q, QUOTA_MAGIC);
	*ref = NULL;
	pthread_mutex_destroy(&q->lock);
	free(q->rows);
	q->magic = 0;
	free(q);
}

const struct vfs *quota_vfs(struct quota *q)
{
	return &q->vfs;
}

void quota_set_limit(struct quota *q, uint64_t limit)
{
	atomic_store(&q->limit, limit);
}

uint64_t quota_limit(const struct quota *q)
{
	return atomic_load(&q->limit);
}

uint64_t quota_used(const struct quota *q)
{
	return atomic_load_explicit(&q->used, memory_order_relaxed);
}

uint64_t quota_room(const struct quota *q)
{
	uint64_t all = bound(q, LOG), used = quota_used(q);
	return all > used ? all - used : 0;
}

void quota_refresh(struct quota *q)
{
	pthread_mutex_lock(&q->lock);
	if (q->stale)
		count(q);
	pthread_mutex_unlock(&q->lock);
}

void quota_recount(struct quota *q)
{
	pthread_mutex_lock(&q->lock);
	q->stale = true;
	count(q);
	pthread_mutex_unlock(&q->lock);
}

bool quota_leaves(const struct quota *q, uint64_t used, uint64_t room)
{
	uint64_t limit = atomic_load(&q->limit), kept = QUOTA_MANIFEST + atomic_load(&q->margin);
	return !limit || (kept <= limit && room <= limit - kept && used <= limit - kept - room);
}

void quota_keep_back(struct quota *q, uint64_t bytes)
{
	atomic_store(&q->margin, bytes);
}

uint64_t quota_kept_back(const struct quota *q)
{
	return atomic_load(&q->margin);
}

void quota_promise(struct quota *q, uint64_t bytes)
{
	pthread_mutex_lock(&q->lock);
	atomic_store(&q->promise, bytes);
	atomic_store(&q->promised, bytes > 0);
	pthread_mutex_unlock(&q->lock);
}

bool quota_promised(const struct quota *q)
{
	return atomic_load(&q->promised);
}

void quota_allow(struct quota *q, uint64_t bytes, uint64_t below)
{
	atomic_store(&q->allowed_below, below);
	atomic_store(&q->allowed, bytes ? atomic_load(&q->used) + bytes : 0);
}
