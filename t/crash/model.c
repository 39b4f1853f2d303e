/* SPDX-License-Identifier: BSD-3-Clause */
/* model: see model.h. */
#include "model.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/check.h"
#include "base/crc32c.h"
#include "world.h"

/* ---- keys and values ---- */

uint8_t model_key(unsigned key, char out[256])
{
	int len = snprintf(out, 256, "key-%02u", key);
	size_t want = key == 7 ? 250 : (size_t)len + key % 5;
	for (size_t i = (size_t)len; i < want; i++)
		out[i] = 'k';
	out[want] = 0;
	return (uint8_t)want;
}

void model_filler(struct dice *d, uint8_t *out, size_t len)
{
	static const char *const words[] = {
	    "{\"name\":\"", "\",\"active\":true", ",\"created\":\"", "\",\"price\":", "e.org\",\"tags\":[\""};
	for (size_t i = 0; i < len;) {
		const char *word = words[dice_below(d, 5)];
		size_t n = strlen(word) < len - i ? strlen(word) : len - i;
		memcpy(out + i, word, n);
		out[i] = (uint8_t)dice_below(d, 256);
		i += n;
	}
}

/* "key.op.length.filler.crc": not shorter than it takes to say that. */
static uint8_t *make_value(unsigned key, unsigned op, size_t *len)
{
	char head[40];
	int n = snprintf(head, sizeof(head), "%u.%u.%zu.", key, op, *len);
	size_t least = (size_t)n + 8;
	if (*len < least)
		*len = least;
	uint8_t *value = must_alloc(*len + 9);
	memcpy(value, head, (size_t)n);
	struct dice d = dice_make((uint64_t)key << 32 | op);
	model_filler(&d, value + n, *len > least ? *len - least : 0);
	snprintf((char *)value + *len - 8, 9, "%08x", crc32c(0, value, *len - 8));
	return value;
}

static uint8_t *copy_value(const uint8_t *value, size_t len)
{
	uint8_t *copy = must_alloc(len);
	if (len)
		memcpy(copy, value, len);
	return copy;
}

/* ---- versions ---- */

static void add_version(struct model *m, unsigned key, struct version v)
{
	v.op = m->n;
	m->version[key] = must_realloc(m->version[key], (m->versions[key] + 1) * sizeof(v));
	m->version[key][m->versions[key]++] = v;
}

static const struct version *last_version(const struct model *m, unsigned key)
{
	return m->versions[key] ? &m->version[key][m->versions[key] - 1] : NULL;
}

static bool lives(const struct version *v, int64_t now)
{
	return v && v->live && (v->expiry == 0 || v->expiry > now);
}

const struct version *model_holds(const struct model *m, unsigned key, int64_t now)
{
	const struct version *v = last_version(m, key);
	return lives(v, now) ? v : NULL;
}

void model_truncate(struct model *m, unsigned n)
{
	for (unsigned k = 0; k < MODEL_KEYS; k++)
		while (m->versions[k] && m->version[k][m->versions[k] - 1].op > n)
			free(m->version[k][--m->versions[k]].value);
	for (; m->n > n; m->n--)
		free(m->op[m->n].value);
}

void model_free(struct model *m)
{
	model_truncate(m, 0);
	for (unsigned k = 0; k < MODEL_KEYS; k++)
		free(m->version[k]);
	memset(m, 0, sizeof(*m));
}

/* ---- drawing ---- */

static int64_t draw_expiry(struct dice *d, int64_t now)
{
	static const int soon[] = {1, 2, 5, 10, 60, 3600, 86400};
	switch (dice_below(d, 8)) {
	case 0:
	case 1:
		return now + soon[dice_below(d, 7)];
	case 2:
		return now + 100000000;
	case 3:
		return dice_one_in(d, 4) ? 1 : 0; /* long past: stored and at once expired */
	default:
		return 0;
	}
}

static size_t draw_len(struct dice *d, size_t large)
{
	if (large && dice_one_in(d, 40))
		return large + dice_below(d, 1000);
	if (dice_one_in(d, 30))
		return 4090 + dice_below(d, 12); /* about where values stop being copied */
	return 20 + dice_below(d, dice_one_in(d, 4) ? 400 : 60);
}

