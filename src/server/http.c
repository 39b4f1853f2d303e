/* SPDX-License-Identifier: BSD-3-Clause */
/* http: the HTTP server, see http.h. evhttp has no bound on connections. So we make each connection's bufferevent and keep
 * a reference to it: evhttp takes its callbacks off one that it has let go of, which is how we see that it ended. While all
 * places are taken the listeners are off. A connection that lasts too long is shut down; evhttp finds it closed. */
#include "server/http.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/listener.h>
#include "base/check.h"
#include "base/clock.h"
#include "base/msg.h"
#include "base/schedule.h"
#include "server/address.h"
#include "server/internal.h"
#include "server/metrics.h"
#include "server/page.h"

#define HTTP_MAGIC       0x48545450u
#define LISTEN_MAX       8
#define BACKLOG          64
#define HEADERS_MAX      16384 /* bytes of the first line and all headers */
#define BODY_MAX         4096  /* none is looked at: to be refused in words, not by a closed connection */
#define URI_MAX          1024
#define SILENCE_S        10                      /* between two bytes */
#define CONN_US          ((int64_t)30 * 1000000) /* a connection, with its one request */
#define NONCE_BYTES      16
#define RETRY_MAX        3600
#define NICE             5
#define HTTP_TOO_LONG    414
#define HTTP_MISDIRECTED 421

struct held {
	struct bufferevent *bev;
	int64_t since_us;
};

struct http {
	uint32_t magic;
	struct server *server;
	int port;
	int fds[LISTEN_MAX];
	unsigned n_fds;
	int wake_fd;
	struct event_base *base; /* from here on the thread's, while it runs */
	struct event *wake, *second;
	struct evhttp *evhttp;
	struct evconnlistener *listeners[LISTEN_MAX];
	struct metrics *metrics;
	struct held held[HTTP_CONNS];
	unsigned n_held;
	bool full;
	pthread_t thread;
	bool running;
};

/* ---- addresses ---- */

static enum server_status failed(char *ret_why, enum server_status status, const char *why)
{
	snprintf(ret_why, SERVER_WHY_MAX, "%s", why);
	return status;
}

/* "*:8080" is any address. */
static enum server_status bind_named(struct http *h, char *text, char *ret_why)
{
	char why[ADDRESS_WHY_MAX];
	const char *host = address_split_port(text, &h->port);
	if (h->port < 0)
		return failed(ret_why, SERVER_USAGE, "no port (ADDR:PORT, [ADDR]:PORT or PORT)");
	const char *name = strcmp(host, "*") == 0 ? NULL : host;
	int n = *host == 0 ? address_bind_loopback(&h->port, h->fds, LISTEN_MAX, why)
	                   : address_bind_host(name, &h->port, h->fds, LISTEN_MAX, why);
	if (n <= 0)
		return failed(ret_why, SERVER_UNAVAILABLE, why);
	h->n_fds = (unsigned)n;
	return SERVER_OK;
}

enum server_status http_bind(struct http **ret_http, struct server *s, const char *where, char *ret_why)
{
	struct http *h = calloc(1, sizeof *h);
	char *copy = strdup(where);
	enum server_status status = failed(ret_why, SERVER_SYSTEM, "no memory");

	if (h && copy) {
		*h = (struct http){.magic = HTTP_MAGIC, .server = s, .wake_fd = -1};
		status = bind_named(h, copy, ret_why);
	}
	free(copy);
	if (status != SERVER_OK) {
		free(h);
		h = NULL;
	}
	*ret_http = h;
	return status;
}

static int port_of(const char *where)
{
	char copy[ADDRESS_NAME_MAX];
	int port;
	snprintf(copy, sizeof copy, "%s", where);
	address_split_port(copy, &port);
	return port;
}

/* Its sockets listen no more, or again. They stay bound, and another one may be bound to the same port meanwhile. */
static bool hold(struct http *h, bool on)
{
	bool ok = true;
	for (unsigned i = 0; i < h->n_fds; i++)
		ok = (on ? shutdown(h->fds[i], SHUT_RDWR) : listen(h->fds[i], BACKLOG)) == 0 && ok;
	return ok;
}

