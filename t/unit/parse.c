/* SPDX-License-Identifier: BSD-3-Clause */
/* parse: each stream gives one transcript, however it is cut. The transcript is what a connection would do: a line a
 * request, the keys of one get on one line. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "proto/base64.h"
#include "proto/parse.h"

struct reader {
	struct parser parser;
	struct buf in, log;
	bool among_keys;
	bool closed;
};

static void note(struct reader *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void note(struct reader *r, const char *fmt, ...)
{
	char text[512];
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	assert_true(n >= 0 && (size_t)n < sizeof text);
	assert_true(buf_append(&r->log, text, (size_t)n));
}

static void note_bytes(struct reader *r, const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (data[i] < ' ' || data[i] > '~')
			note(r, "\\x%02x", data[i]);
		else
			note(r, "%c", data[i]);
	}
}

/* The flags in their order, with what stands behind them. */
static void note_meta(struct reader *r, const struct request_meta *m)
{
	for (unsigned i = 0; i < m->n; i++) {
		note(r, " %c", m->flag[i]);
		switch (m->flag[i]) {
		case 'T':
			note(r, "%" PRId64, m->ttl);
			break;
		case 'N':
			note(r, "%" PRId64, m->vivify_ttl);
			break;
		case 'R':
			note(r, "%" PRId64, m->recache_ttl);
			break;
		case 'C':
			note(r, "%" PRIu64, m->compare);
			break;
		case 'E':
			note(r, "%" PRIu64, m->cas);
			break;
		case 'J':
			note(r, "%" PRIu64, m->initial);
			break;
		case 'D':
			note(r, "%" PRIu64, m->delta);
			break;
		case 'F':
			note(r, "%" PRIu32, m->client_flags);
			break;
		case 'M':
			note(r, "%c", m->mode);
			break;
		case 'O':
			note_bytes(r, m->opaque + 1, m->opaque_len - 1u);
			break;
		}
	}
}

static void note_request(struct reader *r, const struct request *req)
{
	const struct command *c = req->command;
	if (!r->among_keys) {
		note(r, "%s", c->name);
		if (c->shape == COMMAND_TOUCH_KEYS)
			note(r, " t%" PRId64, req->exptime);
	}
	bool all = c->shape == COMMAND_KEYS || c->shape == COMMAND_TOUCH_KEYS || c->shape == COMMAND_WORDS;
	for (unsigned i = 0; i < (all ? req->n_keys : 1u); i++) {
		note(r, " ");
		note_bytes(r, req->keys[i].data, req->keys[i].len);
	}
	if (c->shape == COMMAND_STORE || c->shape == COMMAND_STORE_CAS) {
		note(r, " f%u t%" PRId64 " c%" PRIu64 " =", req->flags, req->exptime, req->cas);
		note_bytes(r, req->value, req->value_len);
	}
	if (c->shape == COMMAND_META_STORE) {
		note(r, " =");
		note_bytes(r, req->value, req->value_len);
	}
	if (c->shape == COMMAND_META || c->shape == COMMAND_META_STORE)
		note_meta(r, &req->meta);
	if (c->shape == COMMAND_KEY_DELTA)
		note(r, " d%" PRIu64, req->delta);
	if (c->shape == COMMAND_KEY_TIME)
		note(r, " t%" PRId64, req->exptime);
	if (req->noreply)
		note(r, " quiet");
	r->among_keys = req->more;
	if (!req->more)
		note(r, "\n");
}

/* Whatever can be done with what is buffered. */
static void run(struct reader *r)
{
	while (!r->closed) {
		struct request req = {0};
		uint8_t text[REPLY_TEXT_MAX];
		size_t used = 0;
		enum parse_result result =
		    parse_next(&r->parser, r->in.data + r->in.head, buf_len(&r->in), &req, &used);
		assert_true(used <= buf_len(&r->in) || result == PARSE_VALUE);
		if (result == PARSE_VALUE)
			return;
		if (result == PARSE_DONE)
			note_request(r, &req);
		if (result == PARSE_ERROR) {
			size_t len = reply_text(text, req.error);
			note(r, "%s! %.*s%s\n", r->among_keys ? "\n" : "", len ? (int)len - 2 : 0,
			    (char *)text, req.drop_stack ? " (drop)" : "");
			r->among_keys = false;
		}
		if (result == PARSE_CLOSE) {
			note(r, "close\n");
			r->closed = true;
		}
		buf_consume(&r->in, used);
		if (result == PARSE_MORE)
			return;
	}
}

