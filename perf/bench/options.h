/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of vmswap-bench. */
#ifndef VMSWAP_PERF_BENCH_OPTIONS_H
#define VMSWAP_PERF_BENCH_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

/* Where the client's threads run, as against what serves them. */
enum placement {
	PLACEMENT_SAME,	 /* one CPU for both */
	PLACEMENT_CROSS, /* a CPU each */
	PLACEMENT_NONE,	 /* as the scheduler likes */
	PLACEMENT_COUNT,
};

enum placement_choice {
	PIN_DEFAULT, /* each row at the placement of its target */
	PIN_ONE,     /* --pin */
	PIN_ALL,     /* --full: each row at every placement that makes sense for it */
};

struct options {
	const char *command; /* NULL: all of them */
	const char *only;    /* ids, with commas; NULL: all */
	const char *json;    /* written, and merged with what it holds; NULL: nowhere */
	const char *html;
	const char *directory; /* on the disk under test */
	const char *daemon;
	const char *umap;  /* libumap.so, or where it was built; NULL: is not measured */
	const char *trace; /* of first touches; NULL: those that are shipped */
	uint32_t rounds;
	uint64_t size_bytes; /* of a client; 0: the command's own */
	enum placement_choice pin;
	enum placement placement; /* of PIN_ONE */
	bool is_full;
	bool is_encrypted; /* the daemons under test encrypt what they store */
	bool has_fio;	   /* cross-check the disk floors */
	bool is_quiet;
};

const char *placement_name(enum placement placement);
/*
 * 0; 1 when the program is to end at once with success (--help, --version); 2 when the line makes
 * no sense, said on standard error. Strings stay those of @argument.
 */
int options_parse(int count, char **argument, struct options *ret_options, bool *ret_is_over);
void options_usage(bool is_error);

#endif
