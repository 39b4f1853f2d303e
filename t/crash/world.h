/* SPDX-License-Identifier: BSD-3-Clause */
/* world: what a disk holds at one moment: of each file what an fsync made durable and the writes since, of each
 * directory the durable names and the changes since. Events lead from one moment to the next; what a power cut may
 * leave of a moment is for image.c. No locks: a world has one owner. */
#ifndef CRASH_WORLD_H
#define CRASH_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WORLD_NAME 48

struct bytes {
	uint8_t *data;
	size_t len, room;
};

enum event_kind {
	EVENT_CREATE,      /* name in dir is a new inode */
	EVENT_MKDIR,       /* the same for a directory */
	EVENT_WRITE,       /* len bytes at `at` of inode */
	EVENT_SYNC,        /* of inode: all before event `since` is durable */
	EVENT_SYNC_FAILED, /* of inode: what was unsynced is lost, though reads show it */
	EVENT_RENAME,      /* in dir, name to name2 */
	EVENT_LINK,        /* name in dir is inode too */
	EVENT_UNLINK,
	EVENT_BEGIN, /* the op `at` of the model begins */
	EVENT_ACK,   /* its reply has left */
	EVENT_MARK,  /* something worth a name */
};

struct event {
	enum event_kind kind;
	int dir, inode;
	size_t at, len;
	int64_t wall; /* seconds, when it happened */
	uint32_t since;
	uint8_t *data;
	char name[WORLD_NAME], name2[WORLD_NAME];
};

/* A write or a change of a directory that no sync has covered. */
struct pending {
	const struct event *event; /* lives as long as its owner's events */
	uint32_t at;               /* number of the event; 0 = of an earlier life */
	bool lost;                 /* an fsync failed over it */
	int inode;                 /* of a name that is given */
};

struct name {
	char name[WORLD_NAME];
	int inode;
};

struct inode {
	bool dir, is_log;
	int64_t mtime;
	struct bytes synced, cached;
	/* Directories. */
	struct name *synced_names, *cached_names;
	size_t n_synced, n_cached, room_synced, room_cached;
	struct pending *pending;
	size_t n_pending, room_pending;
};

struct world {
	struct inode *inode; /* 0 is the data directory, 1 the one above it */
	int n, room;
};

void world_init(struct world *w);
void world_free(struct world *w);
void world_copy(struct world *to, const struct world *from);
/* Event number `at` happens. Creating takes the next inode; *e is kept a pointer to. */
void world_apply(struct world *w, const struct event *e, uint32_t at);
/* The inode of a name as a reader sees it; -1. */
int world_find(const struct world *w, int dir, const char *name);
/* Writes of segments from before event `at` that a power cut may take. */
bool world_log_unsynced(const struct world *w, uint32_t at);

void bytes_put(struct bytes *b, size_t at, const void *data, size_t len);
void names_set(struct name **names, size_t *n, size_t *room, const char *name, int inode);
void names_drop(struct name *names, size_t *n, const char *name);
int names_find(const struct name *names, size_t n, const char *name);
/* The change of a directory, on either list. */
void names_change(struct name **names, size_t *n, size_t *room, const struct event *e, int inode);

/* Memory or the end: a harness without memory proves nothing. Where malloc is made to fail these two get the real one. */
extern void *(*must_calloc)(size_t n, size_t size);
extern void *(*must_reallocate)(void *p, size_t size);
void *must_alloc(size_t size);
void *must_realloc(void *p, size_t size);

#endif
