/* SPDX-License-Identifier: BSD-3-Clause */
/* rate: see rate.h. */
#include "persist/rate.h"

int64_t rate_take(struct rate *r, uint64_t bytes, int64_t now_us)
{
	if (r->per_second == 0)
		return 0;
	int64_t passed = now_us - r->last_us;
	r->last_us = now_us;
	/* Time that nothing was moved in is not saved up. */
	r->debt_us = r->debt_us > passed ? r->debt_us - passed : 0;
	r->debt_us += (int64_t)((double)bytes * 1e6 / (double)r->per_second);
	return r->debt_us > RATE_BURST_US ? r->debt_us - RATE_BURST_US : 0;
}

void rate_forgive(struct rate *r)
{
	r->debt_us = 0;
}
