/* SPDX-License-Identifier: BSD-3-Clause */
/* damage: bytes that no crash leaves: every file cut at every offset (T4), every bit of every file flipped (T5), files
 * and blocks swapped, doubled, zeroed, of another server, garbage behind the end (T6). The daemon starts, and no key ever
 * shows anything but its last value or nothing; only where the damage cannot be told from a crash, at the end of a log that
 * was not stopped in order, may the state be an earlier one, whole. What is lost is told. --strict starts with a state or
 * refuses, and then nothing has been written. */
#include "damage.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/check.h"
#include <hearth/datadir.h>
#include <hearth/segment.h>

#define PER_PIECE 400u /* images of one directory in one piece: the next one has another directory */

/* A directory to be damaged, and what is known of it. */
struct victim {
	struct history h;
	struct image im;
	bool stopped;                    /* in order: nothing may look like a crash */
	bool other_boot;                 /* the next start's */
	uint8_t boot_id[HEARTH_ID_SIZE]; /* of the last life */
	struct trial t;                  /* of the undamaged image: exactly this state */
};

static bool make_victim(struct victim *v, uint64_t seed)
{
	struct history *h = &v->h;
	memset(v, 0, sizeof(*v));
	history_begin(h, seed);
	h->options.large = 0;
	unsigned lives = 1 + dice_below(&h->dice, 2);
	for (unsigned i = 0; i < lives; i++) {
		if (!history_live(h, 10 + dice_below(&h->dice, 15)))
			return false;
		stint_settle(&h->stint);
		stint_await_snapshots(&h->stint);
		CHECK(datadir_boot_id(&h->stint.fs->vfs, v->boot_id, &(struct hearth_error){0}) == HEARTH_OK);
		v->stopped = dice_one_in(&h->dice, 2);
		uint32_t last = memfs_last(h->stint.fs);
		if (v->stopped ? !history_stop(h) : (stint_abandon(&h->stint), history_kill(h, last), false))
			return false;
	}
	v->other_boot = dice_one_in(&h->dice, 2);
	image_of_cache(&v->im, &h->start);
	v->t = (struct trial){.m = &h->m,
	    .options = h->options,
	    .least = h->m.n,
	    .most = h->m.n,
	    .told = h->told,
	    .other_boot = v->other_boot};
	return true;
}

static void free_victim(struct victim *v)
{
	image_free(&v->im);
	history_end(&v->h);
}

/* ---- the end of the log ---- */

/* How far the log is known to go when nothing from some place on can be believed. In the boot that wrote it only the last
 * block may be torn: anything behind proves damage. In another boot what a later block calls durable was. */
struct reach {
	uint64_t missing; /* first number that is in doubt; 0: none is */
	uint64_t last;    /* of all */
	uint64_t durable; /* that a later block tells */
	bool later;       /* there is a block, or a segment, behind the first one in doubt */
	bool boot;        /* a header is left that says it was written under the boot of the last life */
};

/* Evidence is only what is still there, wherever it lies now. */
static bool survives(const struct image_file *now, const uint8_t *data, size_t len)
{
	return now && now->bytes.len >= len && memmem(now->bytes.data, now->bytes.len, data, len) != NULL;
}

static void look_at_blocks(
    const struct image_file *f, const struct image_file *now, size_t offset, struct reach *r)
{
	const uint8_t *data = f->bytes.data;
	size_t len = f->bytes.len;
	for (size_t at = SEGMENT_HEADER_SIZE; at + BLOCK_HEADER_SIZE <= len;) {
		struct block_header b;
		if (block_decode_header(data + at, len - at, &b) != HEARTH_OK)
			return;
		size_t end = at + BLOCK_HEADER_SIZE + b.stored_len;
		if (!r->missing && end > offset)
			r->missing = b.first;
		else if (r->missing && survives(now, data + at, end - at)) {
			r->later = true;
			r->durable = b.durable > r->durable ? b.durable : r->durable;
		}
		r->last = b.first + b.count - 1;
		at = end;
	}
}

static struct reach reach_of(
    struct victim *v, struct image *im, const struct image_file *damaged, size_t offset)
{
	struct image_file *segment[64];
	struct reach r = {0};
	unsigned n = image_list(&v->im, "log-", segment, 64);
	for (unsigned i = 0; i < n; i++) {
		int order = strcmp(segment[i]->name, damaged->name);
		struct segment_header h;
		if (segment[i]->bytes.len < SEGMENT_HEADER_SIZE ||
		    segment_decode_header(segment[i]->bytes.data, SEGMENT_HEADER_SIZE, &h) != HEARTH_OK)
			continue;
		const struct image_file *now = image_find(im, segment[i]->name);
		/* A header is written behind everything before it. */
		bool header = survives(now, segment[i]->bytes.data, SEGMENT_HEADER_SIZE);
		r.later |= order > 0 && header;
		r.boot |= header && memcmp(h.boot_id, v->boot_id, sizeof(v->boot_id)) == 0;
		if (order == 0 && offset < SEGMENT_HEADER_SIZE)
			r.missing = h.first;
		look_at_blocks(segment[i], now, order < 0 ? SIZE_MAX : order > 0 ? 0 : offset, &r);
	}
	return r;
}

