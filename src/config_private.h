/* SPDX-License-Identifier: BSD-3-Clause */
/* config_private: what the files of config share: the row of an option, and its value as text and as a field. */
#ifndef CONFIG_PRIVATE_H
#define CONFIG_PRIVATE_H

#include "config.h"

#define CONFIG_CALLED_MAX 48

enum config_kind {
	FLAG,     /* bool */
	COUNT,    /* int, one more each time */
	INT,      /* int */
	UINT,     /* unsigned */
	LONG,     /* int64_t */
	OCTAL,    /* unsigned */
	BYTES,    /* uint64_t, with k, m or g */
	MEBI,     /* uint64_t, given in MiB */
	TEXT,     /* char *, ours */
	LIST,     /* char *, ours: further ones are appended with a comma */
	LINES,    /* char *, ours: further ones are appended with a newline */
	CHAR,     /* char */
	CHOICE,   /* int: place in `choices` */
	ACCEPTED, /* no effect: told once */
	REFUSED,  /* choices says why */
	RESTART,
	EXTENDED,
	ONCE, /* int: what to do instead of serving; on the command line alone */
};

struct config_row {
	char letter;
	const char *name;
	const char *argument; /* NULL = none */
	enum config_kind kind;
	size_t at; /* in struct config */
	int64_t min, max;
	const char *preset;  /* shown, and set before anything is read; NULL = off or none */
	const char *choices; /* "a|b|c"; for REFUSED the reason */
	const char *help;    /* NULL = said by the kind */
};

/* The table, in the order of --help; n is its length. */
const struct config_row *config_rows(size_t *ret_n);
/* By its long name or, with one character, its letter; NULL = none. */
const struct config_row *config_find(const char *name);
/* "-p/--port" or "--data-dir", for messages. */
const char *config_called(const struct config_row *row, char buf[CONFIG_CALLED_MAX]);

/* One value, as `source` gives it, into its field; value NULL = the option stood alone. What a list or a count got from an
 * earlier source is gone. False: ret_why says what is wrong, and the field is as it was. */
bool config_set(struct config *c, const struct config_row *row, enum config_source source, const char *value,
    char ret_why[CONFIG_WHY_MAX]);
/* The field as text that config_set takes, for the caller to free; of LINES one line a value. "" = not set, or it has none. NULL: no
 * memory. */
char *config_show(const struct config *c, const struct config_row *row);

/* Options as words of a command line, argv[0] aside. where: what a message begins with. False: told. */
bool config_read_words(struct config *c, enum config_source source, const char *where, int argc, char **argv);
/* Whether a file that has this as a line says this value of the option. */
bool config_line_says(const char *line, const struct config_row *row, const char *value);
/* Reads a configuration file into c. False: told, with file and line. */
bool config_read_file(struct config *c, const char *path);

#endif
