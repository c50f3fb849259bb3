/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/bench/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "perf/bench/row.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"

/* Fewer give no spread worth the name. */
#define ROUNDS_DEFAULT 5u
#define ROUNDS_FULL    7u

static const char usage_text[] =
	"usage: vmswap-bench [OPTION…] [COMMAND]\n"
	"\n"
	"Measures vmswapd beside the kernel's swap, the floors of this machine and other designs, "
	"in\n"
	"interleaved rounds, and prints ratios: median [min–max]. Without a command it runs all.\n"
	"\n"
	"  fault      faults on staged pages           trim       dropping zero and clean pages\n"
	"  disk-fault faults from the disk             swap-out   writing memory out\n"
	"  scale      threads and shards               swap-in    bringing all of it back\n"
	"  enable     the guest's longest stall        mixed      faults beside bulk work\n"
	"  memory     metadata, idle cost, growth      queue      the rings between threads\n"
	"  encrypt    with encryption against without\n"
	"  targets    the targets against --json       report     makes --html from --json\n"
	"\n"
	"  --quick           sizes and rounds for three minutes (the default)\n"
	"  --full            sizes as in perf/README.md, every placement, more rounds\n"
	"  --only LIST       rows with these ids only (P1,P4)\n"
	"  --rounds N        rounds of each row (5; 7 with --full)\n"
	"  --pin PLACEMENT   same: client and daemon on one CPU; cross: a CPU each; none\n"
	"  --size SIZE       memory of a client (bytes, or with K, M, G)\n"
	"  --json FILE       results go here; rows of earlier runs in it are kept\n"
	"  --html FILE       and a report with pictures there\n"
	"  --directory DIR   where swap files go: the disk under test (/var/tmp)\n"
	"  --daemon PATH     the vmswapd under test (the one beside vmswap-bench)\n"
	"  --umap PATH       also LLNL umap: libumap.so, or its build or install directory\n"
	"  --trace FILE      first touches to replay (`vmswapctl record-start`)\n"
	"  --encrypt         the daemons encrypt what they store; peers and floors never do\n"
	"  --fio             checks the disk floors against fio once\n"
	"  --quiet           no progress\n"
	"  --help, --version\n"
	"\n"
	"Exit status: 0 ran, 1 something failed, 2 usage, 77 nothing could run here. Needs root.\n";

const char *placement_name(enum placement placement)
{
	static const char *const name[PLACEMENT_COUNT] = {
		[PLACEMENT_SAME] = "same",
		[PLACEMENT_CROSS] = "cross",
		[PLACEMENT_NONE] = "none",
	};

	ASSERT(placement < PLACEMENT_COUNT);
	return name[placement];
}

void options_usage(bool is_error)
{
	(void)fputs(usage_text, is_error ? stderr : stdout);
}

enum option_id {
	OPTION_QUICK = 256,
	OPTION_FULL,
	OPTION_ONLY,
	OPTION_ROUNDS,
	OPTION_PIN,
	OPTION_SIZE,
	OPTION_JSON,
	OPTION_HTML,
	OPTION_DIRECTORY,
	OPTION_DAEMON,
	OPTION_TRACE,
	OPTION_UMAP,
	OPTION_ENCRYPT,
	OPTION_FIO,
	OPTION_QUIET,
	OPTION_HELP,
	OPTION_VERSION,
};

static const struct option long_options[] = {
	{"quick", no_argument, NULL, OPTION_QUICK},
	{"full", no_argument, NULL, OPTION_FULL},
	{"only", required_argument, NULL, OPTION_ONLY},
	{"rounds", required_argument, NULL, OPTION_ROUNDS},
	{"pin", required_argument, NULL, OPTION_PIN},
	{"size", required_argument, NULL, OPTION_SIZE},
	{"json", required_argument, NULL, OPTION_JSON},
	{"html", required_argument, NULL, OPTION_HTML},
	{"directory", required_argument, NULL, OPTION_DIRECTORY},
	{"daemon", required_argument, NULL, OPTION_DAEMON},
	{"trace", required_argument, NULL, OPTION_TRACE},
	{"umap", required_argument, NULL, OPTION_UMAP},
	{"encrypt", no_argument, NULL, OPTION_ENCRYPT},
	{"fio", no_argument, NULL, OPTION_FIO},
	{"quiet", no_argument, NULL, OPTION_QUIET},
	{"help", no_argument, NULL, OPTION_HELP},
	{"version", no_argument, NULL, OPTION_VERSION},
	{0},
};

