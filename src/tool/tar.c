/* SPDX-License-Identifier: BSD-3-Clause */
/* tar: see tar.h. Offsets and widths are those of POSIX.1-2001, pax, "ustar Interchange Format". */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "base/check.h"
#include "tool/tar.h"

#define NAME_AT     0u
#define NAME_LEN    100u
#define MODE_AT     100u
#define UID_AT      108u
#define GID_AT      116u
#define SIZE_AT     124u
#define MTIME_AT    136u
#define CHECKSUM_AT 148u
#define TYPE_AT     156u
#define MAGIC_AT    257u
#define MAGIC       "ustar\00000"
/* What eleven octal digits cannot say. */
#define SIZE_LIMIT (UINT64_C(1) << 33)

/* Octal digits and a zero byte in `width` bytes. */
static void put_octal(uint8_t *at, unsigned width, uint64_t n)
{
	at[--width] = 0;
	while (width > 0) {
		at[--width] = (uint8_t)('0' + (n & 7));
		n >>= 3;
	}
}

static void put_block(const char *name, uint64_t size, int64_t mtime, char type, uint8_t *out)
{
	unsigned sum = 0;
	memset(out, 0, TAR_BLOCK);
	CHECK(strlen(name) < NAME_LEN);
	memcpy(out + NAME_AT, name, strlen(name));
	put_octal(out + MODE_AT, 8, 0600);
	put_octal(out + UID_AT, 8, 0);
	put_octal(out + GID_AT, 8, 0);
	put_octal(out + SIZE_AT, 12, size);
	put_octal(out + MTIME_AT, 12, mtime > 0 ? (uint64_t)mtime & (SIZE_LIMIT - 1) : 0);
	out[TYPE_AT] = (uint8_t)type;
	memcpy(out + MAGIC_AT, MAGIC, sizeof(MAGIC) - 1);
	/* The sum counts its own field as spaces. */
	memset(out + CHECKSUM_AT, ' ', 8);
	for (size_t i = 0; i < TAR_BLOCK; i++)
		sum += out[i];
	put_octal(out + CHECKSUM_AT, 7, sum);
}

size_t tar_header(const char *name, uint64_t size, int64_t mtime, uint8_t out[TAR_HEADER_MAX])
{
	size_t used = 0;
	if (size >= SIZE_LIMIT) {
		/* "LENGTH size=N\n", where LENGTH counts itself: two digits for every size there is. */
		char body[64];
		int len = snprintf(body, sizeof(body), "size=%" PRIu64 "\n", size) + 3;
		CHECK(len >= 10 && len < 100);
		snprintf(body, sizeof(body), "%d size=%" PRIu64 "\n", len, size);
		put_block("PaxHeader", (uint64_t)len, mtime, 'x', out);
		memset(out + TAR_BLOCK, 0, TAR_BLOCK);
		memcpy(out + TAR_BLOCK, body, (size_t)len);
		used = 2 * TAR_BLOCK;
	}
	put_block(name, size < SIZE_LIMIT ? size : 0, mtime, '0', out + used);
	return used + TAR_BLOCK;
}
