/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_load: see bench_load.h. */
#include <stdlib.h>
#include <string.h>
#include "base/check.h"
#include "base/crc32c.h"
#include "tool/bench_load.h"
#include "tool/out.h"

#define CRC_DIGITS 8
#define HEAD_SIZE  (CRC_DIGITS + 16 + 8 + 2)
/* Spreads ranks over the keys, so that the most wanted are not those that were stored first. A prime above
 * the largest number of keys, so that no two ranks meet. */
#define SPREAD 4294967291ull

static const char DIGITS[] = "0123456789abcdef";

bool bench_load_init(struct bench_load *load)
{
	uint32_t largest = load->trace ? load->trace->size_max : load->value_max;
	size_t size = (size_t)BENCH_PATTERN + largest;
	load->pattern = malloc(size);
	if (!load->pattern)
		return false;
	struct bench_random random = {load->seed};
	for (size_t i = 0; i < size; i++)
		load->pattern[i] = (char)('0' + bench_random_below(&random, 'z' - '0' + 1));
	if (load->zipf > 0)
		bench_zipf_init(&load->ranks, load->keys, load->zipf);
	return true;
}

void bench_load_free(struct bench_load *load)
{
	free(load->pattern);
	load->pattern = NULL;
}

void bench_load_start(struct bench_load *load, enum bench_phase phase, uint64_t stock)
{
	load->phase = phase;
	load->stock = stock;
	atomic_store(&load->claimed, 0);
}

uint32_t bench_load_head(unsigned key_len)
{
	return HEAD_SIZE + key_len;
}

void bench_source_init(struct bench_source *s, const struct bench_load *load, unsigned thread)
{
	*s = (struct bench_source){.load = load, .sequence = (uint64_t)thread << 48};
	struct bench_random seeds = {load->seed ^ (uint64_t)(thread + 1) << 32 ^ (uint64_t)load->phase};
	s->random.state = bench_random_next(&seeds);
}

unsigned bench_source_claim(struct bench_source *s, struct bench_load *load, unsigned n)
{
	/* Looked at before it is added to: the counter must not run far beyond the stock. */
	if (atomic_load_explicit(&load->claimed, memory_order_relaxed) >= load->stock)
		return 0;
	uint64_t first = atomic_fetch_add_explicit(&load->claimed, n, memory_order_relaxed);
	if (first >= load->stock)
		return 0;
	uint64_t left = load->stock - first;
	s->next = first;
	s->end = first + (left < n ? left : n);
	return (unsigned)(s->end - s->next);
}

static uint32_t value_length(struct bench_source *s)
{
	const struct bench_load *load = s->load;
	uint32_t span = load->value_max - load->value_min;
	return load->value_min + (span ? (uint32_t)bench_random_below(&s->random, (uint64_t)span + 1) : 0);
}

struct bench_request bench_source_next(struct bench_source *s)
{
	const struct bench_load *load = s->load;
	CHECK(s->next < s->end);
	uint64_t n = s->next++;
	if (load->phase == BENCH_TRACE)
		return (struct bench_request){
		    n % load->trace->n, load->trace->requests[n % load->trace->n].size, BENCH_GET};
	uint32_t len = value_length(s);
	if (load->phase == BENCH_FILL)
		return (struct bench_request){n, len, BENCH_SET};
	uint64_t key;
	if (load->zipf > 0)
		key = bench_zipf_next(&load->ranks, &s->random) * SPREAD % load->keys;
	else
		key = bench_random_below(&s->random, load->keys);
	bool get = load->get_percent == 100 || bench_random_below(&s->random, 100) < load->get_percent;
	return (struct bench_request){key, len, get ? BENCH_GET : BENCH_SET};
}

unsigned bench_load_key(const struct bench_load *load, const struct bench_request *r, char *at)
{
	if (load->trace) {
		const struct bench_trace_request *t = &load->trace->requests[r->key];
		memcpy(at, bench_trace_key(load->trace, t), t->key_len);
		return t->key_len;
	}
	/* "k000...": zeros, then the number. */
	memset(at, '0', load->key_size);
	at[0] = 'k';
	uint64_t n = r->key;
	for (unsigned i = load->key_size - 1; n > 0; i--, n /= 10)
		at[i] = (char)('0' + n % 10);
	return load->key_size;
}

static void put_hex(char *at, uint64_t n, unsigned digits)
{
	for (unsigned i = 0; i < digits; i++)
		at[i] = DIGITS[n >> (4 * (digits - 1 - i)) & 15];
}

static size_t put_head(char *at, uint64_t sequence, uint32_t len, const char *key, unsigned key_len,
    const struct bench_body *body)
{
	put_hex(at + CRC_DIGITS, sequence, 16);
	put_hex(at + CRC_DIGITS + 16, len, 8);
	put_hex(at + CRC_DIGITS + 24, key_len, 2);
	memcpy(at + HEAD_SIZE, key, key_len);
	uint32_t crc = crc32c(0, at + CRC_DIGITS, HEAD_SIZE - CRC_DIGITS + key_len);
	put_hex(at, crc32c(crc, body->data, body->len), CRC_DIGITS);
	return HEAD_SIZE + key_len;
}

size_t bench_source_encode(
    struct bench_source *s, const struct bench_request *r, char *at, struct bench_body *ret_body)
{
	const struct bench_load *load = s->load;
	memcpy(at, r->kind == BENCH_GET ? "get " : "set ", 4);
	char *key = at + 4;
	unsigned key_len = bench_load_key(load, r, key);
	char *end = key + key_len;
	*ret_body = (struct bench_body){NULL, 0};
	if (r->kind == BENCH_GET) {
		memcpy(end, "\r\n", 2);
		return (size_t)(end + 2 - at);
	}
	memcpy(end, " 0 0 ", 5);
	end += 5;
	end += out_digits(r->value_len, (uint8_t *)end);
	memcpy(end, "\r\n", 2);
	end += 2;
	uint64_t sequence = s->sequence++;
	*ret_body =
	    (struct bench_body){load->pattern + (sequence * 0x9e3779b97f4a7c15ull >> 48), r->value_len};
	uint32_t head = bench_load_head(key_len);
	if (load->verify && r->value_len >= head) {
		ret_body->len -= head;
		end += put_head(end, sequence, r->value_len, key, key_len, ret_body);
	}
	return (size_t)(end - at);
}

bool bench_load_check(
    const struct bench_load *load, const char *key, unsigned key_len, const char *value, uint32_t len)
{
	char want[HEAD_SIZE];
	if (len < bench_load_head(key_len))
		return load->trace != NULL; /* else no value is that short */
	put_hex(want, crc32c(0, value + CRC_DIGITS, len - CRC_DIGITS), CRC_DIGITS);
	put_hex(want + CRC_DIGITS + 16, len, 8);
	put_hex(want + CRC_DIGITS + 24, key_len, 2);
	return memcmp(value, want, CRC_DIGITS) == 0 &&
	       memcmp(value + CRC_DIGITS + 16, want + CRC_DIGITS + 16, 10) == 0 &&
	       memcmp(value + HEAD_SIZE, key, key_len) == 0;
}
