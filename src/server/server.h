/* SPDX-License-Identifier: BSD-3-Clause */
/* server: everything that talks to clients: listeners and signals on the main thread, workers with their
 * connections. Brought up in steps, in the order of the functions below; taken down by server_close.
 *
 * Threads: all calls from the main thread, but server_progress (any, waits for nothing). */
#ifndef SERVER_SERVER_H
#define SERVER_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct engine;
struct server;

/* -B: what is spoken; any: the first byte of a connection decides. */
enum server_protocol { SERVER_ANY_PROTOCOL, SERVER_ASCII, SERVER_BINARY };

struct server_options {
	const char *listen; /* -l: addresses, each with or without a port, comma separated; NULL = loopback */
	int port;           /* 0 = any free one */
	const char *cluster_file; /* NULL = none */
	const char *http;      /* --http: where to serve the page and the metrics; NULL or "none" = nowhere */
	const char *unix_path; /* -s: instead of TCP */
	unsigned unix_mask;
	unsigned backlog;
	unsigned max_conns;
	unsigned workers;
	unsigned turn_requests; /* -R */
	enum server_protocol protocol;
	unsigned watch_kib;    /* that may wait for a watcher; 0 = the default */
	unsigned buffers_mib;  /* that connections' buffers may take, a share a worker; 0 = no bound */
	char detail;           /* the delimiter of stats detail, which is then on; 0 = ':', and off */
	unsigned idle_timeout; /* seconds after which a silent connection is closed; 0 = never */
	bool no_flush, no_dump, no_watch, shutdown, test_commands, maxconns_fast;
	int verbosity;
	/* Only shown, in stats settings. */
	uint64_t item_max;
	bool no_evict, no_cas;
};

enum server_status {
	SERVER_OK = 0,
	SERVER_UNAVAILABLE, /* an address is in use or not to be had */
	SERVER_SYSTEM,      /* the system refused a resource */
	SERVER_IO,          /* a file or directory */
	SERVER_USAGE,       /* an option is wrong */
};

/* Makes the server and binds its addresses, without listening yet. A failure has been told in one line. */
enum server_status server_bind(struct server **ret_server, const struct server_options *options);
/* The TCP port; 0 on a unix socket. */
int server_port(const struct server *s);
/* Hands a unix socket to the user that the daemon becomes. */
void server_chown(struct server *s, uid_t uid, gid_t gid);
void server_set_engine(struct server *s, struct engine *engine);
/* Opens the admin socket in the data directory (path is for messages); it answers from here on, while loading from within
 * server_loading. */
enum server_status server_admin(struct server *s, int dirfd, const char *path);
/* Begins to answer HTTP, if --http is there; also while loading. dirfd: the data directory, or -1. */
enum server_status server_http(struct server *s, int dirfd);
/* Ends that; before the engine is closed. */
void server_end_http(struct server *s);
/* For engine_options: arg is the server. */
void server_progress(void *arg);
void server_loading(void *arg, uint64_t done_bytes, uint64_t all_bytes, uint64_t items);
void server_settling(void *arg);
/* What is asked of whoever owns configuration and process; called on the main thread. */
struct server_hooks {
	void *arg;
	void (*reload)(void *arg); /* SIGHUP */
	/* One option, by its long name. False: ret_why, of SERVER_WHY_MAX bytes, says why not. */
	bool (*change)(void *arg, const char *name, const char *value, char *ret_why);
	/* STAT lines of what can be changed, for the caller to free; NULL: no memory. */
	char *(*changeable)(void *arg);
	/* Told to stop while it loads: the last call. The answer is the exit code; without it that is 0. */
	int (*abandoned)(void *arg);
};
#define SERVER_WHY_MAX 256
void server_set_hooks(struct server *s, const struct server_hooks *hooks);
/* From here on these are as in next, and nothing else of it counts: connections, what
 * becomes of one too many and of silent ones, backlog, requests a turn, what is refused, what
 * is spoken by those that have said nothing yet, verbosity, and what is only shown. False, and told: no descriptors for so many
 * connections; nothing has changed then. */
bool server_tune(struct server *s, const struct server_options *next);
/* The nodes of another cluster_file, or of none. False: ret_why, of SERVER_WHY_MAX bytes; they are those of before. */
bool server_move_cluster(struct server *s, const struct server_options *next, char *ret_why);
/* HTTP where next says, or nowhere. False: ret_why, of SERVER_WHY_MAX bytes; it goes on where it was. */
bool server_move_http(struct server *s, const struct server_options *next, char *ret_why);

/* As TERM does, from any thread. */
void server_ask_stop(struct server *s);

/* Starts the workers and lets clients in. */
enum server_status server_listen(struct server *s);
/* Until TERM, INT or USR1. */
void server_serve(struct server *s);
/* Takes nothing more and lets what was acknowledged leave. No worker runs afterwards. */
void server_stop(struct server *s);
/* Also when only some of the steps above were done. */
void server_close(struct server **server);

#endif
