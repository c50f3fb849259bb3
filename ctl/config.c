/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/config.h"

#include <ctype.h>
#include <getopt.h>
#include <grp.h>
#include <limits.h>
#include <string.h>

#include "ctl/problem.h"
#include "engine/engine.h"
#include "io/feature.h"
#include "io/filter.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"

#define SHARDS_DEFAULT	2u
#define POLL_US_DEFAULT 50u
#define POLL_US_MAX	1000000u
#define CPU_MAX		65535ul
/* Characters of all names and more. */
#define FEATURE_LIST_MAX 256

enum option_code {
	OPTION_SHARDS = 256,
	OPTION_CPUS,
	OPTION_SWAP_DIR,
	OPTION_SWAP_FILE,
	OPTION_SWAP_DEVICE,
	OPTION_SWAP_LIMIT,
	OPTION_PREALLOCATE,
	OPTION_ENCRYPT,
	OPTION_SOCKET,
	OPTION_GROUP,
	OPTION_ALLOW_SELF_ATTACH,
	OPTION_STATE_DIR,
	OPTION_RECOVER,
	OPTION_POLL_US,
	OPTION_FOREGROUND,
	OPTION_LOG_LEVEL,
	OPTION_DEBUG,
	OPTION_DISABLE_FEATURE,
	OPTION_SECCOMP,
	OPTION_MOUNT_VIEW,
	OPTION_HELP,
	OPTION_VERSION,
	OPTION_LAYOUT,
};

static const struct option options[] = {
	{"shards", required_argument, NULL, OPTION_SHARDS},
	{"cpus", required_argument, NULL, OPTION_CPUS},
	{"swap-dir", required_argument, NULL, OPTION_SWAP_DIR},
	{"swap-file", required_argument, NULL, OPTION_SWAP_FILE},
	{"swap-device", required_argument, NULL, OPTION_SWAP_DEVICE},
	{"swap-limit", required_argument, NULL, OPTION_SWAP_LIMIT},
	{"preallocate", no_argument, NULL, OPTION_PREALLOCATE},
	{"encrypt", optional_argument, NULL, OPTION_ENCRYPT},
	{"socket", required_argument, NULL, OPTION_SOCKET},
	{"group", required_argument, NULL, OPTION_GROUP},
	{"allow-self-attach", no_argument, NULL, OPTION_ALLOW_SELF_ATTACH},
	{"state-dir", required_argument, NULL, OPTION_STATE_DIR},
	{"recover", no_argument, NULL, OPTION_RECOVER},
	{"poll-us", required_argument, NULL, OPTION_POLL_US},
	{"foreground", no_argument, NULL, OPTION_FOREGROUND},
	{"log-level", required_argument, NULL, OPTION_LOG_LEVEL},
	{"debug", no_argument, NULL, OPTION_DEBUG},
	{"disable-feature", required_argument, NULL, OPTION_DISABLE_FEATURE},
	{"seccomp", required_argument, NULL, OPTION_SECCOMP},
	{"mount-view", required_argument, NULL, OPTION_MOUNT_VIEW},
	{"help", no_argument, NULL, OPTION_HELP},
	{"version", no_argument, NULL, OPTION_VERSION},
	{"layout", no_argument, NULL, OPTION_LAYOUT},
	{NULL, 0, NULL, 0},
};

static const char usage_text[] =
	"Usage: vmswapd [OPTION]…\n"
	"Swaps out memory of running virtual machines and brings it back on touch.\n"
	"\n"
	"  --shards N          threads that serve faults and move pages (2)\n"
	"  --cpus LIST         pin the shards to these CPUs, one each: 2,3 or 4-7\n"
	"  --swap-dir DIR      an unnamed file in DIR holds the pages (" CONFIG_SWAP_DIR ")\n"
	"  --swap-file PATH    a named file holds them\n"
	"  --swap-device DEV   a block device holds them; its content is lost\n"
	"  --swap-limit SIZE   no more than this; K, M, G, T\n"
	"  --preallocate       write the swap file once at the start and keep its space\n"
	"  --encrypt[=WHEN]    what is stored: yes, no, or auto, where the CPU has AES (auto)\n"
	"  --socket PATH       the control socket (" CONFIG_SOCKET ")\n"
	"  --group GROUP       a name or a number: its members may look, not change\n"
	"  --allow-self-attach everybody may attach his own processes, through libvmswap\n"
	"  --state-dir DIR     what outlives the daemon (" CONFIG_STATE_DIR ", or SOCKET.state)\n"
	"  --recover           take back what a daemon that was killed has left there\n"
	"  --poll-us N         a shard spins this long after activity before it sleeps (50)\n"
	"  --foreground        do not detach from the terminal\n"
	"  --log-level LEVEL   error, warning, info or debug (info)\n"
	"  --debug             offer the methods debug.*: recording of faults\n"
	"  --disable-feature LIST  do without these features of the kernel, a,b,…\n"
	"  --seccomp MODE      unexpected system calls: deny, kill, log, or off (deny)\n"
	"  --mount-view VIEW   file systems are seen read-only: private; or as they are: host\n"
	"                      (private, with --debug host)\n"
	"  --help, --version\n";

