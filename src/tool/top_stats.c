/* SPDX-License-Identifier: BSD-3-Clause */
/* top_stats: see top_stats.h. A connection each time: a daemon that went away and came back is met like any other. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/clock.h"
#include "tool/top_stats.h"

#define LINE_MAX_BYTES 4096u

#define TOP_NAME(name) #name,
static const char *const FIGURES[] = {TOP_FIGURES(TOP_NAME)};
static const char *const WORDS[] = {TOP_WORDS(TOP_NAME)};

struct wire {
	int fd;
	int64_t until_us;
	size_t len, at;
	char in[2 * LINE_MAX_BYTES];
};

/* ---- lines ---- */

static int digit(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	                              : -1;
}

/* "KEY COUNT ERROR", the key with %XX for what is no letter. */
static void take_key(struct top_stats *s, const char *text)
{
	struct top_key k = {.len = 0};
	while (*text && *text != ' ' && k.len < TOP_KEY_MAX) {
		if (*text == '%' && digit(text[1]) >= 0 && digit(text[2]) >= 0) {
			k.key[k.len++] = (uint8_t)(digit(text[1]) << 4 | digit(text[2]));
			text += 3;
		} else {
			k.key[k.len++] = (uint8_t)*text++;
		}
	}
	unsigned long long count, error;
	if (s->n_keys == TOP_KEYS || k.len == 0 || sscanf(text, " %llu %llu", &count, &error) != 2)
		return;
	k.count = count;
	k.error = error < count ? error : count;
	s->key[s->n_keys++] = k;
}

bool top_stats_take(struct top_stats *s, char *line)
{
	if (strncmp(line, "STAT ", 5) != 0)
		return false;
	char *name = line + 5, *value = strchr(name, ' ');
	if (!value)
		return true;
	*value++ = '\0';
	if (strncmp(name, "hotkey:", 7) == 0)
		take_key(s, value);
	for (unsigned i = 0; i < TOP_N_FIGURES; i++) {
		char *end;
		if (strcmp(name, FIGURES[i]) != 0)
			continue;
		double d = strtod(value, &end);
		if (end != value && *end == '\0' && d >= 0 && d < 1e19) {
			s->figure[i] = d;
			s->has[i] = true;
		}
	}
	for (unsigned i = 0; i < TOP_N_WORDS; i++) {
		if (strcmp(name, WORDS[i]) != 0)
			continue;
		snprintf(s->word[i], sizeof(s->word[i]), "%s", value);
		/* It goes to a terminal. */
		for (char *c = s->word[i]; *c; c++)
			*c = *c == '_' && i == TOP_state_reason ? ' ' : *c >= ' ' && *c < 127 ? *c : '?';
	}
	return true;
}

/* ---- the connection ---- */

static bool wait_for(struct wire *w, short events)
{
	for (;;) {
		int64_t left = (w->until_us - clock_mono_us()) / 1000;
		struct pollfd p = {.fd = w->fd, .events = events};
		int n = left > 0 ? poll(&p, 1, (int)left) : 0;
		if (n > 0)
			return true;
		if (n == 0)
			errno = ETIMEDOUT;
		/* A signal is for who called: it looks when this comes back. */
		if (n == 0 || errno != EINTR)
			return false;
	}
}

static bool send_text(struct wire *w, const char *text)
{
	size_t len = strlen(text);
	while (len > 0) {
		ssize_t n = send(w->fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return false;
		if (n < 0 && !wait_for(w, POLLOUT))
			return false;
		if (n > 0) {
			text += n;
			len -= (size_t)n;
		}
	}
	return true;
}

/* The next line, in w until the next call; NULL with errno, 0 for an end. */
static char *next_line(struct wire *w)
{
	for (;;) {
		char *start = w->in + w->at, *end = memchr(start, '\n', w->len - w->at);
		if (end) {
			w->at = (size_t)(end - w->in) + 1;
			*end = '\0';
			if (end > start && end[-1] == '\r')
				end[-1] = '\0';
			return start;
		}
		memmove(w->in, start, w->len -= w->at);
		w->at = 0;
		if (w->len == sizeof(w->in)) {
			errno = EPROTO;
			return NULL;
		}
		if (!wait_for(w, POLLIN))
			return NULL;
		ssize_t n = recv(w->fd, w->in + w->len, sizeof(w->in) - w->len, MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n == 0)
			errno = 0;
		if (n <= 0)
			return NULL;
		w->len += (size_t)n;
	}
}

/* One command; an answer that is no list (an older daemon, a memcached, one that loads) is none, and no failure. */
static bool ask(struct wire *w, const char *command, struct top_stats *s)
{
	char *line;
	if (!send_text(w, command))
		return false;
	while ((line = next_line(w)) != NULL && top_stats_take(s, line)) {
	}
	if (!line)
		return false;
	if (strcmp(line, "END") == 0 || strncmp(line, "ERROR", 5) == 0 ||
	    strncmp(line, "CLIENT_ERROR", 12) == 0)
		return true;
	errno = EPROTO;
	return false;
}

static bool ask_all(struct wire *w, bool admin, unsigned sample, struct top_stats *s)
{
	char hot[48];
	snprintf(hot, sizeof(hot), admin ? "hotkeys %u\n" : "stats hotkeys %u\r\n", sample);
	if (!ask(w, admin ? "stats\n" : "stats\r\n", s))
		return false;
	if (!admin && !ask(w, "stats persist\r\n", s))
		return false;
	/* While it loads there is nobody to sample. */
	if (strcmp(s->word[TOP_loading], "yes") == 0 || !s->word[TOP_hearth_version][0])
		return true;
	return (admin || ask(w, "stats latency\r\n", s)) && (sample == 0 || ask(w, hot, s));
}

bool top_stats_ask(
    const struct top_target *t, unsigned sample, int ms, struct top_stats *ret, char why[TOP_TEXT])
{
	struct wire *w = malloc(sizeof(*w));
	bool ok = false;
	memset(ret, 0, sizeof(*ret));
	if (!w) {
		snprintf(why, TOP_TEXT, "memory is short");
		return false;
	}
	ret->at_us = clock_mono_us();
	w->len = w->at = 0;
	w->until_us = ret->at_us + (int64_t)ms * 1000;
	w->fd = t->directory ? client_connect_admin(t->directory) : client_connect(&t->address);
	if (w->fd >= 0) {
		errno = 0;
		ok = ask_all(w, t->directory != NULL, sample, ret);
	}
	int err = errno;
	if (w->fd >= 0)
		close(w->fd);
	free(w);
	if (ok && !ret->has[TOP_uptime]) {
		ok = false;
		err = EPROTO;
	}
	if (!ok)
		snprintf(why, TOP_TEXT, "%s",
		    err == EPROTO   ? "what answers is no memcached"
		    : err == 0      ? "the connection was closed"
		    : err == ENOENT ? "no daemon runs there"
		                    : strerror(err));
	return ok;
}
