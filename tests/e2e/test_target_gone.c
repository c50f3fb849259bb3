/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process that dies while it is looked at: the next one with its number may have answered half of
 * the questions. target.c is compiled into this program, so that the death comes at a known place.
 */
#include "ctl/target.h"

#include "ctl/maps.h"

static int read_and_kill(pid_t pid, uint64_t min_bytes, struct mapping_list *ret_list);
#define maps_read read_and_kill
#include "ctl/target.c"
#undef maps_read

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attach_target.h"

#define GUEST_BYTES (8 * MIB)

static const struct target_options usual = {.min_bytes = GUEST_BYTES};

/* The last that target_open() looks at; then the process dies, and its number is free. */
static int read_and_kill(pid_t pid, uint64_t min_bytes, struct mapping_list *ret_list)
{
	const int error = maps_read(pid, min_bytes, ret_list);

	CHECK(kill(pid, SIGKILL) == 0);
	CHECK(waitpid(pid, NULL, 0) == pid);
	return error;
}

static void guest_body(struct attach_shared *shared)
{
	(void)attach_guest(shared, GUEST_BYTES);
	attach_wait_body(shared);
}

static void a_process_that_dies_while_it_is_opened_is_refused(void)
{
	struct attach_target target = attach_start(guest_body);
	struct problem problem = {0};
	struct target opened;
	attach_await_syscall(target.pid, SYS_read);

	const int error = target_open(target.pid, &usual, &opened, &problem);

	CHECK(error == -ESRCH);
	CHECK(strcmp(problem.reason, "process-gone") == 0);
}

int main(void)
{
	if (geteuid() != 0) {
		(void)printf("needs root\n");
		return 77;
	}
	RUN(a_process_that_dies_while_it_is_opened_is_refused);
	return 0;
}
