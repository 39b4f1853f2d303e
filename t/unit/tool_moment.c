/* SPDX-License-Identifier: BSD-3-Clause */
/* tool_moment: the forms in which operators write a time, and those that are none. */
#include "unit.h"
#include <time.h>
#include "tool/moment.h"

#define NOW INT64_C(1795271400123)

static void assert_moment(const char *text, int64_t wanted)
{
	int64_t ms = -1;
	if (!moment_parse(text, NOW, &ms))
		fail_msg("\"%s\" is no time", text);
	if (ms != wanted)
		fail_msg("\"%s\" is %lld, not %lld", text, (long long)ms, (long long)wanted);
}

static void with_zone(void **state)
{
	(void)state;
	assert_moment("2026-11-21T14:30:00Z", INT64_C(1795271400000));
	assert_moment("2026-11-21t14:30:00z", INT64_C(1795271400000));
	assert_moment("2026-11-21 14:30:00.5Z", INT64_C(1795271400500));
	assert_moment("2026-11-21T14:30:00.1239Z", INT64_C(1795271400123));
	assert_moment("2026-11-21T15:30:00+01:00", INT64_C(1795271400000));
	assert_moment("2026-11-21T09:00:00-0530", INT64_C(1795271400000));
	assert_moment("2026-11-21T14:30Z", INT64_C(1795271400000));
	assert_moment("2028-02-29T00:00:00Z", INT64_C(1835395200000));
	assert_moment("1970-01-01T00:00:00Z", 0);
}

static void local(void **state)
{
	(void)state;
	setenv("TZ", "XXX-2YYY,M3.5.0/2,M10.5.0/3", 1);
	tzset();
	assert_moment("2026-11-21 14:30:00", INT64_C(1795271400000) - 7200000);
	assert_moment("2026-11-21 14:30", INT64_C(1795271400000) - 7200000);
	assert_moment("2026-11-21", INT64_C(1795219200000) - 7200000);
	assert_moment("2026-07-21 14:30", INT64_C(1784644200000) - 10800000);
	int64_t ms;
	/* The clocks leap over this hour. */
	assert_false(moment_parse("2026-03-29 02:30:00", NOW, &ms));
}

static void others(void **state)
{
	(void)state;
	assert_moment("@1795271400", INT64_C(1795271400000));
	assert_moment("@1795271400.25", INT64_C(1795271400250));
	assert_moment("@0", 0);
	assert_moment("10 minutes ago", NOW - 600000);
	assert_moment("1 minute ago", NOW - 60000);
	assert_moment("90 seconds ago", NOW - 90000);
	assert_moment("3 hours ago", NOW - 10800000);
	assert_moment("2 days ago", NOW - 172800000);
	assert_moment("1 week ago", NOW - 604800000);
	assert_moment("999999999 weeks ago", NOW - INT64_C(999999999) * 604800000);
}

static void none(void **state)
{
	static const char *const texts[] = {"", " ", "now", "yesterday", "2026", "2026-11", "2026-11-21T",
	    "2026-11-21T14", "2026-11-21T14:30:00Q", "2026-11-21T14:30:00Z ", "2026-11-21T14:30:00+1",
	    "2026-11-21T14:30:00+99:00", "2026-02-31T00:00:00Z", "2026-13-01T00:00:00Z",
	    "2026-00-01T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:60:00Z", "2026-11-21T14:30:00.Z",
	    "26-11-21T14:30:00Z", "@", "@-5", "@12x", "@1.x", "@99999999999999999999", "10 minutes",
	    "minutes ago", "10 fortnights ago", "10 minutes ago ago", "-1 days ago", "10 minutes from now",
	    "1s ago"};
	int64_t ms;
	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (moment_parse(texts[i], NOW, &ms))
			fail_msg("\"%s\" is taken for %lld", texts[i], (long long)ms);
}

static void written(void **state)
{
	char text[MOMENT_SIZE];
	int64_t ms;
	(void)state;
	moment_text(NOW, text);
	assert_string_equal(text, "2026-11-21T14:30:00.123Z");
	assert_true(moment_parse(text, 0, &ms));
	assert_int_equal(ms, NOW);
	moment_text(0, text);
	assert_string_equal(text, "1970-01-01T00:00:00.000Z");
	moment_text(INT64_C(253402300799999), text);
	assert_string_equal(text, "9999-12-31T23:59:59.999Z");
	moment_text(INT64_C(253402300800000), text);
	assert_string_equal(text, "@253402300800");
	moment_text(-1500, text);
	assert_string_equal(text, "@-1");
	moment_text(INT64_MAX, text);
	assert_string_equal(text, "@9223372036854775");
}

static const struct CMUnitTest TESTS[] = {
    cmocka_unit_test(with_zone),
    cmocka_unit_test(local),
    cmocka_unit_test(others),
    cmocka_unit_test(none),
    cmocka_unit_test(written),
};

UNIT_MAIN(TESTS)
