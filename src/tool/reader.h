/* SPDX-License-Identifier: BSD-3-Clause */
/* reader: items from text as writer.h writes it: NDJSON, CSV, or commands of memcached's text protocol. Whatever else a file
 * may hold is named with its line. Memory is that of the largest item. One thread. */
#ifndef TOOL_READER_H
#define TOOL_READER_H

#include "base/buf.h"
#include "tool/item.h"
#include "tool/writer.h"

/* A line, and a value with its quotes, ends before. */
#define READER_LINE_MAX (UINT64_C(2) << 30)
#define READER_COLUMNS  64u
#define READER_WHY      200u

enum reader_event {
	READER_ITEM,
	READER_BAD, /* no item, reader.why says why; what follows can be read */
	READER_END,
	READER_FAILED /* the same, and nothing that follows makes sense; or reading failed */
};

enum reader_field {
	FIELD_KEY,
	FIELD_KEY64,
	FIELD_VALUE,
	FIELD_VALUE64,
	FIELD_FLAGS,
	FIELD_EXPIRY,
	FIELD_TTL,
	FIELD_BINARY,
	N_FIELDS
};

struct reader {
	int fd;
	enum format format;
	struct buf in;
	bool ended;
	int error;      /* errno, when reading failed */
	uint64_t bytes; /* read so far */
	uint64_t lines; /* taken so far */
	uint64_t line;  /* in which the item, or what is bad, begins: from 1 */
	char why[READER_WHY];
	struct buf key, value; /* decoded */
	/* CSV: the fields of a record, and what each column is (N_FIELDS: of no use). */
	struct buf fields;
	size_t begins[READER_COLUMNS + 1];
	size_t n_fields, n_columns;
	enum reader_field columns[READER_COLUMNS];
	void *json; /* NDJSON: the object that the item points into */
};

void reader_open(struct reader *r, int fd, enum format format);
/* The descriptor stays open. */
void reader_close(struct reader *r);
/* The item is valid until the next call. */
enum reader_event reader_next(struct reader *r, struct item *ret_item);

/* Bytes of the text that are behind it. */
static inline uint64_t reader_taken(const struct reader *r)
{
	return r->bytes - buf_len(&r->in);
}

#endif