void config_usage(FILE *out)
{
	(void)fputs(usage_text, out);
}

/* Digits only: strtoul() alone takes blanks, signs and nothing at all. */
static int parse_number(const char *text, uint64_t max, uint64_t *ret_number)
{
	unsigned long long number;
	char *end;

	if (!isdigit((unsigned char)text[0]))
		return -EINVAL;
	errno = 0;
	number = strtoull(text, &end, 10);
	if (*end != '\0')
		return -EINVAL;
	if (errno == ERANGE || number > max)
		return -ERANGE;
	*ret_number = number;
	return 0;
}

static int unit_shift(const char *unit)
{
	static const char units[] = "KMGT";
	const char *found;

	if (unit[0] == '\0')
		return 0;
	found = strchr(units, toupper((unsigned char)unit[0]));
	if (!found || unit[1] != '\0')
		return -EINVAL;
	return 10 * ((int)(found - units) + 1);
}

int config_parse_size(const char *text, uint64_t *ret_bytes)
{
	unsigned long long number;
	char *end;
	int shift;

	if (!isdigit((unsigned char)text[0]))
		return -EINVAL;
	errno = 0;
	number = strtoull(text, &end, 10);
	shift = unit_shift(end);
	if (shift < 0)
		return shift;
	if (errno == ERANGE || number > UINT64_MAX >> shift)
		return -ERANGE;
	*ret_bytes = (uint64_t)number << shift;
	return 0;
}

/* "3" or "3-5" at *@text, which moves behind it. */
static int parse_cpu_range(const char **text, unsigned long *ret_first, unsigned long *ret_last)
{
	char *end;

	if (!isdigit((unsigned char)**text))
		return -EINVAL;
	*ret_first = strtoul(*text, &end, 10);
	*ret_last = *ret_first;
	if (*end == '-') {
		if (!isdigit((unsigned char)end[1]))
			return -EINVAL;
		*ret_last = strtoul(end + 1, &end, 10);
	}
	*text = end;
	return *ret_last < *ret_first || *ret_last > CPU_MAX ? -EINVAL : 0;
}

int config_parse_cpus(const char *text, int *ret_cpus, uint32_t max)
{
	unsigned long first;
	unsigned long last;
	uint32_t count = 0;

	for (;;) {
		int rc = parse_cpu_range(&text, &first, &last);

		if (rc < 0)
			return rc;
		if (last - first >= max - count)
			return -E2BIG;
		for (unsigned long cpu = first; cpu <= last; cpu++)
			ret_cpus[count++] = (int)cpu;
		if (*text == '\0')
			break;
		if (*text++ != ',')
			return -EINVAL;
	}
	ASSERT(count >= 1);
	ASSERT(count <= max);
	return (int)count;
}

static int parse_level(const char *text, enum log_level *ret_level)
{
	static const struct {
		const char *name;
		enum log_level level;
	} levels[] = {
		{"error", LOG_LEVEL_ERROR},
		{"warning", LOG_LEVEL_WARNING},
		{"info", LOG_LEVEL_INFO},
		{"debug", LOG_LEVEL_DEBUG},
	};

	for (size_t i = 0; i < ARRAY_SIZE(levels); i++) {
		if (strcmp(text, levels[i].name) == 0) {
			*ret_level = levels[i].level;
			return 0;
		}
	}
	return -EINVAL;
}

/* @text: NULL, the bare option, is yes. */
static int parse_encrypt(const char *text, struct config *config)
{
	if (!text || strcmp(text, "yes") == 0)
		config->is_encrypted = true;
	else if (strcmp(text, "no") == 0)
		config->is_encrypted = false;
	else if (strcmp(text, "auto") == 0)
		config->is_encrypted = engine_encrypts_fast();
	else
		return -EINVAL;
	return 0;
}

