/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CONTINUE over a range stops at a hole or at a present page: EAGAIN and the bytes mapped before
 * it; at the page itself EFAULT for the hole and EEXIST for the present page. uffd_continue() asks
 * again and tells the caller the reason.
 */
#include <sys/ioctl.h>

#include "kernel_test.h"

#include "io/uffd_compat.h"

static int64_t continue_once(const struct machine *machine, uint32_t page, uint32_t count)
{
	struct uffdio_continue argument = {
		.range = {.start = address_of(machine, page), .len = count * PAGE_BYTES},
	};

	errno = 0;
	(void)ioctl(machine->uffd, UFFDIO_CONTINUE, &argument);
	return argument.mapped;
}

static void check_kernel(const struct machine *machine)
{
	CHECK(continue_once(machine, 0, 16) == 5 * (int64_t)PAGE_BYTES);
	CHECK(errno == EAGAIN);
	CHECK(continue_once(machine, 5, 11) == -EFAULT);
	CHECK(errno == EFAULT);
	CHECK(continue_once(machine, 4, 1) == -EEXIST);
	CHECK(errno == EEXIST);
}

static void check_wrapper(const struct machine *machine)
{
	uint64_t done = 77;

	CHECK(uffd_continue(machine->uffd, address_of(machine, 0), 16 * PAGE_BYTES, false, &done) ==
		-EFAULT);
	CHECK(done == 5 * PAGE_BYTES);
	resolve_continue(machine, 9, false);
	CHECK(uffd_continue(machine->uffd, address_of(machine, 6), 10 * PAGE_BYTES, false, &done) ==
		-EEXIST);
	CHECK(done == 3 * PAGE_BYTES);
}

int main(void)
{
	const struct machine machine = machine_new(16, 0);

	punch(&machine, 5, 1);
	zap(&machine, 0, 16);
	check_kernel(&machine);
	zap(&machine, 0, 16);
	check_wrapper(&machine);
	return 0;
}
