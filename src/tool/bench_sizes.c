/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_sizes: see bench_sizes.h. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "tool/bench_sizes.h"

#define LOGNORMAL "lognormal="
#define SIGMA_MAX 10.0

/* A whole number in [min, max] at *at, which is moved behind it. */
static bool whole(const char **at, uint32_t min, uint32_t max, uint32_t *ret)
{
	const char *p = *at;
	uint64_t n = 0;
	for (; *p >= '0' && *p <= '9' && n <= max; p++)
		n = n * 10 + (uint64_t)(*p - '0');
	bool ok = p > *at && n >= min && n <= max;
	*at = p;
	*ret = (uint32_t)n;
	return ok;
}

bool bench_sizes_parse_range(struct bench_sizes *s, const char *text, uint32_t min, uint32_t max)
{
	s->lognormal = false;
	if (!whole(&text, min, max, &s->min))
		return false;
	s->max = s->min;
	if (*text == '-') {
		text++;
		if (!whole(&text, s->min, max, &s->max))
			return false;
	}
	return *text == '\0';
}

/* The normal distribution's value below which a share lies, by halving. */
static double normal_quantile(double share)
{
	double low = -10, high = 10;
	for (unsigned i = 0; i < 60; i++) {
		double middle = (low + high) / 2;
		if (0.5 * erfc(-middle / sqrt(2)) < share)
			low = middle;
		else
			high = middle;
	}
	return low;
}

static void fill_quantiles(struct bench_sizes *s, double median, double sigma)
{
	for (unsigned i = 0; i < BENCH_SIZES_QUANTILES; i++) {
		double size = median * exp(sigma * normal_quantile((i + 0.5) / BENCH_SIZES_QUANTILES));
		s->quantiles[i] = size < s->min ? s->min : size > s->max ? s->max : (uint32_t)(size + 0.5);
	}
	s->min = s->quantiles[0];
	s->max = s->quantiles[BENCH_SIZES_QUANTILES - 1];
}

bool bench_sizes_parse(struct bench_sizes *s, const char *text, uint32_t min, uint32_t max)
{
	if (strncmp(text, LOGNORMAL, strlen(LOGNORMAL)) != 0)
		return bench_sizes_parse_range(s, text, min, max);
	text += strlen(LOGNORMAL);
	uint32_t median;
	double sigma = 1;
	struct bench_sizes within = {.min = min > 0 ? min : 1, .max = max};
	if (!whole(&text, within.min, max, &median))
		return false;
	if (*text == ':') {
		char *end;
		sigma = text[1] >= '0' && text[1] <= '9' ? strtod(text + 1, &end) : -1;
		if (!(sigma >= 0 && sigma <= SIGMA_MAX))
			return false;
		text = end;
		if (*text == ':' && !bench_sizes_parse_range(&within, text + 1, within.min, max))
			return false;
		text = *text == ':' ? "" : text;
	}
	if (*text != '\0')
		return false;
	s->lognormal = true;
	s->min = within.min;
	s->max = within.max;
	fill_quantiles(s, median, sigma);
	return true;
}
