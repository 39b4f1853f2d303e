/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_trace: see bench_trace.h. The file is read in chunks, unpacked where it is zstd, cut into lines; a
 * line that crosses two chunks is carried over in a buffer. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>
#include <hearth/record.h>
#include "base/buf.h"
#include "base/msg.h"
#include "tool/bench_trace.h"

#define ZSTD_MAGIC "\x28\xb5\x2f\xfd"

struct loader {
	struct bench_trace *trace;
	const char *path;
	struct buf requests, keys; /* what the trace will hold */
	struct buf line;           /* begun in a chunk before */
	uint64_t line_number;
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* The next word of [*at, end): its start, *at behind it. */
static const char *word(const char **at, const char *end)
{
	while (*at < end && is_blank(**at))
		(*at)++;
	const char *start = *at;
	while (*at < end && !is_blank(**at))
		(*at)++;
	return start;
}

bool bench_trace_parse(
    const char *line, size_t len, const char **ret_key, size_t *ret_key_len, uint32_t *ret_size)
{
	const char *at = line, *end = line + len;
	const char *seconds = word(&at, end);
	if (at == seconds)
		return false;
	for (const char *c = seconds; c < at; c++) {
		if ((*c < '0' || *c > '9') && *c != '.')
			return false;
	}
	*ret_key = word(&at, end);
	*ret_key_len = (size_t)(at - *ret_key);
	if (*ret_key_len == 0 || *ret_key_len > RECORD_KEY_MAX)
		return false;
	for (size_t i = 0; i < *ret_key_len; i++) {
		unsigned char c = (unsigned char)(*ret_key)[i];
		if (c < 0x20 || c == 0x7f)
			return false;
	}
	const char *size = word(&at, end);
	uint64_t n = 0;
	for (const char *c = size; c < at; c++) {
		if (*c < '0' || *c > '9')
			return false;
		n = n * 10 + (uint64_t)(*c - '0');
		if (n > RECORD_VALUE_MAX)
			return false;
	}
	*ret_size = (uint32_t)n;
	const char *rest = size < at ? word(&at, end) : end;
	return size < at && rest == end;
}

static bool no_memory(void)
{
	msg(MSG_ERROR, "memory is short");
	return false;
}

static bool add_line(struct loader *l, const char *line, size_t len)
{
	l->line_number++;
	const char *key;
	size_t key_len;
	uint32_t size;
	if (len == 0 || line[0] == '#')
		return true;
	if (!bench_trace_parse(line, len, &key, &key_len, &size)) {
		msg(MSG_ERROR, "%s: line %llu is not \"seconds key size\"", l->path,
		    (unsigned long long)l->line_number);
		return false;
	}
	struct bench_trace_request r = {buf_len(&l->keys), size, (uint8_t)key_len};
	if (!buf_append(&l->keys, key, key_len) || !buf_append(&l->requests, &r, sizeof(r)))
		return no_memory();
	struct bench_trace *t = l->trace;
	t->n++;
	t->size_max = size > t->size_max ? size : t->size_max;
	t->key_max = r.key_len > t->key_max ? r.key_len : t->key_max;
	return true;
}

static bool add_text(struct loader *l, const char *text, size_t len)
{
	while (len > 0) {
		const char *newline = memchr(text, '\n', len);
		size_t part = newline ? (size_t)(newline - text) : len;
		if (!newline || buf_len(&l->line) > 0) {
			if (!buf_append(&l->line, text, part))
				return no_memory();
		}
		if (!newline)
			return true;
		bool begun = buf_len(&l->line) > 0;
		const char *line = begun ? (const char *)l->line.data + l->line.head : text;
		if (!add_line(l, line, begun ? buf_len(&l->line) : part))
			return false;
		buf_clear(&l->line);
		text += part + 1;
		len -= part + 1;
	}
	return true;
}

/* *left becomes 0 at the end of a frame. */
static bool unpack(struct loader *l, ZSTD_DStream *stream, const char *data, size_t len, size_t *left)
{
	static char plain[128 * 1024];
	ZSTD_inBuffer in = {data, len, 0};
	bool full = false;
	while (in.pos < in.size || full) {
		ZSTD_outBuffer out = {plain, sizeof(plain), 0};
		*left = ZSTD_decompressStream(stream, &out, &in);
		if (ZSTD_isError(*left)) {
			msg(MSG_ERROR, "%s: %s", l->path, ZSTD_getErrorName(*left));
			return false;
		}
		if (!add_text(l, plain, out.pos))
			return false;
		full = out.pos == out.size;
	}
	return true;
}

static bool read_all(struct loader *l, FILE *file)
{
	static char chunk[128 * 1024];
	size_t n = fread(chunk, 1, sizeof(chunk), file);
	bool packed = n >= 4 && memcmp(chunk, ZSTD_MAGIC, 4) == 0;
	ZSTD_DStream *stream = packed ? ZSTD_createDStream() : NULL;
	if (packed && !stream)
		return no_memory();
	size_t left = 0;
	bool ok = true;
	for (; ok && n > 0; n = fread(chunk, 1, sizeof(chunk), file))
		ok = packed ? unpack(l, stream, chunk, n, &left) : add_text(l, chunk, n);
	ZSTD_freeDStream(stream);
	if (ok && ferror(file)) {
		msg(MSG_ERROR, "%s: %s", l->path, strerror(errno));
		return false;
	}
	if (ok && left != 0) {
		msg(MSG_ERROR, "%s: ends inside its zstd frame", l->path);
		return false;
	}
	/* The last line may lack its newline. */
	if (ok && buf_len(&l->line) > 0)
		ok = add_line(l, (const char *)l->line.data + l->line.head, buf_len(&l->line));
	return ok;
}

bool bench_trace_load(struct bench_trace *trace, const char *path)
{
	memset(trace, 0, sizeof(*trace));
	struct loader l = {.trace = trace, .path = path};
	FILE *file = fopen(path, "re");
	if (!file) {
		msg(MSG_ERROR, "%s: %s", path, strerror(errno));
		return false;
	}
	bool ok = read_all(&l, file);
	fclose(file);
	if (ok && trace->n == 0) {
		msg(MSG_ERROR, "%s: holds no request", path);
		ok = false;
	}
	buf_free(&l.line);
	if (!ok) {
		buf_free(&l.requests);
		buf_free(&l.keys);
		return false;
	}
	/* Nothing was consumed from either, so the content begins where the memory does. */
	trace->requests = (struct bench_trace_request *)l.requests.data;
	trace->keys = (char *)l.keys.data;
	trace->memory[0] = l.requests;
	trace->memory[1] = l.keys;
	return true;
}

void bench_trace_scale(struct bench_trace *trace, double factor)
{
	trace->size_max = 0;
	for (size_t i = 0; i < trace->n; i++) {
		struct bench_trace_request *r = &trace->requests[i];
		double size = r->size * factor;
		r->size = size < 1 ? 1 : size > RECORD_VALUE_MAX ? RECORD_VALUE_MAX : (uint32_t)size;
		trace->size_max = r->size > trace->size_max ? r->size : trace->size_max;
	}
}

void bench_trace_free(struct bench_trace *trace)
{
	buf_free(&trace->memory[0]);
	buf_free(&trace->memory[1]);
	memset(trace, 0, sizeof(*trace));
}
