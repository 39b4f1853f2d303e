/* SPDX-License-Identifier: BSD-3-Clause */
/* tool_top: what hearth top makes of answers: rates, ratios, resets, another daemon, states in words, keys that are hostile;
 * and hostile answers. */
#include "unit.h"
#include "tool/top_view.h"

static void take(struct top_stats *s, const char *text)
{
	char line[512];
	snprintf(line, sizeof(line), "%s", text);
	assert_true(top_stats_take(s, line));
}

static struct top_stats two[2];

static struct top_stats *fresh(unsigned i, double seconds)
{
	memset(&two[i], 0, sizeof(two[i]));
	two[i].at_us = (int64_t)(seconds * 1e6);
	take(&two[i], "STAT uptime 100");
	take(&two[i], "STAT hearth_version 0.1.0");
	take(&two[i], "STAT persist yes");
	take(&two[i], "STAT degraded no");
	take(&two[i], "STAT state healthy");
	return &two[i];
}

static void rates_are_over_the_time_between_two_answers(void **state)
{
	(void)state;
	struct top_view v;
	struct top_stats *a = fresh(0, 10), *b = fresh(1, 12);
	take(a, "STAT cmd_get 1000");
	take(a, "STAT get_hits 900");
	take(a, "STAT get_misses 100");
	take(b, "STAT cmd_get 1500");
	take(b, "STAT get_hits 1000");
	take(b, "STAT get_misses 500");
	take(b, "STAT cmd_set 10");
	take(b, "STAT delete_misses 4");
	take(b, "STAT decr_hits 2");
	take(b, "STAT incr_misses 2");
	take(b, "STAT bytes_read 2048");
	top_view_make(&v, a, b);
	assert_false(v.since_start);
	assert_true(v.seconds == 2 && v.gets == 250 && v.sets == 5 && v.deletes == 2 && v.counts == 2);
	assert_true(v.all == 259 && v.in == 1024);
	assert_true(v.hits == 0.2 && v.hits_ever > 0.666 && v.hits_ever < 0.667);
	/* Alone it is since the start; without a get there is no ratio. */
	top_view_make(&v, NULL, b);
	assert_true(v.since_start && v.seconds == 100 && v.gets == 15);
	top_view_make(&v, b, b);
	assert_true(v.hits < 0 && v.gets == 0);
}

static void counters_that_went_back_make_no_nonsense(void **state)
{
	(void)state;
	struct top_view v;
	struct top_stats *a = fresh(0, 10), *b = fresh(1, 11);
	take(a, "STAT cmd_get 1000");
	take(b, "STAT cmd_get 50");
	top_view_make(&v, a, b);
	assert_true(v.gets == 50);
	/* Another daemon. */
	take(b, "STAT uptime 2");
	top_view_make(&v, a, b);
	assert_true(v.since_start && v.gets == 25);
	take(b, "STAT uptime 0");
	top_view_make(&v, a, b);
	assert_true(v.gets == 50);
}

static const char *find(const struct top_text *t, const char *word)
{
	for (unsigned i = 0; i < t->n; i++)
		if (strstr(t->line[i], word))
			return t->line[i];
	return NULL;
}

static struct top_text lines(const struct top_stats *s, enum top_sort sort, unsigned keys)
{
	struct top_view v;
	static struct top_text t;
	top_view_make(&v, NULL, s);
	top_view_lines(&t, &v, s, "name", sort, keys);
	for (unsigned i = 0; i < t.n; i++)
		for (const char *c = t.line[i]; *c; c++)
			assert_true(*c >= ' ' && *c < 127);
	return t;
}

static void each_state_is_told_in_words(void **state)
{
	(void)state;
	static const char *const states[] = {"reserve", "stopped", "untrusted", "healing", "lost"};
	struct top_text t = lines(fresh(0, 1), TOP_BY_SURE, 9);
	assert_non_null(find(&t, "healthy"));
	assert_int_equal(t.warning, 0);
	for (unsigned i = 0; i < 5; i++) {
		struct top_stats *s = fresh(0, 1);
		char line[64];
		snprintf(line, sizeof(line), "STAT state %s", states[i]);
		take(s, line);
		take(s, "STAT degraded yes");
		take(s, "STAT state_reason cannot_sync_the_log:_No_space_left");
		take(s, "STAT state_seconds 7300");
		t = lines(s, TOP_BY_SURE, 9);
		assert_int_equal(t.warning, 1);
		assert_non_null(strstr(t.line[1], "DEGRADED"));
		assert_non_null(strstr(t.line[1], "for 2 h 1 min"));
		assert_non_null(strstr(t.line[1], "cannot sync the log: No space left"));
		assert_null(strstr(t.line[1], "see hearthd"));
	}
	struct top_stats *s = fresh(0, 1);
	take(s, "STAT loading yes");
	take(s, "STAT loading_done_bytes 1048576");
	take(s, "STAT loading_all_bytes 4194304");
	t = lines(s, TOP_BY_SURE, 9);
	assert_non_null(find(&t, "25.0 % of 4.00 MiB"));
	s = fresh(0, 1);
	take(s, "STAT disk_waiting yes");
	t = lines(s, TOP_BY_SURE, 9);
	assert_non_null(find(&t, "wait for room"));
	s = fresh(0, 1);
	s->word[TOP_hearth_version][0] = '\0';
	t = lines(s, TOP_BY_SURE, 9);
	assert_non_null(find(&t, "a memcached"));
}