static enum server_status open_at(
    struct http **ret_http, struct server *s, const char *where, int dirfd, char *ret_why)
{
	enum server_status status = http_bind(ret_http, s, where, ret_why);
	if (status == SERVER_OK)
		status = http_start(*ret_http, dirfd, ret_why);
	if (status != SERVER_OK)
		http_close(ret_http);
	return status;
}

enum server_status http_move(
    struct http **http, struct server *s, const char *where, int dirfd, char *ret_why)
{
	struct http *next = NULL;
	enum server_status status = open_at(&next, s, where, dirfd, ret_why);
	/* Of another address with the same port it may be the old one that holds it. */
	if (status == SERVER_UNAVAILABLE && *http && (*http)->port == port_of(where) && hold(*http, true)) {
		status = open_at(&next, s, where, dirfd, ret_why);
		if (status != SERVER_OK && !hold(*http, false))
			msg(MSG_ERROR, "HTTP on port %d: %s", (*http)->port, strerror(errno));
	}
	if (status != SERVER_OK)
		return status;
	http_close(http);
	*http = next;
	return SERVER_OK;
}

/* ---- connections ---- */

static void listen_all(struct http *h, bool on)
{
	for (unsigned i = 0; i < h->n_fds; i++) {
		if (on)
			evconnlistener_enable(h->listeners[i]);
		else
			evconnlistener_disable(h->listeners[i]);
	}
}

/* Gives up those that have ended, which evhttp has taken its callbacks off, and ends those that last too long. */
static void sweep(struct http *h)
{
	int64_t now = clock_mono_us();
	unsigned kept = 0;

	for (unsigned i = 0; i < h->n_held; i++) {
		struct held *c = &h->held[i];
		bufferevent_event_cb alive;
		bufferevent_getcb(c->bev, NULL, NULL, &alive, NULL);
		if (!alive) {
			bufferevent_decref(c->bev);
			continue;
		}
		if (now - c->since_us > CONN_US && bufferevent_getfd(c->bev) >= 0)
			shutdown(bufferevent_getfd(c->bev), SHUT_RDWR);
		h->held[kept++] = *c;
	}
	h->n_held = kept;
	h->full = kept == HTTP_CONNS;
}

/* evhttp has accepted a connection and wants its bufferevent. Those that ended are given up first, to make room. A descriptor
 * is closed with its bufferevent and no earlier: by then the number would be that of somebody else's. */
static struct bufferevent *on_accepted(struct event_base *base, void *arg)
{
	struct http *h = arg;
	CHECK_MAGIC(h, HTTP_MAGIC);
	sweep(h);
	CHECK(h->n_held < HTTP_CONNS);
	struct bufferevent *bev = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
	if (!bev)
		return NULL;
	bufferevent_incref(bev);
	h->held[h->n_held++] = (struct held){bev, clock_mono_us()};
	h->full = h->n_held == HTTP_CONNS;
	if (h->full)
		listen_all(h, false);
	return bev;
}

/* No descriptors: nobody is accepted for a moment. */
static void on_accept_error(struct evconnlistener *listener, void *arg)
{
	(void)arg;
	evconnlistener_disable(listener);
}

static void on_second(evutil_socket_t fd, short what, void *arg)
{
	struct http *h = arg;
	(void)fd;
	(void)what;
	sweep(h);
	listen_all(h, !h->full);
}

/* ---- answers ---- */

static void headers(struct evhttp_request *req, const char *type)
{
	static const char *const always[][2] = {
	    {"Cache-Control", "no-store"},
	    {"Connection", "close"},
	    {"X-Content-Type-Options", "nosniff"},
	    {"X-Frame-Options", "DENY"},
	    {"Referrer-Policy", "no-referrer"},
	    {"Cross-Origin-Resource-Policy", "same-origin"},
	    {"Cross-Origin-Opener-Policy", "same-origin"},
	};
	struct evkeyvalq *out = evhttp_request_get_output_headers(req);
	for (size_t i = 0; i < sizeof always / sizeof always[0]; i++)
		evhttp_add_header(out, always[i][0], always[i][1]);
	evhttp_add_header(out, "Content-Type", type);
}

static void policy(struct evhttp_request *req, const char *text)
{
	evhttp_add_header(evhttp_request_get_output_headers(req), "Content-Security-Policy", text);
}

