/* SPDX-License-Identifier: BSD-3-Clause */
/* replay: the store alone against a trace, read-through, beside exact LRU and Belady's rule on the same bytes. No
 * network, no log: for work on eviction. The peers, through their protocol, are in t/bench/hits.
 *
 *   replay [-m MIB] [-e POLICY] [-o PERCENT] [-t PERCENT] [-n REQUESTS] [-s] [-v] TRACE SHARE...
 *
 * SHARE is the part of the trace's footprint (key and value bytes of its distinct keys) that the memory holds: value
 * sizes are multiplied until it is so. -o: so many percent of the hits overwrite the value, by half to one and a half
 * times its size; -t: so many percent of what is stored expires, in a minute to a day of the trace's time.
 * -n: the first so many requests. -s: the store alone. -v: what is in it at the end.
 * A line a share: the share, what the sizes were multiplied by, the miss ratios of store, LRU and Belady. LRU and Belady
 * count key and value alone, and know nothing of expiry but what they would be told by a miss. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "store/policy.h"
#include "store/store.h"
#include "tool/bench_draw.h"
#include "tool/bench_trace.h"

#define NONE UINT32_MAX
#define MIB  (1u << 20)
#define SEED 1

/* The trace with keys as numbers. */
struct stream {
	struct bench_trace trace;
	uint32_t n, keys;
	uint32_t *key;  /* of each request */
	uint32_t *next; /* the next request for the same key, NONE */
	uint64_t footprint_keys, footprint_values;
};

static struct stream stream;

static int by_key(const void *a, const void *b)
{
	const struct bench_trace *t = &stream.trace;
	uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;
	const struct bench_trace_request *x = &t->requests[i], *y = &t->requests[j];
	if (x->key_len != y->key_len)
		return x->key_len < y->key_len ? -1 : 1;
	int d = memcmp(bench_trace_key(t, x), bench_trace_key(t, y), x->key_len);
	return d ? d : i < j ? -1 : i > j;
}

static void *must(void *p)
{
	if (!p) {
		fputs("replay: memory is short\n", stderr);
		exit(1);
	}
	return p;
}

static void load(const char *path, uint32_t most)
{
	struct stream *s = &stream;
	if (!bench_trace_load(&s->trace, path))
		exit(1);
	s->n = s->trace.n < most ? (uint32_t)s->trace.n : most;
	uint32_t *order = must(malloc(s->n * sizeof *order));
	s->key = must(malloc(s->n * sizeof *s->key));
	s->next = must(malloc(s->n * sizeof *s->next));
	for (uint32_t i = 0; i < s->n; i++)
		order[i] = i;
	qsort(order, s->n, sizeof *order, by_key);
	for (uint32_t i = 0; i < s->n; i++) {
		const struct bench_trace_request *r = &s->trace.requests[order[i]];
		const struct bench_trace_request *before = i ? &s->trace.requests[order[i - 1]] : NULL;
		bool same = before && before->key_len == r->key_len &&
		            memcmp(bench_trace_key(&s->trace, before), bench_trace_key(&s->trace, r),
		                r->key_len) == 0;
		if (same) {
			s->next[order[i - 1]] = order[i];
		} else {
			s->keys++;
			s->footprint_keys += r->key_len;
			s->footprint_values += r->size;
		}
		s->key[order[i]] = s->keys - 1;
		s->next[order[i]] = NONE;
	}
	free(order);
}

struct mix {
	unsigned overwrite, expire; /* percent */
	double scale;
	uint64_t memory;
};

static uint32_t scaled(const struct mix *m, uint32_t i)
{
	double size = stream.trace.requests[i].size * m->scale;
	return size < 1 ? 1 : (uint32_t)size;
}

/* The same decisions for every model, and those of hearth bench with its default seed: they hang on the request alone. */
static bool overwrites(const struct mix *m, uint32_t i)
{
	return bench_draw_percent(SEED, i, BENCH_DRAW_OVERWRITE, m->overwrite);
}

static uint32_t rewritten(const struct mix *m, uint32_t i)
{
	return (uint32_t)bench_draw_other_size(SEED, i, scaled(m, i));
}

/* ---- the store ---- */

static bool nothing(void *arg, const struct store_view *view)
{
	(void)arg;
	if (store_pinned(&view->pin))
		store_unpin(*(struct store **)arg, &(struct store_pin){view->pin.large, view->pin.region});
	return true;
}

static uint8_t *bytes;
static bool show, alone; /* -v, -s */

