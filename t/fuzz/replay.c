/* SPDX-License-Identifier: BSD-3-Clause */
/* replay: a main for a fuzz target without a fuzzer: runs it on each file named, and on each cut short at every length up
 * to 512 and with one byte changed at each of these places. TAP on standard output: one line a file. */
#include <stdio.h>
#include "fuzz.h"

#define PLACES 512u

static uint8_t *read_file(const char *path, size_t *ret_len)
{
	FILE *f = fopen(path, "rb");
	if (!f) {
		perror(path);
		exit(1);
	}
	fseek(f, 0, SEEK_END);
	*ret_len = (size_t)ftell(f);
	rewind(f);
	uint8_t *data = malloc(*ret_len ? *ret_len : 1);
	if (!data || fread(data, 1, *ret_len, f) != *ret_len) {
		perror(path);
		exit(1);
	}
	fclose(f);
	return data;
}

int main(int argc, char **argv)
{
	printf("1..%d\n", argc - 1);
	for (int i = 1; i < argc; i++) {
		size_t len;
		uint8_t *data = read_file(argv[i], &len);
		LLVMFuzzerTestOneInput(data, len);
		for (size_t at = 0; at < len && at < PLACES; at++) {
			uint8_t old = data[at];
			LLVMFuzzerTestOneInput(data, at);
			data[at] ^= (uint8_t)(1u << at % 8);
			LLVMFuzzerTestOneInput(data, len);
			data[at] = old;
		}
		free(data);
		printf("ok %d - %s\n", i, argv[i]);
	}
	return 0;
}
