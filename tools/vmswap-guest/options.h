/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of vmswap-guest. */
#ifndef VMSWAP_TOOLS_OPTIONS_H
#define VMSWAP_TOOLS_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#define GUEST_THREADS_MAX   64u
#define GUEST_PROCESSES_MAX 16u

struct guest_options {
	uint64_t size_bytes;
	uint32_t threads;   /* a process */
	uint32_t processes; /* each with a mapping of its own */
	uint32_t working_set_percent;
	uint32_t read_only_percent; /* of the operations: verified, not rewritten */
	uint32_t zero_percent;	    /* of the rewrites: all bytes zero */
	uint64_t seconds;	    /* 0: no limit */
	uint64_t rounds;       /* 0: no limit; a round is as many pages as the working set has */
	uint64_t rate;	       /* pages a second, all threads together; 0: no limit */
	const char *socket;    /* NULL: the default */
	const char *name;      /* of the VM; NULL: vmswap-guest-PID */
	const char *direct_io; /* file to make and read, or NULL */
	bool attach;	       /* through libvmswap */
	bool holes;
	bool anonymous;
	bool seccomp;
	bool quiet;
	bool json;
};

/* Fills @ret_options, or prints what is wrong (or the help) and returns the exit status; -1: go on.
 */
int options_parse(int argc, char **argv, struct guest_options *ret_options);

#endif