/* The data is moved to a block of exactly its size each time, so that a sanitizer sees a read beyond it. */
static void feed(struct reader *r, const char *data, size_t len)
{
	struct buf tight = {0};
	size_t all = buf_len(&r->in) + len;
	if (len == 0)
		return;
	assert_true(buf_open(&tight, all));
	if (buf_len(&r->in) > 0)
		memcpy(tight.data, r->in.data + r->in.head, buf_len(&r->in));
	memcpy(tight.data + buf_len(&r->in), data, len);
	tight.tail = all;
	buf_free(&r->in);
	r->in = tight;
	run(r);
}

static char *end(struct reader *r)
{
	note(r, "%s", buf_len(&r->in) > 0 && !r->closed ? "..." : "");
	assert_true(buf_append(&r->log, "", 1));
	buf_free(&r->in);
	char *log = strdup((char *)r->log.data);
	buf_free(&r->log);
	return log;
}

/* One cut at `at`; at 0 none. */
static char *transcript(const char *stream, size_t len, size_t at)
{
	struct reader r = {0};
	feed(&r, stream, at);
	feed(&r, stream + at, len - at);
	return end(&r);
}

static char *transcript_of_bytes(const char *stream, size_t len)
{
	struct reader r = {0};
	for (size_t i = 0; i < len; i++)
		feed(&r, stream + i, 1);
	return end(&r);
}

static void same_when_cut(const char *stream, size_t len, const char *want)
{
	for (size_t at = 0; at < len; at++) {
		char *got = transcript(stream, len, at);
		assert_string_equal(got, want);
		free(got);
	}
	char *got = transcript_of_bytes(stream, len);
	assert_string_equal(got, want);
	free(got);
}

#define K10   "kkkkkkkkkk"
#define K50   K10 K10 K10 K10 K10
#define K250  K50 K50 K50 K50 K50
#define BAD   "! CLIENT_ERROR bad command line format\n"
#define TOKEN "! CLIENT_ERROR bad token in command line format\n"
#define CODED "! CLIENT_ERROR error decoding key\n"

struct stream {
	const char *bytes;
	size_t len;
	const char *want;
};
#define STREAM(bytes, want) \
	{ \
		bytes, sizeof(bytes) - 1, want \
	}

