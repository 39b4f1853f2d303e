/* SPDX-License-Identifier: BSD-3-Clause */
/* command: the table of commands, those asked most often first: the search is a walk. */
#include "proto/command.h"

#include <string.h>
#include "base/check.h"

#define ROW(text, id, shape, access, count, noreply) \
	{ \
		text, sizeof text - 1, COMMAND_##id, COMMAND_##shape, COMMAND_##access, \
		    COMMAND_COUNTS_##count, noreply \
	}

static const struct command commands[] = {
    ROW("get", GET, KEYS, READS, GET, false),
    ROW("set", SET, STORE, WRITES, SET, true),
    ROW("gets", GETS, KEYS, READS, GET, false),
    ROW("delete", DELETE, KEY, WRITES, NONE, true),
    ROW("incr", INCR, KEY_DELTA, WRITES, NONE, true),
    ROW("decr", DECR, KEY_DELTA, WRITES, NONE, true),
    ROW("add", ADD, STORE, WRITES, SET, true),
    ROW("touch", TOUCH, KEY_TIME, WRITES, TOUCH, true),
    ROW("gat", GAT, TOUCH_KEYS, WRITES, TOUCH, false),
    ROW("gats", GATS, TOUCH_KEYS, WRITES, TOUCH, false),
    ROW("cas", CAS, STORE_CAS, WRITES, SET, true),
    ROW("replace", REPLACE, STORE, WRITES, SET, true),
    ROW("append", APPEND, STORE, WRITES, SET, true),
    ROW("prepend", PREPEND, STORE, WRITES, SET, true),
    ROW("mg", MG, META, WRITES, META, false),
    ROW("ms", MS, META_STORE, WRITES, META, false),
    ROW("md", MD, META, WRITES, META, false),
    ROW("ma", MA, META, WRITES, META, false),
    ROW("me", ME, META, READS, META, false),
    ROW("mn", MN, WORDS, READS, NONE, false),
    ROW("version", VERSION, WORDS, READS, NONE, false),
    ROW("stats", STATS, WORDS, READS, NONE, false),
    ROW("flush_all", FLUSH_ALL, WORDS, WRITES, FLUSH, true),
    ROW("quit", QUIT, WORDS, READS, NONE, false),
    ROW("verbosity", VERBOSITY, WORDS, ADMINISTERS, NONE, true),
    ROW("shutdown", SHUTDOWN, WORDS, ADMINISTERS, NONE, false),
    ROW("cache_memlimit", CACHE_MEMLIMIT, WORDS, ADMINISTERS, NONE, true),
    ROW("slabs", SLABS, WORDS, ADMINISTERS, NONE, true),
    ROW("lru", LRU, WORDS, ADMINISTERS, NONE, true),
    ROW("lru_crawler", LRU_CRAWLER, WORDS, ADMINISTERS, NONE, true),
    ROW("config", CONFIG, WORDS, READS, NONE, false),
    ROW("watch", WATCH, WORDS, ADMINISTERS, NONE, false),
    ROW("refresh_certs", REFRESH_CERTS, WORDS, ADMINISTERS, NONE, false),
    ROW("debugtime", DEBUGTIME, WORDS, ADMINISTERS, NONE, true),
};

const struct command *command_find(const uint8_t *name, size_t len)
{
	for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
		const struct command *c = &commands[i];
		if (c->name_len == len && c->name[0] == name[0] && memcmp(c->name, name, len) == 0)
			return c;
	}
	return NULL;
}

const struct command *command_row(enum command_id id)
{
	for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
		if (commands[i].id == id)
			return &commands[i];
	}
	CHECK(!"every command has a row");
	return NULL;
}
