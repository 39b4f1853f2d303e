/* SPDX-License-Identifier: BSD-3-Clause */
/* cluster: what `config get cluster` answers, from --cluster-file, for clients that find their nodes themselves (the
 * auto-discovery of AWS ElastiCache: its user guide describes command and answer). The file: a line with a version, which
 * grows with each change, then a line of nodes, `host|ip|port`, separated by blanks; ip may be empty.
 *
 * Threads: any, but cluster_open and cluster_close. */
#ifndef SERVER_CLUSTER_H
#define SERVER_CLUSTER_H

#include <stdbool.h>
#include "base/buf.h"

#define CLUSTER_MAX     (64 * 1024) /* bytes of the file */
#define CLUSTER_WHY_MAX 160

struct cluster;

/* Reads the file; path NULL: there is none. NULL: what is wrong has been told in one line. */
struct cluster *cluster_open(const char *path);
/* Reads another file from here on, or none. False: ret_why, and the one that was read before stays. */
bool cluster_move(struct cluster *c, const char *path, char ret_why[CLUSTER_WHY_MAX]);
void cluster_close(struct cluster **cluster);
/* Reads the file anew. A wrong one is told; what was read before stays. */
void cluster_reload(struct cluster *c);
/* Appends the whole answer; *ret_any: there is one. False: no memory. */
bool cluster_print(struct cluster *c, struct buf *out, bool *ret_any);

#endif