/* The last op whose number is no higher. */
static unsigned op_of(const struct victim *v, uint64_t number)
{
	unsigned least = 0;
	for (unsigned i = 1; i <= v->h.m.n; i++) {
		const struct op *op = &v->h.m.op[i];
		uint64_t seq = op->seq ? op->seq : op->was;
		if (seq && seq <= number)
			least = i;
	}
	return least;
}

enum sure {
	UNSURE,
	SURE,  /* it cannot be taken for a crash */
	TWICE, /* there are two bad places, and the log may end at the second */
};

/* What the trial of this image must find, `damaged` in v's own image from offset on. */
static struct trial expect(struct victim *v, struct image *im, const struct image_file *damaged,
    size_t offset, enum sure sure, const char *what)
{
	struct trial t = v->t;
	t.holes = true;
	t.options.cores = 1 + dice_below(&v->h.dice, 2);
	snprintf(t.name, sizeof(t.name), "%.24s %.32s at %zu", what, damaged->name, offset);
	if (sure == SURE || v->stopped || strncmp(damaged->name, "log-", 4) != 0)
		return t;
	struct reach r = reach_of(v, im, damaged, offset);
	/* Without a header nobody knows which boot it was: what looks like a power cut is taken for one. */
	bool end = v->other_boot || !r.boot ? r.durable < r.missing || sure == TWICE : !r.later;
	uint64_t kept = r.durable > r.missing ? r.durable : r.missing - 1;
	if (end && r.missing) {
		t.least = op_of(v, kept);
		/* What was answered and cut off is forgotten with its numbers. */
		t.told = kept < t.told ? kept : t.told;
	}
	return t;
}

/* ---- trying ---- */

/* What is lost is told. A whole earlier state can be what a crash would have left, to the byte: nobody can tell. */
static void check_told(const struct trial *t, const struct image *im, const struct outcome *o)
{
	if (!o->recovery.damaged && !model_judge(t->m, &o->found, t->least, t->most, false).ok)
		run_failed(t, im, "no state of the history, and no damage reported");
}

/* --strict: it starts with a state, or refuses and has changed nothing. */
static void try_strict(const struct trial *t, const struct image *im)
{
	struct stint_options o = t->options;
	struct stint stint;
	struct world w;
	image_world(im, &w);
	o.strict = true;
	o.record = true;
	if (t->other_boot)
		o.boot = 99;
	run_at(t, im);
	enum hearth_status status = stint_open(&stint, &w, &o, NULL, 3);
	if (status != HEARTH_OK && memfs_last(stint.fs) != 0)
		run_failed(t, im, "refused (%s), but something was written", hearth_status_text(status));
	else if (status != HEARTH_OK && status != HEARTH_DAMAGED && status != HEARTH_FOREIGN &&
	         status != HEARTH_NEWER)
		run_failed(t, im, "--strict ends with: %s", hearth_status_text(status));
	if (status == HEARTH_OK) {
		struct found f;
		stint_read(&stint, &f);
		struct verdict v = model_judge(t->m, &f, t->least, t->most, false);
		if (!v.ok)
			run_failed(t, im, "--strict starts with holes: %s", v.why);
		found_free(&f);
	}
	stint_free(&stint);
	world_free(&w);
}

static void try(struct victim *v, struct image *im, const struct trial *t)
{
	struct outcome o;
	if (trial_boot(t, im, &o) && !o.skipped) {
		check_told(t, im, &o);
		if (dice_one_in(&v->h.dice, 10))
			try_strict(t, im);
	}
	outcome_free(&o);
}

/* The undamaged directory gives exactly the last state. */
static bool whole(struct victim *v)
{
	struct outcome o;
	snprintf(v->t.name, sizeof(v->t.name), "undamaged");
	bool ok = trial_boot(&v->t, &v->im, &o);
	outcome_free(&o);
	return ok;
}

static size_t all_bytes(const struct image *im)
{
	size_t n = 0;
	for (unsigned i = 0; i < im->n; i++)
		n += im->file[i].bytes.len;
	return n;
}

/* The file and offset of byte `at` of all of them. */
static struct image_file *byte_at(struct image *im, size_t at, size_t *ret_offset)
{
	for (unsigned i = 0; i < im->n; i++) {
		if (at < im->file[i].bytes.len) {
			*ret_offset = at;
			return &im->file[i];
		}
		at -= im->file[i].bytes.len;
	}
	CHECK(!"a byte of the image");
	return NULL;
}