static const struct stream good[] = {
    STREAM("get a\r\n", "get a\n"),
    STREAM("get a\n", "get a\n"),
    STREAM("get  a   b \r\n", "get a b\n"),
    STREAM("get a\rmn\r\n", "get a\\x0dmn\n"),
    STREAM("get 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\r\n", "get 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n"),
    STREAM("gets 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17\r\nmn\r\n",
        "gets 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17\nmn\n"),
    STREAM("get " K250 "\r\n", "get " K250 "\n"),
    STREAM("get " K250 "\n", "get " K250 "\n"),
    STREAM("gat -1 a b\r\ngats 4294967296 c\r\n", "gat t-1 a b\ngats t4294967296 c\n"),
    STREAM("set a 1 2 3\r\nabc\r\nget a\r\n", "set a f1 t2 c0 =abc\nget a\n"),
    STREAM("set a 0 0 0\r\n\r\n", "set a f0 t0 c0 =\n"),
    STREAM(
        "set a 4294967295 -5 5\r\n\r\n\0\r\n\r\n", "set a f4294967295 t-5 c0 =\\x0d\\x0a\\x00\\x0d\\x0a\n"),
    STREAM("set a\0b 0 0 1\r\n1\r\n", "set a\\x00b f0 t0 c0 =1\n"),
    STREAM("set a\x01"
           "b 0 0 1\n1\r\n",
        "set a\\x01b f0 t0 c0 =1\n"),
    STREAM("set " K250 " 0 0 1\r\n1\r\n", "set " K250 " f0 t0 c0 =1\n"),
    STREAM("add a 0 9223372036854775807 1 noreply\r\n1\r\n", "add a f0 t9223372036854775807 c0 =1 quiet\n"),
    STREAM("set a 0 0 1 noreply x\r\n1\r\nmn\r\n", "set a f0 t0 c0 =1\nmn\n"),
    STREAM("set a 0 0 1 norep\r\n1\r\n", "set a f0 t0 c0 =1\n"),
    STREAM(
        "cas a 0 0 1 18446744073709551615 noreply\r\n1\r\n", "cas a f0 t0 c18446744073709551615 =1 quiet\n"),
    STREAM("append a 0 0 1\r\nx\r\nprepend a 0 0 1\r\ny\r\nreplace a 0 0 1\r\nz\r\n",
        "append a f0 t0 c0 =x\nprepend a f0 t0 c0 =y\nreplace a f0 t0 c0 =z\n"),
    STREAM("delete a\r\ndelete a 0\r\ndelete a 0 noreply\r\ndelete a b c d\r\n",
        "delete a\ndelete a\ndelete a quiet\ndelete a\n"),
    STREAM("incr a 18446744073709551615\r\ndecr a 1 noreply\r\n",
        "incr a d18446744073709551615\ndecr a d1 quiet\n"),
    STREAM("touch a -1\r\ntouch a 5 noreply\r\n", "touch a t-1\ntouch a t5 quiet\n"),
    STREAM("stats\r\nstats \r\nstats items\r\nversion x\r\n", "stats\nstats\nstats items\nversion x\n"),
    STREAM(
        "flush_all noreply\r\nflush_all 0\r\nquit x\r\n", "flush_all noreply quiet\nflush_all 0\nquit x\n"),
};

