/* SPDX-License-Identifier: BSD-3-Clause */
/* shrink: the index and the ghosts follow the number of items downwards. They grow with the items; when those become larger
 * and fewer, the memory of both would be lost to them: a fifth of it after the smallest items. The evictor looks at a few
 * shards at a time while memory is short; what they no longer need goes back to the system, and so to the regions, once all
 * have been seen. */
#include "store/private.h"

#define SHARDS_A_STEP 16u
/* With this part of the regions to spare, nothing is missed that the index has. */
#define PLENTY 8u

static void shrink_shard(struct store_thread *t, uint32_t shard)
{
	struct store *s = t->store;
	struct index_shard *sh = &s->index.shard[shard];
	if (!index_too_large(&s->index, shard) ||
	    !store_scratch(t, index_scratch_size(__atomic_load_n(&sh->buckets, __ATOMIC_RELAXED))))
		return;
	pthread_mutex_lock(&sh->lock);
	if (index_too_large(&s->index, shard) && index_scratch_size(sh->buckets) <= t->scratch_size) {
		index_shrink(&s->index, shard, t->scratch);
		ghost_shrink(&s->ghost, &s->index, shard);
	}
	pthread_mutex_unlock(&sh->lock);
}

void shrink_step(struct store_thread *t)
{
	struct store *s = t->store;
	if (arena_available(&s->arena) > atomic_load_explicit(&s->arena.limit, memory_order_relaxed) / PLENTY)
		return;
	for (unsigned i = 0; i < SHARDS_A_STEP && s->shrink_at < index_shards(&s->index); i++)
		shrink_shard(t, s->shrink_at++);
	if (s->shrink_at < index_shards(&s->index))
		return;
	s->shrink_at = 0;
	if (s->index.kept == 0)
		return;
	pthread_rwlock_wrlock(&s->index.growing);
	index_release(&s->index);
	pthread_rwlock_unlock(&s->index.growing);
	/* Only reclaim makes ghosts. */
	ghost_release(&s->ghost, &s->index);
	store_set_limit(s);
}
