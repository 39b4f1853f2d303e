/* SPDX-License-Identifier: BSD-3-Clause */
/* crc32c: the Castagnoli CRC, reflected. On x86-64 the crc32 instruction has a latency of three cycles and a
 * throughput of one, so three stretches of equal length run side by side; a carry-less multiplication moves
 * the first two over the bytes behind them. Elsewhere eight tables, one for each byte of a word. No state:
 * the processor is asked through what libgcc found out before main. Any thread. */
#include <string.h>
#include "base/bytes.h"
#include "base/crc32c.h"

/* The generator polynomial without its x^32, bit-reversed: the highest power is the lowest bit. */
#define POLYNOMIAL 0x82f63b78u

/* A row of a table is linear over its index: the entry of i is the sum of the entries of i's bits. So eight
 * values make a row, and the compiler writes the other 248. */
#define ROW1(x, a)                        (x), (x) ^ (a)
#define ROW2(x, a, b)                     ROW1(x, a), ROW1((x) ^ (b), a)
#define ROW3(x, a, b, c)                  ROW2(x, a, b), ROW2((x) ^ (c), a, b)
#define ROW4(x, a, b, c, d)               ROW3(x, a, b, c), ROW3((x) ^ (d), a, b, c)
#define ROW5(x, a, b, c, d, e)            ROW4(x, a, b, c, d), ROW4((x) ^ (e), a, b, c, d)
#define ROW6(x, a, b, c, d, e, f)         ROW5(x, a, b, c, d, e), ROW5((x) ^ (f), a, b, c, d, e)
#define ROW7(x, a, b, c, d, e, f, g)      ROW6(x, a, b, c, d, e, f), ROW6((x) ^ (g), a, b, c, d, e, f)
#define TABLE_ROW(a, b, c, d, e, f, g, h) ROW7(0u, a, b, c, d, e, f, g), ROW7(h, a, b, c, d, e, f, g)

/* table[k][i]: what byte i does to the CRC when k bytes follow it. */
static const uint32_t table[8][256] = {
    {TABLE_ROW(
        0xf26b8303, 0xe13b70f7, 0xc79a971f, 0x8ad958cf, 0x105ec76f, 0x20bd8ede, 0x417b1dbc, 0x82f63b78)},
    {TABLE_ROW(
        0x13a29877, 0x274530ee, 0x4e8a61dc, 0x9d14c3b8, 0x3fc5f181, 0x7f8be302, 0xff17c604, 0xfbc3faf9)},
    {TABLE_ROW(
        0xa541927e, 0x4f6f520d, 0x9edea41a, 0x38513ec5, 0x70a27d8a, 0xe144fb14, 0xc76580d9, 0x8b277743)},
    {TABLE_ROW(
        0xdd45aab8, 0xbf672381, 0x7b2231f3, 0xf64463e6, 0xe964b13d, 0xd725148b, 0xaba65fe7, 0x52a0c93f)},
    {TABLE_ROW(
        0x38116fac, 0x7022df58, 0xe045beb0, 0xc5670b91, 0x8f2261d3, 0x1ba8b557, 0x37516aae, 0x6ea2d55c)},
    {TABLE_ROW(
        0xef306b19, 0xdb8ca0c3, 0xb2f53777, 0x6006181f, 0xc00c303e, 0x85f4168d, 0x0e045beb, 0x1c08b7d6)},
    {TABLE_ROW(
        0x68032cc8, 0xd0065990, 0xa5e0c5d1, 0x4e2dfd53, 0x9c5bfaa6, 0x3d5b83bd, 0x7ab7077a, 0xf56e0ef4)},
    {TABLE_ROW(
        0x493c7d27, 0x9278fa4e, 0x211d826d, 0x423b04da, 0x847609b4, 0x0d006599, 0x1a00cb32, 0x34019664)},
};

