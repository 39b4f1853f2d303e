/* SPDX-License-Identifier: BSD-3-Clause */
/* tool_tar: headers as tar(1) reads them, also of a file that eleven octal digits cannot measure. */
#include "unit.h"
#include "tool/tar.h"

#define GIB (UINT64_C(1) << 30)

/* A sparse archive of one file, and what tar lists of it. */
static void list(struct unit_scratch *s, uint64_t size, char *out, size_t room)
{
	uint8_t header[TAR_HEADER_MAX];
	char command[400];
	size_t len = tar_header("log-0000000001", size, 1000000000, header);
	unit_write_file(s->fd, "x.tar", header, len);
	int fd = openat(s->fd, "x.tar", O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)(len + size + tar_padding(size) + TAR_END)), 0);
	close(fd);
	snprintf(command, sizeof(command), "TZ=UTC tar --numeric-owner -tvf %s/x.tar 2>&1", s->path);
	FILE *f = popen(command, "r");
	assert_non_null(f);
	size_t n = fread(out, 1, room - 1, f);
	out[n] = 0;
	assert_int_equal(pclose(f), 0);
}

static void sizes(void **state)
{
	static const uint64_t sizes[] = {0, 1, 511, 512, 513, 8 * GIB - 1, 8 * GIB, 8 * GIB + 1, 100 * GIB};
	struct unit_scratch s = unit_scratch_begin();
	char out[200], wanted[200];
	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		unsigned long long size = sizes[i];
		list(&s, size, out, sizeof(out));
		snprintf(wanted, sizeof(wanted), "%llu 2001-09-09 01:46 log-0000000001\n", size);
		assert_int_equal(strncmp(out, "-rw------- 0/0 ", 15), 0);
		assert_non_null(strstr(out, wanted));
	}
	unit_scratch_end(&s);
}

static void padding(void **state)
{
	(void)state;
	assert_int_equal(tar_padding(0), 0);
	assert_int_equal(tar_padding(1), 511);
	assert_int_equal(tar_padding(512), 0);
	assert_int_equal(tar_padding(8 * GIB + 5), 507);
}

static const struct CMUnitTest TESTS[] = {
    cmocka_unit_test(sizes),
    cmocka_unit_test(padding),
};

UNIT_MAIN(TESTS)
