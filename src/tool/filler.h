/* SPDX-License-Identifier: BSD-3-Clause */
/* filler: puts items into a running server with meta sets, many on their way at a time, no faster than it is told. One thread. */
#ifndef TOOL_FILLER_H
#define TOOL_FILLER_H

#include "tool/client.h"
#include "tool/item.h"

struct filler;

struct filler_options {
	bool keep;          /* what is there already stays (mode add) */
	uint64_t rate;      /* items a second, 0 = as fast as it goes */
	uint64_t byte_rate; /* bytes of keys and values a second, 0 = the same */
};

struct filler_counts {
	uint64_t stored, bytes; /* of keys and values */
	uint64_t skipped;       /* were there already */
	uint64_t expired;       /* before they could be sent */
	uint64_t refused;       /* by the server, which said why, or no command can name the key */
};

/* Where an item comes from, for messages: "FILE, line N" or, with line 0, FILE alone. */
struct filler_place {
	const char *file;
	uint64_t line;
};

/* TOOL_OK, or an exit code after a message. */
int filler_open(
    struct filler **ret_filler, const struct client_address *address, const struct filler_options *options);
void filler_close(struct filler **filler);
/* Takes an item with its value. TOOL_OK also where it is refused; TOOL_IO when the connection failed. */
int filler_put(struct filler *f, const struct item *item, const struct filler_place *place);
/* Waits for all answers. */
int filler_finish(struct filler *f);
const struct filler_counts *filler_get_counts(const struct filler *f);

#endif
