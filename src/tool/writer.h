/* SPDX-License-Identifier: BSD-3-Clause */
/* writer: items as text: NDJSON, CSV, or commands of memcached's text protocol. reader.h reads them again. One thread. */
#ifndef TOOL_WRITER_H
#define TOOL_WRITER_H

#include "tool/item.h"
#include "tool/out.h"

enum format { FORMAT_NDJSON, FORMAT_CSV, FORMAT_TEXT, N_FORMATS };

/* What commands take for a time since 1970 when it is larger, and for seconds from now when not. */
#define FORMAT_RELATIVE_MAX (60 * 60 * 24 * 30)
/* The columns of CSV, in their order. */
#define FORMAT_COLUMNS "key,key_b64,value,value_b64,flags,exp,cas,size,access,binary_key"

/* False: the word is none of "ndjson", "csv", "text". */
bool format_parse(const char *word, enum format *ret_format);

struct writer {
	struct out *out;
	enum format format;
	int64_t relative_to; /* TEXT: expiries as seconds from this moment; 0 = as times */
	uint64_t left_out;   /* TEXT: keys that no command can name */
};

/* What comes before all items. */
void writer_begin(struct writer *w);
/* value must be there. */
void writer_put(struct writer *w, const struct item *item);
/* One JSON object, with the value only where there is one. */
void writer_put_json(struct out *out, const struct item *item);

#endif
