/* SPDX-License-Identifier: BSD-3-Clause */
/* parse: the classic text protocol, resumable and without copying. The parser looks at what a connection has
 * buffered and gives one verdict a call; all its state is a struct parser, plain data that may be copied to
 * return to an earlier point. Belongs to the thread of its connection.
 *
 * Lines without an end after PARSE_LINE_MAX bytes close the connection, but for get and gets, whose keys are
 * then handed out as they come: a multi-get may be of any length. */
#ifndef PROTO_PARSE_H
#define PROTO_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "proto/request.h"

#define PARSE_LINE_MAX 2048

enum parse_result {
	PARSE_MORE,  /* nothing whole is there; consume *ret_used (swallowed bytes) and come back with more */
	PARSE_DONE,  /* *req is complete, value included */
	PARSE_VALUE, /* the line is whole, its value is not: either come back when value_len + 2 more bytes
	              * behind *ret_used are there, or consume *ret_used and take value and line end away
	              * oneself */
	PARSE_ERROR, /* answer req->error, consume *ret_used, go on: what belongs to the command is swallowed
	              */
	PARSE_CLOSE, /* not a client to talk to */
};

enum parse_state {
	PARSE_AT_LINE,  /* at the first byte of a command */
	PARSE_AT_KEY,   /* among the keys of a get */
	PARSE_IN_WASTE, /* in the rest of a line that was refused: skip to its end */
};

struct parser {
	uint8_t state;                 /* enum parse_state; a zeroed parser is ready */
	bool keyless;                  /* of the get that is being read no key has been seen */
	const struct command *command; /* of the get that is being read */
	int64_t exptime;               /* of the gat */
	uint64_t swallow;              /* bytes to throw away first */
};

enum parse_result parse_next(
    struct parser *p, const uint8_t *data, size_t len, struct request *req, size_t *ret_used);
/* The value of a refused store: so many bytes are thrown away before the next command. */
void parse_swallow(struct parser *p, uint64_t bytes);
/* To go on at a key of a get that was interrupted: hand in the data from that key on afterwards. */
void parse_at_key(struct parser *p, const struct request *req);

/* Whole decimal numbers and nothing else; false when it is none or does not fit. */
bool parse_uint(const struct request_slice *s, uint64_t max, uint64_t *ret_v);
bool parse_int(const struct request_slice *s, int64_t *ret_v);
bool parse_is(const struct request_slice *s, const char *word);

#endif
