/* SPDX-License-Identifier: BSD-3-Clause */
/* session: what a connection's protocol state is, and what the files that execute commands (retrieval, storage, meta,
 * update, dump, operator, binary) share with dispatch and nobody else includes. A command is executed whole or not at all: what cannot happen
 * now says so by its step, and is parsed anew when its time has come. Belongs to the thread of the worker. */
#ifndef SERVER_SESSION_H
#define SERVER_SESSION_H

#include "engine/engine.h"
#include "proto/binary.h"
#include "proto/parse.h"
#include "proto/reply.h"
#include "proto/request.h"
#include "server/conn.h"
#include "server/counters.h"
#include "server/internal.h"
#include "server/watch.h"
#include "server/worker.h"

#define SESSION_HEAD 1000                                /* any line */
#define SESSION_ROOM (STORE_COPY_MAX + SESSION_HEAD + 2) /* any answer but a long value that must be copied */

_Static_assert(REPLY_HEAD_MAX <= SESSION_HEAD, "a VALUE line and its value's end fit beside a copied value");
_Static_assert(REQUEST_KEY_MAX == STORE_KEY_MAX, "one key limit");

/* A store whose value goes straight into its own memory while it arrives. */
struct upload {
	const struct command *command;
	struct store_large *large;
	struct store_put put;
	struct store_key key; /* its data is below */
	bool noreply;
	struct request_meta meta; /* of ms */
	struct binary_tag tag;    /* of a request of the binary protocol */
	enum store_result failed; /* the put failed and took the value with it; what is left is to say so */
	uint8_t name[STORE_KEY_MAX];
};

enum dump_kind { DUMP_LINES, DUMP_REQUESTS, DUMP_ITEMS }; /* metadump, mgdump, stats cachedump */

/* A list of keys on its way. */
struct dump {
	bool active;
	enum dump_kind kind;
	uint32_t at;
	uint64_t left; /* so many keys more */
	size_t want;   /* room for the next part */
};

enum session_protocol { SESSION_UNDECIDED, SESSION_TEXT, SESSION_BINARY };

struct session {
	enum session_protocol protocol; /* the first byte decides, for the life of the connection */
	struct parser parser;
	struct binary_parser binary;
	struct upload *upload;
	struct dump dump;
	bool watches;
};

/* A request that was parsed ahead. */
struct item {
	struct parser before, after;
	const uint8_t *start; /* in the input buffer */
	size_t used;
	enum parse_result result;
	struct request req;
	unsigned n_keys;
	struct store_key keys[REQUEST_KEYS];
};

/* What became of it. */
enum step {
	STEP_DONE,
	STEP_BREAK, /* done, but what was parsed ahead must be parsed anew */
	STEP_FLUSH, /* done, and the output must leave before anything else happens */
	STEP_FULL,  /* the output must leave first; nothing has happened, or a part that is accounted for */
	STEP_WAIT,  /* no room in the log: nothing has happened */
	STEP_INPUT, /* nothing whole is buffered */
	STEP_CLOSE,
};

/* Everybody may do everything so far; users with rights come with authentication. */
static inline bool session_permits(const struct conn *c, const struct command *command)
{
	return c->identity == CONN_ANONYMOUS && command->access <= COMMAND_ADMINISTERS;
}

/* ---- session.c: answers ---- */
bool session_make_room(struct conn *c, size_t len);
/* Room for an answer, made before the command is executed. False: no memory, close. */
static inline bool session_room(struct conn *c, size_t len)
{
	struct buf *b = &c->out.copied;
	return (b->data && buf_room(b) >= len) || session_make_room(c, len);
}
void session_answer(struct conn *c, enum reply_id id);
/* Whether the turn may answer so many keys or commands more: -o read_buf_mem_limit. False: what is stacked up has been
 * thrown away. */
bool session_drop_stack(struct conn *c);
static inline bool session_may_answer(struct conn *c, unsigned n)
{
	struct worker *w = c->worker;
	if (w->answers_left < n)
		return session_drop_stack(c);
	w->answers_left -= n;
	return true;
}
void session_answer_unless(struct conn *c, bool noreply, enum reply_id id);
/* Where nobody reads that a removal could not be made sure, the connection ends. */
enum step session_answer_failed(struct conn *c, bool noreply, enum reply_id reply);
/* A change was refused and nobody reads the answer: without one the old value would go on being served for new. It goes,
 * as a key may at any time. Where not even that is certain the connection ends. */
enum step session_refused_silently(struct conn *c, const struct store_key *key);
static inline void session_count(struct conn *c, enum counter which)
{
	counter_add(c->worker->counters, which, 1);
}
/* What the turn changed or served must be in the log before its answers leave. */
void session_keep_need(struct conn *c);

/* ---- observed.c: for those who watch, and for stats detail ---- */
/* Whether anybody asked: else a request does no more than this. */
static inline bool observed(const struct conn *c)
{
	return __atomic_load_n(&c->worker->server->observed, __ATOMIC_RELAXED);
}
/* After who watches, or detail, has changed. */
void observed_update(struct server *s);
/* What there is before a change, for those who are told of it. */
struct observed_item {
	bool told; /* somebody is */
	bool found;
	size_t value_len;
};
struct observed_item observed_look(struct conn *c, const struct store_key *key);
static inline struct observed_item observed_before(struct conn *c, const struct store_key *key)
{
	return observed(c) ? observed_look(c, key) : (struct observed_item){0};
}
void observed_get(struct conn *c, const struct store_key *key, bool found, size_t value_len);
void observed_put(struct conn *c, const char *command, const struct store_key *key,
    const struct store_put *put, const struct observed_item *before, enum store_result r);
