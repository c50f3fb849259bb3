/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/config.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "ctl/problem.h"
#include "engine/engine.h"
#include "io/feature.h"
#include "io/uffd.h"
#include "queue/base/bits.h"

#define ARGUMENTS_MAX 16

/* config_parse() over words that end with NULL. */
static int parse(const char *const *words, struct config *ret_config, struct problem *problem)
{
	char copy[ARGUMENTS_MAX][64];
	char *arguments[ARGUMENTS_MAX + 1] = {copy[0]};
	int count = 1;

	(void)snprintf(copy[0], sizeof(copy[0]), "vmswapd");
	for (; words[count - 1]; count++) {
		(void)snprintf(copy[count], sizeof(copy[count]), "%s", words[count - 1]);
		arguments[count] = copy[count];
	}
	return config_parse(count, arguments, ret_config, problem);
}

#define PARSE(config, problem, ...) parse((const char *const[]){__VA_ARGS__}, config, problem)

Test(config, without_options_everything_has_a_default)
{
	struct config config;

	int rc = PARSE(&config, NULL, NULL);

	cr_assert_eq(rc, 0);
	cr_expect_eq(config.action, CONFIG_RUN);
	cr_expect_eq(config.shard_count, 2);
	cr_expect_eq(config.cpu_count, 0);
	cr_expect_eq(config.store.kind, SWAPFILE_UNNAMED);
	cr_expect_str_eq(config.store.path, "/var/lib/vmswapd");
	cr_expect_eq(config.store.limit_bytes, 0);
	cr_expect_str_eq(config.socket_path, "/run/vmswapd.sock");
	cr_expect(!config.is_foreground);
	cr_expect(!config.is_debug);
}

Test(config, encryption_is_on_off_or_as_the_CPU_has_it)
{
	struct config config;

	cr_assert_eq(PARSE(&config, NULL, NULL), 0);
	cr_expect_eq(config.is_encrypted, engine_encrypts_fast());
	cr_assert_eq(PARSE(&config, NULL, "--encrypt", NULL), 0);
	cr_expect(config.is_encrypted);
	cr_assert_eq(PARSE(&config, NULL, "--encrypt=yes", NULL), 0);
	cr_expect(config.is_encrypted);
	cr_assert_eq(PARSE(&config, NULL, "--encrypt=no", NULL), 0);
	cr_expect(!config.is_encrypted);
	cr_assert_eq(PARSE(&config, NULL, "--encrypt=no", "--encrypt=auto", NULL), 0);
	cr_expect_eq(config.is_encrypted, engine_encrypts_fast());
}

Test(config, debugging_is_asked_for)
{
	struct config config;

	int rc = PARSE(&config, NULL, "--debug", NULL);

	cr_assert_eq(rc, 0);
	cr_expect(config.is_debug);
}

Test(config, a_group_has_a_name_or_a_number)
{
	struct config config;

	cr_assert_eq(PARSE(&config, NULL, NULL), 0);
	cr_expect_eq(config.policy.group, PEER_NO_GROUP);
	cr_expect_eq(peer_socket_mode(&config.policy), 0600);
	cr_assert_eq(PARSE(&config, NULL, "--group", "root", NULL), 0);
	cr_expect_eq(config.policy.group, 0);
	cr_assert_eq(PARSE(&config, NULL, "--group", "4711", NULL), 0);
	cr_expect_eq(config.policy.group, 4711);
	cr_expect_eq(peer_socket_mode(&config.policy), 0660);
	cr_assert_eq(PARSE(&config, NULL, "--allow-self-attach", NULL), 0);
	cr_expect_eq(peer_socket_mode(&config.policy), 0666);
}

Test(config, features_are_disabled_by_name)
{
	struct config config;

	int rc = PARSE(&config, NULL, "--disable-feature", "wp,pagemap-scan", "--disable-feature",
		"io_uring", NULL);

	cr_assert_eq(rc, 0);
	cr_expect_eq(config.disabled_features,
		(uint32_t)UFFD_WP | FEATURE_PAGEMAP_SCAN | FEATURE_IO_URING);
}

Test(config, a_feature_of_no_known_name_is_answered_with_the_names)
{
	static const char *const values[] = {"wp,warp", "warp", "", ","};

	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		struct config config;
		struct problem problem = {.error = 0};

		int rc = PARSE(&config, &problem, "--disable-feature", values[i], NULL);

		cr_assert_eq(rc, -EINVAL);
		cr_expect_not_null(strstr(problem.text, "wp-async, poison"), "%s", problem.text);
		cr_expect_not_null(strstr(problem.text, "short-slice"), "%s", problem.text);
	}
}

Test(config, the_filters_mode_is_one_of_four_names)
{
	static const char *const names[] = {"off", "log", "deny", "kill"};
	struct config config;
	struct problem problem;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		cr_assert_eq(PARSE(&config, &problem, "--seccomp", names[i], NULL), 0);
		cr_expect_str_eq(filter_mode_name(config.seccomp), names[i]);
	}
	cr_expect_eq(PARSE(&config, &problem, "--seccomp", "on", NULL), -EINVAL);
	cr_assert_eq(PARSE(&config, &problem, NULL), 0);
	cr_expect_eq(config.seccomp, FILTER_DENY);
}

