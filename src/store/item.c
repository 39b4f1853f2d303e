/* SPDX-License-Identifier: BSD-3-Clause */
/* item: the layout of item.h, field by field. No state; callers hold the shard's lock. */
#include "store/item.h"

#include "base/check.h"
#include "base/packed.h"
#include "store/large.h"

/* Between key and value. Returns where the value begins. */
uint8_t *item_write_fields(uint8_t *at, const struct item_spec *spec, unsigned layout)
{
	if (layout & ITEM_HAS_EXPIRY) {
		memcpy(at, &spec->expiry, 8);
		at += 8;
	}
	if (layout & ITEM_HAS_FLAGS) {
		memcpy(at, &spec->flags, 4);
		at += 4;
	}
	if (layout & ITEM_HAS_CAS) {
		memcpy(at, &spec->cas, 8);
		at += 8;
	}
	if (layout & ITEM_HAS_DICT) {
		memcpy(at, &spec->dict, 4);
		at += 4;
	}
	return at;
}

void item_write(struct item *it, const struct item_spec *spec, unsigned layout, size_t bytes)
{
	size_t size = item_round(bytes);
	CHECK(size <= ITEM_SIZE_MAX);
	it->bits = item_bits(layout, spec->seq, bytes);
	it->access = item_clock(spec->access);
	it->units = (uint16_t)(size / ITEM_ALIGN);
	it->key_len = spec->key_len;
	uint8_t *at = it->body;
	memcpy(at, spec->key, spec->key_len);
	at += spec->key_len;
	at = item_write_fields(at, spec, layout);
	if (layout & ITEM_LARGE)
		memcpy(at, &spec->large, sizeof(spec->large));
}

void item_read(const struct item *it, struct item_spec *ret_spec)
{
	unsigned state = item_state(it);
	const uint8_t *at = it->body + it->key_len;
	*ret_spec = (struct item_spec){
	    .key = it->body,
	    .key_len = it->key_len,
	    .state = (uint16_t)state,
	    .seq = item_seq(it),
	    .access = item_access(it),
	};
	if (state & ITEM_HAS_EXPIRY) {
		memcpy(&ret_spec->expiry, at, 8);
		at += 8;
	}
	if (state & ITEM_HAS_FLAGS) {
		memcpy(&ret_spec->flags, at, 4);
		at += 4;
	}
	if (state & ITEM_HAS_CAS) {
		memcpy(&ret_spec->cas, at, 8);
		at += 8;
	}
	if (state & ITEM_HAS_DICT) {
		memcpy(&ret_spec->dict, at, 4);
		at += 4;
	}
	if (state & ITEM_LARGE)
		memcpy(&ret_spec->large, at, sizeof(ret_spec->large));
	ret_spec->value_len = item_value_len(it);
}

int64_t item_expiry(const struct item *it)
{
	int64_t expiry = 0;
	if (item_state(it) & ITEM_HAS_EXPIRY)
		memcpy(&expiry, it->body + it->key_len, sizeof(expiry));
	return expiry;
}

void item_set_expiry(struct item *it, int64_t expiry)
{
	CHECK(item_state(it) & ITEM_HAS_EXPIRY);
	memcpy(it->body + it->key_len, &expiry, sizeof(expiry));
}

struct store_large *item_large(const struct item *it)
{
	struct store_large *large = NULL;
	unsigned state = item_state(it);
	if (state & ITEM_LARGE)
		memcpy(&large, it->body + it->key_len + item_fields(state), sizeof(large));
	return large;
}

size_t item_value_len(const struct item *it)
{
	return item_state(it) & ITEM_LARGE ? large_len(item_large(it)) : item_inline_len(it);
}

size_t item_shown_len(const struct item_spec *spec, const uint8_t *value)
{
	return spec->dict ? packed_raw_len(value, spec->value_len) : spec->value_len;
}