static const struct stream bad[] = {
    STREAM("\r\nmn\r\n", BAD "mn\n"),
    STREAM("\n", BAD),
    STREAM("a\r\n", BAD),
    STREAM("ab\r\n", "! ERROR\n"),
    STREAM("  \r\n", "! ERROR\n"),
    STREAM(" get a\r\n", "! ERROR\n"),
    STREAM("get\ta\r\n", "! ERROR\n"),
    STREAM("GET a\r\n", "! ERROR\n"),
    STREAM("get\r\ngets\r\nget \r\n", BAD BAD BAD),
    STREAM("gat\r\ngat 10\r\ngat x a\r\nmn\r\n", BAD BAD "! CLIENT_ERROR invalid exptime argument\nmn\n"),
    STREAM("get " K250 "k\r\nmn\r\n", "! CLIENT_ERROR bad command line format (drop)\nmn\n"),
    STREAM("get a " K250 "k a\r\nmn\r\n", "get a\n! CLIENT_ERROR bad command line format (drop)\nmn\n"),
    STREAM("get " K250 K250 K250 K250 " a b\nmn\r\n", "! CLIENT_ERROR bad command line format (drop)\nmn\n"),
    STREAM("set " K250 "k 0 0 3\r\nabc\r\nmn\r\n", BAD "mn\n"),
    STREAM("set " K250 "k 0 0 3 noreply\r\nabc\r\nmn\r\n", "! \nmn\n"),
    STREAM("set a 0 0\r\nmn\r\n", BAD "mn\n"),
    STREAM("set a 0 0 -1\r\nmn\r\n", BAD "mn\n"),
    STREAM("set a 0 0 1x\r\nmn\r\n", BAD "mn\n"),
    STREAM("set a 0 0 2147483646\r\nmn\r\n", BAD "mn\n"),
    STREAM("set a 0 0 99999999999\r\nmn\r\n", BAD "mn\n"),
    STREAM("set a 0 0 18446744073709551616\r\nmn\r\n", BAD "mn\n"),
    STREAM("set a 0 0 18446744073709551614 noreply\r\nmn\r\n", BAD "mn\n"),
    STREAM("set a 4294967296 0 1\r\n1\r\nmn\r\n", BAD "mn\n"),
    STREAM("set a -1 0 1\r\n1\r\nmn\r\n", BAD "mn\n"),
    STREAM("set a 0 x 1\r\n1\r\nmn\r\n", BAD "mn\n"),
    STREAM("set a 0 9223372036854775808 1\r\n1\r\nmn\r\n", BAD "mn\n"),
    STREAM("cas a 0 0 1\r\n1\r\nmn\r\n", BAD "mn\n"),
    STREAM("cas a 0 0 1 x\r\n1\r\nmn\r\n", BAD "mn\n"),
    STREAM("set a 0 0 3\r\nabcdef\r\nmn\r\n", "! CLIENT_ERROR bad data chunk\n" BAD "mn\n"),
    STREAM("set a 0 0 3\r\nab\r\nversion\r\n", "! CLIENT_ERROR bad data chunk\n! ERROR\n"),
    STREAM("set a 0 0 3 noreply\r\nabc\n\nmn\r\n", "! \nmn\n"),
    STREAM("delete\r\nincr a\r\ntouch a\r\n", BAD BAD BAD),
    STREAM("delete " K250 "k\r\nincr " K250 "k 1\r\ntouch " K250 "k 1\r\n", BAD BAD BAD),
    STREAM("delete " K250 "k noreply\r\nmn\r\n", "! \nmn\n"),
    STREAM("incr a x\r\nincr a -1\r\ndecr a 18446744073709551616\r\nincr a x noreply\r\n",
        "! CLIENT_ERROR invalid numeric delta argument\n! CLIENT_ERROR invalid numeric delta argument\n"
        "! CLIENT_ERROR invalid numeric delta argument\n! \n"),
    STREAM("touch a x\r\n", "! CLIENT_ERROR invalid exptime argument\n"),
    STREAM("GET / HTTP/1.1\r\n", "close\n"),
    STREAM("mn\r\n\x80\x00\x00\x00\r\nmn\r\n", "mn\n! ERROR\nmn\n"),
    STREAM("mg\r\nmd \r\nma\r\nme\r\nms\r\nms a\r\nms a x\r\nms a -1\r\nms a 2147483646\r\nmn\r\n",
        BAD BAD BAD BAD BAD BAD BAD BAD BAD "mn\n"),
    STREAM("mg a z\r\nmg a v v\r\nmg a !\r\nmg a v1 {\r\nmg a \xff\r\nmg a 1\r\nmg a zz z\r\n",
        "! CLIENT_ERROR invalid flag\n! CLIENT_ERROR duplicate flag\n" BAD BAD BAD
        "! CLIENT_ERROR invalid flag\n"
        "! CLIENT_ERROR invalid flag\n"),
    STREAM("mg a T\r\nmg a N1x\r\nmg a R9223372036854775808\r\nmg a C-1\r\nmg a E18446744073709551616\r\n",
        TOKEN TOKEN TOKEN TOKEN TOKEN),
    STREAM("mg a J-1\r\nms a 2 Dx\r\nhi\r\nmd a D J1\r\n",
        "! CLIENT_ERROR invalid numeric initial value\n! CLIENT_ERROR invalid numeric delta value\n"
        "! CLIENT_ERROR invalid numeric delta value\n"),
    STREAM("mg a Tx F4294967296\r\nmg a F1 Tx v\r\nmg a Tx z\r\n", BAD TOKEN "! CLIENT_ERROR invalid flag\n"),
    STREAM("mg a O12345678901234567890123456789012\r\n", "! CLIENT_ERROR opaque token too long\n"),
    STREAM("mg a b c C1 E1 f F1 h I k l L M+ N1 O1 P q R1 s t\r\n",
        "! CLIENT_ERROR options flags are too long\n"),
    STREAM("mg " K250 "k v\r\nmn\r\nms " K250 "k 2 c\r\nhi\r\nmn\r\n", BAD "mn\n" BAD "mn\n"),
    STREAM("mg a b\r\nmg YWJ b\r\nmg YW=j b\r\nmg YWJj=AAA b\r\nmg ==== b\r\nmg YWJ\x80 b\r\n",
        CODED CODED CODED CODED CODED CODED),
    STREAM("ma a F-1\r\nma a !\r\nma a O12345678901234567890123456789012\r\n",
        "! CLIENT_ERROR invalid or duplicate flag\n" BAD "! CLIENT_ERROR opaque token too long\n"),
    STREAM("ma a Dx\r\nma a b\r\nma a v v\r\nma a z\r\n",
        "! CLIENT_ERROR invalid or duplicate flag\n! CLIENT_ERROR invalid or duplicate flag\n"
        "! CLIENT_ERROR invalid or duplicate flag\n! CLIENT_ERROR invalid or duplicate flag\n"),
    STREAM("ms a 2 MX\r\nhi\r\nms a 2 M\r\nhi\r\nms a 2 S2\r\nhi\r\nmn\r\n",
        "! CLIENT_ERROR invalid mode for ms M token\n! CLIENT_ERROR invalid mode for ms M token\n"
        "! CLIENT_ERROR invalid flag\nmn\n"),
    STREAM("ms a 2 q\r\nhi!\r\nms a 2 q\r\nhi!!ms a 2\r\nhi\r\n",
        "! CLIENT_ERROR bad data chunk\n" BAD "! CLIENT_ERROR bad data chunk\nms a =hi\n"),
};