static void put(
    struct store *s, struct store_thread *t, const struct store_key *key, uint32_t size, int64_t expiry)
{
	struct store_outcome out;
	struct store_put p = {.mode = STORE_SET, .expiry = expiry, .value = bytes, .value_len = size};
	if (store_wants_large(s, key, size)) {
		p.large = store_large_make(t, size);
		if (!p.large)
			return;
		p.value = NULL;
	}
	store_put(t, key, &p, SIZE_MAX, &out);
}

static double run_store(const struct mix *m, enum store_policy policy)
{
	struct store_options o = {
	    .memory = m->memory, .item_max = m->memory / 2, .policy = policy, .threads = 1};
	struct store *s = must(store_open(&o));
	struct store_thread *t = must(store_thread_open(s, NULL));
	uint64_t misses = 0;
	int64_t now = clock_wall_ms() / 1000;
	for (uint32_t i = 0; i < stream.n; i++) {
		const struct bench_trace_request *r = &stream.trace.requests[i];
		struct store_outcome out;
		struct store_key key = store_key(s, bench_trace_key(&stream.trace, r), r->key_len);
		bool expires = bench_draw_percent(SEED, i, BENCH_DRAW_EXPIRES, m->expire);
		int64_t expiry = expires ? now + bench_draw_ttl(SEED, i) : 0;
		store_thread_set_now(t, now);
		if (store_get(t, &key, nothing, &s, &out) != STORE_OK) {
			misses++;
			put(s, t, &key, scaled(m, i), expiry);
		} else if (overwrites(m, i)) {
			put(s, t, &key, rewritten(m, i), expiry);
		}
		store_maintain(t);
	}
	if (show) {
		struct store_stats st;
		store_get_stats(s, &st);
		fprintf(stderr,
		    "%llu items of %llu bytes in %llu of %llu: large %llu, index %llu, ghosts %llu, %llu of "
		    "%llu "
		    "regions of %llu free; %llu reclaims, %llu cleans\n",
		    (unsigned long long)st.items, (unsigned long long)st.bytes,
		    (unsigned long long)st.memory_used, (unsigned long long)st.memory,
		    (unsigned long long)st.large_bytes, (unsigned long long)st.index_bytes,
		    (unsigned long long)st.ghost_bytes, (unsigned long long)st.regions_free,
		    (unsigned long long)st.regions, (unsigned long long)st.region_size,
		    (unsigned long long)st.reclaims, (unsigned long long)st.cleans);
	}
	store_thread_close(&t);
	store_close(&s);
	return (double)misses / stream.n;
}

/* ---- exact LRU ---- */

struct node {
	uint32_t prev, next, size; /* size 0 = not there */
};

static void unlink_node(struct node *n, uint32_t at)
{
	n[n[at].prev].next = n[at].next;
	n[n[at].next].prev = n[at].prev;
}

static void push_front(struct node *n, uint32_t head, uint32_t at)
{
	n[at].next = n[head].next;
	n[at].prev = head;
	n[n[head].next].prev = at;
	n[head].next = at;
}

static double run_lru(const struct mix *m)
{
	uint32_t head = stream.keys;
	struct node *n = must(calloc(stream.keys + 1, sizeof *n));
	uint64_t used = 0, misses = 0;
	n[head].next = n[head].prev = head;
	for (uint32_t i = 0; i < stream.n; i++) {
		uint32_t at = stream.key[i], size = scaled(m, i);
		bool hit = n[at].size > 0;
		if (hit)
			unlink_node(n, at);
		else
			misses++;
		if (hit && overwrites(m, i))
			size = rewritten(m, i);
		else if (hit)
			size = n[at].size - stream.trace.requests[i].key_len;
		used -= n[at].size;
		n[at].size = size + stream.trace.requests[i].key_len;
		used += n[at].size;
		push_front(n, head, at);
		while (used > m->memory) {
			uint32_t last = n[head].prev;
			unlink_node(n, last);
			used -= n[last].size;
			n[last].size = 0;
		}
	}
	free(n);
	return (double)misses / stream.n;
}

/* ---- Belady: what is asked for last goes first; a heap by the time of the next request ---- */

struct heap {
	uint32_t n, *key, *at; /* at: of each key in the heap, NONE */
	uint32_t *due;         /* of each key */
};

static void place(struct heap *h, uint32_t at, uint32_t key)
{
	h->key[at] = key;
	h->at[key] = at;
}