void observed_delete(struct conn *c, const char *command, const struct store_key *key,
    const struct observed_item *before, enum store_result r);

/* ---- session.c: values ---- */
/* What memcached's item takes, which clients are told: header with CAS, key, value, what ends them, flags. */
static inline uint64_t session_item_size(size_t key_len, const struct store_view *view)
{
	return 59 + key_len + view->value_len + (view->flags ? sizeof(view->flags) : 0);
}
/* What an emit callback needs to put a value into the output. */
struct session_emit {
	struct conn *conn;
	size_t wanted; /* room, when it was too small */
	bool unready;  /* there was no place for a pin */
	size_t value_len;
	size_t mark; /* of the output, before it */
	bool late;   /* the value's bytes come when the call that asked for it returns */
};
/* Under a shard's lock: whether a head of SESSION_HEAD bytes and the value go into the output. */
bool session_fits(struct session_emit *e, const struct store_view *view);
/* Behind the head: the value, copied or, if it is long, pinned. */
void session_put_value(struct out *o, const struct store_view *view);
/* And its line's end. */
void session_put_line(struct out *o, const struct store_view *view);
/* Behind the call: bytes that were to come late may not have come, and it is a miss; then the head goes, too. */
void session_settle(struct session_emit *e, enum store_result result);
/* After STORE_MORE_ROOM: makes it. False: no memory. */
bool session_make_fit(struct session_emit *e);

/* ---- retrieval.c: get, gets, gat, gats ---- */
enum step retrieval_run(struct conn *c, struct item *it);

/* ---- storage.c: set, add, replace, append, prepend, cas ---- */
enum step storage_run(struct conn *c, struct item *it);
/* The line is there, its value is not. */
enum step storage_run_value(struct conn *c, struct item *it);
/* There is an upload: goes on with it. */
enum step storage_end_upload(struct conn *c);
void storage_drop_upload(struct conn *c);
/* The first `used` bytes of the input are a store without its value, behind which `tail` bytes more belong to it.
 * STEP_INPUT: more must come, into the buffer or, with *ret_upload (to be filled in), into the value's own memory;
 * STEP_DONE: it cannot be stored, and *ret_why says why; STEP_WAIT, STEP_CLOSE. */
enum step storage_receive(struct conn *c, size_t used, unsigned tail, uint64_t value_len,
    const struct store_key *key, struct upload **ret_upload, enum store_result *ret_why);
/* A value cannot be stored. A set takes the old value along, so that nobody is served what the client meant to replace.
 * False: no room in the log for that. */
bool storage_failed(struct conn *c, const struct command *command, const struct store_key *key,
    enum store_result why, enum reply_id *ret_reply);
/* A put was decided. */
void storage_count(struct conn *c, enum store_mode mode, enum store_result r);

/* ---- meta.c ---- */
enum step meta_run(struct conn *c, struct item *it);
/* What a put of ms is to be. */
void meta_fill_put(const struct conn *c, const struct request_meta *m, struct store_put *put);
/* What became of it. */
void meta_answer_put(struct conn *c, const struct request_meta *m, const struct store_key *key,
    enum store_result r, const struct store_stored *stored);

/* ---- update.c ---- */
enum step update_delete(struct conn *c, struct item *it);
enum step update_arith(struct conn *c, struct item *it);
enum step update_touch(struct conn *c, struct item *it);

/* ---- dump.c: lru_crawler metadump and mgdump, stats cachedump ---- */
/* Begins one, or says why not. */
enum step dump_begin(struct conn *c, const struct request *req, enum reply_id *ret_reply);
enum step dump_begin_items(struct conn *c, const struct request *req, enum reply_id *ret_reply);
/* Goes on with it: all that the output takes for now. */
enum step dump_run(struct conn *c);

/* ---- watcher.c: a connection that watches ---- */
enum step watcher_begin(struct conn *c, const struct request *req, enum reply_id *ret_reply);
/* What waits goes into the output; what comes in is thrown away. */
enum step watcher_run(struct conn *c);
/* Also of one that does not. */
void watcher_end(struct conn *c);

/* ---- operator.c: what comes in words: flush_all, stats, version and the like ---- */
enum step operator_run(struct conn *c, struct item *it);
/* STEP_WAIT, or STEP_DONE with OK, NO_FLUSH or REFUSED. */
enum step operator_flush(struct conn *c, int64_t delay, enum reply_id *ret_reply);

/* ---- binary.c: the binary protocol ---- */
/* One request, or what is left of one whose value was long. */
enum step binary_run(struct conn *c);
void binary_reply(struct conn *c, const struct binary_tag *tag, enum binary_status status);
/* A success, which a quiet request does not hear of. */
void binary_reply_done(struct conn *c, const struct binary_tag *tag, uint64_t cas);

/* ---- binary_items.c: what binary requests do to items ---- */
enum step binary_items_get(struct conn *c, const struct binary_request *req);
enum step binary_items_store(struct conn *c, const struct binary_request *req);
/* All but the value is there, in the first `used` bytes of the input. */
enum step binary_items_store_value(struct conn *c, const struct binary_request *req, size_t used);
enum step binary_items_end_upload(struct conn *c);
enum step binary_items_delete(struct conn *c, const struct binary_request *req);
enum step binary_items_arith(struct conn *c, const struct binary_request *req);

#endif