static enum op_kind draw_kind(struct dice *d)
{
	static const uint8_t weight[OP_KINDS] = {[OP_SET] = 34,
	    [OP_ADD] = 6,
	    [OP_REPLACE] = 5,
	    [OP_APPEND] = 4,
	    [OP_PREPEND] = 3,
	    [OP_INCR] = 6,
	    [OP_DECR] = 2,
	    [OP_CAS] = 5,
	    [OP_DELETE] = 14,
	    [OP_TOUCH] = 6,
	    [OP_GAT] = 3,
	    [OP_GET] = 8,
	    [OP_FLUSH] = 1,
	    [OP_FLUSH_AT] = 1};
	unsigned all = 0;
	for (unsigned i = 0; i < OP_KINDS; i++)
		all += weight[i];
	unsigned at = dice_below(d, all);
	for (unsigned i = 0;; i++) {
		if (at < weight[i])
			return (enum op_kind)i;
		at -= weight[i];
	}
}

struct op model_draw(struct model *m, struct dice *d, int64_t now, size_t large)
{
	struct op op = {.kind = draw_kind(d), .key = dice_below(d, MODEL_KEYS), .now = now};
	const struct version *v = model_holds(m, op.key, now);
	op.flags = dice_one_in(d, 2) ? 0 : (uint32_t)dice_next(d);
	op.expiry = op.kind == OP_FLUSH_AT ? now + 1 + dice_below(d, 30) : draw_expiry(d, now);
	op.delta = dice_below(d, 1000);
	op.len = draw_len(d, large);
	if (op.kind == OP_APPEND || op.kind == OP_PREPEND)
		op.len = dice_below(d, 100);
	op.compare = v && !dice_one_in(d, 3) ? v->cas : 1;
	bool number = op.kind == OP_SET && op.key % 4 == 1;
	if (number) {
		char digits[24];
		op.len = (size_t)snprintf(digits, sizeof(digits), "%u", dice_below(d, 5000));
		op.value = copy_value((uint8_t *)digits, op.len);
	} else {
		op.value = make_value(op.key, m->n + 1, &op.len);
	}
	return op;
}

/* ---- doing ---- */

static bool parse(const struct version *v, uint64_t *ret)
{
	*ret = 0;
	if (v->len == 0 || v->len > 20)
		return false;
	for (size_t i = 0; i < v->len; i++) {
		if (v->value[i] < '0' || v->value[i] > '9')
			return false;
		*ret = *ret * 10 + (uint64_t)(v->value[i] - '0');
	}
	return true;
}

bool model_expects(const struct model *m, const struct op *op)
{
	const struct version *v = model_holds(m, op->key, op->now);
	uint64_t number;
	switch (op->kind) {
	case OP_SET:
	case OP_FLUSH:
	case OP_FLUSH_AT:
	case OP_FIRE:
		return true;
	case OP_ADD:
		return v == NULL;
	case OP_CAS:
		return v && v->cas == op->compare;
	case OP_INCR:
	case OP_DECR:
		return v && parse(v, &number);
	default:
		return v != NULL;
	}
}

uint64_t model_number(const struct model *m, const struct op *op)
{
	const struct version *v = model_holds(m, op->key, op->now);
	uint64_t number = 0;
	if (!v || !parse(v, &number))
		return 0;
	if (op->kind == OP_INCR)
		return number + op->delta;
	return op->delta > number ? 0 : number - op->delta;
}

/* The new version of a key that an op changes. */
static struct version make_version(
    const struct version *old, const struct op *op, uint64_t number, uint64_t cas)
{
	struct version v = {.live = true, .flags = op->flags, .expiry = op->expiry, .cas = cas};
	char digits[24];
	switch (op->kind) {
	case OP_APPEND:
	case OP_PREPEND:
		v.value = must_alloc(old->len + op->len);
		v.len = old->len + op->len;
		memcpy(v.value + (op->kind == OP_APPEND ? 0 : op->len), old->value, old->len);
		memcpy(v.value + (op->kind == OP_APPEND ? old->len : 0), op->value, op->len);
		break;
	case OP_INCR:
	case OP_DECR:
		v.len = (size_t)snprintf(digits, sizeof(digits), "%" PRIu64, number);
		v.value = copy_value((uint8_t *)digits, v.len);
		break;
	case OP_TOUCH:
	case OP_GAT:
		v.value = copy_value(old->value, old->len);
		v.len = old->len;
		v.flags = old->flags;
		v.cas = old->cas;
		return v;
	default:
		v.value = copy_value(op->value, op->len);
		v.len = op->len;
		return v;
	}
	v.flags = old->flags;
	v.expiry = old->expiry;
	return v;
}

