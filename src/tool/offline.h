/* SPDX-License-Identifier: BSD-3-Clause */
/* offline: data directories that are changed while no daemon runs on them. Messages are printed here. One thread. */
#ifndef TOOL_OFFLINE_H
#define TOOL_OFFLINE_H

struct datadir;
struct manifest;

/* Opens and locks a directory that there is, with its manifest, which is whole: one that is damaged is the daemon's to decide
 * about. From then on root is the directory's owner for good, so that what is written is the daemon's. TOOL_OK, for
 * datadir_close() and manifest_free(); or an exit code after a message. */
int offline_open(struct datadir **ret_dir, struct manifest *ret_manifest, const char *directory);

#endif
