/* SPDX-License-Identifier: BSD-3-Clause */
/* options: see options.h. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/check.h"
#include "base/msg.h"
#include "tool/options.h"
#include "tool/tool.h"

/* Values of getopt_long for rows; above every character. */
#define ROW_BASE 256

static void init(struct options *o, const struct options_spec *spec, int argc, char **argv)
{
	CHECK(spec->n_rows <= OPTIONS_MAX);
	memset(o, 0, sizeof(*o));
	o->spec = spec;
	o->argc = argc;
	o->argv = argv;
	for (size_t i = 0; i < spec->n_rows; i++) {
		o->longs[i].name = spec->rows[i].name;
		o->longs[i].has_arg = spec->rows[i].arg ? required_argument : no_argument;
		o->longs[i].val = ROW_BASE + (int)i;
	}
	o->longs[spec->n_rows].name = "help";
	o->longs[spec->n_rows].val = 'h';
	optind = 1;
}

static void print_help(const struct options_spec *spec)
{
	printf("usage: hearth %s [OPTION...] %s\n%s\n\n", spec->command, spec->arguments, spec->summary);
	for (size_t i = 0; i < spec->n_rows; i++) {
		const struct options_row *row = &spec->rows[i];
		char left[64];
		snprintf(
		    left, sizeof(left), "--%s%s%s", row->name, row->arg ? " " : "", row->arg ? row->arg : "");
		printf("  %-28s %s\n", left, row->help);
	}
	printf("  %-28s %s\n", "--help", "print this and exit");
}

#define DONE (-1) /* no more options */
#define EXIT (-2) /* with o->exit */

/* The next option's row. */
static int next(struct options *o, const char **ret_value)
{
	opterr = 0;
	int tried = optind;
	int c = getopt_long(o->argc, o->argv, ":h", o->longs, NULL);
	*ret_value = optarg;
	if (c == -1)
		return DONE;
	if (c >= ROW_BASE)
		return c - ROW_BASE;
	if (c == 'h') {
		print_help(o->spec);
		o->exit = fflush(stdout) == 0 ? TOOL_OK : TOOL_IO;
		return EXIT;
	}
	/* The word itself: the one before the next, or, inside a bundle of letters, the one it began with. */
	const char *word = o->argv[optind > tried ? optind - 1 : tried];
	if (c == ':')
		o->exit = options_usage(o->spec, "%s needs an argument", word);
	else
		o->exit = options_usage(o->spec, "unknown option or wrong use of it: %s", word);
	return EXIT;
}

bool options_read(
    struct options *o, const struct options_spec *spec, int argc, char **argv, options_take *take, void *arg)
{
	const char *value;
	int row;
	init(o, spec, argc, argv);
	while ((row = next(o, &value)) >= 0) {
		if (!take(arg, row, value)) {
			o->exit = TOOL_USAGE;
			return false;
		}
	}
	return row == DONE;
}

bool options_take_flag(void *arg, int row, const char *value)
{
	bool *given = arg;
	(void)value;
	return given[row] = true;
}

char **options_arguments(struct options *o, int min, int max, int *ret_n)
{
	int n = o->argc - optind;
	*ret_n = n;
	if (n >= min && n <= max)
		return o->argv + optind;
	if (n < min)
		options_usage(o->spec, "%s is missing", o->spec->arguments);
	else
		options_usage(o->spec, "one argument too many: %s", o->argv[optind + max]);
	return NULL;
}

int options_usage(const struct options_spec *spec, const char *fmt, ...)
{
	char text[512];
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	msg(MSG_ERROR, "%s: %s (see hearth %s --help)", spec->command, text, spec->command);
	return TOOL_USAGE;
}

bool options_number(
    const struct options_spec *spec, int row, const char *text, uint64_t min, uint64_t max, uint64_t *ret_n)
{
	char *end;
	errno = 0;
	unsigned long long n = strtoull(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || n < min || n > max) {
		options_usage(spec, "--%s takes a whole number from %llu to %llu, not \"%s\"",
		    spec->rows[row].name, (unsigned long long)min, (unsigned long long)max, text);
		return false;
	}
	*ret_n = n;
	return true;
}

size_t options_bytes(uint8_t *out, const char *text)
{
	size_t n = 0;
	unsigned byte;
	int used;
	while (*text) {
		used = 0;
		if (sscanf(text, "\\x%2x%n", &byte, &used) == 1 && used == 4)
			text += used;
		else
			byte = (uint8_t)*text++;
		out[n++] = (uint8_t)byte;
	}
	return n;
}
