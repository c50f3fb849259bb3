/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/contestant/zram.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "perf/contestant/program.h"
#include "perf/contestant/text_file.h"
#include "queue/base/clock.h"
#include "queue/base/err.h"

#define CONTROL "/sys/class/zram-control/"

#define REMOVE_ROUNDS  250
#define REMOVE_STEP_MS 20

static int set(uint32_t number, const char *attribute, const char *value)
{
	char path[96];

	(void)snprintf(path, sizeof(path), "/sys/block/zram%u/%s", number, attribute);
	return text_file_write(path, value);
}

/* Reading the attribute makes a device. */
static int add_device(uint32_t *ret_number)
{
	char text[16];
	int error = text_file_read(CONTROL "hot_add", text, sizeof(text));

	if (error == -ENOENT) {
		(void)program_run((const char *const[]){"modprobe", "zram", "num_devices=0", NULL});
		error = text_file_read(CONTROL "hot_add", text, sizeof(text));
	}
	if (error < 0)
		return error == -ENOENT ? -ENODEV : error;
	*ret_number = (uint32_t)strtoul(text, NULL, 10);
	return 0;
}

int zram_make(const char *algorithm, uint64_t size_bytes, uint32_t *ret_number)
{
	char size[32];
	uint32_t number;
	int error = add_device(&number);

	if (error < 0)
		return error;
	(void)snprintf(size, sizeof(size), "%llu", (unsigned long long)size_bytes);
	error = set(number, "comp_algorithm", algorithm);
	if (error == 0)
		error = set(number, "disksize", size);
	if (error < 0) {
		(void)zram_remove(number);
		return error;
	}
	*ret_number = number;
	return 0;
}

/* Removing resets: the memory is free again. */
int zram_remove(uint32_t number)
{
	const struct timespec step = {.tv_nsec = REMOVE_STEP_MS * (long)NS_PER_MS};
	char text[16];
	int error = -EBUSY;

	(void)snprintf(text, sizeof(text), "%u", number);
	for (int round = 0; round < REMOVE_ROUNDS && error == -EBUSY; round++) {
		if (round > 0)
			(void)nanosleep(&step, NULL);
		error = text_file_write(CONTROL "hot_remove", text);
	}
	return error == -ENODEV ? 0 : error;
}