static const struct stream meta[] = {
    STREAM("mg a\r\nmd a \r\nme  a\nma a\r\n", "mg a\nmd a\nme a\nma a\n"),
    STREAM("mg a v t T-1 N0 R30 C5 E18446744073709551615 Oab! k q\r\n",
        "mg a v t T-1 N0 R30 C5 E18446744073709551615 Oab! k q\n"),
    STREAM("mg a b c C1 E1 f F1 h k l L M+ N1 O P q R1 s\r\n", CODED),
    STREAM("mg YWJj b c C1 E1 f F1 h k l L M+ N1 O P q R1 s\r\n",
        "mg abc b c C1 E1 f F1 h k l L M+ N1 O P q R1 s\n"),
    STREAM("mg AAD/ b\r\nmg YWI= k b\r\nmg YQ== b\r\n", "mg \\x00\\x00\\xff b\nmg ab k b\nmg a b\n"),
    STREAM("ma a MI Minus\r\nma a Mdecr D7 J18446744073709551615\r\n",
        "! CLIENT_ERROR invalid or duplicate flag\nma a Md D7 J18446744073709551615\n"),
    STREAM("ms a 2 F4294967295 T30 MA c\r\nhi\r\nms a 0\r\n\r\nms a 3\nx\r\n\r\n",
        "ms a =hi F4294967295 T30 MA c\nms a =\nms a =x\\x0d\\x0a\n"),
    STREAM("mg a O1234567890123456789012345678901\r\n", "mg a O1234567890123456789012345678901\n"),
    STREAM("mg " K250 " Px Ly\r\n", "mg " K250 " P L\n"),
};

static void test_base64(void **state)
{
	(void)state;
	uint8_t data[REQUEST_KEY_MAX], text[BASE64_ENCODED(REQUEST_KEY_MAX)], again[REQUEST_KEY_MAX + 2];
	for (size_t i = 0; i < sizeof data; i++)
		data[i] = (uint8_t)(i * 73 + 11);
	for (size_t len = 1; len <= sizeof data; len++) {
		size_t coded = base64_encode(text, data, len);
		assert_int_equal(coded, BASE64_ENCODED(len));
		assert_int_equal(base64_decode(again, text, coded), len);
		assert_memory_equal(again, data, len);
		assert_int_equal(base64_decode(again, text, coded - 1), 0);
	}
	assert_int_equal(base64_encode(text, (const uint8_t *)"any carnal pleas", 16), 24);
	assert_memory_equal(text, "YW55IGNhcm5hbCBwbGVhcw==", 24);
	assert_int_equal(base64_decode(again, text, 0), 0);
}

