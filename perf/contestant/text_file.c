/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/contestant/text_file.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "queue/base/assert.h"
#include "queue/base/err.h"

int text_file_read(const char *path, char *ret_text, size_t size)
{
	CLEANUP_FD int fd = errno_of(open(path, O_RDONLY | O_CLOEXEC));
	ssize_t got;

	ASSERT(size > 0);
	if (fd < 0)
		return fd;
	got = errno_of(read(fd, ret_text, size - 1));
	if (got < 0)
		return (int)got;
	if (got > 0 && ret_text[got - 1] == '\n')
		got--;
	ret_text[got] = '\0';
	return 0;
}

int text_file_write(const char *path, const char *text)
{
	CLEANUP_FD int fd = errno_of(open(path, O_WRONLY | O_CLOEXEC));
	ssize_t put;

	if (fd < 0)
		return fd;
	put = errno_of(write(fd, text, strlen(text)));
	return put < 0 ? (int)put : 0;
}
