/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/vmswap-guest/direct.h"

#include <fcntl.h>
#include <string.h>
#include <sys/types.h>

#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"
#include "tools/vmswap-guest/crew.h"
#include "tools/vmswap-guest/memory.h"
#include "tools/vmswap-guest/report.h"

#define FILE_PAGES (64 * MIB / PAGE_BYTES)
/* The generation of all pages of the file: told from that of guest memory, which counts from 1. */
#define FILE_GENERATION 0xd15cull
#define READ_PAGES_MIN	256u
#define READ_PAGES_MAX	512u
#define WINDOW_PAGES	4096u
/* Pages brought by earlier reads that are looked at after each read. */
#define LOOK_BACK_PAGES 32u
#define UNREAD		UINT64_MAX

struct direct_reader {
	int fd;
	bool as_json;
	uint8_t *window;
	uint64_t first_page; /* of the window, in guest memory */
	uint64_t window_pages;
	uint64_t random;
	uint64_t file_page[WINDOW_PAGES]; /* what each page of the window holds, or UNREAD */
};

uint64_t direct_window_pages(uint64_t pages)
{
	const uint64_t window = MIN(pages / 4, (uint64_t)WINDOW_PAGES);

	return window >= READ_PAGES_MAX ? window : 0;
}

static int write_all(int fd, const uint8_t *bytes, size_t size)
{
	for (size_t done = 0; done < size;) {
		const ssize_t rc = write(fd, bytes + done, size - done);

		if (rc < 0)
			return -errno;
		done += (size_t)rc;
	}
	return 0;
}

/* Through the page cache, then out of it: reads must come from the disk. */
static int make_file(const char *path)
{
	CLEANUP_FD int fd =
		errno_of(open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, S_IRUSR | S_IWUSR));
	uint64_t words[PATTERN_WORDS];

	if (fd < 0)
		return fd;
	for (uint64_t page = 0; page < FILE_PAGES; page++) {
		int rc;

		pattern_fill(words, page, FILE_GENERATION);
		rc = write_all(fd, (const uint8_t *)words, PAGE_BYTES);
		if (rc < 0)
			return rc;
	}
	if (fdatasync(fd) < 0)
		return -errno;
	return -posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
}

int direct_open(const char *path, const struct guest_memory *memory, bool as_json,
	struct direct_reader **ret_reader)
{
	const uint64_t window_pages = direct_window_pages(memory->pages);
	struct direct_reader *reader;
	CLEANUP_FD int fd = -1;
	int rc = make_file(path);

	ASSERT(window_pages > 0);
	if (rc < 0)
		return rc;
	fd = errno_of(open(path, O_RDONLY | O_DIRECT | O_CLOEXEC));
	if (fd < 0)
		return fd;
	reader = calloc(1, sizeof(*reader));
	if (!reader)
		return -ENOMEM;
	reader->fd = take_fd(&fd);
	reader->as_json = as_json;
	reader->first_page = memory->pages - window_pages;
	reader->window = memory->base + reader->first_page * PAGE_BYTES;
	reader->window_pages = window_pages;
	for (uint64_t i = 0; i < window_pages; i++)
		reader->file_page[i] = UNREAD;
	*ret_reader = reader;
	return 0;
}

void direct_close(struct direct_reader *reader)
{
	if (!reader)
		return;
	close_fd(reader->fd);
	free(reader);
}

/* True when the page holds what was read into it. */
static bool verify_page(struct direct_reader *reader, uint64_t index, struct progress *progress)
{
	const uint64_t *words = (const uint64_t *)(void *)(reader->window + index * PAGE_BYTES);
	struct mismatch mismatch;

	ASSERT(index < reader->window_pages);
	if (reader->file_page[index] == UNREAD)
		return true;
	if (pattern_check(words, reader->file_page[index], FILE_GENERATION, &mismatch))
		return true;
	progress_add_bad(progress, reader->as_json, reader->first_page + index, "file", &mismatch);
	return false;
}

/* pread() of the whole run; a signal or a stop may cut it short. */
static int read_run(struct direct_reader *reader, uint64_t index, uint64_t file_page, size_t size)
{
	uint8_t *target = reader->window + index * PAGE_BYTES;
	const off_t offset = (off_t)(file_page * PAGE_BYTES);

	for (size_t done = 0; done < size;) {
		const ssize_t rc =
			pread(reader->fd, target + done, size - done, offset + (off_t)done);

		if (rc < 0 && errno == EINTR)
			continue;
		if (rc <= 0)
			return rc < 0 ? -errno : -EIO;
		done += (size_t)rc;
	}
	return 0;
}

int direct_step(struct direct_reader *reader, struct progress *progress)
{
	const uint64_t count = READ_PAGES_MIN +
			       random_next(&reader->random) % (READ_PAGES_MAX - READ_PAGES_MIN + 1);
	const uint64_t index = random_next(&reader->random) % (reader->window_pages - count + 1);
	const uint64_t file_page = random_next(&reader->random) % (FILE_PAGES - count + 1);
	bool is_right = true;
	int rc = read_run(reader, index, file_page, count * PAGE_BYTES);

	if (rc < 0) {
		report_error("cannot read with O_DIRECT: %s", strerror(-rc));
		atomic_store(&progress->has_failed, true);
		atomic_store(&progress->must_stop, true);
		return -1;
	}
	for (uint64_t i = 0; i < count; i++) {
		reader->file_page[index + i] = file_page + i;
		is_right = verify_page(reader, index + i, progress) && is_right;
	}
	for (uint32_t i = 0; i < LOOK_BACK_PAGES; i++)
		is_right = verify_page(reader, random_next(&reader->random) % reader->window_pages,
				   progress) &&
			   is_right;
	atomic_fetch_add_explicit(&progress->direct_reads, 1, memory_order_relaxed);
	return is_right ? 0 : -1;
}

uint64_t direct_verify(struct direct_reader *reader, struct progress *progress)
{
	uint64_t bad = 0;

	for (uint64_t i = 0; i < reader->window_pages; i++)
		bad += !verify_page(reader, i, progress);
	return bad;
}
