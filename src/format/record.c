/* SPDX-License-Identifier: BSD-3-Clause */
/* record: the codec of changes; record.h has the layout. Pure: no I/O, no allocation, no state; any thread. A
 * record has exactly one encoding: fields that would be zero are left out, and a decoder refuses them where
 * they are not. */
#include <string.h>
#include "base/bytes.h"
#include "base/check.h"
#include <hearth/dict.h>
#include <hearth/keyblock.h>
#include <hearth/record.h>

/* What the caller may set in struct record's bits; the rest says which fields follow. */
#define ITEM_BITS (RECORD_STATE_BITS | 3u << RECORD_USE_SHIFT | RECORD_MAIN_QUEUE)

static uint16_t set_bits(const struct record *r)
{
	unsigned bits = r->bits & ITEM_BITS;
	/* As it is for most of them. */
	if (!(r->seq | (uint64_t)r->expiry | r->flags | r->cas | (uint64_t)r->access | r->dict))
		return (uint16_t)bits;
	bits |= r->seq != 0 ? RECORD_HAS_SEQ : 0u;
	bits |= r->expiry != 0 ? RECORD_HAS_EXPIRY : 0u;
	bits |= r->flags != 0 ? RECORD_HAS_FLAGS : 0u;
	bits |= r->cas != 0 ? RECORD_HAS_CAS : 0u;
	bits |= r->access != 0 ? RECORD_HAS_ACCESS : 0u;
	bits |= r->dict != 0 ? RECORD_HAS_DICT : 0u;
	return (uint16_t)bits;
}

/* Length of a set's bits, key length and the fields that bits 0 to 3 announce. */
static const uint8_t fixed_size[16] = {3, 11, 11, 19, 7, 15, 15, 23, 11, 19, 19, 27, 15, 23, 23, 31};

/* Length of a set's body without the value. */
static size_t set_head_size(const struct record *r, unsigned bits)
{
	CHECK(r->key_len > 0 && r->key_len <= RECORD_KEY_MAX);
	CHECK(r->value_len <= RECORD_VALUE_MAX && r->access >= 0);
	return (size_t)fixed_size[bits & 15] + r->key_len +
	       (bits & RECORD_HAS_ACCESS ? bytes_varint_size((uint64_t)r->access) : 0) +
	       (bits & RECORD_HAS_DICT ? 4u : 0);
}

static bool has_key(uint8_t type)
{
	return type == RECORD_SET || type == RECORD_DELETE || type == RECORD_TOUCH;
}

/* Length of the body without the value. */
static size_t body_head_size(const struct record *r)
{
	CHECK(!has_key(r->type) || (r->key_len > 0 && r->key_len <= RECORD_KEY_MAX));
	switch (r->type) {
	case RECORD_SET:
		return set_head_size(r, set_bits(r));
	case RECORD_DELETE:
		return r->key_len;
	case RECORD_TOUCH:
		return 8u + r->key_len;
	case RECORD_FLUSH:
	case RECORD_PASS:
		return 0;
	case RECORD_FLUSH_AT:
		return 8;
	case RECORD_DICT:
		CHECK(r->dict != 0 && r->value_len > 0 && r->value_len <= DICT_BYTES_MAX);
		return 5;
	default:
		CHECK(!"a record type that can be written");
		return 0;
	}
}

static uint64_t value_size(const struct record *r)
{
	return r->type == RECORD_SET || r->type == RECORD_DICT ? r->value_len : 0;
}

size_t record_size(const struct record *r)
{
	uint64_t body = body_head_size(r) + value_size(r);
	return (size_t)(1 + bytes_varint_size(body) + body);
}

/* These fields, where they are not zero. */
static uint8_t *put_fixed(uint8_t *p, const struct record *r, unsigned bits)
{
	if (bits & RECORD_HAS_SEQ) {
		bytes_store64(p, r->seq);
		p += 8;
	}
	if (bits & RECORD_HAS_EXPIRY) {
		bytes_store64(p, (uint64_t)r->expiry);
		p += 8;
	}
	if (bits & RECORD_HAS_FLAGS) {
		bytes_store32(p, r->flags);
		p += 4;
	}
	if (bits & RECORD_HAS_CAS) {
		bytes_store64(p, r->cas);
		p += 8;
	}
	return p;
}

