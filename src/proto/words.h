/* SPDX-License-Identifier: BSD-3-Clause */
/* words: the words of a command line, parted by blanks. Pure: any thread. */
#ifndef PROTO_WORDS_H
#define PROTO_WORDS_H

#include <string.h>
#include "proto/request.h"

/* [at, end), without the line's end. */
struct words {
	const uint8_t *at, *end;
};

/* Whether there is one more; w stands before it then. */
static inline bool words_more(struct words *w)
{
	while (w->at < w->end && *w->at == ' ')
		w->at++;
	return w->at < w->end;
}

/* False: there is none any more. */
static inline bool words_next(struct words *w, struct request_slice *ret_word)
{
	if (!words_more(w))
		return false;
	const uint8_t *space = memchr(w->at, ' ', (size_t)(w->end - w->at));
	ret_word->data = w->at;
	w->at = space ? space : w->end;
	ret_word->len = (size_t)(w->at - ret_word->data);
	return true;
}

#endif
