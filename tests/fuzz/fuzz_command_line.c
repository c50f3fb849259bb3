/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmswapd's command line, and the sizes and numbers of the tools. Byte 0 says which; the rest is
 * the text, for a command line one argument between two zero bytes.
 */
#include <stdlib.h>
#include <string.h>

#include "ctl/config.h"
#include "ctl/problem.h"
#include "fuzz.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "tools/vmswapctl/units.h"

#define ARGUMENTS_MAX 16
#define SECONDS_MAX   1e6

static void parse_line(char *text, size_t size)
{
	static char name[] = "vmswapd";
	char *argument[ARGUMENTS_MAX + 1] = {name};
	struct problem problem = {0};
	struct config config;
	int count = 1;

	for (size_t at = 0; at < size && count < ARGUMENTS_MAX; at += strlen(text + at) + 1)
		argument[count++] = text + at;
	if (config_parse(count, argument, &config, &problem) < 0) {
		ASSERT(problem.text[0] != '\0');
		return;
	}
	ASSERT(config.shard_count >= 1);
	ASSERT(config.shard_count <= SHARDS_MAX);
	ASSERT(config.cpu_count == 0 || config.cpu_count == config.shard_count);
	ASSERT(config.store.path != NULL);
}

static void parse_cpus(const char *text)
{
	int cpus[SHARDS_MAX];
	int count = config_parse_cpus(text, cpus, SHARDS_MAX);

	for (int i = 0; i < count; i++)
		ASSERT(cpus[i] >= 0);
}

static void parse_sizes(const char *text)
{
	uint64_t bytes;
	uint64_t same;

	if (config_parse_size(text, &bytes) < 0 || bytes == 0 || bytes > 1ull << 50)
		return;
	/* What the daemon takes, its tools take as well, and as the same. */
	ASSERT(units_parse_size(text, &same));
	ASSERT(same == bytes);
}

static void parse_units(const char *text)
{
	double seconds;
	uint64_t number;

	if (units_parse_size(text, &number))
		ASSERT(number >= 1);
	if (units_parse_count(text, &number))
		ASSERT(number >= 1);
	if (units_parse_seconds(text, SECONDS_MAX, &seconds))
		ASSERT(seconds >= 0 && seconds <= SECONDS_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text;

	if (size < 1)
		return 0;
	text = calloc(1, size);
	ASSERT(text != NULL);
	memcpy(text, data + 1, size - 1);
	switch (data[0] % 4) {
	case 0: parse_line(text, size - 1); break;
	case 1: parse_cpus(text); break;
	case 2: parse_sizes(text); break;
	default: parse_units(text); break;
	}
	free(text);
	return 0;
}
