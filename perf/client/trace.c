/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/client/trace.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"

/* Entries read at once. */
#define BATCH 4096u

static int refuse(const char *why, const char **ret_why)
{
	*ret_why = why;
	return -EINVAL;
}

static int fail(int error, const char **ret_why)
{
	ASSERT(error < 0);
	*ret_why = strerror(-error);
	return error;
}

/* All of @size: less is a file that became shorter since it was measured. */
static int read_all(int fd, void *buffer, size_t size, const char **ret_why)
{
	size_t done = 0;

	while (done < size) {
		const ssize_t got = read(fd, (char *)buffer + done, size - done);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return fail(-errno, ret_why);
		if (got == 0)
			return refuse("the file ends too early", ret_why);
		done += (size_t)got;
	}
	return 0;
}

static int check_header(
	const struct trace_header *header, uint64_t file_bytes, const char **ret_why)
{
	const uint64_t entry_bytes = file_bytes - sizeof(*header);

	if (memcmp(header->magic, TRACE_MAGIC, TRACE_MAGIC_BYTES) != 0)
		return refuse("the file is no trace", ret_why);
	if (header->version != TRACE_VERSION)
		return refuse("the trace is of another version", ret_why);
	if (header->page_size != PAGE_BYTES)
		return refuse("the pages of the trace are not of 4096 bytes", ret_why);
	if (header->pages == 0 || header->pages > UINT32_MAX)
		return refuse("the number of pages makes no sense", ret_why);
	if (header->entries > TRACE_ENTRIES_MAX)
		return refuse("the trace has too many entries", ret_why);
	if (entry_bytes != header->entries * sizeof(struct trace_entry))
		return refuse("the file is not as long as its header says", ret_why);
	for (uint32_t i = 0; i < ARRAY_SIZE(header->zero); i++)
		if (header->zero[i] != 0)
			return refuse("the header has unknown content", ret_why);
	return 0;
}

static int check_entry(const struct trace_entry *entry, const struct trace *trace, uint64_t last_ns,
	const char **ret_why)
{
	if (entry->page >= trace->vm_pages)
		return refuse("a page is out of range", ret_why);
	if (entry->kind >= TRACE_KINDS || entry->is_write > 1 || entry->zero != 0)
		return refuse("an entry has unknown content", ret_why);
	if (entry->time_ns < last_ns)
		return refuse("the entries are not in order of time", ret_why);
	return 0;
}

static void add(struct trace *trace, const struct trace_entry *entry)
{
	trace->page[trace->count] = entry->page;
	trace->time_ns[trace->count] = entry->time_ns;
	trace->is_write[trace->count] = entry->is_write;
	trace->kind_count[entry->kind]++;
	trace->count++;
}

/* @seen: a bit a page of the VM. */
static int read_entries(int fd, struct trace *trace, uint64_t *seen, const char **ret_why)
{
	struct trace_entry entry[BATCH];
	uint64_t last_ns = 0;

	for (uint64_t done = 0; done < trace->entries;) {
		const uint64_t count = MIN(BATCH, trace->entries - done);
		int error = read_all(fd, entry, count * sizeof(entry[0]), ret_why);

		for (uint64_t i = 0; !error && i < count; i++) {
			error = check_entry(&entry[i], trace, last_ns, ret_why);
			if (error)
				break;
			last_ns = entry[i].time_ns;
			if (!bit_get(seen, entry[i].page))
				add(trace, &entry[i]);
			bit_set(seen, entry[i].page);
		}
		if (error)
			return error;
		done += count;
	}
	return 0;
}

static int load_entries(int fd, struct trace *trace, const char **ret_why)
{
	/* At least one of each: an empty trace is one as well. */
	const uint64_t room = MAX(MIN(trace->entries, trace->vm_pages), 1);
	CLEANUP_FREE uint64_t *seen = calloc(BITMAP_WORDS(trace->vm_pages), sizeof(*seen));

	trace->page = calloc(room, sizeof(*trace->page));
	trace->time_ns = calloc(room, sizeof(*trace->time_ns));
	trace->is_write = calloc(room, sizeof(*trace->is_write));
	if (!seen || !trace->page || !trace->time_ns || !trace->is_write)
		return fail(-ENOMEM, ret_why);
	return read_entries(fd, trace, seen, ret_why);
}

static int load(int fd, struct trace *trace, const char **ret_why)
{
	struct trace_header header;
	struct stat status;
	int error;

	if (fstat(fd, &status) < 0)
		return fail(-errno, ret_why);
	if (!S_ISREG(status.st_mode))
		return refuse("not a regular file", ret_why);
	if ((uint64_t)status.st_size < sizeof(header))
		return refuse("the file is too short for a trace", ret_why);
	error = read_all(fd, &header, sizeof(header), ret_why);
	if (!error)
		error = check_header(&header, (uint64_t)status.st_size, ret_why);
	if (error)
		return error;
	trace->vm_pages = header.pages;
	trace->entries = header.entries;
	trace->dropped = header.dropped;
	return load_entries(fd, trace, ret_why);
}

int trace_load(const char *path, struct trace *ret_trace, const char **ret_why)
{
	/* Does not wait for the writer of a FIFO. */
	CLEANUP_FD int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	struct trace trace = {0};
	int error;

	if (fd < 0)
		return fail(-errno, ret_why);
	error = load(fd, &trace, ret_why);
	if (error) {
		trace_free(&trace);
		return error;
	}
	*ret_trace = trace;
	return 0;
}

void trace_free(struct trace *trace)
{
	free(trace->page);
	free(trace->time_ns);
	free(trace->is_write);
	*trace = (struct trace){0};
}

static int by_number(const void *left, const void *right)
{
	const uint32_t a = *(const uint32_t *)left;
	const uint32_t b = *(const uint32_t *)right;

	return a < b ? -1 : a > b;
}

/* Each page becomes its rank among those that are touched. */
static int make_dense(uint32_t *page, uint32_t count)
{
	CLEANUP_FREE uint32_t *sorted = malloc(MAX(count, 1u) * sizeof(*sorted));

	if (!sorted)
		return -ENOMEM;
	if (count > 0)
		memcpy(sorted, page, count * sizeof(*sorted));
	qsort(sorted, count, sizeof(*sorted), by_number);
	for (uint32_t i = 0; i < count; i++) {
		const uint32_t *found =
			bsearch(&page[i], sorted, count, sizeof(*sorted), by_number);

		page[i] = (uint32_t)(found - sorted);
	}
	return 0;
}

int trace_first_touches(const struct trace *trace, enum trace_numbering numbering, uint64_t pages,
	uint32_t **ret_order, uint64_t *ret_count)
{
	CLEANUP_FREE uint32_t *order = malloc(MAX(trace->count, 1u) * sizeof(*order));
	uint64_t count = 0;

	if (!order)
		return -ENOMEM;
	if (trace->count > 0)
		memcpy(order, trace->page, trace->count * sizeof(*order));
	if (numbering == TRACE_DENSE && make_dense(order, trace->count))
		return -ENOMEM;
	for (uint32_t i = 0; i < trace->count; i++)
		if (order[i] < pages)
			order[count++] = order[i];
	*ret_order = take_pointer(&order);
	*ret_count = count;
	return 0;
}