static int parse_seccomp(const char *text, struct config *config)
{
	const enum filter_mode mode = filter_mode_by_name(text);

	if (mode == FILTER_MODES)
		return -EINVAL;
	config->seccomp = mode;
	return 0;
}

static int parse_mount_view(const char *text, struct config *config)
{
	config->has_host_view = strcmp(text, "host") == 0;
	return config->has_host_view || strcmp(text, "private") == 0 ? 0 : -EINVAL;
}

static int parse_shards(const char *text, struct config *config)
{
	uint64_t number;
	int rc = parse_number(text, SHARDS_MAX, &number);

	if (rc < 0)
		return rc;
	if (number == 0)
		return -ERANGE;
	config->shard_count = (uint32_t)number;
	return 0;
}

static int parse_poll(const char *text, struct config *config)
{
	uint64_t number;
	int rc = parse_number(text, POLL_US_MAX, &number);

	if (rc < 0)
		return rc;
	config->poll_us = (uint32_t)number;
	return 0;
}

static int parse_cpus(const char *text, struct config *config)
{
	int count = config_parse_cpus(text, config->cpus, SHARDS_MAX);

	if (count < 0)
		return count;
	config->cpu_count = (uint32_t)count;
	return 0;
}

/* A number is a number even when a group bears it as its name. */
static int parse_group(const char *text, struct config *config)
{
	const struct group *group;
	uint64_t number;
	int rc = parse_number(text, PEER_NO_GROUP - 1, &number);

	if (rc == 0)
		config->policy.group = (gid_t)number;
	if (rc != -EINVAL)
		return rc;
	group = getgrnam(text);
	if (!group)
		return -EINVAL;
	config->policy.group = group->gr_gid;
	return 0;
}

/* Names with commas between them, which add to those of other options. */
static int parse_features(const char *text, uint32_t *disabled)
{
	char copy[FEATURE_LIST_MAX];
	uint32_t bits = 0;
	char *rest = NULL;

	if (strlen(text) >= sizeof(copy))
		return -E2BIG;
	memcpy(copy, text, strlen(text) + 1);
	for (const char *name = strtok_r(copy, ",", &rest); name;
		name = strtok_r(NULL, ",", &rest)) {
		const uint32_t bit = feature_by_name(name);

		if (bit == 0)
			return -EINVAL;
		bits |= bit;
	}
	*disabled |= bits;
	return bits == 0 ? -EINVAL : 0;
}

/* What is wrong with the value of an option. */
static int refuse_value(const char *name, const char *text, int rc, struct problem *problem)
{
	char known[FEATURE_LIST_MAX] = "";
	size_t length = 0;
	const char *feature;
	uint32_t bit;

	if (strcmp(name, "disable-feature") != 0)
		return problem_set(problem, -EINVAL, "usage", "--%s %s: %s", name, text ? text : "",
			rc == -ERANGE || rc == -E2BIG ? "out of range" : "not understood");
	for (uint32_t i = 0; (feature = feature_name(i, &bit)) != NULL; i++)
		length += (size_t)snprintf(
			known + length, sizeof(known) - length, "%s%s", i > 0 ? ", " : "", feature);
	ASSERT(length < sizeof(known));
	return problem_set(
		problem, -EINVAL, "usage", "--%s %s: the names are %s", name, text, known);
}

/* The three kinds of store exclude each other; the path tells whether one was given. */
static int set_store(struct config *config, enum swapfile_kind kind, const char *path)
{
	if (config->store.path || path[0] == '\0')
		return -EINVAL;
	config->store.kind = kind;
	config->store.path = path;
	return 0;
}

static int set_state_dir(struct config *config, const char *path, const char *suffix)
{
	const int length =
		snprintf(config->state_dir, sizeof(config->state_dir), "%s%s", path, suffix);

	if (path[0] == '\0')
		return -EINVAL;
	return (size_t)length < sizeof(config->state_dir) ? 0 : -ERANGE;
}

/* Two daemons have two sockets, so they have two folders. */
static int set_default_state_dir(struct config *config)
{
	if (strcmp(config->socket_path, CONFIG_SOCKET) == 0)
		return set_state_dir(config, CONFIG_STATE_DIR, "");
	return set_state_dir(config, config->socket_path, ".state");
}

