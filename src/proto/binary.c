/* SPDX-License-Identifier: BSD-3-Clause */
/* binary: the binary protocol's opcodes, parser and answers. Which mistakes are answered and which end the connection
 * follows memcached, but where it loses its place: of an unknown request it throws away the key twice, and what lies behind
 * the key of a touch or stat it takes for the next request. */
#include "proto/binary.h"

#include <endian.h>
#include <string.h>
#include "base/check.h"

/* What belongs to a request; an opcode without a row has NOTHING_KNOWN. */
enum parts {
	NOTHING_KNOWN,
	NO_PARTS,
	KEY,             /* get, delete */
	KEY_IF_ANY,      /* stat */
	TIME_IF_ANY,     /* flush: extras of 4 bytes, or none */
	LEVEL,           /* verbosity: extras of 4 bytes */
	TIME_KEY,        /* touch, gat: extras of 4 bytes */
	NUMBERS_KEY,     /* incr, decr: extras of 20 bytes */
	KEY_VALUE,       /* append, prepend */
	FLAGS_KEY_VALUE, /* set, add, replace: extras of 8 bytes */
	SASL,            /* nothing, and it is not spoken here */
	SASL_KEY_VALUE,  /* nor is this */
};

struct opcode {
	uint8_t parts;   /* enum parts */
	uint8_t command; /* enum command_id */
	bool quiet;
	bool wants_key;
};

static const struct opcode opcodes[] = {
    [0x00] = {KEY, COMMAND_GET, false, false},
    [0x01] = {FLAGS_KEY_VALUE, COMMAND_SET, false, false},
    [0x02] = {FLAGS_KEY_VALUE, COMMAND_ADD, false, false},
    [0x03] = {FLAGS_KEY_VALUE, COMMAND_REPLACE, false, false},
    [0x04] = {KEY, COMMAND_DELETE, false, false},
    [0x05] = {NUMBERS_KEY, COMMAND_INCR, false, false},
    [0x06] = {NUMBERS_KEY, COMMAND_DECR, false, false},
    [0x07] = {NO_PARTS, COMMAND_QUIT, false, false},
    [0x08] = {TIME_IF_ANY, COMMAND_FLUSH_ALL, false, false},
    [0x09] = {KEY, COMMAND_GET, true, false},
    [0x0a] = {NO_PARTS, COMMAND_MN, false, false},
    [0x0b] = {NO_PARTS, COMMAND_VERSION, false, false},
    [0x0c] = {KEY, COMMAND_GET, false, true},
    [0x0d] = {KEY, COMMAND_GET, true, true},
    [0x0e] = {KEY_VALUE, COMMAND_APPEND, false, false},
    [0x0f] = {KEY_VALUE, COMMAND_PREPEND, false, false},
    [0x10] = {KEY_IF_ANY, COMMAND_STATS, false, false},
    [0x11] = {FLAGS_KEY_VALUE, COMMAND_SET, true, false},
    [0x12] = {FLAGS_KEY_VALUE, COMMAND_ADD, true, false},
    [0x13] = {FLAGS_KEY_VALUE, COMMAND_REPLACE, true, false},
    [0x14] = {KEY, COMMAND_DELETE, true, false},
    [0x15] = {NUMBERS_KEY, COMMAND_INCR, true, false},
    [0x16] = {NUMBERS_KEY, COMMAND_DECR, true, false},
    [0x17] = {NO_PARTS, COMMAND_QUIT, true, false},
    [0x18] = {TIME_IF_ANY, COMMAND_FLUSH_ALL, true, false},
    [0x19] = {KEY_VALUE, COMMAND_APPEND, true, false},
    [0x1a] = {KEY_VALUE, COMMAND_PREPEND, true, false},
    [0x1b] = {LEVEL, COMMAND_VERBOSITY, false, false},
    [0x1c] = {TIME_KEY, COMMAND_TOUCH, false, false},
    [0x1d] = {TIME_KEY, COMMAND_GAT, false, false},
    [0x1e] = {TIME_KEY, COMMAND_GAT, true, false},
    [0x20] = {SASL, 0, false, false},
    [0x21] = {SASL_KEY_VALUE, 0, false, false},
    [0x22] = {SASL_KEY_VALUE, 0, false, false},
    [0x23] = {TIME_KEY, COMMAND_GAT, false, true},
    [0x24] = {TIME_KEY, COMMAND_GAT, true, true},
};

