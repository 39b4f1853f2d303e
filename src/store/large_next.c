/* SPDX-License-Identifier: BSD-3-Clause */
/* large_next: see large_next.h. The queues are in order of age and of nothing else, so by the other orders a few values are
 * taken from the old end and go to the young one, for others to be looked at the next time. */
#include "store/large_next.h"

/* The one that expires soonest is the soonest of so many: of all, where there are no more. */
#define SOONEST_OF 64u
/* Any one is behind fewer than so many that are passed by: each time round the queue one in eight goes. */
#define ANY_OF 16u

struct owner {
	const struct store *store;
	const struct store_large *large;
};

static bool owns(const void *arg, uint64_t place)
{
	const struct owner *o = arg;
	return item_large(store_item(o->store, place)) == o->large;
}

struct index_cursor large_find(
    const struct store *s, uint32_t shard, uint64_t hash, const struct store_large *large)
{
	struct owner owner = {s, large};
	return index_find(&s->index, shard, index_tag(hash), owns, &owner);
}

/* What has been unlinked since counts as expired: it is in nobody's way. */
static int64_t expiry_of(struct store *s, uint64_t hash, const struct store_large *large)
{
	uint32_t shard = index_shard_of(&s->index, hash);
	pthread_mutex_lock(&s->index.shard[shard].lock);
	struct index_cursor c = large_find(s, shard, hash, large);
	int64_t expiry = c.slot ? item_expiry(store_item(s, slot_place(*c.slot))) : 1;
	pthread_mutex_unlock(&s->index.shard[shard].lock);
	return expiry ? expiry : INT64_MAX;
}

static struct large_next soonest(struct store *s, enum arena_queue queue)
{
	struct large_next best = {NULL, 0, UINT64_MAX, INT64_MAX}, next;
	const struct store_large *first = NULL;
	for (unsigned i = 0; i < SOONEST_OF; i++) {
		next.large = large_pass(&s->large, queue, &next.hash, &next.born);
		if (!next.large || next.large == first) {
			if (next.large)
				large_unref(&next.large);
			break;
		}
		first = first ? first : next.large;
		next.expiry = expiry_of(s, next.hash, next.large);
		bool sooner =
		    next.expiry < best.expiry || (next.expiry == best.expiry && next.born < best.born);
		struct store_large *other = sooner ? best.large : next.large;
		best = sooner ? next : best;
		if (other)
			large_unref(&other);
	}
	return best;
}

static struct large_next any(struct store *s, enum arena_queue queue, uint64_t n)
{
	struct large_next next = {.expiry = INT64_MAX};
	for (uint64_t i = n % ANY_OF + 1; i > 0; i--) {
		if (next.large)
			large_unref(&next.large);
		next.large = large_pass(&s->large, queue, &next.hash, &next.born);
	}
	return next;
}

struct large_next large_next(struct store *s, enum arena_queue queue, uint64_t n)
{
	struct large_next next = {.expiry = INT64_MAX};
	switch (s->policy->order) {
	case POLICY_SOONEST:
		return soonest(s, queue);
	case POLICY_ANY:
		return any(s, queue, n);
	case POLICY_OLDEST:
		next.large = large_oldest(&s->large, queue, &next.hash, &next.born);
		break;
	case POLICY_NEWEST:
		next.large = large_newest(&s->large, queue, &next.hash, &next.born);
		break;
	}
	return next;
}