static uint32_t portable(uint32_t crc, const uint8_t *p, size_t len)
{
	for (; len >= 8; p += 8, len -= 8) {
		uint64_t v = bytes_load64(p) ^ crc;
		crc = table[7][v & 0xff] ^ table[6][v >> 8 & 0xff] ^ table[5][v >> 16 & 0xff] ^
		      table[4][v >> 24 & 0xff] ^ table[3][v >> 32 & 0xff] ^ table[2][v >> 40 & 0xff] ^
		      table[1][v >> 48 & 0xff] ^ table[0][v >> 56];
	}
	for (; len > 0; p++, len--)
		crc = crc >> 8 ^ table[0][(crc ^ *p) & 0xff];
	return crc;
}

uint32_t crc32c_portable(uint32_t crc, const void *data, size_t len)
{
	return ~portable(~crc, data, len);
}

#if defined(__x86_64__)
#include <nmmintrin.h>
#include <wmmintrin.h>

/* Words a stretch may have in the loop for short input, and in the one for long. */
#define SHORT_WORDS 64u
#define LONG_WORDS  512u

/* over_words[n]: x^(64 n - 33), what a CRC is multiplied with to move it over n words. The 33 are what the
 * instruction adds: 32 as it reduces, and 1 because a product of two reflected values comes out shifted. */
static const uint32_t over_words[2 * SHORT_WORDS + 1] = {
    0x00000000,
    0x00000001,
    0x493c7d27,
    0xf20c0dfe,
    0xba4fc28e,
    0x3da6d0cb,
    0xddc0152b,
    0x1c291d04,
    0x9e4addf8,
    0x740eef02,
    0x39d3b296,
    0x083a6eec,
    0x0715ce53,
    0xc49f4f67,
    0x47db8317,
    0x2ad91c30,
    0x0d3b6092,
    0x6992cea2,
    0xc96cfdc0,
    0x7e908048,
    0x878a92a7,
    0x1b3d8f29,
    0xdaece73e,
    0xf1d0f55e,
    0xab7aff2a,
    0xa87ab8a8,
    0x2162d385,
    0x8462d800,
    0x83348832,
    0x71d111a8,
    0x299847d5,
    0xffd852c6,
    0xb9e02b86,
    0xdcb17aa4,
    0x18b33a4e,
    0xf37c5aee,
    0xb6dd949b,
    0x6051d5a2,
    0x78d9ccb7,
    0x18b0d4ff,
    0xbac2fd7b,
    0x21f3d99c,
    0xa60ce07b,
    0x8f158014,
    0xce7f39f4,
    0xa00457f7,
    0x61d82e56,
    0x8d6d2c43,
    0xd270f1a2,
    0x00ac29cf,
    0xc619809d,
    0xe9adf796,
    0x2b3cac5d,
    0x96638b34,
    0x65863b64,
    0xe0e9f351,
    0x1b03397f,
    0x9af01f2d,
    0xebb883bd,
    0x2cff42cf,
    0xb3e32c28,
    0x88f25a3a,
    0x064f7f26,
    0x4e36f0b0,
    0xdd7e3b0c,
    0xbd6f81f8,
    0xf285651c,
    0x91c9bd4b,
    0x10746f3c,
    0x885f087b,
    0xc7a68855,
    0x4c144932,
    0x271d9844,
    0x52148f02,
    0x8e766a0c,
    0xa3c6f37a,
    0x93a5f730,
    0xd7c0557f,
    0x6cb08e5c,
    0x63ded06a,
    0x6b749fb2,
    0x4d56973c,
    0x1393e203,
    0x9669c9df,
    0xcec3662e,
    0xe417f38a,
    0x96c515bb,
    0x4b9e0f71,
    0xe6fc4e6a,
    0xd104b8fc,
    0x8227bb8a,
    0x5b397730,
    0xb0cd4768,
    0xe78eb416,
    0x39c7ff35,
    0x61ff0e01,
    0xd7a4825c,
    0x8d96551c,
    0x0ab3844b,
    0x0bf80dd2,
    0x0167d312,
    0x8821abed,
    0xf6076544,
    0x6a45d2b2,
    0x26f6a60a,
    0xd8d26619,
    0xa741c1bf,
    0xde87806c,
    0x98d8d9cb,
    0x14338754,
    0x49c3cc9c,
    0x5bd2011f,
    0x68bce87a,
    0xdd07448e,
    0x57a3d037,
    0xdde8f5b9,
    0x6956fc3b,
    0xa3e3e02c,
    0x42d98888,
    0xd73c7bea,
    0x3771e98f,
    0x80ff0093,
    0xb42ae3d9,
    0x8fe4c34d,
    0x2178513a,
    0xdf99fc11,
    0xe0ac139e,
    0x6c23e841,
    0x170076fa,
};
#define OVER_LONG       0x82f89c77u
#define OVER_TWICE_LONG 0x54a86326u

