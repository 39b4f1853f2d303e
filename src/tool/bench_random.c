/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_random: see bench_random.h. With h(x) = x^-s, integral() is an antiderivative H of h and inverse()
 * its inverse. A number drawn evenly between H(1.5) - h(1) and H(n + 0.5) is carried back to x; the nearest
 * rank k is taken when it lies under the bar of k, which has the width 1 and the height h(k). */
#include <math.h>
#include "tool/bench_random.h"

static double integral(double x, double s)
{
	return s == 1 ? log(x) : expm1((1 - s) * log(x)) / (1 - s);
}

static double inverse(double u, double s)
{
	if (s == 1)
		return exp(u);
	double t = u * (1 - s);
	/* Rounding may take it to the pole, whose rank is then clamped. */
	return exp(log1p(t < -1 ? -1 : t) / (1 - s));
}

static double height(double x, double s)
{
	return exp(-s * log(x));
}

void bench_zipf_init(struct bench_zipf *z, uint64_t n, double s)
{
	z->n = n;
	z->s = s;
	z->low = integral(1.5, s) - 1;
	z->high = integral((double)n + 0.5, s);
	z->sure = 2 - inverse(integral(2.5, s) - height(2, s), s);
}

uint64_t bench_zipf_next(const struct bench_zipf *z, struct bench_random *r)
{
	for (;;) {
		double even = (double)(bench_random_next(r) >> 11) * 0x1p-53;
		double u = z->high + even * (z->low - z->high);
		double x = inverse(u, z->s);
		double k = floor(x + 0.5);
		if (k < 1)
			k = 1;
		else if (k > (double)z->n)
			k = (double)z->n;
		if (k - x <= z->sure || u >= integral(k + 0.5, z->s) - height(k, z->s))
			return (uint64_t)k - 1;
	}
}