static void what_brings_the_next_snapshot_is_said(void **state)
{
	(void)state;
	struct top_stats *s = fresh(0, 1);
	struct top_text t = lines(s, TOP_BY_SURE, 0);
	assert_non_null(find(&t, "none yet; next only when asked for"));
	take(s, "STAT snapshot_due_log_bytes 1048576");
	take(s, "STAT log_since_snapshot 524288");
	t = lines(s, TOP_BY_SURE, 0);
	assert_non_null(find(&t, "next after 512 KiB of log"));
	take(s, "STAT snapshot_interval 3600");
	take(s, "STAT snapshot_due_seconds 90");
	t = lines(s, TOP_BY_SURE, 0);
	assert_non_null(find(&t, "next in 90 s or 512 KiB of log"));
	take(s, "STAT snapshot_running yes");
	take(s, "STAT snapshot_written_items 25");
	take(s, "STAT curr_items 100");
	t = lines(s, TOP_BY_SURE, 0);
	assert_non_null(find(&t, "running, 25 %"));
}

static void times_are_told_or_that_there_are_none(void **state)
{
	(void)state;
	struct top_stats *s = fresh(0, 1);
	struct top_text t = lines(s, TOP_BY_SURE, 0);
	assert_null(find(&t, " time ")); /* an older daemon */
	take(s, "STAT latency_seconds 42.4");
	take(s, "STAT latency_get_timed 0");
	take(s, "STAT latency_set_timed 7");
	take(s, "STAT latency_set_p50_us 13.0");
	take(s, "STAT latency_set_p99_us 250.0");
	take(s, "STAT latency_set_p999_us 1200.0");
	take(s, "STAT latency_set_max_us 100000000.0");
	t = lines(s, TOP_BY_SURE, 0);
	assert_string_equal(find(&t, "get time"), "get time   none sampled in the last 42 s");
	assert_string_equal(
	    find(&t, "set time"), "set time   p50 13 us, p99 250 us, p99.9 1.20 ms, max 100 s (sampled)");
}

static void hot_keys_are_sorted_and_what_is_no_sign_is_left_out(void **state)
{
	(void)state;
	struct top_stats *s = fresh(0, 1);
	take(s, "STAT hotkeys_sampled 1000");
	take(s, "STAT hotkeys_every 64");
	struct top_text t = lines(s, TOP_BY_SURE, 9);
	assert_non_null(find(&t, "none stands out"));
	take(s, "STAT hotkey:1 b 500 400");
	take(s, "STAT hotkey:2 a%0A%1B%5B2J%FF%25 300 10");
	take(s, "STAT hotkey:3 c 200 100");
	take(s, "STAT hotkey:4 noise 9 8");
	assert_int_equal(s->n_keys, 4);
	assert_int_equal(s->key[1].len, 8);
	t = lines(s, TOP_BY_SURE, 9);
	assert_null(find(&t, "noise"));
	assert_non_null(strstr(t.line[t.n - 3], "29.0 %    30.0 %       290  a\\x0a\\x1b[2J\\xff%"));
	assert_non_null(strstr(t.line[t.n - 2], "  b"));
	t = lines(s, TOP_BY_COUNT, 9);
	assert_non_null(strstr(t.line[t.n - 3], "  b"));
	t = lines(s, TOP_BY_KEY, 2);
	assert_non_null(strstr(t.line[t.n - 2], "a\\x0a"));
	assert_non_null(strstr(t.line[t.n - 1], "  b"));
	assert_null(find(&t, "  c"));
	t = lines(s, TOP_BY_KEY, 0);
	assert_null(find(&t, "hot keys"));
}

static void hostile_answers_do_no_harm(void **state)
{
	(void)state;
	static const char *const bad[] = {"STAT uptime", "STAT uptime -1", "STAT uptime 1e400",
	    "STAT uptime nan", "STAT uptime 12x", "STAT ", "STAT hotkey:1", "STAT hotkey:1 ",
	    "STAT hotkey:1 k", "STAT hotkey:1 k x y", "STAT hotkey:1  1 2", "STAT state \033[2J\007evil"};
	struct top_stats *s = fresh(0, 1);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		take(s, bad[i]);
	assert_true(s->figure[TOP_uptime] == 100);
	assert_int_equal(s->n_keys, 0);
	assert_string_equal(s->word[TOP_state], "?[2J?evil");
	char line[2000] = "STAT hotkey:1 ";
	memset(line + strlen(line), 'k', 1500);
	take(s, line);
	for (unsigned i = 0; i < 100; i++)
		take(s, "STAT hotkey:1 k 1 0");
	assert_int_equal(s->n_keys, TOP_KEYS);
	/* A count below its error. */
	s = fresh(0, 1);
	take(s, "STAT hotkeys_sampled 0");
	take(s, "STAT hotkey:1 k 5 7");
	assert_int_equal(s->key[0].error, 5);
	lines(s, TOP_BY_SURE, 60);
	char no[] = "VALUE x 0 1";
	assert_false(top_stats_take(s, no));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(rates_are_over_the_time_between_two_answers),
    cmocka_unit_test(counters_that_went_back_make_no_nonsense),
    cmocka_unit_test(each_state_is_told_in_words),
    cmocka_unit_test(what_brings_the_next_snapshot_is_said),
    cmocka_unit_test(times_are_told_or_that_there_are_none),
    cmocka_unit_test(hot_keys_are_sorted_and_what_is_no_sign_is_left_out),
    cmocka_unit_test(hostile_answers_do_no_harm),
};

UNIT_MAIN(tests)