/* Of a HEAD the headers alone, with the length that the body would have. */
static void answer(struct evhttp_request *req, int code, const char *reason, struct evbuffer *body)
{
	char len[24];
	if (evhttp_request_get_command(req) == EVHTTP_REQ_HEAD) {
		snprintf(len, sizeof len, "%zu", evbuffer_get_length(body));
		evhttp_add_header(evhttp_request_get_output_headers(req), "Content-Length", len);
		evbuffer_drain(body, evbuffer_get_length(body));
	}
	evhttp_send_reply(req, code, reason, body);
}

static void send_text(struct evhttp_request *req, int code, const char *reason, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
static void send_text(struct evhttp_request *req, int code, const char *reason, const char *fmt, ...)
{
	struct evbuffer *body = evbuffer_new();
	va_list ap;

	headers(req, "text/plain; charset=utf-8");
	policy(req, "default-src 'none'; frame-ancestors 'none'");
	va_start(ap, fmt);
	if (body && evbuffer_add_vprintf(body, fmt, ap) >= 0)
		answer(req, code, reason, body);
	else
		evhttp_send_error(req, HTTP_INTERNAL, NULL);
	va_end(ap);
	if (body)
		evbuffer_free(body);
}

/* ---- routes ---- */

static void get_metrics(struct http *h, struct evhttp_request *req)
{
	struct evbuffer *body = evbuffer_new();
	if (body && metrics_print(h->metrics, body)) {
		headers(req, "text/plain; version=0.0.4; charset=utf-8");
		policy(req, "default-src 'none'; frame-ancestors 'none'");
		answer(req, HTTP_OK, "OK", body);
	} else {
		send_text(req, HTTP_INTERNAL, "Internal Server Error", "no memory\n");
	}
	if (body)
		evbuffer_free(body);
}

/* That it answers is the answer: a start that loads for long, or a full disk, is no reason to kill it. */
static void get_healthz(struct http *h, struct evhttp_request *req)
{
	(void)h;
	send_text(req, HTTP_OK, "OK", "alive\n");
}

static void loading(const struct server *s, struct evhttp_request *req)
{
	struct metrics_load load;
	char left[32] = "", after[16] = "1";

	metrics_get_load(s, &load);
	if (load.left >= 0) {
		unsigned seconds = load.left < RETRY_MAX ? (unsigned)load.left + 1 : RETRY_MAX;
		snprintf(after, sizeof after, "%u", seconds);
		snprintf(left, sizeof left, ", %.0f s left", load.left);
	}
	evhttp_add_header(evhttp_request_get_output_headers(req), "Retry-After", after);
	if (load.settling) {
		send_text(req, HTTP_SERVUNAVAIL, "Service Unavailable", "%s\n", SERVER_SETTLING);
		return;
	}
	send_text(req, HTTP_SERVUNAVAIL, "Service Unavailable", "loading %u %%%s\n",
	    (unsigned)(100 * load.ratio), left);
}

/* A degraded one is ready: it answers reads and deletes, which is better for those who ask than no cache at all. */
static void get_readyz(struct http *h, struct evhttp_request *req)
{
	const char *reason;
	switch (metrics_phase(h->server)) {
	case METRICS_LOADING:
		loading(h->server, req);
		break;
	case METRICS_STOPPING:
		send_text(req, HTTP_SERVUNAVAIL, "Service Unavailable", "stopping\n");
		break;
	case METRICS_SERVING: {
		const char *state = metrics_state(h->metrics, &reason);
		if (*state && strcmp(state, "healthy") != 0)
			send_text(req, HTTP_OK, "OK", "ready, but %s: %s\n", state, reason);
		else
			send_text(req, HTTP_OK, "OK", "ready\n");
		break;
	}
	}
}

static bool make_nonce(char ret_nonce[2 * NONCE_BYTES + 1])
{
	uint8_t bytes[NONCE_BYTES];
	if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
		return false;
	for (unsigned i = 0; i < sizeof bytes; i++)
		snprintf(ret_nonce + 2 * i, 3, "%02x", bytes[i]);
	return true;
}

/* The page with the word in each of its places; what stands between them is not copied. */
static bool fill_page(struct evbuffer *body, const char *nonce)
{
	size_t left, place = sizeof PAGE_NONCE - 1;
	const char *at = page_text(&left), *found;

	while ((found = memmem(at, left, PAGE_NONCE, place)) != NULL) {
		size_t n = (size_t)(found - at);
		if (evbuffer_add_reference(body, at, n, NULL, NULL) != 0 ||
		    evbuffer_add(body, nonce, strlen(nonce)) != 0)
			return false;
		at = found + place;
		left -= n + place;
	}
	return evbuffer_add_reference(body, at, left, NULL, NULL) == 0;
}

static void get_page(struct http *h, struct evhttp_request *req)
{
	struct evbuffer *body = evbuffer_new();
	char nonce[2 * NONCE_BYTES + 1], text[512];

	(void)h;
	if (body && make_nonce(nonce) && fill_page(body, nonce)) {
		snprintf(text, sizeof text,
		    "default-src 'none'; script-src 'nonce-%s'; style-src 'nonce-%s'; img-src data:; "
		    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
		    nonce, nonce);
		headers(req, "text/html; charset=utf-8");
		policy(req, text);
		answer(req, HTTP_OK, "OK", body);
	} else {
		send_text(req, HTTP_INTERNAL, "Internal Server Error", "no memory\n");
	}
	if (body)
		evbuffer_free(body);
}

static const struct {
	const char *path;
	void (*get)(struct http *h, struct evhttp_request *req);
} routes[] = {
    {"/", get_page},
    {"/metrics", get_metrics},
    {"/healthz", get_healthz},
    {"/readyz", get_readyz},
};

/* A page of somewhere else, whose name was made to mean this machine, is told nothing: on the loopback addresses only those
 * and "localhost" are names that we answer to. */
static bool knows_name(struct evhttp_request *req)
{
	const char *host = evhttp_request_get_host(req);
	struct sockaddr_storage own = {0};
	socklen_t len = sizeof own;
	struct bufferevent *bev = evhttp_connection_get_bufferevent(evhttp_request_get_connection(req));
	struct in_addr v4;
	struct in6_addr v6;
	char name[INET6_ADDRSTRLEN];

	if (!host || getsockname(bufferevent_getfd(bev), (struct sockaddr *)&own, &len) != 0)
		return true;
	const struct sockaddr_in *in = (const struct sockaddr_in *)&own;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&own;
	bool loopback = own.ss_family == AF_INET ? ntohl(in->sin_addr.s_addr) >> 24 == 127
	                                         : IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
	if (!loopback || strcasecmp(host, "localhost") == 0)
		return true;
	size_t n = strlen(host);
	bool brackets = n > 2 && host[0] == '[' && host[n - 1] == ']';
	snprintf(name, sizeof name, "%.*s", (int)(brackets ? n - 2 : n), brackets ? host + 1 : host);
	return inet_pton(AF_INET, name, &v4) == 1 || inet_pton(AF_INET6, name, &v6) == 1;
}

static void on_request(struct evhttp_request *req, void *arg)
{
	struct http *h = arg;
	enum evhttp_cmd_type method = evhttp_request_get_command(req);
	const char *path = evhttp_uri_get_path(evhttp_request_get_evhttp_uri(req));

	CHECK_MAGIC(h, HTTP_MAGIC);
	if (strlen(evhttp_request_get_uri(req)) > URI_MAX) {
		send_text(req, HTTP_TOO_LONG, "URI Too Long", "the address is too long\n");
		return;
	}
	if (method != EVHTTP_REQ_GET && method != EVHTTP_REQ_HEAD) {
		evhttp_add_header(evhttp_request_get_output_headers(req), "Allow", "GET, HEAD");
		send_text(req, HTTP_BADMETHOD, "Method Not Allowed", "only GET and HEAD\n");
		return;
	}
	if (!knows_name(req)) {
		send_text(req, HTTP_MISDIRECTED, "Misdirected Request",
		    "on a loopback address only localhost and addresses are answered\n");
		return;
	}
	for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
		if (path && strcmp(path, routes[i].path) == 0) {
			routes[i].get(h, req);
			return;
		}
	}
	send_text(req, HTTP_NOTFOUND, "Not Found", "there are /, /metrics, /healthz and /readyz\n");
}