static int parse_option(enum option_code code, const char *text, struct config *config)
{
	switch (code) {
	case OPTION_SHARDS: return parse_shards(text, config);
	case OPTION_CPUS: return parse_cpus(text, config);
	case OPTION_SWAP_DIR: return set_store(config, SWAPFILE_UNNAMED, text);
	case OPTION_SWAP_FILE: return set_store(config, SWAPFILE_NAMED, text);
	case OPTION_SWAP_DEVICE: return set_store(config, SWAPFILE_DEVICE, text);
	case OPTION_PREALLOCATE: config->store.is_preallocated = true; return 0;
	case OPTION_ENCRYPT: return parse_encrypt(text, config);
	case OPTION_SWAP_LIMIT: return config_parse_size(text, &config->store.limit_bytes);
	case OPTION_POLL_US: return parse_poll(text, config);
	case OPTION_LOG_LEVEL: return parse_level(text, &config->log_level);
	case OPTION_GROUP: return parse_group(text, config);
	case OPTION_ALLOW_SELF_ATTACH: config->policy.allow_self_attach = true; return 0;
	case OPTION_SOCKET: config->socket_path = text; return 0;
	case OPTION_STATE_DIR: return set_state_dir(config, text, "");
	case OPTION_RECOVER: config->is_recover = true; return 0;
	case OPTION_FOREGROUND: config->is_foreground = true; return 0;
	case OPTION_DEBUG: config->is_debug = true; return 0;
	case OPTION_DISABLE_FEATURE: return parse_features(text, &config->disabled_features);
	case OPTION_SECCOMP: return parse_seccomp(text, config);
	case OPTION_MOUNT_VIEW: return parse_mount_view(text, config);
	case OPTION_HELP: config->action = CONFIG_HELP; return 0;
	case OPTION_VERSION: config->action = CONFIG_VERSION; return 0;
	case OPTION_LAYOUT: config->action = CONFIG_LAYOUT; return 0;
	}
	UNREACHABLE();
}

static int check(struct config *config, bool shards_given, struct problem *problem)
{
	if (config->cpu_count != 0 && !shards_given)
		config->shard_count = config->cpu_count;
	if (config->cpu_count != 0 && config->cpu_count != config->shard_count)
		return problem_set(problem, -EINVAL, "usage",
			"--cpus names %u CPUs for %u shards: name one for each", config->cpu_count,
			config->shard_count);
	/* It writes files where clients name them. */
	config->has_host_view |= config->is_debug;
	if (config->store.is_preallocated && config->store.limit_bytes == 0 &&
		config->store.kind != SWAPFILE_DEVICE)
		return problem_set(problem, -EINVAL, "usage",
			"--preallocate would fill the file system: give --swap-limit");
	if (config->state_dir[0] == '\0' && set_default_state_dir(config) < 0)
		return problem_set(problem, -EINVAL, "usage", "--socket %s: out of range",
			config->socket_path);
	if (!config->store.path)
		config->store.path = CONFIG_SWAP_DIR;
	ASSERT(config->shard_count >= 1);
	ASSERT(config->shard_count <= SHARDS_MAX);
	return 0;
}

int config_parse(int argc, char **argv, struct config *ret_config, struct problem *problem)
{
	struct config config = {
		.shard_count = SHARDS_DEFAULT,
		.poll_us = POLL_US_DEFAULT,
		.store = {.kind = SWAPFILE_UNNAMED},
		.is_encrypted = engine_encrypts_fast(),
		.socket_path = CONFIG_SOCKET,
		.policy = {.group = PEER_NO_GROUP},
		.seccomp = FILTER_DENY,
		.log_level = LOG_LEVEL_INFO,
	};
	bool shards_given = false;
	int index = -1;
	int code;
	int rc;

	optind = 0; /* glibc: start over, so that tests can call this often */
	while ((code = getopt_long(argc, argv, ":", options, &index)) != -1) {
		if (code == ':' || code == '?')
			return problem_set(problem, -EINVAL, "usage", "%s: %s", argv[optind - 1],
				code == ':' ? "needs a value" : "no such option");
		rc = parse_option((enum option_code)code, optarg, &config);
		if (rc < 0)
			return refuse_value(options[index].name, optarg, rc, problem);
		shards_given = shards_given || code == OPTION_SHARDS;
	}
	if (optind != argc)
		return problem_set(
			problem, -EINVAL, "usage", "%s: no arguments expected", argv[optind]);
	rc = check(&config, shards_given, problem);
	if (rc < 0)
		return rc;
	*ret_config = config;
	return 0;
}
