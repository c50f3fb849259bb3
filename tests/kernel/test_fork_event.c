/* SPDX-License-Identifier: Apache-2.0 */
/* fork sends FORK with a userfaultfd of the child's address space, which serves the child's faults.
 */
#include <sys/wait.h>

#include "kernel_fork.h"
#include "kernel_test.h"

int main(void)
{
	const struct machine machine = machine_new(2, UFFD_EVENTS);
	struct background caller = {.address = page_of(&machine, 1)};
	struct machine child = machine;
	struct uffd_message message;
	int status;

	CHECK(pipe(release) == 0);
	zap(&machine, 0, 2);
	start(&caller, run_fork);
	message = next_message(machine.uffd);
	finish(&caller);
	CHECK(message.kind == UFFD_FORKED);
	CHECK(message.fd >= 0);

	child.uffd = message.fd;
	CHECK(write(release[1], "", 1) == 1);
	expect_fault(&child, UFFD_FAULT_MINOR, 1, false);
	resolve_continue(&child, 1, false);
	CHECK(waitpid(caller.result, &status, 0) == caller.result);

	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == content_of(1));
	return 0;
}
