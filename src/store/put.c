/* SPDX-License-Identifier: BSD-3-Clause */
/* put: every way to change a value: put in its modes, arithmetic. What can wait (memory, a step of the
 * index) is secured first; then under the shard's lock the mode is decided, the change noted, and the item
 * linked or overwritten. */
#include "store/rewrite.h"

#include <ctype.h>
#include <stdlib.h>

#define DIGITS_MAX 20 /* of a 64-bit number */
#define IN_PIECES  (512 * 1024)

static bool shard_full(const struct store *s, const struct change_site *site)
{
	const struct index_shard *sh = &s->index.shard[site->shard];
	return !site->it && sh->slots >= sh->buckets * INDEX_SLOTS;
}

/* Whether the new value can take the old one's place byte for byte: the same layout and the same rounded
 * size, and never above STORE_COPY_MAX, where readers hold pins. */
static bool fits_in_place(const struct change_site *site, const struct item_spec *spec)
{
	if (!site->it)
		return false;
	unsigned there = item_state(site->it) & ITEM_LAYOUT;
	return there == (site->layout & ITEM_LAYOUT) && !(there & ITEM_LARGE) &&
	       spec->value_len <= STORE_COPY_MAX && item_inline_len(site->it) <= STORE_COPY_MAX &&
	       item_round(site->bytes) == item_size(site->it);
}

/* What the item of this spec will be, and whether it overwrites the one that is there. */
static void foresee_place(struct change_site *site, const struct item_spec *spec)
{
	site->layout = item_layout(spec);
	site->bytes = item_bytes(spec, site->layout);
	site->in_place = fits_in_place(site, spec);
}

/* Header and fields but for what walkers read without the lock: size and key stay as they are. */
static void overwrite(
    struct store *s, const struct change_site *site, const struct item_spec *spec, const uint8_t *value)
{
	struct item *it = site->it;
	uint8_t *at = it->body + it->key_len;
	it->bits = item_bits(site->layout, spec->seq, site->bytes);
	it->access = item_clock(spec->access);
	at = item_write_fields(at, spec, site->layout);
	store_note_expiry(s, it, spec->expiry);
	if (spec->value_len)
		memcpy(at, value, spec->value_len);
}

/* What is stored over something newer is stale from the start. */
static bool is_older(const struct store_put *put, const struct change_site *site)
{
	return put->mode == STORE_CAS && put->older_is_stale && put->compare && site->it &&
	       put->compare < change_cas(site->it);
}

/* Expiry and state of the new item, as far as what is there has a say. */
static void foresee(struct store_thread *t, const struct store_key *key, const struct store_put *put,
    const struct change_site *site, struct item_spec *spec)
{
	bool older = is_older(put, site);
	spec->expiry = older ? item_expiry(site->it) : put->expiry;
	spec->state = (uint16_t)((key->binary ? ITEM_BINARY : 0) |
	                         (store_not_kept(t->store, key, spec->expiry, t->now) ? ITEM_NOT_KEPT : 0) |
	                         (put->win ? ITEM_WIN_SENT | ITEM_FETCHED : 0));
	if (older)
		spec->state |= ITEM_STALE | (item_state(site->it) & ITEM_WIN_SENT);
}

/* Whether the mode lets the put go on; leaves the tombstone of a miss. */
static enum store_result decide(struct store_thread *t, const struct store_key *key,
    const struct store_put *put, struct change_site *site, struct store_outcome *ret)
{
	switch (put->mode) {
	case STORE_ADD:
		if (!site->it)
			return STORE_OK;
		ret->seq = item_seq(site->it);
		return STORE_NOT_STORED;
	case STORE_REPLACE:
		if (site->it)
			return STORE_OK;
		ret->seq = change_remove(t, key, site);
		return STORE_NOT_STORED;
	case STORE_CAS:
		if (!site->it) {
			ret->seq = change_remove(t, key, site);
			return STORE_NOT_FOUND;
		}
		ret->seq = item_seq(site->it);
		return change_cas(site->it) == put->compare || is_older(put, site) ? STORE_OK : STORE_EXISTS;
	default:
		return STORE_OK;
	}
}

/* Notes and links; `made` is the item if its value was written before (above STORE_COPY_MAX, or large), else
 * NULL. */
