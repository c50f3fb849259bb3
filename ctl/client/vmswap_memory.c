/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/client/vmswap_memory.h"

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "queue/base/err.h"

/* The one name of <linux/userfaultfd.h> needed here (Linux 6.1); that header is the io layer's. */
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)

/* Header lines of smaps are shorter but for paths; the tail of a longer one is read as a line. */
#define LINE_BYTES 512

int memory_userfaultfd(void)
{
	CLEANUP_FD int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);

	if (device >= 0) {
		const int fd = ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);

		if (fd >= 0)
			return fd;
	}
	return errno_of((int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK));
}

/* "um", "uw" and "ui" among the flags of a VMA: registered for missing, protected, minor faults. */
static bool flags_say_registered(const char *line)
{
	return strstr(line, " um") || strstr(line, " uw") || strstr(line, " ui");
}

/* "START-END …": the line that begins a VMA. */
static bool is_header(const char *line, uint64_t *ret_start, uint64_t *ret_end)
{
	char *dash, *space;
	const uint64_t start = strtoull(line, &dash, 16);
	uint64_t end;

	if (dash == line || *dash != '-')
		return false;
	end = strtoull(dash + 1, &space, 16);
	if (*space != ' ')
		return false;
	*ret_start = start;
	*ret_end = end;
	return true;
}

int memory_is_registered(uint64_t address, uint64_t size_bytes)
{
	CLEANUP_FILE FILE *file = fopen("/proc/self/smaps", "re");
	char line[LINE_BYTES];
	bool is_inside = false;

	if (!file)
		return -errno;
	while (fgets(line, sizeof(line), file)) {
		uint64_t start, end;

		if (is_header(line, &start, &end))
			is_inside = start < address + size_bytes && end > address;
		else if (is_inside && strncmp(line, "VmFlags:", 8) == 0 &&
			 flags_say_registered(line))
			return 1;
	}
	return ferror(file) ? -EIO : 0;
}
