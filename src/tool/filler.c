/* SPDX-License-Identifier: BSD-3-Clause */
/* filler: see filler.h. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "base/buf.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/msg.h"
#include "proto/base64.h"
#include "tool/filler.h"
#include "tool/report.h"
#include "tool/tool.h"
#include "tool/writer.h"

#define FILLER_MAGIC 0xf111e5u
/* Sets on their way: all their answers fit into a socket's buffers. */
#define WINDOW 256u
/* Bytes that are gathered before they are sent. */
#define GATHER (256u * 1024)
/* memcached takes larger times for ones that have passed. */
#define NARROW_TIME_MAX INT32_MAX
/* So many refusals are told one by one. */
#define TOLD_MAX 20u

struct sent {
	struct filler_place place;
	uint64_t bytes;
	uint8_t key[ITEM_KEY_MAX];
	uint8_t key_len;
};

struct filler {
	uint32_t magic;
	const struct client_address *address;
	struct filler_options options;
	struct client *client;
	bool failed; /* the connection did: nobody waits for answers any more */
	bool narrow; /* a server that knows no times beyond January 2038 */
	struct buf out;
	struct sent window[WINDOW];
	size_t n;
	int64_t began_us;
	uint64_t items, bytes; /* handed in so far */
	struct filler_counts counts;
};

/* Hearth has these counters, and takes all times. */
static int look_at_server(struct filler *f)
{
	char *line = client_send_bytes(f->client, "stats persist\r\n", 15) ? client_line(f->client) : NULL;
	f->narrow = true;
	for (; line && strncmp(line, "STAT ", 5) == 0; line = client_line(f->client))
		f->narrow = false;
	return line ? TOOL_OK : TOOL_IO;
}

int filler_open(
    struct filler **ret_filler, const struct client_address *address, const struct filler_options *options)
{
	struct filler *f = calloc(1, sizeof(*f));
	*ret_filler = NULL;
	if (!f)
		return report_no_memory();
	f->magic = FILLER_MAGIC;
	f->address = address;
	f->options = *options;
	f->began_us = clock_mono_us();
	int exit_code = client_open_server(&f->client, address);
	if (exit_code == TOOL_OK)
		exit_code = look_at_server(f);
	if (exit_code == TOOL_OK)
		*ret_filler = f;
	else
		filler_close(&f);
	return exit_code;
}

void filler_close(struct filler **filler)
{
	struct filler *f = *filler;
	if (!f)
		return;
	CHECK_MAGIC(f, FILLER_MAGIC);
	client_close(&f->client);
	buf_free(&f->out);
	f->magic = 0;
	free(f);
	*filler = NULL;
}

const struct filler_counts *filler_get_counts(const struct filler *f)
{
	return &f->counts;
}

/* ---- answers ---- */

static void refuse(
    struct filler *f, const struct filler_place *place, const uint8_t *key, size_t key_len, const char *why)
{
	char line[32] = "";
	f->counts.refused++;
	if (f->counts.refused > TOLD_MAX)
		return;
	if (place->line > 0)
		snprintf(line, sizeof(line), ", line %" PRIu64, place->line);
	/* What is behind a zero byte is not shown. */
	msg(MSG_ERROR, "%s%s: %.*s: %s", place->file, line, (int)key_len, (const char *)key, why);
	if (f->counts.refused == TOLD_MAX)
		msg(MSG_WARN, "no more of what is refused is named");
}

static int take_answer(struct filler *f, const struct sent *s)
{
	char *line = client_line(f->client);
	if (!line)
		return TOOL_IO;
	if (strncmp(line, "HD", 2) == 0) {
		f->counts.stored++;
		f->counts.bytes += s->bytes;
	} else if (strncmp(line, "NS", 2) == 0 && f->options.keep) {
		f->counts.skipped++;
	} else if (strcmp(line, "ERROR") == 0) {
		msg(MSG_ERROR, "%s: does not know meta commands: memcached has them since 1.6",
		    f->address->text);
		return TOOL_IO;
	} else {
		refuse(f, &s->place, s->key, s->key_len, line);
	}
	return TOOL_OK;
}