static int complain(const char *option, const char *value, const char *wanted)
{
	(void)fprintf(stderr, "vmswap-bench: --%s %s: %s\n", option, value, wanted);
	return 2;
}

/* 0 when @text is no number of at least 1, with an optional K, M or G, that a file can be long. */
static uint64_t parse_size(const char *text)
{
	static const char suffixes[] = "KMG";
	char *end;
	unsigned long long value;
	const char *suffix;

	errno = 0;
	value = strtoull(text, &end, 10);
	/* strtoull() takes a sign, and blanks before it. */
	if (errno != 0 || text[0] < '0' || text[0] > '9')
		return 0;
	if (*end == '\0')
		return value <= INT64_MAX ? value : 0;
	suffix = strchr(suffixes, *end);
	if (!suffix || end[1] != '\0' || value > (uint64_t)INT64_MAX >> 30)
		return 0;
	return value << 10 * (suffix - suffixes + 1);
}

static int set_rounds(struct options *options, const char *text)
{
	const uint64_t rounds = parse_size(text);

	if (rounds == 0 || rounds > ROUNDS_MAX)
		return complain("rounds", text, "1 to 99");
	options->rounds = (uint32_t)rounds;
	return 0;
}

static int set_size(struct options *options, const char *text)
{
	options->size_bytes = parse_size(text) / CHUNK_BYTES * CHUNK_BYTES;
	return options->size_bytes > 0 ? 0 : complain("size", text, "2M or more");
}

static int set_pin(struct options *options, const char *text)
{
	for (uint32_t i = 0; i < PLACEMENT_COUNT; i++) {
		if (strcmp(text, placement_name((enum placement)i)) != 0)
			continue;
		options->pin = PIN_ONE;
		options->placement = (enum placement)i;
		return 0;
	}
	return complain("pin", text, "same, cross or none");
}

/* Options that take no value of their own kind. */
static int set_text(struct options *options, int id, const char *text)
{
	switch (id) {
	case OPTION_ONLY: options->only = text; return 0;
	case OPTION_JSON: options->json = text; return 0;
	case OPTION_HTML: options->html = text; return 0;
	case OPTION_DIRECTORY: options->directory = text; return 0;
	case OPTION_DAEMON: options->daemon = text; return 0;
	case OPTION_TRACE: options->trace = text; return 0;
	case OPTION_UMAP: options->umap = text; return 0;
	case OPTION_QUICK: options->is_full = false; return 0;
	case OPTION_FULL: options->is_full = true; return 0;
	case OPTION_ENCRYPT: options->is_encrypted = true; return 0;
	case OPTION_FIO: options->has_fio = true; return 0;
	case OPTION_QUIET: options->is_quiet = true; return 0;
	default: (void)fputs("vmswap-bench: see --help\n", stderr); return 2;
	}
}

static int set(struct options *options, int id, const char *text)
{
	switch (id) {
	case OPTION_ROUNDS: return set_rounds(options, text);
	case OPTION_SIZE: return set_size(options, text);
	case OPTION_PIN: return set_pin(options, text);
	default: return set_text(options, id, text);
	}
}

static void set_defaults(struct options *options)
{
	if (options->rounds == 0)
		options->rounds = options->is_full ? ROUNDS_FULL : ROUNDS_DEFAULT;
	if (options->pin == PIN_DEFAULT && options->is_full)
		options->pin = PIN_ALL;
	if (!options->directory)
		options->directory = "/var/tmp";
}

int options_parse(int count, char **argument, struct options *ret_options, bool *ret_is_over)
{
	struct options options = {0};
	int id;

	*ret_is_over = true;
	while ((id = getopt_long(count, argument, "", long_options, NULL)) != -1) {
		int error = 0;

		if (id == OPTION_HELP) {
			options_usage(false);
			return 0;
		}
		if (id == OPTION_VERSION) {
			(void)puts("vmswap-bench " VMSWAP_VERSION);
			return 0;
		}
		error = set(&options, id, optarg);
		if (error)
			return error;
	}
	if (count - optind > 1) {
		options_usage(true);
		return 2;
	}
	options.command = argument[optind];
	set_defaults(&options);
	*ret_options = options;
	*ret_is_over = false;
	return 0;
}
