/* SPDX-License-Identifier: BSD-3-Clause */
/* live: see live.h. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <hearth/record.h>
#include "base/buf.h"
#include "base/clock.h"
#include "base/msg.h"
#include "proto/base64.h"
#include "tool/live.h"
#include "tool/progress.h"
#include "tool/report.h"
#include "tool/tool.h"

/* Requests of so many keys fit into any socket's buffers, so that neither side waits for the other. */
#define BATCH 64u
/* Another crawl may be under way: tried again so often, so many milliseconds apart. */
#define TRIES   50
#define WAIT_MS 200
/* Seconds that a server's clock may be late by when it is busy: it ticks by a timer of its event loop. */
#define TICKS 10

/* A key that was named and not yet asked for. */
struct named {
	uint8_t key[ITEM_KEY_MAX];
	uint8_t key_len;
	int64_t expiry, access; /* as the list has them; -1 = not given */
};

struct live {
	const struct client_address *address;
	const struct item_wish *wish;
	item_take *take;
	void *arg;
	struct client *names, *items;
	struct named batch[BATCH];
	size_t n;
	struct buf requests, back; /* back: invalidations that are due again */
	uint64_t unreachable;      /* keys that no request can name */
	struct progress progress;
};

static int answered(const struct live *l, const char *line)
{
	msg(MSG_ERROR, "%s: answers \"%.200s\"", l->address->text, line);
	return TOOL_IO;
}

/* ---- what belongs to a key ---- */

/* The key as a request has it. */
struct word {
	uint8_t text[BASE64_ENCODED(ITEM_KEY_MAX)];
	int len;
	const char *flag; /* what says that it is base64 */
};

static void put_key(struct word *word, const uint8_t *key, size_t len)
{
	bool plain = item_is_plain(key, len);
	if (plain)
		memcpy(word->text, key, len);
	else
		len = base64_encode(word->text, key, len);
	word->len = (int)len;
	word->flag = plain ? "" : " b";
}

static bool ask(struct live *l, const struct named *name)
{
	char line[BASE64_ENCODED(ITEM_KEY_MAX) + 40];
	struct word key;
	put_key(&key, name->key, name->key_len);
	int n = snprintf(line, sizeof(line), "mg %.*s%s k s f c t u%s\r\n", key.len, (const char *)key.text,
	    key.flag, l->wish->values ? " v" : "");
	return buf_append(&l->requests, line, (size_t)n);
}

/* This get was told to make another value: the next one is to be, unless there is another one by then. */
static bool give_back(struct live *l, const struct item *item)
{
	char line[BASE64_ENCODED(ITEM_KEY_MAX) + 60];
	struct word key;
	put_key(&key, item->key, item->key_len);
	int n = snprintf(line, sizeof(line), "md %.*s%s q I C%" PRIu64 "\r\n", key.len,
	    (const char *)key.text, key.flag, item->cas);
	return buf_append(&l->back, line, (size_t)n);
}

static int give_all_back(struct live *l)
{
	if (buf_len(&l->back) == 0)
		return TOOL_OK;
	if (!buf_append(&l->back, "mn\r\n", 4))
		return report_no_memory();
	bool sent = client_send_bytes(l->items, l->back.data + l->back.head, buf_len(&l->back));
	char *line = sent ? client_line(l->items) : NULL;
	while (line && strcmp(line, "MN") != 0) /* of what has changed since */
		line = client_line(l->items);
	buf_clear(&l->back);
	return line ? TOOL_OK : TOOL_IO;
}

static uint64_t number(const char *text)
{
	return strtoull(text, NULL, 10);
}