static void do_key(struct model *m, const struct op *op, bool succeeds, uint64_t number, uint64_t cas)
{
	const struct version *old = model_holds(m, op->key, op->now), *last = last_version(m, op->key);
	struct version gone = {0};
	bool changes = succeeds && op->kind != OP_GET && op->kind != OP_DELETE;
	if (changes) {
		struct version v = make_version(old, op, number, cas);
		if (lives(&v, op->now)) {
			add_version(m, op->key, v);
			return;
		}
		free(v.value); /* stored and at once expired */
		add_version(m, op->key, gone);
	} else if (op->kind == OP_DELETE || (!old && last && last->live)) {
		add_version(m, op->key, gone); /* also: it was shown to have expired */
	}
}

struct op *model_do(struct model *m, struct op op, uint64_t cas)
{
	bool succeeds = model_expects(m, &op);
	uint64_t number = op.kind == OP_INCR || op.kind == OP_DECR ? model_number(m, &op) : 0;
	CHECK(m->n < MODEL_OPS);
	op.flush_due = m->op[m->n].flush_due;
	m->n++;
	op.cas = cas;
	if (op.kind == OP_FLUSH_AT) {
		op.flush_due = op.expiry;
	} else if (op.kind == OP_FLUSH || op.kind == OP_FIRE) {
		op.flush_due = 0;
		for (unsigned k = 0; k < MODEL_KEYS; k++)
			add_version(m, k, (struct version){0});
	} else {
		do_key(m, &op, succeeds, number, cas);
	}
	m->op[m->n] = op;
	return &m->op[m->n];
}

/* ---- the oracle ---- */

void found_free(struct found *f)
{
	for (unsigned k = 0; k < MODEL_KEYS; k++)
		free(f->key[k].value);
	memset(f, 0, sizeof(*f));
}

void found_turn_back(struct found *f, int64_t seconds)
{
	if (seconds == 0)
		return;
	for (unsigned k = 0; k < MODEL_KEYS; k++)
		if (f->key[k].expiry)
			f->key[k].expiry += seconds;
	if (f->flush_due)
		f->flush_due += seconds;
	f->now += seconds;
	f->slack = 1;
}

static bool about(int64_t a, int64_t b, int64_t slack)
{
	return a >= b - slack && a <= b + slack;
}

static bool same_key(const struct found_key *a, const struct found_key *b, int64_t slack)
{
	if (a->live != b->live || !a->live)
		return a->live == b->live;
	return a->len == b->len && a->flags == b->flags && about(a->expiry, b->expiry, slack) &&
	       a->cas == b->cas && memcmp(a->value, b->value, a->len) == 0;
}

bool found_same(const struct found *a, const struct found *b)
{
	for (unsigned k = 0; k < MODEL_KEYS; k++)
		if (!same_key(&a->key[k], &b->key[k], 0))
			return false;
	return a->flush_due == b->flush_due && a->items == b->items;
}

struct set {
	uint64_t word[MODEL_WORDS];
};

static void set_range(struct set *s, unsigned from, unsigned to)
{
	for (unsigned i = from; i <= to && i <= MODEL_OPS; i++)
		s->word[i / 64] |= UINT64_C(1) << i % 64;
}

static bool set_and(struct set *s, const struct set *with)
{
	uint64_t any = 0;
	for (unsigned i = 0; i < MODEL_WORDS; i++)
		any |= s->word[i] &= with->word[i];
	return any != 0;
}

static int set_last(const struct set *s)
{
	for (int i = (int)MODEL_OPS; i >= 0; i--)
		if (s->word[i / 64] >> i % 64 & 1)
			return i;
	return -1;
}

/* Whether the pending flush of state n may have fired, and whether it must have. */
static bool may_have_fired(const struct model *m, unsigned n, const struct found *f)
{
	return m->op[n].flush_due != 0 && m->op[n].flush_due <= f->now + f->slack;
}

