/* SPDX-License-Identifier: BSD-3-Clause */
/* uri: see uri.h. */
#include "proto/uri.h"

#include <stdbool.h>
#include <string.h>

uint8_t *uri_encode(uint8_t *out, const uint8_t *data, size_t len)
{
	static const char hex[] = "0123456789ABCDEF";
	for (size_t i = 0; i < len; i++) {
		uint8_t k = data[i];
		bool plain = (k >= 'a' && k <= 'z') || (k >= 'A' && k <= 'Z') || (k >= '0' && k <= '9') ||
		             (k && strchr("-._~", k));
		if (plain) {
			*out++ = k;
		} else {
			*out++ = '%';
			*out++ = (uint8_t)hex[k >> 4];
			*out++ = (uint8_t)hex[k & 15];
		}
	}
	return out;
}
