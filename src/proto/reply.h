/* SPDX-License-Identifier: BSD-3-Clause */
/* reply: composes answers. Constant answers are rows of one table; the rest is formatted into room that the
 * caller has secured: each function says how much it needs at most, writes without checks and returns the
 * bytes written. Constant data and pure functions: any thread. */
#ifndef PROTO_REPLY_H
#define PROTO_REPLY_H

#include <stddef.h>
#include <stdint.h>

/* The protocol level that clients gate features on, not Hearth's own version. */
#define REPLY_PROTOCOL "1.6.45"

/* Rows: name, text without line end. */
#define REPLY_TABLE(X) \
	X(NONE, "") \
	X(STORED, "STORED") \
	X(NOT_STORED, "NOT_STORED") \
	X(EXISTS, "EXISTS") \
	X(NOT_FOUND, "NOT_FOUND") \
	X(DELETED, "DELETED") \
	X(TOUCHED, "TOUCHED") \
	X(OK, "OK") \
	X(END, "END") \
	X(EN, "EN") \
	X(MN, "MN") \
	X(RESET, "RESET") \
	X(VERSION, "VERSION " REPLY_PROTOCOL) \
	X(ERROR, "ERROR") \
	X(BAD_FORMAT, "CLIENT_ERROR bad command line format") \
	X(BAD_DELETE, "CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]") \
	X(BAD_LINE, "CLIENT_ERROR bad command line") \
	X(BAD_CHUNK, "CLIENT_ERROR bad data chunk") \
	X(BAD_EXPTIME, "CLIENT_ERROR invalid exptime argument") \
	X(BAD_DELTA, "CLIENT_ERROR invalid numeric delta argument") \
	X(NOT_NUMBER, "CLIENT_ERROR cannot increment or decrement non-numeric value") \
	X(BAD_TOKEN, "CLIENT_ERROR bad token in command line format") \
	X(BAD_CLIENT_FLAGS, "CLIENT_ERROR bad command line format") \
	X(BAD_INITIAL, "CLIENT_ERROR invalid numeric initial value") \
	X(BAD_META_DELTA, "CLIENT_ERROR invalid numeric delta value") \
	X(BAD_KEY64, "CLIENT_ERROR error decoding key") \
	X(BAD_FLAG, "CLIENT_ERROR invalid flag") \
	X(BAD_FLAGS, "CLIENT_ERROR invalid or duplicate flag") \
	X(TWICE, "CLIENT_ERROR duplicate flag") \
	X(MANY_FLAGS, "CLIENT_ERROR options flags are too long") \
	X(LONG_OPAQUE, "CLIENT_ERROR opaque token too long") \
	X(BAD_MODE_MS, "CLIENT_ERROR invalid mode for ms M token") \
	X(BAD_MODE_MA, "CLIENT_ERROR invalid mode for ma M token") \
	X(NO_FLUSH, "CLIENT_ERROR flush_all not allowed") \
	X(NO_DUMP, "CLIENT_ERROR stats cachedump not allowed") \
	X(NO_METADUMP, "ERROR metadump not allowed") \
	X(BAD_CLASS, "BADCLASS invalid class id") \
	X(BAD_DETAIL, "CLIENT_ERROR usage: stats detail on|off|dump") \
	X(BAD_SHUTDOWN, "CLIENT_ERROR invalid shutdown mode") \
	X(BAD_SLEEP, "CLIENT_ERROR sleep must be one second or less") \
	X(DENIED, "CLIENT_ERROR not permitted") \
	X(TOO_LARGE, "SERVER_ERROR object too large for cache") \
	X(NO_MEMORY, "SERVER_ERROR out of memory storing object") \
	X(NO_MEMORY_ARITH, "SERVER_ERROR out of memory") \
	X(NO_MEMORY_GET, "SERVER_ERROR out of memory writing get response") \
	X(REFUSED, "SERVER_ERROR disk error, changes are refused") \
	X(NO_SHUTDOWN, "SERVER_ERROR: shutdown not enabled") \
	X(NO_TLS, "Error TLS not enabled") \
	X(TOO_MANY, "ERROR Too many open connections") \
	X(NO_WATCH, "CLIENT_ERROR watch commands not allowed") \
	X(PIPELINED_WATCH, "ERROR cannot pipeline other commands before watch") \
	X(TOO_MANY_WATCHERS, "WATCHER_TOO_MANY log watcher limit reached") \
	X(BAD_SLAB, "CLIENT_ERROR Illegal slab id") \
	X(MEMLIMIT_SMALL, "MEMLIMIT_TOO_SMALL cannot set maxbytes to less than 8m") \
	X(MEMLIMIT_UNIT, "MEMLIMIT_ADJUST_FAILED input value is megabytes not bytes") \
	X(MEMLIMIT_FAILED, "MEMLIMIT_ADJUST_FAILED out of bounds or unable to adjust")

enum reply_id {
#define REPLY_ID(name, text) REPLY_##name,
	REPLY_TABLE(REPLY_ID)
#undef REPLY_ID
	    REPLY_COUNT
};

#define REPLY_TEXT_MAX 96  /* no constant answer is longer, line end included */
#define REPLY_UINT_MAX 20  /* digits of the largest number */
#define REPLY_HEAD_MAX 352 /* VALUE line with the longest key and numbers */

/* Writes the answer with its line end: REPLY_TEXT_MAX bytes of room. REPLY_NONE writes nothing. */
size_t reply_text(uint8_t *out, enum reply_id id);
/* Decimal, no line end: REPLY_UINT_MAX. */
size_t reply_uint(uint8_t *out, uint64_t v);
/* "VALUE key flags bytes[ cas]\r\n": REPLY_HEAD_MAX. */
size_t reply_value(uint8_t *out, const uint8_t *key, size_t key_len, uint32_t flags, uint64_t value_len);
size_t reply_value_cas(
    uint8_t *out, const uint8_t *key, size_t key_len, uint32_t flags, uint64_t value_len, uint64_t cas);
/* For lines of many parts: these return where the next part goes. A text; a text and a number behind it. */
uint8_t *reply_append(uint8_t *at, const char *text);
uint8_t *reply_named(uint8_t *at, const char *name, uint64_t v);
/* "n\r\n": REPLY_UINT_MAX + 2. */
size_t reply_number(uint8_t *out, uint64_t v);

#endif