static void test_good(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
		same_when_cut(good[i].bytes, good[i].len, good[i].want);
}

static void test_bad(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		same_when_cut(bad[i].bytes, bad[i].len, bad[i].want);
}

static void test_meta(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof meta / sizeof meta[0]; i++)
		same_when_cut(meta[i].bytes, meta[i].len, meta[i].want);
}

/* Lines of one blank before each word are read at once, others word by word: both say the same. */
static void test_blanks_change_nothing(void **state)
{
	(void)state;
	static const char *const numbers[] = {"0", "5", "00", "123456789", "1234567890", "4294967295",
	    "4294967296", "-1", "+1", "x", "1x", "", "99999999999999999999"};
	const size_t n = sizeof numbers / sizeof *numbers;
	char key[260], plain[512], wide[512];
	for (size_t i = 0; i < 3 * n * n * n; i++) {
		size_t key_len = i / n / n / n == 0 ? 3 : i / n / n / n == 1 ? 250 : 251;
		memset(key, 'k', key_len);
		key[key_len] = '\0';
		const char *flags = numbers[i % n], *exptime = numbers[i / n % n],
		           *len = numbers[i / n / n % n];
		int plain_len =
		    snprintf(plain, sizeof plain, "set %s %s %s %s\r\nvalue\r\n", key, flags, exptime, len);
		int wide_len =
		    snprintf(wide, sizeof wide, "set %s %s  %s %s\r\nvalue\r\n", key, flags, exptime, len);
		char *a = transcript_of_bytes(plain, (size_t)plain_len),
		     *b = transcript_of_bytes(wide, (size_t)wide_len);
		assert_string_equal(a, b);
		free(a);
		free(b);
	}
}

static void test_multi_get_of_any_length(void **state)
{
	struct buf stream = {0}, want = {0};
	char text[32];

	(void)state;
	assert_true(buf_append(&stream, "get", 3) && buf_append(&want, "get", 3));
	for (int i = 0; i < 700; i++) {
		int n = snprintf(text, sizeof text, " key-%d", i * 7919);
		assert_true(buf_append(&stream, text, (size_t)n) && buf_append(&want, text, (size_t)n));
	}
	/* The longest key behind it: with its line end cut off it looks too long. */
	assert_true(buf_append(&stream, " " K250, 251) && buf_append(&want, " " K250, 251));
	assert_true(buf_append(&stream, "\r\nmn\r\n", 6) && buf_append(&want, "\nmn\n", 5));
	assert_true(buf_len(&stream) > 3 * PARSE_LINE_MAX);
	same_when_cut((char *)stream.data, buf_len(&stream), (char *)want.data);

	/* Too long a key far behind: what came before was handed out. */
	struct reader r = {0};
	feed(&r, (char *)stream.data, buf_len(&stream) - 6);
	feed(&r, " " K250 "k", 252);
	feed(&r, K250, 250);
	feed(&r, " b c", 4);
	feed(&r, "\r\nmn\r\n", 6);
	char *got = end(&r);
	assert_non_null(
	    strstr(got, "key-5535381 " K250 "\n! CLIENT_ERROR bad command line format (drop)\nmn\n"));
	free(got);
	buf_free(&stream);
	buf_free(&want);
}

