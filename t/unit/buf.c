/* SPDX-License-Identifier: BSD-3-Clause */
/* buf: the growable buffer against a model, and its answers when memory cannot be had. */
#include "unit.h"
#include "base/buf.h"

static void holds_what_was_appended(void **state)
{
	(void)state;
	enum { STREAM = 1 << 20 };
	uint8_t *stream = malloc(STREAM);
	unit_fill(stream, STREAM, 4);
	struct buf b = {0};
	size_t in = 0, out = 0;
	uint32_t rnd = 99;
	while (in < STREAM) {
		size_t n = unit_random(&rnd) % 700;
		if (n > STREAM - in)
			n = STREAM - in;
		assert_true(buf_append(&b, stream + in, n));
		in += n;
		size_t eat = unit_random(&rnd) % 900;
		if (eat > buf_len(&b))
			eat = buf_len(&b);
		buf_consume(&b, eat);
		out += eat;
		assert_int_equal(buf_len(&b), in - out);
		assert_memory_equal(b.data + b.head, stream + out, in - out);
		assert_true(b.tail <= b.size);
	}
	/* It was emptied about as fast as it was filled: it has not kept all that went through. */
	assert_true(b.size <= 64 * 1024);
	buf_free(&b);
	assert_null(b.data);
	assert_int_equal(b.size, 0);
	free(stream);
}

static void reserve_gives_room(void **state)
{
	(void)state;
	struct buf b = {0};
	assert_true(buf_append(&b, "0123456789", 10));
	buf_consume(&b, 3);
	for (size_t want = 1; want < 100000; want *= 3) {
		assert_true(buf_reserve(&b, want));
		assert_true(buf_room(&b) >= want);
		assert_int_equal(buf_len(&b), 7);
		assert_memory_equal(b.data + b.head, "3456789", 7);
	}
	assert_true(buf_reserve(&b, 0));
	buf_free(&b);
}

static void slides_before_it_grows(void **state)
{
	(void)state;
	struct buf b = {0};
	assert_true(buf_reserve(&b, 4096));
	size_t size = b.size;
	memset(b.data, 'x', size);
	b.tail = size;
	buf_consume(&b, size - 100);
	assert_true(buf_reserve(&b, size - 100));
	assert_int_equal(b.size, size);
	assert_int_equal(b.head, 0);
	assert_int_equal(buf_len(&b), 100);
	buf_free(&b);
}

static void memory_that_is_not_there(void **state)
{
	(void)state;
	struct buf b = {0};
	assert_true(buf_append(&b, "content", 7));
	assert_false(buf_reserve(&b, SIZE_MAX));
	assert_false(buf_reserve(&b, SIZE_MAX - 7));
	assert_false(buf_reserve(&b, SIZE_MAX / 2));
	assert_int_equal(buf_len(&b), 7);
	assert_memory_equal(b.data + b.head, "content", 7);
	buf_free(&b);
}

static void empties_to_the_front(void **state)
{
	(void)state;
	struct buf b = {0};
	assert_true(buf_append(&b, "abc", 3));
	buf_consume(&b, 3);
	assert_int_equal(b.head, 0);
	assert_int_equal(b.tail, 0);
	assert_true(buf_append(&b, "", 0));
	assert_true(buf_append(&b, "abc", 3));
	buf_clear(&b);
	assert_int_equal(buf_len(&b), 0);
	buf_free(&b);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(holds_what_was_appended),
    cmocka_unit_test(reserve_gives_room),
    cmocka_unit_test(slides_before_it_grows),
    cmocka_unit_test(memory_that_is_not_there),
    cmocka_unit_test(empties_to_the_front),
};
UNIT_MAIN(tests)