/* What nearly all records are. The head has its length from the table, and room for that there is. */
static size_t encode_set_head(const struct record *r, uint8_t *out)
{
	unsigned bits = set_bits(r);
	uint8_t *p = out;
	*p++ = RECORD_SET;
	p = bytes_store_varint(p, set_head_size(r, bits) + r->value_len);
	bytes_store16(p, (uint16_t)bits);
	p[2] = r->key_len;
	p += 3;
	if (bits & 15)
		p = put_fixed(p, r, bits);
	if (bits & RECORD_HAS_ACCESS)
		p = bytes_store_varint(p, (uint64_t)r->access);
	if (bits & RECORD_HAS_DICT) {
		bytes_store32(p, r->dict);
		p += 4;
	}
	memcpy(p, r->key, r->key_len);
	return (size_t)(p + r->key_len - out);
}

size_t record_encode_head(const struct record *r, uint8_t *out)
{
	if (r->type == RECORD_SET)
		return encode_set_head(r, out);
	struct bytes_writer w = bytes_writer(out, RECORD_OVERHEAD_MAX);
	bytes_put8(&w, r->type);
	bytes_put_varint(&w, body_head_size(r) + value_size(r));
	if (r->type == RECORD_TOUCH || r->type == RECORD_FLUSH_AT)
		bytes_put64(&w, (uint64_t)r->expiry);
	if (r->type == RECORD_DICT) {
		bytes_put32(&w, r->dict);
		bytes_put8(&w, r->sizes);
	}
	if (has_key(r->type))
		bytes_put(&w, r->key, r->key_len);
	CHECK(!w.bad);
	return (size_t)(w.at - out);
}

size_t record_encode(const struct record *r, uint8_t *out)
{
	/* The room is record_size() bytes, less than encode_head may ask for; it writes no more than that. */
	size_t used = record_encode_head(r, out);
	uint64_t len = value_size(r);
	if (len > 0)
		memcpy(out + used, r->value, (size_t)len);
	return used + (size_t)len;
}

static enum hearth_status get_key(struct bytes_reader *b, size_t len, struct record *r)
{
	if (len == 0 || len > RECORD_KEY_MAX)
		return HEARTH_DAMAGED;
	r->key = bytes_take(b, len);
	r->key_len = (uint8_t)len;
	return b->bad ? HEARTH_DAMAGED : HEARTH_OK;
}

/* These fields, which are all there. False when one of them is zero, which has another encoding. */
static bool get_fixed(const uint8_t *p, struct record *r)
{
	bool ok = true;
	if (r->bits & RECORD_HAS_SEQ) {
		ok &= (r->seq = bytes_load64(p)) != 0;
		p += 8;
	}
	if (r->bits & RECORD_HAS_EXPIRY) {
		ok &= (r->expiry = (int64_t)bytes_load64(p)) != 0;
		p += 8;
	}
	if (r->bits & RECORD_HAS_FLAGS) {
		ok &= (r->flags = bytes_load32(p)) != 0;
		p += 4;
	}
	if (r->bits & RECORD_HAS_CAS)
		ok &= (r->cas = bytes_load64(p)) != 0;
	return ok;
}

/* A start reads each record of the log twice: the fields of fixed length are looked for once, all together, and the ends are
 * passed as values, not through memory. */
static enum hearth_status get_set(const uint8_t *at, const uint8_t *end, struct record *r)
{
	struct bytes_reader in = bytes_reader(at, (size_t)(end - at));
	r->bits = bytes_get16(&in);
	if (r->bits & ~(unsigned)RECORD_BITS_KNOWN)
		return HEARTH_NEWER;
	size_t key_len = bytes_get8(&in);
	const uint8_t *fields = bytes_take(&in, fixed_size[r->bits & 15] - 3u);
	if (!fields || !get_fixed(fields, r))
		return HEARTH_DAMAGED;
	if (r->bits & RECORD_HAS_ACCESS && (r->access = (int64_t)bytes_get_varint(&in)) <= 0)
		return HEARTH_DAMAGED;
	if (r->bits & RECORD_HAS_DICT && (r->dict = bytes_get32(&in)) == 0)
		return HEARTH_DAMAGED;
	if (get_key(&in, key_len, r) != HEARTH_OK)
		return HEARTH_DAMAGED;
	r->value_len = bytes_left(&in);
	r->value = in.at;
	return r->value_len <= RECORD_VALUE_MAX ? HEARTH_OK : HEARTH_DAMAGED;
}

