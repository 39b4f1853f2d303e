/* SPDX-License-Identifier: BSD-3-Clause */
/* policy: the table of eviction policies. */
#include "store/policy.h"

#include "base/check.h"

/* S3-FIFO: a use in the small queue earns the main queue (two, as in its paper, miss more on most traces here); in the
 * main queue each use earns one more round. */
static unsigned s3fifo_rank(enum arena_queue queue, unsigned use)
{
	(void)queue;
	return use;
}

static unsigned s3fifo_forward(enum arena_queue queue, unsigned use)
{
	return queue == ARENA_SMALL || use == 0 ? 0 : use - 1;
}

/* LRU by second chance: used since it was last looked at, it goes to the front of the queue. */
static unsigned lru_rank(enum arena_queue queue, unsigned use)
{
	(void)queue;
	return use > 0;
}

static unsigned lru_forward(enum arena_queue queue, unsigned use)
{
	(void)queue;
	(void)use;
	return 0;
}

static const struct policy policies[STORE_POLICIES] = {
    [STORE_S3FIFO] = {"s3fifo", true, s3fifo_rank, s3fifo_forward},
    [STORE_LRU] = {"lru", false, lru_rank, lru_forward},
};

const struct policy *policy_get(enum store_policy policy)
{
	CHECK(policy < STORE_POLICIES);
	return &policies[policy];
}
