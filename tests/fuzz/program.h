/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command lines of programs, one a file: each includes its program's parser whole, under a name
 * of its own, and aborts when what the parser lets through is out of bounds.
 */
#ifndef VMSWAP_TESTS_FUZZ_PROGRAM_H
#define VMSWAP_TESTS_FUZZ_PROGRAM_H

#include <stdio.h>

void program_guest(int count, char **argument);
void program_run(int count, char **argument);
void program_bench(int count, char **argument);

/* What they say to their user goes nowhere. */
extern FILE *program_nowhere;
#undef stderr
#define stderr program_nowhere
#undef stdout
#define stdout	    program_nowhere
#define printf(...) fprintf(program_nowhere, __VA_ARGS__)
#define puts(text)  fputs(text, program_nowhere)

#endif
