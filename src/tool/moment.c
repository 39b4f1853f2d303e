/* SPDX-License-Identifier: BSD-3-Clause */
/* moment: see moment.h. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "tool/moment.h"

/* Beyond this a date has more than four digits for its year. */
#define SECONDS_MAX INT64_C(253402300799)

/* Exactly `digits` digits. */
static bool take_number(const char **at, unsigned digits, int *ret_n)
{
	*ret_n = 0;
	for (unsigned i = 0; i < digits; i++, (*at)++) {
		if (!isdigit((unsigned char)**at))
			return false;
		*ret_n = *ret_n * 10 + (**at - '0');
	}
	return true;
}

static bool take_char(const char **at, char c)
{
	if (**at != c)
		return false;
	(*at)++;
	return true;
}

/* ".5" and the like, where there is one; digits behind the third count for nothing. */
static bool take_fraction(const char **at, int *ret_ms)
{
	*ret_ms = 0;
	if (!take_char(at, '.'))
		return true;
	if (!isdigit((unsigned char)**at))
		return false;
	for (int unit = 100; isdigit((unsigned char)**at); unit /= 10, (*at)++)
		*ret_ms += unit * (**at - '0');
	return true;
}

/* "Z", "+01:00", "-0530"; nothing = local time. */
static bool take_zone(const char **at, bool *ret_local, int *ret_seconds)
{
	int hours, minutes, sign = **at == '-' ? -1 : 1;
	*ret_local = **at == '\0';
	*ret_seconds = 0;
	if (*ret_local || take_char(at, 'Z') || take_char(at, 'z'))
		return true;
	if (**at != '+' && **at != '-')
		return false;
	(*at)++;
	if (!take_number(at, 2, &hours))
		return false;
	take_char(at, ':');
	if (!take_number(at, 2, &minutes) || hours > 23 || minutes > 59)
		return false;
	*ret_seconds = sign * (hours * 3600 + minutes * 60);
	return true;
}

/* Seconds, minutes or all of the time of day may be missing. */
static bool take_clock(const char **at, struct tm *tm, int *ret_ms)
{
	*ret_ms = 0;
	if (**at == '\0')
		return true;
	if (!take_char(at, 'T') && !take_char(at, 't') && !take_char(at, ' '))
		return false;
	if (!take_number(at, 2, &tm->tm_hour) || !take_char(at, ':') || !take_number(at, 2, &tm->tm_min))
		return false;
	return !take_char(at, ':') || (take_number(at, 2, &tm->tm_sec) && take_fraction(at, ret_ms));
}

static bool parse_date(const char *at, int64_t *ret_ms)
{
	struct tm tm = {.tm_isdst = -1};
	int ms, zone;
	bool local;
	if (!take_number(&at, 4, &tm.tm_year) || !take_char(&at, '-') || !take_number(&at, 2, &tm.tm_mon) ||
	    !take_char(&at, '-') || !take_number(&at, 2, &tm.tm_mday) || !take_clock(&at, &tm, &ms) ||
	    !take_zone(&at, &local, &zone) || *at != '\0')
		return false;
	tm.tm_year -= 1900;
	tm.tm_mon--;
	struct tm wanted = tm;
	time_t t = local ? mktime(&tm) : timegm(&tm);
	/* The thirty-first of February, or an hour that the clocks leapt over. */
	if (tm.tm_mon != wanted.tm_mon || tm.tm_mday != wanted.tm_mday || tm.tm_hour != wanted.tm_hour ||
	    tm.tm_min != wanted.tm_min || tm.tm_sec != wanted.tm_sec)
		return false;
	*ret_ms = ((int64_t)t - zone) * 1000 + ms;
	return true;
}

static bool parse_epoch(const char *text, int64_t *ret_ms)
{
	char *end;
	int ms;
	errno = 0;
	long long seconds = strtoll(text, &end, 10);
	const char *at = end;
	if (!isdigit((unsigned char)*text) || errno != 0 || seconds > SECONDS_MAX ||
	    !take_fraction(&at, &ms) || *at != '\0')
		return false;
	*ret_ms = (int64_t)seconds * 1000 + ms;
	return true;
}

/* "90 seconds ago", "1 day ago". */
static bool parse_ago(const char *text, int64_t now_ms, int64_t *ret_ms)
{
	static const struct unit {
		const char *name;
		int64_t ms;
	} units[] = {
	    {"second", 1000}, {"minute", 60000}, {"hour", 3600000}, {"day", 86400000}, {"week", 604800000}};
	char word[16], ago[8];
	unsigned n;
	int used = 0;
	if (!isdigit((unsigned char)*text) || sscanf(text, "%9u %15[a-z] %7s%n", &n, word, ago, &used) != 3 ||
	    text[used] != '\0' || strcmp(ago, "ago") != 0)
		return false;
	size_t len = strlen(word);
	if (len > 1 && word[len - 1] == 's')
		word[len - 1] = '\0';
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(units[i].name, word) == 0) {
			*ret_ms = now_ms - (int64_t)n * units[i].ms;
			return true;
		}
	}
	return false;
}

bool moment_parse(const char *text, int64_t now_ms, int64_t *ret_ms)
{
	if (*text == '@')
		return parse_epoch(text + 1, ret_ms);
	return parse_ago(text, now_ms, ret_ms) || parse_date(text, ret_ms);
}

void moment_text(int64_t ms, char out[MOMENT_SIZE])
{
	time_t seconds = (time_t)(ms / 1000);
	struct tm tm;
	if (ms < 0 || seconds > SECONDS_MAX || !gmtime_r(&seconds, &tm)) {
		snprintf(out, MOMENT_SIZE, "@%" PRId64, ms / 1000);
		return;
	}
	snprintf(out, MOMENT_SIZE, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", (tm.tm_year + 1900) % 10000,
	    tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(ms % 1000));
}