__attribute__((target("sse4.2,pclmul"))) static inline uint64_t multiply(uint64_t crc, uint32_t by)
{
	__m128i product =
	    _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)crc), _mm_cvtsi32_si128((int)by), 0);
	return (uint64_t)_mm_cvtsi128_si64(product);
}

/* Three stretches of `words` words each. over and over_twice move a CRC over one and two of them. */
__attribute__((target("sse4.2,pclmul"))) static inline uint64_t three(
    uint64_t crc, const uint8_t *p, size_t words, uint32_t over, uint32_t over_twice)
{
	const uint8_t *q = p + 8 * words, *r = q + 8 * words;
	uint64_t second = 0, third = 0;
	for (size_t i = 0; i < words; i++) {
		crc = _mm_crc32_u64(crc, bytes_load64(p + 8 * i));
		second = _mm_crc32_u64(second, bytes_load64(q + 8 * i));
		third = _mm_crc32_u64(third, bytes_load64(r + 8 * i));
	}
	return third ^ _mm_crc32_u64(0, multiply(crc, over_twice) ^ multiply(second, over));
}

__attribute__((target("sse4.2,pclmul"))) static uint32_t with_instruction(
    uint32_t start, const uint8_t *p, size_t len)
{
	uint64_t crc = start;
	for (; len >= 24 * LONG_WORDS; p += 24 * LONG_WORDS, len -= 24 * LONG_WORDS)
		crc = three(crc, p, LONG_WORDS, OVER_LONG, OVER_TWICE_LONG);
	/* Below some hundred bytes the joining costs more than the two streams save. */
	while (len >= 96) {
		size_t words = len / 24 < SHORT_WORDS ? len / 24 : SHORT_WORDS;
		crc = three(crc, p, words, over_words[words], over_words[2 * words]);
		p += 24 * words;
		len -= 24 * words;
	}
	for (; len >= 8; p += 8, len -= 8)
		crc = _mm_crc32_u64(crc, bytes_load64(p));
	if (len >= 4) {
		crc = _mm_crc32_u32((uint32_t)crc, bytes_load32(p));
		p += 4;
		len -= 4;
	}
	for (; len > 0; p++, len--)
		crc = _mm_crc32_u8((uint32_t)crc, *p);
	return (uint32_t)crc;
}

uint32_t crc32c(uint32_t crc, const void *data, size_t len)
{
	if (__builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul"))
		return ~with_instruction(~crc, data, len);
	return crc32c_portable(crc, data, len);
}

#else

uint32_t crc32c(uint32_t crc, const void *data, size_t len)
{
	return crc32c_portable(crc, data, len);
}

#endif

/* a times b modulo the polynomial; x^0 is the highest bit. */
static uint32_t multiply_modulo(uint32_t a, uint32_t b)
{
	uint32_t product = 0;
	for (uint32_t bit = 1u << 31; bit != 0; bit >>= 1) {
		if (a & bit)
			product ^= b;
		b = b >> 1 ^ (b & 1 ? POLYNOMIAL : 0);
	}
	return product;
}

uint32_t crc32c_combine(uint32_t crc, uint32_t behind, uint64_t len)
{
	uint32_t over = 1u << 31, power = 1u << 23; /* x^0, and x^8: one byte */
	for (; len > 0; len >>= 1) {
		if (len & 1)
			over = multiply_modulo(over, power);
		power = multiply_modulo(power, power);
	}
	return multiply_modulo(over, crc) ^ behind;
}