Test(config, cpus_alone_say_how_many_shards)
{
	struct config config;

	int rc = PARSE(&config, NULL, "--cpus", "1,4-6", NULL);

	cr_assert_eq(rc, 0);
	cr_expect_eq(config.shard_count, 4);
	cr_expect_eq(config.cpus[0], 1);
	cr_expect_eq(config.cpus[3], 6);
}

Test(config, fewer_cpus_than_shards_are_refused)
{
	struct config config;
	struct problem problem = {.error = 0};

	int rc = PARSE(&config, &problem, "--shards", "3", "--cpus", "0-1", NULL);

	cr_assert_eq(rc, -EINVAL);
	cr_expect_not_null(strstr(problem.text, "--cpus"));
}

Test(config, two_stores_are_refused)
{
	struct config config;
	struct problem problem = {.error = 0};

	int rc = PARSE(&config, &problem, "--swap-dir", "/a", "--swap-file", "/b", NULL);

	cr_assert_eq(rc, -EINVAL);
	cr_expect_not_null(strstr(problem.text, "--swap-file"));
}

Test(config, a_swap_limit_has_a_unit)
{
	struct config config;

	int rc = PARSE(&config, NULL, "--swap-device", "/dev/x", "--swap-limit", "3G", NULL);

	cr_assert_eq(rc, 0);
	cr_expect_eq(config.store.kind, SWAPFILE_DEVICE);
	cr_expect_eq(config.store.limit_bytes, 3 * GIB);
}

Test(config, nonsense_is_refused_and_named)
{
	static const char *const lines[][3] = {
		{"--shards", "0", NULL},
		{"--shards", "65", NULL},
		{"--shards", "two", NULL},
		{"--poll-us", "-1", NULL},
		{"--log-level", "loud", NULL},
		{"--swap-limit", "1X", NULL},
		{"--group", "no such group", NULL},
		{"--group", "4294967295", NULL},
		{"--bogus", NULL, NULL},
		{"--socket", NULL, NULL},
		{"word", NULL, NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		struct config config;
		struct problem problem = {.error = 0};

		int rc = parse(lines[i], &config, &problem);

		cr_expect_eq(rc, -EINVAL, "%s", lines[i][0]);
		cr_expect_not_null(strstr(problem.text, lines[i][0]), "\"%s\" names %s",
			problem.text, lines[i][0]);
	}
}

Test(config, help_and_version_are_actions)
{
	struct config config;

	cr_assert_eq(PARSE(&config, NULL, "--help", NULL), 0);
	cr_expect_eq(config.action, CONFIG_HELP);
	cr_assert_eq(PARSE(&config, NULL, "--version", NULL), 0);
	cr_expect_eq(config.action, CONFIG_VERSION);
}

Test(config, sizes_are_binary)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} sizes[] = {{"0", 0}, {"4096", 4096}, {"64K", 64 * KIB}, {"5m", 5 * MIB}, {"2G", 2 * GIB},
		{"16T", 16384 * GIB}};

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		uint64_t bytes = 1;

		cr_expect_eq(config_parse_size(sizes[i].text, &bytes), 0, "%s", sizes[i].text);
		cr_expect_eq(bytes, sizes[i].bytes, "%s", sizes[i].text);
	}
}

Test(config, sizes_that_are_none_are_refused)
{
	static const char *const sizes[] = {"", "K", "-1", " 1", "1KB", "1.5G", "0x10", "1 G"};
	uint64_t bytes = 7;

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		cr_expect_eq(config_parse_size(sizes[i], &bytes), -EINVAL, "'%s'", sizes[i]);
	cr_expect_eq(config_parse_size("16777216T", &bytes), -ERANGE);
	cr_expect_eq(config_parse_size("99999999999999999999", &bytes), -ERANGE);
	cr_expect_eq(bytes, 7, "the output is written on success only");
}

Test(config, cpu_lists_that_are_none_are_refused)
{
	static const char *const lists[] = {"", ",", "1,", "3-1", "a", "1-", "-1", "1;2", "70000"};
	int cpus[4];

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		cr_expect_eq(config_parse_cpus(lists[i], cpus, 4), -EINVAL, "'%s'", lists[i]);
	cr_expect_eq(config_parse_cpus("0-4", cpus, 4), -E2BIG);
	cr_expect_eq(config_parse_cpus("0-3", cpus, 4), 4);
}

Test(config, each_socket_has_a_state_folder_of_its_own)
{
	struct config config;
	struct problem problem;

	cr_assert_eq(PARSE(&config, NULL, NULL), 0);
	cr_expect_str_eq(config.state_dir, "/run/vmswapd");
	cr_assert_eq(PARSE(&config, NULL, "--socket", "/tmp/s", NULL), 0);
	cr_expect_str_eq(config.state_dir, "/tmp/s.state");
	cr_expect_not(config.is_recover);
	cr_assert_eq(
		PARSE(&config, NULL, "--recover", "--state-dir", "/x", "--socket", "/tmp/s", NULL),
		0);
	cr_expect(config.is_recover);
	cr_expect_str_eq(config.state_dir, "/x");
	cr_expect_eq(PARSE(&config, &problem, "--state-dir", "", NULL), -EINVAL);
}
