/* SPDX-License-Identifier: BSD-3-Clause */
/* compress: see compress.h. A worker takes no lock but, while a class wants samples, one that it does not wait for. */
#include "engine/compress.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/nodump.h"
#include "base/packed.h"
#include "base/schedule.h"
#include "engine/private.h"

#define CLASS_LEAST 6u /* 64 bytes */
/* With 16 KiB JSON of 200 to 1600 bytes packs 1 % better, but the form that packs takes 420 KiB instead of 220, and what the
 * processor has to hold for it doubles. */
#define DICT_BYTES (8u << 10)
/* Samples of one class: with twice as many nothing packs better. Long values are sampled in pieces. */
#define SAMPLES_BYTES (256u << 10)
#define SAMPLES_MAX   (SAMPLES_BYTES / PACKED_RAW_MIN)
#define PIECE         2048u
/* One in so many values is sampled. */
#define SAMPLE_EVERY 2u
/* Packed it must save a tenth, and so many bytes: those of the dictionary's id among them. */
#define SAVES_LEAST 16u
#define ID_SIZE     4u
/* What was set between two looks at how well it packs; what must come before a dictionary that was no good is tried again. */
#define LOOK_BYTES  (UINT64_C(8) << 20)
#define RETRY_BYTES (UINT64_C(64) << 20)
/* Shares of the bytes that are kept: with a dictionary that is of no use, and with one that a start has found and that may be
 * for values of another kind, so that a new one is tried against it. */
#define SHARE_USELESS 0.9
#define SHARE_DOUBTED 0.5
/* Values that are not tried after one that did not get smaller: twice as many each time, up to this. */
#define PAUSE_MAX 63u
/* The last few places of the set are for what a start may find. */
#define TRAINED_MAX (DICT_COUNT_MAX - 4)

struct class
{
	_Atomic(const struct dict *) dict; /* to pack with; NULL = there is none yet */
	_Atomic bool wants;                /* samples */
	/* Under the lock. */
	uint8_t *samples;
	size_t bytes, n;
	size_t *sizes;
	bool ready;
	/* The trainer's. */
	uint64_t seen, kept; /* at the last look */
	uint64_t retry;      /* not before so many bytes were seen */
	double best; /* share of the bytes that was kept with this dictionary at first; 0 = not known yet */
	bool found;  /* by the start: how well it did at first is not known */
};

struct compress {
	struct engine *engine;
	pthread_t thread;
	pthread_mutex_t lock; /* a leaf */
	pthread_cond_t wake;
	bool running, stopping; /* under the lock */
	_Atomic uint64_t trainings;
	struct dict_context *context; /* the trainer's */
	struct class classes[COMPRESS_CLASSES];
};

/* ---- the workers' ---- */

struct compress_worker *compress_worker_new(bool packs)
{
	struct compress_worker *cw = calloc(1, sizeof(*cw));
	if (!cw)
		return NULL;
	cw->context = dict_context_new(packs);
	cw->value = nodump_alloc(PACKED_RAW_MAX);
	if (!cw->context || !cw->value)
		compress_worker_free(&cw);
	return cw;
}

void compress_worker_free(struct compress_worker **ref)
{
	struct compress_worker *cw = *ref;
	*ref = NULL;
	if (!cw)
		return;
	dict_context_free(&cw->context);
	nodump_free(cw->value, PACKED_RAW_MAX);
	free(cw);
}

static unsigned class_of(size_t len)
{
	unsigned bits = 64u - (unsigned)__builtin_clzll((unsigned long long)len - 1);
	return bits - CLASS_LEAST;
}

static void free_samples(struct class *k)
{
	nodump_free(k->samples, SAMPLES_BYTES);
	free(k->sizes);
	k->samples = NULL;
	k->sizes = NULL;
}

/* The memory of the samples is there only while some are wanted. The lock is held. */
static bool make_samples(struct class *k)
{
	if (k->samples)
		return true;
	k->samples = nodump_alloc(SAMPLES_BYTES);
	k->sizes = malloc(SAMPLES_MAX * sizeof(*k->sizes));
	k->bytes = k->n = 0;
	if (k->samples && k->sizes)
		return true;
	free_samples(k);
	return false;
}

static void sample(struct compress *c, struct class *k, unsigned turn, const uint8_t *value, size_t len)
{
	if (pthread_mutex_trylock(&c->lock) != 0)
		return;
	if (!k->ready && make_samples(k)) {
		/* Of long values the beginning, or some piece. */
		size_t piece = len < PIECE ? len : PIECE;
		size_t from = turn / SAMPLE_EVERY % 2 ? (size_t)turn * 977 % (len - piece + 1) : 0;
		memcpy(k->samples + k->bytes, value + from, piece);
		k->sizes[k->n++] = piece;
		k->bytes += piece;
		k->ready = k->bytes + PIECE > SAMPLES_BYTES;
		if (k->ready) {
			atomic_store_explicit(&k->wants, false, memory_order_relaxed);
			pthread_cond_signal(&c->wake);
		}
	}
	pthread_mutex_unlock(&c->lock);
}