/* The flags behind HD or VA. True: this get was told to make another value. */
static bool read_flags(char *text, const struct named *name, struct item *item)
{
	int64_t now = clock_wall_ms() / 1000, left = -1, apart;
	bool won = false;
	char *rest;
	for (char *word = strtok_r(text, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
		switch (word[0]) {
		case 's':
			item->size = number(word + 1);
			break;
		case 'f':
			item->flags = (uint32_t)number(word + 1);
			break;
		case 'c':
			item->cas = number(word + 1);
			break;
		case 't':
			left = strtoll(word + 1, NULL, 10);
			break;
		case 'b':
			item->binary_key = true;
			break;
		case 'W':
			won = true;
			break;
		case 'X':
			item->stale = true;
			break;
		case 'Z':
			item->awaited = true;
			break;
		}
	}
	if (left < 0)
		return won;
	if (__builtin_add_overflow(now, left, &item->expiry))
		item->expiry = INT64_MAX; /* its clock is behind this one */
	/* The list is exact unless the item was touched since, or the server's clock is another. */
	if (!__builtin_sub_overflow(name->expiry, item->expiry, &apart) && llabs(apart) <= TICKS)
		item->expiry = name->expiry;
	return won;
}

/* "HD flags", "VA size flags" and the value, "EN" with the key or not: it has gone since. */
static int take_answer(struct live *l, const struct named *name)
{
	char *line = client_line(l->items);
	struct item item = {.key = name->key, .key_len = name->key_len};
	char *flags;
	if (!line)
		return TOOL_IO;
	if (strcmp(line, "EN") == 0 || strncmp(line, "EN ", 3) == 0)
		return TOOL_OK;
	item.access = name->access > 0 ? name->access : 0;
	bool value = strncmp(line, "VA ", 3) == 0;
	if (value != l->wish->values || (!value && strncmp(line, "HD", 2) != 0))
		return answered(l, line);
	if (!value) {
		if (read_flags(line + 2, name, &item) && !give_back(l, &item))
			return report_no_memory();
		return l->take(l->arg, &item);
	}
	item.size = strtoull(line + 3, &flags, 10);
	if (item.size > RECORD_VALUE_MAX)
		return answered(l, line);
	uint64_t size = item.size;
	if (read_flags(flags, name, &item) && !give_back(l, &item))
		return report_no_memory();
	item.size = size;
	item.value = client_bytes(l->items, (size_t)size + 2);
	return item.value ? l->take(l->arg, &item) : TOOL_IO;
}

static int run_batch(struct live *l)
{
	int exit_code = TOOL_OK;
	buf_clear(&l->requests);
	for (size_t i = 0; i < l->n; i++)
		if (!ask(l, &l->batch[i]))
			return report_no_memory();
	if (!client_send_bytes(l->items, l->requests.data + l->requests.head, buf_len(&l->requests)))
		return TOOL_IO;
	for (size_t i = 0; i < l->n && exit_code == TOOL_OK; i++)
		exit_code = take_answer(l, &l->batch[i]);
	if (exit_code == TOOL_OK)
		exit_code = give_all_back(l);
	progress_add(&l->progress, l->n);
	l->n = 0;
	return exit_code;
}

/* ---- the list of keys ---- */

static int hex_digit(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	                              : -1;
}

/* %XX is a byte. False: it is no key. */
static bool decode_key(struct named *name, const char *text, size_t len)
{
	size_t n = 0;
	for (size_t i = 0; i < len; i++) {
		int byte = (uint8_t)text[i];
		if (n == sizeof(name->key))
			return false;
		if (byte == '%') {
			int high = i + 2 < len ? hex_digit(text[i + 1]) : -1;
			int low = i + 2 < len ? hex_digit(text[i + 2]) : -1;
			if (high < 0 || low < 0)
				return false;
			byte = high << 4 | low;
			i += 2;
		}
		name->key[n++] = (uint8_t)byte;
	}
	name->key_len = (uint8_t)n;
	return n > 0;
}

/* "key=KEY exp=N la=N ..." */
static int take_name(struct live *l, const char *line)
{
	struct named *name = &l->batch[l->n];
	const char *text = line + strlen("key="), *expiry = strstr(line, " exp="),
	           *access = strstr(line, " la=");
	if (!decode_key(name, text, strcspn(text, " ")))
		return answered(l, line);
	if (!item_is_wanted(l->wish, name->key, name->key_len))
		return TOOL_OK;
	if (!item_is_plain(name->key, name->key_len) && BASE64_ENCODED(name->key_len) > ITEM_KEY_MAX) {
		l->unreachable++;
		return TOOL_OK;
	}
	name->expiry = expiry ? strtoll(expiry + 5, NULL, 10) : -1;
	name->access = access ? strtoll(access + 4, NULL, 10) : -1;
	return ++l->n == BATCH ? run_batch(l) : TOOL_OK;
}

/* The list's first line; a crawl of somebody else's may have to end first. */
static char *first_line(struct live *l)
{
	char *line = NULL;
	for (int i = 0; i < TRIES; i++) {
		line = client_send_bytes(l->names, "lru_crawler metadump all\r\n", 26) ? client_line(l->names)
		                                                                       : NULL;
		if (!line || strncmp(line, "BUSY", 4) != 0)
			break;
		nanosleep(&(struct timespec){0, WAIT_MS * 1000000L}, NULL);
	}
	return line;
}

static int take_names(struct live *l)
{
	int exit_code = TOOL_OK;
	char *line = first_line(l);
	/* memcached says OK first since 1.6.45, and so does Hearth; older ones do not. */
	if (line && strcmp(line, "OK") == 0)
		line = client_line(l->names);
	while (line && exit_code == TOOL_OK && strncmp(line, "key=", 4) == 0) {
		exit_code = take_name(l, line);
		if (exit_code == TOOL_OK)
			line = client_line(l->names);
	}
	if (exit_code != TOOL_OK)
		return exit_code;
	if (!line)
		return TOOL_IO;
	return strcmp(line, "END") == 0 ? run_batch(l) : answered(l, line);
}

/* How many there are, for the progress alone: 0 = unknown. */
static int count_items(struct live *l, uint64_t *ret_count)
{
	char *line = client_send_bytes(l->items, "stats\r\n", 7) ? client_line(l->items) : NULL;
	*ret_count = 0;
	for (; line && strncmp(line, "STAT ", 5) == 0; line = client_line(l->items))
		if (strncmp(line, "STAT curr_items ", 16) == 0)
			*ret_count = number(line + 16);
	if (!line)
		return TOOL_IO;
	return strcmp(line, "END") == 0 ? TOOL_OK : answered(l, line);
}

int live_each(const struct client_address *address, const struct item_wish *wish, item_take *take, void *arg)
{
	struct live *l = calloc(1, sizeof(*l));
	uint64_t count;
	if (!l)
		return report_no_memory();
	*l = (struct live){.address = address, .wish = wish, .take = take, .arg = arg};
	int exit_code = client_open_server(&l->names, address);
	if (exit_code == TOOL_OK)
		exit_code = client_open_server(&l->items, address);
	if (exit_code == TOOL_OK)
		exit_code = count_items(l, &count);
	if (exit_code == TOOL_OK) {
		progress_begin_items(&l->progress, "reading", count);
		if (wish->printed)
			progress_beside_output(&l->progress);
		exit_code = take_names(l);
		progress_end(&l->progress);
	}
	if (l->unreachable > 0)
		msg(MSG_WARN,
		    "%s: %" PRIu64 " binary keys are too long to be asked for in base64, and are left out",
		    address->text, l->unreachable);
	if (exit_code == TOOL_OK && l->unreachable > 0)
		exit_code = TOOL_DAMAGE;
	client_close(&l->names);
	client_close(&l->items);
	buf_free(&l->requests);
	buf_free(&l->back);
	free(l);
	return exit_code;
}
