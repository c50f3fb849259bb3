/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/vmswap-guest/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "queue/base/bits.h"

/* Guest memory is cut into whole huge folios, as VMMs do. */
#define SIZE_BYTES_DEFAULT (256 * MIB)
#define SIZE_BYTES_MAX	   ((uint64_t)1 << 40)

static const char help[] =
	"Usage: vmswap-guest [options]\n"
	"\n"
	"A small VMM stand-in: guest memory in a memfd, threads that rewrite and verify every "
	"page.\n"
	"Prints one line a second, `OK pages=N max_stall_us=N`, and `BAD page=N ...` with exit 1 "
	"when a\n"
	"page is not what was written there.\n"
	"\n"
	"  --size SIZE              guest memory, with K, M, G (256M)\n"
	"  --threads N              threads a process (2)\n"
	"  --processes N            processes that map and use the same memory (1)\n"
	"  --working-set PERCENT    pages in use, from the start of memory (100)\n"
	"  --read-only-percent P    operations that verify without rewriting (50)\n"
	"  --zero-percent P         rewrites that leave a page of zeros (0)\n"
	"  --holes                  also punch holes and discard pages, as a balloon does\n"
	"  --direct-io FILE         also read FILE (made anew, 64 MiB) into guest memory with "
	"O_DIRECT\n"
	"  --seconds N, --rounds N  stop then; otherwise at SIGTERM\n"
	"  --rate PAGES_PER_S       slow down to this\n"
	"  --attach                 hand the memory to vmswapd through libvmswap (default: be an\n"
	"  --no-attach                unmodified program, for `vmswapctl attach PID`)\n"
	"  --socket PATH            of vmswapd (/run/vmswapd.sock)\n"
	"  --name NAME              of the VM\n"
	"  --anonymous              private anonymous memory, which cannot be attached\n"
	"  --seccomp                a filter that kills the process on calls it does not need\n"
	"  --quiet                  no line a second\n"
	"  --json                   lines as JSON\n"
	"  --help, --version\n"
	"\n"
	"SIGUSR1 verifies all pages now and prints VERIFIED; SIGTERM and SIGINT verify all pages,\n"
	"print a JSON summary and end.\n";

enum option_key {
	KEY_SIZE = 256,
	KEY_THREADS,
	KEY_PROCESSES,
	KEY_WORKING_SET,
	KEY_READ_ONLY,
	KEY_ZERO,
	KEY_HOLES,
	KEY_DIRECT_IO,
	KEY_SECONDS,
	KEY_ROUNDS,
	KEY_RATE,
	KEY_ATTACH,
	KEY_NO_ATTACH,
	KEY_SOCKET,
	KEY_NAME,
	KEY_ANONYMOUS,
	KEY_SECCOMP,
	KEY_QUIET,
	KEY_JSON,
	KEY_HELP,
	KEY_VERSION,
};

static const struct option long_options[] = {
	{"size", required_argument, NULL, KEY_SIZE},
	{"threads", required_argument, NULL, KEY_THREADS},
	{"processes", required_argument, NULL, KEY_PROCESSES},
	{"working-set", required_argument, NULL, KEY_WORKING_SET},
	{"read-only-percent", required_argument, NULL, KEY_READ_ONLY},
	{"zero-percent", required_argument, NULL, KEY_ZERO},
	{"holes", no_argument, NULL, KEY_HOLES},
	{"direct-io", required_argument, NULL, KEY_DIRECT_IO},
	{"seconds", required_argument, NULL, KEY_SECONDS},
	{"rounds", required_argument, NULL, KEY_ROUNDS},
	{"rate", required_argument, NULL, KEY_RATE},
	{"attach", no_argument, NULL, KEY_ATTACH},
	{"no-attach", no_argument, NULL, KEY_NO_ATTACH},
	{"socket", required_argument, NULL, KEY_SOCKET},
	{"name", required_argument, NULL, KEY_NAME},
	{"anonymous", no_argument, NULL, KEY_ANONYMOUS},
	{"seccomp", no_argument, NULL, KEY_SECCOMP},
	{"quiet", no_argument, NULL, KEY_QUIET},
	{"json", no_argument, NULL, KEY_JSON},
	{"help", no_argument, NULL, KEY_HELP},
	{"version", no_argument, NULL, KEY_VERSION},
	{NULL, 0, NULL, 0},
};

/* A number in [@low, @high], with an optional K, M or G. -EINVAL, -ERANGE. */
static int parse_number(const char *text, uint64_t low, uint64_t high, uint64_t *ret_value)
{
	static const char suffixes[] = "KMG";
	char *end = NULL;
	unsigned long long value;

	if (text[0] < '0' || text[0] > '9')
		return -EINVAL;
	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno != 0)
		return -ERANGE;
	if (*end != '\0') {
		const char *suffix = strchr(suffixes, *end);
		unsigned int shift;

		if (!suffix || end[1] != '\0')
			return -EINVAL;
		shift = 10u * (unsigned int)(suffix - suffixes + 1);
		if (value > UINT64_MAX >> shift)
			return -ERANGE;
		value <<= shift;
	}
	if (value < low || value > high)
		return -ERANGE;
	*ret_value = value;
	return 0;
}

