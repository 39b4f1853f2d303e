/* SPDX-License-Identifier: BSD-3-Clause */
/* image: the files of a data directory at one moment, as a restart finds them: made from a world (world.h) by deciding
 * of each unsynced change whether it reached the disk, then perhaps damaged. */
#ifndef CRASH_IMAGE_H
#define CRASH_IMAGE_H

#include "world.h"

struct image_file {
	char name[2 * WORLD_NAME]; /* "set-aside/..." below that */
	struct bytes bytes;
	int64_t mtime; /* seconds */
};

struct image {
	struct image_file *file;
	unsigned n;
};

/* What a power cut makes of one unsynced change. Changes of names are KEEP or not. */
enum fate {
	FATE_KEEP,
	FATE_DROP,
	FATE_ZERO,    /* the file has its size, but not the bytes */
	FATE_SECTORS, /* only the sectors of 512 bytes named in a mask */
};

struct choice {
	enum fate fate;
	uint64_t sectors; /* bit i: the write's sector i has landed (from 63 on all by bit 63) */
};

/* The changes that a power cut may take, in order. */
struct unsynced {
	int inode;
	size_t index; /* among its pending ones */
	uint32_t at;
	bool names;
	size_t first, len; /* of a write: offset and length in the file */
};
/* Returns how many; *ret is malloc'ed. What a failed fsync lost is not among them: it never lands. */
size_t image_unsynced(const struct world *w, struct unsynced **ret);

/* What a kill leaves: everything. */
void image_of_cache(struct image *im, const struct world *w);
/* What a power cut leaves; choice[i] for each of image_unsynced. */
void image_of_disk(
    struct image *im, const struct world *w, const struct unsynced *u, size_t n, const struct choice *choice);
void image_copy(struct image *to, const struct image *from);
void image_free(struct image *im);
struct image_file *image_find(struct image *im, const char *name);
/* Files of this prefix, by name. */
unsigned image_list(struct image *im, const char *prefix, struct image_file **ret, unsigned max);
uint64_t image_hash(const struct image *im);
bool image_same(const struct image *a, const struct image *b);
/* A world in which all of it is durable. */
void image_world(const struct image *im, struct world *ret);
/* As a real directory, which must not exist. False and errno. */
bool image_write(const struct image *im, const char *path);
bool image_read(struct image *im, const char *path);

#endif
