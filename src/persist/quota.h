/* SPDX-License-Identifier: BSD-3-Clause */
/* quota: a bound on what the data directory takes, between its files and the real vfs: whatever would make it larger than
 * the limit fails with EDQUOT before it is done, so that a directory that is full and a disk that is full are the same to
 * all above. What is free of the bound: reading, and writing into bytes that were allocated before.
 *
 * Bytes are counted as du(1) counts them, or as the file's size where that is more; two names of one file in the directory
 * count once; what lies in set-aside/ counts, and so do files that are not ours. The count only ever errs upwards; it is
 * made anew when it may be too high and somebody needs the room.
 *
 * Threads: any; the lock is a leaf. It is held while the directory is counted. */
#ifndef PERSIST_QUOTA_H
#define PERSIST_QUOTA_H

#include <stdbool.h>
#include <stdint.h>
#include "base/vfs.h"

/* What only a new manifest may use: without one nothing could be retired. */
#define QUOTA_MANIFEST (UINT64_C(256) << 10)

struct quota;

/* limit: bytes; 0 = none, then it only counts. below: what does the work, kept as long as the quota. Counts what is there.
 * NULL with errno. */
struct quota *quota_open(const struct vfs *below, int dirfd, uint64_t limit);
/* Nothing is open through it any more. */
void quota_close(struct quota **q);
const struct vfs *quota_vfs(struct quota *q);

/* Another limit from here on, or none. It waits for nothing, and nothing goes: there may be more in the directory already,
 * see quota_allow. */
void quota_set_limit(struct quota *q, uint64_t limit);
uint64_t quota_limit(const struct quota *q);
uint64_t quota_used(const struct quota *q);
/* What the log may still take; 0 when there is none left. */
uint64_t quota_room(const struct quota *q);
/* Counts anew if the count may be too high. */
void quota_refresh(struct quota *q);
/* Counts anew: others, of whom the quota does not hear, may have taken files away. */
void quota_recount(struct quota *q);
/* Whether the limit would leave the log so much room if the directory took `used`. */
bool quota_leaves(const struct quota *q, uint64_t used, uint64_t room);
/* So much is left for the next start. */
void quota_keep_back(struct quota *q, uint64_t bytes);
uint64_t quota_kept_back(const struct quota *q);
/* So much is left for the snapshot that is about to be written, whose bytes are taken from it; 0: no snapshot any more. */
void quota_promise(struct quota *q, uint64_t bytes);
bool quota_promised(const struct quota *q);
/* Until the directory takes less than `below` again, so much more than there is now may be in it; 0: no more than the limit.
 * For one that is beyond its bound already. */
void quota_allow(struct quota *q, uint64_t bytes, uint64_t below);

#endif
