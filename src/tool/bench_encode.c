/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_encode: see bench_encode.h. A set's command ends where its value begins. */
#include <string.h>
#include "tool/bench_encode.h"
#include "tool/out.h"

#define BINARY_HEAD   24u
#define BINARY_EXTRAS 8u /* of a set: flags and expiry */

/* What is known of a request when its command is written. */
struct command {
	const char *key;
	unsigned key_len;
	uint32_t value_len, ttl;
	uint32_t number;
};

static char *put(char *at, const char *text)
{
	size_t n = strlen(text);
	memcpy(at, text, n);
	return at + n;
}

static char *put_bytes(char *at, const char *data, size_t len)
{
	memcpy(at, data, len);
	return at + len;
}

static char *put_number(char *at, uint32_t n)
{
	return at + out_digits(n, (uint8_t *)at);
}

static char *put_big_endian(char *at, uint32_t n, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		at[i] = (char)(n >> 8 * (bytes - 1 - i));
	return at + bytes;
}

/* get <key> | set <key> 0 <ttl> <length> */
static char *text(char *at, const struct command *c, bool set)
{
	at = put_bytes(put(at, set ? "set " : "get "), c->key, c->key_len);
	if (set) {
		at = put_number(put(at, " 0 "), c->ttl);
		at = put_number(put(at, " "), c->value_len);
	}
	return put(at, "\r\n");
}

/* mg <key> v | ms <key> <length> [T<ttl>] */
static char *meta(char *at, const struct command *c, bool set)
{
	at = put_bytes(put(at, set ? "ms " : "mg "), c->key, c->key_len);
	at = put(at, set ? " " : " v");
	if (set)
		at = put_number(at, c->value_len);
	if (set && c->ttl > 0)
		at = put_number(put(at, " T"), c->ttl);
	return put(at, "\r\n");
}

/* A head of 24 bytes, of a set flags and expiry, the key; the number is the opaque field, which the answer has, too. */
static char *binary(char *at, const struct command *c, bool set)
{
	unsigned extras = set ? BINARY_EXTRAS : 0;
	memset(at, 0, BINARY_HEAD + BINARY_EXTRAS);
	at[0] = (char)0x80;
	at[1] = set ? 1 : 0;
	put_big_endian(at + 2, c->key_len, 2);
	at[4] = (char)extras;
	put_big_endian(at + 8, extras + c->key_len + (set ? c->value_len : 0), 4);
	put_big_endian(at + 12, c->number, 4);
	put_big_endian(at + BINARY_HEAD + 4, set ? c->ttl : 0, 4);
	return put_bytes(at + BINARY_HEAD + extras, c->key, c->key_len);
}

static char *resp_length(char *at, uint32_t len)
{
	return put(put_number(put(at, "$"), len), "\r\n");
}

/* GET <key> | SET <key> <value> | SETEX <key> <ttl> <value>, as arrays of strings with their lengths */
static char *resp(char *at, const struct command *c, bool set)
{
	bool ttl = set && c->ttl > 0;
	at = put(at, !set ? "*2\r\n$3\r\nGET\r\n" : ttl ? "*4\r\n$5\r\nSETEX\r\n" : "*3\r\n$3\r\nSET\r\n");
	at = put_bytes(resp_length(at, c->key_len), c->key, c->key_len);
	at = put(at, "\r\n");
	if (ttl) {
		char digits[20];
		unsigned n = out_digits(c->ttl, (uint8_t *)digits);
		at = put(put_bytes(resp_length(at, n), digits, n), "\r\n");
	}
	return set ? resp_length(at, c->value_len) : at;
}

size_t bench_encode(
    struct bench_source *s, const struct bench_request *r, char *at, struct bench_body *ret_body)
{
	static char *(*const commands[])(char *, const struct command *, bool) = {
	    [BENCH_TEXT] = text, [BENCH_META] = meta, [BENCH_BINARY] = binary, [BENCH_RESP] = resp};
	const struct bench_load *load = s->load;
	char key[RECORD_KEY_MAX];
	bool set = r->kind == BENCH_SET;
	struct command c = {
	    .key = key, .key_len = bench_load_key(load, r, key), .number = (uint32_t)r->number};
	if (set) {
		c.value_len = r->value_len;
		c.ttl = bench_load_ttl(load, r);
	}
	char *end = commands[load->protocol](at, &c, set);
	*ret_body = (struct bench_body){NULL, 0, false};
	if (!set)
		return (size_t)(end - at);
	ret_body->line = load->protocol != BENCH_BINARY;
	end += bench_value_put(
	    load->pattern, load->verify, s->sequence++, r->value_len, key, c.key_len, end, ret_body);
	return (size_t)(end - at);
}
