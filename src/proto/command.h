/* SPDX-License-Identifier: BSD-3-Clause */
/* command: the one table of commands. A row says how a command is written (shape), whether it reads, writes
 * or administers, and which counter it moves; parser, access check and counters follow the row, not the name.
 * Constant data: any thread. */
#ifndef PROTO_COMMAND_H
#define PROTO_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum command_id {
	COMMAND_GET,
	COMMAND_GETS,
	COMMAND_GAT,
	COMMAND_GATS,
	COMMAND_SET,
	COMMAND_ADD,
	COMMAND_REPLACE,
	COMMAND_APPEND,
	COMMAND_PREPEND,
	COMMAND_CAS,
	COMMAND_DELETE,
	COMMAND_INCR,
	COMMAND_DECR,
	COMMAND_TOUCH,
	COMMAND_MG,
	COMMAND_MS,
	COMMAND_MD,
	COMMAND_MA,
	COMMAND_ME,
	COMMAND_MN,
	COMMAND_VERSION,
	COMMAND_FLUSH_ALL,
	COMMAND_STATS,
	COMMAND_VERBOSITY,
	COMMAND_QUIT,
	COMMAND_SHUTDOWN,
	COMMAND_CACHE_MEMLIMIT,
	COMMAND_SLABS,
	COMMAND_LRU,
	COMMAND_LRU_CRAWLER,
	COMMAND_WATCH,
	COMMAND_CONFIG,
	COMMAND_REFRESH_CERTS,
	COMMAND_DEBUGTIME,
};

/* What follows the name on the line. */
enum command_shape {
	COMMAND_KEYS,       /* <key>+, as many as the client likes */
	COMMAND_TOUCH_KEYS, /* <exptime> <key>+ */
	COMMAND_STORE,      /* <key> <flags> <exptime> <bytes> [noreply], then the value */
	COMMAND_STORE_CAS,  /* <key> <flags> <exptime> <bytes> <cas> [noreply], then the value */
	COMMAND_KEY,        /* <key> [noreply] */
	COMMAND_KEY_DELTA,  /* <key> <delta> [noreply] */
	COMMAND_KEY_TIME,   /* <key> <exptime> [noreply] */
	COMMAND_META,       /* <key> <flag>* */
	COMMAND_META_STORE, /* <key> <bytes> <flag>*, then the value */
	COMMAND_WORDS,      /* words that the command itself looks at */
};

enum command_access { COMMAND_READS, COMMAND_WRITES, COMMAND_ADMINISTERS };

/* The counter of memcached's `stats` that each execution (each key, for get) moves. */
enum command_count {
	COMMAND_COUNTS_NONE,
	COMMAND_COUNTS_GET,
	COMMAND_COUNTS_SET,
	COMMAND_COUNTS_TOUCH,
	COMMAND_COUNTS_FLUSH,
	COMMAND_COUNTS_META
};

struct command {
	const char *name;
	uint8_t name_len;
	uint8_t id;     /* enum command_id */
	uint8_t shape;  /* enum command_shape */
	uint8_t access; /* enum command_access */
	uint8_t count;  /* enum command_count */
	bool noreply;   /* a last word `noreply` silences it */
};

/* NULL: no such command. Names are case-sensitive. */
const struct command *command_find(const uint8_t *name, size_t len);
const struct command *command_row(enum command_id id);

#endif