/* Every cut, or every bit, of one small directory after the other, spread over pieces: piece n of a directory takes every
 * (1 << PARTS)th place from n on, so that all of them together leave nothing out. */
#define PARTS 32u

static void each_place(
    uint64_t seed, unsigned per_byte, void (*damage)(struct victim *v, size_t at, unsigned which))
{
	struct victim v;
	/* The same directory for PARTS pieces, whatever process they run in. */
	if (make_victim(&v, seed / PARTS * PARTS + 7) && whole(&v)) {
		size_t places = all_bytes(&v.im) * per_byte;
		for (size_t i = seed % PARTS; i < places; i += PARTS)
			damage(&v, i / per_byte, (unsigned)(i % per_byte));
	}
	free_victim(&v);
}

static void cut_at(struct victim *v, size_t at, unsigned which)
{
	size_t offset;
	struct image_file *f = byte_at(&v->im, at, &offset);
	struct image im;
	(void)which;
	image_copy(&im, &v->im);
	im.file[f - v->im.file].bytes.len = offset;
	struct trial t = expect(v, &im, f, offset, UNSURE, "cut");
	try(v, &im, &t);
	image_free(&im);
}

static void flip_at(struct victim *v, size_t at, unsigned which)
{
	size_t offset;
	struct image_file *f = byte_at(&v->im, at, &offset);
	struct image im;
	image_copy(&im, &v->im);
	im.file[f - v->im.file].bytes.data[offset] ^= (uint8_t)(1u << which);
	struct trial t = expect(v, &im, f, offset, UNSURE, "bit flipped in");
	try(v, &im, &t);
	image_free(&im);
}

void cut_piece(uint64_t seed)
{
	each_place(seed, 1, cut_at);
}

void flip_piece(uint64_t seed)
{
	each_place(seed, 8, flip_at);
}

/* ---- splices ---- */

/* Where a block of this segment begins, at random; 0: it has none. */
static size_t draw_block(struct dice *d, const struct image_file *f, size_t *ret_len)
{
	size_t at[64], len[64], from = SEGMENT_HEADER_SIZE;
	unsigned n = 0;
	struct block_header b;
	while (n < 64 && from + BLOCK_HEADER_SIZE <= f->bytes.len &&
	       block_decode_header(f->bytes.data + from, f->bytes.len - from, &b) == HEARTH_OK) {
		at[n] = from;
		len[n] = BLOCK_HEADER_SIZE + b.stored_len;
		from += len[n++];
	}
	if (n == 0)
		return 0;
	unsigned i = dice_below(d, n);
	*ret_len = len[i];
	return at[i];
}

static struct image_file *draw_file(struct dice *d, struct image *im, const char *prefix)
{
	struct image_file *file[64];
	unsigned n = image_list(im, prefix, file, 64);
	return n ? file[dice_below(d, n)] : NULL;
}

static void insert(struct bytes *b, size_t at, const uint8_t *data, size_t len)
{
	uint8_t *copy = must_alloc(len), *rest = must_alloc(b->len - at);
	size_t n = b->len - at;
	memcpy(copy, data, len);
	if (n)
		memcpy(rest, b->data + at, n);
	bytes_put(b, at, copy, len);
	bytes_put(b, at + len, rest, n);
	free(copy);
	free(rest);
}

static void replace(struct bytes *b, const struct bytes *by)
{
	b->len = 0;
	bytes_put(b, 0, by->data, by->len);
}

enum splice {
	SPLICE_ZERO_512,
	SPLICE_ZERO_4096,
	SPLICE_SWAP_BLOCKS,
	SPLICE_DOUBLE_BLOCK,
	SPLICE_DROP_BLOCK,
	SPLICE_SWAP_SEGMENTS,
	SPLICE_OLD_SEGMENT, /* one in another's place */
	SPLICE_FOREIGN,     /* another server's file of the same name */
	SPLICE_GARBAGE_TAIL,
	SPLICE_OLD_TAIL,
	SPLICE_MISSING,
	SPLICE_EMPTY,
	SPLICE_KINDS
};

/* Damages im; the file and offset of the first damaged byte, NULL when this kind does not fit. *ret_tail: nothing that was
 * there was touched. */
