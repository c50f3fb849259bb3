/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command lines of vmswap-guest, vmswap-run and vmswap-bench. Byte 0 says whose; the rest is
 * one argument between two zero bytes.
 */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "program.h"
#include "queue/base/assert.h"

#define ARGUMENTS_MAX 16

FILE *program_nowhere;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char name[] = "program";
	char *argument[ARGUMENTS_MAX + 1] = {name};
	int count = 1;
	char *text;

	if (size < 1)
		return 0;
	if (!program_nowhere)
		program_nowhere = fopen("/dev/null", "we");
	ASSERT(program_nowhere != NULL);
	text = calloc(1, size);
	ASSERT(text != NULL);
	memcpy(text, data + 1, size - 1);
	for (size_t at = 0; at + 1 < size && count < ARGUMENTS_MAX; at += strlen(text + at) + 1)
		argument[count++] = text + at;
	opterr = 0;
	optind = 0; /* from the start, as glibc has it */
	switch (data[0] % 3) {
	case 0: program_guest(count, argument); break;
	case 1: program_run(count, argument); break;
	default: program_bench(count, argument); break;
	}
	free(text);
	return 0;
}
