/* SPDX-License-Identifier: BSD-3-Clause */
/* scan: one resumable walk over all items there were when it began, region by region, coldest first. Items
 * written later lie behind each region's scan_limit and are not visited; whatever moves or removes an item of
 * a region that is still to be read hands the region to scan_region first. */
#include "store/ahead.h"

#include <stdlib.h>

/* Value bytes after which a step ends, so that what was visited can be written before more comes. */
#define STEP_BYTES (16u << 10)

/* The item's fields, read under its shard's lock. False when it is not live. */
static bool read_live(struct store *s, uint32_t shard, uint64_t hash, struct item *it,
    struct store_scan_item *ret, struct store_large **ret_large)
{
	struct index_cursor c = index_find_place(&s->index, shard, index_tag(hash), store_place(s, it));
	if (!c.slot || store_flushed(s, it))
		return false;
	struct item_spec spec;
	item_read(it, &spec);
	*ret = (struct store_scan_item){
	    .key = spec.key,
	    .key_len = spec.key_len,
	    .value = store_value_of(it, &spec),
	    .value_len = spec.value_len,
	    .seq = spec.seq,
	    .cas = spec.cas,
	    .expiry = spec.expiry,
	    .access = spec.access,
	    .flags = spec.flags,
	    .dict = spec.dict,
	    .state = spec.state,
	    .use = (uint8_t)slot_use(*c.slot),
	    .main_queue = store_queue(s, it) == ARENA_MAIN,
	};
	*ret_large = spec.large ? large_ref(spec.large) : NULL;
	return true;
}

static bool visit_item(struct store *s, uint64_t hash, struct item *it)
{
	struct store_scan *scan = &s->scan;
	struct store_scan_item item;
	struct store_large *large = NULL;
	bool ok = true;
	uint32_t shard = index_shard_of(&s->index, hash);
	pthread_mutex_lock(&s->index.shard[shard].lock);
	bool live = read_live(s, shard, hash, it, &item, &large);
	bool small = live && item.value_len <= STORE_COPY_MAX;
	if (small)
		ok = scan->visit(scan->arg, &item);
	pthread_mutex_unlock(&s->index.shard[shard].lock);
	/* Larger values never change, and nothing of this region is given away before the scan has read it.
	 */
	if (live && !small)
		ok = scan->visit(scan->arg, &item);
	if (live)
		scan->visited += item.value_len;
	if (large)
		large_unref(&large);
	return ok;
}

/* From the region's offset on to its end, or until so many value bytes were visited. scan->lock is held. */
static void visit_region(struct store *s, uint32_t r, uint32_t *offset, uint64_t budget)
{
	struct store_scan *scan = &s->scan;
	struct region *reg = &s->arena.region[r];
	uint8_t *base = arena_region_base(&s->arena, r);
	uint32_t at = *offset;
	scan->visited = 0;
	while (at < reg->scan_limit && !scan->failed && scan->visited < budget) {
		struct ahead ahead;
		ahead_read(s, base, &at, reg->scan_limit, &ahead);
		for (unsigned i = 0; i < ahead.n && !scan->failed; i++)
			scan->failed = !visit_item(s, ahead.hash[i], ahead.item[i]);
	}
	*offset = at;
	if (at >= reg->scan_limit)
		reg->scan_pending = false;
}

void scan_region(struct store *s, uint32_t r)
{
	pthread_mutex_lock(&s->scan.lock);
	struct store_scan *scan = &s->scan;
	if (scan->active && s->arena.region[r].scan_pending) {
		/* The step may be in the middle of it. */
		uint32_t offset = scan->at < scan->n && scan->order[scan->at] == r ? scan->offset : 0;
		visit_region(s, r, &offset, UINT64_MAX);
	}
	pthread_mutex_unlock(&s->scan.lock);
}

void scan_item(struct store *s, const struct store_key *key, uint64_t place)
{
	struct store_scan *scan = &s->scan;
	struct item *it = store_item(s, place);
	pthread_mutex_lock(&scan->lock);
	const struct region *reg = store_region(s, it);
	if (scan->active && !scan->failed && reg->scan_pending)
		scan->failed = !visit_item(s, key->hash, it);
	pthread_mutex_unlock(&scan->lock);
}

static void add(struct store_scan *scan, struct arena *a, uint32_t r)
{
	struct region *reg = &a->region[r];
	reg->scan_pending = true;
	reg->scan_limit = reg->fill;
	scan->order[scan->n++] = r;
}

void store_scan_begin(struct store_thread *t, store_visit *visit, void *arg)
{
	struct store *s = t->store;
	struct store_scan *scan = &s->scan;
	/* No reclaim while the regions are listed, and each lane between two items: every item is then either
	 * whole below a limit or numbered after the scan's start. */
	pthread_mutex_lock(&s->reclaim_lock);
	for (unsigned i = 0; i < s->n_lanes; i++)
		pthread_mutex_lock(&s->lanes[i].lock);
	pthread_mutex_lock(&scan->lock);
	CHECK(!scan->active);
	scan->active = true;
	scan->failed = false;
	scan->visit = visit;
	scan->arg = arg;
	scan->n = scan->at = scan->offset = 0;
	pthread_mutex_lock(&s->arena.lock);
	for (uint32_t r = 0; r < s->arena.regions; r++)
		s->arena.region[r].scan_pending = false;
	for (int q = ARENA_QUEUES; q-- > 0;)
		for (uint32_t r = s->arena.head[q]; r != ARENA_NONE; r = s->arena.region[r].next)
			add(scan, &s->arena, r);
	for (unsigned i = 0; i < store_lanes(s); i++) {
		const struct lane *lane = store_lane(s, i);
		for (int q = ARENA_QUEUES; q-- > 0;) {
			if (lane->rest[q] != ARENA_NONE)
				add(scan, &s->arena, lane->rest[q]);
			if (lane->open[q] != ARENA_NONE)
				add(scan, &s->arena, lane->open[q]);
		}
	}
	pthread_mutex_unlock(&s->arena.lock);
	pthread_mutex_unlock(&scan->lock);
	for (unsigned i = s->n_lanes; i-- > 0;)
		pthread_mutex_unlock(&s->lanes[i].lock);
	pthread_mutex_unlock(&s->reclaim_lock);
}

int store_scan_step(struct store_thread *t)
{
	struct store *s = t->store;
	struct store_scan *scan = &s->scan;
	pthread_mutex_lock(&scan->lock);
	CHECK(scan->active);
	while (scan->at < scan->n && !s->arena.region[scan->order[scan->at]].scan_pending) {
		scan->at++;
		scan->offset = 0;
	}
	bool more = scan->at < scan->n;
	if (more && !scan->failed)
		visit_region(s, scan->order[scan->at], &scan->offset, STEP_BYTES);
	int result = scan->failed ? -1 : more;
	pthread_mutex_unlock(&scan->lock);
	return result;
}

void store_scan_end(struct store_thread *t)
{
	pthread_mutex_lock(&t->store->scan.lock);
	t->store->scan.active = false;
	pthread_mutex_unlock(&t->store->scan.lock);
}

void store_scan_lock(struct store *s)
{
	pthread_mutex_lock(&s->scan.lock);
}

void store_scan_unlock(struct store *s)
{
	pthread_mutex_unlock(&s->scan.lock);
}
