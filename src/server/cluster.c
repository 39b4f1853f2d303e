/* SPDX-License-Identifier: BSD-3-Clause */
/* cluster: see cluster.h. */
#include "server/cluster.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/msg.h"

struct cluster {
	char *path; /* absolute: the daemon may go elsewhere; NULL = no file */
	pthread_mutex_t lock;
	char *answer; /* under the lock; NULL = none */
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

__attribute__((format(printf, 2, 3))) static char *wrong(char why[CLUSTER_WHY_MAX], const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vsnprintf(why, CLUSTER_WHY_MAX, format, args);
	va_end(args);
	return NULL;
}

/* The answer, or NULL and why. */
static char *make_answer(char *text, char why[CLUSTER_WHY_MAX])
{
	char *rest = text, *version = strsep(&rest, "\n"), *nodes = rest ? strsep(&rest, "\n") : NULL,
	     *answer;
	version[strcspn(version, "\r")] = 0;
	if (!is_number(version, UINT32_MAX))
		return wrong(why, "line 1: must be a version, a number");
	if (!nodes || !nodes[strspn(nodes, " \r")] || (rest && rest[strspn(rest, "\r\n")]))
		return wrong(why, "must be two lines, a version and nodes");
	char *list = calloc(1, strlen(nodes) + 2);
	nodes[strcspn(nodes, "\r")] = 0;
	for (char *at = nodes, *node; list && (node = strsep(&at, " ")) != NULL;) {
		if (!*node)
			continue;
		if (!is_node(node)) {
			wrong(why, "line 2: %.100s: must be host|ip|port", node);
			free(list);
			return NULL;
		}
		strcat(strcat(list, *list ? " " : ""), node);
	}
	size_t len = list ? strlen(version) + 1 + strlen(list) + 1 : 0;
	if (!list || asprintf(&answer, "CONFIG cluster 0 %zu\r\n%s\n%s\n\r\nEND\r\n", len, version, list) < 0)
		answer = wrong(why, "no memory");
	free(list);
	return answer;
}

static char *read_answer(const char *path, char why[CLUSTER_WHY_MAX])
{
	char *text = slurp(path);
	if (!text)
		return wrong(why, "%s", strerror(errno));
	char *answer = make_answer(text, why);
	free(text);
	return answer;
}

static void take_answer(struct cluster *c, char *answer)
{
	pthread_mutex_lock(&c->lock);
	char *old = c->answer;
	c->answer = answer;
	pthread_mutex_unlock(&c->lock);
	free(old);
}

struct cluster *cluster_open(const char *path)
{
	char why[CLUSTER_WHY_MAX] = "no memory";
	struct cluster *c = calloc(1, sizeof *c);
	if (c)
		pthread_mutex_init(&c->lock, NULL);
	if (!c || (path && !cluster_move(c, path, why))) {
		msg(MSG_ERROR, "--cluster-file %s: %s", path ? path : "", why);
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

bool cluster_move(struct cluster *c, const char *path, char ret_why[CLUSTER_WHY_MAX])
{
	char *answer = path ? read_answer(path, ret_why) : NULL;
	char *absolute = answer ? realpath(path, NULL) : NULL;
	if (answer && !absolute)
		wrong(ret_why, "%s", strerror(errno));
	if (path && !absolute) {
		free(answer);
		return false;
	}
	free(c->path);
	c->path = absolute;
	take_answer(c, answer);
	return true;
}

void cluster_reload(struct cluster *c)
{
	char why[CLUSTER_WHY_MAX];
	if (!c->path)
		return;
	char *answer = read_answer(c->path, why);
	if (!answer) {
		msg(MSG_ERROR, "--cluster-file %s: %s", c->path, why);
		return;
	}
	take_answer(c, answer);
	msg(MSG_INFO, "--cluster-file %s: read anew", c->path);
}

bool cluster_print(struct cluster *c, struct buf *out, bool *ret_any)
{
	pthread_mutex_lock(&c->lock);
	*ret_any = c->answer != NULL;
	bool ok = !c->answer || buf_append(out, c->answer, strlen(c->answer));
	pthread_mutex_unlock(&c->lock);
	return ok;
}
