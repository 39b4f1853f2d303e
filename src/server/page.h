/* SPDX-License-Identifier: BSD-3-Clause */
/* page: page.html, as it was built into the program. Any thread. */
#ifndef SERVER_PAGE_H
#define SERVER_PAGE_H

#include <stddef.h>

/* Where a random word belongs that the answer's header names as well: no other script or style is run. */
#define PAGE_NONCE "@NONCE@"

/* Constant; not ended by a 0. */
const char *page_text(size_t *ret_len);

#endif
