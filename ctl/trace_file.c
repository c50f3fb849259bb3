/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/trace_file.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl/trace_format.h"
#include "engine/engine.h"
#include "queue/base/assert.h"
#include "queue/base/err.h"

int trace_file_create(const char *path)
{
	return errno_of(open(
		path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, S_IRUSR | S_IWUSR));
}

static uint8_t kind_of(enum latency latency)
{
	switch (latency) {
	case LATENCY_STAGED: return TRACE_STAGED;
	case LATENCY_FILE: return TRACE_FILE;
	case LATENCY_ZERO: return TRACE_ZERO;
	case LATENCY_COUNT: break;
	}
	UNREACHABLE();
}

static bool put(FILE *file, const void *data, size_t size)
{
	return fwrite(data, size, 1, file) == 1;
}

static bool put_all(FILE *file, const struct recording *recording, uint64_t pages)
{
	struct trace_header header = {
		.version = TRACE_VERSION,
		.page_size = (uint32_t)PAGE_BYTES,
		.pages = pages,
		.entries = recording->count,
		.dropped = recording->dropped,
	};

	memcpy(header.magic, TRACE_MAGIC, TRACE_MAGIC_BYTES);
	if (!put(file, &header, sizeof(header)))
		return false;
	for (uint64_t i = 0; i < recording->count; i++) {
		const struct recorded_fault *fault = &recording->fault[i];
		const struct trace_entry entry = {
			.time_ns = fault->time_ns,
			.page = fault->page,
			.kind = kind_of((enum latency)fault->kind),
			.is_write = fault->is_write,
		};

		ASSERT(entry.page < pages);
		if (!put(file, &entry, sizeof(entry)))
			return false;
	}
	return true;
}

int trace_file_write(int fd, const struct recording *recording, uint64_t pages)
{
	FILE *file = fdopen(fd, "w");
	int error;

	if (!file) {
		error = -errno;
		(void)close(fd);
		return error;
	}
	error = put_all(file, recording, pages) ? 0 : -errno;
	if (fclose(file) != 0 && error == 0)
		error = -errno;
	return error;
}
