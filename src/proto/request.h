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
};

#endif
