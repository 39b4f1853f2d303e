/* SPDX-License-Identifier: BSD-3-Clause */
/* conn: one client connection: its socket, its buffers, and when it may read, execute, send, or must wait. It
 * knows nothing of protocols: what is buffered is handed to dispatch, which appends to `out`.
 *
 * A connection is always in one of these: reading (waits for the socket), ready (has more to execute, goes on
 * in the next round), parked (has replies that must not leave before the log has what they say), waiting (a
 * command found no room in the log's ring and has not happened), sending (the socket is full). Only `reading`
 * takes input.
 *
 * Belongs to the thread of its worker; what `stats conns` shows (state, last_command, partial) is read by others. */
#ifndef SERVER_CONN_H
#define SERVER_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <netinet/in.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include "base/buf.h"
#include "server/out.h"

struct session;
struct worker;

#define CONN_MAGIC     0x434f4e4eu
#define CONN_CHUNK     16384 /* the size of pooled buffers */
#define CONN_READ_ROOM 2048  /* at least, for one read */

enum conn_state { CONN_READING, CONN_READY, CONN_PARKED, CONN_WAITING, CONN_SENDING };
enum conn_identity { CONN_ANONYMOUS };

enum conn_leaving { CONN_NORMAL, CONN_ERROR, CONN_IDLE_TIMEOUT, CONN_SHUTDOWN };

/* What dispatch says after it has executed what it could. */
enum conn_verdict {
	CONN_IDLE,  /* needs more input */
	CONN_AGAIN, /* its share of the round is used up, or its output must leave first */
	CONN_WAIT,  /* a command could not happen yet */
	CONN_CLOSE, /* close when all is sent */
};

struct conn {
	uint32_t magic;
	int fd;
	struct worker *worker;
	struct session *session; /* dispatch's */
	enum conn_identity identity;
	uint8_t state;   /* enum conn_state */
	uint8_t verdict; /* enum conn_verdict: what to do when the output has left */
	bool listening;  /* the read event is on */
	struct buf in;
	struct out out;
	uint64_t need;  /* the number that the log must reach before the output may leave */
	uint64_t began; /* of a turn that is timed (latency.h); 0 = it is not */
	struct {        /* where the next bytes go before they go to `in`: a long value's own memory */
		uint8_t *at;
		size_t left;
	} into;
	struct event read_event, write_event;
	TAILQ_ENTRY(conn) queue; /* ready, parked or waiting */
	TAILQ_ENTRY(conn) all;   /* the server's list, under its lock */
	int64_t last_command;    /* seconds, Hearth time */
	bool is_unix;
	bool partial;    /* a request has begun to arrive */
	uint8_t leaving; /* enum conn_leaving: why it is closed */
	uint8_t kinds;   /* of the requests of a turn that is timed, a bit each */
};
TAILQ_HEAD(conn_queue, conn);

/* Takes the socket over. NULL (and the socket closed) when memory is short. */
struct conn *conn_open(struct worker *w, int fd, bool is_unix);
void conn_close(struct conn *c);
/* An address of the internet as text and its port; false: it is none. */
bool conn_address(const struct sockaddr_storage *ss, char ret_ip[INET6_ADDRSTRLEN], unsigned *ret_port);
/* Tells watchers of it, if there are any; why may be NULL. */
void conn_tell(const struct conn *c, const char *event, const char *why);
/* Executes what is buffered, sends what may be sent, and moves the connection to the state that follows. */
void conn_run(struct conn *c);
/* For a parked connection: sends if its replies may leave by now. False: still parked. */
bool conn_retry(struct conn *c);
/* Nothing to do, nothing to send, and silent since before that time. Any thread. */
bool conn_idle_since(const struct conn *c, int64_t time);
/* Takes no more input. */
void conn_silence(struct conn *c);

#endif
