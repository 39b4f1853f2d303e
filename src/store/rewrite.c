/* SPDX-License-Identifier: BSD-3-Clause */
/* rewrite: see rewrite.h. The first look learns what the item is, the second links the new one if it is that still. */
#include "store/rewrite.h"

void rewrite_learn(struct store *s, const struct change_site *site, struct original *o)
{
	item_read(site->it, &o->spec);
	o->pin = (struct store_pin){NULL, STORE_PIN_NONE};
	o->place = store_place(s, site->it);
	o->queue = store_region(s, site->it)->queue;
	if (o->spec.value_len > STORE_COPY_MAX || o->spec.large) {
		o->pin = change_pin(s, site->it, false);
		o->value = o->spec.large ? large_data(o->spec.large) : item_value(site->it);
	} else {
		memcpy(o->copy, item_value(site->it), o->spec.value_len);
		o->value = o->copy;
	}
}

static void fill(uint8_t *out, const struct rewrite *rw, const struct original *o)
{
	if (rw->unpacked) {
		memcpy(out, rw->unpacked, rw->unpacked_len);
		return;
	}
	if (rw->before_len)
		memcpy(out, rw->before, rw->before_len);
	memcpy(out + rw->before_len, o->value, o->spec.value_len);
	if (rw->after_len)
		memcpy(out + rw->before_len + o->spec.value_len, rw->after, rw->after_len);
}

/* Value, flags and memory of the new spec; false when there is none for a large result. */
static bool plan_value(struct store_thread *t, const struct store_key *key, const struct rewrite *rw,
    const struct original *o, struct item_spec *spec)
{
	spec->large = NULL;
	if (rw->empty) {
		spec->value_len = 0;
		spec->flags = rw->flags;
		spec->dict = 0;
		return true;
	}
	if (rw->same) {
		spec->large = o->spec.large ? large_ref(o->pin.large) : NULL;
		return true;
	}
	spec->value_len = rw->before_len + o->spec.value_len + rw->after_len;
	if (rw->unpacked) {
		spec->value_len = rw->unpacked_len;
		spec->dict = 0;
	}
	if (!store_wants_large(t->store, key, spec->value_len))
		return true;
	spec->large = store_large_make(t, spec->value_len);
	if (spec->large)
		fill(large_data(spec->large), rw, o);
	return spec->large != NULL;
}

/* The item keeps its number, and no record holds its value. */
static bool is_quiet(const struct rewrite *rw)
{
	return rw->touch || rw->unpacked;
}

static bool plan(struct store_thread *t, const struct store_key *key, const struct rewrite *rw,
    const struct original *o, struct item_spec *spec)
{
	*spec = o->spec;
	spec->key = key->data;
	/* Who marks an item does not look at it. */
	bool mark = ((rw->same || rw->empty) && !rw->touch) || rw->unpacked;
	if (!t->store->loading && (rw->emit || !mark))
		spec->access = t->now;
	spec->state =
	    (uint16_t)((spec->state & ~(unsigned)rw->clear) | rw->set | (rw->emit ? ITEM_FETCHED : 0));
	if (rw->expires)
		spec->expiry = rw->expiry;
	if (rw->keep_cas)
		spec->cas = o->spec.cas ? o->spec.cas : o->spec.seq;
	else if (!is_quiet(rw))
		spec->cas = rw->cas;
	return plan_value(t, key, rw, o, spec);
}

static uint64_t note_rewrite(struct store_thread *t, const struct store_key *key, const struct rewrite *rw,
    const struct change_site *site, const struct item_spec *spec, struct item *made)
{
	struct store_change change = change_set(key, spec, NULL);
	bool hidden = spec->state & ITEM_NOT_KEPT;
	if (rw->unpacked || (rw->touch && hidden))
		return spec->seq; /* nothing that the disk knows of has changed */
	if (hidden) {
		change_hide(&change, site);
		return change_note(t, &change);
	}
	if (rw->touch) {
		change.kind = STORE_CHANGE_TOUCH;
		return change_note(t, &change);
	}
	change.value = spec->large ? large_data(spec->large) : item_value(made);
	if (spec->value_len > STORE_COPY_MAX)
		change.pin = change_pin(t->store, made, false);
	return change_note(t, &change);
}

/* The shard's lock is held. */
static bool unchanged(
    const struct store *s, const struct rewrite *rw, const struct original *o, const struct change_site *site)
{
	/* A drop may have begun since the first look. */
	if (site->it && !is_quiet(rw) && change_dropped(s, site->it))
		return false;
	return site->it && (!is_quiet(rw) || store_place(s, site->it) == o->place) &&
	       item_seq(site->it) == o->spec.seq && item_expiry(site->it) == o->spec.expiry &&
	       (item_state(site->it) & ~(unsigned)ITEM_FETCHED) == (o->spec.state & ~(unsigned)ITEM_FETCHED);
}

/* Puts the new item in the old one's place. */
static void replace(struct store_thread *t, const struct store_key *key, const struct rewrite *rw,
    const struct original *o, struct change_site *site, struct item_spec *spec, struct item *made,
    struct store_outcome *ret)
{
	ret->seq = note_rewrite(t, key, rw, site, spec, made);
	item_set_seq(made, is_quiet(rw) ? o->spec.seq : ret->seq);
	ret->cas = change_cas(made);
	ret->value_len = spec->value_len;
	CHECK(change_link(t, site, made));
	if (rw->emit)
		store_note_hit(t, made, site->cursor.slot);
	if (!rw->same && !rw->empty && !rw->unpacked)
		lane_count(t->lane);
	spec->large = NULL;
}

enum rewrite_result rewrite_once(struct store_thread *t, const struct store_key *key,
    const struct rewrite *rw, const struct original *o, struct store_outcome *ret)
{
	struct store *s = t->store;
	struct change_site site;
	struct item_spec spec;
	enum rewrite_result result = REWRITE_NO_MEMORY;
	if (!plan(t, key, rw, o, &spec))
		return result;
	size_t size = item_round(item_bytes(&spec, item_layout(&spec)));
	if (change_room(t, size)) {
		enum arena_queue q = change_queue_for(t, o->queue, size);
		struct item *made = change_make(t, q, &spec);
		if (!spec.large && !rw->empty)
			fill(item_value(made), rw, o);
		/* No record holds the value, and the item leaves where a scan would find it. */
		if (is_quiet(rw))
			scan_item(s, key, o->place);
		change_enter(t, key, &site);
		result = unchanged(s, rw, o, &site) ? REWRITE_DONE : REWRITE_AGAIN;
		if (result == REWRITE_DONE && rw->emit && !store_emit_item(s, site.it, rw->emit, rw->arg))
			result = REWRITE_NO_ROOM;
		if (result == REWRITE_DONE)
			replace(t, key, rw, o, &site, &spec, made, ret);
		change_leave(s, &site);
		if (result != REWRITE_DONE)
			lane_rewind(s, t->lane, q, made, size);
		pthread_mutex_unlock(&t->lane->lock);
	}
	if (spec.large)
		large_unref(&spec.large);
	return result;
}
