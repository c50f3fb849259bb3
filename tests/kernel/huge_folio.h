/* SPDX-License-Identifier: Apache-2.0 */
/* One huge folio of shmem, mapped at a huge-page boundary; for the programs about huge folios. */
#ifndef VMSWAP_TESTS_HUGE_FOLIO_H
#define VMSWAP_TESTS_HUGE_FOLIO_H

#include <signal.h>
#include <sys/file.h>

#include "kernel_test.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

#define SHMEM_ENABLED "/sys/kernel/mm/transparent_hugepage/shmem_enabled"

static char shmem_enabled_before[32];
static int shmem_enabled_fd = -1;

static inline bool shmem_enabled_write(const char *word)
{
	const ssize_t length = (ssize_t)strlen(word);

	return pwrite(shmem_enabled_fd, word, (size_t)length, 0) == length;
}

static inline void shmem_enabled_restore(void)
{
	(void)shmem_enabled_write(shmem_enabled_before);
}

/* Also when a broken fact hangs us: the host's setting must come back. */
static inline void on_timeout(int signal)
{
	(void)signal;
	shmem_enabled_restore();
	_exit(1);
}

/*
 * "always within_size [never] …": the word in brackets is remembered, and comes back at exit. The
 * lock keeps two of these programs from remembering each other's setting.
 */
static inline void shmem_enabled_set_advise(void)
{
	char line[128] = "";
	const char *word;

	shmem_enabled_fd = open(SHMEM_ENABLED, O_RDWR | O_CLOEXEC);
	if (shmem_enabled_fd < 0)
		skip("no huge pages for shmem, or not allowed to set shmem_enabled");
	CHECK(flock(shmem_enabled_fd, LOCK_EX) == 0);
	CHECK(pread(shmem_enabled_fd, line, sizeof(line) - 1, 0) > 0);
	word = strchr(line, '[');
	CHECK(word && sscanf(word, "[%31[^]]", shmem_enabled_before) == 1);
	CHECK(signal(SIGALRM, on_timeout) != SIG_ERR);
	CHECK(atexit(shmem_enabled_restore) == 0);
	if (!shmem_enabled_write("advise"))
		skip("shmem_enabled does not take \"advise\"");
}

struct huge_folio {
	int memfd;
	uint8_t *memory;
};

/* Filled with 'h', and one folio: MADV_COLLAPSE says 0 only then. */
static inline struct huge_folio huge_folio_new(void)
{
	struct huge_folio folio;
	uintptr_t reserved;
	void *place;

	(void)alarm(TEST_TIMEOUT_S);
	shmem_enabled_set_advise();
	folio.memfd = memfd_create("huge", MFD_CLOEXEC);
	CHECK(ftruncate(folio.memfd, CHUNK_BYTES) == 0);
	place = mmap(NULL, 2 * CHUNK_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(place != MAP_FAILED);
	reserved = ((uintptr_t)place + CHUNK_BYTES - 1) & ~(uintptr_t)(CHUNK_BYTES - 1);
	folio.memory = mmap((void *)reserved, CHUNK_BYTES, PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_FIXED, folio.memfd, 0);
	CHECK(folio.memory != MAP_FAILED);
	(void)madvise(folio.memory, CHUNK_BYTES, MADV_HUGEPAGE);
	memset(folio.memory, 'h', CHUNK_BYTES);
	if (madvise(folio.memory, CHUNK_BYTES, MADV_COLLAPSE) < 0)
		skip("MADV_COLLAPSE gives no huge folio here");
	return folio;
}

static inline int collapse(const struct huge_folio *folio)
{
	return madvise(folio->memory, CHUNK_BYTES, MADV_COLLAPSE) < 0 ? -errno : 0;
}

static inline void punch_pages(const struct huge_folio *folio, uint32_t page, uint32_t count)
{
	CHECK(fallocate(folio->memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		      (off_t)(page * PAGE_BYTES), (off_t)(count * PAGE_BYTES)) == 0);
}

static inline bool is_data(const struct huge_folio *folio, uint32_t page)
{
	const off_t offset = (off_t)(page * PAGE_BYTES);

	return lseek(folio->memfd, offset, SEEK_DATA) == offset;
}

#endif
