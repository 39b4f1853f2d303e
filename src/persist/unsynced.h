/* SPDX-License-Identifier: BSD-3-Clause */
/* unsynced: after a failed fsync the kernel shows pages that will never reach the disk, and the next fsync says that all
 * is well (LWN, "PostgreSQL's fsync() surprise", 2018). A daemon that lives leaves such a segment and writes its tail into
 * another (heal.c). One that is killed before that has been leaves a word for the next start, in a file with an empty
 * content that need not be durable itself: in another boot what is read is what the disk has. That start writes the log
 * anew instead of syncing it.
 * One thread at a time: the log's sync thread, or recovery. */
#ifndef PERSIST_UNSYNCED_H
#define PERSIST_UNSYNCED_H

#include "persist/files.h"

/* A sync of the log has failed. Where no file can be made there is none. */
void unsynced_tell(struct files *f);
/* The log went on elsewhere, or is durable. */
void unsynced_forget(struct files *f);
/* If that was told, all segments that the manifest names are written anew, synced and put in the place of the old ones, one
 * by one; then it is forgotten. HEARTH_OK; HEARTH_IO: what was recovered cannot be made durable. */
enum hearth_status unsynced_write_anew(struct files *f, struct hearth_error *ret_err);

#endif
