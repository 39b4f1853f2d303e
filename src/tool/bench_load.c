/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_load: see bench_load.h. */
#include <stdlib.h>
#include <string.h>
#include "base/check.h"
#include "tool/bench_load.h"

/* Spreads ranks over the keys, so that the most wanted are not those that were stored first. A prime above
 * the largest number of keys, so that no two ranks meet. */
#define SPREAD 4294967291ull

bool bench_load_init(struct bench_load *load)
{
	load->pattern = bench_value_pattern(load->seed, bench_load_largest(load), load->json);
	if (!load->pattern)
		return false;
	if (load->zipf > 0)
		bench_zipf_init(&load->ranks, load->keys, load->zipf);
	return true;
}

void bench_load_free(struct bench_load *load)
{
	free(load->pattern);
	load->pattern = NULL;
}

void bench_load_start(
    struct bench_load *load, enum bench_phase phase, uint64_t first, uint64_t stock, uint64_t now)
{
	load->phase = phase;
	load->first = first;
	load->stock = stock;
	load->begun = now;
	atomic_store(&load->claimed, first);
}

uint32_t bench_load_largest(const struct bench_load *load)
{
	uint64_t n = load->trace ? load->trace->size_max : load->value_sizes.max;
	if (load->overwrite_percent > 0)
		n += n / 2 + 1;
	return n < RECORD_VALUE_MAX ? (uint32_t)n : RECORD_VALUE_MAX;
}

uint32_t bench_load_smallest(const struct bench_load *load)
{
	return load->trace                   ? 0
	       : load->overwrite_percent > 0 ? load->value_sizes.min / 2
	                                     : load->value_sizes.min;
}

void bench_source_init(struct bench_source *s, const struct bench_load *load, unsigned thread)
{
	*s = (struct bench_source){.load = load, .sequence = (uint64_t)thread << 48};
}

/* The number before which requests may be claimed now. */
static uint64_t limit_at(const struct bench_load *load, uint64_t now)
{
	if (!bench_load_paced(load))
		return load->stock;
	double due = now < load->begun ? 0 : (double)(now - load->begun) / load->interval + 1;
	return due < (double)(load->stock - load->first) ? load->first + (uint64_t)due : load->stock;
}

unsigned bench_source_claim(struct bench_source *s, struct bench_load *load, unsigned n, uint64_t now)
{
	uint64_t limit = limit_at(load, now), take;
	uint64_t first = atomic_load_explicit(&load->claimed, memory_order_relaxed);
	do {
		if (first >= limit)
			return 0;
		take = limit - first < n ? limit - first : n;
	} while (!atomic_compare_exchange_weak_explicit(
	    &load->claimed, &first, first + take, memory_order_relaxed, memory_order_relaxed));
	s->next = first;
	s->end = first + take;
	return (unsigned)take;
}

uint64_t bench_load_next_due(const struct bench_load *load)
{
	uint64_t next = atomic_load_explicit(&load->claimed, memory_order_relaxed);
	if (next >= load->stock || !bench_load_paced(load))
		return UINT64_MAX;
	return bench_load_due(load, next) + 1;
}

static uint32_t value_length(const struct bench_load *load, uint64_t number, uint64_t key)
{
	struct bench_random r =
	    bench_draw(load->seed, load->sizes_by_key ? key : number, BENCH_DRAW_VALUE_SIZE);
	return bench_sizes_draw(&load->value_sizes, &r);
}

struct bench_request bench_source_next(struct bench_source *s)
{
	const struct bench_load *load = s->load;
	CHECK(s->next < s->end);
	uint64_t n = s->next++;
	if (load->phase == BENCH_TRACE) {
		uint64_t line = n % load->trace->n;
		return (struct bench_request){n, line, load->trace->requests[line].size, BENCH_GET, false};
	}
	if (load->phase == BENCH_FILL)
		return (struct bench_request){n, n, value_length(load, n, n), BENCH_SET, false};
	struct bench_random random = bench_draw(load->seed, n, BENCH_DRAW_REQUEST);
	uint64_t key;
	if (load->zipf > 0)
		key = bench_zipf_next(&load->ranks, &random) * SPREAD % load->keys;
	else
		key = bench_random_below(&random, load->keys);
	bool get = load->get_percent == 100 || bench_random_below(&random, 100) < load->get_percent;
	return (struct bench_request){n, key, value_length(load, n, key), get ? BENCH_GET : BENCH_SET, false};
}

bool bench_load_overwrites(const struct bench_load *load, struct bench_request *r)
{
	if (!bench_draw_percent(load->seed, r->number, BENCH_DRAW_OVERWRITE, load->overwrite_percent))
		return false;
	uint64_t other = bench_draw_other_size(load->seed, r->number, r->value_len);
	r->kind = BENCH_SET;
	r->follows = true;
	r->value_len = other < RECORD_VALUE_MAX ? (uint32_t)other : RECORD_VALUE_MAX;
	return true;
}

uint32_t bench_load_ttl(const struct bench_load *load, const struct bench_request *r)
{
	bool expires = bench_draw_percent(load->seed, r->number, BENCH_DRAW_EXPIRES, load->ttl_percent);
	return expires ? bench_draw_ttl(load->seed, r->number) : 0;
}

unsigned bench_load_key(const struct bench_load *load, const struct bench_request *r, char *at)
{
	if (load->trace) {
		const struct bench_trace_request *t = &load->trace->requests[r->key];
		memcpy(at, bench_trace_key(load->trace, t), t->key_len);
		return t->key_len;
	}
	/* "k000...": zeros, then the number. */
	struct bench_random random = bench_draw(load->seed, r->key, BENCH_DRAW_KEY_SIZE);
	unsigned len = bench_sizes_draw(&load->key_sizes, &random);
	memset(at, '0', len);
	at[0] = 'k';
	uint64_t n = r->key;
	for (unsigned i = len - 1; n > 0; i--, n /= 10)
		at[i] = (char)('0' + n % 10);
	return len;
}

bool bench_load_check(
    const struct bench_load *load, const char *key, unsigned key_len, const char *value, uint32_t len)
{
	/* Of traces alone there are values too short to say whose they are. */
	if (load->trace && len < bench_value_head(key_len))
		return true;
	return bench_value_check(key, key_len, value, len);
}
