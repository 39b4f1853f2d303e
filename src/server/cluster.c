/* SPDX-License-Identifier: BSD-3-Clause */
/* cluster: see cluster.h. */
#include "server/cluster.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/msg.h"

struct cluster {
	char *path; /* absolute: the daemon may go elsewhere */
	pthread_mutex_t lock;
	char *answer; /* under the lock */
};

/* At most CLUSTER_MAX bytes, ended by 0; NULL and errno. */
static char *slurp(const char *path)
{
	char *text = malloc(CLUSTER_MAX + 2);
	FILE *f = text ? fopen(path, "re") : NULL;
	if (!f)
		goto fail;
	size_t n = fread(text, 1, CLUSTER_MAX + 1, f);
	bool ok = !ferror(f);
	int error = errno;
	fclose(f);
	errno = n > CLUSTER_MAX ? EFBIG : error;
	if (!ok || n > CLUSTER_MAX)
		goto fail;
	text[n] = 0;
	if (strlen(text) == n)
		return text;
	errno = EILSEQ;
fail:
	free(text);
	return NULL;
}

static bool is_number(const char *text, unsigned long max)
{
	char *end;
	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	unsigned long v = strtoul(text, &end, 10);
	return errno == 0 && *end == 0 && v <= max;
}

/* "host|ip|port"; the ip may be empty. */
static bool is_node(const char *text)
{
	const char *ip = strchr(text, '|'), *port = ip ? strchr(ip + 1, '|') : NULL;
	if (!port || ip == text)
		return false;
	for (const char *c = text; *c; c++) {
		if ((unsigned char)*c <= ' ' || *c == 127)
			return false;
	}
	return is_number(port + 1, 65535);
}

/* The answer, or NULL: told. */
static char *make_answer(const char *path, char *text)
{
	char *rest = text, *version = strsep(&rest, "\n"), *nodes = rest ? strsep(&rest, "\n") : NULL,
	     *answer;
	version[strcspn(version, "\r")] = 0;
	if (!is_number(version, UINT32_MAX)) {
		msg(MSG_ERROR, "--cluster-file %s, line 1: must be a version, a number", path);
		return NULL;
	}
	if (!nodes || !nodes[strspn(nodes, " \r")] || (rest && rest[strspn(rest, "\r\n")])) {
		msg(MSG_ERROR, "--cluster-file %s: must be two lines, a version and nodes", path);
		return NULL;
	}
	char *list = calloc(1, strlen(nodes) + 2);
	nodes[strcspn(nodes, "\r")] = 0;
	for (char *at = nodes, *node; list && (node = strsep(&at, " ")) != NULL;) {
		if (!*node)
			continue;
		if (!is_node(node)) {
			msg(MSG_ERROR, "--cluster-file %s, line 2: %s: must be host|ip|port", path, node);
			free(list);
			return NULL;
		}
		strcat(strcat(list, *list ? " " : ""), node);
	}
	size_t len = list ? strlen(version) + 1 + strlen(list) + 1 : 0;
	if (!list ||
	    asprintf(&answer, "CONFIG cluster 0 %zu\r\n%s\n%s\n\r\nEND\r\n", len, version, list) < 0) {
		msg(MSG_ERROR, "--cluster-file %s: no memory", path);
		answer = NULL;
	}
	free(list);
	return answer;
}

static char *read_answer(const char *path)
{
	char *text = slurp(path);
	if (!text) {
		msg(MSG_ERROR, "--cluster-file %s: %s", path, strerror(errno));
		return NULL;
	}
	char *answer = make_answer(path, text);
	free(text);
	return answer;
}

struct cluster *cluster_open(const char *path)
{
	char *answer = read_answer(path);
	struct cluster *c = answer ? calloc(1, sizeof *c) : NULL;
	if (!c) {
		free(answer);
		return NULL;
	}
	c->path = realpath(path, NULL);
	c->answer = answer;
	pthread_mutex_init(&c->lock, NULL);
	if (!c->path) {
		msg(MSG_ERROR, "--cluster-file %s: %s", path, strerror(errno));
		cluster_close(&c);
	}
	return c;
}

void cluster_close(struct cluster **cluster)
{
	struct cluster *c = *cluster;
	*cluster = NULL;
	if (!c)
		return;
	pthread_mutex_destroy(&c->lock);
	free(c->answer);
	free(c->path);
	free(c);
}

void cluster_reload(struct cluster *c)
{
	char *answer = read_answer(c->path);
	if (!answer)
		return;
	pthread_mutex_lock(&c->lock);
	char *old = c->answer;
	c->answer = answer;
	pthread_mutex_unlock(&c->lock);
	free(old);
	msg(MSG_INFO, "--cluster-file %s: read anew", c->path);
}

bool cluster_print(struct cluster *c, struct buf *out)
{
	pthread_mutex_lock(&c->lock);
	bool ok = buf_append(out, c->answer, strlen(c->answer));
	pthread_mutex_unlock(&c->lock);
	return ok;
}