/* The most that a value may take packed. */
static size_t most_packed(size_t len)
{
	size_t saves = len / 10 > SAVES_LEAST ? len / 10 : SAVES_LEAST;
	return len - saves - ID_SIZE;
}

static size_t try_pack(struct compress_worker *cw, struct compress_counts *n, const struct dict *dict,
    const struct store_put *put, const uint8_t **ret_packed)
{
	if (n->pause > 0) {
		n->pause--;
		return 0;
	}
	size_t len =
	    dict_pack(cw->context, dict, put->value, put->value_len, most_packed(put->value_len), ret_packed);
	if (len > 0) {
		n->pauses = 0;
		return len;
	}
	n->pause = n->pauses = n->pauses < PAUSE_MAX ? 2 * n->pauses + 1 : PAUSE_MAX;
	compress_count(&n->refused, 1);
	return 0;
}

void compress_put(struct compress *c, struct compress_worker *cw, struct store_put *put)
{
	size_t len = put->value_len;
	const uint8_t *packed;
	if (len < PACKED_RAW_MIN || len > PACKED_RAW_MAX)
		return;
	struct class *k = &c->classes[class_of(len)];
	struct compress_counts *n = &cw->counts[class_of(len)];
	if (atomic_load_explicit(&k->wants, memory_order_relaxed) && cw->turn++ % SAMPLE_EVERY == 0)
		sample(c, k, cw->turn, put->value, len);
	const struct dict *dict = atomic_load_explicit(&k->dict, memory_order_acquire);
	size_t packed_len = dict ? try_pack(cw, n, dict, put, &packed) : 0;
	compress_count(&n->seen, len);
	compress_count(&n->kept, packed_len ? packed_len + ID_SIZE : len);
	if (packed_len == 0)
		return;
	compress_count(&n->values, 1);
	compress_count(&n->raw, len);
	compress_count(&n->packed, packed_len + ID_SIZE);
	put->value = packed;
	put->value_len = packed_len;
	put->dict = dict_id(dict);
}

/* ---- the trainer's ---- */

/* Bytes that samples from `from` on take when they are packed as values are. */
static uint64_t packed_bytes(struct dict_context *context, const struct dict *dict, const struct class *k,
    size_t from, uint64_t *ret_raw)
{
	const uint8_t *at = k->samples, *packed;
	uint64_t bytes = 0;
	*ret_raw = 0;
	for (size_t i = 0; i < k->n; at += k->sizes[i++]) {
		if (i < from)
			continue;
		size_t len =
		    dict ? dict_pack(context, dict, at, k->sizes[i], most_packed(k->sizes[i]), &packed) : 0;
		bytes += len ? len + ID_SIZE : k->sizes[i];
		*ret_raw += k->sizes[i];
	}
	return bytes;
}

/* Into the set, from which the log takes it, before any record can need it. NULL: it is not worth it, or there is no memory. */
static const struct dict *make_dict(struct compress *c, struct class *k)
{
	uint8_t bytes[DICT_BYTES];
	/* The last quarter of the samples is what it is tried on. */
	size_t n = k->n - k->n / 4;
	size_t len = dict_train(k->samples, k->sizes, (unsigned)n, bytes, sizeof(bytes));
	struct dict_set *trial = len ? dict_set_new(1) : NULL;
	const struct dict *dict = NULL, *old = atomic_load(&k->dict);
	uint8_t sizes = (uint8_t)(CLASS_LEAST + (unsigned)(k - c->classes));
	uint32_t id = len ? dict_id_of(bytes, len) : 0;
	bool worth = false;
	if (trial && dict_add(trial, id, sizes, bytes, len, &dict) == HEARTH_OK && dict_prepare(dict)) {
		uint64_t raw, fresh = packed_bytes(c->context, dict, k, n, &raw);
		uint64_t now = old ? packed_bytes(c->context, old, k, n, &raw) : raw;
		/* A tenth less than unpacked; a twentieth less than with the one there is. */
		worth = fresh < now - now / (old ? 20 : 10);
	}
	dict_set_free(&trial);
	if (!worth || dict_add(c->engine->dicts, id, sizes, bytes, len, &dict) != HEARTH_OK)
		return NULL;
	return dict_prepare(dict) ? dict : NULL;
}

static void sum(const struct compress *c, size_t class, uint64_t *ret_seen, uint64_t *ret_kept)
{
	*ret_seen = *ret_kept = 0;
	for (unsigned i = 0; i < c->engine->options.workers; i++) {
		const struct compress_counts *n = &c->engine->workers[i].packing->counts[class];
		*ret_seen += atomic_load_explicit(&n->seen, memory_order_relaxed);
		*ret_kept += atomic_load_explicit(&n->kept, memory_order_relaxed);
	}
}

