/* SPDX-License-Identifier: BSD-3-Clause */
/* datadir_lock: what the kernel's /proc tells about a directory and about itself. Floor 1 only. */
#ifndef FORMAT_DATADIR_LOCK_H
#define FORMAT_DATADIR_LOCK_H

struct vfs;

/* The process that holds a flock on this descriptor's inode, 0 when it cannot be told. */
int datadir_lock_holder(const struct vfs *vfs, int fd);

#endif
