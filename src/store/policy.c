/* SPDX-License-Identifier: BSD-3-Clause */
/* policy: the table of eviction policies. */
#include "store/policy.h"

#include "base/check.h"

/* S3-FIFO (Yang and others, 2023): a use in the small queue earns the main queue (two, as in the paper, miss more on most
 * traces here); in the main queue each use earns one more round, of a large item less. */
static unsigned by_rent(const struct policy_item *it)
{
	if (it->queue == ARENA_SMALL)
		return it->use;
	return it->use < it->rent ? 0 : it->use - it->rent + 1;
}

static unsigned rent_paid(const struct policy_item *it)
{
	return it->queue == ARENA_SMALL || it->use < it->rent ? 0 : it->use - it->rent;
}

/* LRU by second chance: used since it was last looked at, it goes to the front of the queue. */
static unsigned if_used(const struct policy_item *it)
{
	return it->use > 0;
}

static unsigned forgotten(const struct policy_item *it)
{
	(void)it;
	return 0;
}

/* LFU: what was ever used goes only when nothing else does, least used first; more uses than one are forgotten round by
 * round. */
static unsigned by_use(const struct policy_item *it)
{
	return it->use;
}

static unsigned at_least_one(const struct policy_item *it)
{
	return it->use > 1 ? it->use - 1 : it->use;
}

/* What expires soonest goes first, then what expires later, then the rest. */
static unsigned by_time_left(const struct policy_item *it)
{
	return it->left < 600 ? 0 : it->left < 3600 ? 1 : it->left < 86400 ? 2 : 3;
}

static unsigned kept(const struct policy_item *it)
{
	return it->use;
}

static unsigned never(const struct policy_item *it)
{
	(void)it;
	return 0;
}

static unsigned unless_used(const struct policy_item *it)
{
	return it->use == 0;
}

static const struct policy policies[STORE_POLICIES] = {
    [STORE_S3FIFO] = {"s3fifo", true, POLICY_OLDEST, by_rent, rent_paid},
    [STORE_LRU] = {"lru", false, POLICY_OLDEST, if_used, forgotten},
    [STORE_LFU] = {"lfu", false, POLICY_OLDEST, by_use, at_least_one},
    [STORE_TTL] = {"ttl", false, POLICY_SOONEST, by_time_left, kept},
    [STORE_RANDOM] = {"random", false, POLICY_ANY, never, kept},
    [STORE_MRU] = {"mru", false, POLICY_NEWEST, unless_used, kept},
};

const struct policy *policy_get(enum store_policy policy)
{
	CHECK(policy < STORE_POLICIES);
	return &policies[policy];
}
