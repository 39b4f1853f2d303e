/* SPDX-License-Identifier: BSD-3-Clause */
/* uri: keys as they stand in dumps and in what watchers are told (RFC 3986). Pure: any thread. */
#ifndef PROTO_URI_H
#define PROTO_URI_H

#include <stddef.h>
#include <stdint.h>

#define URI_ENCODED_MAX(len) (3 * (len))

/* Letters, digits and four marks stay, all else becomes %XX. Room for URI_ENCODED_MAX(len) bytes. Returns the end. */
uint8_t *uri_encode(uint8_t *out, const uint8_t *data, size_t len);

#endif