static int flush(struct filler *f)
{
	if (buf_len(&f->out) > 0 &&
	    !client_send_bytes(f->client, f->out.data + f->out.head, buf_len(&f->out))) {
		f->failed = true;
		return TOOL_IO;
	}
	buf_clear(&f->out);
	return TOOL_OK;
}

int filler_finish(struct filler *f)
{
	CHECK_MAGIC(f, FILLER_MAGIC);
	if (f->failed)
		return TOOL_OK;
	int exit_code = flush(f);
	for (size_t i = 0; i < f->n && exit_code == TOOL_OK; i++)
		exit_code = take_answer(f, &f->window[i]);
	f->n = 0;
	f->failed = exit_code != TOOL_OK;
	return exit_code;
}

/* ---- requests ---- */

/* Waits until what was handed in so far is due; what is on its way goes first. */
static int keep_pace(struct filler *f)
{
	double due = 0, by_bytes = 0;
	if (f->options.rate > 0)
		due = (double)f->items / (double)f->options.rate;
	if (f->options.byte_rate > 0)
		by_bytes = (double)f->bytes / (double)f->options.byte_rate;
	due = due > by_bytes ? due : by_bytes;
	int64_t wait = (int64_t)(due * 1e6) - (clock_mono_us() - f->began_us);
	/* The kernel wakes nobody much sooner. */
	if (wait < 1000)
		return TOOL_OK;
	int exit_code = filler_finish(f);
	wait = (int64_t)(due * 1e6) - (clock_mono_us() - f->began_us);
	if (wait > 0)
		nanosleep(&(struct timespec){wait / 1000000, wait % 1000000 * 1000}, NULL);
	return exit_code;
}

static bool put_request(struct filler *f, const struct item *item)
{
	char line[BASE64_ENCODED(ITEM_KEY_MAX) + 100];
	uint8_t key[BASE64_ENCODED(ITEM_KEY_MAX)];
	bool plain = !item->binary_key && item_is_plain(item->key, item->key_len);
	size_t len = item->key_len;
	if (plain)
		memcpy(key, item->key, len);
	else
		len = base64_encode(key, item->key, len);
	/* A time since 1970 is right whenever it arrives. */
	int64_t time = f->narrow && item->expiry > NARROW_TIME_MAX ? NARROW_TIME_MAX : item->expiry;
	int n = snprintf(line, sizeof(line), "ms %.*s %" PRIu64 "%s F%" PRIu32 " T%" PRId64 "%s\r\n",
	    (int)len, (const char *)key, item->size, plain ? "" : " b", item->flags, time,
	    f->options.keep ? " ME" : "");
	return buf_append(&f->out, line, (size_t)n) && buf_append(&f->out, item->value, (size_t)item->size) &&
	       buf_append(&f->out, "\r\n", 2);
}

int filler_put(struct filler *f, const struct item *item, const struct filler_place *place)
{
	CHECK_MAGIC(f, FILLER_MAGIC);
	int exit_code = keep_pace(f);
	if (exit_code != TOOL_OK)
		return exit_code;
	if (item->expiry != 0 && item->expiry <= clock_wall_ms() / 1000) {
		f->counts.expired++;
		return TOOL_OK;
	}
	bool plain = !item->binary_key && item_is_plain(item->key, item->key_len);
	if (!plain && BASE64_ENCODED(item->key_len) > ITEM_KEY_MAX) {
		refuse(f, place, item->key, item->key_len, "in base64 the key is too long for a command");
		return TOOL_OK;
	}
	if (f->n == WINDOW && (exit_code = filler_finish(f)) != TOOL_OK)
		return exit_code;
	struct sent *s = &f->window[f->n++];
	s->place = *place;
	s->bytes = item->key_len + item->size;
	s->key_len = (uint8_t)item->key_len;
	memcpy(s->key, item->key, item->key_len);
	f->items++;
	f->bytes += s->bytes;
	if (!put_request(f, item))
		return report_no_memory();
	return buf_len(&f->out) >= GATHER ? flush(f) : TOOL_OK;
}