static enum hearth_status get_keys(struct bytes_reader *b, struct record *r)
{
	struct keyblock keys;
	r->value_len = bytes_left(b);
	r->value = bytes_take(b, bytes_left(b));
	return keyblock_decode(r->value, (size_t)r->value_len, &keys) ? HEARTH_OK : HEARTH_DAMAGED;
}

static enum hearth_status get_dict(struct bytes_reader *b, struct record *r)
{
	r->dict = bytes_get32(b);
	r->sizes = bytes_get8(b);
	r->value_len = bytes_left(b);
	r->value = bytes_take(b, bytes_left(b));
	return !b->bad && r->dict != 0 && r->value_len > 0 && r->value_len <= DICT_BYTES_MAX ? HEARTH_OK
	                                                                                     : HEARTH_DAMAGED;
}

static enum hearth_status get_body(struct bytes_reader *b, struct record *r)
{
	enum hearth_status status = HEARTH_OK;
	switch (r->type) {
	case RECORD_SET:
		return get_set(b->at, b->end, r);
	case RECORD_DELETE:
		return get_key(b, bytes_left(b), r);
	case RECORD_TOUCH:
		r->expiry = (int64_t)bytes_get64(b);
		return get_key(b, bytes_left(b), r);
	case RECORD_FLUSH_AT:
		r->expiry = (int64_t)bytes_get64(b);
		break;
	case RECORD_FLUSH:
	case RECORD_PASS:
		break;
	case RECORD_KEY_BLOCK:
	case RECORD_SEAL:
		return get_keys(b, r);
	case RECORD_DICT:
		return get_dict(b, r);
	default:
		return r->type & RECORD_MAY_SKIP ? HEARTH_OK : HEARTH_NEWER;
	}
	if (b->bad || bytes_left(b) > 0)
		status = HEARTH_DAMAGED;
	return status;
}

enum hearth_status record_decode(const void *data, size_t len, struct record *ret_r, size_t *ret_len)
{
	struct bytes_reader in = bytes_reader(data, len);
	*ret_r = (struct record){0};
	*ret_len = 0;
	if (len == 0)
		return HEARTH_END;
	ret_r->type = bytes_get8(&in);
	uint64_t body_len = bytes_get_varint(&in);
	if (in.bad || ret_r->type == 0 || body_len > bytes_left(&in))
		return HEARTH_DAMAGED;
	struct bytes_reader body = bytes_reader(in.at, (size_t)body_len);
	enum hearth_status status = get_body(&body, ret_r);
	if (status != HEARTH_DAMAGED)
		*ret_len = len - bytes_left(&in) + (size_t)body_len;
	return status;
}

enum hearth_status record_decode_head(const void *data, size_t len, uint64_t whole, struct record *ret_r)
{
	struct bytes_reader in = bytes_reader(data, len < whole ? len : (size_t)whole);
	*ret_r = (struct record){0};
	ret_r->type = bytes_get8(&in);
	uint64_t body_len = bytes_get_varint(&in);
	uint64_t head_len = (uint64_t)(in.at - (const uint8_t *)data);
	if (in.bad || body_len != whole - head_len)
		return HEARTH_DAMAGED;
	if (ret_r->type & RECORD_MAY_SKIP)
		return HEARTH_OK;
	if (ret_r->type != RECORD_SET)
		return ret_r->type <= RECORD_FLUSH_AT || ret_r->type == RECORD_DICT ? HEARTH_DAMAGED
		                                                                    : HEARTH_NEWER;
	enum hearth_status status = get_set(in.at, in.end, ret_r);
	ret_r->value = NULL;
	ret_r->value_len += body_len - bytes_left(&in);
	return status == HEARTH_OK && ret_r->value_len > RECORD_VALUE_MAX ? HEARTH_DAMAGED : status;
}

/* Behind the varint at `at`. */
static size_t varint_end(const uint8_t *p, size_t at, size_t len)
{
	unsigned n = len - at >= 8 ? bytes_varint_len(bytes_load64(p + at)) : 0;
	if (n)
		return at + n;
	while (at < len && p[at++] & 0x80)
		;
	return at;
}

/* Where the key of a set begins, whose body begins at p. */
static size_t set_key_at(const uint8_t *p, size_t len)
{
	unsigned bits = bytes_load16(p);
	size_t at = fixed_size[bits & 15];
	if (bits & RECORD_HAS_ACCESS && at < len)
		at = varint_end(p, at, len);
	return at + (bits & RECORD_HAS_DICT ? 4 : 0);
}

