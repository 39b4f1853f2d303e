/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_value: see bench_value.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/crc32c.h"
#include "tool/bench_value.h"

#define CRC_DIGITS 8
#define HEAD_SIZE  (CRC_DIGITS + 16 + 8 + 2)

static const char DIGITS[] = "0123456789abcdef";

/* One object, as a service keeps it. Returns its length, OBJECT_MAX at most. */
#define OBJECT_MAX 256u
static size_t put_object(char *at, struct bench_random *random)
{
	static const char *const cities[] = {
	    "Berlin", "Paris", "London", "Madrid", "Vienna", "Oslo", "Rome", "Prague"};
	unsigned r[6];
	for (unsigned i = 0; i < 6; i++)
		r[i] = (unsigned)bench_random_below(random, 100000);
	return (size_t)snprintf(at, OBJECT_MAX,
	    "{\"id\":%u,\"email\":\"user%u@example.org\",\"city\":\"%s\",\"active\":%s,\"price\":%u.%02u,"
	    "\"session\":\"%05x%05x\"},",
	    r[0], r[1], cities[r[2] % 8], r[2] & 8 ? "true" : "false", r[3] / 100, r[3] % 100, r[4], r[5]);
}

char *bench_value_pattern(uint64_t seed, uint32_t largest, bool json)
{
	size_t size = (size_t)BENCH_PATTERN + largest;
	char *pattern = malloc(size), object[OBJECT_MAX];
	struct bench_random random = {seed};
	for (size_t i = 0; pattern && i < size;) {
		size_t len = json ? put_object(object, &random) : 1;
		if (!json)
			object[0] = (char)('0' + bench_random_below(&random, 'z' - '0' + 1));
		len = len < size - i ? len : size - i;
		memcpy(pattern + i, object, len);
		i += len;
	}
	return pattern;
}

uint32_t bench_value_head(unsigned key_len)
{
	return HEAD_SIZE + key_len;
}

static void put_hex(char *at, uint64_t n, unsigned digits)
{
	for (unsigned i = 0; i < digits; i++)
		at[i] = DIGITS[n >> (4 * (digits - 1 - i)) & 15];
}

size_t bench_value_put(const char *pattern, bool verify, uint64_t sequence, uint32_t len, const char *key,
    unsigned key_len, char *at, struct bench_body *body)
{
	uint32_t head = verify && len >= bench_value_head(key_len) ? bench_value_head(key_len) : 0;
	body->data = pattern + (sequence * 0x9e3779b97f4a7c15ull >> 48);
	body->len = len - head;
	if (head == 0)
		return 0;
	put_hex(at + CRC_DIGITS, sequence, 16);
	put_hex(at + CRC_DIGITS + 16, len, 8);
	put_hex(at + CRC_DIGITS + 24, key_len, 2);
	memcpy(at + HEAD_SIZE, key, key_len);
	uint32_t crc = crc32c(0, at + CRC_DIGITS, head - CRC_DIGITS);
	put_hex(at, crc32c(crc, body->data, body->len), CRC_DIGITS);
	return head;
}

bool bench_value_check(const char *key, unsigned key_len, const char *value, uint32_t len)
{
	char want[HEAD_SIZE];
	if (len < bench_value_head(key_len))
		return false;
	put_hex(want, crc32c(0, value + CRC_DIGITS, len - CRC_DIGITS), CRC_DIGITS);
	put_hex(want + CRC_DIGITS + 16, len, 8);
	put_hex(want + CRC_DIGITS + 24, key_len, 2);
	return memcmp(value, want, CRC_DIGITS) == 0 &&
	       memcmp(value + CRC_DIGITS + 16, want + CRC_DIGITS + 16, 10) == 0 &&
	       memcmp(value + HEAD_SIZE, key, key_len) == 0;
}
