/* SPDX-License-Identifier: BSD-3-Clause */
/* ghost: see ghost.h. */
#include "store/ghost.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include "store/arena.h"

/* Lines a shard: 0.9 prints an item, six items a bucket, 16 prints a line. */
static uint32_t lines_for(uint32_t buckets)
{
	return (uint32_t)((uint64_t)buckets * INDEX_LOAD * 9 / (10 * GHOST_PRINTS)) + 1;
}

static uint32_t *line_at(const struct ghost *g, uint32_t shard, uint32_t line)
{
	return (uint32_t *)(void *)(g->base + (((size_t)line << g->shard_bits) + shard) * 64);
}

/* Bits that neither shard nor bucket uses up; never 0, which is an empty place. */
static uint32_t print_of(uint64_t hash)
{
	uint32_t p = (uint32_t)(hash >> 8);
	return p ? p : 1;
}

static uint32_t line_of(uint32_t print, uint32_t lines)
{
	return (uint32_t)((uint64_t)print * lines >> 32);
}

static size_t size_for(const struct index *ix, uint32_t buckets)
{
	return ((size_t)lines_for(buckets) << ix->shard_bits) * 64;
}

/* For as many buckets as there can be: the lines follow them. */
int ghost_init(struct ghost *g, const struct index *ix)
{
	*g = (struct ghost){.shard_bits = ix->shard_bits};
	g->size = size_for(ix, ix->buckets_max);
	void *base =
	    mmap(NULL, g->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (base == MAP_FAILED)
		return -1;
	arena_advise(base, size_for(ix, ix->buckets_foreseen));
	g->base = base;
	return 0;
}

void ghost_fini(struct ghost *g)
{
	if (g->base)
		munmap(g->base, g->size);
	*g = (struct ghost){0};
}

static void push(uint32_t *line, uint32_t print)
{
	memmove(line + 1, line, (GHOST_PRINTS - 1) * sizeof(*line));
	line[0] = print;
}

/* The place of a print keeps the order of prints, so spreading the lines from the last to the first never
 * overwrites one that is still to be read. */
static void resize(struct ghost *g, struct index_shard *sh, uint32_t shard, uint32_t lines)
{
	uint32_t old = sh->ghosts;
	for (uint32_t i = old; i < lines; i++)
		memset(line_at(g, shard, i), 0, 64);
	for (uint32_t i = old; i-- > 0;) {
		uint32_t prints[GHOST_PRINTS];
		memcpy(prints, line_at(g, shard, i), sizeof(prints));
		memset(line_at(g, shard, i), 0, 64);
		for (unsigned k = GHOST_PRINTS; k-- > 0;)
			if (prints[k])
				push(line_at(g, shard, line_of(prints[k], lines)), prints[k]);
	}
	sh->ghosts = lines;
	atomic_fetch_add_explicit(&g->bytes, (uint64_t)(lines - old) * 64, memory_order_relaxed);
}

void ghost_add(struct ghost *g, struct index *ix, uint32_t shard, uint64_t hash)
{
	struct index_shard *sh = &ix->shard[shard];
	uint32_t lines = lines_for(sh->buckets), print = print_of(hash);
	if (sh->ghosts < lines)
		resize(g, sh, shard, lines);
	push(line_at(g, shard, line_of(print, sh->ghosts)), print);
}

bool ghost_take(struct ghost *g, struct index *ix, uint32_t shard, uint64_t hash)
{
	const struct index_shard *sh = &ix->shard[shard];
	if (sh->ghosts == 0)
		return false;
	uint32_t print = print_of(hash), *line = line_at(g, shard, line_of(print, sh->ghosts));
	for (unsigned i = 0; i < GHOST_PRINTS; i++) {
		if (line[i] != print)
			continue;
		memmove(line + i, line + i + 1, (GHOST_PRINTS - 1 - i) * sizeof(*line));
		line[GHOST_PRINTS - 1] = 0;
		return true;
	}
	return false;
}

/* The prints that line `i` of fewer lines is to have, newest first: the lines that it is made of are read side by side, as
 * they are of one age. */
static void gather(
    const struct ghost *g, uint32_t shard, uint32_t i, uint32_t lines, uint32_t old, uint32_t *ret_prints)
{
	uint32_t first = (uint32_t)((uint64_t)i * old / lines), n = 0;
	uint64_t end = (uint64_t)(i + 1) * old;
	memset(ret_prints, 0, GHOST_PRINTS * sizeof(*ret_prints));
	for (unsigned k = 0; k < GHOST_PRINTS; k++) {
		for (uint32_t from = first; (uint64_t)from * lines < end && n < GHOST_PRINTS; from++) {
			uint32_t print = line_at(g, shard, from)[k];
			if (print && line_of(print, lines) == i)
				ret_prints[n++] = print;
		}
	}
}

/* What a line is made of lies at its own place or behind it, so the lines before it can be written already. */
void ghost_shrink(struct ghost *g, struct index *ix, uint32_t shard)
{
	struct index_shard *sh = &ix->shard[shard];
	uint32_t old = sh->ghosts, lines = lines_for(sh->buckets);
	if (old <= lines)
		return;
	for (uint32_t i = 0; i < lines; i++) {
		uint32_t prints[GHOST_PRINTS];
		gather(g, shard, i, lines, old, prints);
		memcpy(line_at(g, shard, i), prints, sizeof(prints));
	}
	sh->ghosts = lines;
	g->kept += (uint64_t)(old - lines) * 64;
}

void ghost_release(struct ghost *g, const struct index *ix)
{
	uint32_t most = 0;
	for (uint32_t s = 0; s < index_shards(ix); s++)
		if (ix->shard[s].ghosts > most)
			most = ix->shard[s].ghosts;
	size_t used = (((size_t)most << g->shard_bits) * 64 + 4095) & ~(size_t)4095;
	if (used < g->size)
		madvise(g->base + used, g->size - used, MADV_DONTNEED);
	atomic_fetch_sub_explicit(&g->bytes, g->kept, memory_order_relaxed);
	g->kept = 0;
}
