/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client's first life fills a memfd, as any client does; what is in it goes to the file. From
 * then on each evict starts another process, that has umap map the file: nothing is in its memory
 * yet, nor in umap's buffer. Taking the memory out of one process with uunmap() and back in would
 * depend on what a version of umap remembers of a descriptor that was mapped before.
 */
#include "perf/contestant/umap.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "perf/contestant/contestant.h"
#include "queue/base/assert.h"
#include "queue/base/bits.h"
#include "queue/base/err.h"

struct umap {
	struct umap_library library;
	int file; /* as long as the client's memory */
};

/* Where a build or an installation has it, below the directory. */
static const char *const places[] = {
	"libumap.so",
	"lib/libumap.so",
	"lib64/libumap.so",
	"src/umap/libumap.so",
};

/* dlopen() would look for a name without a slash elsewhere: @ret_file is absolute. */
static int find_library(const char *path, char ret_file[PATH_MAX])
{
	struct stat status;
	char place[PATH_MAX];

	if (stat(path, &status) < 0)
		return -errno;
	if (!S_ISDIR(status.st_mode))
		return realpath(path, ret_file) ? 0 : -errno;
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		const int length = snprintf(place, sizeof(place), "%s/%s", path, places[i]);

		if (length >= (int)sizeof(place))
			return -ENAMETOOLONG;
		if (realpath(place, ret_file))
			return 0;
	}
	return -ENOENT;
}

int umap_library_open(
	const char *path, struct umap_library *ret_library, char *ret_why, size_t why_size)
{
	char file[PATH_MAX];
	const int error = find_library(path, file);
	void *handle;
	void *symbol;

	if (error < 0) {
		(void)snprintf(
			ret_why, why_size, "no libumap.so at %s: %s", path, strerror(-error));
		return error;
	}
	handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);
	if (!handle) {
		(void)snprintf(ret_why, why_size, "umap is not loaded: %s", dlerror());
		return -ELIBACC;
	}
	symbol = dlsym(handle, "umap");
	if (!symbol) {
		(void)dlclose(handle);
		(void)snprintf(ret_why, why_size, "%s has no function umap()", file);
		return -ENOSYS;
	}
	ret_library->handle = handle;
	/* POSIX: a pointer to a function fits into one to an object. */
	memcpy(&ret_library->umap, &symbol, sizeof(symbol));
	return 0;
}

void umap_library_close(struct umap_library *library)
{
	if (!library->handle)
		return;
	(void)dlclose(library->handle);
	library->handle = NULL;
}

/* In the client. umap's threads are made here, and run where their maker does. */
static int map_in_client(const void *argument, uint64_t size_bytes, void **ret_memory)
{
	const struct contestant *self = argument;
	const struct umap *umap = self->state;
	char page_bytes[16];
	cpu_set_t cpus;
	void *memory;

	(void)snprintf(page_bytes, sizeof(page_bytes), "%u", (unsigned)PAGE_BYTES);
	if (setenv("UMAP_PAGESIZE", page_bytes, 1) < 0)
		return -errno;
	if (sched_getaffinity(0, sizeof(cpus), &cpus) < 0)
		return -errno;
	contestant_pin_handler(self);
	/* MAP_PRIVATE is all it takes; a guest's memory can be written. */
	memory = umap->library.umap(
		NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE, umap->file, 0);
	if (memory == MAP_FAILED)
		return -ENODEV;
	if (sched_setaffinity(0, sizeof(cpus), &cpus) < 0)
		return -errno;
	*ret_memory = memory;
	return 0;
}

static int write_all(int file, const uint8_t *memory, uint64_t size_bytes)
{
	for (uint64_t at = 0; at < size_bytes;) {
		const uint64_t part = MIN(CHUNK_BYTES, size_bytes - at);
		const ssize_t put = pwrite(file, memory + at, part, (off_t)at);

		if (put < 0)
			return -errno;
		/* O_DIRECT goes on in whole pages only. */
		if (put == 0 || (uint64_t)put % PAGE_BYTES != 0)
			return -EIO;
		at += (uint64_t)put;
	}
	return errno_of(fdatasync(file));
}

/* What the client has filled is then on the disk, and not in its cache. */
static int make_file(const struct contestant *self, int *ret_file)
{
	const uint64_t size_bytes = self->setup.client.pages * PAGE_BYTES;
	CLEANUP_FD int file = errno_of(open(
		self->setup.directory, O_TMPFILE | O_EXCL | O_RDWR | O_DIRECT | O_CLOEXEC, 0600));
	void *memory;
	int error;

	if (file < 0)
		return file;
	memory = mmap(NULL, size_bytes, PROT_READ, MAP_SHARED, client_memfd(self->client), 0);
	if (memory == MAP_FAILED)
		return -errno;
	error = write_all(file, memory, size_bytes);
	(void)munmap(memory, size_bytes);
	if (error < 0)
		return error;
	*ret_file = take_fd(&file);
	return 0;
}

static int evict(struct contestant *self)
{
	struct client_config config = self->setup.client;
	int error;

	config.map = map_in_client;
	config.map_argument = self;
	client_stop(self->client);
	self->client = NULL;
	error = client_start(&config, &self->client);
	if (error == -EPIPE)
		return contestant_fail(self, error, "umap() ended its process");
	if (error < 0)
		return contestant_fail(self, error, "umap() in a client: %s", strerror(-error));
	return 0;
}

/* umap is tried once at the end, so that one that cannot run here stays out from the start. */
static int open_umap(struct contestant *self)
{
	struct umap *umap;
	int error;

	if (self->setup.client.is_anonymous || !self->setup.option)
		return contestant_fail(
			self, -EINVAL, "umap: shared memory, and the library's path");
	umap = calloc(1, sizeof(*umap));
	if (!umap)
		return contestant_fail(self, -ENOMEM, "no memory");
	self->state = umap;
	umap->file = -1;
	error = umap_library_open(self->setup.option, &umap->library, self->why, sizeof(self->why));
	if (error < 0)
		return error;
	error = make_file(self, &umap->file);
	if (error < 0)
		return contestant_fail(self, error, "a file for umap in %s: %s",
			self->setup.directory, strerror(-error));
	return evict(self);
}

/* Its threads are the client's: there is no time of theirs alone. */
static uint64_t cpu_ns(struct contestant *self)
{
	(void)self;
	return 0;
}

static void close_umap(struct contestant *self)
{
	struct umap *umap = self->state;

	if (!umap)
		return;
	close_fd(umap->file);
	umap_library_close(&umap->library);
	free(umap);
	self->state = NULL;
}

const struct contestant_operations contestant_umap = {
	.name = "umap",
	.open = open_umap,
	.evict = evict,
	.cpu_ns = cpu_ns,
	.close = close_umap,
};