static void commit(struct store_thread *t, const struct store_key *key, const struct store_put *put,
    struct change_site *site, struct item_spec *spec, struct item *made, struct store_outcome *ret)
{
	struct store *s = t->store;
	struct store_change change = change_set(key, spec, put->value);
	if (made) {
		/* With regions of 16 KiB a value of its own memory can be small enough to be copied. */
		change.value = spec->large ? large_data(spec->large) : item_value(made);
		if (spec->value_len > STORE_COPY_MAX && !(spec->state & ITEM_NOT_KEPT))
			change.pin = change_pin(s, made, false);
	}
	if (spec->state & ITEM_NOT_KEPT)
		change_hide(&change, site);
	ret->seq = spec->seq = change_note(t, &change);
	ret->cas = spec->cas ? spec->cas : spec->seq;
	ret->value_len = spec->value_len;
	if (site->in_place) {
		overwrite(s, site, spec, put->value);
		return;
	}
	if (!made) {
		made = change_make(t, change_queue(t, key, site), spec);
		if (spec->value_len && !spec->large)
			memcpy(item_value(made), put->value, spec->value_len);
	} else {
		item_set_seq(made, spec->seq);
	}
	CHECK(change_link(t, site, made));
}

/* Stored and at once expired: what it supersedes goes, and nothing takes its place. */
static void pass_away(struct store_thread *t, const struct store_key *key, struct change_site *site,
    const struct item_spec *spec, struct store_outcome *ret)
{
	atomic_fetch_add_explicit(&t->store->expired, 1, memory_order_relaxed);
	ret->seq = change_remove(t, key, site);
	ret->cas = spec->cas ? spec->cas : ret->seq;
	ret->value_len = spec->value_len;
}

static bool is_as_foreseen(struct store_thread *t, const struct store_key *key, const struct store_put *put,
    const struct change_site *site, const struct item_spec *spec)
{
	struct item_spec now = *spec;
	foresee(t, key, put, site, &now);
	return now.expiry == spec->expiry && now.state == spec->state;
}

/* With the shard locked, and the lane too unless the item that is there is overwritten. STORE_WAIT when it is not what was
 * foreseen. *made, if any, is the item's bytes until it is linked. */
static enum store_result settle(struct store_thread *t, const struct store_key *key,
    const struct store_put *put, struct change_site *site, struct item_spec *spec, struct item **made,
    struct store_outcome *ret)
{
	enum store_result result =
	    shard_full(t->store, site) ? STORE_NO_MEMORY : decide(t, key, put, site, ret);
	if (result == STORE_OK && put->older_is_stale && !is_as_foreseen(t, key, put, site, spec))
		result = STORE_WAIT;
	if (result == STORE_OK && store_expired(spec->expiry, t->now)) {
		pass_away(t, key, site, spec, ret);
	} else if (result == STORE_OK) {
		commit(t, key, put, site, spec, *made, ret);
		lane_count(t->lane);
		*made = NULL;
		spec->large = NULL; /* the item's now */
	}
	return result;
}

/* One try, after room was secured. Large bytes are not copied under the shard's lock; a stub for a large value is made
 * early too, to be pinned. */
static enum store_result store_once(struct store_thread *t, const struct store_key *key,
    const struct store_put *put, struct item_spec *spec, struct store_outcome *ret)
{
	struct store *s = t->store;
	struct change_site site;
	struct item *made = NULL;
	enum arena_queue q = ARENA_SMALL;
	size_t size = item_round(item_bytes(spec, item_layout(spec)));
	if (!change_room(t, size))
		return STORE_NO_MEMORY;
	if (spec->value_len > STORE_COPY_MAX || spec->large) {
		change_enter(t, key, &site);
		q = change_queue(t, key, &site);
		change_leave(s, &site);
		made = change_make(t, q, spec);
		if (!spec->large)
			memcpy(item_value(made), put->value, spec->value_len);
	}
	change_enter(t, key, &site);
	foresee_place(&site, spec);
	site.in_place &= !made;
	enum store_result result = settle(t, key, put, &site, spec, &made, ret);
	change_leave(s, &site);
	if (made)
		lane_rewind(s, t->lane, q, made, size);
	pthread_mutex_unlock(&t->lane->lock);
	return result;
}

/* The short way, which most sets go: an item that is overwritten needs no room, and for another one there is some at hand
 * nearly always. False, and nothing done, when the long way has to be gone. */
static bool store_at_once(struct store_thread *t, const struct store_key *key, const struct store_put *put,
    struct item_spec *spec, struct store_outcome *ret, enum store_result *ret_result)
{
	struct change_site site;
	struct item *made = NULL;
	if (spec->value_len > STORE_COPY_MAX || spec->large || put->older_is_stale)
		return false;
	change_enter(t, key, &site);
	foresee_place(&site, spec);
	bool room = site.in_place || change_room_at_once(t, item_round(site.bytes));
	if (room)
		*ret_result = settle(t, key, put, &site, spec, &made, ret);
	change_leave(t->store, &site);
	if (room && !site.in_place)
		pthread_mutex_unlock(&t->lane->lock);
	return room;
}