/* ---- the thread ---- */

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
	struct http *h = arg;
	(void)fd;
	(void)what;
	event_base_loopbreak(h->base);
}

static void *http_main(void *arg)
{
	struct http *h = arg;
	prctl(PR_SET_NAME, "http");
	schedule_behind(NICE);
	event_base_loop(h->base, 0);
	return NULL;
}

static bool make_base(struct http *h)
{
	struct event_config *cfg = event_config_new();
	if (!cfg)
		return false;
	/* One thread uses it; the main thread wakes it through the eventfd. */
	event_config_set_flag(cfg, EVENT_BASE_FLAG_NOLOCK);
	h->base = event_base_new_with_config(cfg);
	event_config_free(cfg);
	return h->base != NULL;
}

static bool make_server(struct http *h)
{
	h->evhttp = evhttp_new(h->base);
	if (!h->evhttp)
		return false;
	evhttp_set_max_headers_size(h->evhttp, HEADERS_MAX);
	evhttp_set_max_body_size(h->evhttp, BODY_MAX);
	evhttp_set_timeout(h->evhttp, SILENCE_S);
	evhttp_set_allowed_methods(h->evhttp, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD | EVHTTP_REQ_POST |
	                                          EVHTTP_REQ_PUT | EVHTTP_REQ_DELETE | EVHTTP_REQ_OPTIONS |
	                                          EVHTTP_REQ_TRACE | EVHTTP_REQ_CONNECT | EVHTTP_REQ_PATCH);
	evhttp_set_bevcb(h->evhttp, on_accepted, h);
	evhttp_set_gencb(h->evhttp, on_request, h);
	for (unsigned i = 0; i < h->n_fds; i++) {
		h->listeners[i] =
		    evconnlistener_new(h->base, NULL, NULL, LEV_OPT_CLOSE_ON_EXEC, BACKLOG, h->fds[i]);
		if (!h->listeners[i])
			return false;
		evconnlistener_set_error_cb(h->listeners[i], on_accept_error);
		if (!evhttp_bind_listener(h->evhttp, h->listeners[i])) {
			evconnlistener_free(h->listeners[i]);
			return false;
		}
	}
	return true;
}