static struct image_file *splice(
    struct victim *v, struct image *im, struct image *other, enum splice kind, size_t *ret_offset)
{
	struct dice *d = &v->h.dice;
	struct image_file *f = draw_file(d, im, dice_one_in(d, 4) ? "snapshot-" : "log-"),
	                  *g = draw_file(d, im, "log-");
	size_t block = kind == SPLICE_ZERO_512 ? 512 : 4096, at, len, at2, len2;
	uint8_t garbage[200];
	*ret_offset = 0;
	if (!f || !g || f->bytes.len == 0)
		return NULL;
	switch (kind) {
	case SPLICE_ZERO_512:
	case SPLICE_ZERO_4096:
		at = dice_below(d, (unsigned)(f->bytes.len / block + 1)) * block;
		len = f->bytes.len - at < block ? f->bytes.len - at : block;
		if (len == 0)
			return NULL;
		memset(f->bytes.data + at, 0, len);
		*ret_offset = at;
		return f;
	case SPLICE_SWAP_BLOCKS:
	case SPLICE_DOUBLE_BLOCK:
	case SPLICE_DROP_BLOCK:
		at = draw_block(d, g, &len);
		at2 = draw_block(d, g, &len2);
		if (at == 0 || (kind == SPLICE_SWAP_BLOCKS && (at == at2 || len != len2)))
			return NULL;
		*ret_offset = at < at2 ? at : at2;
		if (kind == SPLICE_SWAP_BLOCKS) {
			for (size_t i = 0; i < len; i++) {
				uint8_t byte = g->bytes.data[at + i];
				g->bytes.data[at + i] = g->bytes.data[at2 + i];
				g->bytes.data[at2 + i] = byte;
			}
		} else if (kind == SPLICE_DOUBLE_BLOCK) {
			insert(&g->bytes, at2, g->bytes.data + at, len);
			*ret_offset = at2;
		} else {
			memmove(g->bytes.data + at, g->bytes.data + at + len, g->bytes.len - at - len);
			g->bytes.len -= len;
			*ret_offset = at;
		}
		return g;
	case SPLICE_SWAP_SEGMENTS:
	case SPLICE_OLD_SEGMENT:
		if (f == g || f->name[0] != 'l' || g->bytes.len == 0)
			return NULL;
		struct bytes copy = {0};
		bytes_put(&copy, 0, f->bytes.data, f->bytes.len);
		replace(&f->bytes, &g->bytes);
		if (kind == SPLICE_SWAP_SEGMENTS)
			replace(&g->bytes, &copy);
		free(copy.data);
		return kind == SPLICE_SWAP_SEGMENTS && strcmp(g->name, f->name) < 0 ? g : f;
	case SPLICE_FOREIGN:
		g = image_find(other, f->name);
		if (!g || g->bytes.len == 0)
			return NULL;
		replace(&f->bytes, &g->bytes);
		return f;
	case SPLICE_GARBAGE_TAIL:
		for (unsigned i = 0; i < sizeof(garbage); i++)
			garbage[i] = (uint8_t)dice_next(d);
		*ret_offset = f->bytes.len;
		bytes_put(&f->bytes, f->bytes.len, garbage, 1 + dice_below(d, sizeof(garbage)));
		return f;
	case SPLICE_OLD_TAIL:
		at = draw_block(d, g, &len);
		if (at == 0)
			return NULL;
		*ret_offset = g->bytes.len;
		insert(&g->bytes, g->bytes.len, g->bytes.data + at, len);
		return g;
	case SPLICE_MISSING:
		snprintf(f->name, sizeof(f->name), "lost+found");
		return f;
	default:
		f->bytes.len = 0;
		return f;
	}
}

/* Damage of names reads as damage at the beginning of what had that name. */
static struct image_file *original(struct victim *v, const struct image *im, const struct image_file *f)
{
	return &v->im.file[f - im->file];
}

void splice_piece(uint64_t seed)
{
	struct victim v, other;
	bool ok = make_victim(&other, seed ^ 0xabcdef);
	ok = make_victim(&v, seed) && whole(&v) && ok; /* last: the clock stays where it left it */
	for (unsigned i = 0; ok && i < PER_PIECE / 4; i++) {
		struct image im;
		size_t offset;
		enum splice kind = (enum splice)dice_below(&v.h.dice, SPLICE_KINDS);
		image_copy(&im, &v.im);
		struct image_file *f = splice(&v, &im, &other.im, kind, &offset);
		if (f) {
			char what[32];
			snprintf(what, sizeof(what), "splice %u in", kind);
			bool whole_file = kind == SPLICE_FOREIGN || kind == SPLICE_SWAP_SEGMENTS ||
			                  kind == SPLICE_OLD_SEGMENT || kind == SPLICE_MISSING;
			bool two = kind == SPLICE_SWAP_BLOCKS || kind == SPLICE_DOUBLE_BLOCK;
			enum sure sure = whole_file ? SURE : two ? TWICE : UNSURE;
			struct trial t = expect(&v, &im, original(&v, &im, f), offset, sure, what);
			t.never |= kind == SPLICE_MISSING;
			try(&v, &im, &t);
		}
		image_free(&im);
	}
	free_victim(&v);
	free_victim(&other);
}