/* What has come so far counts no more for how well the dictionary does. */
static void look_from_here(struct compress *c, struct class *k)
{
	sum(c, (size_t)(k - c->classes), &k->seen, &k->kept);
}

static void train(struct compress *c, struct class *k)
{
	const struct dict *dict = make_dict(c, k);
	if (dict)
		atomic_store_explicit(&k->dict, dict, memory_order_release);
	atomic_fetch_add(&c->trainings, 1); /* by which a test sees that it may be used */
	look_from_here(c, k);
	k->retry = k->seen + RETRY_BYTES;
	k->best = 0;
	k->found = false;
	pthread_mutex_lock(&c->lock);
	free_samples(k);
	k->ready = false;
	pthread_mutex_unlock(&c->lock);
}

/* Whether what is set now wants a dictionary, or another one. */
static void look(struct compress *c, size_t class)
{
	struct class *k = &c->classes[class];
	uint64_t seen, kept;
	sum(c, class, &seen, &kept);
	if (seen - k->seen < LOOK_BYTES)
		return;
	double share = (double)(kept - k->kept) / (double)(seen - k->seen);
	k->seen = seen;
	k->kept = kept;
	bool useful = atomic_load(&k->dict) && share <= SHARE_USELESS;
	if (useful && k->best == 0)
		k->best = share;
	bool wanted = !useful || share > 1.25 * k->best || (k->found && share > SHARE_DOUBTED);
	if (wanted && seen >= k->retry && dict_count(c->engine->dicts) < TRAINED_MAX)
		atomic_store(&k->wants, true);
}

static struct class *ready_class(struct compress *c)
{
	for (size_t i = 0; i < COMPRESS_CLASSES; i++)
		if (c->classes[i].ready)
			return &c->classes[i];
	return NULL;
}

static void *trainer_main(void *arg)
{
	struct compress *c = arg;
	pthread_setname_np(pthread_self(), "compress");
	schedule_behind(10);
	pthread_mutex_lock(&c->lock);
	while (!c->stopping) {
		struct class *k = ready_class(c);
		if (!k) {
			struct timespec until = clock_deadline(1000);
			pthread_cond_timedwait(&c->wake, &c->lock, &until);
			k = ready_class(c);
		}
		bool stopping = c->stopping;
		pthread_mutex_unlock(&c->lock);
		for (size_t i = 0; i < COMPRESS_CLASSES && !k && !stopping; i++)
			look(c, i);
		if (k && !stopping)
			train(c, k);
		pthread_mutex_lock(&c->lock);
	}
	pthread_mutex_unlock(&c->lock);
	return NULL;
}

/* ---- opening and closing ---- */

/* The dictionaries that a start has found go on, the latest of each class. */
static bool adopt(struct compress *c)
{
	const struct dict_set *set = c->engine->dicts;
	for (size_t i = 0; i < dict_count(set); i++) {
		const struct dict *dict = dict_get(set, i);
		unsigned class = dict_sizes(dict) - CLASS_LEAST;
		if (class < COMPRESS_CLASSES)
			atomic_store(&c->classes[class].dict, dict);
	}
	for (size_t i = 0; i < COMPRESS_CLASSES; i++) {
		struct class *k = &c->classes[i];
		if (k->dict && !dict_prepare(k->dict))
			return false;
		k->found = k->dict != NULL;
		atomic_store(&k->wants, !k->dict);
	}
	return true;
}

bool compress_use(struct compress *c, const struct dict *dict)
{
	for (size_t i = 0; dict_prepare(dict) && i < COMPRESS_CLASSES; i++) {
		atomic_store(&c->classes[i].wants, false);
		atomic_store(&c->classes[i].dict, dict);
	}
	return atomic_load(&c->classes[0].dict) == dict;
}

struct compress *compress_start(struct engine *e)
{
	struct compress *c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->engine = e;
	pthread_mutex_init(&c->lock, NULL);
	clock_init_cond(&c->wake);
	c->context = dict_context_new(true);
	c->running = c->context && adopt(c) && pthread_create(&c->thread, NULL, trainer_main, c) == 0;
	if (!c->running)
		compress_stop(&c);
	return c;
}

void compress_stop(struct compress **ref)
{
	struct compress *c = *ref;
	*ref = NULL;
	if (!c)
		return;
	pthread_mutex_lock(&c->lock);
	c->stopping = true;
	pthread_cond_signal(&c->wake);
	pthread_mutex_unlock(&c->lock);
	if (c->running)
		pthread_join(c->thread, NULL);
	for (size_t i = 0; i < COMPRESS_CLASSES; i++)
		free_samples(&c->classes[i]);
	dict_context_free(&c->context);
	pthread_mutex_destroy(&c->lock);
	pthread_cond_destroy(&c->wake);
	free(c);
}

uint64_t compress_trainings(const struct compress *c)
{
	return atomic_load(&c->trainings);
}
