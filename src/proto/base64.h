/* SPDX-License-Identifier: BSD-3-Clause */
/* base64: keys of meta commands with the flag b (RFC 4648, padded). Pure: any thread. */
#ifndef PROTO_BASE64_H
#define PROTO_BASE64_H

#include <stddef.h>
#include <stdint.h>

#define BASE64_DECODED_MAX(len) ((len) / 4 * 3)
#define BASE64_ENCODED(len)     (((len) + 2) / 3 * 4)

/* Room for BASE64_DECODED_MAX(len) bytes. 0: it is none, or stands for nothing. */
size_t base64_decode(uint8_t *out, const uint8_t *text, size_t len);
/* Room for BASE64_ENCODED(len) bytes, which are written. */
size_t base64_encode(uint8_t *out, const uint8_t *data, size_t len);

#endif
