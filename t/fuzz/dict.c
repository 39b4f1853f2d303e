/* SPDX-License-Identifier: BSD-3-Clause */
/* dict: u16 length | a dictionary | a packed value. The id is put right, so that only the bytes themselves decide. */
#include <hearth/dict.h>
#include "base/packed.h"
#include "fuzz.h"

static void unpack(const struct dict *dict, const uint8_t *packed, size_t len)
{
	struct dict_context *context = dict_context_new(false);
	size_t raw = packed_raw_len(packed, len);
	uint8_t *out = malloc(raw ? raw : 1);
	CHECK(context && out);
	enum hearth_status status = dict_unpack(context, dict, packed, len, out, raw);
	CHECK(status == HEARTH_OK || status == HEARTH_DAMAGED);
	CHECK(raw > 0 || status == HEARTH_DAMAGED);
	free(out);
	dict_context_free(&context);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct dict_set *set = dict_set_new(1);
	const struct dict *dict;
	CHECK(set);
	size_t dict_len = len < 2 ? 0 : bytes_load16(data);
	if (len >= 2 && dict_len <= len - 2) {
		uint8_t *bytes = fuzz_copy(data + 2, dict_len),
		        *packed = fuzz_copy(data + 2 + dict_len, len - 2 - dict_len);
		packed_raw_len(packed, len - 2 - dict_len);
		if (dict_add(set, dict_id_of(bytes, dict_len), 9, bytes, dict_len, &dict) == HEARTH_OK)
			unpack(dict, packed, len - 2 - dict_len);
		free(bytes);
		free(packed);
	}
	dict_set_free(&set);
	return 0;
}