static void test_lines_without_end(void **state)
{
	char line[PARSE_LINE_MAX + 1];
	struct reader r = {0};

	(void)state;
	memset(line, 'a', sizeof line);
	feed(&r, line, PARSE_LINE_MAX);
	assert_false(r.closed);
	feed(&r, "a", 1);
	char *got = end(&r);
	assert_string_equal(got, "close\n");
	free(got);

	/* A line that is whole may be longer. */
	struct reader whole = {0};
	struct buf stream = {0};
	assert_true(buf_append(&stream, "incr", 4));
	memset(line, ' ', sizeof line);
	assert_true(buf_append(&stream, line, sizeof line) && buf_append(&stream, "a 1\r\n", 5));
	feed(&whole, (char *)stream.data, buf_len(&stream));
	got = end(&whole);
	assert_string_equal(got, "incr a d1\n");
	free(got);
	buf_free(&stream);

	/* A get without a key, however long. */
	struct reader keyless = {0};
	feed(&keyless, "gets", 4);
	feed(&keyless, line, sizeof line);
	feed(&keyless, line, sizeof line);
	feed(&keyless, "\r\nget a\r\n", 9);
	got = end(&keyless);
	assert_string_equal(got, BAD "get a\n");
	free(got);
}

static void test_values_to_take_oneself(void **state)
{
	struct parser p = {0};
	struct request req;
	size_t used;
	static const char line[] = "set big 7 0 1000000\r\nxxx";

	(void)state;
	assert_int_equal(parse_next(&p, (const uint8_t *)line, sizeof line - 1, &req, &used), PARSE_VALUE);
	assert_int_equal(used, sizeof line - 4);
	assert_int_equal(req.value_len, 1000000);
	assert_null(req.value);
	/* Or it is thrown away, over any number of reads. */
	parse_swallow(&p, req.value_len + 2);
	uint8_t waste[4096];
	memset(waste, '\n', sizeof waste);
	for (size_t left = 1000002; left > 0;) {
		size_t step = left < sizeof waste ? left : sizeof waste;
		assert_int_equal(parse_next(&p, waste, step, &req, &used), PARSE_MORE);
		assert_int_equal(used, step);
		left -= step;
	}
	assert_int_equal(parse_next(&p, (const uint8_t *)"mn\r\n", 4, &req, &used), PARSE_DONE);
}

static void test_back_to_a_key(void **state)
{
	static const char line[] = "gat 5 a b c\r\n";
	struct parser p = {0};
	struct request req;
	size_t used;

	(void)state;
	assert_int_equal(parse_next(&p, (const uint8_t *)line, sizeof line - 1, &req, &used), PARSE_DONE);
	assert_int_equal(req.n_keys, 3);
	const uint8_t *at = req.keys[1].data;
	parse_at_key(&p, &req);
	assert_int_equal(
	    parse_next(&p, at, (size_t)((const uint8_t *)line + sizeof line - 1 - at), &req, &used),
	    PARSE_DONE);
	assert_int_equal(req.n_keys, 2);
	assert_int_equal(req.exptime, 5);
	assert_false(req.more);
	assert_int_equal(used, 5);
}

static void test_table(void **state)
{
	(void)state;
	for (int id = COMMAND_GET; id <= COMMAND_DEBUGTIME; id++) {
		const struct command *c = command_row((enum command_id)id);
		assert_int_equal(c->id, id);
		assert_int_equal(c->name_len, strlen(c->name));
		assert_ptr_equal(command_find((const uint8_t *)c->name, c->name_len), c);
	}
	assert_null(command_find((const uint8_t *)"ge", 2));
	assert_null(command_find((const uint8_t *)"", 0));
	assert_int_equal(command_row(COMMAND_GAT)->access, COMMAND_WRITES);
	assert_int_equal(command_row(COMMAND_GET)->access, COMMAND_READS);
	assert_int_equal(command_row(COMMAND_SHUTDOWN)->access, COMMAND_ADMINISTERS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_good),
	    cmocka_unit_test(test_bad),
	    cmocka_unit_test(test_meta),
	    cmocka_unit_test(test_base64),
	    cmocka_unit_test(test_blanks_change_nothing),
	    cmocka_unit_test(test_multi_get_of_any_length),
	    cmocka_unit_test(test_lines_without_end),
	    cmocka_unit_test(test_values_to_take_oneself),
	    cmocka_unit_test(test_back_to_a_key),
	    cmocka_unit_test(test_table),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("parse", tests, NULL, NULL);
}