/* The lengths of a request as its head claims them. */
struct lengths {
	uint64_t extras, key, body;
};

static uint16_t get16(const uint8_t *p)
{
	uint16_t v;
	memcpy(&v, p, sizeof v);
	return be16toh(v);
}

static uint32_t get32(const uint8_t *p)
{
	uint32_t v;
	memcpy(&v, p, sizeof v);
	return be32toh(v);
}

static uint64_t get64(const uint8_t *p)
{
	uint64_t v;
	memcpy(&v, p, sizeof v);
	return be64toh(v);
}

static struct opcode opcode_row(uint8_t opcode)
{
	static const struct opcode none = {NOTHING_KNOWN, 0, false, false};
	return opcode < sizeof opcodes / sizeof opcodes[0] ? opcodes[opcode] : none;
}

/* Whether the lengths are what the opcode asks for. */
static bool fits(enum parts parts, const struct lengths *l)
{
	uint64_t value = l->body - l->extras - l->key;
	switch (parts) {
	case NOTHING_KNOWN:
		return true;
	case NO_PARTS:
	case SASL:
		return l->body == 0;
	case KEY:
		return l->extras == 0 && l->key > 0 && value == 0;
	case KEY_IF_ANY:
		return l->extras == 0 && value == 0;
	case TIME_IF_ANY:
		return (l->extras == 0 || l->extras == 4) && l->key == 0 && value == 0;
	case LEVEL:
		return l->extras == 4 && l->key == 0 && value == 0;
	case TIME_KEY:
		return l->extras == 4 && l->key > 0 && value == 0;
	case NUMBERS_KEY:
		return l->extras == BINARY_EXTRAS_MAX && l->key > 0 && value == 0;
	case KEY_VALUE:
	case SASL_KEY_VALUE:
		return l->extras == 0 && l->key > 0;
	case FLAGS_KEY_VALUE:
		return l->extras == 8 && l->key > 0;
	}
	CHECK(!"parts of the table");
	return false;
}

static void read_extras(enum parts parts, const uint8_t *extras, size_t len, struct binary_request *req)
{
	switch (parts) {
	case TIME_IF_ANY:
	case TIME_KEY:
		req->exptime = len > 0 ? get32(extras) : 0;
		break;
	case LEVEL:
		req->level = get32(extras);
		break;
	case NUMBERS_KEY:
		req->delta = get64(extras);
		req->initial = get64(extras + 8);
		req->exptime = get32(extras + 16);
		req->creates = req->exptime != BINARY_NO_CREATION;
		break;
	case FLAGS_KEY_VALUE:
		req->flags = get32(extras);
		req->exptime = get32(extras + 4);
		break;
	default:
		break;
	}
}

static enum parse_result refuse(struct binary_request *req, enum binary_status why, bool close)
{
	req->error = why;
	req->close = close;
	return PARSE_ERROR;
}

/* Head and lengths; PARSE_DONE when the request is one that can be read. */
static enum parse_result read_head(struct binary_parser *p, const uint8_t *data, struct binary_request *req,
    struct lengths *l, enum parts *ret_parts)
{
	struct opcode row = opcode_row(data[1]);
	*l = (struct lengths){.extras = data[4], .key = get16(data + 2), .body = get32(data + 8)};
	*req = (struct binary_request){.cas = get64(data + 16)};
	req->tag.opcode = data[1];
	memcpy(&req->tag.opaque, data + 12, sizeof req->tag.opaque);
	*ret_parts = row.parts;
	if (l->extras + l->key > l->body)
		return refuse(req, BINARY_UNKNOWN, true);
	if (l->key > REQUEST_KEY_MAX || !fits(row.parts, l))
		return refuse(req, BINARY_INVALID, true);
	if (row.parts == NOTHING_KNOWN || row.parts == SASL || row.parts == SASL_KEY_VALUE) {
		binary_swallow(p, l->body);
		return refuse(req, BINARY_UNKNOWN, false);
	}
	req->command = command_row(row.command);
	req->tag.quiet = row.quiet;
	req->wants_key = row.wants_key;
	return PARSE_DONE;
}