#define VARINT_MOST 5u /* bytes of the length of a body */

/* Behind type and length; 0: these bytes are no record. */
static size_t body_at(const uint8_t *p, size_t len, uint64_t *ret_body_len)
{
	*ret_body_len = 0;
	for (size_t at = 1; at < len && at <= VARINT_MOST; at++) {
		*ret_body_len |= (uint64_t)(p[at] & 0x7f) << (7 * at - 7);
		if (p[at] < 0x80)
			return at + 1;
	}
	return 0;
}

/* Where the key begins: no cursor, and no look at what is between or behind. 0: these bytes are no record. *ret_end: where the
 * record does, *ret_key_len 0: it has no key. */
static size_t find_key(const uint8_t *p, size_t len, uint64_t *ret_end, size_t *ret_key_len)
{
	uint64_t body;
	size_t key_len = 0, at = body_at(p, len, &body);
	if (at == 0)
		return 0;
	*ret_end = at + body;
	if (p[0] == RECORD_SET && len - at > 3) {
		key_len = p[at + 2];
		at += set_key_at(p + at, len - at);
	} else if (p[0] == RECORD_DELETE) {
		key_len = (size_t)body;
	} else if (p[0] == RECORD_TOUCH && body > 8) {
		at += 8;
		key_len = (size_t)body - 8;
	}
	*ret_key_len = key_len;
	return at;
}

void record_reread(const void *data, struct record *ret_r)
{
	const uint8_t *p = data;
	uint64_t body;
	size_t at = body_at(p, 1 + VARINT_MOST, &body), len = at + (size_t)body, whole;
	if (p[0] != RECORD_SET) {
		CHECK(record_decode(data, len, ret_r, &whole) == HEARTH_OK && whole == len);
		return;
	}
	size_t key = at + set_key_at(p + at, len - at);
	*ret_r =
	    (struct record){.type = p[0], .bits = bytes_load16(p + at), .key_len = p[at + 2], .key = p + key};
	get_fixed(p + at + 3, ret_r);
	struct bytes_reader in = bytes_reader(p + at + fixed_size[ret_r->bits & 15], len - at);
	if (ret_r->bits & RECORD_HAS_ACCESS)
		ret_r->access = (int64_t)bytes_get_varint(&in);
	if (ret_r->bits & RECORD_HAS_DICT)
		ret_r->dict = bytes_load32(ret_r->key - 4);
	ret_r->value = ret_r->key + ret_r->key_len;
	ret_r->value_len = len - key - ret_r->key_len;
}

/* The log thread asks this of each record. */
bool record_find_key(const void *head, size_t len, const uint8_t **ret_key, uint8_t *ret_key_len)
{
	const uint8_t *p = head;
	uint64_t end;
	size_t key_len = 0, at = find_key(p, len, &end, &key_len);
	*ret_key = p + at;
	*ret_key_len = (uint8_t)key_len;
	return at > 0 && key_len > 0 && key_len <= RECORD_KEY_MAX && at < len && len - at >= key_len;
}

/* A start asks this of each record of a snapshot. */
size_t record_skim(const void *data, size_t len, const uint8_t **ret_key, uint8_t *ret_key_len)
{
	const uint8_t *p = data;
	uint64_t end;
	size_t key_len = 0, at = find_key(p, len, &end, &key_len);
	*ret_key = p + at;
	*ret_key_len = (uint8_t)key_len;
	bool whole = at > 0 && end <= len && at <= end && key_len <= end - at && key_len <= RECORD_KEY_MAX;
	return whole ? (size_t)end : 0;
}

const char *record_type_name(uint8_t type)
{
	switch (type) {
	case RECORD_SET:
		return "set";
	case RECORD_DELETE:
		return "delete";
	case RECORD_TOUCH:
		return "touch";
	case RECORD_FLUSH:
		return "flush";
	case RECORD_FLUSH_AT:
		return "flush_at";
	case RECORD_PASS:
		return "pass";
	case RECORD_MARK:
		return "mark";
	case RECORD_DICT:
		return "dict";
	case RECORD_KEY_BLOCK:
		return "key_block";
	case RECORD_SEAL:
		return "seal";
	default:
		return "unknown";
	}
}
