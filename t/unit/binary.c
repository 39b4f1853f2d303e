/* SPDX-License-Identifier: BSD-3-Clause */
/* binary: each stream of requests gives one transcript, however it is cut, and answers are golden bytes. Streams are hex
 * with blanks; the transcript has a line a request. */
#include "unit.h"

#include <ctype.h>
#include <inttypes.h>
#include "base/buf.h"
#include "proto/binary.h"

struct reader {
	struct binary_parser parser;
	struct buf in, log;
	bool closed;
};

static void note(struct reader *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void note(struct reader *r, const char *fmt, ...)
{
	char text[1024];
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	assert_true(n >= 0 && (size_t)n < sizeof text);
	assert_true(buf_append(&r->log, text, (size_t)n));
}

static void note_request(struct reader *r, const struct binary_request *q)
{
	note(r, "%s%s%s", q->command->name, q->tag.quiet ? "q" : "", q->wants_key ? "k" : "");
	if (q->key.len > 0)
		note(r, " %.*s", (int)q->key.len, (const char *)q->key.data);
	if (q->flags || q->exptime)
		note(r, " f%u t%" PRId64, q->flags, q->exptime);
	if (q->delta || q->initial)
		note(r, " d%" PRIu64 " i%" PRIu64 "%s", q->delta, q->initial, q->creates ? " creates" : "");
	if (q->level)
		note(r, " l%u", q->level);
	if (q->cas)
		note(r, " c%" PRIu64, q->cas);
	if (q->value_len > 0)
		note(r, " =%.*s", (int)q->value_len, (const char *)q->value);
	note(r, "\n");
}

/* Whatever can be done with what is buffered. */
static void run(struct reader *r)
{
	while (!r->closed) {
		struct binary_parser before = r->parser;
		struct binary_request req;
		size_t used = SIZE_MAX;
		enum parse_result result =
		    binary_next(&r->parser, r->in.data + r->in.head, buf_len(&r->in), &req, &used);
		assert_true(used <= buf_len(&r->in));
		if (result == PARSE_VALUE) {
			r->parser = before;
			return;
		}
		if (result == PARSE_DONE)
			note_request(r, &req);
		if (result == PARSE_ERROR)
			note(r, "! %02x %d%s\n", req.tag.opcode, req.error, req.close ? " close" : "");
		if (result == PARSE_CLOSE)
			note(r, "close\n");
		r->closed = result == PARSE_CLOSE || (result == PARSE_ERROR && req.close);
		buf_consume(&r->in, used);
		if (result == PARSE_MORE)
			return;
	}
}

/* The data is moved to a block of exactly its size each time, so that a sanitizer sees a read beyond it. */
static void feed(struct reader *r, const uint8_t *data, size_t len)
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

static void expect(const uint8_t *bytes, size_t len, size_t piece, size_t cut, const char *want)
{
	struct reader r = {0};
	if (piece > 0) {
		for (size_t at = 0; at < len; at += piece)
			feed(&r, bytes + at, len - at < piece ? len - at : piece);
	} else {
		feed(&r, bytes, cut);
		feed(&r, bytes + cut, len - cut);
	}
	char *got = end(&r);
	assert_string_equal(got, want);
	free(got);
}

static size_t bytes_of(const char *hex, uint8_t *out, size_t size)
{
	size_t n = 0;
	for (const char *at = hex; *at; at++) {
		unsigned byte;
		if (isspace((unsigned char)*at))
			continue;
		assert_true(n < size && sscanf(at, "%2x", &byte) == 1);
		out[n++] = (uint8_t)byte;
		at++;
	}
	return n;
}

/* Whole, byte by byte, and in two at every byte. */
static void same_when_cut(const char *hex, const char *want)
{
	uint8_t bytes[2048];
	size_t len = bytes_of(hex, bytes, sizeof bytes);
	expect(bytes, len, 1, 0, want);
	for (size_t cut = 0; cut <= len; cut++)
		expect(bytes, len, 0, cut, want);
}

/* A head: opcode, length of the key, of the extras, of the body; opaque and CAS are the same in all. */
#define HEAD(opcode, key, extras, body) "80" opcode key extras "00 0000" body "deadbeef 0000000000000000 "
#define NOOP                            HEAD("0a", "0000", "00", "00000000")

struct stream {
	const char *hex, *want;
};

static const struct stream good[] = {
    {NOOP NOOP, "mn\nmn\n"},
    {HEAD("00", "0001", "00", "00000001") "6b" HEAD("09", "0001", "00", "00000001") "6b", "get k\ngetq k\n"},
    {HEAD("0c", "0001", "00", "00000001") "6b" HEAD("0d", "0001", "00", "00000001") "6b",
        "getk k\ngetqk k\n"},
    {HEAD("01", "0001", "08", "0000000c") "00000007 00000064 6b 616263" NOOP, "set k f7 t100 =abc\nmn\n"},
    {HEAD("12", "0001", "08", "00000009") "00000000 ffffffff 6b" NOOP, "addq k f0 t4294967295\nmn\n"},
    {"80 03 0001 08 00 0000 0000000a 00000000 0102030405060708 00000001 00000000 6b 61",
        "replace k f1 t0 c72623859790382856 =a\n"},
    {HEAD("04", "0002", "00", "00000002") "6b6c" HEAD("14", "0002", "00", "00000002") "6b6c",
        "delete kl\ndeleteq kl\n"},
    {HEAD("05", "0001", "14", "00000015") "0000000000000005 000000000000000a 00000000 6b",
        "incr k d5 i10 creates\n"},
    {HEAD("16", "0001", "14", "00000015") "ffffffffffffffff 0000000000000000 ffffffff 6b",
        "decrq k f0 t4294967295 d18446744073709551615 i0\n"},
    {HEAD("0e", "0001", "00", "00000003") "6b 6162" HEAD("1a", "0001", "00", "00000001") "6b",
        "append k =ab\nprependq k\n"},
    {HEAD("1c", "0001", "04", "00000005") "00000010 6b" HEAD("1d", "0001", "04", "00000005") "00000011 6b",
        "touch k f0 t16\ngat k f0 t17\n"},
    {HEAD("23", "0001", "04", "00000005") "00000010 6b" HEAD("24", "0001", "04", "00000005") "00000011 6b",
        "gatk k f0 t16\ngatqk k f0 t17\n"},
    {HEAD("08", "0000", "00", "00000000") HEAD("18", "0000", "04", "00000004") "00000009",
        "flush_all\nflush_allq f0 t9\n"},
    {HEAD("10", "0000", "00", "00000000") HEAD("10", "0005", "00", "00000005") "6974656d73",
        "stats\nstats items\n"},
    {HEAD("0b", "0000", "00", "00000000") HEAD("1b", "0000", "04", "00000004") "00000002",
        "version\nverbosity l2\n"},
    {HEAD("07", "0000", "00", "00000000") HEAD("17", "0000", "00", "00000000"), "quit\nquitq\n"},
    /* Data type and reserved bytes are not looked at, as in memcached. */
    {"80 0a 0000 00 ff ffff 00000000 00000000 0000000000000000", "mn\n"},
};

#define UNKNOWN "8" /* BINARY_UNKNOWN */
#define INVALID "4" /* BINARY_INVALID */

static const struct stream bad[] = {
    {"81", "close\n"},
    {NOOP "67657420", "mn\nclose\n"},
    /* Unknown opcodes lose their body and no more. */
    {HEAD("7f", "0000", "00", "00000000") NOOP, "! 7f " UNKNOWN "\nmn\n"},
    {HEAD("1f", "0003", "02", "00000007") "0000 616263 6162" NOOP, "! 1f " UNKNOWN "\nmn\n"},
    {HEAD("7f", "0000", "00", "00000004") "01020304" HEAD("0e", "0001", "00", "00000004") "6b 616263",
        "! 7f " UNKNOWN "\nappend k =abc\n"},
    {HEAD("30", "0000", "00", "00000005") "8080808080" NOOP, "! 30 " UNKNOWN "\nmn\n"},
    {HEAD("20", "0000", "00", "00000000") HEAD("21", "0005", "00", "00000009") "504c41494e 00610062" NOOP,
        "! 20 " UNKNOWN "\n! 21 " UNKNOWN "\nmn\n"},
    {HEAD("22", "0000", "00", "00000000"), "! 22 " INVALID " close\n"},
    {HEAD("20", "0001", "00", "00000001"), "! 20 " INVALID " close\n"},
    /* Lengths that contradict each other: told when the head is there. */
    {HEAD("00", "0002", "00", "00000001"), "! 00 " UNKNOWN " close\n"},
    {HEAD("01", "0001", "08", "00000008"), "! 01 " UNKNOWN " close\n"},
    {HEAD("00", "ffff", "ff", "00000000"), "! 00 " UNKNOWN " close\n"},
    {HEAD("7f", "0001", "00", "00000000"), "! 7f " UNKNOWN " close\n"},
    /* Or the opcode. */
    {HEAD("00", "00fb", "00", "000000fb"), "! 00 " INVALID " close\n"},
    {HEAD("7f", "00fb", "00", "000000fb"), "! 7f " INVALID " close\n"},
    {HEAD("00", "0000", "00", "00000000"), "! 00 " INVALID " close\n"},
    {HEAD("00", "0001", "00", "00000002"), "! 00 " INVALID " close\n"},
    {HEAD("0d", "0001", "04", "00000005"), "! 0d " INVALID " close\n"},
    {HEAD("01", "0001", "00", "00000001"), "! 01 " INVALID " close\n"},
    {HEAD("11", "0000", "08", "00000009"), "! 11 " INVALID " close\n"},
    {HEAD("02", "0001", "07", "ffffffff"), "! 02 " INVALID " close\n"},
    {HEAD("05", "0001", "08", "00000015"), "! 05 " INVALID " close\n"},
    {HEAD("05", "0001", "14", "00000016"), "! 05 " INVALID " close\n"},
    {HEAD("0e", "0001", "01", "00000003"), "! 0e " INVALID " close\n"},
    {HEAD("0f", "0000", "00", "00000003"), "! 0f " INVALID " close\n"},
    {HEAD("14", "0001", "00", "00000002"), "! 14 " INVALID " close\n"},
    {HEAD("1c", "0001", "00", "00000001"), "! 1c " INVALID " close\n"},
    {HEAD("1c", "0001", "04", "00000006"), "! 1c " INVALID " close\n"},
    {HEAD("1e", "0000", "04", "00000004"), "! 1e " INVALID " close\n"},
    {HEAD("08", "0000", "02", "00000002"), "! 08 " INVALID " close\n"},
    {HEAD("08", "0001", "04", "00000005"), "! 08 " INVALID " close\n"},
    {HEAD("0a", "0000", "00", "00000001"), "! 0a " INVALID " close\n"},
    {HEAD("0b", "0001", "00", "00000001"), "! 0b " INVALID " close\n"},
    {HEAD("10", "0000", "04", "00000004"), "! 10 " INVALID " close\n"},
    {HEAD("10", "0001", "00", "00000002"), "! 10 " INVALID " close\n"},
    {HEAD("1b", "0000", "00", "00000000"), "! 1b " INVALID " close\n"},
    {HEAD("17", "0000", "00", "00000001"), "! 17 " INVALID " close\n"},
    /* Not whole. */
    {"80", "..."},
    {HEAD("00", "0002", "00", "00000002") "6b", "..."},
    {HEAD("01", "0001", "08", "0000000c") "00000007 00000064 6b 6162", "..."},
};

static void test_good(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
		same_when_cut(good[i].hex, good[i].want);
}

static void test_bad(void **state)
{
	(void)state;
	assert_int_equal(BINARY_UNKNOWN, atoi(UNKNOWN));
	assert_int_equal(BINARY_INVALID, atoi(INVALID));
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		same_when_cut(bad[i].hex, bad[i].want);
}

/* Every opcode with every length that matters: what is taken is what the head said, never more than there is. */
static void test_all_heads(void **state)
{
	static const unsigned lengths[] = {0, 1, 2, 4, 7, 8, 20, 21, 250, 251, 0xffff};
	const size_t n = sizeof lengths / sizeof lengths[0];
	(void)state;
	for (unsigned i = 0; i < 256 * n * n * n; i++) {
		unsigned opcode = i % 256, key = lengths[i / 256 % n];
		unsigned extras = lengths[i / 256 / n % n] & 0xff, body = lengths[i / 256 / n / n];
		struct binary_parser p = {0};
		struct binary_request req;
		uint8_t head[BINARY_HEAD] = {BINARY_MAGIC, (uint8_t)opcode, (uint8_t)(key >> 8), (uint8_t)key,
		    (uint8_t)extras, 0, 0, 0, 0, 0, (uint8_t)(body >> 8), (uint8_t)body};
		size_t used;
		enum parse_result r = binary_next(&p, head, sizeof head, &req, &used);
		if (key + extras > body || key > REQUEST_KEY_MAX)
			assert_true(r == PARSE_ERROR && req.close);
		if (r == PARSE_ERROR && !req.close)
			assert_int_equal(p.swallow, body);
		else
			assert_int_equal(p.swallow, 0);
		assert_int_equal(used, r == PARSE_MORE ? 0 : sizeof head);
		if (r == PARSE_DONE)
			assert_true(body == 0 && req.command != NULL);
		assert_int_not_equal(r, PARSE_CLOSE);
	}
}

static void test_values_to_take_oneself(void **state)
{
	uint8_t bytes[64], waste[4096];
	size_t len = bytes_of(HEAD("01", "0001", "08", "ffffffff") "00000000 00000000 6b 616263", bytes, 64);
	struct binary_parser p = {0};
	struct binary_request req;
	size_t used;

	(void)state;
	assert_int_equal(binary_next(&p, bytes, len, &req, &used), PARSE_VALUE);
	assert_int_equal(used, len - 3);
	assert_int_equal(req.value_len, UINT32_MAX - 9u);
	assert_null(req.value);
	/* Or it is thrown away, over any number of reads, to the byte. */
	memset(waste, BINARY_MAGIC, sizeof waste);
	binary_swallow(&p, 1000000);
	for (size_t left = 1000000; left > 0;) {
		size_t step = left < sizeof waste ? left : sizeof waste;
		assert_int_equal(binary_next(&p, waste, step, &req, &used), PARSE_MORE);
		assert_int_equal(used, step);
		left -= step;
	}
	len = bytes_of(NOOP, bytes, 64);
	assert_int_equal(binary_next(&p, bytes, len, &req, &used), PARSE_DONE);
	assert_int_equal(used, BINARY_HEAD);
}

/* Opcode and opaque go back as they came. */
static void test_answers(void **state)
{
	uint8_t out[BINARY_ANSWER_MAX];
	struct binary_tag tag = {.opcode = 0x11};

	(void)state;
	memcpy(&tag.opaque, "\xde\xad\xbe\xef", 4);
	size_t n = binary_answer(out, &tag, BINARY_OK, 0x0102030405060708);
	unit_assert_hex(out, n, "811100000000000000000000deadbeef0102030405060708");
	n = binary_answer(out, &tag, BINARY_NOT_FOUND, 0);
	unit_assert_hex(out, n,
	    "811100000000000100000009deadbeef0000000000000000"
	    "4e6f7420666f756e64");
	n = binary_head(out, &tag, BINARY_OK, 4, 250, 0x01020304, 1);
	unit_assert_hex(out, n, "811100fa0400000001020304deadbeef0000000000000001");
	assert_int_equal(binary_put32(out, 0x01020304), 4);
	unit_assert_hex(out, 4, "01020304");
	assert_int_equal(binary_put64(out, 0x0102030405060708), 8);
	unit_assert_hex(out, 8, "0102030405060708");
	for (int s = 0; s < BINARY_STATUSES; s++) {
		n = binary_answer(out, &tag, (enum binary_status)s, 0);
		assert_in_range(n, BINARY_HEAD, BINARY_ANSWER_MAX);
		assert_int_equal(n, BINARY_HEAD + out[11]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_good),
	    cmocka_unit_test(test_bad),
	    cmocka_unit_test(test_all_heads),
	    cmocka_unit_test(test_values_to_take_oneself),
	    cmocka_unit_test(test_answers),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("binary", tests, NULL, NULL);
}
