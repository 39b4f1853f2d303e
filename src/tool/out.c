/* SPDX-License-Identifier: BSD-3-Clause */
/* out: see out.h. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/msg.h"
#include "tool/out.h"

static const char hex[] = "0123456789abcdef";

bool out_open(struct out *out, int fd)
{
	*out = (struct out){.fd = fd, .buf = malloc(OUT_SIZE)};
	return out->buf != NULL;
}

void out_flush(struct out *out)
{
	size_t done = 0;
	while (done < out->len && out->error == 0) {
		ssize_t n = write(out->fd, out->buf + done, out->len - done);
		if (n >= 0)
			done += (size_t)n;
		else if (errno != EINTR)
			out->error = errno;
	}
	out->len = 0;
}

bool out_close(struct out *out)
{
	out_flush(out);
	free(out->buf);
	out->buf = NULL;
	if (out->error != 0)
		msg(MSG_ERROR, "standard output: %s", strerror(out->error));
	return out->error == 0;
}

void out_bytes(struct out *out, const void *data, size_t len)
{
	const uint8_t *p = data;
	while (len > 0) {
		if (out->len == OUT_SIZE)
			out_flush(out);
		size_t n = OUT_SIZE - out->len < len ? OUT_SIZE - out->len : len;
		memcpy(out->buf + out->len, p, n);
		out->len += n;
		p += n;
		len -= n;
	}
}

unsigned out_digits(uint64_t n, uint8_t *at)
{
	uint8_t digits[20];
	unsigned used = 0;
	do {
		digits[used++] = (uint8_t)('0' + n % 10);
		n /= 10;
	} while (n > 0);
	for (unsigned i = 0; i < used; i++)
		at[i] = digits[used - 1 - i];
	return used;
}

void out_u64(struct out *out, uint64_t n)
{
	uint8_t *at = out_room(out, 20);
	out->len += out_digits(n, at);
}

void out_i64(struct out *out, int64_t n)
{
	if (n < 0)
		out_char(out, '-');
	out_u64(out, n < 0 ? 0 - (uint64_t)n : (uint64_t)n);
}

size_t out_utf8(const uint8_t *s, size_t len)
{
	if (s[0] < 0x80)
		return 1;
	size_t need = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
	if (s[0] < 0xc2 || s[0] > 0xf4 || need > len)
		return 0;
	for (size_t i = 1; i < need; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	}
	/* Too long a form, a surrogate, beyond U+10FFFF. */
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xf0 && s[1] < 0x90) ||
	    (s[0] == 0xed && s[1] >= 0xa0) || (s[0] == 0xf4 && s[1] >= 0x90))
		return 0;
	return need;
}

void out_escaped(struct out *out, const void *data, size_t len)
{
	const uint8_t *s = data;
	while (len > 0) {
		uint8_t *at = out_room(out, 4);
		size_t n = out_utf8(s, len);
		/* C1 controls are text to UTF-8 and commands to terminals. */
		bool control =
		    n == 1 ? (*s < 0x20 || *s == 0x7f || *s == '\\') : n == 2 && s[0] == 0xc2 && s[1] < 0xa0;
		if (n > 0 && !control) {
			memcpy(at, s, n);
			out->len += n;
		} else {
			at[0] = '\\';
			at[1] = 'x';
			at[2] = (uint8_t)hex[*s >> 4];
			at[3] = (uint8_t)hex[*s & 15];
			out->len += 4;
			n = 1;
		}
		s += n;
		len -= n;
	}
}