static bool has_fired(const struct model *m, unsigned n, const struct found *f)
{
	return m->op[n].flush_due != 0 && m->op[n].flush_due <= f->now - f->slack;
}

/* States in which the key looks as it was found. */
static struct set states_of(const struct model *m, const struct found *f, unsigned key)
{
	struct set s = {{0}};
	const struct found_key *k = &f->key[key];
	const struct version *v = m->version[key];
	unsigned n = m->versions[key];
	if (!k->live)
		set_range(&s, 0, n ? v[0].op - 1 : m->n);
	for (unsigned i = 0; i < n; i++) {
		unsigned to = i + 1 < n ? v[i + 1].op - 1 : m->n;
		struct found_key want = {v[i].live, v[i].value, v[i].len, v[i].flags, v[i].expiry, v[i].cas};
		want.live = lives(&v[i], f->now);
		if (v[i].live && f->slack && about(v[i].expiry, f->now, f->slack))
			want.live = k->live; /* just then: either */
		if (same_key(&want, k, f->slack))
			set_range(&s, v[i].op, to);
	}
	for (unsigned i = 0; i <= m->n; i++) {
		uint64_t bit = UINT64_C(1) << i % 64;
		if (k->live && has_fired(m, i, f))
			s.word[i / 64] &= ~bit;
		else if (!k->live && may_have_fired(m, i, f))
			s.word[i / 64] |= bit;
	}
	return s;
}

static struct set states_of_flush(const struct model *m, const struct found *f)
{
	struct set s = {{0}};
	for (unsigned i = 0; i <= m->n; i++)
		if ((!has_fired(m, i, f) && about(f->flush_due, m->op[i].flush_due, f->slack)) ||
		    (may_have_fired(m, i, f) && f->flush_due == 0))
			set_range(&s, i, i);
	return s;
}

/* What is wrong with a key alone: the first words of a failure. */
static void explain(const struct model *m, const struct found *f, unsigned key, char *out, size_t size)
{
	const struct found_key *k = &f->key[key];
	const char *what = "ghost or lost";
	bool known = !k->live;
	for (unsigned i = 0; i < m->versions[key]; i++) {
		const struct version *v = &m->version[key][i];
		known |= v->live && k->live && v->len == k->len && memcmp(v->value, k->value, k->len) == 0;
	}
	if (!known)
		what = "CORRUPT";
	snprintf(out, size, "%s: key %u is %s '%.*s' cas %" PRIu64 " expiry %" PRId64 " now %" PRId64, what,
	    key, k->live ? "live" : "missing", (int)(k->len < 24 ? k->len : 24),
	    k->live ? (char *)k->value : "", k->cas, k->expiry, f->now);
}

struct verdict model_judge(
    const struct model *m, const struct found *f, unsigned least, unsigned most, bool holes)
{
	struct verdict verdict = {.ok = true};
	struct set s = {{0}}, any = {{0}};
	unsigned live = 0, key;
	set_range(&s, least, most);
	set_range(&any, 0, m->n);
	for (key = 0; key < MODEL_KEYS && verdict.ok; key++) {
		struct set of = states_of(m, f, key);
		live += f->key[key].live;
		if (holes && !f->key[key].live)
			continue;
		bool some = set_and(&any, &of);
		verdict.ok = set_and(&s, &of);
		if (!verdict.ok) {
			explain(m, f, key, verdict.why, sizeof(verdict.why) - 64);
			size_t at = strlen(verdict.why);
			snprintf(verdict.why + at, sizeof(verdict.why) - at, " (%s, wanted %u..%u of %u)",
			    some ? "a prefix, but not this one" : "no prefix", least, most, m->n);
		}
	}
	if (!verdict.ok)
		return verdict;
	struct set of = states_of_flush(m, f);
	if (!holes && !set_and(&s, &of)) {
		verdict.ok = false;
		snprintf(verdict.why, sizeof(verdict.why),
		    "the delayed flush is at %" PRId64 " in no state like this", f->flush_due);
	} else if (f->items != live && f->slack == 0) {
		verdict.ok = false;
		snprintf(
		    verdict.why, sizeof(verdict.why), "%" PRIu64 " items, but %u known keys", f->items, live);
	}
	verdict.n = (unsigned)(set_last(&s) < 0 ? 0 : set_last(&s));
	return verdict;
}
