/* SPDX-License-Identifier: BSD-3-Clause */
/* binary: memcached's binary protocol: the table of opcodes, a resumable parser, the heads of answers. An opcode is the
 * binary form of a command of command.h and follows that row in what it may do. The parser looks at what a connection has
 * buffered and gives one verdict a call, as parse.h says it; nothing is copied. All its state is a struct binary_parser,
 * plain data that may be copied to return to an earlier point. Belongs to the thread of its connection.
 *
 * A request is a head of 24 bytes, extras, key and value; numbers are big-endian. Lengths that contradict each other or the
 * opcode end the connection, as where the next request begins is anybody's guess. They are judged as soon as the head is
 * there, in 64 bits, before anything else is waited for. */
#ifndef PROTO_BINARY_H
#define PROTO_BINARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "proto/parse.h"

#define BINARY_MAGIC      0x80 /* the first byte of a request; no command of text begins so */
#define BINARY_HEAD       24
#define BINARY_EXTRAS_MAX 20
/* Extras of incr and decr that forbid to make what is not there. */
#define BINARY_NO_CREATION UINT32_MAX

/* Rows: name, code on the wire, text of the answer's body. */
#define BINARY_STATUS_TABLE(X) \
	X(OK, 0x0000, "") \
	X(NOT_FOUND, 0x0001, "Not found") \
	X(EXISTS, 0x0002, "Data exists for key.") \
	X(TOO_LARGE, 0x0003, "Too large.") \
	X(INVALID, 0x0004, "Invalid arguments") \
	X(NOT_STORED, 0x0005, "Not stored.") \
	X(NOT_NUMBER, 0x0006, "Non-numeric server-side value for incr or decr") \
	X(DENIED, 0x0020, "Auth failure.") \
	X(UNKNOWN, 0x0081, "Unknown command") \
	X(NO_MEMORY, 0x0082, "Out of memory") \
	X(REFUSED, 0x0082, "disk error, changes are refused")

enum binary_status {
#define BINARY_STATUS_ID(name, code, text) BINARY_##name,
	BINARY_STATUS_TABLE(BINARY_STATUS_ID)
#undef BINARY_STATUS_ID
	    BINARY_STATUSES
};

#define BINARY_ANSWER_MAX 96 /* no answer of a status is longer, its head included */

/* What an answer repeats of its request. */
struct binary_tag {
	uint8_t opcode;
	bool quiet;      /* success (of a get: a miss) is not answered; anything else is */
	uint32_t opaque; /* as it came: its bytes are the client's */
};

struct binary_request {
	const struct command *command; /* NULL with PARSE_ERROR before the opcode was looked at */
	struct binary_tag tag;
	enum binary_status error; /* with PARSE_ERROR */
	bool close;               /* with PARSE_ERROR: nothing more is read behind the answer */
	bool wants_key;           /* getk, gatk: the answer repeats the key */
	bool creates;             /* incr, decr: what is not there begins with `initial` */
	uint32_t flags;
	int64_t exptime; /* 32 bits without a sign: there is no negative time */
	uint64_t delta, initial;
	uint64_t cas;   /* 0 = any */
	uint32_t level; /* verbosity */
	struct request_slice key;
	uint64_t value_len;
	const uint8_t *value; /* NULL while it is not all there */
};

struct binary_parser {
	uint64_t swallow; /* bytes to throw away first; a zeroed parser is ready */
};

/* PARSE_VALUE: all but the value is there: either come back when value_len more bytes behind *ret_used are, with the
 * parser as it was before, or consume *ret_used and take the value away oneself. PARSE_CLOSE: not the first byte of a request. */
enum parse_result binary_next(
    struct binary_parser *p, const uint8_t *data, size_t len, struct binary_request *req, size_t *ret_used);
/* The value of a refused store: so many bytes are thrown away before the next request. */
void binary_swallow(struct binary_parser *p, uint64_t bytes);

/* The head of an answer: BINARY_HEAD bytes of room. body_len counts extras, key and value. */
size_t binary_head(uint8_t *out, const struct binary_tag *tag, enum binary_status status, uint8_t extras_len,
    uint16_t key_len, uint32_t body_len, uint64_t cas);
/* An answer that holds nothing but a status and its text: BINARY_ANSWER_MAX. */
size_t binary_answer(uint8_t *out, const struct binary_tag *tag, enum binary_status status, uint64_t cas);
/* Big-endian numbers into an answer's body; returns the bytes written. */
size_t binary_put32(uint8_t *out, uint32_t v);
size_t binary_put64(uint8_t *out, uint64_t v);

#endif
