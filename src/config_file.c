/* SPDX-License-Identifier: BSD-3-Clause */
/* config_file: reads a configuration file. A line is `long-name = value`, a long name alone, words as on the command line, or
 * `logfile FILE`: the last two are how Debian's memcached.conf says it. A `#` at the start of a word begins a comment, but not
 * within the quotes around a value. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/msg.h"
#include "config_private.h"

#define FILE_MAX  (1u << 20)
#define WORDS_MAX 64
#define WHERE_MAX 256

#define BYTE_ORDER_MARK "\xef\xbb\xbf"

/* Where the quotes around a value end: behind them comes nothing, or a comment. NULL: there are none. */
static char *quotes_end(char *line)
{
	char *at = line + strspn(line, " \t");
	char *value = at + strcspn(at, " \t=");
	value += strspn(value, " \t");
	if (*at == '-' || *at == '#' || *value != '=')
		return NULL;
	value += 1 + strspn(value + 1, " \t");
	if (*value != '"')
		return NULL;
	for (char *end = strchr(value + 1, '"'); end; end = strchr(end + 1, '"')) {
		char *rest = end + 1 + strspn(end + 1, " \t\r\n");
		if (*rest == 0 || (*rest == '#' && rest > end + 1))
			return end + 1;
	}
	return NULL;
}

/* Without comment and the blanks around it. */
static char *strip(char *line)
{
	char *from = quotes_end(line);
	for (char *at = strchr(from ? from : line, '#'); at; at = strchr(at + 1, '#')) {
		if (at == line || isspace((unsigned char)at[-1])) {
			*at = 0;
			break;
		}
	}
	line += strspn(line, " \t\r\n");
	for (size_t n = strlen(line); n > 0 && isspace((unsigned char)line[n - 1]); n--)
		line[n - 1] = 0;
	return line;
}

static bool told(const char *where, const char *what, const char *why)
{
	msg(MSG_ERROR, "%s%.60s: %s", where, what, why);
	return false;
}

/* "-m 64", and whatever else stands on the line. */
static bool read_flags(struct config *c, const char *where, char *line)
{
	char *words[WORDS_MAX + 2] = {"hearthd"}, *word;
	int n = 1;
	while ((word = strsep(&line, " \t")) != NULL) {
		if (*word == 0)
			continue;
		if (n > WORDS_MAX)
			return told(where, word, "too many words");
		words[n++] = word;
	}
	return config_read_words(c, CONFIG_FILE, where, n, words);
}

/* What follows a long name: nothing, or '=' and the value, in quotes or not. False: neither. */
static bool split(char *line, char **ret_value)
{
	char *end = line + strcspn(line, " \t="), *value = end + strspn(end, " \t");
	*ret_value = NULL;
	if (*value == 0)
		return true;
	if (*value != '=')
		return false;
	*end = 0;
	value += 1 + strspn(value + 1, " \t");
	size_t n = strlen(value);
	if (n >= 2 && *value == '"' && value[n - 1] == '"') {
		value[n - 1] = 0;
		value++;
	}
	*ret_value = value;
	return true;
}

static bool read_line(struct config *c, const char *where, char *line)
{
	static const char logfile[] = "logfile";
	char why[CONFIG_WHY_MAX], *value;
	const struct config_row *row;

	if (*line == 0)
		return true;
	if (*line == '-')
		return read_flags(c, where, line);
	if (strncmp(line, logfile, sizeof logfile - 1) == 0 &&
	    isblank((unsigned char)line[sizeof logfile - 1])) {
		value = line + sizeof logfile;
		value += strspn(value, " \t");
		row = config_find("log-file");
	} else {
		if (!split(line, &value))
			return told(
			    where, line, "neither `name = value` nor an option as on the command line");
		row = line[0] && line[1] ? config_find(line) : NULL;
	}
	if (!row)
		return told(where, line, "no option is called so");
	if (config_set(c, row, CONFIG_FILE, value, why))
		return true;
	msg(MSG_ERROR, "%s%s %s: %s", where, row->name, value ? value : "", why);
	return false;
}

bool config_line_says(const char *line, const struct config_row *row, const char *value)
{
	char *copy = strchr(line, '\n') ? NULL : strdup(line), *found = NULL;
	char *text = copy ? strip(copy) : NULL;
	/* A letter and its value are one word. */
	bool ok = text && *text == '-'
	              ? text[1] == row->letter && strcmp(text + 2, value) == 0 && !strpbrk(value, " \t")
	              : text && split(text, &found) && found && strcmp(found, value) == 0;
	free(copy);
	return ok;
}

static bool failed(const char *path, const char *why)
{
	msg(MSG_ERROR, "--config %s: %s", path, why);
	return false;
}

/* The whole text, ended by a zero, for the caller to free; NULL: told. */
static char *read_whole(const char *path, FILE *in, size_t *ret_len)
{
	char *text = malloc(FILE_MAX + 1);
	size_t n = text ? fread(text, 1, FILE_MAX + 1, in) : 0;
	if (!text || ferror(in) || n > FILE_MAX) {
		failed(path, n > FILE_MAX ? "too long" : strerror(errno));
		free(text);
		return NULL;
	}
	text[n] = 0;
	*ret_len = n;
	return text;
}

bool config_read_file(struct config *c, const char *path)
{
	FILE *in = fopen(path, "re");
	char where[WHERE_MAX];
	size_t len;
	bool ok = true;

	if (!in)
		return failed(path, strerror(errno));
	char *text = read_whole(path, in, &len), *rest = text, *line;
	fclose(in);
	/* Some editors mark a text as UTF-8 so. */
	if (text && strncmp(text, BYTE_ORDER_MARK, sizeof BYTE_ORDER_MARK - 1) == 0)
		rest += sizeof BYTE_ORDER_MARK - 1;
	for (unsigned number = 1; text && ok && (line = strsep(&rest, "\n")) != NULL; number++) {
		snprintf(where, sizeof where, "%.200s line %u: ", path, number);
		/* strsep has put a zero behind the line; one that was there before ends it early. */
		if (!rest && line + strlen(line) != text + len)
			ok = told(where, "this line", "holds a zero byte");
		else
			ok = read_line(c, where, strip(line));
	}
	free(text);
	return text && ok;
}