static enum store_result store_value(struct store_thread *t, const struct store_key *key,
    const struct store_put *put, struct item_spec *spec, struct store_outcome *ret)
{
	struct change_site site = {0};
	enum store_result result;
	change_grow(t, key);
	do {
		if (put->older_is_stale)
			change_enter(t, key, &site);
		foresee(t, key, put, &site, spec);
		if (put->older_is_stale)
			change_leave(t->store, &site);
		if (!store_at_once(t, key, put, spec, ret, &result))
			result = store_once(t, key, put, spec, ret);
	} while (result == STORE_WAIT);
	return result;
}

/* ---- append, prepend ---- */

static enum store_result concat(struct store_thread *t, const struct store_key *key,
    const struct store_put *put, size_t secured, struct store_outcome *ret)
{
	struct store *s = t->store;
	const uint8_t *data = put->large ? large_data(put->large) : put->value;
	struct rewrite rw = {.clear = ITEM_STALE | ITEM_WIN_SENT | ITEM_FETCHED, .cas = put->cas};
	if (put->mode == STORE_APPEND) {
		rw.after = data;
		rw.after_len = put->value_len;
	} else {
		rw.before = data;
		rw.before_len = put->value_len;
	}
	for (;;) {
		struct change_site site;
		struct original o;
		change_enter(t, key, &site);
		if (site.it && change_dropped(s, site.it)) {
			ret->seq = change_drop(t, key, &site);
			change_leave(s, &site);
			return STORE_DROPPED;
		}
		if (!site.it) {
			if (!put->vivify)
				ret->seq = change_remove(t, key, &site);
			change_leave(s, &site);
			return STORE_NOT_FOUND;
		}
		if (put->compare && change_cas(site.it) != put->compare) {
			ret->seq = item_seq(site.it);
			change_leave(s, &site);
			return STORE_EXISTS;
		}
		if (item_state(site.it) & ITEM_HAS_DICT) {
			change_leave(s, &site);
			return STORE_PACKED;
		}
		size_t total = item_value_len(site.it) + put->value_len;
		enum store_result refuse =
		    STORE_OK; /* an item too large is not stored, as memcached answers */
		if (sizeof(struct item) + key->len + total > s->options.item_max)
			refuse = STORE_NOT_STORED;
		else if (total > secured)
			refuse = STORE_MORE_ROOM;
		if (refuse == STORE_OK)
			rewrite_learn(s, &site, &o);
		change_leave(s, &site);
		ret->needed = total;
		if (refuse != STORE_OK)
			return refuse;
		enum rewrite_result done = rewrite_once(t, key, &rw, &o, ret);
		store_unpin(s, &o.pin);
		if (done != REWRITE_AGAIN)
			return rewrite_answer(done);
	}
}

/* Onto what is there, or, where that is wanted and nothing is, as it is. */
static enum store_result concat_or_store(struct store_thread *t, const struct store_key *key,
    const struct store_put *put, struct item_spec *spec, size_t secured, struct store_outcome *ret)
{
	struct store_put add = *put;
	add.mode = STORE_ADD;
	for (;;) {
		enum store_result result = concat(t, key, put, secured, ret);
		if (result != STORE_NOT_FOUND)
			return result;
		if (!put->vivify)
			return STORE_NOT_STORED;
		result = store_value(t, key, &add, spec, ret);
		if (result != STORE_NOT_STORED)
			return result;
	}
}

enum store_result store_put(struct store_thread *t, const struct store_key *key, const struct store_put *put,
    size_t secured, struct store_outcome *ret)
{
	struct item_spec spec = {
	    .key = key->data,
	    .key_len = key->len,
	    .access = t->now,
	    .cas = put->cas,
	    .flags = put->flags,
	    .dict = put->dict,
	    .value_len = put->value_len,
	    .large = put->large,
	};
	bool concats = put->mode == STORE_APPEND || put->mode == STORE_PREPEND;
	enum store_result result;
	*ret = (struct store_outcome){0};
	CHECK((concats && !put->vivify) || put->large || !store_wants_large(t->store, key, put->value_len));
	if (concats)
		result = concat_or_store(t, key, put, &spec, secured, ret);
	else
		result = store_value(t, key, put, &spec, ret);
	if (result == STORE_MORE_ROOM || result == STORE_PACKED || result == STORE_DROPPED)
		return result; /* the large value stays the caller's for the next try */
	if (spec.large)
		large_unref(&spec.large);
	return result;
}

/* ---- arithmetic ---- */

/* As memcached reads numbers: blanks before, digits, then the end or a blank; 20 digits at most, no sign. */
static bool parse_number(const uint8_t *data, size_t len, uint64_t *ret_number)
{
	size_t i = 0;
	uint64_t n = 0;
	while (i < len && isspace(data[i]))
		i++;
	if (i < len && data[i] == '+')
		i++;
	size_t first = i;
	for (; i < len && data[i] >= '0' && data[i] <= '9'; i++) {
		unsigned digit = data[i] - '0';
		if (__builtin_mul_overflow(n, UINT64_C(10), &n) || __builtin_add_overflow(n, digit, &n))
			return false;
	}
	*ret_number = n;
	return i > first && (i == len || isspace(data[i]));
}

