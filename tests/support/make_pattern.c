/* SPDX-License-Identifier: Apache-2.0 */
/* make_pattern FILE PAGES GENERATION: the disk that guest_init verifies. */
#include <stdio.h>
#include <stdlib.h>

#include "queue/base/err.h"
#include "tools/vmswap-guest/pattern.h"

int main(int argc, char **argv)
{
	uint64_t words[PATTERN_WORDS];
	uint64_t pages, generation;
	FILE *file;

	if (argc != 4) {
		(void)fputs("usage: make_pattern FILE PAGES GENERATION\n", stderr);
		return 2;
	}
	pages = strtoull(argv[2], NULL, 10);
	generation = strtoull(argv[3], NULL, 10);
	file = fopen(argv[1], "we");
	for (uint64_t page = 0; file && page < pages; page++) {
		pattern_fill(words, page, generation);
		if (fwrite(words, sizeof(words), 1, file) != 1)
			break;
	}
	if (!file || ferror(file) || fclose(file) != 0) {
		perror(argv[1]);
		return 1;
	}
	return 0;
}
