/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors of the fake world: numbers the kernel does not give out, with what they stand for
 * here. No system call: the engine asks for one at every turn, and a copy of the world has them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <sys/types.h>

#include "tests/support/fake_priv.h"

#define FD_FIRST 0x1000000
#define FDS_MAX	 65536u

static struct fake_fd table[FDS_MAX];
static uint32_t used_count; /* one past the last that was ever open */
static uint32_t first_free; /* none below is */

/* The linker puts them in the way of every caller (--wrap). */
int __real_close(int fd);
int __wrap_close(int fd);
int __real_dup(int fd);
int __wrap_dup(int fd);
int __real_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...);
int __wrap_eventfd(unsigned initial, int flags);
ssize_t __real_read(int fd, void *buffer, size_t size);
ssize_t __wrap_read(int fd, void *buffer, size_t size);
ssize_t __real_write(int fd, const void *buffer, size_t size);
ssize_t __wrap_write(int fd, const void *buffer, size_t size);

static bool is_fake(int fd)
{
	return fd >= FD_FIRST && fd < FD_FIRST + (int)FDS_MAX;
}

static struct fake_fd *open_fd(int fd)
{
	if (!is_fake(fd) || table[fd - FD_FIRST].inode == 0)
		fake_fail("a closed descriptor is used: %d", fd);
	return &table[fd - FD_FIRST];
}

static int add(uint64_t inode)
{
	uint32_t i = first_free;

	while (i < FDS_MAX && table[i].inode != 0)
		i++;
	ASSERT(i < FDS_MAX);
	table[i] = (struct fake_fd){.inode = inode};
	first_free = i + 1;
	used_count = MAX(used_count, first_free);
	return FD_FIRST + (int)i;
}

int fake_descriptor(void)
{
	return add(++world.inodes);
}

uint64_t fake_inode(int fd)
{
	return open_fd(fd)->inode;
}

uint64_t *fake_fd_value(int fd)
{
	return &open_fd(fd)->value;
}

struct fake_fd *fake_fds(uint32_t *ret_count)
{
	/* Whoever puts an older state back may have closed some of it. */
	first_free = 0;
	*ret_count = used_count;
	return table;
}

void fake_fds_forget(void)
{
	memset(table, 0, used_count * sizeof(table[0]));
	used_count = 0;
	first_free = 0;
}

int __wrap_close(int fd)
{
	if (!is_fake(fd))
		return __real_close(fd);
	*open_fd(fd) = (struct fake_fd){0};
	first_free = MIN(first_free, (uint32_t)(fd - FD_FIRST));
	return 0;
}

int __wrap_dup(int fd)
{
	return is_fake(fd) ? add(fake_inode(fd)) : __real_dup(fd);
}

int __wrap_fcntl(int fd, int command, ...)
{
	va_list arguments;
	int argument;

	va_start(arguments, command);
	argument = va_arg(arguments, int);
	va_end(arguments);
	if (!is_fake(fd))
		return __real_fcntl(fd, command, argument);
	ASSERT(command == F_DUPFD_CLOEXEC);
	return add(fake_inode(fd));
}

int __wrap_eventfd(unsigned initial, int flags)
{
	const int fd = fake_descriptor();

	(void)flags;
	*fake_fd_value(fd) = initial;
	return fd;
}

ssize_t __wrap_read(int fd, void *buffer, size_t size)
{
	uint64_t *value;

	if (!is_fake(fd))
		return __real_read(fd, buffer, size);
	value = fake_fd_value(fd);
	ASSERT(size == sizeof(*value));
	if (*value == 0) {
		errno = EAGAIN;
		return -1;
	}
	memcpy(buffer, value, size);
	*value = 0;
	return (ssize_t)size;
}

ssize_t __wrap_write(int fd, const void *buffer, size_t size)
{
	uint64_t more;

	if (!is_fake(fd))
		return __real_write(fd, buffer, size);
	ASSERT(size == sizeof(more));
	memcpy(&more, buffer, size);
	*fake_fd_value(fd) += more;
	return (ssize_t)size;
}
