/* SPDX-License-Identifier: BSD-3-Clause */
/* reader_private: what the forms that reader.h reads share. */
#ifndef TOOL_READER_PRIVATE_H
#define TOOL_READER_PRIVATE_H

#include "tool/reader.h"

/* Where an item begins in the text; the why of what is bad is kept. */
enum reader_event reader_bad(struct reader *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
enum reader_event reader_failed(struct reader *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The next line, with its newline unless the text ends without one, in *ret_text until more is read. READER_ITEM,
 * READER_END, READER_FAILED. */
enum reader_event reader_line(struct reader *r, uint8_t **ret_text, size_t *ret_len);
/* At least so many bytes are in r->in now; false: the text ends before (r->ended), or reading failed (then READER_FAILED is
 * due, and why is set). */
bool reader_have(struct reader *r, size_t len);

/* What a field is by its name; N_FIELDS = nothing that is of use. */
enum reader_field reader_field(const char *name, size_t len);
/* Decodes base64 into buf. False: it is none. */
bool reader_base64(struct buf *buf, const uint8_t *text, size_t len);
/* A whole number that may be negative. */
bool reader_number(const char *text, size_t len, int64_t min, int64_t max, int64_t *ret_n);
/* Times as commands take them: 0 is never, up to 30 days counts from now. */
int64_t reader_time(int64_t time);

enum reader_event reader_ndjson(struct reader *r, struct item *ret_item);
enum reader_event reader_csv(struct reader *r, struct item *ret_item);
enum reader_event reader_text(struct reader *r, struct item *ret_item);

#endif
