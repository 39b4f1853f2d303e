/* SPDX-License-Identifier: BSD-3-Clause */
/* items: what import reads, in the form that the first byte names: whatever the text, each item that comes out of it is one
 * that a server could hold, and written in any form it is read again as it was. */
#include "fuzz.h"

#include <sys/mman.h>
#include <unistd.h>
#include "tool/reader.h"

#define EVENTS_MAX 100000u

static int file_of(const void *data, size_t len)
{
	int fd = memfd_create("items", MFD_CLOEXEC);
	CHECK(fd >= 0);
	CHECK(write(fd, data, len) == (ssize_t)len);
	CHECK(lseek(fd, 0, SEEK_SET) == 0);
	return fd;
}

/* Times that have passed are as good as any other such time. */
static bool same_expiry(int64_t a, int64_t b)
{
	bool a_passed = a != 0 && a <= FORMAT_RELATIVE_MAX, b_passed = b != 0 && b <= FORMAT_RELATIVE_MAX;
	return a_passed ? b_passed : a == b;
}

static void write_and_read(const struct item *item, enum format format)
{
	struct out out;
	int fd = memfd_create("out", MFD_CLOEXEC);
	CHECK(fd >= 0 && out_open(&out, fd));
	struct writer w = {.out = &out, .format = format};
	writer_begin(&w);
	writer_put(&w, item);
	CHECK(out_close(&out) && lseek(fd, 0, SEEK_SET) == 0);
	struct reader r;
	struct item again;
	reader_open(&r, fd, format);
	enum reader_event event = reader_next(&r, &again);
	CHECK(w.left_out > 0 ? event == READER_END : event == READER_ITEM);
	if (event == READER_ITEM) {
		CHECK(again.key_len == item->key_len && memcmp(again.key, item->key, item->key_len) == 0);
		CHECK(again.size == item->size && memcmp(again.value, item->value, (size_t)item->size) == 0);
		CHECK(again.flags == item->flags);
		CHECK(same_expiry(item->expiry, again.expiry));
		CHECK(reader_next(&r, &again) == READER_END);
	}
	reader_close(&r);
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct reader r;
	struct item item;
	enum reader_event event;
	if (len == 0)
		return 0;
	int fd = file_of(data + 1, len - 1);
	reader_open(&r, fd, (enum format)(data[0] % N_FORMATS));
	for (unsigned i = 0; i < EVENTS_MAX; i++) {
		event = reader_next(&r, &item);
		if (event == READER_END || event == READER_FAILED)
			break;
		CHECK(r.line > 0);
		CHECK((event == READER_BAD) == (r.why[0] != '\0'));
		if (event == READER_BAD)
			continue;
		CHECK(item.key_len > 0 && item.key_len <= ITEM_KEY_MAX && item.value);
		for (int f = 0; f < N_FORMATS; f++)
			write_and_read(&item, (enum format)f);
	}
	CHECK(event != READER_FAILED || r.why[0] != '\0');
	reader_close(&r);
	close(fd);
	return 0;
}
