/* SPDX-License-Identifier: BSD-3-Clause */
/* tool_items: the table of hashes against a plain model, texts that come a byte at a time, sums of more than is told apart,
 * and the line that shows how far something is. */
#include "unit.h"

#include <sys/wait.h>
#include "tool/progress.h"
#include "tool/reader.h"
#include "tool/summary.h"
#include "tool/table.h"
#include "tool/tool.h"

struct entry {
	struct hash_wide hash;
	unsigned n;
};

static void a_table_is_what_was_put_and_not_removed(void **state)
{
	enum { KEYS = 5000, STEPS = 100000 };
	static unsigned model[KEYS]; /* 0: it is not there */
	struct table t;
	size_t there = 0;
	(void)state;
	assert_int_equal(table_open(&t, sizeof(struct entry), 0), TOOL_OK);
	srandom(1);
	for (unsigned step = 1; step <= STEPS; step++) {
		unsigned key = (unsigned)random() % KEYS;
		struct entry *e = table_find(&t, &key, sizeof(key));
		assert_int_equal(e ? e->n : 0, model[key]);
		/* It grows in the first half and shrinks in the second. */
		if (random() % 100 < (step < STEPS / 2 ? 70 : 20)) {
			e = table_put(&t, &key, sizeof(key));
			assert_non_null(e);
			assert_int_equal(e->n, model[key]);
			there += model[key] == 0;
			e->n = model[key] = step;
		} else if (e) {
			table_remove(&t, e);
			there--;
			model[key] = 0;
		}
		assert_int_equal(t.used, there);
	}
	size_t met = 0;
	for (size_t i = 0; i < t.size; i++)
		met += table_at(&t, i) != NULL;
	assert_int_equal(met, there);
	table_close(&t);
}

/* A descriptor from which the text comes one byte at a time. */
static int trickle(const char *text, size_t len, pid_t *ret_pid)
{
	int fds[2];
	assert_int_equal(pipe(fds), 0);
	*ret_pid = fork();
	if (*ret_pid == 0) {
		close(fds[0]);
		for (size_t i = 0; i < len; i++) {
			if (write(fds[1], text + i, 1) != 1)
				_exit(1);
			usleep(200);
		}
		_exit(0);
	}
	close(fds[1]);
	return fds[0];
}

static void texts_may_come_in_pieces(void **state)
{
	static const char *const texts[N_FORMATS] = {
	    [FORMAT_NDJSON] =
	        "{\"key\":\"one\",\"value\":\"a\\nb\",\"flags\":7}\n\n{\"key\":\"two\",\"value\":\"\"}",
	    [FORMAT_CSV] = "key,value,flags\r\n\"one\",\"a\nb\",7\r\ntwo,,",
	    [FORMAT_TEXT] = "set one 7 0 3\r\na\nb\r\nset two 0 0 0\r\n\r\n",
	};
	static const uint64_t lines[N_FORMATS][2] = {{1, 3}, {2, 4}, {1, 4}};
	(void)state;
	for (int f = 0; f < N_FORMATS; f++) {
		struct reader r;
		struct item item;
		pid_t pid;
		int fd = trickle(texts[f], strlen(texts[f]), &pid);
		reader_open(&r, fd, (enum format)f);
		assert_int_equal(reader_next(&r, &item), READER_ITEM);
		assert_int_equal(r.line, lines[f][0]);
		assert_int_equal(item.key_len, 3);
		assert_memory_equal(item.key, "one", 3);
		assert_int_equal(item.size, 3);
		assert_memory_equal(item.value, "a\nb", 3);
		assert_int_equal(item.flags, 7);
		assert_int_equal(reader_next(&r, &item), READER_ITEM);
		assert_int_equal(r.line, lines[f][1]);
		assert_memory_equal(item.key, "two", 3);
		assert_int_equal(item.size, 0);
		assert_int_equal(item.flags, 0);
		assert_int_equal(reader_next(&r, &item), READER_END);
		assert_int_equal(reader_next(&r, &item), READER_END);
		reader_close(&r);
		close(fd);
		waitpid(pid, NULL, 0);
	}
}

static void what_cannot_be_read_is_an_error(void **state)
{
	struct unit_scratch scratch = unit_scratch_begin();
	struct reader r;
	struct item item;
	(void)state;
	for (int f = 0; f < N_FORMATS; f++) {
		reader_open(&r, scratch.fd, (enum format)f); /* a directory */
		assert_int_equal(reader_next(&r, &item), READER_FAILED);
		assert_int_equal(r.error, EISDIR);
		assert_string_equal(r.why, "Is a directory");
		reader_close(&r);
	}
	unit_scratch_end(&scratch);
}

