/* SPDX-License-Identifier: BSD-3-Clause */
/* writer: see writer.h. */
#include "tool/writer.h"
#include "proto/base64.h"
#include "tool/json.h"

static const char *const NAMES[N_FORMATS] = {
    [FORMAT_NDJSON] = "ndjson", [FORMAT_CSV] = "csv", [FORMAT_TEXT] = "text"};

bool format_parse(const char *word, enum format *ret_format)
{
	for (int i = 0; i < N_FORMATS; i++) {
		if (strcmp(word, NAMES[i]) == 0) {
			*ret_format = (enum format)i;
			return true;
		}
	}
	return false;
}

static void put_number(struct out *out, const char *before, uint64_t n)
{
	out_text(out, before);
	out_u64(out, n);
}

static void put_signed(struct out *out, const char *before, int64_t n)
{
	out_text(out, before);
	out_i64(out, n);
}

/* ---- NDJSON ---- */

void writer_put_json(struct out *out, const struct item *item)
{
	struct json j = json_begin(out);
	json_bytes(&j, "key", item->key, item->key_len);
	if (item->value)
		json_bytes(&j, "value", item->value, (size_t)item->size);
	json_u64(&j, "flags", item->flags);
	json_i64(&j, "exp", item->expiry);
	json_u64(&j, "size", item->size);
	json_u64(&j, "cas", item->cas);
	if (item->access)
		json_i64(&j, "access", item->access);
	if (item->binary_key)
		json_bool(&j, "binary_key", true);
	json_end(&j);
}

/* ---- CSV ---- */

/* Text without a control byte: what every reader of CSV takes as it is. */
static bool is_clean(const uint8_t *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (s[i] < ' ' || s[i] == 0x7f || (s[i] == 0xc2 && i + 1 < len && s[i + 1] < 0xa0))
			return false;
	return json_is_utf8(s, len);
}

static void put_quoted(struct out *out, const uint8_t *s, size_t len)
{
	const uint8_t *quote;
	out_char(out, '"');
	while (len > 0 && (quote = memchr(s, '"', len)) != NULL) {
		size_t n = (size_t)(quote - s) + 1;
		out_bytes(out, s, n);
		out_char(out, '"');
		s += n;
		len -= n;
	}
	out_bytes(out, s, len);
	out_char(out, '"');
}

/* Two columns, of which one is empty. */
static void put_pair(struct out *out, const uint8_t *s, size_t len)
{
	if (is_clean(s, len)) {
		put_quoted(out, s, len);
		out_char(out, ',');
	} else {
		out_char(out, ',');
		json_base64(out, s, len);
	}
}

static void put_csv(struct writer *w, const struct item *item)
{
	put_pair(w->out, item->key, item->key_len);
	out_char(w->out, ',');
	put_pair(w->out, item->value, (size_t)item->size);
	put_number(w->out, ",", item->flags);
	put_signed(w->out, ",", item->expiry);
	put_number(w->out, ",", item->cas);
	put_number(w->out, ",", item->size);
	put_signed(w->out, ",", item->access);
	out_text(w->out, item->binary_key ? ",1\r\n" : ",0\r\n");
}

/* ---- text ---- */

static int64_t time_of(const struct writer *w, int64_t expiry)
{
	int64_t left = expiry - w->relative_to;
	if (expiry == 0)
		return 0;
	/* A time so long ago would be taken for one to come. */
	if (expiry <= FORMAT_RELATIVE_MAX || (w->relative_to != 0 && left <= 0))
		return -1;
	return w->relative_to == 0 || left > FORMAT_RELATIVE_MAX ? expiry : left;
}

/* "set KEY FLAGS TIME LENGTH", or "ms KEY64 LENGTH b FFLAGS TTIME" where the key needs it. */
static void put_text(struct writer *w, const struct item *item)
{
	struct out *out = w->out;
	uint8_t key[BASE64_ENCODED(ITEM_KEY_MAX)];
	bool plain = !item->binary_key && item_is_plain(item->key, item->key_len);
	if (!plain && BASE64_ENCODED(item->key_len) > ITEM_KEY_MAX) {
		w->left_out++;
		return;
	}
	if (plain) {
		out_text(out, "set ");
		out_bytes(out, item->key, item->key_len);
		put_number(out, " ", item->flags);
		put_signed(out, " ", time_of(w, item->expiry));
		put_number(out, " ", item->size);
	} else {
		out_text(out, "ms ");
		out_bytes(out, key, base64_encode(key, item->key, item->key_len));
		put_number(out, " ", item->size);
		put_number(out, " b F", item->flags);
		put_signed(out, " T", time_of(w, item->expiry));
	}
	out_text(out, "\r\n");
	out_bytes(out, item->value, (size_t)item->size);
	out_text(out, "\r\n");
}

/* ---- any ---- */

void writer_begin(struct writer *w)
{
	if (w->format == FORMAT_CSV)
		out_text(w->out, FORMAT_COLUMNS "\r\n");
}

void writer_put(struct writer *w, const struct item *item)
{
	switch (w->format) {
	case FORMAT_NDJSON:
		writer_put_json(w->out, item);
		break;
	case FORMAT_CSV:
		put_csv(w, item);
		break;
	case FORMAT_TEXT:
		put_text(w, item);
		break;
	case N_FORMATS:
		break;
	}
}
