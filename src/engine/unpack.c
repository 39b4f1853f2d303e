/* SPDX-License-Identifier: BSD-3-Clause */
/* unpack: packed values on their way to clients. Under the shard's lock they are copied or pinned as they are, and room is
 * left for them in the reply; they are unpacked into it when the lock is gone. A value that does not unpack, which only bad
 * memory could bring about, is a miss, is told, and goes. */
#include "engine/private.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "base/msg.h"
#include "base/packed.h"

bool unpack_emit(void *arg, const struct store_view *view)
{
	struct unpacking *u = arg;
	u->into = NULL;
	if (!view->dict)
		return u->emit(u->arg, view);
	struct store_view shown = *view;
	shown.value = NULL;
	shown.into = &u->into;
	shown.pin = (struct store_pin){NULL, STORE_PIN_NONE};
	if (!u->emit(u->arg, &shown))
		return false;
	u->pin = view->pin;
	u->packed = view->value;
	u->packed_len = view->packed_len;
	u->value_len = view->value_len;
	u->dict = view->dict;
	u->cas = view->cas;
	if (!u->into || store_pinned(&view->pin))
		return true;
	CHECK(view->packed_len <= PACKED_RAW_MAX);
	u->packed = dict_room(u->worker->packing->context);
	memcpy(dict_room(u->worker->packing->context), view->value, view->packed_len);
	return true;
}

static bool unpack(
    struct engine_worker *w, uint32_t id, const uint8_t *packed, size_t len, uint8_t *out, size_t value_len)
{
	const struct dict *dict = dict_find(w->engine->dicts, id);
	struct compress_worker *cw = w->packing;
	compress_count(&cw->unpacked, 1);
	if (dict && dict_unpack(cw->context, dict, packed, len, out, value_len) == HEARTH_OK)
		return true;
	compress_count(&cw->errors, 1);
	msg(MSG_ERROR,
	    "a value of %zu bytes in memory, packed with dictionary %" PRIu32 ", %s: it is dropped",
	    value_len, id, dict ? "does not unpack" : "lacks it");
	return false;
}

enum store_result unpack_done(struct unpacking *u, const struct store_key *key, enum store_result result)
{
	struct engine_worker *w = u->worker;
	if (result == STORE_OK && u->into &&
	    !unpack(w, u->dict, u->packed, u->packed_len, u->into, u->value_len)) {
		/* Where there is no room in the log for that, it is a miss the next time, too. */
		engine_delete(w, key, u->cas);
		result = STORE_NOT_FOUND;
	}
	if (store_pinned(&u->pin))
		engine_unpin(w, &u->pin);
	return result;
}

static bool unpack_value(void *arg, uint32_t dict, const uint8_t *packed, size_t len, uint8_t **ret_value)
{
	struct engine_worker *w = arg;
	*ret_value = w->packing->value;
	return unpack(w, dict, packed, len, *ret_value, packed_raw_len(packed, len));
}

bool unpack_item(struct engine_worker *w, const struct store_key *key, enum store_result *result)
{
	if (*result == STORE_DROPPED)
		return true;
	if (*result != STORE_PACKED)
		return false;
	*result = store_unpack(w->thread, key, unpack_value, w);
	/* What cannot be unpacked goes. */
	if (*result == STORE_NOT_STORED)
		*result = engine_delete(w, key, 0);
	bool again = *result == STORE_OK || *result == STORE_NOT_FOUND;
	return again;
}

bool unpack_open(struct engine *e)
{
	if (!e->options.compress && dict_count(e->dicts) == 0)
		return true;
	for (unsigned i = 0; i < engine_workers(e); i++) {
		e->workers[i].packing = compress_worker_new(e->options.compress);
		if (!e->workers[i].packing)
			return false;
	}
	if (e->options.compress)
		e->compress = compress_start(e);
	return !e->options.compress || e->compress;
}

void unpack_close(struct engine *e)
{
	for (unsigned i = 0; e->workers && i < engine_workers(e); i++)
		if (e->workers[i].packing)
			compress_worker_free(&e->workers[i].packing);
}

static uint64_t load(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

void unpack_get_stats(const struct engine *e, struct engine_packing *ret)
{
	*ret = (struct engine_packing){.on = e->compress, .dictionaries = dict_count(e->dicts)};
	if (e->compress)
		ret->trainings = compress_trainings(e->compress);
	for (unsigned i = 0; i < engine_workers(e) && e->workers[i].packing; i++) {
		const struct compress_worker *cw = e->workers[i].packing;
		ret->unpacked += load(&cw->unpacked);
		ret->errors += load(&cw->errors);
		for (size_t k = 0; k < COMPRESS_CLASSES; k++) {
			const struct compress_counts *n = &cw->counts[k];
			ret->sets += load(&n->values);
			ret->raw_bytes += load(&n->raw);
			ret->packed_bytes += load(&n->packed);
			ret->refused += load(&n->refused);
		}
	}
}