static void sift(struct heap *h, uint32_t at)
{
	uint32_t key = h->key[at];
	while (at > 0 && h->due[h->key[(at - 1) / 2]] < h->due[key]) {
		place(h, at, h->key[(at - 1) / 2]);
		at = (at - 1) / 2;
	}
	for (;;) {
		uint32_t child = 2 * at + 1;
		if (child < h->n && child + 1 < h->n && h->due[h->key[child + 1]] > h->due[h->key[child]])
			child++;
		if (child >= h->n || h->due[h->key[child]] <= h->due[key])
			break;
		place(h, at, h->key[child]);
		at = child;
	}
	place(h, at, key);
}

static double run_belady(const struct mix *m)
{
	struct heap h = {.key = must(malloc(stream.keys * sizeof *h.key)),
	    .at = must(malloc(stream.keys * sizeof *h.at)),
	    .due = must(malloc(stream.keys * sizeof *h.due))};
	uint32_t *size = must(calloc(stream.keys, sizeof *size));
	uint64_t used = 0, misses = 0;
	memset(h.at, 0xff, stream.keys * sizeof *h.at);
	for (uint32_t i = 0; i < stream.n; i++) {
		uint32_t key = stream.key[i];
		uint32_t wants = scaled(m, i);
		bool hit = h.at[key] != NONE;
		if (hit && overwrites(m, i))
			wants = rewritten(m, i);
		else if (hit)
			wants = size[key] - stream.trace.requests[i].key_len;
		misses += !hit;
		used -= hit ? size[key] : 0;
		size[key] = wants + stream.trace.requests[i].key_len;
		used += size[key];
		h.due[key] = stream.next[i];
		if (!hit)
			place(&h, h.n++, key);
		sift(&h, h.at[key]);
		while (used > m->memory) {
			uint32_t out = h.key[0];
			used -= size[out];
			h.at[out] = NONE;
			if (--h.n > 0) {
				place(&h, 0, h.key[h.n]);
				sift(&h, 0);
			}
		}
	}
	free(h.key);
	free(h.at);
	free(h.due);
	free(size);
	return (double)misses / stream.n;
}

static enum store_policy policy_of(const char *name)
{
	for (int i = 0; i < STORE_POLICIES; i++)
		if (strcmp(policy_get((enum store_policy)i)->name, name) == 0)
			return (enum store_policy)i;
	fprintf(stderr, "replay: -e %s: no such policy\n", name);
	exit(64);
}

int main(int argc, char **argv)
{
	struct mix m = {.memory = 64 * MIB};
	enum store_policy policy = STORE_S3FIFO;
	uint32_t most = NONE - 1;
	int c;
	while ((c = getopt(argc, argv, "m:e:o:t:n:sv")) != -1) {
		if (c == 'm')
			m.memory = strtoull(optarg, NULL, 10) * MIB;
		else if (c == 'e')
			policy = policy_of(optarg);
		else if (c == 'o')
			m.overwrite = (unsigned)atoi(optarg);
		else if (c == 't')
			m.expire = (unsigned)atoi(optarg);
		else if (c == 's')
			alone = true;
		else if (c == 'v')
			show = true;
		else if (c == 'n')
			most = (uint32_t)strtoul(optarg, NULL, 10);
		else
			return 64;
	}
	if (argc - optind < 2) {
		fputs("usage: replay [-m MIB] [-e POLICY] [-o PERCENT] [-t PERCENT] [-n REQUESTS] [-s] [-v] "
		      "TRACE "
		      "SHARE...\n",
		    stderr);
		return 64;
	}
	load(argv[optind], most);
	bytes = must(calloc(1, (size_t)m.memory));
	for (int i = optind + 1; i < argc; i++) {
		double share = atof(argv[i]);
		if (!(share > 0 && share <= 1)) {
			fprintf(stderr,
			    "replay: %s is no share of the footprint: it is above 0 and at most 1\n",
			    argv[i]);
			return 64;
		}
		m.scale = (double)m.memory / share - (double)stream.footprint_keys;
		m.scale /= (double)stream.footprint_values;
		double store = run_store(&m, policy);
		double lru = alone ? 0 : run_lru(&m), belady = alone ? 0 : run_belady(&m);
		printf("%5.2f scale %9.3f store %.4f lru %.4f belady %.4f store/lru %.3f\n", share, m.scale,
		    store, lru, belady, store / lru);
		fflush(stdout);
	}
	return 0;
}
