/* SPDX-License-Identifier: BSD-3-Clause */
/* cgroup: see cgroup.h. In a container the path that the kernel names is often one of the host's, which is not to be seen:
 * then what is seen at the top is the container's own group, so the way up goes on to the top. */
#include "cgroup.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROOT "/sys/fs/cgroup"
/* Version 1 says "none" by a number as large as it can. */
#define NO_LIMIT ((uint64_t)1 << 62)

static bool read_limit(const char *file, uint64_t *ret_bytes)
{
	char text[64] = "", *end;
	FILE *f = fopen(file, "re");
	if (!f)
		return false;
	bool ok = fgets(text, sizeof text, f) != NULL && text[0] >= '0' && text[0] <= '9';
	fclose(f);
	errno = 0;
	*ret_bytes = strtoull(text, &end, 10);
	return ok && errno == 0 && (*end == '\n' || *end == 0) && *ret_bytes < NO_LIMIT;
}

/* The group and all above it. */
static void look_upwards(
    const char *root, char *path, const char *name, uint64_t *least, char ret_file[CGROUP_FILE_MAX])
{
	for (;;) {
		char file[CGROUP_FILE_MAX];
		uint64_t bytes;
		int n = snprintf(file, sizeof file, "%s%s/%s", root, path, name);
		if (n < (int)sizeof file && read_limit(file, &bytes) && bytes < *least) {
			*least = bytes;
			memcpy(ret_file, file, sizeof file);
		}
		char *slash = strrchr(path, '/');
		if (!slash)
			return;
		*slash = 0;
	}
}

/* Whether "memory" is one of the words between the commas. */
static bool names_memory(const char *controllers)
{
	for (const char *at = controllers; at; at = strchr(at, ',')) {
		at += *at == ',';
		size_t len = strcspn(at, ",");
		if (len == 6 && memcmp(at, "memory", 6) == 0)
			return true;
	}
	return false;
}

bool cgroup_memory_limit(uint64_t *ret_bytes, char ret_file[CGROUP_FILE_MAX])
{
	/* "0::/path" of version 2, "4:memory:/path" of version 1. */
	char line[PATH_MAX + 128];
	FILE *f = fopen("/proc/self/cgroup", "re");
	*ret_bytes = NO_LIMIT;
	if (!f)
		return false;
	while (fgets(line, sizeof line, f)) {
		line[strcspn(line, "\n")] = 0;
		char *controllers = strchr(line, ':');
		char *path = controllers ? strchr(controllers + 1, ':') : NULL;
		if (!path)
			continue;
		*controllers++ = 0;
		*path++ = 0;
		if (strcmp(line, "0") == 0 && !*controllers)
			look_upwards(ROOT, path, "memory.max", ret_bytes, ret_file);
		else if (names_memory(controllers))
			look_upwards(ROOT "/memory", path, "memory.limit_in_bytes", ret_bytes, ret_file);
	}
	fclose(f);
	return *ret_bytes < NO_LIMIT;
}
