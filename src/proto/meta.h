/* SPDX-License-Identifier: BSD-3-Clause */
/* meta: the flags of meta commands. Which letters there are, which carry a token, and what is said of a wrong one follows
 * memcached 1.6.45; every command takes every known flag and looks at those that concern it. Pure: any thread. */
#ifndef PROTO_META_H
#define PROTO_META_H

#include "proto/request.h"
#include "proto/words.h"

/* Reads the words behind the key, for a command whose line had `before` words until then. The key is decoded when a flag
 * says so. REPLY_NONE, or what to answer. */
enum reply_id meta_read(
    struct words w, unsigned before, const struct request_slice *key, struct request_meta *ret_meta);

static inline bool meta_has(const struct request_meta *m, char flag)
{
	return m->has & UINT64_C(1) << (flag - 'A');
}

#endif