static void sums_of_more_than_is_told_apart_add_up(void **state)
{
	enum { PREFIXES = SUMMARY_PREFIXES_MAX + 1000 };
	const struct summary_options options = {.prefixes = 5, .top = 3, .delimiter = ":"};
	struct summary s;
	char key[32];
	(void)state;
	assert_int_equal(summary_open(&s, &options), TOOL_OK);
	for (unsigned i = 0; i < PREFIXES; i++) {
		int n = snprintf(key, sizeof(key), "%u:x", i);
		const struct item item = {
		    .key = (const uint8_t *)key, .key_len = (size_t)n, .size = (uint64_t)i * 7919 % 65537};
		assert_true(summary_add(&s, &item));
	}
	assert_int_equal(s.n_prefixes, SUMMARY_PREFIXES_MAX);
	assert_int_equal(s.others.items, 1000);
	assert_int_equal(s.all.items, PREFIXES);
	uint64_t bytes = s.others.bytes;
	for (size_t i = 0; i < (size_t)2 * SUMMARY_PREFIXES_MAX; i++)
		bytes += s.prefixes[i].tally.bytes;
	assert_int_equal(bytes, s.all.bytes);
	struct unit_scratch scratch = unit_scratch_begin();
	struct out out;
	int fd = openat(scratch.fd, "out", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_true(out_open(&out, fd));
	summary_print(&s, &out, true);
	assert_true(out_close(&out));
	assert_int_equal(s.n_large, 3);
	assert_true(s.large[0].bytes >= s.large[1].bytes && s.large[1].bytes >= s.large[2].bytes);
	for (unsigned i = 0; i < PREFIXES; i++) {
		uint64_t size = (uint64_t)i * 7919 % 65537 + (uint64_t)snprintf(NULL, 0, "%u:x", i);
		bool named = false;
		for (size_t k = 0; k < 3; k++)
			named = named || s.large[k].bytes == size;
		assert_true(named || size <= s.large[2].bytes);
	}
	close(fd);
	unit_scratch_end(&scratch);
	summary_close(&s);
}

static void the_line_says_how_long_it_takes(void **state)
{
	char line[PROGRESS_WIDTH];
	struct progress p = {.what = "reading", .all = 400u << 20, .done = 100u << 20};
	(void)state;
	progress_line(&p, 2000000, line);
	assert_string_equal(line, "reading [#####---------------] 25 %, 100 MiB, 50 MiB/s, 6 s left");
	p = (struct progress){.what = "reading", .all = 4u << 20, .done = 2u << 20};
	progress_line(&p, 100000000, line);
	assert_string_equal(line, "reading [##########----------] 50 %, 2048 KiB, 20 KiB/s, 2 min left");
	p = (struct progress){.what = "importing", .all = 1000000, .done = 1000, .items = true};
	progress_line(&p, 1000000, line);
	assert_string_equal(
	    line, "importing [--------------------] 0 %, 1000 items, 1000 items/s, 17 min left");
	p.all = 0;
	progress_line(&p, 1000000, line);
	assert_string_equal(line, "importing: 1000 items, 1000 items/s");
	/* An estimate that was too low, and one that says nothing yet. */
	p.all = 500;
	progress_line(&p, 1000000, line);
	assert_string_equal(
	    line, "importing [####################] 100 %, 1000 items, 1000 items/s, 0 s left");
	p.done = 0;
	progress_line(&p, 0, line);
	assert_string_equal(line, "importing [--------------------] 0 %, 0 items, 0 items/s, ? left");
	p = (struct progress){.what = "importing", .all = UINT64_MAX, .done = UINT64_MAX / 2, .items = true};
	progress_line(&p, INT64_MAX, line);
	assert_true(strlen(line) < PROGRESS_WIDTH);
}

static const struct CMUnitTest TESTS[] = {
    cmocka_unit_test(a_table_is_what_was_put_and_not_removed),
    cmocka_unit_test(texts_may_come_in_pieces),
    cmocka_unit_test(what_cannot_be_read_is_an_error),
    cmocka_unit_test(sums_of_more_than_is_told_apart_add_up),
    cmocka_unit_test(the_line_says_how_long_it_takes),
};

UNIT_MAIN(TESTS)