static enum parse_result read_request(
    struct binary_parser *p, const uint8_t *data, size_t len, struct binary_request *req, size_t *ret_used)
{
	struct lengths l;
	enum parts parts;
	if (data[0] != BINARY_MAGIC)
		return PARSE_CLOSE;
	if (len < BINARY_HEAD)
		return PARSE_MORE;
	enum parse_result r = read_head(p, data, req, &l, &parts);
	if (r != PARSE_DONE) {
		*ret_used = BINARY_HEAD;
		return r;
	}
	uint64_t head = BINARY_HEAD + l.extras + l.key;
	if (len < head)
		return PARSE_MORE;
	read_extras(parts, data + BINARY_HEAD, (size_t)l.extras, req);
	req->key = (struct request_slice){data + BINARY_HEAD + l.extras, (size_t)l.key};
	req->value_len = l.body - l.extras - l.key;
	*ret_used = (size_t)head;
	if (len - head < req->value_len)
		return PARSE_VALUE;
	*ret_used += (size_t)req->value_len;
	req->value = data + head;
	return PARSE_DONE;
}

void binary_swallow(struct binary_parser *p, uint64_t bytes)
{
	p->swallow = bytes;
}

enum parse_result binary_next(
    struct binary_parser *p, const uint8_t *data, size_t len, struct binary_request *req, size_t *ret_used)
{
	size_t skip = p->swallow < len ? (size_t)p->swallow : len;
	*ret_used = 0;
	p->swallow -= skip;
	enum parse_result r =
	    skip < len ? read_request(p, data + skip, len - skip, req, ret_used) : PARSE_MORE;
	*ret_used += skip;
	return r;
}

/* ---- answers ---- */

struct status {
	uint16_t code;
	uint8_t len;
	const char *text;
};

#define STATUS(name, number, line) {number, sizeof(line) - 1, line},
static const struct status statuses[BINARY_STATUSES] = {BINARY_STATUS_TABLE(STATUS)};
#undef STATUS

#define FITS(name, number, line) \
	_Static_assert( \
	    BINARY_HEAD + sizeof(line) <= BINARY_ANSWER_MAX, "BINARY_ANSWER_MAX is too small for " #name);
BINARY_STATUS_TABLE(FITS)
#undef FITS

size_t binary_put32(uint8_t *out, uint32_t v)
{
	v = htobe32(v);
	memcpy(out, &v, sizeof v);
	return sizeof v;
}

size_t binary_put64(uint8_t *out, uint64_t v)
{
	v = htobe64(v);
	memcpy(out, &v, sizeof v);
	return sizeof v;
}

size_t binary_head(uint8_t *out, const struct binary_tag *tag, enum binary_status status, uint8_t extras_len,
    uint16_t key_len, uint32_t body_len, uint64_t cas)
{
	CHECK((unsigned)status < BINARY_STATUSES);
	uint16_t code = statuses[status].code;
	out[0] = 0x81;
	out[1] = tag->opcode;
	out[2] = (uint8_t)(key_len >> 8);
	out[3] = (uint8_t)key_len;
	out[4] = extras_len;
	out[5] = 0;
	out[6] = (uint8_t)(code >> 8);
	out[7] = (uint8_t)code;
	binary_put32(out + 8, body_len);
	memcpy(out + 12, &tag->opaque, sizeof tag->opaque);
	binary_put64(out + 16, cas);
	return BINARY_HEAD;
}

size_t binary_answer(uint8_t *out, const struct binary_tag *tag, enum binary_status status, uint64_t cas)
{
	size_t at = binary_head(out, tag, status, 0, 0, statuses[status].len, cas);
	memcpy(out + at, statuses[status].text, statuses[status].len);
	return at + statuses[status].len;
}
