/* SPDX-License-Identifier: BSD-3-Clause */
/* source: what dump, check and restore read: one log segment, one snapshot, or a data directory with the
 * files its manifest names, live or not. All files are opened at once, so that a daemon which retires some of
 * them later takes nothing away. Takes no lock and changes nothing. One thread. */
#ifndef TOOL_SOURCE_H
#define TOOL_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <hearth/datadir.h>
#include <hearth/segment.h>
#include <hearth/snapshot.h>
#include "base/vfs.h"

struct source;
struct progress;

struct source_file {
	const struct source *source;
	enum datadir_kind kind;
	uint64_t number; /* of its name in a directory */
	char *name;      /* in its directory */
	char *path;      /* for messages */
	int dirfd;       /* the source's */
	/* HEARTH_OK; for a snapshot also DAMAGED or TORN with a usable reader, for a segment DAMAGED when it is headless.
	 * HEARTH_END: a segment made ahead that never began. Everything else: no reader. */
	enum hearth_status status;
	struct hearth_error err;
	struct segment_reader *segment;
	struct snapshot_reader *snapshot;
	/* In a directory: what the manifest says of it (NULL for a segment it does not name yet), and the
	 * next segment that began, whose header says where this one ends. */
	const struct manifest_segment *named_segment;
	const struct manifest_snapshot *named_snapshot;
	const struct segment_header *next;
	bool
	    headless; /* its header is bad: the segment reader goes by what the manifest says, and knows no chain */
	bool zeros; /* headless: where the header should be are zeros, as a power cut may leave them */
	bool last;  /* no segment behind it began: it may end in a torn write */
	bool missing;
	bool left; /* the log went on from a segment before this one: no part of it */
};

struct source {
	const char *path;
	bool is_directory;
	int dirfd;
	struct vfs vfs;            /* reads the files, and counts */
	struct progress *progress; /* what is read is added here; NULL = nowhere */
	struct datadir *dir;
	/* Of a directory. */
	struct manifest manifest;
	enum hearth_status
	    manifest_status; /* HEARTH_OK, HEARTH_END (an empty one), HEARTH_DAMAGED (it was rebuilt) */
	struct hearth_error manifest_err;
	bool repaired;  /* one of its copies is bad */
	size_t n_named; /* segments that the manifest names itself */
	/* A snapshot of this generation was published when the log was durable up to this number; 0 = there is none. */
	uint64_t durable;
	/* Snapshots, then segments, oldest first. */
	struct source_file *files;
	size_t n_files;
};

/* HEARTH_OK, or a status after a message: then there is nothing to close. */
enum hearth_status source_open(struct source *ret_source, const char *path);
void source_close(struct source *source);
/* Begins a progress of reading all files once, which shows what is read of them until source_unwatch. */
void source_watch(struct source *source, struct progress *progress, const char *what);
void source_unwatch(struct source *source);
/* Names of a directory's entries, sorted; the caller frees each and the list. -1 and errno. */
int source_list(int dirfd, char ***ret_names, size_t *ret_n);
void source_free_names(char **names, size_t n);

#endif
