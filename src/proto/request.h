/* SPDX-License-Identifier: BSD-3-Clause */
/* request: one parsed command. Keys, words and value are slices of the input buffer, valid until that buffer
 * moves: nothing is copied. A get with many keys comes as several requests of at most REQUEST_KEYS keys,
 * `more` set on all but the last. Belongs to the thread of its connection. */
#ifndef PROTO_REQUEST_H
#define PROTO_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "proto/command.h"
#include "proto/reply.h"

#define REQUEST_KEYS    16
#define REQUEST_KEY_MAX 250

struct request_slice {
	const uint8_t *data;
	size_t len;
};

#define REQUEST_META_WORDS 20 /* on the line of a meta command */
#define REQUEST_OPAQUE_MAX 32

/* The flags of a meta command. Plain data that holds no slices, so that it outlives the input buffer. */
struct request_meta {
	uint64_t has; /* a bit for each letter that is there, 'A' the first: meta_has() */
	uint8_t n;
	uint8_t mode; /* of M; 0 = none */
	uint8_t opaque_len;
	uint8_t key_len;       /* of the decoded key; 0: the key is text */
	uint32_t client_flags; /* F */
	int64_t ttl;           /* T, as an exptime */
	int64_t vivify_ttl;    /* N */
	int64_t recache_ttl;   /* R */
	uint64_t compare;      /* C */
	uint64_t cas;          /* E */
	uint64_t initial;      /* J */
	uint64_t delta;        /* D */
	/* Not reset from one request to the next. */
	uint8_t flag[REQUEST_META_WORDS];   /* in the order of the line */
	uint8_t opaque[REQUEST_OPAQUE_MAX]; /* with its O */
	uint8_t key[REQUEST_KEY_MAX];
};

struct request {
	const struct command *command; /* NULL with an error before the name was known */
	enum reply_id error;           /* with PARSE_ERROR; REPLY_NONE when noreply hides it */
	bool noreply;
	bool more;       /* further keys of this line follow in the next request */
	bool drop_stack; /* with PARSE_ERROR: a get broke off, the replies composed before it go too */
	uint8_t n_keys;  /* keys; words behind the name for COMMAND_WORDS, of which more may be on the line */
	uint32_t flags;
	int64_t exptime;
	uint64_t delta;
	uint64_t cas;
	uint64_t value_len;
	const uint8_t *value; /* NULL while it is not all there */
	struct request_slice keys[REQUEST_KEYS];
	struct request_meta meta; /* of meta commands alone */
};

#endif