static size_t print_number(uint64_t n, uint8_t out[DIGITS_MAX])
{
	uint8_t tmp[DIGITS_MAX];
	size_t len = 0;
	do
		tmp[len++] = (uint8_t)('0' + n % 10);
	while (n /= 10);
	for (size_t i = 0; i < len; i++)
		out[i] = tmp[len - 1 - i];
	return len;
}

static enum store_result calculate(
    const struct change_site *site, const struct store_arith *arith, uint64_t *ret_number)
{
	uint64_t n;
	size_t len = item_value_len(site->it);
	if (item_state(site->it) & ITEM_HAS_DICT)
		return STORE_PACKED;
	/* As memcached answers: of an empty value, and of one that it keeps in pieces, the CAS is not looked at. */
	if (len == 0 || len > IN_PIECES)
		return STORE_NOT_NUMBER;
	if (arith->compare && change_cas(site->it) != arith->compare)
		return STORE_EXISTS;
	if (item_large(site->it) || len > STORE_COPY_MAX || !parse_number(item_value(site->it), len, &n))
		return STORE_NOT_NUMBER;
	if (arith->decrement)
		*ret_number = arith->delta > n ? 0 : n - arith->delta;
	else
		*ret_number = n + arith->delta;
	return STORE_OK;
}

/* The number that was calculated takes the old one's place. */
static void put_number(struct store_thread *t, const struct store_key *key, const struct store_arith *arith,
    struct change_site *site, struct store_outcome *ret)
{
	uint8_t digits[DIGITS_MAX];
	struct item_spec spec;
	item_read(site->it, &spec);
	spec.key = key->data;
	spec.cas = arith->cas;
	spec.access = t->now;
	spec.value_len = print_number(ret->number, digits);
	/* memcached makes the item anew when it becomes longer. */
	if (spec.value_len > item_value_len(site->it))
		spec.state &= ~(unsigned)ITEM_FETCHED;
	ret->expiry = spec.expiry;
	if (arith->expires) {
		spec.expiry = arith->expiry;
		if (!store_not_kept(t->store, key, spec.expiry, t->now))
			spec.state &= ~(unsigned)ITEM_NOT_KEPT;
	}
	if (store_expired(spec.expiry, t->now)) {
		pass_away(t, key, site, &spec, ret);
		return;
	}
	const struct store_put put = {.value = digits, .value_len = spec.value_len};
	foresee_place(site, &spec);
	commit(t, key, &put, site, &spec, NULL, ret); /* memcached counts no arithmetic as a new item */
}

/* A miss begins with this number. */
static enum store_result put_initial(struct store_thread *t, const struct store_key *key,
    const struct store_arith *arith, struct change_site *site, struct store_outcome *ret)
{
	uint8_t digits[DIGITS_MAX];
	struct item_spec spec = {.key = key->data,
	    .key_len = key->len,
	    .cas = arith->cas,
	    .access = t->now,
	    .value_len = print_number(arith->initial, digits)};
	const struct store_put put = {
	    .value = digits, .value_len = spec.value_len, .expiry = arith->initial_expiry};
	if (shard_full(t->store, site))
		return STORE_NO_MEMORY;
	ret->number = arith->initial;
	ret->created = true;
	foresee(t, key, &put, site, &spec);
	if (store_expired(spec.expiry, t->now)) {
		pass_away(t, key, site, &spec, ret);
	} else {
		commit(t, key, &put, site, &spec, NULL, ret);
		lane_count(t->lane);
	}
	return STORE_OK;
}

enum store_result store_arith(struct store_thread *t, const struct store_key *key,
    const struct store_arith *arith, struct store_outcome *ret)
{
	struct store *s = t->store;
	struct change_site site;
	enum store_result result = STORE_NOT_FOUND;
	*ret = (struct store_outcome){0};
	if (arith->vivify)
		change_grow(t, key);
	/* Room for the largest item that can come of it. */
	if (!change_room(t, item_round(sizeof(struct item) + key->len + 24 + DIGITS_MAX)))
		return STORE_NO_MEMORY;
	change_enter(t, key, &site);
	if (site.it && change_dropped(s, site.it)) {
		result = STORE_DROPPED;
		ret->seq = change_drop(t, key, &site);
	} else if (site.it) {
		ret->seq = item_seq(site.it);
		result = calculate(&site, arith, &ret->number);
		if (result == STORE_OK)
			put_number(t, key, arith, &site, ret);
	} else if (arith->vivify) {
		result = put_initial(t, key, arith, &site, ret);
	} else {
		ret->seq = change_remove(t, key, &site);
	}
	change_leave(s, &site);
	pthread_mutex_unlock(&t->lane->lock);
	return result;
}
