/* SPDX-License-Identifier: BSD-3-Clause */
/* cgroup: the memory limit of the control group that the process runs in, version 2 or 1. Read only. */
#ifndef CGROUP_H
#define CGROUP_H

#include <stdbool.h>
#include <stdint.h>

#define CGROUP_FILE_MAX 4200

/* The smallest limit of the group and those above it, as far as they can be seen, and the file that says it. False: none. */
bool cgroup_memory_limit(uint64_t *ret_bytes, char ret_file[CGROUP_FILE_MAX]);

#endif
