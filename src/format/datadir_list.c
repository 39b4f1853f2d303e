/* SPDX-License-Identifier: BSD-3-Clause */
/* datadir_list: what lies in the directory, and what names mean. No state; the caller's thread. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/check.h"
#include "format/datadir_dir.h"

#define DIGITS_MIN 10u

static const char *const prefixes[] = {[DATADIR_LOG] = "log-", [DATADIR_SNAPSHOT] = "snapshot-"};

void datadir_name(enum datadir_kind kind, uint64_t number, char ret_name[DATADIR_NAME_SIZE])
{
	char digits[24];
	size_t at = sizeof(digits), written = 0;
	for (digits[--at] = '\0'; number > 0 || written < DIGITS_MIN; written++) {
		digits[--at] = (char)('0' + number % 10);
		number /= 10;
	}
	size_t prefix_len = strlen(prefixes[kind]);
	CHECK(prefix_len + sizeof(digits) - at <= DATADIR_NAME_SIZE);
	memcpy(ret_name, prefixes[kind], prefix_len);
	memcpy(ret_name + prefix_len, digits + at, sizeof(digits) - at);
}

static bool parse_digits(const char *s, size_t len, uint64_t *ret_number)
{
	uint64_t number = 0;
	if (len < DIGITS_MIN || (len > DIGITS_MIN && s[0] == '0'))
		return false;
	for (size_t i = 0; i < len; i++) {
		if (s[i] < '0' || s[i] > '9')
			return false;
		uint64_t digit = (uint64_t)(s[i] - '0');
		if (number > (UINT64_MAX - digit) / 10)
			return false;
		number = number * 10 + digit;
	}
	*ret_number = number;
	return number > 0;
}

static bool parse_name(const char *name, size_t len, enum datadir_kind *ret_kind, uint64_t *ret_number)
{
	for (unsigned kind = 0; kind < sizeof(prefixes) / sizeof(prefixes[0]); kind++) {
		size_t prefix = strlen(prefixes[kind]);
		if (len > prefix && memcmp(name, prefixes[kind], prefix) == 0) {
			*ret_kind = (enum datadir_kind)kind;
			return parse_digits(name + prefix, len - prefix, ret_number);
		}
	}
	return false;
}

bool datadir_parse_name(const char *name, enum datadir_kind *ret_kind, uint64_t *ret_number)
{
	return parse_name(name, strlen(name), ret_kind, ret_number);
}

bool datadir_is_temporary(const char *name)
{
	size_t len = strlen(name), suffix = strlen(DATADIR_TEMPORARY_SUFFIX);
	enum datadir_kind kind;
	uint64_t number;
	if (len <= suffix || strcmp(name + len - suffix, DATADIR_TEMPORARY_SUFFIX) != 0)
		return false;
	return strcmp(name, DATADIR_MANIFEST_TEMPORARY) == 0 ||
	       parse_name(name, len - suffix, &kind, &number);
}

static enum hearth_status add_name(struct datadir_names *names, const char *name)
{
	if (names->n == DATADIR_NAMES_MAX)
		return HEARTH_TOO_LARGE;
	if (names->n == names->room) {
		size_t room = names->room ? 2 * names->room : 32;
		char **bigger = reallocarray(names->names, room, sizeof(*bigger));
		if (bigger == NULL)
			return HEARTH_NOMEM;
		names->names = bigger;
		names->room = room;
	}
	names->names[names->n] = strdup(name);
	return names->names[names->n] ? (names->n++, HEARTH_OK) : HEARTH_NOMEM;
}

struct listing {
	struct datadir_names *names;
	enum hearth_status status;
};

static bool list_name(void *arg, const char *name)
{
	struct listing *listing = arg;
	listing->status = add_name(listing->names, name);
	return listing->status == HEARTH_OK;
}

enum hearth_status datadir_list(const struct vfs *vfs, int fd, struct datadir_names *ret_names)
{
	struct listing listing = {.names = ret_names, .status = HEARTH_OK};
	*ret_names = (struct datadir_names){0};
	if (vfs->list(vfs->ctx, fd, list_name, &listing) != 0)
		listing.status = HEARTH_IO;
	int saved = errno;
	if (listing.status != HEARTH_OK)
		datadir_free_names(ret_names);
	errno = saved;
	return listing.status;
}

void datadir_free_names(struct datadir_names *names)
{
	for (size_t i = 0; i < names->n; i++)
		free(names->names[i]);
	free(names->names);
	*names = (struct datadir_names){0};
}
