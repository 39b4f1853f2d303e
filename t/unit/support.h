/* SPDX-License-Identifier: BSD-3-Clause */
/* support: what the tests of store, persist and engine share: values that say what they are, a reader's buffer,
 * and one-line calls of store and engine. */
#ifndef UNIT_SUPPORT_H
#define UNIT_SUPPORT_H

#include <pthread.h>
#include <time.h>
#include "unit.h"
#include "engine/engine.h"
#include "store/store.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

/* Checks that also hold outside of the test's own thread, where cmocka's must not be used. */
#define MUST(expr) \
	do { \
		if (!(expr)) { \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #expr); \
			abort(); \
		} \
	} while (0)

/* ---- values that say what they are ---- */

#define VALUE_LEAST 12u /* shorter ones are only bytes */

/* key, version and length in front, then bytes that follow from them. */
static inline void value_make(uint8_t *out, size_t len, uint32_t key, uint32_t version)
{
	uint32_t head[3] = {key, version, (uint32_t)len};
	uint32_t seed = key * 0x9e3779b1u ^ version * 0x85ebca6bu ^ (uint32_t)len;
	uint64_t state = seed * UINT64_C(0x2545f4914f6cdd1d) + 1;
	for (size_t i = 0; i < len; i += 8) {
		state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		uint64_t word = state ^ state >> 29;
		memcpy(out + i, &word, len - i < 8 ? len - i : 8);
	}
	if (len >= VALUE_LEAST)
		memcpy(out, head, sizeof(head));
}

/* Whether these bytes are one of the key's values, whole; tells which. */
static inline bool value_verify(const uint8_t *data, size_t len, uint32_t key, uint32_t *ret_version)
{
	uint32_t head[3];
	if (len < VALUE_LEAST)
		return false;
	memcpy(head, data, sizeof(head));
	if (head[0] != key || head[2] != len)
		return false;
	uint8_t *again = malloc(len);
	MUST(again);
	value_make(again, len, key, head[1]);
	bool same = memcmp(again, data, len) == 0;
	free(again);
	*ret_version = head[1];
	return same;
}

static inline uint8_t key_name(char out[32], uint32_t key)
{
	return (uint8_t)snprintf(out, 32, "key-%06u", key);
}

/* ---- a reader ---- */

/* What a get was shown, copied. room: more than this is refused once, so that STORE_MORE_ROOM is met. */
struct shown {
	uint8_t *data;
	size_t room, len;
	uint32_t flags;
	uint64_t seq, cas;
	int64_t expiry, access;
	bool fetched, stale, win_sent;
	uint32_t dict; /* the bytes are packed with it, to */
	size_t packed_len;
	unsigned refused; /* times */
	bool keep_pin;
	struct store_pin pin;
};

static inline bool shown_emit(void *arg, const struct store_view *view)
{
	struct shown *s = arg;
	if (view->value_len > s->room) {
		s->len = view->value_len;
		s->refused++;
		return false;
	}
	s->len = view->value_len;
	s->flags = view->flags;
	s->seq = view->seq;
	s->cas = view->cas;
	s->expiry = view->expiry;
	s->access = view->access;
	s->fetched = view->fetched;
	s->stale = view->stale;
	s->win_sent = view->win_sent;
	s->pin = view->pin;
	s->dict = view->dict;
	s->packed_len = view->packed_len;
	if (view->into)
		*view->into = s->data;
	else if (view->value_len)
		memcpy(s->data, view->value, view->dict ? view->packed_len : view->value_len);
	return true;
}

static inline void shown_grow(struct shown *s)
{
	s->room = s->len;
	s->data = realloc(s->data, s->room ? s->room : 1);
	MUST(s->data);
}

static inline void shown_free(struct shown *s)
{
	free(s->data);
	*s = (struct shown){0};
}

/* ---- the store in one line ---- */

static inline struct store *store_make(uint64_t memory, unsigned threads, bool no_evict)
{
	const struct store_options o = {
	    .memory = memory, .item_max = 8 * MIB, .threads = threads, .no_evict = no_evict};
	struct store *s = store_open(&o);
	MUST(s);
	return s;
}

static inline struct store_key key_of(const struct store *s, uint32_t key, char name[32])
{
	uint8_t len = key_name(name, key);
	return store_key(s, name, len);
}

static inline enum store_result store_fetch(
    struct store *s, struct store_thread *t, const struct store_key *key, struct shown *out)
{
	for (;;) {
		struct store_outcome o = {0};
		out->pin = (struct store_pin){NULL, STORE_PIN_NONE};
		enum store_result r = store_get(t, key, shown_emit, out, &o);
		if (r != STORE_MORE_ROOM) {
			if (r == STORE_OK && !out->keep_pin)
				store_unpin(s, &out->pin);
			return r;
		}
		shown_grow(out);
	}
}

/* put.large is made here when the value wants it. */
static inline enum store_result store_write(struct store *s, struct store_thread *t,
    const struct store_key *key, struct store_put put, struct store_outcome *ret)
{
	size_t secured = put.value_len;
	if (store_wants_large(s, key, put.value_len) && put.mode != STORE_APPEND &&
	    put.mode != STORE_PREPEND) {
		put.large = store_large_make(t, put.value_len);
		if (!put.large)
			return STORE_NO_MEMORY;
		memcpy(store_large_data(put.large), put.value, put.value_len);
	}
	for (;;) {
		enum store_result r = store_put(t, key, &put, secured, ret);
		if (r != STORE_MORE_ROOM)
			return r;
		secured = ret->needed;
	}
}

static inline enum store_result store_set(
    struct store *s, struct store_thread *t, uint32_t key, uint32_t version, size_t len)
{
	char name[32];
	struct store_key k = key_of(s, key, name);
	struct store_outcome out;
	uint8_t *value = malloc(len + 1);
	MUST(value);
	value_make(value, len, key, version);
	enum store_result r = store_write(
	    s, t, &k, (struct store_put){.mode = STORE_SET, .value = value, .value_len = len}, &out);
	free(value);
	return r;
}

#endif