enum server_status http_start(struct http *h, int dirfd, char *ret_why)
{
	struct timeval second = {.tv_sec = 1};
	sigset_t all, old;

	CHECK_MAGIC(h, HTTP_MAGIC);
	h->metrics = metrics_open(h->server, dirfd);
	h->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!h->metrics || h->wake_fd < 0 || !make_base(h) || !make_server(h))
		return failed(
		    ret_why, errno == EADDRINUSE ? SERVER_UNAVAILABLE : SERVER_SYSTEM, strerror(errno));
	h->wake = event_new(h->base, h->wake_fd, EV_READ, on_wake, h);
	h->second = event_new(h->base, -1, EV_PERSIST, on_second, h);
	if (!h->wake || !h->second || event_add(h->wake, NULL) != 0 || event_add(h->second, &second) != 0)
		return failed(ret_why, SERVER_SYSTEM, "no events");
	/* Signals are the main thread's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	errno = pthread_create(&h->thread, NULL, http_main, h);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	h->running = errno == 0;
	if (!h->running)
		return failed(ret_why, SERVER_SYSTEM, strerror(errno));
	msg(MSG_INFO, "HTTP on port %d", h->port);
	return SERVER_OK;
}

void http_close(struct http **http)
{
	struct http *h = *http;
	uint64_t one = 1;

	*http = NULL;
	if (!h)
		return;
	CHECK_MAGIC(h, HTTP_MAGIC);
	if (h->running) {
		ssize_t n = write(h->wake_fd, &one, sizeof one);
		(void)n;
		pthread_join(h->thread, NULL);
	}
	if (h->evhttp)
		evhttp_free(h->evhttp); /* with its listeners and connections */
	while (h->n_held > 0)
		bufferevent_decref(h->held[--h->n_held].bev);
	if (h->wake)
		event_free(h->wake);
	if (h->second)
		event_free(h->second);
	if (h->base)
		event_base_free(h->base);
	while (h->n_fds > 0)
		close(h->fds[--h->n_fds]);
	if (h->wake_fd >= 0)
		close(h->wake_fd);
	metrics_close(&h->metrics);
	h->magic = 0;
	free(h);
}
