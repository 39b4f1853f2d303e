/* SPDX-License-Identifier: BSD-3-Clause */
/* tool_json: strings that JSON must escape, bytes that it cannot hold, numbers; and what a terminal must not see. */
#include "unit.h"
#include "tool/json.h"

static struct unit_scratch scratch;
static struct out out;

static int begin(void **state)
{
	(void)state;
	scratch = unit_scratch_begin();
	int fd = openat(scratch.fd, "out", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	return fd >= 0 && out_open(&out, fd) ? 0 : -1;
}

static int end(void **state)
{
	(void)state;
	close(out.fd);
	unit_scratch_end(&scratch);
	return 0;
}

/* All that was written so far, as a string; the caller frees it. */
static char *written(void)
{
	size_t len;
	assert_true(out_close(&out));
	uint8_t *data = unit_read_file(scratch.fd, "out", &len);
	char *text = calloc(1, len + 1);
	assert_non_null(text);
	memcpy(text, data, len);
	free(data);
	return text;
}

static void assert_written(const char *expected)
{
	char *text = written();
	assert_string_equal(text, expected);
	free(text);
}

static void strings_are_escaped(void **state)
{
	(void)state;
	static const char bytes[] = "a\"b\\c\b\t\n\v\f\r\x1f\x7f\0z/";
	json_string(&out, bytes, sizeof(bytes) - 1);
	assert_written("\"a\\\"b\\\\c\\b\\t\\n\\u000b\\f\\r\\u001f\\u007f\\u0000z/\"");
}

static void objects_have_commas_between(void **state)
{
	(void)state;
	struct json j = json_begin(&out);
	json_u64(&j, "u", UINT64_MAX);
	json_i64(&j, "i", INT64_MIN);
	json_bool(&j, "b", true);
	json_null(&j, "n");
	json_double(&j, "d", 0.25);
	json_double(&j, "whole", 3);
	json_double(&j, "none", 0.0 / 0.0);
	json_text(&j, "t", "gr\xc3\xbc\xc3\x9f");
	json_end(&j);
	j = json_begin(&out);
	json_end(&j);
	assert_written(
	    "{\"u\":18446744073709551615,\"i\":-9223372036854775808,\"b\":true,\"n\":null,\"d\":0.25,"
	    "\"whole\":3,\"none\":null,\"t\":\"gr\xc3\xbc\xc3\x9f\"}\n{}\n");
}

static void other_bytes_are_base64(void **state)
{
	(void)state;
	struct json j = json_begin(&out);
	json_bytes(&j, "a", "\xff", 1);
	json_bytes(&j, "b", "\xff\xfe", 2);
	json_bytes(&j, "c", "\xff\xfe\xfd", 3);
	json_bytes(&j, "d", "\xff\xfe\xfd\0", 4);
	json_bytes(&j, "e", "", 0);
	json_end(&j);
	assert_written(
	    "{\"a_b64\":\"/w==\",\"b_b64\":\"//4=\",\"c_b64\":\"//79\",\"d_b64\":\"//79AA==\",\"e\":\"\"}\n");
}

static void utf8_is_judged(void **state)
{
	(void)state;
	static const char *const good[] = {"", "plain ASCII of more than eight bytes", "\x7f", "\xc2\x80",
	    "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80", "\xf0\x90\x80\x80",
	    "\xf4\x8f\xbf\xbf"};
	static const char *const bad[] = {"\x80", "12345678\xff", "\xc0\x80", "\xc1\xbf", "\xc3",
	    "\xe0\x9f\xbf", "\xe2\x82", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80",
	    "\xf5\x80\x80\x80", "\xe2\x28\xa1"};
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(json_is_utf8(good[i], strlen(good[i])));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(json_is_utf8(bad[i], strlen(bad[i])));
	assert_true(out_close(&out));
}

static void terminals_are_spared(void **state)
{
	(void)state;
	static const char bytes[] = "k\x1b[2J\\ \xc3\xbc \xc2\x9b \xff\n";
	out_escaped(&out, bytes, sizeof(bytes) - 1);
	assert_written("k\\x1b[2J\\x5c \xc3\xbc \\xc2\\x9b \\xff\\x0a");
}

/* More than the buffer holds, in pieces that do not fit it evenly. */
static void nothing_is_lost_between_buffers(void **state)
{
	(void)state;
	char piece[1013];
	memset(piece, 'x', sizeof(piece));
	for (unsigned i = 0; i < 1000; i++) {
		out_u64(&out, i);
		out_bytes(&out, piece, sizeof(piece));
		out_char(&out, '\n');
	}
	char *text = written(), *at = text;
	for (unsigned i = 0; i < 1000; i++) {
		char *rest;
		assert_int_equal(strtoul(at, &rest, 10), i);
		assert_int_equal(strspn(rest, "x"), sizeof(piece));
		at = rest + sizeof(piece);
		assert_int_equal(*at++, '\n');
	}
	assert_int_equal(*at, '\0');
	free(text);
}

static const struct CMUnitTest TESTS[] = {
    cmocka_unit_test_setup_teardown(strings_are_escaped, begin, end),
    cmocka_unit_test_setup_teardown(objects_have_commas_between, begin, end),
    cmocka_unit_test_setup_teardown(other_bytes_are_base64, begin, end),
    cmocka_unit_test_setup_teardown(utf8_is_judged, begin, end),
    cmocka_unit_test_setup_teardown(terminals_are_spared, begin, end),
    cmocka_unit_test_setup_teardown(nothing_is_lost_between_buffers, begin, end),
};

UNIT_MAIN(TESTS)
