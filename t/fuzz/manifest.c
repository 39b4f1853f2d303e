/* SPDX-License-Identifier: BSD-3-Clause */
/* manifest: as it is; as one copy with a right checksum; and as two. What decodes encodes to the same again. */
#include <hearth/datadir.h>
#include "base/buf.h"
#include "format/datadir_dir.h"
#include "fuzz.h"

static void decode(const uint8_t *data, size_t len)
{
	struct manifest m, back;
	struct buf out = {0};
	bool repaired;
	if (manifest_decode(data, len, &m, &repaired) != HEARTH_OK)
		return;
	CHECK(manifest_encode(&m, &out) == HEARTH_OK);
	CHECK(manifest_decode(out.data, buf_len(&out), &back, &repaired) == HEARTH_OK && !repaired);
	CHECK(m.n_segments == back.n_segments && m.n_snapshots == back.n_snapshots &&
	      m.n_unlinks == back.n_unlinks && m.high_water == back.high_water);
	CHECK(
	    m.n_segments == 0 || memcmp(m.segments, back.segments, m.n_segments * sizeof(*m.segments)) == 0);
	manifest_free(&m);
	manifest_free(&back);
	buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	decode(data, len);
	if (len < 20)
		return 0;
	uint8_t *two = malloc(2 * len);
	CHECK(two != NULL);
	memcpy(two, data, len);
	memcpy(two, "HEARTHMF", 8);
	bytes_store32(two + 12, (uint32_t)(len - 20));
	bytes_store32(two + 16, crc32c(crc32c(0, two, 16), two + 20, len - 20));
	memcpy(two + len, two, len);
	decode(two, len);
	decode(two, 2 * len);
	free(two);
	return 0;
}
