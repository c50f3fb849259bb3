/* SPDX-License-Identifier: Apache-2.0 */
/* A locked mapping refuses MADV_DONTNEED (EINVAL) and obeys MADV_DONTNEED_LOCKED. */
#include <sys/syscall.h>

#include "kernel_marks.h"
#include "kernel_test.h"

int main(void)
{
	const struct machine machine = machine_new(8, 0);

	/* The sanitizers make mlock(3) do nothing. */
	if (syscall(SYS_mlock, machine.memory, machine.size_bytes) < 0)
		skip("not allowed to lock memory");

	CHECK(madvise(machine.memory, machine.size_bytes, MADV_DONTNEED) < 0);
	CHECK(errno == EINVAL);
	CHECK(present_pages(&machine) == 0xff);

	zap(&machine, 0, 8);
	CHECK(present_pages(&machine) == 0);
	return 0;
}
