/* SPDX-License-Identifier: BSD-3-Clause */
/* reply: numbers and lines, to the byte, and never more of them than the stated room. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "proto/reply.h"

static void is_number(uint64_t v)
{
	uint8_t out[REPLY_UINT_MAX + 3];
	char want[32];

	memset(out, '#', sizeof out);
	size_t len = reply_uint(out, v);
	snprintf(want, sizeof want, "%" PRIu64, v);
	assert_int_equal(len, strlen(want));
	assert_memory_equal(out, want, len);
	assert_int_equal(out[len], '#');
	len = reply_number(out, v);
	assert_int_equal(len, strlen(want) + 2);
	assert_memory_equal(out + len - 2, "\r\n", 2);
}

static void test_numbers(void **state)
{
	(void)state;
	for (uint64_t v = 0; v < 20000; v++)
		is_number(v);
	for (uint64_t v = 1, i = 0; i < 20; i++, v *= 10) {
		is_number(v - 1);
		is_number(v);
		is_number(v + 1);
	}
	is_number(UINT32_MAX);
	is_number(UINT64_MAX - 1);
	is_number(UINT64_MAX);
}

static void test_value_lines(void **state)
{
	uint8_t out[REPLY_HEAD_MAX], key[250];
	size_t len;

	(void)state;
	len = reply_value(out, (const uint8_t *)"abc", 3, 0, 0);
	assert_int_equal(len, strlen("VALUE abc 0 0\r\n"));
	assert_memory_equal(out, "VALUE abc 0 0\r\n", len);
	len = reply_value_cas(out, (const uint8_t *)"abc", 3, 4294967295u, 1048576, 17);
	assert_int_equal(len, strlen("VALUE abc 4294967295 1048576 17\r\n"));
	assert_memory_equal(out, "VALUE abc 4294967295 1048576 17\r\n", len);
	memset(key, 'k', sizeof key);
	len = reply_value_cas(out, key, sizeof key, UINT32_MAX, UINT64_MAX, UINT64_MAX);
	assert_true(len <= REPLY_HEAD_MAX);
	assert_memory_equal(out + len - 22, "18446744073709551615\r\n", 22);
}

static void test_constant_lines(void **state)
{
	static const char *const texts[] = {
#define TEXT(name, text) text,
	    REPLY_TABLE(TEXT)
#undef TEXT
	};
	uint8_t out[REPLY_TEXT_MAX];

	(void)state;
	assert_int_equal(reply_text(out, REPLY_NONE), 0);
	for (int id = REPLY_NONE + 1; id < REPLY_COUNT; id++) {
		size_t len = reply_text(out, (enum reply_id)id);
		assert_int_equal(len, strlen(texts[id]) + 2);
		assert_memory_equal(out, texts[id], len - 2);
		assert_memory_equal(out + len - 2, "\r\n", 2);
	}
	/* Clients take these apart. */
	assert_string_equal(texts[REPLY_VERSION], "VERSION 1.6.45");
	assert_string_equal(texts[REPLY_NO_SHUTDOWN], "SERVER_ERROR: shutdown not enabled");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_numbers),
	    cmocka_unit_test(test_value_lines),
	    cmocka_unit_test(test_constant_lines),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("reply", tests, NULL, NULL);
}
