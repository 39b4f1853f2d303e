/* SPDX-License-Identifier: BSD-3-Clause */
/* options: command lines from tables. A subcommand states its options once; parsing (getopt_long), --help and
 * the test that compares the manual page all read that table. --help is added to every table. Used by one
 * thread, once a process. */
#ifndef TOOL_OPTIONS_H
#define TOOL_OPTIONS_H

#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OPTIONS_MAX 32

struct options_row {
	const char *name; /* without the dashes */
	const char *arg;  /* what it takes, as help shows it; NULL = nothing */
	const char *help;
};

struct options_spec {
	const char *command;   /* "dump" */
	const char *arguments; /* "FILE|DIR..." */
	const char *summary;   /* one line */
	const struct options_row *rows;
	size_t n_rows;
};

struct options {
	const struct options_spec *spec;
	int argc;
	char **argv;
	int exit; /* where options_read() was the end */
	struct option longs[OPTIONS_MAX + 2];
};

/* Takes an option that was given, by its row, with what stands behind it (NULL where it takes nothing). False, after a
 * message, where that is wrong usage. */
typedef bool options_take(void *arg, int row, const char *value);
/* For those that take nothing: arg is an array of bool, one for each row. */
options_take options_take_flag;

/* Hands all options to `take`, in their order. False: help was printed, or
 * the usage was wrong, and the command ends with o->exit. */
bool options_read(
    struct options *o, const struct options_spec *spec, int argc, char **argv, options_take *take, void *arg);
/* The positional arguments, at least `min` and at most `max` of them; NULL after a message when there are
 * others. */
char **options_arguments(struct options *o, int min, int max, int *ret_n);
/* Says what is wrong with the usage, points to --help; returns TOOL_USAGE. */
int options_usage(const struct options_spec *spec, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* A key as keys are printed: \xNN is a byte, everything else is itself. Returns the length; out has room for the text, and may
 * be the text. */
size_t options_bytes(uint8_t *out, const char *text);
/* An option's whole number within [min, max]. False after a message. */
bool options_number(
    const struct options_spec *spec, int row, const char *text, uint64_t min, uint64_t max, uint64_t *ret_n);

#endif