/* parse_number() for one option; complains. */
static int number(
	const char *name, uint64_t low, uint64_t high, const char *text, uint64_t *ret_value)
{
	int rc = parse_number(text, low, high, ret_value);

	if (rc < 0)
		(void)fprintf(stderr, "vmswap-guest: --%s %s: must be a number from %llu to %llu\n",
			name, text, (unsigned long long)low, (unsigned long long)high);
	return rc;
}

static int number32(
	const char *name, uint32_t low, uint32_t high, const char *text, uint32_t *ret_value)
{
	uint64_t value = 0;
	int rc = number(name, low, high, text, &value);

	if (rc == 0)
		*ret_value = (uint32_t)value;
	return rc;
}

static int set_text(const char **text, const char *value)
{
	*text = value;
	return 0;
}

static int set_flag(bool *flag, bool value)
{
	*flag = value;
	return 0;
}

static int take_option(struct guest_options *options, int key, const char *value)
{
	switch ((enum option_key)key) {
	case KEY_SIZE:
		return number("size", CHUNK_BYTES, SIZE_BYTES_MAX, value, &options->size_bytes);
	case KEY_THREADS:
		return number32("threads", 1, GUEST_THREADS_MAX, value, &options->threads);
	case KEY_PROCESSES:
		return number32("processes", 1, GUEST_PROCESSES_MAX, value, &options->processes);
	case KEY_WORKING_SET:
		return number32("working-set", 1, 100, value, &options->working_set_percent);
	case KEY_READ_ONLY:
		return number32("read-only-percent", 0, 100, value, &options->read_only_percent);
	case KEY_ZERO: return number32("zero-percent", 0, 100, value, &options->zero_percent);
	case KEY_SECONDS: return number("seconds", 1, UINT32_MAX, value, &options->seconds);
	case KEY_ROUNDS: return number("rounds", 1, UINT32_MAX, value, &options->rounds);
	case KEY_RATE: return number("rate", 1, UINT32_MAX, value, &options->rate);
	case KEY_DIRECT_IO: return set_text(&options->direct_io, value);
	case KEY_SOCKET: return set_text(&options->socket, value);
	case KEY_NAME: return set_text(&options->name, value);
	case KEY_HOLES: return set_flag(&options->holes, true);
	case KEY_ATTACH: return set_flag(&options->attach, true);
	case KEY_NO_ATTACH: return set_flag(&options->attach, false);
	case KEY_ANONYMOUS: return set_flag(&options->anonymous, true);
	case KEY_SECCOMP: return set_flag(&options->seccomp, true);
	case KEY_QUIET: return set_flag(&options->quiet, true);
	case KEY_JSON: return set_flag(&options->json, true);
	case KEY_HELP:
	case KEY_VERSION: break;
	}
	return -EINVAL;
}

/* Combinations that make no sense, in words. NULL: fine. */
static const char *conflict(const struct guest_options *options)
{
	if (options->attach && options->anonymous)
		return "--attach needs a memfd: leave out --anonymous";
	if (options->attach && options->seccomp)
		return "--seccomp kills what --attach needs: attach it by pid";
	if (options->attach && options->processes > 1)
		return "--attach hands over one process: start with --processes and use "
		       "`vmswapctl attach --all-mappers PID`";
	if (options->anonymous && options->processes > 1)
		return "--anonymous memory is private: leave out --processes";
	if (options->anonymous && options->holes)
		return "--holes punches the memfd: leave out --anonymous";
	return NULL;
}

int options_parse(int argc, char **argv, struct guest_options *ret_options)
{
	struct guest_options options = {.size_bytes = SIZE_BYTES_DEFAULT,
		.threads = 2,
		.processes = 1,
		.working_set_percent = 100,
		.read_only_percent = 50};
	const char *problem;
	int key;

	while ((key = getopt_long(argc, argv, "", long_options, NULL)) >= 0) {
		if (key == KEY_HELP || key == KEY_VERSION) {
			(void)fputs(key == KEY_HELP ? help : "vmswap-guest " VMSWAP_VERSION "\n",
				stdout);
			return 0;
		}
		if (key == '?' || take_option(&options, key, optarg) < 0)
			return 2;
	}
	problem = conflict(&options);
	if (optind < argc)
		problem = "takes options only; see --help";
	if (problem) {
		(void)fprintf(stderr, "vmswap-guest: %s\n", problem);
		return 2;
	}
	options.size_bytes -= options.size_bytes % CHUNK_BYTES;
	*ret_options = options;
	return -1;
}
